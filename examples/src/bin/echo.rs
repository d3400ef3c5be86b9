//! The smallest service: what a client sends comes back to it, from every member's same state.
//!
//! ```text
//! cargo run -p coracle-examples --bin echo -- examples/node.toml
//! cargo run -p coracle-examples --bin client -- 0=127.0.0.1:20002 hello
//! ```

use std::process::ExitCode;

use coracle::service::{Cluster, ClusterSessionId, ClusteredService, SnapshotWriter, Step};

struct Echo;

impl ClusteredService for Echo {
    fn on_snapshot(&mut self, cluster: &mut Cluster<'_>, _message: &[u8]) {
        cluster.fail("an echo has no state: this is not its snapshot");
    }

    fn on_session_message(
        &mut self,
        cluster: &mut Cluster<'_>,
        session: Option<ClusterSessionId>,
        message: &[u8],
    ) {
        if let Some(session) = session {
            // A client that does not listen loses answers: that must not change the state.
            let _ = cluster.send(session, message);
        }
    }

    fn take_snapshot(&mut self, _: &mut Cluster<'_>, _: &mut SnapshotWriter<'_>) -> Step {
        Step::Done
    }
}

fn main() -> ExitCode {
    coracle::run_service(|| Box::new(Echo))
}
