//! What a kill or a power cut leaves of the files of each protocol is recovered: a few images of
//! each, with guards and checksums (even seeds) and without. `cargo xtask images` looks at many.

#![allow(clippy::unwrap_used)]

use coracle_trials::images::{PROTOCOLS, Wanted, run};

fn judge(protocol: &str) {
    for first in [1, 2] {
        let protocol = protocol.to_string();
        let totals = run(&Wanted { protocol, first, count: 120, ..Wanted::default() });
        assert!(totals.faults.is_empty(), "{}", totals.faults[0]);
        assert!(totals.images() > 0);
    }
}

#[test]
fn recordings_are_as_far_as_they_were_acknowledged() {
    ["create", "live write", "extend", "truncate"].iter().for_each(|protocol| judge(protocol));
}

#[test]
fn segments_that_go_are_those_that_were_to_go() {
    ["purge", "detach", "attach"].iter().for_each(|protocol| judge(protocol));
}

/// Seed 1, killed between two renamings: the source had lost its segments, and an extension of the
/// target would have deleted them.
#[test]
fn a_migration_that_was_cut_short_loses_nothing() {
    judge("migrate");
}

/// Seed 1, killed while entries were moved up for one that had become longer; and power cut after
/// event 45, image 17: the last sector of a new entry was lost, and its channel was half zeros.
#[test]
fn an_entry_that_outgrows_its_place_does_not_take_others_with_it() {
    judge("catalog growth");
    let (protocol, event) = ("catalog growth".to_string(), Some(45));
    let totals = run(&Wanted { protocol, first: 1, count: 64, event, image: None });
    assert!(totals.faults.is_empty(), "{}", totals.faults[0]);
}

#[test]
fn terms_snapshots_and_votes_are_as_before_or_after_the_record_under_way() {
    ["recording log", "node state"].iter().for_each(|protocol| judge(protocol));
}

/// Seed 1: the old mark file was gone before its vote stood in the node state.
#[test]
fn a_vote_outlives_the_old_mark_file_in_which_it_stood() {
    judge("mark files");
}

#[test]
fn a_node_finds_its_log_and_its_snapshot() {
    judge("snapshot");
}

#[test]
fn no_protocol_is_left_out() {
    assert_eq!(PROTOCOLS.len(), 13);
}
