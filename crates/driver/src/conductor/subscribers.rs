//! Subscriber positions on one log: who holds it back, who may be left behind.

use memory::counters::CounterReader;
use runtime::Nanos;

use super::untethered::{Change, Phase, UntetheredTimeouts};

/// One subscriber of a publication or an image.
pub(crate) struct Subscriber {
    /// The subscription's registration id.
    pub(crate) subscription: i64,
    /// Written by the client.
    pub(crate) position: CounterReader,
    /// `None` for one that is tethered.
    pub(crate) untethered: Option<Untethered>,
}

/// How a subscriber that is not tethered is treated.
pub(crate) struct Untethered {
    pub(crate) phase: Phase,
    pub(crate) rejoins: bool,
    pub(crate) timeouts: UntetheredTimeouts,
}

impl Subscriber {
    /// Whether it counts for flow control.
    pub(crate) fn counts(&self) -> bool {
        self.untethered.as_ref().is_none_or(|untethered| untethered.phase.counts())
    }
}

/// The subscribers of one log.
#[derive(Default)]
pub(crate) struct Subscribers {
    list: Vec<Subscriber>,
}

impl Subscribers {
    pub(crate) fn add(&mut self, subscriber: Subscriber) {
        self.list.push(subscriber);
    }

    /// Takes one out; the caller frees its counter.
    pub(crate) fn remove(&mut self, subscription: i64) -> Option<Subscriber> {
        let index = self.list.iter().position(|known| known.subscription == subscription)?;
        Some(self.list.remove(index))
    }

    pub(crate) fn take_all(&mut self) -> Vec<Subscriber> {
        std::mem::take(&mut self.list)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn has(&self, subscription: i64) -> bool {
        self.list.iter().any(|known| known.subscription == subscription)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Subscriber> {
        self.list.iter()
    }

    /// Positions of those that count. Clients write them: none is believed beyond `ceiling`.
    fn positions(&self, ceiling: i64) -> impl Iterator<Item = i64> {
        let believed = move |known: &Subscriber| known.position.get().clamp(0, ceiling.max(0));
        self.list.iter().filter(|known| known.counts()).map(believed)
    }

    /// Whether any counts for flow control.
    pub(crate) fn any_counts(&self) -> bool {
        self.list.iter().any(Subscriber::counts)
    }

    /// The slowest and the furthest of those that count, none further than `ceiling`.
    pub(crate) fn bounds(&self, ceiling: i64) -> Option<(i64, i64)> {
        self.positions(ceiling).fold(None, |bounds, position| match bounds {
            None => Some((position, position)),
            Some((low, high)) => Some((position.min(low), position.max(high))),
        })
    }

    /// A timer pass over those that are not tethered. Pushes what has to be done.
    pub(crate) fn on_timer(&mut self, limit: i64, now: Nanos, mut on: impl FnMut(i64, Change)) {
        for known in &mut self.list {
            let Some(untethered) = &mut known.untethered else { continue };
            let is_near = known.position.get() > limit;
            let change =
                untethered.phase.on_timer(is_near, untethered.rejoins, &untethered.timeouts, now);
            if change != Change::None {
                on(known.subscription, change);
            }
        }
    }
}
