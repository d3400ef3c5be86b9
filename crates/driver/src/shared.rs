//! What two agents see of one publication or image: the log, positions and a few atomics.
//!
//! Each atomic has one writer, named in its documentation. Structure is changed by messages only.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};

use memory::counters::CounterReader;
use memory::log::LogBuffer;
use runtime::Nanos;
use wire::position::{Position, SessionId, StreamId, TermId};

/// Shape of a stream: what positions are computed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) session: SessionId,
    pub(crate) stream: StreamId,
    pub(crate) initial_term_id: TermId,
    pub(crate) term_length: i32,
    pub(crate) mtu: i32,
}

impl Shape {
    pub(crate) const fn bits(&self) -> u32 {
        self.term_length.trailing_zeros()
    }

    /// How many terms lie before the one that holds a position.
    #[allow(clippy::cast_possible_truncation)] // Term counts are below 2^31 by construction.
    pub(crate) fn term_count(&self, position: i64) -> i32 {
        (position >> self.bits()) as i32
    }

    pub(crate) fn position(&self, term_id: TermId, offset: i32) -> i64 {
        Position::compute(term_id, offset, self.bits(), self.initial_term_id).0
    }

    pub(crate) fn term_id(&self, position: i64) -> TermId {
        Position(position).term_id(self.bits(), self.initial_term_id)
    }

    pub(crate) fn offset(&self, position: i64) -> i32 {
        Position(position).term_offset(self.term_length)
    }
}

/// A network publication as conductor and sender see it.
pub(crate) struct PublicationShared {
    pub(crate) registration_id: i64,
    pub(crate) shape: Shape,
    pub(crate) log: LogBuffer,
    /// Written by the sender.
    pub(crate) sender_position: CounterReader,
    pub(crate) spies_simulate_connection: bool,
    /// Sender: a status message came and not all receivers have gone.
    has_receivers: AtomicBool,
    /// Sender: flow control has the receivers that it needs.
    has_required_receivers: AtomicBool,
    /// Sender: the only receiver has received everything.
    is_received: AtomicBool,
    /// Conductor: there are spies, and how far the furthest is.
    has_spies: AtomicBool,
    spy_position: AtomicI64,
    /// Conductor: the publication was revoked.
    is_revoked: AtomicBool,
    /// Conductor: where the stream ends, once it does.
    end_position: AtomicI64,
}

impl PublicationShared {
    pub(crate) fn new(
        registration_id: i64,
        shape: Shape,
        log: LogBuffer,
        sender_position: CounterReader,
        spies_simulate_connection: bool,
    ) -> Self {
        Self {
            registration_id,
            shape,
            log,
            sender_position,
            spies_simulate_connection,
            has_receivers: AtomicBool::new(false),
            has_required_receivers: AtomicBool::new(false),
            is_received: AtomicBool::new(false),
            has_spies: AtomicBool::new(false),
            spy_position: AtomicI64::new(0),
            is_revoked: AtomicBool::new(false),
            end_position: AtomicI64::new(i64::MAX),
        }
    }

    pub(crate) fn has_receivers(&self) -> bool {
        self.has_receivers.load(Ordering::Acquire)
    }

    /// By the sender.
    pub(crate) fn set_receivers(&self, present: bool, enough: bool) {
        self.has_receivers.store(present, Ordering::Release);
        self.has_required_receivers.store(enough, Ordering::Release);
    }

    /// Whether publishers are told that somebody listens.
    pub(crate) fn is_connected(&self) -> bool {
        let by_receivers =
            self.has_receivers() && self.has_required_receivers.load(Ordering::Acquire);
        by_receivers || (self.spies_simulate_connection && self.has_spies())
    }

    pub(crate) fn is_received(&self) -> bool {
        self.is_received.load(Ordering::Acquire)
    }

    /// By the sender.
    pub(crate) fn set_received(&self) {
        self.is_received.store(true, Ordering::Release);
    }

    pub(crate) fn has_spies(&self) -> bool {
        self.has_spies.load(Ordering::Acquire)
    }

    pub(crate) fn spy_position(&self) -> i64 {
        self.spy_position.load(Ordering::Acquire)
    }

    /// By the conductor.
    pub(crate) fn set_spies(&self, position_max: Option<i64>) {
        if let Some(position) = position_max {
            self.spy_position.store(position, Ordering::Release);
        }
        self.has_spies.store(position_max.is_some(), Ordering::Release);
    }

    pub(crate) fn is_revoked(&self) -> bool {
        self.is_revoked.load(Ordering::Acquire)
    }

    /// By the conductor.
    pub(crate) fn revoke(&self) {
        self.is_revoked.store(true, Ordering::Release);
    }

    /// `i64::MAX` while the stream goes on.
    pub(crate) fn end_position(&self) -> i64 {
        self.end_position.load(Ordering::Acquire)
    }

    /// By the conductor.
    pub(crate) fn set_end_position(&self, position: i64) {
        self.end_position.store(position, Ordering::Release);
    }
}

/// Where an image stands in the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ImageState {
    /// Data is taken.
    Active,
    /// Nothing more will come or is wanted; the sender is told so.
    Draining,
    /// The receiver has dropped it.
    Gone,
}

/// An image as conductor and receiver see it.
pub(crate) struct ImageShared {
    pub(crate) correlation_id: i64,
    pub(crate) shape: Shape,
    pub(crate) log: LogBuffer,
    /// Written by the receiver.
    pub(crate) rebuild: CounterReader,
    /// Receiver: an [`ImageState`] and since when.
    state: AtomicU8,
    state_since: AtomicI64,
    /// Receiver: the publication was revoked.
    is_revoked: AtomicBool,
    /// Receiver: the window last offered.
    window: AtomicI64,
}

impl ImageShared {
    pub(crate) fn new(
        correlation_id: i64,
        shape: Shape,
        log: LogBuffer,
        rebuild: CounterReader,
        window: i32,
    ) -> Self {
        Self {
            correlation_id,
            shape,
            log,
            rebuild,
            state: AtomicU8::new(0),
            state_since: AtomicI64::new(0),
            is_revoked: AtomicBool::new(false),
            window: AtomicI64::new(i64::from(window)),
        }
    }

    /// The state and since when.
    pub(crate) fn state(&self) -> (ImageState, Nanos) {
        let state = match self.state.load(Ordering::Acquire) {
            0 => ImageState::Active,
            1 => ImageState::Draining,
            _ => ImageState::Gone,
        };
        (state, Nanos(self.state_since.load(Ordering::Acquire)))
    }

    /// By the receiver.
    pub(crate) fn set_state(&self, state: ImageState, now: Nanos) {
        self.state_since.store(now.0, Ordering::Release);
        let code = match state {
            ImageState::Active => 0,
            ImageState::Draining => 1,
            ImageState::Gone => 2,
        };
        self.state.store(code, Ordering::Release);
    }

    pub(crate) fn is_revoked(&self) -> bool {
        self.is_revoked.load(Ordering::Acquire)
    }

    /// By the receiver.
    pub(crate) fn set_revoked(&self) {
        self.is_revoked.store(true, Ordering::Release);
    }

    pub(crate) fn window(&self) -> i64 {
        self.window.load(Ordering::Acquire)
    }

    /// By the receiver.
    pub(crate) fn set_window(&self, window: i32) {
        self.window.store(i64::from(window), Ordering::Release);
    }
}
