//! Floor 7: the facade: what users import.
//!
//! It joins the parts to the operating system: [`Driver`], [`Archive`], [`Client`] and a whole
//! [`Node`] run on threads of their own, [`Wait`] waits for answers, and [`run_service`] is the
//! `main` of a program around a [`service`] of one's own. Who would rather step things takes the
//! crates of the lower floors, which are all here by their names, with the ports of [`os::ports`].
//!
//! ```no_run
//! use coracle::prelude::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let driver = Driver::launch(coracle::driver::Config::default())?;
//! let client = Client::connect(coracle::client::Config::default())?;
//! let mut subscription = client.add_subscription("aeron:ipc", StreamId(10)).wait()?;
//! let publication = client.add_publication("aeron:ipc", StreamId(10)).wait()?;
//! match publication.offer(b"hello") {
//!     Ok(position) => println!("the stream is at {}", position.0),
//!     Err(OfferError::BackPressured | OfferError::AdminAction) => println!("offer again"),
//!     Err(error) => return Err(error.into()),
//! }
//! subscription.poll(10, |fragment| println!("{:?}", fragment.payload()));
//! client.close();
//! driver.close()?;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod archive_thread;
mod client_thread;
pub mod cluster_control;
mod cluster_session;
pub mod directory;
mod driver_threads;
pub mod node_options;
mod node_threads;
mod wait;

pub use archive;
pub use archive_client;
pub use client;
pub use cluster;
pub use cluster_client;
pub use cluster_service;
pub use consensus;
pub use driver;
pub use memory;
pub use node;
pub use os;
pub use runtime;
pub use wire;

pub use archive_thread::{Archive, ArchiveStartError};
pub use client_thread::{Client, ClientStartError};
pub use cluster_session::{ClusterSession, ClusterSessionError};
pub use driver_threads::{Driver, DriverStartError};
pub use node_options::{NodeOptions, NodeOptionsError};
pub use node_threads::{Node, NodeStartError, run_service};
pub use wait::Wait;

/// What a service of one's own needs.
pub mod service {
    pub use cluster_service::cluster::GaugeId;
    pub use cluster_service::{
        Admission, CloseReason, Cluster, ClusterSessionId, ClusteredService, Deduplication,
        DeduplicationLimits, Role, SendError, SnapshotWriter, Step, TimerId,
    };
}

/// What most programs need.
pub mod prelude {
    pub use crate::{Client, Driver, Wait};
    pub use client::{
        Action, AddError, ClientEvent, ExclusivePublication, Fragment, FragmentAssembler, Image,
        ImageEvent, OfferError, Pending, Publication, Subscription,
    };
    pub use wire::position::{Position, SessionId, StreamId};
}
