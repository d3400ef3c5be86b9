//! Floor 8: sweeps over the seeds of a trial, as `cargo xtask seeds` starts them.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout)] // A program for a terminal.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use clap::{Args, Parser, Subcommand, ValueEnum};
use coracle_trials::{cluster, transport};

/// Sweeps over seeds.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    trial: Trial,
}

/// Which trial.
#[derive(Subcommand)]
enum Trial {
    /// Driver and client: streams exact, healed, closed.
    Transport {
        #[command(flatten)]
        sweep: Sweep,
        /// Plants a bug, which the sweep must find: it then passes only if it does.
        #[arg(long, value_enum)]
        plant: Option<TransportBug>,
    },
    /// Members and clients: nothing acknowledged is lost, nothing is done twice.
    Cluster {
        #[command(flatten)]
        sweep: Sweep,
        /// Prints what happened before each failure.
        #[arg(long)]
        story: bool,
        /// Makes the scenario of this seed as short as it can be and still fail, and prints it.
        #[arg(long, value_name = "SEED")]
        minimise: Option<u64>,
        /// Prints the scenario of this seed.
        #[arg(long, value_name = "SEED")]
        show: Option<u64>,
        /// Runs the scenario of a file instead of seeds.
        #[arg(long, value_name = "FILE")]
        scenario: Option<PathBuf>,
        /// Plants a bug, which the sweep must find: it then passes only if it does.
        #[arg(long, value_enum)]
        plant: Option<ClusterBug>,
    },
}

/// Which seeds, and what is shown of each.
#[derive(Args)]
struct Sweep {
    /// How many seeds.
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Prints the trace hash of each seed.
    #[arg(long)]
    trace: bool,
    /// Takes no further seed once one has failed.
    #[arg(long)]
    until_failure: bool,
}

/// A bug that the trial of driver and client must find.
#[derive(Clone, Copy, ValueEnum)]
enum TransportBug {
    /// No NAK leaves a host.
    NakNeverSent,
}

/// A bug that the trial of clusters must find.
#[derive(Clone, Copy, ValueEnum)]
enum ClusterBug {
    /// Members forget their votes when they start anew.
    VoteNotSaved,
    /// Leaders commit what their own archive has not recorded.
    CommitBeyondRecorded,
}

/// From how many seeds on a total that is too low is a failure.
const TOTALS_FROM: u64 = 50;

/// What a run came to, or why it failed.
type Outcome = Result<Passed, String>;

/// What a run that found nothing came to.
struct Passed {
    trace: u64,
    totals: Totals,
    /// Names and lengths of times, in milliseconds, of which the worst and the median are told.
    spans: Vec<(&'static str, i64)>,
}

/// Name and count of everything.
type Totals = Vec<(&'static str, u64)>;

fn main() -> ExitCode {
    match Arguments::parse().trial {
        Trial::Transport { sweep, plant } => {
            let bug = |TransportBug::NakNeverSent| transport::Plant::NakNeverSent;
            let planted = plant.map_or(transport::Plant::Nothing, bug);
            run(&sweep, "transport", plant.is_some(), &[], |seed| {
                let outcome = transport::run(seed, planted).map_err(|it| it.to_string())?;
                let (trace, totals) = (outcome.trace_hash, outcome.totals.rows());
                Ok(Passed { trace, totals, spans: Vec::new() })
            })
        }
        Trial::Cluster { sweep, story, plant, minimise, show, scenario } => {
            let planted = plant.map_or(cluster::Plant::Nothing, |bug| match bug {
                ClusterBug::VoteNotSaved => cluster::Plant::VoteNotSaved,
                ClusterBug::CommitBeyondRecorded => cluster::Plant::CommitBeyondRecorded,
            });
            if let Some(seed) = show {
                print!("{}", cluster::Scenario::draw(seed));
                return ExitCode::SUCCESS;
            }
            if let Some(path) = scenario {
                return play(&path, planted, story);
            }
            if let Some(seed) = minimise {
                return shorten(seed, planted);
            }
            run(&sweep, "cluster", plant.is_some(), &cluster::LEAST, |seed| {
                let outcome = cluster::run(seed, planted);
                let outcome = outcome.map_err(|failure| tell(&failure, story))?;
                let (trace, totals, spans) = (outcome.trace_hash, outcome.rows(), outcome.spans());
                Ok(Passed { trace, totals, spans })
            })
        }
    }
}

/// A failure, and what happened before if that is wanted.
fn tell(failure: &cluster::Failure, story: bool) -> String {
    let story = if story { &failure.story[..] } else { &[] };
    let lines: String = story.iter().map(|line| format!("{line}\n")).collect();
    format!("{lines}{failure}")
}

/// Runs the scenario of a file.
fn play(path: &Path, plant: cluster::Plant, story: bool) -> ExitCode {
    #[allow(clippy::disallowed_methods)] // What the person at the terminal asked for.
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string());
    let parse = |text: String| text.parse::<cluster::Scenario>().map_err(|it| it.to_string());
    let outcome = text.and_then(parse).and_then(|scenario| {
        cluster::play(&scenario, plant).map_err(|failure| tell(&failure, story))
    });
    match outcome {
        Ok(outcome) => {
            println!("nothing found, trace {:016x}", outcome.trace_hash);
            ExitCode::SUCCESS
        }
        Err(what) => {
            println!("{what}");
            ExitCode::FAILURE
        }
    }
}

/// Runs of a seed after which its scenario is short enough.
const RUNS: usize = 600;

/// Prints what is left of a seed's scenario.
fn shorten(seed: u64, plant: cluster::Plant) -> ExitCode {
    match cluster::minimise(&cluster::Scenario::draw(seed), plant, RUNS) {
        Some(minimal) => {
            println!("# {} ({} runs)", minimal.what, minimal.runs);
            print!("{}", minimal.scenario);
            ExitCode::SUCCESS
        }
        None => {
            println!("seed {seed} does not fail");
            ExitCode::FAILURE
        }
    }
}

/// What a sweep has found so far.
#[derive(Default)]
struct Found {
    next: u64,
    totals: Totals,
    traces: BTreeMap<u64, u64>,
    /// All lengths of each time, with the seeds that had them.
    spans: BTreeMap<&'static str, Vec<(i64, u64)>>,
    failed: u64,
}

/// Runs a sweep on all cores and prints what came of it. `least`: what the totals must reach for
/// each seed on average.
fn run(
    sweep: &Sweep,
    name: &str,
    is_planted: bool,
    least: &[(&str, u64)],
    trial: impl Fn(u64) -> Outcome + Sync,
) -> ExitCode {
    #[allow(clippy::disallowed_methods)] // How long the sweep itself takes.
    let began = Instant::now();
    let found = Mutex::new(Found::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| work(sweep, name, &found, &trial));
        }
    });
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    if sweep.trace {
        for (seed, trace) in &found.traces {
            println!("seed {seed}: trace {trace:016x}");
        }
    }
    for (name, count) in &found.totals {
        println!("{count:>12}  {name}");
    }
    for (name, mut spans) in found.spans {
        spans.sort_unstable();
        let (median, (worst, seed)) = (spans[spans.len() / 2].0, spans[spans.len() - 1]);
        println!("{worst:>9} ms  {name} at worst (seed {seed}), {median} ms in the median");
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{} seeds from {}, {} failed, {seconds:.1} s, {:.0} seeds a minute",
        sweep.count,
        sweep.first,
        found.failed,
        sweep.count as f64 * 60.0 / seconds
    );
    if is_planted {
        println!("the planted bug was {}", if found.failed == 0 { "missed" } else { "found" });
        return if found.failed == 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
    let is_tried = sweep.count < TOTALS_FROM || is_tried(&found.totals, sweep.count, least);
    if is_tried && found.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Takes one seed after the other until none is left.
fn work(sweep: &Sweep, name: &str, found: &Mutex<Found>, trial: &impl Fn(u64) -> Outcome) {
    let found = || found.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let index = {
            let mut found = found();
            found.next += 1;
            found.next - 1
        };
        if index >= sweep.count || sweep.until_failure && found().failed > 0 {
            return;
        }
        let seed = sweep.first.saturating_add(index);
        let outcome = catch_unwind(AssertUnwindSafe(|| trial(seed))).unwrap_or_else(|panic| {
            Err(format!(
                "seed {seed}: panicked: {}\n  replay: cargo xtask seeds {name} --first {seed} \
                 --count 1",
                said(&*panic)
            ))
        });
        let mut found = found();
        match outcome {
            Ok(Passed { trace, totals, spans }) => {
                found.traces.insert(seed, trace);
                for (name, millis) in spans {
                    found.spans.entry(name).or_default().push((millis, seed));
                }
                if found.totals.is_empty() {
                    found.totals = totals;
                } else {
                    let pairs = found.totals.iter_mut().zip(totals);
                    pairs.for_each(|((_, sum), (_, count))| *sum += count);
                }
            }
            Err(failure) => {
                println!("{failure}");
                found.failed += 1;
            }
        }
    }
}

/// What a panic had to say.
fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}

/// Whether everything happened at all, and often enough; prints what did not.
fn is_tried(totals: &Totals, seeds: u64, least: &[(&str, u64)]) -> bool {
    let mut is_tried = true;
    for (name, count) in totals {
        let wanted = least.iter().find(|(known, _)| known == name).map_or(0, |(_, count)| *count);
        if *count == 0 {
            println!("never happened: {name}");
        } else if *count < wanted.saturating_mul(seeds) {
            println!("fewer than {wanted} a seed: {name}");
        }
        is_tried &= *count > 0 && *count >= wanted.saturating_mul(seeds);
    }
    is_tried
}
