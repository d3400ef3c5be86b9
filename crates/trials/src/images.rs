//! Crash images: each protocol that writes files is run once under a journal, and every state in
//! which a power cut could leave its disk, or a seeded sample of them, is recovered by the
//! production code and judged.
//!
//! What must hold of each image: the directory opens, or is refused for a reason that says what to
//! do; nothing that had been acknowledged is lost; nothing is there that nobody wrote or asked for.

mod bed;
mod cluster_records;
mod model;
mod recordings;
pub(crate) mod snapshots;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use runtime::random::Rng;
use runtime::{Nanos, Now, Ports};
use sim::World;
use sim::crash::{Cut, Disk, Image};
use sim::journal::Event;

/// Most images that are drawn after one event. Where there are few, all are built.
const DRAWN: usize = 64;
/// After so many faults of one protocol the next one is looked at.
const FAULTS: usize = 3;

/// What came of one image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// All is as it must be.
    Recovered,
    /// Opened only after a while, or not at all, for this reason.
    Refused(String),
}

/// How a process came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// By a kill: what it did stands.
    Kill,
    /// With the power of its host.
    PowerCut,
}

/// A run that failed, or an image that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Fault(String);

impl Fault {
    pub(crate) fn of(text: String) -> Self {
        Self(text)
    }

    pub(crate) fn run(cause: impl fmt::Display) -> Self {
        Self(format!("the run itself: {cause}"))
    }
}

/// How an image is judged: by the ports of a process that finds it, the time, and how much had
/// become known before its end.
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
    Protocol { name: "live write", run: recordings::live },
    Protocol { name: "extend", run: recordings::extend },
    Protocol { name: "truncate", run: recordings::truncate },
    Protocol { name: "purge", run: recordings::purge },
    Protocol { name: "detach", run: recordings::detach },
    Protocol { name: "attach", run: recordings::attach },
    Protocol { name: "migrate", run: recordings::migrate },
    Protocol { name: "catalog growth", run: recordings::growth },
    Protocol { name: "recording log", run: cluster_records::recording_log },
    Protocol { name: "node state", run: cluster_records::node_state },
    Protocol { name: "mark files", run: cluster_records::mark_files },
    Protocol { name: "snapshot", run: snapshots::snapshot },
];

/// What came of the images of one protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Images judged.
    pub images: u64,
    /// How often each outcome came.
    pub outcomes: BTreeMap<Outcome, u64>,
}

/// What came of all images.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// By protocol and how its process ended.
    pub rows: BTreeMap<(&'static str, End), Tally>,
    /// By protocol: moments at which the end came.
    pub points: BTreeMap<&'static str, u64>,
    /// Images that are not as they must be, some of each protocol.
    pub faults: Vec<Fault>,
}

/// Which images to look at.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Only protocols with this in their names.
    pub protocol: String,
    /// The first seed.
    pub first: u64,
    /// How many images in all.
    pub count: u64,
    /// Only those after this event.
    pub event: Option<usize>,
    /// Only the one with this number.
    pub image: Option<usize>,
}

impl Totals {
    /// How many images were judged.
    #[must_use]
    pub fn images(&self) -> u64 {
        self.rows.values().map(|tally| tally.images).sum()
    }

    /// Of one protocol.
    #[must_use]
    pub fn images_of(&self, name: &str) -> u64 {
        self.rows.iter().filter(|((it, _), _)| *it == name).map(|(_, tally)| tally.images).sum()
    }
}

/// Runs each of the protocols again and again, with one seed after the other, until all together
/// have given as many images as are wanted, or some are not as they must be.
#[must_use]
pub fn run(wanted: &Wanted) -> Totals {
    let mut totals = Totals::default();
    let chosen: Vec<Protocol> =
        PROTOCOLS.iter().copied().filter(|it| it.name.contains(&wanted.protocol)).collect();
    for (index, protocol) in chosen.iter().enumerate() {
        // What one could not give the next ones do.
        let left = wanted.count.saturating_sub(totals.images());
        let share = left.div_ceil((chosen.len() - index) as u64);
        let mut seed = wanted.first;
        let enough = totals.faults.len() + FAULTS;
        while totals.images_of(protocol.name) < share && totals.faults.len() < enough {
            let scene = match (protocol.run)(seed) {
                Ok(scene) => scene,
                Err(fault) => {
                    totals.faults.push(Fault(format!("{} {seed}: {fault}", protocol.name)));
                    break;
                }
            };
            let before = totals.images();
            let share = share - totals.images_of(protocol.name);
            Examination { protocol, seed, wanted, share, enough }.run(scene, &mut totals);
            if totals.images() == before || wanted.event.is_some() {
                break;
            }
            seed += 1;
        }
    }
    totals
}

/// Builds and judges images of one run.
struct Examination<'a> {
    protocol: &'a Protocol,
    seed: u64,
    wanted: &'a Wanted,
    /// About how many.
    share: u64,
    /// With so many faults it is over.
    enough: usize,
}

impl Examination<'_> {
    fn run(&self, mut scene: Scene, totals: &mut Totals) {
        let (mut disk, mut known) = (Disk::default(), 0);
        let mut seen = BTreeSet::new();
        let mut lab = Lab::new(self.seed);
        let mut left = self.share;
        let count = scene.events.len();
        let events = std::mem::take(&mut scene.events);
        for (number, event) in events.iter().enumerate() {
            disk.apply(event);
            if let Event::Marked { mark } = event {
                known = *mark;
            }
            // What is known at a mark is asked of the same images as before it.
            let is_noted = matches!(events.get(number + 1), Some(Event::Marked { .. }));
            if is_noted || self.wanted.event.is_some_and(|wanted| wanted != number) {
                continue;
            }
            *totals.points.entry(self.protocol.name).or_default() += 1;
            let share = left.div_ceil((count - number) as u64) + 1;
            for (image, end, cut) in self.cuts(&disk, number, share as usize) {
                if totals.faults.len() >= self.enough {
                    return;
                }
                if !seen.insert((disk.key(&cut), end, known)) {
                    continue;
                }
                left = left.saturating_sub(1);
                let found = lab.judge(&mut scene, &disk.image(&cut), known);
                let tally = totals.rows.entry((self.protocol.name, end)).or_default();
                tally.images += 1;
                match found {
                    Ok(outcome) => *tally.outcomes.entry(outcome).or_default() += 1,
                    Err(cause) => totals.faults.push(Fault(format!(
                        "{} (seed {}), {} after event {number} of {count}: {}, {known} facts \
                         known: {cause}\n    {}\n    replay: cargo xtask images --protocol '{}' \
                         --first {} --event {number} --image {image}",
                        self.protocol.name,
                        self.seed,
                        shown(end),
                        told(event),
                        describe(&disk.image(&cut)),
                        self.protocol.name,
                        self.seed,
                    ))),
                }
            }
        }
    }

    /// About `share` of the images after an event, by their numbers: all of them for a replay. The
    /// kill is the first.
    fn cuts(&self, disk: &Disk, event: usize, share: usize) -> Vec<(usize, End, Cut)> {
        let wanted = self.wanted.image;
        let mut rng = Rng::new(self.seed ^ (event as u64) << 32, self.protocol.name);
        let drawn = if wanted.is_some() { DRAWN } else { share.min(DRAWN) };
        let cuts = disk.cuts(drawn, &mut rng);
        // Of those that were enumerated as many as wanted, from anywhere.
        let (count, offset) = (cuts.len(), rng.below(cuts.len().max(1) as u64) as usize);
        let is_chosen = |at: usize| match wanted {
            Some(wanted) => at + 1 == wanted,
            None => count <= drawn || (at + count - offset) % count < drawn,
        };
        let cuts = cuts.into_iter().enumerate().filter(|(at, _)| is_chosen(*at));
        let cuts = cuts.map(|(at, cut)| (at + 1, End::PowerCut, cut));
        let killed = wanted.is_none_or(|wanted| wanted == 0);
        killed.then(|| (0, End::Kill, disk.killed())).into_iter().chain(cuts).collect()
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

    fn judge(&mut self, scene: &mut Scene, image: &Image, known: usize) -> Result<Outcome, String> {
        self.used += 1;
        if self.used.is_multiple_of(1_000) {
            self.world = World::new(self.seed);
        }
        let host = self.world.add_host(&format!("host{}", self.used), &[]);
        self.world.load(host, image);
        let process = self.world.spawn(host, |_| Vec::new());
        let ports = self.world.ports(process);
        let now = later(scene.end, Nanos::from_secs(1));
        let judged = catch_unwind(AssertUnwindSafe(|| (scene.judge)(&ports, now, known)));
        self.world.kill(process);
        self.world.load(host, &Image::default());
        judged.unwrap_or_else(|_| Err("recovery panicked".to_string()))
    }
}

/// Some time after a time, on both clocks.
pub(crate) fn later(now: Now, span: Nanos) -> Now {
    Now { mono: now.mono + span, epoch: runtime::EpochNanos(now.epoch.0 + span.0) }
}

const fn shown(end: End) -> &'static str {
    match end {
        End::Kill => "killed",
        End::PowerCut => "power cut",
    }
}

/// An event in a few words.
fn told(event: &Event) -> String {
    match event {
        Event::Wrote { file, offset, bytes } => {
            format!("{} bytes written at {offset} of {file:?}", bytes.len())
        }
        other => format!("{other:?}"),
    }
}

fn describe(image: &Image) -> String {
    let files = image.files.iter().map(|(path, bytes)| {
        let used = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |at| at + 1);
        format!("{} {used}/{}", path.display(), bytes.len())
    });
    files.collect::<Vec<_>>().join(", ")
}
