//! When which order is due.

use coracle::runtime::Nanos;

/// Spreads requests evenly over time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pacer {
    total: u64,
    rate: u64,
    started: Option<Nanos>,
}

impl Pacer {
    /// `total` requests, `rate` a second.
    pub(crate) const fn new(total: u64, rate: u64) -> Self {
        Self { total, rate, started: None }
    }

    /// How many there are.
    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    /// How long they take.
    pub(crate) const fn span(&self) -> Nanos {
        self.at(self.total)
    }

    /// The first is due an interval from now, and the last when the span is over.
    pub(crate) fn start(&mut self, now: Nanos) {
        self.started = Some(now);
    }

    /// How many are due by now.
    pub(crate) fn due(&self, now: Nanos) -> u64 {
        let Some(started) = self.started else { return 0 };
        let elapsed = u128::from((now - started).0.max(0).cast_unsigned());
        let due = elapsed * u128::from(self.rate) / 1_000_000_000;
        u64::try_from(due).unwrap_or(u64::MAX).min(self.total)
    }

    /// When the request of this index, from 0, is due.
    pub(crate) fn due_at(&self, index: u64) -> Nanos {
        self.started.unwrap_or(Nanos(0)) + self.at(index + 1)
    }

    #[allow(clippy::cast_possible_truncation)] // Spans of days fit, and more are not asked for.
    const fn at(&self, count: u64) -> Nanos {
        Nanos((count as u128 * 1_000_000_000 / self.rate as u128) as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_fall_due_one_by_one_once_started() {
        let mut pacer = Pacer::new(10, 4);
        assert_eq!((pacer.due(Nanos::from_secs(9)), pacer.span()), (0, Nanos::from_millis(2_500)));
        pacer.start(Nanos::from_secs(1));
        let due = |millis| pacer.due(Nanos::from_millis(millis));
        assert_eq!([due(900), due(1_249), due(1_250), due(1_500), due(60_000)], [0, 0, 1, 2, 10]);
        assert_eq!(pacer.due_at(0), Nanos::from_millis(1_250));
    }
}
