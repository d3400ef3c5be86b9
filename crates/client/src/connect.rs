//! Finding a live driver in its directory.
//!
//! ```text
//! Absent -> NotReady -> (mapped) -> Stale | ShutDown -> (live) -> Client
//!    ^________________________________|   until the driver time-out
//! ```

use std::sync::mpsc::channel;

use runtime::files::Mapping;
use runtime::{Nanos, Now, Ports};
use wire::cnc as layout;
use wire::control::ClientId;

use crate::client::Client;
use crate::cnc::{Cnc, Opened};
use crate::conductor::Conductor;
use crate::config::Config;
use crate::error::{ConnectError, DriverState};
use crate::handle::Handle;

/// How long to wait before looking again.
const RETRY_INTERVAL: Nanos = Nanos::from_millis(16);

/// A client that is looking for its driver.
#[must_use]
pub struct Connecting {
    config: Config,
    ports: Ports,
    started: Nanos,
    next_look: Nanos,
    state: DriverState,
}

impl Connecting {
    pub(crate) fn new(config: Config, ports: &Ports, now: Now) -> Self {
        let ports = ports.clone();
        let state = DriverState::Absent;
        Self { config, ports, started: now.mono, next_look: now.mono, state }
    }

    /// When [`Connecting::poll`] will look again.
    #[must_use]
    pub const fn next_deadline(&self) -> Nanos {
        self.next_look
    }

    /// Looks for the driver; hands over the client once there is a live one.
    ///
    /// # Errors
    /// No live driver came within the driver time-out, or it speaks another version.
    pub fn poll(&mut self, now: Now) -> Result<Option<Client>, ConnectError> {
        if now.mono < self.next_look {
            return Ok(None);
        }
        match self.look(now)? {
            Ok(cnc) => self.connected(cnc, now).map(Some),
            Err(state) => {
                self.state = state;
                self.next_look = now.mono + RETRY_INTERVAL;
                self.check_timeout(now)
            }
        }
    }

    fn check_timeout(&self, now: Now) -> Result<Option<Client>, ConnectError> {
        let waited = now.mono - self.started;
        if waited < self.config.driver_timeout {
            return Ok(None);
        }
        let (directory, state) = (self.config.directory.clone(), self.state.clone());
        Err(ConnectError::Timeout { directory, waited, state })
    }

    /// A driver that lives, or what is there instead.
    fn look(&self, now: Now) -> Result<Result<Cnc, DriverState>, ConnectError> {
        let mapping = match self.map() {
            Ok(mapping) => mapping,
            Err(state) => return Ok(Err(state)),
        };
        let cnc = match Cnc::open(mapping) {
            Ok(Opened::Ready(cnc)) => *cnc,
            Ok(Opened::NotReady) => return Ok(Err(DriverState::NotReady)),
            Err(error) => return Err(self.incompatible(&error)),
        };
        let heartbeat_ms = cnc.driver_heartbeat_ms();
        let age_ms = now.epoch_millis().saturating_sub(heartbeat_ms);
        Ok(match heartbeat_ms {
            0 => Err(DriverState::NotReady),
            wire::ring::to_driver::HEARTBEAT_CLOSED => Err(DriverState::ShutDown),
            _ if age_ms > self.config.driver_timeout.as_millis() => {
                Err(DriverState::Stale { age_ms })
            }
            _ => Ok(cnc),
        })
    }

    fn incompatible(&self, error: &layout::HeaderError) -> ConnectError {
        let (directory, cause) = (self.config.directory.clone(), error.to_string());
        ConnectError::Incompatible { directory, cause }
    }

    fn map(&self) -> Result<Mapping, DriverState> {
        let path = self.config.directory.join(layout::FILE_NAME);
        let unreadable = |error: std::io::Error| DriverState::Unreadable(error.to_string());
        let entry = self.ports.files.entry(&path).map_err(unreadable)?;
        match entry {
            None => Err(DriverState::Absent),
            Some(entry) if entry.length < layout::HEADER_LENGTH as u64 => {
                Err(DriverState::NotReady)
            }
            Some(_) => self.ports.files.map(&path).map_err(unreadable),
        }
    }

    fn connected(&self, cnc: Cnc, now: Now) -> Result<Client, ConnectError> {
        let (interval, liveness) = (self.config.keep_alive_interval, cnc.client_liveness_timeout());
        if interval >= liveness {
            return Err(ConnectError::KeepAliveInterval { interval, liveness });
        }
        let receiver = cnc.receiver().map_err(|error| self.incompatible(&error))?;
        let client_id = ClientId(cnc.next_correlation_id());
        let (sender, inbox) = channel();
        let handle = Handle::new(cnc, client_id, sender);
        let conductor =
            Conductor::new(self.config.clone(), &self.ports, handle, receiver, inbox, now);
        Ok(Client::new(conductor))
    }
}
