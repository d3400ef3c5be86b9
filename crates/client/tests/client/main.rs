//! The client against a driver made for the purpose, in simulated files.

extern crate coracle_client as client;

mod adding;
mod bed;
mod connecting;
mod driver;
mod ending;
mod messages;
mod no_allocation;
