//! How long a cluster whose troubles have ended is without a leader.
//!
//! Time counts from when all faults have ended and more than half of the members run and have
//! recovered: each has read its log and its snapshot, and its services have started from it. It
//! begins anew when fewer have, as a member may yet end of what ailed it before.

use consensus::ElectionState;
use runtime::Nanos;

use super::node::View;

/// From healing on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Healing {
    quorum: usize,
    /// When the last of the faults ends.
    began: Nanos,
    /// From when on the present time without a leader counts; none with a leader.
    since: Option<Nanos>,
    /// How long after the end of faults enough members had recovered.
    pub(super) recovered: Option<Nanos>,
    /// The longest time without a leader.
    pub(super) leaderless: Nanos,
}

impl Healing {
    pub(super) const fn new(quorum: usize, began: Nanos) -> Self {
        Self { quorum, began, since: Some(began), recovered: None, leaderless: Nanos(0) }
    }

    /// All members as they are now.
    pub(super) fn look(&mut self, views: impl Iterator<Item = View> + Clone, now: Nanos) {
        let recovered = views.clone().filter(|view| view.is_recovered).count();
        if now < self.began || recovered < self.quorum {
            self.since = Some(now);
            return;
        }
        self.recovered.get_or_insert(now - self.began);
        if self.is_led(views) {
            self.since = None;
            return;
        }
        let since = *self.since.get_or_insert(now);
        self.leaderless = self.leaderless.max(now - since);
    }

    /// Whether somebody leads in service whom more than half follow, itself included. Who leads of
    /// old and has not heard yet of its end does not.
    fn is_led(&self, views: impl Iterator<Item = View> + Clone) -> bool {
        let is_of = |view: &View, term| {
            view.term == term && view.election >= ElectionState::LeaderLogReplication
        };
        let mut leaders = views.clone().filter(|view| view.is_leading);
        leaders.any(|leader| {
            views.clone().filter(|view| is_of(view, leader.term)).count() >= self.quorum
        })
    }
}
