//! Operations on the segments of recordings that are not being written.
//!
//! Order on disk: the catalog first, made durable; then the files. What a crash leaves are files
//! that no recording needs, or bytes beyond its stop position: an extension removes them before it
//! writes ([`Writer::open`](crate::writer::Writer::open)). Migration moves files first, since each
//! is needed by one of both recordings; the next start ends what a crash cut short.

use std::path::PathBuf;

use runtime::background::{Job, Outcome, Ticket};
use runtime::files::{SyncKind, read_exact_at};
use wire::archive::catalog::RecordingState;
use wire::archive::response::{ArchiveErrorCode, RecordingSignal};
use wire::time::Now;

use super::Conductor;
use super::requests::{Answer, Asker};
use crate::catalog::Recording;
use crate::control::outbox::Signal;
use crate::control::refusal::Refusal;
use crate::frame::{HEADER_LENGTH, Header};
use crate::recovery::create_empty;
use crate::segment::{self, Segment};
use crate::sums;

/// Files on their way out, and a file to be cut.
pub(super) struct Deletion {
    asker: Asker,
    recording_id: i64,
    /// The sync of the catalog that must have completed before.
    barrier: u64,
    cut: Option<Cut>,
    paths: Vec<PathBuf>,
    stage: Stage,
}

/// A segment that is to be zeros from an offset on.
pub(super) struct Cut {
    base: i64,
    offset: u64,
    length: u64,
}

enum Stage {
    Waiting,
    Removing(Ticket),
    Syncing(Ticket),
}

impl Deletion {
    /// Whether there is nothing to be done: that is told at once.
    fn is_empty(&self) -> bool {
        matches!(self.stage, Stage::Waiting) && self.paths.is_empty() && self.cut.is_none()
    }
}

impl Conductor {
    pub(super) fn expect_no_deletion(&self, recording_id: i64) -> Result<(), Refusal> {
        if self.deletions.iter().any(|it| it.recording_id == recording_id) {
            let text = format!("files of recording {recording_id} are being deleted");
            return Err(Refusal::generic(text));
        }
        Ok(())
    }

    /// Deletes files once the catalog is durable; returns how many.
    pub(super) fn delete(
        &mut self,
        asker: Asker,
        recording_id: i64,
        segments: &[Segment],
        cut: Option<Cut>,
    ) -> i64 {
        let directory = &self.store.directory;
        let name = |it: &Segment| match it.is_deleted {
            true => segment::deleted_name(recording_id, it.base),
            false => segment::file_name(recording_id, it.base),
        };
        let paths: Vec<PathBuf> =
            segments.iter().rev().map(|it| directory.join(name(it))).collect();
        let count = i64::try_from(paths.len()).unwrap_or(i64::MAX);
        let sums = segments.iter().map(|it| sums::path(directory, recording_id, it.base));
        let paths = paths.into_iter().chain(sums).collect();
        let barrier = self.sync.barrier(&mut self.catalog);
        let stage = Stage::Waiting;
        self.deletions.push(Deletion { asker, recording_id, barrier, cut, paths, stage });
        count
    }

    pub(super) fn step_deletions(&mut self, now: Now) -> usize {
        let mut outcomes: Vec<(Ticket, Outcome)> = Vec::new();
        self.background.poll(&mut |ticket, outcome| outcomes.push((ticket, outcome)));
        let mut done = outcomes.len();
        for (ticket, outcome) in outcomes {
            let is_of = |it: &Deletion| match it.stage {
                Stage::Waiting => false,
                Stage::Removing(of) | Stage::Syncing(of) => of == ticket,
            };
            if let Some(index) = self.deletions.iter().position(is_of) {
                self.on_deletion_outcome(index, outcome, now);
            }
        }
        while let Some(index) = self.deletions.iter().position(Deletion::is_empty) {
            done += 1;
            self.on_deleted(index);
        }
        let completed = self.sync.completed();
        for index in 0..self.deletions.len() {
            let deletion = &mut self.deletions[index];
            if matches!(deletion.stage, Stage::Waiting) && deletion.barrier <= completed {
                done += 1;
                let paths = std::mem::take(&mut deletion.paths);
                deletion.stage = Stage::Removing(self.background.submit(Job::Remove(paths)));
            }
        }
        done
    }

    fn on_deletion_outcome(&mut self, index: usize, outcome: Outcome, now: Now) {
        if let Outcome::Failed(error) = outcome {
            let deletion = self.deletions.swap_remove(index);
            let refusal = Refusal::generic(format!("files cannot be deleted: {error}"));
            self.note(&refusal.message, now);
            let Asker { session_id, correlation_id, .. } = deletion.asker;
            return self.refuse(session_id, correlation_id, &refusal);
        }
        let deletion = &mut self.deletions[index];
        if let Stage::Removing(_) = deletion.stage {
            match self.cut(index) {
                Ok(files) => {
                    let directories = vec![self.store.directory.to_path_buf()];
                    let job = Job::Sync { files, sync: SyncKind::All, directories };
                    let ticket = self.background.submit(job);
                    self.deletions[index].stage = Stage::Syncing(ticket);
                }
                Err(error) => return self.on_deletion_outcome(index, Outcome::Failed(error), now),
            }
            return;
        }
        self.on_deleted(index);
    }

    fn on_deleted(&mut self, index: usize) {
        let deletion = self.deletions.swap_remove(index);
        let signal = Signal {
            correlation_id: deletion.asker.correlation_id,
            recording_id: deletion.recording_id,
            subscription_id: -1,
            position: -1,
            signal: RecordingSignal::Delete,
        };
        self.signal(deletion.asker.session_id, &signal);
    }

    /// Cuts the file that is to be cut: its tail becomes zeros.
    fn cut(
        &mut self,
        index: usize,
    ) -> std::io::Result<Vec<std::sync::Arc<dyn runtime::files::File>>> {
        let Some(Cut { base, offset, length }) = self.deletions[index].cut.take() else {
            return Ok(Vec::new());
        };
        let name = segment::file_name(self.deletions[index].recording_id, base);
        let path = self.store.directory.join(name);
        if self.store.files.entry(&path)?.is_none() {
            return Ok(Vec::new());
        }
        let (id, position) = (self.deletions[index].recording_id, base + offset.cast_signed());
        let (files, directory) = (&*self.store.files, &self.store.directory);
        let sums = sums::cut(files, directory, id, base, position, Some(position))?;
        let file = self.store.files.open(&path)?;
        file.set_length(offset)?;
        file.set_length(length)?;
        Ok(sums.into_iter().chain([file]).collect())
    }

    fn segments(&self, recording_id: i64) -> Result<Vec<Segment>, Refusal> {
        Ok(segment::list(&*self.store.files, &self.store.directory, recording_id)?)
    }

    pub(super) fn truncate(
        &mut self,
        asker: Asker,
        recording_id: i64,
        position: i64,
        now: Now,
    ) -> Answer {
        if self.catalog.get(recording_id).is_none() {
            return self.cut_rotten(asker, recording_id, position, now);
        }
        self.expect_inactive(recording_id)?;
        let recording = self.recording(recording_id)?.clone();
        let (start, stop) = (recording.start_position, recording.stop_position);
        if position < start || stop < position || position % 32 != 0 {
            let text =
                format!("cannot truncate to {position}: not a position in {start} to {stop}");
            return Err(Refusal::position(text));
        }
        self.expect_no_deletion(recording_id)?;
        let is_rotten = self.rotten_at(recording_id) == Some(position);
        let is_between = position != start && position != stop;
        if is_between && !is_rotten && recording.layout().offset(position) != 0 {
            self.expect_frame(&recording, position)?;
        }
        let (segments, cut) = self.beyond(&recording, position)?;
        self.replayer.stop_all(Some(recording_id));
        self.catalog.update(recording_id, |it| it.stop_position = position)?;
        self.on_cut(recording_id, position);
        Ok(Some(self.delete(asker, recording_id, &segments, cut)))
    }

    /// What a recording that is to end at `position` does not need any more.
    pub(super) fn beyond(
        &self,
        recording: &Recording,
        position: i64,
    ) -> Result<(Vec<Segment>, Option<Cut>), Refusal> {
        let layout = recording.layout();
        let (start, stop) = (recording.start_position, recording.stop_position);
        let (base, offset) = (layout.base(position), layout.offset(position));
        let mut segments = self.segments(recording.id)?;
        // A segment that begins at the new end goes too: another recording's may take its place.
        let first = if position == start || offset == 0 { base } else { base + 1 };
        segments.retain(|it| it.base >= first);
        let is_cut = position != start && position != stop && offset != 0;
        let length = layout.segment_length.cast_unsigned();
        Ok((segments, is_cut.then_some(Cut { base, offset, length })))
    }

    fn expect_frame(&self, recording: &Recording, position: i64) -> Result<(), Refusal> {
        let layout = recording.layout();
        let name = segment::file_name(recording.id, layout.base(position));
        let file = self.store.files.open(&self.store.directory.join(name))?;
        let mut bytes = [0; HEADER_LENGTH];
        read_exact_at(&*file, &mut bytes, layout.offset(position))?;
        let place = recording.place(position);
        if Header::read(&bytes).is_some_and(|it| it.is_at(place) && it.frame_length > 0) {
            return Ok(());
        }
        Err(Refusal::generic(format!("position {position} is not that of a frame")))
    }

    pub(super) fn purge(&mut self, asker: Asker, recording_id: i64) -> Answer {
        self.recording(recording_id)?;
        self.expect_inactive(recording_id)?;
        if self.replayer.is_replaying(recording_id) {
            let text = format!("recording {recording_id} is being replayed");
            return Err(Refusal::new(ArchiveErrorCode::ActiveRecording, text));
        }
        self.expect_no_deletion(recording_id)?;
        let segments = self.segments(recording_id)?;
        self.catalog.remove(recording_id, RecordingState::Deleted)?;
        self.on_cut(recording_id, i64::MIN);
        Ok(Some(self.delete(asker, recording_id, &segments, None)))
    }

    /// Moves the start of a recording up to a later segment.
    pub(super) fn detach(&mut self, recording_id: i64, new_start: i64) -> Result<(), Refusal> {
        let recording = self.recording(recording_id)?;
        let layout = recording.layout();
        let stop = self.recorded_position(recording_id).unwrap_or(recording.stop_position);
        let lowest = layout.base(recording.start_position) + layout.segment_length;
        let highest = layout.base(stop);
        if !layout.is_base(new_start) || new_start < lowest || highest < new_start {
            let text = format!(
                "{new_start} is not the first position of a segment in {lowest} to {highest}"
            );
            return Err(Refusal::generic(text));
        }
        let reading = self.replayer.lowest_position(recording_id);
        if reading.is_some_and(|position| layout.base(position) < new_start) {
            return Err(Refusal::generic(format!("a replay still reads below {new_start}")));
        }
        self.catalog.update(recording_id, |it| it.start_position = new_start)?;
        Ok(())
    }

    pub(super) fn delete_detached(&mut self, asker: Asker, recording_id: i64) -> Answer {
        let recording = self.recording(recording_id)?;
        let lowest = recording.layout().base(recording.start_position);
        self.expect_no_deletion(recording_id)?;
        let mut segments = self.segments(recording_id)?;
        segments.retain(|it| it.base < lowest);
        Ok(Some(self.delete(asker, recording_id, &segments, None)))
    }

    pub(super) fn purge_segments(
        &mut self,
        asker: Asker,
        recording_id: i64,
        new_start: i64,
    ) -> Answer {
        self.recording(recording_id)?;
        self.expect_no_deletion(recording_id)?;
        self.detach(recording_id, new_start)?;
        self.delete_detached(asker, recording_id)
    }

    /// Takes back segments below the start of a recording, as far as they fit.
    pub(super) fn attach(&mut self, recording_id: i64) -> Answer {
        let recording = self.recording(recording_id)?.clone();
        let layout = recording.layout();
        let mut start = recording.start_position;
        let segments = self.segments(recording_id)?;
        let mut count = 0;
        while layout.is_base(start) && start >= layout.segment_length {
            let base = start - layout.segment_length;
            let Some(found) = segments.iter().find(|it| it.base == base && !it.is_deleted) else {
                break;
            };
            if found.length != layout.segment_length.cast_unsigned() {
                let text = format!("segment at {base} is {} bytes long", found.length);
                return Err(Refusal::generic(text));
            }
            start = self.first_frame(&recording, base)?;
            count += 1;
        }
        if count > 0 {
            self.catalog.update(recording_id, |it| it.start_position = start)?;
        }
        Ok(Some(count))
    }

    /// The position of the first frame in the first term of a segment.
    fn first_frame(&self, recording: &Recording, base: i64) -> Result<i64, Refusal> {
        let name = segment::file_name(recording.id, base);
        let file = self.store.files.open(&self.store.directory.join(name))?;
        let mut chunk = vec![0; 64 * 1024];
        let term_length = i64::from(recording.term_buffer_length);
        let mut position = base;
        while position < base + term_length {
            read_exact_at(&*file, &mut chunk, (position - base).cast_unsigned())?;
            for bytes in chunk.chunks_exact(HEADER_LENGTH) {
                let Some(header) = Header::read(bytes) else { break };
                if header.frame_length != 0 {
                    if header.is_at(recording.place(position)) {
                        return Ok(position);
                    }
                    let text = format!("segment at {base} holds another stream or term");
                    return Err(Refusal::generic(text));
                }
                position += HEADER_LENGTH as i64;
            }
        }
        Err(Refusal::generic(format!("segment at {base} holds no frames")))
    }

    pub(super) fn migrate(&mut self, asker: Asker, source_id: i64, target_id: i64) -> Answer {
        let source = self.recording(source_id)?.clone();
        let target = self.recording(target_id)?.clone();
        self.expect_inactive(source_id)?;
        self.expect_no_deletion(source_id)?;
        self.expect_no_deletion(target_id)?;
        let join = expect_same_stream(&source, &target)?;
        let layout = source.layout();
        if !layout.is_base(join) || !target.layout().is_base(join) {
            return Err(Refusal::generic(format!("{join} is not the first of a segment in both")));
        }
        let (mut base, end) = (layout.base(source.start_position), source.stop_position);
        let mut moved = Vec::new();
        while base < end {
            if let Err(refusal) = self.move_segment(&source, &target, base) {
                self.move_back(source_id, &target, &moved)?;
                return Err(refusal);
            }
            moved.push(base);
            base += layout.segment_length;
        }
        self.store.files.sync_directory(&self.store.directory)?;
        self.catalog.update(target_id, |it| {
            if it.start_position == source.stop_position {
                it.start_position = source.start_position;
            } else {
                it.stop_position = source.stop_position;
            }
        })?;
        // Without a guard both may become durable in any order: no moment may come at which
        // neither holds what was moved.
        if self.sync.is_synced() {
            self.catalog.settle()?;
        }
        self.catalog.update(source_id, |it| it.stop_position = it.start_position)?;
        let rest = self.segments(source_id)?;
        self.delete(asker, source_id, &rest, None);
        Ok(Some(i64::try_from(moved.len()).unwrap_or(i64::MAX)))
    }

    /// Undoes a migration that cannot go on.
    fn move_back(&self, source_id: i64, target: &Recording, moved: &[i64]) -> Result<(), Refusal> {
        let (files, directory) = (&self.store.files, &self.store.directory);
        let path = |id, base| directory.join(segment::file_name(id, base));
        for base in moved {
            files.rename(&path(target.id, *base), &path(source_id, *base))?;
        }
        files.sync_directory(directory)?;
        // Its own next segment, with nothing in it, has been replaced.
        let (next, length) = (target.stop_position, target.layout().segment_length);
        if moved.contains(&next) && next > target.start_position {
            create_empty(&**files, directory, &path(target.id, next), length.cast_unsigned())?;
        }
        Ok(())
    }

    fn move_segment(
        &self,
        source: &Recording,
        target: &Recording,
        base: i64,
    ) -> Result<(), Refusal> {
        let path = |id| self.store.directory.join(segment::file_name(id, base));
        let (from, to) = (path(source.id), path(target.id));
        let files = &self.store.files;
        match (files.entry(&from)?.is_some(), files.entry(&to)?.is_some()) {
            (true, false) => Ok(files.rename(&from, &to)?),
            // A recording that ends with a full segment has its next, with nothing in it.
            (true, true) if base == target.stop_position => Ok(files.rename(&from, &to)?),
            // A migration that was cut short has moved it.
            (false, true) => self.first_frame(target, base).map(drop),
            (true, true) => Err(Refusal::generic(format!("{} exists", to.display()))),
            (false, false) => Err(Refusal::generic(format!("{} is missing", from.display()))),
        }
    }
}

/// Checks that one recording continues the other; returns the position at which.
fn expect_same_stream(source: &Recording, target: &Recording) -> Result<i64, Refusal> {
    if !source.is_like(target) {
        return Err(Refusal::generic("the recordings are not of the same shape"));
    }
    if source.stop_position == target.start_position {
        return Ok(target.start_position);
    }
    if source.start_position == target.stop_position {
        return Ok(source.start_position);
    }
    Err(Refusal::generic("the recordings do not continue each other"))
}
