//! The world: hosts, the processes on them, their clocks, and what befalls them.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use runtime::agent::Agent;
use runtime::invoker::Invoker;
use runtime::random::Rng;
use runtime::{EpochNanos, Halt, Nanos, Now, Ports};

use crate::background::{BackgroundCore, SimWorkers};
use crate::clock::Clock;
use crate::current::Current;
use crate::disk::{SimFiles, Store};
use crate::links::{LinkFaults, NetworkTotals, Passing, Verdict};
use crate::lock;
use crate::network::NetworkCore;
use crate::socket::SimNetwork;
use crate::trace::Trace;

/// Names a host of one world, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub usize);

/// Names a process of one world, counted from 0. Never used again, not even by a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId(pub usize);

/// Which liberties a world takes with time.
#[derive(Clone, Copy, Debug)]
pub struct WorldOptions {
    /// Shortest time between two passes of an agent.
    pub tick_min: Nanos,
    /// Longest time between two passes of an agent on a host where something is being done.
    pub tick_max: Nanos,
    /// Longest time between two passes of any agent, as the longest sleep of an idle thread is in
    /// reality.
    pub idle_max: Nanos,
    /// Shortest time that a background job takes.
    pub background_min: Nanos,
    /// Longest time that a background job takes.
    pub background_max: Nanos,
    /// How the links between hosts are until somebody sets them.
    pub link: LinkFaults,
}

impl WorldOptions {
    /// Liberties drawn from a seed, so that a sweep over seeds meets lively and sluggish worlds.
    /// Links are without faults.
    #[must_use]
    pub fn drawn(seed: u64) -> Self {
        let mut rng = Rng::new(seed, "world options");
        let tick_max = [250, 500, 1_000, 1_000][usize::try_from(rng.below(4)).unwrap_or_default()];
        let background_max = Nanos::from_micros(200 << rng.below(6));
        Self {
            tick_min: Nanos::from_micros(50),
            tick_max: Nanos::from_micros(tick_max),
            idle_max: Nanos::from_millis(10),
            background_min: Nanos::from_micros(20),
            background_max,
            link: LinkFaults::default(),
        }
    }
}

pub(crate) struct Host {
    name: String,
    addresses: Vec<IpAddr>,
    pub(crate) store: Arc<Store>,
    pub(crate) clock: Clock,
    /// Until when its disk does not answer.
    pub(crate) stalled_until: Nanos,
    /// How often something was done on it that its agents may see.
    pub(crate) stamp: u64,
}

/// An agent and how often it was stepped.
pub(crate) struct Stepped {
    pub(crate) invoker: Invoker,
    pub(crate) passes: u64,
    pub(crate) busy: u64,
    pub(crate) overdue: u64,
    /// Not stepped before: it waits for its disk or for a processor.
    pub(crate) until: Nanos,
    /// What it has seen of its host.
    pub(crate) seen: u64,
    /// Whether it has something to do: it did something the last time, or something arrived.
    pub(crate) is_called: bool,
    /// When it is to be stepped at the latest.
    pub(crate) wake_at: Nanos,
}

/// How often an agent was stepped: who keeps a world from jumping in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentProfile {
    /// Its process.
    pub process: ProcessId,
    /// Its name.
    pub name: String,
    /// Passes in all.
    pub passes: u64,
    /// Passes in which it did something.
    pub busy: u64,
    /// Passes in which it did nothing and named a deadline that had passed already.
    pub overdue: u64,
}

pub(crate) struct Process {
    pub(crate) host: HostId,
    pub(crate) agents: Vec<Stepped>,
    pub(crate) paused_until: Nanos,
    alive: Arc<AtomicBool>,
    ports: Ports,
}

/// A simulated world. See the crate's documentation.
pub struct World {
    seed: u64,
    pub(crate) options: WorldOptions,
    pub(crate) now: Nanos,
    pub(crate) rng: Rng,
    pub(crate) hosts: Vec<Host>,
    pub(crate) processes: Vec<Option<Process>>,
    pub(crate) network: Arc<Mutex<NetworkCore>>,
    pub(crate) background: Arc<Mutex<BackgroundCore>>,
    pub(crate) trace: Trace,
    pub(crate) passes: u64,
    /// Kept between passes for its memory only.
    pub(crate) order: Vec<(usize, usize)>,
    /// Which agent of its process is being stepped.
    pub(crate) current: Current,
}

impl Stepped {
    fn new(agent: Box<dyn Agent>) -> Self {
        let (until, wake_at) = (Nanos(0), Nanos(0));
        Self {
            invoker: Invoker::new(agent),
            passes: 0,
            busy: 0,
            overdue: 0,
            until,
            seen: 0,
            is_called: true,
            wake_at,
        }
    }
}

/// Where all wall clocks begin: 2026-01-01 UTC.
pub(crate) const EPOCH_START: i64 = 1_767_225_600_000_000_000;

impl World {
    /// An empty world whose liberties follow from the seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with_options(seed, WorldOptions::drawn(seed))
    }

    /// An empty world with chosen liberties.
    #[must_use]
    pub fn with_options(seed: u64, options: WorldOptions) -> Self {
        Self {
            seed,
            options,
            now: Nanos(0),
            rng: Rng::new(seed, "schedule"),
            hosts: Vec::new(),
            processes: Vec::new(),
            network: Arc::new(Mutex::new(NetworkCore::new(Rng::new(seed, "network")))),
            background: Arc::new(Mutex::new(BackgroundCore::new(
                Rng::new(seed, "background"),
                options.background_min,
                options.background_max,
            ))),
            trace: Trace::default(),
            passes: 0,
            order: Vec::new(),
            current: Current::default(),
        }
    }

    /// Adds a host. Loopback addresses it has by itself; its name resolves to its addresses.
    ///
    /// # Panics
    /// When another host has one of the addresses, or one of them is loopback, multicast or
    /// unspecified.
    pub fn add_host(&mut self, name: &str, addresses: &[IpAddr]) -> HostId {
        let id = HostId(self.hosts.len());
        lock(&self.network).add_host(name, addresses, self.options.link);
        let mut rng = Rng::new(self.seed, name);
        let store = Arc::new(Store::default());
        store.faults().set_time(EpochNanos(self.now.0.saturating_add(EPOCH_START)));
        self.hosts.push(Host {
            name: name.to_owned(),
            addresses: addresses.to_vec(),
            store,
            clock: Clock::new(Nanos(1 + rng.below(1 << 40).cast_signed()), EPOCH_START),
            stalled_until: Nanos(0),
            stamp: 1,
        });
        id
    }

    /// Starts a process: `build` gets its ports and returns its agents, which are stepped from the
    /// next pass on, each as if on a thread of its own.
    ///
    /// It may return none: then the ports are for whoever called, who steps what stands on them
    /// between runs with [`World::now`] and says so by [`World::wake`].
    pub fn spawn(
        &mut self,
        host: HostId,
        build: impl FnOnce(&Ports) -> Vec<Box<dyn Agent>>,
    ) -> ProcessId {
        self.spawn_with(host, false, build)
    }

    /// Starts a process without agents for somebody who looks at a host from outside: what its disk
    /// fails does not befall its reads.
    pub fn observer(&mut self, host: HostId) -> ProcessId {
        self.spawn_with(host, true, |_| Vec::new())
    }

    fn spawn_with(
        &mut self,
        host: HostId,
        is_outside: bool,
        build: impl FnOnce(&Ports) -> Vec<Box<dyn Agent>>,
    ) -> ProcessId {
        let id = ProcessId(self.processes.len());
        let alive = Arc::new(AtomicBool::new(true));
        let store = Arc::clone(&self.hosts[host.0].store);
        let files = Arc::new(SimFiles::new(store, id, Arc::clone(&alive), is_outside));
        let ports = Ports {
            network: Arc::new(SimNetwork::new(
                Arc::clone(&self.network),
                (host, id),
                self.current.clone(),
            )),
            files: files.clone(),
            workers: Arc::new(SimWorkers::new(
                Arc::clone(&self.background),
                Arc::clone(&self.network),
                files,
                (host, id),
                self.current.clone(),
            )),
            seed: Rng::new(self.seed.wrapping_add(id.0 as u64), "process").next_u64(),
            process_id: 1_000 + i64::try_from(id.0).unwrap_or_default(),
        };
        let agents = build(&ports).into_iter().map(Stepped::new).collect();
        let process = Process { host, agents, paused_until: Nanos(0), alive, ports };
        self.processes.push(Some(process));
        self.trace.mix(0x5057 ^ id.0 as u64);
        self.wake(host);
        id
    }

    /// Ends a process as SIGKILL does: no agent is told, its peers hear nothing more from it, its
    /// locks are free, its background jobs that are not done never will be, and its host keeps
    /// files and shared memory as they are. Nothing if it has ended already.
    pub fn kill(&mut self, process: ProcessId) {
        let Some(ended) = self.processes[process.0].take() else { return };
        self.trace.mix(0x4b49 ^ process.0 as u64);
        self.bury(process, ended);
    }

    /// Ends a process in order: every agent is closed, the last first.
    pub fn stop(&mut self, process: ProcessId) {
        let Some(mut ended) = self.processes[process.0].take() else { return };
        self.trace.mix(0x5354 ^ process.0 as u64);
        let now = self.now(ended.host);
        for agent in ended.agents.iter_mut().rev() {
            agent.invoker.close(now);
        }
        self.bury(process, ended);
    }

    fn bury(&mut self, id: ProcessId, process: Process) {
        let host = process.host;
        // From here on, whatever the destructors of its agents try has no effect outside.
        process.alive.store(false, Ordering::Relaxed);
        lock(&self.network).close_all(id);
        lock(&self.background).close_all(id);
        self.hosts[host.0].store.unlock_all(id);
        drop(process);
        self.wake(host);
    }

    /// Leaves a process unstepped for `span`, as a stop-the-world pause or an overloaded machine
    /// does. Its sockets go on collecting.
    pub fn pause(&mut self, process: ProcessId, span: Nanos) {
        let until = self.now + span;
        if let Some(process) = &mut self.processes[process.0] {
            process.paused_until = until;
        }
    }

    /// Leaves one agent of a process unstepped for `span`, as a thread that gets no processor.
    /// Nothing if there is no such agent.
    pub fn pause_agent(&mut self, process: ProcessId, agent: usize, span: Nanos) {
        let until = self.now + span;
        let agents = self.processes[process.0].iter_mut().flat_map(|it| &mut it.agents);
        agents.skip(agent).take(1).for_each(|agent| agent.until = agent.until.max(until));
    }

    /// How many agents a running process has.
    #[must_use]
    pub fn agent_count(&self, process: ProcessId) -> usize {
        self.processes[process.0].as_ref().map_or(0, |process| process.agents.len())
    }

    /// Whether a process has neither been killed nor stopped.
    #[must_use]
    pub fn is_running(&self, process: ProcessId) -> bool {
        self.processes[process.0].is_some()
    }

    /// The agents of a running process that have halted, and why.
    #[must_use]
    pub fn halts(&self, process: ProcessId) -> Vec<(String, Halt)> {
        let agents = self.processes[process.0].iter().flat_map(|process| &process.agents);
        agents
            .map(|agent| &agent.invoker)
            .filter_map(|agent| Some((agent.name().to_owned(), agent.halted()?.clone())))
            .collect()
    }

    /// The ports of a running process.
    ///
    /// # Panics
    /// When the process has ended.
    #[must_use]
    pub fn ports(&self, process: ProcessId) -> Ports {
        let Some(process) = &self.processes[process.0] else {
            panic!("process {} has ended", process.0)
        };
        process.ports.clone()
    }

    /// The host on which a process runs, if it does.
    #[must_use]
    pub fn host_of(&self, process: ProcessId) -> Option<HostId> {
        self.processes[process.0].as_ref().map(|process| process.host)
    }

    /// Every host.
    pub fn hosts(&self) -> impl Iterator<Item = HostId> + use<> {
        (0..self.hosts.len()).map(HostId)
    }

    /// The name of a host.
    #[must_use]
    pub fn host_name(&self, host: HostId) -> &str {
        &self.hosts[host.0].name
    }

    /// The first address of a host.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn address(&self, host: HostId) -> IpAddr {
        self.hosts[host.0].addresses[0]
    }

    /// What the clocks of a host show.
    #[must_use]
    pub fn now(&self, host: HostId) -> Now {
        self.hosts[host.0].clock.now(self.now)
    }

    /// How long the world has existed.
    #[must_use]
    pub fn elapsed(&self) -> Nanos {
        self.now
    }

    /// Sets the wall clock of a host forward or back by `span` (negative). Its monotonic clock goes
    /// on unmoved.
    pub fn shift_wall_clock(&mut self, host: HostId, span: Nanos) {
        self.hosts[host.0].clock.shift_wall(span);
    }

    /// Lets both clocks of a host run faster by so many parts per million, or slower (negative).
    pub fn set_clock_drift(&mut self, host: HostId, parts: i32) {
        self.hosts[host.0].clock.set_drift(self.now, parts);
    }

    /// Freezes a host, clocks and all, as the migration of a virtual machine does.
    pub fn freeze(&mut self, host: HostId, span: Nanos) {
        self.hosts[host.0].clock.freeze(self.now, span);
        let until = self.now + span;
        for process in self.processes.iter_mut().flatten().filter(|it| it.host == host) {
            process.paused_until = process.paused_until.max(until);
        }
    }

    /// The seed of the world.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// A source of random numbers for a place outside the world's own, such as a script of faults.
    #[must_use]
    pub fn rng(&self, place: &str) -> Rng {
        Rng::new(self.seed, place)
    }

    /// A hash of every delivery, background completion, pass and end so far.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        let mut trace = self.trace;
        trace.mix(lock(&self.network).trace_value());
        trace.mix(lock(&self.background).trace_value());
        trace.value()
    }

    /// How often each agent of each running process was stepped.
    #[must_use]
    pub fn profile(&self) -> Vec<AgentProfile> {
        let running = self.processes.iter().enumerate();
        let of = |id, agent: &Stepped| AgentProfile {
            process: ProcessId(id),
            name: agent.invoker.name().to_owned(),
            passes: agent.passes,
            busy: agent.busy,
            overdue: agent.overdue,
        };
        running
            .flat_map(|(id, process)| process.iter().map(move |process| (id, process)))
            .flat_map(|(id, process)| process.agents.iter().map(move |agent| of(id, agent)))
            .collect()
    }

    /// How many times an agent was stepped so far.
    #[must_use]
    pub fn passes(&self) -> u64 {
        self.passes
    }

    /// Sets what befalls datagrams from one host to another. Both may be one host: its loopback.
    pub fn set_link(&mut self, from: HostId, to: HostId, faults: LinkFaults) {
        lock(&self.network).link_mut(from, to).faults = faults;
    }

    /// Sets what befalls datagrams between any two different hosts, those added later included.
    pub fn set_links(&mut self, faults: LinkFaults) {
        self.options.link = faults;
        lock(&self.network).for_each_link(|_, _, link| link.faults = faults);
    }

    /// Lets nothing through from one host to another; the way back is not touched.
    pub fn cut(&mut self, from: HostId, to: HostId) {
        lock(&self.network).link_mut(from, to).cut = true;
    }

    /// Lets nothing through, either way, between hosts in `side` and all others.
    pub fn partition(&mut self, side: &[HostId]) {
        lock(&self.network).for_each_link(|from, to, link| {
            link.cut |= side.contains(&from) != side.contains(&to);
        });
    }

    /// Keeps what one host sends to another from `after` on, for `span`: then all of it arrives.
    pub fn clog(&mut self, from: HostId, to: HostId, after: Nanos, span: Nanos) {
        let begin = self.now + after;
        lock(&self.network).link_mut(from, to).clog(begin, begin + span);
    }

    /// Lets nothing through from one host to another every other `half`, for `span`.
    pub fn flap(&mut self, from: HostId, to: HostId, half: Nanos, span: Nanos) {
        let end = self.now + span;
        lock(&self.network).link_mut(from, to).flap(half, end);
    }

    /// Mends what is cut, clogged or flaps. Faults of links stay as set.
    pub fn mend(&mut self) {
        lock(&self.network).for_each_link(|_, _, link| link.mend());
    }

    /// Mends what is cut, ends all faults of links between hosts and forgets the filter.
    pub fn heal(&mut self) {
        self.mend();
        self.set_links(LinkFaults::default());
        self.clear_filter();
    }

    /// Lets a name resolve to these addresses; to none: it is unknown.
    pub fn set_name(&mut self, name: &str, addresses: &[IpAddr]) {
        lock(&self.network).set_name(name, addresses);
    }

    /// Shows every datagram that is about to leave, before any fault, to `filter`, which decides
    /// about it. It must not use the network itself.
    pub fn set_filter(&mut self, filter: impl FnMut(&Passing<'_>) -> Verdict + Send + 'static) {
        lock(&self.network).set_filter(Some(Box::new(filter)));
    }

    /// Forgets the filter.
    pub fn clear_filter(&mut self) {
        lock(&self.network).set_filter(None);
    }

    /// How often each thing befell a datagram so far.
    #[must_use]
    pub fn network_totals(&self) -> NetworkTotals {
        lock(&self.network).totals()
    }

    /// Sets how long background jobs of all hosts take from now on.
    pub fn set_background_delay(&mut self, shortest: Nanos, longest: Nanos) {
        lock(&self.background).set_delay(shortest, longest);
    }
}
