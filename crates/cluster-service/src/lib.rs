//! Floor 5: what a user's service is, and what it sees of the cluster.
//!
//! A service is a [`ClusteredService`]: a state machine that the log drives, equal on all members.
//! It sees the cluster as the [`Cluster`] handle that each call brings; [`testing`] drives a
//! service without any network. A [`Container`] runs a service on a member: it reads the log as far
//! as it is committed, answers clients where it leads, and keeps snapshots in the node's archive.
//! It knows the consensus module, ours or genuine Aeron's, by two streams and two counters only.

#![forbid(unsafe_code)]

mod active;
pub mod cluster;
mod config;
mod container;
mod counters;
pub mod deduplication;
mod host;
mod link;
mod log_reader;
mod mark;
pub mod requests;
pub mod service;
mod session;
pub mod snapshot;
mod snapshot_archive;
mod snapshot_records;
pub mod testing;

pub use cluster::{Cluster, SendError};
pub use config::Config;
pub use container::Container;
pub use deduplication::{Admission, Deduplication, DeduplicationLimits};
pub use mark::MarkFileError;
pub use service::{ClusterSessionId, ClusteredService, Step, TimerId};
pub use snapshot::SnapshotWriter;
pub use wire::cluster::{CloseReason, Role, TimeUnit};
