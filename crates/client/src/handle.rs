//! What any thread may ask of a client: requests go into its inbox, answers into a [`Pending`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;

use memory::counters::CountersReader;
use wire::control::Request as DriverRequest;
use wire::control::{CHANNEL_LENGTH_MAX, ClientId, Command, CorrelationId, REASON_LENGTH_MAX};
use wire::counters::{CounterId, CounterTypeId, KEY_LENGTH_MAX, LABEL_LENGTH_MAX};
use wire::position::{Position, SessionId, StreamId};

use crate::cnc::Cnc;
use crate::counter::Counter;
use crate::error::{AddError, ClientError};
use crate::exclusive_publication::ExclusivePublication;
use crate::pending::{Pending, Reply};
use crate::publication::Publication;
use crate::subscription::Subscription;

/// Asks things of a client from any thread. Cheap to clone.
///
/// A request goes out when the client is stepped next. A [`Client`](crate::Client) is its own
/// handle by dereference.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) cnc: Cnc,
    pub(crate) client_id: ClientId,
    pub(crate) is_closed: AtomicBool,
    inbox: Sender<Request>,
}

/// What the conductor is to do.
pub(crate) enum Request {
    /// Send a command that will be answered.
    Ask(Ask),
    /// Close a resource and tell the driver.
    Remove { registration_id: CorrelationId, resource: Resource, revoke: bool },
}

/// Kinds of resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    Publication,
    Subscription,
    Counter,
}

/// A command on its way out, as it will stand in the ring.
pub(crate) struct Outgoing {
    pub(crate) type_id: i32,
    pub(crate) body: Vec<u8>,
}

/// A command with what its answer needs.
pub(crate) struct Ask {
    pub(crate) id: CorrelationId,
    pub(crate) message: Outgoing,
    pub(crate) question: Question,
}

/// What was asked, and where the answer goes.
pub(crate) enum Question {
    Publication {
        channel: String,
        stream_id: StreamId,
        reply: Reply<Publication>,
    },
    ExclusivePublication {
        channel: String,
        stream_id: StreamId,
        reply: Reply<ExclusivePublication>,
    },
    Subscription {
        channel: String,
        stream_id: StreamId,
        reply: Reply<Subscription>,
    },
    Counter {
        type_id: CounterTypeId,
        reply: Reply<Counter>,
    },
    StaticCounter {
        type_id: CounterTypeId,
        registration_id: CorrelationId,
        reply: Reply<Counter>,
    },
    SessionId {
        stream_id: StreamId,
        reply: Reply<SessionId>,
    },
    Done {
        what: String,
        reply: Reply<()>,
    },
}

impl Outgoing {
    pub(crate) fn new(command: &Command<'_>) -> Self {
        let mut body = vec![0; command.encoded_length()];
        let length = command.encode(&mut body).expect("the body has the encoded length");
        body.truncate(length);
        Self { type_id: command.type_id(), body }
    }
}

impl Question {
    /// For people: what was asked.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Publication { channel, stream_id, .. } => {
                format!("add publication {channel} stream {}", stream_id.0)
            }
            Self::ExclusivePublication { channel, stream_id, .. } => {
                format!("add exclusive publication {channel} stream {}", stream_id.0)
            }
            Self::Subscription { channel, stream_id, .. } => {
                format!("add subscription {channel} stream {}", stream_id.0)
            }
            Self::Counter { type_id, .. } => format!("add counter of type {}", type_id.0),
            Self::StaticCounter { type_id, registration_id, .. } => {
                format!("add static counter {} of type {}", registration_id.0, type_id.0)
            }
            Self::SessionId { stream_id, .. } => {
                format!("next session id of stream {}", stream_id.0)
            }
            Self::Done { what, .. } => what.clone(),
        }
    }

    /// Answers that it failed. Nobody may be listening any more.
    pub(crate) fn fail(self, error: AddError) {
        match self {
            Self::Publication { reply, .. } => drop(reply.send(Err(error))),
            Self::ExclusivePublication { reply, .. } => drop(reply.send(Err(error))),
            Self::Subscription { reply, .. } => drop(reply.send(Err(error))),
            Self::Counter { reply, .. } | Self::StaticCounter { reply, .. } => {
                drop(reply.send(Err(error)));
            }
            Self::SessionId { reply, .. } => drop(reply.send(Err(error))),
            Self::Done { reply, .. } => drop(reply.send(Err(error))),
        }
    }

    /// The kind of resource that the driver makes for it, if any.
    pub(crate) const fn resource(&self) -> Option<Resource> {
        match self {
            Self::Publication { .. } | Self::ExclusivePublication { .. } => {
                Some(Resource::Publication)
            }
            Self::Subscription { .. } => Some(Resource::Subscription),
            Self::Counter { .. } => Some(Resource::Counter),
            Self::StaticCounter { .. } | Self::SessionId { .. } | Self::Done { .. } => None,
        }
    }
}

impl Handle {
    pub(crate) fn new(cnc: Cnc, client_id: ClientId, inbox: Sender<Request>) -> Self {
        let is_closed = AtomicBool::new(false);
        Self { shared: Arc::new(Shared { cnc, client_id, is_closed, inbox }) }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The client's id: owner of its counters, and the key of its heartbeat counter.
    #[must_use]
    pub fn client_id(&self) -> ClientId {
        self.shared.client_id
    }

    /// Whether the client has ended, in order or not.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        // Acquire: pairs with the release by the conductor when it closes.
        self.shared.is_closed.load(Ordering::Acquire)
    }

    /// A number that no other client of this driver gets.
    #[must_use]
    pub fn next_correlation_id(&self) -> CorrelationId {
        CorrelationId(self.shared.cnc.next_correlation_id())
    }

    /// All counters of the driver, its own and those of its clients.
    #[must_use]
    pub fn counters(&self) -> &CountersReader {
        self.shared.cnc.counters()
    }

    /// Asks for a publication that threads may share. Those of one channel and stream in one client
    /// share their log.
    pub fn add_publication(&self, channel: &str, stream_id: StreamId) -> Pending<Publication> {
        let request = DriverRequest::AddPublication { stream_id, channel };
        self.ask(request, checked_channel(channel), |reply| Question::Publication {
            channel: channel.to_string(),
            stream_id,
            reply,
        })
    }

    /// Asks for a publication with a single writer, apart from all others.
    pub fn add_exclusive_publication(
        &self,
        channel: &str,
        stream_id: StreamId,
    ) -> Pending<ExclusivePublication> {
        let request = DriverRequest::AddExclusivePublication { stream_id, channel };
        self.ask(request, checked_channel(channel), |reply| Question::ExclusivePublication {
            channel: channel.to_string(),
            stream_id,
            reply,
        })
    }

    /// Asks for a subscription. Its images come once it is there.
    pub fn add_subscription(&self, channel: &str, stream_id: StreamId) -> Pending<Subscription> {
        let request = DriverRequest::AddSubscription { stream_id, channel };
        self.ask(request, checked_channel(channel), |reply| Question::Subscription {
            channel: channel.to_string(),
            stream_id,
            reply,
        })
    }

    /// Asks for a counter that lives as long as its value or this client.
    ///
    /// At most 112 bytes of key and 380 of label (ASCII); users take type ids from 1000.
    pub fn add_counter(&self, type_id: CounterTypeId, key: &[u8], label: &str) -> Pending<Counter> {
        let request = DriverRequest::AddCounter { type_id, key, label };
        self.ask(request, checked_counter(key, label), |reply| Question::Counter { type_id, reply })
    }

    /// Asks for a counter that outlives every client. The same type and registration id name the
    /// same counter; one writer at a time is the caller's business.
    pub fn add_static_counter(
        &self,
        type_id: CounterTypeId,
        registration_id: CorrelationId,
        key: &[u8],
        label: &str,
    ) -> Pending<Counter> {
        let request = DriverRequest::AddStaticCounter { registration_id, type_id, key, label };
        self.ask(request, checked_counter(key, label), |reply| Question::StaticCounter {
            type_id,
            registration_id,
            reply,
        })
    }

    /// Sends a publication (control-mode manual) to one more destination. The id of the pending
    /// answer is the destination's.
    pub fn add_destination(&self, publication: CorrelationId, channel: &str) -> Pending<()> {
        let request = DriverRequest::AddDestination { registration_id: publication, channel };
        self.done(request, checked_channel(channel), || format!("add destination {channel}"))
    }

    /// Sends a publication to one destination less, by its channel.
    pub fn remove_destination(&self, publication: CorrelationId, channel: &str) -> Pending<()> {
        let request = DriverRequest::RemoveDestination { registration_id: publication, channel };
        self.done(request, checked_channel(channel), || format!("remove destination {channel}"))
    }

    /// Sends a publication to one destination less, by the id of the request that added it.
    pub fn remove_destination_by_id(
        &self,
        publication: CorrelationId,
        destination: CorrelationId,
    ) -> Pending<()> {
        let request =
            DriverRequest::RemoveDestinationById { registration_id: publication, destination };
        self.done(request, Ok(()), || format!("remove destination {}", destination.0))
    }

    /// Receives a subscription (control-mode manual) from one more destination.
    pub fn add_receive_destination(
        &self,
        subscription: CorrelationId,
        channel: &str,
    ) -> Pending<()> {
        let request =
            DriverRequest::AddReceiveDestination { registration_id: subscription, channel };
        self.done(request, checked_channel(channel), || {
            format!("add receive destination {channel}")
        })
    }

    /// Receives a subscription from one destination less.
    pub fn remove_receive_destination(
        &self,
        subscription: CorrelationId,
        channel: &str,
    ) -> Pending<()> {
        let request =
            DriverRequest::RemoveReceiveDestination { registration_id: subscription, channel };
        self.done(request, checked_channel(channel), || {
            format!("remove receive destination {channel}")
        })
    }

    /// Asks for a session id that is not in use on a stream. With a driver that cannot tell
    /// (control protocol below 1.0.0) the answer is random.
    pub fn next_session_id(&self, stream_id: StreamId) -> Pending<SessionId> {
        let request = DriverRequest::NextAvailableSessionId { stream_id };
        self.ask(request, Ok(()), |reply| Question::SessionId { stream_id, reply })
    }

    /// Refuses an image; its publisher is told the reason (at most 1023 bytes). Not for spies.
    pub fn reject_image(
        &self,
        image: CorrelationId,
        position: Position,
        reason: &str,
    ) -> Pending<()> {
        let request = DriverRequest::RejectImage { image, position, reason };
        let check = checked("reason", reason.len(), REASON_LENGTH_MAX);
        self.done(request, check, || format!("reject image {}", image.0))
    }

    /// Closes a publication by its id, wherever its value is.
    pub fn remove_publication(&self, registration_id: CorrelationId) {
        self.remove(registration_id, Resource::Publication, false);
    }

    /// Closes a subscription by its id, wherever its value is.
    pub fn remove_subscription(&self, registration_id: CorrelationId) {
        self.remove(registration_id, Resource::Subscription, false);
    }

    /// Frees a counter by its id, wherever its value is.
    pub fn remove_counter(&self, registration_id: CorrelationId) {
        self.remove(registration_id, Resource::Counter, false);
    }

    /// Enqueues a removal. A client that is gone has nothing to remove.
    pub(crate) fn remove(&self, registration_id: CorrelationId, resource: Resource, revoke: bool) {
        let request = Request::Remove { registration_id, resource, revoke };
        let _ = self.shared.inbox.send(request);
    }

    fn done(
        &self,
        request: DriverRequest<'_>,
        check: Result<(), AddError>,
        what: impl FnOnce() -> String,
    ) -> Pending<()> {
        self.ask(request, check, |reply| Question::Done { what: what(), reply })
    }

    fn ask<T>(
        &self,
        request: DriverRequest<'_>,
        check: Result<(), AddError>,
        question: impl FnOnce(Reply<T>) -> Question,
    ) -> Pending<T> {
        let id = self.next_correlation_id();
        if let Err(error) = check {
            return Pending::failed(id, error);
        }
        if self.is_closed() {
            return Pending::failed(id, AddError::Client(ClientError::Closed));
        }
        let (reply, pending) = Pending::new(id);
        let command = Command { client_id: self.client_id(), correlation_id: id, request };
        let message = Outgoing::new(&command);
        let ask = Ask { id, message, question: question(reply) };
        // A client that ended meanwhile drops the reply: the pending answer says so.
        let _ = self.shared.inbox.send(Request::Ask(ask));
        pending
    }

    /// The status of a channel by its counter; see [`ChannelStatus`].
    pub(crate) fn channel_status(&self, id: CounterId) -> ChannelStatus {
        use wire::counters::channel_status as status;
        match (id, self.shared.cnc.counter_value(id)) {
            (CounterId::NONE, _) => ChannelStatus::Active,
            (_, Some(status::INITIALIZING)) => ChannelStatus::Initializing,
            (_, Some(status::ACTIVE)) => ChannelStatus::Active,
            (_, Some(status::CLOSING)) | (_, None) => ChannelStatus::Closing,
            (_, Some(_)) => ChannelStatus::Errored,
        }
    }
}

/// What a channel's socket is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelStatus {
    /// It is not open yet.
    Initializing,
    /// It is in use; always so for IPC and spies.
    Active,
    /// It is being closed, or gone.
    Closing,
    /// It failed.
    Errored,
}

fn checked(what: &'static str, length: usize, max: usize) -> Result<(), AddError> {
    if length <= max { Ok(()) } else { Err(AddError::TooLong { what, length, max }) }
}

fn checked_channel(channel: &str) -> Result<(), AddError> {
    checked("channel", channel.len(), CHANNEL_LENGTH_MAX)
}

fn checked_counter(key: &[u8], label: &str) -> Result<(), AddError> {
    checked("counter key", key.len(), KEY_LENGTH_MAX)?;
    checked("counter label", label.len(), LABEL_LENGTH_MAX)
}
