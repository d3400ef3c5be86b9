//! Floor 8: whole systems under test in the simulated world.
//!
//! A trial builds a world from a seed, runs the production code in it unchanged, lets faults
//! strike, heals, and closes. It checks what must hold all the time, what must hold again after
//! healing, and what must be left at the end. See [`transport`] and [`cluster`], and
//! [`images`] for what a crash leaves of files; [`flips`] damages them.

#![forbid(unsafe_code)]

pub mod cluster;
mod counters;
pub mod flips;
pub mod images;
mod totals;
pub mod transport;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks what only one thread uses.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
