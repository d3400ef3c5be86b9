//! Writes the blocks of one recording into its segment files.
//!
//! Input: blocks of whole frames in the order of the stream. Output: bytes in files, and the list
//! of what a sync has to cover. Knows nothing of images, counters or when to sync.
//!
//! What a crash at each step leaves (power loss and kill alike; [`recovery`](crate::recovery) says
//! what is made of it):
//!
//! 1. first segment created, not extended: a short file, read as empty;
//! 2. spare being created: a name that nobody reads, removed at start;
//! 3. block partly written: a torn frame, never acknowledged, cut off;
//! 4. segment full, spare not renamed: the highest segment is full;
//! 5. spare renamed, directory not synced: as 4 or as 6, either is right;
//! 6. next segment in place, nothing in it: an empty highest segment.

use std::io;
use std::path::Path;
use std::sync::Arc;

use runtime::background::{Background, Job, Ticket};
use runtime::files::{File, Files, read_exact_at, write_all_at};

use crate::catalog::Recording;
use crate::checksum::Checksum;
use crate::frame::{HEADER_LENGTH, Header, seal};
use crate::recovery::zero_tail;
use crate::segment::{self, Layout};
use crate::sums::SumWriter;
use crate::trail::{Advice, Trail};

/// The part of a segment after which the next one is prepared.
const PREPARE_AFTER: i64 = 8;

/// Where files are, and how they are written.
#[derive(Clone)]
pub struct Store {
    /// The files port.
    pub files: Arc<dyn Files>,
    /// The archive's directory.
    pub directory: Arc<Path>,
    /// Checksum written into each frame.
    pub checksum: Option<Checksum>,
    /// Whether segments are durable before they are used.
    pub is_synced: bool,
    /// Whether sums of frame headers are kept beside segments.
    pub has_sums: bool,
}

/// The segment after the current one.
enum Next {
    /// Not asked for yet.
    Unasked,
    /// Being made in the background.
    Preparing(Ticket),
    /// Made, under its spare name.
    Ready(Arc<dyn File>),
}

/// Writes one recording.
pub struct Writer {
    store: Store,
    recording_id: i64,
    layout: Layout,
    position: i64,
    base: i64,
    file: Arc<dyn File>,
    next: Next,
    /// What was written since it was last taken for a sync.
    unsynced: Vec<Arc<dyn File>>,
    is_directory_unsynced: bool,
    scratch: Vec<u8>,
    sums: Option<SumWriter>,
    trail: Trail,
}

impl Writer {
    /// Opens or creates the segment of `position`, where the next block goes.
    ///
    /// What is left there of an earlier life of the recording, beyond `position`, is removed: it
    /// could pass for recorded frames later.
    ///
    /// # Errors
    /// The files cannot be read or changed.
    pub fn open(store: &Store, recording: &Recording, position: i64) -> io::Result<Self> {
        let layout = recording.layout();
        let base = layout.base(position);
        let files = &*store.files;
        for segment in segment::list(files, &store.directory, recording.id)?.iter().rev() {
            if segment.base > base && !segment.is_deleted {
                let name = segment::file_name(recording.id, segment.base);
                files.remove(&store.directory.join(name))?;
            }
        }
        let sums = match store.has_sums {
            true => {
                let (directory, id) = (&store.directory, recording.id);
                Some(SumWriter::open(files, directory, id, base, position, Some(position))?)
            }
            false => None,
        };
        let path = store.directory.join(segment::file_name(recording.id, base));
        let length = layout.segment_length.cast_unsigned();
        let file = match files.entry(&path)? {
            Some(_) => {
                let file = files.open(&path)?;
                let offset = layout.offset(position);
                if file.length()? != length || !is_free(&*file, offset)? {
                    zero_tail(files, &path, offset, length)?;
                }
                file
            }
            None => {
                let file = files.create(&path)?;
                file.set_length(length)?;
                file
            }
        };
        Ok(Self {
            store: store.clone(),
            recording_id: recording.id,
            layout,
            position,
            base,
            // Sums too: what they said of an earlier life must not come back.
            unsynced: sums.iter().map(|it| it.file().clone()).chain([file.clone()]).collect(),
            file,
            next: Next::Unasked,
            is_directory_unsynced: true,
            scratch: Vec::new(),
            sums,
            trail: Trail::new(recording.id, layout, position),
        })
    }

    /// The position after the last block written.
    #[must_use]
    pub const fn position(&self) -> i64 {
        self.position
    }

    /// Whether the segment of the next block is in place. If not, it comes with the background.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        self.position < self.base + self.layout.segment_length
    }

    /// How many bytes the current segment still takes.
    #[must_use]
    pub const fn room(&self) -> i64 {
        self.base + self.layout.segment_length - self.position
    }

    /// Writes a block: whole data frames, or one padding frame of which only the header counts.
    /// `length` is how far the stream advances by it. Asks for the next segment in time.
    ///
    /// # Errors
    /// The bytes could not be written: nothing of this block counts, and the writer is not to be
    /// used again.
    pub fn write(
        &mut self,
        block: &[u8],
        length: i64,
        background: &mut dyn Background,
    ) -> io::Result<()> {
        if !(0..=self.room()).contains(&length) || !self.is_ready() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "block crosses its segment"));
        }
        let is_padding = Header::read(block).is_some_and(|header| header.is_padding());
        let stored = if is_padding { &block[..HEADER_LENGTH] } else { block };
        let offset = self.layout.offset(self.position);
        match self.store.checksum {
            Some(checksum) if !is_padding => {
                self.scratch.clear();
                self.scratch.extend_from_slice(stored);
                seal(&mut self.scratch, checksum);
                write_all_at(&*self.file, &self.scratch, offset)?;
                if let Some(sums) = &mut self.sums {
                    sums.append(&self.scratch, offset)?;
                }
            }
            _ => {
                write_all_at(&*self.file, stored, offset)?;
                if let Some(sums) = &mut self.sums {
                    sums.append(stored, offset)?;
                }
            }
        }
        if !self.unsynced.iter().any(|it| Arc::ptr_eq(it, &self.file)) {
            self.unsynced.push(self.file.clone());
        }
        self.position += length;
        self.prepare(background);
        if self.is_ready() { Ok(()) } else { self.roll(background) }
    }

    fn prepare(&mut self, background: &mut dyn Background) {
        let used = self.position - self.base;
        if matches!(self.next, Next::Unasked) && used >= self.layout.segment_length / PREPARE_AFTER
        {
            let path = self.store.directory.join(self.spare_name());
            let length = self.layout.segment_length.cast_unsigned();
            let job = Job::CreateZeroed { path, length, sync: self.store.is_synced };
            self.next = Next::Preparing(background.submit(job));
        }
    }

    /// Puts the next segment in place when this one is full and the next is made.
    fn roll(&mut self, background: &mut dyn Background) -> io::Result<()> {
        self.prepare(background);
        let Next::Ready(file) = &self.next else { return Ok(()) };
        let file = file.clone();
        let base = self.base + self.layout.segment_length;
        let directory = &self.store.directory;
        let target = directory.join(segment::file_name(self.recording_id, base));
        if self.store.files.entry(&target)?.is_some() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "next segment exists"));
        }
        self.store.files.rename(&directory.join(self.spare_name()), &target)?;
        self.finish();
        if self.store.has_sums {
            let (files, id) = (&*self.store.files, self.recording_id);
            let directory = &self.store.directory;
            let sums = SumWriter::open(files, directory, id, base, base, Some(base))?;
            self.unsynced.push(sums.file().clone());
            self.sums = Some(sums);
        }
        self.file = file;
        self.unsynced.push(self.file.clone());
        self.is_directory_unsynced = true;
        self.base = base;
        self.next = Next::Unasked;
        Ok(())
    }

    /// Sums that nothing is added to any more are durable with the next sync.
    pub(crate) fn finish(&mut self) {
        if let Some(sums) = self.sums.take() {
            self.unsynced.push(sums.file().clone());
        }
    }

    /// Everything up to `position` is synced.
    ///
    /// # Errors
    /// That cannot be written down.
    pub(crate) fn on_synced(&mut self, position: i64) -> io::Result<()> {
        match &mut self.sums {
            Some(sums) if position > self.base => sums.on_synced(position),
            _ => Ok(()),
        }
    }

    /// Adds what to tell the host of pages that hold what was written; `kept` bytes are to stay.
    pub(crate) fn uncache(&mut self, kept: i64, advice: &mut Advice) {
        self.trail.advise(self.position, kept, &self.store.directory, advice);
    }

    fn spare_name(&self) -> String {
        segment::spare_name(self.recording_id, self.base + self.layout.segment_length)
    }

    /// Whether this is the ticket of the segment being prepared.
    #[must_use]
    pub fn awaits(&self, ticket: Ticket) -> bool {
        matches!(self.next, Next::Preparing(awaited) if awaited == ticket)
    }

    /// Takes the outcome of preparing the next segment.
    ///
    /// # Errors
    /// It could not be made, or not be put in place: when there is no room in the current segment
    /// the recording has to end.
    pub fn on_prepared(
        &mut self,
        outcome: io::Result<Arc<dyn File>>,
        background: &mut dyn Background,
    ) -> io::Result<()> {
        match outcome {
            Ok(file) => self.next = Next::Ready(file),
            Err(error) if self.is_ready() => {
                // Asked for again with the next block: space may be found meanwhile.
                self.next = Next::Unasked;
                let _ = error;
            }
            Err(error) => return Err(error),
        }
        if self.is_ready() { Ok(()) } else { self.roll(background) }
    }

    /// Takes the files that a sync has to cover for all that was written to be durable, and whether
    /// the directory belongs to them.
    pub fn take_unsynced(&mut self, into: &mut Vec<Arc<dyn File>>) -> bool {
        into.append(&mut self.unsynced);
        std::mem::take(&mut self.is_directory_unsynced)
    }

    /// Says that no sync is wanted of what was written.
    pub fn forget_unsynced(&mut self) {
        self.unsynced.clear();
        self.is_directory_unsynced = false;
    }

    /// Whether anything was written that no sync has been asked for.
    #[must_use]
    pub fn is_unsynced(&self) -> bool {
        !self.unsynced.is_empty() || self.is_directory_unsynced
    }

    /// Ends the recording: what was prepared and is not needed is removed in the background.
    pub fn close(self, background: &mut dyn Background) {
        if !matches!(self.next, Next::Unasked) {
            let path = self.store.directory.join(self.spare_name());
            background.submit(Job::Remove(vec![path]));
        }
    }
}

/// Whether no frame begins at `offset`.
fn is_free(file: &dyn File, offset: u64) -> io::Result<bool> {
    let mut length = [0; 4];
    if offset + 4 > file.length()? {
        return Ok(true);
    }
    read_exact_at(file, &mut length, offset)?;
    Ok(length == [0; 4])
}

#[cfg(test)]
mod tests;
