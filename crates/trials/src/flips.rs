//! Flips: the files of a node are damaged one at a time, in every way in which disks do it, and
//! what the production code makes of them is judged: damage is refused, repaired or told, or it
//! has no effect at all. Never is anything else handed out than what was written.

mod damage;
mod state;

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use runtime::Now;
use runtime::random::Rng;
use sim::{Image, World};

use crate::images::{Fault, later, snapshots};
use damage::Damage;
use state::{Found, State};

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Structure {
    /// A segment of the log's recording.
    Segment,
    /// A segment of a recording that a snapshot consists of.
    Snapshot,
    /// The archive's catalog.
    Catalog,
    /// Terms and snapshots.
    RecordingLog,
    /// The vote.
    NodeState,
    /// A mark file, the archive's or the module's.
    MarkFile,
    /// What stands beside the others: logs of guarded files, sums of segments.
    Sum,
}

/// All of them.
pub const STRUCTURES: [Structure; 7] = [
    Structure::Segment,
    Structure::Snapshot,
    Structure::Catalog,
    Structure::RecordingLog,
    Structure::NodeState,
    Structure::MarkFile,
    Structure::Sum,
];

/// What came of a damaged file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Everything is as it was, byte for byte, and nothing was said.
    NoEffect,
    /// Everything is as it was, and the error log says what was repaired.
    Repaired,
    /// Something is out of service or shorter, and the error log says so.
    Told,
    /// Whoever reads the damaged place gets an error.
    RefusedAtReplay,
    /// The directory is not opened, with a reason.
    Refused,
}

/// What came of all damage.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// By structure, kind of damage and outcome.
    pub rows: BTreeMap<(Structure, &'static str, Outcome), u64>,
    /// Damage that was accepted: some of it.
    pub faults: Vec<Fault>,
}

impl Totals {
    /// How often a file was damaged.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.rows.values().sum()
    }

    /// How often a file of one kind was.
    #[must_use]
    pub fn count_of(&self, structure: Structure) -> u64 {
        self.rows.iter().filter(|((it, ..), _)| *it == structure).map(|(_, count)| count).sum()
    }
}

/// Which damage to do.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// How many files to damage in all.
    pub count: u64,
    /// The first seed.
    pub first: u64,
    /// Only the damage with this number, of the first seed.
    pub number: Option<u64>,
}

/// How often the files of one run are damaged.
const PER_RUN: u64 = 2_500;
/// After so many faults nothing more is looked at.
const FAULTS: usize = 5;

/// A node's files, whole, and what they hold.
struct Base {
    /// How its life ended.
    end: &'static str,
    image: Image,
    /// Files as they were some time before.
    older: Image,
    now: Now,
    truth: State,
}

/// Damages files until as many have been as are wanted, or some damage was accepted.
#[must_use]
pub fn run(wanted: Wanted) -> Totals {
    let mut totals = Totals::default();
    let mut seed = wanted.first;
    while totals.count() < wanted.count && totals.faults.len() < FAULTS {
        let bases = match bases(seed) {
            Ok(bases) => bases,
            Err(fault) => {
                totals.faults.push(fault);
                break;
            }
        };
        let left = PER_RUN.min(wanted.count - totals.count());
        for number in 0..left {
            if wanted.number.is_some_and(|wanted| wanted != number) {
                continue;
            }
            let base = &bases[usize::from(number % 2 == 1)];
            strike(base, seed, number, &mut totals);
            if totals.faults.len() >= FAULTS {
                break;
            }
        }
        if wanted.number.is_some() {
            break;
        }
        seed += 1;
    }
    totals
}

/// The files of a node that was killed, and of one that ended in order.
fn bases(seed: u64) -> Result<[Base; 2], Fault> {
    let make = |is_killed: bool| {
        let lives = snapshots::lives(seed, is_killed)?;
        let (image, older, now) = (lives.image, lives.older, lives.now);
        let found = open(&image, now, seed).map_err(Fault::run)?;
        if !found.findings.is_empty() || !found.errors.is_empty() {
            return Err(Fault::run(format!("whole: {:?} {:?}", found.findings, found.errors)));
        }
        let end = if is_killed { "killed" } else { "ended" };
        Ok(Base { end, image, older, now, truth: found.state })
    };
    Ok([make(true)?, make(false)?])
}

fn open(image: &Image, now: Now, seed: u64) -> Result<Found, String> {
    let mut world = World::new(seed);
    let host = world.add_host("host", &[]);
    world.load(host, image);
    let process = world.spawn(host, |_| Vec::new());
    let ports = world.ports(process);
    let now = later(now, runtime::Nanos::from_secs(1));
    let opened = catch_unwind(AssertUnwindSafe(|| state::open(&ports, now)));
    opened.unwrap_or_else(|_| Err("PANIC".to_string()))
}

/// Damages one file and judges what comes of it.
fn strike(base: &Base, seed: u64, number: u64, totals: &mut Totals) {
    let mut rng = Rng::new(seed ^ number << 32, "flips");
    let structure = STRUCTURES[usize::try_from(number / 2 % 7).unwrap_or(0)];
    let Some(Damage { kind, what, files }) = damage::draw(base, structure, &mut rng) else {
        return;
    };
    let mut image = base.image.clone();
    for (path, bytes) in files {
        image.files.insert(path, Arc::new(bytes));
    }
    let outcome = match open(&image, base.now, seed) {
        Ok(found) => judge(&found, &base.truth),
        Err(reason) if reason == "PANIC" => Err("recovery panicked".to_string()),
        Err(_) => Ok(Outcome::Refused),
    };
    match outcome {
        Ok(outcome) => *totals.rows.entry((structure, kind, outcome)).or_default() += 1,
        Err(cause) => totals.faults.push(Fault::of(format!(
            "seed {seed}, {} node, {structure:?}: {what}: {cause}\n    replay: cargo xtask flips \
             --first {seed} --number {number}",
            base.end
        ))),
    }
}

fn judge(found: &Found, truth: &State) -> Result<Outcome, String> {
    let is_same = found.state == *truth;
    if !is_same && !found.errors.is_empty() && found.state.is_part_of(truth) {
        return Ok(Outcome::RefusedAtReplay);
    }
    match (is_same, found.findings.is_empty()) {
        (true, true) => Ok(Outcome::NoEffect),
        (true, false) => Ok(Outcome::Repaired),
        (false, false) if found.state.is_part_of(truth) => Ok(Outcome::Told),
        (false, _) => Err(format!(
            "accepted: {}, said was {:?}",
            found.state.difference(truth),
            found.findings
        )),
    }
}

impl fmt::Display for Structure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Segment => "segment",
            Self::Snapshot => "snapshot",
            Self::Catalog => "catalog",
            Self::RecordingLog => "recording log",
            Self::NodeState => "node state",
            Self::MarkFile => "mark file",
            Self::Sum => "sums and logs",
        })
    }
}
