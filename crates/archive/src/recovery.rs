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
//! | power lost with blocks not synced | holes in or between frames, in several segments | cut before the first hole |
//! | power lost, a whole segment not synced | empty successor, short segment | successor removed |
//! | none: bits rotted, a write went astray | a bad frame below what was synced | out of service |
//! | while this recovery cuts | the same state, or less of it | the same outcome |

use std::io;
use std::path::Path;

use runtime::files::{Files, SyncKind, read_exact_at};

use crate::catalog::Recording;
use crate::checksum::Checksum;
use crate::frame::{HEADER_LENGTH, Header, is_intact};
use crate::segment::{self, Segment};
use crate::sums::{self, SumReader};

/// Pages in which a file system makes writes durable: a torn write misses whole pages.
const PAGE: u64 = 4096;

/// How many bytes of full segments are looked at for holes, where no sums say what was synced: more
/// than is ever on its way to a disk.
const RECHECKED: i64 = 256 << 20;

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
        /// Where the segments above it end.
        end: i64,
    },
    /// Frames that were durable are not there any more: no crash does that.
    #[error(
        "recording {recording_id} is rotten at {position}, though all up to {synced} was durable: \
         out of service until it is cut there (docs/archive-files.md says what else can be done)"
    )]
    Rotten {
        /// The recording.
        recording_id: i64,
        /// Where its whole frames end.
        position: i64,
        /// Where they ended once.
        synced: i64,
        /// Where those end that are there still.
        end: i64,
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

/// What a recording has lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rot {
    /// Which recording.
    pub recording_id: i64,
    /// Where the first frame that is lost begins.
    pub position: i64,
    /// Where the recording ended once, at least.
    pub end: i64,
}

impl RecoveryError {
    /// What is lost, if that is known.
    #[must_use]
    pub fn rot(&self) -> Option<Rot> {
        match *self {
            Self::MissingSegment { recording_id, base: position, end } => {
                Some(Rot { recording_id, position, end })
            }
            Self::Rotten { recording_id, position, synced, end } => {
                Some(Rot { recording_id, position, end: end.max(synced) })
            }
            Self::Io { .. } => None,
        }
    }
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
    let mut found: Option<Recovered> = None;
    let (mut above, mut end_above, mut checked) = (Vec::new(), End::Empty, 0);
    while let Some(segment) = segments.pop() {
        let from = recording.start_position.max(segment.base);
        let path = directory.join(segment::file_name(recording_id, segment.base));
        let file = files.open(&path).map_err(failed)?;
        let scratch = std::mem::take(buffer);
        let mut sums = None;
        if checksum.is_some() {
            let open = SumReader::open(files, directory, recording_id, segment.base);
            sums = open.map_err(failed)?;
        }
        let mut scanner = Scanner { file: &*file, segment, buffer: scratch, held: 0..0, sums };
        let scan = scanner.scan_surely(recording, from, checksum).map_err(failed)?;
        let end = found.as_ref().map_or(segment.base, |found| found.stop_position);
        let synced = scanner.sums.as_ref().and_then(|sums| sums.synced).unwrap_or(i64::MIN);
        let synced = synced.min(segment.base + layout.segment_length);
        if scan.position < synced {
            let position = scan.position;
            let rest = scanner.end_behind(recording, position, checksum).map_err(failed)?;
            let end = end.max(rest);
            *buffer = scanner.buffer;
            return Err(RecoveryError::Rotten { recording_id, position, synced, end });
        }
        *buffer = scanner.buffer;
        let Scan { position, end } = scan;
        if found.is_none() && (position > from || segment.base == lowest) {
            let mut beyond = above.clone();
            // The segment above begins where a full one ends: it stays, emptied.
            let is_kept = end == End::Full && beyond.pop().is_some();
            let end = if is_kept { end_above } else { end };
            found = Some(Recovered { stop_position: position, end, beyond });
        } else if found.is_some() && end != End::Full {
            // What stands above was written after what is missing here.
            found = Some(Recovered { stop_position: position, end, beyond: above.clone() });
        }
        checked += layout.segment_length;
        let is_enough = synced > segment.base || (!above.is_empty() && checked >= RECHECKED);
        if let Some(found) = found.take_if(|_| segment.base == lowest || is_enough) {
            return Ok(found);
        }
        let below = segment.base - layout.segment_length;
        if segments.last().map(|it| it.base) != Some(below) {
            let end = found.map_or(segment.base, |found| found.stop_position);
            return Err(RecoveryError::MissingSegment { recording_id, base: below, end });
        }
        above.push(segment.base);
        end_above = end;
    }
    Ok(Recovered { stop_position: recording.start_position, end: End::Empty, beyond: above })
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
        // Before the segment, or they would seem to be older than it.
        sums::cut(files, directory, recording.id, base, self.stop_position, None)
            .map_err(failed)?;
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
            // Or a power cut would leave nothing that tells what is torn from what is rotten.
            let path = sums::path(directory, recording_id, segment.base);
            if files.entry(&path).map_err(failed)?.is_some() {
                files.open(&path).and_then(|it| it.sync(SyncKind::All)).map_err(failed)?;
            }
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
    sums: Option<SumReader>,
}

/// Where a segment's valid frames end, and why.
struct Scan {
    position: i64,
    end: End,
}

/// The last frame seen, and which frames lack a proof.
#[derive(Default)]
struct Proof {
    last: Option<(i64, Header)>,
    /// The first frame whose checksum is not right, with what stands in its place.
    unproven: Option<(i64, i32)>,
    /// The session of frames that were recorded without checksums: it stands in all of them.
    plain_session: Option<i32>,
    /// There is one whose checksum is right.
    is_sealed: bool,
}

impl Proof {
    /// Takes in a frame whose checksum is right or not; false where the recording ends before it
    /// or before an earlier one.
    fn take(&mut self, position: i64, header: &Header, is_intact: bool) -> bool {
        let session = header.session_id;
        self.is_sealed |= is_intact;
        match self.unproven {
            _ if !is_intact && self.plain_session == Some(session) => true,
            None if !is_intact => {
                self.unproven = Some((position, session));
                true
            }
            None => true,
            Some((_, first)) if !is_intact && first == session => {
                (self.unproven, self.plain_session) = (None, Some(session));
                true
            }
            Some(_) => false,
        }
    }
}

impl Scanner<'_> {
    /// Scans twice where something is wrong: it may be the read that was, and not what is stored.
    fn scan_surely(
        &mut self,
        recording: &Recording,
        from: i64,
        checksum: Option<Checksum>,
    ) -> io::Result<Scan> {
        let first = self.scan(recording, from, checksum)?;
        let synced = self.sums.as_ref().and_then(|sums| sums.synced).unwrap_or(i64::MIN);
        if first.end == End::Full || first.end == End::Empty && synced <= first.position {
            return Ok(first);
        }
        self.held = 0..0;
        let second = self.scan(recording, from, checksum)?;
        Ok(if second.position > first.position { second } else { first })
    }

    /// Where the last whole frame behind `position` ends, which cannot be read; `position` if there
    /// is none. Frames say where they stand, so that they are found again.
    fn end_behind(
        &mut self,
        recording: &Recording,
        position: i64,
        checksum: Option<Checksum>,
    ) -> io::Result<i64> {
        let base = self.segment.base;
        let limit = base + recording.layout().segment_length;
        let (term, mtu) = (recording.term_buffer_length, recording.mtu_length);
        let (mut at, mut end) = (position + HEADER_LENGTH as i64, position);
        while at < limit {
            let offset = (at - base).cast_unsigned();
            let Some(header) = self.bytes(offset, HEADER_LENGTH)?.and_then(Header::read) else {
                break;
            };
            if header.is_sound(recording.place(at), term, mtu)
                && let Some(frame) = self.bytes(offset, header.stored_length())?
                && checksum.is_none_or(|checksum| is_intact(frame, &header, checksum))
            {
                at += header.aligned_length();
                end = at;
            } else {
                at += HEADER_LENGTH as i64;
            }
        }
        Ok(end)
    }

    fn scan(
        &mut self,
        recording: &Recording,
        from: i64,
        checksum: Option<Checksum>,
    ) -> io::Result<Scan> {
        let base = self.segment.base;
        let limit = base + recording.layout().segment_length;
        let mut sums = self.sums.take();
        if let Some(sums) = &mut sums {
            let length = usize::try_from(self.segment.length).unwrap_or(0);
            sums.load(base, length)?;
        }
        let plain_session = Some(recording.session_id);
        let mut proof = Proof { plain_session, ..Proof::default() };
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
            if !sums.as_ref().is_none_or(|sums| sums.agrees(position, frame)) {
                break End::Unsound;
            }
            if let Some(checksum) = checksum
                && !header.is_padding()
                && !proof.take(position, &header, is_intact(frame, &header, checksum))
            {
                break End::Torn;
            }
            proof.last = Some((position, header));
            position += header.aligned_length();
        };
        self.sums = sums;
        self.judge(position, end, &proof)
    }

    /// Cuts off what is not proven whole: from the first frame on whose checksum is not right, and
    /// without checksums the last frame, if it may be torn: earlier ones were followed by others.
    fn judge(&mut self, position: i64, end: End, proof: &Proof) -> io::Result<Scan> {
        if let Some((position, _)) = proof.unproven {
            return Ok(Scan { position, end: End::Torn });
        }
        if proof.is_sealed {
            return Ok(Scan { position, end });
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
