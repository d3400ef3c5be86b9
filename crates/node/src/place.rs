//! Where the driver's directory is: in shared memory, if there is enough of it.

use std::io;
use std::path::{Path, PathBuf};

use runtime::files::Files;

/// Where the host keeps files in memory.
const SHARED_MEMORY: &str = "/dev/shm";

/// Where a driver's directory is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The directory.
    pub directory: PathBuf,
    /// Why it is on disk though it would be faster in memory.
    pub remark: Option<String>,
}

/// The driver's directory of a node, on disk.
#[must_use]
pub fn on_disk(node: &Path) -> PathBuf {
    node.join("aeron")
}

/// The driver's directory of a node in shared memory: another one for each node's directory.
///
/// `node` is its absolute path.
#[must_use]
pub fn in_memory(node: &Path) -> PathBuf {
    let name = node.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    // FNV-1a.
    let hash =
        node.as_os_str().as_encoded_bytes().iter().fold(0x811c_9dc5_u32, |hash, &byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
    Path::new(SHARED_MEMORY).join(format!("coracle-{name}-{hash:08x}"))
}

/// Chooses: in memory if `bytes` fit there, or if the node was there in an earlier life.
///
/// # Errors
/// The host does not say.
pub fn place(files: &dyn Files, node: &Path, bytes: u64) -> io::Result<Place> {
    let shared = Path::new(SHARED_MEMORY);
    let directory = in_memory(node);
    let remark = if files.entry(shared)?.is_none() {
        format!("there is no {SHARED_MEMORY}")
    } else if files.entry(&directory.join(wire::cnc::FILE_NAME))?.is_some() {
        return Ok(Place { directory, remark: None });
    } else {
        let usable = files.usable_space(shared)?;
        if usable >= bytes {
            return Ok(Place { directory, remark: None });
        }
        let mib = |bytes: u64| bytes >> 20;
        format!("{SHARED_MEMORY} has {} MiB of {} that may be needed", mib(usable), mib(bytes))
    };
    Ok(Place { directory: on_disk(node), remark: Some(remark) })
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use sim::World;

    use super::*;

    fn files() -> (World, runtime::Ports) {
        let mut world = World::new(1);
        let host = world.add_host("host", &[IpAddr::from([10, 0, 0, 1])]);
        let process = world.spawn(host, |_| Vec::new());
        let ports = world.ports(process);
        (world, ports)
    }

    #[test]
    fn each_node_has_a_place_of_its_own_in_memory() {
        let (one, other) = (in_memory(Path::new("/a/node0")), in_memory(Path::new("/b/node0")));
        assert_ne!(one, other);
        assert!(one.starts_with(SHARED_MEMORY));
        assert_eq!(one, in_memory(Path::new("/a/node0")));
    }

    #[test]
    fn what_does_not_fit_into_memory_goes_to_disk_and_says_so() {
        let (_world, ports) = files();
        let node = Path::new("/a/node0");
        let nowhere = place(&*ports.files, node, 1).unwrap();
        assert_eq!(nowhere.directory, Path::new("/a/node0/aeron"));
        assert_eq!(nowhere.remark.unwrap(), "there is no /dev/shm");
        ports.files.create_directory(Path::new(SHARED_MEMORY)).unwrap();
        let fits = place(&*ports.files, node, 1 << 20).unwrap();
        assert_eq!(fits, Place { directory: in_memory(node), remark: None });
        let large = place(&*ports.files, node, u64::MAX).unwrap();
        assert_eq!(large.directory, Path::new("/a/node0/aeron"));
        assert!(large.remark.unwrap().starts_with("/dev/shm has "));
    }

    #[test]
    fn a_node_returns_to_the_place_of_its_last_life() {
        let (_world, ports) = files();
        let node = Path::new("/a/node0");
        let directory = in_memory(node);
        ports.files.create_directory(&directory).unwrap();
        ports.files.create(&directory.join(wire::cnc::FILE_NAME)).unwrap();
        assert_eq!(
            place(&*ports.files, node, u64::MAX).unwrap(),
            Place { directory, remark: None }
        );
    }
}
