//! The log of distinct errors: each error once, with how often and when it was seen.
//!
//! Layout: [`wire::error_log`]. Lengths are stored last, by release; a length of 0 ends the log.

use std::collections::BTreeMap;

use wire::error_log::{
    ALIGNMENT, FIRST_TIMESTAMP_OFFSET, LAST_TIMESTAMP_OFFSET, LENGTH_OFFSET,
    OBSERVATION_COUNT_OFFSET, TEXT_OFFSET,
};

use crate::buffer::AtomicBuffer;

/// Writes errors. There is one per log.
#[derive(Debug)]
pub struct ErrorLog {
    buffer: AtomicBuffer,
    /// Offset of the record of each text.
    known: BTreeMap<Box<str>, usize>,
    next: usize,
}

impl ErrorLog {
    /// The writer of this log; it goes on behind what is there.
    #[must_use]
    pub fn new(buffer: AtomicBuffer) -> Self {
        let mut known = BTreeMap::new();
        let mut next = 0;
        for (offset, length, record) in scan(&buffer) {
            known.insert(record.text.into_boxed_str(), offset);
            next = offset + length.next_multiple_of(ALIGNMENT);
        }
        Self { buffer, known, next }
    }

    /// Notes an error; false when there is no room for a new one.
    ///
    /// Errors are the same when their texts are: keep what varies (times, positions) out of them.
    pub fn record(&mut self, now_ms: i64, text: &str) -> bool {
        let Some(offset) = self.known.get(text).copied().or_else(|| self.append(now_ms, text))
        else {
            return false;
        };
        self.buffer.fetch_add_i32(offset + OBSERVATION_COUNT_OFFSET, 1);
        // Release: pairs with the acquire load of readers; the count is there before.
        self.buffer.store_i64_release(offset + LAST_TIMESTAMP_OFFSET, now_ms);
        true
    }

    fn append(&mut self, now_ms: i64, text: &str) -> Option<usize> {
        let length = TEXT_OFFSET + text.len();
        let offset = self.next;
        let room = self.buffer.length() - offset.min(self.buffer.length());
        if length > room || i32::try_from(length).is_err() {
            return None;
        }
        self.buffer.copy_in(offset + TEXT_OFFSET, text.as_bytes());
        self.buffer.store_i64(offset + FIRST_TIMESTAMP_OFFSET, now_ms);
        // Release: pairs with the acquire load of the length by readers.
        self.buffer.store_i32_release(offset + LENGTH_OFFSET, length as i32);
        self.next = offset + length.next_multiple_of(ALIGNMENT);
        self.known.insert(text.into(), offset);
        Some(offset)
    }
}

/// One error as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorRecord {
    /// How often it was seen; may be 0 for a moment after the first time.
    pub count: i32,
    /// When it was first seen (epoch milliseconds).
    pub first_seen_ms: i64,
    /// When it was last seen (epoch milliseconds).
    pub last_seen_ms: i64,
    /// What it says; bytes that are not UTF-8 are replaced.
    pub text: String,
}

/// The errors in a log, in the order in which they were first seen.
pub fn read_errors(buffer: &AtomicBuffer) -> impl Iterator<Item = ErrorRecord> + '_ {
    scan(buffer).map(|(_, _, record)| record)
}

/// Each record with its offset and length; stops at the first length that cannot be.
fn scan(buffer: &AtomicBuffer) -> impl Iterator<Item = (usize, usize, ErrorRecord)> + '_ {
    let mut offset = 0;
    std::iter::from_fn(move || {
        if offset + TEXT_OFFSET > buffer.length() {
            return None;
        }
        // Acquire: pairs with the release store of the length by the writer.
        let length = usize::try_from(buffer.load_i32_acquire(offset + LENGTH_OFFSET)).ok()?;
        if length < TEXT_OFFSET || buffer.length() - offset < length {
            return None;
        }
        let mut text = vec![0; length - TEXT_OFFSET];
        buffer.copy_out(offset + TEXT_OFFSET, &mut text);
        let record = ErrorRecord {
            last_seen_ms: buffer.load_i64_acquire(offset + LAST_TIMESTAMP_OFFSET),
            count: buffer.load_i32(offset + OBSERVATION_COUNT_OFFSET),
            first_seen_ms: buffer.load_i64(offset + FIRST_TIMESTAMP_OFFSET),
            text: String::from_utf8_lossy(&text).into_owned(),
        };
        let found = (offset, length, record);
        offset += length.next_multiple_of(ALIGNMENT);
        Some(found)
    })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::region::Region;

    fn record(count: i32, first_seen_ms: i64, last_seen_ms: i64, text: &str) -> ErrorRecord {
        ErrorRecord { count, first_seen_ms, last_seen_ms, text: text.to_owned() }
    }

    #[test]
    fn an_error_stands_once_with_its_count_and_times() {
        let buffer = AtomicBuffer::new(Region::heap(4096));
        let mut log = ErrorLog::new(buffer.clone());
        assert!(log.record(10, "first") && log.record(20, "second") && log.record(30, "first"));
        let found: Vec<_> = read_errors(&buffer).collect();
        assert_eq!(found, [record(2, 10, 30, "first"), record(1, 20, 20, "second")]);
        assert_eq!((buffer.load_i32(0), buffer.load_i32(4)), (29, 2));
        assert_eq!(buffer.load_i32(32), 30);
    }

    #[test]
    fn a_writer_goes_on_with_what_is_there() {
        let buffer = AtomicBuffer::new(Region::heap(4096));
        ErrorLog::new(buffer.clone()).record(1, "old");
        let mut log = ErrorLog::new(buffer.clone());
        log.record(2, "old");
        log.record(3, "new");
        let found: Vec<_> = read_errors(&buffer).collect();
        assert_eq!(found, [record(2, 1, 2, "old"), record(1, 3, 3, "new")]);
    }

    #[test]
    fn a_full_log_counts_known_errors_and_refuses_new_ones() {
        let buffer = AtomicBuffer::new(Region::heap(64));
        let mut log = ErrorLog::new(buffer.clone());
        assert!(log.record(1, "12345678"));
        assert!(log.record(1, "abcdefgh"));
        assert!(!log.record(1, "x"));
        assert!(log.record(1, "abcdefgh"));
        assert_eq!(read_errors(&buffer).count(), 2);
    }

    #[test]
    fn lengths_written_by_others_end_the_log() {
        for length in [-1, 1, 23, 65, i32::MAX] {
            let buffer = AtomicBuffer::new(Region::heap(64));
            buffer.store_i32(0, length);
            assert_eq!(read_errors(&buffer).count(), 0);
        }
    }
}
