//! The conductor agent: commands, structure, life cycles, limits.
//!
//! It alone decides what exists: publications, subscriptions, images, endpoints, counters. Sender
//! and receiver are told by messages and report by messages; data never passes here.

mod add_publication;
mod clients;
mod commands;
mod counters;
pub(crate) mod desk;
mod destinations;
mod events;
mod images;
pub(crate) mod logs;
mod make_image;
mod publications;
mod receive_endpoints;
mod responses;
mod send_endpoints;
pub(crate) mod sessions;
mod subscribers;
mod subscriptions;
mod touch;
pub(crate) mod untethered;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use memory::ring::{RingConsumer, RingProducer};
use runtime::background::{Outcome, Ticket};
use runtime::duty_cycle::{Pause, StallTracker};
use runtime::files::{FileLock, Files};
use runtime::network::Network;
use runtime::random::Rng;
use runtime::{Agent, Halt, Nanos, Now, Work};
use wire::counters::SystemCounter;
use wire::ring::to_driver::HEARTBEAT_CLOSED;

use crate::config::Config;
use crate::messages::{ConductorEvent, EndpointId, ReceiverCommand, SenderCommand};
use crate::ports::PortPool;
use crate::queue::{Inbox, Outbox};
use crate::system::record_stall;
use clients::{ClientRecord, CounterLink};
use commands::Inbound;
use desk::Desk;
use events::Reresolution;
use images::{ImagePlan, ImageRecord};
use logs::Logs;
use publications::PublicationRecord;
use receive_endpoints::ReceiveEndpointRecord;
use send_endpoints::SendEndpointRecord;
use sessions::SessionIds;
use subscriptions::SubscriptionRecord;

/// Most commands and events handled in one pass.
const BATCH: usize = 16;

/// One client's hold on a publication.
pub(crate) struct PublicationLink {
    pub(crate) client_id: i64,
    /// The id of the command that made the publication.
    pub(crate) publication: i64,
}

/// What a conductor is made of.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) files: Arc<dyn Files>,
    pub(crate) commands: RingConsumer,
    pub(crate) desk: Desk,
    pub(crate) logs: Logs,
    pub(crate) to_sender: Outbox<SenderCommand>,
    pub(crate) to_receiver: Outbox<ReceiverCommand>,
    pub(crate) inbox: Inbox<ConductorEvent>,
    pub(crate) rng: Rng,
    pub(crate) lock: Option<Box<dyn FileLock>>,
}

/// The agent. Made by [`launch()`](crate::launch()).
pub(crate) struct Conductor {
    config: Config,
    config_seed: u64,
    network: Arc<dyn Network>,
    files: Arc<dyn Files>,
    commands: RingConsumer,
    correlation: RingProducer,
    desk: Desk,
    logs: Logs,
    to_sender: Outbox<SenderCommand>,
    to_receiver: Outbox<ReceiverCommand>,
    inbox: Inbox<ConductorEvent>,
    rng: Rng,
    _lock: Option<Box<dyn FileLock>>,
    inbound: Inbound,
    /// Names resolved for the command under way.
    names: BTreeMap<String, IpAddr>,
    reresolutions: BTreeMap<Ticket, Reresolution>,
    clients: BTreeMap<i64, ClientRecord>,
    counter_links: BTreeMap<i64, CounterLink>,
    publications: BTreeMap<i64, PublicationRecord>,
    publication_links: BTreeMap<i64, PublicationLink>,
    subscriptions: BTreeMap<i64, SubscriptionRecord>,
    images: BTreeMap<i64, ImageRecord>,
    pending_images: BTreeMap<Ticket, ImagePlan>,
    send_endpoints: BTreeMap<EndpointId, SendEndpointRecord>,
    receive_endpoints: BTreeMap<EndpointId, ReceiveEndpointRecord>,
    endpoint_count: u64,
    next_receiver_id: i64,
    sessions: SessionIds,
    sender_ports: PortPool,
    receiver_ports: PortPool,
    outcomes: Vec<(Ticket, Outcome)>,
    stalls: StallTracker,
    /// Where the ring stood when it was looked at last, and since when.
    ring_stuck_at: Option<(i64, Nanos)>,
    last_timer: Option<Nanos>,
    is_terminated: bool,
    /// Publishers are let on by half a term at a time, and nobody waits for an answer of
    /// microseconds: on the thread of a sender and a receiver it is their time that passes cost.
    pause: Pause,
    was_idle: bool,
}

impl Conductor {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { config, mut rng, commands, .. } = parts;
        let terms = &config.terms;
        let sessions = SessionIds::new(
            rng.next_i32(),
            terms.reserved_session_low,
            terms.reserved_session_high,
        );
        Self {
            config_seed: rng.next_u64(),
            next_receiver_id: rng.next_i64(),
            sessions,
            sender_ports: PortPool::new(config.sockets.sender_ports),
            receiver_ports: PortPool::new(config.sockets.receiver_ports),
            stalls: StallTracker::new(config.agents.conductor_cycle_threshold),
            config,
            network: parts.network,
            files: parts.files,
            correlation: commands.producer(),
            commands,
            desk: parts.desk,
            logs: parts.logs,
            to_sender: parts.to_sender,
            to_receiver: parts.to_receiver,
            inbox: parts.inbox,
            rng,
            _lock: parts.lock,
            inbound: Inbound::default(),
            names: BTreeMap::new(),
            reresolutions: BTreeMap::new(),
            clients: BTreeMap::new(),
            counter_links: BTreeMap::new(),
            publications: BTreeMap::new(),
            publication_links: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            images: BTreeMap::new(),
            pending_images: BTreeMap::new(),
            send_endpoints: BTreeMap::new(),
            receive_endpoints: BTreeMap::new(),
            endpoint_count: 0,
            outcomes: Vec::new(),
            ring_stuck_at: None,
            last_timer: None,
            is_terminated: false,
            pause: Pause::new(),
            was_idle: false,
        }
    }

    fn next_endpoint_id(&mut self) -> EndpointId {
        self.endpoint_count += 1;
        EndpointId(self.endpoint_count)
    }

    fn poll_timer(&mut self, now: Now) -> usize {
        let interval = self.config.timeouts.timer_interval;
        if self.last_timer.is_some_and(|last| now.mono < last + interval) {
            return 0;
        }
        self.last_timer = Some(now.mono);
        self.commands.set_heartbeat_ms(now.epoch_millis());
        self.check_clients(now);
        self.check_publications(now.mono);
        self.end_cool_downs(now);
        self.check_images(now.mono);
        self.check_ring(now);
        1
    }

    fn poll_background(&mut self, now: Now) -> usize {
        let mut outcomes = std::mem::take(&mut self.outcomes);
        let count = self.logs.background.poll(&mut |ticket, outcome| {
            outcomes.push((ticket, outcome));
        });
        for (ticket, outcome) in outcomes.drain(..) {
            self.on_outcome(ticket, outcome, now);
        }
        self.outcomes = outcomes;
        count
    }

    fn on_outcome(&mut self, ticket: Ticket, outcome: Outcome, now: Now) {
        if self.logs.on_removed(ticket, &outcome) {
            return;
        }
        let Some(outcome) = self.on_command_outcome(ticket, outcome, now) else { return };
        let Some(outcome) = self.on_image_outcome(ticket, outcome, now) else { return };
        self.on_reresolved(ticket, outcome);
    }

    fn update_publications(&mut self) -> usize {
        let mut count = 0;
        for record in self.publications.values_mut() {
            count += usize::from(record.update());
            if let Some(range) = record.touch.next(record.position.get()) {
                let _ticket = self.logs.background.submit(touch::job(&record.file.mapping, range));
            }
        }
        for image in self.images.values_mut() {
            if let Some(range) = image.touch.next(image.shared.rebuild.get()) {
                let _ticket = self.logs.background.submit(touch::job(&image.file.mapping, range));
            }
        }
        count
    }
}

impl Agent for Conductor {
    fn name(&self) -> &str {
        "conductor"
    }

    fn do_work(&mut self, now: Now) -> Result<Work, Halt> {
        if !self.pause.is_over(now) {
            return Ok(self.pause.short(Work::NONE));
        }
        let kinds = (
            SystemCounter::ConductorMaxCycleTime,
            SystemCounter::ConductorCycleTimeThresholdExceeded,
        );
        record_stall(&mut self.stalls, &self.desk.system, kinds, self.was_idle, now);
        self.desk.epoch_ms = now.epoch_millis();
        self.to_sender.flush();
        self.to_receiver.flush();
        let mut done = self.poll_timer(now) + self.poll_background(now) + self.poll_inbox(now);
        for _ in 0..BATCH {
            match self.poll_commands(now) {
                0 => break,
                count => done += count,
            }
        }
        done += self.update_publications();
        if self.to_sender.has_stash() || self.to_receiver.has_stash() {
            done += 1;
        }
        self.was_idle = done == 0;
        if self.is_terminated {
            return Err(Halt::Terminated);
        }
        let interval = self.config.timeouts.timer_interval;
        let next_deadline = self.last_timer.map_or(now.mono, |last| last + interval);
        Ok(self.pause.noted(Work { done, next_deadline }))
    }

    fn on_close(&mut self, _now: Now) {
        self.commands.set_heartbeat_ms(HEARTBEAT_CLOSED);
        if self.config.directory.delete_on_shutdown {
            // Nobody is left to be told of a failure; the next start cleans up.
            let _removed = self.files.remove_tree(&self.config.directory.path);
        }
    }
}
