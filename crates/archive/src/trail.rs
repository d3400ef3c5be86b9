//! Keeps the trail short that a recording leaves in the page cache.
//!
//! Left to itself, the kernel keeps all that was recorded until memory is short, writes it out in
//! bursts, and makes recorders wait when too much is dirty. A recorder that writes all the time
//! takes a new page for each that it fills; where a hypervisor has to find that page first, this
//! costs many times the copy. So writing out begins at once, a few MiB at a time, and what lies a
//! set length behind the end is given back, and found again in the same pages.
//!
//! Advice to the host and nothing else: no byte depends on it, nor what is durable when.

use std::collections::VecDeque;
use std::sync::Arc;

use runtime::background::FileRange;
use runtime::files::File;

/// How much is written out at a time.
const STEP: i64 = 4 << 20;
/// How far back pages are given back once more: those that were still being written out stayed.
const AGAIN: i64 = 32 << 20;

/// What to tell the host.
#[derive(Default)]
pub(crate) struct Advice {
    /// Parts of which writing out is to begin.
    pub(crate) begin: Vec<FileRange>,
    /// Parts whose pages are to be given back.
    pub(crate) give_back: Vec<FileRange>,
}

/// The segments of one recording that are still in the page cache.
pub(crate) struct Trail {
    /// With the position of the first byte of each, oldest first.
    segments: VecDeque<(i64, Arc<dyn File>)>,
    segment_length: i64,
    /// Up to here writing out has begun.
    begun: i64,
    /// Up to here pages were given back.
    given_back: i64,
}

impl Trail {
    /// Begins where a recording goes on.
    pub(crate) fn new(position: i64, segment_length: i64) -> Self {
        let segments = VecDeque::new();
        Self { segments, segment_length, begun: position, given_back: position }
    }

    /// The recording goes on in this segment.
    pub(crate) fn push(&mut self, base: i64, file: Arc<dyn File>) {
        self.segments.push_back((base, file));
    }

    /// Adds what to tell the host now that the recording has come to `position`, of which `kept`
    /// bytes are to stay: nothing as long as that is not worth a call.
    pub(crate) fn advise(&mut self, position: i64, kept: i64, advice: &mut Advice) {
        if position - self.begun < STEP {
            return;
        }
        self.add(self.begun, position, &mut advice.begin);
        self.begun = position;
        let end = position.saturating_sub(kept);
        let from = self.given_back.saturating_sub(AGAIN);
        self.add(from, end, &mut advice.give_back);
        self.given_back = self.given_back.max(end);
        let left = self.given_back.saturating_sub(AGAIN);
        while self.segments.front().is_some_and(|(base, _)| base + self.segment_length <= left) {
            self.segments.pop_front();
        }
    }

    /// Adds the parts of segments between two positions.
    fn add(&self, from: i64, to: i64, parts: &mut Vec<FileRange>) {
        let part = |(base, file): &(i64, Arc<dyn File>)| {
            let begin = from.max(*base) - base;
            let end = to.min(base + self.segment_length) - base;
            let range = begin.cast_unsigned()..end.cast_unsigned();
            (begin < end).then(|| FileRange { file: Arc::clone(file), range })
        };
        parts.extend(self.segments.iter().filter_map(part));
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::path::Path;

    use super::*;
    use crate::testing::Disk;

    const SEGMENT: i64 = 16 << 20;
    const MIB: i64 = 1 << 20;

    struct Bench {
        files: Vec<Arc<dyn File>>,
        trail: Trail,
    }

    impl Bench {
        fn new(position: i64) -> Self {
            let disk = Disk::new();
            let create = |index| disk.files().create(Path::new(&format!("/{index}"))).unwrap();
            let files: Vec<_> = (0..4).map(create).collect();
            let mut trail = Trail::new(position, SEGMENT);
            for (file, base) in files.iter().zip([0, SEGMENT, 2 * SEGMENT, 3 * SEGMENT]) {
                trail.push(base, Arc::clone(file));
            }
            Self { files, trail }
        }

        /// Parts of which writing begins, and parts given back: number of the file, range in MiB.
        fn parts(&mut self, position: i64, kept: i64) -> [Vec<(usize, Range<u64>)>; 2] {
            let mut advice = Advice::default();
            self.trail.advise(position * MIB, kept * MIB, &mut advice);
            let named = |it: &FileRange| {
                let same = |file: &Arc<dyn File>| Arc::ptr_eq(file, &it.file);
                let index = self.files.iter().position(same).unwrap();
                (index, it.range.start / MIB as u64..it.range.end / MIB as u64)
            };
            [advice.begin, advice.give_back].map(|parts| parts.iter().map(named).collect())
        }
    }

    #[test]
    fn writing_begins_with_each_step_and_what_lies_behind_is_given_back() {
        let mut bench = Bench::new(MIB);
        assert_eq!(bench.parts(4, 8), [vec![], vec![]], "less than a step");
        assert_eq!(bench.parts(6, 8), [vec![(0, 1..6)], vec![]]);
        assert_eq!(bench.parts(12, 8), [vec![(0, 6..12)], vec![(0, 0..4)]]);
        let across = [vec![(0, 12..16), (1, 0..16), (2, 0..2)], vec![(0, 0..16), (1, 0..10)]];
        assert_eq!(bench.parts(34, 8), across);
    }

    #[test]
    fn what_stayed_is_given_back_again_until_its_segment_is_left_alone() {
        let mut bench = Bench::new(0);
        bench.parts(30, 4);
        let [_, again] = bench.parts(50, 4);
        assert_eq!(again, [(0, 0..16), (1, 0..16), (2, 0..14)]);
        let [_, again] = bench.parts(60, 4);
        assert_eq!(again, [(0, 14..16), (1, 0..16), (2, 0..16), (3, 0..8)]);
        assert_eq!(bench.trail.segments.len(), 3, "the first one is not held open for ever");
    }
}
