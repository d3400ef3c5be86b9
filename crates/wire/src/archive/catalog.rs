//! `archive.catalog`: the descriptors of all recordings.
//!
//! ```text
//! 0              32                        64                  144
//! +--------------+------------+------------+-------------------+------------------+--------+
//! | catalog      | descriptor | descriptor | descriptor block: | channels, source | zeros  | next
//! | header       | header     |            | 80 bytes          | u32 length + ... |        | frame
//! +--------------+------------+------------+-------------------+------------------+--------+
//!                |<- 32 ---->|<- length of the header, a multiple of the alignment less 32 ->|
//! ```
//!
//! A descriptor frame is a header of 32 bytes and the body of a
//! [`RecordingDescriptor`] without its message header, filled with zeros to the alignment. A frame
//! of length 0 is the end. A frame is changed in place by the offsets below (source: archive
//! page 5).

use crate::archive::response::RecordingDescriptor;
use crate::bytes::{DecodeError, EncodeError, Padding, Reader, SemanticVersion, Writer};
use crate::message::{Body, message, offset};
use crate::open_enum::open_enum;

/// Name of the file in the archive directory.
pub const FILE_NAME: &str = "archive.catalog";
/// Bytes of the header of the catalog, and of each descriptor frame.
pub const HEADER_LENGTH: usize = 32;
/// Alignment of the descriptor frames of new files.
pub const ALIGNMENT: i32 = 64;
/// Offset in the file of the next recording id.
pub const NEXT_RECORDING_ID_OFFSET: usize = offset(CatalogHeader::FIELDS, "next_recording_id");
/// Offset in a frame of its length, which makes it visible.
pub const LENGTH_OFFSET: usize = offset(DescriptorHeader::FIELDS, "length");
/// Offset in a frame of the state.
pub const STATE_OFFSET: usize = offset(DescriptorHeader::FIELDS, "state");
/// Offset in a frame of the checksum over what follows the header.
pub const CHECKSUM_OFFSET: usize = offset(DescriptorHeader::FIELDS, "checksum");
/// Offset in a frame of the control session id.
pub const CONTROL_SESSION_ID_OFFSET: usize = in_frame("control_session_id");
/// Offset in a frame of the correlation id.
pub const CORRELATION_ID_OFFSET: usize = in_frame("correlation_id");
/// Offset in a frame of the recording id: from here on, the frame is what a listing sends.
pub const RECORDING_ID_OFFSET: usize = in_frame("recording_id");
/// Offset in a frame of the stop time.
pub const STOP_TIMESTAMP_OFFSET: usize = in_frame("stop_timestamp");
/// Offset in a frame of the start position.
pub const START_POSITION_OFFSET: usize = in_frame("start_position");
/// Offset in a frame of the stop position.
pub const STOP_POSITION_OFFSET: usize = in_frame("stop_position");
/// Offset in a frame of the session id.
pub const SESSION_ID_OFFSET: usize = in_frame("session_id");

const fn in_frame(field: &str) -> usize {
    HEADER_LENGTH + offset(RecordingDescriptor::FIELDS, field)
}

open_enum! {
    /// Whether a descriptor counts.
    pub enum RecordingState {
        /// Found to be broken.
        Invalid = 0,
        /// It counts.
        Valid = 1,
        /// Purged.
        Deleted = 2,
    }
}

message! {
    /// The beginning of the file (template 20, written without a message header).
    CatalogHeader {
        version: SemanticVersion,
        length: i32,
        next_recording_id: i64,
        alignment: i32,
        gap: Padding<11>,
        reserved: Padding<1>,
    }
}

message! {
    /// The beginning of a frame (template 21, written without a message header).
    DescriptorHeader {
        /// Bytes behind this header, with the zeros; 0 is the end of the catalog.
        length: i32,
        state: RecordingState,
        /// Over the bytes behind this header; 0 without checksums.
        checksum: i32,
        gap: Padding<19>,
        reserved: Padding<1>,
    }
}

impl CatalogHeader {
    /// The header of a file whose next recording has this id.
    #[must_use]
    pub const fn new(version: SemanticVersion, next_recording_id: i64) -> Self {
        Self {
            version,
            length: 32,
            next_recording_id,
            alignment: ALIGNMENT,
            gap: Padding,
            reserved: Padding,
        }
    }

    /// Reads the first 32 bytes of the file.
    pub fn decode(file: &[u8]) -> Result<Self, DecodeError> {
        Self::read_body(Self::BLOCK_LENGTH, 0, &mut Reader::new(file))
    }

    /// Writes the first 32 bytes of the file.
    pub fn encode(&self, file: &mut [u8]) -> Result<(), EncodeError> {
        self.write_body(&mut Writer::new(file))
    }
}

/// A descriptor frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Whether it counts.
    pub state: RecordingState,
    /// Over the bytes behind the frame header; 0 without checksums.
    pub checksum: i32,
    /// The recording.
    pub descriptor: RecordingDescriptor<'a>,
    /// Bytes of the whole frame: the next one begins that far on.
    pub length: usize,
}

impl<'a> Frame<'a> {
    /// Decodes the frame at the front of `bytes`; `None` at the end of the catalog.
    ///
    /// The text fields must lie inside the frame.
    pub fn decode(bytes: &'a [u8]) -> Result<Option<Self>, DecodeError> {
        let mut reader = Reader::new(bytes);
        let block_length = DescriptorHeader::BLOCK_LENGTH;
        let header = DescriptorHeader::read_body(block_length, 0, &mut reader)?;
        let length = usize::try_from(header.length).map_err(|_| DecodeError::BadValue {
            field: "descriptor length",
            value: header.length.into(),
        })?;
        if length == 0 {
            return Ok(None);
        }
        let mut body = Reader::new(reader.take(length)?);
        let block_length = RecordingDescriptor::BLOCK_LENGTH;
        let descriptor = RecordingDescriptor::read_body(block_length, 0, &mut body)?;
        let (state, checksum) = (header.state, header.checksum);
        Ok(Some(Self { state, checksum, descriptor, length: HEADER_LENGTH + length }))
    }
}

/// Bytes of the frame of a descriptor in a catalog of this alignment, a power of two.
#[must_use]
pub fn frame_length(descriptor: &RecordingDescriptor<'_>, alignment: usize) -> usize {
    (HEADER_LENGTH + descriptor.body_length()).next_multiple_of(alignment.max(1))
}

/// Writes the frame of a descriptor, zero-filled, over the whole of `frame`.
///
/// The writer of a mapped catalog writes `frame[32..]` before the header: what is behind a length
/// must be whole.
///
/// # Errors
/// `frame` is too short for the descriptor.
pub fn encode_frame(
    descriptor: &RecordingDescriptor<'_>,
    state: RecordingState,
    checksum: i32,
    frame: &mut [u8],
) -> Result<(), EncodeError> {
    let (needed, available) = (HEADER_LENGTH + descriptor.body_length(), frame.len());
    let length = available.checked_sub(HEADER_LENGTH).and_then(|rest| i32::try_from(rest).ok());
    let (Some(length), true) = (length, needed <= available) else {
        return Err(EncodeError::BufferTooShort { needed, available });
    };
    frame.fill(0);
    let mut writer = Writer::new(frame);
    let (gap, reserved) = (Padding, Padding);
    DescriptorHeader { length, state, checksum, gap, reserved }.write_body(&mut writer)?;
    descriptor.write_body(&mut writer)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A catalog with one active recording, captured from a genuine archive (archive page 12).
    const CAPTURED: &str = "\
        00010300 20000000 01000000 00000000 40000000 00000000 00000000 00000000 \
        e0000000 01000000 00000000 00000000 00000000 00000000 00000000 00000000 \
        00000000 00000000 00000000 00000000 00000000 00000000 900bc104 a2010000 \
        ffffffff ffffffff 00100100 00000000 ffffffff ffffffff 05000000 00000200 \
        00000100 80050000 7ea46761 21000000";

    const CHANNEL: &[u8] = b"aeron:ipc?term-length=64k|alias=xyz|mtu=1408";

    fn captured() -> [u8; 288] {
        let mut file = [0; 288];
        let mut writer = Writer::new(&mut file);
        for word in CAPTURED.split_whitespace() {
            let word = u32::from_str_radix(word, 16).expect("hexadecimal");
            writer.put(&word.to_be_bytes()).expect("fits");
        }
        for text in [b"aeron:ipc?alias=xyz", CHANNEL, b"aeron:ipc"] {
            writer.variable(text).expect("fits");
        }
        file
    }

    #[test]
    fn a_genuine_catalog_is_read_and_written_alike() {
        let file = captured();
        let header = CatalogHeader::decode(&file).expect("whole");
        assert_eq!(header, CatalogHeader::new(SemanticVersion::new(3, 1, 0), 1));
        let frame = Frame::decode(&file[32..]).expect("whole").expect("a frame");
        assert_eq!((frame.state, frame.length), (RecordingState::Valid, 256));
        assert_eq!(frame.descriptor.start_position, 69_632);
        assert_eq!(frame.descriptor.stop_position, -1);
        assert_eq!(frame.descriptor.original_channel, CHANNEL);
        assert_eq!(frame_length(&frame.descriptor, 64), 256);

        let mut written = [0xff; 288];
        header.encode(&mut written).expect("fits");
        encode_frame(&frame.descriptor, frame.state, 0, &mut written[32..]).expect("fits");
        assert_eq!(written, file);
    }

    #[test]
    fn fields_changed_in_place_are_where_they_are_looked_for() {
        let file = captured();
        let at = |offset: usize| i64::from_le_bytes(file[32 + offset..][..8].try_into().unwrap());
        assert_eq!((at(START_POSITION_OFFSET), START_POSITION_OFFSET), (69_632, 72));
        assert_eq!((at(STOP_POSITION_OFFSET), STOP_POSITION_OFFSET), (-1, 80));
        assert_eq!((at(STOP_TIMESTAMP_OFFSET), STOP_TIMESTAMP_OFFSET), (-1, 64));
        let (ids, rest) = ((CONTROL_SESSION_ID_OFFSET, CORRELATION_ID_OFFSET), RECORDING_ID_OFFSET);
        assert_eq!((ids, rest, SESSION_ID_OFFSET), ((32, 40), 48, 104));
        assert_eq!((LENGTH_OFFSET, STATE_OFFSET, CHECKSUM_OFFSET), (0, 4, 8));
        assert_eq!(NEXT_RECORDING_ID_OFFSET, 8);
    }

    #[test]
    fn zeros_are_the_end_and_torn_frames_are_errors() {
        let file = captured();
        assert_eq!(Frame::decode(&[0; 32]), Ok(None));
        for length in 0..256 {
            assert!(Frame::decode(&file[32..32 + length]).is_err(), "{length} bytes");
        }
        let mut negative = file;
        negative[32..36].copy_from_slice(&(-32_i32).to_le_bytes());
        let error = DecodeError::BadValue { field: "descriptor length", value: -32 };
        assert_eq!(Frame::decode(&negative[32..]), Err(error));
    }

    #[test]
    fn text_may_not_reach_beyond_its_frame() {
        let mut file = captured();
        file[32] = 0xa0;
        assert!(Frame::decode(&file[32..]).is_err());
    }

    #[test]
    fn a_frame_that_is_too_short_is_refused() {
        let file = captured();
        let frame = Frame::decode(&file[32..]).expect("whole").expect("a frame");
        let mut short = [0; 195];
        for length in [0, 31, 195] {
            let target = &mut short[..length];
            assert!(encode_frame(&frame.descriptor, frame.state, 0, target).is_err());
        }
        encode_frame(&frame.descriptor, frame.state, 0, &mut [0; 196]).expect("fits exactly");
    }
}
