//! The broadcast from one transmitter to many receivers: the driver's answers to its clients.
//!
//! Layout: [`wire::ring`]. The transmitter waits for nobody: a receiver that falls a whole buffer
//! behind is lapped and cannot know what it missed. Every receiver sees every message and begins
//! with the last one sent before it came, so messages are filtered by correlation id.

use thiserror::Error;
use wire::ring::to_clients::{LATEST_OFFSET, TAIL_INTENT_OFFSET, TAIL_OFFSET, TRAILER_LENGTH};
use wire::ring::{
    PADDING_TYPE, RECORD_ALIGNMENT, RECORD_HEADER_LENGTH, RECORD_LENGTH_OFFSET, RECORD_TYPE_OFFSET,
    align_record, capacity, message_length_max,
};

use crate::buffer::{AtomicBuffer, acquire_fence, release_fence};
use crate::ring::{RingLengthError, WriteError};

/// Sends messages. There is one per buffer.
#[derive(Debug)]
pub struct Transmitter {
    buffer: AtomicBuffer,
    capacity: usize,
    /// The tail: nobody else moves it.
    tail: i64,
}

impl Transmitter {
    /// The transmitter of this buffer, trailer included.
    ///
    /// # Errors
    /// The length is no power of two and a trailer.
    pub fn new(buffer: AtomicBuffer) -> Result<Self, RingLengthError> {
        let length = buffer.length();
        let capacity = capacity(length, TRAILER_LENGTH).ok_or(RingLengthError { length })?;
        let tail = buffer.load_i64_acquire(capacity + TAIL_OFFSET);
        Ok(Self { buffer, capacity, tail })
    }

    /// The longest message.
    #[must_use]
    pub fn message_length_max(&self) -> usize {
        message_length_max(self.capacity)
    }

    /// Sends one message. It never waits.
    ///
    /// # Errors
    /// The message is too long or its type is not positive.
    pub fn transmit(&mut self, message_type: i32, message: &[u8]) -> Result<(), WriteError> {
        let (length, limit) = (message.len(), self.message_length_max());
        if message_type <= 0 {
            return Err(WriteError::Type(message_type));
        }
        if length > limit {
            return Err(WriteError::TooLong { length, limit });
        }
        let record_length = RECORD_HEADER_LENGTH + length;
        let required = align_record(record_length);
        let mut position = self.tail;
        let mut index = index(position, self.capacity);
        let to_end = self.capacity - index;
        if to_end < required {
            self.announce(position.wrapping_add((to_end + required) as i64));
            self.put_record(index, to_end, PADDING_TYPE);
            position = position.wrapping_add(to_end as i64);
            index = 0;
        } else {
            self.announce(position.wrapping_add(required as i64));
        }
        self.put_record(index, record_length, message_type);
        self.buffer.copy_in(index + RECORD_HEADER_LENGTH, message);
        // Release: pair with the acquire loads of tail and latest by receivers.
        self.buffer.store_i64_release(self.capacity + LATEST_OFFSET, position);
        self.tail = position.wrapping_add(required as i64);
        self.buffer.store_i64_release(self.capacity + TAIL_OFFSET, self.tail);
        Ok(())
    }

    /// Tells receivers what will be overwritten, before anything is.
    fn announce(&self, tail: i64) {
        self.buffer.store_i64_release(self.capacity + TAIL_INTENT_OFFSET, tail);
        // Release: a receiver that sees a byte written from here on sees the intent after its own
        // acquire fence.
        release_fence();
    }

    fn put_record(&self, index: usize, length: usize, message_type: i32) {
        self.buffer.store_i32(index + RECORD_LENGTH_OFFSET, length as i32);
        self.buffer.store_i32(index + RECORD_TYPE_OFFSET, message_type);
    }
}

/// Why a receiver cannot go on. It has lost messages and must give up what depends on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReceiveError {
    /// The transmitter has overwritten what was not read yet.
    #[error("unable to keep up with broadcast")]
    Lapped,
    /// A record with an impossible length.
    #[error("broadcast record at {position} has an invalid length of {length}")]
    Malformed {
        /// Where it stands.
        position: i64,
        /// The length found.
        length: i32,
    },
}

/// Reads messages at its own pace.
#[derive(Debug)]
pub struct Receiver {
    buffer: AtomicBuffer,
    capacity: usize,
    next: i64,
    message: Vec<u8>,
}

impl Receiver {
    /// A receiver that begins with the last message sent so far.
    ///
    /// # Errors
    /// The length is no power of two and a trailer.
    pub fn new(buffer: AtomicBuffer) -> Result<Self, RingLengthError> {
        let length = buffer.length();
        let capacity = capacity(length, TRAILER_LENGTH).ok_or(RingLengthError { length })?;
        let next = buffer.load_i64_acquire(capacity + LATEST_OFFSET);
        Ok(Self { buffer, capacity, next, message: vec![0; capacity] })
    }

    /// The next message, copied out, with its type; none when there is nothing new.
    ///
    /// # Errors
    /// Lapped or damaged: messages are lost. The receiver goes on with the latest one.
    pub fn receive(&mut self) -> Result<Option<(i32, &[u8])>, ReceiveError> {
        match self.advance() {
            Ok(Some((message_type, length))) => Ok(Some((message_type, &self.message[..length]))),
            Ok(None) => Ok(None),
            Err(error) => {
                self.next = self.buffer.load_i64_acquire(self.capacity + LATEST_OFFSET);
                Err(error)
            }
        }
    }

    fn advance(&mut self) -> Result<Option<(i32, usize)>, ReceiveError> {
        // Acquire: pairs with the release store of the tail by the transmitter.
        let tail = self.buffer.load_i64_acquire(self.capacity + TAIL_OFFSET);
        if tail.wrapping_sub(self.next) <= 0 {
            return Ok(None);
        }
        let mut cursor = self.next;
        let (mut message_type, mut length) = self.record(cursor, cursor)?;
        let mut next = cursor.wrapping_add(align_record(length) as i64);
        if message_type == PADDING_TYPE {
            let after = next;
            (message_type, length) = self.record(after, cursor)?;
            next = after.wrapping_add(align_record(length) as i64);
            cursor = after;
        }
        let payload = length - RECORD_HEADER_LENGTH;
        let at = index(cursor, self.capacity) + RECORD_HEADER_LENGTH;
        self.buffer.copy_out(at, &mut self.message[..payload]);
        // Validates type, length and message: only now they are known to be of one record.
        self.validate(self.next)?;
        self.next = next;
        Ok(Some((message_type, payload)))
    }

    /// Type and length of the record at `position`, valid if nothing from `oldest` on is lost.
    fn record(&self, position: i64, oldest: i64) -> Result<(i32, usize), ReceiveError> {
        let at = index(position, self.capacity);
        let length = self.buffer.load_i32(at + RECORD_LENGTH_OFFSET);
        let message_type = self.buffer.load_i32(at + RECORD_TYPE_OFFSET);
        self.validate(oldest)?;
        let fits = length >= RECORD_HEADER_LENGTH as i32 && length as usize <= self.capacity - at;
        if !fits {
            return Err(ReceiveError::Malformed { position, length });
        }
        Ok((message_type, length as usize))
    }

    /// Whether the transmitter has left alone everything from `position` on.
    fn validate(&self, position: i64) -> Result<(), ReceiveError> {
        // Acquire: the loads and copies before stay before the load of the intent; pairs with the
        // release fence in `Transmitter::announce`.
        acquire_fence();
        let intent = self.buffer.load_i64_acquire(self.capacity + TAIL_INTENT_OFFSET);
        if intent.wrapping_sub(position) > self.capacity as i64 {
            return Err(ReceiveError::Lapped);
        }
        Ok(())
    }
}

fn index(position: i64, capacity: usize) -> usize {
    // Masked: a damaged position still names a place inside.
    (position as usize) & (capacity - 1) & !(RECORD_ALIGNMENT - 1)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::region::Region;

    const CAPACITY: usize = 1024;

    fn buffer() -> AtomicBuffer {
        AtomicBuffer::new(Region::heap(CAPACITY + TRAILER_LENGTH))
    }

    fn next(receiver: &mut Receiver) -> Result<Option<(i32, Vec<u8>)>, ReceiveError> {
        receiver.receive().map(|found| found.map(|(kind, message)| (kind, message.to_vec())))
    }

    #[test]
    fn every_receiver_gets_every_message() {
        let buffer = buffer();
        let mut transmitter = Transmitter::new(buffer.clone()).unwrap();
        let mut receivers = [0, 1].map(|_| Receiver::new(buffer.clone()).unwrap());
        transmitter.transmit(1, b"one").unwrap();
        transmitter.transmit(2, b"").unwrap();
        for receiver in &mut receivers {
            assert_eq!(next(receiver), Ok(Some((1, b"one".to_vec()))));
            assert_eq!(next(receiver), Ok(Some((2, vec![]))));
            assert_eq!(next(receiver), Ok(None));
        }
    }

    #[test]
    fn a_new_receiver_begins_with_the_last_message_sent() {
        let buffer = buffer();
        let mut transmitter = Transmitter::new(buffer.clone()).unwrap();
        transmitter.transmit(1, b"one").unwrap();
        transmitter.transmit(2, b"two").unwrap();
        let mut receiver = Receiver::new(buffer).unwrap();
        assert_eq!(next(&mut receiver), Ok(Some((2, b"two".to_vec()))));
        assert_eq!(next(&mut receiver), Ok(None));
    }

    #[test]
    fn messages_go_on_behind_padding_at_the_end() {
        let buffer = buffer();
        let mut transmitter = Transmitter::new(buffer.clone()).unwrap();
        let mut receiver = Receiver::new(buffer).unwrap();
        for number in 0..100_u8 {
            let message = vec![number; number as usize];
            transmitter.transmit(7, &message).unwrap();
            assert_eq!(next(&mut receiver), Ok(Some((7, message))), "{number}");
        }
    }

    #[test]
    fn a_receiver_a_whole_buffer_behind_is_told_and_goes_on_with_the_latest() {
        let buffer = buffer();
        let mut transmitter = Transmitter::new(buffer.clone()).unwrap();
        let mut receiver = Receiver::new(buffer).unwrap();
        for number in 0..8 {
            transmitter.transmit(1, &[number; 120]).unwrap();
        }
        assert_eq!(next(&mut receiver), Ok(Some((1, vec![0; 120]))));
        for number in 8..10 {
            transmitter.transmit(1, &[number; 120]).unwrap();
        }
        assert_eq!(next(&mut receiver), Err(ReceiveError::Lapped));
        assert_eq!(next(&mut receiver), Ok(Some((1, vec![9; 120]))));
        assert_eq!(next(&mut receiver), Ok(None));
    }

    #[test]
    fn impossible_lengths_are_an_error() {
        for length in [0, 7, -8, 1025, i32::MAX] {
            let buffer = buffer();
            let mut receiver = Receiver::new(buffer.clone()).unwrap();
            Transmitter::new(buffer.clone()).unwrap().transmit(1, b"x").unwrap();
            buffer.store_i32(0, length);
            assert_eq!(next(&mut receiver), Err(ReceiveError::Malformed { position: 0, length }));
        }
    }

    #[test]
    fn arguments_that_no_buffer_takes_are_refused() {
        let mut transmitter = Transmitter::new(buffer()).unwrap();
        let too_long = WriteError::TooLong { length: 129, limit: 128 };
        assert_eq!(transmitter.transmit(1, &[0; 129]), Err(too_long));
        assert_eq!(transmitter.transmit(0, b""), Err(WriteError::Type(0)));
    }

    /// Method: a fast transmitter laps the receiver on purpose; what arrives must never be torn.
    #[test]
    #[cfg(not(miri))] // A lapped copy races by design (condition 5 of the buffer).
    #[allow(clippy::disallowed_methods)] // A stress test has threads of its own.
    fn a_message_that_arrives_is_never_mixed_with_another() {
        let buffer = buffer();
        let mut transmitter = Transmitter::new(buffer.clone()).unwrap();
        let mut receiver = Receiver::new(buffer).unwrap();
        let sender = std::thread::spawn(move || {
            for number in 1..200_000_u32 {
                let message = number.to_le_bytes().repeat(1 + number as usize % 20);
                transmitter.transmit(number as i32, &message).unwrap();
                if number % 64 == 0 {
                    std::thread::yield_now();
                }
            }
            transmitter.transmit(i32::MAX, b"").unwrap();
        });
        loop {
            let Ok(Some((kind, message))) = receiver.receive() else { continue };
            if kind == i32::MAX {
                break;
            }
            let number = kind as u32;
            assert_eq!(message, number.to_le_bytes().repeat(1 + number as usize % 20));
        }
        sender.join().unwrap();
    }
}
