//! What one image reports as lost.

use memory::log::gap::Gap;
use memory::loss_report::{LossEntry, LossReport};
use runtime::EpochNanos;
use wire::position::{SessionId, StreamId};

/// The entry of one image, made when it first loses something. Each lost byte counts once, however
/// often its gap is seen.
pub(crate) struct LossReporter {
    stream: (SessionId, StreamId),
    channel: String,
    source: String,
    entry: Option<LossEntry>,
    last: Option<Gap>,
}

impl LossReporter {
    pub(crate) fn new(stream: (SessionId, StreamId), channel: &str, source: &str) -> Self {
        let (channel, source) = (channel.to_string(), source.to_string());
        Self { stream, channel, source, entry: None, last: None }
    }

    /// A gap that is new or has changed.
    pub(crate) fn on_gap(&mut self, gap: &Gap, report: &mut LossReport, now: EpochNanos) {
        let already = match self.last {
            Some(last) if last.term_id == gap.term_id => {
                (last.term_offset + last.length - gap.term_offset).clamp(0, gap.length)
            }
            _ => 0,
        };
        self.last = Some(*gap);
        let (lost, now_ms) = (i64::from(gap.length - already), now.as_millis());
        if lost == 0 {
            return;
        }
        match &mut self.entry {
            Some(entry) => entry.record(lost, now_ms),
            None => {
                self.entry =
                    report.create_entry(lost, now_ms, self.stream, &self.channel, &self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use memory::buffer::AtomicBuffer;
    use memory::loss_report::read_losses;
    use memory::region::Region;
    use wire::position::TermId;

    #[test]
    fn lost_bytes_count_once_in_one_entry_per_image() {
        let buffer = AtomicBuffer::new(Region::heap(4096));
        let mut report = LossReport::new(buffer.clone());
        let stream = (SessionId(7), StreamId(10));
        let mut reporter = LossReporter::new(stream, "aeron:udp", "1.2.3.4:5");
        let gap = |term_offset, length| Gap { term_id: TermId(1), term_offset, length };
        let at = |ms: i64| EpochNanos(ms * 1_000_000);
        reporter.on_gap(&gap(64, 64), &mut report, at(1));
        reporter.on_gap(&gap(64, 96), &mut report, at(2));
        reporter.on_gap(&gap(96, 64), &mut report, at(3));
        let mut other = LossReporter::new(stream, "aeron:udp", "1.2.3.4:6");
        other.on_gap(&gap(0, 32), &mut report, at(4));
        let lost: Vec<i64> = read_losses(&buffer).map(|entry| entry.bytes_lost).collect();
        assert_eq!(lost, [96, 32]);
    }
}
