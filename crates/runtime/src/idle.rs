//! What to do after a pass in which nothing was done: decided here, performed by the host.

use wire::time::Nanos;

use crate::config::Setting;

/// A pass shorter than this did little: there is no batch to go on with.
const SHORT_PASS: Nanos = Nanos::from_micros(10);

/// How a thread idles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdleStrategy {
    /// Burn the core: lowest latency, needs a core of its own.
    Spin,
    /// Give the core to others that are ready.
    Yield,
    /// The same, and after a short pass that did something too: on few cores those for whom it was
    /// done run at once, not after one more pass in vain. See [`IdleStrategy::giving_way`].
    GiveWay,
    /// Spin, then yield, then park for ever longer spans.
    Backoff {
        /// Passes to spin.
        spins: u32,
        /// Passes to yield after that.
        yields: u32,
        /// First span to park.
        park_min: Nanos,
        /// Longest span to park.
        park_max: Nanos,
    },
    /// Sleep until a socket is readable, a deadline is reached or this span has passed.
    Wait {
        /// Passes to yield before sleeping.
        yields: u32,
        /// Longest span to sleep: what comes through shared memory alone is seen this late.
        span_max: Nanos,
    },
}

impl IdleStrategy {
    /// Genuine Aeron's default: 10 spins, 20 yields, parking from 1 us doubling to 1 ms.
    pub const BACKOFF: Self = Self::Backoff {
        spins: 10,
        yields: 20,
        park_min: Nanos::from_micros(1),
        park_max: Nanos::from_millis(1),
    };

    /// For machines that are shared or run on batteries: near zero load at rest.
    pub const WAIT: Self = Self::Wait { yields: 50, span_max: Nanos::from_millis(1) };

    /// For threads whose work is always for others, such as those of a driver: who yields gives
    /// way. Not for a thread that has the next step of the same work in its next pass.
    #[must_use]
    pub fn giving_way(self) -> Self {
        if self == Self::Yield { Self::GiveWay } else { self }
    }

    /// Sleep for this span after each pass without work.
    #[must_use]
    pub const fn sleep(span: Nanos) -> Self {
        Self::Backoff { spins: 0, yields: 0, park_min: span, park_max: span }
    }
}

/// The words of options: genuine Aeron's, with its class names, and `wait`.
const WORDS: [(&str, &str, IdleStrategy); 6] = [
    ("wait", "", IdleStrategy::WAIT),
    ("backoff", "org.agrona.concurrent.BackoffIdleStrategy", IdleStrategy::BACKOFF),
    ("yield", "org.agrona.concurrent.YieldingIdleStrategy", IdleStrategy::Yield),
    ("spin", "org.agrona.concurrent.BusySpinIdleStrategy", IdleStrategy::Spin),
    (
        "sleep-ns",
        "org.agrona.concurrent.SleepingIdleStrategy",
        IdleStrategy::sleep(Nanos::from_micros(1)),
    ),
    (
        "sleep-ms",
        "org.agrona.concurrent.SleepingMillisIdleStrategy",
        IdleStrategy::sleep(Nanos::from_millis(1)),
    ),
];

/// One of a few words. What no word stands for is shown as the nearest that one does.
impl Setting for IdleStrategy {
    fn parse(text: &str) -> Result<Self, String> {
        if matches!(text, "noop" | "org.agrona.concurrent.NoOpIdleStrategy") {
            return Ok(Self::Spin);
        }
        let mut words = WORDS.iter().filter(|_| !text.is_empty());
        let found = words.find(|(word, class, _)| *word == text || *class == text);
        found.map(|(.., strategy)| *strategy).ok_or_else(|| {
            "expected wait, backoff, yield, spin, noop, sleep-ns or sleep-ms".to_string()
        })
    }

    fn show(&self) -> String {
        if *self == Self::GiveWay {
            return Self::Yield.show();
        }
        let known = WORDS.iter().find(|(.., strategy)| strategy == self);
        let word = known.map_or_else(
            || if matches!(self, Self::Wait { .. }) { "wait" } else { "backoff" },
            |(word, ..)| word,
        );
        word.to_string()
    }
}

/// What the host does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdleAction {
    /// Go on at once.
    Continue,
    /// Tell the core that this is a spin loop.
    Spin,
    /// Yield to other threads.
    Yield,
    /// Sleep for this span.
    Park(Nanos),
    /// Wait on the sockets for at most this span.
    Wait(Nanos),
}

/// Follows one thread's passes and says what to do between them.
#[derive(Clone, Debug)]
pub struct Idle {
    strategy: IdleStrategy,
    idle_passes: u32,
}

impl Idle {
    /// Starts with a fresh count.
    #[must_use]
    pub const fn new(strategy: IdleStrategy) -> Self {
        Self { strategy, idle_passes: 0 }
    }

    /// Whether to yield after a pass that did something, as the time tells that it took.
    pub fn gives_way(&self, took: impl FnOnce() -> Nanos) -> bool {
        self.strategy == IdleStrategy::GiveWay && took() < SHORT_PASS
    }

    /// Takes what the last pass did and how long until the next deadline; returns what to do.
    pub fn after(&mut self, done: usize, until_deadline: Nanos) -> IdleAction {
        if done > 0 {
            self.idle_passes = 0;
            return IdleAction::Continue;
        }
        let passes = self.idle_passes;
        self.idle_passes = passes.saturating_add(1);
        match self.strategy {
            IdleStrategy::Spin => IdleAction::Spin,
            IdleStrategy::Yield | IdleStrategy::GiveWay => IdleAction::Yield,
            IdleStrategy::Backoff { spins, yields, park_min, park_max } => {
                let parks = passes.saturating_sub(spins.saturating_add(yields));
                if passes < spins {
                    IdleAction::Spin
                } else if parks == 0 && passes < spins.saturating_add(yields) {
                    IdleAction::Yield
                } else {
                    let span = Nanos(park_min.0.saturating_mul(1 << parks.min(30)));
                    IdleAction::Park(span.min(park_max).min(until_deadline))
                }
            }
            IdleStrategy::Wait { yields, span_max } => {
                if passes < yields {
                    IdleAction::Yield
                } else {
                    IdleAction::Wait(span_max.min(until_deadline))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_spins_yields_then_parks_twice_as_long_each_time_until_work_comes() {
        let mut idle = Idle::new(IdleStrategy::Backoff {
            spins: 1,
            yields: 1,
            park_min: Nanos(10),
            park_max: Nanos(30),
        });
        let mut next = |done| idle.after(done, Nanos::MAX);
        let seen = [next(0), next(0), next(0), next(0), next(0), next(1), next(0)];
        assert_eq!(
            seen,
            [
                IdleAction::Spin,
                IdleAction::Yield,
                IdleAction::Park(Nanos(10)),
                IdleAction::Park(Nanos(20)),
                IdleAction::Park(Nanos(30)),
                IdleAction::Continue,
                IdleAction::Spin,
            ]
        );
    }

    #[test]
    fn strategies_have_words_and_the_class_names_of_genuine_aeron() {
        for (word, class, strategy) in WORDS {
            assert_eq!(IdleStrategy::parse(word), Ok(strategy));
            assert_eq!(strategy.show(), word);
            assert!(class.is_empty() || IdleStrategy::parse(class) == Ok(strategy));
        }
        assert_eq!(IdleStrategy::parse("noop"), Ok(IdleStrategy::Spin));
        assert!(IdleStrategy::parse("").is_err() && IdleStrategy::parse("controllable").is_err());
        let own = IdleStrategy::Wait { yields: 1, span_max: Nanos(1) };
        assert_eq!(
            (own.show(), IdleStrategy::sleep(Nanos(7)).show()),
            ("wait".into(), "backoff".into())
        );
    }

    #[test]
    fn way_is_given_after_short_passes_only_and_by_those_who_yield() {
        let is_given = |strategy: IdleStrategy, took| {
            Idle::new(strategy.giving_way()).gives_way(|| Nanos::from_micros(took))
        };
        assert!(is_given(IdleStrategy::Yield, 9) && !is_given(IdleStrategy::Yield, 10));
        assert!(!is_given(IdleStrategy::Spin, 0) && !is_given(IdleStrategy::WAIT, 0));
        let mut idle = Idle::new(IdleStrategy::GiveWay);
        assert_eq!(idle.after(0, Nanos::MAX), IdleAction::Yield);
        assert_eq!(IdleStrategy::GiveWay.show(), "yield");
    }

    #[test]
    fn waiting_ends_at_the_next_deadline() {
        let mut idle = Idle::new(IdleStrategy::Wait { yields: 0, span_max: Nanos(100) });
        assert_eq!(idle.after(0, Nanos(40)), IdleAction::Wait(Nanos(40)));
        assert_eq!(idle.after(0, Nanos::MAX), IdleAction::Wait(Nanos(100)));
    }
}
