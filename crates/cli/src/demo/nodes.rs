//! The nodes: child processes that never outlive this one.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use coracle::cluster_control::ClusterControl;
use coracle::consensus::Toggle;
use coracle::directory::DriverDirectory;
use coracle::os::clock;
use coracle::os::process::{bind_to_parent, terminate};
use coracle::runtime::Nanos;

use super::place::Place;
use super::script::MEMBERS;
use super::status::Status;

/// Ports of a member: for clients, for members, for the log, for the archive.
const PORTS_EACH: usize = 4;
/// Ports of all members.
pub(crate) const PORTS: usize = MEMBERS * PORTS_EACH;
/// The cluster that nodes belong to unless they are told another.
const CLUSTER_ID: i32 = 0;
/// Length of all terms: a second or two of the stream.
const TERM_LENGTH: &str = "1m";
/// How long nodes may take to end when asked.
const END: Nanos = Nanos::from_secs(5);
/// How many of its last lines tell why a node ended.
const LAST_LINES: usize = 20;
/// Everything stays on this host.
pub(crate) const HOST: &str = "127.0.0.1";

/// A node ended though nobody asked it to.
#[derive(Debug, thiserror::Error)]
#[error("member {member} ended by itself, {status}; its last words:\n{last_words}")]
pub(crate) struct Ended {
    member: usize,
    status: ExitStatus,
    last_words: String,
}

/// The nodes of the cluster. Dropping it kills them.
pub(crate) struct Nodes {
    program: PathBuf,
    members: String,
    nodes: [Node; MEMBERS],
}

struct Node {
    id: usize,
    /// How many times it was started.
    runs: usize,
    /// The directory of its driver: a run has one of its own, so that nothing is read of the last.
    driver: PathBuf,
    directory: PathBuf,
    output: PathBuf,
    child: Option<Child>,
    counters: Option<DriverDirectory>,
}

impl Nodes {
    /// Three nodes that do not run yet.
    pub(crate) fn new(program: PathBuf, place: &Place, ports: &[u16]) -> Self {
        let nodes = std::array::from_fn(|id| Node {
            id,
            runs: 0,
            driver: PathBuf::new(),
            directory: place.member(id),
            output: place.output(id),
            child: None,
            counters: None,
        });
        Self { program, members: members(ports), nodes }
    }

    /// Starts a node that does not run. From the main thread: see [`bind_to_parent`].
    pub(crate) fn start(&mut self, id: usize, place: &Place) -> io::Result<()> {
        let node = &mut self.nodes[id];
        node.runs += 1;
        node.driver = place.driver(&format!("{id}-{}", node.runs));
        let output = File::options().create(true).append(true).open(&node.output)?;
        let mut command = Command::new(&self.program);
        command.args(["node", "--service", "order-book", "--members", &self.members]);
        command.args(["--term-length", TERM_LENGTH]);
        command.arg("--member-id").arg(id.to_string());
        command.arg("--directory").arg(&node.directory).arg("--aeron-directory").arg(&node.driver);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        bind_to_parent(&mut command);
        // A group of its own: an interrupt at the terminal is for the parent to handle.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        node.child = Some(command.spawn()?);
        Ok(())
    }

    /// Kills a node at once, as a crash would.
    pub(crate) fn kill(&mut self, id: usize) -> io::Result<()> {
        self.nodes[id].kill()
    }

    /// The process of a node that runs.
    pub(crate) fn process(&self, id: usize) -> Option<u32> {
        self.nodes[id].child.as_ref().map(Child::id)
    }

    /// What the counters of a node show, if it runs and shows any.
    pub(crate) fn status(&mut self, id: usize) -> Option<Status> {
        self.nodes[id].counters().map(Status::read)
    }

    /// Asks the member for a snapshot; whether it took the word.
    pub(crate) fn ask_for_snapshot(&mut self, id: usize) -> bool {
        let control = ClusterControl::open(&self.nodes[id].driver, CLUSTER_ID);
        control.and_then(|control| control.ask(Toggle::Snapshot, clock::now())).is_ok()
    }

    /// Looks whether all that were started still run.
    pub(crate) fn check(&mut self) -> Result<(), Ended> {
        for node in &mut self.nodes {
            let Some(child) = &mut node.child else { continue };
            if let Ok(Some(status)) = child.try_wait() {
                node.child = None;
                let last_words = last_lines(&node.output);
                return Err(Ended { member: node.id, status, last_words });
            }
        }
        Ok(())
    }

    /// Asks all to end, and waits for them; those that do not are killed and returned.
    pub(crate) fn end(&mut self) -> Vec<usize> {
        for node in &mut self.nodes {
            node.counters = None;
            if let Some(child) = &mut node.child {
                // One that cannot be asked is killed below.
                let _ = terminate(child);
            }
        }
        let deadline = clock::now().mono + END;
        let mut left = Vec::new();
        for node in &mut self.nodes {
            while node.is_running() && clock::now().mono < deadline {
                coracle::os::thread::sleep(Nanos::from_millis(5));
            }
            if node.is_running() {
                left.push(node.id);
            }
            let _ = node.kill();
        }
        left
    }
}

impl Node {
    fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    fn kill(&mut self) -> io::Result<()> {
        self.counters = None;
        let Some(mut child) = self.child.take() else { return Ok(()) };
        child.kill()?;
        child.wait().map(drop)
    }

    /// The counters of the present run.
    fn counters(&mut self) -> Option<&DriverDirectory> {
        self.child.as_ref()?;
        if self.counters.is_none() {
            self.counters = DriverDirectory::open(&self.driver).ok();
        }
        self.counters.as_ref()
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            // The kernel ends those that cannot be killed when this process ends.
            let _ = node.kill();
        }
    }
}

/// The members as `coracle node` takes them.
fn members(ports: &[u16]) -> String {
    let member = |(id, ports): (usize, &[u16])| match ports {
        [ingress, consensus, log, archive] => format!(
            "{id},{HOST}:{ingress},{HOST}:{consensus},{HOST}:{log},{HOST}:0,{HOST}:{archive}"
        ),
        _ => String::new(),
    };
    let members: Vec<String> = ports.chunks_exact(PORTS_EACH).enumerate().map(member).collect();
    members.join("|")
}

/// Where clients reach the members.
pub(crate) fn ingress_endpoints(ports: &[u16]) -> String {
    let first = ports.iter().step_by(PORTS_EACH).enumerate();
    let endpoints: Vec<String> = first.map(|(id, port)| format!("{id}={HOST}:{port}")).collect();
    endpoints.join(",")
}

fn last_lines(path: &Path) -> String {
    let Ok(bytes) = std::fs::read(path) else { return "  (nothing)".into() };
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LAST_LINES);
    let shown: Vec<String> = lines[from..].iter().map(|line| format!("  {line}")).collect();
    if shown.is_empty() { "  (nothing)".into() } else { shown.join("\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_ends_by_itself_is_told_with_its_last_words() {
        let place = Place::make("nodes", false).unwrap();
        let ports: Vec<u16> = (20_000..20_012).collect();
        // Any program that says something of its arguments and ends.
        let mut nodes = Nodes::new("echo".into(), &place, &ports);
        nodes.check().unwrap();
        nodes.start(1, &place).unwrap();
        let ended = loop {
            if let Err(ended) = nodes.check() {
                break ended.to_string();
            }
        };
        assert!(ended.starts_with("member 1 ended by itself, exit status: 0; "), "{ended}");
        assert!(ended.contains("  node --service order-book --members 0,127.0.0.1:20000,"));
        assert!(ended.contains("--member-id 1 --directory "), "{ended}");
        assert_eq!((nodes.process(1), nodes.end()), (None, vec![]));
    }

    #[test]
    fn members_and_endpoints_are_spelt_as_nodes_and_clients_take_them() {
        let ports: Vec<u16> = (1..=12).collect();
        let members = members(&ports);
        let first = "0,127.0.0.1:1,127.0.0.1:2,127.0.0.1:3,127.0.0.1:0,127.0.0.1:4|1,127.0.0.1:5,";
        assert!(members.starts_with(first), "{members}");
        assert_eq!(members.split('|').count(), 3);
        assert_eq!(ingress_endpoints(&ports), "0=127.0.0.1:1,1=127.0.0.1:5,2=127.0.0.1:9");
    }
}
