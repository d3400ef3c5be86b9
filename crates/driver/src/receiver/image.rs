//! One image in the receiver: it rebuilds the terms of a stream from what one source sends.
//!
//! Input: datagrams from the endpoint, subscriber positions. Output: bytes in the log, status
//! messages and NAKs through a [`Feedback`]. It knows nothing of sockets.

use std::sync::Arc;

use memory::counters::{Counter, CounterReader};
use memory::log::gap::Gap;
use memory::loss_report::LossReport;
use runtime::{Nanos, Now};
use wire::counters::SystemCounter;
use wire::frame::{DataDatagram, ErrorFrame, Nak, ResponseSetup, RoundTrip, StatusMessage, flags};
use wire::position::{FRAME_ALIGNMENT, Position, SessionId};

use super::congestion::{Congestion, Progress};
use super::connections::Connections;
use super::loss::LossDetector;
use super::report::LossReporter;
use crate::messages::ImageChange;
use crate::shared::{ImageShared, ImageState};
use crate::system::SystemCounters;
use wire::control::ErrorCode;

/// Whoever carries frames back to the sender of an image.
pub(crate) trait Feedback {
    /// Sends one frame to one of the image's connections.
    fn send(&mut self, transport: i64, to: std::net::SocketAddr, frame: &[u8]);
}

/// Counters that the receiver writes for one image.
pub(crate) struct ImageCounters {
    pub(crate) hwm: Counter,
    pub(crate) rebuild: Counter,
    pub(crate) naks: Counter,
    /// Round trip and window of cubic congestion control.
    pub(crate) cubic: Option<(Counter, Counter)>,
}

/// What does not change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ImageSettings {
    pub(crate) is_reliable: bool,
    pub(crate) receiver_id: i64,
    pub(crate) group_tag: Option<i64>,
    pub(crate) status_timeout: Nanos,
    pub(crate) liveness_timeout: Nanos,
}

struct Subscriber {
    subscription: i64,
    position: CounterReader,
}

/// How far the log is zeroed ahead of what comes in, at most: near enough that a processor still
/// has it at hand when bytes go there.
const CLEAN_AHEAD: i64 = 16 << 10;

/// The last status message and the one that is due.
#[derive(Clone, Copy, Debug)]
struct StatusPlan {
    sent_position: i64,
    sent_at: Option<Nanos>,
    position: i64,
    window: i32,
    is_due: bool,
}

/// An image as the receiver owns it.
pub(crate) struct ReceiverImage {
    pub(crate) shared: Arc<ImageShared>,
    counters: ImageCounters,
    settings: ImageSettings,
    subscribers: Vec<Subscriber>,
    connections: Connections,
    congestion: Congestion,
    loss: LossDetector,
    reporter: LossReporter,
    status: StatusPlan,
    state: ImageState,
    window_max: i32,
    /// Up to here the log has been zeroed for the time after the next: its place three terms on is
    /// clean.
    clean_position: i64,
    /// Up to here nothing is missing, as the order of datagrams showed: no frame need be looked at.
    contiguous: i64,
    last_packet: Nanos,
    is_end_of_stream: bool,
    rejection: Option<String>,
    response_session: Option<SessionId>,
    echo: Option<((i64, std::net::SocketAddr), RoundTrip)>,
    system: SystemCounters,
}

impl ReceiverImage {
    pub(crate) fn new(
        shared: Arc<ImageShared>,
        counters: ImageCounters,
        settings: ImageSettings,
        (connections, congestion): (Connections, Congestion),
        (loss, reporter): (LossDetector, LossReporter),
        (join_position, now): (i64, Nanos),
        system: SystemCounters,
    ) -> Self {
        let window = congestion.window();
        Self {
            shared,
            counters,
            settings,
            subscribers: Vec::new(),
            connections,
            congestion,
            loss,
            reporter,
            status: StatusPlan {
                sent_position: join_position,
                sent_at: None,
                position: join_position,
                window,
                is_due: true,
            },
            state: ImageState::Active,
            window_max: window,
            clean_position: join_position,
            contiguous: join_position,
            last_packet: now,
            is_end_of_stream: false,
            rejection: None,
            response_session: None,
            echo: None,
            system,
        }
    }

    pub(crate) fn state(&self) -> ImageState {
        self.state
    }

    pub(crate) fn is_end_of_stream(&self) -> bool {
        self.is_end_of_stream
    }

    pub(crate) fn connections(&mut self) -> &mut Connections {
        &mut self.connections
    }

    /// The conductor changed something. `Release` is the endpoint's.
    pub(crate) fn on_change(&mut self, change: ImageChange, now: Nanos) {
        match change {
            ImageChange::AddSubscriber { subscription, position } => {
                self.subscribers.push(Subscriber { subscription, position });
            }
            ImageChange::RemoveSubscriber { subscription } => {
                self.subscribers.retain(|known| known.subscription != subscription);
            }
            ImageChange::Drain => self.drain(now),
            ImageChange::Reject { reason } => {
                self.rejection = Some(reason);
                self.status.is_due = true;
            }
            ImageChange::Respond { session } => self.response_session = session,
            ImageChange::Release => {}
        }
    }

    fn drain(&mut self, now: Nanos) {
        if self.state == ImageState::Active {
            self.state = ImageState::Draining;
            self.shared.set_state(ImageState::Draining, now);
            self.status.is_due = true;
        }
    }

    /// A data datagram came in through `transport` from `source`.
    pub(crate) fn on_data(
        &mut self,
        datagram: &DataDatagram<'_>,
        (transport, source): (i64, &std::net::SocketAddr),
        now: Nanos,
    ) {
        if self.rejection.is_some() || self.state != ImageState::Active {
            return;
        }
        let shape = self.shared.shape;
        let Ok(length) = datagram.check(shape.term_length) else {
            self.system.increment(SystemCounter::InvalidPackets);
            return;
        };
        let header = &datagram.header;
        if header.term_id.terms_since(shape.initial_term_id) < 0 {
            self.system.increment(SystemCounter::FlowControlUnderRuns);
            return;
        }
        let position = shape.position(header.term_id, header.term_offset);
        let end = position + i64::from(length);
        let last = self.status.sent_position;
        if end > last.saturating_add(i64::from(shape.term_length / 2)) {
            self.system.increment(SystemCounter::FlowControlOverRuns);
            return;
        }
        if datagram.is_heartbeat() {
            self.on_heartbeat(datagram, position, (transport, source), now);
            return;
        }
        if position < last {
            self.system.increment(SystemCounter::FlowControlUnderRuns);
            if position >= last - i64::from(self.window_max) {
                self.connections.on_activity(transport, source, now);
                self.last_packet = now;
            }
            return;
        }
        self.last_packet = now;
        self.connections.on_activity(transport, source, now);
        self.clean_around(end);
        let is_new = self.shared.log.insert(Position(position), datagram.bytes);
        if is_new && position == self.contiguous {
            self.contiguous = end;
        }
        self.raise_hwm(end);
    }

    fn raise_hwm(&mut self, position: i64) {
        if position > self.counters.hwm.get() {
            self.counters.hwm.set_release(position);
        }
    }

    fn on_heartbeat(
        &mut self,
        datagram: &DataDatagram<'_>,
        position: i64,
        (transport, source): (i64, &std::net::SocketAddr),
        now: Nanos,
    ) {
        let oldest = self.status.sent_position - i64::from(self.shared.shape.term_length);
        if position < oldest.max(0) {
            self.system.increment(SystemCounter::FlowControlUnderRuns);
            return;
        }
        self.system.increment(SystemCounter::HeartbeatsReceived);
        self.last_packet = now;
        self.connections.on_activity(transport, source, now);
        if datagram.header.has(flags::EOS) && !self.is_end_of_stream {
            self.connections.on_end(transport, position);
            if let Some(end) = self.connections.end_position() {
                let is_revoked = datagram.header.has(flags::REVOKED);
                self.on_end_of_stream(end, is_revoked, now);
            }
        }
        self.clean_around(position);
        self.raise_hwm(position);
    }

    fn on_end_of_stream(&mut self, end: i64, is_revoked: bool, now: Nanos) {
        if is_revoked {
            self.shared.log.set_revoked();
            self.system.increment(SystemCounter::PublicationImagesRevoked);
        }
        self.shared.log.set_end_of_stream_position(Position(end));
        self.is_end_of_stream = true;
        if is_revoked {
            self.shared.set_revoked();
            self.drain(now);
        }
    }

    /// A reply to a round-trip request.
    pub(crate) fn on_round_trip(&mut self, reply: &RoundTrip, now: Nanos) {
        if reply.receiver_id != self.settings.receiver_id && reply.receiver_id != 0 {
            return;
        }
        if let Congestion::Cubic(cubic) = &mut self.congestion {
            let spent = now - Nanos(reply.echo_timestamp_ns) - Nanos(reply.reception_delta_ns);
            cubic.on_rtt(spent, now);
            if let Some((rtt, _)) = &mut self.counters.cubic {
                rtt.set_release(spent.0);
            }
        }
    }

    /// The sender measures: its request is answered in the next turn.
    pub(crate) fn echo(&mut self, request: &RoundTrip, to: (i64, std::net::SocketAddr)) {
        let reply = RoundTrip {
            flags: 0,
            reception_delta_ns: 0,
            receiver_id: self.settings.receiver_id,
            ..*request
        };
        self.echo = Some((to, reply));
    }

    /// One turn: progress, losses, status messages, liveness.
    pub(crate) fn work(
        &mut self,
        feedback: &mut dyn Feedback,
        report: &mut LossReport,
        time: Now,
    ) -> usize {
        let now = time.mono;
        let mut done = 0;
        if self.state == ImageState::Active {
            done += self.track(feedback, report, time);
            if self.is_end_of_stream && self.counters.rebuild.get() >= self.counters.hwm.get() {
                self.drain(now);
                done += 1;
            } else if now - self.last_packet > self.settings.liveness_timeout {
                self.state = ImageState::Gone;
                self.shared.set_state(ImageState::Gone, now);
                return done + 1;
            }
        }
        let timeout = self.settings.status_timeout;
        let is_late = self.status.sent_at.is_none_or(|sent| sent + timeout <= now);
        if is_late || self.status.is_due {
            self.send_status(feedback, is_late, now);
            done += 1;
        }
        self.measure(feedback, now);
        if let Some(((transport, to), reply)) = self.echo.take() {
            feedback.send(transport, to, &reply.to_bytes());
        }
        done
    }

    /// Moves the rebuild position, looks for gaps and plans status messages.
    fn track(&mut self, feedback: &mut dyn Feedback, report: &mut LossReport, now: Now) -> usize {
        let hwm = self.counters.hwm.get();
        // Clients write their positions: none is believed beyond what was received.
        let positions = || self.subscribers.iter().map(|known| known.position.get().clamp(0, hwm));
        let furthest = positions().max().unwrap_or(0);
        let slowest = positions().min();
        let before = self.counters.rebuild.get();
        let start = before.max(furthest).max(self.contiguous);
        let (rebuilt, gap) = self.shared.log.scan_gap(Position(start), Position(hwm));
        let rebuilt = rebuilt.0;
        self.contiguous = rebuilt;
        let mut done = 0;
        if rebuilt > before {
            self.counters.rebuild.set_release(rebuilt);
            done += 1;
        }
        let found = self.loss.on_scan(gap, now.mono);
        if let (true, Some(gap)) = (found.is_new, gap) {
            self.reporter.on_gap(&gap, report, now.epoch);
        }
        if let Some(gap) = found.report {
            self.on_loss(gap, feedback, now.mono);
            done += 1;
        }
        let progress = Progress {
            has_loss: found.report.is_some(),
            has_consumed: slowest.is_some_and(|position| position > self.status.position),
        };
        let is_forced = self.congestion.on_rebuild(progress, now.mono);
        if let Some(slowest) = slowest {
            self.plan_status(slowest, is_forced);
        }
        done
    }

    fn plan_status(&mut self, slowest: i64, is_forced: bool) {
        let window = self.congestion.window();
        let has_moved = slowest > self.status.position + i64::from(window / 4);
        if !is_forced && !has_moved && window == self.status.window {
            return;
        }
        if window != self.status.window {
            self.shared.set_window(window);
            if let Some((_, counter)) = &mut self.counters.cubic {
                counter.set_release(i64::from(window));
            }
        }
        self.status.position = slowest.max(self.status.position);
        self.status.window = window;
        self.status.is_due = true;
    }

    /// Zeroes what stands in the way of a frame that ends here, and of the length behind it. All
    /// have long consumed that: it lies three terms back, and nothing comes in more than half a
    /// term ahead of them.
    fn clean_around(&mut self, end: i64) {
        let back = 3 * i64::from(self.shared.shape.term_length);
        if end + i64::from(FRAME_ALIGNMENT) - back > self.clean_position {
            self.clean(end + CLEAN_AHEAD - back);
        }
    }

    fn clean(&mut self, target: i64) {
        while self.clean_position < target {
            let cleaned =
                self.shared.log.clean(Position(self.clean_position), Position(target), usize::MAX);
            if cleaned.0 == self.clean_position {
                break;
            }
            self.clean_position = cleaned.0;
        }
    }

    fn on_loss(&mut self, gap: Gap, feedback: &mut dyn Feedback, now: Nanos) {
        let shape = self.shared.shape;
        if !self.settings.is_reliable {
            if self.shared.log.fill_gap(gap) {
                self.system.increment(SystemCounter::LossGapFills);
            }
            return;
        }
        let nak = Nak {
            session_id: shape.session,
            stream_id: shape.stream,
            term_id: gap.term_id,
            term_offset: gap.term_offset,
            length: gap.length,
        };
        let frame = nak.to_bytes();
        self.connections.for_each_live(now, |transport, to| feedback.send(transport, to, &frame));
        self.system.increment(SystemCounter::NaksSent);
        self.counters.naks.increment();
    }

    fn send_status(&mut self, feedback: &mut dyn Feedback, is_late: bool, now: Nanos) {
        let shape = self.shared.shape;
        let liveness = self.settings.liveness_timeout;
        self.status.sent_at = Some(now);
        self.status.is_due = false;
        if let Some(reason) = &self.rejection {
            let error = ErrorFrame {
                session_id: shape.session,
                stream_id: shape.stream,
                receiver_id: self.settings.receiver_id,
                group_tag: self.settings.group_tag,
                code: ErrorCode::IMAGE_REJECTED.0,
                text: reason.as_bytes(),
            };
            let mut frame = [0; 2048];
            let length = error.encode(&mut frame).unwrap_or(0);
            let frame = &frame[..length];
            self.connections
                .for_each_live(now, |transport, to| feedback.send(transport, to, frame));
            self.system.increment(SystemCounter::ErrorFramesSent);
            return;
        }
        if let (Some(session), true) = (self.response_session, is_late) {
            let setup = ResponseSetup {
                session_id: shape.session,
                stream_id: shape.stream,
                response_session_id: session,
            };
            let frame = setup.to_bytes();
            self.connections
                .for_each_live(now, |transport, to| feedback.send(transport, to, &frame));
        }
        let is_ending = self.state == ImageState::Draining;
        let message = StatusMessage {
            flags: if is_ending { flags::END_OF_STREAM } else { 0 },
            session_id: shape.session,
            stream_id: shape.stream,
            consumption_term_id: shape.term_id(self.status.position),
            consumption_term_offset: shape.offset(self.status.position),
            receiver_window: self.status.window,
            receiver_id: self.settings.receiver_id,
            group_tag: self.settings.group_tag,
        };
        let (frame, length) = message.to_bytes();
        let frame = &frame[..length];
        self.connections.for_each_live(now, |transport, to| feedback.send(transport, to, frame));
        self.system.increment(SystemCounter::StatusMessagesSent);
        self.status.sent_position = self.status.position;
        self.shared.log.set_active_transport_count(self.connections.live_count(now, liveness));
    }

    fn measure(&mut self, feedback: &mut dyn Feedback, now: Nanos) {
        let Congestion::Cubic(cubic) = &mut self.congestion else { return };
        if self.state != ImageState::Active || !cubic.should_measure(now) {
            return;
        }
        let request = RoundTrip {
            flags: flags::REPLY,
            session_id: self.shared.shape.session,
            stream_id: self.shared.shape.stream,
            echo_timestamp_ns: now.0,
            reception_delta_ns: 0,
            receiver_id: self.settings.receiver_id,
        };
        let frame = request.to_bytes();
        self.connections.for_each_live(now, |transport, to| feedback.send(transport, to, &frame));
    }

    /// When time alone asks for the next turn.
    pub(crate) fn next_deadline(&self) -> Nanos {
        let timeout = self.settings.status_timeout;
        let mut deadline = self.status.sent_at.map_or(Nanos(0), |sent| sent + timeout);
        if self.state == ImageState::Active {
            deadline = deadline
                .min(self.loss.next_deadline())
                .min(self.last_packet + self.settings.liveness_timeout + Nanos(1));
            if let Congestion::Cubic(cubic) = &self.congestion {
                deadline = deadline.min(cubic.next_deadline());
            }
        }
        deadline
    }
}
