//! Floor 8: damage to the files of a node, as `cargo xtask flips` starts it.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout)] // A program for a terminal.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use coracle_trials::flips::{self, Outcome, STRUCTURES, Totals, Wanted};

/// Damages files and judges what the production code makes of them.
#[derive(Parser)]
struct Arguments {
    /// How often.
    #[arg(long, default_value_t = 50_000)]
    count: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Only the damage with this number.
    #[arg(long)]
    number: Option<u64>,
}

fn main() -> ExitCode {
    let Arguments { count, first, number } = Arguments::parse();
    #[allow(clippy::disallowed_methods)] // How long it takes.
    let began = Instant::now();
    let totals = flips::run(Wanted { count, first, number });
    print(&totals);
    let seconds = began.elapsed().as_secs_f64();
    println!("{} times, {} accepted, {seconds:.0} s", totals.count(), totals.faults.len());
    let missing = STRUCTURES.iter().find(|it| totals.count_of(**it) == 0 && number.is_none());
    if let Some(structure) = missing {
        println!("nothing was done to {structure}");
    }
    let is_right = totals.faults.is_empty() && missing.is_none();
    if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print(totals: &Totals) {
    println!("{:<14} {:<12} outcomes", "structure", "damage");
    let mut rows: Vec<_> =
        totals.rows.keys().map(|(structure, kind, _)| (*structure, *kind)).collect();
    rows.dedup();
    for (structure, kind) in rows {
        let outcomes = totals.rows.range((structure, kind, Outcome::NoEffect)..);
        let outcomes =
            outcomes.take_while(|((of, damage, _), _)| (*of, *damage) == (structure, kind));
        let outcomes: Vec<String> =
            outcomes.map(|((.., outcome), count)| format!("{count} {}", shown(*outcome))).collect();
        println!("{:<14} {kind:<12} {}", structure.to_string(), outcomes.join(", "));
    }
    for fault in &totals.faults {
        println!("FAULT {fault}");
    }
}

const fn shown(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::NoEffect => "without effect",
        Outcome::Repaired => "repaired",
        Outcome::Told => "told",
        Outcome::RefusedAtReplay => "refused at replay",
        Outcome::Refused => "refused",
    }
}
