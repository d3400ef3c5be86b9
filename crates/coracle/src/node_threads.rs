//! [`Node`]: a whole node of a cluster, on one thread or on several.

#![allow(clippy::print_stderr)] // For the main of a program.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cluster::authentication::{AcceptAll, Authenticator};
use cluster_service::ClusteredService;
use driver::config::AgentConfig;
use node::{Config, Idle, LaunchError, NodeAgents, Threads};
use os::thread::AgentThread;
use runtime::idle::IdleStrategy;
use runtime::{Agent, Halt, Nanos, Ports};

use crate::driver_threads::{DriverStartError, Spread, spread};
use crate::node_options::NodeOptions;

/// How often to look whether a node has ended.
const INTERVAL: Nanos = Nanos::from_millis(20);

/// Why there is no node.
#[derive(Debug, thiserror::Error)]
pub enum NodeStartError {
    /// The system gives no randomness, no sockets or no thread.
    #[error("node cannot start: {0}")]
    System(#[from] io::Error),
    /// See [`LaunchError`].
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The driver's agents cannot be spread as its options say.
    #[error(transparent)]
    Driver(#[from] DriverStartError),
}

/// What a thread steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// All of it, or module and services: its orderly end is the node's.
    Cluster,
    Archive,
    Driver,
}

/// A running node: driver, archive, consensus module and services.
///
/// It ends when the cluster is shut down, when a part fails, or when it is closed or dropped.
pub struct Node {
    directory: PathBuf,
    /// They end in this order.
    threads: Vec<(Role, AgentThread)>,
}

impl Node {
    /// Starts a node that lets every client in.
    ///
    /// # Errors
    /// See [`NodeStartError`].
    pub fn launch(
        config: Config,
        services: Vec<Box<dyn ClusteredService>>,
    ) -> Result<Self, NodeStartError> {
        Self::launch_on(config, services, Box::new(AcceptAll), &os::ports(None)?)
    }

    /// The same on ports of the caller's, and with somebody who decides on sessions.
    ///
    /// # Errors
    /// As [`Node::launch`].
    pub fn launch_on(
        config: Config,
        services: Vec<Box<dyn ClusteredService>>,
        authenticator: Box<dyn Authenticator>,
        ports: &Ports,
    ) -> Result<Self, NodeStartError> {
        let (threads, idle) = (config.threads, config.idle);
        let options = config.driver.agents.clone();
        let directory = config.driver.directory.path.clone();
        let spread = spread(&options.threading_mode)?;
        let agents = node::launch(config, services, authenticator, ports, os::clock::now())?;
        let mut node = Self { directory, threads: Vec::new() };
        for (role, agent, strategy) in threads_of(agents, (threads, idle), (spread, &options)) {
            let thread = AgentThread::spawn(agent, strategy, Arc::clone(&ports.network))?;
            node.threads.push((role, thread));
        }
        Ok(node)
    }

    /// Directory of its driver, by which clients on this host find it.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether all of it runs. If not, [`Node::close`] tells why.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.threads.iter().all(|(_, thread)| !thread.is_finished())
    }

    /// Blocks until the cluster is shut down.
    ///
    /// # Errors
    /// A part of the node failed: which, and why.
    pub fn wait(self) -> Result<(), Halt> {
        self.wait_unless(&AtomicBool::new(false))
    }

    /// Blocks until the cluster is shut down, or `stop` is set; closes the node then.
    ///
    /// # Errors
    /// A part of the node failed: which, and why.
    pub fn wait_unless(self, stop: &AtomicBool) -> Result<(), Halt> {
        // Acquire: pairs with the store of whoever wants the end, such as a signal handler.
        while !stop.load(Ordering::Acquire) && self.is_running() {
            os::thread::sleep(INTERVAL);
        }
        self.close()
    }

    /// Ends it in order: services, module, archive, driver. The other members go on without it.
    ///
    /// # Errors
    /// Why it had ended before, if that was not in order.
    pub fn close(mut self) -> Result<(), Halt> {
        self.end()
    }

    fn end(&mut self) -> Result<(), Halt> {
        let mut result = Ok(());
        for (role, thread) in self.threads.drain(..) {
            let is_early = thread.is_finished();
            thread.stop();
            // The part that stands below the others is the cause of their ends too: last counts.
            match (role, thread.join()) {
                (Role::Cluster, failed @ Halt::Failed(_)) => result = Err(failed),
                (_, Halt::Terminated) if role == Role::Cluster || !is_early => {}
                (_, halt) => {
                    let name = if role == Role::Archive { "archive" } else { "driver" };
                    let text = match halt {
                        Halt::Terminated => format!("{name} ended before the node"),
                        Halt::Failed(cause) => format!("{name}: {cause}"),
                    };
                    result = Err(Halt::Failed(text));
                }
            }
        }
        result
    }
}

/// What each thread steps and how it idles, in the order in which they end.
fn threads_of(
    agents: NodeAgents,
    (threads, idle): (Threads, Idle),
    (spread, options): (Spread, &AgentConfig),
) -> Vec<(Role, Box<dyn Agent>, IdleStrategy)> {
    if threads == Threads::Shared {
        return vec![(Role::Cluster, Box::new(agents.together()), idle.strategy(true))];
    }
    let apart = agents.apart();
    let mut all: Vec<(Role, Box<dyn Agent>, IdleStrategy)> = vec![
        (Role::Cluster, Box::new(apart.cluster), idle.strategy(false)),
        (Role::Archive, Box::new(apart.archive), idle.strategy(false)),
    ];
    for (agent, usual) in spread(apart.driver, options) {
        let strategy = if idle == Idle::Wait { usual } else { idle.strategy(true) };
        all.push((Role::Driver, agent, strategy));
    }
    all
}

/// The `main` of a program that runs one service: `PROGRAM FILE.toml [NAME=VALUE ...]`.
///
/// The file is described in docs/node.md; further arguments are options of any part. Runs until
/// the cluster is shut down, or SIGINT or SIGTERM comes; tells on standard error what went wrong.
pub fn run_service(service: impl FnOnce() -> Box<dyn ClusteredService>) -> ExitCode {
    let run = || -> Result<(), Box<dyn std::error::Error>> {
        let mut arguments = std::env::args().skip(1);
        let path = arguments.next().ok_or("give a file: FILE.toml [NAME=VALUE ...]")?;
        let mut options = NodeOptions::read(Path::new(&path))?;
        arguments.try_for_each(|argument| options.add_property(&argument))?;
        let (config, remark) = options.config()?;
        if let Some(remark) = remark {
            eprintln!("driver on disk: {remark}");
        }
        let stop = os::signal::termination()?;
        Ok(Node::launch(config, vec![service()])?.wait_unless(&stop)?)
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.end();
    }
}
