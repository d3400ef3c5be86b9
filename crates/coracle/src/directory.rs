//! A look into the directory of a driver, ours or genuine Aeron's, alive or dead.

use std::io;
use std::path::{Path, PathBuf};

use memory::buffer::AtomicBuffer;
use memory::counters::CountersReader;
use memory::error_log::{ErrorRecord, read_errors};
use memory::ring::RingProducer;
use runtime::Now;
use runtime::files::{Files as _, Mapping};
use wire::cnc::{self, Header, HeaderError, PackedVersion};

/// Why a directory cannot be looked into.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// `cnc.dat` cannot be mapped: there is no driver, or it is another user's.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The driver is still making the file.
    #[error("{}: not ready yet", .0.display())]
    NotReady(PathBuf),
    /// The file is damaged, or of another version.
    #[error("{}: {error}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: HeaderError,
    },
}

/// The open `cnc.dat` of a driver. Nothing is written.
pub struct DriverDirectory {
    /// Keeps the file mapped.
    _mapping: Mapping,
    version: PackedVersion,
    header: Header,
    heartbeat: RingProducer,
    counters: CountersReader,
    errors: AtomicBuffer,
}

impl DriverDirectory {
    /// Opens the file in this directory.
    ///
    /// # Errors
    /// See [`DirectoryError`].
    pub fn open(directory: &Path) -> Result<Self, DirectoryError> {
        let path = directory.join(cnc::FILE_NAME);
        let mapped = os::files::OsFiles.map(&path);
        let mapping = mapped.map_err(|error| DirectoryError::Io { path: path.clone(), error })?;
        let buffer = AtomicBuffer::new(mapping.region().clone());
        if buffer.length() < cnc::HEADER_LENGTH {
            return Err(DirectoryError::NotReady(path));
        }
        // Acquire: pairs with the release store of the version, which the driver does last.
        let version = PackedVersion(buffer.load_i32_acquire(cnc::VERSION_OFFSET));
        if version.0 == 0 {
            return Err(DirectoryError::NotReady(path));
        }
        let invalid = |error| DirectoryError::Invalid { path: path.clone(), error };
        cnc::check_version(version).map_err(invalid)?;
        let mut bytes = [0; cnc::HEADER_LENGTH];
        buffer.copy_out(0, &mut bytes);
        let header = Header::decode(&bytes).map_err(invalid)?;
        let sections = header.sections(buffer.length()).map_err(invalid)?;
        let part = |section: cnc::Section| buffer.slice(section.offset, section.length);
        let length = header.lengths.to_driver;
        let ring = RingProducer::new(part(sections.to_driver))
            .map_err(|_| invalid(HeaderError::Length { buffer: "to-driver", length }))?;
        Ok(Self {
            version,
            heartbeat: ring,
            counters: CountersReader::new(
                part(sections.counters_metadata),
                part(sections.counters_values),
            ),
            errors: part(sections.error_log),
            header,
            _mapping: mapping,
        })
    }

    /// The version of the file.
    #[must_use]
    pub const fn version(&self) -> PackedVersion {
        self.version
    }

    /// What the driver told of itself when it started.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// How old the driver's last sign of life is, in milliseconds; `None` when it was shut down or
    /// has given none.
    #[must_use]
    pub fn heartbeat_age_ms(&self, now: Now) -> Option<i64> {
        let heartbeat_ms = self.heartbeat.consumer_heartbeat_ms();
        (heartbeat_ms > 0).then(|| now.epoch_millis().saturating_sub(heartbeat_ms))
    }

    /// The counters.
    #[must_use]
    pub const fn counters(&self) -> &CountersReader {
        &self.counters
    }

    /// The distinct errors, in the order in which they were first seen.
    pub fn errors(&self) -> impl Iterator<Item = ErrorRecord> + '_ {
        read_errors(&self.errors)
    }
}
