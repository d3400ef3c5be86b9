//! The files port over the kernel.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io;
use std::mem::MaybeUninit;
#[cfg(target_os = "linux")]
use std::ops::Range;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use runtime::EpochNanos;
use runtime::files::{Entry, File, FileLock, Files, Mapping, SyncKind};

use crate::{check, mmap};

const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// Directories whose names are durable: which they were then.
static DURABLE: Mutex<BTreeMap<PathBuf, Identity>> = Mutex::new(BTreeMap::new());

/// What tells a directory from another that is made in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    created: SystemTime,
}

impl Identity {
    /// None where the system does not tell.
    fn of(directory: &Path) -> Option<Self> {
        let metadata = fs::metadata(directory).ok()?;
        let created = metadata.created().ok()?;
        Some(Self { device: metadata.dev(), inode: metadata.ino(), created })
    }
}

fn durable() -> MutexGuard<'static, BTreeMap<PathBuf, Identity>> {
    DURABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The files of this host.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsFiles;

fn open_existing(path: &Path) -> io::Result<fs::File> {
    OpenOptions::new().read(true).write(true).open(path)
}

fn create_new(path: &Path) -> io::Result<fs::File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(FILE_MODE).open(path)
}

impl Files for OsFiles {
    fn io_time(&self) -> runtime::Nanos {
        crate::clock::now_mono()
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(OsFile(open_existing(path)?)))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(OsFile(create_new(path)?)))
    }

    fn map(&self, path: &Path) -> io::Result<Mapping> {
        mmap::map(&open_existing(path)?)
    }

    fn create_mapped(&self, path: &Path, length: u64, allocate: bool) -> io::Result<Mapping> {
        let file = create_new(path)?;
        let made = file
            .set_len(length)
            .and_then(|()| if allocate { reserve(&file, length) } else { Ok(()) })
            .and_then(|()| mmap::map(&file));
        if made.is_err() {
            fs::remove_file(path)?;
        }
        made
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for found in fs::read_dir(directory)? {
            let found = found?;
            let Ok(name) = found.file_name().into_string() else { continue };
            match found.path().metadata() {
                Ok(metadata) => entries.push(entry_of(name, &metadata)),
                // It was removed since the directory was read, or is a link to nothing.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        entries.sort();
        Ok(entries)
    }

    fn entry(&self, path: &Path) -> io::Result<Option<Entry>> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(entry_of(name, &metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_tree(&self, path: &Path) -> io::Result<()> {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn is_noted_durable(&self, directory: &Path) -> bool {
        let noted = durable().get(directory).copied();
        noted.is_some() && noted == Identity::of(directory)
    }

    fn note_durable(&self, directory: &Path) {
        if let Some(identity) = Identity::of(directory) {
            durable().insert(directory.to_path_buf(), identity);
        }
    }

    fn usable_space(&self, path: &Path) -> io::Result<u64> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        let mut answer = MaybeUninit::<libc::statvfs>::zeroed();
        // SAFETY: the path ends with a zero byte, the answer is valid for a write.
        check(unsafe { libc::statvfs(path.as_ptr(), answer.as_mut_ptr()) })?;
        // SAFETY: zeroed bytes are a statvfs, and so is what the call wrote.
        let answer = unsafe { answer.assume_init() };
        #[allow(clippy::useless_conversion)] // Narrower on some systems.
        let (blocks, length) = (u64::from(answer.f_bavail), u64::from(answer.f_frsize));
        Ok(blocks.saturating_mul(length))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn FileLock>>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
        let file = options.open(path)?;
        loop {
            // SAFETY: the descriptor is open; the call touches no memory of ours.
            let result = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
            match check(result) {
                Ok(_) => return Ok(Some(Box::new(OsLock { _file: file }))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn entry_of(name: String, metadata: &fs::Metadata) -> Entry {
    let is_directory = metadata.is_dir();
    Entry { name, is_directory, length: if is_directory { 0 } else { metadata.len() } }
}

/// Reserves the blocks of a file, so that storing to its mapped bytes cannot fail later.
#[cfg(target_os = "linux")]
fn reserve(file: &fs::File, length: u64) -> io::Result<()> {
    let length = libc::off_t::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
    loop {
        // SAFETY: the descriptor is open; the call touches no memory of ours.
        match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, length) } {
            0 => return Ok(()),
            libc::EINTR => {}
            // The call returns the cause instead of setting errno.
            cause => return Err(io::Error::from_raw_os_error(cause)),
        }
    }
}

/// Reserves the blocks of a file if the file system does so by itself, without writing anything.
#[cfg(target_os = "linux")]
fn set_aside(file: &fs::File, length: u64) -> io::Result<()> {
    let length = libc::off_t::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
    // SAFETY: the descriptor is open; the call touches no memory of ours.
    check(unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, length) }).map(drop)
}

/// Reserves the blocks of a file by writing zeros, where the system knows no other way.
#[cfg(not(target_os = "linux"))]
fn reserve(file: &fs::File, length: u64) -> io::Result<()> {
    let zeros = [0; 65_536];
    let mut offset = 0;
    while offset < length {
        let count = (length - offset).min(zeros.len() as u64);
        file.write_all_at(&zeros[..usize::try_from(count).unwrap_or(zeros.len())], offset)?;
        offset += count;
    }
    Ok(())
}

/// Closing the descriptor ends the lock, and the kernel closes it when the process dies.
struct OsLock {
    _file: fs::File,
}

impl FileLock for OsLock {}

struct OsFile(fs::File);

impl File for OsFile {
    fn read_at(&self, target: &mut [u8], offset: u64) -> io::Result<usize> {
        uninterrupted(|| self.0.read_at(target, offset))
    }

    fn write_at(&self, source: &[u8], offset: u64) -> io::Result<usize> {
        uninterrupted(|| self.0.write_at(source, offset))
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    #[cfg(target_os = "linux")]
    fn reserve(&self, length: u64) -> io::Result<()> {
        let before = self.length()?;
        if set_aside(&self.0, length).is_err() {
            // What was found before the space ran out is given back.
            self.0.set_len(before.min(length))?;
        }
        self.0.set_len(length)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn modified(&self) -> io::Result<EpochNanos> {
        let metadata = self.0.metadata()?;
        Ok(EpochNanos(metadata.mtime().saturating_mul(1_000_000_000) + metadata.mtime_nsec()))
    }

    // Neither call asks how earlier writing went: that would take the failure from the next sync.
    #[cfg(target_os = "linux")]
    fn begin_writing(&self, range: Range<u64>) {
        let Some((offset, length)) = span_of(range) else { return };
        let fd = self.0.as_raw_fd();
        // SAFETY: the descriptor is open; the call touches no memory of ours.
        let _ = unsafe { libc::sync_file_range(fd, offset, length, libc::SYNC_FILE_RANGE_WRITE) };
    }

    #[cfg(target_os = "linux")]
    fn uncache(&self, range: Range<u64>) {
        let Some((offset, length)) = span_of(range) else { return };
        let fd = self.0.as_raw_fd();
        // SAFETY: the descriptor is open; the call touches no memory of ours.
        let _ = unsafe { libc::posix_fadvise(fd, offset, length, libc::POSIX_FADV_DONTNEED) };
    }

    fn sync(&self, sync: SyncKind) -> io::Result<()> {
        match sync {
            SyncKind::Data => self.0.sync_data(),
            SyncKind::All => self.0.sync_all(),
        }
    }
}

/// Offset and length of a range; `None` if it is empty, which would mean all that follows.
#[cfg(target_os = "linux")]
fn span_of(range: Range<u64>) -> Option<(libc::off64_t, libc::off64_t)> {
    let length = range.end.checked_sub(range.start).filter(|length| *length > 0)?;
    Some((range.start.try_into().ok()?, length.try_into().ok()?))
}

fn uninterrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
