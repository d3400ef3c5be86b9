//! The trial of driver and client itself: it runs, it repeats, it is not blind.

use coracle_trials::transport::{Check, Plant, Totals, run};

#[test]
fn streams_are_exact_heal_and_leave_nothing_behind() {
    let mut totals = Totals::default();
    for seed in 1..=16 {
        match run(seed, Plant::Nothing) {
            Ok(outcome) => totals += outcome.totals,
            Err(failure) => panic!("{failure}"),
        }
    }
    assert!(totals.received > 10_000 && totals.driver_kills > 0 && totals.retransmits > 0);
}

#[test]
fn a_seed_gives_the_same_run_again() {
    assert_eq!(run(3, Plant::Nothing), run(3, Plant::Nothing));
}

#[test]
fn a_driver_whose_naks_are_never_sent_is_found_out() {
    let found = (1..=16).find_map(|seed| run(seed, Plant::NakNeverSent).err());
    assert_eq!(found.map(|failure| failure.check), Some(Check::Live));
}
