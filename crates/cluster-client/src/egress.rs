//! What the cluster says to a client, taken apart. Pure but for the polling of images.

use client::{Action, CorrelationId, FragmentAssembler, Subscription};
use wire::cluster::egress::{AdminResponseCode, Egress, EventCode};
use wire::cluster::ingress::SessionMessageHeader;

/// Something that a session hears, while a handler looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EgressEvent<'a> {
    /// A message of a service.
    Message {
        /// The cluster's time of the event that the service was handling.
        timestamp: i64,
        /// What the service sent.
        payload: &'a [u8],
    },
    /// Another member leads from now on. Messages that were on their way may be lost.
    NewLeader {
        /// Its term.
        leadership_term_id: i64,
        /// Which member.
        leader_member_id: i32,
    },
    /// Answer to a request for a snapshot.
    AdminResponse {
        /// As the request returned it.
        correlation_id: i64,
        /// How it went: accepted, not done.
        code: AdminResponseCode,
        /// Why not.
        message: &'a [u8],
    },
}

/// What a message means to an open session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard<'a> {
    /// To be told.
    Event(EgressEvent<'a>),
    /// To be followed, and told.
    NewLeader { leadership_term_id: i64, leader_member_id: i32, endpoints: &'a [u8] },
    /// The session is over.
    Closed { detail: &'a [u8] },
    /// For another session, information only, or unknown.
    Nothing,
}

/// What a message means to the session of this id.
#[inline]
pub(crate) fn hear(message: &[u8], session_id: i64) -> Heard<'_> {
    match SessionMessageHeader::split(message) {
        Some((header, payload)) if header.cluster_session_id == session_id => {
            Heard::Event(EgressEvent::Message { timestamp: header.timestamp, payload })
        }
        Some(_) => Heard::Nothing,
        None => hear_other(message, session_id),
    }
}

fn hear_other(message: &[u8], session_id: i64) -> Heard<'_> {
    match Egress::decode(message) {
        Ok(Some(Egress::SessionMessageHeader(header)))
            if header.cluster_session_id == session_id =>
        {
            let payload = SessionMessageHeader::payload(message);
            Heard::Event(EgressEvent::Message { timestamp: header.timestamp, payload })
        }
        Ok(Some(Egress::NewLeaderEvent(event))) if event.cluster_session_id == session_id => {
            Heard::NewLeader {
                leadership_term_id: event.leadership_term_id,
                leader_member_id: event.leader_member_id,
                endpoints: event.ingress_endpoints,
            }
        }
        // Only the end matters: a new leader repeats the OK of sessions that it did not open.
        Ok(Some(Egress::SessionEvent(event)))
            if event.cluster_session_id == session_id && event.code == EventCode::Closed =>
        {
            Heard::Closed { detail: event.detail }
        }
        Ok(Some(Egress::AdminResponse(response))) if response.cluster_session_id == session_id => {
            Heard::Event(EgressEvent::AdminResponse {
                correlation_id: response.correlation_id,
                code: response.response_code,
                message: response.message,
            })
        }
        Ok(_) | Err(_) => Heard::Nothing,
    }
}

/// What a message means to a request for a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Opened {
        session_id: i64,
        leadership_term_id: i64,
        leader_member_id: i32,
        leader_heartbeat_timeout_ns: Option<i64>,
    },
    Redirect {
        leader_member_id: i32,
        endpoints: String,
    },
    Refused {
        detail: String,
    },
    AuthenticationRejected {
        detail: String,
    },
    Challenge {
        session_id: i64,
        challenge: Vec<u8>,
    },
}

/// The answer to the request of this id, if the message is one.
pub(crate) fn answer(message: &[u8], correlation_id: i64) -> Option<Answer> {
    match Egress::decode(message).ok()?? {
        Egress::SessionEvent(event) if event.correlation_id == correlation_id => {
            let detail = text(event.detail);
            match event.code {
                EventCode::Ok => Some(Answer::Opened {
                    session_id: event.cluster_session_id,
                    leadership_term_id: event.leadership_term_id,
                    leader_member_id: event.leader_member_id,
                    leader_heartbeat_timeout_ns: event.leader_heartbeat_timeout_ns,
                }),
                EventCode::Redirect => Some(Answer::Redirect {
                    leader_member_id: event.leader_member_id,
                    endpoints: detail,
                }),
                EventCode::Error => Some(Answer::Refused { detail }),
                EventCode::AuthenticationRejected => {
                    Some(Answer::AuthenticationRejected { detail })
                }
                EventCode::Closed | EventCode::Unknown(_) => None,
            }
        }
        Egress::Challenge(challenge) if challenge.correlation_id == correlation_id => {
            Some(Answer::Challenge {
                session_id: challenge.cluster_session_id,
                challenge: challenge.encoded_challenge.to_vec(),
            })
        }
        Egress::SessionEvent(_)
        | Egress::Challenge(_)
        | Egress::NewLeaderEvent(_)
        | Egress::AdminResponse(_)
        | Egress::SessionMessageHeader(_) => None,
    }
}

/// Text of the wire, for people: what is not UTF-8 is replaced.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Polls the images one by one, so that the handler knows on which a message came; returns how many
/// fragments.
pub(crate) fn poll_images(
    egress: &mut Subscription,
    assembler: &mut FragmentAssembler,
    limit: usize,
    mut on_message: impl FnMut(CorrelationId, &[u8]) -> Action,
) -> usize {
    egress.update();
    let mut done = 0;
    for image in egress.images_mut() {
        let id = image.correlation_id();
        done += image.controlled_poll(limit.saturating_sub(done), |fragment| {
            assembler.on_fragment_controlled(fragment, |message| on_message(id, message.payload()))
        });
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::bytes::SemanticVersion;
    use wire::cluster::egress::{Challenge, NewLeaderEvent, SessionEvent};
    use wire::message::Message;

    fn encode<'a>(message: &impl Message<'a>) -> Vec<u8> {
        let mut bytes = vec![0; message.encoded_length()];
        message.encode(&mut bytes).unwrap();
        bytes
    }

    fn event(code: EventCode, detail: &[u8]) -> Vec<u8> {
        encode(&SessionEvent {
            cluster_session_id: 5,
            correlation_id: 9,
            leadership_term_id: 3,
            leader_member_id: 1,
            code,
            version: SemanticVersion::new(0, 3, 0),
            leader_heartbeat_timeout_ns: Some(7),
            detail,
        })
    }

    #[test]
    fn a_session_hears_only_what_is_said_to_it() {
        let header =
            SessionMessageHeader { leadership_term_id: 3, cluster_session_id: 5, timestamp: 11 };
        let mut message = encode(&header);
        message.extend(b"payload");
        let heard = EgressEvent::Message { timestamp: 11, payload: b"payload" };
        assert_eq!(hear(&message, 5), Heard::Event(heard));
        assert_eq!(hear(&message, 6), Heard::Nothing);
        assert_eq!(hear(&message[..20], 5), Heard::Nothing);
        let leader = encode(&NewLeaderEvent {
            leadership_term_id: 4,
            cluster_session_id: 5,
            leader_member_id: 2,
            ingress_endpoints: b"2=h:1",
        });
        let expected =
            Heard::NewLeader { leadership_term_id: 4, leader_member_id: 2, endpoints: b"2=h:1" };
        assert_eq!(hear(&leader, 5), expected);
        assert_eq!(hear(&leader, 6), Heard::Nothing);
    }

    #[test]
    fn of_session_events_only_the_end_matters_to_an_open_session() {
        let closed = event(EventCode::Closed, b"TIMEOUT");
        assert_eq!(hear(&closed, 5), Heard::Closed { detail: b"TIMEOUT" });
        assert_eq!(hear(&closed, 6), Heard::Nothing);
        for code in [EventCode::Ok, EventCode::Error, EventCode::Redirect] {
            assert_eq!(hear(&event(code, b""), 5), Heard::Nothing);
        }
    }

    #[test]
    fn a_request_takes_the_answers_with_its_own_correlation_id() {
        let opened = Answer::Opened {
            session_id: 5,
            leadership_term_id: 3,
            leader_member_id: 1,
            leader_heartbeat_timeout_ns: Some(7),
        };
        assert_eq!(answer(&event(EventCode::Ok, b""), 9), Some(opened));
        assert_eq!(answer(&event(EventCode::Ok, b""), 8), None);
        let redirect = Answer::Redirect { leader_member_id: 1, endpoints: "1=h:1".to_string() };
        assert_eq!(answer(&event(EventCode::Redirect, b"1=h:1"), 9), Some(redirect));
        let refused = Answer::Refused { detail: "no".to_string() };
        assert_eq!(answer(&event(EventCode::Error, b"no"), 9), Some(refused));
        let challenge = encode(&Challenge {
            correlation_id: 9,
            cluster_session_id: 5,
            encoded_challenge: b"who",
        });
        let asked = Answer::Challenge { session_id: 5, challenge: b"who".to_vec() };
        assert_eq!(answer(&challenge, 9), Some(asked));
        assert_eq!(answer(&challenge, 8), None);
        assert_eq!(answer(b"nonsense", 9), None);
    }
}
