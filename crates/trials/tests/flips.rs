//! Damaged files are refused, repaired or told, or the damage has no effect: a few of each kind.
//! `cargo xtask flips` does many.

#![allow(clippy::unwrap_used)]

use coracle_trials::flips::{Outcome, STRUCTURES, Wanted, run};

#[test]
fn no_damage_is_accepted() {
    let totals = run(Wanted { count: 700, first: 1, number: None });
    assert!(totals.faults.is_empty(), "{}", totals.faults[0]);
    for structure in STRUCTURES {
        assert!(totals.count_of(structure) > 0, "{structure}");
    }
    let outcomes = |wanted: Outcome| {
        totals.rows.iter().filter(|((.., it), _)| *it == wanted).map(|(_, count)| count).sum()
    };
    let repaired: u64 = outcomes(Outcome::Repaired);
    assert!(repaired > 0 && outcomes(Outcome::RefusedAtReplay) > 0, "{:?}", totals.rows);
}
