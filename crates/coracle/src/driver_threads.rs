//! [`Driver`]: a media driver on threads of its own.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use driver::{Config, DriverAgents, LaunchError};
use os::thread::AgentThread;
use runtime::idle::IdleStrategy;
use runtime::{Agent, Halt, Ports};

/// Why there is no driver.
#[derive(Debug, thiserror::Error)]
pub enum DriverStartError {
    /// The system gives no randomness, no sockets or no thread.
    #[error("driver cannot start: {0}")]
    System(#[from] io::Error),
    /// The driver's files could not be made.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// No way to spread the agents has this name.
    #[error("aeron.threading.mode={0}: not one of SHARED, SHARED_NETWORK, DEDICATED")]
    ThreadingMode(String),
}

/// Which agents share a thread, and how each thread idles.
pub(crate) type Spread = fn(DriverAgents) -> Vec<(Box<dyn Agent>, IdleStrategy)>;

/// The spread that a threading mode stands for.
pub(crate) fn spread(mode: &str) -> Result<Spread, DriverStartError> {
    Ok(match mode {
        "SHARED" => |agents| vec![(Box::new(agents.together()), IdleStrategy::WAIT)],
        "SHARED_NETWORK" => |agents| {
            let (conductor, network) = agents.network_together();
            vec![(Box::new(network), IdleStrategy::WAIT), (conductor, IdleStrategy::BACKOFF)]
        },
        "DEDICATED" => |agents| {
            vec![
                (agents.receiver, IdleStrategy::WAIT),
                (agents.sender, IdleStrategy::BACKOFF),
                (agents.conductor, IdleStrategy::BACKOFF),
            ]
        },
        _ => return Err(DriverStartError::ThreadingMode(mode.to_string())),
    })
}

/// A running media driver: one, two or three threads, as `aeron.threading.mode` says.
///
/// Closing or dropping it ends the threads in order.
pub struct Driver {
    directory: PathBuf,
    /// The network's before the conductor's: they end in this order.
    threads: Vec<AgentThread>,
}

impl Driver {
    /// Starts a driver. When it returns, clients may connect.
    ///
    /// # Errors
    /// Another driver lives in the directory, options contradict, or the system refuses.
    pub fn launch(config: Config) -> Result<Self, DriverStartError> {
        Self::launch_on(config, &os::ports(None)?)
    }

    /// The same on ports of the caller's.
    ///
    /// # Errors
    /// As [`Driver::launch`].
    pub fn launch_on(config: Config, ports: &Ports) -> Result<Self, DriverStartError> {
        let spread = spread(&config.agents.threading_mode)?;
        let directory = config.directory.path.clone();
        let agents = driver::launch(config, ports, os::clock::now())?;
        let mut driver = Self { directory, threads: Vec::new() };
        for (agent, idle) in spread(agents) {
            let network = Arc::clone(&ports.network);
            driver.threads.push(AgentThread::spawn(agent, idle, network)?);
        }
        Ok(driver)
    }

    /// Its directory, by which clients find it.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether all its threads run. If not, [`Driver::close`] tells why.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.threads.iter().all(|thread| !thread.is_finished())
    }

    /// Ends its threads in order.
    ///
    /// # Errors
    /// Why one of them had ended before.
    pub fn close(mut self) -> Result<(), Halt> {
        self.end()
    }

    fn end(&mut self) -> Result<(), Halt> {
        let mut result = Ok(());
        for thread in self.threads.drain(..) {
            thread.stop();
            match thread.join() {
                Halt::Terminated => {}
                failed @ Halt::Failed(_) => result = Err(failed),
            }
        }
        result
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.end();
    }
}
