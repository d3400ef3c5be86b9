//! A world with a driver, a container with a service that echoes, and the scripted module.

use std::net::IpAddr;
use std::path::PathBuf;

use client::{Client, Pending};
use cluster_client::{ClusterClient, EgressEvent, NoCredentials};
use cluster_service::cluster::GaugeId;
use cluster_service::{
    Admission, Cluster, ClusterSessionId, ClusteredService, Container, Deduplication,
    DeduplicationLimits, SnapshotWriter, Step, TimerId,
};
use runtime::{Halt, Nanos, Now};
use sim::{HostId, ProcessId, World};
use wire::cluster::Role;

use crate::module::{Module, Opening};

const DIRECTORY: &str = "/dev/shm/driver";

/// Echoes what comes, numbered messages once; counts in gauges.
struct Echo {
    deduplication: Deduplication,
    gauges: Option<[GaugeId; 2]>,
    counts: [i64; 2],
    written: usize,
    restored: usize,
}

/// Messages of a snapshot.
const MESSAGES: usize = 40;

/// Longer than a term of the snapshot's channel, all together; each in several fragments.
fn filler(index: usize) -> Vec<u8> {
    vec![u8::try_from(index).unwrap(); 5_000 + index]
}

impl Echo {
    fn new() -> Self {
        let deduplication = Deduplication::new(DeduplicationLimits { window: 64, clients: 16 });
        Self { deduplication, gauges: None, counts: [0; 2], written: 0, restored: 0 }
    }

    fn count(&mut self, cluster: &mut Cluster<'_>, index: usize) {
        self.counts[index] += 1;
        let gauges = self.gauges.as_ref().unwrap();
        cluster.set_gauge(gauges[index], self.counts[index]);
    }
}

impl ClusteredService for Echo {
    /// Two counts, then filler that must come whole and in order.
    fn on_snapshot(&mut self, cluster: &mut Cluster<'_>, message: &[u8]) {
        match message.len() {
            8 => {
                let count = i64::from_le_bytes(message.try_into().unwrap());
                self.counts[self.restored] = count;
            }
            length if message == filler(self.restored) => assert!(length > 8),
            _ => cluster.fail(format!("message {} is damaged", self.restored)),
        }
        self.restored += 1;
    }

    fn on_start(&mut self, cluster: &mut Cluster<'_>) {
        self.gauges =
            Some([cluster.add_gauge(1_000, "echoes"), cluster.add_gauge(1_001, "timers")]);
        for (gauge, count) in self.gauges.into_iter().flatten().zip(self.counts) {
            cluster.set_gauge(gauge, count);
        }
        if self.restored != 0 && self.restored != MESSAGES {
            cluster.fail(format!("only {} messages came", self.restored));
        }
    }

    fn on_session_message(
        &mut self,
        cluster: &mut Cluster<'_>,
        session: Option<ClusterSessionId>,
        message: &[u8],
    ) {
        self.count(cluster, 0);
        let session = session.unwrap();
        if message == b"timer" {
            cluster.schedule_timer(TimerId(7), 1_000);
        }
        match self.deduplication.admit(message) {
            Admission::Execute { header, payload } => {
                let answer = [b"echo ", payload].concat();
                let answer = self.deduplication.answer(header, &answer);
                let _ = cluster.send(session, answer);
            }
            Admission::Reply(answer) => drop(cluster.send(session, answer)),
            Admission::Ignore => drop(cluster.send_parts(session, &[b"echo ", message])),
        }
    }

    fn on_timer(&mut self, cluster: &mut Cluster<'_>, timer: TimerId) {
        assert_eq!(timer, TimerId(7));
        self.count(cluster, 1);
    }

    /// One message a call, so that many calls are needed.
    fn take_snapshot(&mut self, _: &mut Cluster<'_>, writer: &mut SnapshotWriter<'_>) -> Step {
        match self.counts.get(self.written) {
            Some(count) => writer.write(&count.to_le_bytes()),
            None => writer.write(&filler(self.written)),
        }
        self.written += 1;
        if self.written < MESSAGES { Step::More } else { Step::Done }
    }
}

pub(crate) struct Bed {
    world: World,
    host: HostId,
    container: ProcessId,
    harness: ProcessId,
    client: Client,
    pub(crate) module: Module,
}

impl Bed {
    /// A container that has joined a log in this role.
    pub(crate) fn led(seed: u64, role: Role) -> Self {
        let mut bed = Self::new(seed);
        assert!(bed.until(|bed| bed.module.acks.len() == 1));
        assert!(bed.module.acks[0].relevant_id >= 0);
        bed.join(role);
        assert!(bed.until(|bed| bed.module.acks.len() == 2));
        assert_eq!((bed.module.acks[1].ack_id, bed.module.acks[1].log_position), (1, 0));
        bed
    }

    fn new(seed: u64) -> Self {
        let mut world = World::new(seed);
        let host = world.add_host("host", &[IpAddr::from([10, 0, 0, 1])]);
        start_driver(&mut world, host);
        let harness = world.spawn(host, |_| Vec::new());
        let mut client = connect(&mut world, host, harness);
        let opening = Opening::new(&client);
        for _ in 0..50 {
            step(&mut world, host, &mut client);
        }
        let module = opening.module(&client);
        let container = start_container(&mut world, host);
        Self { world, host, container, harness, client, module }
    }

    pub(crate) fn now(&self) -> Now {
        self.world.now(self.host)
    }

    pub(crate) fn step(&mut self) {
        step(&mut self.world, self.host, &mut self.client);
        self.module.work();
    }

    /// Whether it came true within five seconds.
    pub(crate) fn until(&mut self, mut condition: impl FnMut(&mut Self) -> bool) -> bool {
        for _ in 0..5_000 {
            self.step();
            if condition(self) {
                return true;
            }
        }
        false
    }

    fn pending<T>(&mut self, mut pending: Pending<T>) -> T {
        let mut found = None;
        assert!(self.until(|_| {
            found = pending.poll().unwrap();
            found.is_some()
        }));
        found.unwrap()
    }

    /// Starts an archive on the same driver.
    pub(crate) fn start_archive(&mut self) {
        let now = self.now();
        self.world.spawn(self.host, |ports| {
            let mut config = archive::Config::default();
            config.storage.directory = PathBuf::from("/archive");
            config.storage.segment_file_length = 128 << 10;
            config.storage.file_io_max_length = 64 << 10;
            config.control.channel = "aeron:udp?endpoint=10.0.0.1:8010".to_string();
            config.control.replication_channel = "aeron:udp?endpoint=10.0.0.1:0".to_string();
            let allow = Box::new(archive::AllowAll);
            let archive = archive::launch(config, client_config(), allow, ports, now).unwrap();
            vec![Box::new(archive)]
        });
        for _ in 0..100 {
            self.step();
        }
    }

    /// Kills the container and starts another one from a snapshot.
    pub(crate) fn restart_container(&mut self, recording_id: i64, position: i64) {
        self.world.kill(self.container);
        self.module.end_log();
        let (commit, recovery) = self.module.recover(recording_id, position);
        let (commit, recovery) = (self.pending(commit), self.pending(recovery));
        self.module.recovered(commit, recovery);
        self.container = start_container(&mut self.world, self.host);
    }

    /// Starts a log where the last one ended and tells the container.
    pub(crate) fn join(&mut self, role: Role) {
        let pending = self.module.add_log();
        let log = self.pending(pending);
        self.module.join(log, role);
    }

    pub(crate) fn connect_client(&mut self) -> ClusterClient {
        let transport = connect(&mut self.world, self.host, self.harness);
        let config = cluster_client::Config {
            ingress_channel: "aeron:ipc".to_string(),
            egress_channel: "aeron:ipc".to_string(),
            ..cluster_client::Config::default()
        };
        let credentials = Box::new(NoCredentials);
        let mut client = ClusterClient::connect(config, credentials, transport, self.now());
        assert!(self.until(|bed| {
            let _ = client.do_work(bed.now()).unwrap();
            client.is_connected()
        }));
        client
    }

    /// The next message of the service.
    pub(crate) fn answer(&mut self, client: &mut ClusterClient) -> Vec<u8> {
        let mut answer = None;
        assert!(self.until(|bed| {
            let _ = client.do_work(bed.now()).unwrap();
            client.poll(10, bed.now(), |event| {
                if let EgressEvent::Message { payload, .. } = event {
                    answer = Some(payload.to_vec());
                }
            });
            answer.is_some()
        }));
        answer.unwrap()
    }

    pub(crate) fn gauge(&self, label: &str) -> Option<i64> {
        let found = self.client.counters().records().filter(|record| record.label == label);
        // That of a container which was killed stays for a while.
        found.max_by_key(|record| record.registration_id).map(|record| record.value)
    }

    pub(crate) fn halts(&self) -> Vec<(String, Halt)> {
        self.world.halts(self.container)
    }
}

fn start_container(world: &mut World, host: HostId) -> ProcessId {
    let now = world.now(host);
    world.spawn(host, |ports| {
        let config = cluster_service::Config {
            directory: PathBuf::from("/cluster"),
            archive_timeout: Nanos::from_millis(500),
            ..cluster_service::Config::default()
        };
        let service = Box::new(Echo::new());
        let container = Container::launch(config, client_config(), service, ports, now).unwrap();
        vec![Box::new(container)]
    })
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

fn step(world: &mut World, host: HostId, client: &mut Client) {
    let _ = client.do_work(world.now(host)).unwrap();
    world.wake(host);
    world.run_for(Nanos::from_millis(1));
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
