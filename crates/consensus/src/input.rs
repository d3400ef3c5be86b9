//! Everything that can happen to the core: one of the two lists that define its world.
//!
//! Each item says when the agent sends it. Payloads are borrowed: the core copies what it keeps.

use wire::position::Position;

use crate::id::{ClusterSessionId, CorrelationId, LeadershipTermId, RecordingId, ServiceId};
use crate::message::PeerMessage;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// Time passed. Sent once per duty cycle, after the other inputs of the cycle.
    Tick,
    /// A decoded message of the consensus stream. Its fields are checked here.
    Peer(PeerMessage),
    /// A decoded message of an ingress stream, except session messages (see `Consensus::admit`).
    Ingress(Ingress<'a>),
    /// What became of a client's egress publication or ingress image.
    Client(ClientInput),
    /// The authenticator decided about a session; answers `ClientAction::Authenticate`.
    Authenticated(ClusterSessionId, Verdict<'a>),
    /// A message of a service or tool on the control stream.
    Service(ServiceInput<'a>),
    /// An event read from the log (replay, catch-up or live); `position` is just after it.
    ///
    /// Only within `Consensus::log_limit`, which is to be asked again after every event.
    Log {
        /// Position after the event.
        position: Position,
        /// The event.
        event: LogEvent<'a>,
    },
    /// The log was read up to here, where no event ends: padding at the end of a term buffer.
    Consumed(Position),
    /// How far our own archive has recorded the log: its counter, or progress of a replication.
    Recorded(Position),
    /// A session message admitted by `Consensus::admit` was appended; position after it.
    Appended(Position),
    /// A completion of an archive or log action, or something that happened to them.
    Archive(ArchiveInput),
    /// An operator changed the control toggle.
    Control(Control),
}

/// Ingress messages that are not session messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Fields as in the cluster specification 1.4.
pub enum Ingress<'a> {
    /// Template 3.
    Connect {
        correlation_id: CorrelationId,
        response_stream_id: i32,
        /// Client protocol version; 0 if absent.
        version: i32,
        /// After refinement (cluster specification 3.8), which is the agent's.
        response_channel: &'a str,
        credentials: &'a [u8],
    },
    /// Template 4.
    Close { leadership_term_id: LeadershipTermId, session: ClusterSessionId },
    /// Template 5.
    KeepAlive { leadership_term_id: LeadershipTermId, session: ClusterSessionId },
    /// Template 8.
    ChallengeResponse {
        correlation_id: CorrelationId,
        session: ClusterSessionId,
        credentials: &'a [u8],
    },
    /// Template 26; the agent asked the authorisation service before.
    Admin {
        leadership_term_id: LeadershipTermId,
        session: ClusterSessionId,
        correlation_id: CorrelationId,
        /// `AdminRequestType`: 0 is SNAPSHOT.
        request_type: i32,
        is_authorised: bool,
    },
}

/// What became of a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientInput {
    /// Its egress publication exists and has a subscriber; answers `ClientAction::Connect`.
    Connected(ClusterSessionId),
    /// Its egress publication cannot be made; answers `ClientAction::Connect`.
    Unreachable(ClusterSessionId),
    /// The ingress image linked to the session is gone.
    IngressLost(ClusterSessionId),
}

/// What the authenticator says of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// Let it in, with this principal (at most [`PRINCIPAL_BYTES_MAX`] bytes).
    Accepted {
        /// Opaque.
        principal: &'a [u8],
    },
    /// Ask it this.
    Challenge {
        /// Opaque.
        challenge: &'a [u8],
    },
    /// Refuse it.
    Rejected,
}

/// Longest principal that is stored (cluster specification 9.6).
pub const PRINCIPAL_BYTES_MAX: usize = 4096;

/// What services say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Fields as in the cluster specification 1.4.
pub enum ServiceInput<'a> {
    /// Template 1 on the control stream: a message offered by a service to the cluster.
    Offered { service: ServiceId, payload: &'a [u8] },
    /// Template 30.
    CloseSession { session: ClusterSessionId },
    /// Template 31. Where in the log the service stood when it asked, if it says so.
    ScheduleTimer { correlation_id: CorrelationId, deadline: i64, asked_at: Option<Position> },
    /// Template 32.
    CancelTimer { correlation_id: CorrelationId },
    /// Template 33.
    Ack { service: ServiceId, ack_id: i64, log_position: Position, relevant_id: i64 },
    /// The container died: its heartbeat counter is gone.
    Died { service: ServiceId },
}

/// Events of the log (cluster specification 1.4, "Log").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Fields as in the cluster specification 1.4.
pub enum LogEvent<'a> {
    /// Template 1: of a client (positive) or a service (negative).
    SessionMessage {
        leadership_term_id: LeadershipTermId,
        session: ClusterSessionId,
        timestamp: i64,
    },
    /// Template 20.
    Timer { leadership_term_id: LeadershipTermId, correlation_id: CorrelationId, timestamp: i64 },
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
        /// `CloseReason`.
        reason: i32,
    },
    /// Template 23.
    ClusterAction {
        leadership_term_id: LeadershipTermId,
        log_position: Position,
        timestamp: i64,
        /// `ClusterAction`: 0 SUSPEND, 1 RESUME, 2 SNAPSHOT.
        action: i32,
        /// 1: for standby nodes only.
        flags: i32,
    },
    /// Template 24.
    NewLeadershipTerm {
        leadership_term_id: LeadershipTermId,
        log_position: Position,
        timestamp: i64,
        term_base_log_position: Position,
        /// `ClusterTimeUnit`; absent is MILLIS.
        time_unit: Option<i32>,
    },
}

/// Completions and events of the archive, of the log's publication, image and replays.
///
/// After `LogLeft` none of the completions of earlier actions may arrive any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveInput {
    /// Answers `LeaveLog`: nothing of the log is open, the recording ended here.
    LogLeft {
        /// Stop position of the recording of the log, 0 if there is none.
        recorded: Position,
    },
    /// Answers `CreatePublication`.
    PublicationReady {
        /// Transport session of the live log.
        session_id: i32,
    },
    /// Answers `RecordPublication` and `RecordImage`: the recording's counter exists.
    RecordingStarted {
        /// The recording of the log.
        recording_id: RecordingId,
        /// Where it stands.
        position: Position,
    },
    /// The recording of the log ended without being asked to.
    RecordingStopped {
        /// Where.
        position: Position,
    },
    /// Answers `StartReplay` and `OpenLog`: the image is there, before its first byte is read.
    ImageJoined {
        /// Transport session of the image.
        session_id: i32,
        /// Its join position.
        position: Position,
    },
    /// The image of the log is closed and everything within the limit was read.
    ImageClosed {
        /// Whether its publication ended in order.
        is_end_of_stream: bool,
    },
    /// Answers `OpenLog` with catch-up: destination added, endpoint resolved.
    CatchupReady,
    /// Answers `Replicate`: everything up to the stop position is in our recording.
    Replicated {
        /// The end of our recording.
        position: Position,
    },
    /// Answers `Truncate`.
    Truncated {
        /// The end of our recording.
        position: Position,
    },
    /// Our recording turned out to be damaged: from here on it cannot be read any more.
    Rotten {
        /// The first byte that is lost.
        position: Position,
    },
    /// Answers `TakeSnapshot`; `None` if it failed in a way that others do not suffer from.
    SnapshotTaken {
        /// Recording of the module's own snapshot.
        recording_id: Option<RecordingId>,
    },
    /// The action the core waits for failed, or its subject closed: the election starts again.
    Failed,
    /// Storage is full or failing, or the archive is gone: this node must end.
    Lost,
}

/// What an operator can ask for (counter 202; cluster specification 8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Stop consuming ingress and firing timers.
    Suspend,
    /// Undo `Suspend`.
    Resume,
    /// Take a snapshot on every member.
    Snapshot,
    /// Take a snapshot, then end every member.
    Shutdown,
    /// End every member at once.
    Abort,
    /// Let standby nodes take a snapshot.
    StandbySnapshot,
}

/// What an input moves in service, where that is all that it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The log was appended to, or read on: no phase takes notice of it.
    OfLog,
    /// A recording of ours or of another member grew, or its commit: the phase notes it down.
    OfRecordings,
    /// Anything may follow from it.
    None,
}

impl Input<'_> {
    /// What this input is to the phase in service. Under load there is one for each message: what
    /// follows from all of a cycle is found by the tick that ends it.
    pub(crate) fn progress(&self) -> Progress {
        match self {
            Self::Appended(_)
            | Self::Consumed(_)
            | Self::Log { event: LogEvent::SessionMessage { .. }, .. } => Progress::OfLog,
            Self::Recorded(_)
            | Self::Peer(PeerMessage::AppendPosition(_) | PeerMessage::CommitPosition(_)) => {
                Progress::OfRecordings
            }
            _ => Progress::None,
        }
    }
}
