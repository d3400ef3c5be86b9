//! The slowest receiver sets the pace; with a tag, the slowest of those that carry it.

use runtime::Nanos;

use super::Status;

#[derive(Debug)]
struct Receiver {
    id: i64,
    position: i64,
    limit: i64,
    last_status: Nanos,
    is_end_of_stream: bool,
}

/// Keeps the limit from running away while a receiver that asked for a setup joins.
#[derive(Clone, Copy, Debug)]
struct Hold {
    since: Nanos,
    limit: i64,
}

/// Minimum over the receivers that count.
#[derive(Debug)]
pub(super) struct MinFlow {
    tag: Option<i64>,
    group_min_size: usize,
    timeout: Nanos,
    receivers: Vec<Receiver>,
    setup_triggered: bool,
    hold: Option<Hold>,
}

impl MinFlow {
    pub(super) fn new(tag: Option<i64>, group_min_size: i32, timeout: Nanos) -> Self {
        Self {
            tag,
            group_min_size: usize::try_from(group_min_size).unwrap_or(0),
            timeout,
            receivers: Vec::new(),
            setup_triggered: false,
            hold: None,
        }
    }

    fn matches(&self, group_tag: Option<i64>) -> bool {
        self.tag.is_none_or(|tag| group_tag == Some(tag))
    }

    fn hold_limit(&self, now: Nanos) -> i64 {
        match self.hold {
            Some(hold) if now - hold.since < self.timeout => hold.limit,
            _ => i64::MAX,
        }
    }

    pub(super) fn on_status_message(&mut self, status: &Status, limit: i64, now: Nanos) -> i64 {
        let counts = self.matches(status.group_tag);
        let mut min = self.hold_limit(now);
        let mut is_known = false;
        for receiver in &mut self.receivers {
            if counts && receiver.id == status.receiver_id {
                receiver.is_end_of_stream = status.is_end_of_stream;
                receiver.position = receiver.position.max(status.position);
                receiver.limit = status.limit();
                receiver.last_status = now;
                is_known = true;
            }
            min = min.min(receiver.limit);
        }
        let is_near_enough = self.receivers.is_empty()
            || status.limit() >= min.saturating_sub(i64::from(status.window));
        if !is_known && counts && !status.is_end_of_stream && is_near_enough {
            self.receivers.push(Receiver {
                id: status.receiver_id,
                position: status.position,
                limit: status.limit(),
                last_status: now,
                is_end_of_stream: false,
            });
            self.hold = None;
            self.setup_triggered = false;
            min = self.min_limit();
        }
        if self.receivers.len() < self.group_min_size {
            limit
        } else if self.receivers.is_empty() {
            limit.max(status.limit())
        } else {
            limit.max(min)
        }
    }

    pub(super) fn on_trigger_send_setup(&mut self, group_tag: Option<i64>, _now: Nanos) {
        if !self.setup_triggered && self.matches(group_tag) {
            self.setup_triggered = true;
        }
    }

    pub(super) fn on_setup(&mut self, limit: i64, now: Nanos) {
        if std::mem::take(&mut self.setup_triggered) && !self.receivers.is_empty() {
            self.hold = Some(Hold { since: now, limit });
        }
    }

    pub(super) fn on_idle(&mut self, limit: i64, now: Nanos) -> i64 {
        let timeout = self.timeout;
        self.receivers
            .retain(|receiver| !receiver.is_end_of_stream && now - receiver.last_status <= timeout);
        if self.receivers.is_empty() || self.receivers.len() < self.group_min_size {
            return limit;
        }
        self.min_limit().min(self.hold_limit(now))
    }

    fn min_limit(&self) -> i64 {
        self.receivers.iter().map(|receiver| receiver.limit).min().unwrap_or(i64::MAX)
    }

    pub(super) fn on_error(&mut self, receiver_id: i64) {
        for receiver in &mut self.receivers {
            receiver.is_end_of_stream |= receiver.id == receiver_id;
        }
    }

    pub(super) fn has_required_receivers(&self) -> bool {
        self.receivers.len() >= self.group_min_size
    }

    pub(super) fn receiver_count(&self) -> usize {
        self.receivers.len()
    }

    pub(super) fn next_deadline(&self) -> Nanos {
        let receivers = self.receivers.iter().map(|receiver| {
            if receiver.is_end_of_stream { Nanos(0) } else { receiver.last_status }
        });
        let holds = self.hold.map(|hold| hold.since);
        let oldest = receivers.chain(holds).min();
        oldest.map_or(Nanos::MAX, |time| time + self.timeout + Nanos(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: i32 = 1000;

    fn status(receiver_id: i64, position: i64) -> Status {
        Status { receiver_id, group_tag: None, position, window: WINDOW, is_end_of_stream: false }
    }

    fn min() -> MinFlow {
        MinFlow::new(None, 0, Nanos(100))
    }

    #[test]
    fn the_slowest_receiver_sets_the_limit() {
        let mut flow = min();
        assert_eq!(flow.on_status_message(&status(1, 0), 0, Nanos(0)), 1000);
        assert_eq!(flow.on_status_message(&status(2, 0), 1000, Nanos(0)), 1000);
        assert_eq!(flow.on_status_message(&status(1, 500), 1000, Nanos(0)), 1000);
        assert_eq!(flow.on_status_message(&status(2, 300), 1000, Nanos(0)), 1300);
        assert_eq!(flow.receiver_count(), 2);
    }

    #[test]
    fn a_receiver_that_timed_out_or_ended_no_longer_counts() {
        let mut flow = min();
        let _ = flow.on_status_message(&status(1, 0), 0, Nanos(0));
        let _ = flow.on_status_message(&status(2, 900), 1000, Nanos(50));
        assert_eq!(flow.on_idle(1000, Nanos(100)), 1000);
        assert_eq!(flow.on_idle(1000, Nanos(101)), 1900);
        let _ = flow.on_status_message(
            &Status { is_end_of_stream: true, ..status(2, 950) },
            1900,
            Nanos(101),
        );
        assert_eq!(flow.on_idle(1900, Nanos(102)), 1900);
        assert_eq!(flow.receiver_count(), 0);
    }

    #[test]
    fn a_newcomer_a_whole_window_behind_is_not_admitted() {
        let mut flow = min();
        let _ = flow.on_status_message(&status(1, 5000), 0, Nanos(0));
        assert_eq!(flow.on_status_message(&status(2, 3999), 6000, Nanos(0)), 6000);
        assert_eq!(flow.receiver_count(), 1);
        let _ = flow.on_status_message(&status(2, 4000), 6000, Nanos(0));
        assert_eq!(flow.receiver_count(), 2);
        assert_eq!(flow.on_idle(6000, Nanos(0)), 5000, "the limit may go down");
    }

    #[test]
    fn only_receivers_with_the_tag_count_and_enough_are_required() {
        let mut flow = MinFlow::new(Some(7), 2, Nanos(100));
        let tagged = |id, position| Status { group_tag: Some(7), ..status(id, position) };
        assert_eq!(flow.on_status_message(&status(9, 800), 0, Nanos(0)), 0);
        assert_eq!(flow.on_status_message(&tagged(1, 0), 0, Nanos(0)), 0);
        assert!(!flow.has_required_receivers());
        assert_eq!(flow.on_status_message(&tagged(2, 0), 0, Nanos(0)), 1000);
        assert!(flow.has_required_receivers());
        flow.on_error(2);
        assert_eq!(flow.on_idle(1000, Nanos(1)), 1000);
        assert!(!flow.has_required_receivers());
    }

    #[test]
    fn the_limit_is_held_while_a_receiver_joins_by_setup() {
        let mut flow = min();
        let _ = flow.on_status_message(&status(1, 0), 0, Nanos(0));
        flow.on_trigger_send_setup(None, Nanos(1));
        flow.on_setup(1000, Nanos(2));
        assert_eq!(flow.on_status_message(&status(1, 900), 1000, Nanos(3)), 1000);
        assert_eq!(flow.on_idle(1000, Nanos(4)), 1000);
        assert_eq!(flow.on_status_message(&status(2, 1000), 1000, Nanos(5)), 1900);
        let mut alone = min();
        alone.on_trigger_send_setup(None, Nanos(1));
        alone.on_setup(0, Nanos(2));
        assert_eq!(alone.on_status_message(&status(1, 0), 0, Nanos(3)), 1000);
    }

    #[test]
    fn the_deadline_is_when_the_oldest_receiver_times_out() {
        let mut flow = min();
        assert_eq!(flow.next_deadline(), Nanos::MAX);
        let _ = flow.on_status_message(&status(1, 0), 0, Nanos(10));
        assert_eq!(flow.next_deadline(), Nanos(111));
    }
}
