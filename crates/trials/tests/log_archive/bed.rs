//! A world with members: on each host a driver, an archive, and what the module does with it.

use std::net::IpAddr;
use std::path::PathBuf;

use archive_client::{ArchiveClient, NoCredentials, Recording};
use client::{Client, Subscription};
use cluster::config::{APP_VERSION, Config, Settings};
use cluster::log_archive::{LogArchive, Wanted};
use cluster::snapshot::{self, Provenance};
use cluster::snapshot_archive::{SnapshotLoad, SnapshotLoadError};
use consensus::{
    ArchiveAction, ArchiveInput, ClusterSessionId, Consensus, CorrelationId, Input,
    LeadershipTermId, MemberId, Outcome, RecordingId, SessionHeader, SnapshotItem, TimeUnit,
};
use runtime::{Nanos, Now};
use sim::{HostId, ProcessId, World};
use wire::position::{Position, StreamId};

const DIRECTORY: &str = "/dev/shm/driver";

/// One member.
pub(crate) struct Node {
    pub(crate) host: HostId,
    pub(crate) archive: ProcessId,
    pub(crate) client: Client,
    pub(crate) log: LogArchive,
    pub(crate) settings: Settings,
    pub(crate) config: Config,
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
        Self::named(seed, count, &[])
    }

    /// The same, where the logs of some members go to names that nobody knows yet.
    pub(crate) fn named(seed: u64, count: u8, named: &[u8]) -> Self {
        let mut world = World::new(seed);
        let member = |id| member(id, named.contains(&id));
        let members: Vec<String> = (0..count).map(member).collect();
        let members = members.join("|");
        let nodes = (0..count).map(|id| start_node(&mut world, id, &members)).collect();
        Self { world, nodes }
    }

    /// The name of a member gets known.
    pub(crate) fn name(&mut self, id: u8) {
        self.world.set_name(&format!("member-{id}"), &[address(id)]);
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

    /// The module of a member does nothing for a while, once it has sent what it had to.
    pub(crate) fn doze(&mut self, node: usize, millis: usize) {
        for index in 0..millis {
            if index == 0 {
                self.step();
                continue;
            }
            for Node { host, client, .. } in &mut self.nodes {
                let _ = client.do_work(self.world.now(*host)).unwrap();
                self.world.wake(*host);
            }
            self.world.run_for(Nanos::from_millis(1));
        }
        assert!(self.nodes[node].told.is_empty());
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

    /// Joins the live log of member 0 at a position, and records it.
    pub(crate) fn follow(&mut self, node: usize, session_id: i32, position: Position) {
        let leader = MemberId(0);
        self.perform(node, ArchiveAction::OpenLog { leader, session_id, is_catchup: false });
        self.joined(node, session_id, position);
    }

    fn joined(&mut self, node: usize, session_id: i32, position: Position) {
        let joined = ArchiveInput::ImageJoined { session_id, position };
        assert_eq!(self.next(node), joined);
        self.perform(node, ArchiveAction::RecordImage);
        let told = self.next(node);
        let ArchiveInput::RecordingStarted { recording_id, position: began } = told else {
            panic!("{told:?} instead of a recording");
        };
        assert_eq!(began, position);
        assert_eq!(self.nodes[node].log.recording_id(), Some(recording_id));
    }

    /// Joins the log of member 0 by a replay that begins at a position, and records it.
    pub(crate) fn catch_up(&mut self, node: usize, session_id: i32, from: Position) {
        let (leader, member) = (MemberId(0), self.nodes[node].settings.own.id);
        self.perform(node, ArchiveAction::OpenLog { leader, session_id, is_catchup: true });
        assert_eq!(self.next(node), ArchiveInput::CatchupReady);
        let endpoint = self.nodes[node].log.catchup_endpoint().unwrap().to_string();
        assert!(!endpoint.ends_with(":0"), "{endpoint}");
        self.perform(0, ArchiveAction::StartCatchup { member, from });
        let log = &mut self.nodes[0].log;
        assert_eq!(log.wants(), Some(Wanted::CatchupEndpoint(member)));
        log.give_catchup_endpoint(member, &endpoint);
        self.joined(node, session_id, from);
    }

    /// Appends messages of a kilobyte; returns the position after the last one, once it is
    /// recorded here.
    pub(crate) fn append(&mut self, node: usize, count: usize) -> Position {
        let end = self.offer(node, count);
        assert!(self.until(|bed| bed.nodes[node].recorded == Some(end)), "{end:?} is not recorded");
        end
    }

    /// The same, while followers read all of it: what nobody reads holds the publisher up.
    pub(crate) fn append_read(&mut self, node: usize, count: usize, by: &[usize]) -> Position {
        let mut end = Position(0);
        for _ in 0..count {
            end = self.offer(node, 1);
            by.iter().for_each(|&follower| self.read_to(follower, end));
        }
        assert!(self.until(|bed| bed.nodes[node].recorded == Some(end)), "{end:?} is not recorded");
        end
    }

    /// Appends messages of a kilobyte; returns the position after the last one.
    pub(crate) fn offer(&mut self, node: usize, count: usize) -> Position {
        let mut end = Position(0);
        for index in 0..count {
            let message = vec![u8::try_from(index % 251).unwrap(); 1_000];
            let header = SessionHeader {
                leadership_term_id: LeadershipTermId(0),
                session: ClusterSessionId(1),
                timestamp: 0,
            };
            assert!(self.until(|bed| {
                let publisher = bed.nodes[node].log.publisher().unwrap();
                match publisher.append_message(header, &message).unwrap() {
                    Outcome::Appended(position) => end = position,
                    _ => return false,
                }
                true
            }));
        }
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

    /// Reads the open image up to a position.
    pub(crate) fn read_to(&mut self, node: usize, end: Position) {
        let is_read = self.until(|bed| {
            let Some((image, _)) = bed.nodes[node].log.reader() else { return false };
            image.bounded_poll(end, 100, |_| {});
            image.position() >= end
        });
        assert!(is_read, "the image ends before {end:?}");
    }

    /// Every write fails from now on.
    pub(crate) fn fail_disk(&mut self, node: usize) {
        self.world.disk_faults(self.nodes[node].host).fail_writes(u32::MAX);
    }

    pub(crate) fn kill_archive(&mut self, node: usize) {
        self.world.kill(self.nodes[node].archive);
    }

    /// A session with the archive of a member, beside the one that its log has.
    pub(crate) fn archive(&mut self, node: usize) -> ArchiveClient {
        let Node { host, client, .. } = &mut self.nodes[node];
        connect_archive(&mut self.world, *host, client)
    }

    /// How many recordings of the log a member's archive holds.
    pub(crate) fn log_count(&mut self, node: usize) -> usize {
        let mut archive = self.archive(node);
        let request = archive.list_recordings_for_uri(0, 100, "", StreamId(100));
        let mut found = None;
        assert!(self.until(|bed| {
            let _ = archive.poll(bed.now(node)).unwrap();
            found = archive.take(request);
            found.is_some()
        }));
        found.unwrap().unwrap().len()
    }

    /// The archive of a member dies and starts again, and with it the module.
    pub(crate) fn restart_archive(&mut self, node: usize) -> Option<Recording> {
        self.kill_archive(node);
        let id = u8::try_from(node).unwrap();
        let host = self.nodes[node].host;
        self.world.run_for(Nanos::from_millis(1));
        self.nodes[node].archive = start_archive(&mut self.world, host, address(id));
        self.restart(node)
    }

    /// The module of a member starts again: a new session, what the archive holds, no memory.
    pub(crate) fn restart(&mut self, node: usize) -> Option<Recording> {
        let mut archive = self.archive(node);
        let id = self.nodes[node].log.recording_id()?;
        let request = archive.list_recording(id.0);
        let mut found = None;
        assert!(self.until(|bed| {
            let _ = archive.poll(bed.now(node)).unwrap();
            found = archive.take(request);
            found.is_some()
        }));
        let found = found.unwrap().unwrap();
        let Node { client, settings, config, log, .. } = &mut self.nodes[node];
        *log = LogArchive::new(archive, client, settings, config, found.clone());
        found
    }

    /// Subscribes to the log as services are told to.
    pub(crate) fn join_services(&mut self, node: usize) -> Subscription {
        let Node { log, client, .. } = &self.nodes[node];
        let (channel, stream_id) = log.log_source().unwrap();
        let mut pending = client.add_subscription(&channel, StreamId(stream_id));
        let mut joined = None;
        assert!(self.until(|_| {
            joined = pending.poll().unwrap();
            joined.is_some()
        }));
        joined.unwrap()
    }

    /// Loads a snapshot into a core that starts; returns what a snapshot of that core holds.
    pub(crate) fn load(
        &mut self,
        node: usize,
        recording_id: RecordingId,
        expected: Provenance,
    ) -> Result<Vec<Vec<u8>>, SnapshotLoadError> {
        let now = self.now(node);
        let Node { host, client, settings, config, .. } = &mut self.nodes[node];
        let mut archive = connect_archive(&mut self.world, *host, client);
        let mut core = core();
        let mut load = SnapshotLoad::begin(
            &mut archive,
            client,
            settings,
            config,
            recording_id,
            expected,
            now,
        );
        for _ in 0..15_000 {
            let now = self.now(node);
            if load.poll(&mut archive, now, |item| core.restore(item))? {
                return Ok(snapshot::messages(&core, expected).unwrap());
            }
            self.step();
        }
        panic!("it came to no end");
    }
}

fn core() -> Consensus {
    let config = consensus::Config::new(MemberId(0), vec![MemberId(0)]);
    Consensus::new(config, &consensus::Recovery::empty(), 1, Now::default())
}

/// The messages of a snapshot that is longer than a term of its channel.
pub(crate) fn snapshot() -> (Vec<Vec<u8>>, Provenance) {
    let mut core = core();
    let module = SnapshotItem::Module {
        next_session_id: 300,
        next_service_session_id: 0,
        log_service_session_id: 0,
        pending_message_capacity: 0,
    };
    assert!(core.restore(module));
    for id in 1..300 {
        assert!(core.restore(SnapshotItem::Session {
            session: ClusterSessionId(id),
            correlation_id: CorrelationId(id + 7),
            opened_log_position: Position(32 * id),
            close_reason: None,
            response_stream_id: 102,
            response_channel: &format!(
                "aeron:udp?endpoint=10.0.0.9:{id}|alias={}",
                "x".repeat(400)
            ),
        }));
    }
    let provenance = Provenance {
        position: Position(64_000),
        term: LeadershipTermId(3),
        time_unit: TimeUnit::Millis,
        app_version: APP_VERSION,
    };
    (snapshot::messages(&core, provenance).unwrap(), provenance)
}

fn address(id: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, id + 1])
}

fn member(id: u8, is_named: bool) -> String {
    let host = address(id);
    let log = if is_named { format!("member-{id}") } else { host.to_string() };
    format!("{id},{host}:2000,{host}:3000,{log}:4000,{host}:0,{host}:8010")
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
    Node { host, archive, client, log, settings, config, told, recorded }
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
