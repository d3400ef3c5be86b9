//! Crash images: each protocol that writes files is run once under a journal, and every state in
//! which a power cut could leave its disk, or a seeded sample of them, is recovered by the
//! production code and judged.
//!
//! What must hold of each image: the directory opens, or is refused for a reason that says what to
//! do; nothing that had been acknowledged is lost; nothing is there that nobody wrote or asked for.

mod bed;
mod model;
mod recordings;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};

use runtime::random::Rng;
use runtime::{Nanos, Now, Ports};
use sim::World;
use sim::crash::{Disk, Image};
use sim::journal::Event;

/// Most images that are built after one event.
const IMAGES_PER_POINT: usize = 40;

/// What came of one image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// All is as it must be.
    Recovered,
    /// Opened only after a while, or not at all, for this reason.
    Refused(String),
}

/// A run that failed, or an image that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Fault(String);

impl Fault {
    fn run(cause: impl fmt::Display) -> Self {
        Self(format!("the run itself: {cause}"))
    }
}

/// How an image is judged: by the ports of a process that finds it, the time, and how much had
/// become known before the power was cut.
type Judge = Box<dyn FnMut(&Ports, Now, usize) -> Result<Outcome, String>>;

/// One run of a protocol, and how its images are judged.
pub(crate) struct Scene {
    events: Vec<Event>,
    judge: Judge,
    /// When the run ended.
    end: Now,
}

/// A protocol that writes files.
#[derive(Clone, Copy)]
pub struct Protocol {
    /// What it is called.
    pub name: &'static str,
    run: fn(u64) -> Result<Scene, Fault>,
}

/// All of them.
pub const PROTOCOLS: &[Protocol] = &[
    Protocol { name: "create", run: recordings::create },
    Protocol { name: "extend", run: recordings::extend },
    Protocol { name: "truncate", run: recordings::truncate },
    Protocol { name: "purge", run: recordings::purge },
    Protocol { name: "migrate", run: recordings::migrate },
    Protocol { name: "catalog growth", run: recordings::growth },
];

/// What came of the images of one protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events after which the power was cut.
    pub points: u64,
    /// Images judged.
    pub images: u64,
    /// How often each outcome came.
    pub outcomes: BTreeMap<Outcome, u64>,
}

/// What came of all images, by protocol and by what happened last before the power was cut.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// By protocol and kind of event.
    pub rows: BTreeMap<(&'static str, &'static str), Tally>,
    /// Images that are not as they must be: at most ten of them.
    pub faults: Vec<Fault>,
}

impl Totals {
    /// How many images were judged.
    #[must_use]
    pub fn images(&self) -> u64 {
        self.rows.values().map(|tally| tally.images).sum()
    }
}

/// Runs the protocols whose names contain `name` again and again, with one seed after the other,
/// until `count` images have been judged or ten were not as they must be.
pub fn run(name: &str, first_seed: u64, count: u64) -> Totals {
    let mut totals = Totals::default();
    let chosen: Vec<Protocol> =
        PROTOCOLS.iter().copied().filter(|it| it.name.contains(name)).collect();
    let mut seed = first_seed;
    while !chosen.is_empty() && totals.images() < count {
        let share = (count - totals.images()).div_ceil(chosen.len() as u64);
        for protocol in &chosen {
            let scene = match (protocol.run)(seed) {
                Ok(scene) => scene,
                Err(fault) => {
                    totals.faults.push(Fault(format!("{} {seed}: {fault}", protocol.name)));
                    return totals;
                }
            };
            examine(protocol, seed, scene, share, &mut totals);
            if totals.faults.len() >= 10 {
                return totals;
            }
        }
        seed += 1;
    }
    totals
}

/// Builds and judges images of one run, about `share` of them.
fn examine(protocol: &Protocol, seed: u64, mut scene: Scene, share: u64, totals: &mut Totals) {
    let mut rng = Rng::new(seed, protocol.name);
    let per_point = usize::try_from(share / scene.events.len().max(1) as u64 + 1).unwrap_or(1);
    let per_point = per_point.clamp(3, IMAGES_PER_POINT);
    let mut disk = Disk::default();
    let mut known = 0;
    let mut seen = BTreeSet::new();
    let mut lab = Lab::new(seed);
    for (number, event) in scene.events.iter().enumerate() {
        disk.apply(event);
        if let Event::Marked { mark } = event {
            known = *mark;
        }
        // What is known at a mark is asked of the same images as before it.
        if matches!(scene.events.get(number + 1), Some(Event::Marked { .. })) {
            continue;
        }
        let tally = totals.rows.entry((protocol.name, kind(event))).or_default();
        tally.points += 1;
        let faults = &mut totals.faults;
        disk.images(per_point, &mut rng, |image| {
            if faults.len() >= 10 || !seen.insert(hash(&image, known)) {
                return;
            }
            tally.images += 1;
            match lab.judge(&mut scene.judge, &image, scene.end, known) {
                Ok(outcome) => *tally.outcomes.entry(outcome).or_default() += 1,
                Err(cause) => faults.push(Fault(format!(
                    "{} of seed {seed}, cut after event {number} of {} ({}), {known} facts known: \
                     {cause}\n    {}",
                    protocol.name,
                    scene.events.len(),
                    kind(event),
                    describe(&image)
                ))),
            }
        });
    }
}

/// Where images are recovered: a world of its own, renewed now and then.
struct Lab {
    seed: u64,
    world: World,
    used: u32,
}

impl Lab {
    fn new(seed: u64) -> Self {
        Self { seed, world: World::new(seed), used: 0 }
    }

    fn judge(
        &mut self,
        judge: &mut Judge,
        image: &Image,
        end: Now,
        known: usize,
    ) -> Result<Outcome, String> {
        self.used += 1;
        if self.used.is_multiple_of(1_000) {
            self.world = World::new(self.seed);
        }
        let host = self.world.add_host(&format!("host{}", self.used), &[]);
        self.world.load(host, image);
        let process = self.world.spawn(host, |_| Vec::new());
        let ports = self.world.ports(process);
        let now = later(end, Nanos::from_secs(1));
        let judged = catch_unwind(AssertUnwindSafe(|| judge(&ports, now, known)));
        self.world.kill(process);
        self.world.load(host, &Image::default());
        judged.unwrap_or_else(|_| Err("recovery panicked".to_string()))
    }
}

/// Some time after a time, on both clocks.
fn later(now: Now, span: Nanos) -> Now {
    Now { mono: now.mono + span, epoch: runtime::EpochNanos(now.epoch.0 + span.0) }
}

fn hash(image: &Image, known: usize) -> u64 {
    let mut hasher = DefaultHasher::new();
    image.hash(&mut hasher);
    known.hash(&mut hasher);
    hasher.finish()
}

const fn kind(event: &Event) -> &'static str {
    match event {
        Event::Created { .. } => "file made",
        Event::CreatedDirectory { .. } => "directory made",
        Event::Wrote { .. } => "written",
        Event::Resized { .. } => "resized",
        Event::Synced { .. } => "synced",
        Event::Renamed { .. } => "renamed",
        Event::Removed { .. } => "removed",
        Event::SyncedDirectory { .. } => "directory synced",
        Event::Marked { .. } => "acknowledged",
    }
}

fn describe(image: &Image) -> String {
    let files = image.files.iter().map(|(path, bytes)| {
        let used = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |at| at + 1);
        format!("{} {used}/{}", path.display(), bytes.len())
    });
    files.collect::<Vec<_>>().join(", ")
}
