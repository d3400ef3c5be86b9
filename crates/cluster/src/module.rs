//! The module in its duty cycle: what happened goes into the core, what the core asks for is done.
//!
//! ```text
//! archive, services, members, clients, operator --inputs--> core --actions--> the same, and files
//! ```
//! The order of a pass is the contract of [`consensus`]: inputs, one tick, then the queues.

mod clients;
mod validation;

use std::collections::{BTreeSet, VecDeque};

use client::{AddError, Client, Counter, Pending};
use consensus::{
    ArchiveInput, CatchupPosition, ClientAction, ClientInput, ClusterSessionId, Consensus,
    ElectionState, Input, ModuleState, Outcome, PeerAction, PeerMessage, RecordingId,
};
use memory::error_log::ErrorLog;
use runtime::duty_cycle::{Pause, StallTracker};
use runtime::files::FileLock;
use runtime::{Halt, Nanos, Now, Work};
use wire::position::Position;

use crate::authentication::{Authenticator, Verdict};
use crate::config::{Config, Settings};
use crate::counters::{Gauge, Gauges};
use crate::egress::Egress;
use crate::halt;
use crate::ingress::{Ingress, StreamError};
use crate::log_archive::{LogArchive, Wanted};
use crate::log_follower::At;
use crate::mark_file::MarkFile;
use crate::peers::Peers;
use crate::persist::Persister;
use crate::rot::RotWatch;
use crate::services::Services;
use crate::services::codec::LogSource;
use crate::session_counters::SessionCounters;
use crate::snapshot::{self, Provenance};
use clients::Clients;
use validation::Validation;

/// How often time alone is looked at: waits of consensus are many times longer.
const TICK: Nanos = Nanos::from_millis(5);
/// How long a member that lost of its log waits for a leader before it says so.
const LOSS_PATIENCE: Nanos = Nanos::from_secs(10);
/// How long the last records may take when the module ends.
const ENDING_TIMEOUT: Nanos = Nanos::from_secs(1);

/// All that a running module owns.
pub(crate) struct Module {
    pub(crate) client: Client,
    pub(crate) config: Config,
    pub(crate) settings: Settings,
    pub(crate) core: Consensus,
    pub(crate) log: LogArchive,
    pub(crate) services: Services,
    pub(crate) peers: Peers,
    pub(crate) egress: Egress,
    pub(crate) sessions: SessionCounters,
    pub(crate) ingress: Ingress,
    pub(crate) gauges: Gauges,
    pub(crate) recovery: Recovery,
    pub(crate) persister: Persister,
    pub(crate) authenticator: Box<dyn Authenticator>,
    pub(crate) mark: MarkFile,
    pub(crate) _lock: Box<dyn FileLock>,
    pub(crate) errors: ErrorLog,
    pub(crate) stalls: StallTracker,
    pub(crate) state: State,
}

/// What a pass leaves to the next.
pub(crate) struct State {
    /// Sessions about which the authenticator has not decided.
    undecided: BTreeSet<ClusterSessionId>,
    verdicts: Vec<(ClusterSessionId, Verdict)>,
    /// What went wrong without ending anything, for the error log.
    findings: Vec<String>,
    /// What the archive told, while the name of the recording becomes durable.
    held: VecDeque<Input<'static>>,
    snapshot_began: Option<Nanos>,
    rot: RotWatch,
    /// From when on it is told that nobody gives back what was lost of the log.
    loss_told: Nanos,
    /// Snapshots that turned out to be damaged, and are still said to be there.
    rotten_snapshots: VecDeque<RecordingId>,
    validation: Validation,
    ends_at: Option<Nanos>,
    /// Between two whole passes: services, the archive's answers and the driver's can wait so long.
    pause: Pause,
}

impl State {
    /// `findings` are those of the start.
    pub(crate) fn new(findings: Vec<String>) -> Self {
        Self {
            undecided: BTreeSet::new(),
            verdicts: Vec::new(),
            findings,
            held: VecDeque::new(),
            snapshot_began: None,
            rot: RotWatch::default(),
            loss_told: Nanos(0),
            rotten_snapshots: VecDeque::new(),
            validation: Validation::default(),
            ends_at: None,
            pause: Pause::new(),
        }
    }
}

/// The counter in whose key services find what they start from, until all have started.
pub(crate) enum Recovery {
    Asked(Pending<Counter>),
    Shown { _counter: Counter },
    Over,
}

impl Recovery {
    fn advance(&mut self, core: &Consensus) -> Result<(), AddError> {
        if let Self::Asked(pending) = self
            && let Some(counter) = pending.poll()?
        {
            *self = Self::Shown { _counter: counter };
        }
        if core.module_state() != ModuleState::Init {
            *self = Self::Over;
        }
        Ok(())
    }
}

fn failed(error: impl std::fmt::Display) -> Halt {
    Halt::Failed(error.to_string())
}

impl Module {
    /// One pass. What messages and positions come to is looked for in each, the rest less often.
    pub(crate) fn do_work(&mut self, now: Now) -> Result<Work, Halt> {
        let is_whole = self.state.pause.is_over(now);
        let mut work = Work::NONE;
        if is_whole {
            let done = self.client.do_work(now).map_err(failed)?;
            work = done.due(self.mark.beat(now)).due(now.mono + TICK);
            self.measure(now);
            self.recovery.advance(&self.core).map_err(failed)?;
        }
        if self.core.halted().is_none() {
            work = work.and(self.hear(is_whole, now)?);
            work = work.and(self.hear_clients(is_whole, now)?);
            work = work.and(Work::done(self.read_log(now)?));
            if !is_whole && work.done == 0 {
                return Ok(self.state.pause.short(work));
            }
            self.core.handle(now, Input::Tick);
        }
        work = work.and(Work::done(self.act(now)?)).due(self.next_timer(now));
        work = work.due(self.core.commit_due());
        self.gauges.show(&self.core);
        self.tell_findings(now);
        self.check_end(now)?;
        Ok(if is_whole { self.state.pause.noted(work) } else { self.state.pause.short(work) })
    }

    /// What archive, services, members and the operator have to say.
    fn hear(&mut self, is_whole: bool, now: Now) -> Result<Work, Halt> {
        let Self { core, log, peers, state, persister, .. } = self;
        let (findings, held) = (&mut state.findings, &mut state.held);
        let mut work = match is_whole {
            true => log.poll(now, |input| held.push_back(input)),
            false => log.poll_recording(now, |input| held.push_back(input)),
        };
        if persister.bind(log.recording_id()).map_err(failed)? == Outcome::Done {
            held.drain(..).for_each(|input| core.handle(now, input));
        }
        let heard = peers.receive(
            |message| core.handle(now, Input::Peer(message)),
            |error| findings.push(error.to_string()),
        );
        work = work.and(Work::done(heard));
        if !is_whole {
            return Ok(work);
        }
        while let Some(fault) = log.next_fault() {
            findings.push(fault.to_string());
        }
        self.hear_of_rot(now)?;
        let Self { core, log, services, peers, gauges, state, persister, .. } = self;
        let findings = &mut state.findings;
        let heard = services.receive(
            |input| core.handle(now, Input::Service(input)),
            |error| findings.push(error.to_string()),
        );
        work = work.and(Work::done(heard));
        work = work.due(services.watch(now, |input| core.handle(now, Input::Service(input))));
        peers.advance(now, |error| findings.push(error.to_string()));
        let is_in_service = core.module_state() == ModuleState::Active
            && core.election_state() == ElectionState::Closed;
        let toggle = gauges.get_mut(Gauge::NodeControlToggle);
        let validated = state.validation.step(toggle, is_in_service, log.archive(), persister);
        findings.extend(validated.map_err(failed)?);
        if let Some(request) = gauges.take_request() {
            core.handle(now, Input::Control(request));
            work = work.and(Work::done(1));
        }
        Ok(work)
    }

    /// What the archive knows of damage: in the log, which others give back, and in snapshots,
    /// which count no more.
    fn hear_of_rot(&mut self, now: Now) -> Result<(), Halt> {
        let Self { client, core, log, state, persister, .. } = self;
        let archive_id = log.archive().archive_id();
        for rot in state.rot.look(&client.handle(), archive_id, now) {
            let (id, position) = (RecordingId(rot.recording_id), rot.position);
            if log.recording_id() == Some(id) {
                let text = format!("the log is rotten at {position}: lost until it is regained");
                state.findings.push(text);
                let position = Position(position);
                core.handle(now, Input::Archive(ArchiveInput::Rotten { position }));
            } else if persister.recording_log().has_snapshot(id) {
                let text = format!("snapshot {} is rotten at {position}: not used", id.0);
                state.findings.push(text);
                state.rotten_snapshots.push_back(id);
            }
        }
        let is_leaderless = core.election_state() == ElectionState::Canvass;
        if core.loss().is_none() || !is_leaderless {
            state.loss_told = now.mono + LOSS_PATIENCE;
        } else if state.loss_told <= now.mono {
            state.loss_told = now.mono + LOSS_PATIENCE;
            let text = "a part of the log is lost, and no majority of others elects a leader who \
                        could give it back: did more logs rot than one? (docs/archive-files.md)";
            state.findings.push(text.to_string());
        }
        if let Some(&id) = state.rotten_snapshots.front()
            && persister.invalidate(id).map_err(failed)? == Outcome::Done
        {
            state.rotten_snapshots.pop_front();
        }
        Ok(())
    }

    /// What clients have to say, while this member is in service.
    fn hear_clients(&mut self, is_whole: bool, now: Now) -> Result<Work, Halt> {
        let due = if is_whole { self.look_after_clients(now) } else { Nanos::MAX };
        if !self.ingress.is_open() {
            return Ok(Work::NONE.due(due));
        }
        let work = self.take_ingress(now)?;
        Ok(work.due(due))
    }

    /// Their channels and rights. Returns when something is to be asked for again.
    fn look_after_clients(&mut self, now: Now) -> Nanos {
        let Self { core, egress, ingress, sessions, state, .. } = self;
        egress.advance(|input| {
            if let ClientInput::Connected(session) = input {
                sessions.on_connected(session);
            }
            core.handle(now, Input::Client(input));
        });
        sessions.advance();
        let authenticator = &mut *self.authenticator;
        state.undecided.retain(|&session| {
            let verdict = authenticator.poll(session, now);
            if let Some(verdict) = verdict.for_core() {
                core.handle(now, Input::Authenticated(session, verdict));
            }
            verdict == Verdict::Pending
        });
        if core.election_state() != ElectionState::Closed || core.halted().is_some() {
            ingress.close();
            return Nanos::MAX;
        }
        ingress.open(core.is_leading());
        let findings = &mut state.findings;
        ingress.advance(
            now,
            |input| core.handle(now, Input::Client(input)),
            |error| findings.push(error.to_string()),
        )
    }

    /// Their messages.
    fn take_ingress(&mut self, now: Now) -> Result<Work, Halt> {
        let Self { core, ingress, sessions, state, .. } = self;
        if core.election_state() != ElectionState::Closed || core.halted().is_some() {
            return Ok(Work::NONE);
        }
        let authenticator = &mut *self.authenticator;
        let findings = &mut state.findings;
        let limit = usize::try_from(self.config.limits.ingress_fragment_limit).unwrap_or(1);
        let mut clients = Clients {
            core,
            log: self.log.publisher(),
            authenticator,
            settings: &self.settings,
            is_ipc_allowed: self.config.channels.ingress_ipc_allowed,
            opened: Vec::new(),
            findings: Vec::new(),
            failure: None,
            now,
        };
        let on_error = |error: StreamError| findings.push(error.to_string());
        let count = ingress.receive(limit, &mut clients, on_error);
        let Clients { opened, findings: found, failure, .. } = clients;
        findings.extend(found);
        for (session, mut origin) in opened {
            origin.source = ingress.address(origin.session_id).unwrap_or_default().to_string();
            sessions.describe(session, &origin);
        }
        failure.map_or_else(|| Ok(Work::done(count)), Err)
    }

    /// What the log says, as far as the core allows.
    fn read_log(&mut self, now: Now) -> Result<usize, Halt> {
        let Some((image, follower)) = self.log.reader() else { return Ok(0) };
        let limit = usize::try_from(self.config.limits.log_fragment_limit).unwrap_or(1);
        let mut at = At { core: &mut self.core, now };
        follower.poll(image, limit, &mut at).map_err(failed)
    }

    /// What the core asks for. Records come first: they hold back everything else.
    fn act(&mut self, now: Now) -> Result<usize, Halt> {
        let mut done = self.tell_peers(now)?;
        done += self.tell_archive(now)?;
        done += self.tell_services(now)?;
        done += self.tell_clients(now);
        done += self.append(now)?;
        Ok(done)
    }

    fn tell_peers(&mut self, now: Now) -> Result<usize, Halt> {
        let Self { core, persister, peers, log, state, settings, .. } = self;
        let recording_id = log.recording_id().unwrap_or(RecordingId(-1));
        let timestamp = settings.consensus.time_unit.from_nanos(now.epoch.0);
        let mut failure = None;
        let done = core.drain_peers(|action| match action {
            PeerAction::Persist(record) => {
                match persister.perform(now, record, recording_id, timestamp) {
                    Ok(outcome) => outcome,
                    Err(error) => {
                        failure = Some(failed(error));
                        Outcome::BackPressured
                    }
                }
            }
            PeerAction::Send { to, message } => {
                let sent = match message {
                    PeerMessage::CatchupPosition(position) => {
                        with_endpoint(position, log.catchup_endpoint())
                            .map_or(Ok(()), |message| peers.send(*to, &message))
                    }
                    other => peers.send(*to, other),
                };
                if let Err(error) = sent {
                    state.findings.push(error.to_string());
                }
                Outcome::Done
            }
        });
        state.findings.extend(persister.take_finding());
        failure.map_or(Ok(done), Err)
    }

    fn tell_archive(&mut self, now: Now) -> Result<usize, Halt> {
        let Self { core, log, state, settings, .. } = self;
        let mut failure = None;
        let done = core.drain_archive(|action| match log.perform(action, now) {
            Ok(outcome) => outcome,
            Err(error) => {
                failure = Some(failed(error));
                Outcome::BackPressured
            }
        });
        while let Some(wanted) = log.wants() {
            match wanted {
                Wanted::CatchupEndpoint(member) => {
                    if let Some(endpoint) = core.catchup_endpoint(member) {
                        log.give_catchup_endpoint(member, endpoint);
                    }
                }
                Wanted::Snapshot { position, term } => {
                    state.snapshot_began.get_or_insert(now.mono);
                    let consensus::Config { time_unit, .. } = settings.consensus;
                    let app_version = self.config.app_version;
                    let from = Provenance { position, term, time_unit, app_version };
                    log.begin_snapshot(snapshot::messages(core, from).map_err(failed)?, now);
                }
            }
        }
        failure.map_or(Ok(done), Err)
    }

    fn tell_services(&mut self, now: Now) -> Result<usize, Halt> {
        let Self { core, services, log, settings, .. } = self;
        let own = settings.own.id.0;
        let mut failure = None;
        let done = core.drain_services(|action| {
            let (channel, stream_id) = log.log_source().unwrap_or_default();
            let source = LogSource { member_id: own, channel: &channel, stream_id };
            services.perform(action, source).unwrap_or_else(|error| {
                failure = Some(failed(error));
                Outcome::BackPressured
            })
        });
        if let Some(failure) = failure {
            return Err(failure);
        }
        let answered = services.answer(core, &settings.members, own, now).map_err(failed)?;
        Ok(done + answered)
    }

    fn tell_clients(&mut self, now: Now) -> usize {
        let Self { core, egress, ingress, sessions, authenticator, state, .. } = self;
        let done = core.drain_clients(|session, action| match action {
            ClientAction::Connect { response_stream_id, response_channel } => {
                egress.connect(session, response_channel, *response_stream_id);
                sessions.connect(session, response_channel);
                Outcome::Done
            }
            ClientAction::Authenticate { credentials, is_challenge_response } => {
                let verdict = if *is_challenge_response {
                    authenticator.on_challenge_response(session, credentials, now)
                } else {
                    authenticator.on_connect(session, credentials, now)
                };
                if verdict == Verdict::Pending {
                    state.undecided.insert(session);
                } else {
                    state.verdicts.push((session, verdict));
                }
                Outcome::Done
            }
            ClientAction::Disconnect => {
                egress.disconnect(session);
                sessions.close(session);
                ingress.forget(session);
                state.undecided.remove(&session);
                Outcome::Done
            }
            other => egress.send(session, other).unwrap_or_else(|error| {
                state.findings.push(format!("a client cannot be told: {error}"));
                Outcome::Done
            }),
        });
        for (session, verdict) in state.verdicts.drain(..) {
            if let Some(verdict) = verdict.for_core() {
                core.handle(now, Input::Authenticated(session, verdict));
            }
        }
        done
    }

    fn append(&mut self, now: Now) -> Result<usize, Halt> {
        let Self { core, log, .. } = self;
        let Some(publisher) = log.publisher() else { return Ok(0) };
        let mut failure = None;
        let done = core.drain_log(now, |action| {
            publisher.append(action).unwrap_or_else(|error| {
                failure = Some(failed(error));
                Outcome::BackPressured
            })
        });
        failure.map_or(Ok(done), Err)
    }

    /// When the next timer of a service is due, on the monotonic clock.
    fn next_timer(&self, now: Now) -> Nanos {
        if !self.core.is_leading() {
            return Nanos::MAX;
        }
        let Some(deadline) = self.core.next_timer() else { return Nanos::MAX };
        let unit = self.settings.consensus.time_unit;
        let left = deadline.saturating_sub(unit.from_nanos(now.epoch.0)).max(0);
        // A whole unit more than is left never comes too early.
        let nanos = left.saturating_add(1).saturating_mul(unit.in_nanos());
        Nanos(now.mono.0.saturating_add(nanos))
    }

    /// Cycles and snapshots that take long are counted.
    fn measure(&mut self, now: Now) {
        let stall = self.stalls.on_pass(now);
        if let Some(longest) = stall.new_longest {
            set(&mut self.gauges, Gauge::MaxCycleTime, longest.0);
        }
        if stall.exceeded {
            add(&mut self.gauges, Gauge::CyclesExceeded, 1);
        }
        let is_amid = self.core.module_state() == ModuleState::Snapshot;
        match self.state.snapshot_began {
            None if is_amid => self.state.snapshot_began = Some(now.mono),
            Some(began) if !is_amid => {
                self.state.snapshot_began = None;
                let took = now.mono - began;
                let longest = self.gauges.get_mut(Gauge::MaxSnapshotDuration).map(|it| it.get());
                if longest.is_some_and(|longest| took.0 > longest) {
                    set(&mut self.gauges, Gauge::MaxSnapshotDuration, took.0);
                }
                if took > self.config.limits.total_snapshot_threshold {
                    add(&mut self.gauges, Gauge::SnapshotsExceeded, 1);
                }
            }
            _ => {}
        }
    }

    fn tell_findings(&mut self, now: Now) {
        for finding in self.state.findings.drain(..) {
            // A full error log still counts.
            let _ = self.errors.record(now.epoch_millis(), &finding);
            add(&mut self.gauges, Gauge::Errors, 1);
        }
    }

    /// Ends the module once the core has ended and its last records are durable.
    fn check_end(&mut self, now: Now) -> Result<(), Halt> {
        let Some(reason) = self.core.halted() else { return Ok(()) };
        let ends_at = *self.state.ends_at.get_or_insert(now.mono + ENDING_TIMEOUT);
        if !self.core.is_persisted() && now.mono < ends_at {
            return Ok(());
        }
        if *reason == consensus::Halt::Terminated {
            return Err(Halt::Terminated);
        }
        let text = halt::describe(reason);
        let _ = self.errors.record(now.epoch_millis(), &text);
        add(&mut self.gauges, Gauge::Errors, 1);
        Err(Halt::Failed(text))
    }

    /// The orderly end: what others see of this module says so.
    pub(crate) fn close(&mut self) {
        set(&mut self.gauges, Gauge::ModuleState, ModuleState::Closed as i64);
        self.mark.terminate();
        self.client.close();
    }
}

fn set(gauges: &mut Gauges, gauge: Gauge, value: i64) {
    if let Some(counter) = gauges.get_mut(gauge) {
        counter.set(value);
    }
}

fn add(gauges: &mut Gauges, gauge: Gauge, delta: i64) {
    if let Some(counter) = gauges.get_mut(gauge) {
        counter.add(delta);
    }
}

/// A request for a catch-up says where to replay to: only the log's streams know it. Without an
/// endpoint there is nothing to ask for; the core asks again.
fn with_endpoint(position: &CatchupPosition, endpoint: Option<&str>) -> Option<PeerMessage> {
    let catchup_endpoint = endpoint?.to_string();
    Some(PeerMessage::CatchupPosition(CatchupPosition { catchup_endpoint, ..position.clone() }))
}
