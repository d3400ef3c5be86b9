//! Notices when a duty cycle stalls, and keeps what is not urgent out of most of them.

use wire::time::{Nanos, Now};

use crate::agent::Work;

/// Follows the time between the starts of passes.
#[derive(Clone, Debug)]
pub struct StallTracker {
    threshold: Nanos,
    last: Option<Nanos>,
    longest: Nanos,
}

/// What one pass taught the tracker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stall {
    /// The longest cycle so far, when this one is it.
    pub new_longest: Option<Nanos>,
    /// Whether this cycle took longer than the threshold.
    pub exceeded: bool,
}

impl StallTracker {
    /// A tracker that calls cycles longer than `threshold` stalled.
    #[must_use]
    pub const fn new(threshold: Nanos) -> Self {
        Self { threshold, last: None, longest: Nanos(0) }
    }

    /// Called at the start of each pass. Time slept between passes is not part of a cycle: hosts
    /// that sleep call [`StallTracker::resume`] after it.
    pub fn on_pass(&mut self, now: Now) -> Stall {
        let Some(last) = self.last.replace(now.mono) else { return Stall::default() };
        let cycle = now.mono - last;
        let new_longest = (cycle > self.longest).then_some(cycle);
        self.longest = self.longest.max(cycle);
        Stall { new_longest, exceeded: cycle > self.threshold }
    }

    /// Forgets when the last pass began, because the time since was idle.
    pub fn resume(&mut self) {
        self.last = None;
    }
}

/// Lets through one pass in 16 microseconds: an agent that polls looks after what comes seldom, and
/// need not be answered at once, in these passes only. All others are short.
///
/// A short pass asks for no other one sooner than the last whole pass did. Hosts that sleep yield
/// for longer than that before they do, so that the last passes before a sleep are not all short.
#[derive(Clone, Debug)]
pub struct Pause {
    /// The last pass that was let through.
    whole: Option<Nanos>,
    last: Option<Nanos>,
    due: Nanos,
}

impl Default for Pause {
    fn default() -> Self {
        Self::new()
    }
}

/// Which span of 16,384 nanoseconds a time lies in.
const fn span_of(time: Nanos) -> i64 {
    time.0 >> 14
}

impl Pause {
    /// The first pass is let through.
    #[must_use]
    pub const fn new() -> Self {
        Self { whole: None, last: None, due: Nanos(0) }
    }

    /// Called once in each pass: whether this one is let through. So is one that comes when it was
    /// asked for, and the second of a moment: whoever steps agents by hand, or in simulated time,
    /// steps again as long as anything is done.
    pub fn is_over(&mut self, now: Now) -> bool {
        let now = now.mono;
        let is_again = self.last.replace(now) == Some(now);
        let is_within = self.whole.is_some_and(|whole| span_of(whole) == span_of(now));
        if is_within && !is_again && now < self.due {
            return false;
        }
        self.whole = Some(now);
        true
    }

    /// Takes down when the pass that was let through asks for the next one.
    pub fn noted(&mut self, work: Work) -> Work {
        self.due = work.next_deadline;
        work
    }

    /// What a short pass did, due again when the last whole one said.
    pub fn short(&self, work: Work) -> Work {
        work.due(self.due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pass_in_a_span_is_let_through_and_the_second_of_a_moment() {
        let mut pause = Pause::new();
        let mut at = |time, due| {
            let is_whole = pause.is_over(Now { mono: Nanos(time), ..Now::default() });
            let work = Work::NONE.due(Nanos(due));
            let work = if is_whole { pause.noted(work) } else { pause.short(Work::NONE) };
            (is_whole, work.next_deadline.0)
        };
        assert_eq!(at(5, 90_000), (true, 90_000));
        assert_eq!(at(6, 0), (false, 90_000));
        assert_eq!(at(6, 80_000), (true, 80_000));
        assert_eq!(at(16_383, 0), (false, 80_000));
        assert_eq!(at(16_384, 16_500), (true, 16_500));
        assert_eq!(at(16_499, 0), (false, 16_500));
        assert_eq!(at(16_500, 70_000), (true, 70_000));
        assert_eq!(at(40_000, 70_000), (true, 70_000));
    }

    #[test]
    fn only_cycles_over_the_threshold_are_stalls_and_idle_time_is_not_counted() {
        let mut tracker = StallTracker::new(Nanos(10));
        let at = |time| Now { mono: Nanos(time), ..Now::default() };
        assert_eq!(tracker.on_pass(at(0)), Stall::default());
        assert_eq!(tracker.on_pass(at(8)), Stall { new_longest: Some(Nanos(8)), exceeded: false });
        assert_eq!(tracker.on_pass(at(19)), Stall { new_longest: Some(Nanos(11)), exceeded: true });
        tracker.resume();
        assert_eq!(tracker.on_pass(at(1_000)), Stall::default());
    }
}
