//! What the core tells clients, as bytes.

use consensus::{ClientAction, ClusterSessionId, EventCode};
use runtime::Nanos;
use wire::bytes::EncodeError;
use wire::cluster::CLIENT_PROTOCOL_VERSION;
use wire::cluster::egress::{
    AdminResponse, AdminResponseCode, Challenge, Egress, EventCode as WireCode, NewLeaderEvent,
    SessionEvent,
};
use wire::cluster::ingress::AdminRequestType;

/// What the core does not say of this member, and clients are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// This member.
    pub member_id: i32,
    /// `id=host:port,...` of all members.
    pub ingress_endpoints: String,
    /// Half of what a client waits for a new leader.
    pub leader_heartbeat_timeout: Nanos,
}

/// Encodes what is to be sent into `buffer`, which is cleared first; false if the action is none
/// to send. A session that only waits for its answer is -1 to its client.
///
/// # Errors
/// A field is too long.
pub fn encode(
    session: ClusterSessionId,
    action: &ClientAction,
    announcement: &Announcement,
    buffer: &mut Vec<u8>,
) -> Result<bool, EncodeError> {
    buffer.clear();
    let Some(message) = to_wire(session.0.max(-1), action, announcement) else {
        return Ok(false);
    };
    buffer.resize(message.encoded_length(), 0);
    message.encode(buffer)?;
    Ok(true)
}

fn to_wire<'a>(
    cluster_session_id: i64,
    action: &'a ClientAction,
    announcement: &'a Announcement,
) -> Option<Egress<'a>> {
    Some(match action {
        ClientAction::Connect { .. }
        | ClientAction::Authenticate { .. }
        | ClientAction::Disconnect => return None,
        ClientAction::Challenge { correlation_id, challenge } => Egress::Challenge(Challenge {
            correlation_id: correlation_id.0,
            cluster_session_id,
            encoded_challenge: challenge,
        }),
        ClientAction::Event {
            correlation_id,
            leadership_term_id,
            leader_member_id,
            code,
            detail,
        } => Egress::SessionEvent(SessionEvent {
            cluster_session_id,
            correlation_id: correlation_id.0,
            leadership_term_id: leadership_term_id.0,
            leader_member_id: leader_member_id.0,
            code: code_to_wire(*code),
            version: CLIENT_PROTOCOL_VERSION,
            leader_heartbeat_timeout_ns: Some(announcement.leader_heartbeat_timeout.0),
            detail: detail.as_bytes(),
        }),
        ClientAction::NewLeader { leadership_term_id } => Egress::NewLeaderEvent(NewLeaderEvent {
            leadership_term_id: leadership_term_id.0,
            cluster_session_id,
            leader_member_id: announcement.member_id,
            ingress_endpoints: announcement.ingress_endpoints.as_bytes(),
        }),
        ClientAction::AdminResponse { correlation_id, request_type, response_code, message } => {
            Egress::AdminResponse(AdminResponse {
                cluster_session_id,
                correlation_id: correlation_id.0,
                request_type: AdminRequestType::from_code(*request_type),
                response_code: AdminResponseCode::from_code(*response_code),
                message: message.as_bytes(),
                payload: b"",
            })
        }
    })
}

const fn code_to_wire(code: EventCode) -> WireCode {
    match code {
        EventCode::Ok => WireCode::Ok,
        EventCode::Error => WireCode::Error,
        EventCode::Redirect => WireCode::Redirect,
        EventCode::AuthenticationRejected => WireCode::AuthenticationRejected,
        EventCode::Closed => WireCode::Closed,
    }
}

#[cfg(test)]
mod tests {
    use consensus::{CorrelationId, LeadershipTermId, MemberId};

    use super::*;

    fn announcement() -> Announcement {
        Announcement {
            member_id: 2,
            ingress_endpoints: "0=a:1,2=c:1".into(),
            leader_heartbeat_timeout: Nanos::from_secs(5),
        }
    }

    fn sent(session: i64, action: &ClientAction) -> Vec<u8> {
        let mut buffer = vec![1; 999];
        assert!(encode(ClusterSessionId(session), action, &announcement(), &mut buffer).unwrap());
        buffer
    }

    #[test]
    fn a_redirect_is_of_session_minus_one_and_names_the_leader_and_the_endpoints() {
        let action = ClientAction::Event {
            correlation_id: CorrelationId(4),
            leadership_term_id: LeadershipTermId(7),
            leader_member_id: MemberId(1),
            code: EventCode::Redirect,
            detail: "0=a:1".into(),
        };
        let bytes = sent(-17, &action);
        let event = SessionEvent {
            cluster_session_id: -1,
            correlation_id: 4,
            leadership_term_id: 7,
            leader_member_id: 1,
            code: WireCode::Redirect,
            version: CLIENT_PROTOCOL_VERSION,
            leader_heartbeat_timeout_ns: Some(5_000_000_000),
            detail: b"0=a:1",
        };
        assert_eq!(Egress::decode(&bytes), Ok(Some(event.into())));
    }

    #[test]
    fn a_new_leader_says_who_it_is_and_where_all_are() {
        let bytes = sent(9, &ClientAction::NewLeader { leadership_term_id: LeadershipTermId(7) });
        let event = NewLeaderEvent {
            leadership_term_id: 7,
            cluster_session_id: 9,
            leader_member_id: 2,
            ingress_endpoints: b"0=a:1,2=c:1",
        };
        assert_eq!(Egress::decode(&bytes), Ok(Some(event.into())));
    }

    #[test]
    fn challenges_and_answers_to_operators_keep_their_fields() {
        let (correlation_id, challenge) = (CorrelationId(4), vec![5, 6]);
        let bytes = sent(9, &ClientAction::Challenge { correlation_id, challenge });
        let expected =
            Challenge { correlation_id: 4, cluster_session_id: 9, encoded_challenge: &[5, 6] };
        assert_eq!(Egress::decode(&bytes), Ok(Some(expected.into())));
        let action = ClientAction::AdminResponse {
            correlation_id,
            request_type: 0,
            response_code: 2,
            message: "no".into(),
        };
        let expected = AdminResponse {
            cluster_session_id: 9,
            correlation_id: 4,
            request_type: AdminRequestType::Snapshot,
            response_code: AdminResponseCode::UnauthorisedAccess,
            message: b"no",
            payload: b"",
        };
        assert_eq!(Egress::decode(&sent(9, &action)), Ok(Some(expected.into())));
    }

    #[test]
    fn what_the_agent_does_itself_is_not_sent() {
        let mut buffer = vec![1];
        let action = ClientAction::Disconnect;
        assert_eq!(encode(ClusterSessionId(9), &action, &announcement(), &mut buffer), Ok(false));
        assert!(buffer.is_empty());
    }
}
