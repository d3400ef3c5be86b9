//! Floor 5: the consensus module around the pure core.
//!
//! The core decides; this crate moves the bytes: it reads and writes the member's files, its peers,
//! clients, services and archive. It knows neither the driver nor the services' container, either
//! of which may be genuine Aeron's.

#![forbid(unsafe_code)]

pub mod authentication;
pub mod channels;
pub mod config;
pub mod counters;
pub mod directory;
pub mod egress;
pub mod halt;
pub mod ingress;
mod launch;
pub mod log_archive;
pub mod log_follower;
pub mod log_publisher;
pub mod loss;
pub mod mark_file;
pub mod members;
mod module;
pub mod node_state;
pub mod peers;
pub mod persist;
pub mod recording_log;
mod rot;
pub mod services;
pub mod session_counters;
pub mod snapshot;
pub mod snapshot_archive;
#[cfg(test)]
mod testing;

pub use launch::{ConsensusModule, LaunchError, launch};
