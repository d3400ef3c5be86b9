//! [`Client`]: what its owner steps.

use std::ops::Deref;

use runtime::{Now, Ports, Work};

use crate::conductor::Conductor;
use crate::config::Config;
use crate::connect::Connecting;
use crate::error::ClientError;
use crate::events::ClientEvent;
use crate::handle::Handle;

/// A connection to a driver. Its owner steps it; whatever it hands out may be used elsewhere.
///
/// It dereferences to its [`Handle`], by which things are asked for. Dropping it closes everything
/// that it handed out, in this process only: the driver finds out by silence. An orderly end is
/// [`Client::close`].
pub struct Client {
    conductor: Conductor,
}

impl Client {
    /// Begins to look for the driver in the configured directory.
    pub fn connect(config: Config, ports: &Ports, now: Now) -> Connecting {
        Connecting::new(config, ports, now)
    }

    pub(crate) const fn new(conductor: Conductor) -> Self {
        Self { conductor }
    }

    /// One pass: sends requests, takes in what the driver says, shows that the client lives.
    ///
    /// Must come more often than the driver's client liveness time-out (10 s by default).
    ///
    /// # Errors
    /// The client has ended; every further pass says the same. All its resources are closed.
    pub fn do_work(&mut self, now: Now) -> Result<Work, ClientError> {
        self.conductor.do_work(now)
    }

    /// Tells the driver that the client leaves, and closes everything that it handed out.
    pub fn close(&mut self) {
        self.conductor.close();
    }

    /// A handle for other threads.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.conductor.handle().clone()
    }

    /// Hands over what the driver told without being asked; returns how many events.
    ///
    /// Events that nobody polls are kept up to 256.
    pub fn poll_events(&mut self, on_event: impl FnMut(ClientEvent)) -> usize {
        self.conductor.events().poll(on_event)
    }

    /// How many events were dropped because nobody polled them.
    #[must_use]
    pub fn events_lost(&mut self) -> u64 {
        self.conductor.events().lost()
    }
}

impl Deref for Client {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        self.conductor.handle()
    }
}
