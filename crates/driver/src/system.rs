//! The driver's system counters: several agents add to them.

use memory::buffer::AtomicBuffer;
use runtime::Now;
use runtime::duty_cycle::StallTracker;
use wire::counters::{SystemCounter, VALUE_LENGTH, VALUE_OFFSET};

/// The values of the system counters, whose ids are 0 to 45.
#[derive(Clone)]
pub(crate) struct SystemCounters {
    values: AtomicBuffer,
}

impl SystemCounters {
    /// `values` are all counter values; its first records are the system counters.
    pub(crate) fn new(values: AtomicBuffer) -> Self {
        Self { values }
    }

    fn offset(counter: SystemCounter) -> usize {
        counter as usize * VALUE_LENGTH + VALUE_OFFSET
    }

    /// Adds one.
    pub(crate) fn increment(&self, counter: SystemCounter) {
        self.add(counter, 1);
    }

    /// Adds `delta`.
    pub(crate) fn add(&self, counter: SystemCounter, delta: i64) {
        self.values.fetch_add_i64(Self::offset(counter), delta);
    }

    /// Stores a value that a single agent writes.
    pub(crate) fn set(&self, counter: SystemCounter, value: i64) {
        self.values.store_i64_release(Self::offset(counter), value);
    }
}

/// Notes how long a cycle took. Time slept after an idle pass is not part of a cycle.
pub(crate) fn record_stall(
    tracker: &mut StallTracker,
    system: &SystemCounters,
    (longest, exceeded): (SystemCounter, SystemCounter),
    was_idle: bool,
    now: Now,
) {
    if was_idle {
        tracker.resume();
    }
    let stall = tracker.on_pass(now);
    if let Some(cycle) = stall.new_longest {
        system.set(longest, cycle.0);
    }
    if stall.exceeded {
        system.increment(exceeded);
    }
}
