//! `seeds`, `images` and `model`: build a program for speed, and run it.

use std::process::{Command, ExitCode};

/// Hands `arguments` to the program `name` of `package`.
pub(crate) fn run(package: &str, name: &str, arguments: &[String]) -> ExitCode {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_string());
    let program = ["run", "--quiet", "--release", "--package", package, "--bin", name, "--"];
    let status = Command::new(cargo).args(program).args(arguments).status();
    if status.is_ok_and(|status| status.success()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
