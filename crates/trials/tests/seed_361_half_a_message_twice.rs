//! A log was left in the middle of a message that an earlier log had begun. The next one brought
//! the middle again: the service gave the message up as one with a gap, and other members did not.

use coracle_trials::cluster::{Plant, run};

#[test]
fn the_middle_of_a_message_that_comes_again_is_not_taken_twice() {
    for seed in [361, 445, 471] {
        run(seed, Plant::Nothing).unwrap();
    }
}
