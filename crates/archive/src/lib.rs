//! Floor 4: records, replays and replicates streams.
//!
//! An archive is an agent with its own client of the driver: it answers control sessions, writes
//! the images it subscribes to into segment files, and publishes them again on request. It knows
//! the protocol and the files that genuine Aeron knows, and nothing of what the streams carry.

pub mod authentication;
pub mod catalog;
mod channel;
pub mod checksum;
pub mod config;
mod control;
pub mod directory;
mod frame;
pub mod mark_file;
pub mod recovery;
pub mod segment;
#[cfg(test)]
mod testing;
pub mod writer;
