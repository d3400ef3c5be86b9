//! Floor 8: sweeps over the seeds of a trial, as `cargo xtask seeds` starts them.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout)] // A program for a terminal.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Parser, Subcommand, ValueEnum};
use coracle_trials::transport::{self, Plant, Totals};

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
    Transport(Sweep),
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
    /// Plants a bug, which the sweep must find: it then passes only if it does.
    #[arg(long, value_enum)]
    plant: Option<Bug>,
}

/// A bug that a trial must find.
#[derive(Clone, Copy, ValueEnum)]
enum Bug {
    /// No NAK leaves a host.
    NakNeverSent,
}

/// From how many seeds on a total of zero is a failure.
const TOTALS_FROM: u64 = 50;

fn main() -> ExitCode {
    run(&Arguments::parse().trial)
}

/// Runs a sweep and prints what came of it.
fn run(trial: &Trial) -> ExitCode {
    let Trial::Transport(sweep) = trial;
    let plant = sweep.plant.map_or(Plant::Nothing, |Bug::NakNeverSent| Plant::NakNeverSent);
    #[allow(clippy::disallowed_methods)] // How long the sweep itself takes.
    let began = Instant::now();
    let mut totals = Totals::default();
    let mut failures: BTreeMap<u64, String> = BTreeMap::new();
    for seed in sweep.first..sweep.first.saturating_add(sweep.count) {
        match catch_unwind(AssertUnwindSafe(|| transport::run(seed, plant))) {
            Ok(Ok(outcome)) => {
                totals += outcome.totals;
                if sweep.trace {
                    println!("seed {seed}: trace {:016x}", outcome.trace_hash);
                }
            }
            Ok(Err(failure)) => {
                println!("{failure}");
                failures.insert(seed, failure.to_string());
            }
            Err(_) => {
                println!(
                    "seed {seed}: panicked\n  replay: cargo xtask seeds transport --first {seed} \
                     --count 1"
                );
                failures.insert(seed, "panicked".to_owned());
            }
        }
    }
    let rows = totals.rows();
    for (name, count) in &rows {
        println!("{count:>12}  {name}");
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{} seeds from {}, {} failed, {seconds:.1} s, {:.0} seeds a minute",
        sweep.count,
        sweep.first,
        failures.len(),
        sweep.count as f64 * 60.0 / seconds
    );
    if sweep.plant.is_some() {
        println!("the planted bug was {}", if failures.is_empty() { "missed" } else { "found" });
        return if failures.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
    let untried: Vec<_> = rows.iter().filter(|(_, count)| *count == 0).collect();
    if sweep.count >= TOTALS_FROM && !untried.is_empty() {
        untried.iter().for_each(|(name, _)| println!("never happened: {name}"));
        return ExitCode::FAILURE;
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
