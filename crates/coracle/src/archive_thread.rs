//! [`Archive`]: an archive on a thread of its own.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archive::{AllowAll, Authenticator, Config, LaunchError};
use os::thread::AgentThread;
use runtime::idle::IdleStrategy;
use runtime::{Halt, Ports};

/// Why there is no archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveStartError {
    /// The system gives no randomness, no sockets or no thread.
    #[error("archive cannot start: {0}")]
    System(#[from] io::Error),
    /// Its options contradict, or its files cannot be had.
    #[error(transparent)]
    Launch(#[from] LaunchError),
}

/// A running archive, beside a driver that runs elsewhere. Closing or dropping it ends its thread.
pub struct Archive {
    directory: PathBuf,
    thread: Option<AgentThread>,
}

impl Archive {
    /// Starts an archive that lets everybody ask for everything. It looks for the driver in
    /// `aeron.directory`, for as long as `aeron.driver_timeout` says.
    ///
    /// # Errors
    /// See [`ArchiveStartError`].
    pub fn launch(config: Config, aeron: client::Config) -> Result<Self, ArchiveStartError> {
        Self::launch_on(config, aeron, Box::new(AllowAll), &os::ports(None)?)
    }

    /// The same on ports of the caller's, and with somebody who decides on sessions.
    ///
    /// # Errors
    /// As [`Archive::launch`].
    pub fn launch_on(
        config: Config,
        aeron: client::Config,
        authenticator: Box<dyn Authenticator>,
        ports: &Ports,
    ) -> Result<Self, ArchiveStartError> {
        let directory = config.storage.directory.clone();
        let archive = archive::launch(config, aeron, authenticator, ports, os::clock::now())?;
        let network = Arc::clone(&ports.network);
        let thread = AgentThread::spawn(Box::new(archive), IdleStrategy::BACKOFF, network)?;
        Ok(Self { directory, thread: Some(thread) })
    }

    /// Where its recordings are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether its thread runs. If not, [`Archive::close`] tells why.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Ends it in order.
    ///
    /// # Errors
    /// Why it had ended before.
    pub fn close(mut self) -> Result<(), Halt> {
        self.end()
    }

    fn end(&mut self) -> Result<(), Halt> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.stop();
        match thread.join() {
            Halt::Terminated => Ok(()),
            failed @ Halt::Failed(_) => Err(failed),
        }
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        let _ = self.end();
    }
}
