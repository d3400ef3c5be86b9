//! Appending by many publishers at once: space is claimed by adding to the tail.

use wire::frame::{FrameType, flags};
use wire::log as layout;
use wire::position::{Position, TermId, align_frame};

use super::frame::{self, HEADER_LENGTH, Stream};
use super::{LogBuffer, index_of};
use crate::buffer::AtomicBuffer;

/// Why nothing was appended. None is fatal except [`AppendError::MaxPositionExceeded`] and
/// [`AppendError::TooLong`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Nobody listens.
    #[error("not connected")]
    NotConnected,
    /// Somebody listens but has not caught up.
    #[error("back pressured")]
    BackPressured,
    /// The log passed to its next term: try again at once.
    #[error("the log is passing to its next term")]
    AdminAction,
    /// The stream is at the end of what positions can count.
    #[error("the stream has reached its last position")]
    MaxPositionExceeded,
    /// The message does not fit.
    #[error("a message of {length} bytes is longer than {longest}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The longest that fits, in bytes.
        longest: i32,
    },
}

/// Fills the reserved value of a frame: gets the offset of the frame in its term and its length.
pub trait Reserved: FnMut(i32, i32) -> i64 {}
impl<F: FnMut(i32, i32) -> i64> Reserved for F {}

impl LogBuffer {
    /// Appends a message that lies in several parts; returns the position after it.
    ///
    /// Nothing is appended from `limit` on, though a message may run past it. Any thread may call.
    ///
    /// # Errors
    /// See [`AppendError`].
    #[inline]
    pub fn append(
        &self,
        limit: Position,
        parts: &[&[u8]],
        reserved: impl Reserved,
    ) -> Result<Position, AppendError> {
        let length = self.checked_length(parts)?;
        let framed = self.framed_length(length);
        let (term, term_id, offset) = self.claim_range(limit, length, framed)?;
        self.write_message(term, term_id, offset, length, parts, reserved);
        Ok(self.position_of(term_id, offset + framed))
    }

    /// Appends a message that lies in one piece: the same as [`LogBuffer::append`] of one part,
    /// faster for one that fits a single frame.
    ///
    /// # Errors
    /// See [`AppendError`].
    #[inline]
    pub fn append_one(
        &self,
        limit: Position,
        message: &[u8],
        mut reserved: impl Reserved,
    ) -> Result<Position, AppendError> {
        let Some(length) = self.single_length(message) else {
            return self.append_in_frames(limit, message, reserved);
        };
        let frame_length = length + HEADER_LENGTH;
        let framed = align_frame(frame_length);
        let (term, term_id, offset) = self.claim_range(limit, length, framed)?;
        let mut header =
            self.stream().header(FrameType::DATA, flags::UNFRAGMENTED, term_id, offset);
        header.reserved_value = reserved(offset, frame_length);
        frame::write(term, header, message, frame_length);
        Ok(self.position_of(term_id, offset + framed))
    }

    #[cold]
    #[inline(never)]
    fn append_in_frames(
        &self,
        limit: Position,
        message: &[u8],
        reserved: impl Reserved,
    ) -> Result<Position, AppendError> {
        self.append(limit, &[message], reserved)
    }

    /// The length of a message that fits a single frame.
    #[inline]
    pub(super) fn single_length(&self, message: &[u8]) -> Option<i32> {
        let longest = self.payload_length_max();
        i32::try_from(message.len()).ok().filter(|length| *length <= longest)
    }

    /// Claims space for a message of at most [`LogBuffer::payload_length_max`] bytes, to be written
    /// in place.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn claim(&self, limit: Position, length: usize) -> Result<Claim<'_>, AppendError> {
        let longest = self.payload_length_max();
        let length = i32::try_from(length)
            .ok()
            .filter(|&length| length <= longest)
            .ok_or(AppendError::TooLong { length, longest })?;
        let framed = align_frame(length + HEADER_LENGTH);
        let (term, term_id, offset) = self.claim_range(limit, length, framed)?;
        Ok(self.begin_claim(term, term_id, offset, length))
    }

    pub(super) fn begin_claim<'a>(
        &'a self,
        term: &'a AtomicBuffer,
        term_id: TermId,
        offset: i32,
        length: i32,
    ) -> Claim<'a> {
        let header = self.stream().header(FrameType::DATA, flags::UNFRAGMENTED, term_id, offset);
        let length = length + HEADER_LENGTH;
        frame::begin(term, header, length);
        let position = self.position_of(term_id, offset + align_frame(length));
        Claim { term, offset, length, position, is_open: true }
    }

    #[inline]
    fn claim_range(
        &self,
        limit: Position,
        length: i32,
        framed: i32,
    ) -> Result<(&AtomicBuffer, TermId, i32), AppendError> {
        let count = self.active_term_count();
        let tail = self.tail(count);
        if count != tail.term_id().terms_since(self.initial_term_id()) {
            return Err(AppendError::AdminAction);
        }
        let position = self.position_of(tail.term_id(), tail.offset(self.term_length()));
        if position >= limit {
            return Err(self.at_limit(position, length));
        }
        let index = index_of(count);
        let claimed =
            self.metadata.fetch_add_i64(layout::tail_counter_offset(index), i64::from(framed));
        let claimed = layout::RawTail(claimed);
        // The term comes from what was claimed: this thread may have slept since it looked.
        let term_id = claimed.term_id();
        let offset = claimed.claimed();
        if offset + i64::from(framed) > i64::from(self.term_length()) {
            return Err(self.on_end_of_term(term_id, offset, framed));
        }
        let index = index_of(term_id.terms_since(self.initial_term_id()));
        #[allow(clippy::cast_possible_truncation)] // Below the term length, as just checked.
        Ok((&self.terms[index], term_id, offset as i32))
    }

    #[cold]
    pub(super) fn at_limit(&self, position: Position, length: i32) -> AppendError {
        let end = position.0 + i64::from(align_frame(length + HEADER_LENGTH));
        if end >= Position::limit(self.term_length()).0 {
            AppendError::MaxPositionExceeded
        } else if self.is_connected() {
            AppendError::BackPressured
        } else {
            AppendError::NotConnected
        }
    }

    /// A claim ran over the end of the term. Whoever's claim began inside owns what is left, and
    /// pads it; everybody may rotate.
    #[cold]
    fn on_end_of_term(&self, term_id: TermId, offset: i64, framed: i32) -> AppendError {
        let count = term_id.terms_since(self.initial_term_id());
        if offset < i64::from(self.term_length()) {
            #[allow(clippy::cast_possible_truncation)] // Below the term length.
            self.pad_to_end(&self.terms[index_of(count)], term_id, offset as i32);
        }
        let begin = self.position_of(term_id, 0).0;
        if begin + offset + i64::from(framed) >= Position::limit(self.term_length()).0 {
            return AppendError::MaxPositionExceeded;
        }
        self.rotate(count, term_id);
        AppendError::AdminAction
    }

    pub(super) fn pad_to_end(&self, term: &AtomicBuffer, term_id: TermId, offset: i32) {
        let length = self.term_length() - offset;
        let header = self.stream().header(FrameType::PADDING, flags::UNFRAGMENTED, term_id, offset);
        frame::begin(term, header, length);
        frame::publish(term, offset, length);
    }

    #[inline]
    pub(super) fn stream(&self) -> Stream {
        let description = self.description();
        Stream { session_id: description.session_id, stream_id: description.stream_id }
    }

    /// The sum of the parts' lengths, if a message may be that long.
    #[inline]
    pub(super) fn checked_length(&self, parts: &[&[u8]]) -> Result<i32, AppendError> {
        // What fits a single frame is taken even in a short term, as by genuine clients.
        let longest = self.message_length_max().max(self.payload_length_max());
        let length = parts.iter().fold(0_usize, |sum, part| sum.saturating_add(part.len()));
        i32::try_from(length)
            .ok()
            .filter(|&length| length <= longest)
            .ok_or(AppendError::TooLong { length, longest })
    }

    /// What a message takes of the log, cut into frames if need be.
    #[inline]
    #[must_use]
    pub fn framed_length(&self, length: i32) -> i32 {
        let longest = self.payload_length_max();
        if length <= longest {
            return align_frame(length + HEADER_LENGTH);
        }
        let rest = length % longest;
        let last = if rest > 0 { align_frame(rest + HEADER_LENGTH) } else { 0 };
        length / longest * (longest + HEADER_LENGTH) + last
    }

    /// Writes a message into claimed space, in ascending frames.
    #[inline]
    pub(super) fn write_message(
        &self,
        term: &AtomicBuffer,
        term_id: TermId,
        offset: i32,
        length: i32,
        parts: &[&[u8]],
        mut reserved: impl Reserved,
    ) {
        let longest = self.payload_length_max();
        let stream = self.stream();
        let mut gather = Gather { parts, done: 0 };
        let (mut at, mut rest, mut flags) = (offset, length, flags::BEGIN);
        loop {
            let payload = rest.min(longest);
            rest -= payload;
            if rest == 0 {
                flags |= flags::END;
            }
            let frame_length = payload + HEADER_LENGTH;
            let mut header = stream.header(FrameType::DATA, flags, term_id, at);
            header.reserved_value = reserved(at, frame_length);
            frame::begin(term, header, frame_length);
            gather.copy(term, at + HEADER_LENGTH, payload);
            frame::publish(term, at, frame_length);
            if rest == 0 {
                return;
            }
            at += align_frame(frame_length);
            flags = 0;
        }
    }
}

/// Copies the parts of a message one after the other, across the borders of frames.
struct Gather<'a> {
    parts: &'a [&'a [u8]],
    /// How much of the first part has been copied.
    done: usize,
}

impl Gather<'_> {
    #[inline]
    #[allow(clippy::cast_sign_loss)] // Offsets and lengths in a term are not negative.
    fn copy(&mut self, term: &AtomicBuffer, offset: i32, length: i32) {
        let (mut at, mut room) = (offset as usize, length as usize);
        while let Some((first, others)) = self.parts.split_first() {
            let piece = &first[self.done..];
            if piece.len() > room {
                term.copy_in(at, &piece[..room]);
                self.done += room;
                return;
            }
            term.copy_in(at, piece);
            at += piece.len();
            room -= piece.len();
            (self.parts, self.done) = (others, 0);
        }
    }
}

/// Claimed space, not yet visible to readers. Commit it soon: the stream stands still behind it.
///
/// Dropping it without a commit aborts it: readers skip the space.
#[derive(Debug)]
pub struct Claim<'a> {
    term: &'a AtomicBuffer,
    offset: i32,
    /// Header and payload.
    length: i32,
    position: Position,
    is_open: bool,
}

impl Claim<'_> {
    /// Length of the payload in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        usize::try_from(self.length - HEADER_LENGTH).unwrap_or(0)
    }

    /// The position after it.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Writes into the payload.
    ///
    /// # Panics
    /// When the bytes do not fit behind `offset`.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        let length = self.length();
        assert!(
            offset <= length && bytes.len() <= length - offset,
            "{} bytes at {offset} do not fit a claim of {length}",
            bytes.len()
        );
        self.term.copy_in(self.at(wire::frame::DATA_HEADER_LENGTH) + offset, bytes);
    }

    /// Sets the flags of the frame.
    pub fn set_flags(&mut self, flags: u8) {
        self.term.store_u8(self.at(wire::frame::FLAGS_OFFSET), flags);
    }

    /// Sets the reserved value of the frame.
    pub fn set_reserved_value(&mut self, value: i64) {
        self.term.store_i64(self.at(wire::frame::RESERVED_VALUE_OFFSET), value);
    }

    /// Makes the message visible; returns the position after it.
    pub fn commit(mut self) -> Position {
        self.is_open = false;
        frame::publish(self.term, self.offset, self.length);
        self.position
    }

    /// Gives the space up: readers skip it.
    pub fn abort(self) {
        drop(self);
    }

    #[allow(clippy::cast_sign_loss)] // Offsets in a term are not negative.
    fn at(&self, field: usize) -> usize {
        self.offset as usize + field
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if self.is_open {
            let [low, high] = FrameType::PADDING.0.to_le_bytes();
            self.term.store_u8(self.at(wire::frame::TYPE_OFFSET), low);
            self.term.store_u8(self.at(wire::frame::TYPE_OFFSET) + 1, high);
            frame::publish(self.term, self.offset, self.length);
        }
    }
}
