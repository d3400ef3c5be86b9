//! What happened to some of a host's files, in order: the material from which the images that a
//! power cut could leave are built.
//!
//! Watched are the files that are made below a directory after [`World::watch`](crate::World). The
//! stores of whoever maps a file are not seen: they are found by comparison at each mark and sync.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

use crate::inode::Inode;
use crate::lock;

/// Which file, whatever its names: counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub usize);

/// One thing that happened to files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A file was made under a name.
    Created {
        /// Its name.
        path: PathBuf,
        /// The file.
        file: FileId,
    },
    /// A directory was made.
    CreatedDirectory {
        /// Its name.
        path: PathBuf,
    },
    /// Bytes were written.
    Wrote {
        /// The file.
        file: FileId,
        /// Where.
        offset: u64,
        /// What.
        bytes: Box<[u8]>,
    },
    /// A file was cut, or filled up with zeros.
    Resized {
        /// The file.
        file: FileId,
        /// Its new length.
        length: u64,
    },
    /// All of a file was made durable.
    Synced {
        /// The file.
        file: FileId,
    },
    /// A file got another name, in place of whatever bore it.
    Renamed {
        /// The old one.
        from: PathBuf,
        /// The new one.
        to: PathBuf,
    },
    /// A name, and all names below it, were taken away.
    Removed {
        /// The name.
        path: PathBuf,
    },
    /// The names in a directory were made durable.
    SyncedDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// Whoever watches has made a note.
    Marked {
        /// Its number.
        mark: usize,
    },
}

/// The events below one directory. Clones share them.
#[derive(Clone, Debug)]
pub struct Journal {
    root: PathBuf,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    events: Vec<Event>,
    files: Vec<Weak<Inode>>,
}

impl Journal {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_path_buf(), shared: Arc::default() }
    }

    /// The events so far.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        lock(&self.shared).events.clone()
    }

    /// How many events there are.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.shared).events.len()
    }

    /// Whether nothing has happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Notes that something is known now, by a number that whoever watches understands.
    pub fn mark(&self, mark: usize) {
        self.capture();
        self.push(Event::Marked { mark });
    }

    /// Looks for what was stored into mapped files since the last look.
    pub fn capture(&self) {
        let files: Vec<Arc<Inode>> =
            lock(&self.shared).files.iter().filter_map(Weak::upgrade).collect();
        for file in files {
            file.capture();
        }
    }

    pub(crate) fn covers(&self, path: &Path) -> bool {
        path.starts_with(&self.root)
    }

    /// Whether the names in a directory are watched, or lead to those that are.
    pub(crate) fn concerns(&self, directory: &Path) -> bool {
        self.covers(directory) || self.root.starts_with(directory)
    }

    pub(crate) fn push(&self, event: Event) {
        lock(&self.shared).events.push(event);
    }

    /// Gives a new file its number.
    pub(crate) fn register(&self, path: &Path, inode: &Arc<Inode>) -> FileId {
        let mut shared = lock(&self.shared);
        let file = FileId(shared.files.len());
        shared.files.push(Arc::downgrade(inode));
        shared.events.push(Event::Created { path: path.to_path_buf(), file });
        file
    }
}
