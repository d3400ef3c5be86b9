//! Floor 4: records, replays and replicates streams.
//!
//! An archive is an agent with its own client of the driver: it answers control sessions, writes
//! the images it subscribes to into segment files, and publishes them again on request. It knows
//! the protocol and the files that genuine Aeron knows, and nothing of what the streams carry.
//!
//! [`launch()`] opens the directory and returns the [`Archive`] to be stepped. Inside, the
//! conductor decides, the recorder writes, the replayer reads; they meet in calls and events only,
//! so that each could be an agent of its own.

#![forbid(unsafe_code)]

pub mod authentication;
pub mod catalog;
mod catalog_sync;
mod channel;
pub mod checksum;
mod conductor;
pub mod config;
mod control;
mod counters;
pub mod directory;
mod events;
mod frame;
mod inventory;
mod launch;
mod listing;
pub mod mark_file;
mod recorder;
pub mod recovery;
mod replayer;
pub mod segment;
mod sums;
#[cfg(test)]
mod testing;
mod trail;
pub mod writer;

pub use authentication::{AllowAll, Authenticator, Verdict};
pub use config::Config;
pub use launch::{Archive, LaunchError, launch};
pub use replayer::reader::read_all;
