//! The logs that a client has mapped, shared by their users and unmapped some time after the last.
//!
//! No handle ever unmaps memory, which may block: the last reference is the one here, and it goes
//! to the background after the resource linger.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use memory::log::LogBuffer;
use runtime::background::{Background, Job};
use runtime::files::{Files, Mapping};
use runtime::{Nanos, Now};

use crate::error::AddError;

/// Mapped logs by path.
pub(crate) struct Logs {
    files: Arc<dyn Files>,
    background: Box<dyn Background>,
    linger: Nanos,
    entries: BTreeMap<String, Entry>,
}

struct Entry {
    mapping: Mapping,
    log: Arc<LogBuffer>,
    /// Since when nobody else has used it.
    unused_since: Option<Nanos>,
}

impl Logs {
    pub(crate) fn new(
        files: Arc<dyn Files>,
        background: Box<dyn Background>,
        linger: Nanos,
    ) -> Self {
        Self { files, background, linger, entries: BTreeMap::new() }
    }

    /// The log in this file, mapped if it is not yet.
    pub(crate) fn open(&mut self, path: &str) -> Result<Arc<LogBuffer>, AddError> {
        if let Some(entry) = self.entries.get_mut(path) {
            entry.unused_since = None;
            return Ok(Arc::clone(&entry.log));
        }
        let failed = |cause: String| AddError::Log { path: path.to_string(), cause };
        let mapping = self.files.map(Path::new(path)).map_err(|error| failed(error.to_string()))?;
        let log = LogBuffer::open(Arc::clone(mapping.region()))
            .map_err(|error| failed(error.to_string()))?;
        let log = Arc::new(log);
        let entry = Entry { mapping, log: Arc::clone(&log), unused_since: None };
        self.entries.insert(path.to_string(), entry);
        Ok(log)
    }

    /// Hands logs that have been unused for the linger to the background; returns how many.
    pub(crate) fn release_unused(&mut self, now: Now) -> usize {
        self.background.poll(&mut |_, _| {});
        let mut released = Vec::new();
        for entry in self.entries.values_mut() {
            if Arc::strong_count(&entry.log) > 1 {
                entry.unused_since = None;
            } else if now.mono - *entry.unused_since.get_or_insert(now.mono) >= self.linger {
                released.push(entry.mapping.clone());
            }
        }
        if released.is_empty() {
            return 0;
        }
        let linger = self.linger;
        self.entries
            .retain(|_, entry| entry.unused_since.is_none_or(|since| now.mono - since < linger));
        let count = released.len();
        self.background.submit(Job::Release(released));
        count
    }
}
