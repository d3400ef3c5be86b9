//! `archive-mark.dat`: shows that an archive lives, to tools and to whoever would start a second.
//!
//! Layout and rules: archive specification 8.2. Two guards stand at the door of a directory: a lock
//! that ends with its process, and, for genuine archives, which know nothing of it, the time stamp
//! in this file.

use std::io;
use std::path::{Path, PathBuf};

use memory::buffer::AtomicBuffer;
use runtime::files::{Files, Mapping, write_all_at};
use wire::archive::STORAGE_VERSION;
use wire::archive::mark::{
    ACTIVITY_TIMESTAMP_OFFSET, ARCHIVE_ID_OFFSET, ERROR_LOG_OFFSET, LINK_FILE_NAME, MARK_FILE_NAME,
    MarkFileHeader, VERSION_OFFSET,
};
use wire::bytes::{Padding, SemanticVersion};
use wire::message::{Message, MessageHeader};
use wire::time::{Nanos, Now};

use crate::config::Config;

/// How often the time stamp is renewed.
pub const HEARTBEAT_INTERVAL: Nanos = Nanos::from_secs(1);
/// For how long a time stamp says that its archive lives.
const LIVENESS_MS: i64 = 10_000;
/// Time stamp of an archive that ended in order.
const TERMINATED: i64 = -1;
/// Time stamp while a new archive takes the file over.
const TAKING_OVER: i64 = i64::MAX;

const PAGE_LENGTH: usize = 4_096;

/// Why a mark file cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum MarkFileError {
    /// Another archive lives in the directory.
    #[error("an archive is active in {}: last sign of life {age_ms} ms ago", directory.display())]
    Active {
        /// The directory.
        directory: PathBuf,
        /// How old its last sign of life is.
        age_ms: i64,
    },
    /// The file was made by software of another major version.
    #[error("mark file has version {0:?}, expected 3.x")]
    Version(SemanticVersion),
    /// The texts in its header do not fit.
    #[error("channels and directories are too long for the mark file")]
    TooLong,
    /// The file cannot be read or made.
    #[error("mark file: {0}")]
    Io(#[from] io::Error),
}

/// The mark file of a running archive.
pub struct MarkFile {
    buffer: AtomicBuffer,
    _mapping: Mapping,
    next_heartbeat: Nanos,
}

/// What the mark file of a directory says of its archive: for tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activity {
    /// Version of the storage format; none while the file is being made.
    pub version: SemanticVersion,
    /// When the archive last showed that it lives, in milliseconds since 1970; -1 if it ended.
    pub timestamp_ms: i64,
}

impl MarkFile {
    /// Makes the mark file of a directory, or takes over that of a dead archive.
    ///
    /// `is_owner_dead` says that the lock of our own kind was free and its file names the same
    /// process or start time as the mark file does: then the time stamp need not be waited for.
    ///
    /// A crash while it is made leaves a file without version, which the next start replaces.
    ///
    /// # Errors
    /// See [`MarkFileError`].
    pub fn create(
        files: &dyn Files,
        directory: &Path,
        header: &MarkFileHeader<'_>,
        is_owner_dead: impl FnOnce(i64, i64) -> bool,
        now: Now,
    ) -> Result<Self, MarkFileError> {
        let path = directory.join(MARK_FILE_NAME);
        if let Some(old) = map(files, &path)? {
            take_over(&old, directory, is_owner_dead, now)?;
        }
        if files.entry(&path)?.is_some() {
            files.remove(&path)?;
        }
        let error_length = usize::try_from(header.error_buffer_length).unwrap_or(0);
        let length = (ERROR_LOG_OFFSET + error_length).next_multiple_of(PAGE_LENGTH);
        let mapping = files.create_mapped(&path, length as u64, true)?;
        let buffer = AtomicBuffer::new(mapping.region().clone());
        let mut bytes = vec![0; ERROR_LOG_OFFSET];
        let unready = MarkFileHeader { version: 0, ..*header };
        let written = unready.encode(&mut bytes).map_err(|_| MarkFileError::TooLong)?;
        buffer.copy_in(0, &bytes[..written]);
        // Release: pairs with the acquire of readers, who look at nothing before the version.
        buffer.store_i32_release(VERSION_OFFSET, header.version);
        Ok(Self { buffer, _mapping: mapping, next_heartbeat: now.mono + HEARTBEAT_INTERVAL })
    }

    /// Shows that the archive lives, once a second. Returns when to call again.
    pub fn beat(&mut self, now: Now) -> Nanos {
        if now.mono >= self.next_heartbeat {
            self.buffer.store_i64_release(ACTIVITY_TIMESTAMP_OFFSET, now.epoch_millis());
            self.next_heartbeat = now.mono + HEARTBEAT_INTERVAL;
        }
        self.next_heartbeat
    }

    /// Sets the archive's id, which is known only once there is a driver.
    pub fn set_archive_id(&mut self, archive_id: i64) {
        self.buffer.store_i64_release(ARCHIVE_ID_OFFSET, archive_id);
    }

    /// The part of the file in which errors are logged.
    #[must_use]
    pub fn error_log(&self) -> AtomicBuffer {
        self.buffer.slice(ERROR_LOG_OFFSET, self.buffer.length() - ERROR_LOG_OFFSET)
    }

    /// Says that the archive ended in order.
    pub fn terminate(&mut self) {
        self.buffer.store_i64_release(ACTIVITY_TIMESTAMP_OFFSET, TERMINATED);
    }
}

/// The header of the mark file of an archive with this configuration.
#[must_use]
pub fn header<'a>(
    config: &'a Config,
    aeron_directory: &'a str,
    process_id: i64,
    now: Now,
) -> MarkFileHeader<'a> {
    let control = &config.control;
    MarkFileHeader {
        version: STORAGE_VERSION.0,
        gap: Padding,
        activity_timestamp: now.epoch_millis(),
        start_timestamp: now.epoch_millis(),
        pid: process_id,
        control_stream_id: control.stream_id,
        local_control_stream_id: control.local_stream_id,
        events_stream_id: config.events.stream_id,
        header_length: ERROR_LOG_OFFSET as i32,
        error_buffer_length: config.storage.error_buffer_length,
        second_gap: Padding,
        archive_id: control.archive_id,
        reserved: Padding,
        control_channel: control.channel.as_bytes(),
        local_control_channel: control.local_channel.as_bytes(),
        events_channel: config.events.channel.as_bytes(),
        aeron_directory: aeron_directory.as_bytes(),
    }
}

/// Writes or removes the file that leads from the archive's directory to that of the mark file.
///
/// # Errors
/// The files cannot be changed.
pub fn link(files: &dyn Files, directory: &Path, mark_directory: &Path) -> io::Result<()> {
    let path = directory.join(LINK_FILE_NAME);
    if files.entry(&path)?.is_some() {
        files.remove(&path)?;
    }
    if directory != mark_directory {
        let file = files.create(&path)?;
        write_all_at(&*file, mark_directory.to_string_lossy().as_bytes(), 0)?;
    }
    Ok(())
}

/// What the mark file in a directory says; `None` when there is none that says anything.
///
/// # Errors
/// The file cannot be read.
pub fn activity(files: &dyn Files, directory: &Path) -> io::Result<Option<Activity>> {
    let Some(mapping) = map(files, &directory.join(MARK_FILE_NAME))? else { return Ok(None) };
    let buffer = AtomicBuffer::new(mapping.region().clone());
    Ok(Some(Activity {
        version: SemanticVersion(buffer.load_i32_acquire(VERSION_OFFSET)),
        timestamp_ms: buffer.load_i64_acquire(ACTIVITY_TIMESTAMP_OFFSET),
    }))
}

/// Maps a mark file if it is long enough to be one and begins as one does.
fn map(files: &dyn Files, path: &Path) -> io::Result<Option<Mapping>> {
    match files.entry(path)? {
        Some(entry) if entry.length >= ERROR_LOG_OFFSET as u64 => {}
        _ => return Ok(None),
    }
    files.map(path).map(Some)
}

/// The genuine rule: an archive whose time stamp is recent lives; the time stamp of a dead one is
/// swapped, and of several that try, one succeeds.
fn take_over(
    old: &Mapping,
    directory: &Path,
    is_owner_dead: impl FnOnce(i64, i64) -> bool,
    now: Now,
) -> Result<(), MarkFileError> {
    let buffer = AtomicBuffer::new(old.region().clone());
    let mut bytes = vec![0; ERROR_LOG_OFFSET];
    buffer.copy_out(0, &mut bytes);
    let is_current = MessageHeader::decode(&bytes).is_ok_and(|header| {
        (header.schema_id, header.template_id)
            == (MarkFileHeader::SCHEMA_ID, MarkFileHeader::TEMPLATE_ID)
    });
    // Acquire: pairs with the release of the version by the file's maker.
    let version = SemanticVersion(buffer.load_i32_acquire(VERSION_OFFSET));
    if !is_current || version == SemanticVersion::NONE {
        return Ok(());
    }
    if version.major() != STORAGE_VERSION.major() {
        return Err(MarkFileError::Version(version));
    }
    let timestamp = buffer.load_i64_acquire(ACTIVITY_TIMESTAMP_OFFSET);
    let age_ms = now.epoch_millis().wrapping_sub(timestamp);
    let active = || MarkFileError::Active { directory: directory.to_path_buf(), age_ms };
    let is_recent = timestamp != TERMINATED && age_ms < LIVENESS_MS;
    let is_dead = MarkFileHeader::decode(&bytes)
        .is_ok_and(|header| is_owner_dead(header.pid, header.start_timestamp));
    if is_recent && !is_dead {
        return Err(active());
    }
    if buffer.compare_exchange_i64(ACTIVITY_TIMESTAMP_OFFSET, timestamp, TAKING_OVER) {
        Ok(())
    } else {
        Err(active())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{DIRECTORY, Disk};
    use wire::time::EpochNanos;

    fn at(millis: i64) -> Now {
        Now { mono: Nanos::from_millis(millis), epoch: EpochNanos(millis * 1_000_000) }
    }

    fn create(disk: &Disk, now: Now, is_owner_dead: bool) -> Result<MarkFile, MarkFileError> {
        let config = Config::default();
        let header = header(&config, "/dev/shm/aeron", 4_711, now);
        MarkFile::create(&*disk.files(), Path::new(DIRECTORY), &header, |_, _| is_owner_dead, now)
    }

    /// Header and numbers as captured from a genuine archive (archive specification, part 12).
    #[test]
    fn the_file_is_laid_out_as_genuine_aeron_does() {
        let disk = Disk::new();
        let mut mark = create(&disk, at(1_000_000), false).unwrap();
        mark.set_archive_id(77);
        let bytes = disk.read(MARK_FILE_NAME);
        assert_eq!(bytes.len(), 1_056_768);
        let words: Vec<i32> = bytes[..80]
            .chunks(4)
            .map(|word| i32::from_le_bytes(word.try_into().unwrap()))
            .collect();
        assert_eq!(words[..3], [0x00c8_0080, 0x0002_0064, 0x0003_0100]);
        assert_eq!(words[4..6], [1_000_000, 0]);
        assert_eq!(words[8], 4_711);
        assert_eq!(words[10..18], [10, 10, 30, 8_192, 1_048_576, 0, 77, 0]);
        assert_eq!(bytes[136..140], [0, 0, 0, 0], "an empty control channel");
        assert_eq!(bytes[140..144], [25, 0, 0, 0]);
        assert_eq!(&bytes[144..169], b"aeron:ipc?term-length=64k");
    }

    #[test]
    fn a_living_archive_keeps_others_out_until_its_sign_of_life_is_old() {
        let disk = Disk::new();
        let mut mark = create(&disk, at(1_000_000), false).unwrap();
        assert_eq!(mark.beat(at(1_000_500)), Nanos::from_millis(1_001_000));
        mark.beat(at(1_001_000));
        let refused = create(&disk, at(1_010_999), false);
        assert!(matches!(refused, Err(MarkFileError::Active { age_ms: 9_999, .. })));
        create(&disk, at(1_011_000), false).unwrap();
    }

    #[test]
    fn an_archive_that_ended_or_is_known_to_be_dead_is_followed_at_once() {
        let disk = Disk::new();
        create(&disk, at(1_000_000), false).unwrap().terminate();
        create(&disk, at(1_000_001), false).unwrap();
        create(&disk, at(1_000_002), true).unwrap();
    }

    #[test]
    fn a_file_whose_making_was_cut_short_is_replaced() {
        for length in [0, 100, 8_192, 16_384] {
            let disk = Disk::new();
            disk.write(MARK_FILE_NAME, 0, &vec![0; length]);
            create(&disk, at(1), false).unwrap();
            let found = activity(&*disk.files(), Path::new(DIRECTORY)).unwrap().unwrap();
            assert_eq!(found, Activity { version: STORAGE_VERSION, timestamp_ms: 1 });
        }
    }

    #[test]
    fn another_major_version_is_refused() {
        let disk = Disk::new();
        drop(create(&disk, at(1), false).unwrap());
        disk.write(MARK_FILE_NAME, VERSION_OFFSET as u64, &(2_i32 << 16).to_le_bytes());
        assert!(matches!(create(&disk, at(1), true), Err(MarkFileError::Version(_))));
    }
}
