//! The two streams between container and module.

use std::collections::VecDeque;

use client::{Action, FragmentAssembler, OfferError, Publication, Subscription};
use wire::cluster::Role;
use wire::cluster::service::{ServiceAck, ToService, mark_of};
use wire::message::Message;
use wire::position::Position;

use crate::requests::Requests;

/// Acknowledgements that have not gone; the module asks for fewer before it waits.
const ACKS_MAX: usize = 16;
/// Bytes of an encoded acknowledgement.
const ACK_LENGTH: usize = 44;

/// The streams to and from the module.
pub(crate) struct ModuleLink {
    publication: Publication,
    subscription: Subscription,
    assembler: FragmentAssembler,
    acks: VecDeque<ServiceAck>,
    next_ack_id: i64,
    service_id: i32,
}

/// What the module asks of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Join(Join),
    Terminate { position: Position, ack_required: bool },
    Acknowledge { position: Position },
}

/// A log to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Join {
    pub(crate) position: Position,
    pub(crate) max_position: Position,
    pub(crate) member_id: i32,
    pub(crate) session_id: i32,
    pub(crate) stream_id: i32,
    pub(crate) is_startup: bool,
    pub(crate) role: Role,
    pub(crate) channel: String,
}

impl ModuleLink {
    pub(crate) fn new(publication: Publication, subscription: Subscription, service: i32) -> Self {
        Self {
            publication,
            subscription,
            assembler: FragmentAssembler::new(),
            acks: VecDeque::with_capacity(ACKS_MAX),
            next_ack_id: 0,
            service_id: service,
        }
    }

    /// Queues an acknowledgement; ids count over all kinds.
    ///
    /// # Errors
    /// The module asks for more than it may.
    pub(crate) fn acknowledge(
        &mut self,
        position: Position,
        timestamp: i64,
        relevant_id: i64,
    ) -> Result<(), String> {
        if self.acks.len() == ACKS_MAX {
            return Err(format!("the module takes no acknowledgements: {ACKS_MAX} wait"));
        }
        self.acks.push_back(ServiceAck {
            log_position: position.0,
            timestamp,
            ack_id: self.next_ack_id,
            relevant_id,
            service_id: self.service_id,
        });
        self.next_ack_id += 1;
        Ok(())
    }

    /// Sends what waits: requests of the service, then acknowledgements, which stand behind them.
    /// Returns how many messages went and whether nothing waits any more.
    pub(crate) fn flush(&mut self, requests: &mut Requests) -> Result<(usize, bool), String> {
        let mut failure = None;
        let publication = &self.publication;
        let mut send = |message: &[u8], at| match offer(publication, message, at) {
            Ok(went) => went,
            Err(error) => {
                failure = Some(error);
                false
            }
        };
        let mut done = requests.drain(&mut send);
        while requests.is_empty()
            && let Some(ack) = self.acks.front()
        {
            let mut bytes = [0; ACK_LENGTH];
            let ack_position = Position(ack.log_position);
            let encoded = ack.encode(&mut bytes);
            assert!(encoded.is_ok(), "an ack has the length of its buffer: {encoded:?}");
            if !send(&bytes, ack_position) {
                break;
            }
            self.acks.pop_front();
            done += 1;
        }
        match failure {
            Some(error) => Err(format!("stream to the module: {error}")),
            None => Ok((done, requests.is_empty() && self.acks.is_empty())),
        }
    }

    /// The next order of the module, if there is one. Answers to tools are passed over.
    pub(crate) fn poll(&mut self) -> Result<Option<Order>, String> {
        let (mut found, mut failure) = (None, None);
        let assembler = &mut self.assembler;
        self.subscription.controlled_poll(10, |fragment| {
            if found.is_some() || failure.is_some() {
                return Action::Abort;
            }
            assembler.on_fragment_controlled(fragment, |message| {
                match order(message.payload()) {
                    Ok(None) => return Action::Continue,
                    Ok(order) => found = order,
                    Err(error) => failure = Some(error),
                }
                Action::Break
            })
        });
        failure.map_or(Ok(found), Err)
    }
}

/// False when it cannot go just now: back pressure, or a module that is not there yet.
fn offer(publication: &Publication, message: &[u8], at: Position) -> Result<bool, OfferError> {
    match publication.offer_with_reserved(&[message], |_, _| mark_of(at)) {
        Ok(_) => Ok(true),
        Err(OfferError::AdminAction | OfferError::BackPressured | OfferError::NotConnected) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn order(message: &[u8]) -> Result<Option<Order>, String> {
    let decoded = ToService::decode(message).map_err(|error| format!("module said: {error}"))?;
    Ok(match decoded {
        Some(ToService::JoinLog(join)) => Some(Order::Join(Join {
            position: Position(join.log_position),
            max_position: Position(join.max_log_position),
            member_id: join.member_id,
            session_id: join.log_session_id,
            stream_id: join.log_stream_id,
            is_startup: join.is_startup,
            role: join.role,
            channel: String::from_utf8_lossy(join.log_channel).into_owned(),
        })),
        Some(ToService::ServiceTerminationPosition(end)) => {
            let position = Position(end.log_position);
            Some(Order::Terminate { position, ack_required: end.ack_required })
        }
        Some(ToService::RequestServiceAck(request)) => {
            Some(Order::Acknowledge { position: Position(request.log_position) })
        }
        Some(
            ToService::ClusterMembersResponse(_) | ToService::ClusterMembersExtendedResponse(_),
        )
        | None => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::cluster::service::{ClusterMembersResponse, JoinLog, ServiceTerminationPosition};

    fn encode<'a>(message: &impl Message<'a>) -> Vec<u8> {
        let mut bytes = vec![0; message.encoded_length()];
        message.encode(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn orders_are_taken_from_the_module_and_answers_to_tools_are_passed_over() {
        let join = JoinLog {
            log_position: 64,
            max_log_position: i64::MAX,
            member_id: 1,
            log_session_id: 7,
            log_stream_id: 100,
            is_startup: false,
            role: Role::Leader,
            is_standby: false,
            log_channel: b"aeron-spy:aeron:udp?tags=1",
        };
        let expected = Join {
            position: Position(64),
            max_position: Position(i64::MAX),
            member_id: 1,
            session_id: 7,
            stream_id: 100,
            is_startup: false,
            role: Role::Leader,
            channel: "aeron-spy:aeron:udp?tags=1".to_string(),
        };
        assert_eq!(order(&encode(&join)), Ok(Some(Order::Join(expected))));
        let end = ServiceTerminationPosition { log_position: 0, ack_required: true };
        let terminate = Order::Terminate { position: Position(0), ack_required: true };
        assert_eq!(order(&encode(&end)), Ok(Some(terminate)));
        let members = ClusterMembersResponse {
            correlation_id: 1,
            leader_member_id: 0,
            active_members: b"",
            passive_followers: b"",
        };
        assert_eq!(order(&encode(&members)), Ok(None));
        assert!(order(&[0; 8]).is_err());
    }
}
