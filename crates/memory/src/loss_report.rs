//! The loss report: how much each image has lost, for `loss-stat` tools.
//!
//! Layout: [`wire::loss_report`]. Counts are stored last, by release; a count of 0 ends the report.

use wire::loss_report::{
    ALIGNMENT, CHANNEL_OFFSET, FIRST_OBSERVATION_OFFSET, LAST_OBSERVATION_OFFSET,
    OBSERVATION_COUNT_OFFSET, SESSION_ID_OFFSET, STREAM_ID_OFFSET, TOTAL_BYTES_LOST_OFFSET,
};
use wire::position::{SessionId, StreamId};

use crate::buffer::AtomicBuffer;

/// Makes entries. There is one per report.
#[derive(Debug)]
pub struct LossReport {
    buffer: AtomicBuffer,
    next: usize,
}

/// Writes to one entry.
#[derive(Debug)]
pub struct LossEntry {
    entry: AtomicBuffer,
}

impl LossReport {
    /// The writer of this report; it goes on behind what is there.
    #[must_use]
    pub fn new(buffer: AtomicBuffer) -> Self {
        let next = scan(&buffer).last().map_or(0, |(offset, length, _)| offset + length);
        Self { buffer, next }
    }

    /// Makes an entry for an image that has lost something for the first time; none when the report
    /// is full.
    pub fn create_entry(
        &mut self,
        bytes_lost: i64,
        now_ms: i64,
        (session_id, stream_id): (SessionId, StreamId),
        channel: &str,
        source: &str,
    ) -> Option<LossEntry> {
        let source_offset = (CHANNEL_OFFSET + 4 + channel.len()).next_multiple_of(4);
        let length = (source_offset + 4 + source.len()).next_multiple_of(ALIGNMENT);
        if self.buffer.length() < self.next || self.buffer.length() - self.next < length {
            return None;
        }
        let entry = self.buffer.slice(self.next, length);
        entry.store_i64(TOTAL_BYTES_LOST_OFFSET, bytes_lost);
        entry.store_i64(FIRST_OBSERVATION_OFFSET, now_ms);
        entry.store_i64(LAST_OBSERVATION_OFFSET, now_ms);
        entry.store_i32(SESSION_ID_OFFSET, session_id.0);
        entry.store_i32(STREAM_ID_OFFSET, stream_id.0);
        entry.store_i32(CHANNEL_OFFSET, channel.len() as i32);
        entry.copy_in(CHANNEL_OFFSET + 4, channel.as_bytes());
        entry.store_i32(source_offset, source.len() as i32);
        entry.copy_in(source_offset + 4, source.as_bytes());
        // Release: pairs with the acquire load of the count by readers.
        entry.store_i64_release(OBSERVATION_COUNT_OFFSET, 1);
        self.next += length;
        Some(LossEntry { entry })
    }
}

impl LossEntry {
    /// Adds another loss.
    pub fn record(&mut self, bytes_lost: i64, now_ms: i64) {
        self.entry.store_i64_release(LAST_OBSERVATION_OFFSET, now_ms);
        self.entry.fetch_add_i64(TOTAL_BYTES_LOST_OFFSET, bytes_lost);
        self.entry.fetch_add_i64(OBSERVATION_COUNT_OFFSET, 1);
    }
}

/// One entry as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LossRecord {
    /// How often something was lost.
    pub count: i64,
    /// How many bytes in all.
    pub bytes_lost: i64,
    /// When first (epoch milliseconds).
    pub first_loss_ms: i64,
    /// When last (epoch milliseconds).
    pub last_loss_ms: i64,
    /// The publication.
    pub session_id: SessionId,
    /// The stream.
    pub stream_id: StreamId,
    /// The subscription's channel; bytes that are not UTF-8 are replaced.
    pub channel: String,
    /// Where it came from, likewise.
    pub source: String,
}

/// The entries of a report.
pub fn read_losses(buffer: &AtomicBuffer) -> impl Iterator<Item = LossRecord> + '_ {
    scan(buffer).map(|(_, _, record)| record)
}

/// Each entry with its offset and aligned length; stops at the first that cannot be.
fn scan(buffer: &AtomicBuffer) -> impl Iterator<Item = (usize, usize, LossRecord)> + '_ {
    let mut offset = 0;
    std::iter::from_fn(move || {
        if offset + ALIGNMENT > buffer.length() {
            return None;
        }
        // Acquire: pairs with the release store of the count by the writer.
        let count = buffer.load_i64_acquire(offset + OBSERVATION_COUNT_OFFSET);
        if count <= 0 {
            return None;
        }
        let (channel, behind) = text(buffer, offset + CHANNEL_OFFSET)?;
        let (source, end) = text(buffer, behind.next_multiple_of(4))?;
        let record = LossRecord {
            count,
            bytes_lost: buffer.load_i64_acquire(offset + TOTAL_BYTES_LOST_OFFSET),
            first_loss_ms: buffer.load_i64(offset + FIRST_OBSERVATION_OFFSET),
            last_loss_ms: buffer.load_i64_acquire(offset + LAST_OBSERVATION_OFFSET),
            session_id: SessionId(buffer.load_i32(offset + SESSION_ID_OFFSET)),
            stream_id: StreamId(buffer.load_i32(offset + STREAM_ID_OFFSET)),
            channel,
            source,
        };
        let length = (end - offset).next_multiple_of(ALIGNMENT);
        let found = (offset, length, record);
        offset += length;
        Some(found)
    })
}

/// A text behind its length, and where it ends; none if it leaves the buffer.
fn text(buffer: &AtomicBuffer, at: usize) -> Option<(String, usize)> {
    if at + 4 > buffer.length() {
        return None;
    }
    let length = usize::try_from(buffer.load_i32(at)).ok()?;
    let end = (at + 4).checked_add(length).filter(|&end| end <= buffer.length())?;
    let mut bytes = vec![0; length];
    buffer.copy_out(at + 4, &mut bytes);
    Some((String::from_utf8_lossy(&bytes).into_owned(), end))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::region::Region;

    const WHO: (SessionId, StreamId) = (SessionId(7), StreamId(1001));

    #[test]
    fn losses_add_up_per_entry() {
        let buffer = AtomicBuffer::new(Region::heap(4096));
        let mut report = LossReport::new(buffer.clone());
        let mut entry = report.create_entry(64, 10, WHO, "aeron:udp", "127.0.0.1:5").unwrap();
        entry.record(32, 20);
        report.create_entry(1, 30, WHO, "", "").unwrap();
        let found: Vec<_> = read_losses(&buffer).collect();
        let first = LossRecord {
            count: 2,
            bytes_lost: 96,
            first_loss_ms: 10,
            last_loss_ms: 20,
            session_id: SessionId(7),
            stream_id: StreamId(1001),
            channel: "aeron:udp".to_owned(),
            source: "127.0.0.1:5".to_owned(),
        };
        assert_eq!((found.len(), &found[0]), (2, &first));
        // 44 + 9 is 53, aligned 56: the source's length stands there.
        assert_eq!((buffer.load_i32(40), buffer.load_i32(56)), (9, 11));
    }

    #[test]
    fn a_full_report_makes_no_entries_and_a_new_writer_goes_on_behind_old_ones() {
        let buffer = AtomicBuffer::new(Region::heap(128));
        let mut report = LossReport::new(buffer.clone());
        assert!(report.create_entry(1, 1, WHO, "a", "b").is_some());
        let mut report = LossReport::new(buffer.clone());
        assert!(report.create_entry(1, 1, WHO, "c", &"d".repeat(30)).is_none());
        assert!(report.create_entry(1, 1, WHO, "c", "d").is_some());
        assert!(report.create_entry(1, 1, WHO, "", "").is_none());
        let channels: Vec<_> = read_losses(&buffer).map(|found| found.channel).collect();
        assert_eq!(channels, ["a", "c"]);
    }

    #[test]
    fn lengths_written_by_others_end_the_report() {
        for length in [-1, 85, i32::MAX] {
            let buffer = AtomicBuffer::new(Region::heap(128));
            buffer.store_i64(0, 1);
            buffer.store_i32(40, length);
            assert_eq!(read_losses(&buffer).count(), 0);
        }
    }
}
