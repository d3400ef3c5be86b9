//! Twins: cores that differ, in situations that count as one. What one event makes of them must be
//! one situation too, or the fingerprint leaves out what matters.

use consensus::ElectionState;
use rustc_hash::FxHashMap;

use crate::hash::{Renaming, mix, of_words};
use crate::member::Member;
use crate::node::{Event, Node, Step, Steps};
use crate::setup::Setup;
use crate::world::{Key, World};

/// Some of the others of each situation, the first ones seen.
#[derive(Default)]
pub(crate) struct Twins {
    counts: FxHashMap<u32, usize>,
    /// Those that were not compared yet.
    fresh: Vec<(u32, Node)>,
    nodes: FxHashMap<u32, Vec<Node>>,
    keys: FxHashMap<u32, Vec<Key>>,
    /// Comparisons made.
    pub(crate) compared: u64,
}

impl Twins {
    pub(crate) fn keep(&mut self, most: usize, situation: u32, node: Node) {
        if most > 0 {
            let count = self.counts.entry(situation).or_default();
            if *count < most {
                *count += 1;
                self.fresh.push((situation, node));
            }
        }
    }

    /// An event that was worked out for a situation: all its twins, and those to come, must go on
    /// alike. What is wrong, if they do not.
    pub(crate) fn compare(&mut self, world: &World, situation: u32, key: Key) -> Option<String> {
        if world.setup.twins == 0 {
            return None;
        }
        self.keys.entry(situation).or_default().push(key);
        let mut wrong = self.nodes.get(&situation).into_iter().flatten().find_map(|twin| {
            self.compared += 1;
            part(world, situation, twin, key)
        });
        for (situation, twin) in std::mem::take(&mut self.fresh) {
            for &key in self.keys.get(&situation).into_iter().flatten() {
                self.compared += 1;
                wrong = wrong.or_else(|| part(world, situation, &twin, key));
            }
            self.nodes.entry(situation).or_default().push(twin);
        }
        wrong
    }
}

/// Whether a twin goes on differently: into other situations, or saying something else.
fn part(world: &World, situation: u32, twin: &Node, key: Key) -> Option<String> {
    let event = world.event(key);
    let own = rested(&world.setup, &world.situation(situation).node).handle(&world.setup, &event);
    let other = rested(&world.setup, twin).handle(&world.setup, &event);
    let print =
        |steps: &Steps| steps.iter().map(|step| print(&world.setup, step)).collect::<Vec<u128>>();
    let is_same = print(&own) == print(&other);
    let tell = |steps: &Steps| steps.first().map(|step| step.node.clone());
    (!is_same).then(|| format!("twins part at {event:?}: {:?} and {:?}", tell(&own), tell(&other)))
}

/// Coarse steps count a canvass whose waits are not over as one whose are: it only stands earlier.
fn rested(setup: &Setup, node: &Node) -> Node {
    if setup.is_coarse && node.core.election_state() == ElectionState::Canvass {
        let rested = node.handle(setup, &Event::Expire).into_iter().next();
        let names = Renaming((0..setup.members).collect());
        let hash = |node: &Node| Member::hash(node, false, &names);
        if let Some(step) = rested.filter(|step| hash(&step.node) == hash(node)) {
            return step.node;
        }
    }
    node.clone()
}

/// The situation afterwards, and what was said, in any order.
fn print(setup: &Setup, step: &Step) -> u128 {
    let same = |member| member;
    let names = Renaming((0..setup.members).collect());
    let mut said: Vec<u128> =
        step.sends.iter().map(|message| of_words(|word| message.words(&same, word))).collect();
    said.sort_unstable();
    said.dedup();
    said.into_iter().fold(Member::hash(&step.node, !setup.is_coarse, &names), mix)
}
