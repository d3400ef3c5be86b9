//! Times as values. No clock is read here: a host hands [`Now`] to whatever it steps.

use core::ops::{Add, Sub};

/// A point on a monotonic clock, or a span of it, in nanoseconds.
///
/// Every time-out is measured with it. Its origin is arbitrary and differs between processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub i64);

impl Nanos {
    /// Later than any time that a clock can show.
    pub const MAX: Self = Self(i64::MAX);

    /// A span of whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds * 1_000_000_000)
    }

    /// A span of whole milliseconds.
    #[must_use]
    pub const fn from_millis(milliseconds: i64) -> Self {
        Self(milliseconds * 1_000_000)
    }

    /// A span of whole microseconds.
    #[must_use]
    pub const fn from_micros(microseconds: i64) -> Self {
        Self(microseconds * 1_000)
    }

    /// Whole milliseconds in this span, rounded down.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0 / 1_000_000
    }
}

impl Add for Nanos {
    type Output = Self;

    fn add(self, span: Self) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Sub for Nanos {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// Nanoseconds since 1970-01-01 UTC: for time stamps only, never for a time-out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EpochNanos(pub i64);

impl EpochNanos {
    /// Milliseconds since 1970-01-01 UTC, rounded down.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }
}

/// What the clocks showed when a pass over the agents began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The monotonic clock: for every time-out.
    pub mono: Nanos,
    /// The wall clock: for time stamps that others read.
    pub epoch: EpochNanos,
}

impl Now {
    /// The wall clock in milliseconds.
    #[must_use]
    pub const fn epoch_millis(self) -> i64 {
        self.epoch.as_millis()
    }
}
