//! Trial of whole clusters: members and clients while everything around them fails.
//!
//! What is run: 3 or 5 members, each a process with driver, archive, consensus module and a
//! service on a host of its own, and clients that number their messages, for 60 virtual seconds.
//! What strikes: every fault of a link, cuts and partitions, kills, orderly ends, power cuts,
//! pauses, full disks, failing syncs, clocks that are moved. Snapshots are taken on the way.
//!
//! What is checked after each step: one leader a term (I-1), which never takes back (I-2); equal
//! logs (I-3); leaders that have all that was committed (I-4); what is committed lies on more than
//! half of the disks (I-5), never falls and is recorded (I-6), and services do not run ahead of it
//! (I-7); answers come after commit (I-9); one vote a term and member (I-12); snapshots (I-15) and
//! states (I-19) are equal where positions are. Clients: every message executed once, in order.
//!
//! What is checked after healing (I-20): a leader appears, fresh messages and all others of living
//! clients are answered, all timers fire, and all members have the same log and state; then nobody
//! calls an election any more (I-21).

mod frames;
mod healing;
pub mod lab;
mod lab_hands;
mod leaks;
mod lives;
mod minimise;
mod node;
mod operator;
mod oracle;
mod party;
mod plan;
mod quirks;
mod records;
mod scenario;
mod second;
mod service;
mod storm;
mod strike;
mod strike_disk;
mod totals;
mod votes;
mod watch;

use consensus::Rules;
use runtime::Nanos;

pub use lab_hands::Part;
pub use minimise::{Minimal, minimise};
pub use plan::Trouble;
pub use scenario::{Scenario, ScenarioError, Strike};
pub use totals::Totals;

use runtime::point::Point;
use runtime::random::Rng;
use storm::Storm;

/// How long one run is, in virtual time.
const SPAN: Nanos = Nanos::from_secs(60);
/// Longest virtual time without a leader once troubles have ended and more than half of the members
/// have recovered, in time-outs of leaders.
const LEADER_TIMEOUTS: i64 = 3;
/// Longest virtual time from healing until all is answered and equal.
const HEAL_BOUND: Nanos = Nanos::from_secs(30);

/// What the totals of a sweep must reach for each of its seeds.
pub const LEAST: [(&str, u64); 2] = [("leaders", 2), ("messages acknowledged", 200)];

/// How a trial departs from the usual.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plant {
    /// Not at all.
    #[default]
    Nothing,
    /// Members forget their votes when they start anew.
    VoteNotSaved,
    /// Leaders commit what their own archive has not recorded.
    CommitBeyondRecorded,
}

impl Plant {
    const fn rules(self, mut rules: Rules) -> Rules {
        match self {
            Self::Nothing => {}
            Self::VoteNotSaved => rules.vote_saved = false,
            Self::CommitBeyondRecorded => rules.commit_within_recorded = false,
        }
        rules
    }
}

/// A violation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "seed {seed}: after {} ms: {what}\n  replay: cargo xtask seeds cluster --first {seed} \
     --count 1",
    at.as_millis()
)]
pub struct Failure {
    /// The seed of the run.
    pub seed: u64,
    /// When it was found.
    pub at: Nanos,
    /// What does not hold.
    pub what: String,
    /// What happened before, a line each.
    pub story: Vec<String>,
}

/// What came of a run that found nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How often everything happened.
    pub totals: Totals,
    /// How often each trouble struck, in their order.
    pub struck: Vec<u64>,
    /// How often each point of the code was struck.
    pub points: Vec<(Point, u64)>,
    /// How long it took after faults ended until more than half had recovered.
    pub recovered: Option<Nanos>,
    /// The longest time without a leader from then on.
    pub leaderless: Option<Nanos>,
    /// A hash of all that happened; equal in every run of the seed.
    pub trace_hash: u64,
}

impl Outcome {
    /// How often a trouble struck.
    #[must_use]
    pub fn struck(&self, trouble: Trouble) -> u64 {
        self.struck.get(trouble as usize).copied().unwrap_or_default()
    }

    /// Names and lengths in milliseconds of the times after healing; none where nothing but
    /// survival was asked for.
    #[must_use]
    pub fn spans(&self) -> Vec<(&'static str, i64)> {
        let named = |name, span: Option<Nanos>| span.map(|span| (name, span.as_millis()));
        let spans = [
            named("until a majority had recovered", self.recovered),
            named("without a leader after healing", self.leaderless),
        ];
        spans.into_iter().flatten().collect()
    }

    /// Name and count of everything that a sweep must have seen.
    #[must_use]
    pub fn rows(&self) -> Vec<(&'static str, u64)> {
        let mut rows = self.totals.rows();
        let drawn = Trouble::ALL.iter();
        rows.extend(drawn.map(|&trouble| (trouble.name(), self.struck(trouble))));
        rows.extend(self.points.iter().map(|(point, count)| (point.name(), *count)));
        rows
    }
}

/// Runs one seed.
///
/// # Errors
/// The first violation.
pub fn run(seed: u64, plant: Plant) -> Result<Outcome, Failure> {
    play(&Scenario::draw(seed), plant)
}

/// Runs a scenario.
///
/// # Errors
/// The first violation.
pub fn play(scenario: &Scenario, plant: Plant) -> Result<Outcome, Failure> {
    let mut storm = Storm::new(scenario, plant)?;
    storm.rage()?;
    storm.heal(HEAL_BOUND)?;
    storm.rest(SPAN)
}

/// Runs one seed in which nothing strikes but that, `times` times, all members are killed at once
/// after they have served a while.
///
/// # Errors
/// The first violation.
pub fn run_restarting_all(seed: u64, times: usize) -> Result<Outcome, Failure> {
    let mut storm = Storm::new(&Scenario::calm(seed), Plant::Nothing)?;
    let mut rng = Rng::new(seed, "outages");
    for _ in 0..times {
        storm.serve(100, HEAL_BOUND)?;
        storm.kill_all(&mut rng);
    }
    storm.heal(HEAL_BOUND)?;
    storm.rest(SPAN)
}
