//! Timers of services: kept by every member, fired by the leader only (cluster spec 5.5).
//!
//! A timer is its correlation id. Timers fire in the order of deadline, then id.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};

use wire::position::Position;

use crate::id::CorrelationId;

/// The timers of all services of this member. Deadlines are in units of the cluster's time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timers {
    deadlines: BTreeMap<CorrelationId, i64>,
    order: BTreeSet<(i64, CorrelationId)>,
    /// Timer events read from the log before our own service scheduled the timer.
    fired_early: BTreeMap<CorrelationId, u32>,
    /// Appended by this leader, not yet committed; with their deadlines.
    uncommitted: VecDeque<(Position, CorrelationId, i64)>,
}

impl Timers {
    /// A service schedules, or moves, a timer. A timer that the log already fired stays fired.
    pub(crate) fn schedule(&mut self, id: CorrelationId, deadline: i64) {
        if let Some(count) = self.fired_early.get_mut(&id) {
            *count -= 1;
            if *count == 0 {
                self.fired_early.remove(&id);
            }
            return;
        }
        self.insert(id, deadline);
    }

    pub(crate) fn insert(&mut self, id: CorrelationId, deadline: i64) {
        self.remove(id);
        self.deadlines.insert(id, deadline);
        self.order.insert((deadline, id));
    }

    /// A service cancels a timer. One whose event this leader has appended must not come back if
    /// that event is rolled back: the others have cancelled it as well.
    pub(crate) fn cancel(&mut self, id: CorrelationId) {
        self.uncommitted.retain(|&(_, appended, _)| appended != id);
        self.remove(id);
    }

    fn remove(&mut self, id: CorrelationId) {
        if let Some(deadline) = self.deadlines.remove(&id) {
            self.order.remove(&(deadline, id));
        }
    }

    /// The next timer due at `time`.
    pub(crate) fn due(&self, time: i64) -> Option<CorrelationId> {
        self.order.first().filter(|(deadline, _)| *deadline <= time).map(|&(_, id)| id)
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<i64> {
        self.order.first().map(|&(deadline, _)| deadline)
    }

    /// The leader appended the event of `id`.
    pub(crate) fn appended(&mut self, id: CorrelationId, position: Position) {
        let deadline = self.deadlines.get(&id).copied().unwrap_or_default();
        self.remove(id);
        self.uncommitted.push_back((position, id, deadline));
    }

    /// A follower read the event of `id` in the log.
    pub(crate) fn on_event(&mut self, id: CorrelationId) {
        if self.deadlines.contains_key(&id) {
            self.remove(id);
        } else {
            *self.fired_early.entry(id).or_insert(0) += 1;
        }
    }

    pub(crate) fn committed(&mut self, position: Position) {
        while self.uncommitted.front().is_some_and(|&(appended, ..)| appended <= position) {
            self.uncommitted.pop_front();
        }
    }

    /// Leadership was lost at `position`: events beyond it fire again as soon as somebody leads.
    /// Their timers are what they were, as those of all others: snapshots are equal.
    pub(crate) fn roll_back(&mut self, position: Position) {
        for (appended, id, deadline) in core::mem::take(&mut self.uncommitted) {
            if appended > position && !self.deadlines.contains_key(&id) {
                self.insert(id, deadline);
            }
        }
    }

    /// All timers by id: what a snapshot holds.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (CorrelationId, i64)> + '_ {
        self.deadlines.iter().map(|(&id, &deadline)| (id, deadline))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    const A: CorrelationId = CorrelationId(1);
    const B: CorrelationId = CorrelationId(2);

    #[test]
    fn timers_fire_by_deadline_then_id_and_never_early() {
        let mut timers = Timers::default();
        timers.schedule(B, 10);
        timers.schedule(A, 10);
        timers.schedule(CorrelationId(3), 5);
        let mut fired = Vec::new();
        assert_eq!(timers.due(4), None);
        while let Some(id) = timers.due(10) {
            timers.appended(id, Position(fired.len() as i64));
            fired.push(id.0);
        }
        assert_eq!(fired, [3, 1, 2]);
    }

    #[test]
    fn a_timer_fired_by_the_log_before_it_was_scheduled_is_not_scheduled_again() {
        let mut timers = Timers::default();
        timers.on_event(A);
        timers.schedule(A, 10);
        assert_eq!(timers.due(i64::MAX), None);
        timers.schedule(A, 20);
        assert_eq!(timers.due(20), Some(A));
    }

    #[test]
    fn an_uncommitted_timer_event_fires_again_after_leadership_is_lost() {
        let mut timers = Timers::default();
        timers.schedule(A, 10);
        timers.schedule(B, 10);
        timers.appended(A, Position(64));
        timers.appended(B, Position(96));
        timers.committed(Position(64));
        timers.roll_back(Position(64));
        assert_eq!(timers.due(10), Some(B));
        assert_eq!(timers.iter().collect::<Vec<_>>(), [(B, 10)], "as all others have it");
    }

    #[test]
    fn a_timer_cancelled_while_its_event_was_uncommitted_does_not_come_back() {
        let mut timers = Timers::default();
        timers.schedule(A, 10);
        timers.schedule(B, 10);
        timers.appended(A, Position(64));
        timers.appended(B, Position(96));
        timers.cancel(A);
        timers.roll_back(Position(0));
        assert_eq!(timers.iter().collect::<Vec<_>>(), [(B, 10)], "as all others have it");
    }
}
