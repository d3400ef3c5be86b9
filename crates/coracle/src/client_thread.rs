//! [`Client`]: a client whose conductor has a thread of its own.

use std::io;
use std::ops::Deref;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use client::{ClientEvent, Config, ConnectError, Handle};
use os::thread::AgentThread;
use runtime::idle::IdleStrategy;
use runtime::{Agent, Halt, Nanos, Now, Ports, Work};

/// Events that are kept for [`Client::poll_events`].
const EVENTS_MAX: usize = 256;
/// How long to sleep between two looks for the driver.
const CONNECT_INTERVAL: Nanos = Nanos::from_millis(1);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientStartError {
    /// The system gives no randomness, no sockets or no thread.
    #[error("client cannot start: {0}")]
    System(#[from] io::Error),
    /// No driver that it could use was found in time.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// A connection to a driver, kept alive by a thread of its own.
///
/// It dereferences to its [`Handle`], by which things are asked for; clone that for other threads.
/// Closing or dropping it tells the driver, and closes everything that it handed out.
pub struct Client {
    handle: Handle,
    events: Receiver<ClientEvent>,
    thread: Option<AgentThread>,
}

impl Client {
    /// Blocks until a live driver is found in the configured directory.
    ///
    /// # Errors
    /// None came within the driver time-out, or it cannot be used.
    pub fn connect(config: Config) -> Result<Self, ClientStartError> {
        Self::connect_on(config, &os::ports(None)?)
    }

    /// The same on ports of the caller's.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn connect_on(config: Config, ports: &Ports) -> Result<Self, ClientStartError> {
        let mut connecting = client::Client::connect(config, ports, os::clock::now());
        let client = loop {
            match connecting.poll(os::clock::now())? {
                Some(client) => break client,
                None => os::thread::sleep(CONNECT_INTERVAL),
            }
        };
        let handle = client.handle();
        let (to_user, events) = sync_channel(EVENTS_MAX);
        let agent = Box::new(Conductor { client, to_user });
        let network = ports.network.clone();
        let thread = AgentThread::spawn(agent, IdleStrategy::BACKOFF, network)?;
        Ok(Self { handle, events, thread: Some(thread) })
    }

    /// Hands over what the driver told without being asked; returns how many events.
    ///
    /// Up to 256 are kept for this call; those beyond are dropped.
    pub fn poll_events(&self, on_event: impl FnMut(ClientEvent)) -> usize {
        self.events.try_iter().map(on_event).count()
    }

    /// Tells the driver that the client leaves, closes everything that it handed out, and waits
    /// for the end of its thread. [`Halt::Terminated`] unless it had ended by itself before.
    pub fn close(mut self) -> Halt {
        self.end().unwrap_or(Halt::Terminated)
    }

    fn end(&mut self) -> Option<Halt> {
        let thread = self.thread.take()?;
        thread.stop();
        Some(thread.join())
    }
}

impl Deref for Client {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

struct Conductor {
    client: client::Client,
    to_user: SyncSender<ClientEvent>,
}

impl Agent for Conductor {
    fn name(&self) -> &str {
        "client"
    }

    fn do_work(&mut self, now: Now) -> Result<Work, Halt> {
        let work = self.client.do_work(now);
        // A full queue drops the newest; a closed one has nobody to read it.
        self.client.poll_events(|event| drop(self.to_user.try_send(event)));
        work.map_err(|error| Halt::Failed(error.to_string()))
    }

    fn on_close(&mut self, _now: Now) {
        self.client.close();
    }
}
