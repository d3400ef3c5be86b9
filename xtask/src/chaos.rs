//! `chaos`: builds the program and what torments it, and runs the latter.

use std::process::{Command, ExitCode};

/// Hands `words` to the program; its exit code is returned, as it tells what could not be run from
/// what failed.
pub(crate) fn run(words: &[String]) -> ExitCode {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_string());
    let both = ["--package", "coracle-cli", "--package", "coracle-chaos"];
    let built = Command::new(&cargo).args(["build", "--quiet", "--release"]).args(both).status();
    if !built.is_ok_and(|status| status.success()) {
        return ExitCode::FAILURE;
    }
    let program = ["run", "--quiet", "--release", "--package", "coracle-chaos", "--"];
    let status = Command::new(cargo).args(program).args(words).status();
    let code = status.ok().and_then(|status| status.code());
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
