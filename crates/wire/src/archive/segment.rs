//! Segment files: `<recording id>-<position of the first byte>.rec`, and the arithmetic of them.
//!
//! ```text
//!   term base of the start      start position
//!   |                           |
//!   +---------------------------+----------------+--------------------------------+----
//!   | zeros                     | frames         | frames                         |
//!   +---------------------------+----------------+--------------------------------+----
//!   |<------------- segment file length -------->|<---- segment file length ----->|
//! ```
//!
//! Segments begin at the term base of the start position and every segment length after it: not
//! at multiples of the segment length (source: archive page 4.5).

use core::fmt;

/// End of the name of a segment file.
pub const EXTENSION: &str = ".rec";
/// End of the name of a file that an older archive was deleting.
pub const DELETED_EXTENSION: &str = ".rec.del";

/// Name of a segment file; `Display` writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentFileName {
    /// Recording to which it belongs.
    pub recording_id: i64,
    /// Position in the recording of the first byte of the file.
    pub base_position: i64,
}

impl fmt::Display for SegmentFileName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}{EXTENSION}", self.recording_id, self.base_position)
    }
}

impl SegmentFileName {
    /// The parts of a file name; `None` if it is not that of a segment file.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (recording_id, base_position) = name.strip_suffix(EXTENSION)?.split_once('-')?;
        Some(Self { recording_id: number(recording_id)?, base_position: number(base_position)? })
    }
}

/// Digits only: neither a sign nor anything else that `parse` would take.
fn number(digits: &str) -> Option<i64> {
    digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Position of the first byte of the segment file that holds `position`.
///
/// Both lengths are powers of two, and `position` is not below the term base of `start_position`.
#[must_use]
pub const fn segment_base_position(
    start_position: i64,
    position: i64,
    term_length: i32,
    segment_length: i32,
) -> i64 {
    let term_base = start_position - (start_position & (term_length as i64 - 1));
    let since_base = position - term_base;
    term_base + (since_base - (since_base & (segment_length as i64 - 1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::string::ToString;

    #[test]
    fn names_come_back_as_they_went() {
        let name = SegmentFileName { recording_id: 0, base_position: 65_536 };
        assert_eq!(name.to_string(), "0-65536.rec");
        assert_eq!(SegmentFileName::parse("0-65536.rec"), Some(name));
        let longest = SegmentFileName { recording_id: i64::MAX, base_position: i64::MAX };
        assert_eq!(SegmentFileName::parse(&longest.to_string()), Some(longest));
    }

    #[test]
    fn other_names_are_not_those_of_segments() {
        for name in [
            "",
            ".rec",
            "-.rec",
            "1-.rec",
            "-1-2.rec",
            "1--2.rec",
            "+1-2.rec",
            "1-2.rec.del",
            "1-2",
            "1-2-3.rec",
            "1-99999999999999999999.rec",
            "archive.catalog",
        ] {
            assert_eq!(SegmentFileName::parse(name), None, "{name}");
        }
    }

    #[test]
    fn segments_are_counted_from_the_term_base_of_the_start() {
        let base = |position| segment_base_position(69_632, position, 65_536, 131_072);
        assert_eq!(base(69_632), 65_536);
        assert_eq!(base(65_536 + 131_071), 65_536);
        assert_eq!(base(65_536 + 131_072), 65_536 + 131_072);
    }
}
