//! A member of the cluster: driver, archive, consensus module and service, one process.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use archive::checksum::Checksum;
use cluster::ConsensusModule;
use cluster::authentication::AcceptAll;
use cluster_service::{ClusteredService, Container};
use consensus::{Counters, ElectionState, ModuleState, Rules};
use memory::buffer::AtomicBuffer;
use memory::error_log::read_errors;
use runtime::agent::Together;
use runtime::{Agent, Halt, Nanos, Now, Ports, Work};

use wire::cluster::mark::{ERROR_LOG_OFFSET, MARK_FILE_NAME};

use super::oracle::Oracle;
use super::plan::Plan;
use super::second::Second;
use super::service::Chain;
use crate::lock;

/// Where every driver lives on its host.
pub(super) const DRIVER_DIRECTORY: &str = "/dev/shm/driver";
/// Where every archive keeps its recordings.
pub(super) const ARCHIVE_DIRECTORY: &str = "/archive";
/// Where every member keeps what it must remember.
pub(super) const CLUSTER_DIRECTORY: &str = "/cluster";
/// Bytes of a term of the log.
pub(super) const TERM_LENGTH: i32 = 64 << 10;
/// Bytes of a segment file.
pub(super) const SEGMENT_LENGTH: i32 = 128 << 10;

/// What is seen of a member's core after each pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct View {
    pub(super) is_leading: bool,
    /// Whether it has read its log and its snapshot, and its services have started.
    pub(super) is_recovered: bool,
    pub(super) election: ElectionState,
    pub(super) term: i64,
    pub(super) commit: i64,
    pub(super) append: i64,
    /// It lost a part of its log and has not regained it.
    pub(super) is_lossy: bool,
    pub(super) counters: Counters,
}

impl Default for View {
    /// Nothing is seen while there is no core.
    fn default() -> Self {
        Self {
            is_leading: false,
            is_recovered: false,
            election: ElectionState::Init,
            term: -1,
            commit: 0,
            append: 0,
            is_lossy: false,
            counters: Counters::default(),
        }
    }
}

impl View {
    /// No election is under way.
    pub(super) fn is_settled(&self) -> bool {
        self.election == ElectionState::Closed
    }
}

/// The consensus module, and who looks over its shoulder.
struct Watched {
    module: ConsensusModule,
    view: Arc<Mutex<View>>,
}

impl Agent for Watched {
    fn name(&self) -> &str {
        self.module.name()
    }

    fn on_start(&mut self, now: Now) -> Result<(), Halt> {
        self.module.on_start(now)
    }

    fn do_work(&mut self, now: Now) -> Result<Work, Halt> {
        let work = self.module.do_work(now);
        if let Some(core) = self.module.core() {
            *lock(&self.view) = View {
                is_leading: core.is_leading(),
                is_recovered: core.module_state() != ModuleState::Init,
                election: core.election_state(),
                term: core.leadership_term_id().0,
                commit: core.commit_position().0,
                append: core.append_position().0,
                is_lossy: core.loss().is_some(),
                counters: core.counters(),
            };
        }
        work
    }

    fn on_close(&mut self, now: Now) {
        self.module.on_close(now);
    }
}

/// Launches a member; returns its agents, to be stepped as one process.
///
/// # Errors
/// What refused to start, and why.
pub(super) fn node(
    plan: &Plan,
    member: usize,
    rules: Rules,
    (view, oracle): (Arc<Mutex<View>>, Arc<Mutex<Oracle>>),
    ports: &Ports,
    now: Now,
) -> Result<Vec<Box<dyn Agent>>, String> {
    let driver = driver::launch(driver_config(), ports, now);
    let driver = driver.map_err(|error| format!("driver: {error}"))?;
    let allow = Box::new(archive::AllowAll);
    let archive = archive::launch(archive_config(plan, member), client_config(), allow, ports, now);
    let archive = archive.map_err(|error| format!("archive: {error}"))?;
    let mut config = module_config(plan, member);
    config.rules = rules;
    let archive_client = archive_client::Config {
        control_channel: "aeron:ipc".to_string(),
        response_channel: "aeron:ipc".to_string(),
        ..archive_client::Config::default()
    };
    let module =
        cluster::launch(config, client_config(), archive_client, Box::new(AcceptAll), ports, now);
    let module = module.map_err(|error| format!("module: {error}"))?;
    let mut agents: Vec<Box<dyn Agent>> =
        vec![Box::new(driver.together()), Box::new(archive), Box::new(Watched { module, view })];
    for id in 0..plan.services {
        let service: Box<dyn ClusteredService> = match id {
            0 => Box::new(Chain::new(member, Arc::clone(&oracle))),
            _ => Box::new(Second::new(member, Arc::clone(&oracle))),
        };
        let container = Container::launch(service_config(id), client_config(), service, ports, now);
        agents.push(Box::new(container.map_err(|error| format!("container {id}: {error}"))?));
    }
    Ok(agents)
}

/// What a second process takes hold of that a member has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Intrusion {
    /// All of it.
    Node,
    /// The archive's directory, with a driver of its own.
    Archive,
    /// The cluster's directory, with driver and archive of its own.
    Module,
}

/// Where an intruder has what is its own.
const ELSEWHERE: [&str; 2] = ["/dev/shm/intruder", "/intruder"];

impl Intrusion {
    pub(super) const ALL: [Self; 3] = [Self::Node, Self::Archive, Self::Module];

    /// Why the second process was not let in; `None` when it was.
    pub(super) fn refusal(
        self,
        plan: &Plan,
        member: usize,
        ports: &Ports,
        now: Now,
    ) -> Option<String> {
        let [driver_directory, archive_directory] = ELSEWHERE;
        let mut driver_config = driver_config();
        let mut client_config = client_config();
        let mut archive_config = archive_config(plan, member);
        if self != Self::Node {
            driver_config.directory.path = PathBuf::from(driver_directory);
            client_config.directory = PathBuf::from(driver_directory);
        }
        if self == Self::Module {
            archive_config.storage.directory = PathBuf::from(archive_directory);
        }
        let driver = match driver::launch(driver_config, ports, now) {
            Ok(driver) => driver,
            Err(error) => return Some(error.to_string()),
        };
        let allow = Box::new(archive::AllowAll);
        let archive = archive::launch(archive_config, client_config.clone(), allow, ports, now);
        let archive = match archive {
            Ok(archive) => archive,
            Err(error) => return Some(error.to_string()),
        };
        let config = module_config(plan, member);
        let answers = archive_client::Config::default();
        let module =
            cluster::launch(config, client_config, answers, Box::new(AcceptAll), ports, now);
        drop((driver, archive));
        module.err().map(|error| error.to_string())
    }
}

/// The same, stepped in one order as by one thread.
pub(super) fn one_thread(agents: Vec<Box<dyn Agent>>) -> Vec<Box<dyn Agent>> {
    vec![Box::new(Together::new("node", agents))]
}

/// Small buffers, otherwise the defaults.
pub(super) fn driver_config() -> driver::Config {
    let mut config = driver::Config::at(DRIVER_DIRECTORY);
    config.buffers.to_driver_length = (64 << 10) + 768;
    config.buffers.to_clients_length = (64 << 10) + 128;
    config.buffers.counters_values_length = 128 << 10;
    config.buffers.error_log_length = 64 << 10;
    config.buffers.loss_report_length = 16 << 10;
    config.terms.term_length = TERM_LENGTH;
    config.terms.ipc_term_length = TERM_LENGTH;
    config.timeouts.publication_linger = Nanos::from_millis(500);
    config
}

/// A client of the host's driver.
pub(super) fn client_config() -> client::Config {
    client::Config {
        directory: PathBuf::from(DRIVER_DIRECTORY),
        resource_linger: Nanos::from_millis(500),
        ..client::Config::default()
    }
}

fn archive_config(plan: &Plan, member: usize) -> archive::Config {
    let mut config = archive::Config::default();
    config.storage.directory = PathBuf::from(ARCHIVE_DIRECTORY);
    config.storage.segment_file_length = SEGMENT_LENGTH;
    config.storage.file_io_max_length = 64 << 10;
    config.storage.catalog_capacity = 64 << 10;
    config.storage.low_storage_space_threshold = 1 << 20;
    config.storage.file_sync_level = plan.sync;
    config.storage.catalog_file_sync_level = plan.sync;
    if plan.checksums {
        config.storage.record_checksum = Some(Checksum::Crc32c);
        config.storage.replay_checksum = Some(Checksum::Crc32c);
        config.storage.guards = plan.has_guards();
    }
    config.control.channel = format!("aeron:udp?endpoint={}", plan.endpoint(member, 4));
    let address = Plan::address(member);
    config.control.replication_channel = format!("aeron:udp?endpoint={address}:0");
    config
}

/// Without a word of its leader for how long a member calls an election.
pub(super) fn leader_timeout() -> Nanos {
    cluster::config::Config::fast().timeouts.leader_heartbeat_timeout
}

fn module_config(plan: &Plan, member: usize) -> cluster::config::Config {
    let mut config = cluster::config::Config::fast();
    config.member.member_id = i32::try_from(member).unwrap_or_default();
    config.member.members = plan.members_text();
    config.member.directory = PathBuf::from(CLUSTER_DIRECTORY);
    config.member.guards = plan.has_guards();
    config.channels.ingress_channel = "aeron:udp".to_string();
    config.channels.log_channel = plan.log_channel(member).to_string();
    config.member.service_count = i32::try_from(plan.services).unwrap_or(1);
    let address = Plan::address(member);
    config.channels.replication_channel = format!("aeron:udp?endpoint={address}:0");
    config.limits.max_sessions = 64;
    config.timeouts.session_timeout = Nanos::from_secs(5);
    config
}

/// What a member has put down in the error log of its module, a line each.
pub(super) fn errors(ports: &Ports) -> String {
    let path = Path::new(CLUSTER_DIRECTORY).join(MARK_FILE_NAME);
    let Ok(mapping) = ports.files.map(&path) else { return String::new() };
    let buffer = AtomicBuffer::new(mapping.region().clone());
    let errors = buffer.slice(ERROR_LOG_OFFSET, buffer.length() - ERROR_LOG_OFFSET);
    read_errors(&errors).map(|error| error.text + "\n").collect()
}

fn service_config(id: usize) -> cluster_service::Config {
    cluster_service::Config {
        service_id: i32::try_from(id).unwrap_or_default(),
        directory: PathBuf::from(CLUSTER_DIRECTORY),
        error_buffer_length: 64 << 10,
        ..cluster_service::Config::default()
    }
}
