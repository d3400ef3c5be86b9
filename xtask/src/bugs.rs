//! `bugs`: defects planted one at a time, each of which the trials must find.
//!
//! The bank (`xtask/bugs.toml`) says what to change where. All changes go at once into a copy of
//! the tree, each behind a switch, so that one build serves for all of them and nothing of it
//! stands in the tree itself. A change whose place is not found, or found twice, is an error: the
//! bank has to follow the code.

mod bank;
mod copy;

use std::path::Path;
use std::process::{Command, ExitCode};

use crate::tidy::root;
use bank::{Bug, Trial};

/// Why the bank could not be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BugsError {
    #[error("{path}: {source}")]
    Io { path: String, source: std::io::Error },
    #[error("bank of bugs: {0}")]
    Bank(String),
    #[error("{bug}: {file} has its text {count} times, not once: {find}")]
    Place { bug: String, file: String, find: String, count: usize },
    #[error("{0} failed")]
    Program(&'static str),
    #[error("{bug}: the trial ended without a verdict: {text}")]
    Verdict { bug: String, text: String },
}

/// What came of one defect.
struct Verdict {
    /// How many seeds it took, and what the trial said of the last.
    found: Option<(u64, String)>,
}

/// Runs all defects, or those whose names have one of `names` in them.
pub(crate) fn run(names: &[String]) -> ExitCode {
    match try_run(names) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn try_run(names: &[String]) -> Result<bool, BugsError> {
    let root = root();
    let bugs = bank::load(&root.join("xtask/bugs.toml"))?;
    let tree = root.join("target/bugs/tree");
    copy::plant(&root, &tree, &bugs)?;
    build(&tree)?;
    let is_wanted = |bug: &&Bug| names.is_empty() || names.iter().any(|it| bug.name.contains(it));
    let (mut missed, mut count) = (0, 0);
    for (number, bug) in (1..).zip(&bugs).filter(|(_, bug)| is_wanted(bug)) {
        let verdict = look(&tree, bug, number)?;
        count += 1;
        match verdict.found {
            Some((seeds, what)) => println!("{:<40} {seeds:>5} seeds  {what}", bug.name),
            None => {
                missed += 1;
                println!("{:<40} MISSED in {} seeds ({})", bug.name, bug.seeds, bug.what);
            }
        }
    }
    println!("{count} bugs, {missed} missed");
    Ok(missed == 0 && count > 0)
}

/// The trial of the core.
const CORE: [&str; 4] = ["--package", "coracle-consensus", "--test", "cluster"];
/// How both are built: arithmetic that wraps is found, too.
const PROFILE: [&str; 3] = ["--quiet", "--profile", "trial"];

/// A command of cargo in the copy of the tree.
fn cargo(tree: &Path, arguments: &[&str]) -> Command {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_string());
    let mut command = Command::new(cargo);
    command.args(arguments).current_dir(tree);
    command.env("CARGO_TARGET_DIR", tree.with_file_name("build"));
    command
}

fn build(tree: &Path) -> Result<(), BugsError> {
    let trials = ["build", "--package", "coracle-trials", "--bin", "seeds", "--bin", "images"];
    let core = [&["test", "--no-run"][..], &CORE].concat();
    for arguments in [&trials[..], &core] {
        let status = cargo(tree, arguments).args(PROFILE).status();
        if !status.is_ok_and(|status| status.success()) {
            return Err(BugsError::Program("the build of the copy with all defects"));
        }
    }
    Ok(())
}

/// Runs the trial of a defect until it is found.
fn look(tree: &Path, bug: &Bug, number: u32) -> Result<Verdict, BugsError> {
    let count = bug.seeds.to_string();
    let programs = tree.with_file_name("build").join("trial");
    let mut command = match bug.trial {
        Trial::Images => {
            let mut command = Command::new(programs.join("images"));
            command.args(["--count", &count]);
            command
        }
        Trial::Cluster | Trial::Transport => {
            let mut command = Command::new(programs.join("seeds"));
            command.args([bug.trial.name(), "--until-failure", "--count", &count]);
            command
        }
        Trial::Core | Trial::Rot => {
            let test = match bug.trial {
                Trial::Rot => "three_members_whose_logs_rot_keep_every_promise",
                _ => "three_members_keep_every_promise_under_trouble",
            };
            let mut command = cargo(tree, &["test"]);
            command.args(CORE).args(PROFILE).arg(test);
            command.env("CONSENSUS_SEEDS", &count);
            command
        }
    };
    let output = command.env("CORACLE_PLANTED", number.to_string()).output();
    let output = output.map_err(|_| BugsError::Program("a trial"))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    if output.status.success() {
        return Ok(Verdict { found: None });
    }
    let found = failure(&text, bug.trial.first_seed());
    let end = || text.lines().last().unwrap_or_default().to_string();
    found.map_or_else(
        || Err(BugsError::Verdict { bug: bug.name.clone(), text: end() }),
        |found| Ok(Verdict { found: Some(found) }),
    )
}

/// How many seeds it took to the first that failed, and what was wrong.
fn failure(text: &str, first: u64) -> Option<(u64, String)> {
    text.lines().find_map(|line| {
        let (_, rest) = line.split_once("seed ")?;
        let end = if line.starts_with("FAULT ") { "), " } else { ": " };
        let (seed, what) = rest.split_once(end)?;
        let seed: u64 = seed.parse().ok()?;
        Some((seed + 1 - first, what.chars().take(120).collect()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failing_seed_is_read_from_what_trials_print() {
        let text = "noise\nseed 7: after 20 ms: I-5: it\n  replay: cargo xtask seeds\n";
        assert_eq!(failure(text, 1), Some((7, "after 20 ms: I-5: it".to_string())));
        let core = "thread 'x' panicked at y:\n3 members, seed 0: I-1: two\n";
        assert_eq!(failure(core, 0), Some((1, "I-1: two".to_string())));
        let image = "FAULT extend (seed 3), killed after event 2 of 9: a write: lost\n    replay";
        let what = "killed after event 2 of 9: a write: lost";
        assert_eq!(failure(image, 1), Some((3, what.to_string())));
        assert_eq!(failure("all went well", 1), None);
    }

    #[test]
    fn every_defect_of_the_bank_has_its_place_in_the_tree() {
        let bugs = bank::load(&root().join("xtask/bugs.toml")).unwrap();
        assert!(bugs.len() >= 24, "{} defects", bugs.len());
        copy::changes(&root(), &bugs).unwrap();
    }
}
