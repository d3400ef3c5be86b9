//! What every phase of the election may see and change: the concerns, side by side.

use wire::position::Position;
use wire::time::{Nanos, Now};

use crate::action::{ArchiveAction, Out, Persist, ServiceAction};
use crate::config::Config;
use crate::control::{Control, ModuleState};
use crate::election::ElectionState;
use crate::id::{LeadershipTermId, MemberId, RecordingId};
use crate::loss::Loss;
use crate::member::Members;
use crate::message::{CanvassPosition, PeerMessage};
use crate::random::Random;
use crate::service::{Barrier, Services};
use crate::session::{Answerer, Sessions};
use crate::term::{Incoherent, TermRecord, TermTable};
use crate::timer::Timers;

/// Terms further above the known ones than this are refused (reliability, decision 2).
const TERM_LEAP_MAX: i64 = 1 << 20;

/// Doublings of a time-out, at most.
const FAILURES_MAX: u32 = 5;
/// How long a time-out grows to at most, unless it is longer by configuration.
const PATIENCE_MAX: Nanos = Nanos::from_secs(10);

/// What this member is in the cluster: counter 201.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Names of the cluster specification 1.2.
pub enum Role {
    Follower = 0,
    Candidate = 1,
    Leader = 2,
}

/// Why this member must end. The first three are broken invariants: they keep their evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Halt {
    /// A leader's log lacks what was committed here (rule F5).
    CommittedCut {
        /// The leader that asks for it.
        leader: MemberId,
        /// Its term.
        term: LeadershipTermId,
        /// Where our log would be cut.
        position: Position,
        /// What is committed or applied here.
        committed: Position,
    },
    /// The recording ended before what was committed here.
    RecordingLost {
        /// The end of the recording.
        recorded: Position,
        /// What is committed or applied here.
        committed: Position,
    },
    /// The log rotted, and the others are too few to elect who could give it back (rule H1).
    LogRotten {
        /// Where.
        position: Position,
        /// The end of the recording.
        recorded: Position,
    },
    /// A term cannot follow those recorded.
    IncoherentTerm {
        /// The newest recorded.
        last: TermRecord,
        /// The refused one.
        refused: TermRecord,
    },
    /// A service acknowledged another barrier than the one that stands.
    UnexpectedAck,
    /// A service failed to start, or its container died.
    ServiceFailed,
    /// A service offered more messages than may be kept.
    TooManyPending,
    /// The log, or a snapshot, is of another time unit.
    TimeUnit,
    /// Storage is full or failing, or the archive is gone.
    Storage,
    /// The orderly end that was asked for.
    Terminated,
}

/// What happened since the start. The agent shows them as counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Elections entered.
    pub elections: u64,
    /// Snapshots recorded.
    pub snapshots: u64,
    /// Messages of members that were refused: unknown sender, term out of bounds, incoherent.
    pub refused: u64,
    /// Leaders refused for a promise to another (V1).
    pub promises_kept: u64,
    /// Times the log was cut.
    pub truncations: u64,
    /// Terms replicated, whole or in part.
    pub replications: u64,
    /// Catch-ups begun.
    pub catchups: u64,
    /// Quorum position fell below the commit position.
    pub quorum_fell: u64,
    /// Times a part of the log turned out to be lost.
    pub losses: u64,
    /// Times all that was lost was regained.
    pub regains: u64,
}

/// The log of this member.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    /// The end of our recording: append position.
    pub(crate) recorded: Position,
    /// How far the module's own state follows the log.
    pub(crate) position: Position,
    /// As the leader: the end of what was appended.
    pub(crate) published: Position,
    /// The last time stamp in the log, in units of the cluster's time.
    pub(crate) time: i64,
    /// Transport session of the live log.
    pub(crate) session_id: Option<i32>,
    pub(crate) recording_id: RecordingId,
}

/// The table was compared with that of this leader up to our last term (F1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verified {
    pub(crate) leader: MemberId,
    pub(crate) term: LeadershipTermId,
    pub(crate) log_term: LeadershipTermId,
}

#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) now: Now,
    pub(crate) random: Random,
    pub(crate) terms: TermTable,
    pub(crate) members: Members,
    pub(crate) log: Log,
    pub(crate) sessions: Sessions,
    pub(crate) timers: Timers,
    pub(crate) services: Services,
    pub(crate) control: Control,
    pub(crate) out: Out,
    pub(crate) counters: Counters,
    /// The term followed or led now: `leadershipTermId`.
    pub(crate) term: LeadershipTermId,
    /// The highest term voted or stood for.
    pub(crate) candidate: LeadershipTermId,
    /// V1: the highest term in which it voted for another; after a restart the candidate term.
    pub(crate) promise: LeadershipTermId,
    /// What was lost of the log and is not regained (H1).
    pub(crate) loss: Option<Loss>,
    pub(crate) leader: Option<MemberId>,
    pub(crate) role: Role,
    /// What services may read: counter 203. Never falls.
    pub(crate) exposed: Position,
    /// What the adopted leader says is committed (F4).
    pub(crate) notified: Position,
    /// The leader that ended in order: its vote is not waited for.
    pub(crate) graceful: Option<MemberId>,
    /// This election was entered at the start of the node.
    pub(crate) is_node_start: bool,
    /// The canvass of that start was not yet left: it waits longer.
    pub(crate) is_extended_canvass: bool,
    pub(crate) last_leader_update: Nanos,
    pub(crate) last_escape: Option<Nanos>,
    /// How often an election failed since this member was in service: see [`Context::silence`].
    pub(crate) failures: u32,
    /// How long the disk took for the last term or vote.
    pub(crate) promise_span: Nanos,
    pub(crate) verified: Option<Verified>,
    /// A join was acknowledged by all services.
    pub(crate) is_joined: bool,
    pub(crate) halt: Option<Halt>,
    /// Endpoints that followers asked to be replayed to.
    pub(crate) catchup_endpoints: alloc::collections::BTreeMap<MemberId, alloc::string::String>,
}

/// Whether something that was last done at `last` is due again.
pub(crate) fn is_due(last: Option<Nanos>, interval: Nanos, now: Nanos) -> bool {
    last.is_none_or(|last| last + interval <= now)
}

impl Context {
    /// The state of a member that has just started.
    pub(crate) fn start(
        config: Config,
        recovery: &crate::recovery::Recovery,
        seed: u64,
        now: Now,
    ) -> Self {
        let repair = config.rules.p3_drop_terms_past_end_at_load;
        let loaded = TermTable::load(&recovery.terms, recovery.recorded, repair);
        let members = Members::new(config.member_id, &config.members);
        let sessions = Sessions::new(config.sessions_max, config.timeouts.session_timeout);
        let services = Services::new(config.service_count, config.pending_message_bytes_max);
        let mut ctx = Self {
            members,
            sessions,
            services,
            config,
            now,
            random: Random::new(seed),
            terms: TermTable::default(),
            log: Log {
                recorded: recovery.recorded,
                position: Position(0),
                published: Position(0),
                time: 0,
                session_id: None,
                recording_id: recovery.recording_id,
            },
            timers: Timers::default(),
            control: Control::new(),
            out: Out::default(),
            counters: Counters {
                losses: u64::from(recovery.loss.is_some_and(|loss| loss.cut.is_some())),
                ..Counters::default()
            },
            term: LeadershipTermId::NONE,
            candidate: LeadershipTermId::NONE,
            promise: LeadershipTermId::NONE,
            loss: recovery.loss,
            leader: None,
            role: Role::Follower,
            exposed: Position(0),
            notified: Position(0),
            graceful: None,
            is_node_start: true,
            is_extended_canvass: true,
            last_leader_update: now.mono,
            last_escape: None,
            failures: 0,
            promise_span: Nanos(0),
            verified: None,
            is_joined: false,
            halt: None,
            catchup_endpoints: alloc::collections::BTreeMap::new(),
        };
        match loaded {
            Ok((terms, dropped)) => {
                ctx.terms = terms;
                if let Some(from) = dropped {
                    ctx.out.persist(Persist::DropTerms { from });
                }
            }
            Err(Incoherent { last, refused }) => ctx.halt(Halt::IncoherentTerm { last, refused }),
        }
        ctx
    }

    /// What a snapshot covers must be recorded, or nothing is: then the log begins behind it. What
    /// was lost is copied again.
    pub(crate) fn expect_recorded(&mut self, committed: Position) {
        let recorded = self.log.recorded;
        if self.loss.is_some() {
            return;
        }
        if recorded < committed && recorded.0 > 0 {
            self.halt(Halt::RecordingLost { recorded, committed });
        }
        self.log.recorded = recorded.max(committed);
    }

    pub(crate) fn mono(&self) -> Nanos {
        self.now.mono
    }

    pub(crate) fn id(&self) -> MemberId {
        self.config.member_id
    }

    /// H1: whether it lost a part of its log, and so neither votes nor stands.
    pub(crate) fn is_silenced(&self) -> bool {
        self.loss.is_some() && self.config.rules.h1_silent_after_loss
    }

    /// Log term and append position of this member.
    pub(crate) fn own_log(&self) -> (LeadershipTermId, Position) {
        (self.terms.last(), self.log.recorded)
    }

    /// Time for the log: the wall clock, but never less than the last time in the log.
    pub(crate) fn log_time(&self) -> i64 {
        self.config.time_unit.from_nanos(self.now.epoch.0).max(self.log.time)
    }

    /// How long a ballot lasts: longer after each that failed.
    pub(crate) fn ballot_timeout(&self) -> Nanos {
        self.patient(self.config.timeouts.election_timeout)
    }

    /// Without a word for how long another member counts as gone. In service it is the configured
    /// time; while elections fail it grows. Time-outs made for a quiet machine are too short on one
    /// whose disk or processor is overloaded: nothing would ever come of its elections.
    pub(crate) fn silence(&self) -> Nanos {
        self.patient(self.config.timeouts.leader_heartbeat_timeout)
    }

    fn patient(&self, timeout: Nanos) -> Nanos {
        let longer = timeout.0.saturating_mul(1 << self.failures.min(FAILURES_MAX));
        Nanos(longer.min(timeout.max(PATIENCE_MAX).0))
    }

    /// Counts elections that fail, and forgets them in service.
    pub(crate) fn note_transition(&mut self, was: ElectionState, is: ElectionState) {
        use ElectionState as E;
        let is_ballot = matches!(was, E::CandidateBallot | E::FollowerBallot);
        let is_after_ballot = (E::LeaderLogReplication..E::Closed).contains(&was);
        if is_ballot && is == E::Canvass || is_after_ballot && is == E::Init {
            self.failures = (self.failures + 1).min(FAILURES_MAX);
        } else if is == E::Closed {
            self.failures = 0;
        }
    }

    pub(crate) fn halt(&mut self, reason: Halt) {
        if self.halt.is_none() {
            self.halt = Some(reason);
            self.control.state = ModuleState::Closed;
        }
    }

    /// How those are answered who ask this member.
    pub(crate) fn answerer(
        config: &Config,
        term: LeadershipTermId,
        leader: Option<MemberId>,
    ) -> Answerer<'_> {
        Answerer { term, leader, ingress_endpoints: &config.ingress_endpoints }
    }

    pub(crate) fn send(&mut self, to: MemberId, message: PeerMessage) {
        self.out.send(to, message);
    }

    pub(crate) fn send_all(&mut self, message: &PeerMessage) {
        for to in self.members.others() {
            self.out.send(to, message.clone());
        }
    }

    /// The truthful position report.
    pub(crate) fn canvass_position(&self) -> PeerMessage {
        let (log_leadership_term_id, log_position) = self.own_log();
        PeerMessage::CanvassPosition(CanvassPosition {
            log_leadership_term_id,
            log_position,
            leadership_term_id: self.term,
            follower_member_id: self.id(),
        })
    }

    /// A report that is not truthful: a probe of F1, or the way out of V2.
    pub(crate) fn send_probe(&mut self, to: MemberId, log_term: LeadershipTermId) {
        let message = PeerMessage::CanvassPosition(CanvassPosition {
            log_leadership_term_id: log_term,
            log_position: Position(0),
            leadership_term_id: self.term,
            follower_member_id: self.id(),
        });
        self.out.send(to, message);
    }

    /// Whether a term heard from others is within bounds. Refusals are counted.
    pub(crate) fn is_plausible(&mut self, term: LeadershipTermId) -> bool {
        let known = self.candidate.max(self.term).max(self.terms.last());
        let plausible = term.0 >= -1 && term.0 <= known.0.saturating_add(TERM_LEAP_MAX);
        self.counters.refused += u64::from(!plausible);
        plausible
    }

    /// P1: the candidate term is on disk before anything is said that depends on it.
    pub(crate) fn raise_candidate(&mut self, term: LeadershipTermId) {
        if term > self.candidate {
            self.candidate = term;
            if self.config.rules.vote_saved {
                let log_position = self.log.recorded;
                self.out.persist(Persist::CandidateTerm { term, log_position });
            }
        }
    }

    /// Records a term, in memory and on disk. False if that halted this member.
    pub(crate) fn record_term(&mut self, term: LeadershipTermId, base: Position) -> bool {
        let gap_from = LeadershipTermId(self.terms.last().0 + 1);
        match self.terms.record(TermRecord { term, base }) {
            Ok(true) => self.persist_term(term, base, gap_from),
            Ok(false) => {}
            Err(incoherent) => {
                let Incoherent { last, refused } = incoherent;
                self.halt(Halt::IncoherentTerm { last, refused });
                return false;
            }
        }
        true
    }

    /// P2: the term before the ids of its gap. The other way round a crash may leave an id of the
    /// gap as the newest term: a term that this member never heard of.
    fn persist_term(&mut self, term: LeadershipTermId, base: Position, gap_from: LeadershipTermId) {
        let mut gap_from = gap_from;
        if !self.config.rules.p2_term_first {
            for id in gap_from.0..term.0 {
                let id = LeadershipTermId(id);
                self.out.persist(Persist::Term { term: id, base, gap_from: id });
            }
            gap_from = term;
        }
        self.out.persist(Persist::Term { term, base, gap_from });
    }

    /// Drops a term and all later ones, in memory and on disk (P3: after the archive was cut).
    ///
    /// The disk also holds the ids of gaps, which memory does not: those above the last term that
    /// stays go too, or they would be its newest terms after a restart, at a base of the past.
    pub(crate) fn drop_terms(&mut self, from: LeadershipTermId) {
        if self.terms.drop_from(from) {
            let from = LeadershipTermId(self.terms.last().0 + 1);
            self.out.persist(Persist::DropTerms { from });
        }
    }

    /// P3, for a recording that turns out shorter than the table says.
    pub(crate) fn drop_terms_past_end(&mut self) {
        let end = self.log.recorded;
        let beyond = self.terms.records().iter().find(|record| record.base > end);
        if let Some(from) = beyond.map(|record| record.term) {
            self.drop_terms(from);
        }
    }

    /// Sends a join to the services and expects their acknowledgements.
    pub(crate) fn join_log(&mut self, join: ServiceAction) {
        if let ServiceAction::JoinLog { from, .. } = join {
            self.is_joined = false;
            self.services.expect(Barrier::Join, from);
            self.out.service(join);
            self.settle();
        }
    }

    /// Takes notice of barriers that every service has acknowledged.
    pub(crate) fn settle(&mut self) {
        loop {
            match self.services.settle() {
                Ok(None) => return,
                Ok(Some((Barrier::Join, ..))) => self.is_joined = true,
                Ok(Some((Barrier::Start, _, relevant))) => {
                    if relevant.contains(&-1) {
                        self.halt(Halt::ServiceFailed);
                    } else if self.control.state == ModuleState::Init {
                        self.control.state = ModuleState::Active;
                    }
                }
                Ok(Some((Barrier::Snapshot, _, relevant))) => {
                    self.timers.on_snapshot();
                    self.on_services_snapshot(&relevant);
                }
                Ok(Some((Barrier::Termination, ..))) => {
                    if let Some(termination) = &mut self.control.termination {
                        termination.services_done = true;
                    }
                }
                Err(_) => {
                    self.halt(Halt::UnexpectedAck);
                    return;
                }
            }
        }
    }

    /// Leaves the log: everything of it is closed, everything uncommitted undone. `LogLeft`
    /// answers.
    pub(crate) fn leave_log(&mut self) {
        let was_unsent = self.out.void_log();
        self.services.abandon_join(!was_unsent);
        self.is_joined = false;
        self.log.position = self.exposed;
        self.log.session_id = None;
        if self.control.roll_back() && self.control.snapshot.take().is_some() {
            self.services.retract(Barrier::Snapshot);
        }
        let by = Self::answerer(&self.config, self.term, self.leader);
        self.sessions.roll_back(self.exposed, by, self.now.mono);
        self.timers.roll_back(self.exposed);
        for pending in &mut self.services.pending {
            pending.roll_back();
        }
        self.role = Role::Follower;
        self.leader = None;
        self.notified = Position(0);
        self.verified = None;
        self.catchup_endpoints.clear();
        self.out.archive(ArchiveAction::LeaveLog);
    }

    /// The leader's commit position moved: what was uncommitted up to it is settled.
    pub(crate) fn commit(&mut self, position: Position) {
        if position > self.exposed {
            self.exposed = position;
            self.sessions.committed(position);
            self.timers.committed(position);
            self.control.committed(position);
            for pending in &mut self.services.pending {
                pending.committed(position);
            }
        }
    }
}
