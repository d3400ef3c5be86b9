//! A sender's sockets for one channel, its destinations and its publications.
//!
//! Input: datagrams of receivers. Output: datagrams of publications to every destination. What
//! concerns the conductor is pushed as an event.

use std::net::SocketAddr;

use memory::counters::Counter;
use runtime::Nanos;
use runtime::network::{Outgoing, Socket};
use wire::counters::SystemCounter;
use wire::frame::{self, ErrorFrame, Frame, Nak, RoundTrip, StatusMessage, flags};

use super::destinations::{DESTINATION_TIMEOUT, Destination, Destinations};
use super::publication::{Carrier, SenderPublication};
use crate::messages::{ConductorEvent, DestinationChoice, EndpointId, ReceiverGaveUp};
use crate::queue::Outbox;
use crate::system::SystemCounters;

/// Term length assumed for checks of frames for publications that are not known.
const TERM_LENGTH_UNKNOWN: i32 = 1 << 30;
/// Datagrams taken from a socket in one poll.
const RECEIVE_BATCH: usize = 64;

/// Most destinations that one call sends to.
const DESTINATIONS_PER_CALL: usize = 8;

/// Sockets and where they send to.
struct Outlet {
    socket: Box<dyn Socket>,
    destinations: Destinations,
    system: SystemCounters,
    error: Option<String>,
}

impl Outlet {
    fn send_to(&mut self, to: Option<SocketAddr>, datagrams: &[&[u8]]) -> Option<usize> {
        match self.socket.send(&[Outgoing { to, datagrams }]) {
            Ok(accepted) => {
                let sent = &datagrams[..accepted.min(datagrams.len())];
                let bytes: usize = sent.iter().map(|datagram| datagram.len()).sum();
                self.system.add(SystemCounter::BytesSent, i64::try_from(bytes).unwrap_or(0));
                Some(accepted)
            }
            Err(error) => {
                self.error.get_or_insert_with(|| format!("send to {to:?}: {error}"));
                None
            }
        }
    }
}

impl Outlet {
    /// Sends to several in one call; who did not get all of it is tried once more alone, for what
    /// stops the call may concern another. Returns how many datagrams the slowest accepted.
    fn send_to_all(&mut self, addresses: &[Option<SocketAddr>], datagrams: &[&[u8]]) -> usize {
        let nothing = Outgoing { to: None, datagrams: &[] };
        let mut batch = [nothing; DESTINATIONS_PER_CALL];
        for (outgoing, &to) in batch.iter_mut().zip(addresses) {
            *outgoing = Outgoing { to, datagrams };
        }
        let mut sent = match addresses {
            [_] => 0,
            _ => self.socket.send(&batch[..addresses.len()]).unwrap_or(0),
        };
        self.count_bytes_to_all(sent, datagrams);
        let mut slowest = datagrams.len();
        for &to in addresses {
            let done = sent.min(datagrams.len());
            sent -= done;
            if done < datagrams.len()
                && let Some(more) = self.send_to(to, &datagrams[done..])
            {
                slowest = slowest.min(done + more);
            }
        }
        slowest
    }

    /// Counts what went out: so many datagrams, those given again and again.
    fn count_bytes_to_all(&self, sent: usize, datagrams: &[&[u8]]) {
        if sent == 0 {
            return;
        }
        let length = |some: &[&[u8]]| some.iter().map(|datagram| datagram.len()).sum::<usize>();
        let (rounds, rest) = (sent / datagrams.len(), sent % datagrams.len());
        let bytes = rounds * length(datagrams) + length(&datagrams[..rest]);
        self.system.add(SystemCounter::BytesSent, i64::try_from(bytes).unwrap_or(0));
    }
}

impl Carrier for Outlet {
    /// With several destinations the slowest counts; one that fails does not hold up the others,
    /// nor does having none: what is sent meanwhile is sent to nobody.
    fn send(&mut self, datagrams: &[&[u8]]) -> usize {
        match &self.destinations {
            Destinations::Connected => self.send_to(None, datagrams).unwrap_or(0),
            Destinations::One { address: Some(address), .. } => {
                let address = *address;
                self.send_to(Some(address), datagrams).unwrap_or(0)
            }
            Destinations::One { address: None, .. } => datagrams.len(),
            Destinations::Manual(_) | Destinations::Dynamic(_) => {
                let mut addresses = [None; DESTINATIONS_PER_CALL];
                let (mut first, mut accepted) = (0, datagrams.len());
                while let Some(some) = self.destinations.list().and_then(|list| list.get(first..))
                    && !some.is_empty()
                {
                    let count = some.len().min(DESTINATIONS_PER_CALL);
                    for (address, destination) in addresses.iter_mut().zip(some) {
                        *address = Some(destination.address);
                    }
                    accepted = accepted.min(self.send_to_all(&addresses[..count], datagrams));
                    first += count;
                }
                accepted
            }
        }
    }
}

/// An endpoint as the sender owns it.
pub(crate) struct SendEndpoint {
    pub(crate) id: EndpointId,
    outlet: Outlet,
    /// Where a multicast channel hears its receivers; otherwise the outlet's socket does.
    control: Option<Box<dyn Socket>>,
    pub(crate) publications: Vec<SenderPublication>,
    destination_counter: Option<Counter>,
    /// `host:port` of the endpoint when its host is a name.
    name: Option<String>,
    last_status: Option<Nanos>,
    next_publication: usize,
    /// Kept for its memory only.
    inbox: Vec<Small>,
    system: SystemCounters,
}

impl SendEndpoint {
    pub(crate) fn new(
        id: EndpointId,
        sockets: (Box<dyn Socket>, Option<Box<dyn Socket>>),
        destinations: Destinations,
        destination_counter: Option<Counter>,
        name: Option<String>,
        system: SystemCounters,
    ) -> Self {
        let outlet =
            Outlet { socket: sockets.0, destinations, system: system.clone(), error: None };
        Self {
            id,
            outlet,
            control: sockets.1,
            publications: Vec::new(),
            destination_counter,
            name,
            last_status: None,
            next_publication: 0,
            inbox: Vec::with_capacity(RECEIVE_BATCH),
            system,
        }
    }

    /// One turn for every publication, another one first each time.
    pub(crate) fn send(&mut self, now: Nanos) -> usize {
        let count = self.publications.len();
        let mut sent = 0;
        for step in 0..count {
            let index = (self.next_publication + step) % count;
            sent += self.publications[index].send(&mut self.outlet, now);
        }
        self.next_publication = self.next_publication.wrapping_add(1);
        sent
    }

    /// Takes what receivers sent. Returns how many datagrams.
    ///
    /// They are copied first, because the socket that is read may be written for re-sends.
    pub(crate) fn poll(&mut self, events: &mut Outbox<ConductorEvent>, now: Nanos) -> usize {
        let mut inbox = std::mem::take(&mut self.inbox);
        let socket = self.control.as_mut().unwrap_or(&mut self.outlet.socket);
        let system = &self.system;
        let received = socket.receive(RECEIVE_BATCH, &mut |datagram| match Small::new(
            datagram.source,
            datagram.bytes,
        ) {
            Some(small) => inbox.push(small),
            None => system.increment(SystemCounter::InvalidPackets),
        });
        if let Err(error) = received {
            events.offer(ConductorEvent::Error(format!("receive status: {error}")));
        }
        let count = inbox.len();
        let mut replies = Replies { context: self, events, now };
        for small in inbox.drain(..) {
            replies.on_datagram(small.source, &small.bytes[..small.length]);
        }
        self.inbox = inbox;
        count
    }

    /// Silent destinations go, silent names are resolved anew.
    pub(crate) fn on_timer(&mut self, events: &mut Outbox<ConductorEvent>, now: Nanos) {
        if self.outlet.destinations.on_timer(now) {
            self.publish_destinations();
        }
        if let Some(error) = self.outlet.error.take() {
            self.system.increment(SystemCounter::ShortSends);
            events.offer(ConductorEvent::Error(error));
        }
        let is_silent = |last: Nanos| now - last > DESTINATION_TIMEOUT;
        let endpoint = self.id;
        if let (Some(name), true) = (&self.name, self.last_status.is_none_or(is_silent)) {
            events.offer(ConductorEvent::Reresolve { endpoint, name: name.clone() });
        }
        for destination in self.outlet.destinations.list().unwrap_or_default() {
            if let (Some(name), true) = (&destination.name, is_silent(destination.last_activity)) {
                events.offer(ConductorEvent::Reresolve { endpoint, name: name.clone() });
            }
        }
    }

    /// Whether [`SendEndpoint::on_timer`] has something to look after.
    pub(crate) fn has_timers(&self) -> bool {
        let has_names = self.outlet.destinations.list().unwrap_or_default().iter();
        self.outlet.error.is_some()
            || self.name.is_some()
            || has_names.clone().any(|destination| destination.name.is_some())
    }

    pub(crate) fn next_deadline(&self) -> Nanos {
        let publications = self.publications.iter().map(SenderPublication::next_deadline);
        publications.fold(self.outlet.destinations.next_deadline(), Nanos::min)
    }

    pub(crate) fn add_destination(&mut self, destination: Destination, now: Nanos) {
        self.outlet.destinations.add(destination, now);
        self.publications.iter_mut().for_each(SenderPublication::on_destination);
        self.publish_destinations();
    }

    pub(crate) fn remove_destination(&mut self, which: DestinationChoice) {
        self.outlet.destinations.remove(|destination| match which {
            DestinationChoice::Registration(id) => destination.registration_id == id,
            DestinationChoice::Address(address) => destination.address == address,
        });
        self.publish_destinations();
    }

    pub(crate) fn on_resolved(&mut self, name: &str, address: SocketAddr, now: Nanos) {
        self.outlet.destinations.on_resolved(name, address, now);
        if self.name.as_deref() == Some(name) {
            self.last_status = Some(now);
            match &mut self.outlet.destinations {
                Destinations::Connected => {
                    if let Err(error) = self.outlet.socket.connect(address) {
                        self.outlet.error = Some(format!("connect to {address}: {error}"));
                    }
                }
                Destinations::One { address: one, .. } => *one = Some(address),
                Destinations::Manual(_) | Destinations::Dynamic(_) => {}
            }
        }
    }

    fn publish_destinations(&mut self) {
        if let (Some(counter), Some(list)) =
            (&mut self.destination_counter, self.outlet.destinations.list())
        {
            counter.set_release(i64::try_from(list.len()).unwrap_or(i64::MAX));
        }
    }
}

/// Longest frame that a receiver sends: an error with its text.
const FRAME_LENGTH_MAX: usize = frame::ERROR_HEADER_LENGTH + frame::ERROR_TEXT_LENGTH_MAX;

/// A copied datagram.
struct Small {
    source: SocketAddr,
    length: usize,
    bytes: [u8; FRAME_LENGTH_MAX],
}

impl Small {
    fn new(source: SocketAddr, datagram: &[u8]) -> Option<Self> {
        let mut bytes = [0; FRAME_LENGTH_MAX];
        bytes.get_mut(..datagram.len())?.copy_from_slice(datagram);
        Some(Self { source, length: datagram.len(), bytes })
    }
}

/// What a batch of datagrams is handled with.
struct Replies<'a> {
    context: &'a mut SendEndpoint,
    events: &'a mut Outbox<ConductorEvent>,
    now: Nanos,
}

impl Replies<'_> {
    fn on_datagram(&mut self, source: SocketAddr, bytes: &[u8]) {
        let is_valid = match frame::decode(bytes) {
            Ok(Frame::StatusMessage(message)) => self.on_status_message(&message, source),
            Ok(Frame::Nak(nak)) => self.on_nak(&nak),
            Ok(Frame::RoundTrip(round_trip)) => self.on_round_trip(&round_trip),
            Ok(Frame::Error(error)) => self.on_error(&error, source),
            Ok(Frame::ResponseSetup(setup)) => {
                let found = self.find(setup.session_id.0, setup.stream_id.0);
                if let Some(index) = found {
                    let publication = &self.context.publications[index];
                    self.events.offer(ConductorEvent::ResponseSetup {
                        registration_id: publication.registration_id(),
                        session: setup.response_session_id,
                    });
                }
                true
            }
            // Frames for receivers: a group's other traffic may arrive here too.
            Ok(Frame::Data(_) | Frame::Setup(_) | Frame::Resolution(_) | Frame::Unknown(_)) => true,
            Err(_) => false,
        };
        if !is_valid {
            self.context.system.increment(SystemCounter::InvalidPackets);
        }
    }

    fn find(&self, session: i32, stream: i32) -> Option<usize> {
        self.context.publications.iter().position(|publication| publication.is(session, stream))
    }

    fn on_status_message(&mut self, message: &StatusMessage, source: SocketAddr) -> bool {
        let found = self.find(message.session_id.0, message.stream_id.0);
        let term_length = found.map_or(TERM_LENGTH_UNKNOWN, |index| {
            self.context.publications[index].shared.shape.term_length
        });
        if message.check(term_length).is_err() {
            return false;
        }
        self.context.system.increment(SystemCounter::StatusMessagesReceived);
        let asks_for_setup = message.flags & flags::SEND_SETUP != 0;
        if let (Some(index), false) = (found, asks_for_setup)
            && !self.context.publications[index].is_plausible(message)
        {
            self.context.system.increment(SystemCounter::StatusMessagesRejected);
            return true;
        }
        let destinations = &mut self.context.outlet.destinations;
        if destinations.on_status_message(message.receiver_id, source, self.now) {
            self.context.publish_destinations();
        }
        self.context.last_status = Some(self.now);
        let Some(index) = found else { return true };
        if let Destinations::One { address, is_response: true } =
            &mut self.context.outlet.destinations
        {
            *address = Some(source);
        }
        let publication = &mut self.context.publications[index];
        if asks_for_setup {
            publication.on_setup_elicited(message, self.now);
        } else if publication.on_status_message(message, self.now).is_newly_connected {
            let registration_id = publication.registration_id();
            self.events.push(ConductorEvent::ResponseConnected { registration_id });
        }
        true
    }

    fn on_nak(&mut self, nak: &Nak) -> bool {
        let Some(index) = self.find(nak.session_id.0, nak.stream_id.0) else {
            return nak.check(TERM_LENGTH_UNKNOWN).is_ok();
        };
        let publication = &mut self.context.publications[index];
        if nak.check(publication.shared.shape.term_length).is_err() {
            return false;
        }
        self.context.system.increment(SystemCounter::NaksReceived);
        publication.on_nak(nak, &mut self.context.outlet, self.now);
        true
    }

    fn on_round_trip(&mut self, request: &RoundTrip) -> bool {
        if request.flags & flags::REPLY != 0
            && self.find(request.session_id.0, request.stream_id.0).is_some()
        {
            let reply = RoundTrip { flags: 0, reception_delta_ns: 0, ..*request };
            let _accepted = self.context.outlet.send(&[&reply.to_bytes()]);
        }
        true
    }

    fn on_error(&mut self, error: &ErrorFrame<'_>, source: SocketAddr) -> bool {
        self.context.system.increment(SystemCounter::ErrorFramesReceived);
        let Some(index) = self.find(error.session_id.0, error.stream_id.0) else { return true };
        let destination =
            self.context.outlet.destinations.registration_of(error.receiver_id, source);
        let publication = &mut self.context.publications[index];
        if publication.on_error(error.receiver_id) {
            self.events.offer(ConductorEvent::PublicationError(Box::new(ReceiverGaveUp {
                registration_id: publication.registration_id(),
                destination,
                session: error.session_id,
                stream: error.stream_id,
                receiver_id: error.receiver_id,
                group_tag: error.group_tag.unwrap_or(-1),
                source,
                code: error.code,
                text: String::from_utf8_lossy(error.text).into_owned(),
            })));
        }
        true
    }
}
