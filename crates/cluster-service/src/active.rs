//! A started container: joins logs as the module says, reads them, and takes snapshots.
//!
//! ```text
//! None --JoinLog--> Joining --ack--> Reading --end--> None
//!                                      |  ^ ack
//!                                      v  |
//!                                   snapshot
//! ```

use client::Handle;
use runtime::{Nanos, Now, Work};
use wire::cluster::Role;
use wire::position::Position;

use crate::config::Config;
use crate::counters::{CommitPosition, ContainerCounters};
use crate::host::Host;
use crate::link::{Join, ModuleLink, Order};
use crate::log_reader::{Joined, Joining, LogReader, Rest};
use crate::mark::ServiceMark;
use crate::session::WAIT_MAX;
use crate::snapshot_archive::SnapshotTake;

/// What a pass of a container may touch.
pub(crate) struct Cycle<'a> {
    pub(crate) config: &'a Config,
    pub(crate) handle: &'a Handle,
    pub(crate) host: &'a mut Host,
    pub(crate) link: &'a mut ModuleLink,
    pub(crate) counters: &'a mut ContainerCounters,
    pub(crate) mark: &'a ServiceMark,
    /// What went wrong without ending anything, for the error log.
    pub(crate) findings: &'a mut Vec<String>,
}

/// Why a container ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// As the module asked, or because it has gone.
    Asked,
    /// The module asked for the end; acknowledgements may still be on their way.
    Terminating,
    /// It cannot go on.
    Failed(String),
}

impl From<String> for Stop {
    fn from(cause: String) -> Self {
        Self::Failed(cause)
    }
}

/// A started container.
pub(crate) struct Active {
    commit: CommitPosition,
    log: LogState,
    rest: Rest,
    next_join: Option<Join>,
    snapshot: Option<Box<SnapshotTake>>,
    termination: Option<(Position, bool)>,
    requested_ack: Option<Position>,
}

enum LogState {
    None,
    Joining(Box<Joining>),
    Reading(Box<LogReader>),
}

impl Active {
    pub(crate) fn new(commit: CommitPosition) -> Self {
        Self {
            commit,
            log: LogState::None,
            rest: Rest::default(),
            next_join: None,
            snapshot: None,
            termination: None,
            requested_ack: None,
        }
    }

    pub(crate) fn do_work(&mut self, cycle: &mut Cycle<'_>, now: Now) -> Result<Work, Stop> {
        if !self.commit.is_alive(cycle.handle) {
            return Err(Stop::Asked);
        }
        let mut done = 0;
        if let Some(order) = cycle.link.poll()? {
            self.on_order(order);
            done += 1;
        }
        let (opened, refused) = cycle.host.sessions.poll(now.mono);
        done += opened;
        cycle.findings.extend(refused);
        if self.snapshot.is_some() {
            return Ok(Work::done(done).and(self.step_snapshot(cycle, now)?));
        }
        let (sent, is_clear) = cycle.link.flush(&mut cycle.host.requests)?;
        done += sent;
        if !is_clear {
            return Ok(Work::done(done));
        }
        self.check_termination(cycle)?;
        self.check_requested_ack(cycle)?;
        let work = self.step_log(cycle, now)?;
        if let Some(cause) = cycle.host.take_failure() {
            return Err(Stop::Failed(format!("service: {cause}")));
        }
        Ok(Work::done(done).and(work))
    }

    /// Reads the log on, if nothing else is to be done: `None` otherwise.
    pub(crate) fn read_on(
        &mut self,
        cycle: &mut Cycle<'_>,
        now: Now,
    ) -> Result<Option<Work>, Stop> {
        let is_asked = self.snapshot.is_some()
            || self.next_join.is_some()
            || self.termination.is_some()
            || self.requested_ack.is_some();
        if is_asked || !cycle.host.requests.is_empty() || cycle.host.sessions.is_waiting() {
            return Ok(None);
        }
        if !matches!(self.log, LogState::Reading(_)) {
            return Ok(Some(Work::NONE));
        }
        let work = self.step_log(cycle, now)?;
        match cycle.host.take_failure() {
            Some(cause) => Err(Stop::Failed(format!("service: {cause}"))),
            None => Ok(Some(work)),
        }
    }

    fn on_order(&mut self, order: Order) {
        match order {
            Order::Join(join) => {
                if let LogState::Reading(reader) = &mut self.log {
                    reader.end_at(join.position);
                }
                self.next_join = Some(join);
            }
            Order::Terminate { position, ack_required } => {
                self.termination = Some((position, ack_required));
            }
            Order::Acknowledge { position } => self.requested_ack = Some(position),
        }
    }

    fn check_termination(&self, cycle: &mut Cycle<'_>) -> Result<(), Stop> {
        let position = cycle.host.event.position;
        let Some((at, ack_required)) = self.termination else { return Ok(()) };
        if position < at {
            return Ok(());
        }
        cycle.host.on_terminate();
        if ack_required {
            cycle.link.acknowledge(position, cycle.host.event.time, -1)?;
        }
        Err(Stop::Terminating)
    }

    fn check_requested_ack(&mut self, cycle: &mut Cycle<'_>) -> Result<(), String> {
        let position = cycle.host.event.position;
        if self.requested_ack.is_some_and(|at| position >= at) {
            self.requested_ack = None;
            cycle.link.acknowledge(position, cycle.host.event.time, -1)?;
        }
        Ok(())
    }

    fn step_log(&mut self, cycle: &mut Cycle<'_>, now: Now) -> Result<Work, Stop> {
        match std::mem::replace(&mut self.log, LogState::None) {
            LogState::None => self.begin_join(cycle, now),
            // The module has given that log up.
            LogState::Joining(_) if self.next_join.is_some() => self.begin_join(cycle, now),
            LogState::Joining(joining) => self.step_join(*joining, cycle, now),
            LogState::Reading(reader) => self.read(reader, cycle, now),
        }
    }

    fn begin_join(&mut self, cycle: &Cycle<'_>, now: Now) -> Result<Work, Stop> {
        let Some(join) = self.next_join.take() else { return Ok(Work::NONE) };
        let position = cycle.host.event.position;
        if join.position != position {
            let (at, own) = (join.position.0, position.0);
            return Err(Stop::Failed(format!("told to join the log at {at} but stands at {own}")));
        }
        let joining = Joining::new(join, cycle.config.service_id, cycle.handle, now)?;
        self.log = LogState::Joining(Box::new(joining));
        Ok(Work::done(1))
    }

    fn step_join(
        &mut self,
        joining: Joining,
        cycle: &mut Cycle<'_>,
        now: Now,
    ) -> Result<Work, Stop> {
        let position = joining.join.position;
        let (rest, joined) = joining.poll(cycle.handle, cycle.config.join_timeout, now)?;
        if let Some(joining) = rest {
            self.log = LogState::Joining(Box::new(joining));
        }
        match joined {
            Joined::NotYet { done, due } => return Ok(Work::done(done).due(due)),
            Joined::Reading(mut reader) => {
                reader.take_up(std::mem::take(&mut self.rest));
                on_joined(&reader.join, cycle)?;
                self.log = LogState::Reading(reader);
            }
            // A log that went before it was joined had nothing to say. If the module counted on it
            // all the same, its next order finds this service at another position and ends it.
            Joined::Never(cause) => {
                cycle.findings.push(cause);
                cycle.link.acknowledge(position, cycle.host.event.time, -1)?;
            }
        }
        Ok(Work::done(1))
    }

    fn read(
        &mut self,
        mut reader: Box<LogReader>,
        cycle: &mut Cycle<'_>,
        now: Now,
    ) -> Result<Work, Stop> {
        if cycle.host.sessions.is_waiting() {
            self.log = LogState::Reading(reader);
            return Ok(Work::NONE.due(now.mono + WAIT_MAX));
        }
        let limit = Position(self.commit.get());
        let progress = reader.poll(limit, cycle.host, cycle.link, cycle.handle)?;
        if progress.is_snapshot_due {
            let take = SnapshotTake::new(cycle.config, cycle.handle, now);
            self.snapshot = Some(Box::new(take));
        }
        match progress.end {
            None => self.log = LogState::Reading(reader),
            Some(position) => {
                self.rest = reader.into_rest(position);
                let event = &mut cycle.host.event;
                event.position = event.position.max(position);
                cycle.host.sessions.disconnect_all();
                cycle.host.set_role(Role::Follower);
            }
        }
        let ended = usize::from(progress.end.is_some());
        Ok(Work::done(progress.fragments + ended))
    }

    /// No log is read while a snapshot is taken, so that the state is that of one position.
    fn step_snapshot(&mut self, cycle: &mut Cycle<'_>, now: Now) -> Result<Work, Stop> {
        let Some(take) = &mut self.snapshot else { return Ok(Work::NONE) };
        let recording_id = match take.poll(cycle.handle, cycle.host, now) {
            Ok(Err(work)) => return Ok(work),
            Ok(Ok(recording_id)) => recording_id,
            Err(error) => {
                cycle.findings.push(format!("snapshot failed: {error}"));
                -1
            }
        };
        let took: Nanos = now.mono - take.started();
        self.snapshot = None;
        cycle.counters.on_snapshot(took, cycle.config.snapshot_threshold);
        if let Some(cause) = cycle.host.take_failure() {
            return Err(Stop::Failed(format!("service: {cause}")));
        }
        let event = cycle.host.event;
        cycle.link.acknowledge(event.position, event.time, recording_id)?;
        Ok(Work::done(1))
    }
}

/// The log is joined: the module hears of it, and the service of its role.
fn on_joined(join: &Join, cycle: &mut Cycle<'_>) -> Result<(), String> {
    cycle.host.event.member_id = join.member_id;
    cycle.mark.set_member_id(join.member_id);
    cycle.link.acknowledge(join.position, cycle.host.event.time, -1)?;
    if join.role == Role::Leader {
        cycle.host.connect_clients(join.is_startup, cycle.handle);
    } else {
        cycle.host.sessions.disconnect_all();
    }
    cycle.host.set_role(join.role);
    Ok(())
}
