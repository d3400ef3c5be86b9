//! Small files whose content is known twice: in their own format, and in a log beside them.
//!
//! `<name>.sum` holds a copy of the file and then each change of it, with a checksum each. A change
//! is durable there before the file itself is touched, so that the next start can tell
//!
//! | found | because | made of it |
//! |---|---|---|
//! | as the log says | nothing happened | |
//! | other bytes where the last change wrote | the write was torn | the change is completed |
//! | other bytes elsewhere, an old length | bits rotted, a write went astray, a copy came back | restored from the log |
//! | other bytes, written later than ours | other software changed the file | taken as it is |
//! | no log, or one that says nothing | it is new, or another's | taken as it is, a log is made |
//! | no file | it was lost | refused |
//! | a log with a damaged record between others | bits rotted there | what it says is taken from the rest, and from the file |
//! | a log with a damaged end beside other bytes, or neither the bytes before nor after the last change | one of both rotted, or is an old copy | refused |
//!
//! Whoever knows nothing of logs can use the file: its format is its own. Several writes between
//! two records are one change, which happens as a whole or not at all.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wire::time::EpochNanos;

use crate::files::{File, Files, SyncKind, read_exact_at, write_all_at};

mod log;

use log::{Change, Log, Read};

/// What a disk writes at once.
const SECTOR: usize = 512;
/// How much later than its log a file may be written by its last change.
const LATE: i64 = 10_000_000_000;

/// Why a file cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// There is a log, but no file.
    #[error(
        "{0} is missing, but {0}.sum says what it held: put it back, or remove {0}.sum as well \
         to begin anew"
    )]
    Missing(String),
    /// File and log differ, and the log is damaged, or it may be an old copy.
    #[error(
        "{0} and {0}.sum differ, and it cannot be told which is right: put both back from a copy, \
         or remove {0}.sum to take {0} as it is"
    )]
    Doubtful(String),
    /// The host refuses.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A file, with or without a log.
pub struct Guarded {
    files: Arc<dyn Files>,
    path: PathBuf,
    file: Arc<dyn File>,
    guard: Option<Guard>,
}

struct Guard {
    log: Log,
    /// What the file holds once all changes are in it.
    content: Vec<u8>,
    /// Not in the log yet.
    pending: Change,
    /// In the log, not in the file yet.
    logged: Option<Change>,
}

/// What has to be durable before a change may be written.
pub struct Due {
    /// Files to sync.
    pub files: Vec<Arc<dyn File>>,
    /// Directories to sync.
    pub directories: Vec<PathBuf>,
}

impl Guarded {
    /// Makes sure that a file that is to be made did not get lost: it has no log.
    ///
    /// # Errors
    /// See [`GuardError`].
    pub fn expect_none(files: &dyn Files, path: &Path) -> Result<(), GuardError> {
        if files.entry(path)?.is_none() && Self::has_log(files, path)? {
            return Err(GuardError::Missing(name(path)));
        }
        Ok(())
    }

    /// Whether a file has a log.
    ///
    /// # Errors
    /// The host refuses.
    pub fn has_log(files: &dyn Files, path: &Path) -> io::Result<bool> {
        let has = |path: &Path| Ok::<_, io::Error>(files.entry(path)?.is_some());
        Ok(has(&log::path(path))? || has(&log::new_path(path))?)
    }

    /// Takes an existing file as it is, without a log.
    ///
    /// # Errors
    /// The host refuses.
    pub fn open(files: &Arc<dyn Files>, path: &Path) -> io::Result<Self> {
        let file = files.open(path)?;
        Ok(Self { files: Arc::clone(files), path: path.to_path_buf(), file, guard: None })
    }

    /// Removes the log of a file that is to be used without.
    ///
    /// # Errors
    /// The host refuses.
    pub fn forget(files: &dyn Files, path: &Path) -> io::Result<()> {
        for path in [log::path(path), log::new_path(path)] {
            if files.entry(&path)?.is_some() {
                files.remove(&path)?;
            }
        }
        Ok(())
    }

    /// Begins to keep a log, or goes on with that which is there: compares, repairs the file, and
    /// says what was found. The file must be durable under its name. Blocks.
    ///
    /// # Errors
    /// See [`GuardError`].
    pub fn guard(&mut self) -> Result<Vec<String>, GuardError> {
        let mut findings = Vec::new();
        let mut content = self.content()?;
        let read = Read::newest(&*self.files, &self.path)?;
        let mut next = 0;
        if let Some(mut read) = read {
            let modified = self.file.modified()?;
            read.fill_from(&content);
            findings = self.compare(&read, &mut content, modified)?;
            if read.is_rotten {
                findings.push(format!("{}.sum was rotten: made anew", name(&self.path)));
            }
            next = read.sequence + 1;
        }
        let log = Log::create(&*self.files, &self.path, &content, next)?;
        let pending = Change::default();
        self.guard = Some(Guard { log, content, pending, logged: None });
        self.on_durable()?;
        Ok(findings)
    }

    /// Makes file and log agree, and returns what had to be done.
    fn compare(
        &mut self,
        read: &Read,
        content: &mut Vec<u8>,
        modified: EpochNanos,
    ) -> Result<Vec<String>, GuardError> {
        let name = name(&self.path);
        if read.content == *content {
            return Ok(Vec::new());
        }
        let is_later = match read.applied {
            Some(applied) => modified > applied,
            None => modified.0 > read.modified.0.saturating_add(LATE),
        };
        if is_later {
            return Ok(vec![format!("{name} was changed by other software: taken as it is")]);
        }
        if read.is_damaged {
            return Err(GuardError::Doubtful(name));
        }
        let (mut torn, mut rotten) = (0, Vec::new());
        let count = read.content.len().max(content.len()).div_ceil(SECTOR);
        for sector in 0..count {
            if slice(&read.content, sector) == slice(content, sector) {
                continue;
            }
            let (new, there) = (slice(&read.content, sector), slice(content, sector));
            let is_new = read.changes(sector) && is_fitted(new, there);
            if read.applied.is_some() {
                rotten.push(sector * SECTOR);
            } else if is_new || read.may_have_held(sector, there) {
                torn += 1;
            } else {
                // Neither before nor after the change: perhaps the log is an old copy.
                return Err(GuardError::Doubtful(name));
            }
        }
        let mut findings = Vec::new();
        if torn > 0 {
            findings.push(format!("{name}: the last change was torn: completed"));
        }
        if !rotten.is_empty() {
            findings.push(format!("{name} was rotten at {rotten:?}: restored from {name}.sum"));
        }
        content.clone_from(&read.content);
        self.file.set_length(content.len() as u64)?;
        write_all_at(&*self.file, content, 0)?;
        self.file.sync(SyncKind::All)?;
        Ok(findings)
    }

    /// The file, to be synced.
    #[must_use]
    pub const fn file(&self) -> &Arc<dyn File> {
        &self.file
    }

    /// Whether there is a log.
    #[must_use]
    pub fn is_guarded(&self) -> bool {
        self.guard.is_some()
    }

    /// What the file holds, changes that are on their way to it included.
    ///
    /// # Errors
    /// The host refuses.
    pub fn content(&self) -> io::Result<Vec<u8>> {
        if let Some(guard) = &self.guard {
            return Ok(guard.content.clone());
        }
        let length = usize::try_from(self.file.length()?).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        read_exact_at(&*self.file, &mut bytes, 0)?;
        Ok(bytes)
    }

    /// Writes at an offset; what is between the end and there becomes zeros. With a log, the file
    /// itself is written by [`Guarded::apply`] only.
    ///
    /// # Errors
    /// The host refuses.
    pub fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let Some(guard) = &mut self.guard else {
            return write_all_at(&*self.file, bytes, offset);
        };
        let begin = usize::try_from(offset).map_err(io::Error::other)?;
        let end = begin + bytes.len();
        if end > guard.content.len() {
            guard.content.resize(end, 0);
        }
        guard.content[begin..end].copy_from_slice(bytes);
        guard.touch(begin, end);
        Ok(())
    }

    /// Sets the length, cutting off or adding zeros.
    ///
    /// # Errors
    /// The host refuses.
    pub fn set_length(&mut self, length: u64) -> io::Result<()> {
        let Some(guard) = &mut self.guard else { return self.file.set_length(length) };
        let (old, new) = (guard.content.len(), usize::try_from(length).map_err(io::Error::other)?);
        guard.content.resize(new, 0);
        guard.touch(new.min(old), new.min(old));
        Ok(())
    }

    /// Puts other content in place of all of it, in such a way that a crash leaves the old or the
    /// new. Without a log this blocks, and the file is durable afterwards.
    ///
    /// # Errors
    /// The host refuses.
    pub fn replace(&mut self, content: &[u8]) -> io::Result<()> {
        if self.guard.is_some() {
            self.set_length(content.len() as u64)?;
            return self.write(content, 0);
        }
        let new_path = self.path.with_file_name(format!("{}.new", name(&self.path)));
        if self.files.entry(&new_path)?.is_some() {
            self.files.remove(&new_path)?;
        }
        let file = self.files.create(&new_path)?;
        write_all_at(&*file, content, 0)?;
        file.sync(SyncKind::All)?;
        self.files.rename(&new_path, &self.path)?;
        self.files.sync_directory(log::directory(&self.path))?;
        self.file = file;
        Ok(())
    }

    /// Records everything that was written since the last time; `None` if there is nothing, or no
    /// log. What is due must be durable before [`Guarded::apply`], and what was applied before must
    /// be durable by now: of two changes under way at once a crash could not tell which was torn.
    ///
    /// # Errors
    /// The host refuses: nothing that was written since may count.
    pub fn log(&mut self) -> io::Result<Option<Due>> {
        let Some(guard) = self.guard.as_mut().filter(|it| !it.pending.is_empty()) else {
            return Ok(None);
        };
        let mut change = std::mem::take(&mut guard.pending);
        change.fill(&guard.content);
        let mut whole = None;
        if guard.logged.is_none() && guard.log.is_long(guard.content.len()) {
            let mut bytes = vec![0; usize::try_from(self.file.length()?).unwrap_or(0)];
            read_exact_at(&*self.file, &mut bytes, 0)?;
            whole = Some(bytes);
        }
        let due = guard.log.append(&*self.files, whole.as_deref(), &change)?;
        // What was recorded before and is not in the file yet goes there with it.
        match &mut guard.logged {
            Some(earlier) => earlier.extend(change),
            None => guard.logged = Some(change),
        }
        Ok(Some(due))
    }

    /// Writes what is recorded to the file, which is to be synced then.
    ///
    /// # Errors
    /// The host refuses: nothing of it may count.
    pub fn apply(&mut self) -> io::Result<()> {
        let Some(change) = self.guard.as_mut().and_then(|guard| guard.logged.take()) else {
            return Ok(());
        };
        if self.file.length()? != change.length {
            self.file.set_length(change.length)?;
        }
        for (sector, bytes) in &change.sectors {
            write_all_at(&*self.file, bytes, (*sector * SECTOR) as u64)?;
        }
        Ok(())
    }

    /// The file is durable as it was last applied: notes when it was written, by which changes by
    /// others are known.
    ///
    /// # Errors
    /// The host refuses.
    pub fn on_durable(&mut self) -> io::Result<()> {
        match &mut self.guard {
            Some(guard) if guard.logged.is_none() => guard.log.on_applied(self.file.modified()?),
            _ => Ok(()),
        }
    }

    /// Makes all that was written durable. Blocks.
    ///
    /// # Errors
    /// The host refuses: nothing that was written since may count.
    pub fn settle(&mut self) -> io::Result<()> {
        if self.guard.is_some() {
            self.file.sync(SyncKind::All)?;
        }
        if let Some(due) = self.log()? {
            for file in due.files {
                file.sync(SyncKind::All)?;
            }
            for directory in due.directories {
                self.files.sync_directory(&directory)?;
            }
        }
        self.apply()?;
        self.file.sync(SyncKind::All)?;
        self.on_durable()
    }
}

impl Guard {
    fn touch(&mut self, begin: usize, end: usize) {
        self.pending.length = self.content.len() as u64;
        let first = begin / SECTOR;
        for sector in first..end.div_ceil(SECTOR).max(first + 1) {
            self.pending.sectors.insert(sector, Box::default());
        }
    }
}

fn name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// Whether `there` is a sector with another length: cut off, or filled up with zeros.
fn is_fitted(sector: &[u8], there: &[u8]) -> bool {
    let count = sector.len().min(there.len());
    sector[..count] == there[..count] && there[count..].iter().all(|&byte| byte == 0)
}

/// A sector of a file, as far as that goes.
fn slice(content: &[u8], sector: usize) -> &[u8] {
    let begin = (sector * SECTOR).min(content.len());
    &content[begin..(begin + SECTOR).min(content.len())]
}

/// Sectors by their numbers.
type Sectors = BTreeMap<usize, Box<[u8]>>;
