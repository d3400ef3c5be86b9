//! Floor 5: the service container.

#![forbid(unsafe_code)]

pub mod deduplication;
