//! Messages in flight.

use consensus::{MemberId, PeerMessage, Rename};

/// A message and its receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The receiver.
    pub to: usize,
    /// What it is told.
    pub body: Body,
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// By a member.
    Peer(PeerMessage),
    /// By the transport: the leader's replay arrives.
    Replay {
        /// Session of the log.
        session: i32,
        /// First byte.
        from: i64,
    },
}

impl Message {
    /// The words that tell it from others.
    pub fn words(&self, rename: Rename<'_>, word: &mut dyn FnMut(i64)) {
        word(i64::from(rename(MemberId(self.to as i32)).0));
        match &self.body {
            Body::Peer(message) => message.fingerprint(rename, word),
            Body::Replay { session, from } => {
                word(1);
                word(i64::from(*session));
                word(*from);
            }
        }
    }

    /// The term that it is about.
    #[must_use]
    pub fn term(&self) -> i64 {
        match &self.body {
            Body::Replay { session, .. } => i64::from(*session) - 1,
            Body::Peer(message) => match message {
                PeerMessage::CanvassPosition(m) => m.leadership_term_id.0,
                PeerMessage::RequestVote(m) => m.candidate_term_id.0,
                PeerMessage::Vote(m) => m.candidate_term_id.0,
                PeerMessage::NewLeadershipTerm(m) => m.leadership_term_id.0,
                PeerMessage::AppendPosition(m) => m.leadership_term_id.0,
                PeerMessage::CommitPosition(m) => m.leadership_term_id.0,
                PeerMessage::CatchupPosition(m) => m.leadership_term_id.0,
                PeerMessage::StopCatchup(m) => m.leadership_term_id.0,
                PeerMessage::TerminationPosition(m) => m.leadership_term_id.0,
                PeerMessage::TerminationAck(m) => m.leadership_term_id.0,
            },
        }
    }

    /// One line of a scenario.
    #[must_use]
    pub fn describe(&self) -> String {
        let to = self.to;
        match &self.body {
            Body::Replay { from, .. } => format!("replay from {} -> {to}", from / 32),
            Body::Peer(message) => format!("{} -> {to}", describe(message)),
        }
    }
}

fn describe(message: &PeerMessage) -> String {
    match message {
        PeerMessage::CanvassPosition(m) => format!(
            "{} CanvassPosition(log term {}, at {})",
            m.follower_member_id.0,
            m.log_leadership_term_id.0,
            m.log_position.0 / 32
        ),
        PeerMessage::RequestVote(m) => format!(
            "{} RequestVote(term {}, log term {}, at {})",
            m.candidate_member_id.0,
            m.candidate_term_id.0,
            m.log_leadership_term_id.0,
            m.log_position.0 / 32
        ),
        PeerMessage::Vote(m) => {
            format!("{} Vote(term {}, {})", m.follower_member_id.0, m.candidate_term_id.0, m.vote)
        }
        PeerMessage::NewLeadershipTerm(m) => format!(
            "{} NewLeadershipTerm(after {}: next {:?} at {:?} to {:?}; \
             term {} at {}, log {}, commit {})",
            m.leader_member_id.0,
            m.log_leadership_term_id.0,
            m.next_leadership_term_id.map(|term| term.0),
            m.next_term_base_log_position.map(|base| base.0 / 32),
            m.next_log_position.map(|end| end.0 / 32),
            m.leadership_term_id.0,
            m.term_base_log_position.0 / 32,
            m.log_position.0 / 32,
            m.commit_position.map_or(-1, |commit| commit.0 / 32)
        ),
        PeerMessage::AppendPosition(m) => format!(
            "{} AppendPosition(term {}, at {})",
            m.follower_member_id.0,
            m.leadership_term_id.0,
            m.log_position.0 / 32
        ),
        PeerMessage::CommitPosition(m) => format!(
            "{} CommitPosition(term {}, at {})",
            m.leader_member_id.0,
            m.leadership_term_id.0,
            m.log_position.0 / 32
        ),
        PeerMessage::CatchupPosition(m) => format!(
            "{} CatchupPosition(term {}, at {})",
            m.follower_member_id.0,
            m.leadership_term_id.0,
            m.log_position.0 / 32
        ),
        other => format!("{other:?}"),
    }
}
