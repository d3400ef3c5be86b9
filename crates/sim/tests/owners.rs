//! Who owned a lock, and what of it outlives rot.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use coracle_sim::World;
use runtime::files::{Files, read_exact_at, write_all_at};
use runtime::owners::Owners;
use runtime::{EpochNanos, Nanos, Now};

const LOCK: &str = "/d/lock";

fn at(millis: i64) -> Now {
    Now { mono: Nanos::from_millis(millis), epoch: EpochNanos(millis * 1_000_000) }
}

fn files() -> (World, Arc<dyn Files>) {
    let mut world = World::new(1);
    let host = world.add_host("a", &[IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))]);
    let process = world.spawn(host, |_| Vec::new());
    let files = world.ports(process).files;
    files.create_directory(Path::new("/d")).unwrap();
    drop(files.lock(Path::new(LOCK)).unwrap().unwrap());
    (world, files)
}

fn read(files: &dyn Files) -> Owners {
    Owners::read(files, Path::new(LOCK)).unwrap()
}

#[test]
fn the_owner_and_those_before_are_known_by_process_or_start() {
    let (_world, files) = files();
    assert_eq!(read(&*files), Owners::default());
    for (process_id, millis) in [(7, 1_000), (8, 2_000), (9, 3_000), (10, 4_000)] {
        read(&*files).succeed(&*files, Path::new(LOCK), process_id, at(millis)).unwrap();
    }
    let owners = read(&*files);
    assert!(owners.made(10, 0) && owners.made(0, 4_000) && owners.made(8, 0));
    assert!(!owners.made(7, 1_000) && !owners.made(11, 4_001));
}

/// Seed 154 of the clusters: after a bit of the file rotted, a service had to wait for ten seconds
/// until the mark file of its dead predecessor looked old.
#[test]
fn a_bit_or_a_line_that_rots_hides_no_owner_and_names_no_other() {
    let (_world, files) = files();
    let lock = Path::new(LOCK);
    Owners::default().succeed(&*files, lock, 7, at(1_000)).unwrap();
    read(&*files).succeed(&*files, lock, 8, at(2_000)).unwrap();
    let whole = read(&*files);
    let file = files.open(lock).unwrap();
    let mut bytes = vec![0; file.length().unwrap() as usize];
    read_exact_at(&*file, &mut bytes, 0).unwrap();
    for bit in 0..8 * bytes.len() {
        let mut rotten = bytes.clone();
        rotten[bit / 8] ^= 1 << (bit % 8);
        write_all_at(&*file, &rotten, 0).unwrap();
        assert_eq!(read(&*files), whole, "bit {bit}");
    }
    let line = bytes.len() / 2;
    for half in [0..line, line..2 * line] {
        let mut rotten = bytes.clone();
        rotten[half].fill(0xff);
        write_all_at(&*file, &rotten, 0).unwrap();
        assert_eq!(read(&*files), whole);
    }
    write_all_at(&*file, &vec![0xff; bytes.len()], 0).unwrap();
    assert_eq!(read(&*files), Owners::default());
}
