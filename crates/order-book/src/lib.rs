//! Floor 6: a price-time-priority limit order book as a clustered service.
//!
//! [`book`] matches orders and knows nothing of clusters.

#![forbid(unsafe_code)]

pub mod book;
