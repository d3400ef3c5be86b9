//! Subscribers that may be left behind.
//!
//! ```text
//!            behind for the window limit            linger over, rejoin
//!   Active ------------------------------> Linger ---------------------> Resting --+
//!     ^                                       | linger over, no rejoin             |
//!     |                                       v                                    |
//!     |                                     (gone)                                 |
//!     +----------------------------- resting over ---------------------------------+
//! ```
//! In `Linger` the position still counts for flow control; in `Resting` it does not.

use runtime::Nanos;

/// How long each phase lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UntetheredTimeouts {
    pub(crate) window_limit: Nanos,
    pub(crate) linger: Nanos,
    pub(crate) resting: Nanos,
}

/// Where an untethered subscriber stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Active { last_near: Nanos },
    Linger { since: Nanos },
    Resting { since: Nanos },
}

/// What the conductor has to do for a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    /// Tell the client that the image went; the position still counts.
    Unavailable,
    /// Count the position no more, keep it for later.
    Rest,
    /// Count the position no more and free it.
    Drop,
    /// Count the position again from the join position and tell the client.
    Rejoin,
}

impl Phase {
    /// Whether the position counts for flow control.
    pub(crate) const fn counts(&self) -> bool {
        !matches!(self, Self::Resting { .. })
    }

    /// A timer pass. `is_near` says that the position is above the window limit.
    pub(crate) fn on_timer(
        &mut self,
        is_near: bool,
        rejoins: bool,
        timeouts: &UntetheredTimeouts,
        now: Nanos,
    ) -> Change {
        match *self {
            Self::Active { .. } if is_near => {
                *self = Self::Active { last_near: now };
                Change::None
            }
            Self::Active { last_near } if last_near + timeouts.window_limit <= now => {
                *self = Self::Linger { since: now };
                Change::Unavailable
            }
            Self::Linger { since } if since + timeouts.linger <= now => {
                *self = Self::Resting { since: now };
                if rejoins { Change::Rest } else { Change::Drop }
            }
            Self::Resting { since } if since + timeouts.resting <= now => {
                *self = Self::Active { last_near: now };
                Change::Rejoin
            }
            _ => Change::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUTS: UntetheredTimeouts =
        UntetheredTimeouts { window_limit: Nanos(5), linger: Nanos(3), resting: Nanos(10) };

    #[test]
    fn one_that_falls_behind_goes_lingers_rests_and_comes_back() {
        let mut phase = Phase::Active { last_near: Nanos(0) };
        let changes: Vec<_> = (1..=20)
            .map(|time| phase.on_timer(time <= 2, true, &TIMEOUTS, Nanos(time)))
            .enumerate()
            .filter(|(_, change)| *change != Change::None)
            .map(|(index, change)| (index + 1, change))
            .collect();
        assert_eq!(changes, [(7, Change::Unavailable), (10, Change::Rest), (20, Change::Rejoin)]);
    }

    #[test]
    fn one_that_does_not_rejoin_is_dropped() {
        let mut phase = Phase::Linger { since: Nanos(0) };
        assert!(phase.counts());
        assert_eq!(phase.on_timer(false, false, &TIMEOUTS, Nanos(2)), Change::None);
        assert_eq!(phase.on_timer(false, false, &TIMEOUTS, Nanos(3)), Change::Drop);
        assert!(!phase.counts());
    }

    #[test]
    fn one_that_keeps_up_stays() {
        let mut phase = Phase::Active { last_near: Nanos(0) };
        for time in 1..100 {
            assert_eq!(phase.on_timer(true, true, &TIMEOUTS, Nanos(time)), Change::None);
        }
    }
}
