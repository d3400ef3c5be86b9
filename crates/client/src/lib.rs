//! Floor 3: publications and subscriptions over any media driver.
//!
//! A client meets its driver, ours or genuine Aeron's, in the files of the driver's directory and
//! nowhere else. It starts no thread: its owner steps it. What it hands out (publications,
//! subscriptions, images, counters) may move to other threads and be dropped in any order.
//!
//! ```text
//! Client::connect -> Connecting --poll--> Client --do_work--> (again and again)
//!                                           | add_*: Pending<T> --poll--> T
//!                                           | handle(): the same from other threads
//! ```

#![forbid(unsafe_code)]

mod answers;
mod assembler;
mod client;
mod cnc;
mod conductor;
mod config;
mod connect;
mod counter;
mod error;
mod events;
mod exclusive_publication;
mod fragment;
mod handle;
mod heartbeat;
mod image;
mod logs;
mod overtaken;
mod pending;
mod publication;
mod resources;
mod state;
mod subscription;

pub use assembler::{FragmentAssembler, ImageAssembler};
pub use client::Client;
pub use config::Config;
pub use connect::Connecting;
pub use counter::Counter;
pub use error::{AddError, ClientError, ConnectError, DriverState, OfferError};
pub use events::ClientEvent;
pub use exclusive_publication::ExclusivePublication;
pub use fragment::{Action, Fragment, Header};
pub use handle::{ChannelStatus, Handle};
pub use image::{Block, Image};
pub use memory::counters::{CounterReader, CountersReader};
pub use memory::log::append::Claim;
pub use pending::Pending;
pub use publication::Publication;
pub use subscription::{ImageEvent, Subscription};
pub use wire::control::{ClientId, CorrelationId, ErrorCode};
pub use wire::counters::{CounterId, CounterTypeId};
