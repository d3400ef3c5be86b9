//! What the driver says, and whom it concerns.
//!
//! The broadcast goes to every client: answers to others are ignored by their correlation ids.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::mpsc::channel;

use runtime::{Nanos, Now};
use wire::control::{
    AvailableImage, Command, CorrelationId, ErrorCode, Event, PublicationError, PublicationReady,
};
use wire::counters::CounterId;
use wire::uri::ChannelUri;

use crate::conductor::removal;
use crate::counter::Counter;
use crate::error::{AddError, ClientError};
use crate::events::{ClientEvent, Events};
use crate::exclusive_publication::ExclusivePublication;
use crate::handle::{Handle, Outgoing, Question, Resource};
use crate::image::{Image, ImageSetup};
use crate::logs::Logs;
use crate::publication::{Publication, PublicationSetup};
use crate::resources::{CounterRecord, PublicationRecord, Resources, SubscriptionRecord};
use crate::state::{Changes, Closed};
use crate::subscription::{Subscription, SubscriptionSetup};

/// Requests that timed out whose late answers are still looked for, at most.
const ABANDONED_MAX: usize = 256;

/// Open requests, resources in use, and what was told without being asked.
pub(crate) struct Answers {
    handle: Handle,
    logs: Logs,
    timeout: Nanos,
    pending: BTreeMap<CorrelationId, Registration>,
    /// Requests that timed out: what the driver makes of them late is removed again.
    abandoned: BTreeSet<CorrelationId>,
    resources: Resources,
    removals: Vec<(CorrelationId, Resource)>,
    events: Events,
}

struct Registration {
    deadline: Nanos,
    question: Question,
}

impl Answers {
    pub(crate) fn new(handle: Handle, logs: Logs, timeout: Nanos) -> Self {
        Self {
            handle,
            logs,
            timeout,
            pending: BTreeMap::new(),
            abandoned: BTreeSet::new(),
            resources: Resources::default(),
            removals: Vec::new(),
            events: Events::new(),
        }
    }

    pub(crate) const fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(crate) const fn events(&mut self) -> &mut Events {
        &mut self.events
    }

    pub(crate) const fn resources(&mut self) -> &mut Resources {
        &mut self.resources
    }

    /// Waits for the answer to a request.
    pub(crate) fn expect(&mut self, id: CorrelationId, question: Question, now: Now) {
        let deadline = now.mono + self.timeout;
        self.pending.insert(id, Registration { deadline, question });
    }

    /// When the first open request times out. Ids grow, so the first is the oldest.
    pub(crate) fn next_deadline(&self) -> Nanos {
        self.pending.values().map(|open| open.deadline).min().unwrap_or(Nanos::MAX)
    }

    /// Fails the requests that have waited for too long; returns how many.
    pub(crate) fn time_out(&mut self, now: Now) -> usize {
        let mut count = 0;
        while self.next_deadline() <= now.mono
            && let Some(id) = self.overdue(now)
            && let Some(Registration { question, .. }) = self.pending.remove(&id)
        {
            if question.resource().is_some() {
                if self.abandoned.len() == ABANDONED_MAX {
                    self.abandoned.pop_first();
                }
                self.abandoned.insert(id);
            }
            let request = question.describe();
            question.fail(AddError::Timeout { request, waited: self.timeout });
            count += 1;
        }
        count
    }

    fn overdue(&self, now: Now) -> Option<CorrelationId> {
        self.pending.iter().find(|(_, open)| open.deadline <= now.mono).map(|(id, _)| *id)
    }

    /// Puts removals of what nobody waits for any more onto `stash`; returns how many.
    pub(crate) fn drain_removals(&mut self, stash: &mut VecDeque<Outgoing>) -> usize {
        let count = self.removals.len();
        for (id, resource) in self.removals.drain(..) {
            let command = Command {
                client_id: self.handle.client_id(),
                correlation_id: self.handle.next_correlation_id(),
                request: removal(id, resource, false),
            };
            stash.push_back(Outgoing::new(&command));
        }
        count
    }

    /// Gives up logs that nobody uses; returns how many.
    pub(crate) fn release_logs(&mut self, now: Now) -> usize {
        self.logs.release_unused(now)
    }

    /// Closes everything and fails what is open.
    pub(crate) fn end(&mut self, error: &ClientError) {
        self.resources.close_all();
        for registration in std::mem::take(&mut self.pending).into_values() {
            registration.question.fail(AddError::Client(error.clone()));
        }
        self.abandoned.clear();
        self.removals.clear();
    }

    /// Takes in one message of the driver. Messages of unknown types and malformed ones are
    /// skipped: they cannot concern this client.
    pub(crate) fn on_message(&mut self, type_id: i32, body: &[u8]) -> Result<(), ClientError> {
        let Ok(event) = Event::decode(type_id, body) else { return Ok(()) };
        match event {
            Event::Error { offending, code, text } => self.on_error(offending, code, text),
            Event::AvailableImage(image) => self.on_available_image(&image),
            Event::UnavailableImage { image, subscription, .. } => {
                self.on_unavailable_image(image, subscription);
            }
            Event::PublicationReady(ready) | Event::ExclusivePublicationReady(ready) => {
                self.on_publication_ready(&ready);
            }
            Event::SubscriptionReady { correlation_id, channel_status_id } => {
                self.on_subscription_ready(correlation_id, channel_status_id);
            }
            Event::OperationSucceeded { correlation_id } => self.on_success(correlation_id),
            Event::CounterReady { correlation_id, counter_id } => {
                self.on_counter(correlation_id, counter_id);
                let registration_id = correlation_id;
                self.events.push(ClientEvent::CounterAvailable { registration_id, counter_id });
            }
            Event::StaticCounter { correlation_id, counter_id } => {
                self.on_counter(correlation_id, counter_id);
            }
            Event::UnavailableCounter { registration_id, counter_id } => {
                self.resources.counter_gone(registration_id, counter_id);
                self.events.push(ClientEvent::CounterUnavailable { registration_id, counter_id });
            }
            Event::ClientTimedOut { client_id } if client_id == self.handle.client_id() => {
                return Err(ClientError::ClientTimeout { client_id });
            }
            Event::ClientTimedOut { .. } => {}
            Event::PublicationError(error) => self.on_publication_error(&error),
            Event::NextAvailableSessionId { correlation_id, session_id } => {
                if let Some(Question::SessionId { reply, .. }) = self.take(correlation_id) {
                    drop(reply.send(Ok(session_id)));
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, id: CorrelationId) -> Option<Question> {
        self.pending.remove(&id).map(|registration| registration.question)
    }

    /// Whether the driver made something of a request that has timed out: it is removed then.
    fn is_abandoned(&mut self, id: CorrelationId, resource: Resource) -> bool {
        let abandoned = self.abandoned.remove(&id);
        if abandoned {
            self.removals.push((id, resource));
        }
        abandoned
    }

    fn on_error(&mut self, offending: CorrelationId, code: ErrorCode, text: &str) {
        if code == ErrorCode::CHANNEL_ENDPOINT_ERROR {
            let Ok(id) = i32::try_from(offending.0) else { return };
            let channel_status_id = CounterId(id);
            if self.resources.has_channel(channel_status_id) {
                let message = text.to_string();
                self.events.push(ClientEvent::ChannelError { channel_status_id, message });
            }
            return;
        }
        self.abandoned.remove(&offending);
        if let Some(question) = self.take(offending) {
            question.fail(AddError::Refused { code, message: text.to_string() });
        }
    }

    fn on_success(&mut self, id: CorrelationId) {
        if let Some(Question::Done { reply, .. }) = self.take(id) {
            drop(reply.send(Ok(())));
        }
    }

    fn on_publication_ready(&mut self, ready: &PublicationReady<'_>) {
        let id = ready.correlation_id;
        if self.is_abandoned(id, Resource::Publication) {
            return;
        }
        match self.take(id) {
            Some(Question::Publication { channel, reply, .. }) => {
                let made = self.publication_setup(ready, channel).map(Publication::new);
                drop(reply.send(made));
            }
            Some(Question::ExclusivePublication { channel, reply, .. }) => {
                let made = self.publication_setup(ready, channel).map(ExclusivePublication::new);
                drop(reply.send(made));
            }
            Some(other) => self.unexpected(id, other),
            None => {}
        }
    }

    /// An answer of the wrong kind for the request of this id: a driver does not do that.
    fn unexpected(&mut self, id: CorrelationId, question: Question) {
        let message = format!("answer to {} is of another kind", id.0);
        question.fail(AddError::Refused { code: ErrorCode::GENERIC, message });
    }

    fn publication_setup(
        &mut self,
        ready: &PublicationReady<'_>,
        channel: String,
    ) -> Result<PublicationSetup, AddError> {
        let id = ready.correlation_id;
        let made = self.logs.open(ready.log_file).and_then(|log| {
            let limit_id = ready.publisher_limit_id;
            let cnc = &self.handle.shared().cnc;
            let limit = cnc.counter_reader(limit_id).ok_or(AddError::Counter { id: limit_id })?;
            Ok((log, limit))
        });
        let (log, limit) = match made {
            Ok(made) => made,
            Err(error) => {
                self.removals.push((id, Resource::Publication));
                return Err(error);
            }
        };
        let closed = Closed::default();
        let record = PublicationRecord {
            closed: closed.clone(),
            original_registration_id: ready.registration_id,
            channel_status_id: ready.channel_status_id,
        };
        self.resources.add_publication(id, record);
        Ok(PublicationSetup {
            log,
            limit,
            channel,
            stream_id: ready.stream_id,
            session_id: ready.session_id,
            registration_id: id,
            original_registration_id: ready.registration_id,
            channel_status_id: ready.channel_status_id,
            closed,
            handle: self.handle.clone(),
        })
    }

    fn on_subscription_ready(&mut self, id: CorrelationId, channel_status_id: CounterId) {
        if self.is_abandoned(id, Resource::Subscription) {
            return;
        }
        let (channel, stream_id, reply) = match self.take(id) {
            Some(Question::Subscription { channel, stream_id, reply }) => {
                (channel, stream_id, reply)
            }
            Some(other) => return self.unexpected(id, other),
            None => return,
        };
        let (sender, inbox) = channel_of_images();
        let (closed, changes) = (Closed::default(), Changes::default());
        let record = SubscriptionRecord {
            closed: closed.clone(),
            channel_status_id,
            is_tethered: is_tethered(&channel),
            changes: changes.clone(),
            inbox: sender,
            images: BTreeMap::new(),
        };
        self.resources.add_subscription(id, record);
        let handle = self.handle.clone();
        let registration_id = id;
        let subscription = Subscription::new(SubscriptionSetup {
            handle,
            registration_id,
            channel,
            stream_id,
            channel_status_id,
            closed,
            changes,
            inbox,
        });
        drop(reply.send(Ok(subscription)));
    }

    fn on_available_image(&mut self, image: &AvailableImage<'_>) {
        let Some(record) = self.resources.subscription(image.subscription) else { return };
        let cnc = &self.handle.shared().cnc;
        // Gone before the message was read: then the image is, too, as the next message will say.
        let Ok(log) = self.logs.open(image.log_file) else { return };
        let Some(position) = cnc.counter_writer(image.subscriber_position_id) else { return };
        let closed = Closed::of_image(record.changes.clone());
        let setup = ImageSetup {
            log,
            position,
            correlation_id: image.image,
            subscription: image.subscription,
            session_id: image.session_id,
            stream_id: image.stream_id,
            source_identity: image.source_identity.to_string(),
            is_tethered: record.is_tethered,
            closed: closed.clone(),
            handle: self.handle.clone(),
        };
        if let Some(stale) = record.images.insert(image.image, closed) {
            stale.set();
        }
        // A subscription that is gone has sent its removal.
        let _ = record.inbox.send(Image::new(setup));
        record.changes.note();
    }

    fn on_unavailable_image(&mut self, image: CorrelationId, subscription: CorrelationId) {
        let record = self.resources.subscription(subscription);
        if let Some(closed) = record.and_then(|record| record.images.remove(&image)) {
            closed.set();
        }
    }

    fn on_counter(&mut self, id: CorrelationId, counter_id: CounterId) {
        if self.is_abandoned(id, Resource::Counter) {
            return;
        }
        let (is_static, registration_id, reply) = match self.take(id) {
            Some(Question::Counter { reply, .. }) => (false, id, reply),
            Some(Question::StaticCounter { registration_id, reply, .. }) => {
                (true, registration_id, reply)
            }
            Some(other) => return self.unexpected(id, other),
            None => return,
        };
        let Some(writer) = self.handle.shared().cnc.counter_writer(counter_id) else {
            drop(reply.send(Err(AddError::Counter { id: counter_id })));
            return;
        };
        let closed = Closed::default();
        let record = CounterRecord { closed: closed.clone(), counter_id };
        self.resources.add_counter(registration_id, record);
        let handle = self.handle.clone();
        drop(reply.send(Ok(Counter::new(writer, registration_id, is_static, closed, handle))));
    }

    fn on_publication_error(&mut self, error: &PublicationError<'_>) {
        if !self.resources.has_log(error.registration_id) {
            return;
        }
        self.events.push(ClientEvent::PublicationError {
            registration_id: error.registration_id,
            destination: some_unless(error.destination, CorrelationId(-1)),
            session_id: error.session_id,
            stream_id: error.stream_id,
            receiver_id: error.receiver_id,
            group_tag: some_unless(error.group_tag, -1),
            source: error.source.socket_address(),
            code: error.code,
            message: error.text.to_string(),
        });
    }
}

fn some_unless<T: PartialEq>(value: T, none: T) -> Option<T> {
    if value == none { None } else { Some(value) }
}

fn channel_of_images() -> (std::sync::mpsc::Sender<Image>, std::sync::mpsc::Receiver<Image>) {
    channel()
}

/// Whether a subscription may hold back its publishers.
fn is_tethered(channel: &str) -> bool {
    let uri = ChannelUri::parse(channel).ok();
    uri.and_then(|uri| uri.bool("tether").ok().flatten()).unwrap_or(true)
}
