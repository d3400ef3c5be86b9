//! The check in little: what a few seconds allow. `cargo xtask model` is the whole of it.

#![allow(clippy::unwrap_used)] // Helpers of tests.

use std::time::Duration;

use consensus::{LeadershipTermId, TermRecord};
use coracle_model::hash::Renaming;
use coracle_model::member::Member;
use coracle_model::node::{Disk, Node};
use coracle_model::search::{Limits, Report, Search, Verdict};
use coracle_model::setup::Setup;
use coracle_model::walk::{Reach, walk};
use wire::position::Position;

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
fn a_search_that_tells_all_members_apart_sees_no_state_besides() {
    let all = Search::new(Setup { is_symmetric: false, ..Setup::new(1, 2) });
    let (count, mut search) = (run(Setup::new(1, 2)).1.states, all);
    let report = search.run(LIMITS, || Duration::ZERO, |_| {});
    let rows: Vec<_> = (0..search.len()).map(|index| search.row(index)).collect();
    let named: std::collections::BTreeSet<u128> =
        rows.iter().map(|row| search.world.canonical(row)).collect();
    assert!(report.states > 3 * count, "{} of {count}", report.states);
    assert_eq!(named.len(), count);
}

#[test]
fn situations_that_count_as_one_go_on_alike() {
    for setup in [Setup::new(2, 1), Setup { is_coarse: false, ..Setup::new(1, 1) }] {
        let (search, report) = run(Setup { twins: 3, ..setup });
        assert_eq!(report.verdict, Verdict::Exhausted);
        assert!(search.world.compared() > 5_000, "{}", search.world.compared());
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
fn readiness_that_counts_reports_of_any_term_is_found() {
    let setup = Setup::new(2, 1).without("l3").unwrap();
    assert!(violation(setup).contains("0 serves in term 0, which 1 disks have"));
}

#[test]
fn a_vote_that_is_spoken_before_it_is_on_disk_is_found() {
    let setup = Setup::new(2, 1).without("p1").unwrap();
    assert!(violation(setup).contains("P1"));
}

#[test]
fn a_recording_that_rots_takes_nothing_that_was_committed_and_is_regained() {
    let (search, report) = run(Setup { rots: 1, ..Setup::new(2, 1) });
    assert_eq!(report.verdict, Verdict::Exhausted);
    assert!(report.states > 20_000, "{}", report.states);
    let liveness = search.liveness(40);
    assert!(liveness.checks >= 60 && liveness.dead.is_none(), "{:?}", liveness.dead);
}

#[test]
fn a_loss_that_does_not_silence_is_forgotten_early_or_recorded_late_is_found() {
    let without = |rule| Setup { rots: 1, ..Setup::new(2, 1).without(rule).unwrap() };
    assert!(violation(without("h1")).contains("lacks some of"));
    assert!(violation(without("h2")).contains("exposes 1 entries"));
    assert!(violation(without("h3")).contains("committed entry 0 is on 1 disks"));
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

/// Taken for one, the first core would drop a term of the second with the one above it.
#[test]
fn a_core_that_has_a_record_of_a_term_and_one_that_has_none_are_two() {
    let setup = Setup::new(3, 0);
    let terms = |ids: &[i64]| -> Vec<TermRecord> {
        let record = |id: &i64| TermRecord { term: LeadershipTermId(*id), base: Position(0) };
        ids.iter().map(record).collect()
    };
    let hash = |known: &[i64]| {
        let disk = Disk { terms: terms(known), candidate: 2, ..Disk::default() };
        let mut node = Node::start(&setup, 0, disk);
        node.disk.terms = terms(&[0, 1, 2]);
        Member::hash(&node, false, &Renaming::all(3)[0])
    };
    assert_eq!(hash(&[0, 2]), hash(&[0, 2]));
    assert_ne!(hash(&[0, 2]), hash(&[0, 1, 2]));
}
