//! Floor 8: the `coracle` program.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr)] // A program for a terminal.

mod bench;
mod driver;
mod errors;
mod orders;
mod stat;
mod time;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// Messaging, archive and clusters, compatible with Aeron.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a media driver until SIGINT or SIGTERM.
    Driver(driver::Arguments),
    /// Show the counters of a driver, ours or genuine Aeron's.
    Stat(stat::Arguments),
    /// Show the distinct errors that a driver has noted.
    Errors(errors::Arguments),
    /// Run orders through an order book, without a cluster, and tell what comes out.
    Orders(orders::Arguments),
    /// Measure throughput and round trips, beside genuine Aeron if it is at hand.
    Bench(bench::Arguments),
}

/// Which driver.
#[derive(Args)]
struct Directory {
    /// Directory of the driver.
    #[arg(long = "dir", env = "AERON_DIR", value_name = "DIRECTORY")]
    path: Option<PathBuf>,
}

impl Directory {
    fn path(&self) -> PathBuf {
        self.path.clone().unwrap_or_else(coracle::driver::config::default_directory)
    }
}

/// Why a command failed, for standard error.
type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Driver(arguments) => driver::run(&arguments),
        Command::Stat(arguments) => stat::run(&arguments),
        Command::Errors(arguments) => errors::run(&arguments),
        Command::Orders(arguments) => orders::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("coracle: {failure}");
            ExitCode::FAILURE
        }
    }
}
