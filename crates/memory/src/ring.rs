//! The ring from many producers to one consumer: clients' commands to the driver.
//!
//! Layout: [`wire::ring`]. Producers are other processes, so the consumer trusts no length it reads
//! and a producer that died mid-way is passed by [`RingConsumer::unblock`]. Producers rely on bytes
//! ahead of the tail being zero: the consumer zeroes what it has read before it moves the head.

use thiserror::Error;
use wire::ring::to_driver::{
    CONSUMER_HEARTBEAT_OFFSET, CORRELATION_OFFSET, HEAD_CACHE_OFFSET, HEAD_OFFSET, TAIL_OFFSET,
    TRAILER_LENGTH,
};
use wire::ring::{
    PADDING_TYPE, RECORD_ALIGNMENT, RECORD_HEADER_LENGTH, RECORD_LENGTH_OFFSET, RECORD_TYPE_OFFSET,
    align_record, capacity, message_length_max,
};

use crate::buffer::{AtomicBuffer, release_fence};

/// A buffer whose length is no power of two and a trailer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("buffer of {length} bytes is no power of two and a trailer")]
pub struct RingLengthError {
    /// Its length.
    pub length: usize,
}

/// Why a message was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WriteError {
    /// The consumer has not made room yet: try again.
    #[error("ring is full")]
    Full,
    /// An eighth of the capacity is the most.
    #[error("message of {length} bytes is longer than {limit}")]
    TooLong {
        /// Its length.
        length: usize,
        /// The longest that the ring takes.
        limit: usize,
    },
    /// Types are positive.
    #[error("message type {0} is not positive")]
    Type(i32),
    /// Head, tail or a claim in the ring make no sense: another process has damaged it.
    #[error("ring is damaged: tail {tail}, head {head}")]
    Damaged {
        /// Tail position found.
        tail: i64,
        /// Head position found.
        head: i64,
    },
}

/// The shared part of both ends.
#[derive(Clone, Debug)]
struct Ring {
    buffer: AtomicBuffer,
    capacity: usize,
}

impl Ring {
    fn new(buffer: AtomicBuffer) -> Result<Self, RingLengthError> {
        let length = buffer.length();
        let capacity = capacity(length, TRAILER_LENGTH).ok_or(RingLengthError { length })?;
        Ok(Self { buffer, capacity })
    }

    fn index(&self, position: i64) -> usize {
        // Masked: a damaged position still names a place inside.
        (position as usize) & (self.capacity - 1) & !(RECORD_ALIGNMENT - 1)
    }

    fn tail(&self) -> i64 {
        self.buffer.load_i64_acquire(self.capacity + TAIL_OFFSET)
    }

    fn head(&self) -> i64 {
        self.buffer.load_i64_acquire(self.capacity + HEAD_OFFSET)
    }

    fn record_length(&self, index: usize) -> i32 {
        // Acquire: pairs with the release store of a positive length by the record's producer.
        self.buffer.load_i32_acquire(index + RECORD_LENGTH_OFFSET)
    }

    /// Writes a padding record over `length` bytes that this side owns.
    fn pad(&self, index: usize, length: usize) {
        self.buffer.store_i32_release(index + RECORD_LENGTH_OFFSET, -(length as i32));
        release_fence();
        self.buffer.store_i32(index + RECORD_TYPE_OFFSET, PADDING_TYPE);
        self.buffer.store_i32_release(index + RECORD_LENGTH_OFFSET, length as i32);
    }
}

/// Writes messages; any number of threads and processes at once.
#[derive(Clone, Debug)]
pub struct RingProducer {
    ring: Ring,
}

impl RingProducer {
    /// A producer for this buffer, trailer included.
    ///
    /// # Errors
    /// The length is no power of two and a trailer.
    pub fn new(buffer: AtomicBuffer) -> Result<Self, RingLengthError> {
        Ok(Self { ring: Ring::new(buffer)? })
    }

    /// The longest message.
    #[must_use]
    pub fn message_length_max(&self) -> usize {
        message_length_max(self.ring.capacity)
    }

    /// A correlation id that nobody else of this driver has.
    #[must_use]
    pub fn next_correlation_id(&self) -> i64 {
        self.ring.buffer.fetch_add_i64(self.ring.capacity + CORRELATION_OFFSET, 1)
    }

    /// The driver's last sign of life in epoch milliseconds; 0 before the first, -1 after a
    /// shutdown.
    #[must_use]
    pub fn consumer_heartbeat_ms(&self) -> i64 {
        self.ring.buffer.load_i64_acquire(self.ring.capacity + CONSUMER_HEARTBEAT_OFFSET)
    }

    /// Bytes that wait for the consumer.
    #[must_use]
    pub fn backlog(&self) -> i64 {
        let head = self.ring.head();
        self.ring.tail().wrapping_sub(head).clamp(0, self.ring.capacity as i64)
    }

    /// Writes one message.
    ///
    /// # Errors
    /// Full (try again), or an argument that no ring takes.
    pub fn write(&self, message_type: i32, message: &[u8]) -> Result<(), WriteError> {
        let claim = self.try_claim(message_type, message.len())?;
        claim.write(0, message);
        claim.commit();
        Ok(())
    }

    /// Claims room for a message of `length` bytes, to be filled and committed.
    ///
    /// A claim that is neither committed nor aborted stops the ring until the driver unblocks it.
    ///
    /// # Errors
    /// Full (try again), or an argument that no ring takes.
    pub fn try_claim(&self, message_type: i32, length: usize) -> Result<RingClaim<'_>, WriteError> {
        if message_type <= 0 {
            return Err(WriteError::Type(message_type));
        }
        let limit = self.message_length_max();
        if length > limit {
            return Err(WriteError::TooLong { length, limit });
        }
        let record_length = RECORD_HEADER_LENGTH + length;
        let index = self.claim(align_record(record_length))?;
        // Release, negative, before all else: the unblocker knows the record's extent by it.
        let buffer = &self.ring.buffer;
        buffer.store_i32_release(index + RECORD_LENGTH_OFFSET, -(record_length as i32));
        release_fence();
        buffer.store_i32(index + RECORD_TYPE_OFFSET, message_type);
        Ok(RingClaim { buffer, index, length })
    }

    /// Moves the tail and returns the index of `required` bytes in a row.
    fn claim(&self, required: usize) -> Result<usize, WriteError> {
        let Ring { buffer, capacity } = &self.ring;
        let mut head = buffer.load_i64_acquire(capacity + HEAD_CACHE_OFFSET);
        // Bounded by progress: a lost exchange means that another producer has won one.
        loop {
            let tail = self.ring.tail();
            if !self.has_room(tail, head, required) {
                head = self.refresh_head();
                if !self.has_room(tail, head, required) {
                    return Err(self.full_or_damaged(tail, head));
                }
            }
            let index = self.ring.index(tail);
            let to_end = capacity - index;
            if required <= to_end {
                if self.move_tail(tail, required) {
                    return Ok(index);
                }
                continue;
            }
            if self.ring.index(head) < required {
                head = self.refresh_head();
                if self.ring.index(head) < required {
                    return Err(self.full_or_damaged(tail, head));
                }
            }
            if !self.has_room(tail, head, required + to_end) {
                return Err(self.full_or_damaged(tail, head));
            }
            if self.move_tail(tail, required + to_end) {
                self.ring.pad(index, to_end);
                return Ok(0);
            }
        }
    }

    fn has_room(&self, tail: i64, head: i64, required: usize) -> bool {
        let available = self.ring.capacity as i64 - tail.wrapping_sub(head);
        required as i64 <= available
    }

    fn full_or_damaged(&self, tail: i64, head: i64) -> WriteError {
        let used = tail.wrapping_sub(head);
        if 0 <= used && used <= self.ring.capacity as i64 {
            return WriteError::Full;
        }
        // A head that has overtaken an older tail is no damage: the tail was read first.
        if used < 0 && self.ring.tail() != tail {
            return WriteError::Full;
        }
        WriteError::Damaged { tail, head }
    }

    fn refresh_head(&self) -> i64 {
        let head = self.ring.head();
        // Relaxed: a hint for other producers; the acquire load above ordered this thread.
        self.ring.buffer.store_i64_release(self.ring.capacity + HEAD_CACHE_OFFSET, head);
        head
    }

    fn move_tail(&self, tail: i64, by: usize) -> bool {
        let target = tail.wrapping_add(by as i64);
        self.ring.buffer.compare_exchange_i64(self.ring.capacity + TAIL_OFFSET, tail, target)
    }
}

/// Room for one message, to be filled and then committed or aborted.
///
/// Dropped without either it blocks the ring until the driver unblocks it, as if its process died.
#[derive(Debug)]
#[must_use = "an open claim blocks the ring: commit or abort it"]
pub struct RingClaim<'a> {
    buffer: &'a AtomicBuffer,
    index: usize,
    length: usize,
}

impl RingClaim<'_> {
    /// Bytes of the message.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// Copies a part of the message to `offset`.
    ///
    /// # Panics
    /// When the part is not inside the claim.
    pub fn write(&self, offset: usize, part: &[u8]) {
        let fits = offset <= self.length && part.len() <= self.length - offset;
        assert!(fits, "{} bytes at {offset} leave a claim of {}", part.len(), self.length);
        self.buffer.copy_in(self.index + RECORD_HEADER_LENGTH + offset, part);
    }

    /// Hands the message to the consumer.
    pub fn commit(self) {
        self.publish();
    }

    /// Turns the room into padding.
    pub fn abort(self) {
        self.buffer.store_i32(self.index + RECORD_TYPE_OFFSET, PADDING_TYPE);
        self.publish();
    }

    fn publish(&self) {
        let record_length = (RECORD_HEADER_LENGTH + self.length) as i32;
        // Release: pairs with the acquire load in `Ring::record_length`.
        self.buffer.store_i32_release(self.index + RECORD_LENGTH_OFFSET, record_length);
    }
}

/// What a handler says of the message that it got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadAction {
    /// It is done with; go on.
    Continue,
    /// It stays where it is and comes again with the next read, which this one ends.
    LeaveInPlace,
}

/// A record that no producer writes: everything up to the tail was thrown away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("ring record at {position} has an invalid length of {length}; dropped {dropped} bytes")]
pub struct MalformedRecord {
    /// Where it stood.
    pub position: i64,
    /// The length found.
    pub length: i32,
    /// Bytes thrown away with it.
    pub dropped: i64,
}

/// Reads messages. There is one per ring.
#[derive(Debug)]
pub struct RingConsumer {
    ring: Ring,
    message: Vec<u8>,
}

impl RingConsumer {
    /// The consumer of this buffer, trailer included.
    ///
    /// # Errors
    /// The length is no power of two and a trailer.
    pub fn new(buffer: AtomicBuffer) -> Result<Self, RingLengthError> {
        let ring = Ring::new(buffer)?;
        let message = vec![0; ring.capacity];
        Ok(Self { ring, message })
    }

    /// A producer for the same ring.
    #[must_use]
    pub fn producer(&self) -> RingProducer {
        RingProducer { ring: self.ring.clone() }
    }

    /// Position of the next record to be read.
    #[must_use]
    pub fn consumer_position(&self) -> i64 {
        self.ring.head()
    }

    /// Position that producers have claimed up to.
    #[must_use]
    pub fn producer_position(&self) -> i64 {
        self.ring.tail()
    }

    /// Stores the sign of life that clients look at, in epoch milliseconds; -1 on shutdown.
    pub fn set_heartbeat_ms(&mut self, now_ms: i64) {
        let at = self.ring.capacity + CONSUMER_HEARTBEAT_OFFSET;
        self.ring.buffer.store_i64_release(at, now_ms);
    }

    /// Hands up to `limit` messages to `handler`, as copies, and returns how many it took.
    ///
    /// One call does not go past the end of the buffer. What was read is zeroed before producers
    /// may use it again. A handler that panics has its message read again.
    ///
    /// # Errors
    /// A record with an impossible length: see [`MalformedRecord`].
    pub fn read(
        &mut self,
        limit: usize,
        mut handler: impl FnMut(i32, &[u8]) -> ReadAction,
    ) -> Result<usize, MalformedRecord> {
        let head = self.ring.head();
        let start = self.ring.index(head);
        let to_end = self.ring.capacity - start;
        let (mut done, mut messages) = (0, 0);
        while done < to_end && messages < limit {
            let index = start + done;
            let length = self.ring.record_length(index);
            if length <= 0 {
                break;
            }
            let aligned = align_record(length as usize);
            if (length as usize) < RECORD_HEADER_LENGTH || aligned > to_end - done {
                self.release(head, start, done);
                return Err(self.drop_to_tail(length));
            }
            let message_type = self.ring.buffer.load_i32(index + RECORD_TYPE_OFFSET);
            if message_type != PADDING_TYPE {
                let message = &mut self.message[..length as usize - RECORD_HEADER_LENGTH];
                self.ring.buffer.copy_out(index + RECORD_HEADER_LENGTH, message);
                if handler(message_type, message) == ReadAction::LeaveInPlace {
                    break;
                }
                messages += 1;
            }
            done += aligned;
        }
        self.release(head, start, done);
        Ok(messages)
    }

    /// Zeroes `length` bytes from `start` and lets producers have them.
    fn release(&self, head: i64, start: usize, length: usize) {
        if length == 0 {
            return;
        }
        self.ring.buffer.zero(start, length);
        // Release: pairs with the acquire loads of the head by producers, after the zeroing.
        let target = head.wrapping_add(length as i64);
        self.ring.buffer.store_i64_release(self.ring.capacity + HEAD_OFFSET, target);
    }

    /// Throws away everything claimed, as no record can be found behind a damaged one.
    fn drop_to_tail(&self, length: i32) -> MalformedRecord {
        let position = self.ring.head();
        let tail = self.ring.tail();
        let dropped = tail.wrapping_sub(position).clamp(0, self.ring.capacity as i64);
        let start = self.ring.index(position);
        let to_end = (self.ring.capacity - start).min(dropped as usize);
        self.ring.buffer.zero(start, to_end);
        self.ring.buffer.zero(0, align_record(dropped as usize - to_end));
        self.ring.buffer.store_i64_release(self.ring.capacity + HEAD_OFFSET, tail);
        MalformedRecord { position, length, dropped }
    }

    /// Passes a record whose producer died; whether there was one.
    ///
    /// Called when the head has not moved for the client liveness time-out although the tail is
    /// ahead of it.
    pub fn unblock(&mut self) -> bool {
        let head = self.ring.head();
        let tail = self.ring.tail();
        if tail.wrapping_sub(head) <= 0 {
            return false;
        }
        let (start, end) = (self.ring.index(head), self.ring.index(tail));
        let length = self.ring.record_length(start);
        if length < 0 {
            return self.unblock_claimed(start, length);
        }
        if length > 0 {
            return false;
        }
        let limit = if end > start { end } else { self.ring.capacity };
        self.unblock_hole(start, limit)
    }

    fn unblock_claimed(&self, start: usize, length: i32) -> bool {
        let claimed = length.unsigned_abs() as usize;
        let fits = RECORD_HEADER_LENGTH <= claimed
            && claimed <= self.ring.capacity - start
            && self.ring.record_length(start) == length;
        // A length that cannot be is left to `read`, which drops it once it is positive.
        let padding = if fits { claimed } else { self.ring.capacity - start };
        self.ring.buffer.store_i32(start + RECORD_TYPE_OFFSET, PADDING_TYPE);
        self.ring.buffer.store_i32_release(start + RECORD_LENGTH_OFFSET, padding as i32);
        true
    }

    /// A producer moved the tail and died before it wrote a length: find the next record.
    fn unblock_hole(&self, start: usize, limit: usize) -> bool {
        let mut end = start + RECORD_ALIGNMENT;
        while end < limit && self.ring.record_length(end) == 0 {
            end += RECORD_ALIGNMENT;
        }
        if end > limit {
            return false;
        }
        // Backwards again: a producer of the hole may have come to life during the first pass.
        let mut at = end;
        while at > start {
            at -= RECORD_ALIGNMENT;
            if self.ring.record_length(at) != 0 {
                return false;
            }
        }
        self.ring.pad(start, end - start);
        true
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
