//! Notices when a duty cycle stalls.

use wire::time::{Nanos, Now};

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

#[cfg(test)]
mod tests {
    use super::*;

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
