//! A whole node as one agent in a simulated world, made of few settings: it serves, is shut down by
//! its operator, comes back from its snapshot, and says which part ended it.

#![allow(clippy::unwrap_used)]

use std::net::IpAddr;
use std::path::Path;

use client::Client;
use cluster::authentication::AcceptAll;
use cluster::counters::Gauge;
use cluster_client::{ClusterClient, EgressEvent, NoCredentials};
use node::{EchoService, LaunchError, Members, NodeAgents, Settings, echo};
use runtime::files::read_exact_at;
use runtime::{Halt, Nanos, Now, Ports};
use sim::{HostId, ProcessId, World};
use wire::archive::mark::{ACTIVITY_TIMESTAMP_OFFSET, MARK_FILE_NAME};
use wire::counters::CounterTypeId;

const SNAPSHOT: i64 = 4;
const SHUTDOWN: i64 = 5;

fn settings() -> Settings {
    let hosts = vec!["10.0.0.1".to_string()];
    let members = Members::Hosts { hosts, base_port: 20_000 };
    Settings { term_length: Some(64 << 10), ..Settings::new("/node", 0, members) }
}

fn launch(settings: &Settings, ports: &Ports, now: Now) -> Result<NodeAgents, LaunchError> {
    let config = settings.config().unwrap();
    let services = vec![Box::new(EchoService::default()) as _];
    node::launch(config, services, Box::new(AcceptAll), ports, now)
}

/// A host with a node, and a client of its driver in a process beside it.
struct Bed {
    world: World,
    host: HostId,
    node: ProcessId,
    observer: Client,
}

impl Bed {
    fn new(seed: u64) -> Self {
        let mut world = World::new(seed);
        let host = world.add_host("host", &[IpAddr::from([10, 0, 0, 1])]);
        let node = start(&mut world, host);
        let observer = connect(&mut world, host);
        Self { world, host, node, observer }
    }

    /// Starts the node again, whatever became of it.
    fn restart(&mut self) {
        self.world.kill(self.node);
        self.node = start(&mut self.world, self.host);
        self.observer = connect(&mut self.world, self.host);
    }

    fn now(&self) -> Now {
        self.world.now(self.host)
    }

    /// Whether it came true within twenty seconds.
    fn until(&mut self, mut condition: impl FnMut(&mut Self) -> bool) -> bool {
        for _ in 0..20_000 {
            let now = self.now();
            // It has ended once the node's driver has.
            let _ = self.observer.do_work(now);
            self.world.wake(self.host);
            self.world.run_for(Nanos::from_millis(1));
            if condition(self) {
                return true;
            }
        }
        false
    }

    fn counter(&self, type_id: CounterTypeId) -> Option<i64> {
        let counters = self.observer.counters();
        counters.records().find(|record| record.type_id == type_id).map(|record| record.value)
    }

    fn echoes(&self) -> Option<i64> {
        self.counter(CounterTypeId(echo::GAUGE_TYPE))
    }

    /// Writes into the control toggle, as an operator does.
    fn ask(&mut self, word: i64) {
        let toggle = Gauge::ControlToggle.type_id();
        assert!(self.until(|bed| bed.counter(toggle) == Some(1)), "it leads");
        let counters = self.observer.counters();
        let record = counters.records().find(|record| record.type_id == toggle).unwrap();
        assert!(counters.writer_unchecked(record.id).unwrap().replace(1, word));
    }

    /// Sends a message in a session of its own and waits for its echo.
    fn echo(&mut self, message: &[u8]) {
        let config = cluster_client::Config {
            ingress_endpoints: "0=10.0.0.1:20002".to_string(),
            egress_channel: "aeron:udp?endpoint=10.0.0.1:0".to_string(),
            ..cluster_client::Config::default()
        };
        let transport = connect(&mut self.world, self.host);
        let now = self.now();
        let mut client = ClusterClient::connect(config, Box::new(NoCredentials), transport, now);
        let (mut is_sent, mut is_answered) = (false, false);
        assert!(self.until(|bed| {
            let now = bed.now();
            let _ = client.do_work(now).unwrap();
            if client.is_connected() && !is_sent {
                is_sent = client.offer(message).is_ok();
            }
            client.poll(10, now, |event| {
                if let EgressEvent::Message { payload, .. } = event {
                    is_answered = payload == message;
                }
            });
            is_answered
        }));
    }

    fn halt(&mut self) -> Halt {
        assert!(self.until(|bed| !bed.world.halts(bed.node).is_empty()));
        self.world.halts(self.node).remove(0).1
    }
}

fn start(world: &mut World, host: HostId) -> ProcessId {
    let now = world.now(host);
    world.spawn(host, |ports| vec![Box::new(launch(&settings(), ports, now).unwrap().together())])
}

fn connect(world: &mut World, host: HostId) -> Client {
    let process = world.spawn(host, |_| Vec::new());
    let ports = world.ports(process);
    let config = settings().config().unwrap().client;
    let mut connecting = Client::connect(config, &ports, world.now(host));
    loop {
        if let Some(client) = connecting.poll(world.now(host)).unwrap() {
            return client;
        }
        world.wake(host);
        world.run_for(Nanos::from_millis(1));
    }
}

#[test]
fn a_node_serves_is_shut_down_and_comes_back_from_its_snapshot() {
    let mut bed = Bed::new(1);
    (0..3).for_each(|_| bed.echo(b"hello"));
    assert_eq!(bed.echoes(), Some(3));
    bed.ask(SNAPSHOT);
    let snapshots = Gauge::SnapshotCount.type_id();
    assert!(bed.until(|bed| bed.counter(snapshots) == Some(1)));
    bed.echo(b"behind the snapshot");
    bed.ask(SHUTDOWN);
    assert_eq!(bed.halt(), Halt::Terminated);
    bed.restart();
    assert!(bed.until(|bed| bed.echoes() == Some(4)));
    bed.echo(b"again");
    assert_eq!(bed.echoes(), Some(5));
}

#[test]
fn a_node_that_is_killed_comes_back_with_its_log() {
    let mut bed = Bed::new(2);
    (0..3).for_each(|_| bed.echo(b"hello"));
    bed.restart();
    assert!(bed.until(|bed| bed.echoes() == Some(3)));
    bed.echo(b"again");
    assert_eq!(bed.echoes(), Some(4));
}

#[test]
fn a_node_whose_directory_is_another_s_leaves_nothing_behind() {
    let mut bed = Bed::new(3);
    bed.echo(b"hello");
    let mut other = settings();
    other.directory = "/other".into();
    other.properties = vec![("aeron.cluster.dir".to_string(), "/node/cluster".to_string())];
    let process = bed.world.spawn(bed.host, |_| Vec::new());
    let (ports, now) = (bed.world.ports(process), bed.now());
    let refused = launch(&other, &ports, now).err().unwrap();
    assert!(matches!(refused, LaunchError::Module(_)), "{refused}");
    let mark = Path::new("/other/archive").join(MARK_FILE_NAME);
    let mut activity = [0; 8];
    let at = ACTIVITY_TIMESTAMP_OFFSET as u64;
    read_exact_at(&*ports.files.open(&mark).unwrap(), &mut activity, at).unwrap();
    assert_eq!(i64::from_le_bytes(activity), -1, "the archive was closed in order");
    other.properties.clear();
    assert!(launch(&other, &ports, now).is_ok());
    bed.echo(b"still there");
}

#[test]
fn as_many_services_are_given_as_configured() {
    let mut world = World::new(4);
    let host = world.add_host("host", &[IpAddr::from([10, 0, 0, 1])]);
    let process = world.spawn(host, |_| Vec::new());
    let config = settings().config().unwrap();
    let none = node::launch(
        config,
        Vec::new(),
        Box::new(AcceptAll),
        &world.ports(process),
        world.now(host),
    );
    let error = none.err().unwrap().to_string();
    assert_eq!(error, "0 services are given, 1 are configured");
}
