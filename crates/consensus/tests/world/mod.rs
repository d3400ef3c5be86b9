//! A small world for whole clusters of cores: seeded bus, disks, archives, services, clients.
//!
//! Method: one step is 5 ms. The bus loses, doubles, delays and reorders messages and links are
//! cut one way; nodes crash between any two records and restart from their disks. A log entry is
//! 32 bytes and carries a number of its own, so equal positions must hold equal numbers.

#![allow(dead_code, unreachable_pub, clippy::print_stdout)] // Each test uses its part of it.

pub mod check;
pub mod node;

use std::collections::{BTreeMap, BTreeSet};

use check::Check;
use consensus::{Config, Control, ElectionState, LeadershipTermId, MemberId, Rules, Timeouts};
use node::{Message, Node};
use wire::time::{EpochNanos, Nanos, Now};

pub const STEP_NS: i64 = 5_000_000;

/// SplitMix64: the seed of a run is the run.
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound.max(1)
    }

    pub fn one_in(&mut self, bound: u64) -> bool {
        bound > 0 && self.below(bound) == 0
    }
}

/// What an entry of the log says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Message { session: i64 },
    Timer { id: i64 },
    Open { session: i64, correlation: i64 },
    Close { session: i64, reason: i32 },
    Action { action: i32, flags: i32 },
    Term { base: i64 },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub number: u64,
    pub term: i64,
    pub time: i64,
    pub event: Event,
}

/// The live log of one leader.
#[derive(Clone, Debug)]
pub struct Stream {
    pub leader: usize,
    pub base: usize,
    pub entries: Vec<Entry>,
    pub is_closed: bool,
}

/// How bad the world is. A zero means never.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    pub loss_one_in: u64,
    pub double_one_in: u64,
    pub delay_steps: u64,
    pub crash_one_in: u64,
    pub cut_one_in: u64,
    pub torn_one_in: u64,
    pub rot_one_in: u64,
    /// A cut rolls every link anew; nodes return soon.
    pub is_harsh: bool,
}

impl Faults {
    pub const NONE: Self = Self {
        loss_one_in: 0,
        double_one_in: 0,
        delay_steps: 1,
        crash_one_in: 0,
        cut_one_in: 0,
        torn_one_in: 0,
        rot_one_in: 0,
        is_harsh: false,
    };

    pub fn rolled(dice: &mut Dice) -> Self {
        Self {
            loss_one_in: [0, 50, 10, 4][dice.below(4) as usize],
            double_one_in: [0, 20][dice.below(2) as usize],
            delay_steps: [1, 4, 20][dice.below(3) as usize],
            crash_one_in: [400, 800, 3_000][dice.below(3) as usize],
            cut_one_in: [0, 100, 300][dice.below(3) as usize],
            torn_one_in: [0, 200, 40][dice.below(3) as usize],
            rot_one_in: 0,
            is_harsh: false,
        }
    }

    /// Elections without end, links that fail each on its own, nodes that come and go.
    pub fn harsh(dice: &mut Dice) -> Self {
        Self {
            loss_one_in: [0, 10][dice.below(2) as usize],
            double_one_in: 0,
            delay_steps: [1, 10, 40][dice.below(3) as usize],
            crash_one_in: [80, 200, 600][dice.below(3) as usize],
            cut_one_in: [20, 60, 150][dice.below(3) as usize],
            torn_one_in: [0, 60][dice.below(2) as usize],
            rot_one_in: 0,
            is_harsh: true,
        }
    }
}

pub struct Flight {
    pub due: u64,
    pub to: usize,
    pub message: Message,
}

pub struct World {
    pub dice: Dice,
    pub step: u64,
    pub nodes: Vec<Node>,
    pub streams: BTreeMap<i32, Stream>,
    pub flights: Vec<Flight>,
    pub cut: Vec<Vec<bool>>,
    pub faults: Faults,
    pub next_number: u64,
    pub next_session: i32,
    pub next_correlation: i64,
    pub check: Check,
    pub workload: bool,
    /// Every change of an election state that was seen.
    pub transitions: BTreeSet<(ElectionState, ElectionState)>,
    /// Print every change: set `CONSENSUS_TRACE`.
    pub trace: bool,
}

impl World {
    pub fn new(seed: u64, members: usize, rules: Rules) -> Self {
        let ids: Vec<MemberId> = (0..members as i32).map(MemberId).collect();
        let nodes = ids
            .iter()
            .map(|&id| {
                let mut config = Config::new(id, ids.clone());
                config.timeouts = Timeouts::fast();
                config.timeouts.session_timeout = Nanos::from_secs(2);
                config.rules = rules;
                config.log_term_length = 64 * 1024;
                Node::new(id.0 as usize, config)
            })
            .collect();
        let mut world = Self {
            dice: Dice(seed),
            step: 0,
            nodes,
            streams: BTreeMap::new(),
            flights: Vec::new(),
            cut: vec![vec![false; members]; members],
            faults: Faults::NONE,
            next_number: 1,
            next_session: 1,
            next_correlation: 1,
            check: Check::new(members),
            workload: true,
            transitions: BTreeSet::new(),
            trace: std::env::var_os("CONSENSUS_TRACE").is_some(),
        };
        for index in 0..members {
            world.start(index);
        }
        world
    }

    pub fn now(&self) -> Now {
        let mono = Nanos(1_000_000_000 + self.step as i64 * STEP_NS);
        Now { mono, epoch: EpochNanos(1_700_000_000_000_000_000 + mono.0) }
    }

    pub fn start(&mut self, index: usize) {
        let (seed, now) = (self.dice.roll(), self.now());
        self.check.totals.snapshot_restarts += u64::from(self.nodes[index].disk.snapshot.is_some());
        self.nodes[index].start(seed, now);
        self.check.restarted(index);
    }

    pub fn crash(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        if let Some(core) = &node.core {
            self.check.totals.add(&core.counters());
        }
        node.crash();
        let delay = if self.faults.is_harsh { 60 } else { 400 };
        node.restart_at = self.step + 20 + self.dice.below(delay);
        self.check.totals.crashes += 1;
        for stream in self.streams.values_mut().filter(|stream| stream.leader == index) {
            stream.is_closed = true;
        }
    }

    pub fn send(&mut self, from: usize, to: usize, message: Message) {
        if self.cut[from][to] || self.dice.one_in(self.faults.loss_one_in) {
            return;
        }
        let copies = if self.dice.one_in(self.faults.double_one_in) { 2 } else { 1 };
        for _ in 0..copies {
            let due = self.step + 1 + self.dice.below(self.faults.delay_steps);
            self.flights.push(Flight { due, to, message: message.clone() });
        }
    }

    /// One step of everybody.
    pub fn run_step(&mut self) {
        self.step += 1;
        self.misfortune();
        for index in 0..self.nodes.len() {
            if self.nodes[index].core.is_none() {
                if self.nodes[index].restart_at <= self.step {
                    self.start(index);
                }
                continue;
            }
            let before = self.trace.then(|| self.nodes[index].describe());
            self.deliver(index);
            self.step_node(index);
            let after = self.trace.then(|| self.nodes[index].describe());
            if before != after {
                println!("{} {}", self.step, after.unwrap_or_default());
            }
        }
    }

    pub fn run_steps(&mut self, count: u64) {
        for _ in 0..count {
            self.run_step();
            if self.check.violation.is_some() {
                return;
            }
        }
    }

    fn misfortune(&mut self) {
        let members = self.nodes.len();
        if self.dice.one_in(self.faults.crash_one_in) {
            let index = self.dice.below(members as u64) as usize;
            if self.nodes[index].core.is_some() {
                self.crash(index);
            }
        }
        if self.dice.one_in(self.faults.rot_one_in) {
            self.rot();
        }
        if self.dice.one_in(self.faults.cut_one_in) {
            self.check.totals.cuts += 1;
            if self.faults.is_harsh {
                for a in 0..members {
                    for b in 0..members {
                        self.cut[a][b] = self.dice.one_in(3);
                    }
                }
                return;
            }
            let (a, b) =
                (self.dice.below(members as u64) as usize, self.dice.below(members as u64));
            match self.dice.below(4) {
                0 => self.cut.iter_mut().for_each(|row| row.fill(false)),
                1 => self.cut[a][b as usize] = true,
                _ => {
                    for other in 0..members {
                        self.cut[a][other] = true;
                        self.cut[other][a] = true;
                    }
                }
            }
        } else if self.faults.cut_one_in > 0 && self.dice.one_in(200) {
            self.cut.iter_mut().for_each(|row| row.fill(false));
        }
        if self.workload && self.dice.one_in(300) {
            let control =
                [Control::Snapshot, Control::Suspend, Control::Resume][self.dice.below(3) as usize];
            for index in 0..members {
                self.control(index, control);
            }
        }
        if self.workload && self.dice.one_in(100) {
            for index in 0..members {
                self.control(index, Control::Resume);
            }
        }
    }

    /// A recording rots, if a quorum of the others has all of what it had.
    fn rot(&mut self) {
        let index = self.dice.below(self.nodes.len() as u64) as usize;
        let is_whole = |node: &&Node| {
            node.index != index && node.disk.loss.is_none() && !node.disk.is_rotten()
        };
        let (whole, entries) =
            (self.nodes.iter().filter(is_whole).count(), self.nodes[index].disk.log.len());
        if whole > self.nodes.len() / 2 && entries > 0 {
            let from = self.dice.below(entries as u64) as usize;
            let rotten = &mut self.nodes[index].disk.rotten;
            *rotten = Some(rotten.map_or(from, |known| known.min(from)));
        }
    }

    fn deliver(&mut self, index: usize) {
        let mut flights = std::mem::take(&mut self.flights);
        let step = self.step;
        let mut due = Vec::new();
        flights.retain(|flight| {
            let is_due = flight.to == index && flight.due <= step;
            if is_due {
                due.push(flight.message.clone());
            }
            !is_due
        });
        self.flights.append(&mut flights);
        for message in due {
            self.receive(index, message);
        }
    }

    /// The leader in service with the highest term.
    pub fn leader(&self) -> Option<usize> {
        let leads = |node: &&Node| node.core.as_ref().is_some_and(consensus::Consensus::is_leading);
        self.nodes.iter().filter(leads).max_by_key(|node| node.term()).map(|node| node.index)
    }

    /// All faults end; everybody is started.
    pub fn heal(&mut self) {
        self.faults = Faults::NONE;
        self.cut.iter_mut().for_each(|row| row.fill(false));
        for node in &mut self.nodes {
            node.restart_at = self.step;
        }
    }

    /// I-20: after healing, a leader within a bound, and everything it appended exposed by all.
    pub fn must_converge(&mut self, steps: u64) {
        let until = self.step + steps;
        let target = self.check.exposed.len() + 20;
        while self.step < until && self.check.violation.is_none() {
            self.run_step();
            let is_done = self.nodes.iter().all(|node| {
                node.core.as_ref().is_some_and(|core| {
                    core.commit_position().0 >= target as i64 * 32
                        && core.election_state() == ElectionState::Closed
                })
            });
            if is_done {
                return;
            }
        }
        if self.check.violation.is_none() {
            let states: Vec<String> = self.nodes.iter().map(Node::describe).collect();
            self.check.violation = Some(format!("I-20: not converged: {states:#?}"));
        }
    }
}

/// A whole run: trouble, healing, convergence. The violation if there is one.
pub fn trouble(seed: u64, members: usize, rules: Rules, steps: u64) -> (Check, Option<String>) {
    run(World::new(seed, members, rules), seed, 0, steps)
}

/// The same with recordings that rot.
pub fn rotten_trouble(
    seed: u64,
    members: usize,
    rules: Rules,
    steps: u64,
) -> (Check, Option<String>) {
    run(World::new(seed, members, rules), seed, 100, steps)
}

fn run(mut world: World, seed: u64, rot_one_in: u64, steps: u64) -> (Check, Option<String>) {
    let is_harsh = seed % 2 == 1;
    world.faults =
        if is_harsh { Faults::harsh(&mut world.dice) } else { Faults::rolled(&mut world.dice) };
    world.faults.rot_one_in = rot_one_in;
    world.run_steps(steps);
    if world.check.violation.is_none() {
        world.heal();
        world.must_converge(4_000);
    }
    for node in &world.nodes {
        if let Some(core) = &node.core {
            world.check.totals.add(&core.counters());
        }
    }
    let violation = world.check.violation.take();
    (world.check, violation)
}

pub fn term(id: i64) -> LeadershipTermId {
    LeadershipTermId(id)
}
