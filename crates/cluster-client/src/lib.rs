//! Floor 5: a client of a cluster.

#![forbid(unsafe_code)]

pub mod numbered;
