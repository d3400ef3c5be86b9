//! `recording.log`: which terms the log has, and which snapshots there are.
//!
//! Entries are only ever appended or changed in place, a few bytes at a time; nothing is durable
//! before the file was synced. What a crash before that leaves behind:
//!
//! | while | may be found | what loading makes of it |
//! |---|---|---|
//! | appending | a part of an entry, or zeros, and others behind them | cut off, all of it |
//! | appending a term and the gap before it | the term without all of the gap | the hole is filled in memory (P2) |
//! | closing a term | the term still open | its end is where the next one begins |
//! | dropping terms | some of them | their base lies beyond the recording: dropped again (P3) |
//! | appending a snapshot | some services, or not the module | not a snapshot: all or nothing |
//!
//! With a guard (see [`runtime::guarded`]) each record is there as a whole or not at all.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use consensus::{LeadershipTermId, RecordingId, SnapshotEntry, TermRecord};
use runtime::files::{File, Files, SyncKind};
use runtime::guarded::{GuardError, Guarded};
use wire::bytes::Reader;
use wire::cluster::recording_log::{
    ENTRY_ALIGNMENT, ENTRY_LENGTH_MAX, ENTRY_TYPE_OFFSET, ENTRY_TYPE_REMOVED, Entry, EntryKind,
    LOG_POSITION_OFFSET, RECORDING_ID_OFFSET,
};
use wire::position::Position;

/// Terms of one gap that get an entry each, at most: 256 KiB. Ballots fail one after the other for
/// hours before there are more, but a term that is corrupted, or made up, leaps by millions.
const GAP_MAX: i64 = 4_096;

/// Name of the file in the cluster directory.
pub const FILE_NAME: &str = "recording.log";

/// The file and what stands in it.
pub struct RecordingLog {
    file: Guarded,
    terms: Vec<Term>,
    snapshots: Vec<Snapshot>,
    /// Where the next entry goes.
    end: u64,
    is_new: bool,
}

/// In place of a recording that is not there yet: the first term of a new log is recorded on entry,
/// before anything is published that could be recorded (rule L1).
const UNBOUND: RecordingId = RecordingId(-1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Term {
    record: TermRecord,
    recording_id: RecordingId,
    offset: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Snapshot {
    entry: SnapshotEntry,
    is_valid: bool,
    offset: u64,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordingLogError {
    /// The host refuses.
    #[error("recording.log: {0}")]
    Io(#[from] io::Error),
    /// It is not what it was.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// Two entries name different recordings of the log.
    #[error("recording.log names recordings {0} and {1} for one log")]
    TwoRecordings(i64, i64),
    /// Two valid entries for one term that disagree.
    #[error("recording.log has two entries for term {0}")]
    TwoTerms(i64),
    /// An entry that nobody writes.
    #[error("recording.log has at {offset} an entry that cannot be: {cause}")]
    Damaged {
        /// Where in the file.
        offset: u64,
        /// What is wrong with it.
        cause: String,
    },
}

impl RecordingLog {
    /// Reads the file of a cluster directory, or makes an empty one. With a guard, says what that
    /// found.
    ///
    /// Without a guard a new file is not durable: [`RecordingLog::is_new`] says so, and its
    /// directory must be synced together with the first entry.
    ///
    /// # Errors
    /// See [`RecordingLogError`]: the node must not start.
    pub fn open(
        files: &Arc<dyn Files>,
        directory: &Path,
        is_guarded: bool,
    ) -> Result<(Self, Vec<String>), RecordingLogError> {
        let path = directory.join(FILE_NAME);
        if is_guarded {
            Guarded::expect_none(&**files, &path)?;
        } else {
            Guarded::forget(&**files, &path)?;
        }
        let is_new = files.entry(&path)?.is_none();
        if is_new {
            files.create(&path)?;
        }
        let mut file = Guarded::open(files, &path)?;
        let mut findings = Vec::new();
        if is_guarded {
            file.file().sync(SyncKind::All)?;
            files.sync_directory(directory)?;
            findings = file.guard()?;
        }
        let mut log = Self { file, terms: Vec::new(), snapshots: Vec::new(), end: 0, is_new };
        log.load()?;
        Ok((log, findings))
    }

    /// Makes what was written durable. Blocks.
    ///
    /// # Errors
    /// The host refuses: nothing may be built upon it.
    pub fn settle(&mut self) -> io::Result<()> {
        self.file.settle()
    }

    /// Reads the file of a cluster directory as it stands and changes nothing: for tools.
    ///
    /// # Errors
    /// See [`RecordingLogError`].
    pub fn read(files: &Arc<dyn Files>, directory: &Path) -> Result<Self, RecordingLogError> {
        let file = Guarded::open(files, &directory.join(FILE_NAME))?;
        let (terms, snapshots, end, is_new) = (Vec::new(), Vec::new(), 0, false);
        let mut log = Self { file, terms, snapshots, end, is_new };
        log.load()?;
        Ok(log)
    }

    /// Cuts off what stands behind the last entry: the next ones would fill the hole, and what is
    /// behind it would count again. Returns how much that was. Blocks.
    ///
    /// # Errors
    /// The host refuses.
    pub fn cut(&mut self) -> io::Result<Option<String>> {
        let length = self.file.content()?.len() as u64;
        if length == self.end {
            return Ok(None);
        }
        self.file.set_length(self.end)?;
        self.file.settle()?;
        let (count, end) = (length - self.end, self.end);
        Ok(Some(format!("{FILE_NAME}: {count} bytes behind a torn entry at {end} are cut off")))
    }

    /// Whether the file was made by this start.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// The file, to be synced.
    #[must_use]
    pub fn file(&self) -> &Arc<dyn File> {
        self.file.file()
    }

    pub(crate) fn guarded(&mut self) -> &mut Guarded {
        &mut self.file
    }

    /// The valid terms, in the order of the file.
    #[must_use]
    pub fn terms(&self) -> Vec<TermRecord> {
        self.terms.iter().map(|term| term.record).collect()
    }

    /// The valid snapshot entries, in the order of the file.
    #[must_use]
    pub fn snapshots(&self) -> Vec<SnapshotEntry> {
        let valid = self.snapshots.iter().filter(|snapshot| snapshot.is_valid);
        valid.map(|snapshot| snapshot.entry).collect()
    }

    /// Whether a recording holds a valid snapshot.
    #[must_use]
    pub fn has_snapshot(&self, recording_id: RecordingId) -> bool {
        let mut valid = self.snapshots.iter().filter(|snapshot| snapshot.is_valid);
        valid.any(|snapshot| snapshot.entry.recording_id == recording_id)
    }

    /// The recording of the log, if a term names it.
    #[must_use]
    pub fn recording_id(&self) -> Option<RecordingId> {
        self.terms.iter().map(|term| term.recording_id).find(|&id| id != UNBOUND)
    }

    /// Whether a term was recorded before the log had a recording: see [`RecordingLog::bind`].
    #[must_use]
    pub fn is_unbound(&self) -> bool {
        self.terms.iter().any(|term| term.recording_id == UNBOUND)
    }

    /// Names the recording of the log in every term that stands for it without a name. Durable
    /// only after a sync; nothing of the recording may count before. A crash in between leaves
    /// the log without a recording, and a recording in which nothing counts.
    ///
    /// # Errors
    /// The host refuses.
    pub fn bind(&mut self, recording_id: RecordingId) -> io::Result<()> {
        for term in self.terms.iter_mut().filter(|term| term.recording_id == UNBOUND) {
            let at = term.offset + RECORDING_ID_OFFSET as u64;
            self.file.write(&recording_id.0.to_le_bytes(), at)?;
            term.recording_id = recording_id;
        }
        Ok(())
    }

    /// Writes the entry of `term` at `base`, then those of the gap before it, from `gap_from` on,
    /// and closes what stood before them. Rule P2. Durable only after a sync.
    ///
    /// Of a gap of more than 4096 terms only the first ones get an entry; returns how many
    /// were left out. They are empty as all of them are, so that the table is the same without:
    /// their base is that of the next entry, here and for who asks a leader. Genuine Aeron writes
    /// them all, however many.
    ///
    /// # Errors
    /// The host refuses: nothing may be built upon the term.
    pub fn append_term(
        &mut self,
        recording_id: RecordingId,
        term: LeadershipTermId,
        base: Position,
        gap_from: LeadershipTermId,
        timestamp: i64,
    ) -> io::Result<u64> {
        let is_there = self.terms.iter().any(|known| known.record.term == term);
        if !is_there {
            self.append_one(recording_id, term, base, Position(-1), timestamp)?;
        }
        let gap_end = term.0.min(gap_from.0.saturating_add(GAP_MAX));
        for gap in gap_from.0..gap_end {
            self.append_one(recording_id, LeadershipTermId(gap), base, base, timestamp)?;
        }
        let before = self.terms.iter().filter(|known| known.record.term < gap_from.min(term));
        if let Some(last) = before.max_by_key(|known| known.record.term) {
            let offset = last.offset;
            self.store_end(offset, base)?;
        }
        Ok(u64::try_from(term.0.saturating_sub(gap_end)).unwrap_or(0))
    }

    /// Removes the entries of `from` and of all later terms, and opens the last that stays.
    ///
    /// # Errors
    /// The host refuses.
    pub fn drop_terms(&mut self, from: LeadershipTermId) -> io::Result<()> {
        for term in self.terms.iter().filter(|term| term.record.term >= from) {
            let at = term.offset + ENTRY_TYPE_OFFSET as u64;
            self.file.write(&ENTRY_TYPE_REMOVED.to_le_bytes(), at)?;
        }
        self.terms.retain(|term| term.record.term < from);
        let last = self.terms.iter().max_by_key(|term| term.record.term).map(|last| last.offset);
        last.map_or(Ok(()), |offset| self.store_end(offset, Position(-1)))
    }

    /// Writes where a term ended, at an orderly end of the node.
    ///
    /// # Errors
    /// The host refuses.
    pub fn end_term(&mut self, term: LeadershipTermId, end: Position) -> io::Result<()> {
        let known = self.terms.iter().find(|known| known.record.term == term);
        let offset = known.map(|known| known.offset);
        offset.map_or(Ok(()), |offset| self.store_end(offset, end))
    }

    /// Writes a whole snapshot: services from the highest to 0, then the module, whose entry makes
    /// it one.
    ///
    /// `entries` may come in any order; each names its service, -1 for the module. One that is
    /// there is replaced: a part of its set was damaged, and the log was read once more.
    ///
    /// # Errors
    /// The host refuses: there is no snapshot then.
    pub fn append_snapshot(
        &mut self,
        term_base: Position,
        entries: &[SnapshotEntry],
    ) -> io::Result<()> {
        let mut entries = entries.to_vec();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.service_id));
        for entry in entries {
            let place = self.snapshots.iter().position(|known| {
                known.entry.term == entry.term
                    && known.entry.position == entry.position
                    && known.entry.service_id == entry.service_id
            });
            let offset = place.map_or(self.end, |index| self.snapshots[index].offset);
            let length = self.write(offset, &snapshot_entry(term_base, &entry))?;
            let stored = Snapshot { entry, is_valid: true, offset };
            if let Some(index) = place {
                self.snapshots[index] = stored;
            } else {
                self.snapshots.push(stored);
                self.end += length;
            }
        }
        Ok(())
    }

    /// Says of the snapshot in a recording that it is none any more. Whether there was one.
    ///
    /// # Errors
    /// The host refuses.
    pub fn invalidate(&mut self, recording_id: RecordingId) -> io::Result<bool> {
        let is_it = |it: &&mut Snapshot| it.is_valid && it.entry.recording_id == recording_id;
        let Some(snapshot) = self.snapshots.iter_mut().find(is_it) else { return Ok(false) };
        let entry = Entry { is_valid: false, ..snapshot_entry(Position(0), &snapshot.entry) };
        let place = snapshot.offset + ENTRY_TYPE_OFFSET as u64;
        snapshot.is_valid = false;
        self.file.write(&entry.entry_type().to_le_bytes(), place)?;
        Ok(true)
    }

    fn append_one(
        &mut self,
        recording_id: RecordingId,
        term: LeadershipTermId,
        base: Position,
        end: Position,
        timestamp: i64,
    ) -> io::Result<()> {
        let entry = Entry {
            recording_id: recording_id.0,
            leadership_term_id: term.0,
            term_base_log_position: base.0,
            log_position: end.0,
            timestamp,
            service_id: -1,
            kind: EntryKind::Term,
            is_valid: true,
        };
        let offset = self.end;
        self.end += self.write(offset, &entry)?;
        self.terms.push(Term { record: TermRecord { term, base }, recording_id, offset });
        Ok(())
    }

    fn write(&mut self, offset: u64, entry: &Entry<'_>) -> io::Result<u64> {
        let mut bytes = [0; ENTRY_LENGTH_MAX];
        let length = entry.encode(&mut bytes).map_err(io::Error::other)?;
        self.file.write(&bytes[..length], offset)?;
        Ok(length as u64)
    }

    fn store_end(&mut self, offset: u64, end: Position) -> io::Result<()> {
        self.file.write(&end.0.to_le_bytes(), offset + LOG_POSITION_OFFSET as u64)
    }

    fn load(&mut self) -> Result<(), RecordingLogError> {
        let bytes = self.file.content()?;
        let length = bytes.len();
        let mut reader = Reader::new(&bytes);
        loop {
            let rest = reader.rest();
            let offset = (length - rest.len()) as u64;
            self.end = offset;
            let slot = &rest[..rest.len().min(ENTRY_ALIGNMENT)];
            // Zeros are what a torn append leaves: no entry is all zero, but the first term's of a
            // first recording could be, so genuine ones are told by their time stamp.
            if slot.len() < ENTRY_ALIGNMENT || slot.iter().all(|&byte| byte == 0) {
                return self.check();
            }
            match Entry::read(&mut reader) {
                Ok(Some(entry)) => self.take(&entry, offset),
                Ok(None) => {}
                Err(_) if rest.len() < ENTRY_LENGTH_MAX => return self.check(),
                Err(error) => {
                    return Err(RecordingLogError::Damaged { offset, cause: error.to_string() });
                }
            }
        }
    }

    fn take(&mut self, entry: &Entry<'_>, offset: u64) {
        let term = LeadershipTermId(entry.leadership_term_id);
        let recording_id = RecordingId(entry.recording_id);
        match entry.kind {
            EntryKind::Term if entry.is_valid => {
                let record = TermRecord { term, base: Position(entry.term_base_log_position) };
                self.terms.push(Term { record, recording_id, offset });
            }
            EntryKind::Snapshot => {
                let snapshot = SnapshotEntry {
                    recording_id,
                    term,
                    position: Position(entry.log_position),
                    timestamp: entry.timestamp,
                    service_id: entry.service_id,
                };
                let is_valid = entry.is_valid;
                self.snapshots.push(Snapshot { entry: snapshot, is_valid, offset });
            }
            EntryKind::Term | EntryKind::StandbySnapshot { .. } | EntryKind::Unknown(_) => {}
        }
    }

    fn check(&self) -> Result<(), RecordingLogError> {
        let bound = self.recording_id().unwrap_or(UNBOUND);
        let mut known = BTreeSet::new();
        for term in &self.terms {
            if term.recording_id != bound && term.recording_id != UNBOUND {
                let (one, other) = (bound.0, term.recording_id.0);
                return Err(RecordingLogError::TwoRecordings(one, other));
            }
            if !known.insert(term.record.term) {
                return Err(RecordingLogError::TwoTerms(term.record.term.0));
            }
        }
        Ok(())
    }
}

fn snapshot_entry(term_base: Position, entry: &SnapshotEntry) -> Entry<'static> {
    Entry {
        recording_id: entry.recording_id.0,
        leadership_term_id: entry.term.0,
        term_base_log_position: term_base.0,
        log_position: entry.position.0,
        timestamp: entry.timestamp,
        service_id: entry.service_id,
        kind: EntryKind::Snapshot,
        is_valid: true,
    }
}

#[cfg(test)]
mod tests;
