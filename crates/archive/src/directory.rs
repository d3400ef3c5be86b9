//! The archive's directory: who may use it, and what state it is in when it is opened.
//!
//! Opening is the one time when the archive reads and repairs what an earlier life left. Every step
//! can be repeated: a crash here is followed by the same steps.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use runtime::files::{FileLock, Files, create_durable_directory};
use runtime::guarded::Guarded;
use runtime::owners::Owners;
use runtime::ports::Ports;
use wire::archive::catalog::RecordingState;
use wire::time::Now;

use crate::catalog::{Catalog, CatalogError, FILE_NAME, Recording};
use crate::config::Config;
use crate::inventory;
use crate::mark_file::{self, MarkFile, MarkFileError};
use crate::recovery::{End, RecoveryError, Rot, make_durable, recover, remove_spares};
use crate::sums;
use crate::writer::Store;

/// The file by whose lock a process owns the directory.
pub const LOCK_FILE_NAME: &str = "coracle.lock";

/// Why a directory cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Another process of ours has it.
    #[error("{} is in use by another process", .0.display())]
    Locked(PathBuf),
    /// See [`MarkFileError`].
    #[error(transparent)]
    Mark(#[from] MarkFileError),
    /// See [`CatalogError`].
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Files cannot be read or changed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// An archive's directory, opened.
pub struct Directory {
    /// How segments are written.
    pub store: Store,
    /// What recordings there are; none is active.
    pub catalog: Catalog,
    /// Shows that the archive lives.
    pub mark_file: MarkFile,
    /// What had to be repaired, for the error log.
    pub findings: Vec<String>,
    /// Recordings that are out of service for their damage.
    pub rotten: Vec<Rot>,
    pub(crate) lock: Box<dyn FileLock>,
}

impl Directory {
    /// Takes the directory, makes what is missing, and ends recordings that nobody ended.
    ///
    /// # Errors
    /// See [`DirectoryError`].
    pub fn open(
        ports: &Ports,
        config: &Config,
        aeron_directory: &Path,
        now: Now,
    ) -> Result<Self, DirectoryError> {
        let storage = &config.storage;
        let path = storage.directory.as_path();
        let failed = |source| DirectoryError::Io { path: path.to_path_buf(), source };
        let files = &*ports.files;
        create_durable_directory(files, path).map_err(failed)?;
        let lock_path = path.join(LOCK_FILE_NAME);
        let lock = files.lock(&lock_path).map_err(failed)?;
        let lock = lock.ok_or_else(|| DirectoryError::Locked(path.to_path_buf()))?;
        let marks = storage.mark_file_directory.as_deref().unwrap_or(path);
        create_durable_directory(files, marks).map_err(failed)?;
        let owners = Owners::read(files, &lock_path).map_err(failed)?;
        owners.succeed(files, &lock_path, ports.process_id, now).map_err(failed)?;
        let aeron_directory = aeron_directory.to_string_lossy();
        let header = mark_file::header(config, &aeron_directory, ports.process_id, now);
        let is_dead = |process_id, start_ms| owners.made(process_id, start_ms);
        let mark_file = MarkFile::create(files, marks, &header, is_dead, now)?;
        mark_file::link(files, path, marks).map_err(failed)?;
        // Else a power cut brings back what others left here, whom nobody remembers.
        files.sync_directory(marks).map_err(failed)?;
        if storage.delete_on_start {
            delete(files, path).map_err(failed)?;
        }
        let capacity = storage.catalog_capacity.cast_unsigned();
        let checksum = storage.record_checksum;
        let (mut catalog, mut findings) = if storage.guards {
            Catalog::open_guarded(&ports.files, path, capacity, checksum)?
        } else {
            Guarded::forget(files, &path.join(FILE_NAME)).map_err(failed)?;
            (Catalog::open(&ports.files, path, capacity, checksum)?, Vec::new())
        };
        remove_spares(files, path).map_err(failed)?;
        sums::remove_orphans(files, path).map_err(failed)?;
        let rotten = settle(files, path, config, &mut catalog, &mut findings, now)?;
        findings.extend(inventory::check(files, path, &mut catalog)?);
        if catalog.take_unsynced() {
            catalog.settle().map_err(failed)?;
        }
        let store = Store {
            files: ports.files.clone(),
            directory: Arc::from(path),
            checksum,
            is_synced: storage.file_sync_level.kind().is_some(),
            has_sums: storage.guards,
        };
        Ok(Self { store, catalog, mark_file, findings, rotten, lock })
    }
}

/// Ends every recording that nobody ended. One whose files are damaged beyond its tail is taken out
/// of service, with its reason: the others are not to suffer for it.
fn settle(
    files: &dyn Files,
    directory: &Path,
    config: &Config,
    catalog: &mut Catalog,
    findings: &mut Vec<String>,
    now: Now,
) -> Result<Vec<Rot>, DirectoryError> {
    let active: Vec<Recording> =
        catalog.iter_from(0).filter(|recording| recording.is_active()).cloned().collect();
    let checksum = config.storage.record_checksum;
    let mut buffer = vec![0; usize::try_from(config.storage.file_io_max_length).unwrap_or(0)];
    for recording in active {
        let found =
            recover(files, directory, &recording, checksum, &mut buffer).and_then(|found| {
                found.apply(files, directory, &recording)?;
                if config.storage.file_sync_level.kind().is_some() {
                    make_durable(files, directory, &recording)?;
                }
                Ok(found)
            });
        match found {
            Ok(found) => {
                if matches!(found.end, End::Unsound | End::Torn) {
                    let (id, end, stop) = (recording.id, found.end, found.stop_position);
                    findings.push(format!("recording {id}: cut at {stop} ({end:?})"));
                }
                catalog.update(recording.id, |it| {
                    it.stop_position = found.stop_position;
                    it.stop_timestamp = now.epoch_millis();
                })?;
            }
            Err(RecoveryError::Io { source, .. }) => {
                return Err(DirectoryError::Io { path: directory.to_path_buf(), source });
            }
            Err(error) => {
                findings.push(error.to_string());
                catalog.remove(recording.id, RecordingState::Invalid)?;
            }
        }
    }
    let mut rotten = Vec::new();
    for recording in catalog.retired().filter(|recording| recording.is_active()) {
        match recover(files, directory, recording, checksum, &mut buffer) {
            Err(RecoveryError::Io { source, .. }) => {
                return Err(DirectoryError::Io { path: directory.to_path_buf(), source });
            }
            Err(error) => rotten.extend(error.rot()),
            Ok(_) => {}
        }
    }
    Ok(rotten)
}

/// Deletes all that an archive keeps, but not the guards.
fn delete(files: &dyn Files, directory: &Path) -> io::Result<()> {
    Guarded::forget(files, &directory.join(FILE_NAME))?;
    for entry in files.list(directory)? {
        let name = entry.name.strip_suffix(".sum").unwrap_or(&entry.name);
        let is_segment = crate::segment::parse_name(name).is_some();
        if is_segment || entry.name == FILE_NAME {
            files.remove(&directory.join(&entry.name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::NULL_VALUE;
    use crate::config::SyncLevel;
    use crate::frame::test_frame;
    use crate::testing::{DIRECTORY, Disk};

    fn config() -> Config {
        let mut config = Config::default();
        config.storage.directory = PathBuf::from(DIRECTORY);
        config
    }

    fn open(disk: &Disk) -> Result<Directory, DirectoryError> {
        Directory::open(disk.ports(), &config(), Path::new("/shm"), disk.now())
    }

    fn recording() -> Recording {
        Recording {
            stop_timestamp: NULL_VALUE,
            stop_position: NULL_VALUE,
            segment_file_length: 65_536,
            term_buffer_length: 65_536,
            mtu_length: 1_408,
            stream_id: 10,
            ..Recording::default()
        }
    }

    #[test]
    fn a_directory_belongs_to_one_process_and_to_the_next_at_once_when_that_died() {
        let mut disk = Disk::new();
        let first = open(&disk).unwrap();
        assert!(matches!(open(&disk), Err(DirectoryError::Locked(_))));
        disk.kill();
        open(&disk).unwrap();
        drop(first);
    }

    #[test]
    fn recordings_that_nobody_ended_are_ended_where_their_frames_end() {
        let disk = Disk::new();
        let mut directory = open(&disk).unwrap();
        let id = directory.catalog.add(recording()).unwrap();
        drop(directory);
        disk.write("0-0.rec", 0, &test_frame(recording().place(0), 9, b"payload"));
        disk.write("0-65536.rec.next", 0, &[]);
        let directory = open(&disk).unwrap();
        let found = directory.catalog.get(id).unwrap();
        assert_eq!(found.stop_position, 64);
        assert_eq!(found.stop_timestamp, disk.now().epoch_millis());
        assert!(!disk.names().contains(&"0-65536.rec.next".to_string()));
    }

    #[test]
    fn what_a_restart_counts_is_there_after_a_power_cut() {
        for seed in 0..8 {
            let mut disk = Disk::with_seed(seed);
            let mut config = config();
            config.storage.file_sync_level = SyncLevel::Data;
            config.storage.catalog_file_sync_level = SyncLevel::Data;
            let open =
                |disk: &Disk| Directory::open(disk.ports(), &config, Path::new("/shm"), disk.now());
            let mut directory = open(&disk).unwrap();
            directory.catalog.add(recording()).unwrap();
            drop(directory);
            // A full segment of which nothing was synced, and its empty successor.
            let frame = |at| test_frame(recording().place(at), 9, &[7; 992]);
            let frames: Vec<u8> = (0..64).flat_map(|index| frame(index * 1_024)).collect();
            disk.write("0-0.rec", 0, &frames);
            disk.write("0-65536.rec", 0, &[]);
            disk.set_length("0-65536.rec", 65_536);
            disk.kill();
            assert_eq!(open(&disk).unwrap().catalog.get(0).unwrap().stop_position, 65_536);
            disk.cut_power();
            let directory = open(&disk).unwrap();
            assert_eq!(directory.catalog.get(0).unwrap().stop_position, 65_536);
            assert!(disk.read("0-0.rec") == frames, "seed {seed}");
        }
    }

    #[test]
    fn a_recording_with_a_hole_in_its_files_is_taken_out_of_service_and_the_others_are_not() {
        let disk = Disk::new();
        let mut directory = open(&disk).unwrap();
        for _ in 0..2 {
            directory.catalog.add(recording()).unwrap();
        }
        drop(directory);
        disk.write("0-131072.rec", 0, &[0; 65_536]);
        let directory = open(&disk).unwrap();
        assert_eq!(directory.findings, ["recording 0: segment at 65536 is missing"]);
        assert!(directory.catalog.get(0).is_none());
        assert_eq!(directory.catalog.get(1).unwrap().stop_position, 0);
    }
}
