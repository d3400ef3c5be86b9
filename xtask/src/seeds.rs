//! `seeds`: builds the trials for speed and sweeps over seeds.

use std::process::{Command, ExitCode};

/// Hands `sweep` to the program of the trials.
pub(crate) fn run(sweep: &[String]) -> ExitCode {
    program("seeds", sweep)
}

/// Builds and runs one of the programs of the trials.
pub(crate) fn program(name: &str, arguments: &[String]) -> ExitCode {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_string());
    let program =
        ["run", "--quiet", "--release", "--package", "coracle-trials", "--bin", name, "--"];
    let status = Command::new(cargo).args(program).args(arguments).status();
    if status.is_ok_and(|status| status.success()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
