//! A log was left in the middle of a message that an earlier log had begun. The next one brought
//! the middle again: the service gave the message up as one with a gap, and other members did not.
//!
//! The seeds that found it drew their faults from a shorter list; the case itself is held by the
//! tests of `cluster::log_follower` and `cluster_service::log_reader`.

use coracle_trials::cluster::{Plant, run};

#[test]
fn the_middle_of_a_message_that_comes_again_is_not_taken_twice() {
    for seed in [361, 445, 471] {
        run(seed, Plant::Nothing).unwrap();
    }
}
