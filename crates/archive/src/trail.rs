//! Keeps the trail short that a recording leaves in the page cache.
//!
//! Left to itself, the kernel keeps all that was recorded until memory is short, writes it out in
//! bursts, and makes recorders wait when too much is dirty. And a recorder that writes all the time
//! takes a new page for each that it fills; where a hypervisor has to find that page first, this
//! costs ten times the copy. So what lies a set length behind the end is written out, a few MiB at
//! a time, then given back, and new pages are found among those. Of a recording that is shorter
//! than that nothing is touched.
//!
//! Advice to the host and nothing else: no byte depends on it, nor what is durable when.

use std::path::Path;

use runtime::background::PathRange;

use crate::segment::{self, Layout};

/// How much is written out at a time.
const STEP: i64 = 4 << 20;
/// How far behind that pages are given back: by then they are clean, or else stay.
const LATER: i64 = 64 << 20;

/// What to tell the host.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Advice {
    /// Parts of which writing out is to begin.
    pub(crate) begin: Vec<PathRange>,
    /// Parts whose pages are to be given back.
    pub(crate) give_back: Vec<PathRange>,
}

/// How far the pages of one recording are looked after.
pub(crate) struct Trail {
    recording_id: i64,
    layout: Layout,
    /// Up to here writing out has begun.
    begun: i64,
    /// Up to here pages were given back.
    given_back: i64,
}

impl Trail {
    /// Begins where a recording goes on.
    pub(crate) const fn new(recording_id: i64, layout: Layout, position: i64) -> Self {
        Self { recording_id, layout, begun: position, given_back: position }
    }

    /// Adds what to tell the host now that the recording has come to `position`, of which `kept`
    /// bytes are to stay: nothing as long as that is not worth a call.
    pub(crate) fn advise(
        &mut self,
        position: i64,
        kept: i64,
        directory: &Path,
        advice: &mut Advice,
    ) {
        let end = position.saturating_sub(kept);
        if end.saturating_sub(self.begun) < STEP {
            return;
        }
        self.add(self.begun, end, directory, &mut advice.begin);
        self.begun = end;
        let end = end - LATER;
        if end > self.given_back {
            self.add(self.given_back, end, directory, &mut advice.give_back);
            self.given_back = end;
        }
    }

    /// Adds the parts of segments between two positions.
    fn add(&self, from: i64, to: i64, directory: &Path, parts: &mut Vec<PathRange>) {
        let mut begin = from;
        while begin < to {
            let base = self.layout.base(begin);
            let end = to.min(base + self.layout.segment_length);
            let path = directory.join(segment::file_name(self.recording_id, base));
            let range = (begin - base).cast_unsigned()..(end - base).cast_unsigned();
            parts.push(PathRange { path, range });
            begin = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;

    const MIB: i64 = 1 << 20;

    /// Base of the segment and range in it, in MiB.
    type Part = (i64, Range<u64>);

    /// A recording with segments of 32 MiB.
    fn trail(position: i64) -> Trail {
        Trail::new(7, Layout::new(0, 1 << 20, 32 << 20), position * MIB)
    }

    /// Parts of which writing begins, and parts given back, where 8 MiB are to stay.
    fn advice(trail: &mut Trail, position: i64) -> [Vec<Part>; 2] {
        let mut advice = Advice::default();
        trail.advise(position * MIB, 8 * MIB, Path::new("/archive"), &mut advice);
        let part = |it: &PathRange| {
            let name = it.path.to_str().and_then(|it| it.strip_prefix("/archive/7-"));
            let base: i64 = name.and_then(|it| it.strip_suffix(".rec")).unwrap().parse().unwrap();
            (base / MIB, it.range.start / MIB as u64..it.range.end / MIB as u64)
        };
        [advice.begin, advice.give_back].map(|parts| parts.iter().map(part).collect())
    }

    #[test]
    fn nothing_is_said_of_what_stays_and_little_is_said_at_once() {
        let mut trail = trail(1);
        assert_eq!(advice(&mut trail, 9), [vec![], vec![]]);
        assert_eq!(advice(&mut trail, 12), [vec![], vec![]], "less than a step");
        assert_eq!(advice(&mut trail, 13), [vec![(0, 1..5)], vec![]]);
        assert_eq!(advice(&mut trail, 16), [vec![], vec![]]);
        assert_eq!(advice(&mut trail, 44), [vec![(0, 5..32), (32, 0..4)], vec![]]);
    }

    #[test]
    fn pages_are_given_back_a_while_after_they_were_to_be_written_out() {
        let mut trail = trail(0);
        assert_eq!(advice(&mut trail, 72), [vec![(0, 0..32), (32, 0..32)], vec![]]);
        assert_eq!(advice(&mut trail, 82), [vec![(64, 0..10)], vec![(0, 0..10)]]);
        let [begin, give_back] = advice(&mut trail, 112);
        assert_eq!(begin, [(64, 10..32), (96, 0..8)]);
        assert_eq!(give_back, [(0, 10..32), (32, 0..8)]);
    }
}
