//! [`Driver`]: a media driver on threads of its own.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use driver::config::AgentConfig;
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
pub(crate) type Spread = fn(DriverAgents, &AgentConfig) -> Vec<(Box<dyn Agent>, IdleStrategy)>;

/// The spread that a threading mode stands for.
pub(crate) fn spread(mode: &str) -> Result<Spread, DriverStartError> {
    Ok(match mode {
        "SHARED" => |agents, config| vec![(Box::new(agents.together()), config.shared_idle)],
        "SHARED_NETWORK" => |agents, config| {
            let (conductor, network) = agents.network_together();
            vec![
                (Box::new(network), config.shared_network_idle),
                (conductor, config.conductor_idle),
            ]
        },
        "DEDICATED" => |agents, config| {
            vec![
                (agents.receiver, config.receiver_idle),
                (agents.sender, config.sender_idle),
                (agents.conductor, config.conductor_idle),
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
        let options = config.agents.clone();
        let spread = spread(&options.threading_mode)?;
        let directory = config.directory.path.clone();
        let agents = driver::launch(config, ports, os::clock::now())?;
        let mut driver = Self { directory, threads: Vec::new() };
        for (agent, idle) in spread(agents, &options) {
            let network = Arc::clone(&ports.network);
            driver.threads.push(AgentThread::spawn(agent, idle.giving_way(), network)?);
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

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::{Now, Work};

    struct Named(&'static str);

    impl Agent for Named {
        fn name(&self) -> &str {
            self.0
        }

        fn do_work(&mut self, _now: Now) -> Result<Work, Halt> {
            Ok(Work::NONE)
        }
    }

    fn threads(mode: &str, options: &AgentConfig) -> Vec<(String, IdleStrategy)> {
        let agents = DriverAgents {
            conductor: Box::new(Named("conductor")),
            sender: Box::new(Named("sender")),
            receiver: Box::new(Named("receiver")),
        };
        let threads = spread(mode).unwrap()(agents, options);
        threads.into_iter().map(|(agent, idle)| (agent.name().to_string(), idle)).collect()
    }

    #[test]
    fn each_thread_idles_as_the_option_of_its_agents_says() {
        let mut options = AgentConfig::default();
        for (name, word) in [
            ("shared", "spin"),
            ("sharednetwork", "yield"),
            ("conductor", "backoff"),
            ("sender", "noop"),
            ("receiver", "wait"),
        ] {
            options.set(&format!("aeron.{name}.idle.strategy"), word).unwrap();
        }
        let thread = |name: &str, idle| (name.to_string(), idle);
        let conductor = thread("conductor", IdleStrategy::BACKOFF);
        assert_eq!(threads("SHARED", &options), [thread("driver", IdleStrategy::Spin)]);
        let network = thread("sender-receiver", IdleStrategy::Yield);
        assert_eq!(threads("SHARED_NETWORK", &options), [network, conductor.clone()]);
        let receiver = thread("receiver", IdleStrategy::WAIT);
        let sender = thread("sender", IdleStrategy::Spin);
        assert_eq!(threads("DEDICATED", &options), [receiver, sender, conductor]);
        assert!(spread("INVOKER").is_err());
    }
}
