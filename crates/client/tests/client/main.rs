//! The client against a driver made for the purpose, in simulated files.

#![allow(clippy::unwrap_used)] // Helpers of tests may fail like tests.

extern crate coracle_client as client;

mod adding;
mod bed;
mod connecting;
mod driver;
mod ending;
mod messages;
mod no_allocation;
