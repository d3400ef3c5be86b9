//! Floor 1: log buffers, counters, rings and broadcast buffers over shared memory.
//!
//! Everything here lies in memory that other threads and other processes read and write; its bytes
//! are described in `wire`. The crate knows nothing of files, sockets or agents: whoever maps a file
//! hands in a [`region::Region`], and time is a parameter.

#![allow(unsafe_code)]

#[cfg(not(loom))]
pub mod buffer;
#[cfg(loom)]
#[path = "buffer_loom.rs"]
pub mod buffer;
pub mod log;
#[cfg(not(loom))]
pub mod region;
#[cfg(loom)]
pub mod region {
    //! Memory of the model checker.
    pub use crate::buffer::Region;
}
pub mod broadcast;
pub mod counters;
pub mod ring;
