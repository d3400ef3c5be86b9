//! How long a receiver waits before it reports a gap.
//!
//! One receiver reports almost at once. In a group each waits a random time, so that mostly one
//! speaks (docs/udp.md, "Optimal multicast delay").

use runtime::Nanos;
use runtime::random::Rng;

/// Delays of one image.
#[derive(Clone, Debug)]
pub(crate) enum FeedbackDelay {
    /// The same each time.
    Constant { delay: Nanos, retry: Nanos },
    /// Drawn from a truncated exponential distribution.
    Optimal(OptimalDelay),
}

impl FeedbackDelay {
    /// Until the first report of a gap.
    pub(crate) fn first(&mut self) -> Nanos {
        match self {
            Self::Constant { delay, .. } => *delay,
            Self::Optimal(optimal) => optimal.draw(),
        }
    }

    /// Between reports of the same gap.
    pub(crate) fn retry(&mut self) -> Nanos {
        match self {
            Self::Constant { retry, .. } => *retry,
            Self::Optimal(optimal) => optimal.draw(),
        }
    }
}

/// Random delays for a group of a given size.
#[derive(Clone, Debug)]
pub(crate) struct OptimalDelay {
    rng: Rng,
    rand_max: f64,
    base: f64,
    constant: f64,
    factor: f64,
}

impl OptimalDelay {
    /// Delays of at most `backoff_max` for about `group_size` receivers.
    #[allow(clippy::cast_precision_loss)] // Nanoseconds of a short span.
    pub(crate) fn new(backoff_max: Nanos, group_size: u32, rng: Rng) -> Self {
        let lambda = f64::from(group_size.max(1)).ln() + 1.0;
        let span = backoff_max.0.max(1) as f64;
        let growth = lambda.exp() - 1.0;
        Self {
            rng,
            rand_max: lambda / span,
            base: lambda / (span * growth),
            constant: span / lambda,
            factor: growth * (span / lambda),
        }
    }

    #[allow(clippy::cast_possible_truncation)] // At most the backoff.
    fn draw(&mut self) -> Nanos {
        let x = self.rng.next_f64() * self.rand_max + self.base;
        Nanos((self.constant * (x * self.factor).ln()).max(0.0) as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn optimal_delays_stay_within_the_backoff_and_cluster_near_its_end() {
        let backoff = Nanos::from_millis(10);
        let mut optimal = OptimalDelay::new(backoff, 10, Rng::new(7, "delay"));
        let draws: Vec<Nanos> = (0..10_000).map(|_| optimal.draw()).collect();
        assert!(draws.iter().all(|&delay| Nanos(0) <= delay && delay <= backoff));
        let late = draws.iter().filter(|&&delay| delay.0 > backoff.0 / 2).count();
        assert!(7_000 < late && late < 9_500, "{late}");
    }

    #[test]
    fn constant_delays_tell_first_reports_from_repeated_ones() {
        let mut constant = FeedbackDelay::Constant { delay: Nanos(1), retry: Nanos(100) };
        assert_eq!((constant.first(), constant.retry()), (Nanos(1), Nanos(100)));
    }
}
