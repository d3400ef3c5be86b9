//! Reading and checking the header of one recorded frame.
//!
//! Used where frames come from files, which may hold anything: nothing read here is trusted.

use wire::frame::{
    DATA_HEADER_LENGTH, FRAME_LENGTH_OFFSET, FrameType, STREAM_ID_OFFSET, TERM_ID_OFFSET,
    TERM_OFFSET_OFFSET, TYPE_OFFSET,
};
use wire::position::FRAME_ALIGNMENT;

use crate::checksum::Checksum;

pub(crate) use wire::frame::SESSION_ID_OFFSET;

/// Length in bytes of the header of a data or padding frame.
pub(crate) const HEADER_LENGTH: usize = DATA_HEADER_LENGTH;

const TYPE_PADDING: u16 = FrameType::PADDING.0;
const TYPE_DATA: u16 = FrameType::DATA.0;

/// What a stored frame's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) frame_length: i32,
    pub(crate) frame_type: u16,
    pub(crate) term_offset: i32,
    pub(crate) session_id: i32,
    pub(crate) stream_id: i32,
    pub(crate) term_id: i32,
}

/// Where a frame must say that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) term_id: i32,
    pub(crate) term_offset: i32,
    pub(crate) stream_id: i32,
}

fn i32_at(bytes: &[u8], offset: usize) -> i32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[offset..offset + 4]);
    i32::from_le_bytes(word)
}

impl Header {
    /// Reads the header at the start of `bytes`; `None` if there are too few.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < HEADER_LENGTH {
            return None;
        }
        Some(Self {
            frame_length: i32_at(bytes, FRAME_LENGTH_OFFSET),
            frame_type: u16::from_le_bytes([bytes[TYPE_OFFSET], bytes[TYPE_OFFSET + 1]]),
            term_offset: i32_at(bytes, TERM_OFFSET_OFFSET),
            session_id: i32_at(bytes, SESSION_ID_OFFSET),
            stream_id: i32_at(bytes, STREAM_ID_OFFSET),
            term_id: i32_at(bytes, TERM_ID_OFFSET),
        })
    }

    /// Whether the frame only fills the rest of a term.
    pub(crate) const fn is_padding(&self) -> bool {
        self.frame_type == TYPE_PADDING
    }

    /// Whether it stands where it says, and is of a kind and length that a term can hold.
    pub(crate) fn is_sound(&self, place: Place, term_length: i32, mtu_length: i32) -> bool {
        self.is_at(place)
            && HEADER_LENGTH as i32 <= self.frame_length
            && self.frame_length <= term_length
            && self.aligned_length() <= i64::from(term_length - place.term_offset)
            && match self.frame_type {
                TYPE_PADDING => true,
                TYPE_DATA => self.frame_length <= mtu_length,
                _ => false,
            }
    }

    /// Whether it stands where it says.
    pub(crate) fn is_at(&self, place: Place) -> bool {
        self.term_id == place.term_id
            && self.term_offset == place.term_offset
            && self.stream_id == place.stream_id
    }

    /// Its length rounded up to the frame alignment; zero or less for none.
    pub(crate) fn aligned_length(&self) -> i64 {
        let alignment = i64::from(FRAME_ALIGNMENT);
        (i64::from(self.frame_length) + alignment - 1) & -alignment
    }

    /// How many bytes of it a file holds: padding is stored as a bare header.
    pub(crate) fn stored_length(&self) -> usize {
        if self.is_padding() {
            HEADER_LENGTH
        } else {
            usize::try_from(self.aligned_length()).unwrap_or(0)
        }
    }
}

/// Whether the checksum of a whole data frame, which stands in place of its session, is right.
pub(crate) fn is_intact(frame: &[u8], header: &Header, checksum: Checksum) -> bool {
    let stored = header.stored_length();
    header.is_padding()
        || frame
            .get(HEADER_LENGTH..stored)
            .is_some_and(|body| checksum.compute(body) == header.session_id)
}

/// Puts the checksum of each data frame of a block in place of its session.
///
/// `block` holds whole frames, or one header of padding.
pub(crate) fn seal(block: &mut [u8], checksum: Checksum) {
    let mut offset = 0;
    while let Some(header) = block.get(offset..).and_then(Header::read) {
        let length = header.stored_length();
        if length < HEADER_LENGTH || length > block.len() - offset {
            return;
        }
        if !header.is_padding() {
            let value = checksum.compute(&block[offset + HEADER_LENGTH..offset + length]);
            let at = offset + SESSION_ID_OFFSET;
            block[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        offset += length;
    }
}

/// Writes a data frame for tests.
#[cfg(test)]
pub(crate) fn test_frame(place: Place, session_id: i32, payload: &[u8]) -> Vec<u8> {
    let length = HEADER_LENGTH + payload.len();
    let mut frame = vec![0; wire::position::align_frame(length as i32) as usize];
    let mut put = |at: usize, value: i32| frame[at..at + 4].copy_from_slice(&value.to_le_bytes());
    put(FRAME_LENGTH_OFFSET, length as i32);
    put(TERM_OFFSET_OFFSET, place.term_offset);
    put(SESSION_ID_OFFSET, session_id);
    put(STREAM_ID_OFFSET, place.stream_id);
    put(TERM_ID_OFFSET, place.term_id);
    frame[wire::frame::FLAGS_OFFSET] = wire::frame::flags::UNFRAGMENTED;
    frame[TYPE_OFFSET..TYPE_OFFSET + 2].copy_from_slice(&TYPE_DATA.to_le_bytes());
    frame[HEADER_LENGTH..length].copy_from_slice(payload);
    frame
}

/// Writes the header of a padding frame for tests.
#[cfg(test)]
pub(crate) fn test_padding(place: Place, session_id: i32, frame_length: i32) -> Vec<u8> {
    let mut frame = test_frame(place, session_id, &[]);
    frame[0..4].copy_from_slice(&frame_length.to_le_bytes());
    frame[TYPE_OFFSET] = 0;
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { term_id: 7, term_offset: 96, stream_id: 10 };

    #[test]
    fn a_frame_is_sound_only_where_it_says_it_is() {
        let frame = test_frame(PLACE, 5, b"payload");
        let header = Header::read(&frame).unwrap();
        assert!(header.is_sound(PLACE, 65_536, 1408));
        for place in [
            Place { term_id: 8, ..PLACE },
            Place { term_offset: 128, ..PLACE },
            Place { stream_id: 11, ..PLACE },
        ] {
            assert!(!header.is_sound(place, 65_536, 1408), "{place:?}");
        }
    }

    #[test]
    fn lengths_that_no_term_can_hold_are_not_sound() {
        let mut header = Header::read(&test_frame(PLACE, 5, b"payload")).unwrap();
        for length in [i32::MIN, -1, 0, 31, 1409, 65_536, i32::MAX] {
            header.frame_length = length;
            assert!(!header.is_sound(PLACE, 65_536, 1408), "{length}");
        }
        header.frame_type = TYPE_PADDING;
        header.frame_length = 65_536 - 96;
        assert!(header.is_sound(PLACE, 65_536, 1408));
        header.frame_type = 2;
        header.frame_length = 64;
        assert!(!header.is_sound(PLACE, 65_536, 1408));
    }

    #[test]
    fn a_sealed_frame_is_intact_until_a_bit_of_its_payload_flips() {
        let mut frame = test_frame(PLACE, 5, b"payload");
        seal(&mut frame, Checksum::Crc32c);
        let header = Header::read(&frame).unwrap();
        assert_ne!(header.session_id, 5);
        assert!(is_intact(&frame, &header, Checksum::Crc32c));
        frame[33] ^= 4;
        assert!(!is_intact(&frame, &header, Checksum::Crc32c));
        let mut padding = test_padding(PLACE, 5, 640);
        seal(&mut padding, Checksum::Crc32c);
        assert_eq!(Header::read(&padding).unwrap().session_id, 5);
    }
}
