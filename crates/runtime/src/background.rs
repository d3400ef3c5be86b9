//! The background port: whatever may block, done aside from the duty cycle.
//!
//! Implementations: one helper thread in `os`, completions in virtual time in `sim`.

use std::io;
use std::net::IpAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use crate::files::{File, Mapping, SyncKind};

/// Names a job until its outcome has been polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathRange {
    /// The file.
    pub path: PathBuf,
    /// Which bytes of it.
    pub range: Range<u64>,
}

/// Something that may block.
pub enum Job {
    /// Makes files durable, then directories: one group sync.
    ///
    /// Outcome: [`Outcome::Done`]. The first failure ends it.
    Sync {
        /// Files whose bytes must be durable.
        files: Vec<Arc<dyn File>>,
        /// How much of each.
        sync: SyncKind,
        /// Directories whose entries must be durable.
        directories: Vec<PathBuf>,
    },
    /// Creates a file of zeros and maps it. Outcome: [`Outcome::Mapped`].
    CreateMapped {
        /// Where; nothing may stand there.
        path: PathBuf,
        /// Its length in bytes.
        length: u64,
        /// Whether its blocks are reserved.
        allocate: bool,
        /// How many of its first bytes are touched, so that later stores find their pages there.
        touch: u64,
    },
    /// Touches pages of a mapping so that later stores find them there. Outcome: [`Outcome::Done`].
    Touch {
        /// The mapping.
        mapping: Mapping,
        /// The first byte.
        offset: usize,
        /// How many bytes.
        length: usize,
    },
    /// Creates a file of `length` zeros. Outcome: [`Outcome::Opened`].
    CreateZeroed {
        /// Where; nothing may stand there.
        path: PathBuf,
        /// Its length in bytes.
        length: u64,
        /// Whether the zeros are written, and file and directory made durable, before the outcome:
        /// a later sync of what overwrites them has nothing but data to write. Otherwise the file
        /// is given its length, and space if the host does that by itself ([`File::reserve`]).
        sync: bool,
    },
    /// Tells the host what to write out, and which of its pages nobody will look at soon. Outcome:
    /// [`Outcome::Done`], whatever it made of that. Files that are gone are fine.
    Uncache {
        /// Parts of which writing out is to begin.
        begin: Vec<PathRange>,
        /// Parts whose pages are to be given back, as far as they are written out.
        give_back: Vec<PathRange>,
    },
    /// Drops the last references to mappings, whose unmapping may block. Outcome:
    /// [`Outcome::Done`].
    Release(Vec<Mapping>),
    /// Removes files. Those already gone are fine. Outcome: [`Outcome::Done`].
    Remove(Vec<PathBuf>),
    /// Resolves a host name. Outcome: [`Outcome::Resolved`].
    Resolve(String),
}

/// What became of a job.
pub enum Outcome {
    /// It is done.
    Done,
    /// The new file, mapped.
    Mapped(Mapping),
    /// The new file.
    Opened(Arc<dyn File>),
    /// The addresses of a name, best first, at least one.
    Resolved(Vec<IpAddr>),
    /// It failed. Nothing half-made is left behind.
    Failed(io::Error),
}

/// One agent's window to the background. Jobs of one window are done in order.
pub trait Background: Send {
    /// Hands over a job.
    fn submit(&mut self, job: Job) -> Ticket;

    /// Hands over outcomes that have come in, oldest first; returns how many.
    fn poll(&mut self, on: &mut dyn FnMut(Ticket, Outcome)) -> usize;
}

/// Where windows to the background come from.
pub trait Workers: Send + Sync {
    /// A window for one agent.
    fn open(&self) -> Box<dyn Background>;
}
