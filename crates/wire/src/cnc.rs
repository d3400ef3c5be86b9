//! The header of `cnc.dat`, the file where clients and driver meet (docs/ipc.md).
//!
//! ```text
//! 0        128          +to-driver    +to-clients  +metadata     +values     +error log
//! | header | ring to     | broadcast   | counters   | counters    | errors    | filler to |
//! |        | the driver  | to clients  | metadata   | values      |           | a page    |
//! ```
//!
//! The version is stored last, by release, and read first, by acquire: 0 means "not ready".

use crate::le::{i32_at, i64_at, put};
use crate::ring;
use thiserror::Error;

/// Name of the file in the driver's directory.
pub const FILE_NAME: &str = "cnc.dat";
/// Length of the header; the buffers begin here.
pub const HEADER_LENGTH: usize = 128;
/// Offset of the version (`i32`), 0 until everything else is in place.
pub const VERSION_OFFSET: usize = 0;
/// Offset of the length of the ring to the driver (`i32`), trailer included.
pub const TO_DRIVER_LENGTH_OFFSET: usize = 4;
/// Offset of the length of the broadcast to clients (`i32`), trailer included.
pub const TO_CLIENTS_LENGTH_OFFSET: usize = 8;
/// Offset of the length of the counters' metadata (`i32`).
pub const COUNTERS_METADATA_LENGTH_OFFSET: usize = 12;
/// Offset of the length of the counters' values (`i32`).
pub const COUNTERS_VALUES_LENGTH_OFFSET: usize = 16;
/// Offset of the length of the error log (`i32`).
pub const ERROR_LOG_LENGTH_OFFSET: usize = 20;
/// Offset of the client liveness time-out (`i64`, nanoseconds).
pub const CLIENT_LIVENESS_TIMEOUT_OFFSET: usize = 24;
/// Offset of the driver's start time (`i64`, epoch milliseconds).
pub const START_TIMESTAMP_OFFSET: usize = 32;
/// Offset of the driver's process id (`i64`).
pub const PID_OFFSET: usize = 40;
/// Offset of the page size of files (`i32`); 0 in files of old drivers means 4096.
pub const FILE_PAGE_SIZE_OFFSET: usize = 48;
/// Page size where the header has none.
pub const FILE_PAGE_SIZE_DEFAULT: i32 = 4096;

/// A semantic version packed as major << 16, minor << 8, patch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackedVersion(pub i32);

impl PackedVersion {
    /// Packs the three parts.
    #[must_use]
    pub const fn new(major: u8, minor: u8, patch: u8) -> Self {
        Self(((major as i32) << 16) | ((minor as i32) << 8) | patch as i32)
    }

    /// The part that has to be equal for two programs to understand one another.
    #[must_use]
    pub const fn major(self) -> i32 {
        (self.0 >> 16) & 0xFF
    }

    /// The part that grows with additions.
    #[must_use]
    pub const fn minor(self) -> i32 {
        (self.0 >> 8) & 0xFF
    }

    /// The part that grows with corrections.
    #[must_use]
    pub const fn patch(self) -> i32 {
        self.0 & 0xFF
    }
}

/// Version of the layout described here: 0.2.0.
pub const VERSION: PackedVersion = PackedVersion::new(0, 2, 0);

/// Lengths of the five buffers, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferLengths {
    /// The ring from clients to the driver, trailer included.
    pub to_driver: i32,
    /// The broadcast from the driver to clients, trailer included.
    pub to_clients: i32,
    /// Metadata of counters: four times the values.
    pub counters_metadata: i32,
    /// Values of counters.
    pub counters_values: i32,
    /// The log of distinct errors.
    pub error_log: i32,
}

impl Default for BufferLengths {
    fn default() -> Self {
        Self {
            to_driver: 1024 * 1024 + 768,
            to_clients: 1024 * 1024 + 128,
            counters_metadata: 32 * 1024 * 1024,
            counters_values: 8 * 1024 * 1024,
            error_log: 4 * 1024 * 1024,
        }
    }
}

/// A range of bytes of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// Where it begins.
    pub offset: usize,
    /// How many bytes it has.
    pub length: usize,
}

/// Where each buffer lies in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sections {
    /// The ring from clients to the driver.
    pub to_driver: Section,
    /// The broadcast from the driver to clients.
    pub to_clients: Section,
    /// Metadata of counters.
    pub counters_metadata: Section,
    /// Values of counters.
    pub counters_values: Section,
    /// The log of distinct errors.
    pub error_log: Section,
}

impl Sections {
    /// The first byte behind the last buffer.
    #[must_use]
    pub const fn end(&self) -> usize {
        self.error_log.offset + self.error_log.length
    }
}

/// Everything in the header besides the version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Lengths of the buffers.
    pub lengths: BufferLengths,
    /// How long a client may be silent, in nanoseconds.
    pub client_liveness_timeout_ns: i64,
    /// When the driver started, in epoch milliseconds.
    pub start_timestamp_ms: i64,
    /// Process id of the driver.
    pub pid: i64,
    /// Files are rounded up to this many bytes.
    pub file_page_size: i32,
}

/// Why a header is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// The file ends before the header does.
    #[error("cnc file of {length} bytes is shorter than its header")]
    Short {
        /// Bytes there are.
        length: usize,
    },
    /// Another program's layout.
    #[error("cnc version {}.{}.{} does not match {}.{}.{}",
        found.major(), found.minor(), found.patch(),
        VERSION.major(), VERSION.minor(), VERSION.patch())]
    Version {
        /// Version in the file.
        found: PackedVersion,
    },
    /// A buffer has an impossible length.
    #[error("cnc {buffer} buffer has an invalid length of {length}")]
    Length {
        /// Which buffer.
        buffer: &'static str,
        /// Its length.
        length: i32,
    },
    /// The buffers reach beyond the end of the file.
    #[error("cnc file of {length} bytes is shorter than the {needed} of its buffers")]
    Truncated {
        /// Bytes there are.
        length: usize,
        /// Bytes that the lengths ask for.
        needed: usize,
    },
}

/// Whether a client may use a file of this version: the major parts are equal.
///
/// Source: the C client checks this; the Java one refuses an older minor as well.
///
/// # Errors
/// [`HeaderError::Version`].
pub const fn check_version(found: PackedVersion) -> Result<(), HeaderError> {
    if found.major() == VERSION.major() && found.0 > 0 {
        return Ok(());
    }
    Err(HeaderError::Version { found })
}

impl BufferLengths {
    /// Places the buffers one behind the other.
    ///
    /// # Errors
    /// [`HeaderError::Length`] for a length that its buffer cannot have, or a total above `i32`.
    pub fn sections(&self) -> Result<Sections, HeaderError> {
        let ring_length = |buffer, length: i32, trailer| {
            positive(buffer, length)
                .filter(|&bytes| ring::capacity(bytes, trailer).is_some())
                .ok_or(HeaderError::Length { buffer, length })
        };
        let plain_length = |buffer, length: i32| {
            positive(buffer, length).ok_or(HeaderError::Length { buffer, length })
        };
        let mut end = HEADER_LENGTH;
        let mut place = |length: usize| {
            let section = Section { offset: end, length };
            end = end.saturating_add(length);
            section
        };
        let sections = Sections {
            to_driver: place(ring_length(
                "to-driver",
                self.to_driver,
                ring::to_driver::TRAILER_LENGTH,
            )?),
            to_clients: place(ring_length(
                "to-clients",
                self.to_clients,
                ring::to_clients::TRAILER_LENGTH,
            )?),
            counters_metadata: place(plain_length("counters metadata", self.counters_metadata)?),
            counters_values: place(plain_length("counters values", self.counters_values)?),
            error_log: place(plain_length("error log", self.error_log)?),
        };
        if i32::try_from(end).is_err() {
            return Err(HeaderError::Length { buffer: "last", length: self.error_log });
        }
        Ok(sections)
    }
}

/// A positive length as an index.
fn positive(_buffer: &'static str, length: i32) -> Option<usize> {
    usize::try_from(length).ok().filter(|&bytes| bytes > 0)
}

impl Header {
    /// Reads the header; the version is the caller's to check first, see [`check_version`].
    ///
    /// # Errors
    /// [`HeaderError::Short`] when there are fewer than [`HEADER_LENGTH`] bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let short = HeaderError::Short { length: bytes.len() };
        let header: &[u8; HEADER_LENGTH] = bytes.first_chunk().ok_or(short)?;
        Self::fields(header).ok_or(short)
    }

    fn fields(header: &[u8]) -> Option<Self> {
        let page_size = i32_at(header, FILE_PAGE_SIZE_OFFSET)?;
        Some(Self {
            lengths: BufferLengths {
                to_driver: i32_at(header, TO_DRIVER_LENGTH_OFFSET)?,
                to_clients: i32_at(header, TO_CLIENTS_LENGTH_OFFSET)?,
                counters_metadata: i32_at(header, COUNTERS_METADATA_LENGTH_OFFSET)?,
                counters_values: i32_at(header, COUNTERS_VALUES_LENGTH_OFFSET)?,
                error_log: i32_at(header, ERROR_LOG_LENGTH_OFFSET)?,
            },
            client_liveness_timeout_ns: i64_at(header, CLIENT_LIVENESS_TIMEOUT_OFFSET)?,
            start_timestamp_ms: i64_at(header, START_TIMESTAMP_OFFSET)?,
            pid: i64_at(header, PID_OFFSET)?,
            file_page_size: if page_size == 0 { FILE_PAGE_SIZE_DEFAULT } else { page_size },
        })
    }

    /// The whole header with version 0: the driver stores the version afterwards, by release.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_LENGTH] {
        let mut bytes = [0; HEADER_LENGTH];
        let lengths = &self.lengths;
        put(&mut bytes, TO_DRIVER_LENGTH_OFFSET, lengths.to_driver.to_le_bytes());
        put(&mut bytes, TO_CLIENTS_LENGTH_OFFSET, lengths.to_clients.to_le_bytes());
        put(&mut bytes, COUNTERS_METADATA_LENGTH_OFFSET, lengths.counters_metadata.to_le_bytes());
        put(&mut bytes, COUNTERS_VALUES_LENGTH_OFFSET, lengths.counters_values.to_le_bytes());
        put(&mut bytes, ERROR_LOG_LENGTH_OFFSET, lengths.error_log.to_le_bytes());
        let liveness = self.client_liveness_timeout_ns.to_le_bytes();
        put(&mut bytes, CLIENT_LIVENESS_TIMEOUT_OFFSET, liveness);
        put(&mut bytes, START_TIMESTAMP_OFFSET, self.start_timestamp_ms.to_le_bytes());
        put(&mut bytes, PID_OFFSET, self.pid.to_le_bytes());
        put(&mut bytes, FILE_PAGE_SIZE_OFFSET, self.file_page_size.to_le_bytes());
        bytes
    }

    /// Where the buffers lie in a file of `file_length` bytes.
    ///
    /// # Errors
    /// Impossible lengths, or a file that ends before its last buffer.
    pub fn sections(&self, file_length: usize) -> Result<Sections, HeaderError> {
        let sections = self.lengths.sections()?;
        if sections.end() > file_length {
            let needed = sections.end();
            return Err(HeaderError::Truncated { length: file_length, needed });
        }
        Ok(sections)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            lengths: BufferLengths::default(),
            client_liveness_timeout_ns: 10_000_000_000,
            start_timestamp_ms: 1_764_000_000_000,
            pid: 4242,
            file_page_size: 4096,
        }
    }

    #[test]
    fn a_header_survives_a_round_trip_and_leaves_the_version_to_be_stored_last() {
        let bytes = header().to_bytes();
        assert_eq!(bytes[..4], [0; 4]);
        assert_eq!(Header::decode(&bytes), Ok(header()));
    }

    #[test]
    fn the_default_buffers_lie_where_genuine_ones_do() {
        let sections = BufferLengths::default().sections().unwrap();
        assert_eq!(sections.to_driver, Section { offset: 128, length: 1_049_344 });
        assert_eq!(sections.to_clients.offset, 128 + 1_049_344);
        let lengths = 128 + 1_049_344 + 1_048_704 + 33_554_432 + 8_388_608 + 4_194_304;
        assert_eq!(sections.end(), lengths);
    }

    #[test]
    fn a_header_of_any_shorter_length_is_an_error() {
        let bytes = header().to_bytes();
        for length in 0..HEADER_LENGTH {
            assert_eq!(Header::decode(&bytes[..length]), Err(HeaderError::Short { length }));
        }
    }

    #[test]
    fn impossible_lengths_and_short_files_are_refused() {
        let mut wrong = header();
        let needed = wrong.sections(usize::MAX).unwrap().end();
        let truncated = HeaderError::Truncated { length: needed - 1, needed };
        assert_eq!(wrong.sections(needed - 1), Err(truncated));
        wrong.lengths.to_driver -= 1;
        assert!(matches!(wrong.sections(usize::MAX), Err(HeaderError::Length { .. })));
        wrong = header();
        wrong.lengths.error_log = i32::MAX;
        assert!(matches!(wrong.sections(usize::MAX), Err(HeaderError::Length { .. })));
        wrong.lengths.error_log = -1;
        assert!(matches!(wrong.sections(usize::MAX), Err(HeaderError::Length { .. })));
    }

    #[test]
    fn old_headers_without_a_page_size_mean_4096() {
        let mut bytes = header().to_bytes();
        bytes[FILE_PAGE_SIZE_OFFSET..][..4].fill(0);
        assert_eq!(Header::decode(&bytes).unwrap().file_page_size, 4096);
    }

    #[test]
    fn only_files_of_the_same_major_version_are_used() {
        assert_eq!(VERSION.0, 0x0000_0200);
        assert_eq!(check_version(PackedVersion::new(0, 3, 7)), Ok(()));
        assert!(check_version(PackedVersion::new(1, 2, 0)).is_err());
        assert!(check_version(PackedVersion(0)).is_err());
    }
}
