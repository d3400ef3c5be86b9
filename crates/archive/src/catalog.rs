//! The catalog: what recordings there are, on disk and in memory.
//!
//! One writer, the archive's conductor. Every entry is kept decoded; the file is written through
//! and made durable by the caller, who syncs [`Catalog::file`] before anything that rests on a
//! change is told to anybody. Layout and rules: archive specification 5.
//!
//! What a crash at each step leaves:
//!
//! 1. new entry, next id written only: an id that nobody gets;
//! 2. its body written, not its header: zeros where a length would be, so the end of the catalog;
//! 3. its header written, not all of its body (power lost): an entry that does not decode, at the
//!    end; nobody was told of it, so it is wiped at the next start;
//! 4. an entry changed in place: old or new, since what changes together lies in one 64-byte line;
//! 5. an entry that outgrew its place: the old catalog or the new one, which takes its name whole.
//!
//! With a guard (see [`runtime::guarded`]) each of these is done as a whole or not at all, and what
//! rotted meanwhile is restored.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use runtime::files::{File, Files};
use runtime::guarded::{Due, GuardError, Guarded};

use wire::archive::STORAGE_VERSION;
use wire::archive::catalog::{
    ALIGNMENT, CatalogHeader, Frame, HEADER_LENGTH, LENGTH_OFFSET, NEXT_RECORDING_ID_OFFSET,
    RECORDING_ID_OFFSET, RecordingState, STATE_OFFSET, encode_frame, frame_length,
};
use wire::archive::response::RecordingDescriptor;
use wire::bytes::SemanticVersion;

use crate::checksum::Checksum;
use crate::frame::Place;
use crate::segment::Layout;

mod checked;
mod retired;
#[cfg(test)]
mod tests;

pub use wire::archive::catalog::FILE_NAME;
/// In place of a position or time that is not known yet.
pub const NULL_VALUE: i64 = -1;

/// One recording, as the catalog describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// Session that extended it last; 0 if none did.
    pub control_session_id: i64,
    /// Request that extended it last; 0 if none did.
    pub correlation_id: i64,
    /// Its id, never used again.
    pub id: i64,
    /// When it began, in milliseconds since 1970.
    pub start_timestamp: i64,
    /// When it ended; -1 while active.
    pub stop_timestamp: i64,
    /// The position of its first byte.
    pub start_position: i64,
    /// The position after its last byte; -1 while active.
    pub stop_position: i64,
    /// The first term of the stream.
    pub initial_term_id: i32,
    /// Length in bytes of its segment files.
    pub segment_file_length: i32,
    /// Length in bytes of the stream's terms.
    pub term_buffer_length: i32,
    /// Longest datagram of the stream in bytes.
    pub mtu_length: i32,
    /// Session of the last image recorded.
    pub session_id: i32,
    /// The stream.
    pub stream_id: i32,
    /// The channel without what does not identify it.
    pub stripped_channel: String,
    /// The channel as it was asked for.
    pub original_channel: String,
    /// Where the last image came from.
    pub source_identity: String,
}

impl Recording {
    /// How it is cut into segments.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        Layout::new(self.start_position, self.term_buffer_length, self.segment_file_length)
    }

    /// Whether nobody has ended it.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        self.stop_position == NULL_VALUE
    }

    /// What the header of the frame at `position` has to say.
    pub(crate) fn place(&self, position: i64) -> Place {
        let bits = self.term_buffer_length.trailing_zeros();
        let position = wire::position::Position(position);
        let initial = wire::position::TermId(self.initial_term_id);
        Place {
            term_id: position.term_id(bits, initial).0,
            term_offset: position.term_offset(self.term_buffer_length),
            stream_id: self.stream_id,
        }
    }

    /// Whether both are of one stream and cut alike, so that one can continue the other.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let shape = |it: &Self| {
            (
                it.segment_file_length,
                it.term_buffer_length,
                it.initial_term_id,
                it.stream_id,
                it.mtu_length,
            )
        };
        shape(self) == shape(other)
    }

    /// As the wire and the disk have it.
    #[must_use]
    pub fn descriptor(&self) -> RecordingDescriptor<'_> {
        RecordingDescriptor {
            control_session_id: self.control_session_id,
            correlation_id: self.correlation_id,
            recording_id: self.id,
            start_timestamp: self.start_timestamp,
            stop_timestamp: self.stop_timestamp,
            start_position: self.start_position,
            stop_position: self.stop_position,
            initial_term_id: self.initial_term_id,
            segment_file_length: self.segment_file_length,
            term_buffer_length: self.term_buffer_length,
            mtu_length: self.mtu_length,
            session_id: self.session_id,
            stream_id: self.stream_id,
            stripped_channel: self.stripped_channel.as_bytes(),
            original_channel: self.original_channel.as_bytes(),
            source_identity: self.source_identity.as_bytes(),
        }
    }

    /// Whether its numbers can be those of a recording, so that arithmetic on them holds.
    fn is_sound(&self) -> bool {
        let power = |length: i32| length.count_ones() == 1;
        let aligned = |position: i64| position >= 0 && position % 32 == 0;
        wire::position::is_term_length(self.term_buffer_length)
            && power(self.segment_file_length)
            && self.segment_file_length >= self.term_buffer_length
            && (32..=self.term_buffer_length).contains(&self.mtu_length)
            && aligned(self.start_position)
            && (self.is_active()
                || (aligned(self.stop_position) && self.start_position <= self.stop_position))
    }
}

impl From<RecordingDescriptor<'_>> for Recording {
    /// Texts that are not UTF-8 read with the replacement character: they should be ASCII.
    fn from(it: RecordingDescriptor<'_>) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            control_session_id: it.control_session_id,
            correlation_id: it.correlation_id,
            id: it.recording_id,
            start_timestamp: it.start_timestamp,
            stop_timestamp: it.stop_timestamp,
            start_position: it.start_position,
            stop_position: it.stop_position,
            initial_term_id: it.initial_term_id,
            segment_file_length: it.segment_file_length,
            term_buffer_length: it.term_buffer_length,
            mtu_length: it.mtu_length,
            session_id: it.session_id,
            stream_id: it.stream_id,
            stripped_channel: text(it.stripped_channel),
            original_channel: text(it.original_channel),
            source_identity: text(it.source_identity),
        }
    }
}

/// Why the catalog cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The file was made by software of another major version.
    #[error("catalog has version {0:?}, expected 3.x")]
    Version(SemanticVersion),
    /// The header makes no sense.
    #[error("catalog header is damaged: {0}")]
    Header(String),
    /// An entry that is not the last makes no sense.
    #[error("catalog entry at offset {offset} is damaged: {cause}")]
    Entry {
        /// Where it begins.
        offset: u64,
        /// What is wrong.
        cause: String,
    },
    /// Offsets of entries would not fit 31 bits.
    #[error("catalog is full")]
    Full,
    /// No valid entry has this id.
    #[error("recording {0} is unknown")]
    Unknown(i64),
    /// It is not what it was.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// The file cannot be read or changed.
    #[error("catalog: {0}")]
    Io(#[from] io::Error),
}

struct Entry {
    offset: u64,
    /// Length of header and body, fill included.
    frame_length: usize,
    recording: Recording,
}

/// The catalog of an archive.
pub struct Catalog {
    file: Guarded,
    capacity: u64,
    next_recording_id: i64,
    end: u64,
    alignment: usize,
    checksum: Option<Checksum>,
    entries: BTreeMap<i64, Entry>,
    /// Those out of service.
    retired: BTreeMap<i64, Entry>,
    is_unsynced: bool,
}

impl Catalog {
    /// Opens the catalog in `directory`, or makes it, at least `capacity` bytes long.
    ///
    /// # Errors
    /// See [`CatalogError`]. Nothing was changed then.
    pub fn open(
        files: &Arc<dyn Files>,
        directory: &Path,
        capacity: u64,
        checksum: Option<Checksum>,
    ) -> Result<Self, CatalogError> {
        Self::begin(files, directory, capacity, checksum, false).map(|(catalog, _)| catalog)
    }

    /// The same with a guard; says what that found.
    ///
    /// # Errors
    /// See [`CatalogError`].
    pub fn open_guarded(
        files: &Arc<dyn Files>,
        directory: &Path,
        capacity: u64,
        checksum: Option<Checksum>,
    ) -> Result<(Self, Vec<String>), CatalogError> {
        Guarded::expect_none(&**files, &directory.join(FILE_NAME))?;
        Self::begin(files, directory, capacity, checksum, true)
    }

    fn begin(
        files: &Arc<dyn Files>,
        directory: &Path,
        capacity: u64,
        checksum: Option<Checksum>,
        is_guarded: bool,
    ) -> Result<(Self, Vec<String>), CatalogError> {
        let path = directory.join(FILE_NAME);
        let capacity = capacity.clamp(HEADER_LENGTH as u64, i32::MAX as u64);
        if files.entry(&path)?.is_none() {
            files.create(&path)?;
        }
        let mut file = Guarded::open(files, &path)?;
        let mut findings = Vec::new();
        if is_guarded && Guarded::has_log(&**files, &path)? {
            findings = file.guard()?;
        }
        let bytes = file.content()?;
        let mut catalog = Self {
            file,
            capacity: capacity.max(bytes.len() as u64),
            next_recording_id: 0,
            end: HEADER_LENGTH as u64,
            alignment: ALIGNMENT.cast_unsigned() as usize,
            checksum,
            entries: BTreeMap::new(),
            retired: BTreeMap::new(),
            is_unsynced: false,
        };
        if bytes.len() < HEADER_LENGTH || bytes[..HEADER_LENGTH].iter().all(|&byte| byte == 0) {
            catalog.initialize(&**files, directory)?;
        } else {
            catalog.read(&bytes)?;
            if (bytes.len() as u64) < catalog.capacity {
                catalog.file.set_length(catalog.capacity)?;
            }
        }
        if is_guarded && !catalog.file.is_guarded() {
            catalog.file.settle()?;
            findings = catalog.file.guard()?;
        }
        Ok((catalog, findings))
    }

    /// Writes the header of a new catalog; a crash before leaves an empty or zero file, which the
    /// next start takes for new.
    fn initialize(&mut self, files: &dyn Files, directory: &Path) -> Result<(), CatalogError> {
        self.file.set_length(self.capacity)?;
        let mut header = [0; HEADER_LENGTH];
        CatalogHeader::new(STORAGE_VERSION, 0).encode(&mut header).map_err(invalid)?;
        self.file.write(&header, 0)?;
        self.file.settle()?;
        files.sync_directory(directory)?;
        Ok(())
    }

    fn read(&mut self, bytes: &[u8]) -> Result<(), CatalogError> {
        let damaged = |cause: &dyn ToString| CatalogError::Header(cause.to_string());
        let header = CatalogHeader::decode(bytes).map_err(|error| damaged(&error))?;
        if header.version.major() != STORAGE_VERSION.major() {
            return Err(CatalogError::Version(header.version));
        }
        if header.length != HEADER_LENGTH as i32 {
            return Err(damaged(&"length"));
        }
        if header.alignment.count_ones() != 1 || !(1..=4096).contains(&header.alignment) {
            return Err(damaged(&"alignment"));
        }
        self.alignment = header.alignment.cast_unsigned() as usize;
        let mut offset = HEADER_LENGTH;
        while let Some(rest) = bytes.get(offset..).filter(|rest| rest.len() >= HEADER_LENGTH) {
            match self.read_entry(rest, offset as u64) {
                Ok(0) => break,
                Ok(length) => offset += length,
                // Nobody was told of the last entry unless all of it was durable.
                Err(_) if is_last(rest) => {
                    // All of it: a part must not pass for one of the entry that comes here.
                    self.file.write(&vec![0; rest.len()], offset as u64)?;
                    self.is_unsynced = true;
                    break;
                }
                Err(cause) => return Err(CatalogError::Entry { offset: offset as u64, cause }),
            }
        }
        self.end = offset as u64;
        let last = self.entries.last_key_value().map_or(0, |(id, _)| id + 1);
        self.next_recording_id = header.next_recording_id.max(last);
        if self.next_recording_id != header.next_recording_id {
            self.write_next_recording_id()?;
        }
        Ok(())
    }

    /// Takes in the entry at the front of `bytes` and returns its length, 0 at the end.
    fn read_entry(&mut self, bytes: &[u8], offset: u64) -> Result<usize, String> {
        let frame = Frame::decode(bytes).map_err(|error| error.to_string())?;
        let Some(frame) = frame else { return Ok(0) };
        match frame.state {
            RecordingState::Valid => {}
            RecordingState::Unknown(code) => return Err(format!("state {code}")),
            RecordingState::Deleted => return Ok(frame.length),
            RecordingState::Invalid => {
                self.read_retired(&frame, offset);
                return Ok(frame.length);
            }
        }
        let it = frame.descriptor;
        // A lost sector leaves zeros where a channel was.
        if [it.stripped_channel, it.original_channel, it.source_identity].concat().contains(&0) {
            return Err("zeros in a text".to_string());
        }
        let recording = Recording::from(it);
        if self.entries.last_key_value().is_some_and(|(last, _)| recording.id <= *last) {
            return Err("ids do not ascend".to_string());
        }
        if recording.id < 0 || !recording.is_sound() {
            return Err("lengths or positions".to_string());
        }
        let entry = Entry { offset, frame_length: frame.length, recording };
        self.entries.insert(entry.recording.id, entry);
        Ok(frame.length)
    }

    /// The file, for syncs.
    #[must_use]
    pub const fn file(&self) -> &Arc<dyn File> {
        self.file.file()
    }

    /// What has to be durable before changes reach the file: see [`Guarded::log`].
    ///
    /// # Errors
    /// The host refuses.
    pub fn log(&mut self) -> io::Result<Option<Due>> {
        self.file.log()
    }

    /// Writes changes to the file: see [`Guarded::apply`].
    ///
    /// # Errors
    /// The host refuses.
    pub fn apply(&mut self) -> io::Result<()> {
        self.file.apply()
    }

    /// The file is durable: see [`Guarded::on_durable`].
    ///
    /// # Errors
    /// The host refuses.
    pub fn on_durable(&mut self) -> io::Result<()> {
        self.file.on_durable()
    }

    /// Makes all changes durable. Blocks.
    ///
    /// # Errors
    /// The host refuses: none of them may count.
    pub fn settle(&mut self) -> io::Result<()> {
        self.is_unsynced = false;
        self.file.settle()
    }

    /// Whether anything was changed since this was last asked; the caller then owes a sync.
    pub fn take_unsynced(&mut self) -> bool {
        std::mem::take(&mut self.is_unsynced)
    }

    /// Length of the file in bytes.
    #[must_use]
    pub const fn capacity(&self) -> u64 {
        self.capacity
    }

    /// The id that the next recording gets.
    #[must_use]
    pub const fn next_recording_id(&self) -> i64 {
        self.next_recording_id
    }

    /// A recording by its id.
    #[must_use]
    pub fn get(&self, recording_id: i64) -> Option<&Recording> {
        self.entries.get(&recording_id).map(|entry| &entry.recording)
    }

    /// The recordings from an id on, in the order of their ids.
    pub fn iter_from(&self, recording_id: i64) -> impl Iterator<Item = &Recording> {
        self.entries.range(recording_id..).map(|(_, entry)| &entry.recording)
    }

    /// The newest recording of at least `min_id` that fits.
    #[must_use]
    pub fn find_last(&self, min_id: i64, fits: impl Fn(&Recording) -> bool) -> Option<i64> {
        let mut recordings = self.entries.range(min_id..).rev();
        recordings.find(|(_, entry)| fits(&entry.recording)).map(|(id, _)| *id)
    }

    /// The part of an entry that a listing sends after the ids of session and request: from the
    /// recording's id to the end of the entry, fill included.
    #[must_use]
    pub fn listing_bytes(&self, recording_id: i64) -> Option<Vec<u8>> {
        let entry = self.entries.get(&recording_id)?;
        let mut frame = vec![0; entry.frame_length];
        let descriptor = entry.recording.descriptor();
        encode_frame(&descriptor, RecordingState::Valid, 0, &mut frame).ok()?;
        Some(frame.split_off(RECORDING_ID_OFFSET))
    }

    /// Adds a recording and returns its id; `recording.id` is set.
    ///
    /// # Errors
    /// [`CatalogError::Full`] and [`CatalogError::Io`].
    pub fn add(&mut self, mut recording: Recording) -> Result<i64, CatalogError> {
        recording.id = self.next_recording_id;
        let frame_length = frame_length(&recording.descriptor(), self.alignment);
        let offset = self.end;
        self.reserve(offset + frame_length as u64)?;
        self.next_recording_id += 1;
        self.write_next_recording_id()?;
        self.write_entry(&recording, offset, frame_length)?;
        self.end += frame_length as u64;
        let id = recording.id;
        self.entries.insert(id, Entry { offset, frame_length, recording });
        Ok(id)
    }

    /// Changes a recording. Its entry moves those behind it if it outgrows its place.
    ///
    /// # Errors
    /// See [`CatalogError`]; in memory nothing was changed then.
    pub fn update(
        &mut self,
        recording_id: i64,
        change: impl FnOnce(&mut Recording),
    ) -> Result<(), CatalogError> {
        let entry = self.entries.get(&recording_id).ok_or(CatalogError::Unknown(recording_id))?;
        let mut recording = entry.recording.clone();
        change(&mut recording);
        recording.id = recording_id;
        let (offset, old_length) = (entry.offset, entry.frame_length);
        let needed = frame_length(&recording.descriptor(), self.alignment);
        let frame_length = needed.max(old_length);
        if frame_length > old_length {
            self.outgrow(&recording, offset, old_length, frame_length)?;
        } else {
            self.write_entry(&recording, offset, frame_length)?;
        }
        self.entries.insert(recording_id, Entry { offset, frame_length, recording });
        Ok(())
    }

    /// Takes a recording out: its entry stays in the file with `state`.
    ///
    /// # Errors
    /// See [`CatalogError`].
    pub fn remove(&mut self, recording_id: i64, state: RecordingState) -> Result<(), CatalogError> {
        let entry = self.entries.get(&recording_id).ok_or(CatalogError::Unknown(recording_id))?;
        let offset = entry.offset + STATE_OFFSET as u64;
        self.file.write(&state.code().to_le_bytes(), offset)?;
        self.is_unsynced = true;
        let removed = self.entries.remove(&recording_id);
        if state == RecordingState::Invalid {
            self.retired.extend(removed.map(|entry| (recording_id, entry)));
        }
        Ok(())
    }

    fn reserve(&mut self, needed: u64) -> Result<(), CatalogError> {
        let capacity = self.capacity_for(needed)?;
        if capacity > self.capacity {
            self.file.set_length(capacity)?;
            self.capacity = capacity;
        }
        Ok(())
    }

    fn capacity_for(&self, needed: u64) -> Result<u64, CatalogError> {
        if needed > i32::MAX as u64 {
            return Err(CatalogError::Full);
        }
        let mut capacity = self.capacity;
        while capacity < needed {
            capacity = (capacity + (capacity / 2).max(1)).min(i32::MAX as u64);
        }
        Ok(capacity)
    }

    fn frame(&self, recording: &Recording, frame_length: usize) -> Result<Vec<u8>, CatalogError> {
        let mut frame = vec![0; frame_length];
        let descriptor = recording.descriptor();
        encode_frame(&descriptor, RecordingState::Valid, 0, &mut frame).map_err(invalid)?;
        if let Some(checksum) = self.checksum {
            let value = checksum.compute(&frame[HEADER_LENGTH..]);
            encode_frame(&descriptor, RecordingState::Valid, value, &mut frame).map_err(invalid)?;
        }
        Ok(frame)
    }

    /// Body first, then the header that makes it count.
    fn write_entry(
        &mut self,
        recording: &Recording,
        offset: u64,
        frame_length: usize,
    ) -> Result<(), CatalogError> {
        let frame = self.frame(recording, frame_length)?;
        let (header, body) = frame.split_at(HEADER_LENGTH);
        self.file.write(body, offset + HEADER_LENGTH as u64)?;
        self.file.write(header, offset)?;
        self.is_unsynced = true;
        Ok(())
    }

    fn write_next_recording_id(&mut self) -> Result<(), CatalogError> {
        let bytes = self.next_recording_id.to_le_bytes();
        self.file.write(&bytes, NEXT_RECORDING_ID_OFFSET as u64)?;
        self.is_unsynced = true;
        Ok(())
    }

    /// Writes an entry that has become longer, and those behind it further on: all or nothing.
    fn outgrow(
        &mut self,
        recording: &Recording,
        offset: u64,
        old_length: usize,
        frame_length: usize,
    ) -> Result<(), CatalogError> {
        let distance = (frame_length - old_length) as u64;
        let capacity = self.capacity_for(self.end + distance)?;
        let mut content = self.checked_content()?;
        let at = offset as usize;
        content.splice(at..at + old_length, self.frame(recording, frame_length)?);
        content.resize(capacity as usize, 0);
        self.file.replace(&content)?;
        (self.capacity, self.is_unsynced) = (capacity, true);
        self.end += distance;
        let all = self.entries.values_mut().chain(self.retired.values_mut());
        all.filter(|entry| entry.offset > offset).for_each(|entry| entry.offset += distance);
        Ok(())
    }
}

/// Whether nothing stands behind the entry at the front of `bytes`, as far as its length can be
/// believed.
fn is_last(bytes: &[u8]) -> bool {
    let word = bytes.get(LENGTH_OFFSET..LENGTH_OFFSET + 4).and_then(|word| word.try_into().ok());
    let length = word.map(i32::from_le_bytes).and_then(|length| usize::try_from(length).ok());
    let end = HEADER_LENGTH.saturating_add(length.unwrap_or(0));
    bytes.get(end..).unwrap_or(&[]).iter().all(|&byte| byte == 0)
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
