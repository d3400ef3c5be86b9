//! `cluster-mark-service-<id>.dat`: shows that a container lives, and keeps its errors.
//!
//! Rules: cluster specification 7.3. Beside it a lock that ends with its process: when the lock is
//! free and names the same process as the mark file, the owner is dead and nobody need wait for its
//! time stamp to grow old. A cluster's directory may hold several containers and the module, so
//! the lock carries the service id in its name.

use std::io;
use std::path::{Path, PathBuf};

use memory::buffer::AtomicBuffer;
use memory::error_log::ErrorLog;
use memory::mark_file::{MarkFile, TakeOverError};
use runtime::files::{FileLock, Files, Mapping, create_durable_directory, write_all_at};
use runtime::owners::Owners;
use runtime::{Nanos, Now, Ports};
use wire::bytes::Padding;
use wire::cluster::mark::{
    ACTIVITY_TIMESTAMP_OFFSET, ComponentType, ERROR_LOG_OFFSET, MARK_FILE_VERSION,
    MEMBER_ID_OFFSET, MarkFileHeader, VERSION_OFFSET,
};
use wire::message::{Message, MessageHeader};

use crate::config::Config;

/// How often the time stamp is renewed.
const HEARTBEAT_INTERVAL: Nanos = Nanos::from_secs(1);
/// For how long a time stamp says that its container lives.
const LIVENESS_MS: i64 = 10_000;
const PAGE_LENGTH: usize = 4096;

/// Why a container cannot have its directory.
#[derive(Debug, thiserror::Error)]
pub enum MarkFileError {
    /// Another process of ours has it.
    #[error("service {service_id} in {} belongs to another process", directory.display())]
    Locked {
        /// The cluster's directory.
        directory: PathBuf,
        /// Which service.
        service_id: i32,
    },
    /// A container lives there.
    #[error("{}: {cause}", path.display())]
    Active {
        /// The mark file.
        path: PathBuf,
        /// How that shows.
        cause: TakeOverError,
    },
    /// The texts in its header do not fit.
    #[error("channels and directories are too long for the mark file")]
    TooLong,
    /// Files cannot be read or changed.
    #[error("{}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// The mark file of a running container, and the lock of its service.
pub(crate) struct ServiceMark {
    file: MarkFile,
    next_heartbeat: Nanos,
    _mapping: Mapping,
    _lock: Box<dyn FileLock>,
}

impl ServiceMark {
    pub(crate) fn create(
        config: &Config,
        aeron_directory: &Path,
        ports: &Ports,
        now: Now,
    ) -> Result<Self, MarkFileError> {
        let (directory, service_id) = (config.directory.as_path(), config.service_id);
        let failed = |source| MarkFileError::Io { path: directory.to_path_buf(), source };
        let files = &*ports.files;
        let marks = config.mark_file_directory.as_deref().unwrap_or(directory);
        create_durable_directory(files, directory).map_err(failed)?;
        create_durable_directory(files, marks).map_err(failed)?;
        let lock_path = directory.join(format!("coracle-service-{service_id}.lock"));
        let lock = files.lock(&lock_path).map_err(failed)?.ok_or_else(|| {
            MarkFileError::Locked { directory: directory.to_path_buf(), service_id }
        })?;
        let owners = Owners::read(files, &lock_path).map_err(failed)?;
        owners.succeed(files, &lock_path, ports.process_id, now).map_err(failed)?;
        let path = marks.join(format!("cluster-mark-service-{service_id}.dat"));
        remove_dead(files, &path, &owners, now)?;
        let (file, mapping) = make(config, aeron_directory, ports, &path, now)?;
        link(files, directory, marks, service_id).map_err(failed)?;
        // Else a power cut brings back what others left here, whom nobody remembers.
        files.sync_directory(marks).map_err(failed)?;
        let next_heartbeat = now.mono + HEARTBEAT_INTERVAL;
        Ok(Self { file, next_heartbeat, _mapping: mapping, _lock: lock })
    }

    /// Shows that the container lives, once a second. Returns when to call again.
    pub(crate) fn beat(&mut self, now: Now) -> Nanos {
        if now.mono >= self.next_heartbeat {
            self.file.set_timestamp_ms(now.epoch_millis());
            self.next_heartbeat = now.mono + HEARTBEAT_INTERVAL;
        }
        self.next_heartbeat
    }

    pub(crate) fn set_member_id(&self, member_id: i32) {
        self.file.buffer().store_i32_release(MEMBER_ID_OFFSET, member_id);
    }

    /// The part of the file in which errors are logged.
    pub(crate) fn error_log(&self) -> ErrorLog {
        let buffer = self.file.buffer();
        ErrorLog::new(buffer.slice(ERROR_LOG_OFFSET, buffer.length() - ERROR_LOG_OFFSET))
    }

    pub(crate) fn terminate(&self) {
        self.file.signal_terminated();
    }
}

/// Removes the mark file of a container that is dead.
fn remove_dead(
    files: &dyn Files,
    path: &Path,
    owners: &Owners,
    now: Now,
) -> Result<(), MarkFileError> {
    let failed = |source| MarkFileError::Io { path: path.to_path_buf(), source };
    let Some(entry) = files.entry(path).map_err(failed)? else { return Ok(()) };
    if entry.length >= ERROR_LOG_OFFSET as u64 {
        let mapping = files.map(path).map_err(failed)?;
        let buffer = AtomicBuffer::new(mapping.region().clone());
        let mut bytes = vec![0; ERROR_LOG_OFFSET];
        buffer.copy_out(0, &mut bytes);
        let is_ours = MessageHeader::decode(&bytes).is_ok_and(|header| {
            (header.schema_id, header.template_id)
                == (MarkFileHeader::SCHEMA_ID, MarkFileHeader::TEMPLATE_ID)
        });
        let is_known_dead = MarkFileHeader::decode(&bytes)
            .is_ok_and(|header| owners.made(header.pid, header.start_timestamp));
        if is_ours && !is_known_dead {
            let old = MarkFile::new(buffer, VERSION_OFFSET, ACTIVITY_TIMESTAMP_OFFSET);
            old.take_over(now.epoch_millis(), LIVENESS_MS)
                .map_err(|cause| MarkFileError::Active { path: path.to_path_buf(), cause })?;
        }
    }
    files.remove(path).map_err(failed)
}

fn make(
    config: &Config,
    aeron_directory: &Path,
    ports: &Ports,
    path: &Path,
    now: Now,
) -> Result<(MarkFile, Mapping), MarkFileError> {
    let failed = |source| MarkFileError::Io { path: path.to_path_buf(), source };
    let (aeron_directory, name) = (aeron_directory.to_string_lossy(), config.display_name());
    let error_length = usize::try_from(config.error_buffer_length).unwrap_or(0).max(PAGE_LENGTH);
    let header = MarkFileHeader {
        version: 0,
        component_type: ComponentType::Container,
        activity_timestamp: now.epoch_millis(),
        start_timestamp: now.epoch_millis(),
        pid: ports.process_id,
        candidate_term_id: -1,
        archive_stream_id: config.archive_control_stream_id,
        service_stream_id: config.service_stream_id,
        consensus_module_stream_id: config.consensus_module_stream_id,
        ingress_stream_id: -1,
        member_id: -1,
        service_id: config.service_id,
        header_length: ERROR_LOG_OFFSET as i32,
        error_buffer_length: i32::try_from(error_length).unwrap_or(i32::MAX),
        cluster_id: config.cluster_id,
        reserved: Padding,
        aeron_directory: aeron_directory.as_bytes(),
        control_channel: config.control_channel.as_bytes(),
        ingress_channel: &[],
        service_name: name.as_bytes(),
        authenticator: &[],
        services_cluster_dir: &[],
    };
    let mut bytes = vec![0; ERROR_LOG_OFFSET];
    let written = header.encode(&mut bytes).map_err(|_| MarkFileError::TooLong)?;
    let length = (ERROR_LOG_OFFSET + error_length).next_multiple_of(PAGE_LENGTH);
    let mapping = ports.files.create_mapped(path, length as u64, true).map_err(failed)?;
    let buffer = AtomicBuffer::new(mapping.region().clone());
    buffer.copy_in(0, &bytes[..written]);
    let file = MarkFile::new(buffer, VERSION_OFFSET, ACTIVITY_TIMESTAMP_OFFSET);
    file.signal_ready(MARK_FILE_VERSION.0, now.epoch_millis());
    Ok((file, mapping))
}

/// Writes or removes the file that leads from the cluster's directory to that of the mark file.
fn link(files: &dyn Files, directory: &Path, marks: &Path, service_id: i32) -> io::Result<()> {
    let path = directory.join(format!("cluster-mark-service-{service_id}.lnk"));
    if files.entry(&path)?.is_some() {
        files.remove(&path)?;
    }
    if directory != marks {
        let file = files.create(&path)?;
        write_all_at(&*file, marks.to_string_lossy().as_bytes(), 0)?;
    }
    Ok(())
}
