//! Floor 1: log buffers, counters, rings and broadcast buffers over shared memory.
//!
//! Everything here lies in memory that other threads and other processes read and write; its bytes
//! are described in `wire`. The crate knows nothing of files, sockets or agents: whoever maps a
//! file hands in a [`region::Region`], and time is a parameter.

#![allow(unsafe_code)]

pub mod broadcast;
#[cfg(not(loom))]
pub mod buffer;
#[cfg(loom)]
#[path = "buffer_loom.rs"]
pub mod buffer;
pub mod counters;
pub mod error_log;
pub mod log;
pub mod loss_report;
pub mod mark_file;
#[cfg(not(loom))]
pub mod region;
pub mod ring;

#[cfg(loom)]
pub mod region {
    //! Memory of the model checker.
    pub use crate::buffer::Region;
}
