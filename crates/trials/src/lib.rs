//! Floor 8: whole systems under test in the simulated world.
//!
//! A trial builds a world from a seed, runs the production code in it unchanged, lets faults
//! strike, heals, and closes. It checks what must hold all the time, what must hold again after
//! healing, and what must be left at the end. See [`transport`].

#![forbid(unsafe_code)]

pub mod transport;
