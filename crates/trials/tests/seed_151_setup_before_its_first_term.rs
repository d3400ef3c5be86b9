//! A corrupted setup, whose active term lay before its first, made an image at a negative position
//! and the receiver looked for its gaps outside of the log.

use coracle_trials::transport::{Plant, run};

#[test]
fn a_setup_whose_active_term_is_before_its_first_harms_nobody() {
    run(151, Plant::Nothing).unwrap();
}
