//! Floor 3: the pure consensus core.
//!
//! One member's share in a cluster as a machine: inputs in, actions out. It has no clock, no IO,
//! no threads and no randomness but a seeded generator; the same inputs give the same actions.
//! It decides by the rules P1-P3, L1-L4, F1-F6, V1-V3 and H1-H4 of the consensus rules, each named
//! where it stands, on the wire of genuine Aeron Cluster.
//!
//! # The contract of the agent around it
//!
//! **Cycle.** Feed what happened ([`Consensus::handle`]), one [`Input::Tick`] last, then pull:
//! [`Consensus::drain_peers`] first, since records stand there that hold back all other queues,
//! then [`Consensus::drain_archive`], [`Consensus::drain_services`], [`Consensus::drain_clients`]
//! and [`Consensus::drain_log`]. Then show role, states, term and [`Consensus::commit_position`]
//! as counters. `now` never goes back.
//!
//! **Durability.** A [`Persist`] action is `Done` when it is durable, `BackPressured` until then
//! (it may be done in the background). Nothing behind it in any queue is handed out before.
//!
//! **Start.** [`Consensus::new`] with what the directory holds, [`Consensus::restore`] for each
//! item of the newest snapshot. Services acknowledge the start (ack 0, at the snapshot position or
//! 0, relevant id -1 if failed); then the module is ACTIVE and the first election begins.
//!
//! **Waits.** An action ends when it is issued; its completion is an input:
//!
//! | action | answered by |
//! |---|---|
//! | [`ArchiveAction::LeaveLog`] | [`ArchiveInput::LogLeft`], after which no completion or `Recorded` of anything before may arrive |
//! | `CreatePublication` | `PublicationReady` |
//! | `RecordPublication`, `RecordImage` | `RecordingStarted`, then `Input::Recorded` as it grows |
//! | `StartReplay` | `ImageJoined` |
//! | `OpenLog` live | `ImageJoined` |
//! | `OpenLog` with catch-up | `CatchupReady`; after the leader's replay began, `ImageJoined` |
//! | `Replicate` | `Input::Recorded` as it grows, `Replicated` |
//! | `Truncate` | `Truncated` |
//! | `TakeSnapshot` | `SnapshotTaken` (also while an election runs) |
//! | any of them, failed | `Failed` (`Lost` if the archive or its storage is gone) |
//! | [`ServiceAction::JoinLog`] | one [`ServiceInput::Ack`] of every service, ids counting up from the start's 0, at `from` |
//! | [`ClientAction::Connect`] | [`ClientInput::Connected`] or `Unreachable` |
//! | [`ClientAction::Authenticate`] | [`Input::Authenticated`], at any later time |
//!
//! A service acknowledges a `JoinLog` even if another follows before its image came: acks of a
//! join that was given up are still waited for before the next join is sent.
//!
//! **Reading the log** (replay, catch-up, live): only up to [`Consensus::log_limit`], asked again
//! after each event; each event goes in as [`Input::Log`], padding as [`Input::Consumed`].
//! Services read up to [`Consensus::commit_position`]. [`ArchiveInput::ImageClosed`] is reported
//! once all within the limit is read.
//!
//! **Ingress**: a session message is offered to [`Consensus::admit`]; if it says `Append`, append
//! header and payload in one offer and report [`Input::Appended`] at once. `Wait` means: do not
//! poll ingress now. All other ingress messages are inputs.
//!
//! **Peers**: decode every message of the consensus stream and feed it; the application version is
//! checked by the agent before. Append nothing that was not asked for.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod action;
mod config;
mod context;
mod control;
mod election;
mod fingerprint;
mod id;
mod input;
mod log;
mod loss;
mod member;
mod message;
mod publish;
mod random;
mod recovery;
mod service;
mod session;
mod snapshot;
mod term;
mod timer;

pub use action::{
    ArchiveAction, ClientAction, EventCode, LogAction, Outcome, PeerAction, Persist, ServiceAction,
};
pub use config::{Config, Rules, TimeUnit, Timeouts};
pub use context::{Counters, Halt, Role};
pub use control::{ModuleState, Toggle};
pub use election::ElectionState;
#[doc(hidden)]
pub use fingerprint::Rename;
pub use id::{ClusterSessionId, CorrelationId, LeadershipTermId, MemberId, RecordingId, ServiceId};
pub use input::{
    ArchiveInput, ClientInput, Control, Ingress, Input, LogEvent, PRINCIPAL_BYTES_MAX,
    ServiceInput, Verdict,
};
pub use log::{Admit, SessionHeader};
pub use loss::Loss;
pub use message::{
    AppendPosition, CanvassPosition, CatchupPosition, CommitPosition, NewLeadershipTerm,
    PeerMessage, RequestVote, StopCatchup, TerminationAck, TerminationPosition, Vote,
};
pub use recovery::{Recovery, SnapshotEntry, SnapshotSet, newest_snapshot};
pub use session::CloseReason;
pub use snapshot::SnapshotItem;
pub use term::{Incoherent, TermRecord, TermTable};

use wire::position::Position;
use wire::time::{Nanos, Now};

use context::Context;
use election::Election;
use input::Progress;
use service::Barrier;
use session::Connect;

/// Transitions without new input are few; this bounds a defect.
const ADVANCES_MAX: usize = 16;

/// One member's consensus.
#[derive(Clone, Debug)]
pub struct Consensus {
    ctx: Context,
    election: Election,
    is_log_refused: bool,
}

impl Consensus {
    /// A member that starts with what its directory holds. `seed` moves its random delays.
    ///
    /// With services, they are awaited first; see the contract above.
    #[must_use]
    pub fn new(config: Config, recovery: &Recovery, seed: u64, now: Now) -> Self {
        let rules = config.rules;
        let (snapshot_term, position, time) =
            recovery.snapshot.unwrap_or((LeadershipTermId::NONE, Position(0), 0));
        let candidate =
            if rules.vote_saved { recovery.candidate_term } else { LeadershipTermId::NONE };
        let mut ctx = Context::start(config, recovery, seed, now);
        ctx.log.position = position;
        ctx.log.published = recovery.recorded;
        ctx.exposed = position;
        ctx.log.time = time;
        ctx.term = ctx.terms.last().max(snapshot_term);
        ctx.candidate = candidate.max(ctx.term);
        // V1: after a restart the candidate term binds.
        ctx.promise = candidate;
        ctx.services.expect(Barrier::Start, position);
        ctx.settle();
        ctx.expect_recorded(position);
        Self { ctx, election: Election::Starting, is_log_refused: false }
    }

    /// Takes one item of the module's snapshot, in its order, before anything else is handled.
    /// False if it does not fit: the snapshot is not to be used.
    pub fn restore(&mut self, item: SnapshotItem<'_>) -> bool {
        self.ctx.restore(item)
    }

    /// Writes the module's snapshot, between its markers; asked for by `TakeSnapshot`.
    pub fn snapshot(&self, write: impl FnMut(SnapshotItem<'_>)) {
        self.ctx.snapshot(write);
    }

    /// Takes notice of one thing that happened.
    pub fn handle(&mut self, now: Now, input: Input<'_>) {
        self.ctx.now = now;
        self.observe(&input);
        let before = self.election.state();
        let progress =
            if before == ElectionState::Closed { input.progress() } else { Progress::None };
        if progress == Progress::OfLog {
            return;
        }
        let election = core::mem::replace(&mut self.election, Election::Halted);
        self.election = election.handle(&mut self.ctx, &input);
        self.ctx.note_transition(before, self.election.state());
        if progress == Progress::OfRecordings && self.election.state() == before {
            return;
        }
        for _ in 0..ADVANCES_MAX {
            let before = self.election.state();
            let election = core::mem::replace(&mut self.election, Election::Halted);
            self.election = election.advance(&mut self.ctx);
            self.ctx.note_transition(before, self.election.state());
            self.ctx.advance_control();
            if self.election.state() == before {
                break;
            }
        }
        if input == Input::Tick {
            self.ctx.sessions.expire_leaving(now.mono);
        }
    }

    /// What concerns no phase of the election.
    fn observe(&mut self, input: &Input<'_>) {
        match *input {
            Input::Tick | Input::Peer(_) => {}
            Input::Ingress(ref ingress) => self.on_ingress(ingress),
            Input::Client(client) => self.on_client(client),
            Input::Authenticated(session, verdict) => {
                let by = Context::answerer(&self.ctx.config, self.ctx.term, self.ctx.leader);
                self.ctx.sessions.on_verdict(session, verdict, by, self.ctx.now.mono);
            }
            Input::Service(ref service) => self.on_service(service),
            Input::Log { position, ref event } => {
                if self.may_read(position) {
                    self.ctx.on_log_event(position, event);
                }
            }
            Input::Consumed(position) => {
                if self.may_read(position) {
                    self.ctx.consumed(position);
                }
            }
            Input::Recorded(position) => {
                if matches!(self.election, Election::Leader(_) | Election::Follower(_)) {
                    self.ctx.log.recorded = self.ctx.log.recorded.max(position);
                }
            }
            Input::Appended(position) => {
                if self.leads() && position > self.ctx.log.published {
                    self.ctx.log.time = self.ctx.log_time();
                    self.ctx.log.published = position;
                    self.ctx.log.position = position;
                }
            }
            Input::Archive(ArchiveInput::Lost) => self.ctx.halt(Halt::Storage),
            Input::Archive(ArchiveInput::SnapshotTaken { recording_id }) => {
                self.ctx.on_snapshot_taken(recording_id);
            }
            Input::Archive(_) => {}
            Input::Control(control) => {
                if self.leads() {
                    self.ctx.control.request(control);
                }
            }
        }
    }

    fn leads(&self) -> bool {
        matches!(&self.election, Election::Leader(leader) if leader.is_in_service())
    }

    fn may_read(&self, position: Position) -> bool {
        self.ctx.log.position < position && position <= self.log_limit()
    }

    fn on_ingress(&mut self, ingress: &Ingress<'_>) {
        let now = self.ctx.now.mono;
        let is_current = |term: LeadershipTermId| self.leads() && term == self.ctx.term;
        match *ingress {
            Ingress::Connect {
                correlation_id,
                response_stream_id,
                version,
                response_channel,
                credentials,
            } => {
                let request = Connect {
                    correlation_id,
                    response_stream_id,
                    version,
                    response_channel,
                    credentials,
                };
                let leads = self.leads();
                let by = Context::answerer(&self.ctx.config, self.ctx.term, self.ctx.leader);
                if leads {
                    self.ctx.sessions.connect(&request, by, now);
                } else {
                    self.ctx.sessions.redirect(&request, by, now);
                }
            }
            Ingress::Close { leadership_term_id, session } => {
                if is_current(leadership_term_id) {
                    self.ctx.sessions.close(session, CloseReason::ClientAction);
                }
            }
            Ingress::KeepAlive { leadership_term_id, session } => {
                if is_current(leadership_term_id) {
                    self.ctx.sessions.touch(session, now);
                }
            }
            Ingress::ChallengeResponse { correlation_id, session, credentials } => {
                if self.leads() {
                    let sessions = &mut self.ctx.sessions;
                    sessions.on_challenge_response(session, correlation_id, credentials, now);
                }
            }
            Ingress::Admin {
                leadership_term_id,
                session,
                correlation_id,
                request_type,
                is_authorised,
            } => {
                if is_current(leadership_term_id) && self.ctx.sessions.is_open(session) {
                    self.on_admin(session, correlation_id, request_type, is_authorised);
                }
            }
        }
    }

    fn on_admin(
        &mut self,
        session: ClusterSessionId,
        correlation_id: CorrelationId,
        request_type: i32,
        is_authorised: bool,
    ) {
        let (response_code, message) = if !is_authorised {
            (2, "unauthorised access")
        } else if request_type != 0 {
            (1, "unknown request type")
        } else if self.ctx.control.request(Control::Snapshot) {
            (0, "")
        } else {
            (1, "failed to request a snapshot: another action is under way")
        };
        let message = message.into();
        let answer =
            ClientAction::AdminResponse { correlation_id, request_type, response_code, message };
        self.ctx.sessions.reply(session, answer);
    }

    fn on_client(&mut self, client: ClientInput) {
        let now = self.ctx.now.mono;
        match client {
            ClientInput::Connected(session) => self.ctx.sessions.on_connected(session, now),
            ClientInput::Unreachable(session) => self.ctx.sessions.on_unreachable(session),
            ClientInput::IngressLost(session) => {
                if self.leads() && self.ctx.control.state == ModuleState::Active {
                    self.ctx.sessions.close(session, CloseReason::Timeout);
                }
            }
        }
    }

    fn on_service(&mut self, service: &ServiceInput<'_>) {
        let ctx = &mut self.ctx;
        match *service {
            ServiceInput::Offered { service, payload } => {
                let refused =
                    ctx.services.pending_of(service).is_some_and(|p| p.offer(payload).is_err());
                if refused {
                    ctx.halt(Halt::TooManyPending);
                }
            }
            ServiceInput::CloseSession { session } => {
                let election = &self.election;
                let leads = matches!(election, Election::Leader(leader) if leader.is_in_service());
                ctx.sessions.close_by_service(session, leads);
            }
            ServiceInput::ScheduleTimer { correlation_id, deadline, asked_at } => {
                ctx.timers.schedule(correlation_id, deadline, asked_at);
            }
            ServiceInput::CancelTimer { correlation_id } => ctx.timers.cancel(correlation_id),
            ServiceInput::Ack { service, ack_id, log_position, relevant_id } => {
                if ctx.services.on_ack(service, ack_id, log_position, relevant_id).is_err() {
                    ctx.halt(Halt::UnexpectedAck);
                }
                ctx.settle();
            }
            ServiceInput::Died { .. } => {
                if ctx.control.state != ModuleState::Terminating {
                    ctx.halt(Halt::ServiceFailed);
                }
            }
        }
    }

    /// What to do with a session message that claims to be of `session` and `term`.
    #[must_use]
    pub fn admit(&self, session: ClusterSessionId, term: LeadershipTermId, now: Now) -> Admit {
        let ctx = &self.ctx;
        if !self.leads() || term != ctx.term {
            return Admit::Drop;
        }
        let is_ending = ctx.control.termination.is_some() || ctx.control.request.is_some();
        if self.is_log_refused || is_ending || ctx.control.state != ModuleState::Active {
            return Admit::Wait;
        }
        if !ctx.sessions.is_open(session) {
            return Admit::Drop;
        }
        let timestamp = ctx.config.time_unit.from_nanos(now.epoch.0).max(ctx.log.time);
        Admit::Append(SessionHeader { leadership_term_id: ctx.term, session, timestamp })
    }

    /// A session message of `session` was appended: its activity. Call with `Input::Appended`.
    pub fn appended(&mut self, session: ClusterSessionId, position: Position, now: Now) {
        self.handle(now, Input::Appended(position));
        self.ctx.sessions.touch(session, now.mono);
    }

    /// How far the agent may read the log now. Never below what it has read.
    #[must_use]
    pub fn log_limit(&self) -> Position {
        let ctx = &self.ctx;
        if !ctx.control.is_running() {
            return ctx.log.position;
        }
        let limit = match &self.election {
            Election::Leader(leader) => leader.read_limit(),
            Election::Follower(follower) => follower.read_limit(ctx),
            _ => None,
        };
        limit.unwrap_or(ctx.log.position).max(ctx.log.position)
    }

    /// Where the log that is read now ends, while our recording is replayed. A message that is in
    /// it in part only is passed over by [`Input::Consumed`]: the rest may come with the next log.
    #[must_use]
    pub fn log_end(&self) -> Option<Position> {
        self.election.replay_end()
    }

    /// Performs, in one order, records to be made durable and messages to members.
    pub fn drain_peers(&mut self, perform: impl FnMut(&PeerAction) -> Outcome) -> usize {
        self.ctx.out.drain_peers(perform)
    }

    /// Performs what concerns the archive and the log's publication, image and replays.
    pub fn drain_archive(&mut self, perform: impl FnMut(&ArchiveAction) -> Outcome) -> usize {
        self.ctx.out.drain_archive(perform)
    }

    /// Performs what all services are told.
    pub fn drain_services(&mut self, perform: impl FnMut(&ServiceAction) -> Outcome) -> usize {
        self.ctx.out.drain_services(perform)
    }

    /// Performs what clients are told; a slow one stops only itself. A client with a negative id
    /// only waits for an answer: the id is local to the agent, and -1 on the wire.
    pub fn drain_clients(
        &mut self,
        perform: impl FnMut(ClusterSessionId, &ClientAction) -> Outcome,
    ) -> usize {
        if !self.ctx.out.is_persisted() {
            return 0;
        }
        self.ctx.sessions.drain(perform)
    }

    /// Appends what is due to the log, at most a cycle's worth. `perform` answers
    /// [`Outcome::Appended`] or [`Outcome::BackPressured`].
    pub fn drain_log(
        &mut self,
        now: Now,
        mut perform: impl FnMut(&LogAction<'_>) -> Outcome,
    ) -> usize {
        self.ctx.now = now;
        let Election::Leader(leader) = &mut self.election else { return 0 };
        if !self.ctx.out.is_persisted() {
            return 0;
        }
        let (count, result) = publish::drain(leader, &mut self.ctx, &mut perform);
        self.is_log_refused = result.is_err();
        count
    }

    /// What services may read: counter 203. Never falls while this member runs.
    #[must_use]
    pub fn commit_position(&self) -> Position {
        self.ctx.exposed
    }

    /// The end of our recording, as known here.
    #[must_use]
    pub fn append_position(&self) -> Position {
        self.ctx.log.recorded
    }

    /// How far the module's state follows the log.
    #[must_use]
    pub fn log_position(&self) -> Position {
        self.ctx.log.position
    }

    /// When a tick will tell followers of what is committed; `Nanos::MAX` if they know.
    #[must_use]
    pub fn commit_due(&self) -> Nanos {
        match &self.election {
            Election::Leader(leader) => leader.commit_due(&self.ctx),
            _ => Nanos::MAX,
        }
    }

    /// Counter 239.
    #[must_use]
    pub fn leadership_term_id(&self) -> LeadershipTermId {
        self.ctx.term
    }

    /// What was lost of the log and is not regained: meanwhile this member elects nobody (H1).
    #[must_use]
    pub fn loss(&self) -> Option<Loss> {
        self.ctx.loss
    }

    /// Terms as recorded.
    #[must_use]
    pub fn terms(&self) -> &TermTable {
        &self.ctx.terms
    }

    /// Who leads, as known here.
    #[must_use]
    pub fn leader(&self) -> Option<MemberId> {
        self.ctx.leader
    }

    /// Whether this member leads in service: the only time ingress is taken.
    #[must_use]
    pub fn is_leading(&self) -> bool {
        self.leads()
    }

    /// Counter 201.
    #[must_use]
    pub fn role(&self) -> Role {
        self.ctx.role
    }

    /// Counter 207.
    #[must_use]
    pub fn election_state(&self) -> ElectionState {
        self.election.state()
    }

    /// Counter 200.
    #[must_use]
    pub fn module_state(&self) -> ModuleState {
        self.ctx.control.state
    }

    /// Counter 202, as the agent is to show it.
    #[must_use]
    pub fn toggle(&self) -> Toggle {
        if self.leads() { self.ctx.control.toggle } else { Toggle::Inactive }
    }

    /// Why this member must end; once set it does nothing more. Queues may still be drained.
    #[must_use]
    pub fn halted(&self) -> Option<&Halt> {
        self.ctx.halt.as_ref()
    }

    /// What happened since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.ctx.counters
    }

    /// Sessions closed for silence since the start: counter 213.
    #[must_use]
    pub fn timed_out_sessions(&self) -> u64 {
        self.ctx.sessions.timed_out
    }

    /// Last word of each member: log term, append position, when it was last heard.
    pub fn member_views(
        &self,
    ) -> impl Iterator<Item = (MemberId, Option<(LeadershipTermId, Position)>, Option<Nanos>)> {
        self.ctx.members.iter().map(|member| (member.id, member.view, member.last_heard))
    }

    /// Where a follower asked to be replayed to; for `ArchiveAction::StartCatchup`.
    #[must_use]
    pub fn catchup_endpoint(&self, member: MemberId) -> Option<&str> {
        self.ctx.catchup_endpoints.get(&member).map(alloc::string::String::as_str)
    }

    /// The session that was taken last, with the highest id: after a connect request, its own if it
    /// was not there before.
    #[must_use]
    pub fn newest_session(&self) -> Option<ClusterSessionId> {
        self.ctx.sessions.newest()
    }

    /// When the next timer is due, in units of the cluster's time.
    #[must_use]
    pub fn next_timer(&self) -> Option<i64> {
        self.ctx.timers.next()
    }

    /// Whether every record that was asked for is durable.
    #[must_use]
    pub fn is_persisted(&self) -> bool {
        self.ctx.out.is_persisted()
    }

    /// Principal of a session, as its authenticator gave it; for authorisation.
    #[must_use]
    pub fn principal(&self, session: ClusterSessionId) -> Option<&[u8]> {
        self.ctx.sessions.session(session).map(|session| &*session.principal)
    }
}
