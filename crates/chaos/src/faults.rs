//! What happens to processes and links, drawn from a seed.

use std::collections::BTreeMap;
use std::fmt;

use coracle::os::clock;
use coracle::runtime::Nanos;
use coracle::runtime::random::Rng;

use crate::network::MEMBERS;
use crate::world::World;

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// SIGKILL, and a start some time later.
    Kill,
    /// SIGKILL to all at once.
    KillAll,
    /// SIGSTOP, and SIGCONT some time later.
    Freeze,
    /// The cable is pulled.
    Unplug,
    /// Nothing comes in.
    Deafen,
    /// Nothing goes out.
    Mute,
    /// Nothing comes from one other member.
    DeafenToOne,
    /// Nothing goes to one other member, nor comes from it.
    Part,
    /// Some of what comes and goes is lost, at all members.
    Lose,
    /// The leader is asked for a snapshot.
    Snapshot,
}

const KINDS: [(Kind, u64); 10] = [
    (Kind::Kill, 5),
    (Kind::KillAll, 1),
    (Kind::Freeze, 3),
    (Kind::Unplug, 2),
    (Kind::Deafen, 2),
    (Kind::Mute, 2),
    (Kind::DeafenToOne, 2),
    (Kind::Part, 2),
    (Kind::Lose, 2),
    (Kind::Snapshot, 2),
];

/// How often each happened.
#[derive(Debug, Default)]
pub(crate) struct Totals(BTreeMap<Kind, u64>);

impl fmt::Display for Totals {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut count = |text: &str, kind| {
            let count = self.0.get(&kind).copied().unwrap_or(0);
            write!(formatter, "{text} {count}")
        };
        count("  SIGKILL", Kind::Kill)?;
        count(", to all at once", Kind::KillAll)?;
        count(", SIGSTOP", Kind::Freeze)?;
        count(", unplugged", Kind::Unplug)?;
        count(", one-way cuts: in", Kind::Deafen)?;
        count(", out", Kind::Mute)?;
        count(", from one member", Kind::DeafenToOne)?;
        count("; pairs cut both ways", Kind::Part)?;
        count(", loss", Kind::Lose)?;
        count(", snapshots", Kind::Snapshot)
    }
}

/// Something that goes on.
struct Fault {
    kind: Kind,
    id: usize,
    other: usize,
    percent: u64,
}

/// Lets things happen for so long. Afterwards nothing goes on any more.
///
/// # Errors
/// What the world says; or it does not recover.
pub(crate) fn storm(world: &mut World, seed: u64, span: Nanos) -> Result<Totals, String> {
    let mut rng = Rng::new(seed, "faults");
    let mut totals = Totals::default();
    let end = clock::now().mono + span;
    // Each once at first, in any order.
    let mut first: Vec<Kind> = KINDS.iter().map(|(kind, _)| *kind).collect();
    rng.shuffle(&mut first);
    while clock::now().mono < end {
        let mut faults = Vec::new();
        let count = 1 + u64::from(rng.chance(0.2));
        for _ in 0..count {
            let kind = first.pop().unwrap_or_else(|| draw(&mut rng));
            faults.push(aim(kind, world, &mut rng));
        }
        for fault in &faults {
            *totals.0.entry(fault.kind).or_insert(0) += 1;
            let told = begin(fault, world).map_err(|cause| format!("{:?}: {cause}", fault.kind));
            told?;
        }
        let held = Nanos::from_millis(100 + rng.below(3_900).cast_signed());
        let result = world.run_for(held);
        let names: Vec<Kind> = faults.iter().map(|fault| fault.kind).collect();
        result.map_err(|cause| format!("during {names:?}: {cause}"))?;
        faults.iter().try_for_each(|fault| heal(fault, world))?;
        let rest = Nanos::from_millis(rng.below(2_500).cast_signed());
        let result = world.run_for(rest).and_then(|()| world.answers());
        result.map_err(|cause| format!("after {names:?}: {cause}"))?;
        if rng.chance(0.3) {
            world.serves().map_err(|cause| format!("after {names:?}: {cause}"))?;
        }
    }
    Ok(totals)
}

fn draw(rng: &mut Rng) -> Kind {
    let sum: u64 = KINDS.iter().map(|(_, weight)| weight).sum();
    let mut at = rng.below(sum);
    for (kind, weight) in KINDS {
        if at < weight {
            return kind;
        }
        at -= weight;
    }
    Kind::Kill
}

fn aim(kind: Kind, world: &World, rng: &mut Rng) -> Fault {
    let any = usize::try_from(rng.below(MEMBERS as u64)).unwrap_or(0);
    let is_leader = rng.chance(0.6) || kind == Kind::Snapshot;
    let id = world.leader().filter(|_| is_leader).unwrap_or(any);
    let other = (id + 1 + usize::from(rng.chance(0.5))) % MEMBERS;
    Fault { kind, id, other, percent: 1 + rng.below(25) }
}

fn begin(fault: &Fault, world: &mut World) -> Result<(), String> {
    let Fault { id, other, percent, .. } = *fault;
    match fault.kind {
        Kind::Kill => world.nodes.kill(id),
        Kind::KillAll => (0..MEMBERS).try_for_each(|id| world.nodes.kill(id)),
        Kind::Freeze => world.nodes.freeze(id, true),
        Kind::Unplug => world.network.set_link(id, false),
        Kind::Deafen => world.network.deafen(id, None),
        Kind::Mute => world.network.mute(id, None),
        Kind::DeafenToOne => world.network.deafen(id, Some(other)),
        Kind::Part => {
            world.network.deafen(id, Some(other))?;
            world.network.mute(id, Some(other))
        }
        Kind::Lose => (0..MEMBERS).try_for_each(|id| world.network.lose(id, percent)),
        Kind::Snapshot => {
            // It may lead no more.
            let _ = world.nodes.ask_for_snapshot(id);
            Ok(())
        }
    }
}

fn heal(fault: &Fault, world: &mut World) -> Result<(), String> {
    match fault.kind {
        Kind::Kill | Kind::KillAll => (0..MEMBERS)
            .filter(|id| !world.nodes.is_running(*id))
            .collect::<Vec<_>>()
            .into_iter()
            .try_for_each(|id| world.nodes.start(id)),
        Kind::Freeze => world.nodes.freeze(fault.id, false),
        Kind::Lose => (0..MEMBERS).try_for_each(|id| world.network.heal(id)),
        Kind::Snapshot => Ok(()),
        _ => world.network.heal(fault.id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_drawn_and_told() {
        let mut rng = Rng::new(1, "test");
        let mut totals = Totals::default();
        for _ in 0..2_000 {
            *totals.0.entry(draw(&mut rng)).or_insert(0) += 1;
        }
        assert_eq!(totals.0.len(), KINDS.len());
        let text = totals.to_string();
        assert!(totals.0.values().all(|count| text.contains(&format!(" {count}"))), "{text}");
    }
}
