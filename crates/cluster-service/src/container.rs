//! [`Container`]: the agent that runs one service of a node.
//!
//! ```text
//! Connecting (driver) -> Preparing (streams, counters) -> Recovering (the module's word)
//!     -> Loading (a snapshot) -> Active -> Ending (last acknowledgements) -> halt
//! ```

use client::{Client, Connecting, Handle, Pending, Publication, Subscription};
use memory::error_log::ErrorLog;
use runtime::duty_cycle::{Pause, StallTracker};
use runtime::{Agent, Halt, Nanos, Now, Ports, Work};
use wire::position::{Position, StreamId};

use crate::active::{Active, Cycle, Stop};
use crate::config::Config;
use crate::counters::{
    CommitPosition, ContainerCounters, GaugeCounters, PendingCounters, RecoveryState, next_look,
};
use crate::host::Host;
use crate::link::ModuleLink;
use crate::mark::{MarkFileError, ServiceMark};
use crate::service::ClusteredService;
use crate::snapshot_archive::SnapshotLoad;

/// How long last acknowledgements may take.
const ENDING_TIMEOUT: Nanos = Nanos::from_secs(1);

/// Runs a service: one of possibly several of a node. An [`Agent`] that never blocks.
///
/// It has a client of the driver of its own, which it steps. It ends, with [`Halt::Terminated`],
/// when the module says so or goes; and with [`Halt::Failed`] when the service or the log cannot
/// go on.
pub struct Container {
    config: Config,
    name: String,
    mark: ServiceMark,
    errors: ErrorLog,
    host: Host,
    phase: Phase,
    findings: Vec<String>,
}

enum Phase {
    Connecting(Box<Connecting>),
    Preparing(Box<Preparing>),
    Running(Box<Running>),
    Over,
}

struct Preparing {
    client: Client,
    counters: PendingCounters,
    ready: Option<ContainerCounters>,
    publication: Slot<Publication>,
    subscription: Slot<Subscription>,
}

/// Something that the driver gives, and then stays.
enum Slot<T> {
    Pending(Pending<T>),
    Ready(T),
}

struct Running {
    client: Client,
    counters: ContainerCounters,
    gauges: GaugeCounters,
    link: ModuleLink,
    stalls: StallTracker,
    /// Between two looks at the module's orders, clients' channels and the driver.
    pause: Pause,
    stage: Stage,
}

enum Stage {
    Recovering { next_look: Nanos },
    Loading { commit: CommitPosition, load: Box<SnapshotLoad> },
    Active(Box<Active>),
    Ending { deadline: Nanos, halt: Halt },
}

impl<T> Slot<T> {
    fn poll(&mut self) -> Result<bool, Halt> {
        if let Self::Pending(pending) = self {
            match pending.poll().map_err(failed)? {
                None => return Ok(false),
                Some(value) => *self = Self::Ready(value),
            }
        }
        Ok(true)
    }
}

fn failed(error: impl std::fmt::Display) -> Halt {
    Halt::Failed(error.to_string())
}

impl Container {
    /// Takes the service's place in the cluster's directory and begins to look for the driver.
    ///
    /// # Errors
    /// Another container lives there, or its files cannot be made.
    pub fn launch(
        config: Config,
        client: client::Config,
        service: Box<dyn ClusteredService>,
        ports: &Ports,
        now: Now,
    ) -> Result<Self, MarkFileError> {
        let mark = ServiceMark::create(&config, &client.directory, ports, now)?;
        let name = config.display_name();
        let client = if client.name.is_empty() {
            client::Config { name: name.clone(), ..client }
        } else {
            client
        };
        let errors = mark.error_log();
        let host = Host::new(service, &config);
        let phase = Phase::Connecting(Box::new(Client::connect(client, ports, now)));
        Ok(Self { config, name, mark, errors, host, phase, findings: Vec::new() })
    }

    fn step(&mut self, now: Now) -> Result<Work, Halt> {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Connecting(mut connecting) => match connecting.poll(now).map_err(failed)? {
                None => {
                    let due = connecting.next_deadline();
                    self.phase = Phase::Connecting(connecting);
                    Ok(Work::NONE.due(due))
                }
                Some(client) => {
                    self.phase = Phase::Preparing(Box::new(self.prepare(client)));
                    Ok(Work::done(1))
                }
            },
            Phase::Preparing(preparing) => self.step_preparing(preparing, now),
            Phase::Running(mut running) => {
                let work = self.run(&mut running, now);
                // Kept also when it halts: closing needs its client.
                self.phase = Phase::Running(running);
                work
            }
            Phase::Over => Err(Halt::Terminated),
        }
    }

    fn prepare(&self, client: Client) -> Preparing {
        let config = &self.config;
        let channel = &config.control_channel;
        let publication =
            client.add_publication(channel, StreamId(config.consensus_module_stream_id));
        let subscription = client.add_subscription(channel, StreamId(config.service_stream_id));
        Preparing {
            counters: PendingCounters::new(&client, config),
            client,
            ready: None,
            publication: Slot::Pending(publication),
            subscription: Slot::Pending(subscription),
        }
    }

    fn step_preparing(&mut self, mut it: Box<Preparing>, now: Now) -> Result<Work, Halt> {
        let work = it.client.do_work(now).map_err(failed)?;
        if it.ready.is_none() {
            it.ready = it.counters.poll().map_err(failed)?;
        }
        let is_open = it.publication.poll()? & it.subscription.poll()?;
        if !is_open || it.ready.is_none() {
            self.phase = Phase::Preparing(it);
            return Ok(work);
        }
        let Preparing { client, ready, publication, subscription, .. } = *it;
        let (Some(counters), Slot::Ready(publication), Slot::Ready(subscription)) =
            (ready, publication, subscription)
        else {
            unreachable!("all of them are there");
        };
        self.phase = Phase::Running(Box::new(Running {
            client,
            counters,
            gauges: GaugeCounters::default(),
            link: ModuleLink::new(publication, subscription, self.config.service_id),
            stalls: StallTracker::new(self.config.cycle_threshold),
            pause: Pause::new(),
            stage: Stage::Recovering { next_look: now.mono },
        }));
        Ok(work.and(Work::done(1)))
    }

    fn run(&mut self, running: &mut Running, now: Now) -> Result<Work, Halt> {
        if !running.pause.is_over(now)
            && let Some(work) = self.read_on(running, now)?
        {
            return Ok(running.pause.short(work));
        }
        let client = running.client.do_work(now).map_err(failed)?;
        let stall = running.stalls.on_pass(now);
        running.counters.on_cycle(stall.new_longest, stall.exceeded);
        let handle = running.client.handle();
        let stage =
            std::mem::replace(&mut running.stage, Stage::Recovering { next_look: Nanos::MAX });
        let result = self.advance(stage, running, &handle, now);
        let gauges = self.host.gauges.iter();
        if let Some(error) = running.gauges.show(&handle, &self.config, gauges) {
            self.findings.push(format!("gauge: {error}"));
        }
        let (stage, work) = match result {
            Ok(next) => next,
            Err(stop) => (self.end(stop, now), Work::done(1)),
        };
        running.stage = stage;
        self.record_findings(&mut running.counters, now);
        let work = client.and(work);
        if work.done == 0 {
            // What follows is sleep, not a stall.
            running.stalls.resume();
        }
        match &running.stage {
            Stage::Ending { deadline, halt } if *deadline <= now.mono => Err(halt.clone()),
            _ => Ok(running.pause.noted(work)),
        }
    }

    /// The part of a pass that clients wait for: the log is read on. `None` if more is to be done.
    fn read_on(&mut self, running: &mut Running, now: Now) -> Result<Option<Work>, Halt> {
        let Running { client, counters, link, stage, .. } = running;
        let Stage::Active(active) = stage else { return Ok(None) };
        let handle = client.handle();
        let mut cycle = Cycle {
            config: &self.config,
            handle: &handle,
            host: &mut self.host,
            link,
            counters,
            mark: &self.mark,
            findings: &mut self.findings,
        };
        match active.read_on(&mut cycle, now) {
            Ok(work) => Ok(work),
            Err(stop) => {
                *stage = self.end(stop, now);
                Ok(Some(Work::done(1)))
            }
        }
    }

    fn advance(
        &mut self,
        stage: Stage,
        running: &mut Running,
        handle: &Handle,
        now: Now,
    ) -> Result<(Stage, Work), Stop> {
        match stage {
            Stage::Recovering { next_look: at } if now.mono < at => {
                Ok((Stage::Recovering { next_look: at }, Work::NONE.due(at)))
            }
            Stage::Recovering { .. } => self.recover(running, handle, now),
            Stage::Loading { commit, mut load } => match load.poll(handle, &mut self.host, now) {
                Ok(None) => self.start(commit, running, handle, now),
                Ok(Some(work)) => Ok((Stage::Loading { commit, load }, work)),
                Err(error) => self.fail_start(format!("snapshot: {error}"), running, now),
            },
            Stage::Active(mut active) => {
                let mut cycle = Cycle {
                    config: &self.config,
                    handle,
                    host: &mut self.host,
                    link: &mut running.link,
                    counters: &mut running.counters,
                    mark: &self.mark,
                    findings: &mut self.findings,
                };
                let work = active.do_work(&mut cycle, now)?;
                Ok((Stage::Active(active), work))
            }
            Stage::Ending { deadline, halt } => {
                let (sent, is_clear) = running.link.flush(&mut self.host.requests)?;
                let deadline = if is_clear { now.mono } else { deadline };
                Ok((Stage::Ending { deadline, halt }, Work::done(sent).due(deadline)))
            }
        }
    }

    /// Waits for the module to say from where to start.
    fn recover(
        &mut self,
        running: &mut Running,
        handle: &Handle,
        now: Now,
    ) -> Result<(Stage, Work), Stop> {
        let (cluster_id, service_id) = (self.config.cluster_id, self.config.service_id);
        let found = RecoveryState::find(handle, cluster_id, service_id);
        let found = found.and_then(|(state, owner_id)| {
            Some((CommitPosition::find(handle, cluster_id, owner_id)?, state))
        });
        let Some((commit, state)) = found else {
            let at = next_look(now);
            return Ok((Stage::Recovering { next_look: at }, Work::NONE.due(at)));
        };
        let event = &mut self.host.event;
        event.time = state.timestamp;
        event.position = Position(state.log_position);
        event.leadership_term_id = state.leadership_term_id;
        match state.snapshot {
            None => self.start(commit, running, handle, now),
            Some(recording_id) => {
                let load = SnapshotLoad::new(&self.config, recording_id, handle, now);
                match load {
                    Ok(load) => {
                        let load = Box::new(load);
                        Ok((Stage::Loading { commit, load }, Work::done(1)))
                    }
                    Err(error) => self.fail_start(format!("snapshot: {error}"), running, now),
                }
            }
        }
    }

    fn start(
        &mut self,
        commit: CommitPosition,
        running: &mut Running,
        handle: &Handle,
        now: Now,
    ) -> Result<(Stage, Work), Stop> {
        if !self.host.has_failed() {
            self.host.on_start();
        }
        if let Some(cause) = self.host.take_failure() {
            return self.fail_start(format!("service did not start: {cause}"), running, now);
        }
        let event = self.host.event;
        running.link.acknowledge(event.position, event.time, handle.client_id().0)?;
        Ok((Stage::Active(Box::new(Active::new(commit))), Work::done(1)))
    }

    /// Tells the module that there will be no service.
    fn fail_start(
        &mut self,
        cause: String,
        running: &mut Running,
        now: Now,
    ) -> Result<(Stage, Work), Stop> {
        let event = self.host.event;
        running.link.acknowledge(event.position, event.time, -1)?;
        self.findings.push(cause.clone());
        let halt = Halt::Failed(cause);
        let deadline = now.mono + ENDING_TIMEOUT;
        Ok((Stage::Ending { deadline, halt }, Work::done(1)))
    }

    fn end(&mut self, stop: Stop, now: Now) -> Stage {
        match stop {
            Stop::Asked => Stage::Ending { deadline: now.mono, halt: Halt::Terminated },
            Stop::Terminating => {
                let deadline = now.mono + ENDING_TIMEOUT;
                Stage::Ending { deadline, halt: Halt::Terminated }
            }
            Stop::Failed(cause) => {
                self.findings.push(cause.clone());
                Stage::Ending { deadline: now.mono, halt: Halt::Failed(cause) }
            }
        }
    }

    fn record_findings(&mut self, counters: &mut ContainerCounters, now: Now) {
        for finding in self.findings.drain(..) {
            counters.errors.add(1);
            self.errors.record(now.epoch_millis(), &finding);
        }
    }
}

impl Agent for Container {
    fn name(&self) -> &str {
        &self.name
    }

    fn do_work(&mut self, now: Now) -> Result<Work, Halt> {
        let next_beat = self.mark.beat(now);
        let work = self.step(now);
        if let Err(Halt::Failed(cause)) = &work {
            self.errors.record(now.epoch_millis(), cause);
        }
        Ok(work?.due(next_beat))
    }

    fn on_close(&mut self, _now: Now) {
        match &mut self.phase {
            Phase::Preparing(preparing) => preparing.client.close(),
            Phase::Running(running) => running.client.close(),
            Phase::Connecting(_) | Phase::Over => {}
        }
        self.mark.terminate();
    }
}
