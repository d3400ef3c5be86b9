//! One network publication in the sender: scan, flow control, heartbeats and re-sends.
//!
//! Input: the log and what receivers say. Output: datagrams handed to a [`Carrier`], the sender
//! position and limit. It knows nothing of sockets (its endpoint does) nor of clients.

use std::sync::Arc;

use memory::counters::Counter;
use memory::log::LogBuffer;
use memory::log::scan::Scan;
use runtime::Nanos;
use wire::counters::SystemCounter;
use wire::frame::{DataHeader, FrameType, Nak, Setup, StatusMessage, flags};
use wire::position::Position;

use super::flow::{FlowControl, Status};
use super::retransmit::{Answer, Range, Retransmits};
use crate::shared::PublicationShared;
use crate::system::SystemCounters;

/// Between setups. As long as nobody answers there is nothing else to send, and who has just come
/// waits for one.
const SETUP_INTERVAL: Nanos = Nanos::from_millis(20);
/// Between a datagram and the heartbeat after it.
const INTERVAL: Nanos = Nanos::from_millis(100);
/// Between two looks at who still listens, while nothing is sent.
const IDLE_INTERVAL: Nanos = Nanos::from_millis(1);
/// Most datagrams in one send.
pub(crate) const BATCH_MAX: usize = 64;

/// Whoever puts datagrams on the wire for a publication.
pub(crate) trait Carrier {
    /// Sends datagrams in order to every destination; returns how many were accepted.
    fn send(&mut self, datagrams: &[&[u8]]) -> usize;
}

/// Counters that the sender writes for one publication.
pub(crate) struct SenderCounters {
    pub(crate) position: Counter,
    pub(crate) limit: Counter,
    pub(crate) back_pressure: Counter,
    pub(crate) naks: Counter,
    pub(crate) receivers: Option<Counter>,
}

/// What does not change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SenderSettings {
    pub(crate) signals_end: bool,
    pub(crate) is_group: bool,
    /// One receiver only: neither multicast nor several destinations.
    pub(crate) is_unicast: bool,
    pub(crate) wants_response_setup: bool,
    pub(crate) tells_when_connected: bool,
    pub(crate) ttl: i32,
    pub(crate) connection_timeout: Nanos,
    pub(crate) batch: usize,
}

struct KnownReceiver {
    id: i64,
    last_status: Nanos,
}

/// Datagrams of one send: a run of bytes of one term, cut at these lengths.
struct Batch {
    lengths: [usize; BATCH_MAX],
    count: usize,
    /// Bytes of padding behind the last, which are not sent.
    padding: usize,
}

/// What may be sent now, and in which pieces.
struct SendRange {
    start: i64,
    limit: i64,
    mtu: usize,
}

impl SendRange {
    fn scan(&self, log: &LogBuffer, at: i64) -> Scan {
        let window = usize::try_from(self.limit - at).unwrap_or(0);
        log.scan(Position(at), window.min(self.mtu))
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self { lengths: [0; BATCH_MAX], count: 0, padding: 0 }
    }
}

impl Batch {
    /// Takes the datagrams from `start` on, of which the first was found already.
    fn fill(&mut self, found: Scan, log: &LogBuffer, range: &SendRange, count_max: usize) {
        let term_length = i64::from(log.term_length());
        let term_end = (range.start & !(term_length - 1)) + term_length;
        let (mut at, mut scan) = (range.start, found);
        while scan.available > 0 {
            self.lengths[self.count] = scan.available;
            self.count += 1;
            at += scan.advance() as i64;
            self.padding = scan.padding;
            if self.count >= count_max.min(BATCH_MAX) || at >= term_end {
                break;
            }
            scan = range.scan(log, at);
        }
    }

    /// Hands the datagrams over; returns how many were accepted.
    fn send(&self, log: &LogBuffer, start: i64, carrier: &mut dyn Carrier) -> usize {
        let lengths = &self.lengths[..self.count];
        log.with_scanned(Position(start), lengths.iter().sum(), |mut rest| {
            let mut datagrams: [&[u8]; BATCH_MAX] = [&[]; BATCH_MAX];
            for (datagram, length) in datagrams.iter_mut().zip(lengths) {
                (*datagram, rest) = rest.split_at(*length);
            }
            carrier.send(&datagrams[..self.count]).min(self.count)
        })
    }
}

/// What a status message led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StatusOutcome {
    /// Receivers appeared where there were none.
    pub(crate) is_newly_connected: bool,
}

/// A publication as the sender owns it.
pub(crate) struct SenderPublication {
    pub(crate) shared: Arc<PublicationShared>,
    counters: SenderCounters,
    settings: SenderSettings,
    flow: FlowControl,
    retransmits: Retransmits,
    receivers: Vec<KnownReceiver>,
    last_setup: Option<Nanos>,
    last_send: Option<Nanos>,
    is_setup_elicited: bool,
    has_initial_connection: bool,
    is_stalled: bool,
    /// When limits and liveness are looked at again, if nothing is sent.
    next_idle: Nanos,
    system: SystemCounters,
}

impl SenderPublication {
    pub(crate) fn new(
        shared: Arc<PublicationShared>,
        counters: SenderCounters,
        settings: SenderSettings,
        control: (FlowControl, Retransmits),
        system: SystemCounters,
    ) -> Self {
        Self {
            shared,
            counters,
            settings,
            flow: control.0,
            retransmits: control.1,
            receivers: Vec::new(),
            last_setup: None,
            last_send: None,
            is_setup_elicited: false,
            has_initial_connection: false,
            is_stalled: false,
            next_idle: Nanos(0),
            system,
        }
    }

    /// Whether this publication is meant by session and stream.
    pub(crate) fn is(&self, session: i32, stream: i32) -> bool {
        let shape = &self.shared.shape;
        shape.session.0 == session && shape.stream.0 == stream
    }

    /// One turn: setup, data or heartbeat, limits, re-sends. Returns the bytes of data sent.
    pub(crate) fn send(&mut self, carrier: &mut dyn Carrier, now: Nanos) -> usize {
        if !self.has_initial_connection || self.is_setup_elicited {
            self.send_setup(carrier, now);
        }
        let sent = self.send_data(carrier, now);
        if sent == 0 {
            self.send_heartbeat(carrier, now);
            self.on_idle(now);
        }
        while let Some(range) = self.retransmits.poll(now) {
            self.resend(range, carrier);
        }
        sent
    }

    fn send_setup(&mut self, carrier: &mut dyn Carrier, now: Nanos) {
        if self.last_setup.is_some_and(|last| now < last + SETUP_INTERVAL) {
            return;
        }
        let (shape, position) = (self.shared.shape, self.counters.position.get());
        let mut setup_flags = 0;
        if self.settings.wants_response_setup {
            setup_flags |= flags::SEND_RESPONSE_SETUP;
        }
        if self.settings.is_group {
            setup_flags |= flags::GROUP;
        }
        let setup = Setup {
            flags: setup_flags,
            term_offset: shape.offset(position),
            session_id: shape.session,
            stream_id: shape.stream,
            initial_term_id: shape.initial_term_id,
            active_term_id: shape.term_id(position),
            term_length: shape.term_length,
            mtu: shape.mtu,
            ttl: self.settings.ttl,
        };
        self.last_setup = Some(now);
        if carrier.send(&[&setup.to_bytes()]) == 0 {
            self.system.increment(SystemCounter::ShortSends);
        }
        if self.is_setup_elicited {
            self.flow.on_setup(self.counters.limit.get(), now);
        }
        if !self.receivers.is_empty() {
            self.is_setup_elicited = false;
        }
    }

    fn send_data(&mut self, carrier: &mut dyn Carrier, now: Nanos) -> usize {
        if self.shared.is_revoked() {
            return 0;
        }
        let start = self.counters.position.get();
        let range = SendRange { start, limit: self.counters.limit.get(), mtu: self.mtu() };
        let found = range.scan(&self.shared.log, start);
        if found.available == 0 {
            // There may be more than the window lets through.
            if found.blocked > 0 && !std::mem::replace(&mut self.is_stalled, true) {
                self.counters.back_pressure.increment();
                self.system.increment(SystemCounter::SenderFlowControlLimits);
            }
            return 0;
        }
        let mut batch = Batch::default();
        batch.fill(found, &self.shared.log, &range, self.settings.batch);
        let accepted = batch.send(&self.shared.log, start, carrier);
        if accepted < batch.count {
            self.system.increment(SystemCounter::ShortSends);
        }
        if accepted == 0 {
            return 0;
        }
        let bytes: usize = batch.lengths[..accepted].iter().sum();
        let padding = if accepted == batch.count { batch.padding } else { 0 };
        self.counters.position.set_release(start + (bytes + padding) as i64);
        self.last_send = Some(now);
        self.is_stalled = false;
        bytes
    }

    fn mtu(&self) -> usize {
        usize::try_from(self.shared.shape.mtu).unwrap_or(0)
    }

    fn send_heartbeat(&mut self, carrier: &mut dyn Carrier, now: Nanos) {
        let is_due = self.last_send.is_none_or(|last| last + INTERVAL <= now);
        if !self.has_initial_connection || !is_due {
            return;
        }
        let (shape, position) = (self.shared.shape, self.counters.position.get());
        let mut header_flags = flags::UNFRAGMENTED;
        if self.shared.is_revoked() {
            header_flags |= flags::EOS | flags::REVOKED;
        } else if self.settings.signals_end && self.shared.end_position() <= position {
            header_flags |= flags::EOS;
        }
        let header = DataHeader {
            frame_length: 0,
            version: 0,
            flags: header_flags,
            frame_type: FrameType::DATA,
            term_offset: shape.offset(position),
            session_id: shape.session,
            stream_id: shape.stream,
            term_id: shape.term_id(position),
            reserved_value: 0,
        };
        self.last_send = Some(now);
        if carrier.send(&[&header.to_bytes()]) == 0 {
            self.system.increment(SystemCounter::ShortSends);
        } else {
            self.system.increment(SystemCounter::HeartbeatsSent);
        }
    }

    /// Limits and liveness when nothing was sent.
    fn on_idle(&mut self, now: Nanos) {
        let shared = &self.shared;
        let by_spies = shared.spies_simulate_connection && shared.has_spies();
        if !(by_spies && self.receivers.is_empty()) && now < self.next_idle {
            return;
        }
        let timeout = self.settings.connection_timeout;
        self.receivers.retain(|receiver| now - receiver.last_status <= timeout);
        if self.receivers.is_empty() && by_spies && !shared.is_revoked() {
            let position = self.counters.position.get().max(shared.spy_position());
            if position != self.counters.position.get() {
                self.counters.position.set_release(position);
            }
            let limit = self.flow.on_idle(position, now);
            self.set_limit(limit);
        } else {
            let limit = self.flow.on_idle(self.counters.limit.get(), now);
            self.set_limit(limit);
        }
        self.publish_receivers();
        // Time alone moves these things, and not by itself before the next deadline.
        self.next_idle = (now + IDLE_INTERVAL).min(self.next_deadline());
    }

    fn set_limit(&mut self, limit: i64) {
        if limit != self.counters.limit.get() {
            self.counters.limit.set_release(limit);
        }
    }

    fn publish_receivers(&mut self) {
        let has_required = self.flow.has_required_receivers();
        self.shared.set_receivers(!self.receivers.is_empty(), has_required);
        if let Some(counter) = &mut self.counters.receivers {
            let count = i64::try_from(self.flow.receiver_count()).unwrap_or(i64::MAX);
            if counter.get() != count {
                counter.set_release(count);
            }
        }
    }

    /// Whether a status message can be meant for where this stream is: within half a term.
    pub(crate) fn is_plausible(&self, message: &StatusMessage) -> bool {
        let shape = &self.shared.shape;
        let position = shape.position(message.consumption_term_id, message.consumption_term_offset);
        let distance = self.counters.position.get().saturating_sub(position).abs();
        distance <= i64::from(shape.term_length / 2)
    }

    /// Somebody is sent to who was not before: as long as nobody has answered, setups were sent to
    /// others or to nobody.
    pub(crate) fn on_destination(&mut self) {
        if !self.has_initial_connection {
            self.last_setup = None;
        }
    }

    /// A receiver asks for a setup.
    pub(crate) fn on_setup_elicited(&mut self, message: &StatusMessage, now: Nanos) {
        if self.shared.end_position() <= self.counters.position.get() {
            return;
        }
        self.is_setup_elicited = true;
        self.flow.on_trigger_send_setup(message.group_tag, now);
    }

    /// A receiver tells how far it is.
    pub(crate) fn on_status_message(
        &mut self,
        message: &StatusMessage,
        now: Nanos,
    ) -> StatusOutcome {
        let shape = self.shared.shape;
        let had_receivers = !self.receivers.is_empty();
        let is_end_of_stream = message.flags & flags::END_OF_STREAM != 0;
        if is_end_of_stream {
            self.receivers.retain(|receiver| receiver.id != message.receiver_id);
            if self.settings.is_unicast {
                self.shared.set_received();
            }
        } else {
            match self.receivers.iter_mut().find(|known| known.id == message.receiver_id) {
                Some(known) => known.last_status = now,
                None => {
                    self.receivers.push(KnownReceiver { id: message.receiver_id, last_status: now })
                }
            }
        }
        let status = Status {
            receiver_id: message.receiver_id,
            group_tag: message.group_tag,
            position: shape.position(message.consumption_term_id, message.consumption_term_offset),
            window: message.receiver_window,
            is_end_of_stream,
        };
        let limit = self.flow.on_status_message(&status, self.counters.limit.get(), now);
        self.set_limit(limit);
        self.has_initial_connection = true;
        self.publish_receivers();
        if self.shared.end_position() == i64::MAX && self.shared.is_connected() {
            self.shared.log.set_connected(true);
        }
        let is_newly_connected = !had_receivers && !self.receivers.is_empty();
        StatusOutcome {
            is_newly_connected: is_newly_connected && self.settings.tells_when_connected,
        }
    }

    /// A receiver misses something.
    pub(crate) fn on_nak(&mut self, nak: &Nak, carrier: &mut dyn Carrier, now: Nanos) {
        self.counters.naks.increment();
        if self.shared.is_revoked() {
            return;
        }
        let term_length = self.shared.shape.term_length;
        let range = Range { term_id: nak.term_id, offset: nak.term_offset, length: nak.length };
        let length_max = self.flow.retransmission_length_max(term_length);
        match self.retransmits.on_nak(range, term_length, length_max, now) {
            Answer::Ignore | Answer::Delay => {}
            Answer::Resend(range) => self.resend(range, carrier),
            Answer::Overflow => self.system.increment(SystemCounter::RetransmitOverflow),
        }
    }

    /// A receiver gave up; whether it was known until now.
    pub(crate) fn on_error(&mut self, receiver_id: i64) -> bool {
        self.flow.on_error(receiver_id);
        let before = self.receivers.len();
        self.receivers.retain(|receiver| receiver.id != receiver_id);
        self.receivers.len() != before
    }

    /// Sends bytes of the log again, as they are.
    fn resend(&self, range: Range, carrier: &mut dyn Carrier) {
        let shape = &self.shared.shape;
        let start = shape.position(range.term_id, range.offset);
        let sender_position = self.counters.position.get();
        let message_max = wire::log::message_length_max(shape.term_length);
        let oldest = sender_position - i64::from(shape.term_length / 2) - i64::from(message_max);
        if start < oldest.max(0) || start >= sender_position {
            return;
        }
        let end = (start + i64::from(range.length)).min(sender_position);
        let (mut at, mut count, mut bytes) = (start, 0, 0);
        while at < end {
            let scan = self.shared.log.scan(Position(at), self.mtu());
            if scan.available == 0 {
                break;
            }
            let accepted = self.shared.log.with_scanned(Position(at), scan.available, |bytes| {
                // A NAK may point anywhere: only what is a frame of this place goes out.
                let header = DataHeader::read(bytes);
                let is_frame = header.is_some_and(|header| {
                    header.term_offset == shape.offset(at) && header.term_id == shape.term_id(at)
                });
                if is_frame { Some(carrier.send(&[bytes])) } else { None }
            });
            let Some(accepted) = accepted else { break };
            if accepted == 0 {
                self.system.increment(SystemCounter::ShortSends);
                break;
            }
            at += scan.advance() as i64;
            count += 1;
            bytes += scan.available as i64;
        }
        if count > 0 {
            self.system.increment(SystemCounter::RetransmitsSent);
            self.system.add(SystemCounter::RetransmittedBytes, bytes);
        }
    }

    /// When time alone asks for the next turn.
    pub(crate) fn next_deadline(&self) -> Nanos {
        let mut deadline = self.flow.next_deadline().min(self.retransmits.next_deadline());
        if !self.has_initial_connection || self.is_setup_elicited {
            deadline = deadline.min(self.last_setup.map_or(Nanos(0), |last| last + SETUP_INTERVAL));
        }
        if self.has_initial_connection {
            deadline = deadline.min(self.last_send.map_or(Nanos(0), |last| last + INTERVAL));
        }
        let oldest = self.receivers.iter().map(|receiver| receiver.last_status).min();
        let timeout = self.settings.connection_timeout;
        deadline.min(oldest.map_or(Nanos::MAX, |last| last + timeout + Nanos(1)))
    }

    /// Where error frames of this publication are reported.
    pub(crate) fn registration_id(&self) -> i64 {
        self.shared.registration_id
    }
}
