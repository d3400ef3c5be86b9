//! Floor 8: tests against genuine Aeron, one named test for each seam and direction.
//!
//! `cargo xtask interop [--long] [--table] [NAME]` runs them. They need Java and the genuine jar;
//! where these cannot be had the run says so, and nothing counts as passed.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout)] // A test runner reports on its standard output.

mod archive;
mod archive_tools;
mod cluster;
mod cluster_tools;
mod content;
mod echo;
mod java;
mod log;
mod member;
mod members;
mod mixes;
mod operations;
mod ours;
mod ours_archive;
mod ours_cluster;
mod probes;
mod replication;
mod streams;
mod table;
mod transport;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use coracle::os::clock;
use coracle::runtime::Nanos;
use java::{Java, Unready};
use table::Cell;

/// What a test needs.
struct Setting {
    java: Java,
    /// A directory of its own, removed afterwards.
    work: PathBuf,
}

/// A named test: fails with the reason.
struct Test {
    name: &'static str,
    /// The cells of the table that it fills.
    shows: &'static [Cell],
    /// Whether only runs with `--long` contain it.
    is_long: bool,
    run: fn(&Setting) -> Result<String, String>,
}

/// A test of every run.
const fn test(
    name: &'static str,
    shows: &'static [Cell],
    run: fn(&Setting) -> Result<String, String>,
) -> Test {
    Test { name, shows, is_long: false, run }
}

/// A test of long runs only.
const fn long(
    name: &'static str,
    shows: &'static [Cell],
    run: fn(&Setting) -> Result<String, String>,
) -> Test {
    Test { name, shows, is_long: true, run }
}

/// Every test there is.
fn all() -> impl Iterator<Item = &'static Test> {
    let transport = transport::TESTS.iter().chain(streams::TESTS);
    let archive = archive::TESTS.iter().chain(operations::TESTS).chain(replication::TESTS);
    let archive = archive.chain(archive_tools::TESTS);
    let cluster = cluster::TESTS.iter().chain(cluster_tools::TESTS).chain(mixes::TESTS);
    let cluster = cluster.chain(probes::TESTS);
    transport.chain(archive).chain(cluster)
}

/// What the command line asks for.
#[derive(Default)]
struct Arguments {
    /// Whether to run long tests too.
    is_long: bool,
    /// Whether to write the table of the README, which needs all tests.
    is_table: bool,
    /// Parts of names; none is all.
    names: Vec<String>,
}

impl Arguments {
    fn parse(words: impl Iterator<Item = String>) -> Self {
        let mut arguments = Self::default();
        for word in words {
            match word.as_str() {
                "--long" => arguments.is_long = true,
                "--table" => arguments.is_table = true,
                _ => arguments.names.push(word),
            }
        }
        arguments.is_long |= arguments.is_table;
        arguments
    }

    fn wants(&self, test: &Test) -> bool {
        let is_named = self.names.iter().any(|part| test.name.contains(part.as_str()));
        if self.names.is_empty() { self.is_long || !test.is_long } else { is_named }
    }
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1).peekable();
    if words.next_if(|first| first == member::ARGUMENT).is_some() {
        return member::run(words);
    }
    let arguments = Arguments::parse(words);
    if arguments.is_table && !arguments.names.is_empty() {
        println!("interop: a table is made of all tests, not of those with a name");
        return ExitCode::FAILURE;
    }
    // Shared memory, where the host has it: drivers live there.
    let memory = PathBuf::from("/dev/shm");
    let base = if memory.is_dir() { memory } else { std::env::temp_dir() };
    let work = base.join(format!("coracle-interop-{}", std::process::id()));
    let code = run(&arguments, &work);
    let _ = std::fs::remove_dir_all(&work);
    code
}

fn run(arguments: &Arguments, work: &Path) -> ExitCode {
    let tests: Vec<&Test> = all().filter(|test| arguments.wants(test)).collect();
    let java = match Java::prepare(work) {
        Ok(java) => java,
        Err(Unready::Lacking(what)) => {
            println!("interop: skipped, nothing was tested: {what}");
            println!("0 passed, 0 failed, {} skipped", tests.len());
            return ExitCode::SUCCESS;
        }
        Err(Unready::Broken(cause)) => {
            println!("interop: FAILED, nothing was tested: {cause}");
            return ExitCode::FAILURE;
        }
    };
    let started = clock::now().mono;
    let mut passed = Vec::new();
    for test in &tests {
        let setting = Setting { java: java.clone(), work: work.join(test.name) };
        let began = clock::now().mono;
        let result = std::fs::create_dir_all(&setting.work)
            .map_err(|error| error.to_string())
            .and_then(|()| (test.run)(&setting));
        let took = seconds(clock::now().mono - began);
        let name = test.name;
        match result {
            Ok(facts) => {
                passed.push(*test);
                println!("test {name} ... ok in {took}: {facts}");
            }
            Err(reason) => println!("test {name} ... FAILED in {took}: {reason}"),
        }
        let _ = std::io::stdout().flush();
        let _ = std::fs::remove_dir_all(&setting.work);
    }
    let failed = tests.len() - passed.len();
    let took = seconds(clock::now().mono - started);
    println!("{} passed, {failed} failed in {took}", passed.len());
    let left = all().filter(|test| !arguments.wants(test)).count();
    if left > 0 && arguments.names.is_empty() {
        println!("{left} long ones were not run: --long");
    }
    if arguments.is_table
        && let Err(cause) = table::write(&passed)
    {
        println!("interop: the table is not written: {cause}");
        return ExitCode::FAILURE;
    }
    ExitCode::from(u8::from(failed > 0))
}

fn seconds(span: Nanos) -> String {
    let tenths = span.as_millis() / 100;
    format!("{}.{} s", tenths / 10, tenths % 10)
}
