//! Trial of driver and client: streams between hosts while everything around them fails.
//!
//! What is run: 2 to 4 hosts with a driver each, and client processes that publish and subscribe
//! over IPC, UDP, several destinations both ways, and as spies. What strikes: every fault of a
//! link, cuts, partitions, pauses, kills and restarts of clients and drivers. What is checked:
//!
//! I-16, all the time: what a subscriber gets of a stream is, from where it joined, exactly what
//! was published, message by message and byte by byte.
//!
//! I-20, after healing: within a bound of virtual time every subscriber hears something new from
//! every publisher of its stream.
//!
//! I-24, after closing: counters, log files and mapped bytes of every driver are as they were when
//! it began.
//!
//! One seed in eight also corrupts datagrams. The protocol has no checksum of its own, so in such a
//! world streams cannot be exact; it checks that nothing halts and that nothing is left behind.

mod ledger;
mod party;
mod plan;
mod slots;
mod storm;
mod totals;
mod witness;

use std::fmt;

use runtime::Nanos;

pub use totals::Totals;

use storm::Storm;

/// Longest virtual time from healing until every subscriber hears every publisher. Dead images,
/// publications and clients must be given up first (2 s each), then be made anew.
const HEAL_BOUND: Nanos = Nanos::from_secs(15);
/// Longest virtual time from closing until nothing is left. Clients that left without a word are
/// given up after 2 s, then what they had lingers.
const CLOSE_BOUND: Nanos = Nanos::from_secs(15);

/// How a trial departs from the usual.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plant {
    /// Not at all.
    #[default]
    Nothing,
    /// No NAK ever leaves a host: a trial that passes is blind.
    NakNeverSent,
}

/// What a trial found violated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// I-16: streams are exact.
    Exact,
    /// I-20: after healing, streams go on.
    Live,
    /// I-24: after closing, nothing is left.
    Clean,
    /// No agent ends by itself, no driver refuses to start.
    Running,
}

impl fmt::Display for Check {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Exact => "I-16 streams exact",
            Self::Live => "I-20 streams go on after healing",
            Self::Clean => "I-24 nothing left after closing",
            Self::Running => "agents run",
        })
    }
}

/// A violation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "seed {seed}: {check}: {what}\n  replay: cargo xtask seeds transport --first {seed} --count 1"
)]
pub struct Failure {
    /// The seed of the run.
    pub seed: u64,
    /// What does not hold.
    pub check: Check,
    /// Where and how.
    pub what: String,
}

/// What came of a run that found nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How often everything happened.
    pub totals: Totals,
    /// A hash of all that happened; equal in every run of the seed.
    pub trace_hash: u64,
}

/// Runs one seed.
///
/// # Errors
/// The first violation.
pub fn run(seed: u64, plant: Plant) -> Result<Outcome, Failure> {
    let mut storm = Storm::new(seed, plant)?;
    storm.rage()?;
    storm.heal(HEAL_BOUND)?;
    storm.close(CLOSE_BOUND)
}
