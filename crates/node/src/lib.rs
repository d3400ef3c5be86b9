//! Floor 6: the roles of one process, assembled and stepped, on any ports.
//!
//! A node is a media driver, an archive, a consensus module and the containers of its services.
//! [`Settings`] make a whole [`Config`] of a few values, purely; [`launch()`] makes the parts, and
//! [`NodeAgents`] steps them as one agent or apart. This crate knows neither threads nor clocks nor
//! the operating system.

#![forbid(unsafe_code)]

pub mod config;
pub mod echo;
pub mod node;
pub mod place;
pub mod settings;

pub use config::Config;
pub use echo::EchoService;
pub use node::{Apart, LaunchError, Node, NodeAgents, launch};
pub use settings::{Idle, Members, Profile, Settings, SettingsError, Threads};
