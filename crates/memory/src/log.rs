//! The log buffer of a stream: three terms that take turns, and their metadata.
//!
//! Publishers [append], alone or many at once; readers [poll](read) fragments or
//! [blocks](block); a driver [scans](scan) for what to send, [rebuilds](rebuild) what it received,
//! finds [gaps](gap), [cleans](clean) terms for re-use and [unblocks](unblock) what a dead
//! publisher left behind. The layout is that of [`wire::log`].

pub mod append;
pub mod append_exclusive;
pub mod block;
pub mod clean;
mod frame;
pub mod gap;
pub mod read;
pub mod rebuild;
pub mod scan;
pub mod unblock;

use std::sync::Arc;

use wire::log::{self as layout, LogDescription, LogError, RawTail};
use wire::position::{Position, TermId};

use crate::buffer::AtomicBuffer;
use crate::region::Region;

/// A stream's log. Sharing it between threads is sharing a reference.
#[derive(Clone, Debug)]
pub struct LogBuffer {
    terms: [AtomicBuffer; layout::TERM_COUNT],
    metadata: AtomicBuffer,
    description: LogDescription,
    bits_to_shift: u32,
}

impl LogBuffer {
    /// Lays a new log out in a region of zeros, beginning at an offset of a term.
    ///
    /// # Errors
    /// The description does not fit the region, or holds lengths that no log has.
    pub fn create(
        region: Arc<Region>,
        description: &LogDescription,
        term_id: TermId,
        term_offset: i32,
    ) -> Result<Self, LogError> {
        let whole = AtomicBuffer::new(region);
        let metadata = metadata_of(&whole)?;
        metadata.copy_in(0, &description.to_bytes());
        let log = Self::over(&whole, metadata)?;
        let (count, tails) =
            layout::initial_tails(description.initial_term_id, term_id, term_offset);
        for (index, tail) in tails.iter().enumerate() {
            log.metadata.store_i64_release(layout::tail_counter_offset(index), tail.0);
        }
        log.metadata.store_i32_release(layout::ACTIVE_TERM_COUNT_OFFSET, count);
        Ok(log)
    }

    /// Lays a new log for an image out in a region of zeros: it has no tails.
    ///
    /// # Errors
    /// See [`LogBuffer::create`].
    pub fn create_image(
        region: Arc<Region>,
        description: &LogDescription,
    ) -> Result<Self, LogError> {
        let whole = AtomicBuffer::new(region);
        let metadata = metadata_of(&whole)?;
        metadata.copy_in(0, &description.to_bytes());
        Self::over(&whole, metadata)
    }

    /// Takes up a log that somebody else laid out.
    ///
    /// # Errors
    /// The region is not a log, or not as long as the log says.
    pub fn open(region: Arc<Region>) -> Result<Self, LogError> {
        let whole = AtomicBuffer::new(region);
        let metadata = metadata_of(&whole)?;
        Self::over(&whole, metadata)
    }

    fn over(whole: &AtomicBuffer, metadata: AtomicBuffer) -> Result<Self, LogError> {
        let mut bytes = [0; layout::METADATA_LENGTH];
        metadata.copy_out(0, &mut bytes);
        let description = LogDescription::decode(&bytes)?;
        description.check_file_length(whole.length() as u64)?;
        let length = description.term_length.unsigned_abs() as usize;
        Ok(Self {
            terms: [0, 1, 2].map(|index| whole.slice(index * length, length)),
            metadata,
            bits_to_shift: description.term_length.trailing_zeros(),
            description,
        })
    }

    /// What the driver wrote when it made the log.
    #[must_use]
    pub fn description(&self) -> &LogDescription {
        &self.description
    }

    /// Length of a term in bytes.
    #[inline]
    #[must_use]
    pub fn term_length(&self) -> i32 {
        self.description.term_length
    }

    /// Base-two logarithm of the term length.
    #[inline]
    #[must_use]
    pub fn bits_to_shift(&self) -> u32 {
        self.bits_to_shift
    }

    /// First term of the stream.
    #[inline]
    #[must_use]
    pub fn initial_term_id(&self) -> TermId {
        self.description.initial_term_id
    }

    /// Longest payload of one frame, in bytes.
    #[inline]
    #[must_use]
    pub fn payload_length_max(&self) -> i32 {
        self.description.payload_length_max()
    }

    /// Longest message, in bytes.
    #[must_use]
    pub fn message_length_max(&self) -> i32 {
        layout::message_length_max(self.term_length())
    }

    /// Bytes of memory that the whole log takes.
    #[must_use]
    pub fn file_length(&self) -> u64 {
        layout::file_length(self.description.term_length, self.description.page_size)
    }

    /// The term buffer that holds a position, and the position's offset in it.
    #[inline]
    #[must_use]
    #[allow(clippy::cast_sign_loss)] // Masked by the term length.
    pub fn term_at(&self, position: Position) -> (&AtomicBuffer, usize) {
        let index = position.term_index(self.bits_to_shift);
        (&self.terms[index], position.term_offset(self.term_length()) as usize)
    }

    /// The position of an offset in a term.
    #[inline]
    #[must_use]
    pub fn position_of(&self, term_id: TermId, offset: i32) -> Position {
        Position::compute(term_id, offset, self.bits_to_shift, self.initial_term_id())
    }

    /// The term that holds a position.
    #[must_use]
    pub fn term_id_at(&self, position: Position) -> TermId {
        position.term_id(self.bits_to_shift, self.initial_term_id())
    }

    /// How many times the log has rotated.
    #[inline]
    #[must_use]
    pub fn active_term_count(&self) -> i32 {
        // Acquire: pairs with the stores of whoever rotates.
        self.metadata.load_i32_acquire(layout::ACTIVE_TERM_COUNT_OFFSET)
    }

    /// The tail counter of a term that was the `count`th to be active.
    #[inline]
    #[must_use]
    pub fn tail(&self, count: i32) -> RawTail {
        // Acquire: pairs with the fetch-add or store of publishers.
        RawTail(self.metadata.load_i64_acquire(layout::tail_counter_offset(index_of(count))))
    }

    /// How far publishers have claimed.
    #[must_use]
    pub fn producer_position(&self) -> Position {
        let tail = self.tail(self.active_term_count());
        self.position_of(tail.term_id(), tail.offset(self.term_length()))
    }

    /// Whether the driver says that somebody listens.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.metadata.load_i32_acquire(layout::IS_CONNECTED_OFFSET) == 1
    }

    /// Says whether somebody listens. Called by the driver only.
    pub fn set_connected(&self, connected: bool) {
        self.metadata.store_i32_release(layout::IS_CONNECTED_OFFSET, i32::from(connected));
    }

    /// Where the stream ends; [`Position`] of `i64::MAX` while that is open.
    #[must_use]
    pub fn end_of_stream_position(&self) -> Position {
        Position(self.metadata.load_i64_acquire(layout::END_OF_STREAM_POSITION_OFFSET))
    }

    /// Says where the stream ends. Called by the driver only.
    pub fn set_end_of_stream_position(&self, position: Position) {
        self.metadata.store_i64_release(layout::END_OF_STREAM_POSITION_OFFSET, position.0);
    }

    /// How many transports bring this image.
    #[must_use]
    pub fn active_transport_count(&self) -> i32 {
        self.metadata.load_i32_acquire(layout::ACTIVE_TRANSPORT_COUNT_OFFSET)
    }

    /// Says how many transports bring this image. Called by the receiver only.
    pub fn set_active_transport_count(&self, count: i32) {
        self.metadata.store_i32_release(layout::ACTIVE_TRANSPORT_COUNT_OFFSET, count);
    }

    /// Whether the publication was revoked.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.metadata.load_u8_acquire(layout::IS_PUBLICATION_REVOKED_OFFSET) == 1
    }

    /// Says that the publication was revoked. Called by the driver only.
    pub fn set_revoked(&self) {
        self.metadata.store_u8_release(layout::IS_PUBLICATION_REVOKED_OFFSET, 1);
    }

    /// Passes from the term that was the `count`th to be active to the next one. Any number of
    /// publishers and the unblocker may do so at once; returns whether it was this call.
    pub fn rotate(&self, count: i32, term_id: TermId) -> bool {
        let (next, next_id) = (count.wrapping_add(1), term_id.wrapping_add(1));
        let offset = layout::tail_counter_offset(index_of(next));
        loop {
            let tail = RawTail(self.metadata.load_i64_acquire(offset));
            let is_old = tail.term_id() == next_id.wrapping_add(-3);
            let fresh = RawTail::new(next_id, 0).0;
            if !is_old || self.metadata.compare_exchange_i64(offset, tail.0, fresh) {
                break;
            }
        }
        self.metadata.compare_exchange_i32(layout::ACTIVE_TERM_COUNT_OFFSET, count, next)
    }
}

/// Which buffer is the `count`th to be active. Total: a count out of shared memory may be negative.
#[inline]
#[allow(clippy::cast_sign_loss)] // A remainder of three is 0, 1 or 2.
fn index_of(count: i32) -> usize {
    count.rem_euclid(3) as usize
}

fn metadata_of(whole: &AtomicBuffer) -> Result<AtomicBuffer, LogError> {
    let length = whole.length();
    let begin = length.checked_sub(layout::METADATA_LENGTH).filter(|begin| begin % 8 == 0);
    let begin = begin.ok_or(LogError::Short { length })?;
    Ok(whole.slice(begin, layout::METADATA_LENGTH))
}

#[cfg(test)]
mod tests;
