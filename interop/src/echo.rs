//! Our service of these tests; `java/EchoService.java` is the same.

use std::collections::BTreeMap;

use coracle::cluster_service::cluster::GaugeId;
use coracle::cluster_service::{Cluster, ClusterSessionId, ClusteredService, SnapshotWriter, Step};

use crate::content::{Checker, Content, mix};

/// Type of the gauge that says how many messages the service has executed.
pub(crate) const EXECUTED: i32 = 1_200;
/// Type of the gauge that says how many of them its snapshot told it.
pub(crate) const RESTORED: i32 = 1_201;
/// Type of the gauge that shows a hash of all that was executed.
pub(crate) const HASH: i32 = 1_202;
/// Type of the gauge that says how many messages came again since it started.
pub(crate) const REPEATED: i32 = 1_203;

/// What a snapshot has behind the first message: messages of up to three frames.
const BALLAST: Content = Content { seed: 31, minimum: 8, maximum: 4_000 };
const BALLAST_COUNT: u64 = 32;

#[derive(Clone, Copy)]
struct Gauges {
    executed: GaugeId,
    hash: GaugeId,
    repeated: GaugeId,
}

/// Sends back what comes. Messages are numbered by their sessions: each is executed once and in
/// order; one that comes again is sent back only, one that comes too early is let go.
#[derive(Default)]
pub(crate) struct Echo {
    executed: i64,
    hash: u64,
    repeated: i64,
    next: BTreeMap<i64, u64>,
    restored: Option<Checker>,
    gauges: Option<Gauges>,
}

impl Echo {
    fn execute(&mut self, session: i64, number: u64, message: &[u8]) {
        let add = |sum: u64, byte: &u8| sum.wrapping_mul(31).wrapping_add(u64::from(*byte));
        let sum = message.iter().fold(0, add);
        let so_far = mix(self.hash ^ mix(session.cast_unsigned()) ^ number);
        self.hash = mix(so_far ^ sum);
        self.executed += 1;
        self.next.insert(session, number + 1);
    }

    fn show(&self, cluster: &mut Cluster<'_>) {
        if let Some(gauges) = self.gauges {
            cluster.set_gauge(gauges.hash, self.hash.cast_signed());
            cluster.set_gauge(gauges.repeated, self.repeated);
            cluster.set_gauge(gauges.executed, self.executed);
        }
    }

    /// Takes the first message of a snapshot.
    fn restore(&mut self, message: &[u8]) -> Option<()> {
        let (words, rest) = message.as_chunks::<8>();
        let [executed, hash, sessions @ ..] = words else { return None };
        self.executed = i64::from_le_bytes(*executed);
        self.hash = u64::from_le_bytes(*hash);
        for pair in sessions.chunks(2) {
            let [session, next] = pair else { return None };
            self.next.insert(i64::from_le_bytes(*session), u64::from_le_bytes(*next));
        }
        rest.is_empty().then_some(())
    }
}

impl ClusteredService for Echo {
    fn on_snapshot(&mut self, cluster: &mut Cluster<'_>, message: &[u8]) {
        if let Some(checker) = &mut self.restored {
            if let Err(cause) = checker.check(message) {
                cluster.fail(cause);
            }
            return;
        }
        self.restored = Some(Checker::new(BALLAST));
        if self.restore(message).is_none() {
            cluster.fail("the snapshot does not begin with what was executed");
        }
    }

    fn on_start(&mut self, cluster: &mut Cluster<'_>) {
        if let Some(checker) = &self.restored
            && checker.count != BALLAST_COUNT
        {
            cluster.fail(format!("the snapshot has {} messages of ballast", checker.count));
        }
        let restored = cluster.add_gauge(RESTORED, "interop: restored");
        cluster.set_gauge(restored, self.executed);
        self.gauges = Some(Gauges {
            hash: cluster.add_gauge(HASH, "interop: hash"),
            repeated: cluster.add_gauge(REPEATED, "interop: repeated"),
            executed: cluster.add_gauge(EXECUTED, "interop: executed"),
        });
        self.show(cluster);
    }

    fn on_session_message(
        &mut self,
        cluster: &mut Cluster<'_>,
        session: Option<ClusterSessionId>,
        message: &[u8],
    ) {
        let Some(session) = session else { return };
        let Some((number, _)) = message.split_first_chunk::<8>() else { return };
        let number = u64::from_le_bytes(*number);
        let expected = self.next.get(&session.0).copied().unwrap_or(0);
        if number > expected {
            return;
        }
        if number < expected {
            self.repeated += 1;
        } else {
            self.execute(session.0, number, message);
        }
        // What cannot be sent at once is asked for again.
        let _ = cluster.send(session, message);
        self.show(cluster);
    }

    fn on_session_close(
        &mut self,
        cluster: &mut Cluster<'_>,
        session: ClusterSessionId,
        reason: coracle::cluster_service::CloseReason,
    ) {
        let _ = (cluster, reason);
        self.next.remove(&session.0);
    }

    fn take_snapshot(&mut self, _: &mut Cluster<'_>, writer: &mut SnapshotWriter<'_>) -> Step {
        let mut message = Vec::new();
        message.extend_from_slice(&self.executed.to_le_bytes());
        message.extend_from_slice(&self.hash.to_le_bytes());
        for (session, next) in &self.next {
            message.extend_from_slice(&session.to_le_bytes());
            message.extend_from_slice(&next.to_le_bytes());
        }
        writer.write(&message);
        for index in 0..BALLAST_COUNT {
            BALLAST.write(index, &mut message);
            writer.write(&message);
        }
        Step::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_snapshot_tells_is_what_was_executed() {
        let mut echo = Echo::default();
        echo.execute(3, 0, b"12345678");
        let mut message = [echo.executed.to_le_bytes(), echo.hash.to_le_bytes()].concat();
        message.extend([3_i64.to_le_bytes(), 1_i64.to_le_bytes()].concat());
        let mut other = Echo::default();
        assert_eq!(other.restore(&message), Some(()));
        assert_eq!((other.executed, other.hash), (echo.executed, echo.hash));
        assert_eq!(other.next, echo.next);
        assert_eq!(Echo::default().restore(&message[..12]), None);
    }
}
