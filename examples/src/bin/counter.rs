//! A service with state, timers and snapshots: counts messages, and tells every client once a
//! second of the cluster's time how many there were.
//!
//! ```text
//! cargo run -p coracle-examples --bin counter -- examples/node.toml
//! cargo run -p coracle-examples --bin client -- 0=127.0.0.1:20002 one two three
//! cargo run -- snapshot examples/node.toml
//! ```

use std::collections::BTreeSet;
use std::process::ExitCode;

use coracle::service::{
    CloseReason, Cluster, ClusterSessionId, ClusteredService, SnapshotWriter, Step, TimerId,
};

/// The one timer: set while there are sessions.
const TICK: TimerId = TimerId(1);
/// In milliseconds, the unit of the cluster's time unless it is set to another.
const INTERVAL: i64 = 1_000;

/// All of the state. It follows from the log alone: no clock, no randomness, no files.
#[derive(Default)]
struct Counter {
    messages: u64,
    sessions: BTreeSet<ClusterSessionId>,
}

impl Counter {
    fn tell(&self, cluster: &mut Cluster<'_>, session: ClusterSessionId) {
        let text = format!("{} messages at {}", self.messages, cluster.time());
        let _ = cluster.send(session, text.as_bytes());
    }
}

impl ClusteredService for Counter {
    /// The count first, then one message for each session.
    fn on_snapshot(&mut self, cluster: &mut Cluster<'_>, message: &[u8]) {
        match (message.split_first(), message.len()) {
            (Some((b'c', count)), 9) => self.messages = number(count),
            (Some((b's', id)), 9) => {
                self.sessions.insert(ClusterSessionId(number(id).cast_signed()));
            }
            _ => cluster.fail("the snapshot is not that of a counter"),
        }
    }

    fn on_session_open(&mut self, cluster: &mut Cluster<'_>, session: ClusterSessionId) {
        if self.sessions.is_empty() {
            cluster.schedule_timer(TICK, cluster.time() + INTERVAL);
        }
        self.sessions.insert(session);
    }

    fn on_session_message(
        &mut self,
        cluster: &mut Cluster<'_>,
        session: Option<ClusterSessionId>,
        _message: &[u8],
    ) {
        self.messages += 1;
        if let Some(session) = session {
            self.tell(cluster, session);
        }
    }

    fn on_session_close(
        &mut self,
        cluster: &mut Cluster<'_>,
        session: ClusterSessionId,
        _reason: CloseReason,
    ) {
        self.sessions.remove(&session);
        if self.sessions.is_empty() {
            cluster.cancel_timer(TICK);
        }
    }

    /// Timers are part of the cluster's state: a snapshot keeps those that are set.
    fn on_timer(&mut self, cluster: &mut Cluster<'_>, _timer: TimerId) {
        for &session in &self.sessions {
            self.tell(cluster, session);
        }
        if !self.sessions.is_empty() {
            cluster.schedule_timer(TICK, cluster.time() + INTERVAL);
        }
    }

    fn take_snapshot(&mut self, _: &mut Cluster<'_>, writer: &mut SnapshotWriter<'_>) -> Step {
        writer.write(&message(b'c', self.messages));
        for session in &self.sessions {
            writer.write(&message(b's', session.0.cast_unsigned()));
        }
        Step::Done
    }
}

fn message(kind: u8, value: u64) -> [u8; 9] {
    let mut bytes = [kind; 9];
    bytes[1..].copy_from_slice(&value.to_le_bytes());
    bytes
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

fn main() -> ExitCode {
    coracle::run_service(|| Box::<Counter>::default())
}
