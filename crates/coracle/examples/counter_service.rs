//! A service of one's own: counts messages and answers with the count.
//!
//! ```text
//! cargo run --example counter_service -- node.toml aeron.cluster.session.timeout=5s
//! ```

use std::process::ExitCode;

use coracle::service::{Cluster, ClusterSessionId, ClusteredService, SnapshotWriter, Step};

/// All of its state.
#[derive(Default)]
struct Counter(u64);

impl ClusteredService for Counter {
    fn on_snapshot(&mut self, cluster: &mut Cluster<'_>, message: &[u8]) {
        match message.try_into() {
            Ok(count) => self.0 = u64::from_le_bytes(count),
            Err(_) => cluster.fail("the snapshot is not a count"),
        }
    }

    fn on_session_message(
        &mut self,
        cluster: &mut Cluster<'_>,
        session: Option<ClusterSessionId>,
        _message: &[u8],
    ) {
        self.0 += 1;
        if let Some(session) = session {
            // Whether the client hears it must not change the state.
            let _ = cluster.send(session, &self.0.to_le_bytes());
        }
    }

    fn take_snapshot(&mut self, _: &mut Cluster<'_>, writer: &mut SnapshotWriter<'_>) -> Step {
        writer.write(&self.0.to_le_bytes());
        Step::Done
    }
}

fn main() -> ExitCode {
    coracle::run_service(|| Box::new(Counter::default()))
}
