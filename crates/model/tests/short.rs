//! The check in little: what a few seconds allow. `cargo xtask model` is the whole of it.

#![allow(clippy::unwrap_used)] // Helpers of tests.

use std::time::Duration;

use coracle_model::search::{Limits, Report, Search, Verdict};
use coracle_model::setup::Setup;
use coracle_model::walk::{Reach, walk};

const LIMITS: Limits = Limits { states: 1_000_000, bytes: 1 << 30, time: Duration::from_secs(600) };

fn run(setup: Setup) -> (Search, Report) {
    let mut search = Search::new(setup);
    let report = search.run(LIMITS, || Duration::ZERO, |_| {});
    (search, report)
}

fn violation(setup: Setup) -> String {
    match run(setup).1.verdict {
        Verdict::Violated { text, .. } => text,
        verdict => panic!("{verdict:?}"),
    }
}

#[test]
fn two_terms_and_one_entry_are_exhausted_without_a_violation_and_alive() {
    let (search, report) = run(Setup::new(2, 1));
    assert_eq!(report.verdict, Verdict::Exhausted);
    assert!(report.states > 5_000, "{}", report.states);
    let liveness = search.liveness(20);
    assert!(liveness.checks >= 80 && liveness.dead.is_none(), "{:?}", liveness.dead);
}

#[test]
fn one_term_and_one_entry_are_exhausted_in_fine_steps() {
    let (_, report) = run(Setup { is_coarse: false, ..Setup::new(1, 1) });
    assert_eq!(report.verdict, Verdict::Exhausted);
}

#[test]
fn members_are_named_as_one_likes() {
    let mut search = Search::new(Setup::new(2, 1));
    search.run(Limits { states: 400, ..LIMITS }, || Duration::ZERO, |_| {});
    let mut hashes = std::collections::BTreeSet::new();
    for index in 0..search.len() {
        let row = search.row(index);
        assert!(hashes.insert(search.world.canonical(&row)), "state {index} is another's twin");
    }
}

#[test]
fn a_promise_that_is_not_kept_is_found() {
    let setup = Setup::new(2, 1).without("v1").unwrap();
    assert!(violation(setup).contains("the leader of 1 lacks it"));
}

#[test]
fn reports_of_other_terms_that_count_are_found() {
    let setup = Setup::new(2, 1).without("l2").unwrap();
    assert!(violation(setup).contains("which 1 disks have"));
}

#[test]
fn a_vote_that_is_spoken_before_it_is_on_disk_is_found() {
    let setup = Setup::new(2, 1).without("p1").unwrap();
    assert!(violation(setup).contains("P1"));
}

#[test]
fn a_leader_that_never_steps_down_leaves_a_dead_cluster() {
    let (search, _) = run(Setup::new(2, 1).without("l4").unwrap());
    assert!(search.liveness(2_000).dead.is_some());
}

#[test]
fn walks_of_five_members_find_nothing() {
    let setup = Setup { members: 5, ..Setup::new(5, 3) };
    let walks = walk(setup, Reach { first: 0, count: 6, steps: 30 }, || false);
    assert!(walks.violation.is_none(), "{:?}", walks.violation);
    assert!(walks.steps > 40, "{}", walks.steps);
}
