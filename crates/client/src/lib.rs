//! Floor 3: publications and subscriptions over any media driver.
//!
//! A client meets its driver, ours or genuine Aeron's, in the files of the driver's directory and
//! nowhere else. It starts no thread: its owner steps it. What it hands out (publications,
//! subscriptions, images, counters) may move to other threads and be dropped in any order.

#![forbid(unsafe_code)]

mod assembler;
mod config;
mod error;
mod fragment;

pub use assembler::{FragmentAssembler, ImageAssembler};
pub use config::Config;
pub use error::{AddError, ClientError, ConnectError, DriverState, ErrorCode, OfferError};
pub use fragment::{Action, Fragment, Header};
