//! `seeds`, `images` and `model`: build a program for speed, and run it.

use std::process::{Command, ExitCode};

/// Hands `arguments` to the program `name` of `package`.
pub(crate) fn run(package: &str, name: &str, arguments: &[String]) -> ExitCode {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_string());
    // Trials find arithmetic that wraps as well.
    let profile = if package == "coracle-trials" { "trial" } else { "release" };
    let build = ["run", "--quiet", "--profile", profile];
    let program = ["--package", package, "--bin", name, "--"];
    let status = Command::new(cargo).args(build).args(program).args(arguments).status();
    if status.is_ok_and(|status| status.success()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
