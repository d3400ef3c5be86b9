//! The service under test: a chain of hashes over everything that the log brings.
//!
//! Its state is a count and a hash, timers that are set, messages to itself that are under way, and
//! the deduplication of its clients. It tells the oracle of every event.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use cluster_service::cluster::GaugeId;
use cluster_service::{
    Admission, CloseReason, Cluster, ClusterSessionId, ClusteredService, Deduplication,
    DeduplicationLimits, SnapshotWriter, Step, TimerId,
};

use super::oracle::{Applied, Event, Oracle};
use crate::lock;

/// What a service remembers of its clients. More clients than a run ever has.
const LIMITS: DeduplicationLimits = DeduplicationLimits { window: 64, clients: 256 };

/// After how many milliseconds the timers of a storm are due, all at once.
const STORM_DELAY: i64 = 2_000;

/// A chain of hashes.
pub(super) struct Chain {
    member: usize,
    oracle: Arc<Mutex<Oracle>>,
    state: State,
    deduplication: Deduplication,
    gauge: Option<GaugeId>,
    /// How many timers of the snapshot have not yet come.
    timers_left: usize,
    /// What is still to be written of the snapshot under way, the last first.
    writing: Option<Vec<Vec<u8>>>,
    is_restored: bool,
}

/// One of the few timers that are set, moved and cancelled under the same ids again and again.
fn reused(detail: u8) -> i64 {
    -1 - i64::from(detail % 3)
}

/// Timers in one message of a snapshot.
const TIMERS_A_MESSAGE: usize = 64;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    count: u64,
    hash: u64,
    next_timer: i64,
    /// Deadlines of timers that are set.
    timers: BTreeMap<i64, i64>,
    /// Messages to itself: sent, and come.
    offered: i64,
    come: i64,
}

impl State {
    /// The state without its timers and their number, then the timers, some in each message.
    fn encode(&self) -> Vec<Vec<u8>> {
        let first = [
            self.count.cast_signed(),
            self.hash.cast_signed(),
            self.next_timer,
            self.offered,
            self.come,
            i64::try_from(self.timers.len()).unwrap_or(i64::MAX),
        ];
        let mut messages = vec![first.map(i64::to_le_bytes).concat()];
        let timers: Vec<_> = self.timers.iter().map(|(&id, &deadline)| [id, deadline]).collect();
        messages.extend(timers.chunks(TIMERS_A_MESSAGE).map(|some| {
            some.iter().flatten().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>()
        }));
        messages
    }

    /// The state without its timers, and how many there are.
    fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        let (words, []) = bytes.as_chunks::<8>() else { return None };
        let &[count, hash, next_timer, offered, come, timers] = words.first_chunk()?;
        let [count, hash, next_timer, offered, come, left] =
            [count, hash, next_timer, offered, come, timers].map(i64::from_le_bytes);
        let (count, hash, timers) = (count.cast_unsigned(), hash.cast_unsigned(), BTreeMap::new());
        let state = Self { count, hash, next_timer, timers, offered, come };
        Some((state, usize::try_from(left).ok()?))
    }

    /// Takes timers of a snapshot; how many they are.
    fn take_timers(&mut self, bytes: &[u8]) -> Option<usize> {
        let (words, []) = bytes.as_chunks::<8>() else { return None };
        let (pairs, []) = words.as_chunks::<2>() else { return None };
        let pairs = pairs.iter().map(|pair| pair.map(i64::from_le_bytes));
        let before = self.timers.len();
        self.timers.extend(pairs.map(|[id, deadline]| (id, deadline)));
        Some(self.timers.len() - before)
    }

    fn mix(&mut self, value: u64) {
        let mixed = (self.hash ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.hash = mixed ^ (mixed >> 29);
    }

    fn pending(&self) -> usize {
        let under_way = usize::try_from(self.offered - self.come).unwrap_or(usize::MAX);
        self.timers.len().saturating_add(under_way)
    }
}

impl Chain {
    pub(super) fn new(member: usize, oracle: Arc<Mutex<Oracle>>) -> Self {
        Self {
            member,
            oracle,
            state: State::default(),
            deduplication: Deduplication::new(LIMITS),
            gauge: None,
            timers_left: 0,
            writing: None,
            is_restored: false,
        }
    }

    /// Takes an event into the chain and tells of it; `content` is that of a client's message.
    fn apply(&mut self, cluster: &mut Cluster<'_>, event: Event, content: &[u8]) {
        let state = &mut self.state;
        state.count += 1;
        let words = match event {
            Event::Message { client, number } => [1, client, number],
            Event::Service { number } => [2, number, 0],
            Event::Timer { id, was_set } => [3, id, i64::from(was_set)],
            Event::Opened { session } => [4, session, 0],
            Event::Closed { session } => [5, session, 0],
        };
        words.into_iter().for_each(|word| state.mix(word.cast_unsigned()));
        state.mix(cluster.position().0.cast_unsigned());
        state.mix(cluster.time().cast_unsigned());
        content.chunks(8).for_each(|part| {
            state.mix(part.iter().fold(0, |word, &byte| (word << 8) | u64::from(byte)));
        });
        cluster.sessions().iter().for_each(|session| state.mix(session.0.cast_unsigned()));
        state.mix(self.deduplication.state_hash());
        if lock(&self.oracle).quirks.strays(self.member, state.count) {
            state.mix(self.member as u64);
        }
        let applied = Applied {
            event,
            position: cluster.position().0,
            time: cluster.time(),
            hash: state.hash,
            pending: state.pending(),
        };
        let count = state.count;
        if let Some(gauge) = self.gauge {
            cluster.set_gauge(gauge, count.cast_signed());
        }
        lock(&self.oracle).applied(self.member, count, applied, content);
    }

    /// What a client's message asks for besides being remembered.
    fn obey(&mut self, cluster: &mut Cluster<'_>, content: &[u8]) {
        let burst = lock(&self.oracle).quirks.timers(self.member, self.state.count);
        for _ in 0..burst {
            self.schedule(cluster, STORM_DELAY);
        }
        let (Some(&what), Some(&detail)) = (content.first(), content.get(1)) else { return };
        match what % 16 {
            0 | 1 => {
                self.schedule(cluster, i64::from(detail) * 8);
            }
            2 | 3 => {
                self.state.offered += 1;
                cluster.offer(&self.state.offered.to_le_bytes());
            }
            4 => {
                if let Some((id, _)) = self.state.timers.pop_last() {
                    cluster.cancel_timer(TimerId(id));
                }
            }
            5 | 6 => self.set(cluster, reused(detail), i64::from(detail) * 8),
            7 if self.state.timers.remove(&reused(detail)).is_some() => {
                cluster.cancel_timer(TimerId(reused(detail)));
            }
            _ => {}
        }
    }

    fn schedule(&mut self, cluster: &mut Cluster<'_>, delay: i64) {
        let id = self.state.next_timer;
        self.state.next_timer += 1;
        self.set(cluster, id, delay);
    }

    fn set(&mut self, cluster: &mut Cluster<'_>, id: i64, delay: i64) {
        let deadline = cluster.time() + delay;
        self.state.timers.insert(id, deadline);
        cluster.schedule_timer(TimerId(id), deadline);
    }

    fn fail(&self, cluster: &mut Cluster<'_>, what: &str) {
        lock(&self.oracle).fail(format!("member {}: {what}", self.member));
        cluster.fail(what);
    }
}

impl ClusteredService for Chain {
    /// The state, then the records of deduplication.
    fn on_snapshot(&mut self, cluster: &mut Cluster<'_>, message: &[u8]) {
        if self.timers_left > 0 {
            let taken = self.state.take_timers(message);
            match taken.and_then(|taken| self.timers_left.checked_sub(taken)) {
                Some(left) => self.timers_left = left,
                None => self.fail(cluster, "timers of the snapshot are damaged"),
            }
            return;
        }
        if self.is_restored {
            if let Err(error) = self.deduplication.restore(message) {
                self.fail(cluster, &format!("snapshot: {error}"));
            }
            return;
        }
        self.is_restored = true;
        match State::decode(message) {
            Some((state, timers)) => (self.state, self.timers_left) = (state, timers),
            None => self.fail(cluster, "the snapshot does not begin with the state"),
        }
    }

    fn on_start(&mut self, cluster: &mut Cluster<'_>) {
        self.gauge = Some(cluster.add_gauge(1_000, "events applied"));
        lock(&self.oracle).started(self.member, self.state.count, self.state.hash);
    }

    fn on_session_open(&mut self, cluster: &mut Cluster<'_>, session: ClusterSessionId) {
        self.apply(cluster, Event::Opened { session: session.0 }, &[]);
    }

    fn on_session_message(
        &mut self,
        cluster: &mut Cluster<'_>,
        session: Option<ClusterSessionId>,
        message: &[u8],
    ) {
        let Some(session) = session else {
            let Ok(number) = message.try_into().map(i64::from_le_bytes) else {
                return self.fail(cluster, "a message to itself is damaged");
            };
            self.state.come += 1;
            return self.apply(cluster, Event::Service { number }, &[]);
        };
        match self.deduplication.admit(message) {
            Admission::Execute { header, payload } => {
                if lock(&self.oracle).quirks.is_poisoned(self.member, self.state.count) {
                    return cluster.fail("a message that this service cannot digest");
                }
                let event = Event::Message { client: header.client, number: header.number };
                self.obey(cluster, payload);
                self.apply(cluster, event, payload);
                let answer = [self.state.count, self.state.hash].map(u64::to_le_bytes);
                let answer = self.deduplication.answer(header, answer.as_flattened());
                let _ = cluster.send(session, answer);
            }
            Admission::Reply(answer) => {
                let _ = cluster.send(session, answer);
            }
            Admission::Ignore => {}
        }
    }

    fn on_session_close(
        &mut self,
        cluster: &mut Cluster<'_>,
        session: ClusterSessionId,
        _reason: CloseReason,
    ) {
        self.apply(cluster, Event::Closed { session: session.0 }, &[]);
    }

    fn on_timer(&mut self, cluster: &mut Cluster<'_>, timer: TimerId) {
        let (id, time) = (timer.0, cluster.time());
        let deadline = self.state.timers.get(&id).copied();
        let was_set = deadline.is_some_and(|deadline| deadline <= time);
        if was_set {
            self.state.timers.remove(&id);
        } else if deadline.is_some() && id >= 0 {
            return self.fail(cluster, &format!("timer {id} fired early"));
        }
        // Else it fired before the leader heard that it was cancelled, or moved.
        self.apply(cluster, Event::Timer { id, was_set }, &[]);
    }

    fn take_snapshot(
        &mut self,
        cluster: &mut Cluster<'_>,
        writer: &mut SnapshotWriter<'_>,
    ) -> Step {
        let mut left = self.writing.take().unwrap_or_else(|| {
            let mut left = self.state.encode();
            left.extend(self.deduplication.records());
            left.reverse();
            left
        });
        // A few messages a call, so that one takes several.
        for message in left.split_off(left.len().saturating_sub(16)).into_iter().rev() {
            writer.write(&message);
        }
        if !left.is_empty() {
            self.writing = Some(left);
            return Step::More;
        }
        let position = cluster.position().0;
        lock(&self.oracle).snapshot(self.member, position, self.state.hash);
        Step::Done
    }
}

#[cfg(test)]
mod tests {
    use cluster_service::testing::TestCluster;
    use wire::numbered::RequestHeader;

    use super::*;

    const CLIENT: i64 = 77;

    fn oracle() -> Arc<Mutex<Oracle>> {
        Arc::new(Mutex::new(Oracle::new(5, 2)))
    }

    fn request(oracle: &Mutex<Oracle>, number: i64) -> Vec<u8> {
        let header = RequestHeader { client: CLIENT, number, acknowledged: 0 };
        let mut oracle = lock(oracle);
        oracle.submitted(CLIENT, number);
        [&header.encode()[..], &oracle.content(CLIENT, number)].concat()
    }

    #[test]
    fn two_members_with_one_log_agree_and_answers_hold() {
        let oracle = oracle();
        let mut members = [0, 1].map(|member| TestCluster::new(Chain::new(member, oracle.clone())));
        for member in &mut members {
            member.open(1);
            for number in 1..=40 {
                let message = request(&oracle, number);
                member.message(1, &message);
                member.message(1, &message);
            }
            member.time += 10_000;
            member.fire_timers();
            member.deliver_offered();
        }
        let oracle = lock(&oracle);
        assert_eq!(oracle.violations, [""; 0]);
        assert!(oracle.totals.timers > 0 && oracle.totals.service_messages > 0);
        assert_eq!(oracle.totals.applied, oracle.totals.applied_again);
        assert_eq!(oracle.members[0], oracle.members[1]);
    }

    #[test]
    fn a_member_restored_from_a_snapshot_goes_on_as_the_others() {
        let oracle = oracle();
        let mut first = TestCluster::new(Chain::new(0, oracle.clone()));
        first.open(1);
        (1..=40).for_each(|number| first.message(1, &request(&oracle, number)));
        let snapshot = first.snapshot();
        let chain = Chain::new(1, oracle.clone());
        let mut second = TestCluster::restore(chain, &snapshot, first.position());
        let members = lock(&oracle).members.clone();
        assert_eq!(members[0], members[1]);
        assert_eq!(lock(&oracle).totals.snapshot_restarts, 1);
        drop(second.snapshot());
        assert_eq!(lock(&oracle).violations, [""; 0]);
    }

    #[test]
    fn a_member_that_misses_a_message_is_found() {
        let oracle = oracle();
        let mut members = [0, 1].map(|member| TestCluster::new(Chain::new(member, oracle.clone())));
        members.iter_mut().for_each(|member| member.open(1));
        (1..=3).for_each(|number| members[0].message(1, &request(&oracle, number)));
        members[1].message(1, &request(&oracle, 1));
        members[1].message(1, &request(&oracle, 3));
        members[1].message(1, &request(&oracle, 2));
        assert!(!lock(&oracle).violations.is_empty());
    }
}
