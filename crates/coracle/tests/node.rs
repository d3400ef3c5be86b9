//! A whole node on threads, as a program uses it.

#![allow(clippy::unwrap_used, clippy::disallowed_types)]

use std::path::{Path, PathBuf};

use coracle::cluster::counters::Gauge;
use coracle::cluster_control::ClusterControl;
use coracle::consensus::Toggle;
use coracle::node::{EchoService, Members, Settings, Threads};
use coracle::runtime::{Halt, Nanos};
use coracle::{Node, NodeStartError, os};

fn settings(directory: &Path, threads: Threads, base_port: u16) -> Settings {
    let members = Members::Hosts { hosts: vec!["127.0.0.1".to_string()], base_port };
    let term_length = Some(64 << 10);
    Settings { threads, term_length, ..Settings::new(directory, 0, members) }
}

fn launch(settings: &Settings) -> Result<Node, NodeStartError> {
    Node::launch(settings.config().unwrap(), vec![Box::new(EchoService::default())])
}

fn directory(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("coracle-node-{}-{name}", std::process::id()))
}

/// The first of five ports in a row that nobody has, from `start` on.
fn free_ports(start: u16) -> u16 {
    let is_free = |port| std::net::UdpSocket::bind(("127.0.0.1", port)).is_ok();
    (start..32_000).step_by(10).find(|base| (0..5).all(|next| is_free(base + next))).unwrap()
}

/// Waits until the node leads.
fn control_of(node: &Node) -> ClusterControl {
    let control = ClusterControl::open(node.directory(), 0).unwrap();
    for _ in 0..3_000 {
        if control.value(Gauge::ControlToggle) == Some(Toggle::Neutral as i64) {
            return control;
        }
        assert!(node.is_running());
        os::thread::sleep(Nanos::from_millis(10));
    }
    panic!("it does not lead");
}

#[test]
fn a_node_ends_when_its_cluster_is_shut_down_and_starts_again() {
    for (threads, start) in [(Threads::Shared, 30_000), (Threads::Dedicated, 30_500)] {
        let base_port = free_ports(start);
        let directory = directory(&format!("{threads:?}"));
        let settings = settings(&directory, threads, base_port);
        let node = launch(&settings).unwrap();
        assert!(launch(&settings).is_err(), "its directory is taken");
        control_of(&node).ask(Toggle::Shutdown, os::clock::now()).unwrap();
        node.wait().unwrap();
        let node = launch(&settings).unwrap();
        let control = control_of(&node);
        assert_eq!(control.value(Gauge::LeadershipTermId), Some(1));
        node.close().unwrap();
        assert!(!control.is_alive(os::clock::now()));
        std::fs::remove_dir_all(&directory).unwrap();
    }
}

#[test]
fn a_part_that_fails_ends_the_node_and_is_named() {
    let directory = directory("failing");
    let mut settings = settings(&directory, Threads::Dedicated, free_ports(31_000));
    let channel = "aeron:udp?endpoint=no.such.host.invalid:9";
    settings.properties.push(("aeron.archive.control.channel".to_string(), channel.to_string()));
    let node = launch(&settings).unwrap();
    let Err(Halt::Failed(cause)) = node.wait() else { panic!("it cannot run") };
    assert!(cause.starts_with("archive: "), "{cause}");
    std::fs::remove_dir_all(&directory).unwrap();
}
