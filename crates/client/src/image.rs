//! [`Image`]: one publisher's stream as a subscription sees it.

use std::sync::Arc;

use memory::counters::Counter;
use memory::log::LogBuffer;
use memory::log::read::{Progress, ReadAction};
use runtime::point::{Point, strikes};
use wire::control::CorrelationId;
use wire::counters::CounterId;
use wire::frame::DataHeader;
use wire::position::{Position, SessionId, StreamId, TermId};

use crate::fragment::{Action, Fragment, Header};
use crate::handle::Handle;
use crate::overtaken::{self, Copied};
use crate::pending::Pending;
use crate::state::Closed;

/// What a block is cut to where a trial wants it short.
const SHORT_BLOCK: usize = 2_048;

/// One publisher's stream. Part of its [`Subscription`](crate::Subscription), or taken out of it.
///
/// A handler that panics gets the fragments of that poll again with the next one.
pub struct Image {
    setup: ImageSetup,
    position: Position,
    join_position: Position,
    /// Of an untethered subscription only: fragments are copied out before they are handed over.
    copy: Vec<u8>,
    is_overtaken: bool,
}

/// What the conductor hands over.
pub(crate) struct ImageSetup {
    pub(crate) log: Arc<LogBuffer>,
    pub(crate) position: Counter,
    pub(crate) correlation_id: CorrelationId,
    pub(crate) subscription: CorrelationId,
    pub(crate) session_id: SessionId,
    pub(crate) stream_id: StreamId,
    pub(crate) source_identity: String,
    pub(crate) is_tethered: bool,
    pub(crate) closed: Closed,
    pub(crate) handle: Handle,
}

/// Whole frames in one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// The frames with their headers. Padding comes alone.
    pub bytes: &'a [u8],
    /// Where the first begins.
    pub position: Position,
    /// Whose.
    pub session_id: SessionId,
    /// The term that holds them.
    pub term_id: TermId,
}

impl Image {
    pub(crate) fn new(setup: ImageSetup) -> Self {
        let position = Position(setup.position.get().max(0));
        let (copy, is_overtaken) = (Vec::new(), false);
        Self { setup, position, join_position: position, copy, is_overtaken }
    }

    /// Hands at most `limit` fragments to the handler, up to the end of a term; returns how many.
    ///
    /// The position is stored once the last of them has been handled.
    #[inline]
    pub fn poll(&mut self, limit: usize, on_fragment: impl FnMut(Fragment<'_>)) -> usize {
        self.bounded_poll(Position(i64::MAX), limit, on_fragment)
    }

    /// The same, for fragments that begin before `bound` only.
    #[inline]
    pub fn bounded_poll(
        &mut self,
        bound: Position,
        limit: usize,
        mut on_fragment: impl FnMut(Fragment<'_>),
    ) -> usize {
        if self.is_closed() || strikes(Point::PollNothing) {
            return 0;
        }
        let limit = if strikes(Point::PollOne) { limit.min(1) } else { limit };
        if !self.setup.is_tethered {
            return self.copied_poll(bound, limit, |fragment| {
                on_fragment(fragment);
                Action::Continue
            });
        }
        let progress =
            self.setup.log.read(self.position, bound, limit, |header, payload, position| {
                on_fragment(fragment(header, payload, position));
            });
        self.advance(progress)
    }

    /// Hands at most `limit` fragments to the handler, which says how to go on; see [`Action`].
    #[inline]
    pub fn controlled_poll(
        &mut self,
        limit: usize,
        on_fragment: impl FnMut(Fragment<'_>) -> Action,
    ) -> usize {
        self.bounded_controlled_poll(Position(i64::MAX), limit, on_fragment)
    }

    /// The same, for fragments that begin before `bound` only.
    #[inline]
    pub fn bounded_controlled_poll(
        &mut self,
        bound: Position,
        limit: usize,
        mut on_fragment: impl FnMut(Fragment<'_>) -> Action,
    ) -> usize {
        if self.is_closed() || strikes(Point::PollNothing) {
            return 0;
        }
        let limit = if strikes(Point::PollOne) { limit.min(1) } else { limit };
        if !self.setup.is_tethered {
            return self.copied_poll(bound, limit, on_fragment);
        }
        let ImageSetup { log, position: counter, closed, .. } = &mut self.setup;
        let progress = log.read_controlled(
            self.position,
            bound,
            limit,
            |header, payload, position| match on_fragment(fragment(header, payload, position)) {
                Action::Continue => ReadAction::Continue,
                Action::Commit => ReadAction::Commit,
                Action::Break => ReadAction::Break,
                Action::Abort => ReadAction::Abort,
            },
            |position| {
                if !closed.is_set() {
                    counter.set_release(position.0);
                }
            },
        );
        self.advance(progress)
    }

    /// Hands over the whole frames that are there in one piece of at most `length_max` bytes;
    /// returns how many bytes. Padding comes alone, whatever its length.
    ///
    /// Not for untethered subscriptions: they could be overtaken, and get nothing.
    pub fn block_poll(&mut self, length_max: usize, on_block: impl FnOnce(Block<'_>)) -> usize {
        if self.is_closed() || !self.setup.is_tethered {
            return 0;
        }
        let length_max =
            if strikes(Point::BlockShort) { length_max.min(SHORT_BLOCK) } else { length_max };
        let ImageSetup { log, session_id, .. } = &self.setup;
        let (position, session_id) = (self.position, *session_id);
        let term_id = log.term_id_at(position);
        let length = log.read_block(position, length_max, |bytes| {
            on_block(Block { bytes, position, session_id, term_id });
        });
        // A block is no longer than a term.
        let after = position.0 + i64::try_from(length).unwrap_or(0);
        self.advance(Progress { position: Position(after), fragments: length })
    }

    /// Copies fragments out, as a publisher may overtake this image at any time.
    fn copied_poll(
        &mut self,
        bound: Position,
        limit: usize,
        mut on_fragment: impl FnMut(Fragment<'_>) -> Action,
    ) -> usize {
        let mut count = 0;
        while count < limit && self.position < bound {
            let (header, length, after) =
                match overtaken::copy_frame(&self.setup.log, self.position, &mut self.copy) {
                    Copied::Nothing => break,
                    Copied::Padding { after } => {
                        self.store(after);
                        continue;
                    }
                    Copied::Overtaken => {
                        self.is_overtaken = true;
                        self.setup.closed.set();
                        break;
                    }
                    Copied::Frame { header, length, after } => (header, length, after),
                };
            let action = on_fragment(fragment(&header, &self.copy[..length], after));
            if action == Action::Abort {
                break;
            }
            self.store(after);
            count += 1;
            if action == Action::Break {
                break;
            }
        }
        count
    }

    #[inline]
    fn advance(&mut self, progress: Progress) -> usize {
        if progress.position > self.position {
            self.store(progress.position);
        }
        progress.fragments
    }

    /// Stores how far this image has been consumed. A closed image's counter may be another's.
    #[inline]
    fn store(&mut self, position: Position) {
        self.position = position;
        if !self.setup.closed.is_set() {
            self.setup.position.set_release(position.0);
        }
    }

    /// How far it has been consumed.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// Where it was joined.
    #[must_use]
    pub const fn join_position(&self) -> Position {
        self.join_position
    }

    /// Whether it is closed: polls give nothing any more.
    #[inline]
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.setup.closed.is_set()
    }

    /// Whether everything has been consumed and no more will come.
    #[must_use]
    pub fn is_end_of_stream(&self) -> bool {
        self.position >= self.end_of_stream_position()
    }

    /// Where the stream ends; `i64::MAX` until that is known.
    #[must_use]
    pub fn end_of_stream_position(&self) -> Position {
        self.setup.log.end_of_stream_position()
    }

    /// Whether its publisher revoked the stream.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.setup.log.is_revoked()
    }

    /// Whether it closed because it was overtaken: only images of untethered subscriptions.
    #[must_use]
    pub const fn is_overtaken(&self) -> bool {
        self.is_overtaken
    }

    /// How many transports bring it; 0 for IPC.
    #[must_use]
    pub fn active_transport_count(&self) -> i32 {
        self.setup.log.active_transport_count()
    }

    /// Whose stream.
    #[must_use]
    pub const fn session_id(&self) -> SessionId {
        self.setup.session_id
    }

    /// Which stream.
    #[must_use]
    pub const fn stream_id(&self) -> StreamId {
        self.setup.stream_id
    }

    /// What tells it from an image of the same session that came before.
    #[must_use]
    pub const fn correlation_id(&self) -> CorrelationId {
        self.setup.correlation_id
    }

    /// The subscription that it belongs to.
    #[must_use]
    pub const fn subscription_registration_id(&self) -> CorrelationId {
        self.setup.subscription
    }

    /// Where it comes from: `ip:port`, or `aeron:ipc`.
    #[must_use]
    pub fn source_identity(&self) -> &str {
        &self.setup.source_identity
    }

    /// The counter in which its position stands.
    #[must_use]
    pub fn subscriber_position_id(&self) -> CounterId {
        self.setup.position.id()
    }

    /// Length of a term in bytes.
    #[must_use]
    pub fn term_length(&self) -> i32 {
        self.setup.log.term_length()
    }

    /// First term of the stream.
    #[must_use]
    pub fn initial_term_id(&self) -> TermId {
        self.setup.log.initial_term_id()
    }

    /// Longest datagram, in bytes.
    #[must_use]
    pub fn mtu_length(&self) -> i32 {
        self.setup.log.description().mtu_length
    }

    /// Refuses it from here on; its publisher is told the reason (at most 1023 bytes). Not for
    /// spies.
    pub fn reject(&self, reason: &str) -> Pending<()> {
        self.setup.handle.reject_image(self.setup.correlation_id, self.position, reason)
    }
}

#[inline]
fn fragment<'a>(header: &DataHeader, payload: &'a [u8], position: Position) -> Fragment<'a> {
    Fragment {
        payload,
        header: Header {
            position,
            flags: header.flags,
            frame_length: header.frame_length,
            term_offset: header.term_offset,
            term_id: header.term_id,
            session_id: header.session_id,
            stream_id: header.stream_id,
            reserved_value: header.reserved_value,
        },
    }
}
