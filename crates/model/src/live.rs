//! Liveness, sampled: without further faults a cluster comes to serve, from any state.
//!
//! Time passes for all members alike, each message arrives within a step, all data is copied. One
//! member may be dead, as long as enough of the others may vote. A state from which no member then
//! ends up leading in service, with a new entry exposed by everybody who lives, is dead.

use consensus::ElectionState;

use crate::message::Message;
use crate::node::{Event, Node};
use crate::setup::Setup;
use crate::world::{self, Key, World};

/// Steps of a wait.
const STEPS_OF_TIMEOUT: u64 = 64;
/// Waits until a state counts as dead.
const TIMEOUTS_MAX: u64 = 60;
/// Schedules that are tried.
const TRIES: u64 = 4;

/// What came of the samples.
#[derive(Clone, Debug, Default)]
pub struct Liveness {
    /// States and dead members tried.
    pub checks: usize,
    /// A dead one: the state, and the member that was dead besides.
    pub dead: Option<(usize, Option<usize>)>,
    /// Longest way to service, in steps.
    pub steps_max: u64,
}

struct Cluster {
    setup: Setup,
    nodes: Vec<Node>,
    dead: Option<usize>,
    flying: Vec<Message>,
    dice: u64,
}

/// Whether the cluster of `row` comes to serve. The steps that it takes.
#[must_use]
pub fn serves(world: &World, row: &world::Row, dead: Option<usize>) -> Option<u64> {
    (0..TRIES).find_map(|seed| Cluster::new(world, row, dead, seed).run())
}

/// Whether those who live and may vote (H1) are a quorum.
#[must_use]
pub fn has_voters(world: &World, row: &world::Row, dead: Option<usize>) -> bool {
    let members = (0..world.setup.members).filter(|&member| Some(member) != dead);
    let is_whole = |&member: &usize| world.member(row, member).node.core.loss().is_none();
    members.filter(is_whole).count() >= world.setup.quorum()
}

impl Cluster {
    fn new(world: &World, row: &world::Row, dead: Option<usize>, seed: u64) -> Self {
        let members = world.setup.members;
        let nodes: Vec<Node> =
            (0..members).map(|member| world.member(row, member).node.clone()).collect();
        let longest = nodes.iter().map(|node| node.readable().len()).max().unwrap_or(0);
        let setup = Setup {
            terms: world.setup.terms + 1_000,
            entries: longest + 1_000,
            is_paced: true,
            has_crashes: false,
            ..world.setup
        };
        Self { setup, nodes, dead, flying: Vec::new(), dice: seed }
    }

    fn roll(&mut self, bound: u64) -> u64 {
        self.dice =
            self.dice.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        (self.dice >> 33) % bound
    }

    fn alive(&self) -> impl Iterator<Item = usize> + use<> {
        let dead = self.dead;
        (0..self.nodes.len()).filter(move |&member| Some(member) != dead)
    }

    fn run(mut self) -> Option<u64> {
        let goal = self.nodes.iter().map(Node::exposed).max().unwrap_or(0);
        let before = self.nodes.iter().map(|node| node.readable().len()).max().unwrap_or(0);
        for step in 0..STEPS_OF_TIMEOUT * TIMEOUTS_MAX {
            self.step();
            if self.is_serving(goal, before) {
                return Some(step);
            }
        }
        None
    }

    /// All who live are whole and in service, and expose the same, more than anybody did and more
    /// than one new entry of the leader.
    fn is_serving(&self, goal: usize, before: usize) -> bool {
        let closed = |member: usize| {
            let core = &self.nodes[member].core;
            core.election_state() == ElectionState::Closed && core.loss().is_none()
        };
        let exposed = |member: usize| self.nodes[member].exposed();
        let has_leader = self.alive().any(|member| self.nodes[member].core.is_leading());
        has_leader && self.alive().all(|m| closed(m) && exposed(m) > goal && exposed(m) > before)
    }

    fn step(&mut self) {
        let span = self.setup_timeout() / STEPS_OF_TIMEOUT as i64;
        let mut said = std::mem::take(&mut self.flying);
        said.dedup();
        for message in said {
            self.deliver(message);
        }
        for member in self.alive() {
            if let Some(key) = world::data(|member| &self.nodes[member], member)
                && self.is_source_alive(member)
            {
                self.data(member, key);
            }
            if self.nodes[member].core.is_leading() {
                self.handle(member, &Event::Append);
            }
            self.handle(member, &Event::Record);
            let jitter = self.roll(span as u64) as i64;
            let setup = self.setup;
            let sends = self.nodes[member].pass(&setup, span + jitter / 16);
            self.post(sends);
        }
    }

    fn setup_timeout(&self) -> i64 {
        crate::node::TIMEOUT.0
    }

    fn is_source_alive(&self, member: usize) -> bool {
        let agent = &self.nodes[member].agent;
        let copied = agent.copying.map(|copying| copying.from);
        let source = copied.or_else(|| agent.image.as_ref().map(|image| image.leader));
        source.is_none_or(|source| Some(source) != self.dead)
    }

    fn data(&mut self, member: usize, key: Key) {
        match key {
            Key::Copy(entry) => self.handle(member, &Event::Copy(entry)),
            Key::Join => self.handle(member, &Event::Join),
            _ => {}
        }
    }

    fn handle(&mut self, member: usize, event: &Event) {
        let setup = self.setup;
        if let Some(step) = self.nodes[member].handle(&setup, event).into_iter().next() {
            self.nodes[member] = step.node;
            self.post(step.sends);
        }
    }

    fn deliver(&mut self, message: Message) {
        if Some(message.to) != self.dead {
            self.handle(message.to, &Event::Deliver(message.body));
        }
    }

    /// Each message flies once, whoever says it how often within a step.
    fn post(&mut self, sends: Vec<Message>) {
        for message in sends {
            if !self.flying.contains(&message) {
                self.flying.push(message);
            }
        }
    }
}

/// Members in a dead cluster, in words.
#[must_use]
pub fn who(dead: Option<usize>) -> String {
    dead.map_or_else(|| "all alive".into(), |member| format!("{member} dead"))
}
