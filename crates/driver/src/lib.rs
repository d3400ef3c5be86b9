//! Floor 3: the media driver: conductor, sender and receiver.
//!
//! Three agents that own their data and talk by messages: no locks, no shared mutable state besides
//! log buffers, counters and a few atomics. They may run on one thread or on three. Clients are met
//! only in shared memory (`cnc.dat` and log buffers), other drivers only on sockets.
//!
//! Input: [`Config`] and [`Ports`](runtime::Ports). Output: the agents, see [`launch()`].

#![forbid(unsafe_code)]

mod channel;
mod conductor;
pub mod config;
pub mod launch;
mod messages;
mod ports;
mod queue;
mod receiver;
mod refusal;
mod sender;
mod shared;
mod system;

pub use config::Config;
pub use launch::{DriverAgents, LaunchError, launch};
