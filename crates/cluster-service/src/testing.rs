//! A cluster without a cluster: for tests of services.

use std::collections::BTreeMap;

use wire::cluster::service::ToModule;
use wire::cluster::{CloseReason, Role, TimeUnit};
use wire::position::Position;

use crate::cluster::{Cluster, Egress, Event, Gauges, SendError};
use crate::requests::Requests;
use crate::service::{ClusterSessionId, ClusteredService, Step, TimerId};
use crate::snapshot::{PendingSnapshot, SnapshotWriter};

/// Calls a service as a container would, and keeps what it does.
pub struct TestCluster<S> {
    /// The service under test.
    pub service: S,
    /// The time of the next event, in milliseconds.
    pub time: i64,
    /// Messages that the service sent to clients.
    pub sent: Vec<(ClusterSessionId, Vec<u8>)>,
    /// Timers that are set, with their deadlines. [`TestCluster::fire_timers`] fires those due.
    pub timers: BTreeMap<i64, i64>,
    /// Messages that the service offered to the cluster and that were not yet delivered.
    pub offered: Vec<Vec<u8>>,
    /// Sessions that the service asked to close.
    pub closing: Vec<ClusterSessionId>,
    /// Why the service failed, if it did.
    pub failure: Option<String>,
    position: i64,
    sessions: Vec<ClusterSessionId>,
    gauges: Gauges,
}

struct Recorder<'a> {
    sessions: &'a [ClusterSessionId],
    sent: &'a mut Vec<(ClusterSessionId, Vec<u8>)>,
}

impl Egress for Recorder<'_> {
    fn send(&mut self, session: ClusterSessionId, parts: &[&[u8]]) -> Result<(), SendError> {
        if !self.sessions.contains(&session) {
            return Err(SendError::UnknownSession(session));
        }
        self.sent.push((session, parts.concat()));
        Ok(())
    }

    fn sessions(&self) -> &[ClusterSessionId] {
        self.sessions
    }

    fn principal(&self, session: ClusterSessionId) -> Option<&[u8]> {
        self.sessions.contains(&session).then_some(&[])
    }
}

impl<S: ClusteredService> TestCluster<S> {
    /// Starts a service with an empty log.
    pub fn new(service: S) -> Self {
        let mut cluster = Self::unstarted(service);
        cluster.call(|service, cluster| service.on_start(cluster));
        cluster
    }

    /// Starts a service from the messages of a snapshot, at the position where it was taken.
    pub fn restore(service: S, snapshot: &[Vec<u8>], position: Position) -> Self {
        let mut cluster = Self::unstarted(service);
        cluster.position = position.0;
        for message in snapshot {
            cluster.call(|service, cluster| service.on_snapshot(cluster, message));
        }
        cluster.call(|service, cluster| service.on_start(cluster));
        cluster
    }

    fn unstarted(service: S) -> Self {
        Self {
            service,
            time: 0,
            sent: Vec::new(),
            timers: BTreeMap::new(),
            offered: Vec::new(),
            closing: Vec::new(),
            failure: None,
            position: 0,
            sessions: Vec::new(),
            gauges: Gauges::default(),
        }
    }

    /// Where the log stands.
    #[must_use]
    pub fn position(&self) -> Position {
        Position(self.position)
    }

    /// The value of the gauge with this label.
    #[must_use]
    pub fn gauge(&self, label: &str) -> Option<i64> {
        self.gauges.iter().find(|(_, name, _)| *name == label).map(|(_, _, value)| value)
    }

    /// Opens a session.
    pub fn open(&mut self, session: i64) {
        let session = ClusterSessionId(session);
        self.sessions.push(session);
        self.sessions.sort_unstable();
        self.append(|service, cluster| service.on_session_open(cluster, session));
    }

    /// Closes a session.
    pub fn close(&mut self, session: i64, reason: CloseReason) {
        let session = ClusterSessionId(session);
        self.sessions.retain(|&open| open != session);
        self.append(|service, cluster| service.on_session_close(cluster, session, reason));
    }

    /// Delivers a client's message.
    pub fn message(&mut self, session: i64, message: &[u8]) {
        let session = Some(ClusterSessionId(session));
        self.append(|service, cluster| service.on_session_message(cluster, session, message));
    }

    /// Delivers the messages that the service offered to the cluster.
    pub fn deliver_offered(&mut self) {
        for message in std::mem::take(&mut self.offered) {
            self.append(|service, cluster| service.on_session_message(cluster, None, &message));
        }
    }

    /// Fires the timers that are due at the present time, in order of deadline and id.
    pub fn fire_timers(&mut self) {
        let mut due: Vec<(i64, i64)> = self
            .timers
            .iter()
            .filter(|&(_, &deadline)| deadline <= self.time)
            .map(|(&id, &deadline)| (deadline, id))
            .collect();
        due.sort_unstable();
        for (_, id) in due {
            self.timers.remove(&id);
            self.append(|service, cluster| service.on_timer(cluster, TimerId(id)));
        }
    }

    /// Takes a snapshot: the messages that the service wrote.
    pub fn snapshot(&mut self) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        let mut step = Step::More;
        while step == Step::More {
            let mut pending = PendingSnapshot::default();
            self.call(|service, cluster| {
                step = service.take_snapshot(cluster, &mut SnapshotWriter::new(&mut pending));
            });
            messages.extend(pending.messages().map(<[u8]>::to_vec));
        }
        messages
    }

    /// An event of the log: the position grows, then the service is called.
    fn append(&mut self, call: impl FnOnce(&mut S, &mut Cluster<'_>)) {
        self.position += 64;
        self.call(call);
    }

    fn call(&mut self, call: impl FnOnce(&mut S, &mut Cluster<'_>)) {
        let event = Event {
            time: self.time,
            time_unit: TimeUnit::Millis,
            position: Position(self.position),
            leadership_term_id: 0,
            role: Role::Leader,
            member_id: 0,
            service_id: 0,
        };
        let mut requests = Requests::default();
        let mut egress = Recorder { sessions: &self.sessions, sent: &mut self.sent };
        let gauges = &mut self.gauges;
        let mut cluster =
            Cluster::new(&event, &mut requests, &mut egress, gauges, &mut self.failure);
        call(&mut self.service, &mut cluster);
        requests.drain(|message, _| {
            self.on_request(message);
            true
        });
    }

    fn on_request(&mut self, message: &[u8]) {
        match ToModule::decode(message) {
            Ok(Some(ToModule::ScheduleTimer(request))) => {
                self.timers.insert(request.correlation_id, request.deadline);
            }
            Ok(Some(ToModule::CancelTimer(request))) => {
                self.timers.remove(&request.correlation_id);
            }
            Ok(Some(ToModule::CloseSession(request))) => {
                self.closing.push(ClusterSessionId(request.cluster_session_id));
            }
            Ok(Some(ToModule::SessionMessageHeader(_))) => {
                let payload = wire::cluster::ingress::SessionMessageHeader::payload(message);
                self.offered.push(payload.to_vec());
            }
            other => panic!("a service asked for {other:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts messages, with all that a service can ask for.
    #[derive(Default)]
    struct Counter {
        count: i64,
        gauge: Option<crate::cluster::GaugeId>,
    }

    impl ClusteredService for Counter {
        fn on_snapshot(&mut self, cluster: &mut Cluster<'_>, message: &[u8]) {
            match message.try_into() {
                Ok(bytes) => self.count = i64::from_le_bytes(bytes),
                Err(_) => cluster.fail("not a count"),
            }
        }

        fn on_start(&mut self, cluster: &mut Cluster<'_>) {
            self.gauge = Some(cluster.add_gauge(1_000, "count"));
        }

        fn on_session_message(
            &mut self,
            cluster: &mut Cluster<'_>,
            session: Option<ClusterSessionId>,
            message: &[u8],
        ) {
            self.count += 1;
            if let Some(gauge) = self.gauge {
                cluster.set_gauge(gauge, self.count);
            }
            let Some(session) = session else { return };
            match message {
                b"timer" => cluster.schedule_timer(TimerId(7), cluster.time() + 10),
                b"cancel" => cluster.cancel_timer(TimerId(7)),
                b"offer" => cluster.offer(b"to all"),
                b"close" => cluster.close_session(session),
                _ => drop(cluster.send(session, &self.count.to_le_bytes())),
            }
        }

        fn on_timer(&mut self, _cluster: &mut Cluster<'_>, timer: TimerId) {
            self.count += timer.0 * 100;
        }

        fn take_snapshot(
            &mut self,
            _cluster: &mut Cluster<'_>,
            writer: &mut SnapshotWriter<'_>,
        ) -> Step {
            writer.write(&self.count.to_le_bytes());
            Step::Done
        }
    }

    fn started() -> TestCluster<Counter> {
        let mut cluster = TestCluster::new(Counter::default());
        cluster.open(1);
        cluster
    }

    #[test]
    fn replies_go_to_open_sessions_only() {
        let mut cluster = started();
        cluster.message(1, b"count");
        cluster.close(1, CloseReason::ClientAction);
        cluster.message(1, b"count");
        assert_eq!(cluster.sent, [(ClusterSessionId(1), 1_i64.to_le_bytes().to_vec())]);
        assert_eq!(cluster.gauge("count"), Some(2));
    }

    #[test]
    fn timers_fire_once_when_due_unless_cancelled() {
        let mut cluster = started();
        cluster.message(1, b"timer");
        cluster.fire_timers();
        assert_eq!(cluster.service.count, 1);
        cluster.time = 10;
        cluster.fire_timers();
        cluster.fire_timers();
        assert_eq!(cluster.service.count, 701);
        cluster.message(1, b"timer");
        cluster.message(1, b"cancel");
        cluster.time = 100;
        cluster.fire_timers();
        assert_eq!(cluster.service.count, 703);
    }

    #[test]
    fn offered_messages_come_back_without_a_session() {
        let mut cluster = started();
        cluster.message(1, b"offer");
        assert_eq!(cluster.offered, [b"to all"]);
        cluster.deliver_offered();
        assert_eq!(cluster.service.count, 2);
        cluster.message(1, b"close");
        assert_eq!(cluster.closing, [ClusterSessionId(1)]);
    }

    #[test]
    fn a_snapshot_brings_the_state_back_and_a_damaged_one_fails_the_service() {
        let mut cluster = started();
        cluster.message(1, b"count");
        let snapshot = cluster.snapshot();
        let restored = TestCluster::restore(Counter::default(), &snapshot, cluster.position());
        assert_eq!((restored.service.count, restored.failure), (1, None));
        let damaged = [b"bad".to_vec()];
        let failed = TestCluster::restore(Counter::default(), &damaged, cluster.position());
        assert_eq!(failed.failure.as_deref(), Some("not a count"));
    }
}
