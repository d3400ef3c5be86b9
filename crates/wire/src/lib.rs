//! Floor 0: every byte another process or disk can see.
//!
//! Declarations and total decoders only. It knows nothing of shared memory, clocks or IO.

#![no_std]
#![forbid(unsafe_code)]

pub mod archive;
pub mod bytes;
pub mod cluster;
pub mod cnc;
pub mod control;
pub mod counters;
pub mod frame;
mod le;
pub mod log;
pub mod message;
pub mod numbered;
mod open_enum;
pub mod position;
pub mod ring;
pub mod time;
