//! The nodes: child processes that never outlive this one, and what their counters show.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use coracle::cluster::counters::Gauge;
use coracle::cluster_control::ClusterControl;
use coracle::consensus::{ElectionState, ModuleState, Role, Toggle};
use coracle::directory::DriverDirectory;
use coracle::os::clock;
use coracle::os::process::bind_to_parent;
use order_book::service::{GAUGE_TYPE, GAUGES};

use crate::network::{MEMBERS, Network, run};

/// Ports of a member: for clients, for members, for the log, for the archive.
const PORTS: [u16; 4] = [20_110, 20_220, 20_330, 20_440];

/// A member at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    role: i64,
    state: i64,
    election: i64,
    /// The leadership term.
    pub(crate) term: i64,
    /// Hash of its book.
    pub(crate) hash: Option<i64>,
    /// Commands executed.
    pub(crate) executed: i64,
    /// Commands that were executed twice, by its own account.
    pub(crate) doubled: i64,
    /// The position of the log that its book is at.
    pub(crate) position: i64,
}

impl Status {
    fn read(directory: &DriverDirectory) -> Self {
        let mut status = Self::default();
        for record in directory.counters().records() {
            let (type_id, value) = (record.type_id, record.value);
            match usize::try_from(type_id.0 - GAUGE_TYPE).ok().filter(|at| *at < GAUGES.len()) {
                Some(0) => status.hash = Some(value),
                Some(1) => status.executed = value,
                Some(2) => status.doubled = value,
                Some(7) => status.position = value,
                Some(_) => {}
                None => match Gauge::ALL.into_iter().find(|gauge| gauge.type_id() == type_id) {
                    Some(Gauge::ModuleState) => status.state = value,
                    Some(Gauge::NodeRole) => status.role = value,
                    Some(Gauge::ElectionState) => status.election = value,
                    Some(Gauge::LeadershipTermId) => status.term = value,
                    Some(_) | None => {}
                },
            }
        }
        status
    }

    /// Whether it follows or leads, with its election over.
    pub(crate) fn is_in_service(&self) -> bool {
        self.state == ModuleState::Active as i64
            && self.election == ElectionState::Closed as i64
            && self.hash.is_some()
    }

    /// Whether it leads, and its election is over.
    pub(crate) fn is_leading(&self) -> bool {
        self.is_in_service() && self.role == Role::Leader as i64
    }
}

struct Node {
    runs: usize,
    child: Option<Child>,
    driver: PathBuf,
    counters: Option<DriverDirectory>,
}

/// The nodes of the cluster. Dropping it kills them.
pub(crate) struct Nodes {
    program: PathBuf,
    members: String,
    spaces: Vec<String>,
    disk: PathBuf,
    memory: PathBuf,
    nodes: Vec<Node>,
}

impl Nodes {
    /// Nodes that do not run yet.
    pub(crate) fn new(program: PathBuf, network: &Network, disk: &Path, memory: &Path) -> Self {
        let member = |id: usize| {
            let at = network.address(id);
            let [ingress, consensus, log, archive] = PORTS;
            format!("{id},{at}:{ingress},{at}:{consensus},{at}:{log},{at}:0,{at}:{archive}")
        };
        let node = |_| Node { runs: 0, child: None, driver: PathBuf::new(), counters: None };
        Self {
            program,
            members: (0..MEMBERS).map(member).collect::<Vec<_>>().join("|"),
            spaces: (0..MEMBERS).map(|id| network.space(id)).collect(),
            disk: disk.to_path_buf(),
            memory: memory.to_path_buf(),
            nodes: (0..MEMBERS).map(node).collect(),
        }
    }

    /// Where clients reach the members.
    pub(crate) fn endpoints(network: &Network) -> String {
        let of = |id| format!("{id}={}:{}", network.address(id), PORTS[0]);
        (0..MEMBERS).map(of).collect::<Vec<_>>().join(",")
    }

    /// Starts a node that does not run. From the main thread: see [`bind_to_parent`].
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn start(&mut self, id: usize) -> Result<(), String> {
        let node = &mut self.nodes[id];
        node.runs += 1;
        node.driver = self.memory.join(format!("driver-{id}-{}", node.runs));
        let output = self.disk.join(format!("member-{id}.txt"));
        let output = File::options().create(true).append(true).open(output);
        let output = output.map_err(|error| error.to_string())?;
        let errors = output.try_clone().map_err(|error| error.to_string())?;
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.spaces[id]]).arg(&self.program);
        command.args(["node", "--service", "order-book", "--members", &self.members]);
        command.args(["--term-length", "1m", "--member-id", &id.to_string(), "--directory"]);
        command.arg(self.disk.join(format!("member-{id}")));
        command.arg("--aeron-directory").arg(&node.driver);
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        bind_to_parent(&mut command);
        node.child = Some(command.spawn().map_err(|error| error.to_string())?);
        Ok(())
    }

    /// Kills a node at once, as a crash would.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn kill(&mut self, id: usize) -> Result<(), String> {
        let node = &mut self.nodes[id];
        node.counters = None;
        let Some(mut child) = node.child.take() else { return Ok(()) };
        child.kill().and_then(|()| child.wait()).map_err(|error| error.to_string())?;
        // Nobody maps it any more.
        let _ = std::fs::remove_dir_all(&node.driver);
        Ok(())
    }

    /// Stops a node in its tracks, or lets it go on.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn freeze(&mut self, id: usize, is_frozen: bool) -> Result<(), String> {
        let Some(child) = &self.nodes[id].child else { return Ok(()) };
        let signal = if is_frozen { "-STOP" } else { "-CONT" };
        run(&["kill", signal, &child.id().to_string()])
    }

    /// Whether it was started, and not killed since.
    pub(crate) fn is_running(&self, id: usize) -> bool {
        self.nodes[id].child.is_some()
    }

    /// What the counters of a node show, if it runs and shows any.
    pub(crate) fn status(&mut self, id: usize) -> Option<Status> {
        let node = &mut self.nodes[id];
        node.child.as_ref()?;
        if node.counters.is_none() {
            node.counters = DriverDirectory::open(&node.driver).ok();
        }
        node.counters.as_ref().map(Status::read)
    }

    /// Asks the member for a snapshot; whether it took the word.
    pub(crate) fn ask_for_snapshot(&self, id: usize) -> bool {
        let control = ClusterControl::open(&self.nodes[id].driver, 0);
        control.and_then(|control| control.ask(Toggle::Snapshot, clock::now())).is_ok()
    }

    /// Looks whether all that were started still run.
    ///
    /// # Errors
    /// One ended by itself; with its last words.
    pub(crate) fn check(&mut self) -> Result<(), String> {
        for (id, node) in self.nodes.iter_mut().enumerate() {
            let Some(child) = &mut node.child else { continue };
            if let Ok(Some(status)) = child.try_wait() {
                node.child = None;
                let path = self.disk.join(format!("member-{id}.txt"));
                let words = std::fs::read(path).unwrap_or_default();
                let words = String::from_utf8_lossy(&words);
                let lines: Vec<&str> = words.lines().collect();
                let last = lines[lines.len().saturating_sub(20)..].join("\n  ");
                return Err(format!("member {id} ended by itself, {status}:\n  {last}"));
            }
        }
        Ok(())
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for id in 0..self.nodes.len() {
            let _ = self.kill(id);
        }
    }
}
