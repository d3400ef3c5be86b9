//! Files in memory for the tests of this crate.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use runtime::files::Files;
use sim::World;

/// An empty directory on a simulated host.
pub(crate) fn directory() -> (Arc<dyn Files>, PathBuf) {
    let mut world = World::new(1);
    let host = world.add_host("node", &[IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))]);
    let process = world.spawn(host, |_| Vec::new());
    let files = world.ports(process).files;
    let path = PathBuf::from("/cluster");
    assert!(files.create_directory(&path).is_ok());
    (files, path)
}
