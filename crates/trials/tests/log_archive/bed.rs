//! A world with members: on each host a driver, an archive, and what the module does with it.

use std::net::IpAddr;
use std::path::PathBuf;

use archive_client::{ArchiveClient, NoCredentials};
use client::Client;
use cluster::config::Config;
use cluster::log_archive::LogArchive;
use consensus::{ArchiveAction, ArchiveInput, Input, Outcome};
use runtime::{Nanos, Now};
use sim::{HostId, ProcessId, World};
use wire::position::Position;

const DIRECTORY: &str = "/dev/shm/driver";

/// One member.
pub(crate) struct Node {
    pub(crate) host: HostId,
    pub(crate) archive: ProcessId,
    pub(crate) client: Client,
    pub(crate) log: LogArchive,
    /// What the core was told, but for growth.
    pub(crate) told: Vec<ArchiveInput>,
    /// Growth of the recording since the last completion.
    pub(crate) recorded: Option<Position>,
}

pub(crate) struct Bed {
    pub(crate) world: World,
    pub(crate) nodes: Vec<Node>,
}

impl Bed {
    /// Members on hosts of their own, each with an archive and no log.
    pub(crate) fn new(seed: u64, count: u8) -> Self {
        let mut world = World::new(seed);
        let members: Vec<String> = (0..count).map(member).collect();
        let members = members.join("|");
        let nodes = (0..count).map(|id| start_node(&mut world, id, &members)).collect();
        Self { world, nodes }
    }

    pub(crate) fn now(&self, node: usize) -> Now {
        self.world.now(self.nodes[node].host)
    }

    /// One millisecond of everything.
    pub(crate) fn step(&mut self) {
        for node in &mut self.nodes {
            let now = self.world.now(node.host);
            let _ = node.client.do_work(now).unwrap();
            let (told, recorded) = (&mut node.told, &mut node.recorded);
            let _ = node.log.poll(now, |input| match input {
                Input::Archive(input) => told.push(input),
                Input::Recorded(position) => *recorded = Some(position),
                other => panic!("an archive said {other:?}"),
            });
            self.world.wake(node.host);
        }
        self.world.run_for(Nanos::from_millis(1));
    }

    /// Whether it came true within fifteen seconds.
    pub(crate) fn until(&mut self, mut condition: impl FnMut(&mut Self) -> bool) -> bool {
        for _ in 0..15_000 {
            if condition(self) {
                return true;
            }
            self.step();
        }
        false
    }

    pub(crate) fn run_millis(&mut self, count: usize) {
        (0..count).for_each(|_| self.step());
    }

    /// Issues an action.
    pub(crate) fn perform(&mut self, node: usize, action: ArchiveAction) {
        let now = self.now(node);
        assert_eq!(self.nodes[node].log.perform(&action, now), Ok(Outcome::Done), "{action:?}");
    }

    /// The next thing that a core was told.
    pub(crate) fn next(&mut self, node: usize) -> ArchiveInput {
        let is_told = self.until(|bed| !bed.nodes[node].told.is_empty());
        let node = &mut self.nodes[node];
        let fault = node.log.next_fault();
        assert!(is_told, "nothing was told: {fault:?}");
        assert!(node.told[0] != ArchiveInput::Failed, "it failed: {fault:?}");
        node.told.remove(0)
    }

    /// Creates a publication that goes on at a position, and records it; returns its session.
    pub(crate) fn lead(&mut self, node: usize, position: Position) -> i32 {
        self.perform(node, ArchiveAction::CreatePublication { position });
        let ArchiveInput::PublicationReady { session_id } = self.next(node) else {
            panic!("no publication");
        };
        self.perform(node, ArchiveAction::RecordPublication);
        let told = self.next(node);
        let ArchiveInput::RecordingStarted { recording_id, position: began } = told else {
            panic!("{told:?} instead of a recording");
        };
        assert_eq!(began, position);
        assert_eq!(self.nodes[node].log.recording_id(), Some(recording_id));
        session_id
    }

    /// Appends messages; returns the position after the last one, once it is recorded here.
    pub(crate) fn append(&mut self, node: usize, count: usize) -> Position {
        let mut end = Position(0);
        for index in 0..count {
            let message = vec![u8::try_from(index % 251).unwrap(); 1_000];
            assert!(self.until(|bed| {
                let publisher = bed.nodes[node].log.publisher().unwrap();
                let header = consensus::SessionHeader {
                    leadership_term_id: consensus::LeadershipTermId(0),
                    session: consensus::ClusterSessionId(1),
                    timestamp: 0,
                };
                match publisher.append_message(header, &message).unwrap() {
                    Outcome::Appended(position) => {
                        end = position;
                        true
                    }
                    _ => false,
                }
            }));
        }
        assert!(self.until(|bed| bed.nodes[node].recorded == Some(end)), "{end:?} is not recorded");
        end
    }

    /// Leaves the log; returns where the recording ends. Nothing is told of it afterwards.
    pub(crate) fn leave(&mut self, node: usize) -> Position {
        self.perform(node, ArchiveAction::LeaveLog);
        self.nodes[node].told.clear();
        let told = self.next(node);
        let ArchiveInput::LogLeft { recorded } = told else { panic!("{told:?} instead of left") };
        self.nodes[node].recorded = None;
        self.run_millis(500);
        assert_eq!((self.nodes[node].recorded, &self.nodes[node].told[..]), (None, &[][..]));
        recorded
    }

    pub(crate) fn kill_archive(&mut self, node: usize) {
        self.world.kill(self.nodes[node].archive);
    }
}

fn address(id: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, id + 1])
}

fn member(id: u8) -> String {
    let host = address(id);
    format!("{id},{host}:2000,{host}:3000,{host}:4000,{host}:0,{host}:8010")
}

fn start_node(world: &mut World, id: u8, members: &str) -> Node {
    let host = world.add_host(&format!("host-{id}"), &[address(id)]);
    start_driver(world, host);
    let harness = world.spawn(host, |_| Vec::new());
    let mut client = connect(world, host, harness);
    let archive = start_archive(world, host, address(id));
    let mut config = Config::fast();
    config.member.member_id = i32::from(id);
    config.member.members = members.to_string();
    config.channels.ingress_channel = "aeron:udp".to_string();
    config.channels.log_channel = "aeron:udp?term-length=64k".to_string();
    config.channels.replication_channel = format!("aeron:udp?endpoint={}:0", address(id));
    let settings = config.check().unwrap();
    let session = connect_archive(world, host, &mut client);
    let log = LogArchive::new(session, &client, &settings, &config, None);
    let (told, recorded) = (Vec::new(), None);
    Node { host, archive, client, log, told, recorded }
}

fn client_config() -> client::Config {
    client::Config { directory: PathBuf::from(DIRECTORY), ..client::Config::default() }
}

fn connect(world: &mut World, host: HostId, process: ProcessId) -> Client {
    let ports = world.ports(process);
    let mut connecting = Client::connect(client_config(), &ports, world.now(host));
    for _ in 0..100 {
        if let Some(client) = connecting.poll(world.now(host)).unwrap() {
            return client;
        }
        world.run_for(Nanos::from_millis(1));
    }
    panic!("no driver");
}

fn connect_archive(world: &mut World, host: HostId, client: &mut Client) -> ArchiveClient {
    let config = archive_client::Config::default();
    let credentials = Box::new(NoCredentials);
    let mut connecting =
        ArchiveClient::connect(config, credentials, client, world.now(host)).unwrap();
    for _ in 0..2_000 {
        let _ = client.do_work(world.now(host)).unwrap();
        if let Some(archive) = connecting.poll(world.now(host)).unwrap() {
            return archive;
        }
        world.wake(host);
        world.run_for(Nanos::from_millis(1));
    }
    panic!("no archive");
}

fn start_archive(world: &mut World, host: HostId, address: IpAddr) -> ProcessId {
    let now = world.now(host);
    world.spawn(host, |ports| {
        let mut config = archive::Config::default();
        config.storage.directory = PathBuf::from("/archive");
        config.storage.segment_file_length = 128 << 10;
        config.storage.file_io_max_length = 64 << 10;
        config.control.channel = format!("aeron:udp?endpoint={address}:8010");
        config.control.replication_channel = format!("aeron:udp?endpoint={address}:0");
        let allow = Box::new(archive::AllowAll);
        let archive = archive::launch(config, client_config(), allow, ports, now).unwrap();
        vec![Box::new(archive)]
    })
}

fn start_driver(world: &mut World, host: HostId) {
    let mut config = driver::Config::at(DIRECTORY);
    config.buffers.to_driver_length = (64 << 10) + 768;
    config.buffers.to_clients_length = (64 << 10) + 128;
    config.buffers.counters_values_length = 256 << 10;
    config.buffers.error_log_length = 64 << 10;
    config.buffers.loss_report_length = 16 << 10;
    config.terms.term_length = 64 << 10;
    config.terms.ipc_term_length = 64 << 10;
    let now = world.now(host);
    world.spawn(host, |ports| {
        let agents = driver::launch(config, ports, now).unwrap();
        vec![agents.conductor, agents.sender, agents.receiver]
    });
}
