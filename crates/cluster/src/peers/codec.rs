//! Member messages between the core's types and the wire's.

use consensus::{
    AppendPosition, CanvassPosition, CatchupPosition, CommitPosition, LeadershipTermId, MemberId,
    NewLeadershipTerm, PeerMessage, RecordingId, RequestVote, StopCatchup, TerminationAck,
    TerminationPosition, Vote,
};
use wire::bytes::{EncodeError, SemanticVersion};
use wire::cluster::CONSENSUS_PROTOCOL_VERSION;
use wire::cluster::peer::{self as wire_peer, APPEND_POSITION_FLAG_CATCHUP, Peer};
use wire::position::Position;

/// Encodes a message into the front of `buffer`; returns its length.
///
/// # Errors
/// The buffer is too short.
pub fn encode(
    message: &PeerMessage,
    app_version: SemanticVersion,
    buffer: &mut [u8],
) -> Result<usize, EncodeError> {
    to_wire(message, app_version).encode(buffer)
}

fn to_wire(message: &PeerMessage, app_version: SemanticVersion) -> Peer<'_> {
    let protocol_version = CONSENSUS_PROTOCOL_VERSION;
    match message {
        PeerMessage::CanvassPosition(m) => wire_peer::CanvassPosition {
            log_leadership_term_id: m.log_leadership_term_id.0,
            log_position: m.log_position.0,
            leadership_term_id: m.leadership_term_id.0,
            follower_member_id: m.follower_member_id.0,
            protocol_version,
        }
        .into(),
        PeerMessage::RequestVote(m) => wire_peer::RequestVote {
            log_leadership_term_id: m.log_leadership_term_id.0,
            log_position: m.log_position.0,
            candidate_term_id: m.candidate_term_id.0,
            candidate_member_id: m.candidate_member_id.0,
            protocol_version,
        }
        .into(),
        PeerMessage::Vote(m) => wire_peer::Vote {
            candidate_term_id: m.candidate_term_id.0,
            log_leadership_term_id: m.log_leadership_term_id.0,
            log_position: m.log_position.0,
            candidate_member_id: m.candidate_member_id.0,
            follower_member_id: m.follower_member_id.0,
            vote: m.vote,
        }
        .into(),
        PeerMessage::NewLeadershipTerm(m) => new_term_to_wire(m, app_version).into(),
        PeerMessage::AppendPosition(m) => wire_peer::AppendPosition {
            leadership_term_id: m.leadership_term_id.0,
            log_position: m.log_position.0,
            follower_member_id: m.follower_member_id.0,
            flags: if m.is_catchup { APPEND_POSITION_FLAG_CATCHUP } else { 0 },
        }
        .into(),
        PeerMessage::CommitPosition(m) => wire_peer::CommitPosition {
            leadership_term_id: m.leadership_term_id.0,
            log_position: m.log_position.0,
            leader_member_id: m.leader_member_id.0,
        }
        .into(),
        PeerMessage::CatchupPosition(m) => wire_peer::CatchupPosition {
            leadership_term_id: m.leadership_term_id.0,
            log_position: m.log_position.0,
            follower_member_id: m.follower_member_id.0,
            catchup_endpoint: m.catchup_endpoint.as_bytes(),
        }
        .into(),
        PeerMessage::StopCatchup(m) => wire_peer::StopCatchup {
            leadership_term_id: m.leadership_term_id.0,
            follower_member_id: m.follower_member_id.0,
        }
        .into(),
        PeerMessage::TerminationPosition(m) => wire_peer::TerminationPosition {
            leadership_term_id: m.leadership_term_id.0,
            log_position: m.log_position.0,
        }
        .into(),
        PeerMessage::TerminationAck(m) => wire_peer::TerminationAck {
            leadership_term_id: m.leadership_term_id.0,
            log_position: m.log_position.0,
            member_id: m.member_id.0,
        }
        .into(),
    }
}

fn new_term_to_wire(
    message: &NewLeadershipTerm,
    app_version: SemanticVersion,
) -> wire_peer::NewLeadershipTerm {
    let absent = |position: Option<Position>| position.map_or(-1, |position| position.0);
    wire_peer::NewLeadershipTerm {
        log_leadership_term_id: message.log_leadership_term_id.0,
        next_leadership_term_id: message.next_leadership_term_id.map_or(-1, |term| term.0),
        next_term_base_log_position: absent(message.next_term_base_log_position),
        next_log_position: absent(message.next_log_position),
        leadership_term_id: message.leadership_term_id.0,
        term_base_log_position: message.term_base_log_position.0,
        log_position: message.log_position.0,
        leader_recording_id: message.leader_recording_id.0,
        timestamp: message.timestamp,
        leader_member_id: message.leader_member_id.0,
        log_session_id: message.log_session_id,
        app_version,
        is_startup: message.is_startup,
        commit_position: absent(message.commit_position),
    }
}

/// A message for the core; `None` for those that it does not take, such as those of backups.
#[must_use]
pub fn from_wire(message: &Peer<'_>) -> Option<PeerMessage> {
    Some(match message {
        Peer::CanvassPosition(m) => PeerMessage::CanvassPosition(CanvassPosition {
            log_leadership_term_id: LeadershipTermId(m.log_leadership_term_id),
            log_position: Position(m.log_position),
            leadership_term_id: LeadershipTermId(m.leadership_term_id),
            follower_member_id: MemberId(m.follower_member_id),
        }),
        Peer::RequestVote(m) => PeerMessage::RequestVote(RequestVote {
            log_leadership_term_id: LeadershipTermId(m.log_leadership_term_id),
            log_position: Position(m.log_position),
            candidate_term_id: LeadershipTermId(m.candidate_term_id),
            candidate_member_id: MemberId(m.candidate_member_id),
        }),
        Peer::Vote(m) => PeerMessage::Vote(Vote {
            candidate_term_id: LeadershipTermId(m.candidate_term_id),
            log_leadership_term_id: LeadershipTermId(m.log_leadership_term_id),
            log_position: Position(m.log_position),
            candidate_member_id: MemberId(m.candidate_member_id),
            follower_member_id: MemberId(m.follower_member_id),
            vote: m.vote,
        }),
        Peer::NewLeadershipTerm(m) => PeerMessage::NewLeadershipTerm(new_term_from_wire(m)),
        Peer::AppendPosition(m) => PeerMessage::AppendPosition(AppendPosition {
            leadership_term_id: LeadershipTermId(m.leadership_term_id),
            log_position: Position(m.log_position),
            follower_member_id: MemberId(m.follower_member_id),
            is_catchup: m.flags & APPEND_POSITION_FLAG_CATCHUP != 0,
        }),
        Peer::CommitPosition(m) => PeerMessage::CommitPosition(CommitPosition {
            leadership_term_id: LeadershipTermId(m.leadership_term_id),
            log_position: Position(m.log_position),
            leader_member_id: MemberId(m.leader_member_id),
        }),
        Peer::CatchupPosition(m) => PeerMessage::CatchupPosition(CatchupPosition {
            leadership_term_id: LeadershipTermId(m.leadership_term_id),
            log_position: Position(m.log_position),
            follower_member_id: MemberId(m.follower_member_id),
            catchup_endpoint: std::str::from_utf8(m.catchup_endpoint).ok()?.to_string(),
        }),
        Peer::StopCatchup(m) => PeerMessage::StopCatchup(StopCatchup {
            leadership_term_id: LeadershipTermId(m.leadership_term_id),
            follower_member_id: MemberId(m.follower_member_id),
        }),
        Peer::TerminationPosition(m) => PeerMessage::TerminationPosition(TerminationPosition {
            leadership_term_id: LeadershipTermId(m.leadership_term_id),
            log_position: Position(m.log_position),
        }),
        Peer::TerminationAck(m) => PeerMessage::TerminationAck(TerminationAck {
            leadership_term_id: LeadershipTermId(m.leadership_term_id),
            log_position: Position(m.log_position),
            member_id: MemberId(m.member_id),
        }),
        _ => return None,
    })
}

fn new_term_from_wire(message: &wire_peer::NewLeadershipTerm) -> NewLeadershipTerm {
    let present = |position: i64| (position >= 0).then_some(Position(position));
    let next = message.next_leadership_term_id;
    NewLeadershipTerm {
        log_leadership_term_id: LeadershipTermId(message.log_leadership_term_id),
        next_leadership_term_id: (next >= 0).then_some(LeadershipTermId(next)),
        next_term_base_log_position: present(message.next_term_base_log_position),
        next_log_position: present(message.next_log_position),
        leadership_term_id: LeadershipTermId(message.leadership_term_id),
        term_base_log_position: Position(message.term_base_log_position),
        log_position: Position(message.log_position),
        leader_recording_id: RecordingId(message.leader_recording_id),
        timestamp: message.timestamp,
        leader_member_id: MemberId(message.leader_member_id),
        log_session_id: message.log_session_id,
        is_startup: message.is_startup,
        commit_position: present(message.commit_position),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM: LeadershipTermId = LeadershipTermId(3);
    const POSITION: Position = Position(640);
    const MEMBER: MemberId = MemberId(2);

    const NEW_TERM: NewLeadershipTerm = NewLeadershipTerm {
        log_leadership_term_id: TERM,
        next_leadership_term_id: Some(LeadershipTermId(0)),
        next_term_base_log_position: Some(Position(0)),
        next_log_position: None,
        leadership_term_id: LeadershipTermId(5),
        term_base_log_position: Position(1),
        log_position: POSITION,
        leader_recording_id: RecordingId(-1),
        timestamp: 9,
        leader_member_id: MEMBER,
        log_session_id: -7,
        is_startup: true,
        commit_position: Some(Position(32)),
    };

    fn survives(message: PeerMessage) {
        let mut buffer = [0; 256];
        let length = encode(&message, SemanticVersion::new(0, 0, 1), &mut buffer).unwrap();
        let decoded = Peer::decode(&buffer[..length]).unwrap().unwrap();
        assert_eq!(from_wire(&decoded), Some(message));
    }

    #[test]
    fn messages_of_elections_survive_the_wire() {
        survives(PeerMessage::CanvassPosition(CanvassPosition {
            log_leadership_term_id: LeadershipTermId(-1),
            log_position: POSITION,
            leadership_term_id: TERM,
            follower_member_id: MEMBER,
        }));
        survives(PeerMessage::RequestVote(RequestVote {
            log_leadership_term_id: TERM,
            log_position: POSITION,
            candidate_term_id: LeadershipTermId(8),
            candidate_member_id: MEMBER,
        }));
        survives(PeerMessage::Vote(Vote {
            candidate_term_id: TERM,
            log_leadership_term_id: LeadershipTermId(2),
            log_position: POSITION,
            candidate_member_id: MemberId(1),
            follower_member_id: MEMBER,
            vote: true,
        }));
    }

    #[test]
    fn a_new_leader_s_message_survives_the_wire_with_and_without_what_may_be_absent() {
        survives(PeerMessage::NewLeadershipTerm(NEW_TERM));
        survives(PeerMessage::NewLeadershipTerm(NewLeadershipTerm {
            next_leadership_term_id: None,
            next_term_base_log_position: None,
            next_log_position: Some(POSITION),
            commit_position: None,
            is_startup: false,
            ..NEW_TERM
        }));
    }

    #[test]
    fn messages_between_leader_and_followers_survive_the_wire() {
        let (leadership_term_id, log_position) = (TERM, POSITION);
        survives(PeerMessage::AppendPosition(AppendPosition {
            leadership_term_id,
            log_position,
            follower_member_id: MEMBER,
            is_catchup: true,
        }));
        survives(PeerMessage::CommitPosition(CommitPosition {
            leadership_term_id,
            log_position,
            leader_member_id: MEMBER,
        }));
        survives(PeerMessage::CatchupPosition(CatchupPosition {
            leadership_term_id,
            log_position,
            follower_member_id: MEMBER,
            catchup_endpoint: "host:20000".into(),
        }));
        survives(PeerMessage::StopCatchup(StopCatchup {
            leadership_term_id,
            follower_member_id: MEMBER,
        }));
        survives(PeerMessage::TerminationPosition(TerminationPosition {
            leadership_term_id,
            log_position,
        }));
        survives(PeerMessage::TerminationAck(TerminationAck {
            leadership_term_id,
            log_position,
            member_id: MEMBER,
        }));
    }
}
