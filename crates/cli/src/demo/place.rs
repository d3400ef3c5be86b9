//! Where the demonstration keeps its files: a directory for what is to last, and one in memory,
//! when there is room, for what drivers and clients share.

use std::io;
use std::path::{Path, PathBuf};

use coracle::os::files::OsFiles;
use coracle::runtime::files::Files as _;

/// Where memory is a file system, on Linux.
const MEMORY: &str = "/dev/shm";
/// The room in it that three nodes and a client may come to need.
const MEMORY_MIN: u64 = 256 << 20;

/// The two directories. Dropping it removes them.
pub(crate) struct Place {
    disk: PathBuf,
    memory: PathBuf,
    keep: bool,
    note: Option<String>,
}

impl Place {
    /// Makes both, named after this process and what it does.
    pub(crate) fn make(purpose: &str, keep: bool) -> io::Result<Self> {
        let name = format!("coracle-{purpose}-{}", std::process::id());
        let disk = std::env::temp_dir().join(&name);
        let room = OsFiles.usable_space(Path::new(MEMORY)).unwrap_or(0);
        let (memory, note) = memory_directory(&name, &disk, room);
        let place = Self { disk, memory, keep, note };
        for directory in [&place.disk, &place.memory] {
            // Of an earlier process with the same id.
            OsFiles.remove_tree(directory)?;
            OsFiles.create_directory(directory)?;
        }
        Ok(place)
    }

    /// What there is to say about it.
    pub(crate) fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// The directory of a member: archive, cluster, and what it says.
    pub(crate) fn member(&self, id: usize) -> PathBuf {
        self.disk.join(format!("member-{id}"))
    }

    /// Where a node's output goes.
    pub(crate) fn output(&self, id: usize) -> PathBuf {
        self.disk.join(format!("member-{id}.txt"))
    }

    /// A directory for a driver.
    pub(crate) fn driver(&self, name: &str) -> PathBuf {
        self.memory.join(format!("driver-{name}"))
    }
}

fn memory_directory(name: &str, disk: &Path, room: u64) -> (PathBuf, Option<String>) {
    if room >= MEMORY_MIN {
        return (Path::new(MEMORY).join(name), None);
    }
    let note = format!(
        "{MEMORY} has room for {} MiB only, not {}: drivers share files in {}",
        room >> 20,
        MEMORY_MIN >> 20,
        disk.display()
    );
    (disk.join("memory"), Some(note))
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.keep {
            println!("kept {} and {}", self.disk.display(), self.memory.display());
            return;
        }
        for directory in [&self.memory, &self.disk] {
            if let Err(error) = OsFiles.remove_tree(directory) {
                eprintln!("coracle: {} is left over: {error}", directory.display());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_memory_is_short_the_disk_takes_all_and_that_is_told() {
        let disk = Path::new("/tmp/d");
        assert_eq!(memory_directory("d", disk, 1 << 30), (PathBuf::from("/dev/shm/d"), None));
        let (memory, note) = memory_directory("d", disk, 64 << 20);
        assert_eq!(memory, disk.join("memory"));
        let told = "/dev/shm has room for 64 MiB only, not 256: drivers share files in /tmp/d";
        assert_eq!(note.unwrap(), told);
    }

    #[test]
    fn nothing_is_left_of_a_place() {
        let place = Place::make("place", false).unwrap();
        let (disk, memory) = (place.disk.clone(), place.memory.clone());
        std::fs::write(place.output(1), "said").unwrap();
        assert!(place.output(1).exists() && memory.exists());
        drop(place);
        assert!(!disk.exists() && !memory.exists());
    }
}
