//! `interop`: builds what the tests against genuine Aeron need, and runs them.

use std::process::{Command, ExitCode};

/// Builds the program and the tests, then runs those that `words` ask for.
pub(crate) fn run(words: &[String]) -> ExitCode {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_string());
    let runs = |arguments: &[&str], more: &[String]| {
        let status = Command::new(&cargo).args(arguments).args(more).status();
        status.is_ok_and(|status| status.success())
    };
    // The tests find the program beside them.
    let built = runs(&["build", "--quiet", "--release", "--package", "coracle-cli"], &[]);
    let tests = ["run", "--quiet", "--release", "--package", "coracle-interop", "--"];
    if built && runs(&tests, words) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
