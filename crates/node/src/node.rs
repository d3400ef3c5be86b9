//! The parts of a node: made, stepped together or apart, ended in order.
//!
//! ```text
//! launch:  driver -> archive -> consensus module -> containers       close: the other way round
//! ```
//!
//! The end of any part ends the node. In order only if it is the module's that has ended: the
//! cluster was shut down. A container that ended in order leaves the module some time to follow.

use archive::AllowAll;
use cluster::ConsensusModule;
use cluster::authentication::Authenticator;
use cluster_service::{ClusteredService, Container, MarkFileError};
use driver::DriverAgents;
use runtime::{Agent, Halt, Nanos, Now, Ports, Work};

use crate::config::Config;

/// Passes of the driver that bring out what the other parts said last.
const LAST_PASSES: usize = 64;

/// Why a node was not launched. What was launched by then has been closed.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// As many services must be given as are configured.
    #[error("{given} services are given, {configured} are configured")]
    Services {
        /// How many are given.
        given: usize,
        /// How many the options are for.
        configured: usize,
    },
    /// The media driver was not.
    #[error("driver: {0}")]
    Driver(#[from] driver::LaunchError),
    /// The archive was not.
    #[error("archive: {0}")]
    Archive(#[from] archive::LaunchError),
    /// The consensus module was not.
    #[error("consensus module: {0}")]
    Module(#[from] cluster::LaunchError),
    /// The container of a service was not.
    #[error("service {service_id}: {cause}")]
    Container {
        /// The service.
        service_id: i32,
        /// Why.
        cause: MarkFileError,
    },
}

/// The agents of a node, to be run on one thread or on several.
pub struct NodeAgents {
    /// The media driver's.
    pub driver: DriverAgents,
    /// The archive.
    pub archive: archive::Archive,
    /// The consensus module.
    pub module: ConsensusModule,
    /// The services, each in its container.
    pub containers: Vec<Container>,
    ending_timeout: Nanos,
}

/// The agents of a node for three threads or more.
pub struct Apart {
    /// Module and containers: the end of this one is the node's.
    pub cluster: Node,
    /// The archive: to be closed after the above.
    pub archive: archive::Archive,
    /// The media driver's: to be closed last.
    pub driver: DriverAgents,
}

/// Makes the parts of a node, of which each has its own client of the driver.
///
/// Blocks on files, in proportion to what an earlier life left; the agents do not.
///
/// # Errors
/// See [`LaunchError`].
pub fn launch(
    config: Config,
    services: Vec<Box<dyn ClusteredService>>,
    authenticator: Box<dyn Authenticator>,
    ports: &Ports,
    now: Now,
) -> Result<NodeAgents, LaunchError> {
    let (given, configured) = (services.len(), config.services.len());
    let counted = usize::try_from(config.cluster.member.service_count);
    if given != configured || counted != Ok(given) {
        return Err(LaunchError::Services { given, configured });
    }
    let ending_timeout = config.cluster.timeouts.termination_timeout;
    let client = |name: &str| client::Config { name: name.to_string(), ..config.client.clone() };
    let (archive_client, module_client) = (client("archive"), client("consensus module"));
    let mut driver = driver::launch(config.driver, ports, now)?;
    let archive = archive::launch(config.archive, archive_client, Box::new(AllowAll), ports, now);
    let mut archive = archive.inspect_err(|_| close_driver(&mut driver, now))?;
    let module = cluster::launch(
        config.cluster,
        module_client,
        config.archive_client,
        authenticator,
        ports,
        now,
    );
    let mut module = module.inspect_err(|_| {
        archive.on_close(now);
        close_driver(&mut driver, now);
    })?;
    let mut containers = Vec::new();
    for (service_config, service) in config.services.into_iter().zip(services) {
        let service_id = service_config.service_id;
        let client = config.client.clone();
        match Container::launch(service_config, client, service, ports, now) {
            Ok(container) => containers.push(container),
            Err(cause) => {
                close_all(&mut containers, now);
                module.on_close(now);
                archive.on_close(now);
                close_driver(&mut driver, now);
                return Err(LaunchError::Container { service_id, cause });
            }
        }
    }
    Ok(NodeAgents { driver, archive, module, containers, ending_timeout })
}

fn close_all(containers: &mut [Container], now: Now) {
    containers.iter_mut().rev().for_each(|container| container.on_close(now));
}

fn close_driver(driver: &mut DriverAgents, now: Now) {
    for agent in [&mut driver.conductor, &mut driver.receiver, &mut driver.sender] {
        agent.on_close(now);
    }
}

impl NodeAgents {
    /// The whole node as one agent: the shape for few cores, and the one to simulate.
    #[must_use]
    pub fn together(self) -> Node {
        let driver = Part::new(Role::Driver, self.driver.together());
        let archive = Part::new(Role::Archive, self.archive);
        let mut parts = vec![driver, archive, Part::new(Role::Module, self.module)];
        parts.extend(self.containers.into_iter().map(|it| Part::new(Role::Container, it)));
        Node::new("node", parts, self.ending_timeout)
    }

    /// The node for several threads. All of them must be ended when one has.
    #[must_use]
    pub fn apart(self) -> Apart {
        let mut parts = vec![Part::new(Role::Module, self.module)];
        parts.extend(self.containers.into_iter().map(|it| Part::new(Role::Container, it)));
        let cluster = Node::new("cluster", parts, self.ending_timeout);
        Apart { cluster, archive: self.archive, driver: self.driver }
    }
}

/// What a part is to the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Driver,
    Archive,
    Module,
    Container,
}

struct Part {
    role: Role,
    agent: Box<dyn Agent>,
    is_over: bool,
}

impl Part {
    fn new(role: Role, agent: impl Agent + 'static) -> Self {
        Self { role, agent: Box::new(agent), is_over: false }
    }

    fn title(&self) -> String {
        match self.role {
            Role::Driver => "driver".to_string(),
            Role::Archive => "archive".to_string(),
            Role::Module => "consensus module".to_string(),
            Role::Container => format!("service {}", self.agent.name()),
        }
    }
}

/// A node, or module and services of one, as one agent.
///
/// It ends with [`Halt::Terminated`] when the cluster was shut down, and with the name of the part
/// and its cause when one of them could not go on.
pub struct Node {
    name: &'static str,
    /// In the order of their launch.
    parts: Vec<Part>,
    ending_timeout: Nanos,
    /// By when the module must follow a container that has ended.
    deadline: Nanos,
}

impl Node {
    fn new(name: &'static str, parts: Vec<Part>, ending_timeout: Nanos) -> Self {
        Self { name, parts, ending_timeout, deadline: Nanos::MAX }
    }

    /// What the end of a part is to the node: `Ok` if that goes on for now.
    fn on_halt(&mut self, index: usize, halt: Halt, now: Now) -> Result<(), Halt> {
        let Some(part) = self.parts.get_mut(index) else { return Ok(()) };
        match (part.role, halt) {
            (Role::Module, Halt::Terminated) => Err(Halt::Terminated),
            (Role::Container, Halt::Terminated) => {
                part.agent.on_close(now);
                part.is_over = true;
                self.deadline = self.deadline.min(now.mono + self.ending_timeout);
                Ok(())
            }
            (Role::Driver | Role::Archive, Halt::Terminated) => {
                Err(Halt::Failed(format!("{} ended before the node", part.title())))
            }
            (_, Halt::Failed(cause)) => Err(Halt::Failed(format!("{}: {cause}", part.title()))),
        }
    }

    fn expect_time_left(&self, now: Now) -> Result<(), Halt> {
        let ended = self.parts.iter().find(|part| part.is_over);
        match ended {
            Some(part) if now.mono >= self.deadline => {
                let title = part.title();
                Err(Halt::Failed(format!("{title} ended, but not the consensus module")))
            }
            _ => Ok(()),
        }
    }
}

impl Agent for Node {
    fn name(&self) -> &str {
        self.name
    }

    fn on_start(&mut self, now: Now) -> Result<(), Halt> {
        for index in 0..self.parts.len() {
            let started = self.parts[index].agent.on_start(now);
            started.or_else(|halt| self.on_halt(index, halt, now))?;
        }
        Ok(())
    }

    fn do_work(&mut self, now: Now) -> Result<Work, Halt> {
        let mut work = Work::NONE.due(self.deadline);
        for index in 0..self.parts.len() {
            let part = &mut self.parts[index];
            if part.is_over {
                continue;
            }
            match part.agent.do_work(now) {
                Ok(done) => work = work.and(done),
                Err(halt) => self.on_halt(index, halt, now)?,
            }
        }
        self.expect_time_left(now)?;
        Ok(work.due(self.deadline))
    }

    fn on_close(&mut self, now: Now) {
        for part in self.parts.iter_mut().rev().filter(|part| !part.is_over) {
            if part.role == Role::Driver {
                // What the others said last is still to go out: their acknowledgements.
                let mut passes = 0..LAST_PASSES;
                let mut is_busy = || part.agent.do_work(now).is_ok_and(|work| work.done > 0);
                while passes.next().is_some() && is_busy() {}
            }
            part.agent.on_close(now);
            part.is_over = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    type Log = Arc<Mutex<Vec<&'static str>>>;

    struct Scripted {
        name: &'static str,
        halt: Option<Halt>,
        log: Log,
    }

    impl Agent for Scripted {
        fn name(&self) -> &str {
            self.name
        }

        fn do_work(&mut self, _now: Now) -> Result<Work, Halt> {
            self.halt.clone().map_or(Ok(Work::NONE), Err)
        }

        fn on_close(&mut self, _now: Now) {
            self.log.lock().unwrap().push(self.name);
        }
    }

    /// A node of which this part halts in its first pass.
    fn node(halting: &str, halt: &Halt) -> (Node, Log) {
        let log = Log::default();
        let part = |role, name| {
            let halt = (name == halting).then(|| halt.clone());
            Part::new(role, Scripted { name, halt, log: Arc::clone(&log) })
        };
        let parts = vec![
            part(Role::Driver, "driver"),
            part(Role::Archive, "archive"),
            part(Role::Module, "module"),
            part(Role::Container, "one"),
            part(Role::Container, "two"),
        ];
        (Node::new("node", parts, Nanos(100)), log)
    }

    fn at(nanos: i64) -> Now {
        Now { mono: Nanos(nanos), ..Now::default() }
    }

    #[test]
    fn the_orderly_end_of_the_module_is_that_of_the_node_from_the_services_down() {
        let (mut node, log) = node("module", &Halt::Terminated);
        assert_eq!(node.do_work(at(0)), Err(Halt::Terminated));
        node.on_close(at(0));
        assert_eq!(*log.lock().unwrap(), ["two", "one", "module", "archive", "driver"]);
    }

    #[test]
    fn a_part_that_fails_is_named_with_its_cause() {
        let failed = Halt::Failed("disk full".to_string());
        for (name, expected) in [
            ("driver", "driver: disk full"),
            ("archive", "archive: disk full"),
            ("module", "consensus module: disk full"),
            ("two", "service two: disk full"),
        ] {
            let (mut node, _) = node(name, &failed);
            assert_eq!(node.do_work(at(0)), Err(Halt::Failed(expected.to_string())));
        }
        let (mut node, _) = node("archive", &Halt::Terminated);
        let expected = Halt::Failed("archive ended before the node".to_string());
        assert_eq!(node.do_work(at(0)), Err(expected));
    }

    #[test]
    fn a_service_that_ended_in_order_waits_for_the_module_but_not_for_ever() {
        let (mut node, log) = node("one", &Halt::Terminated);
        assert_eq!(node.do_work(at(0)), Ok(Work::NONE.due(Nanos(100))));
        assert_eq!(*log.lock().unwrap(), ["one"]);
        assert_eq!(node.do_work(at(99)), Ok(Work::NONE.due(Nanos(100))));
        let expected = "service one ended, but not the consensus module".to_string();
        assert_eq!(node.do_work(at(100)), Err(Halt::Failed(expected)));
        node.on_close(at(100));
        assert_eq!(*log.lock().unwrap(), ["one", "two", "module", "archive", "driver"]);
    }
}
