//! Segment files: how a recording is cut into them, what they are called, which there are.
//!
//! Facts from the archive specification 4.5. A segment under preparation has a name of our own
//! ([`spare_name`]) that genuine Aeron ignores: while it stands, its recording looks as if the file
//! did not exist yet, so a crash at any point leaves the highest segment the one to recover.

use std::io;
use std::path::Path;

use runtime::files::Files;

/// How one recording is cut into segment files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    term_base: i64,
    /// Length in bytes of each segment file.
    pub segment_length: i64,
    /// Length in bytes of each term.
    pub term_length: i64,
}

impl Layout {
    /// The layout of a recording that began at `start_position`; both lengths are powers of two.
    #[must_use]
    pub const fn new(start_position: i64, term_length: i32, segment_length: i32) -> Self {
        let term_length = term_length as i64;
        let term_base = start_position & -term_length;
        Self { term_base, segment_length: segment_length as i64, term_length }
    }

    /// The position of the first byte of the segment that holds `position`.
    #[must_use]
    pub const fn base(&self, position: i64) -> i64 {
        self.term_base + ((position - self.term_base) & -self.segment_length)
    }

    /// Where `position` stands in its segment file.
    #[must_use]
    pub const fn offset(&self, position: i64) -> u64 {
        (position - self.base(position)).cast_unsigned()
    }

    /// Whether `position` is the first byte of a segment.
    #[must_use]
    pub const fn is_base(&self, position: i64) -> bool {
        self.base(position) == position
    }
}

/// The name of a segment file.
#[must_use]
pub fn file_name(recording_id: i64, base: i64) -> String {
    format!("{recording_id}-{base}.rec")
}

/// The name under which a segment file is prepared before it is needed.
#[must_use]
pub fn spare_name(recording_id: i64, base: i64) -> String {
    format!("{recording_id}-{base}.rec.next")
}

/// The name that older versions gave to a segment file about to be deleted.
#[must_use]
pub fn deleted_name(recording_id: i64, base: i64) -> String {
    format!("{recording_id}-{base}.rec.del")
}

/// What a file name in an archive's directory says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// A segment of this recording with this base position.
    Segment(i64, i64),
    /// The same, left over from a deletion.
    Deleted(i64, i64),
    /// A segment that was being prepared.
    Spare(i64, i64),
}

/// Reads a file name; `None` when it is not that of a segment.
#[must_use]
pub fn parse_name(name: &str) -> Option<Name> {
    let (stem, make): (_, fn(i64, i64) -> Name) = if let Some(stem) = name.strip_suffix(".rec") {
        (stem, Name::Segment)
    } else if let Some(stem) = name.strip_suffix(".rec.del") {
        (stem, Name::Deleted)
    } else {
        (name.strip_suffix(".rec.next")?, Name::Spare)
    };
    let (recording_id, base) = stem.split_once('-')?;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<i64>().ok())?
    };
    Some(make(number(recording_id)?, number(base)?))
}

/// One segment file that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Segment {
    /// The position of its first byte.
    pub base: i64,
    /// Its length in bytes.
    pub length: u64,
    /// Whether it bears the name of a deletion that did not end.
    pub is_deleted: bool,
}

/// The segment files of a recording, lowest first.
///
/// # Errors
/// The directory cannot be listed.
pub fn list(files: &dyn Files, directory: &Path, recording_id: i64) -> io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for entry in files.list(directory)? {
        let (id, base, is_deleted) = match parse_name(&entry.name) {
            Some(Name::Segment(id, base)) => (id, base, false),
            Some(Name::Deleted(id, base)) => (id, base, true),
            Some(Name::Spare(..)) | None => continue,
        };
        if id == recording_id {
            segments.push(Segment { base, length: entry.length, is_deleted });
        }
    }
    segments.sort_unstable();
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first file of a genuine recording that began at 69632 with 128 KiB segments.
    #[test]
    fn bases_count_from_the_term_in_which_the_recording_began() {
        let layout = Layout::new(69_632, 65_536, 131_072);
        assert_eq!(layout.base(69_632), 65_536);
        assert_eq!(layout.offset(69_632), 4_096);
        assert_eq!(layout.base(65_536 + 131_071), 65_536);
        assert_eq!(layout.base(65_536 + 131_072), 196_608);
        assert!(layout.is_base(196_608) && !layout.is_base(131_072));
        assert_eq!(file_name(0, layout.base(69_632)), "0-65536.rec");
    }

    #[test]
    fn only_names_of_two_plain_numbers_are_segments() {
        assert_eq!(parse_name("12-65536.rec"), Some(Name::Segment(12, 65_536)));
        assert_eq!(parse_name("12-0.rec.del"), Some(Name::Deleted(12, 0)));
        assert_eq!(parse_name("12-0.rec.next"), Some(Name::Spare(12, 0)));
        for name in ["archive.catalog", "12.rec", "-5-0.rec", "12--5.rec", "a-0.rec", "12-0.re"] {
            assert_eq!(parse_name(name), None, "{name}");
        }
        assert_eq!(parse_name("12-99999999999999999999.rec"), None);
    }
}
