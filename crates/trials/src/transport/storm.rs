//! The world of one run and what befalls it.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use runtime::Nanos;
use runtime::random::Rng;
use sim::{Delay, HostId, LinkFaults, ProcessId, Verdict, World};
use wire::counters::SystemCounter;
use wire::frame::FrameType;

use super::ledger::{Ledger, Phase};
use super::party::Party;
use super::plan::{Plan, index};
use super::totals::Totals;
use super::witness::{DIRECTORY, Witness};
use super::{Check, Failure, Outcome, Plant};
use crate::lock;

/// How long faults strike, in virtual time.
const STORM_SPAN: Nanos = Nanos::from_secs(6);

/// A driver or a client that is killed now and then.
struct Process {
    id: Option<ProcessId>,
    /// When it starts again.
    again: Nanos,
}

/// The world of one run.
pub(super) struct Storm {
    seed: u64,
    plant: Plant,
    corrupts: bool,
    world: World,
    hosts: Vec<HostId>,
    plan: Plan,
    ledger: Arc<Mutex<Ledger>>,
    drivers: Vec<Process>,
    witnesses: Vec<Option<Witness>>,
    watchers: Vec<ProcessId>,
    parties: Vec<Process>,
    rng: Rng,
    totals: Totals,
}

impl Storm {
    pub(super) fn new(seed: u64, plant: Plant) -> Result<Self, Failure> {
        let mut world = World::new(seed);
        let plan = Plan::draw(&mut world.rng("plan"));
        let hosts: Vec<_> = (1..=plan.hosts)
            .map(|number| {
                let last = u8::try_from(number).unwrap_or(u8::MAX);
                world.add_host(&format!("host{number}"), &[IpAddr::from([10, 0, 0, last])])
            })
            .collect();
        let watchers = hosts.iter().map(|&host| world.spawn(host, |_| Vec::new())).collect();
        let asleep = || Process { id: None, again: Nanos(0) };
        let corrupts = seed % 8 == 7;
        let mut storm = Self {
            seed,
            plant,
            corrupts,
            drivers: hosts.iter().map(|_| asleep()).collect(),
            witnesses: hosts.iter().map(|_| None).collect(),
            parties: plan.parties.iter().map(|_| asleep()).collect(),
            watchers,
            rng: world.rng("storm"),
            ledger: Arc::new(Mutex::new(Ledger::new(seed, !corrupts))),
            world,
            hosts,
            plan,
            totals: Totals::default(),
        };
        storm.plant();
        storm.start_due()?;
        Ok(storm)
    }

    /// Lets faults strike.
    pub(super) fn rage(&mut self) -> Result<(), Failure> {
        while self.world.elapsed() < STORM_SPAN {
            let span = Nanos::from_millis(10 + self.rng.below(250).cast_signed());
            self.world.run_for(span);
            self.check()?;
            self.strike();
            self.start_due()?;
        }
        Ok(())
    }

    /// Ends all faults, then waits until everybody hears everybody.
    pub(super) fn heal(&mut self, bound: Nanos) -> Result<(), Failure> {
        self.world.heal();
        self.plant();
        for process in self.drivers.iter_mut().chain(&mut self.parties) {
            process.again = Nanos(0);
        }
        self.start_due()?;
        lock(&self.ledger).phase = Phase::Calm;
        let end = self.world.elapsed() + bound;
        let mut deaf = self.deaf();
        while !deaf.is_empty() && !self.corrupts {
            if self.world.elapsed() >= end {
                let what = format!("after {} ms: {}", bound.as_millis(), deaf.join(", "));
                return Err(self.failure(Check::Live, what));
            }
            self.world.run_for(Nanos::from_millis(20));
            self.check()?;
            deaf = self.deaf();
        }
        Ok(())
    }

    /// Closes every client, then waits until nothing is left.
    pub(super) fn close(mut self, bound: Nanos) -> Result<Outcome, Failure> {
        lock(&self.ledger).phase = Phase::Closing;
        let end = self.world.elapsed() + bound;
        loop {
            self.world.run_for(Nanos::from_millis(100));
            self.check()?;
            let left = self.left_over();
            if left.is_empty() {
                break;
            }
            if self.world.elapsed() >= end {
                let what = format!("after {} ms: {}", bound.as_millis(), left.join(", "));
                return Err(self.failure(Check::Clean, what));
            }
        }
        for host in 0..self.hosts.len() {
            self.count_driver(host);
        }
        let ledger = lock(&self.ledger);
        let mut totals = self.totals;
        totals += ledger.totals;
        let network = self.world.network_totals();
        totals += Totals {
            datagrams: network.sent,
            lost: network.lost,
            burst_lost: network.burst_lost,
            duplicated: network.duplicated,
            reordered: network.reordered,
            corrupted: network.corrupted,
            cut: network.cut,
            ..Totals::default()
        };
        Ok(Outcome { totals, trace_hash: self.world.trace_hash() ^ ledger.hash() })
    }

    fn failure(&self, check: Check, what: String) -> Failure {
        Failure { seed: self.seed, check, what }
    }

    fn check(&self) -> Result<(), Failure> {
        if let Some(what) = lock(&self.ledger).violations.first() {
            return Err(self.failure(Check::Exact, what.clone()));
        }
        let running = self.drivers.iter().chain(&self.parties).filter_map(|process| process.id);
        for id in running {
            if let Some((name, halt)) = self.world.halts(id).first() {
                return Err(self.failure(Check::Running, format!("{name}: {halt}")));
            }
        }
        Ok(())
    }

    /// Who has not heard whom since healing.
    fn deaf(&self) -> Vec<String> {
        let ledger = lock(&self.ledger);
        let mut deaf = Vec::new();
        for (publisher, &route) in self.plan.publisher_routes.iter().enumerate() {
            let Some(key) = ledger.fresh_stream(publisher) else {
                let wait = ledger.waits.get(&publisher).map_or("never asked", String::as_str);
                deaf.push(format!("publisher {publisher} of route {route} is mute ({wait})"));
                continue;
            };
            let subscribers = self.plan.parties.iter().flat_map(|party| &party.subscribers);
            for subscriber in subscribers.filter(|it| it.route == route) {
                if !ledger.has_heard(subscriber.slot, key) {
                    let (slot, channel) = (subscriber.slot, &subscriber.channel);
                    deaf.push(format!("subscriber {slot} on {channel} does not hear {key:?}"));
                }
            }
        }
        deaf
    }

    fn left_over(&self) -> Vec<String> {
        let witnesses = self.witnesses.iter().enumerate();
        witnesses
            .flat_map(|(host, witness)| {
                let left = witness.as_ref().map(Witness::left_over).unwrap_or_default();
                left.into_iter().map(move |what| format!("host {host}: {what}"))
            })
            .collect()
    }

    fn plant(&mut self) {
        if self.plant == Plant::NakNeverSent {
            let kind = FrameType::NAK.0.to_le_bytes();
            self.world.set_filter(move |passing| match passing.bytes.get(6..8) {
                Some(bytes) if bytes == kind => Verdict::Drop,
                _ => Verdict::Pass,
            });
        }
    }

    fn start_due(&mut self) -> Result<(), Failure> {
        let now = self.world.elapsed();
        for host in 0..self.drivers.len() {
            if self.drivers[host].id.is_none() && self.drivers[host].again <= now {
                self.start_driver(host)?;
            }
        }
        for index in 0..self.parties.len() {
            if self.parties[index].id.is_none() && self.parties[index].again <= now {
                let plan = self.plan.parties[index].clone();
                let ledger = Arc::clone(&self.ledger);
                let host = self.hosts[plan.host];
                let id =
                    self.world.spawn(host, |ports| vec![Box::new(Party::new(plan, ports, ledger))]);
                self.parties[index].id = Some(id);
            }
        }
        Ok(())
    }

    fn start_driver(&mut self, host: usize) -> Result<(), Failure> {
        let now = self.world.now(self.hosts[host]);
        let is_one_thread = self.rng.chance(0.5);
        let mut refusal = None;
        let id = self.world.spawn(self.hosts[host], |ports| {
            match driver::launch(driver_config(), ports, now) {
                Ok(agents) if is_one_thread => vec![Box::new(agents.together())],
                Ok(agents) => vec![agents.conductor, agents.sender, agents.receiver],
                Err(error) => {
                    refusal = Some(error.to_string());
                    Vec::new()
                }
            }
        });
        if let Some(what) = refusal {
            return Err(self.failure(Check::Running, format!("driver {host}: {what}")));
        }
        self.drivers[host].id = Some(id);
        let witness = Witness::new(self.world.ports(self.watchers[host]));
        let witness = witness.map_err(|what| self.failure(Check::Running, what))?;
        self.witnesses[host] = Some(witness);
        Ok(())
    }

    fn count_driver(&mut self, host: usize) {
        let Some(witness) = &self.witnesses[host] else { return };
        self.totals.naks += witness.system(SystemCounter::NaksSent);
        self.totals.retransmits += witness.system(SystemCounter::RetransmitsSent);
        self.totals.flow_limits += witness.system(SystemCounter::SenderFlowControlLimits);
    }

    fn strike(&mut self) {
        let now = self.world.elapsed();
        let some_host = index(&mut self.rng, self.hosts.len());
        match self.rng.below(16) {
            0..=4 => {
                let faults = draw_faults(&mut self.rng, self.corrupts);
                self.world.set_links(faults);
            }
            5 | 6 => {
                let to = (some_host + 1) % self.hosts.len();
                self.world.cut(self.hosts[some_host], self.hosts[to]);
                self.totals.one_way_cuts += 1;
            }
            7 => {
                self.world.partition(&[self.hosts[some_host]]);
                self.totals.partitions += 1;
            }
            8..=10 => self.world.mend(),
            11 | 12 => {
                // Mostly short; sometimes beyond every liveness time-out.
                let longest = if self.rng.chance(0.2) { 3_000 } else { 300 };
                let span = Nanos::from_millis(1 + self.rng.below(longest).cast_signed());
                let all = self.drivers.iter().chain(&self.parties);
                let running: Vec<_> = all.filter_map(|process| process.id).collect();
                if !running.is_empty() {
                    let chosen = running[index(&mut self.rng, running.len())];
                    self.world.pause(chosen, span);
                    self.totals.pauses += 1;
                }
            }
            13 | 14 => {
                let chosen = index(&mut self.rng, self.parties.len());
                if let Some(id) = self.parties[chosen].id.take() {
                    self.world.kill(id);
                    self.totals.client_kills += 1;
                    let span = Nanos::from_millis(self.rng.below(800).cast_signed());
                    self.parties[chosen].again = now + span;
                }
            }
            _ => {
                if let Some(id) = self.drivers[some_host].id.take() {
                    self.count_driver(some_host);
                    self.world.kill(id);
                    self.totals.driver_kills += 1;
                    let span = Nanos::from_millis(self.rng.below(800).cast_signed());
                    self.drivers[some_host].again = now + span;
                }
            }
        }
    }
}

fn draw_faults(rng: &mut Rng, corrupts: bool) -> LinkFaults {
    let mut faults = LinkFaults::default();
    let mut maybe = |most: f64| if rng.chance(0.5) { rng.next_f64() * most } else { 0.0 };
    faults.loss = maybe(0.2);
    faults.burst = maybe(0.01);
    faults.duplicate = maybe(0.1);
    faults.reorder = maybe(0.2);
    faults.corrupt = if corrupts { maybe(0.05) } else { 0.0 };
    let micros = |rng: &mut Rng, most| Nanos::from_micros(1 + rng.below(most).cast_signed());
    faults.delay = match rng.below(3) {
        0 => Delay::LOCAL,
        1 => Delay::Uniform { min: Nanos::from_micros(10), max: micros(rng, 5_000) },
        _ => Delay::Exponential { min: Nanos::from_micros(10), mean: micros(rng, 2_000) },
    };
    faults
}

/// Small buffers and short time-outs, otherwise the defaults.
fn driver_config() -> driver::Config {
    let mut config = driver::Config::at(DIRECTORY);
    config.buffers.to_driver_length = (64 << 10) + 768;
    config.buffers.to_clients_length = (64 << 10) + 128;
    config.buffers.counters_values_length = 256 << 10;
    config.buffers.error_log_length = 64 << 10;
    config.buffers.loss_report_length = 16 << 10;
    config.terms.term_length = 64 << 10;
    config.terms.ipc_term_length = 64 << 10;
    config.timeouts.timer_interval = Nanos::from_millis(100);
    config.timeouts.client_liveness = Nanos::from_secs(2);
    config.timeouts.image_liveness = Nanos::from_secs(2);
    config.timeouts.publication_linger = Nanos::from_millis(300);
    config.timeouts.publication_unblock = Nanos::from_secs(3);
    config.timeouts.publication_connection = Nanos::from_secs(1);
    config.timeouts.counter_reuse = Nanos::from_millis(100);
    config.timeouts.driver = Nanos::from_secs(2);
    config.flow.receiver_timeout = Nanos::from_secs(1);
    config
}
