//! The clocks of one host.

use runtime::{EpochNanos, Nanos, Now};

/// Both clocks of a host, as they follow from the world's time. They may run fast or slow and stand
/// still for a while; the monotonic one never goes back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// From when on, in the world's time, what follows holds. May lie ahead: until then both stand.
    base: Nanos,
    mono: Nanos,
    epoch: i64,
    /// How much faster than the world, in parts per million.
    drift: i64,
}

const MILLION: i128 = 1_000_000;

impl Clock {
    /// Clocks that show these when the world begins.
    pub(crate) fn new(mono: Nanos, epoch: i64) -> Self {
        Self { base: Nanos(0), mono, epoch, drift: 0 }
    }

    /// What they show.
    pub(crate) fn now(&self, world: Nanos) -> Now {
        let elapsed = i128::from((world - self.base).0.max(0));
        let elapsed = elapsed + elapsed * i128::from(self.drift) / MILLION;
        let elapsed = Nanos(i64::try_from(elapsed).unwrap_or(i64::MAX));
        Now { mono: self.mono + elapsed, epoch: EpochNanos(self.epoch.saturating_add(elapsed.0)) }
    }

    /// When, in the world's time, the monotonic clock shows `mono`.
    pub(crate) fn world(&self, mono: Nanos) -> Nanos {
        let span = (mono - self.mono).0;
        if span <= 0 || self.drift == 0 {
            return self.base + Nanos(span);
        }
        let rate = MILLION + i128::from(self.drift);
        let world = (i128::from(span) * MILLION + rate - 1) / rate;
        self.base + Nanos(i64::try_from(world).unwrap_or(i64::MAX))
    }

    /// The wall clock is set forward, or back.
    pub(crate) fn shift_wall(&mut self, span: Nanos) {
        self.epoch = self.epoch.saturating_add(span.0);
    }

    /// Both run that much faster, in parts per million, from now on.
    pub(crate) fn set_drift(&mut self, world: Nanos, parts: i32) {
        self.rebase(world);
        self.drift = i64::from(parts);
    }

    /// Both stand still for `span`.
    pub(crate) fn freeze(&mut self, world: Nanos, span: Nanos) {
        self.rebase(world);
        self.base = self.base.max(world + span);
    }

    fn rebase(&mut self, world: Nanos) {
        let Now { mono, epoch } = self.now(world);
        (self.base, self.mono, self.epoch) = (self.base.max(world), mono, epoch.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn a_clock_that_drifts_reaches_its_deadlines_then() {
        let mut clock = Clock::new(Nanos(500), 0);
        assert_eq!(clock.world(Nanos(700)), Nanos(200));
        clock.set_drift(Nanos(100), 500);
        for mono in [700, SECOND, 17 * SECOND + 3] {
            let world = clock.world(Nanos(mono));
            assert!(clock.now(world).mono.0 >= mono);
            assert!(clock.now(world - Nanos(2)).mono.0 < mono);
        }
        assert_eq!(clock.now(Nanos(100 + 1_000_000)).mono, Nanos(600 + 1_000_500));
    }

    #[test]
    fn a_frozen_clock_goes_on_from_where_it_stood() {
        let mut clock = Clock::new(Nanos(5), 7);
        clock.freeze(Nanos(10), Nanos(100));
        assert_eq!(clock.now(Nanos(60)).mono, Nanos(15));
        clock.set_drift(Nanos(70), -100);
        clock.shift_wall(Nanos(-3));
        let now = clock.now(Nanos(111));
        assert_eq!((now.mono, now.epoch), (Nanos(16), EpochNanos(15)));
    }
}
