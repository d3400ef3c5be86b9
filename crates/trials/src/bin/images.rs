//! Floor 8: crash images of every protocol that writes files, as `cargo xtask images` starts it.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout)] // A program for a terminal.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use coracle_trials::images::{self, End, Outcome, PROTOCOLS, Totals, Wanted};

/// Judges what kills and power cuts leave.
#[derive(Parser)]
struct Arguments {
    /// How many images.
    #[arg(long, default_value_t = 100_000)]
    count: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Only protocols with this in their names.
    #[arg(long, default_value = "")]
    protocol: String,
    /// Only images after this event.
    #[arg(long)]
    event: Option<usize>,
    /// Only the image with this number.
    #[arg(long)]
    image: Option<usize>,
}

fn main() -> ExitCode {
    let Arguments { count, first, protocol, event, image } = Arguments::parse();
    #[allow(clippy::disallowed_methods)] // How long it takes.
    let began = Instant::now();
    let wanted = Wanted { protocol, first, count, event, image };
    let totals = images::run(&wanted);
    print(&totals);
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{} images, {} not as they must be, {seconds:.0} s",
        totals.images(),
        totals.faults.len()
    );
    let is_named = |name: &str| name.contains(&wanted.protocol);
    let mut missing = PROTOCOLS.iter().map(|it| it.name).filter(|name| is_named(name));
    let missing = missing.find(|name| totals.images_of(name) == 0);
    if let Some(name) = missing {
        println!("no image of {name}");
    }
    let is_right = totals.faults.is_empty() && missing.is_none();
    if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print(totals: &Totals) {
    println!("{:<15} {:>7} {:<10} {:>8}  outcomes", "protocol", "points", "end", "images");
    for ((protocol, end), tally) in &totals.rows {
        let points = totals.points.get(protocol).copied().unwrap_or_default();
        let end = match end {
            End::Kill => "kill",
            End::PowerCut => "power cut",
        };
        let outcomes: Vec<String> = tally.outcomes.iter().map(shown).collect();
        let images = tally.images;
        println!("{protocol:<15} {points:>7} {end:<10} {images:>8}  {}", outcomes.join(", "));
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
