//! Entries of `recording.log`: which terms and snapshots there are, and in which recordings.
//!
//! ```text
//!   0              8                  16               24            32         40          44
//!   +--------------+------------------+----------------+-------------+----------+-----------+
//!   | recording id | leadership term  | term base      | log         | time     | service   |
//!   | i64          | id i64           | position i64   | position i64| stamp i64| id i32    |
//!   +--------------+------------------+----------------+-------------+----------+-----------+
//!   44           48
//!   +------------+-----------------------------------------------------+
//!   | type i32   | of a standby snapshot: u32 length, archive endpoint | zero to a multiple of 64
//!   +------------+-----------------------------------------------------+
//! ```
//!
//! The file is entries back to back, without header or checksum; a partial entry at the end is
//! ignored (source: cluster page 7.1).

use crate::bytes::{DecodeError, EncodeError, Reader, Writer};
use crate::message::{Body, message, offset};

/// Entries begin at multiples of this many bytes.
pub const ENTRY_ALIGNMENT: usize = 64;
/// Longest entry, in bytes.
pub const ENTRY_LENGTH_MAX: usize = 4096;
/// Longest archive endpoint of an entry, in bytes.
pub const ENDPOINT_LENGTH_MAX: usize = ENTRY_LENGTH_MAX - BLOCK_LENGTH - 4;
/// Where an entry names its recording: changed once, when the log's first recording begins.
pub const RECORDING_ID_OFFSET: usize = offset(EntryBlock::FIELDS, "recording_id");
/// Offset in an entry of its log position: 8 bytes are written there to close a term.
pub const LOG_POSITION_OFFSET: usize = offset(EntryBlock::FIELDS, "log_position");
/// Offset in an entry of its type: 4 bytes are written there to invalidate or remove an entry.
pub const ENTRY_TYPE_OFFSET: usize = offset(EntryBlock::FIELDS, "entry_type");
/// The type of an entry that was removed.
pub const ENTRY_TYPE_REMOVED: i32 = -1;

const BLOCK_LENGTH: usize = EntryBlock::BLOCK_LENGTH as usize;
const INVALID_FLAG: i32 = i32::MIN;

message! {
    /// The fixed part of an entry, as it stands in the file.
    EntryBlock {
        recording_id: i64,
        leadership_term_id: i64,
        term_base_log_position: i64,
        log_position: i64,
        timestamp: i64,
        service_id: i32,
        entry_type: i32,
    }
}

/// What an entry records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind<'a> {
    /// A leadership term and the recording of the log.
    Term,
    /// A snapshot in the archive of this member.
    Snapshot,
    /// A snapshot in the archive of a standby.
    StandbySnapshot {
        /// Where that archive listens.
        archive_endpoint: &'a [u8],
    },
    /// A kind of a newer writer: kept, not used.
    Unknown(i32),
}

/// An entry of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The recording of the log, or of the snapshot.
    pub recording_id: i64,
    /// The term.
    pub leadership_term_id: i64,
    /// Where the term begins.
    pub term_base_log_position: i64,
    /// Term: where it ends, -1 while it is open. Snapshot: its position.
    pub log_position: i64,
    /// In units of the cluster's time.
    pub timestamp: i64,
    /// The service of a snapshot; -1 for a term and for the module.
    pub service_id: i32,
    /// What it records.
    pub kind: EntryKind<'a>,
    /// Cleared when a snapshot is given up; the entry stays in the file.
    pub is_valid: bool,
}

impl<'a> Entry<'a> {
    /// Takes the next entry off the file; `None` for an entry that was removed.
    ///
    /// # Errors
    /// `Truncated` for the partial entry that a torn write leaves at the end of the file: reading
    /// stops there. `BadValue` for an endpoint that cannot be.
    pub fn read(reader: &mut Reader<'a>) -> Result<Option<Self>, DecodeError> {
        let mut ahead = *reader;
        let frame = ahead.rest();
        let block = EntryBlock::read_body(EntryBlock::BLOCK_LENGTH, 0, &mut ahead)?;
        let removed = block.entry_type == ENTRY_TYPE_REMOVED;
        let code = block.entry_type & !INVALID_FLAG;
        let kind = match code {
            0 => EntryKind::Term,
            1 => EntryKind::Snapshot,
            2 => EntryKind::StandbySnapshot { archive_endpoint: endpoint(&mut ahead)? },
            _ => EntryKind::Unknown(code),
        };
        // The type of a removed entry is gone, and with it whether an endpoint followed: it is
        // taken for one of the shortest, as genuine Aeron 1.51.0 does.
        let used = frame.len() - ahead.rest().len();
        reader.take(used.next_multiple_of(ENTRY_ALIGNMENT))?;
        let entry = Self {
            recording_id: block.recording_id,
            leadership_term_id: block.leadership_term_id,
            term_base_log_position: block.term_base_log_position,
            log_position: block.log_position,
            timestamp: block.timestamp,
            service_id: block.service_id,
            kind,
            is_valid: block.entry_type & INVALID_FLAG == 0,
        };
        Ok((!removed).then_some(entry))
    }

    /// The type as it stands in the file.
    #[must_use]
    pub const fn entry_type(&self) -> i32 {
        let code = match self.kind {
            EntryKind::Term => 0,
            EntryKind::Snapshot => 1,
            EntryKind::StandbySnapshot { .. } => 2,
            EntryKind::Unknown(code) => code,
        };
        if self.is_valid { code } else { code | INVALID_FLAG }
    }

    /// Bytes of the entry in the file: a multiple of [`ENTRY_ALIGNMENT`].
    #[must_use]
    pub const fn encoded_length(&self) -> usize {
        let used = match self.kind {
            EntryKind::StandbySnapshot { archive_endpoint } => {
                BLOCK_LENGTH + 4 + archive_endpoint.len()
            }
            _ => BLOCK_LENGTH,
        };
        used.next_multiple_of(ENTRY_ALIGNMENT)
    }

    /// Writes the entry, zero-filled to its end, to the front of `buffer`; returns its length.
    ///
    /// # Errors
    /// The buffer, or the longest entry, is shorter than [`Self::encoded_length`].
    pub fn encode(&self, buffer: &mut [u8]) -> Result<usize, EncodeError> {
        let (length, available) = (self.encoded_length(), buffer.len());
        if length > ENTRY_LENGTH_MAX {
            return Err(EncodeError::FieldTooLong { length });
        }
        let Some(frame) = buffer.get_mut(..length) else {
            return Err(EncodeError::BufferTooShort { needed: length, available });
        };
        frame.fill(0);
        let mut writer = Writer::new(frame);
        EntryBlock {
            recording_id: self.recording_id,
            leadership_term_id: self.leadership_term_id,
            term_base_log_position: self.term_base_log_position,
            log_position: self.log_position,
            timestamp: self.timestamp,
            service_id: self.service_id,
            entry_type: self.entry_type(),
        }
        .write_body(&mut writer)?;
        if let EntryKind::StandbySnapshot { archive_endpoint } = self.kind {
            writer.variable(archive_endpoint)?;
        }
        Ok(length)
    }
}

fn endpoint<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    let length: i32 = reader.read()?;
    let valid = usize::try_from(length).ok().filter(|&length| length <= ENDPOINT_LENGTH_MAX);
    let bad = DecodeError::BadValue { field: "archive endpoint length", value: length.into() };
    reader.take(valid.ok_or(bad)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: EntryKind<'_>) -> Entry<'_> {
        Entry {
            recording_id: 1,
            leadership_term_id: 2,
            term_base_log_position: 32,
            log_position: -1,
            timestamp: 5,
            service_id: -1,
            kind,
            is_valid: true,
        }
    }

    #[test]
    fn entries_come_back_as_they_went_and_are_padded_with_zeros() {
        let endpoint = [b'e'; 20];
        let kinds = [
            (EntryKind::Term, 64),
            (EntryKind::Snapshot, 64),
            (EntryKind::StandbySnapshot { archive_endpoint: &endpoint[..12] }, 64),
            (EntryKind::StandbySnapshot { archive_endpoint: &endpoint[..13] }, 128),
            (EntryKind::Unknown(9), 64),
        ];
        for (kind, length) in kinds {
            for is_valid in [true, false] {
                let expected = Entry { is_valid, ..entry(kind) };
                let mut buffer = [0xff; 256];
                assert_eq!(expected.encode(&mut buffer), Ok(length));
                let mut reader = Reader::new(&buffer[..length]);
                assert_eq!(Entry::read(&mut reader), Ok(Some(expected)));
                assert!(reader.rest().is_empty());
                assert_eq!(buffer[length - 1] & 0x80, 0);
            }
        }
    }

    #[test]
    fn a_removed_entry_is_stepped_over() {
        let mut buffer = [0; 128];
        entry(EntryKind::Snapshot).encode(&mut buffer).expect("fits");
        entry(EntryKind::Term).encode(&mut buffer[64..]).expect("fits");
        buffer[ENTRY_TYPE_OFFSET..][..4].copy_from_slice(&ENTRY_TYPE_REMOVED.to_le_bytes());
        let mut reader = Reader::new(&buffer);
        assert_eq!(Entry::read(&mut reader), Ok(None));
        assert_eq!(Entry::read(&mut reader), Ok(Some(entry(EntryKind::Term))));
    }

    #[test]
    fn a_partial_entry_is_an_error_and_nothing_is_taken() {
        let mut buffer = [0; 128];
        let kind = EntryKind::StandbySnapshot { archive_endpoint: b"localhost:8010,etc" };
        let length = entry(kind).encode(&mut buffer).expect("fits");
        for short in 0..length {
            let mut reader = Reader::new(&buffer[..short]);
            assert!(Entry::read(&mut reader).is_err(), "{short} bytes");
            assert_eq!(reader.rest().len(), short);
        }
    }

    #[test]
    fn an_endpoint_of_impossible_length_is_refused() {
        for length in [-1, 4045, i32::MAX] {
            let mut buffer = [0; 8192];
            let kind = EntryKind::StandbySnapshot { archive_endpoint: b"" };
            entry(kind).encode(&mut buffer).expect("fits");
            buffer[48..52].copy_from_slice(&length.to_le_bytes());
            let value = i64::from(length);
            let error = DecodeError::BadValue { field: "archive endpoint length", value };
            assert_eq!(Entry::read(&mut Reader::new(&buffer)), Err(error));
        }
        let endpoint = [b'e'; ENDPOINT_LENGTH_MAX + 1];
        let long = entry(EntryKind::StandbySnapshot { archive_endpoint: &endpoint });
        assert!(long.encode(&mut [0; 8192]).is_err());
    }
}
