//! A receiver's sockets for one channel, what it wants and its images.
//!
//! Input: datagrams of senders. Output: bytes for images, status messages and NAKs back. What
//! concerns the conductor is pushed as an event.

use std::net::SocketAddr;

use memory::loss_report::LossReport;
use runtime::network::{Outgoing, Socket};
use runtime::point::{Point, strikes};
use runtime::{Nanos, Now};
use wire::counters::SystemCounter;
use wire::frame::{self, DataDatagram, Frame, RoundTrip, Setup, StatusMessage, flags};

use super::dispatcher::{Dispatcher, Verdict};
use super::image::{Feedback, ReceiverImage};
use super::images::Images;
use crate::messages::{ConductorEvent, EndpointId, ImageChange};
use crate::queue::Outbox;
use crate::shared::ImageState;
use crate::system::SystemCounters;

/// Between requests for setups at an explicit control address.
const ELICIT_INTERVAL: Nanos = Nanos::from_secs(1);

/// One socket of an endpoint.
pub(crate) struct Transport {
    /// The registration id of the destination, or -1 for the endpoint's own.
    pub(crate) registration_id: i64,
    pub(crate) socket: Box<dyn Socket>,
    /// Where feedback goes, unless to the source of the data: multicast, or `control=`.
    pub(crate) control: Option<SocketAddr>,
    /// Whether setups are asked for there from time to time: `control=` of a unicast channel.
    pub(crate) elicits: bool,
    /// `host:port` of the control address when its host is a name.
    pub(crate) control_name: Option<String>,
    pub(crate) ttl: i32,
}

/// What does not change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndpointSettings {
    pub(crate) id: EndpointId,
    pub(crate) receiver_id: i64,
    pub(crate) group_tag: Option<i64>,
    pub(crate) session_limit: i32,
    pub(crate) batch: usize,
}

/// A setup to be asked for once the sockets have been read.
struct Elicitation {
    transport: i64,
    to: SocketAddr,
    stream: i32,
    session: i32,
}

/// An endpoint as the receiver owns it.
pub(crate) struct ReceiveEndpoint {
    settings: EndpointSettings,
    transports: Vec<Transport>,
    dispatcher: Dispatcher,
    images: Images,
    elicitations: Vec<Elicitation>,
    last_elicited: Option<Nanos>,
    system: SystemCounters,
}

/// The transports as the way back.
struct Back<'a> {
    transports: &'a mut [Transport],
    system: &'a SystemCounters,
}

impl Feedback for Back<'_> {
    fn send(&mut self, transport: i64, to: SocketAddr, frame: &[u8]) {
        let known = self.transports.iter_mut().find(|known| known.registration_id == transport);
        let Some(transport) = known else { return };
        match transport.socket.send(&[Outgoing { to: Some(to), datagrams: &[frame] }]) {
            Ok(1..) => {
                let bytes = i64::try_from(frame.len()).unwrap_or(0);
                self.system.add(SystemCounter::BytesSent, bytes);
            }
            // Lost like any datagram: whatever it said is said again.
            Ok(0) | Err(_) => self.system.increment(SystemCounter::ShortSends),
        }
    }
}

impl ReceiveEndpoint {
    pub(crate) fn new(
        settings: EndpointSettings,
        transports: Vec<Transport>,
        system: SystemCounters,
    ) -> Self {
        Self {
            settings,
            transports,
            dispatcher: Dispatcher::new(settings.session_limit),
            images: Images::default(),
            elicitations: Vec::new(),
            last_elicited: None,
            system,
        }
    }

    pub(crate) fn id(&self) -> EndpointId {
        self.settings.id
    }

    pub(crate) fn add_interest(&mut self, stream: i32, session: Option<i32>) {
        self.dispatcher.add_interest(stream, session);
        self.last_elicited = None;
    }

    pub(crate) fn remove_interest(&mut self, stream: i32, session: Option<i32>) {
        self.dispatcher.remove_interest(stream, session);
    }

    pub(crate) fn add_transport(&mut self, transport: Transport) {
        self.transports.push(transport);
        self.last_elicited = None;
    }

    pub(crate) fn remove_transport(&mut self, registration_id: i64) {
        self.transports.retain(|known| known.registration_id != registration_id);
        for (_, image) in self.images.iter_mut() {
            image.connections().remove(registration_id);
        }
    }

    pub(crate) fn add_image(&mut self, image: ReceiverImage) {
        let shape = image.shared.shape;
        self.dispatcher.set_active(shape.stream.0, shape.session.0);
        self.images.insert(image);
    }

    pub(crate) fn refuse_setup(&mut self, stream: i32, session: i32) {
        self.dispatcher.refuse(stream, session);
    }

    pub(crate) fn end_cool_down(&mut self, stream: i32, session: i32) {
        self.dispatcher.end_cool_down(stream, session);
    }

    /// A change to one image; a release is answered by an event.
    pub(crate) fn on_image_change(
        &mut self,
        correlation_id: i64,
        change: ImageChange,
        events: &mut Outbox<ConductorEvent>,
        now: Nanos,
    ) {
        let found = self
            .images
            .iter()
            .find(|(_, image)| image.shared.correlation_id == correlation_id)
            .map(|(key, _)| key);
        if matches!(change, ImageChange::Release) {
            if let Some((stream, session)) = found {
                self.images.remove((stream, session));
                self.dispatcher.remove(stream, session);
            }
            events.push(ConductorEvent::ImageReleased { correlation_id });
        } else if let Some(image) = found.and_then(|key| self.images.get_mut(key)) {
            image.on_change(change, now);
        }
    }

    /// Asks for a setup of one session at the explicit control addresses.
    pub(crate) fn elicit(&mut self, stream: i32, session: i32) {
        for transport in &self.transports {
            if let Some(to) = transport.control {
                let transport = transport.registration_id;
                self.elicitations.push(Elicitation { transport, to, stream, session });
            }
        }
        self.send_elicitations();
    }

    /// A name has a new address.
    pub(crate) fn on_resolved(&mut self, name: &str, address: SocketAddr) {
        for transport in &mut self.transports {
            if transport.control_name.as_deref() == Some(name) {
                transport.control = Some(address);
            }
        }
    }

    /// Reads every socket. Returns how many datagrams came.
    pub(crate) fn poll(&mut self, events: &mut Outbox<ConductorEvent>, now: Nanos) -> usize {
        let mut count = 0;
        for transport in &mut self.transports {
            let mut bytes = 0;
            let mut inbound = Inbound {
                settings: &self.settings,
                dispatcher: &mut self.dispatcher,
                images: &mut self.images,
                elicitations: &mut self.elicitations,
                transport: transport.registration_id,
                control: transport.control,
                ttl: transport.ttl,
                system: &self.system,
                events,
                now,
            };
            if strikes(Point::ReceiveLeft) {
                continue;
            }
            let received = transport.socket.receive(self.settings.batch, &mut |datagram| {
                bytes += datagram.bytes.len();
                inbound.on_datagram(&datagram.source, datagram.bytes);
            });
            match received {
                Ok(received) => count += received,
                Err(error) => {
                    events.offer(ConductorEvent::Error(format!("receive data: {error}")));
                }
            }
            if bytes > 0 {
                let bytes = i64::try_from(bytes).unwrap_or(0);
                self.system.add(SystemCounter::BytesReceived, bytes);
            }
        }
        self.send_elicitations();
        count
    }

    /// Status messages, NAKs, time-outs.
    pub(crate) fn work(&mut self, report: &mut LossReport, time: Now) -> usize {
        let now = time.mono;
        let mut done = 0;
        let mut gone = None;
        let mut back = Back { transports: &mut self.transports, system: &self.system };
        for (key, image) in self.images.iter_mut() {
            done += image.work(&mut back, report, time);
            if image.state() == ImageState::Gone {
                gone = Some(key);
            }
        }
        if let Some((stream, session)) = gone {
            let has_ended =
                self.images.remove((stream, session)).is_none_or(|image| image.is_end_of_stream());
            if has_ended {
                self.dispatcher.remove(stream, session);
            } else {
                self.dispatcher.set_cool_down(stream, session);
            }
        }
        self.dispatcher.on_timer(now);
        self.elicit_periodically(now);
        done
    }

    fn elicit_periodically(&mut self, now: Nanos) {
        let is_due = self.last_elicited.is_none_or(|last| last + ELICIT_INTERVAL <= now);
        if !is_due || !self.elicits() {
            return;
        }
        self.last_elicited = Some(now);
        for transport in &self.transports {
            if let (Some(to), true) = (transport.control, transport.elicits) {
                let transport = transport.registration_id;
                self.elicitations.push(Elicitation { transport, to, stream: 0, session: 0 });
            }
        }
        self.send_elicitations();
    }

    fn elicits(&self) -> bool {
        self.dispatcher.has_interest() && self.transports.iter().any(|known| known.elicits)
    }

    fn send_elicitations(&mut self) {
        let mut back = Back { transports: &mut self.transports, system: &self.system };
        for elicitation in self.elicitations.drain(..) {
            let message = StatusMessage {
                flags: flags::SEND_SETUP,
                session_id: wire::position::SessionId(elicitation.session),
                stream_id: wire::position::StreamId(elicitation.stream),
                receiver_id: self.settings.receiver_id,
                group_tag: self.settings.group_tag,
                ..StatusMessage::default()
            };
            let (frame, length) = message.to_bytes();
            back.send(elicitation.transport, elicitation.to, &frame[..length]);
            self.system.increment(SystemCounter::StatusMessagesSent);
        }
    }

    pub(crate) fn next_deadline(&self) -> Nanos {
        let images = self.images.iter().map(|(_, image)| image.next_deadline());
        let deadline = images.fold(self.dispatcher.next_deadline(), Nanos::min);
        if !self.elicits() {
            return deadline;
        }
        deadline.min(self.last_elicited.map_or(Nanos(0), |last| last + ELICIT_INTERVAL))
    }
}

/// What the datagrams of one socket are handled with.
struct Inbound<'a> {
    settings: &'a EndpointSettings,
    dispatcher: &'a mut Dispatcher,
    images: &'a mut Images,
    elicitations: &'a mut Vec<Elicitation>,
    transport: i64,
    control: Option<SocketAddr>,
    ttl: i32,
    system: &'a SystemCounters,
    events: &'a mut Outbox<ConductorEvent>,
    now: Nanos,
}

impl Inbound<'_> {
    /// The source is not copied: a copy of what was just written would wait until the bytes of the
    /// datagram before are in memory.
    fn on_datagram(&mut self, source: &SocketAddr, bytes: &[u8]) {
        if let Some(datagram) = frame::decode_data(bytes) {
            self.on_data(&datagram, source);
            return;
        }
        match frame::decode(bytes) {
            Ok(Frame::Data(datagram)) => self.on_data(&datagram, source),
            Ok(Frame::Setup(setup)) => self.on_setup(&setup, *source),
            Ok(Frame::RoundTrip(round_trip)) => self.on_round_trip(&round_trip, *source),
            // Frames for senders: a group's other traffic may arrive here too.
            Ok(
                Frame::StatusMessage(_)
                | Frame::Nak(_)
                | Frame::Error(_)
                | Frame::ResponseSetup(_)
                | Frame::Resolution(_)
                | Frame::Unknown(_),
            ) => {}
            Err(_) => self.system.increment(SystemCounter::InvalidPackets),
        }
    }

    fn on_data(&mut self, datagram: &DataDatagram<'_>, source: &SocketAddr) {
        let (stream, session) = (datagram.header.stream_id.0, datagram.header.session_id.0);
        // Whoever has an image is active.
        if let Some(image) = self.images.get_mut((stream, session)) {
            image.on_data(datagram, (self.transport, source), self.now);
            return;
        }
        let is_end = datagram.is_heartbeat() && datagram.header.has(flags::EOS);
        match self.dispatcher.on_data(stream, session, is_end, self.now) {
            Verdict::Elicit => self.elicitations.push(Elicitation {
                transport: self.transport,
                to: self.control.unwrap_or(*source),
                stream,
                session,
            }),
            Verdict::Image | Verdict::Create | Verdict::Ignore => {}
        }
    }

    fn on_setup(&mut self, setup: &Setup, source: SocketAddr) {
        let (stream, session) = (setup.stream_id.0, setup.session_id.0);
        match self.dispatcher.on_setup(stream, session) {
            Ok(Verdict::Image) => {
                if let Some(image) = self.images.get_mut((stream, session)) {
                    image.connections().add(self.transport, source, self.control, self.now);
                }
            }
            Ok(Verdict::Create) => self.create(setup, source),
            Ok(Verdict::Elicit | Verdict::Ignore) => {}
            Err(count) => {
                let text = format!("stream {stream} has {count} sessions, the limit");
                self.events.offer(ConductorEvent::Error(text));
            }
        }
    }

    fn create(&mut self, setup: &Setup, source: SocketAddr) {
        if self.ttl != 0 && setup.ttl > self.ttl {
            self.system.increment(SystemCounter::PossibleTtlAsymmetry);
        }
        let is_offered = self.events.offer(ConductorEvent::Setup {
            endpoint: self.settings.id,
            transport: self.transport,
            control: self.control,
            source,
            setup: *setup,
        });
        if !is_offered {
            self.dispatcher.refuse(setup.stream_id.0, setup.session_id.0);
        }
    }

    fn on_round_trip(&mut self, frame: &RoundTrip, source: SocketAddr) {
        let key = (frame.stream_id.0, frame.session_id.0);
        let Some(image) = self.images.get_mut(key) else { return };
        if frame.flags & flags::REPLY == 0 {
            image.on_round_trip(frame, self.now);
        } else {
            image.echo(frame, (self.transport, self.control.unwrap_or(source)));
        }
    }
}
