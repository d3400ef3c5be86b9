//! A second service beside the one under test: it counts and hashes what the log brings, and its
//! state is compared wherever positions are.

use std::sync::{Arc, Mutex};

use cluster_service::{
    CloseReason, Cluster, ClusterSessionId, ClusteredService, SnapshotWriter, Step,
};

use super::oracle::Oracle;
use crate::lock;

/// A hash over all messages and sessions.
pub(super) struct Second {
    member: usize,
    oracle: Arc<Mutex<Oracle>>,
    hash: u64,
}

impl Second {
    pub(super) fn new(member: usize, oracle: Arc<Mutex<Oracle>>) -> Self {
        Self { member, oracle, hash: 0 }
    }

    fn apply(&mut self, cluster: &Cluster<'_>, session: i64, content: &[u8]) {
        let position = cluster.position().0;
        let words = [session.cast_unsigned(), position.cast_unsigned()];
        let bytes = content.iter().map(|&byte| u64::from(byte));
        for word in words.into_iter().chain(bytes) {
            self.hash = (self.hash ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
        }
        lock(&self.oracle).second(self.member, position, self.hash);
    }
}

impl ClusteredService for Second {
    fn on_snapshot(&mut self, cluster: &mut Cluster<'_>, message: &[u8]) {
        match message.try_into() {
            Ok(hash) => self.hash = u64::from_le_bytes(hash),
            Err(_) => cluster.fail("the snapshot of the second service is damaged"),
        }
    }

    fn on_session_open(&mut self, cluster: &mut Cluster<'_>, session: ClusterSessionId) {
        self.apply(cluster, session.0, &[1]);
    }

    fn on_session_message(
        &mut self,
        cluster: &mut Cluster<'_>,
        session: Option<ClusterSessionId>,
        message: &[u8],
    ) {
        self.apply(cluster, session.map_or(-1, |session| session.0), message);
    }

    fn on_session_close(
        &mut self,
        cluster: &mut Cluster<'_>,
        session: ClusterSessionId,
        _reason: CloseReason,
    ) {
        self.apply(cluster, session.0, &[2]);
    }

    fn take_snapshot(
        &mut self,
        _cluster: &mut Cluster<'_>,
        writer: &mut SnapshotWriter<'_>,
    ) -> Step {
        writer.write(&self.hash.to_le_bytes());
        Step::Done
    }
}
