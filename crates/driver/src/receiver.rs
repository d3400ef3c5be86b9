//! The receiver agent: data and setups in, status messages and NAKs out.
//!
//! It owns every receive endpoint with its images; the conductor hands them over and takes them
//! back by [`ReceiverCommand`]s. It also rebuilds terms, finds losses and cleans behind the slowest
//! subscriber, so that nobody else writes an image's log.

pub(crate) mod congestion;
pub(crate) mod connections;
pub(crate) mod dispatcher;
pub(crate) mod endpoint;
pub(crate) mod feedback_delay;
pub(crate) mod image;
pub(crate) mod images;
pub(crate) mod loss;
pub(crate) mod report;

use memory::loss_report::LossReport;
use runtime::duty_cycle::StallTracker;
use runtime::{Agent, Halt, Nanos, Now, Work};
use wire::counters::SystemCounter;

use crate::config::Config;
use crate::messages::{ConductorEvent, EndpointId, ReceiverCommand};
use crate::queue::{Inbox, Outbox};
use crate::system::{SystemCounters, record_stall};
use endpoint::ReceiveEndpoint;

/// The agent. Made by [`launch()`](crate::launch()).
pub(crate) struct Receiver {
    commands: Inbox<ReceiverCommand>,
    events: Outbox<ConductorEvent>,
    endpoints: Vec<ReceiveEndpoint>,
    report: LossReport,
    system: SystemCounters,
    stalls: StallTracker,
    /// When time alone asks for something, as far as known.
    deadline: Nanos,
    /// Whether anything was done since that was found out.
    is_deadline_stale: bool,
    was_idle: bool,
}

impl Receiver {
    pub(crate) fn new(
        config: &Config,
        (commands, events): (Inbox<ReceiverCommand>, Outbox<ConductorEvent>),
        report: LossReport,
        system: SystemCounters,
    ) -> Self {
        Self {
            commands,
            events,
            endpoints: Vec::new(),
            report,
            system,
            stalls: StallTracker::new(config.agents.receiver_cycle_threshold),
            deadline: Nanos(0),
            is_deadline_stale: true,
            was_idle: false,
        }
    }

    fn poll_commands(&mut self, now: Nanos) -> usize {
        let mut count = 0;
        while let Some(command) = self.commands.try_recv() {
            self.on_command(command, now);
            count += 1;
        }
        count
    }

    /// The deadline is asked for when nobody is busy: it takes a look at every image.
    fn renew_deadline(&mut self, is_busy: bool, now: Nanos) {
        self.is_deadline_stale |= is_busy;
        if self.deadline <= now || self.is_deadline_stale && !is_busy {
            let deadlines = self.endpoints.iter().map(ReceiveEndpoint::next_deadline);
            self.deadline = deadlines.fold(Nanos::MAX, Nanos::min);
            self.is_deadline_stale = false;
        }
    }

    fn with(&mut self, id: EndpointId, change: impl FnOnce(&mut ReceiveEndpoint)) {
        if let Some(endpoint) = self.endpoints.iter_mut().find(|endpoint| endpoint.id() == id) {
            change(endpoint);
        }
    }

    fn on_command(&mut self, command: ReceiverCommand, now: Nanos) {
        use ReceiverCommand as Command;
        match command {
            Command::AddEndpoint(endpoint) => self.endpoints.push(*endpoint),
            Command::RemoveEndpoint(id) => {
                self.endpoints.retain(|endpoint| endpoint.id() != id);
                self.events.push(ConductorEvent::ReceiveEndpointClosed(id));
            }
            Command::AddInterest { endpoint, stream, session } => self.with(endpoint, |e| {
                e.add_interest(stream.0, session.map(|session| session.0));
            }),
            Command::RemoveInterest { endpoint, stream, session } => self.with(endpoint, |e| {
                e.remove_interest(stream.0, session.map(|session| session.0));
            }),
            Command::AddTransport(endpoint, transport) => {
                self.with(endpoint, |e| e.add_transport(*transport));
            }
            Command::RemoveTransport { endpoint, registration_id } => {
                self.with(endpoint, |e| e.remove_transport(registration_id));
            }
            Command::AddImage(endpoint, image) => self.with(endpoint, |e| e.add_image(*image)),
            Command::RefuseSetup { endpoint, stream, session } => {
                self.with(endpoint, |e| e.refuse_setup(stream.0, session.0));
            }
            Command::Image { endpoint: id, correlation_id, change } => {
                let events = &mut self.events;
                if let Some(endpoint) = self.endpoints.iter_mut().find(|e| e.id() == id) {
                    endpoint.on_image_change(correlation_id, change, events, now);
                }
            }
            Command::EndCoolDown { endpoint, stream, session } => {
                self.with(endpoint, |e| e.end_cool_down(stream.0, session.0));
            }
            Command::Elicit { endpoint, stream, session } => {
                self.with(endpoint, |e| e.elicit(stream.0, session.0));
            }
            Command::Resolved { endpoint, name, address } => {
                self.with(endpoint, |e| e.on_resolved(&name, address));
            }
        }
    }
}

impl Agent for Receiver {
    fn name(&self) -> &str {
        "receiver"
    }

    fn do_work(&mut self, now: Now) -> Result<Work, Halt> {
        let kinds = (
            SystemCounter::ReceiverMaxCycleTime,
            SystemCounter::ReceiverCycleTimeThresholdExceeded,
        );
        record_stall(&mut self.stalls, &self.system, kinds, self.was_idle, now);
        let (time, now) = (now, now.mono);
        self.events.flush();
        let mut done = self.poll_commands(now);
        for endpoint in &mut self.endpoints {
            done += endpoint.poll(&mut self.events, now) + endpoint.work(&mut self.report, time);
        }
        self.was_idle = done == 0;
        if self.events.has_stash() {
            done += 1;
        }
        self.renew_deadline(done > 0, now);
        Ok(Work { done, next_deadline: self.deadline })
    }
}
