//! Records of the log of distinct errors, the last buffer of `cnc.dat` and a part of mark files.
//!
//! ```text
//! 0 length i32 | 4 observations i32 | 8 last ms i64 | 16 first ms i64 | 24 text
//! ```
//!
//! Records are 8-aligned; the length is stored last, by release, and 0 where the log ends. The
//! observations are counted after that, so a reader may see a record with none of them.

use crate::le::{i32_at, i64_at};

/// Offset of the length of header and text (`i32`).
pub const LENGTH_OFFSET: usize = 0;
/// Offset of the count of observations (`i32`).
pub const OBSERVATION_COUNT_OFFSET: usize = 4;
/// Offset of the time of the last observation (`i64`, epoch milliseconds).
pub const LAST_TIMESTAMP_OFFSET: usize = 8;
/// Offset of the time of the first observation (`i64`, epoch milliseconds).
pub const FIRST_TIMESTAMP_OFFSET: usize = 16;
/// Offset of the text.
pub const TEXT_OFFSET: usize = 24;
/// Records begin at multiples of this many bytes.
pub const ALIGNMENT: usize = 8;
/// Default length of the log in `cnc.dat`.
pub const LENGTH_DEFAULT: usize = 4 * 1024 * 1024;

/// An error that was seen, possibly often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorRecord<'a> {
    /// How often.
    pub observations: i32,
    /// When last, in epoch milliseconds.
    pub last_timestamp_ms: i64,
    /// When first, in epoch milliseconds.
    pub first_timestamp_ms: i64,
    /// What happened. Genuine drivers write UTF-8.
    pub text: &'a [u8],
}

/// The records of a copy of an error log, up to its end or the first that is malformed.
pub fn records(log: &[u8]) -> impl Iterator<Item = ErrorRecord<'_>> {
    let mut rest = log;
    core::iter::from_fn(move || {
        let length = usize::try_from(i32_at(rest, LENGTH_OFFSET)?).ok()?;
        let record = rest.get(..length)?;
        let found = ErrorRecord {
            observations: i32_at(record, OBSERVATION_COUNT_OFFSET)?,
            last_timestamp_ms: i64_at(record, LAST_TIMESTAMP_OFFSET)?,
            first_timestamp_ms: i64_at(record, FIRST_TIMESTAMP_OFFSET)?,
            text: record.get(TEXT_OFFSET..)?,
        };
        rest = rest.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        Some(found)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::le::put;
    use alloc::vec::Vec;

    fn log() -> [u8; 128] {
        let mut bytes = [0; 128];
        for (at, text) in [(0, *b"abc"), (32, *b"def")] {
            put(&mut bytes, at + LENGTH_OFFSET, 27_i32.to_le_bytes());
            put(&mut bytes, at + OBSERVATION_COUNT_OFFSET, 2_i32.to_le_bytes());
            put(&mut bytes, at + LAST_TIMESTAMP_OFFSET, 9_i64.to_le_bytes());
            put(&mut bytes, at + FIRST_TIMESTAMP_OFFSET, 4_i64.to_le_bytes());
            put(&mut bytes, at + TEXT_OFFSET, text);
        }
        bytes
    }

    #[test]
    fn records_are_read_up_to_the_end_of_the_log() {
        let log = log();
        let texts: Vec<_> = records(&log).map(|record| record.text).collect();
        assert_eq!(texts, [b"abc", b"def"]);
        let expected = ErrorRecord {
            observations: 2,
            last_timestamp_ms: 9,
            first_timestamp_ms: 4,
            text: b"abc",
        };
        assert_eq!(records(&log).next(), Some(expected));
    }

    #[test]
    fn records_that_are_cut_or_too_short_end_the_log() {
        let mut log = log();
        assert_eq!(records(&log[..58]).count(), 1);
        for length in [1, 23, -1, i32::MAX] {
            put(&mut log, 32, i32::to_le_bytes(length));
            assert_eq!(records(&log).count(), 1, "{length}");
        }
        assert_eq!(records(&[]).count(), 0);
    }
}
