//! Floor 5: a client of a cluster.
//!
//! A [`ClusterClient`] holds one session with a cluster, ours or genuine Aeron's, through redirects
//! and changes of the leader. What it sends may be lost or doubled around such a change;
//! [`ExactlyOnce`] numbers messages, sends them again and opens new sessions, so that a service
//! that uses `Deduplication` executes each once. Both are stepped and never block.
//!
//! ```text
//! offer ----> ingress publication --> leader          redirect, NewLeaderEvent: another member
//! on_event <- egress subscription <-- leader's module and services
//! ```

#![forbid(unsafe_code)]

mod client;
mod config;
mod connect;
mod credentials;
mod egress;
mod endpoints;
mod error;
mod exactly_once;
mod ingress;
pub mod numbered;
mod session;
mod transport;

pub use client::ClusterClient;
pub use config::Config;
pub use credentials::{Credentials, NoCredentials};
pub use egress::EgressEvent;
pub use endpoints::{EndpointsError, MemberEndpoint, parse_endpoints};
pub use error::{OfferError, SessionError};
pub use exactly_once::{ExactlyOnce, ExactlyOnceError, ExactlyOnceOptions};
pub use transport::Transport;
