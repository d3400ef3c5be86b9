//! Floor 8: tests against genuine Aeron, one named test for each seam and direction.
//!
//! `cargo xtask interop [NAME]` runs them. They need Java and the genuine jar; where these cannot
//! be had the run says so, and nothing counts as passed.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout)] // A test runner reports on its standard output.

mod archive;
mod cluster;
mod content;
mod java;
mod log;
mod member;
mod members;
mod ours;
mod ours_archive;
mod ours_cluster;
mod transport;

use std::path::PathBuf;
use std::process::ExitCode;

use java::Java;

/// What a test needs.
struct Setting {
    java: Java,
    /// A directory of its own, removed afterwards.
    work: PathBuf,
}

/// A named test: fails with the reason.
type Test = (&'static str, fn(&Setting) -> Result<String, String>);

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|first| first == member::ARGUMENT).is_some() {
        return member::run(arguments);
    }
    let wanted: Vec<String> = arguments.collect();
    let chosen = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part));
    let all = transport::TESTS.iter().chain(archive::TESTS).chain(cluster::TESTS);
    let tests: Vec<&Test> = all.filter(|(name, _)| chosen(name)).collect();
    // Shared memory, where the host has it: drivers live there.
    let memory = PathBuf::from("/dev/shm");
    let base = if memory.is_dir() { memory } else { std::env::temp_dir() };
    let work = base.join(format!("coracle-interop-{}", std::process::id()));
    let java = match Java::prepare(&work) {
        Ok(java) => java,
        Err(lacking) => {
            println!("interop: skipped, nothing was tested: {lacking}");
            println!("0 passed, 0 failed, {} skipped", tests.len());
            return ExitCode::SUCCESS;
        }
    };
    let mut failed = 0;
    for (name, test) in &tests {
        let setting = Setting { java: java.clone(), work: work.join(name) };
        let result = std::fs::create_dir_all(&setting.work)
            .map_err(|error| error.to_string())
            .and_then(|()| test(&setting));
        match result {
            Ok(facts) => println!("test {name} ... ok: {facts}"),
            Err(reason) => {
                failed += 1;
                println!("test {name} ... FAILED: {reason}");
            }
        }
    }
    let _ = std::fs::remove_dir_all(&work);
    println!("{} passed, {failed} failed", tests.len() - failed);
    ExitCode::from(u8::from(failed > 0))
}
