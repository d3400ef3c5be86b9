//! Floor 0: every byte another process or disk can see.
//!
//! Declarations and total decoders only. It knows nothing of shared memory, clocks or IO.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod archive;
pub mod bytes;
pub mod cluster;
pub mod cnc;
pub mod control;
pub mod counters;
pub mod error_log;
pub mod frame;
mod le;
pub mod log;
pub mod loss_report;
pub mod message;
pub mod numbered;
mod open_enum;
pub mod position;
pub mod resolution;
pub mod ring;
pub mod time;
pub mod uri;
