//! The files port in memory: one store for each host, which outlives the processes on it.
//!
//! A name leads to an inode, and open files and mappings hold the inode, so that a file that was
//! removed lives on for those who have it. Every mapping of one inode is the same region: there
//! client and driver meet. Space is limited, and syncs and writes can be made to fail.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use runtime::EpochNanos;
use runtime::files::{Backing, Entry, File, FileLock, Files, Mapping, SyncKind};
use runtime::random::Rng;

use crate::crash::Image;
use crate::disk_faults::DiskFaults;
use crate::inode::Inode;
use crate::journal::{Event, Journal};
use crate::lock;
use crate::world::ProcessId;

#[derive(Clone)]
enum Node {
    Directory,
    File(Arc<Inode>),
}

impl Node {
    fn is_file(&self) -> bool {
        matches!(self, Self::File(_))
    }

    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Directory, Self::Directory) => true,
            (Self::File(one), Self::File(two)) => Arc::ptr_eq(one, two),
            _ => false,
        }
    }
}

type Names = BTreeMap<PathBuf, Node>;

/// The files of one host.
#[derive(Default)]
pub(crate) struct Store {
    faults: Arc<DiskFaults>,
    names: Mutex<Names>,
    /// The names that are on the disk for sure.
    durable: Mutex<Names>,
    journal: Mutex<Option<Journal>>,
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

    pub(crate) fn watch(&self, journal: Journal) {
        *lock(&self.journal) = Some(journal);
    }

    /// Tells the journal of what happened at `path`, if it is watched.
    fn tell(&self, path: &Path, event: impl FnOnce() -> Event) {
        if let Some(journal) = lock(&self.journal).as_ref().filter(|it| it.covers(path)) {
            journal.push(event());
        }
    }

    /// The files become those of an image, all durable.
    pub(crate) fn load(&self, image: &Image) {
        let mut loaded = Names::new();
        for path in &image.directories {
            loaded.insert(path.clone(), Node::Directory);
        }
        for (path, bytes) in &image.files {
            let modified = image.modified.get(path).copied().unwrap_or_default();
            let inode = Inode::holding(Arc::clone(&self.faults), bytes, modified);
            loaded.insert(path.clone(), Node::File(Arc::new(inode)));
        }
        *lock(&self.durable) = loaded.clone();
        *lock(&self.names) = loaded;
    }

    /// All files as they stand.
    pub(crate) fn image(&self) -> Image {
        let mut image = Image::default();
        for (path, node) in lock(&self.names).iter() {
            match node {
                Node::Directory => drop(image.directories.insert(path.clone())),
                Node::File(inode) => {
                    image.files.insert(path.clone(), inode.bytes());
                    image.modified.insert(path.clone(), inode.modified());
                }
            }
        }
        image
    }

    /// Leaves what was synced, and of the rest what chance wants. No process lives on the host.
    pub(crate) fn power_cut(&self, rng: &mut Rng) {
        let mut names = lock(&self.names);
        let mut durable = lock(&self.durable);
        let mut left = durable.clone();
        // New names first: a rename moves a file to the new name, or leaves it at the old one.
        for (path, node) in names.iter() {
            let is_new = !durable.get(path).is_some_and(|old| old.is_same(node));
            if is_new && expect_parent(&left, path).is_ok() && rng.chance(0.5) {
                left.insert(path.clone(), node.clone());
            }
        }
        for (path, node) in durable.iter().filter(|(path, _)| !names.contains_key(*path)) {
            let moved = names.iter().find(|(_, new)| new.is_file() && new.is_same(node));
            let may_go =
                moved.is_none_or(|(new, _)| left.get(new).is_some_and(|n| n.is_same(node)));
            if may_go && rng.chance(0.5) {
                left.retain(|other, _| !other.starts_with(path));
            }
        }
        for node in left.values() {
            if let Node::File(inode) = node {
                inode.power_cut(rng);
            }
        }
        *durable = left.clone();
        *names = left;
    }

    /// Makes everything durable, whatever the disk pretended before.
    pub(crate) fn settle(&self) {
        let names = lock(&self.names);
        for node in names.values() {
            if let Node::File(inode) = node {
                inode.settle();
            }
        }
        *lock(&self.durable) = names.clone();
    }

    /// What is below `root` becomes what an image holds there, all of it durable.
    pub(crate) fn restore(&self, root: &Path, image: &Image) {
        let is_elsewhere = |path: &PathBuf| !path.starts_with(root);
        let mut names = lock(&self.names);
        let mut durable = lock(&self.durable);
        names.retain(|path, _| is_elsewhere(path));
        durable.retain(|path, _| is_elsewhere(path));
        for path in image.directories.iter().filter(|path| !is_elsewhere(path)) {
            names.insert(path.clone(), Node::Directory);
            durable.insert(path.clone(), Node::Directory);
        }
        for (path, bytes) in image.files.iter().filter(|(path, _)| !is_elsewhere(path)) {
            let modified = image.modified.get(path).copied().unwrap_or_default();
            let inode = Inode::holding(Arc::clone(&self.faults), bytes, modified);
            let inode = Arc::new(inode);
            names.insert(path.clone(), Node::File(Arc::clone(&inode)));
            durable.insert(path.clone(), Node::File(inode));
        }
    }

    /// Flips one bit of one file that `suits`, where something other than zeros stands; returns
    /// which file and where.
    pub(crate) fn rot(
        &self,
        rng: &mut Rng,
        suits: impl Fn(&Path) -> bool,
    ) -> Option<(PathBuf, u64)> {
        let names = lock(&self.names);
        let mut found: Vec<_> = names
            .iter()
            .filter(|(path, _)| suits(path))
            .filter_map(|(path, node)| match node {
                Node::File(inode) => Some((path, inode)),
                Node::Directory => None,
            })
            .collect();
        rng.shuffle(&mut found);
        found.iter().find_map(|(path, inode)| Some(((*path).clone(), inode.rot(rng)?)))
    }

    /// The longest file, once one was refused that grew beyond all sense.
    pub(crate) fn overgrown(&self) -> Option<(PathBuf, u64)> {
        let refused = Some(self.faults.overgrown()).filter(|&length| length > 0)?;
        let names = lock(&self.names);
        let files = names.iter().filter_map(|(path, node)| match node {
            Node::File(inode) => Some((inode.length(), path)),
            Node::Directory => None,
        });
        Some((files.max()?.1.clone(), refused))
    }

    fn sync_directory(&self, directory: &Path) {
        let names = lock(&self.names);
        let mut durable = lock(&self.durable);
        let is_inside = |path: &Path| path.parent() == Some(directory);
        durable.retain(|path, _| !is_inside(path) || names.contains_key(path));
        let below = names.range(directory.to_owned()..);
        let below = below.take_while(|(path, _)| path.starts_with(directory));
        for (path, node) in below.filter(|(path, _)| is_inside(path)) {
            durable.insert(path.clone(), node.clone());
        }
        // Those above the watched one too: its own name stands there.
        let path = directory.to_owned();
        if let Some(journal) = lock(&self.journal).as_ref().filter(|it| it.concerns(directory)) {
            journal.push(Event::SyncedDirectory { path });
        }
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
        if let Some(journal) = lock(&self.journal).as_ref().filter(|it| it.covers(path)) {
            let file = journal.register(path, &inode);
            inode.watch(journal.clone(), file);
        }
        Ok(inode)
    }
}

/// A name can be made only in a directory that is there. The root always is.
fn expect_parent(names: &Names, path: &Path) -> io::Result<()> {
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
    /// Whether reads are not harmed.
    is_outside: bool,
}

impl SimFiles {
    pub(crate) fn new(
        store: Arc<Store>,
        process: ProcessId,
        alive: Arc<AtomicBool>,
        is_outside: bool,
    ) -> Self {
        Self { store, process, alive, is_outside }
    }

    /// What a process that has ended tries, in a destructor, has no effect.
    fn expect_alive(&self) -> io::Result<()> {
        expect_alive(&self.alive)
    }

    fn opened(&self, inode: Arc<Inode>) -> Arc<dyn File> {
        let (alive, is_outside) = (Arc::clone(&self.alive), self.is_outside);
        Arc::new(SimFile { inode, alive, is_outside })
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
        match inode.create_mapped(length) {
            Ok(region) => Ok(Mapping::new(region, Arc::new(SimBacking(inode)))),
            Err(error) => {
                lock(&self.store.names).remove(path);
                self.store.tell(path, || Event::Removed { path: path.to_owned() });
                Err(error)
            }
        }
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.expect_alive()?;
        let mut missing = Vec::new();
        let mut names = lock(&self.store.names);
        for ancestor in path.ancestors().filter(|ancestor| ancestor.parent().is_some()) {
            match names.get(ancestor) {
                Some(Node::Directory) => {}
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => {
                    names.insert(ancestor.to_owned(), Node::Directory);
                    missing.push(ancestor);
                }
            }
        }
        for path in missing.into_iter().rev() {
            self.store.tell(path, || Event::CreatedDirectory { path: path.to_owned() });
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
            let (from, to) = (from.to_owned(), to.to_owned());
            self.store.tell(&from.clone(), || Event::Renamed { from, to });
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.expect_alive()?;
        let mut names = lock(&self.store.names);
        match names.get(path) {
            Some(Node::File(_)) => {
                names.remove(path);
                self.store.tell(path, || Event::Removed { path: path.to_owned() });
                Ok(())
            }
            Some(Node::Directory) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn remove_tree(&self, path: &Path) -> io::Result<()> {
        self.expect_alive()?;
        lock(&self.store.names).retain(|other, _| !other.starts_with(path));
        self.store.tell(path, || Event::Removed { path: path.to_owned() });
        Ok(())
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.expect_alive()?;
        self.list(path)?;
        if self.store.faults.on_sync()? {
            self.store.sync_directory(path);
        }
        Ok(())
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
    is_outside: bool,
}

impl File for SimFile {
    fn read_at(&self, target: &mut [u8], offset: u64) -> io::Result<usize> {
        if self.is_outside {
            return Ok(self.inode.read_unharmed(target, offset));
        }
        self.inode.read_at(target, offset)
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

    fn modified(&self) -> io::Result<EpochNanos> {
        Ok(self.inode.modified())
    }

    fn sync(&self, _sync: SyncKind) -> io::Result<()> {
        expect_alive(&self.alive)?;
        self.inode.sync()
    }
}

struct SimBacking(Arc<Inode>);

impl Backing for SimBacking {
    fn sync(&self, range: Range<usize>) -> io::Result<()> {
        self.0.sync_range(range)
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
