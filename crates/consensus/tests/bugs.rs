//! The bug bank of the core: each rule switched off, and the world must notice.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // Helpers of tests.

extern crate coracle_consensus as consensus;

mod world;

use consensus::Rules;
use world::{rotten_trouble, trouble};

type Switch = (&'static str, fn(&mut Rules));

/// Every switch, to look for seeds: `CONSENSUS_SEEDS=300 cargo test ... every_rule -- --nocapture`.
const SWITCHES: [Switch; 22] = [
    ("p1", |rules| rules.p1_persist_before_vote = false),
    ("p2", |rules| rules.p2_term_first = false),
    ("p3", |rules| rules.p3_drop_terms_past_end_at_load = false),
    ("l1", |rules| rules.l1_record_term_on_entry = false),
    ("l2", |rules| rules.l2_count_own_term_only = false),
    ("l3", |rules| rules.l3_readiness_of_recorded_term = false),
    ("l4", |rules| rules.l4_step_down = false),
    ("f1", |rules| rules.f1_compare_tables = false),
    ("f2", |rules| rules.f2_term_before_data = false),
    ("f3", |rules| rules.f3_term_before_append_position = false),
    ("f4", |rules| rules.f4_commit_of_adopted_leader = false),
    ("f5", |rules| rules.f5_never_cut_committed = false),
    ("f6", |rules| rules.f6_refuse_incoherent_terms = false),
    ("v1", |rules| rules.v1_promise = false),
    ("v2", |rules| rules.v2_way_out = false),
    ("v3", |rules| rules.v3_answer_older_leader = false),
    ("h1", |rules| rules.h1_silent_after_loss = false),
    ("h2", |rules| rules.h2_whole_before_regained = false),
    ("h3", |rules| rules.h3_loss_before_cut = false),
    ("h4", |rules| rules.h4_own_terms_bind = false),
    ("commit", |rules| rules.commit_within_recorded = false),
    ("vote", |rules| rules.vote_saved = false),
];

/// The first of `count` seeds that shows the bug. What concerns losses takes logs that rot.
fn find((name, switch): Switch, members: usize, count: u64) -> Option<(u64, String)> {
    let mut rules = Rules::default();
    switch(&mut rules);
    let trial = if name.starts_with('h') { rotten_trouble } else { trouble };
    (0..count).find_map(|seed| {
        let (_, violation) = trial(seed, members, rules, 4_000);
        violation.map(|text| (seed, text))
    })
}

#[test]
fn every_rule_switched_off_is_looked_for() {
    let Some(count) = std::env::var("CONSENSUS_SEEDS").ok().and_then(|text| text.parse().ok())
    else {
        return;
    };
    for (name, switch) in SWITCHES {
        let found = find((name, switch), 3, count);
        println!(
            "{name}: {}",
            found.map_or_else(
                || "not found".into(),
                |(seed, text)| {
                    format!("seed {seed}: {}", text.chars().take(150).collect::<String>())
                }
            )
        );
    }
}

/// Searches the few seeds that it takes to see a planted bug.
fn must_find(name: &str, count: u64) -> String {
    let switch = SWITCHES.iter().find(|(known, _)| *known == name).unwrap();
    find(*switch, 3, count).unwrap_or_else(|| panic!("{name} was not found")).1
}

#[test]
fn a_vote_that_is_not_saved_is_found() {
    assert!(must_find("vote", 10).contains("on disk"));
    assert!(must_find("p1", 10).contains("on disk"));
}

#[test]
fn a_commit_beyond_the_recording_is_found() {
    assert!(must_find("commit", 10).contains("entries recorded"));
}

#[test]
fn reports_of_other_terms_that_count_are_found() {
    assert!(must_find("l2", 40).contains("I-5"));
}

#[test]
fn a_leader_that_never_steps_down_is_found() {
    assert!(must_find("l4", 40).contains("I-20"));
}

#[test]
fn a_leader_that_serves_before_its_term_is_on_a_quorum_is_found() {
    assert!(must_find("l3", 40).contains("serves in term"));
}

#[test]
fn a_vote_of_who_lost_a_part_of_its_log_is_found() {
    must_find("h1", 40);
}

#[test]
fn a_loss_that_is_forgotten_before_all_is_regained_is_found() {
    must_find("h2", 40);
}

#[test]
fn a_loss_that_is_not_on_disk_before_the_cut_is_found() {
    must_find("h3", 40);
}
