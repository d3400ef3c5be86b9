//! Floor 2: agents, the three ports (network, files, background) and what steps them.
//!
//! Time is the `now` handed to each pass; randomness is a seeded [`random::Rng`]; everything else
//! that is not memory goes through [`ports::Ports`]. This crate does not know the operating system:
//! `os` and `sim` implement its ports.

#![forbid(unsafe_code)]

pub mod agent;
pub mod background;
pub mod config;
pub mod duty_cycle;
pub mod files;
pub mod guarded;
pub mod idle;
pub mod invoker;
pub mod network;
pub mod owners;
pub mod point;
pub mod ports;
pub mod pulse;
pub mod random;

pub use agent::{Agent, Halt, Work};
pub use ports::Ports;
pub use wire::time::{EpochNanos, Nanos, Now};
