//! Floor 5: what a user's service is, and what it sees of the cluster.
//!
//! A service is a [`ClusteredService`]: a state machine that the log drives, equal on all members.
//! It sees the cluster as the [`Cluster`] handle that each call brings; [`testing`] drives a
//! service without any network. It knows neither the consensus module, which may be genuine
//! Aeron's, nor the driver.

#![forbid(unsafe_code)]

pub mod cluster;
pub mod deduplication;
pub mod requests;
pub mod service;
pub mod snapshot;
pub mod testing;

pub use cluster::{Cluster, SendError};
pub use deduplication::{Admission, Deduplication, DeduplicationLimits};
pub use service::{ClusterSessionId, ClusteredService, Step, TimerId};
pub use snapshot::SnapshotWriter;
pub use wire::cluster::{CloseReason, Role, TimeUnit};
