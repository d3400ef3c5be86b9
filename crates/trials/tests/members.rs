//! Whole members in a simulated world, one and three of them, without faults: a client is served,
//! snapshots are taken, and all come back from what they wrote.

#![allow(clippy::unwrap_used)]

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use client::Client;
use cluster::authentication::AcceptAll;
use cluster_client::{ClusterClient, EgressEvent, NoCredentials};
use cluster_service::{
    Cluster, ClusterSessionId, ClusteredService, Container, SnapshotWriter, Step,
};
use memory::buffer::AtomicBuffer;
use memory::error_log::read_errors;
use runtime::files::{Files, read_exact_at, write_all_at};
use runtime::{Agent, Nanos, Now, Ports};
use sim::{HostId, ProcessId, World};

const DRIVER: &str = "/dev/shm/driver";

/// Answers what comes with how many came before.
#[derive(Default)]
struct Count(u64);

impl ClusteredService for Count {
    fn on_snapshot(&mut self, _: &mut Cluster<'_>, message: &[u8]) {
        self.0 = u64::from_le_bytes(message.try_into().unwrap());
    }

    fn on_session_message(
        &mut self,
        cluster: &mut Cluster<'_>,
        session: Option<ClusterSessionId>,
        message: &[u8],
    ) {
        self.0 += 1;
        let answer = [&self.0.to_le_bytes(), message].concat();
        let _ = cluster.send(session.unwrap(), &answer);
    }

    fn take_snapshot(&mut self, _: &mut Cluster<'_>, writer: &mut SnapshotWriter<'_>) -> Step {
        writer.write(&self.0.to_le_bytes());
        Step::Done
    }
}

struct Lab {
    world: World,
    nodes: Vec<(HostId, ProcessId)>,
    home: HostId,
    members: String,
}

fn address(member: usize) -> String {
    format!("10.0.0.{}", member + 1)
}

impl Lab {
    fn new(seed: u64, count: usize) -> Self {
        let mut world = World::new(seed);
        let members: Vec<String> = (0..count)
            .map(|id| {
                let a = address(id);
                format!("{id},{a}:20002,{a}:20003,{a}:20004,{a}:0,{a}:20001")
            })
            .collect();
        let members = members.join("|");
        let home = world.add_host("home", &[IpAddr::from([10, 0, 1, 1])]);
        world.spawn(home, |ports| {
            let now = Now::default();
            vec![Box::new(driver::launch(driver_config(), ports, now).unwrap().together())]
        });
        let mut lab = Self { world, nodes: Vec::new(), home, members };
        for id in 0..count {
            let ip = address(id).parse().unwrap();
            let host = lab.world.add_host(&format!("node{id}"), &[ip]);
            let process = lab.start(id, host);
            lab.nodes.push((host, process));
        }
        lab
    }

    fn start(&mut self, id: usize, host: HostId) -> ProcessId {
        let now = self.world.now(host);
        let members = self.members.clone();
        self.world.spawn(host, |ports| node(id, members, ports, now))
    }

    fn restart(&mut self, id: usize) {
        let (host, process) = self.nodes[id];
        self.world.kill(process);
        self.nodes[id].1 = self.start(id, host);
    }

    /// A client of a member's driver, in a process of its own.
    fn observer(&mut self, id: usize) -> (ProcessId, Client) {
        let (host, _) = self.nodes[id];
        let process = self.world.spawn(host, |_| Vec::new());
        let ports = self.world.ports(process);
        let mut connecting = Client::connect(client_config(), &ports, self.world.now(host));
        loop {
            if let Some(client) = connecting.poll(self.world.now(host)).unwrap() {
                return (process, client);
            }
            self.world.wake(host);
            self.step();
        }
    }

    /// The value of a counter of a member, by its type.
    fn counter(&mut self, id: usize, type_id: i32) -> Option<i64> {
        let (process, client) = self.observer(id);
        let value = client.counters().records().find(|it| it.type_id.0 == type_id)?.value;
        self.world.kill(process);
        Some(value)
    }

    /// What an operator writes into the control toggle.
    fn toggle(&mut self, id: usize, word: i64) {
        let (process, client) = self.observer(id);
        let counters = client.counters();
        let record = counters.records().find(|it| it.type_id.0 == 202).unwrap();
        counters.writer_unchecked(record.id).unwrap().set_release(word);
        self.world.kill(process);
    }

    fn leader(&mut self) -> usize {
        for _ in 0..100 {
            let count = self.nodes.len();
            if let Some(id) = (0..count).find(|&id| self.counter(id, 201) == Some(2)) {
                return id;
            }
            (0..100).for_each(|_| self.step());
        }
        panic!("nobody leads");
    }

    fn client(&mut self) -> ClusterClient {
        let endpoints: Vec<String> =
            (0..self.nodes.len()).map(|id| format!("{id}={}:20002", address(id))).collect();
        let config = cluster_client::Config {
            ingress_endpoints: endpoints.join(","),
            egress_channel: "aeron:udp?endpoint=10.0.1.1:0".to_string(),
            ..cluster_client::Config::default()
        };
        let process = self.world.spawn(self.home, |_| Vec::new());
        let ports = self.world.ports(process);
        let now = self.world.now(self.home);
        let mut connecting = Client::connect(client_config(), &ports, now);
        let transport = loop {
            if let Some(client) = connecting.poll(self.world.now(self.home)).unwrap() {
                break client;
            }
            self.step();
        };
        let now = self.world.now(self.home);
        ClusterClient::connect(config, Box::new(NoCredentials), transport, now)
    }

    fn step(&mut self) {
        self.world.wake(self.home);
        self.world.run_for(Nanos::from_millis(1));
        for (id, &(_, process)) in self.nodes.iter().enumerate() {
            let halts = self.world.halts(process);
            assert!(halts.is_empty(), "node {id} at {:?}: {halts:?}", self.world.elapsed());
        }
    }

    fn connected(&mut self) -> ClusterClient {
        for _ in 0..20 {
            let mut client = self.client();
            for _ in 0..6_000 {
                match client.do_work(self.world.now(self.home)) {
                    Ok(_) if client.is_connected() => return client,
                    Ok(_) => {}
                    Err(error) => {
                        eprintln!("{error}");
                        break;
                    }
                }
                self.step();
            }
        }
        panic!("no session");
    }

    /// Offers a message and waits for its answer: the number that it was.
    fn ask(&mut self, client: &mut ClusterClient, message: &[u8]) -> u64 {
        let (mut is_sent, mut answer) = (false, None);
        for _ in 0..20_000 {
            let now = self.world.now(self.home);
            let _ = client.do_work(now).unwrap();
            if !is_sent {
                is_sent = client.offer(message).is_ok();
            }
            client.poll(10, now, |event| match event {
                EgressEvent::Message { payload, .. } => {
                    let (number, echo) = payload.split_first_chunk::<8>().unwrap();
                    assert_eq!(echo, message);
                    answer = Some(u64::from_le_bytes(*number));
                }
                // It went to a leader that was dead already.
                EgressEvent::NewLeader { .. } => is_sent = false,
                EgressEvent::AdminResponse { .. } => {}
            });
            if let Some(answer) = answer {
                return answer;
            }
            self.step();
        }
        panic!("no answer");
    }
}

fn driver_config() -> driver::Config {
    let mut config = driver::Config::at(DRIVER);
    config.terms.term_length = 64 << 10;
    config.terms.ipc_term_length = 64 << 10;
    config
}

fn client_config() -> client::Config {
    client::Config { directory: PathBuf::from(DRIVER), ..client::Config::default() }
}

fn node(id: usize, members: String, ports: &Ports, now: Now) -> Vec<Box<dyn Agent>> {
    let driver = driver::launch(driver_config(), ports, now).unwrap();
    let mut config = archive::Config::default();
    config.storage.directory = PathBuf::from("/archive");
    config.storage.segment_file_length = 128 << 10;
    // As in the profile of a node that is safe.
    config.storage.file_sync_level = archive::config::SyncLevel::Data;
    config.storage.catalog_file_sync_level = archive::config::SyncLevel::Data;
    config.storage.record_checksum = Some(archive::checksum::Checksum::Crc32c);
    config.storage.replay_checksum = config.storage.record_checksum;
    config.storage.guards = true;
    config.control.channel = format!("aeron:udp?endpoint={}:20001", address(id));
    config.control.replication_channel = format!("aeron:udp?endpoint={}:0", address(id));
    let allow = Box::new(archive::AllowAll);
    let archive = archive::launch(config, client_config(), allow, ports, now).unwrap();
    let mut config = cluster::config::Config::fast();
    config.member.member_id = i32::try_from(id).unwrap();
    config.member.members = members;
    config.member.directory = PathBuf::from("/cluster");
    config.member.guards = true;
    config.channels.ingress_channel = "aeron:udp".to_string();
    config.channels.log_channel = "aeron:udp?term-length=64k".to_string();
    config.channels.replication_channel = format!("aeron:udp?endpoint={}:0", address(id));
    let archive_client = archive_client::Config::default();
    let accept = Box::new(AcceptAll);
    let module =
        cluster::launch(config, client_config(), archive_client, accept, ports, now).unwrap();
    let config = cluster_service::Config {
        directory: PathBuf::from("/cluster"),
        ..cluster_service::Config::default()
    };
    let service = Box::new(Count::default());
    let container = Container::launch(config, client_config(), service, ports, now).unwrap();
    vec![Box::new(driver.together()), Box::new(archive), Box::new(module), Box::new(container)]
}

#[test]
fn a_single_member_serves_and_comes_back_with_its_log() {
    let mut lab = Lab::new(1, 1);
    let mut client = lab.connected();
    for number in 1..=20 {
        assert_eq!(lab.ask(&mut client, b"hello"), number);
    }
    drop(client);
    lab.restart(0);
    let mut client = lab.connected();
    assert_eq!(lab.ask(&mut client, b"again"), 21);
}

#[test]
fn three_members_elect_serve_and_come_back_with_their_logs() {
    let mut lab = Lab::new(2, 3);
    let mut client = lab.connected();
    for number in 1..=20 {
        assert_eq!(lab.ask(&mut client, b"hello"), number);
    }
    drop(client);
    for id in 0..3 {
        lab.restart(id);
    }
    let mut client = lab.connected();
    assert_eq!(lab.ask(&mut client, b"again"), 21);
}

#[test]
fn a_leader_dies_another_serves_and_the_dead_one_follows_again() {
    let mut lab = Lab::new(3, 3);
    let mut client = lab.connected();
    for number in 1..=20 {
        assert_eq!(lab.ask(&mut client, b"hello"), number);
    }
    let session = client.session_id();
    let leader = lab.leader();
    assert_eq!(lab.counter(leader, 241), session, "a counter of the session");
    for round in 0..3 {
        let leader = lab.leader();
        let (host, process) = lab.nodes[leader];
        lab.world.kill(process);
        assert_eq!(lab.ask(&mut client, b"after"), 21 + 2 * round);
        assert_eq!(client.session_id(), session);
        lab.nodes[leader].1 = lab.start(leader, host);
        (0..3_000).for_each(|_| lab.step());
        assert_eq!(lab.counter(leader, 207), Some(17), "in service again");
        assert_eq!(lab.ask(&mut client, b"again"), 22 + 2 * round);
    }
}

impl Lab {
    /// Flips a bit of the log of a member that is away; returns its files.
    fn rot(&mut self, id: usize, at: u64) -> Arc<dyn Files> {
        let hand = self.world.spawn(self.nodes[id].0, |_| Vec::new());
        let files = self.world.ports(hand).files;
        let log = files.open(Path::new("/archive/0-0.rec")).unwrap();
        let mut byte = [0];
        read_exact_at(&*log, &mut byte, at).unwrap();
        write_all_at(&*log, &[byte[0] ^ 1], at).unwrap();
        files
    }
}

/// What stands in the error log of a mark file.
fn said(files: &dyn Files, path: &str, at: usize) -> String {
    let marks = files.map(Path::new(path)).unwrap();
    let marks = AtomicBuffer::new(marks.region().clone());
    let errors = marks.slice(at, marks.length() - at);
    read_errors(&errors).map(|error| error.text).collect::<Vec<_>>().join("; ")
}

#[test]
fn a_member_whose_log_rotted_says_so_and_regains_it_from_the_others() {
    let mut lab = Lab::new(9, 3);
    let mut client = lab.connected();
    for number in 1..=40 {
        assert_eq!(lab.ask(&mut client, &[7; 900]), number);
    }
    let id = (lab.leader() + 1) % 3;
    let (host, process) = lab.nodes[id];
    lab.world.kill(process);
    let files = lab.rot(id, 20_000);
    lab.nodes[id].1 = lab.start(id, host);
    (0..5_000).for_each(|_| lab.step());
    assert_eq!(lab.counter(id, 207), Some(17), "in service again");
    let told = said(&*files, "/archive/archive-mark.dat", 8_192);
    assert!(told.contains("recording 0 is rotten at 1"), "{told:?}");
    let told = said(&*files, "/cluster/cluster-mark.dat", 8_192);
    assert!(told.contains("the log is rotten at 1"), "{told:?}");
    assert!(files.entry(Path::new("/cluster/log-loss.dat")).unwrap().is_none());
    let other = (0..3).find(|it| *it != id && *it != lab.leader()).unwrap();
    let (_, process) = lab.nodes[other];
    lab.world.kill(process);
    drop(client);
    let mut client = lab.connected();
    assert_eq!(lab.ask(&mut client, &[7; 900]), 41);
}

#[test]
fn a_single_member_whose_log_rotted_does_not_start_without_it() {
    let mut lab = Lab::new(9, 1);
    let mut client = lab.connected();
    for number in 1..=40 {
        assert_eq!(lab.ask(&mut client, &[7; 900]), number);
    }
    let (host, process) = lab.nodes[0];
    lab.world.kill(process);
    drop(lab.rot(0, 20_000));
    let process = lab.start(0, host);
    lab.world.run_for(Nanos::from_secs(5));
    let halts = format!("{:?}", lab.world.halts(process));
    assert!(halts.contains("the others are too few"), "{halts}");
}

#[test]
fn members_come_back_from_a_snapshot_and_the_log_behind_it() {
    let mut lab = Lab::new(4, 3);
    let mut client = lab.connected();
    for number in 1..=20 {
        assert_eq!(lab.ask(&mut client, b"hello"), number);
    }
    let leader = lab.leader();
    lab.toggle(leader, 4);
    (0..3_000).for_each(|_| lab.step());
    for id in 0..3 {
        assert_eq!(lab.counter(id, 205), Some(1), "snapshots of member {id}");
    }
    assert_eq!(lab.ask(&mut client, b"behind"), 21);
    drop(client);
    for id in 0..3 {
        lab.restart(id);
    }
    let mut client = lab.connected();
    assert_eq!(lab.ask(&mut client, b"again"), 22);
}

/// What is spoken must be durable first: with disks that take longer than a ballot lasts, no member
/// ever led, nor did one on a machine that was too busy for the time-outs of its profile.
#[test]
fn disks_slower_than_a_ballot_delay_an_election_but_let_it_end() {
    let mut lab = Lab::new(5, 3);
    lab.world.set_background_delay(Nanos::from_millis(300), Nanos::from_millis(500));
    let mut client = lab.connected();
    assert_eq!(lab.ask(&mut client, b"slowly"), 1);
}

/// A leader dies while it sends long messages: logs end in the middle of one, and so may commit
/// positions. Elections replayed such a log for ever.
#[test]
fn leaders_that_die_in_the_middle_of_long_messages_are_followed_by_others() {
    for seed in 10..18 {
        let mut lab = Lab::new(seed, 3);
        let mut client = lab.connected();
        let long = vec![7; 6_000];
        let mut last = 0;
        for round in 0..3 {
            let leader = lab.leader();
            for _ in 0..(40 + 7 * seed + round) {
                let now = lab.world.now(lab.home);
                let _ = client.do_work(now).unwrap();
                while client.offer(&long).is_ok() {}
                client.poll(10, now, |_| {});
                lab.world.wake(lab.home);
                lab.world.run_for(Nanos::from_micros(37));
            }
            let (host, process) = lab.nodes[leader];
            lab.world.kill(process);
            (0..1_500).for_each(|_| {
                let now = lab.world.now(lab.home);
                let _ = client.do_work(now).unwrap();
                client.poll(10, now, |_| {});
                lab.step();
            });
            let count = lab.ask(&mut client, b"short");
            assert!(count > last, "seed {seed}: {count} after {last}");
            lab.nodes[leader].1 = lab.start(leader, host);
            (0..3_000).for_each(|_| {
                let now = lab.world.now(lab.home);
                let _ = client.do_work(now).unwrap();
                lab.step();
            });
            last = lab.ask(&mut client, b"short");
            assert_eq!(last, count + 1, "seed {seed}");
        }
    }
}
