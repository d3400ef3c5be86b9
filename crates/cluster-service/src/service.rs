//! What a user writes: a state machine that the log drives.

use wire::cluster::{CloseReason, Role};

use crate::cluster::Cluster;
use crate::snapshot::SnapshotWriter;

/// A client's session with the cluster: 1 and up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterSessionId(pub i64);

/// A timer, as the service that set it calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerId(pub i64);

/// Whether there is more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Call again.
    More,
    /// It is complete.
    Done,
}

/// A replicated state machine.
///
/// Every member calls the same methods in the same order with the same arguments, so that equal
/// services stay equal: nothing may depend on anything else. No clock but [`Cluster::time`], no
/// random numbers, no iteration order of a hash map, no files, no [`Cluster::role`], and not on
/// whether [`Cluster::send`] succeeded. Nothing may block.
///
/// The methods run on the container's agent. A service that cannot go on calls [`Cluster::fail`].
pub trait ClusteredService: Send {
    /// Takes back one message of the snapshot that this member starts from, in the order in which
    /// they were written.
    fn on_snapshot(&mut self, cluster: &mut Cluster<'_>, message: &[u8]);

    /// The snapshot, if there was one, is complete; the log follows.
    fn on_start(&mut self, cluster: &mut Cluster<'_>) {
        let _ = cluster;
    }

    /// A client's session opened.
    fn on_session_open(&mut self, cluster: &mut Cluster<'_>, session: ClusterSessionId) {
        let _ = (cluster, session);
    }

    /// A message came: from a client, or from a service of this cluster when `session` is `None`.
    fn on_session_message(
        &mut self,
        cluster: &mut Cluster<'_>,
        session: Option<ClusterSessionId>,
        message: &[u8],
    );

    /// A client's session closed.
    fn on_session_close(
        &mut self,
        cluster: &mut Cluster<'_>,
        session: ClusterSessionId,
        reason: CloseReason,
    ) {
        let _ = (cluster, session, reason);
    }

    /// A timer fell due. It fires once.
    fn on_timer(&mut self, cluster: &mut Cluster<'_>, timer: TimerId) {
        let _ = (cluster, timer);
    }

    /// Writes the next part of the state. Called once a cycle until [`Step::Done`]; the log stands
    /// still meanwhile, so that the state is that of one position.
    fn take_snapshot(&mut self, cluster: &mut Cluster<'_>, writer: &mut SnapshotWriter<'_>)
    -> Step;

    /// This member leads now, or no longer. Not part of the log: see above.
    fn on_role_change(&mut self, cluster: &mut Cluster<'_>, role: Role) {
        let _ = (cluster, role);
    }

    /// The container ends after this call.
    fn on_terminate(&mut self, cluster: &mut Cluster<'_>) {
        let _ = cluster;
    }
}
