//! The files port in memory: one store for each host, which outlives the processes on it.
//!
//! A name leads to an inode, and open files and mappings hold the inode, so that a file that was
//! removed lives on for those who have it. Every mapping of one inode is the same region: there
//! client and driver meet. Space is limited, and syncs and writes can be made to fail.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use runtime::files::{Backing, Entry, File, FileLock, Files, Mapping, SyncKind};

use crate::inode::Inode;
use crate::lock;
use crate::world::ProcessId;

/// How the disk of one host can be made to fail.
#[derive(Debug)]
pub struct DiskFaults {
    space: AtomicU64,
    used: AtomicU64,
    failing_syncs: AtomicU32,
    failing_writes: AtomicU32,
    failed: AtomicU64,
    synced: AtomicU64,
}

impl Default for DiskFaults {
    /// One tebibyte that never fails.
    fn default() -> Self {
        Self {
            space: AtomicU64::new(1 << 40),
            used: AtomicU64::new(0),
            failing_syncs: AtomicU32::new(0),
            failing_writes: AtomicU32::new(0),
            failed: AtomicU64::new(0),
            synced: AtomicU64::new(0),
        }
    }
}

impl DiskFaults {
    /// Sets how many bytes the disk holds in all. What is there beyond it stays.
    pub fn set_space(&self, length: u64) {
        self.space.store(length, Ordering::Relaxed);
    }

    /// Bytes that files take.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Lets the next `count` syncs of files, mappings and directories fail.
    pub fn fail_syncs(&self, count: u32) {
        self.failing_syncs.store(count, Ordering::Relaxed);
    }

    /// Lets the next `count` writes fail.
    pub fn fail_writes(&self, count: u32) {
        self.failing_writes.store(count, Ordering::Relaxed);
    }

    /// How many syncs and writes were made to fail so far, want of space included.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// How many syncs of files and mappings succeeded so far.
    #[must_use]
    pub fn synced(&self) -> u64 {
        self.synced.load(Ordering::Relaxed)
    }

    pub(crate) fn take(&self, length: u64) -> io::Result<()> {
        if length > self.usable() {
            self.failed.fetch_add(1, Ordering::Relaxed);
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.used.fetch_add(length, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn give_back(&self, length: u64) {
        self.used.fetch_sub(length, Ordering::Relaxed);
    }

    fn usable(&self) -> u64 {
        self.space.load(Ordering::Relaxed).saturating_sub(self.used())
    }

    pub(crate) fn on_write(&self) -> io::Result<()> {
        self.strike(&self.failing_writes, "a write was made to fail")
    }

    pub(crate) fn on_sync(&self) -> io::Result<()> {
        self.strike(&self.failing_syncs, "a sync was made to fail")?;
        self.synced.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn strike(&self, left: &AtomicU32, what: &str) -> io::Result<()> {
        match left.load(Ordering::Relaxed) {
            0 => Ok(()),
            count => {
                left.store(count - 1, Ordering::Relaxed);
                self.failed.fetch_add(1, Ordering::Relaxed);
                Err(io::Error::other(what))
            }
        }
    }
}

#[derive(Clone)]
enum Node {
    Directory,
    File(Arc<Inode>),
}

/// The files of one host.
#[derive(Default)]
pub(crate) struct Store {
    faults: Arc<DiskFaults>,
    names: Mutex<BTreeMap<PathBuf, Node>>,
    /// Who has locked which inode.
    locks: Mutex<Vec<(ProcessId, Arc<Inode>)>>,
}

impl Store {
    pub(crate) fn faults(&self) -> &DiskFaults {
        &self.faults
    }

    /// Ends the locks of a process that has ended.
    pub(crate) fn unlock_all(&self, process: ProcessId) {
        lock(&self.locks).retain(|(holder, _)| *holder != process);
    }

    fn file(&self, path: &Path) -> io::Result<Arc<Inode>> {
        match lock(&self.names).get(path) {
            Some(Node::File(inode)) => Ok(Arc::clone(inode)),
            Some(Node::Directory) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn create(&self, path: &Path) -> io::Result<Arc<Inode>> {
        let mut names = lock(&self.names);
        if names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        expect_parent(&names, path)?;
        let inode = Arc::new(Inode::new(Arc::clone(&self.faults)));
        names.insert(path.to_owned(), Node::File(Arc::clone(&inode)));
        Ok(inode)
    }
}

/// A name can be made only in a directory that is there. The root always is.
fn expect_parent(names: &BTreeMap<PathBuf, Node>, path: &Path) -> io::Result<()> {
    match path.parent() {
        None => Err(io::ErrorKind::InvalidInput.into()),
        Some(parent) if parent.parent().is_none() => Ok(()),
        Some(parent) => match names.get(parent) {
            Some(Node::Directory) => Ok(()),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        },
    }
}

/// The files port of one process.
pub(crate) struct SimFiles {
    store: Arc<Store>,
    process: ProcessId,
    alive: Arc<AtomicBool>,
}

impl SimFiles {
    pub(crate) fn new(store: Arc<Store>, process: ProcessId, alive: Arc<AtomicBool>) -> Self {
        Self { store, process, alive }
    }

    /// What a process that has ended tries, in a destructor, has no effect.
    fn expect_alive(&self) -> io::Result<()> {
        expect_alive(&self.alive)
    }

    fn opened(&self, inode: Arc<Inode>) -> Arc<dyn File> {
        Arc::new(SimFile { inode, alive: Arc::clone(&self.alive) })
    }
}

fn expect_alive(alive: &AtomicBool) -> io::Result<()> {
    if alive.load(Ordering::Relaxed) {
        Ok(())
    } else {
        Err(io::Error::other("the process has ended"))
    }
}

impl Files for SimFiles {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.expect_alive()?;
        Ok(self.opened(self.store.file(path)?))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.expect_alive()?;
        Ok(self.opened(self.store.create(path)?))
    }

    fn map(&self, path: &Path) -> io::Result<Mapping> {
        self.expect_alive()?;
        let inode = self.store.file(path)?;
        let region = inode.map()?;
        Ok(Mapping::new(region, Arc::new(SimBacking(inode))))
    }

    fn create_mapped(&self, path: &Path, length: u64, _allocate: bool) -> io::Result<Mapping> {
        self.expect_alive()?;
        let inode = self.store.create(path)?;
        let made = inode.set_length(length).and_then(|()| inode.map());
        match made {
            Ok(region) => Ok(Mapping::new(region, Arc::new(SimBacking(inode)))),
            Err(error) => {
                lock(&self.store.names).remove(path);
                Err(error)
            }
        }
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.expect_alive()?;
        let mut names = lock(&self.store.names);
        for ancestor in path.ancestors().filter(|ancestor| ancestor.parent().is_some()) {
            match names.get(ancestor) {
                Some(Node::Directory) => {}
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => {
                    names.insert(ancestor.to_owned(), Node::Directory);
                }
            }
        }
        Ok(())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        let names = lock(&self.store.names);
        match names.get(directory) {
            Some(Node::Directory) => {}
            Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
            None if directory.parent().is_none() => {}
            None => return Err(io::ErrorKind::NotFound.into()),
        }
        let below = names.range(directory.to_owned()..);
        Ok(below
            .take_while(|(path, _)| path.starts_with(directory))
            .filter(|(path, _)| path.parent() == Some(directory))
            .filter_map(|(path, node)| entry_of(path, node))
            .collect())
    }

    fn entry(&self, path: &Path) -> io::Result<Option<Entry>> {
        let names = lock(&self.store.names);
        Ok(names.get(path).and_then(|node| entry_of(path, node)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.expect_alive()?;
        let mut names = lock(&self.store.names);
        match names.get(from) {
            Some(Node::File(_)) => {}
            Some(Node::Directory) => return Err(io::ErrorKind::IsADirectory.into()),
            None => return Err(io::ErrorKind::NotFound.into()),
        }
        expect_parent(&names, to)?;
        if matches!(names.get(to), Some(Node::Directory)) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if let Some(node) = names.remove(from) {
            names.insert(to.to_owned(), node);
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.expect_alive()?;
        let mut names = lock(&self.store.names);
        match names.get(path) {
            Some(Node::File(_)) => {
                names.remove(path);
                Ok(())
            }
            Some(Node::Directory) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn remove_tree(&self, path: &Path) -> io::Result<()> {
        self.expect_alive()?;
        lock(&self.store.names).retain(|other, _| !other.starts_with(path));
        Ok(())
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.expect_alive()?;
        self.list(path)?;
        self.store.faults.on_sync()
    }

    fn usable_space(&self, _path: &Path) -> io::Result<u64> {
        Ok(self.store.faults.usable())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn FileLock>>> {
        self.expect_alive()?;
        let inode = match self.store.file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.store.create(path)?,
            found => found?,
        };
        let mut locks = lock(&self.store.locks);
        if locks.iter().any(|(_, locked)| Arc::ptr_eq(locked, &inode)) {
            return Ok(None);
        }
        locks.push((self.process, Arc::clone(&inode)));
        drop(locks);
        let store = Arc::clone(&self.store);
        Ok(Some(Box::new(SimLock { store, process: self.process, inode })))
    }
}

fn entry_of(path: &Path, node: &Node) -> Option<Entry> {
    let name = path.file_name()?.to_str()?.to_owned();
    Some(match node {
        Node::Directory => Entry { name, is_directory: true, length: 0 },
        Node::File(inode) => Entry { name, is_directory: false, length: inode.length() },
    })
}

struct SimFile {
    inode: Arc<Inode>,
    alive: Arc<AtomicBool>,
}

impl File for SimFile {
    fn read_at(&self, target: &mut [u8], offset: u64) -> io::Result<usize> {
        Ok(self.inode.read_at(target, offset))
    }

    fn write_at(&self, source: &[u8], offset: u64) -> io::Result<usize> {
        expect_alive(&self.alive)?;
        self.inode.write_at(source, offset)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        expect_alive(&self.alive)?;
        self.inode.set_length(length)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.inode.length())
    }

    fn sync(&self, _sync: SyncKind) -> io::Result<()> {
        expect_alive(&self.alive)?;
        self.inode.sync()
    }
}

struct SimBacking(Arc<Inode>);

impl Backing for SimBacking {
    fn sync(&self, _range: Range<usize>) -> io::Result<()> {
        self.0.sync()
    }
}

struct SimLock {
    store: Arc<Store>,
    process: ProcessId,
    inode: Arc<Inode>,
}

impl FileLock for SimLock {}

impl Drop for SimLock {
    /// Only its own: after a kill, another process may hold the lock by now.
    fn drop(&mut self) {
        lock(&self.store.locks)
            .retain(|(holder, inode)| *holder != self.process || !Arc::ptr_eq(inode, &self.inode));
    }
}
