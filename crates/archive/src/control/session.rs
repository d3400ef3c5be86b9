//! One client's connection: from its first word to its last.
//!
//! ```text
//! Adding -> Connecting -> Connected -> Authenticated -> Active -> Over
//!    |          |           |   \           |                      ^
//!    |          |           |    Challenged-+                      |
//!    |          |           +-> Rejected --------------------------+
//!    +----------+--------------------------------------------------+
//! ```
//!
//! Input: what the client says, by the conductor. Output: what waits in the [`Outbox`], over the
//! response publication. One deadline bounds connecting; later it runs only while sends fail.

use client::{AddError, Counter, ErrorCode, ExclusivePublication, Handle, OfferError, Pending};
use runtime::point::{Point, strikes};
use wire::archive::CONTROL_PROTOCOL_VERSION;
use wire::archive::response::{ArchiveErrorCode, Challenge, ControlResponseCode, Ping};
use wire::bytes::SemanticVersion;
use wire::control::CorrelationId;
use wire::position::StreamId;
use wire::time::{Nanos, Now};

use crate::authentication::{Authenticator, Verdict};
use crate::control::outbox::{Outbox, encode, response};
use crate::control::refusal::Refusal;
use crate::listing::Listing;

/// How often the answer to a connect is repeated until the client shows that it has it.
const RESEND_INTERVAL: Nanos = Nanos::from_millis(200);
/// How soon a response stream is asked for again that the driver has no room for.
const SPACE_INTERVAL: Nanos = Nanos::from_millis(100);
/// Messages sent to one client in one cycle.
const SEND_LIMIT: usize = 16;

/// What a client said when it connected.
pub(crate) struct Connect {
    pub(crate) session_id: i64,
    pub(crate) image: CorrelationId,
    pub(crate) correlation_id: i64,
    pub(crate) version: SemanticVersion,
    pub(crate) credentials: Vec<u8>,
    pub(crate) channel: String,
    pub(crate) stream_id: i32,
}

enum Phase {
    Adding(Pending<ExclusivePublication>),
    /// The driver has no room for the response stream; tried again as long as the client waits.
    NoSpace,
    Connecting,
    Connected {
        is_asked: bool,
    },
    Challenged {
        challenge: Option<Vec<u8>>,
    },
    Authenticated,
    Active,
    Rejected,
    Over,
}

/// What a session needs of its surroundings for one cycle.
pub(crate) struct Surroundings<'a> {
    pub(crate) client: &'a Handle,
    pub(crate) authenticator: &'a mut dyn Authenticator,
    /// Syncs of the catalog up to this number have completed.
    pub(crate) completed: u64,
    pub(crate) connect_timeout: Nanos,
    pub(crate) ping_interval: Nanos,
    pub(crate) now: Now,
}

/// What became of a send.
enum Sent {
    Gone,
    Busy,
    Lost,
}

/// One client's connection.
pub(crate) struct Session {
    connect: Connect,
    phase: Phase,
    publication: Option<ExclusivePublication>,
    counter_pending: Option<Pending<Counter>>,
    counter: Option<Counter>,
    pub(crate) outbox: Outbox,
    pub(crate) principal: Vec<u8>,
    pub(crate) listing: Option<Listing>,
    deadline: Option<Nanos>,
    next_attempt: Nanos,
    next_ping: Nanos,
    /// Why the client's request stream is to be refused, if it is.
    rejection: Option<&'static str>,
}

impl Session {
    pub(crate) fn new(
        connect: Connect,
        counter: Pending<Counter>,
        client: &Handle,
        now: Now,
        timeout: Nanos,
    ) -> Self {
        let stream_id = StreamId(connect.stream_id);
        let pending = client.add_exclusive_publication(&connect.channel, stream_id);
        Self {
            connect,
            phase: Phase::Adding(pending),
            publication: None,
            counter_pending: Some(counter),
            counter: None,
            outbox: Outbox::default(),
            principal: Vec::new(),
            listing: None,
            deadline: Some(now.mono + timeout),
            next_attempt: now.mono,
            next_ping: now.mono,
            rejection: None,
        }
    }

    pub(crate) const fn id(&self) -> i64 {
        self.connect.session_id
    }

    /// The image on which its requests come.
    pub(crate) const fn image(&self) -> CorrelationId {
        self.connect.image
    }

    pub(crate) const fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// Why the client's request stream is to be refused, if it is.
    pub(crate) const fn rejection(&self) -> Option<&'static str> {
        self.rejection
    }

    /// The client shows that it knows its session; returns whether it may ask things.
    pub(crate) fn activate(&mut self) -> bool {
        if matches!(self.phase, Phase::Authenticated) {
            self.phase = Phase::Active;
        }
        matches!(self.phase, Phase::Active)
    }

    /// The end, in order.
    pub(crate) fn close(&mut self) {
        self.phase = Phase::Over;
    }

    fn abort(&mut self, reason: &'static str) {
        self.rejection = Some(reason);
        self.phase = Phase::Over;
    }

    /// The answer to a challenge.
    pub(crate) fn on_challenge_response(
        &mut self,
        correlation_id: i64,
        answer: &[u8],
        authenticator: &mut dyn Authenticator,
        now: Now,
    ) {
        if !matches!(self.phase, Phase::Challenged { .. }) {
            return;
        }
        self.connect.correlation_id = correlation_id;
        let verdict = authenticator.on_challenge_response(self.id(), answer, now);
        self.on_verdict(verdict, now);
    }

    /// Gives back what the driver made for it: unread responses are lost.
    pub(crate) fn dismiss(self) {
        if let Some(publication) = self.publication {
            publication.revoke();
        }
    }

    /// When it must be stepped again at the latest.
    pub(crate) fn next_deadline(&self) -> Nanos {
        let deadline = self.deadline.unwrap_or(Nanos::MAX);
        match self.phase {
            Phase::NoSpace | Phase::Connected { .. } | Phase::Authenticated | Phase::Rejected => {
                deadline.min(self.next_attempt)
            }
            Phase::Active => deadline.min(self.next_ping),
            _ => deadline,
        }
    }

    /// One cycle; returns how much was done.
    pub(crate) fn do_work(&mut self, with: &mut Surroundings<'_>) -> usize {
        self.take_counter();
        let now = with.now;
        let mut done = match &mut self.phase {
            Phase::Adding(_) => self.add(with),
            Phase::NoSpace => self.add_again(with),
            Phase::Connecting => self.await_connection(now),
            Phase::Connected { .. } => self.authenticate(with),
            Phase::Challenged { .. } => self.challenge(with),
            Phase::Authenticated => self.repeat(now, ControlResponseCode::Ok, self.id(), ""),
            Phase::Rejected => {
                let code = ArchiveErrorCode::AuthenticationRejected.code().into();
                self.repeat(now, ControlResponseCode::Error, code, "authentication rejected")
            }
            Phase::Active => self.serve(with),
            Phase::Over => 0,
        };
        if matches!(self.phase, Phase::Authenticated | Phase::Active) && !self.is_connected() {
            self.close();
            done += 1;
        }
        if !self.is_over() && self.deadline.is_some_and(|deadline| now.mono >= deadline) {
            self.abort("control session timed out");
            done += 1;
        }
        if self.outbox.is_overflown() {
            self.abort("responses are not read");
        }
        done
    }

    fn take_counter(&mut self) {
        let Some(pending) = &mut self.counter_pending else { return };
        match pending.poll() {
            Ok(None) => {}
            Ok(Some(mut counter)) => {
                counter.set(self.connect.session_id);
                self.counter = Some(counter);
                self.counter_pending = None;
            }
            // It only informs: a session goes on without.
            Err(_) => self.counter_pending = None,
        }
    }

    fn add(&mut self, with: &Surroundings<'_>) -> usize {
        let Phase::Adding(pending) = &mut self.phase else { return 0 };
        match pending.poll() {
            Ok(None) => 0,
            Ok(Some(publication)) => {
                self.publication = Some(publication);
                self.deadline = Some(with.now.mono + with.connect_timeout);
                self.phase = Phase::Connecting;
                1
            }
            Err(AddError::Refused { code, .. })
                if code == ErrorCode::RESOURCE_TEMPORARILY_UNAVAILABLE =>
            {
                let stream_id = StreamId(self.connect.stream_id);
                *pending = with.client.add_exclusive_publication(&self.connect.channel, stream_id);
                1
            }
            Err(AddError::Refused { code, .. }) if code == ErrorCode::STORAGE_SPACE => {
                self.phase = Phase::NoSpace;
                self.next_attempt = with.now.mono + SPACE_INTERVAL;
                1
            }
            Err(_) => {
                self.abort("response channel is not valid");
                1
            }
        }
    }

    fn add_again(&mut self, with: &Surroundings<'_>) -> usize {
        if with.now.mono < self.next_attempt {
            return 0;
        }
        let stream_id = StreamId(self.connect.stream_id);
        let pending = with.client.add_exclusive_publication(&self.connect.channel, stream_id);
        self.phase = Phase::Adding(pending);
        1
    }

    fn is_connected(&self) -> bool {
        self.publication.as_ref().is_some_and(ExclusivePublication::is_connected)
    }

    fn await_connection(&mut self, now: Now) -> usize {
        if !self.is_connected() {
            return 0;
        }
        self.phase = Phase::Connected { is_asked: false };
        self.next_attempt = now.mono;
        1
    }

    fn authenticate(&mut self, with: &mut Surroundings<'_>) -> usize {
        let now = with.now;
        if self.connect.version.major() != CONTROL_PROTOCOL_VERSION.major() {
            let text = "control protocol versions do not fit";
            return self.repeat(now, ControlResponseCode::Error, self.id(), text);
        }
        let Phase::Connected { is_asked } = &mut self.phase else { return 0 };
        let is_first = !std::mem::replace(is_asked, true);
        let id = self.connect.session_id;
        let verdict = if is_first {
            with.authenticator.on_connect(id, &self.connect.credentials, now)
        } else {
            with.authenticator.poll(id, now)
        };
        self.next_attempt = now.mono + RESEND_INTERVAL;
        let is_decided = verdict != Verdict::Pending;
        self.on_verdict(verdict, now);
        usize::from(is_decided)
    }

    fn on_verdict(&mut self, verdict: Verdict, now: Now) {
        match verdict {
            Verdict::Pending => return,
            Verdict::Accepted { principal } => {
                self.principal = principal;
                self.deadline = None;
                self.phase = Phase::Authenticated;
            }
            Verdict::Challenged { challenge } => {
                if !matches!(self.phase, Phase::Challenged { .. }) {
                    self.phase = Phase::Challenged { challenge: Some(challenge) };
                }
            }
            Verdict::Rejected => self.phase = Phase::Rejected,
        }
        self.next_attempt = now.mono;
    }

    fn challenge(&mut self, with: &mut Surroundings<'_>) -> usize {
        let (control_session_id, correlation_id) = (self.id(), self.connect.correlation_id);
        let Phase::Challenged { challenge } = &mut self.phase else { return 0 };
        if let Some(encoded_challenge) = challenge.take() {
            let bytes = encode(&Challenge {
                control_session_id,
                correlation_id,
                version: CONTROL_PROTOCOL_VERSION,
                encoded_challenge: &encoded_challenge,
            });
            if matches!(self.send(&bytes), Sent::Busy) {
                self.phase = Phase::Challenged { challenge: Some(encoded_challenge) };
            }
            return 1;
        }
        let verdict = with.authenticator.poll(control_session_id, with.now);
        let is_decided = verdict != Verdict::Pending;
        self.on_verdict(verdict, with.now);
        usize::from(is_decided)
    }

    /// Sends the answer to the connect again and again: the client may not have seen it.
    fn repeat(
        &mut self,
        now: Now,
        code: ControlResponseCode,
        relevant_id: i64,
        text: &str,
    ) -> usize {
        if now.mono < self.next_attempt {
            return 0;
        }
        self.next_attempt = now.mono + RESEND_INTERVAL;
        let bytes = response(self.id(), self.connect.correlation_id, relevant_id, code, text);
        self.send(&bytes);
        1
    }

    fn serve(&mut self, with: &Surroundings<'_>) -> usize {
        let mut done = 0;
        while done < SEND_LIMIT && !strikes(Point::AnswersLeft) {
            let Some(bytes) = self.outbox.front(with.completed) else { break };
            let sent = match &mut self.publication {
                Some(publication) => send(publication, bytes),
                None => Sent::Lost,
            };
            if !matches!(sent, Sent::Busy) {
                self.outbox.pop();
                done += 1;
            }
            self.on_sent(&sent, with.now, with.connect_timeout);
            if !matches!(sent, Sent::Gone) {
                return done;
            }
        }
        if with.now.mono >= self.next_ping {
            self.next_ping = with.now.mono + with.ping_interval;
            let sent = self.send(&encode(&Ping { control_session_id: self.id() }));
            self.on_sent(&sent, with.now, with.connect_timeout);
            done += 1;
        }
        done
    }

    /// Sends part of a listing past the outbox; returns whether it went.
    pub(crate) fn send_listed(&mut self, bytes: &[u8], with: &Surroundings<'_>) -> bool {
        let sent = self.send(bytes);
        self.on_sent(&sent, with.now, with.connect_timeout);
        matches!(sent, Sent::Gone)
    }

    /// Whether a listing may send: what waits goes first.
    pub(crate) fn may_list(&self) -> bool {
        matches!(self.phase, Phase::Active) && self.outbox.is_empty()
    }

    /// The deadline runs from the first send that failed to the next that does not.
    fn on_sent(&mut self, sent: &Sent, now: Now, timeout: Nanos) {
        match sent {
            Sent::Gone => self.deadline = None,
            Sent::Busy => {
                self.deadline.get_or_insert(now.mono + timeout);
            }
            Sent::Lost => self.close(),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Sent {
        self.publication.as_mut().map_or(Sent::Lost, |publication| send(publication, bytes))
    }

    /// Tells the client that its request is turned down.
    pub(crate) fn refuse(&mut self, correlation_id: i64, refusal: &Refusal) {
        let id = self.id();
        self.outbox.refuse(id, correlation_id, refusal);
    }

    /// Tells the client that its request succeeded, once the sync `barrier` has completed.
    pub(crate) fn confirm(&mut self, correlation_id: i64, relevant_id: i64, barrier: u64) {
        let id = self.id();
        self.outbox.ok(id, correlation_id, relevant_id, barrier);
    }
}

fn send(publication: &mut ExclusivePublication, bytes: &[u8]) -> Sent {
    match publication.offer(bytes) {
        Ok(_) => Sent::Gone,
        Err(OfferError::BackPressured | OfferError::AdminAction) => Sent::Busy,
        // Too long for the stream's terms: waiting would not help.
        Err(OfferError::MessageTooLong { .. }) => Sent::Gone,
        Err(_) => Sent::Lost,
    }
}
