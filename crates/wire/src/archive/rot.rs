//! Ours: the counter by which an archive says that a recording is damaged.
//!
//! | offset in the key | field |
//! |---|---|
//! | 0 | archive id i64 |
//! | 8 | recording id i64 |
//! | 16 | position i64 of the first frame that is lost; the counter's value too |
//! | 24 | position i64 up to where the recording is known to have been once |
//!
//! It stands as long as the archive runs and the damage is there: until the recording is cut at
//! that position, or before it.

use crate::bytes::{DecodeError, Reader};

/// The counter's type: above those of genuine Aeron.
pub const TYPE_ID: i32 = 1_140;
/// Length of its key.
pub const KEY_LENGTH: usize = 32;

/// What its key says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotKey {
    /// Which archive.
    pub archive_id: i64,
    /// Which of its recordings.
    pub recording_id: i64,
    /// Where the first frame that is lost begins.
    pub position: i64,
    /// Where the recording ended once, at least.
    pub end: i64,
}

impl RotKey {
    /// The bytes of the key.
    #[must_use]
    pub fn encode(&self) -> [u8; KEY_LENGTH] {
        let mut bytes = [0; KEY_LENGTH];
        let fields = [self.archive_id, self.recording_id, self.position, self.end];
        for (target, field) in bytes.chunks_exact_mut(8).zip(fields) {
            target.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    /// Reads a key.
    ///
    /// # Errors
    /// It is too short.
    pub fn decode(key: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(key);
        Ok(Self {
            archive_id: reader.read()?,
            recording_id: reader.read()?,
            position: reader.read()?,
            end: reader.read()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_what_was_put_in_and_a_short_one_nothing() {
        let key = RotKey { archive_id: 7, recording_id: 3, position: 64, end: 4_096 };
        let bytes = key.encode();
        assert_eq!(RotKey::decode(&bytes), Ok(key));
        assert_eq!(bytes[16..24], 64_i64.to_le_bytes());
        assert!(RotKey::decode(&bytes[..24]).is_err());
    }
}
