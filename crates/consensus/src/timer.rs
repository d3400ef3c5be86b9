//! Timers of services: kept by every member, fired by the leader only (cluster spec 5.5).
//!
//! A timer is its correlation id. Timers fire in the order of deadline, then id.
//!
//! What services ask for and what the log says come on different ways: an event may be read long
//! before the own service has come to where it asked for the timer, and a leader may fire one that
//! its service has cancelled or moved. All members come to the same by one rule: **an event settles
//! what its id was set to, if that was asked for before it in the log and was due by its time**.
//! Services of ours say where in the log they stood. Of others that is not known: only an event
//! that found no timer settles what is asked for later.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};

use wire::position::Position;

use crate::id::CorrelationId;

/// So many events are remembered. A service that is further behind, in a member that catches up,
/// may leave timers that have fired, and the next leader fires them again.
const EVENTS_MAX: usize = 1 << 17;

/// The timers of all services of this member. Deadlines are in units of the cluster's time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timers {
    deadlines: BTreeMap<CorrelationId, i64>,
    order: BTreeSet<(i64, CorrelationId)>,
    /// Events of the log that services may not have come to.
    events: BTreeMap<(CorrelationId, Position), Event>,
    /// The same by position.
    positions: VecDeque<(Position, CorrelationId)>,
    /// Appended by this leader, not yet committed; with their deadlines.
    uncommitted: VecDeque<(Position, CorrelationId, i64)>,
}

/// An event of the log.
#[derive(Clone, Copy, Debug)]
struct Event {
    /// When it was fired.
    time: i64,
    /// Whether no timer was there that was due.
    is_unmatched: bool,
}

impl Timers {
    /// A service schedules, or moves, a timer. One that the log has fired stays fired.
    pub(crate) fn schedule(
        &mut self,
        id: CorrelationId,
        deadline: i64,
        asked_at: Option<Position>,
    ) {
        if !self.is_settled(id, deadline, asked_at) {
            return self.insert(id, deadline);
        }
        self.remove(id);
        // If its event is rolled back this is what the timer was set to.
        if let Some(fired) = self.uncommitted.iter_mut().rev().find(|(_, of, _)| *of == id) {
            fired.2 = deadline;
        }
    }

    fn is_settled(&mut self, id: CorrelationId, deadline: i64, asked_at: Option<Position>) -> bool {
        let from = asked_at.map_or(i64::MIN, |position| position.0.saturating_add(1));
        let mut events = self.events.range_mut((id, Position(from))..=(id, Position(i64::MAX)));
        let counts = |event: &Event| asked_at.is_some() || event.is_unmatched;
        if events.any(|(_, event)| counts(event) && deadline <= event.time) {
            return true;
        }
        if asked_at.is_none() {
            // Who asks for more than all of them settle has read them.
            let events = self.events.range_mut((id, Position(i64::MIN))..=(id, Position(i64::MAX)));
            events.for_each(|(_, event)| event.is_unmatched = false);
        }
        false
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

    /// The leader appended the event of `id`, fired at `time`.
    pub(crate) fn appended(&mut self, id: CorrelationId, position: Position, time: i64) {
        let deadline = self.deadlines.get(&id).copied().unwrap_or_default();
        self.remove(id);
        self.uncommitted.push_back((position, id, deadline));
        self.remember(id, position, Event { time, is_unmatched: false });
    }

    /// A follower read the event of `id` in the log, fired at `time`.
    pub(crate) fn on_event(&mut self, id: CorrelationId, position: Position, time: i64) {
        let deadline = self.deadlines.get(&id).copied();
        if deadline.is_some_and(|deadline| deadline <= time) {
            self.remove(id);
        }
        self.remember(id, position, Event { time, is_unmatched: deadline.is_none() });
    }

    fn remember(&mut self, id: CorrelationId, position: Position, event: Event) {
        if self.positions.len() == EVENTS_MAX
            && let Some((position, id)) = self.positions.pop_front()
        {
            self.events.remove(&(id, position));
        }
        self.positions.push_back((position, id));
        self.events.insert((id, position), event);
    }

    /// All services have come to where the log stands: nothing that was asked for before is on its
    /// way.
    pub(crate) fn on_snapshot(&mut self) {
        self.events.clear();
        self.positions.clear();
    }

    pub(crate) fn committed(&mut self, position: Position) {
        while self.uncommitted.front().is_some_and(|&(appended, ..)| appended <= position) {
            self.uncommitted.pop_front();
        }
    }

    /// Leadership was lost at `position`: events beyond it are none, and fire again as soon as
    /// somebody leads. Their timers are what they were, as those of all others are: snapshots are
    /// equal.
    pub(crate) fn roll_back(&mut self, position: Position) {
        while let Some(&(beyond, id)) = self.positions.back().filter(|(at, _)| *at > position) {
            self.positions.pop_back();
            self.events.remove(&(id, beyond));
        }
        for (appended, id, deadline) in core::mem::take(&mut self.uncommitted).into_iter().rev() {
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
        timers.schedule(B, 10, None);
        timers.schedule(A, 10, None);
        timers.schedule(CorrelationId(3), 5, None);
        let mut fired = Vec::new();
        assert_eq!(timers.due(4), None);
        while let Some(id) = timers.due(10) {
            timers.appended(id, Position(fired.len() as i64), 10);
            fired.push(id.0);
        }
        assert_eq!(fired, [3, 1, 2]);
    }

    #[test]
    fn a_timer_fired_by_the_log_before_it_was_scheduled_is_not_scheduled_again() {
        let mut timers = Timers::default();
        timers.on_event(A, Position(64), 12);
        timers.on_event(A, Position(96), 20);
        for deadline in [10, 15, 20] {
            timers.schedule(A, deadline, None);
            assert_eq!(timers.due(i64::MAX), None);
        }
        timers.schedule(A, 21, None);
        assert_eq!(timers.due(21), Some(A));
        timers.schedule(A, 19, None);
        assert_eq!(timers.due(19), Some(A), "moved by who has read all events");
    }

    /// The leader fired it before it heard of that.
    #[test]
    fn the_event_of_a_timer_that_was_cancelled_takes_no_later_one_with_it() {
        let mut timers = Timers::default();
        timers.schedule(A, 10, None);
        timers.cancel(A);
        timers.on_event(A, Position(64), 12);
        timers.schedule(A, 20, None);
        assert_eq!(timers.due(20), Some(A));
    }

    #[test]
    fn the_event_of_a_timer_that_was_moved_since_leaves_it_where_it_is() {
        let mut timers = Timers::default();
        timers.schedule(A, 10, None);
        timers.schedule(A, 30, None);
        timers.on_event(A, Position(64), 12);
        assert_eq!(timers.due(30), Some(A));
    }

    #[test]
    fn an_event_settles_what_was_asked_for_before_it_and_nothing_after() {
        let mut timers = Timers::default();
        timers.schedule(A, 10, Some(Position(32)));
        timers.on_event(A, Position(128), 20);
        assert_eq!(timers.due(i64::MAX), None);
        timers.schedule(A, 15, Some(Position(64)));
        assert_eq!(timers.due(i64::MAX), None, "moved before it fired, heard of behind");
        timers.schedule(A, 25, Some(Position(96)));
        assert_eq!(timers.due(25), Some(A), "moved to a time that had not come");
        timers.schedule(A, 18, Some(Position(96)));
        assert_eq!(timers.due(i64::MAX), None);
        timers.schedule(A, 20, Some(Position(128)));
        assert_eq!(timers.due(20), Some(A), "asked for in answer to the event");
    }

    #[test]
    fn a_leader_that_fires_what_was_moved_agrees_with_all_others() {
        let mut timers = Timers::default();
        timers.schedule(A, 10, Some(Position(32)));
        timers.appended(A, Position(128), 20);
        timers.schedule(A, 15, Some(Position(64)));
        assert_eq!(timers.due(i64::MAX), None);
        timers.roll_back(Position(96));
        assert_eq!(timers.iter().collect::<Vec<_>>(), [(A, 15)]);
        timers.schedule(A, 16, Some(Position(64)));
        assert_eq!(timers.due(16), Some(A), "the event is none");
    }

    #[test]
    fn of_two_events_that_are_rolled_back_the_later_tells_the_deadline() {
        let mut timers = Timers::default();
        timers.schedule(A, 10, Some(Position(32)));
        timers.appended(A, Position(128), 12);
        timers.schedule(A, 20, Some(Position(64)));
        timers.appended(A, Position(192), 20);
        timers.roll_back(Position(96));
        assert_eq!(timers.iter().collect::<Vec<_>>(), [(A, 20)]);
    }

    #[test]
    fn events_are_forgotten_with_a_snapshot_and_the_oldest_of_very_many() {
        let mut timers = Timers::default();
        timers.on_event(A, Position(32), 12);
        timers.on_snapshot();
        timers.schedule(A, 10, Some(Position(0)));
        assert_eq!(timers.due(10), Some(A));
        for event in 0..=EVENTS_MAX as i64 {
            timers.on_event(CorrelationId(event), Position(64 + event * 32), 12);
        }
        assert_eq!(timers.events.len(), EVENTS_MAX);
        timers.schedule(CorrelationId(0), 10, Some(Position(0)));
        timers.schedule(CorrelationId(1), 10, Some(Position(0)));
        assert_eq!(timers.iter().map(|(id, _)| id).collect::<Vec<_>>(), [CorrelationId(0)]);
    }

    #[test]
    fn an_uncommitted_timer_event_fires_again_after_leadership_is_lost() {
        let mut timers = Timers::default();
        timers.schedule(A, 10, None);
        timers.schedule(B, 10, None);
        timers.appended(A, Position(64), 10);
        timers.appended(B, Position(96), 10);
        timers.committed(Position(64));
        timers.roll_back(Position(64));
        assert_eq!(timers.due(10), Some(B));
        assert_eq!(timers.iter().collect::<Vec<_>>(), [(B, 10)], "as all others have it");
    }

    #[test]
    fn a_timer_cancelled_while_its_event_was_uncommitted_does_not_come_back() {
        let mut timers = Timers::default();
        timers.schedule(A, 10, None);
        timers.schedule(B, 10, None);
        timers.appended(A, Position(64), 10);
        timers.appended(B, Position(96), 10);
        timers.cancel(A);
        timers.roll_back(Position(0));
        assert_eq!(timers.iter().collect::<Vec<_>>(), [(B, 10)], "as all others have it");
    }
}
