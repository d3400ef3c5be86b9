//! What members say to each other (cluster specification 1.4, templates 50 to 57, 75 and 76).
//!
//! The fields are those of the wire, in the newtypes of this crate; the agent's codec fills in
//! what the core does not know: protocol version, application version, catch-up endpoint.

use alloc::string::String;

use wire::position::Position;

use crate::fingerprint::Print;
use crate::id::{LeadershipTermId, MemberId, RecordingId};

/// A message of the consensus stream, without its sender or receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // The types say it.
pub enum PeerMessage {
    CanvassPosition(CanvassPosition),
    RequestVote(RequestVote),
    Vote(Vote),
    NewLeadershipTerm(NewLeadershipTerm),
    AppendPosition(AppendPosition),
    CommitPosition(CommitPosition),
    CatchupPosition(CatchupPosition),
    StopCatchup(StopCatchup),
    TerminationPosition(TerminationPosition),
    TerminationAck(TerminationAck),
}

/// Template 50: position report in an election, and the probe of rule F1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CanvassPosition {
    /// Term of the last record of the sender; in a probe, the one below the asked one.
    pub log_leadership_term_id: LeadershipTermId,
    /// Append position of the sender; 0 in a probe.
    pub log_position: Position,
    /// Current term of the sender.
    pub leadership_term_id: LeadershipTermId,
    /// The sender.
    pub follower_member_id: MemberId,
}

/// Template 51: a candidate asks for a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestVote {
    /// Term of the candidate's last record.
    pub log_leadership_term_id: LeadershipTermId,
    /// The candidate's append position.
    pub log_position: Position,
    /// The term it wants to lead.
    pub candidate_term_id: LeadershipTermId,
    /// The sender.
    pub candidate_member_id: MemberId,
}

/// Template 52: the answer to a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vote {
    /// As asked.
    pub candidate_term_id: LeadershipTermId,
    /// Term of the voter's last record.
    pub log_leadership_term_id: LeadershipTermId,
    /// The voter's append position.
    pub log_position: Position,
    /// As asked.
    pub candidate_member_id: MemberId,
    /// The voter.
    pub follower_member_id: MemberId,
    /// For or against.
    pub vote: bool,
}

/// Template 53: a leader asserts itself and tells how its log goes on after a term.
///
/// The three `next` values are -1 on the wire when absent; here they are `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewLeadershipTerm {
    /// The term to which the `next` values are relative.
    pub log_leadership_term_id: LeadershipTermId,
    /// The term that follows it in the leader's table.
    pub next_leadership_term_id: Option<LeadershipTermId>,
    /// Base of that next term: the end of the term before.
    pub next_term_base_log_position: Option<Position>,
    /// End of that next term, none while it is open.
    pub next_log_position: Option<Position>,
    /// The term it leads.
    pub leadership_term_id: LeadershipTermId,
    /// Base of the term it leads.
    pub term_base_log_position: Position,
    /// The leader's log position now.
    pub log_position: Position,
    /// Recording of the log in the leader's archive; -1 before it is known.
    pub leader_recording_id: RecordingId,
    /// Cluster time.
    pub timestamp: i64,
    /// The sender.
    pub leader_member_id: MemberId,
    /// Transport session of the live log.
    pub log_session_id: i32,
    /// Whether the leader is in the first election since its start.
    pub is_startup: bool,
    /// Quorum position known by the leader; none if the sender is older than schema version 15.
    pub commit_position: Option<Position>,
}

/// Template 54: how far a follower has recorded the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendPosition {
    /// The follower's term.
    pub leadership_term_id: LeadershipTermId,
    /// Its recorded position.
    pub log_position: Position,
    /// The sender.
    pub follower_member_id: MemberId,
    /// Flag bit 0: it is catching up.
    pub is_catchup: bool,
}

/// Template 55: commit position, and the heartbeat of a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitPosition {
    /// The leader's term.
    pub leadership_term_id: LeadershipTermId,
    /// The quorum position; may be lower than an earlier one.
    pub log_position: Position,
    /// The sender.
    pub leader_member_id: MemberId,
}

/// Template 56: a follower asks for a replay of the log.
///
/// An action carries an empty endpoint: the agent fills in the one it resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatchupPosition {
    /// The term the follower joins.
    pub leadership_term_id: LeadershipTermId,
    /// Where the replay begins.
    pub log_position: Position,
    /// The sender.
    pub follower_member_id: MemberId,
    /// Resolved `host:port` to replay to.
    pub catchup_endpoint: String,
}

/// Template 57: the follower has caught up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopCatchup {
    /// As in the follower's append position.
    pub leadership_term_id: LeadershipTermId,
    /// The receiver.
    pub follower_member_id: MemberId,
}

/// Template 75: terminate when the log has reached the position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminationPosition {
    /// The leader's term.
    pub leadership_term_id: LeadershipTermId,
    /// Where to terminate.
    pub log_position: Position,
}

/// Template 76: a follower has terminated its services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminationAck {
    /// The term in which it was asked.
    pub leadership_term_id: LeadershipTermId,
    /// The position reached.
    pub log_position: Position,
    /// The sender.
    pub member_id: MemberId,
}

impl PeerMessage {
    /// Two times, and where recordings are, are left out.
    pub(crate) fn print(&self, print: &mut Print<'_>) {
        match self {
            Self::CanvassPosition(m) => {
                print.word(50);
                print.term(m.log_leadership_term_id);
                print.at(m.log_position);
                // Nobody reads its leadership term.
                print.member(m.follower_member_id);
            }
            Self::RequestVote(m) => {
                print.word(51);
                print.term(m.log_leadership_term_id);
                print.at(m.log_position);
                print.term(m.candidate_term_id);
                print.member(m.candidate_member_id);
            }
            Self::Vote(m) => {
                print.word(52);
                print.term(m.candidate_term_id);
                print.term(m.log_leadership_term_id);
                print.at(m.log_position);
                print.member(m.candidate_member_id);
                print.member(m.follower_member_id);
                print.flag(m.vote);
            }
            Self::NewLeadershipTerm(m) => m.print(print),
            Self::AppendPosition(m) => {
                print.word(54);
                print.term(m.leadership_term_id);
                print.at(m.log_position);
                print.member(m.follower_member_id);
                print.flag(m.is_catchup);
            }
            Self::CommitPosition(m) => {
                print.word(55);
                print.term(m.leadership_term_id);
                print.at(m.log_position);
                print.member(m.leader_member_id);
            }
            Self::CatchupPosition(m) => {
                print.word(56);
                print.term(m.leadership_term_id);
                print.at(m.log_position);
                print.member(m.follower_member_id);
            }
            Self::StopCatchup(m) => {
                print.word(57);
                print.term(m.leadership_term_id);
                print.member(m.follower_member_id);
            }
            Self::TerminationPosition(m) => {
                print.word(75);
                print.term(m.leadership_term_id);
                print.at(m.log_position);
            }
            Self::TerminationAck(m) => {
                print.word(76);
                print.term(m.leadership_term_id);
                print.at(m.log_position);
                print.member(m.member_id);
            }
        }
    }
}

impl NewLeadershipTerm {
    fn print(&self, print: &mut Print<'_>) {
        print.word(53);
        print.term(self.log_leadership_term_id);
        print.maybe_term(self.next_leadership_term_id);
        print.maybe_at(self.next_term_base_log_position);
        print.maybe_at(self.next_log_position);
        print.term(self.leadership_term_id);
        print.at(self.term_base_log_position);
        print.at(self.log_position);
        print.member(self.leader_member_id);
        print.word(i64::from(self.log_session_id));
        print.maybe_at(self.commit_position);
    }
}
