//! Messages between the core and its services.

use consensus::{
    ClusterSessionId, Consensus, CorrelationId, ServiceAction, ServiceId, ServiceInput,
};
use runtime::Now;
use wire::bytes::{DecodeError, EncodeError};
use wire::cluster::Role;
use wire::cluster::ingress::SessionMessageHeader;
use wire::cluster::service::{
    ClusterMember as WireMember, ClusterMembersExtendedResponse, ClusterMembersResponse, JoinLog,
    ServiceTerminationPosition, ToModule, ToService, position_of,
};
use wire::position::Position;

use super::MembersQuery;
use crate::members::{self, ClusterMember};

/// One message of the consensus module stream (105).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromService<'a> {
    /// For the core.
    Input(ServiceInput<'a>),
    /// A tool asks for the members.
    MembersQuery {
        /// Echoed.
        correlation_id: i64,
        /// Whether with what each last said.
        is_extended: bool,
    },
}

/// Decodes a message; `None` if it says nothing to a module of today.
///
/// # Errors
/// Another schema, or bytes that are too short.
pub fn decode(message: &[u8], reserved_value: i64) -> Result<Option<FromService<'_>>, DecodeError> {
    let Some(decoded) = ToModule::decode(message)? else { return Ok(None) };
    let input = match decoded {
        ToModule::SessionMessageHeader(m) => {
            // What stands for the session is the service; one that is none is refused by the core.
            let service = i32::try_from(m.cluster_session_id).unwrap_or(-1);
            ServiceInput::Offered {
                service: ServiceId(service),
                payload: SessionMessageHeader::payload(message),
            }
        }
        ToModule::CloseSession(m) => {
            ServiceInput::CloseSession { session: ClusterSessionId(m.cluster_session_id) }
        }
        ToModule::ScheduleTimer(m) => ServiceInput::ScheduleTimer {
            correlation_id: CorrelationId(m.correlation_id),
            deadline: m.deadline,
            asked_at: position_of(reserved_value),
        },
        ToModule::CancelTimer(m) => {
            ServiceInput::CancelTimer { correlation_id: CorrelationId(m.correlation_id) }
        }
        ToModule::ServiceAck(m) => ServiceInput::Ack {
            service: ServiceId(m.service_id),
            ack_id: m.ack_id,
            log_position: Position(m.log_position),
            relevant_id: m.relevant_id,
        },
        ToModule::ClusterMembersQuery(m) => {
            let (correlation_id, is_extended) = (m.correlation_id, m.extended);
            return Ok(Some(FromService::MembersQuery { correlation_id, is_extended }));
        }
        ToModule::RemoveMember(_) => return Ok(None),
    };
    Ok(Some(FromService::Input(input)))
}

/// What the core does not say of the log that services join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSource<'a> {
    /// This member.
    pub member_id: i32,
    /// What to subscribe to: a replay, a spy on our own log, or the follower's subscription.
    pub channel: &'a str,
    /// Its stream.
    pub stream_id: i32,
}

/// Encodes an action into `buffer`, which is cleared first.
///
/// # Errors
/// The channel is too long.
pub fn encode(
    action: &ServiceAction,
    log: LogSource<'_>,
    buffer: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let message: ToService<'_> = match *action {
        ServiceAction::JoinLog { from, to, session_id, is_startup, is_leader } => JoinLog {
            log_position: from.0,
            max_log_position: to.map_or(i64::MAX, |position| position.0),
            member_id: log.member_id,
            log_session_id: session_id,
            log_stream_id: log.stream_id,
            is_startup,
            role: if is_leader { Role::Leader } else { Role::Follower },
            is_standby: false,
            log_channel: log.channel.as_bytes(),
        }
        .into(),
        ServiceAction::Terminate { position, ack_required } => {
            ServiceTerminationPosition { log_position: position.0, ack_required }.into()
        }
    };
    encode_into(&message, buffer)
}

/// Encodes the answer to a tool into `buffer`, which is cleared first. Nobody is passive.
///
/// # Errors
/// An endpoint is too long.
pub fn encode_members(
    query: &MembersQuery,
    core: &Consensus,
    members: &[ClusterMember],
    own: i32,
    now: Now,
    buffer: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let correlation_id = query.correlation_id;
    let leader_member_id = core.leader().map_or(-1, |leader| leader.0);
    if !query.is_extended {
        let active = members::to_text(members);
        let message = ClusterMembersResponse {
            correlation_id,
            leader_member_id,
            active_members: active.as_bytes(),
            passive_followers: b"",
        };
        return encode_into(&message.into(), buffer);
    }
    let known: Vec<WireMember<'_>> =
        members.iter().map(|member| with_last_word(member, core)).collect();
    let message = ClusterMembersExtendedResponse {
        correlation_id,
        current_time_ns: now.mono.0,
        leader_member_id,
        member_id: own,
        active_members: known.as_slice().into(),
        passive_members: [].as_slice().into(),
    };
    encode_into(&message.into(), buffer)
}

/// A member with what it last said; -1 where it said nothing.
fn with_last_word<'a>(member: &'a ClusterMember, core: &Consensus) -> WireMember<'a> {
    let said = core.member_views().find(|(id, ..)| *id == member.id);
    let (view, heard) = said.map_or((None, None), |(_, view, heard)| (view, heard));
    WireMember {
        leadership_term_id: view.map_or(-1, |(term, _)| term.0),
        log_position: view.map_or(-1, |(_, position)| position.0),
        time_of_last_append_ns: heard.map_or(-1, |heard| heard.0),
        member_id: member.id.0,
        ingress_endpoint: member.ingress.as_bytes(),
        consensus_endpoint: member.consensus.as_bytes(),
        log_endpoint: member.log.as_bytes(),
        catchup_endpoint: member.catchup.as_bytes(),
        archive_endpoint: member.archive.as_bytes(),
    }
}

fn encode_into(message: &ToService<'_>, buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
    buffer.clear();
    buffer.resize(message.encoded_length(), 0);
    message.encode(buffer).map(|_| ())
}

#[cfg(test)]
mod tests {
    use wire::cluster::service::{
        CancelTimer, CloseSession, ClusterMembersQuery, RemoveMember, ScheduleTimer, ServiceAck,
        mark_of,
    };
    use wire::message::Message;

    use super::*;

    fn heard<'a>(message: &impl Message<'a>) -> Option<FromService<'static>> {
        let mut buffer = vec![0; message.encoded_length()];
        message.encode(&mut buffer).unwrap();
        decode(Vec::leak(buffer), mark_of(Position(128))).unwrap()
    }

    #[test]
    fn every_word_of_a_service_reaches_the_core() {
        let input = |input| Some(FromService::Input(input));
        let session = ClusterSessionId(3);
        let close = heard(&CloseSession { cluster_session_id: 3 });
        assert_eq!(close, input(ServiceInput::CloseSession { session }));
        let correlation_id = CorrelationId(4);
        let schedule = heard(&ScheduleTimer { correlation_id: 4, deadline: 99 });
        let (deadline, asked_at) = (99, Some(Position(128)));
        let expected = ServiceInput::ScheduleTimer { correlation_id, deadline, asked_at };
        assert_eq!(schedule, input(expected));
        let cancel = heard(&CancelTimer { correlation_id: 4 });
        assert_eq!(cancel, input(ServiceInput::CancelTimer { correlation_id }));
        let ack = ServiceAck {
            log_position: 640,
            timestamp: 1,
            ack_id: 2,
            relevant_id: -1,
            service_id: 1,
        };
        let expected = ServiceInput::Ack {
            service: ServiceId(1),
            ack_id: 2,
            log_position: Position(640),
            relevant_id: -1,
        };
        assert_eq!(heard(&ack), input(expected));
    }

    #[test]
    fn a_message_to_the_cluster_carries_the_service_in_place_of_the_session() {
        let header =
            SessionMessageHeader { leadership_term_id: 4, cluster_session_id: 1, timestamp: 0 };
        let mut buffer = [7; 34];
        header.encode(&mut buffer).unwrap();
        let offered = ServiceInput::Offered { service: ServiceId(1), payload: &[7, 7] };
        assert_eq!(decode(&buffer, 0), Ok(Some(FromService::Input(offered))));
    }

    #[test]
    fn tools_are_told_apart_and_words_of_old_are_skipped() {
        let query = heard(&ClusterMembersQuery { correlation_id: 8, extended: true });
        let expected = FromService::MembersQuery { correlation_id: 8, is_extended: true };
        assert_eq!(query, Some(expected));
        assert_eq!(heard(&RemoveMember { member_id: 0, is_passive: false }), None);
    }

    #[test]
    fn a_live_log_has_no_end_and_a_replay_ends_where_it_is_told() {
        let log = LogSource { member_id: 1, channel: "aeron:ipc", stream_id: 100 };
        let mut join = JoinLog {
            log_position: 64,
            max_log_position: i64::MAX,
            member_id: 1,
            log_session_id: -9,
            log_stream_id: 100,
            is_startup: true,
            role: Role::Leader,
            is_standby: false,
            log_channel: b"aeron:ipc",
        };
        let mut buffer = vec![1];
        let action = |to, is_leader| ServiceAction::JoinLog {
            from: Position(64),
            to,
            session_id: -9,
            is_startup: true,
            is_leader,
        };
        encode(&action(None, true), log, &mut buffer).unwrap();
        assert_eq!(ToService::decode(&buffer), Ok(Some(join.into())));
        encode(&action(Some(Position(128)), false), log, &mut buffer).unwrap();
        (join.max_log_position, join.role) = (128, Role::Follower);
        assert_eq!(ToService::decode(&buffer), Ok(Some(join.into())));
    }

    #[test]
    fn a_tool_hears_of_every_member_and_of_what_it_last_said() {
        let members = members::parse("0,a:1,a:2,a:3,a:0,a:5|1,b:1,b:2,b:3,b:0,b:5").unwrap();
        let ids = members.iter().map(|member| member.id).collect();
        let config = consensus::Config::new(consensus::MemberId(1), ids);
        let empty = consensus::Recovery::empty();
        let core = Consensus::new(config, &empty, 1, Now::default());
        let mut buffer = Vec::new();
        let mut answer = |is_extended| {
            let query = MembersQuery { correlation_id: 8, is_extended };
            encode_members(&query, &core, &members, 1, Now::default(), &mut buffer).unwrap();
            buffer.clone()
        };
        let plain = answer(false);
        let Ok(Some(ToService::ClusterMembersResponse(plain))) = ToService::decode(&plain) else {
            panic!("another message");
        };
        assert_eq!((plain.correlation_id, plain.leader_member_id), (8, -1));
        assert_eq!(plain.active_members, members::to_text(&members).as_bytes());
        let extended = answer(true);
        let Ok(Some(ToService::ClusterMembersExtendedResponse(extended))) =
            ToService::decode(&extended)
        else {
            panic!("another message");
        };
        assert_eq!((extended.member_id, extended.active_members.len()), (1, 2));
        assert_eq!(extended.passive_members.len(), 0);
    }

    #[test]
    fn services_are_told_where_to_end_and_whether_to_answer() {
        let log = LogSource { member_id: 1, channel: "", stream_id: 100 };
        let action = ServiceAction::Terminate { position: Position(96), ack_required: false };
        let mut buffer = Vec::new();
        encode(&action, log, &mut buffer).unwrap();
        let expected = ServiceTerminationPosition { log_position: 96, ack_required: false };
        assert_eq!(ToService::decode(&buffer), Ok(Some(expected.into())));
    }
}
