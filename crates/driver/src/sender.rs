//! The sender agent: data, setups and heartbeats out, status messages and NAKs in.
//!
//! It owns every send endpoint with its publications; the conductor hands them over and takes them
//! back by [`SenderCommand`]s.

pub(crate) mod destinations;
pub(crate) mod endpoint;
pub(crate) mod flow;
pub(crate) mod publication;
pub(crate) mod retransmit;

use runtime::duty_cycle::StallTracker;
use runtime::point::{Point, strikes};
use runtime::{Agent, Halt, Nanos, Now, Work};
use wire::counters::SystemCounter;

use crate::config::Config;
use crate::messages::{ConductorEvent, EndpointId, SenderCommand};
use crate::queue::{Inbox, Outbox};
use crate::system::{SystemCounters, record_stall};
use endpoint::SendEndpoint;

/// The agent. Made by [`launch()`](crate::launch()).
pub(crate) struct Sender {
    commands: Inbox<SenderCommand>,
    events: Outbox<ConductorEvent>,
    endpoints: Vec<SendEndpoint>,
    system: SystemCounters,
    stalls: StallTracker,
    poll_ratio: u32,
    poll_interval: Nanos,
    timer_interval: Nanos,
    passes_since_poll: u32,
    last_poll: Nanos,
    last_timer: Nanos,
    /// When time alone asks for something, as far as known.
    deadline: Nanos,
    /// Whether anything was done since that was found out.
    is_deadline_stale: bool,
    was_idle: bool,
}

impl Sender {
    pub(crate) fn new(
        config: &Config,
        commands: Inbox<SenderCommand>,
        events: Outbox<ConductorEvent>,
        system: SystemCounters,
    ) -> Self {
        Self {
            commands,
            events,
            endpoints: Vec::new(),
            system,
            stalls: StallTracker::new(config.agents.sender_cycle_threshold),
            poll_ratio: config.sockets.status_poll_ratio,
            poll_interval: Nanos(config.timeouts.status_message.0 / 2),
            timer_interval: config.timeouts.reresolution_check,
            passes_since_poll: 0,
            last_poll: Nanos(0),
            last_timer: Nanos(0),
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

    fn endpoint(&mut self, id: EndpointId) -> Option<&mut SendEndpoint> {
        self.endpoints.iter_mut().find(|endpoint| endpoint.id == id)
    }

    fn on_command(&mut self, command: SenderCommand, now: Nanos) {
        match command {
            SenderCommand::AddEndpoint(endpoint) => self.endpoints.push(*endpoint),
            SenderCommand::RemoveEndpoint(id) => {
                self.endpoints.retain(|endpoint| endpoint.id != id);
                self.events.push(ConductorEvent::SendEndpointClosed(id));
            }
            SenderCommand::AddPublication(id, publication) => {
                if let Some(endpoint) = self.endpoint(id) {
                    endpoint.publications.push(*publication);
                }
            }
            SenderCommand::RemovePublication { endpoint: id, registration_id } => {
                if let Some(endpoint) = self.endpoint(id) {
                    endpoint
                        .publications
                        .retain(|publication| publication.registration_id() != registration_id);
                }
                self.events.push(ConductorEvent::PublicationReleased { registration_id });
            }
            SenderCommand::AddDestination(id, destination) => {
                if let Some(endpoint) = self.endpoint(id) {
                    endpoint.add_destination(destination, now);
                }
            }
            SenderCommand::RemoveDestination { endpoint: id, which } => {
                if let Some(endpoint) = self.endpoint(id) {
                    endpoint.remove_destination(which);
                }
            }
            SenderCommand::Resolved { endpoint: id, name, address } => {
                if let Some(endpoint) = self.endpoint(id) {
                    endpoint.on_resolved(&name, address, now);
                }
            }
        }
    }

    /// Polls when nothing was sent, every few passes otherwise, and never too seldom.
    fn poll_endpoints(&mut self, sent: usize, now: Nanos) -> usize {
        self.passes_since_poll += 1;
        let is_due = sent == 0
            || self.passes_since_poll >= self.poll_ratio
            || now - self.last_poll >= self.poll_interval;
        if !is_due {
            return 0;
        }
        self.passes_since_poll = 0;
        self.last_poll = now;
        let events = &mut self.events;
        self.endpoints.iter_mut().map(|endpoint| endpoint.poll(events, now)).sum()
    }

    fn on_timer(&mut self, now: Nanos) {
        let mut is_due = self.deadline <= now;
        if self.timer_interval > Nanos(0) && now - self.last_timer >= self.timer_interval {
            self.last_timer = now;
            is_due = true;
        }
        if is_due {
            for endpoint in &mut self.endpoints {
                endpoint.on_timer(&mut self.events, now);
            }
            self.is_deadline_stale = true;
        }
    }

    /// The deadline is asked for when nobody is busy: it takes a look at every publication.
    fn renew_deadline(&mut self, is_busy: bool, now: Nanos) {
        self.is_deadline_stale |= is_busy;
        if self.deadline <= now || self.is_deadline_stale && !is_busy {
            self.deadline = self.next_deadline();
            self.is_deadline_stale = false;
        }
    }

    fn next_deadline(&self) -> Nanos {
        let endpoints = self.endpoints.iter().map(SendEndpoint::next_deadline);
        let mut deadline = endpoints.fold(Nanos::MAX, Nanos::min);
        let has_timers =
            self.timer_interval > Nanos(0) && self.endpoints.iter().any(SendEndpoint::has_timers);
        if has_timers {
            deadline = deadline.min(self.last_timer + self.timer_interval);
        }
        deadline
    }
}

impl Agent for Sender {
    fn name(&self) -> &str {
        "sender"
    }

    fn do_work(&mut self, now: Now) -> Result<Work, Halt> {
        let kinds =
            (SystemCounter::SenderMaxCycleTime, SystemCounter::SenderCycleTimeThresholdExceeded);
        record_stall(&mut self.stalls, &self.system, kinds, self.was_idle, now);
        let now = now.mono;
        self.events.flush();
        let mut done = self.poll_commands(now);
        let endpoints = if strikes(Point::SendLeft) { &mut [] } else { &mut self.endpoints[..] };
        let sent = endpoints.iter_mut().map(|endpoint| endpoint.send(now)).sum();
        done += usize::from(sent > 0) + self.poll_endpoints(sent, now);
        self.on_timer(now);
        self.was_idle = done == 0;
        if self.events.has_stash() {
            done += 1;
        }
        self.renew_deadline(done > 0, now);
        Ok(Work { done, next_deadline: self.deadline })
    }
}
