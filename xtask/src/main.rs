//! Floor 8: the project's own chores.
//!
//! `cargo xtask tidy` says where the tree departs from STYLE.md and ARCHITECTURE.md.
//! `cargo xtask interop [--long] [--table] [NAME]` runs the tests against genuine Aeron.
//! `cargo xtask chaos --minutes 10` runs three real nodes in network namespaces under faults.
//! `cargo xtask seeds` runs trials in the simulated world, one for each seed.
//! `cargo xtask images` judges what kills and power cuts leave of files.
//! `cargo xtask model` tries the consensus core against every order of events, within bounds.
//! `cargo xtask flips` damages files and judges what is made of them.
//! `cargo xtask bugs [NAME]` plants defects that the trials must find.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout)] // A program for a terminal.

mod bugs;
mod chaos;
mod interop;
mod programs;
mod tidy;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// The project's own chores.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Check what no compiler checks: imports, lengths, documents, golden bytes.
    Tidy,
    /// Run the tests against genuine Aeron. They need Java.
    Interop {
        /// Run those too that take minutes.
        #[arg(long)]
        long: bool,
        /// Run all, and write which passed into the table of the README.
        #[arg(long)]
        table: bool,
        /// Only tests with one of these in their names.
        names: Vec<String>,
    },
    /// Run three real nodes in network namespaces under faults. Needs root; ends with code 77 where
    /// it cannot run.
    Chaos {
        /// How long, and the like: `--minutes 10 --seed 1`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Plant the defects of the bank in a copy of the tree; the trials must find each.
    Bugs {
        /// Only defects with one of these in their names.
        names: Vec<String>,
    },
    /// Run trials over many seeds.
    Seeds {
        /// Which trial, which seeds: `transport --count 500 --first 1 --trace`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        sweep: Vec<String>,
    },
    /// Damage files of a node and judge what is made of them.
    Flips {
        /// How often, and where to begin: `--count 50000 --first 1`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        wanted: Vec<String>,
    },
    /// Judge images of disks after kills and power cuts.
    Images {
        /// How many, which: `--count 100000 --first 1 --protocol extend`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        wanted: Vec<String>,
    },
    /// Try the consensus core against every order of events, within bounds.
    Model {
        /// What is searched: `--members 3 --terms 3 --entries 2 --without f1`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        search: Vec<String>,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().chore {
        Chore::Tidy => report(tidy::check(&tidy::root())),
        Chore::Interop { long, table, mut names } => {
            let flags = [(long, "--long"), (table, "--table")];
            names.extend(flags.iter().filter(|flag| flag.0).map(|flag| flag.1.to_string()));
            interop::run(&names)
        }
        Chore::Chaos { words } => chaos::run(&words),
        Chore::Seeds { sweep } => programs::run("coracle-trials", "seeds", &sweep),
        Chore::Images { wanted } => programs::run("coracle-trials", "images", &wanted),
        Chore::Model { search } => programs::run("coracle-model", "coracle-model", &search),
        Chore::Flips { wanted } => programs::run("coracle-trials", "flips", &wanted),
        Chore::Bugs { names } => bugs::run(&names),
    }
}

fn report(found: Result<Vec<tidy::Problem>, tidy::TidyError>) -> ExitCode {
    match found {
        Ok(problems) if problems.is_empty() => ExitCode::SUCCESS,
        Ok(problems) => {
            problems.iter().for_each(|problem| println!("{problem}"));
            println!("{} problems", problems.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}
