//! Appending by a single publisher: the tail is its own and only told to others.

use wire::frame::{FrameType, flags};
use wire::log::{self as layout, RawTail};
use wire::position::{FRAME_ALIGNMENT, Position, TermId, align_frame};

use super::append::{AppendError, Claim, Reserved};
use super::frame::{self, HEADER_LENGTH};
use super::{LogBuffer, index_of};
use crate::buffer::AtomicBuffer;

/// The single writer of a log. There must be one at most; the driver grants it.
#[derive(Debug)]
pub struct ExclusiveAppender {
    log: LogBuffer,
    term_id: TermId,
    /// Which buffer holds the term.
    index: usize,
    /// May lie beyond the term's end, after a claim that did not fit.
    offset: i32,
    term_begin: i64,
}

/// Why a block of frames was not appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// Not now; see [`AppendError`].
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The block is no run of whole frames, or runs over the end of the term.
    #[error("a block of {length} bytes where {room} remain in the term")]
    Length {
        /// Bytes in the block.
        length: usize,
        /// Bytes in the term.
        room: i32,
    },
    /// The block's first frame belongs elsewhere, or is no data.
    #[error("a block for term {term_id:?} offset {term_offset} where the log stands elsewhere")]
    Elsewhere {
        /// The term of its first frame.
        term_id: TermId,
        /// The offset of its first frame.
        term_offset: i32,
    },
}

impl ExclusiveAppender {
    /// Continues where the log's tail stands.
    #[must_use]
    pub fn new(log: LogBuffer) -> Self {
        let tail = log.tail(log.active_term_count());
        let (term_id, offset) = (tail.term_id(), tail.offset(log.term_length()));
        let term_begin = log.position_of(term_id, 0).0;
        let index = index_of(term_id.terms_since(log.initial_term_id()));
        Self { log, term_id, index, offset, term_begin }
    }

    /// The log that is written.
    #[must_use]
    pub fn log(&self) -> &LogBuffer {
        &self.log
    }

    /// The position after everything appended so far.
    #[must_use]
    pub fn position(&self) -> Position {
        Position(self.term_begin + i64::from(self.offset))
    }

    /// The term that is written.
    #[must_use]
    pub fn term_id(&self) -> TermId {
        self.term_id
    }

    /// Where in its term the next frame begins.
    #[must_use]
    pub fn term_offset(&self) -> i32 {
        self.offset
    }

    /// Appends a message that lies in several parts; returns the position after it.
    ///
    /// # Errors
    /// See [`AppendError`].
    #[inline]
    pub fn append(
        &mut self,
        limit: Position,
        parts: &[&[u8]],
        reserved: impl Reserved,
    ) -> Result<Position, AppendError> {
        let length = self.log.checked_length(parts)?;
        let framed = self.log.framed_length(length);
        let offset = self.advance(limit, length, framed)?;
        self.log.write_message(self.term(), self.term_id, offset, length, parts, reserved);
        Ok(self.position())
    }

    /// Appends a message that lies in one piece: the same as [`ExclusiveAppender::append`] of one
    /// part, faster for one that fits a single frame.
    ///
    /// # Errors
    /// See [`AppendError`].
    #[inline]
    pub fn append_one(
        &mut self,
        limit: Position,
        message: &[u8],
        mut reserved: impl Reserved,
    ) -> Result<Position, AppendError> {
        let Some(length) = self.log.single_length(message) else {
            return self.append_in_frames(limit, message, reserved);
        };
        let frame_length = length + HEADER_LENGTH;
        let offset = self.advance(limit, length, align_frame(frame_length))?;
        let (kind, flags) = (FrameType::DATA, flags::UNFRAGMENTED);
        let mut header = self.log.stream().header(kind, flags, self.term_id, offset);
        header.reserved_value = reserved(offset, frame_length);
        frame::write(self.term(), header, message, frame_length);
        Ok(self.position())
    }

    #[cold]
    #[inline(never)]
    fn append_in_frames(
        &mut self,
        limit: Position,
        message: &[u8],
        reserved: impl Reserved,
    ) -> Result<Position, AppendError> {
        self.append(limit, &[message], reserved)
    }

    /// Claims space for a message of at most one frame, to be written in place.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn claim(&mut self, limit: Position, length: usize) -> Result<Claim<'_>, AppendError> {
        let longest = self.log.payload_length_max();
        let length = i32::try_from(length)
            .ok()
            .filter(|&length| length <= longest)
            .ok_or(AppendError::TooLong { length, longest })?;
        let offset = self.advance(limit, length, align_frame(length + HEADER_LENGTH))?;
        Ok(self.log.begin_claim(self.term(), self.term_id, offset, length))
    }

    /// Appends one padding frame of `length` bytes behind its header, which readers skip.
    ///
    /// # Errors
    /// See [`AppendError`]; the longest is that of a message with its frames.
    pub fn append_padding(
        &mut self,
        limit: Position,
        length: usize,
    ) -> Result<Position, AppendError> {
        let longest = self.log.framed_length(self.log.message_length_max());
        let length = i32::try_from(length)
            .ok()
            .filter(|&length| length <= longest)
            .ok_or(AppendError::TooLong { length, longest })?;
        let offset = self.advance(limit, length, align_frame(length + HEADER_LENGTH))?;
        let (kind, flags) = (FrameType::PADDING, flags::UNFRAGMENTED);
        let header = self.log.stream().header(kind, flags, self.term_id, offset);
        let term = self.term();
        frame::begin(term, header, length + HEADER_LENGTH);
        frame::publish(term, offset, length + HEADER_LENGTH);
        Ok(self.position())
    }

    /// Appends a run of whole frames as they are, such as a recording holds them. They must follow
    /// the log's tail, in term, offset, session and stream, and end within the term.
    ///
    /// # Errors
    /// See [`BlockError`].
    pub fn append_block(&mut self, limit: Position, block: &[u8]) -> Result<Position, BlockError> {
        if self.offset >= self.log.term_length() {
            if self.position() >= Position::limit(self.log.term_length()) {
                return Err(AppendError::MaxPositionExceeded.into());
            }
            self.rotate();
        }
        if self.position() >= limit {
            let length = i32::try_from(block.len()).unwrap_or(0);
            return Err(self.log.at_limit(self.position(), length).into());
        }
        let room = self.log.term_length() - self.offset;
        let aligned = i32::try_from(block.len())
            .ok()
            .filter(|length| (1..=room).contains(length) && length % FRAME_ALIGNMENT == 0)
            .ok_or(BlockError::Length { length: block.len(), room })?;
        let header = wire::frame::DataHeader::read(block)
            .ok_or(BlockError::Length { length: block.len(), room })?;
        let stream = self.log.stream();
        let follows = header.frame_type == FrameType::DATA
            && header.frame_length >= HEADER_LENGTH
            && header.term_offset == self.offset
            && header.term_id == self.term_id
            && header.session_id == stream.session_id
            && header.stream_id == stream.stream_id;
        if !follows {
            let (term_id, term_offset) = (header.term_id, header.term_offset);
            return Err(BlockError::Elsewhere { term_id, term_offset });
        }
        let offset = self.offset;
        self.store_tail(offset + aligned);
        let term = self.term();
        let at = usize::try_from(offset).unwrap_or(0);
        let (_, rest) = block.split_at(wire::frame::DATA_HEADER_LENGTH);
        term.copy_in(at + wire::frame::DATA_HEADER_LENGTH, rest);
        term.store_header_last(at, frame::words(&header));
        self.offset = offset + aligned;
        Ok(self.position())
    }

    /// Takes space of the term, or passes to the next one; returns where the space begins.
    #[inline]
    fn advance(&mut self, limit: Position, length: i32, framed: i32) -> Result<i32, AppendError> {
        if self.position() >= limit {
            return Err(self.log.at_limit(self.position(), length));
        }
        let offset = self.offset;
        // Lengths are not negative, nor is what remains of a term.
        if framed > self.log.term_length() - offset {
            return Err(self.on_end_of_term(framed));
        }
        // Told before the frame is written.
        self.store_tail(offset + framed);
        self.offset = offset + framed;
        Ok(offset)
    }

    #[cold]
    fn on_end_of_term(&mut self, framed: i32) -> AppendError {
        // Told even beyond the term: readers take the smaller.
        self.store_tail(self.offset.saturating_add(framed));
        if self.offset < self.log.term_length() {
            self.log.pad_to_end(self.term(), self.term_id, self.offset);
            self.offset = self.log.term_length();
        }
        let end = self.term_begin + i64::from(self.log.term_length());
        if end >= Position::limit(self.log.term_length()).0 {
            return AppendError::MaxPositionExceeded;
        }
        self.rotate();
        AppendError::AdminAction
    }

    fn rotate(&mut self) {
        let count = self.count().wrapping_add(1);
        self.term_id = self.term_id.wrapping_add(1);
        self.index = index_of(count);
        self.term_begin += i64::from(self.log.term_length());
        self.offset = 0;
        self.store_tail(0);
        // Release: the new tail is visible before the count that points to it.
        self.log.metadata.store_i32_release(layout::ACTIVE_TERM_COUNT_OFFSET, count);
    }

    #[inline]
    fn store_tail(&self, offset: i32) {
        let at = layout::tail_counter_offset(self.index);
        let tail = RawTail::new(self.term_id, offset);
        self.log.metadata.store_i64_release(at, tail.0);
    }

    fn count(&self) -> i32 {
        self.term_id.terms_since(self.log.initial_term_id())
    }

    /// The buffer of the term that is written.
    #[inline]
    fn term(&self) -> &AtomicBuffer {
        &self.log.terms[self.index]
    }
}
