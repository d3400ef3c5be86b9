//! Floor 8: the `coracle` program.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr)] // A program for a terminal.

mod archive;
mod bench;
mod control;
mod demo;
mod describe;
mod driver;
mod errors;
mod member;
mod node;
mod orders;
mod properties;
mod stat;
mod time;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use coracle::consensus::Toggle;

/// Messaging, archive and clusters, compatible with Aeron.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show a cluster of three whose leader is killed in mid-stream, and what becomes of orders.
    Demo(demo::Arguments),
    /// Run a media driver until SIGINT or SIGTERM.
    Driver(driver::Arguments),
    /// Run an archive beside a driver until SIGINT or SIGTERM.
    Archive(archive::Arguments),
    /// Run a node of a cluster until it is shut down, or SIGINT or SIGTERM comes.
    Node(Box<node::Arguments>),
    /// Tell all that files and counters tell of a member of a cluster.
    Describe(describe::Arguments),
    /// Let a cluster take a snapshot: for its leader.
    Snapshot(control::Arguments),
    /// Let a cluster take no more messages: for its leader.
    Suspend(control::Arguments),
    /// Let a suspended cluster go on: for its leader.
    Resume(control::Arguments),
    /// Let a cluster take a snapshot and end: for its leader.
    Shutdown(control::Arguments),
    /// Let a cluster end without a snapshot: for its leader.
    Abort(control::Arguments),
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
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Driver(arguments) => driver::run(&arguments),
        Command::Archive(arguments) => archive::run(&arguments),
        Command::Node(arguments) => node::run(&arguments),
        Command::Describe(arguments) => describe::run(&arguments),
        Command::Snapshot(arguments) => control::run(&arguments, Toggle::Snapshot),
        Command::Suspend(arguments) => control::run(&arguments, Toggle::Suspend),
        Command::Resume(arguments) => control::run(&arguments, Toggle::Resume),
        Command::Shutdown(arguments) => control::run(&arguments, Toggle::Shutdown),
        Command::Abort(arguments) => control::run(&arguments, Toggle::Abort),
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
