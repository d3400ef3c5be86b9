//! Finds where a recording really ends when nobody stopped it.
//!
//! Judges the content of the last segment, not its length: every header must say where it stands,
//! and the last frames must be proven whole. Reads files, and changes them only in
//! [`Recovered::apply`]; the catalog is the caller's.
//!
//! What a crash leaves, and what is made of it:
//!
//! | crash | left behind | outcome |
//! |---|---|---|
//! | before the first segment exists | no file | ends where it began |
//! | while a segment is prepared | a spare, or nothing | the spare is removed at start |
//! | a full segment, its successor not in place | the highest segment is full | ends at its end |
//! | successor in place, nothing written | an empty highest segment | ends at its base |
//! | while a block is written | whole frames, then a torn one | cut after the last whole frame |
//! | power lost with blocks not synced | holes between frames | cut before the first hole |
//! | power lost, a whole segment not synced | empty successor, short segment | successor removed |
//! | while this recovery cuts | the same state, or less of it | the same outcome |

use std::io;
use std::path::Path;

use runtime::files::{Files, SyncKind, read_exact_at};

use crate::catalog::Recording;
use crate::checksum::Checksum;
use crate::frame::{HEADER_LENGTH, Header, is_intact};
use crate::segment::{self, Segment};

/// Pages in which a file system makes writes durable: a torn write misses whole pages.
const PAGE: u64 = 4096;

/// Why the end of a recording cannot be found.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// A segment below the highest does not exist.
    #[error("recording {recording_id}: segment at {base} is missing")]
    MissingSegment {
        /// The recording.
        recording_id: i64,
        /// The segment that should exist.
        base: i64,
    },
    /// Files cannot be read or changed.
    #[error("recording {recording_id}: {source}")]
    Io {
        /// The recording.
        recording_id: i64,
        /// The cause.
        source: io::Error,
    },
}

/// What ended the valid frames of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The end of the segment.
    Full,
    /// No frame begins there.
    Empty,
    /// What begins there is not the header of a frame of this recording at this position.
    Unsound,
    /// A frame begins there that is not proven whole.
    Torn,
}

/// Where a recording ends and what has to be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The position after the last whole frame.
    pub stop_position: i64,
    /// What stands there.
    pub end: End,
    /// Bases of segments beyond the end, highest first.
    pub beyond: Vec<i64>,
}

/// Finds the end of `recording`. `buffer` is scratch space, its length that of the reads.
///
/// # Errors
/// See [`RecoveryError`].
pub fn recover(
    files: &dyn Files,
    directory: &Path,
    recording: &Recording,
    checksum: Option<Checksum>,
    buffer: &mut Vec<u8>,
) -> Result<Recovered, RecoveryError> {
    let recording_id = recording.id;
    let failed = |source| RecoveryError::Io { recording_id, source };
    let layout = recording.layout();
    let lowest = layout.base(recording.start_position);
    let mut segments = segment::list(files, directory, recording_id).map_err(failed)?;
    segments.retain(|it| !it.is_deleted && it.base >= lowest && layout.is_base(it.base));
    let mut beyond = Vec::new();
    let mut above = End::Empty;
    while let Some(segment) = segments.pop() {
        let from = recording.start_position.max(segment.base);
        let path = directory.join(segment::file_name(recording_id, segment.base));
        let file = files.open(&path).map_err(failed)?;
        let scratch = std::mem::take(buffer);
        let mut scanner = Scanner { file: &*file, segment, buffer: scratch, held: 0..0 };
        let scan = scanner.scan(recording, from, checksum).map_err(failed)?;
        *buffer = scanner.buffer;
        if scan.position > from || segment.base == lowest {
            let Scan { position: stop_position, mut end } = scan;
            if end == End::Full && beyond.pop().is_some() {
                // The segment above begins where this one ends: it stays, emptied.
                end = above;
            }
            return Ok(Recovered { stop_position, end, beyond });
        }
        let below = segment.base - layout.segment_length;
        if segments.last().map(|it| it.base) != Some(below) {
            return Err(RecoveryError::MissingSegment { recording_id, base: below });
        }
        beyond.push(segment.base);
        above = scan.end;
    }
    Ok(Recovered { stop_position: recording.start_position, end: End::Empty, beyond })
}

impl Recovered {
    /// Makes the files agree: removes what lies beyond the end, zeroes the rest of the last
    /// segment.
    ///
    /// Stale bytes there could pass for frames once the recording is extended up to them. Each step
    /// leaves a state whose recovery has the same outcome. Returns whether anything was changed.
    ///
    /// # Errors
    /// Files cannot be changed.
    pub fn apply(
        &self,
        files: &dyn Files,
        directory: &Path,
        recording: &Recording,
    ) -> Result<bool, RecoveryError> {
        let failed = |source| RecoveryError::Io { recording_id: recording.id, source };
        for base in &self.beyond {
            files
                .remove(&directory.join(segment::file_name(recording.id, *base)))
                .map_err(failed)?;
        }
        if !self.beyond.is_empty() {
            files.sync_directory(directory).map_err(failed)?;
        }
        let layout = recording.layout();
        let base = layout.base(self.stop_position);
        let length = layout.segment_length.cast_unsigned();
        let path = directory.join(segment::file_name(recording.id, base));
        if files.entry(&path).map_err(failed)?.is_none() {
            if self.end == End::Full {
                create_empty(files, directory, &path, length).map_err(failed)?;
            }
            return Ok(!self.beyond.is_empty());
        }
        let offset = layout.offset(self.stop_position);
        let changed = zero_tail(files, &path, offset, length).map_err(failed)?;
        Ok(changed || !self.beyond.is_empty())
    }
}

/// Makes all that was found durable: what the life before wrote and never synced counts from now
/// on, and nobody writes to a full segment again who would sync it.
///
/// # Errors
/// Files cannot be synced.
pub(crate) fn make_durable(
    files: &dyn Files,
    directory: &Path,
    recording: &Recording,
) -> Result<(), RecoveryError> {
    let recording_id = recording.id;
    let failed = |source| RecoveryError::Io { recording_id, source };
    for segment in segment::list(files, directory, recording_id).map_err(failed)? {
        if !segment.is_deleted {
            let path = directory.join(segment::file_name(recording_id, segment.base));
            let file = files.open(&path).map_err(failed)?;
            file.sync(SyncKind::All).map_err(failed)?;
        }
    }
    files.sync_directory(directory).map_err(failed)
}

/// Creates a segment of zeros, so that a recording that ends with a full one has its next: genuine
/// tools call a recording without it invalid.
///
/// # Errors
/// The file cannot be created or synced.
pub(crate) fn create_empty(
    files: &dyn Files,
    directory: &Path,
    path: &Path,
    length: u64,
) -> io::Result<()> {
    let file = files.create(path)?;
    file.set_length(length)?;
    file.sync(SyncKind::All)?;
    files.sync_directory(directory)
}

/// Makes all of a segment from `offset` up to `length` zeros; returns whether it was not.
///
/// A crash in between leaves a file cut at `offset`, or with zeros in place of a part of the tail.
///
/// # Errors
/// The file cannot be read, changed or synced.
pub(crate) fn zero_tail(
    files: &dyn Files,
    path: &Path,
    offset: u64,
    length: u64,
) -> io::Result<bool> {
    let file = files.open(path)?;
    let present = file.length()?;
    let mut chunk = vec![0; 64 * 1024];
    let mut at = offset;
    while at < present.min(length) {
        let count = (present.min(length) - at).min(chunk.len() as u64) as usize;
        read_exact_at(&*file, &mut chunk[..count], at)?;
        if chunk[..count].iter().any(|&byte| byte != 0) {
            file.set_length(offset)?;
            file.set_length(length)?;
            file.sync(SyncKind::All)?;
            return Ok(true);
        }
        at += count as u64;
    }
    if present != length {
        file.set_length(length)?;
        file.sync(SyncKind::All)?;
    }
    Ok(present > length)
}

/// Reads one segment forward.
struct Scanner<'a> {
    file: &'a dyn runtime::files::File,
    segment: Segment,
    buffer: Vec<u8>,
    /// Which bytes of the file the buffer holds.
    held: std::ops::Range<u64>,
}

/// Where a segment's valid frames end, and why.
struct Scan {
    position: i64,
    end: End,
}

/// The last frame seen, and which frames still lack a proof.
struct Proof {
    last: Option<(i64, Header)>,
    unproven_from: Option<i64>,
    is_sealed: bool,
}

impl Scanner<'_> {
    fn scan(
        &mut self,
        recording: &Recording,
        from: i64,
        checksum: Option<Checksum>,
    ) -> io::Result<Scan> {
        let base = self.segment.base;
        let limit = base + recording.layout().segment_length;
        let mut proof = Proof { last: None, unproven_from: None, is_sealed: false };
        let mut position = from;
        let end = loop {
            if position >= limit {
                break End::Full;
            }
            let at = (position - base).cast_unsigned();
            let Some(header) = self.bytes(at, HEADER_LENGTH)?.and_then(Header::read) else {
                break End::Empty;
            };
            if header.frame_length == 0 {
                break End::Empty;
            }
            let (term, mtu) = (recording.term_buffer_length, recording.mtu_length);
            if !header.is_sound(recording.place(position), term, mtu) {
                break End::Unsound;
            }
            let Some(frame) = self.bytes(at, header.stored_length())? else { break End::Torn };
            if let Some(checksum) = checksum
                && !header.is_padding()
            {
                if is_intact(frame, &header, checksum) {
                    (proof.is_sealed, proof.unproven_from) = (true, None);
                } else if proof.unproven_from.is_none() {
                    proof.unproven_from = Some(position);
                }
            }
            proof.last = Some((position, header));
            position += header.aligned_length();
        };
        self.judge(position, end, &proof)
    }

    /// Cuts off what is not proven whole. Without a checksum anywhere in the segment only the last
    /// frame is in doubt: earlier ones were followed by others. With one, all after the last frame
    /// whose checksum is right are.
    fn judge(&mut self, position: i64, end: End, proof: &Proof) -> io::Result<Scan> {
        if proof.is_sealed {
            return Ok(match proof.unproven_from {
                Some(position) => Scan { position, end: End::Torn },
                None => Scan { position, end },
            });
        }
        let Some((start, header)) = proof.last else { return Ok(Scan { position, end }) };
        if header.is_padding() || self.touches_every_page(start, &header)? {
            return Ok(Scan { position, end });
        }
        Ok(Scan { position: start, end: End::Torn })
    }

    /// Whether each page into which a frame runs over holds something other than zeros.
    ///
    /// A page that holds only the fill after the payload proves nothing and is passed over.
    fn touches_every_page(&mut self, start: i64, header: &Header) -> io::Result<bool> {
        let begin = (start - self.segment.base).cast_unsigned();
        let end = begin + u64::from(header.frame_length.cast_unsigned());
        let mut page = (begin / PAGE + 1) * PAGE;
        while page < end {
            let count = (end - page).min(PAGE) as usize;
            match self.bytes(page, count)? {
                Some(bytes) if bytes.iter().any(|&byte| byte != 0) => page += PAGE,
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// `count` bytes at `at`; `None` if the file ends before.
    fn bytes(&mut self, at: u64, count: usize) -> io::Result<Option<&[u8]>> {
        let end = at + count as u64;
        if at < self.held.start || self.held.end < end {
            let available = self.segment.length.saturating_sub(at);
            if available < count as u64 {
                return Ok(None);
            }
            let length = available.min(self.buffer.len().max(count) as u64);
            self.buffer.resize(self.buffer.len().max(count), 0);
            self.held = 0..0;
            read_exact_at(self.file, &mut self.buffer[..length as usize], at)?;
            self.held = at..at + length;
        }
        let from = (at - self.held.start) as usize;
        Ok(Some(&self.buffer[from..from + count]))
    }
}

/// Removes segments that were being prepared when the archive ended.
///
/// # Errors
/// The directory cannot be listed or changed.
pub fn remove_spares(files: &dyn Files, directory: &Path) -> io::Result<usize> {
    let mut count = 0;
    for entry in files.list(directory)? {
        if let Some(segment::Name::Spare(..)) = segment::parse_name(&entry.name) {
            files.remove(&directory.join(&entry.name))?;
            count += 1;
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests;
