//! What was published, and whether what is received is that.
//!
//! The content of a message follows from the seed and its number, so that only its place in the
//! stream is kept.

use std::collections::{BTreeMap, BTreeSet};

use runtime::random::Rng;

use super::totals::Totals;

/// A stream: the route that it takes, and its session.
pub(super) type StreamKey = (usize, i32);

/// Length of a frame's header; frames are aligned to it.
const HEADER_LENGTH: usize = 32;

/// Where a trial stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Faults strike, and clients come and go.
    Storm,
    /// Faults have ended; what is published from here on must arrive.
    Calm,
    /// Everybody is to close.
    Closing,
}

/// A message in its stream.
#[derive(Clone, Copy, Debug)]
struct Entry {
    end: i64,
    number: u64,
    length: usize,
    fresh: bool,
}

/// Everything that was published in one run.
pub(super) struct Ledger {
    seed: u64,
    exact: bool,
    next_number: u64,
    streams: BTreeMap<StreamKey, BTreeMap<i64, Entry>>,
    /// Which stream each publisher published on last, once healed.
    fresh_published: BTreeMap<usize, StreamKey>,
    /// Which streams each subscriber heard something new of, once healed.
    fresh_received: BTreeSet<(usize, StreamKey)>,
    scratch: Vec<u8>,
    hash: u64,
    /// What each publisher waits for, if it could not publish last time.
    pub(super) waits: BTreeMap<usize, String>,
    pub(super) phase: Phase,
    pub(super) totals: Totals,
    pub(super) violations: Vec<String>,
}

/// How far a subscriber has got in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reader {
    pub(super) key: StreamKey,
    /// Which subscriber.
    pub(super) slot: usize,
    /// Where the next message begins at the earliest.
    pub(super) position: i64,
}

impl Ledger {
    pub(super) fn new(seed: u64, exact: bool) -> Self {
        Self {
            seed,
            exact,
            next_number: 0,
            streams: BTreeMap::new(),
            fresh_published: BTreeMap::new(),
            fresh_received: BTreeSet::new(),
            scratch: Vec::new(),
            hash: 0,
            waits: BTreeMap::new(),
            phase: Phase::Storm,
            totals: Totals::default(),
            violations: Vec::new(),
        }
    }

    /// The number of the next message.
    pub(super) fn take_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// Puts the content of a message into `target`.
    pub(super) fn fill(&self, number: u64, length: usize, target: &mut Vec<u8>) {
        fill(self.seed, number, length, target);
    }

    /// A publisher got a message out, which ends at `end`.
    pub(super) fn published(
        &mut self,
        (slot, key): (usize, StreamKey),
        (number, length): (u64, usize),
        end: i64,
        payload_max: usize,
    ) {
        let fresh = self.phase == Phase::Calm;
        let begin = end - framed_length(length, payload_max);
        let entries = self.streams.entry(key).or_default();
        let before = entries.range(..end).next_back().map_or(0, |(_, entry)| entry.end);
        if begin < before || entries.range(begin..end).next().is_some() {
            self.violations.push(format!("stream {key:?}: two messages at {begin} to {end}"));
        }
        entries.insert(begin, Entry { end, number, length, fresh });
        if fresh {
            self.fresh_published.insert(slot, key);
        }
        self.totals.published += 1;
    }

    /// A subscriber got a message, which ends at `end`.
    pub(super) fn received(&mut self, reader: &mut Reader, end: i64, payload: &[u8]) {
        self.totals.received += 1;
        self.totals.empty += u64::from(payload.is_empty());
        self.hash = (self.hash ^ end.cast_unsigned() ^ ((payload.len() as u64) << 40))
            .wrapping_mul(0x0100_0000_01b3);
        if !self.exact {
            return;
        }
        match self.check(reader, end, payload) {
            Ok(entry) => {
                reader.position = entry.end;
                if entry.fresh {
                    self.fresh_received.insert((reader.slot, reader.key));
                }
            }
            Err(what) => {
                let Reader { key, slot, position } = *reader;
                self.violations.push(format!(
                    "subscriber {slot} of stream {key:?} at {position} got {} bytes up to {end}: \
                     {what}",
                    payload.len()
                ));
                reader.position = end;
            }
        }
    }

    fn check(&mut self, reader: &Reader, end: i64, payload: &[u8]) -> Result<Entry, String> {
        let entries = self.streams.get(&reader.key).ok_or("nobody publishes there")?;
        let next = entries.range(reader.position..).next();
        let (&begin, &entry) = next.ok_or("nothing was published behind that")?;
        if entry.end != end {
            return Err(format!("the next message is at {begin} to {}", entry.end));
        }
        fill(self.seed, entry.number, entry.length, &mut self.scratch);
        if self.scratch == payload {
            return Ok(entry);
        }
        let same = self.scratch.iter().zip(payload).take_while(|(left, right)| left == right);
        let count = same.count();
        Err(format!("of {} bytes published they differ from byte {count}", entry.length))
    }

    /// What each publisher of `publishers` has published since healing; none if one has not.
    pub(super) fn fresh_stream(&self, publisher: usize) -> Option<StreamKey> {
        self.fresh_published.get(&publisher).copied()
    }

    /// Whether a subscriber heard something of a stream that was published since healing.
    pub(super) fn has_heard(&self, subscriber: usize, key: StreamKey) -> bool {
        self.fresh_received.contains(&(subscriber, key))
    }

    /// A hash of everything that was received.
    pub(super) const fn hash(&self) -> u64 {
        self.hash
    }
}

/// How much of a log the frames of a message take.
fn framed_length(length: usize, payload_max: usize) -> i64 {
    let frame = |payload: usize| (payload + HEADER_LENGTH).next_multiple_of(HEADER_LENGTH);
    let whole = length / payload_max;
    let rest = length % payload_max;
    let last = if rest > 0 || length == 0 { frame(rest) } else { 0 };
    i64::try_from(whole * frame(payload_max) + last).unwrap_or(i64::MAX)
}

fn fill(seed: u64, number: u64, length: usize, target: &mut Vec<u8>) {
    let mut rng = Rng::new(seed.wrapping_add(number << 20), "message");
    target.clear();
    while target.len() < length {
        let word = rng.next_u64().to_le_bytes();
        target.extend_from_slice(&word[..word.len().min(length - target.len())]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: StreamKey = (3, -7);
    const PAYLOAD_MAX: usize = 1376;

    fn ledger_of(lengths: &[usize]) -> (Ledger, Vec<(i64, Vec<u8>)>) {
        let mut ledger = Ledger::new(1, true);
        let mut end = 0;
        let mut messages = Vec::new();
        for &length in lengths {
            let number = ledger.take_number();
            let mut content = Vec::new();
            ledger.fill(number, length, &mut content);
            end += framed_length(length, PAYLOAD_MAX);
            ledger.published((0, KEY), (number, length), end, PAYLOAD_MAX);
            messages.push((end, content));
        }
        (ledger, messages)
    }

    fn reader(position: i64) -> Reader {
        Reader { key: KEY, slot: 0, position }
    }

    #[test]
    fn frames_of_a_message_are_whole_headers_and_aligned() {
        let lengths = [0, 1, 32, 33, PAYLOAD_MAX, PAYLOAD_MAX + 1, 2 * PAYLOAD_MAX];
        let framed = lengths.map(|length| framed_length(length, PAYLOAD_MAX));
        assert_eq!(framed, [32, 64, 64, 96, 1408, 1472, 2816]);
    }

    #[test]
    fn what_was_published_is_accepted_from_the_join_position_on() {
        let (mut ledger, messages) = ledger_of(&[10, 0, 3000, 5]);
        for first in 0..messages.len() {
            // Within a message or at its end: the next one is the first to be heard whole.
            let mut reader = reader(messages[first].0 - i64::from(first % 2 == 0) * 32);
            for (end, content) in &messages[first + 1..] {
                ledger.received(&mut reader, *end, content);
            }
        }
        assert_eq!(ledger.violations, [""; 0]);
    }

    #[test]
    fn a_missing_a_repeated_a_swapped_and_a_foreign_message_are_found() {
        for order in [&[0, 2][..], &[0, 0], &[1, 0], &[0, 1, 3]] {
            let (mut ledger, messages) = ledger_of(&[10, 20, 30, 40]);
            let mut reader = reader(0);
            for &index in order {
                ledger.received(&mut reader, messages[index].0, &messages[index].1);
            }
            assert!(!ledger.violations.is_empty(), "{order:?}");
        }
        let (mut ledger, messages) = ledger_of(&[10]);
        let mut elsewhere = Reader { key: (3, 8), slot: 0, position: 0 };
        ledger.received(&mut elsewhere, messages[0].0, &messages[0].1);
        assert_eq!(ledger.violations.len(), 1);
    }

    #[test]
    fn every_flipped_bit_and_every_missing_byte_is_found() {
        let (mut ledger, messages) = ledger_of(&[9]);
        let (end, content) = &messages[0];
        for bit in 0..72 {
            let mut harmed = content.clone();
            harmed[bit / 8] ^= 1 << (bit % 8);
            ledger.received(&mut reader(0), *end, &harmed);
        }
        ledger.received(&mut reader(0), *end, &content[..8]);
        assert_eq!(ledger.violations.len(), 73);
    }

    #[test]
    fn two_publishers_cannot_have_one_place() {
        let (mut ledger, messages) = ledger_of(&[100]);
        ledger.published((1, KEY), (9, 100), messages[0].0, PAYLOAD_MAX);
        ledger.published((1, KEY), (9, 20), messages[0].0 - 32, PAYLOAD_MAX);
        assert_eq!(ledger.violations.len(), 2);
    }

    #[test]
    fn only_what_was_published_since_healing_counts_as_new() {
        let (mut ledger, messages) = ledger_of(&[10]);
        ledger.phase = Phase::Calm;
        let mut reader = reader(0);
        ledger.received(&mut reader, messages[0].0, &messages[0].1);
        assert!(!ledger.has_heard(0, KEY) && ledger.fresh_stream(0).is_none());
        let mut content = Vec::new();
        ledger.fill(50, 5, &mut content);
        ledger.published((0, KEY), (50, 5), messages[0].0 + 64, PAYLOAD_MAX);
        assert!(!ledger.has_heard(0, KEY) && ledger.fresh_stream(0) == Some(KEY));
        ledger.received(&mut reader, messages[0].0 + 64, &content);
        assert!(ledger.has_heard(0, KEY));
    }
}
