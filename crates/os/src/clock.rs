//! The clocks of the host. Read by whatever steps agents, once per pass.

use std::mem::MaybeUninit;

use runtime::{EpochNanos, Nanos, Now};

/// What the clocks show.
#[must_use]
pub fn now() -> Now {
    Now { mono: Nanos(read(libc::CLOCK_MONOTONIC)), epoch: EpochNanos(read(libc::CLOCK_REALTIME)) }
}

/// What the monotonic clock shows: half the price of both.
#[must_use]
pub fn now_mono() -> Nanos {
    Nanos(read(libc::CLOCK_MONOTONIC))
}

/// Both clocks for a thread that reads them in every pass, at hardly more than the price of one:
/// how far they are apart is found out once in a millisecond.
#[derive(Debug, Default)]
pub struct PassClock {
    /// What the other clock is ahead of the monotonic one.
    ahead: i64,
    /// When that is found out next.
    due: Nanos,
}

impl PassClock {
    const INTERVAL: Nanos = Nanos::from_millis(1);
    /// Who needs longer from clock to clock was interrupted: the distance is not that one.
    const GLANCE: Nanos = Nanos::from_micros(5);

    /// What the clocks show; a step of the time of day is seen a millisecond late.
    #[must_use]
    pub fn now(&mut self) -> Now {
        let mono = now_mono();
        if mono >= self.due {
            let epoch = EpochNanos(read(libc::CLOCK_REALTIME));
            self.learn(mono, epoch, now_mono());
            return Now { mono, epoch };
        }
        Now { mono, epoch: EpochNanos(mono.0 + self.ahead) }
    }

    /// Keeps the distance of a time of day that was read between two others, if that went quickly.
    fn learn(&mut self, before: Nanos, epoch: EpochNanos, after: Nanos) {
        if after - before < Self::GLANCE {
            self.ahead = epoch.0 - before.0;
            self.due = before + Self::INTERVAL;
        }
    }
}

/// Nanoseconds of processor time that this process has used, all threads together.
#[must_use]
pub fn process_cpu() -> Nanos {
    Nanos(read(libc::CLOCK_PROCESS_CPUTIME_ID))
}

fn read(clock: libc::clockid_t) -> i64 {
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the pointer is valid for a write of a timespec.
    let result = unsafe { libc::clock_gettime(clock, time.as_mut_ptr()) };
    assert_eq!(result, 0, "clock {clock} cannot be read");
    // SAFETY: zeroed bytes are a timespec, and so is what the call wrote.
    let time = unsafe { time.assume_init() };
    #[allow(clippy::useless_conversion)] // Both are 64 bits wide here, but not on every target.
    let (seconds, nanos) = (i64::from(time.tv_sec), i64::from(time.tv_nsec));
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_never_goes_back_and_the_wall_clock_is_of_this_century() {
        let (one, two) = (now(), now());
        assert!(one.mono <= two.mono && two.mono <= now_mono());
        assert!(one.epoch_millis() > 1_700_000_000_000);
        assert!(process_cpu() > Nanos(0));
    }

    #[test]
    fn a_clock_of_passes_shows_what_both_show_and_finds_their_distance_again() {
        let mut clock = PassClock::default();
        let (before, first) = (now(), clock.now());
        let second = clock.now();
        assert!(before.mono <= first.mono && first.mono <= second.mono);
        assert!(second.mono <= now_mono());
        clock.ahead = 0;
        clock.due = Nanos::MAX;
        let now = clock.now();
        assert_eq!(now.epoch.0, now.mono.0, "not looked at again yet");
        clock.due = Nanos(0);
        assert!(clock.now().epoch_millis() > 1_700_000_000_000);
    }

    #[test]
    fn a_distance_that_was_read_with_an_interruption_is_not_kept() {
        let mut clock = PassClock::default();
        clock.learn(Nanos(100), EpochNanos(5_000_000), Nanos(5_100));
        assert_eq!((clock.ahead, clock.due), (0, Nanos(0)));
        clock.learn(Nanos(100), EpochNanos(5_000_000), Nanos(5_099));
        assert_eq!((clock.ahead, clock.due), (4_999_900, Nanos(100) + PassClock::INTERVAL));
    }
}
