//! Everything the core can ask for: the other list that defines its world.
//!
//! Queues are apart, so that one slow party stops only itself; each is pulled in its own order by
//! its own `drain_*`, which stops at the first action that is back pressured. A persist action
//! that is not yet done holds back every other queue: what is decided upon a record is never
//! visible before the record is durable.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

use wire::position::Position;

use crate::id::{ClusterSessionId, CorrelationId, LeadershipTermId, MemberId, RecordingId};
use crate::loss::Loss;
use crate::message::PeerMessage;

/// What became of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was issued. For a persist action: it is durable.
    Done,
    /// It was appended to the log; the position after it. Only for log actions.
    Appended(Position),
    /// Not now: ask again.
    BackPressured,
}

/// In one order: records that must be durable, and messages to members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerAction {
    /// Make it durable before anything that stands behind it.
    Persist(Persist),
    /// Send it. A peer that is not connected loses it: that is `Done`.
    Send {
        /// The receiver.
        to: MemberId,
        /// The message.
        message: PeerMessage,
    },
}

/// A record of recording.log or node-state.dat, or of a loss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Persist {
    /// node-state.dat: the highest term voted or stood for.
    CandidateTerm {
        /// The term.
        term: LeadershipTermId,
        /// Append position at the time.
        log_position: Position,
    },
    /// recording.log: TERM `term` at `base` first, then the ids from `gap_from` to the one before
    /// it, all at `base` (P2); the entry before them is closed at `base`. Force.
    Term {
        /// The new term.
        term: LeadershipTermId,
        /// Where it begins.
        base: Position,
        /// First id without an entry: equal to `term` if there is no gap.
        gap_from: LeadershipTermId,
    },
    /// recording.log: remove the TERM entries of `from` and later, open the last that stays. Force.
    DropTerms {
        /// The lowest term to remove.
        from: LeadershipTermId,
    },
    /// recording.log: the TERM entry of `term` ends here, at an orderly termination. Force.
    EndTerm {
        /// The term.
        term: LeadershipTermId,
        /// Its end.
        end: Position,
    },
    /// recording.log: services from the highest to 0, then the module, then force.
    Snapshot {
        /// Term of the snapshot.
        term: LeadershipTermId,
        /// Base of that term.
        term_base: Position,
        /// Position of the snapshot.
        position: Position,
        /// Cluster time of the snapshot.
        timestamp: i64,
        /// The module's recording.
        module: RecordingId,
        /// The recordings of the services, service 0 first.
        services: Vec<RecordingId>,
    },
    /// A record of its own: what this member lost of its log (rule H3).
    Loss(Loss),
    /// That record goes: everything was regained.
    Regained,
}

/// Something to do with the archive, or with the log's publication, image and replays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveAction {
    /// Close publication, image, replay, replication and catch-ups of the log and stop its
    /// recording. Answer: `LogLeft`. Queued actions before it may be skipped.
    LeaveLog,
    /// Create the log's publication, which continues at `position`. Answer: `PublicationReady`.
    CreatePublication {
        /// Where the new term begins.
        position: Position,
    },
    /// Record our own publication. Answer: `RecordingStarted`.
    RecordPublication,
    /// Replay our recording to ourselves and our services. Answer: `ImageJoined`.
    StartReplay {
        /// First byte.
        from: Position,
        /// End of the recording.
        to: Position,
    },
    /// Close the replay. No answer.
    StopReplay,
    /// Copy from the leader's recording to ours. Answers: `Recorded` as it goes, `Replicated`.
    Replicate {
        /// The leader.
        from_member: MemberId,
        /// Its recording.
        leader_recording_id: RecordingId,
        /// Where to stop.
        stop: Position,
    },
    /// Cut our recording. Answer: `Truncated`.
    Truncate {
        /// The new end.
        position: Position,
    },
    /// Subscribe to the leader's log: with a catch-up destination (answers: `CatchupReady`, and
    /// `ImageJoined` once the leader replays) or the live one (answer: `ImageJoined`).
    OpenLog {
        /// The leader.
        leader: MemberId,
        /// Transport session of the live log.
        session_id: i32,
        /// Whether a replay comes first.
        is_catchup: bool,
    },
    /// Record the image of the leader's log. Answer: `RecordingStarted`.
    RecordImage,
    /// Catch-up is near the end: add the live destination. No answer.
    AddLiveDestination,
    /// Catch-up is over: remove its destination. No answer.
    RemoveCatchupDestination,
    /// As the leader: replay the log to a follower's endpoint, which follows the live recording.
    /// The endpoint is in `Consensus::catchup_endpoint`. No answer.
    StartCatchup {
        /// The follower.
        member: MemberId,
        /// First byte.
        from: Position,
    },
    /// As the leader: stop that replay. No answer.
    StopCatchup {
        /// The follower.
        member: MemberId,
    },
    /// Write the module's snapshot (`Consensus::snapshot`) to a recording. Answer: `SnapshotTaken`.
    TakeSnapshot {
        /// Position of the snapshot.
        position: Position,
        /// Its term.
        term: LeadershipTermId,
    },
}

/// Something the leader appends to the log. The performer fills in what only it knows: the
/// position of an event that carries its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Fields as in the cluster specification 1.4.
pub enum LogAction<'a> {
    /// Template 24. Its `log_position` is the position after it.
    NewLeadershipTerm {
        leadership_term_id: LeadershipTermId,
        timestamp: i64,
        term_base_log_position: Position,
        leader_member_id: MemberId,
        log_session_id: i32,
        time_unit: i32,
        app_version: i32,
    },
    /// Template 21.
    SessionOpen {
        leadership_term_id: LeadershipTermId,
        correlation_id: CorrelationId,
        session: ClusterSessionId,
        timestamp: i64,
        response_stream_id: i32,
        response_channel: &'a str,
        principal: &'a [u8],
    },
    /// Template 22.
    SessionClose {
        leadership_term_id: LeadershipTermId,
        session: ClusterSessionId,
        timestamp: i64,
        reason: i32,
    },
    /// Template 20.
    Timer { leadership_term_id: LeadershipTermId, correlation_id: CorrelationId, timestamp: i64 },
    /// Template 23. Its `log_position` is the position after it.
    ClusterAction { leadership_term_id: LeadershipTermId, timestamp: i64, action: i32, flags: i32 },
    /// Template 1 with a negative session id, then the payload.
    ServiceMessage {
        leadership_term_id: LeadershipTermId,
        session: ClusterSessionId,
        timestamp: i64,
        payload: &'a [u8],
    },
}

/// Something to tell one client, or its authenticator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAction {
    /// Make the egress publication. Answers: `Connected` or `Unreachable`.
    Connect {
        /// Egress stream.
        response_stream_id: i32,
        /// Egress channel.
        response_channel: String,
    },
    /// Let the authenticator decide. Answer: `Input::Authenticated`.
    Authenticate {
        /// Of the connect request, or of the answer to a challenge.
        credentials: Vec<u8>,
        /// Whether they answer a challenge.
        is_challenge_response: bool,
    },
    /// Template 7.
    Challenge {
        /// Of the connect request.
        correlation_id: CorrelationId,
        /// Opaque.
        challenge: Vec<u8>,
    },
    /// Template 2. One that is not `OK` or `REDIRECT` is best effort: three attempts, then `Done`.
    Event {
        /// Of the connect request; -1 for others.
        correlation_id: CorrelationId,
        /// Current term.
        leadership_term_id: LeadershipTermId,
        /// Leader as known here; -1 if none is.
        leader_member_id: MemberId,
        /// What it says.
        code: EventCode,
        /// Text.
        detail: String,
    },
    /// Template 6: this member leads now. The detail is the ingress endpoints of the configuration.
    NewLeader {
        /// The new term.
        leadership_term_id: LeadershipTermId,
    },
    /// Template 27.
    AdminResponse {
        /// Of the request.
        correlation_id: CorrelationId,
        /// Of the request.
        request_type: i32,
        /// 0 OK, 1 ERROR, 2 UNAUTHORISED_ACCESS.
        response_code: i32,
        /// Error text.
        message: String,
    },
    /// Close the egress publication and forget the session. Always the last of a client.
    Disconnect,
}

/// `EventCode` of a session event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Names of the cluster specification 1.2.
pub enum EventCode {
    Ok = 0,
    Error = 1,
    Redirect = 2,
    AuthenticationRejected = 3,
    Closed = 4,
}

/// Something to tell all services: there is one publication for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceAction {
    /// Template 40. Channel and stream are the agent's; every service acknowledges at `from`.
    JoinLog {
        /// Where the image joins.
        from: Position,
        /// Where the log is done, `None` for the live one.
        to: Option<Position>,
        /// Transport session of the image.
        session_id: i32,
        /// Whether old sessions must not be connected again.
        is_startup: bool,
        /// Whether this member leads.
        is_leader: bool,
    },
    /// Template 42.
    Terminate {
        /// Where; 0 at once.
        position: Position,
        /// Whether services answer.
        ack_required: bool,
    },
}

/// Most actions that a queue holds. Peers cost a handful per input, so this is never met unless
/// the agent does not drain; the oldest sends are then lost, as on any network.
const QUEUE_MAX: usize = 16 * 1024;

#[derive(Clone, Debug)]
struct Queued<T> {
    /// How many persist actions were queued before it.
    after: u64,
    action: T,
}

/// The queues.
#[derive(Clone, Debug, Default)]
pub(crate) struct Out {
    peers: VecDeque<PeerAction>,
    archive: VecDeque<Queued<ArchiveAction>>,
    services: VecDeque<Queued<ServiceAction>>,
    persist_queued: u64,
    persist_done: u64,
}

impl Out {
    pub(crate) fn send(&mut self, to: MemberId, message: PeerMessage) {
        if self.peers.len() < QUEUE_MAX {
            self.peers.push_back(PeerAction::Send { to, message });
        }
    }

    pub(crate) fn persist(&mut self, record: Persist) {
        self.persist_queued += 1;
        self.peers.push_back(PeerAction::Persist(record));
    }

    /// Whether every record asked for is durable.
    pub(crate) fn is_persisted(&self) -> bool {
        self.persist_done == self.persist_queued
    }

    pub(crate) fn archive(&mut self, action: ArchiveAction) {
        self.archive.push_back(Queued { after: self.persist_queued, action });
    }

    pub(crate) fn service(&mut self, action: ServiceAction) {
        self.services.push_back(Queued { after: self.persist_queued, action });
    }

    /// The log is left: what was asked of it and not yet issued is void, joins included.
    pub(crate) fn void_log(&mut self) -> bool {
        self.archive.retain(|queued| matches!(queued.action, ArchiveAction::TakeSnapshot { .. }));
        let before = self.services.len();
        self.services.retain(|queued| !matches!(queued.action, ServiceAction::JoinLog { .. }));
        self.services.len() < before
    }

    pub(crate) fn drain_peers(&mut self, mut perform: impl FnMut(&PeerAction) -> Outcome) -> usize {
        let mut count = 0;
        while let Some(action) = self.peers.front() {
            if perform(action) == Outcome::BackPressured {
                break;
            }
            if matches!(action, PeerAction::Persist(_)) {
                self.persist_done += 1;
            }
            self.peers.pop_front();
            count += 1;
        }
        count
    }

    pub(crate) fn drain_archive(
        &mut self,
        perform: impl FnMut(&ArchiveAction) -> Outcome,
    ) -> usize {
        drain(&mut self.archive, self.persist_done, perform)
    }

    pub(crate) fn drain_services(
        &mut self,
        perform: impl FnMut(&ServiceAction) -> Outcome,
    ) -> usize {
        drain(&mut self.services, self.persist_done, perform)
    }
}

fn drain<T>(
    queue: &mut VecDeque<Queued<T>>,
    persist_done: u64,
    mut perform: impl FnMut(&T) -> Outcome,
) -> usize {
    let mut count = 0;
    while let Some(queued) = queue.front() {
        if queued.after > persist_done || perform(&queued.action) == Outcome::BackPressured {
            break;
        }
        queue.pop_front();
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_behind_a_record_waits_until_it_is_durable() {
        let mut out = Out::default();
        out.archive(ArchiveAction::StopReplay);
        out.persist(Persist::DropTerms { from: LeadershipTermId(3) });
        out.archive(ArchiveAction::RecordImage);
        assert_eq!(out.drain_archive(|_| Outcome::Done), 1);
        assert_eq!(out.drain_peers(|_| Outcome::BackPressured), 0);
        assert_eq!(out.drain_archive(|_| Outcome::Done), 0);
        assert_eq!(out.drain_peers(|_| Outcome::Done), 1);
        assert_eq!(out.drain_archive(|_| Outcome::Done), 1);
    }
}
