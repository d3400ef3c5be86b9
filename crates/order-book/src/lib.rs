//! Floor 6: a price-time-priority limit order book as a clustered service.
//!
//! [`book`] matches orders and knows nothing of clusters; [`command`] is what clients say and hear;
//! [`service`] joins the two under a log.

#![forbid(unsafe_code)]

pub mod book;
pub mod command;
pub mod service;

pub use service::OrderBookService;
