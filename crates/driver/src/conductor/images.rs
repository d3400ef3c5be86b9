//! Images in the conductor: made on a setup, joined by subscriptions, let go of.
//!
//! ```text
//!   setup -> (log is made) -> Active -> Draining -> Linger -> (freed)
//! ```
//! The receiver says when an image drains; the rest follows here, at timer passes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use memory::log::LogBuffer;
use runtime::background::{Outcome, Ticket};
use runtime::{Nanos, Now};
use wire::control::{AvailableImage, CorrelationId, Event};
use wire::counters::{CounterId, SystemCounter};
use wire::frame::{Setup, flags};
use wire::position::{Position, SessionId, StreamId};

use super::Conductor;
use super::logs::{LogFile, LogPlace};
use super::subscribers::Subscribers;
use super::touch::TouchAhead;
use super::untethered::Change;
use crate::messages::{EndpointId, ImageChange, ReceiverCommand};
use crate::refusal::Refusal;
use crate::shared::{ImageShared, ImageState, Shape};

/// An image drains for at least this many status message time-outs.
const DRAIN_STATUS_TIMEOUTS: i64 = 5;

/// A setup that an image is being made for.
pub(crate) struct ImagePlan {
    pub(super) endpoint: EndpointId,
    pub(super) transport: i64,
    pub(super) control: Option<SocketAddr>,
    pub(super) source: SocketAddr,
    pub(super) setup: Setup,
    pub(super) correlation_id: i64,
    path: PathBuf,
}

impl ImagePlan {
    pub(super) fn shape(&self) -> Shape {
        Shape {
            session: self.setup.session_id,
            stream: self.setup.stream_id,
            initial_term_id: self.setup.initial_term_id,
            term_length: self.setup.term_length,
            mtu: self.setup.mtu,
        }
    }

    pub(super) fn join_position(&self) -> i64 {
        self.shape().position(self.setup.active_term_id, self.setup.term_offset)
    }

    /// Whether the sender declares group semantics.
    pub(super) fn is_group(&self) -> bool {
        self.setup.flags & flags::GROUP != 0
    }
}

/// Where an image stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Active,
    Linger { since: Nanos },
}

/// An image as the conductor owns it.
pub(crate) struct ImageRecord {
    pub(crate) shared: Arc<ImageShared>,
    pub(crate) endpoint: EndpointId,
    pub(crate) subscribers: Subscribers,
    pub(crate) source_identity: String,
    pub(crate) wants_response: bool,
    pub(crate) file: LogFile,
    pub(crate) touch: TouchAhead,
    counters: Vec<CounterId>,
    rejoins: bool,
    phase: Phase,
    is_unwanted: bool,
    is_released: bool,
}

impl ImageRecord {
    fn stream(&self) -> StreamId {
        self.shared.shape.stream
    }

    fn session(&self) -> SessionId {
        self.shared.shape.session
    }

    /// Where a new subscriber begins; `None` when it is too late to join.
    fn join_position(&self) -> Option<i64> {
        let rebuilt = self.shared.rebuild.get();
        let (slowest, _) = self.subscribers.bounds(rebuilt)?;
        let is_open = match self.shared.state().0 {
            ImageState::Active => true,
            ImageState::Draining => slowest < rebuilt,
            ImageState::Gone => false,
        };
        let is_joinable = is_open && self.phase == Phase::Active && !self.is_unwanted;
        is_joinable.then_some(rebuilt.min(slowest))
    }

    fn untethered_limit(&self) -> i64 {
        let window = self.shared.window();
        let rebuilt = self.shared.rebuild.get();
        let furthest = self.subscribers.bounds(rebuilt).map_or(0, |(_, furthest)| furthest);
        furthest - window + window / 4
    }

    fn is_drained(&self, since: Nanos, status_timeout: Nanos, now: Nanos) -> bool {
        if self.shared.is_revoked() {
            return true;
        }
        let rebuilt = self.shared.rebuild.get();
        let is_consumed =
            self.subscribers.bounds(rebuilt).is_none_or(|(slowest, _)| slowest >= rebuilt);
        is_consumed && now - since > Nanos(DRAIN_STATUS_TIMEOUTS * status_timeout.0)
    }
}

impl Conductor {
    /// The receiver got a setup of a stream that is wanted.
    pub(super) fn on_setup(
        &mut self,
        (endpoint, transport): (EndpointId, i64),
        (source, control): (SocketAddr, Option<SocketAddr>),
        setup: Setup,
    ) {
        let planned = self.plan_image(endpoint, &setup).and_then(|is_sparse| {
            let correlation_id = self.correlation.next_correlation_id();
            let path = self.logs.path(LogPlace::Images, correlation_id);
            let (ticket, warning) = self.logs.create(&path, setup.term_length, is_sparse)?;
            if let Some(warning) = warning {
                self.desk.error(&warning);
            }
            let plan =
                ImagePlan { endpoint, transport, control, source, setup, correlation_id, path };
            Ok((ticket, plan))
        });
        match planned {
            Ok((ticket, plan)) => {
                self.pending_images.insert(ticket, plan);
            }
            Err(refusal) => {
                if !refusal.text.is_empty() {
                    self.desk.error(&refusal.text);
                }
                let (stream, session) = (setup.stream_id, setup.session_id);
                self.to_receiver.push(ReceiverCommand::RefuseSetup { endpoint, stream, session });
            }
        }
    }

    /// Checks a setup; whether the log is to be sparse.
    fn plan_image(&self, endpoint: EndpointId, setup: &Setup) -> Result<bool, Refusal> {
        if setup.active_term_id.terms_since(setup.initial_term_id) < 0 {
            return Err(Refusal::generic(format!(
                "setup of session {} has its active term before its first",
                setup.session_id.0
            )));
        }
        let shape = (setup.stream_id, setup.session_id);
        let subscription = self
            .subscriptions
            .values()
            .find(|record| record.wants(endpoint, shape))
            .ok_or_else(|| Refusal::generic(""))?;
        let window = subscription.parameters.window.unwrap_or(self.config.terms.receiver_window);
        if setup.mtu > window.min(setup.term_length / 2) {
            return Err(Refusal::generic(format!(
                "mtu {} of session {} exceeds the receiver window {window}",
                setup.mtu, setup.session_id.0
            )));
        }
        Ok(subscription.is_sparse)
    }

    /// A ticket came back: whether an image waited for it.
    pub(super) fn on_image_outcome(
        &mut self,
        ticket: Ticket,
        outcome: Outcome,
        now: Now,
    ) -> Option<Outcome> {
        let Some(plan) = self.pending_images.remove(&ticket) else { return Some(outcome) };
        let (endpoint, setup) = (plan.endpoint, plan.setup);
        let made = self
            .logs
            .on_created(plan.path.clone(), outcome)
            .and_then(|file| self.finish_image(&plan, file, now));
        if let Err(refusal) = made {
            if !refusal.text.is_empty() {
                self.desk.error(&refusal.text);
            }
            let (stream, session) = (setup.stream_id, setup.session_id);
            self.to_receiver.push(ReceiverCommand::RefuseSetup { endpoint, stream, session });
        }
        None
    }

    fn finish_image(&mut self, plan: &ImagePlan, file: LogFile, now: Now) -> Result<(), Refusal> {
        let shape = plan.shape();
        let wanting: Vec<i64> = self
            .subscriptions
            .iter()
            .filter(|(_, record)| record.wants(plan.endpoint, (shape.stream, shape.session)))
            .map(|(id, _)| *id)
            .collect();
        let mut made = Vec::new();
        let mut subscribers = Subscribers::default();
        let parts = match wanting.first().and_then(|id| self.subscriptions.get(id)) {
            None => Err(Refusal::generic("")),
            Some(_) => self.make_image(plan, &wanting, &file, &mut made, now),
        };
        let (mut image, shared) = match parts {
            Ok(parts) => parts,
            Err(refusal) => {
                for id in made {
                    self.desk.free(id);
                }
                self.logs.remove(file);
                return Err(refusal);
            }
        };
        let start = plan.join_position();
        for subscription in &wanting {
            match self.allocate_subscriber(
                *subscription,
                plan.correlation_id,
                &shape,
                start,
                now.mono,
            ) {
                Ok(subscriber) => {
                    let position = subscriber.position.clone();
                    let subscription = subscriber.subscription;
                    image
                        .on_change(ImageChange::AddSubscriber { subscription, position }, now.mono);
                    subscribers.add(subscriber);
                }
                Err(refusal) => self.desk.error(&refusal.text),
            }
        }
        let rejoins = wanting
            .iter()
            .any(|id| self.subscriptions.get(id).is_some_and(|record| record.rejoins));
        let is_sparse = shared.log.description().switches.sparse;
        let record = ImageRecord {
            touch: TouchAhead::new(start, shape.term_length, is_sparse),
            shared,
            endpoint: plan.endpoint,
            subscribers,
            source_identity: plan.source.to_string(),
            wants_response: plan.setup.flags & flags::SEND_RESPONSE_SETUP != 0,
            file,
            counters: made,
            rejoins,
            phase: Phase::Active,
            is_unwanted: false,
            is_released: false,
        };
        self.images.insert(plan.correlation_id, record);
        self.hold_receive_endpoint_for_image(plan.endpoint);
        self.to_receiver.push(ReceiverCommand::AddImage(plan.endpoint, Box::new(image)));
        for subscription in wanting {
            self.send_available_image(plan.correlation_id, subscription);
        }
        Ok(())
    }

    fn send_available_image(&mut self, image: i64, subscription: i64) {
        let Some(record) = self.images.get(&image) else { return };
        let known = record.subscribers.iter().find(|known| known.subscription == subscription);
        let Some(subscriber) = known else { return };
        let log_file = record.file.name();
        self.desk.send(&Event::AvailableImage(AvailableImage {
            image: CorrelationId(image),
            session_id: record.session(),
            stream_id: record.stream(),
            subscription: CorrelationId(subscription),
            subscriber_position_id: subscriber.position.id(),
            log_file: &log_file,
            source_identity: &record.source_identity,
        }));
    }

    /// Joins a subscription with the images of its endpoint that it wants.
    pub(super) fn join_images(&mut self, subscription: i64, now: Nanos) {
        let Some(record) = self.subscriptions.get(&subscription) else { return };
        let mut wanted = Vec::new();
        let mut stale = Vec::new();
        for (id, image) in &self.images {
            if !record.wants(image.endpoint, (image.stream(), image.session())) {
                continue;
            }
            match image.join_position() {
                Some(start) => wanted.push((*id, image.shared.shape, start, image.endpoint)),
                None if image.is_unwanted => stale.push((*id, image.endpoint)),
                None => {}
            }
        }
        for (correlation_id, endpoint) in stale {
            // Nobody wanted it, but somebody does now: a new image may take its place at once.
            let change = ImageChange::Release;
            self.to_receiver.push(ReceiverCommand::Image { endpoint, correlation_id, change });
            self.linger_image(correlation_id, now);
        }
        for (image, shape, start, endpoint) in wanted {
            match self.allocate_subscriber(subscription, image, &shape, start, now) {
                Err(refusal) => self.desk.error(&refusal.text),
                Ok(subscriber) => {
                    let position = subscriber.position.clone();
                    if let Some(record) = self.images.get_mut(&image) {
                        record.subscribers.add(subscriber);
                    }
                    let change = ImageChange::AddSubscriber { subscription, position };
                    let correlation_id = image;
                    self.to_receiver.push(ReceiverCommand::Image {
                        endpoint,
                        correlation_id,
                        change,
                    });
                    self.send_available_image(image, subscription);
                }
            }
        }
    }

    /// Images that have lost their last subscriber tell their senders so.
    pub(super) fn drain_unwanted_images(&mut self) {
        let mut unwanted = Vec::new();
        for (id, image) in &mut self.images {
            let is_open = image.phase == Phase::Active && !image.is_unwanted;
            if is_open && image.subscribers.is_empty() {
                image.is_unwanted = true;
                unwanted.push((image.endpoint, *id));
            }
        }
        for (endpoint, correlation_id) in unwanted {
            let change = ImageChange::Drain;
            self.to_receiver.push(ReceiverCommand::Image { endpoint, correlation_id, change });
        }
    }

    /// A timer pass over all images.
    pub(super) fn check_images(&mut self, now: Nanos) {
        self.drain_unwanted_images();
        let status_timeout = self.config.timeouts.status_message;
        let liveness = self.config.timeouts.image_liveness;
        let (mut lingering, mut done) = (Vec::new(), Vec::new());
        for (id, image) in &self.images {
            match image.phase {
                Phase::Active => {
                    let (state, since) = image.shared.state();
                    let is_over =
                        state != ImageState::Active && image.is_drained(since, status_timeout, now);
                    if is_over {
                        lingering.push((*id, image.endpoint));
                    }
                }
                Phase::Linger { since } => {
                    let is_over = image.subscribers.is_empty() || since + liveness <= now;
                    if is_over && image.is_released {
                        done.push(*id);
                    }
                }
            }
        }
        for (correlation_id, endpoint) in lingering {
            let change = ImageChange::Release;
            self.to_receiver.push(ReceiverCommand::Image { endpoint, correlation_id, change });
            self.linger_image(correlation_id, now);
        }
        for id in done {
            self.free_image(id);
        }
        self.check_untethered_images(now);
    }

    fn linger_image(&mut self, id: i64, now: Nanos) {
        let Some(image) = self.images.get_mut(&id) else { return };
        image.phase = Phase::Linger { since: now };
        let (endpoint, stream, session) = (image.endpoint, image.stream(), image.session());
        let (rejoins, is_unwanted) = (image.rejoins, image.is_unwanted);
        let left: Vec<i64> = image
            .subscribers
            .iter()
            .filter(|subscriber| subscriber.counts())
            .map(|subscriber| subscriber.subscription)
            .collect();
        for subscription in left {
            self.send_unavailable(id, subscription);
        }
        if rejoins || is_unwanted {
            self.to_receiver.push(ReceiverCommand::EndCoolDown { endpoint, stream, session });
        }
    }

    /// The receiver has let go of an image.
    pub(super) fn on_image_released(&mut self, correlation_id: i64) {
        if let Some(image) = self.images.get_mut(&correlation_id) {
            image.is_released = true;
        }
    }

    fn free_image(&mut self, id: i64) {
        let Some(mut image) = self.images.remove(&id) else { return };
        for subscriber in image.subscribers.take_all() {
            self.desk.free(subscriber.position.id());
        }
        for counter in &image.counters {
            self.desk.free(*counter);
        }
        let ImageRecord { shared, file, endpoint, .. } = image;
        drop(shared);
        self.logs.remove(file);
        self.release_receive_endpoint(endpoint);
    }

    fn check_untethered_images(&mut self, now: Nanos) {
        let mut changes = Vec::new();
        for (id, image) in &mut self.images {
            if image.phase != Phase::Active {
                continue;
            }
            let limit = image.untethered_limit();
            image.subscribers.on_timer(limit, now, |subscription, change| {
                changes.push((*id, subscription, change));
            });
        }
        for (id, subscription, change) in changes {
            self.change_subscriber(id, subscription, change);
        }
    }

    fn change_subscriber(&mut self, id: i64, subscription: i64, change: Change) {
        let Some(image) = self.images.get_mut(&id) else { return };
        let (endpoint, correlation_id) = (image.endpoint, id);
        let known = image.subscribers.iter().find(|known| known.subscription == subscription);
        let Some(position) = known.map(|known| known.position.clone()) else { return };
        let change = match change {
            Change::None => return,
            Change::Unavailable => return self.send_unavailable(id, subscription),
            Change::Rest => ImageChange::RemoveSubscriber { subscription },
            Change::Drop => {
                image.subscribers.remove(subscription);
                self.desk.free(position.id());
                ImageChange::RemoveSubscriber { subscription }
            }
            Change::Rejoin => {
                let rebuilt = image.shared.rebuild.get();
                if let Ok(mut counter) = self.desk.counters.writer(position.id()) {
                    // Its own old position must not count when it asks where to begin.
                    counter.set_release(rebuilt);
                    let slowest =
                        image.subscribers.bounds(rebuilt).map_or(rebuilt, |bounds| bounds.0);
                    counter.set_release(rebuilt.min(slowest));
                }
                self.send_available_image(id, subscription);
                ImageChange::AddSubscriber { subscription, position }
            }
        };
        self.to_receiver.push(ReceiverCommand::Image { endpoint, correlation_id, change });
    }

    /// A subscriber does not want an image: its sender, or its publication, is told.
    pub(super) fn reject_image(
        &mut self,
        correlation_id: i64,
        id: i64,
        reason: &str,
        now: Now,
    ) -> Result<(), Refusal> {
        if reason.len() > wire::control::REASON_LENGTH_MAX {
            return Err(Refusal::generic("reason for a rejection is too long"));
        }
        if let Some(image) = self.images.get(&id) {
            let endpoint = image.endpoint;
            let change = ImageChange::Reject { reason: reason.to_string() };
            let image = id;
            self.to_receiver.push(ReceiverCommand::Image {
                endpoint,
                correlation_id: image,
                change,
            });
        } else if self.publications.get(&id).is_some_and(|record| record.is_ipc()) {
            let until = now.mono + self.config.timeouts.image_liveness;
            self.reject_publication(id, until);
        } else {
            return Err(Refusal::generic(format!("unknown image: {id}")));
        }
        self.desk.system.increment(SystemCounter::ImagesRejected);
        self.desk.succeed(correlation_id);
        Ok(())
    }

    /// The log of an image: laid out by what its setup says.
    pub(super) fn make_image_log(
        &self,
        plan: &ImagePlan,
        file: &LogFile,
        description: &wire::log::LogDescription,
    ) -> Result<LogBuffer, Refusal> {
        let region = Arc::clone(file.mapping.region());
        let log = LogBuffer::create_image(region, description)
            .map_err(|error| Refusal::generic(error.to_string()))?;
        debug_assert_eq!(log.term_id_at(Position(plan.join_position())), plan.setup.active_term_id);
        Ok(log)
    }
}
