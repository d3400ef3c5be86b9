//! `node-state.dat`: the term a member last voted in. Schema 112 version 10.
//!
//! ```text
//!   0          8                      24                40                 48
//!   +----------+----------------------+-----------------+------------------+------------------+
//!   | i32 0.3.0| record header, 24    | i64 candidate   | i64 log position | record header, 0 |
//!   | i32 0    | bytes of body        | term, i64 time  |                  | bytes of body    |
//!   +----------+----------------------+-----------------+------------------+------------------+
//! ```
//!
//! A record header is 16 bytes: the message header, `i32` length of header and body, `i32` zero.
//! Records begin at multiples of 8. The file is mapped: position and time are written first, the
//! term last (source: cluster page 7.2).

use crate::bytes::{DecodeError, EncodeError, Reader, SemanticVersion, Writer};
use crate::message::{Body, MessageHeader, message, offset};

/// Name of the file in the cluster directory.
pub const FILE_NAME: &str = "node-state.dat";
/// Length of the file, zero-filled when it is made.
pub const FILE_LENGTH: usize = 1024 * 1024;
/// Version of the layout; the major part must be equal.
pub const FILE_VERSION: SemanticVersion = SemanticVersion::new(0, 3, 0);
/// Offset of the candidate term in a file that [`encode`] wrote.
pub const CANDIDATE_TERM_ID_OFFSET: usize =
    CANDIDATE_OFFSET + offset(CandidateTerm::FIELDS, "candidate_term_id");
/// Offset of the time of the vote in a file that [`encode`] wrote.
pub const TIMESTAMP_OFFSET: usize = CANDIDATE_OFFSET + offset(CandidateTerm::FIELDS, "timestamp");
/// Offset of the log position of the vote in a file that [`encode`] wrote.
pub const LOG_POSITION_OFFSET: usize =
    CANDIDATE_OFFSET + offset(CandidateTerm::FIELDS, "log_position");

const SCHEMA_ID: u16 = 112;
const SCHEMA_VERSION: u16 = 10;
const RECORDS_OFFSET: usize = 8;
const RECORD_HEADER_LENGTH: usize = 16;
const CANDIDATE_OFFSET: usize = RECORDS_OFFSET + RECORD_HEADER_LENGTH;
const TEMPLATE_CANDIDATE: u16 = 301;
const TEMPLATE_FOOTER: u16 = 304;

message! {
    /// The record of the vote.
    CandidateTerm {
        /// Highest term voted in or stood for; -1 is none.
        candidate_term_id: i64,
        /// Milliseconds.
        timestamp: i64,
        log_position: i64,
    }
}

/// A vote found in a file, and where, so that it can be changed in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Offset in the file of the body of the record.
    pub offset: usize,
    /// The vote.
    pub candidate: CandidateTerm,
}

/// Writes a new file: version, the vote, the end of the records. The rest must be zero.
pub fn encode(candidate: &CandidateTerm, buffer: &mut [u8]) -> Result<usize, EncodeError> {
    let mut writer = Writer::new(buffer);
    writer.write(FILE_VERSION)?;
    writer.write(0_i32)?;
    write_header(&mut writer, TEMPLATE_CANDIDATE, CandidateTerm::BLOCK_LENGTH)?;
    candidate.write_body(&mut writer)?;
    write_header(&mut writer, TEMPLATE_FOOTER, 0)?;
    Ok(writer.position())
}

fn write_header(
    writer: &mut Writer<'_>,
    template_id: u16,
    block_length: u16,
) -> Result<(), EncodeError> {
    let (schema_id, version) = (SCHEMA_ID, SCHEMA_VERSION);
    MessageHeader { block_length, template_id, schema_id, version }.write(writer)?;
    writer.write(i32::from(block_length) + 16)?;
    writer.write(0_i32)
}

/// Finds the vote in a file, stepping over records of other kinds.
///
/// # Errors
/// Another major version, a length that cannot be, another schema, or no vote before the end of
/// the records.
pub fn find(file: &[u8]) -> Result<Found, DecodeError> {
    let mut reader = Reader::new(file);
    let version: SemanticVersion = reader.read()?;
    if version.major() != FILE_VERSION.major() || version == SemanticVersion::NONE {
        return Err(DecodeError::BadValue { field: "version", value: version.0.into() });
    }
    reader.take(RECORDS_OFFSET - 4)?;
    loop {
        let record = reader;
        let header = MessageHeader::read(&mut reader)?;
        let length: i32 = reader.read()?;
        reader.take(4)?;
        if header.schema_id != SCHEMA_ID {
            let (expected, actual) = (SCHEMA_ID, header.schema_id);
            return Err(DecodeError::OtherSchema { expected, actual });
        }
        match header.template_id {
            TEMPLATE_CANDIDATE => {
                let offset = file.len() - reader.rest().len();
                let (block, version) = (header.block_length, header.version);
                let candidate = CandidateTerm::read_body(block, version, &mut reader)?;
                return Ok(Found { offset, candidate });
            }
            TEMPLATE_FOOTER => {
                let (expected, actual) = (TEMPLATE_CANDIDATE, TEMPLATE_FOOTER);
                return Err(DecodeError::OtherTemplate { expected, actual });
            }
            _ => {}
        }
        let whole = usize::try_from(length).ok().filter(|&length| length >= RECORD_HEADER_LENGTH);
        let bad = DecodeError::BadValue { field: "record length", value: length.into() };
        reader = record;
        reader.take(whole.ok_or(bad)?.next_multiple_of(8))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOTE: CandidateTerm =
        CandidateTerm { candidate_term_id: 7, timestamp: 1_700, log_position: 96 };

    #[test]
    fn a_new_file_holds_its_vote_at_the_known_offsets() {
        let mut file = [0; 128];
        assert_eq!(encode(&VOTE, &mut file), Ok(64));
        assert_eq!(find(&file), Ok(Found { offset: 24, candidate: VOTE }));
        let offsets = (CANDIDATE_TERM_ID_OFFSET, TIMESTAMP_OFFSET, LOG_POSITION_OFFSET);
        assert_eq!(offsets, (24, 32, 40));
        let head = [0, 3, 0, 0, 0, 0, 0, 0, 24, 0, 0x2d, 1, 112, 0, 10, 0, 40, 0, 0, 0];
        assert_eq!(file[..20], head);
        assert_eq!(file[48..64], [0, 0, 0x30, 1, 112, 0, 10, 0, 16, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn records_of_other_kinds_are_stepped_over() {
        let mut file = [0; 256];
        encode(&VOTE, &mut file).expect("fits");
        file.copy_within(8..64, 48);
        let mut members = Writer::new(&mut file[8..48]);
        write_header(&mut members, 303, 16).expect("fits");
        file[16] = 37;
        assert_eq!(find(&file), Ok(Found { offset: 64, candidate: VOTE }));
    }

    #[test]
    fn a_broken_file_is_an_error_and_never_an_endless_walk() {
        let mut file = [0; 128];
        assert!(find(&file).is_err(), "zeros");
        let length = encode(&VOTE, &mut file).expect("fits");
        for short in 0..48 {
            assert!(find(&file[..short]).is_err(), "{short} bytes of {length}");
        }
        for (at, value) in [(2, 1), (12, 113), (10, 0x30), (10, 0x2f)] {
            let mut broken = file;
            broken[at] = value;
            broken[16..20].copy_from_slice(&if at == 10 { -1_i32 } else { 40 }.to_le_bytes());
            assert!(find(&broken).is_err(), "byte {at}");
        }
        let mut endless = file;
        endless[10] = 0x2f;
        endless[16..20].fill(0);
        let error = DecodeError::BadValue { field: "record length", value: 0 };
        assert_eq!(find(&endless), Err(error));
    }
}
