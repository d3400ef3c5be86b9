//! Floor 8: whole systems under test in the simulated world.

#![forbid(unsafe_code)]
