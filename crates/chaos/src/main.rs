//! Floor 8: three real nodes in network namespaces of their own, clients that keep account, and
//! whatever may happen to processes and links.
//!
//! ```text
//!   this process: clients, accounts, faults       10.x.y.254
//!        |
//!      bridge ----------+----------------+
//!        |              |                |
//!   coracle node 0   node 1           node 2    10.x.y.1 to 10.x.y.3, a namespace each
//! ```
//! It needs root, `ip` and `nft`. Where it cannot run it says so and ends with code 77.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout)] // A program for a terminal.

mod account;
mod faults;
mod load;
mod network;
mod nodes;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use coracle::runtime::Nanos;

use network::{Network, Unavailable};
use world::World;

/// The code of a run that could not be made: neither passed nor failed.
const CANNOT_RUN: u8 = 77;

/// Kills, stops and cuts off nodes of a real cluster under load, and keeps account.
#[derive(Parser)]
struct Arguments {
    /// How long faults go on.
    #[arg(long, default_value_t = 10)]
    minutes: u32,
    /// The same in seconds; counts more.
    #[arg(long)]
    seconds: Option<u32>,
    /// What faults follow from; drawn unless given.
    #[arg(long)]
    seed: Option<u64>,
    /// The `coracle` program; the one beside this unless given.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Leave the nodes' directories and output behind.
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let network = match Network::make() {
        Ok(network) => network,
        Err(Unavailable(cause)) => {
            println!("chaos: cannot run here, nothing was tested: {cause}");
            return ExitCode::from(CANNOT_RUN);
        }
    };
    match run(&arguments, network) {
        Ok(text) => {
            println!("{text}\nchaos: passed");
            ExitCode::SUCCESS
        }
        Err(cause) => {
            println!("chaos: FAILED: {cause}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments, network: Network) -> Result<String, String> {
    let program = match &arguments.program {
        Some(program) => program.clone(),
        None => std::env::current_exe().map_err(|it| it.to_string())?.with_file_name("coracle"),
    };
    let seconds = arguments.seconds.unwrap_or(arguments.minutes * 60);
    let ports = coracle::os::ports(None).map_err(|error| error.to_string())?;
    let seed = arguments.seed.unwrap_or(ports.seed);
    println!("chaos: seed {seed}, {seconds} s of faults, {}", network.facts());
    let mut world = World::start(network, program, &ports, arguments.keep)?;
    let outcome = faults::storm(&mut world, seed, Nanos::from_secs(i64::from(seconds)));
    let outcome = outcome.and_then(|totals| Ok((totals, world.settle()?)));
    match outcome {
        Ok((totals, end)) => {
            world.close()?;
            Ok(format!("{totals}\n{end}"))
        }
        Err(cause) => Err(format!("{cause}{}", world.states())),
    }
}
