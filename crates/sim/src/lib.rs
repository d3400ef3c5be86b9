//! Floor 2: the simulated world behind the ports of the runtime.
//!
//! A [`World`] has hosts; a host has addresses, clocks and files; processes on it own agents. All
//! of it is stepped by one thread in virtual time, and whatever happens follows from a seed: the
//! same seed and the same calls give the same [`World::trace_hash`]. It knows nothing of the
//! operating system, nor of what the agents are for.

#![forbid(unsafe_code)]

mod background;
mod clock;
pub mod crash;
mod current;
mod disk;
mod disk_faults;
mod disks;
pub mod faults;
mod inode;
pub mod journal;
mod links;
mod network;
mod schedule;
mod socket;
mod trace;
pub mod world;

pub use crash::Image;
pub use disk_faults::DiskFaults;
pub use journal::Journal;
pub use links::{Delay, LinkFaults, NetworkTotals, Passing, Verdict};
pub use world::{AgentProfile, HostId, ProcessId, World, WorldOptions};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks what only one thread uses. A test that panicked meanwhile has failed already.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
