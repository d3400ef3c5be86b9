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
}
