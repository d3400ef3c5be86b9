//! The files port: plain files, mapped files, directories and their durability.
//!
//! Implementations: `os` over the kernel, `sim` in memory, where a power cut can lose whatever was
//! not synced. Directories are made with mode 0700 and files with 0600.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use memory::region::Region;
use wire::time::{EpochNanos, Nanos};

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Its name without the directory. Names that are not UTF-8 are not listed.
    pub name: String,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// Length of a file in bytes.
    pub length: u64,
}

/// How much of a file a sync must make durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncKind {
    /// The bytes, and the length if it changed: `fdatasync`.
    Data,
    /// The bytes and everything the file system knows of the file: `fsync`.
    All,
}

/// Where files come from.
pub trait Files: Send + Sync {
    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// `NotFound` and whatever else the host says.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Creates a file that must not exist, empty.
    ///
    /// # Errors
    /// `AlreadyExists` and whatever else the host says.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Maps an existing file whole, for reading and writing. Every mapping of one file on one host
    /// shows the same bytes.
    ///
    /// # Errors
    /// `NotFound`, `InvalidData` for an empty file, and whatever else the host says.
    fn map(&self, path: &Path) -> io::Result<Mapping>;

    /// Creates a file that must not exist, of `length` zero bytes, and maps it.
    ///
    /// With `allocate` its blocks are reserved, so that a later store cannot fault for want of
    /// space; without, the file is sparse.
    ///
    /// # Errors
    /// `AlreadyExists`, `StorageFull` and whatever else the host says. Nothing is left behind.
    fn create_mapped(&self, path: &Path, length: u64, allocate: bool) -> io::Result<Mapping>;

    /// Creates a directory and its missing parents; fine if it exists.
    ///
    /// # Errors
    /// Whatever the host says.
    fn create_directory(&self, path: &Path) -> io::Result<()>;

    /// The entries of a directory, ordered by name.
    ///
    /// # Errors
    /// `NotFound` and whatever else the host says.
    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>>;

    /// What stands at `path`; `None` when nothing does.
    ///
    /// # Errors
    /// Whatever the host says, except `NotFound`.
    fn entry(&self, path: &Path) -> io::Result<Option<Entry>>;

    /// Renames a file, replacing what stands at `to`. Durable only after `sync_directory`.
    ///
    /// # Errors
    /// `NotFound` and whatever else the host says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Mappings of it stay valid. Durable only after `sync_directory`.
    ///
    /// # Errors
    /// `NotFound` and whatever else the host says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory and all in it; fine if there is none.
    ///
    /// # Errors
    /// Whatever the host says; some of it may be gone by then.
    fn remove_tree(&self, path: &Path) -> io::Result<()>;

    /// Makes creations, renames and removals in a directory durable.
    ///
    /// # Errors
    /// Whatever the host says: nothing can be promised then.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;

    /// Whether the name of this directory in the one above is durable, as was noted, and still that
    /// of the same directory.
    fn is_noted_durable(&self, directory: &Path) -> bool {
        let _ = directory;
        false
    }

    /// Notes that the name of this directory in the one above is durable: a process that makes many
    /// things in one place need not sync all above each of them anew.
    fn note_durable(&self, directory: &Path) {
        let _ = directory;
    }

    /// Bytes that files may still grow by on the store that holds `path`.
    ///
    /// # Errors
    /// Whatever the host says.
    fn usable_space(&self, path: &Path) -> io::Result<u64>;

    /// A clock by which to measure how long reads and writes take, and for nothing else. Stands
    /// still where no time passes while an agent works.
    fn io_time(&self) -> Nanos {
        Nanos(0)
    }

    /// Locks a file for this process, creating it if need be; `None` when another holds it.
    ///
    /// The lock ends when the value is dropped, or with the process.
    ///
    /// # Errors
    /// Whatever the host says, other than that the lock is held.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn FileLock>>>;
}

/// Keeps a file locked while it lives.
pub trait FileLock: Send + Sync {}

/// An open file. Any thread may use it; offsets are explicit.
pub trait File: Send + Sync {
    /// Reads at `offset` and returns how many bytes, zero at the end of the file.
    ///
    /// # Errors
    /// Whatever the host says. Interruptions are retried inside.
    fn read_at(&self, target: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes at `offset` and returns how many bytes; may be fewer than given.
    ///
    /// # Errors
    /// `StorageFull` and whatever else the host says. Interruptions are retried inside.
    fn write_at(&self, source: &[u8], offset: u64) -> io::Result<usize>;

    /// Sets the length, cutting off or adding zeros.
    ///
    /// # Errors
    /// Whatever the host says.
    fn set_length(&self, length: u64) -> io::Result<()>;

    /// Sets the length, and sets the space aside where that costs little: it is not promised.
    ///
    /// # Errors
    /// As [`File::set_length`].
    fn reserve(&self, length: u64) -> io::Result<()> {
        self.set_length(length)
    }

    /// The length in bytes.
    ///
    /// # Errors
    /// Whatever the host says.
    fn length(&self) -> io::Result<u64>;

    /// When it was written last. Bits that rot do not change it.
    ///
    /// # Errors
    /// Whatever the host says.
    fn modified(&self) -> io::Result<EpochNanos>;

    /// Tells the host to begin writing out what was written in `range`. Promises nothing, and hides
    /// no failure from a later [`File::sync`].
    fn begin_writing(&self, range: Range<u64>) {
        let _ = range;
    }

    /// Tells the host that nobody will soon read what lies in `range`: pages of it that are written
    /// out may go. Promises nothing, and hides no failure from a later [`File::sync`].
    fn uncache(&self, range: Range<u64>) {
        let _ = range;
    }

    /// Makes what was written durable. Blocks: on a duty cycle use a background job instead.
    ///
    /// # Errors
    /// Whatever the host says. After an error nothing written since the last good sync may be
    /// trusted, and trying again proves nothing.
    fn sync(&self, sync: SyncKind) -> io::Result<()>;
}

/// Reads until `target` is full.
///
/// # Errors
/// `UnexpectedEof` when the file ends before, and whatever [`File::read_at`] says.
pub fn read_exact_at(file: &dyn File, mut target: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !target.is_empty() {
        match file.read_at(target, offset)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                target = &mut target[count..];
                offset += count as u64;
            }
        }
    }
    Ok(())
}

/// Writes all of `source`.
///
/// # Errors
/// `WriteZero` when the file takes nothing more, and whatever [`File::write_at`] says.
pub fn write_all_at(file: &dyn File, mut source: &[u8], mut offset: u64) -> io::Result<()> {
    while !source.is_empty() {
        match file.write_at(source, offset)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => {
                source = &source[count..];
                offset += count as u64;
            }
        }
    }
    Ok(())
}

/// Makes a directory and those above it, as far as they are missing, so that a power cut does not
/// take them: what is durable in a directory goes with it. Those that are there may have been made
/// a moment ago by somebody who did not care.
///
/// # Errors
/// One of them cannot be made, or the one above not be synced.
pub fn create_durable_directory(files: &dyn Files, path: &Path) -> io::Result<()> {
    let mut found = Vec::new();
    for ancestor in path.ancestors().filter(|ancestor| ancestor.parent().is_some()) {
        found.push((ancestor, files.entry(ancestor)?.is_some()));
    }
    files.create_directory(path)?;
    for (directory, was_there) in found.into_iter().rev() {
        if was_there && files.is_noted_durable(directory) {
            continue;
        }
        // The parent of a relative name of one part is the directory of the process.
        let parent = directory.parent().filter(|it| !it.as_os_str().is_empty());
        match files.sync_directory(parent.unwrap_or_else(|| Path::new("."))) {
            // Nobody who may not look into a directory has made another there.
            Err(error) if was_there && error.kind() == io::ErrorKind::PermissionDenied => {}
            synced => synced?,
        }
        files.note_durable(directory);
    }
    Ok(())
}

/// A file mapped whole. Clones share the same memory, which lives as long as any of them.
#[derive(Clone)]
pub struct Mapping {
    region: Arc<Region>,
    backing: Arc<dyn Backing>,
}

/// What makes mapped bytes durable.
pub trait Backing: Send + Sync {
    /// Makes the bytes in `range` durable. Blocks.
    ///
    /// # Errors
    /// Whatever the host says; see [`File::sync`].
    fn sync(&self, range: Range<usize>) -> io::Result<()>;
}

impl Mapping {
    /// Joins mapped memory with what makes it durable: for implementations of [`Files`].
    #[must_use]
    pub fn new(region: Arc<Region>, backing: Arc<dyn Backing>) -> Self {
        Self { region, backing }
    }

    /// The mapped memory.
    #[must_use]
    pub fn region(&self) -> &Arc<Region> {
        &self.region
    }

    /// Makes the bytes in `range` durable. Blocks.
    ///
    /// # Errors
    /// Whatever the host says; see [`File::sync`].
    pub fn sync(&self, range: Range<usize>) -> io::Result<()> {
        self.backing.sync(range)
    }
}
