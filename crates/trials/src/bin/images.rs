//! Floor 8: crash images of every protocol that writes files, as `cargo xtask images` starts it.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout)] // A program for a terminal.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use coracle_trials::images::{self, Outcome, Totals};

/// Judges crash images.
#[derive(Parser)]
struct Arguments {
    /// How many images, at least.
    #[arg(long, default_value_t = 100_000)]
    count: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Only protocols with this in their names.
    #[arg(long, default_value = "")]
    protocol: String,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    #[allow(clippy::disallowed_methods)] // How long it takes.
    let began = Instant::now();
    let totals = images::run(&arguments.protocol, arguments.first, arguments.count);
    print(&totals);
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{} images, {} not as they must be, {seconds:.0} s",
        totals.images(),
        totals.faults.len()
    );
    if totals.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print(totals: &Totals) {
    println!("{:<16} {:<17} {:>7} {:>8}  outcomes", "protocol", "after", "points", "images");
    for ((protocol, kind), tally) in &totals.rows {
        let outcomes: Vec<String> = tally.outcomes.iter().map(shown).collect();
        let (points, images) = (tally.points, tally.images);
        println!("{protocol:<16} {kind:<17} {points:>7} {images:>8}  {}", outcomes.join(", "));
    }
    for fault in &totals.faults {
        println!("FAULT {fault}");
    }
}

fn shown((outcome, count): (&Outcome, &u64)) -> String {
    match outcome {
        Outcome::Recovered => format!("{count} recovered"),
        Outcome::Refused(reason) => format!("{count} refused: {reason}"),
    }
}
