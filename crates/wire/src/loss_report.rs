//! Entries of `loss-report.dat`: what a driver lost, by stream and source.
//!
//! ```text
//! 0 observations i64 | 8 bytes lost i64 | 16 first ms i64 | 24 last ms i64
//! 32 session i32 | 36 stream i32 | 40 channel length i32 | channel
//! align 4 | source length i32 | source
//! ```
//!
//! Entries are 64-aligned. The observations are stored last, by release: 0 is the end.

use crate::le::{i32_at, i64_at, put};
use crate::position::{SessionId, StreamId};

/// Name of the file in the driver's directory.
pub const FILE_NAME: &str = "loss-report.dat";
/// Default length of the file.
pub const LENGTH_DEFAULT: usize = 1024 * 1024;
/// Offset of the count of observations (`i64`).
pub const OBSERVATION_COUNT_OFFSET: usize = 0;
/// Offset of the bytes lost in total (`i64`).
pub const TOTAL_BYTES_LOST_OFFSET: usize = 8;
/// Offset of the time of the first observation (`i64`, epoch milliseconds).
pub const FIRST_OBSERVATION_OFFSET: usize = 16;
/// Offset of the time of the last observation (`i64`, epoch milliseconds).
pub const LAST_OBSERVATION_OFFSET: usize = 24;
/// Offset of the session (`i32`).
pub const SESSION_ID_OFFSET: usize = 32;
/// Offset of the stream (`i32`).
pub const STREAM_ID_OFFSET: usize = 36;
/// Offset of the channel's length (`i32`); the channel follows, then the source.
pub const CHANNEL_OFFSET: usize = 40;
/// Entries begin at multiples of this many bytes.
pub const ALIGNMENT: usize = 64;

/// What was lost of one stream from one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossEntry<'a> {
    /// How often something was missing.
    pub observations: i64,
    /// How many bytes in total.
    pub total_bytes_lost: i64,
    /// When first, in epoch milliseconds.
    pub first_observation_ms: i64,
    /// When last, in epoch milliseconds.
    pub last_observation_ms: i64,
    /// The publication.
    pub session_id: SessionId,
    /// The stream.
    pub stream_id: StreamId,
    /// The channel.
    pub channel: &'a str,
    /// Where it came from: `ip:port`.
    pub source: &'a str,
}

impl<'a> LossEntry<'a> {
    /// Bytes that the entry takes, alignment included.
    #[must_use]
    pub const fn encoded_length(&self) -> usize {
        let source_offset = (CHANNEL_OFFSET + 4 + self.channel.len()).next_multiple_of(4);
        (source_offset + 4 + self.source.len()).next_multiple_of(ALIGNMENT)
    }

    /// Writes a new entry with observations 0, to be stored afterwards; false if it does not fit.
    #[must_use]
    pub fn encode(&self, target: &mut [u8]) -> bool {
        let lengths = (i32::try_from(self.channel.len()), i32::try_from(self.source.len()));
        let (Ok(channel_length), Ok(source_length)) = lengths else {
            return false;
        };
        let Some(bytes) = target.get_mut(..self.encoded_length()) else {
            return false;
        };
        bytes.fill(0);
        put(bytes, TOTAL_BYTES_LOST_OFFSET, self.total_bytes_lost.to_le_bytes());
        put(bytes, FIRST_OBSERVATION_OFFSET, self.first_observation_ms.to_le_bytes());
        put(bytes, LAST_OBSERVATION_OFFSET, self.last_observation_ms.to_le_bytes());
        put(bytes, SESSION_ID_OFFSET, self.session_id.0.to_le_bytes());
        put(bytes, STREAM_ID_OFFSET, self.stream_id.0.to_le_bytes());
        put(bytes, CHANNEL_OFFSET, channel_length.to_le_bytes());
        let channel_end = CHANNEL_OFFSET + 4 + self.channel.len();
        bytes[CHANNEL_OFFSET + 4..channel_end].copy_from_slice(self.channel.as_bytes());
        let source_offset = channel_end.next_multiple_of(4);
        put(bytes, source_offset, source_length.to_le_bytes());
        bytes[source_offset + 4..][..self.source.len()].copy_from_slice(self.source.as_bytes());
        true
    }

    fn fields(bytes: &'a [u8]) -> Option<Self> {
        let observations = i64_at(bytes, OBSERVATION_COUNT_OFFSET).filter(|&count| count > 0)?;
        let channel = text_at(bytes, CHANNEL_OFFSET)?;
        let source_offset = (CHANNEL_OFFSET + 4 + channel.len()).next_multiple_of(4);
        Some(Self {
            observations,
            total_bytes_lost: i64_at(bytes, TOTAL_BYTES_LOST_OFFSET)?,
            first_observation_ms: i64_at(bytes, FIRST_OBSERVATION_OFFSET)?,
            last_observation_ms: i64_at(bytes, LAST_OBSERVATION_OFFSET)?,
            session_id: SessionId(i32_at(bytes, SESSION_ID_OFFSET)?),
            stream_id: StreamId(i32_at(bytes, STREAM_ID_OFFSET)?),
            channel,
            source: text_at(bytes, source_offset)?,
        })
    }
}

fn text_at(bytes: &[u8], length_offset: usize) -> Option<&str> {
    let length = usize::try_from(i32_at(bytes, length_offset)?).ok()?;
    core::str::from_utf8(bytes.get(length_offset + 4..)?.get(..length)?).ok()
}

/// The entries of a copy of a loss report, up to its end or the first that is malformed.
pub fn entries(report: &[u8]) -> impl Iterator<Item = LossEntry<'_>> {
    let mut rest = report;
    core::iter::from_fn(move || {
        let entry = LossEntry::fields(rest)?;
        rest = rest.get(entry.encoded_length()..).unwrap_or_default();
        Some(entry)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn entry(channel: &str) -> LossEntry<'_> {
        LossEntry {
            observations: 1,
            total_bytes_lost: 4096,
            first_observation_ms: 5,
            last_observation_ms: 6,
            session_id: SessionId(-1),
            stream_id: StreamId(7),
            channel,
            source: "10.0.0.1:5",
        }
    }

    #[test]
    fn entries_survive_a_round_trip_once_they_are_counted() {
        let mut report = [0; 512];
        let written = [entry("aeron:ipc"), entry("aeron:udp?endpoint=localhost:40123")];
        let mut at = 0;
        for entry in written {
            assert!(entry.encode(&mut report[at..]));
            assert_eq!(entries(&report[at..]).count(), 0);
            put(&mut report, at + OBSERVATION_COUNT_OFFSET, 1_i64.to_le_bytes());
            at += entry.encoded_length();
        }
        assert_eq!(entries(&report).collect::<Vec<_>>(), written);
        for length in 0..CHANNEL_OFFSET + 4 + 9 + 3 + 4 + 10 {
            assert_eq!(entries(&report[..length]).count(), 0, "{length}");
        }
        assert!(!entry("aeron:ipc").encode(&mut [0; 64]));
    }
}
