//! The services of this node: one publication that all of them hear, one subscription for what
//! they and the tools say.

pub mod codec;

use client::{
    Action, AddError, FragmentAssembler, Handle, OfferError, Pending, Publication, Subscription,
};
use consensus::{Consensus, Outcome, ServiceAction, ServiceId, ServiceInput};
use runtime::{Nanos, Now};
use wire::bytes::{DecodeError, EncodeError};
use wire::counters::{CounterId, CounterTypeId};
use wire::position::StreamId;

use codec::{FromService, LogSource};

use crate::config::ChannelsConfig;
use crate::members::ClusterMember;

/// Fragments taken in one pass, at most.
const FRAGMENT_LIMIT: usize = 25;
/// How often something is offered before it waits for the next pass.
const SEND_ATTEMPTS: usize = 5;
/// How often it is looked whether services live.
const WATCH_INTERVAL: Nanos = Nanos::from_millis(10);

/// Why services can no longer be spoken with, or what of theirs is recorded as an error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServicesError {
    /// Bytes that are no message of a service.
    #[error("a service sent what is no message: {0}")]
    Undecodable(#[from] DecodeError),
    /// A field is too long for the wire.
    #[error("a message to services cannot be encoded: {0}")]
    Encode(#[from] EncodeError),
    /// The stream to services is closed or at its end.
    #[error("services cannot be told: {0}")]
    Offer(#[from] OfferError),
}

/// A tool that waits for the list of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MembersQuery {
    /// Echoed.
    pub correlation_id: i64,
    /// Whether with what each last said.
    pub is_extended: bool,
}

/// The two streams while they are asked for.
pub struct Joining {
    publication: Pending<Publication>,
    subscription: Pending<Subscription>,
    have: (Option<Publication>, Option<Subscription>),
}

impl Joining {
    /// Asks the driver for both.
    #[must_use]
    pub fn ask(handle: &Handle, config: &ChannelsConfig) -> Self {
        let channel = &config.control_channel;
        let stream = StreamId(config.service_stream_id);
        let publication = handle.add_publication(channel, stream);
        let stream = StreamId(config.consensus_module_stream_id);
        let subscription = handle.add_subscription(channel, stream);
        Self { publication, subscription, have: (None, None) }
    }

    /// Both, once they are there.
    ///
    /// # Errors
    /// The driver refuses one, or is gone.
    pub fn poll(&mut self, handle: &Handle) -> Result<Option<Services>, AddError> {
        if self.have.0.is_none() {
            self.have.0 = self.publication.poll()?;
        }
        if self.have.1.is_none() {
            self.have.1 = self.subscription.poll()?;
        }
        if self.have.0.is_none() || self.have.1.is_none() {
            return Ok(None);
        }
        let (Some(publication), Some(subscription)) = std::mem::take(&mut self.have) else {
            return Ok(None);
        };
        Ok(Some(Services::new(handle.clone(), publication, subscription)))
    }
}

/// A service's sign of life.
struct Container {
    service: ServiceId,
    client_id: i64,
    heartbeat: Option<CounterId>,
}

/// All that goes between the module and its services. Nothing here blocks.
pub struct Services {
    handle: Handle,
    publication: Publication,
    subscription: Subscription,
    assembler: FragmentAssembler,
    containers: Vec<Container>,
    next_watch: Nanos,
    queries: Vec<MembersQuery>,
    buffer: Vec<u8>,
}

impl Services {
    const fn new(handle: Handle, publication: Publication, subscription: Subscription) -> Self {
        Self {
            handle,
            publication,
            subscription,
            assembler: FragmentAssembler::new(),
            containers: Vec::new(),
            next_watch: Nanos(0),
            queries: Vec::new(),
            buffer: Vec::new(),
        }
    }

    /// Hands over what services said, up to an acknowledgement: what follows from it comes before
    /// what they say next. Returns how many fragments were taken.
    pub fn receive(
        &mut self,
        mut on_input: impl FnMut(ServiceInput<'_>),
        mut on_error: impl FnMut(ServicesError),
    ) -> usize {
        let Self { assembler, containers, queries, .. } = self;
        self.subscription.controlled_poll(FRAGMENT_LIMIT, |fragment| {
            assembler.on_fragment_controlled(fragment, |message| {
                match codec::decode(message.payload(), message.reserved_value()) {
                    Ok(Some(FromService::Input(input))) => {
                        let is_ack = matches!(input, ServiceInput::Ack { .. });
                        containers.extend(started(&input));
                        on_input(input);
                        return if is_ack { Action::Break } else { Action::Continue };
                    }
                    Ok(Some(FromService::MembersQuery { correlation_id, is_extended })) => {
                        queries.push(MembersQuery { correlation_id, is_extended });
                    }
                    Ok(None) => {}
                    Err(error) => on_error(error.into()),
                }
                Action::Continue
            })
        })
    }

    /// Tells of containers that have died: the counter by which their client lives has gone.
    /// Returns when to look again.
    pub fn watch(&mut self, now: Now, mut on_input: impl FnMut(ServiceInput<'_>)) -> Nanos {
        if self.containers.is_empty() {
            return Nanos::MAX;
        }
        if now.mono < self.next_watch {
            return self.next_watch;
        }
        self.next_watch = now.mono + WATCH_INTERVAL;
        let counters = self.handle.counters();
        self.containers.retain_mut(|container| {
            let id = container.client_id;
            let Some(counter) = container.heartbeat else {
                container.heartbeat = counters.find(CounterTypeId::CLIENT_HEARTBEAT, id);
                return true;
            };
            let lives = counters.is_registered(counter, id);
            if !lives {
                on_input(ServiceInput::Died { service: container.service });
            }
            lives
        });
        self.next_watch
    }

    /// Performs what the core has to say to services.
    ///
    /// # Errors
    /// See [`ServicesError`]: the module must end, since its services would wait for ever.
    pub fn perform(
        &mut self,
        action: &ServiceAction,
        log: LogSource<'_>,
    ) -> Result<Outcome, ServicesError> {
        codec::encode(action, log, &mut self.buffer)?;
        Ok(if offer(&self.publication, &self.buffer)? {
            Outcome::Done
        } else {
            Outcome::BackPressured
        })
    }

    /// Answers tools that asked for the members; returns how many were answered.
    ///
    /// # Errors
    /// See [`ServicesError`].
    pub fn answer(
        &mut self,
        core: &Consensus,
        members: &[ClusterMember],
        own: i32,
        now: Now,
    ) -> Result<usize, ServicesError> {
        let mut count = 0;
        while let Some(query) = self.queries.first() {
            codec::encode_members(query, core, members, own, now, &mut self.buffer)?;
            if !offer(&self.publication, &self.buffer)? {
                break;
            }
            self.queries.remove(0);
            count += 1;
        }
        Ok(count)
    }
}

/// A first acknowledgement says which client is the container's.
fn started(input: &ServiceInput<'_>) -> Option<Container> {
    match *input {
        ServiceInput::Ack { service, ack_id: 0, relevant_id, .. } if relevant_id != -1 => {
            Some(Container { service, client_id: relevant_id, heartbeat: None })
        }
        _ => None,
    }
}

/// False if it does not go just now: back pressure, or no service is there yet.
fn offer(publication: &Publication, message: &[u8]) -> Result<bool, OfferError> {
    for _ in 0..SEND_ATTEMPTS {
        match publication.offer(message) {
            Ok(_) => return Ok(true),
            Err(OfferError::BackPressured | OfferError::AdminAction | OfferError::NotConnected) => {
            }
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use wire::position::Position;

    use super::*;

    #[test]
    fn a_container_is_known_by_its_first_acknowledgement_unless_its_service_failed() {
        let ack = |ack_id, relevant_id| ServiceInput::Ack {
            service: ServiceId(1),
            ack_id,
            log_position: Position(0),
            relevant_id,
        };
        assert_eq!(
            started(&ack(0, 77)).map(|it| (it.service, it.client_id)),
            Some((ServiceId(1), 77))
        );
        assert!(started(&ack(0, -1)).is_none());
        assert!(started(&ack(1, 77)).is_none());
        assert!(started(&ServiceInput::Died { service: ServiceId(1) }).is_none());
    }
}
