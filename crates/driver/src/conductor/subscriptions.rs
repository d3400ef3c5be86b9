//! Subscriptions: what they match, and joining them with publications and images.

use runtime::{Nanos, Now};
use wire::control::{AvailableImage, CorrelationId, Event};
use wire::counters::{CounterId, CounterTypeId, Label, StreamKey};
use wire::position::{Position, SessionId, StreamId};

use super::Conductor;
use super::commands::Progress;
use super::desk::Belongs;
use super::publications::{Carrier, PublicationRecord};
use super::subscribers::{Subscriber, Untethered};
use super::untethered::{Change, Phase, UntetheredTimeouts};
use crate::channel::udp::UdpChannel;
use crate::channel::{Channel, SubscriptionParameters, UntetheredParameters};
use crate::messages::{EndpointId, ImageChange, ReceiverCommand};
use crate::refusal::Refusal;
use crate::shared::Shape;

/// What an image of a local publication says of its source.
pub(super) const LOCAL_SOURCE: &str = "aeron:ipc";

/// A command that adds a subscription.
#[derive(Clone, Copy, Debug)]
pub(super) struct AddSubscription<'a> {
    pub(super) client_id: i64,
    pub(super) correlation_id: i64,
    pub(super) stream: StreamId,
    pub(super) channel: &'a str,
}

/// Where a subscription gets its images from.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    Ipc,
    /// Network publications of this driver.
    Spy(Box<UdpChannel>),
    Network(EndpointId),
}

/// A subscription as the conductor owns it.
pub(crate) struct SubscriptionRecord {
    pub(crate) client_id: i64,
    pub(crate) stream: StreamId,
    pub(crate) channel: String,
    pub(crate) origin: Origin,
    /// Only this session.
    pub(crate) session: Option<SessionId>,
    pub(crate) parameters: SubscriptionParameters,
    pub(crate) untethered: UntetheredTimeouts,
    pub(crate) is_tethered: bool,
    pub(crate) rejoins: bool,
    pub(crate) is_sparse: bool,
    /// Takes the responses of a response channel.
    pub(crate) is_response: bool,
    /// Local destinations of a multi-destination subscription: id, channel, origin.
    pub(crate) local_destinations: Vec<(i64, String, Origin)>,
    /// Its UDP destinations: id and channel.
    pub(crate) udp_destinations: Vec<(i64, String)>,
}

impl SubscriptionRecord {
    fn takes(&self, shape: &Shape) -> bool {
        self.stream == shape.stream && self.session.is_none_or(|session| session == shape.session)
    }

    /// Whether it wants this publication of the same driver.
    pub(super) fn matches(&self, publication: &PublicationRecord) -> bool {
        let destinations = self.local_destinations.iter().map(|(_, _, origin)| origin);
        self.takes(&publication.shape)
            && std::iter::once(&self.origin)
                .chain(destinations)
                .any(|origin| matches_origin(origin, publication))
    }

    /// Whether it wants a stream that arrives at this endpoint.
    pub(crate) fn wants(&self, endpoint: EndpointId, shape: (StreamId, SessionId)) -> bool {
        matches!(self.origin, Origin::Network(own) if own == endpoint)
            && self.stream == shape.0
            && self.session.is_none_or(|session| session == shape.1)
    }
}

fn matches_origin(origin: &Origin, publication: &PublicationRecord) -> bool {
    match (origin, &publication.carrier) {
        (Origin::Ipc, Carrier::Ipc) => true,
        (Origin::Spy(udp), Carrier::Network(network)) => {
            let is_tagged = udp.tag.is_some() && udp.tag == publication.terms.channel_tag;
            is_tagged || (udp.canonical.is_some() && udp.canonical == network.canonical)
        }
        _ => false,
    }
}

impl Conductor {
    pub(super) fn untethered_timeouts(&self, given: &UntetheredParameters) -> UntetheredTimeouts {
        let config = &self.config.untethered;
        let window_limit = given.window_limit.unwrap_or(config.window_limit);
        UntetheredTimeouts {
            window_limit,
            linger: given.linger.or(config.linger).unwrap_or(window_limit),
            resting: given.resting.unwrap_or(config.resting),
        }
    }

    pub(super) fn add_subscription(
        &mut self,
        command: AddSubscription<'_>,
        now: Now,
    ) -> Result<Progress, Refusal> {
        let channel = Channel::parse(command.channel)?;
        if channel.is_spy() && channel.is_ipc() {
            return Err(Refusal::channel("a spy of ipc is an ipc subscription"));
        }
        let common = channel.common(command.stream)?;
        let parameters = channel.subscription()?;
        let session = self.session_choice(&common)?;
        let mut record = SubscriptionRecord {
            client_id: command.client_id,
            stream: command.stream,
            channel: command.channel.to_string(),
            origin: Origin::Ipc,
            session,
            untethered: self.untethered_timeouts(&common.untethered),
            is_tethered: parameters.tether.unwrap_or(self.config.subscriptions.tether),
            rejoins: parameters.rejoin.unwrap_or(self.config.subscriptions.rejoin),
            is_sparse: common.sparse.unwrap_or(self.config.terms.sparse),
            is_response: false,
            parameters,
            local_destinations: Vec::new(),
            udp_destinations: Vec::new(),
        };
        let id = command.correlation_id;
        if channel.is_ipc() {
            self.admit_client(command.client_id)?;
            self.insert_subscription(id, record, CounterId::NONE, now);
            return Ok(Progress::Done);
        }
        let udp = match self.resolve(&channel, common.channel_tag) {
            Ok(udp) => udp,
            Err(error) => return self.await_name(error),
        };
        if channel.is_spy() {
            self.admit_client(command.client_id)?;
            record.origin = Origin::Spy(Box::new(udp));
            self.insert_subscription(id, record, CounterId::NONE, now);
            return Ok(Progress::Done);
        }
        record.is_response = udp.control_mode() == crate::channel::ControlMode::Response;
        let endpoint = self.hold_receive_endpoint(&udp, &record, id)?;
        record.origin = Origin::Network(endpoint);
        if let Err(refusal) = self.admit_client(command.client_id) {
            self.release_receive_endpoint(endpoint);
            return Err(refusal);
        }
        let status = self.receive_status_id(endpoint);
        // A response channel without a session waits for one.
        if !(record.is_response && session.is_none()) {
            self.add_interest(endpoint, command.stream, session);
        }
        self.insert_subscription(id, record, status, now);
        self.join_images(id, now.mono);
        Ok(Progress::Done)
    }

    fn insert_subscription(
        &mut self,
        id: i64,
        record: SubscriptionRecord,
        channel_status_id: CounterId,
        now: Now,
    ) {
        self.subscriptions.insert(id, record);
        let correlation_id = CorrelationId(id);
        self.desk.send(&Event::SubscriptionReady { correlation_id, channel_status_id });
        self.join_publications(id, now);
    }

    /// Joins a subscription with every local publication that it wants.
    pub(super) fn join_publications(&mut self, id: i64, now: Now) {
        let Some(record) = self.subscriptions.get(&id) else { return };
        let wanted: Vec<i64> = self
            .publications
            .iter()
            .filter(|(_, publication)| publication.is_joinable() && record.matches(publication))
            .map(|(publication, _)| *publication)
            .collect();
        for publication in wanted {
            self.join_publication(id, publication, now);
        }
    }

    /// Joins a publication with every subscription that wants it.
    pub(super) fn join_subscribers(&mut self, publication: i64, now: Now) {
        let Some(record) = self.publications.get(&publication) else { return };
        let wanting: Vec<i64> = self
            .subscriptions
            .iter()
            .filter(|(_, subscription)| subscription.matches(record))
            .map(|(id, _)| *id)
            .collect();
        for subscription in wanting {
            self.join_publication(subscription, publication, now);
        }
    }

    fn join_publication(&mut self, subscription: i64, publication: i64, now: Now) {
        let Some(record) = self.publications.get(&publication) else { return };
        if record.subscribers.has(subscription) || record.cool_down_until.is_some() {
            return;
        }
        let (shape, start) = (record.shape, record.join_position());
        match self.allocate_subscriber(subscription, publication, &shape, start, now.mono) {
            Err(refusal) => self.desk.error(&refusal.text),
            Ok(subscriber) => {
                let counter = subscriber.position.id();
                if let Some(record) = self.publications.get_mut(&publication) {
                    record.add_subscriber(subscriber);
                }
                self.send_available_publication(publication, subscription, counter);
            }
        }
    }

    /// The counter of a subscriber that joins a log at `start`.
    pub(super) fn allocate_subscriber(
        &mut self,
        subscription: i64,
        image: i64,
        shape: &Shape,
        start: i64,
        now: Nanos,
    ) -> Result<Subscriber, Refusal> {
        let Some(record) = self.subscriptions.get(&subscription) else {
            return Err(Refusal::unknown_subscription(subscription));
        };
        let key = StreamKey {
            registration_id: subscription,
            session_id: shape.session,
            stream_id: shape.stream,
            channel: &record.channel,
        };
        let label = Label::of_subscriber_position(&key, Position(start));
        let belongs =
            Belongs { registration_id: subscription, owner: record.client_id, reference: image };
        let untethered = (!record.is_tethered).then_some(Untethered {
            phase: Phase::Active { last_near: now },
            rejoins: record.rejoins,
            timeouts: record.untethered,
        });
        let counter = self.desk.allocate(
            CounterTypeId::SUBSCRIBER_POSITION,
            key.encode().as_bytes(),
            label.as_str(),
            belongs,
            start,
        )?;
        Ok(Subscriber { subscription, position: counter.reader(), untethered })
    }

    fn send_available_publication(&mut self, publication: i64, subscription: i64, id: CounterId) {
        let Some(record) = self.publications.get(&publication) else { return };
        let log_file = record.file.name();
        self.desk.send(&Event::AvailableImage(AvailableImage {
            image: CorrelationId(publication),
            session_id: record.shape.session,
            stream_id: record.shape.stream,
            subscription: CorrelationId(subscription),
            subscriber_position_id: id,
            log_file: &log_file,
            source_identity: LOCAL_SOURCE,
        }));
    }

    /// Tells a subscription that an image went.
    pub(super) fn send_unavailable(&mut self, image: i64, subscription: i64) {
        let Some(record) = self.subscriptions.get(&subscription) else { return };
        self.desk.send(&Event::UnavailableImage {
            image: CorrelationId(image),
            subscription: CorrelationId(subscription),
            stream_id: record.stream,
            channel: &record.channel,
        });
    }

    pub(super) fn remove_subscription(
        &mut self,
        correlation_id: i64,
        registration_id: i64,
        now: Now,
    ) -> Result<(), Refusal> {
        if !self.subscriptions.contains_key(&registration_id) {
            return Err(Refusal::unknown_subscription(registration_id));
        }
        self.drop_subscription(registration_id, now);
        self.desk.succeed(correlation_id);
        Ok(())
    }

    /// Lets go of a subscription; its client closes its images by itself.
    pub(super) fn drop_subscription(&mut self, id: i64, _now: Now) {
        let Some(record) = self.subscriptions.remove(&id) else { return };
        for publication in self.publications.values_mut() {
            if let Some(subscriber) = publication.subscribers.remove(id) {
                self.desk.free(subscriber.position.id());
            }
        }
        let mut left = Vec::new();
        for (correlation_id, image) in &mut self.images {
            if let Some(subscriber) = image.subscribers.remove(id) {
                left.push((image.endpoint, *correlation_id));
                self.desk.free(subscriber.position.id());
            }
        }
        for (endpoint, correlation_id) in left {
            let change = ImageChange::RemoveSubscriber { subscription: id };
            self.to_receiver.push(ReceiverCommand::Image { endpoint, correlation_id, change });
        }
        if let Origin::Network(endpoint) = record.origin {
            if !(record.is_response && record.session.is_none()) {
                self.remove_interest(endpoint, record.stream, record.session);
            }
            self.drain_unwanted_images();
            self.release_receive_endpoint(endpoint);
        }
    }

    /// A timer pass over untethered subscribers of local publications.
    pub(super) fn check_untethered_publications(&mut self, now: Nanos) {
        let mut changes = Vec::new();
        for (id, record) in &mut self.publications {
            let limit = record.untethered_limit();
            record.subscribers.on_timer(limit, now, |subscription, change| {
                changes.push((*id, subscription, change));
            });
        }
        for (publication, subscription, change) in changes {
            match change {
                Change::None | Change::Rest => {}
                Change::Unavailable => self.send_unavailable(publication, subscription),
                Change::Drop => {
                    let Some(record) = self.publications.get_mut(&publication) else { continue };
                    if let Some(subscriber) = record.subscribers.remove(subscription) {
                        self.desk.free(subscriber.position.id());
                    }
                }
                Change::Rejoin => {
                    let Some(record) = self.publications.get(&publication) else { continue };
                    let known = record.subscribers.iter().find(|s| s.subscription == subscription);
                    let Some(id) = known.map(|subscriber| subscriber.position.id()) else {
                        continue;
                    };
                    if let Ok(mut counter) = self.desk.counters.writer(id) {
                        // Its own old position must not count when it asks where to begin.
                        counter.set_release(record.consumer_position());
                        counter.set_release(record.join_position());
                    }
                    self.send_available_publication(publication, subscription, id);
                }
            }
        }
    }
}
