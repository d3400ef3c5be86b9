//! Floor 8: the consensus core against every order of events, within bounds.

#![forbid(unsafe_code)]

mod coarse;
mod fine;
pub mod hash;
pub mod live;
pub mod member;
pub mod message;
pub mod node;
mod run;
pub mod search;
pub mod setup;
pub mod teeth;
mod twins;
pub mod walk;
pub mod world;
