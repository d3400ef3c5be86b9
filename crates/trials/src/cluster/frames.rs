//! The log on the disks of members, made comparable.
//!
//! Two members have the same log if all that belongs to it is the same: what frames say of the
//! stream that carried them, the bytes of padding and what follows a frame up to its alignment do
//! not.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use archive::segment::{Layout, file_name};
use runtime::Ports;
use runtime::files::read_exact_at;
use wire::bytes::Reader;
use wire::cluster::recording_log::{Entry, EntryKind};
use wire::frame::{
    DATA_HEADER_LENGTH, FrameType, RESERVED_VALUE_OFFSET, SESSION_ID_OFFSET, TERM_ID_OFFSET,
    TYPE_OFFSET,
};

use super::node::{ARCHIVE_DIRECTORY, CLUSTER_DIRECTORY, SEGMENT_LENGTH, TERM_LENGTH};
use super::records;

/// What a power cut leaves of an entry that was being appended.
const EMPTY: Entry<'_> = Entry {
    recording_id: 0,
    leadership_term_id: 0,
    term_base_log_position: 0,
    log_position: 0,
    timestamp: 0,
    service_id: 0,
    kind: EntryKind::Term,
    is_valid: true,
};

/// Frames begin at multiples of this many bytes.
pub(super) const ALIGNMENT: usize = 32;

/// The disk of a member, looked at from outside.
pub(super) struct Disk {
    ports: Ports,
    recording: Option<i64>,
}

impl Disk {
    pub(super) fn new(ports: Ports) -> Self {
        Self { ports, recording: None }
    }

    /// The recording of the log, as the terms name it.
    fn recording(&mut self) -> Option<i64> {
        if self.recording.is_none() {
            let file = self.ports.files.open(&Path::new(CLUSTER_DIRECTORY).join("recording.log"));
            let file = file.ok()?;
            let mut bytes = vec![0; usize::try_from(file.length().ok()?).ok()?];
            read_exact_at(&*file, &mut bytes, 0).ok()?;
            let mut reader = Reader::new(&bytes);
            while let Ok(entry) = Entry::read(&mut reader) {
                // Without a name the recording has not begun.
                let is_named =
                    |entry: &Entry<'_>| entry.kind == EntryKind::Term && entry.recording_id >= 0;
                let entry = entry.filter(is_named);
                self.recording = self.recording.or_else(|| entry.map(|entry| entry.recording_id));
            }
        }
        self.recording
    }

    /// I-17: terms follow each other without a gap in one recording, and snapshots of one position
    /// are there once for each service.
    pub(super) fn check_records(&mut self) -> Result<(), String> {
        let path = Path::new(CLUSTER_DIRECTORY).join("recording.log");
        let Ok(file) = self.ports.files.open(&path) else { return Ok(()) };
        let mut bytes = vec![0; file.length().map_or(0, |it| usize::try_from(it).unwrap_or(0))];
        read_exact_at(&*file, &mut bytes, 0).map_err(|error| error.to_string())?;
        let mut reader = Reader::new(&bytes);
        let mut terms: Vec<Entry<'_>> = Vec::new();
        let mut snapshots = BTreeSet::new();
        while let Ok(entry) = Entry::read(&mut reader) {
            let Some(entry) = entry.filter(|entry| entry.is_valid) else { continue };
            if entry == EMPTY {
                break;
            }
            match entry.kind {
                EntryKind::Term => terms.push(entry),
                EntryKind::Snapshot
                    if !snapshots.insert((entry.log_position, entry.service_id)) =>
                {
                    return Err(format!("a snapshot is there twice: {entry:?}"));
                }
                _ => {}
            }
        }
        // What was skipped is filled in behind what follows it.
        terms.sort_by_key(|term| term.leadership_term_id);
        for pair in terms.windows(2) {
            let [one, two] = pair else { continue };
            let fits = one.leadership_term_id < two.leadership_term_id
                && one.term_base_log_position <= two.term_base_log_position
                && (one.log_position == -1 || one.log_position == two.term_base_log_position)
                && (two.recording_id < 0 || one.recording_id == two.recording_id);
            if !fits {
                return Err(format!("{two:?} follows {one:?}"));
            }
        }
        Ok(())
    }

    /// I-17, the catalog.
    pub(super) fn check_catalog(&self) -> Result<(), String> {
        records::check_catalog(&self.ports)
    }

    /// What the module has saved of itself, by position.
    pub(super) fn module_snapshots(&self) -> Vec<(i64, Vec<u8>)> {
        records::module_snapshots(&self.ports)
    }

    /// Whether a member that starts here has a log.
    pub(super) fn has_log(&mut self) -> bool {
        self.recording().is_some()
    }

    /// The log from one position to another, made comparable; `None` where it is not there.
    pub(super) fn log(&mut self, from: i64, to: i64) -> Option<Vec<u8>> {
        let recording = self.recording()?;
        let layout = Layout::new(0, TERM_LENGTH, SEGMENT_LENGTH);
        let mut bytes = Vec::new();
        let mut position = from;
        while position < to {
            let base = layout.base(position);
            let end = to.min(base + layout.segment_length);
            let path = PathBuf::from(ARCHIVE_DIRECTORY).join(file_name(recording, base));
            let file = self.ports.files.open(&path).ok()?;
            let begin = bytes.len();
            bytes.resize(begin + usize::try_from(end - position).ok()?, 0);
            read_exact_at(&*file, &mut bytes[begin..], layout.offset(position)).ok()?;
            position = end;
        }
        normalise(&mut bytes).then_some(bytes)
    }
}

/// Clears what may differ; returns whether the bytes are whole frames.
pub(super) fn normalise(bytes: &mut [u8]) -> bool {
    let mut offset = 0;
    while offset < bytes.len() {
        let Some(header) = bytes[offset..].first_chunk::<DATA_HEADER_LENGTH>() else {
            return false;
        };
        let length = i32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        let Ok(length) = usize::try_from(length) else { return false };
        let kind = u16::from_le_bytes([header[TYPE_OFFSET], header[TYPE_OFFSET + 1]]);
        let end = offset + length.next_multiple_of(ALIGNMENT);
        if length < DATA_HEADER_LENGTH || end > bytes.len() {
            return false;
        }
        bytes[offset + SESSION_ID_OFFSET..offset + TERM_ID_OFFSET].fill(0);
        bytes[offset + RESERVED_VALUE_OFFSET..offset + DATA_HEADER_LENGTH].fill(0);
        let content = if kind == FrameType::PADDING.0 { DATA_HEADER_LENGTH } else { length };
        bytes[offset + content..end].fill(0);
        offset = end;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: usize, kind: FrameType, stream: u8, fill: u8) -> Vec<u8> {
        let mut frame = vec![fill; length.next_multiple_of(ALIGNMENT)];
        frame[..DATA_HEADER_LENGTH].fill(stream);
        frame[..4].copy_from_slice(&i32::try_from(length).unwrap().to_le_bytes());
        frame[4..8].fill(0);
        frame[TYPE_OFFSET..TYPE_OFFSET + 2].copy_from_slice(&kind.0.to_le_bytes());
        frame[8..12].fill(0);
        frame[TERM_ID_OFFSET..RESERVED_VALUE_OFFSET].fill(9);
        frame
    }

    fn log(stream: u8, padding: u8) -> Vec<u8> {
        let mut log = frame(70, FrameType::DATA, stream, 5);
        log[70..].fill(padding);
        log.extend(frame(64, FrameType::PADDING, stream, padding));
        log
    }

    #[test]
    fn streams_and_padding_do_not_count_and_all_else_does() {
        let (mut one, mut other) = (log(1, 2), log(3, 4));
        assert_ne!(one, other);
        assert!(normalise(&mut one) && normalise(&mut other));
        assert_eq!(one, other);
        let mut harmed = log(1, 2);
        harmed[69] ^= 1;
        assert!(normalise(&mut harmed));
        assert_ne!(one, harmed);
    }

    #[test]
    fn a_hole_and_a_torn_frame_are_no_log() {
        assert!(!normalise(&mut [0; 64]));
        let mut torn = log(1, 2);
        torn.truncate(64);
        assert!(!normalise(&mut torn));
    }
}
