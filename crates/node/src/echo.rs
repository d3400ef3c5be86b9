//! [`EchoService`]: sends back what clients send, to try a cluster with.

use std::mem;

use cluster_service::cluster::GaugeId;
use cluster_service::{
    Admission, Cluster, ClusterSessionId, ClusteredService, Deduplication, SnapshotWriter, Step,
};
use wire::numbered::RequestHeader;

/// Type of the gauge of the service.
pub const GAUGE_TYPE: i32 = 1_200;
/// Label of its gauge: how many messages it has answered.
pub const GAUGE: &str = "echo: messages";

/// Sends back what clients send. A numbered message is counted once, however often it comes.
#[derive(Default)]
pub struct EchoService {
    messages: i64,
    deduplication: Deduplication,
    gauge: Option<GaugeId>,
    is_restored: bool,
    /// What a snapshot still has to write, last first.
    unwritten: Option<Vec<Vec<u8>>>,
}

impl EchoService {
    /// How many messages it has answered.
    #[must_use]
    pub const fn messages(&self) -> i64 {
        self.messages
    }

    fn count(&mut self, cluster: &mut Cluster<'_>) {
        self.messages += 1;
        if let Some(gauge) = self.gauge {
            cluster.set_gauge(gauge, self.messages);
        }
    }

    fn restore(&mut self, message: &[u8]) -> Result<(), String> {
        if self.is_restored {
            return self.deduplication.restore(message).map_err(|error| error.to_string());
        }
        let count = message.try_into().map_err(|_| "it does not begin with a count")?;
        self.messages = i64::from_le_bytes(count);
        self.is_restored = true;
        Ok(())
    }
}

impl ClusteredService for EchoService {
    fn on_snapshot(&mut self, cluster: &mut Cluster<'_>, message: &[u8]) {
        if let Err(cause) = self.restore(message) {
            cluster.fail(format!("the snapshot of the echo service is damaged: {cause}"));
        }
    }

    fn on_start(&mut self, cluster: &mut Cluster<'_>) {
        let gauge = cluster.add_gauge(GAUGE_TYPE, GAUGE);
        cluster.set_gauge(gauge, self.messages);
        self.gauge = Some(gauge);
    }

    fn on_session_message(
        &mut self,
        cluster: &mut Cluster<'_>,
        session: Option<ClusterSessionId>,
        message: &[u8],
    ) {
        let Some(session) = session else { return };
        // A client that does not hear the answer may ask again.
        let mut deduplication = mem::take(&mut self.deduplication);
        match deduplication.admit(message) {
            Admission::Execute { header, payload } => {
                self.count(cluster);
                let _ = cluster.send(session, deduplication.answer(header, payload));
            }
            Admission::Reply(answer) => drop(cluster.send(session, answer)),
            Admission::Ignore if RequestHeader::decode(message).is_some() => {}
            Admission::Ignore => {
                self.count(cluster);
                let _ = cluster.send(session, message);
            }
        }
        self.deduplication = deduplication;
    }

    fn take_snapshot(
        &mut self,
        _cluster: &mut Cluster<'_>,
        writer: &mut SnapshotWriter<'_>,
    ) -> Step {
        let mut unwritten = self.unwritten.take().unwrap_or_else(|| {
            let count = self.messages.to_le_bytes().to_vec();
            let mut all = vec![count];
            all.extend(self.deduplication.records());
            all.reverse();
            all
        });
        while !writer.is_full()
            && let Some(record) = unwritten.pop()
        {
            writer.write(&record);
        }
        if unwritten.is_empty() {
            return Step::Done;
        }
        self.unwritten = Some(unwritten);
        Step::More
    }
}

#[cfg(test)]
mod tests {
    use cluster_service::testing::TestCluster;

    use super::*;

    #[test]
    fn messages_come_back_and_numbered_ones_are_counted_once() {
        let mut cluster = TestCluster::new(EchoService::default());
        cluster.open(1);
        cluster.message(1, b"plain");
        assert_eq!(cluster.sent.last().unwrap().1, b"plain");
        let header = RequestHeader { client: 9, number: 1, acknowledged: 0 }.encode();
        let message = [&header[..], b"numbered"].concat();
        cluster.message(1, &message);
        cluster.message(1, &message);
        assert_eq!(cluster.sent.len(), 3);
        assert_eq!(cluster.sent[1], cluster.sent[2]);
        assert_eq!(cluster.gauge(GAUGE), Some(2));
    }

    #[test]
    fn a_restored_service_knows_what_it_has_answered() {
        let mut cluster = TestCluster::new(EchoService::default());
        cluster.open(1);
        for number in 1..=3 {
            let header = RequestHeader { client: 9, number, acknowledged: 0 }.encode();
            cluster.message(1, &[&header[..], b"numbered"].concat());
        }
        let snapshot = cluster.snapshot();
        let position = cluster.position();
        let mut again = TestCluster::restore(EchoService::default(), &snapshot, position);
        assert_eq!(again.gauge(GAUGE), Some(3));
        assert_eq!(again.snapshot(), snapshot);
        let header = RequestHeader { client: 9, number: 3, acknowledged: 0 }.encode();
        again.open(2);
        again.message(2, &[&header[..], b"numbered"].concat());
        assert_eq!((again.gauge(GAUGE), again.sent.len()), (Some(3), 1));
    }
}
