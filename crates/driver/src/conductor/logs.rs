//! Log files: made and removed in the background, never on the conductor's time.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use runtime::background::{Background, Job, Outcome, Ticket};
use runtime::files::{Files, Mapping};
use wire::control::ErrorCode;
use wire::counters::SystemCounter;

use crate::config::DirectoryConfig;
use crate::refusal::Refusal;
use crate::system::SystemCounters;

/// Which directory a log is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogPlace {
    Publications,
    Images,
}

/// A log file and its memory.
pub(crate) struct LogFile {
    pub(crate) path: PathBuf,
    pub(crate) mapping: Mapping,
}

impl LogFile {
    /// The path as clients are told it.
    pub(crate) fn name(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }
}

/// Makes and removes log files.
pub(crate) struct Logs {
    files: Arc<dyn Files>,
    pub(crate) background: Box<dyn Background>,
    config: DirectoryConfig,
    system: SystemCounters,
    /// Removals under way, so that failures are counted.
    removals: Vec<Ticket>,
}

impl Logs {
    pub(crate) fn new(
        files: Arc<dyn Files>,
        background: Box<dyn Background>,
        config: &DirectoryConfig,
        system: SystemCounters,
    ) -> Self {
        Self { files, background, config: config.clone(), system, removals: Vec::new() }
    }

    pub(crate) fn path(&self, place: LogPlace, id: i64) -> PathBuf {
        let directory = match place {
            LogPlace::Publications => "publications",
            LogPlace::Images => "images",
        };
        self.config.path.join(directory).join(format!("{id}.logbuffer"))
    }

    /// Page size that file lengths are multiples of.
    pub(crate) fn page_size(&self) -> i32 {
        self.config.file_page_size
    }

    /// Begins to make a log file; its ticket comes back with the mapping.
    pub(crate) fn create(
        &mut self,
        path: &Path,
        term_length: i32,
        is_sparse: bool,
    ) -> Result<(Ticket, Option<String>), Refusal> {
        let length = wire::log::file_length(term_length, self.config.file_page_size);
        let warning = self.check_space(length)?;
        let touch = if is_sparse { 0 } else { length };
        let job =
            Job::CreateMapped { path: path.to_path_buf(), length, allocate: !is_sparse, touch };
        Ok((self.background.submit(job), warning))
    }

    fn check_space(&self, length: u64) -> Result<Option<String>, Refusal> {
        if !self.config.perform_storage_checks {
            return Ok(None);
        }
        let Ok(usable) = self.files.usable_space(&self.config.path) else { return Ok(None) };
        if usable < length {
            let text = format!("insufficient space for a log of {length} bytes: {usable} usable");
            return Err(Refusal::new(ErrorCode::STORAGE_SPACE, text));
        }
        let is_low = usable <= self.config.low_storage_warning;
        Ok(is_low.then(|| format!("space is running low: {usable} bytes usable")))
    }

    /// A file came back from [`Logs::create`].
    pub(crate) fn on_created(&self, path: PathBuf, outcome: Outcome) -> Result<LogFile, Refusal> {
        match outcome {
            Outcome::Mapped(mapping) => {
                let length = i64::try_from(mapping.region().length()).unwrap_or(0);
                self.system.add(SystemCounter::BytesCurrentlyMapped, length);
                Ok(LogFile { path, mapping })
            }
            Outcome::Failed(error) if error.kind() == io::ErrorKind::StorageFull => {
                Err(Refusal::new(ErrorCode::STORAGE_SPACE, error.to_string()))
            }
            Outcome::Failed(error) => {
                Err(Refusal::generic(format!("cannot create {}: {error}", path.display())))
            }
            Outcome::Done | Outcome::Opened(_) | Outcome::Resolved(_) => {
                Err(Refusal::generic("log was not made"))
            }
        }
    }

    /// Unmaps and removes a file that nobody of the driver uses any more.
    pub(crate) fn remove(&mut self, file: LogFile) {
        let length = i64::try_from(file.mapping.region().length()).unwrap_or(0);
        self.system.add(SystemCounter::BytesCurrentlyMapped, -length);
        let _unmapped = self.background.submit(Job::Release(vec![file.mapping]));
        self.removals.push(self.background.submit(Job::Remove(vec![file.path])));
    }

    /// A ticket came back: whether it was a removal.
    pub(crate) fn on_removed(&mut self, ticket: Ticket, outcome: &Outcome) -> bool {
        let Some(index) = self.removals.iter().position(|known| *known == ticket) else {
            return false;
        };
        self.removals.swap_remove(index);
        if matches!(outcome, Outcome::Failed(_)) {
            self.system.increment(SystemCounter::FreeFails);
        }
        true
    }
}
