//! What the catalog of a member's archive says, against its recording.log; and the snapshots of its
//! module.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use archive::segment::file_name;
use runtime::Ports;
use runtime::files::read_exact_at;
use wire::archive::catalog::{self, CatalogHeader, Frame, RecordingState};
use wire::bytes::Reader;
use wire::cluster::recording_log::{Entry, EntryKind};
use wire::frame::{DATA_HEADER_LENGTH, TERM_ID_OFFSET};

use super::frames::{ALIGNMENT, normalise};
use super::node::{ARCHIVE_DIRECTORY, CLUSTER_DIRECTORY};

/// The id of the module among services.
const MODULE: i32 = -1;

fn content(ports: &Ports, path: &Path) -> Option<Vec<u8>> {
    let file = ports.files.open(path).ok()?;
    let mut bytes = vec![0; usize::try_from(file.length().ok()?).ok()?];
    read_exact_at(&*file, &mut bytes, 0).ok()?;
    Some(bytes)
}

/// A recording, as far as it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    is_valid: bool,
    /// None while it is active.
    stop: Option<i64>,
    stream: (i32, i32),
}

/// I-17: no two recordings of one id, no two of a stream that go on at once; all that recording.log
/// names is there, and nothing of it ends before what the next term builds upon.
pub(super) fn check_catalog(ports: &Ports) -> Result<(), String> {
    let Some(bytes) = content(ports, &Path::new(ARCHIVE_DIRECTORY).join(catalog::FILE_NAME)) else {
        return Ok(());
    };
    let header = CatalogHeader::decode(&bytes).map_err(|error| error.to_string())?;
    let mut known = BTreeMap::new();
    let mut active = BTreeSet::new();
    let mut at = catalog::HEADER_LENGTH;
    while let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= catalog::HEADER_LENGTH) {
        let frame = Frame::decode(rest).map_err(|error| error.to_string())?;
        let Some(Frame { state, descriptor, length, .. }) = frame else { break };
        at += length;
        let stop = Some(descriptor.stop_position).filter(|&it| it >= 0);
        let stream = (descriptor.stream_id, descriptor.session_id);
        let is_valid = state == RecordingState::Valid;
        let id = descriptor.recording_id;
        if id < 0 || id >= header.next_recording_id {
            return Err(format!("recording {id}, the next is {}", header.next_recording_id));
        }
        if known.insert(id, Known { is_valid, stop, stream }).is_some() {
            return Err(format!("recording {id} is there twice"));
        }
        if is_valid && stop.is_none() && !active.insert(stream) {
            return Err(format!("recording {id} goes on, and another of its stream {stream:?}"));
        }
    }
    let entries = content(ports, &Path::new(CLUSTER_DIRECTORY).join("recording.log"));
    check_entries(&entries.unwrap_or_default(), &known)
}

fn check_entries(bytes: &[u8], known: &BTreeMap<i64, Known>) -> Result<(), String> {
    let mut reader = Reader::new(bytes);
    while let Ok(entry) = Entry::read(&mut reader) {
        let Some(entry) = entry.filter(|it| it.is_valid && it.recording_id >= 0) else { continue };
        let Some(recording) = known.get(&entry.recording_id).filter(|it| it.is_valid) else {
            return Err(format!("the catalog has no recording of {entry:?}"));
        };
        let is_term = entry.kind == EntryKind::Term;
        let needed = if is_term { entry.term_base_log_position } else { 0 };
        let is_whole = recording.stop.is_none_or(|stop| stop >= needed);
        if !is_whole || !is_term && recording.stop.is_none() {
            return Err(format!("{entry:?} is of {recording:?}"));
        }
    }
    Ok(())
}

/// The snapshots of the module that count, with their positions in the log, made comparable: the
/// streams that carried them are of each member's own.
pub(super) fn module_snapshots(ports: &Ports) -> Vec<(i64, Vec<u8>)> {
    let entries = content(ports, &Path::new(CLUSTER_DIRECTORY).join("recording.log"));
    let entries = entries.unwrap_or_default();
    let mut reader = Reader::new(&entries);
    let mut snapshots = Vec::new();
    while let Ok(entry) = Entry::read(&mut reader) {
        let is_module = |it: &Entry<'_>| {
            it.is_valid && it.kind == EntryKind::Snapshot && it.service_id == MODULE
        };
        let Some(entry) = entry.filter(is_module) else { continue };
        let path = Path::new(ARCHIVE_DIRECTORY).join(file_name(entry.recording_id, 0));
        if let Some(bytes) = content(ports, &path) {
            snapshots.push((entry.log_position, comparable(bytes)));
        }
    }
    snapshots
}

/// The frames at the front of a segment, without what names the stream.
fn comparable(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut end = 0;
    while let Some(header) = bytes.get(end..end + DATA_HEADER_LENGTH) {
        let length = i32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        let Some(length) = usize::try_from(length).ok().filter(|&length| length > 0) else { break };
        bytes[end + TERM_ID_OFFSET..end + TERM_ID_OFFSET + 4].fill(0);
        end += length.next_multiple_of(ALIGNMENT);
    }
    bytes.truncate(end);
    let _ = normalise(&mut bytes);
    bytes
}
