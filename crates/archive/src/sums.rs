//! Sums of frame headers, in a file beside each segment: what a frame's own checksum, that of its
//! payload, leaves out.
//!
//! ```text
//! 0                    8             12      16
//! +--------------------+-------------+-------+---------------------------------+
//! | synced up to here: | CRC-32C of  | zeros | u32 for each 32 bytes of the    |
//! | position i64       | it          |       | segment: sum of the header      |
//! +--------------------+-------------+-------+---------------------------------+
//! ```
//!
//! A sum is the CRC-32C of recording id, position and the 32 bytes of the header as they are
//! stored, the payload's checksum among them: a frame of another recording, or from elsewhere, has
//! another. 0 is not known: where no frame begins, where a crash came before the sum, where other
//! software wrote. Sums are durable with the end of their segment, not before each position is
//! published. What is known to be synced tells a rotten frame from one that was torn.
//!
//! A segment that was written later than its sums was written by others: its sums do not count.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use runtime::files::{File, Files, SyncKind, read_exact_at, write_all_at};

use crate::frame::{HEADER_LENGTH, Header};
use crate::segment;

const START: u64 = 16;
/// Bytes of a segment for each byte of sums.
const RATIO: u64 = 8;
/// How much later than its sums a segment may have been written, in nanoseconds.
const LATE: i64 = 10_000_000_000;

/// The sums of a segment.
pub(crate) fn path(directory: &Path, id: i64, base: i64) -> PathBuf {
    directory.join(format!("{}.sum", segment::file_name(id, base)))
}

/// The sum of a frame.
fn sum(id: i64, position: i64, header: &[u8]) -> u32 {
    let mut place = [0; 16];
    place[..8].copy_from_slice(&id.to_le_bytes());
    place[8..].copy_from_slice(&position.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&place), header).max(1)
}

fn synced_sum(id: i64, base: i64, synced: &[u8]) -> u32 {
    sum(id, base, synced)
}

/// Writes the sums of one segment.
pub(crate) struct SumWriter {
    file: Arc<dyn File>,
    id: i64,
    base: i64,
    scratch: Vec<u8>,
}

impl SumWriter {
    /// Goes on with the sums of a segment from `position` on. What is there beyond it is removed:
    /// it could pass for sums of what comes. Up to `synced` all is synced; `None` leaves what is
    /// known of that. To be called before the segment is touched.
    pub(crate) fn open(
        files: &dyn Files,
        directory: &Path,
        id: i64,
        base: i64,
        position: i64,
        synced: Option<i64>,
    ) -> io::Result<Self> {
        let path = path(directory, id, base);
        let known = SumReader::open(files, directory, id, base)?;
        let file = match files.entry(&path)? {
            Some(_) => files.open(&path)?,
            None => files.create(&path)?,
        };
        if known.is_none() {
            file.set_length(0)?;
        }
        file.set_length(START + (position - base).cast_unsigned() / RATIO)?;
        let mut writer = Self { file, id, base, scratch: Vec::new() };
        let known = known.and_then(|it| it.synced).unwrap_or(base);
        let synced = synced.unwrap_or_else(|| known.min(position));
        writer.on_synced(synced)?;
        // A crash must not find that more was synced than there is: see the recovery.
        if known > synced {
            writer.file.sync(SyncKind::All)?;
        }
        Ok(writer)
    }

    /// Adds the sums of a block as it was stored at an offset of the segment.
    pub(crate) fn append(&mut self, stored: &[u8], offset: u64) -> io::Result<()> {
        self.scratch.clear();
        self.scratch.resize(stored.len() / RATIO as usize, 0);
        let mut at = 0;
        while let Some(header) = stored.get(at..).and_then(Header::read) {
            let length = header.stored_length();
            if length < HEADER_LENGTH {
                break;
            }
            let position = self.base + offset.cast_signed() + at as i64;
            let value = sum(self.id, position, &stored[at..at + HEADER_LENGTH]);
            let slot = at / RATIO as usize;
            self.scratch[slot..slot + 4].copy_from_slice(&value.to_le_bytes());
            at += length;
        }
        write_all_at(&*self.file, &self.scratch, START + offset / RATIO)
    }

    /// Everything up to `position` is synced.
    pub(crate) fn on_synced(&mut self, position: i64) -> io::Result<()> {
        let mut bytes = [0; START as usize];
        bytes[..8].copy_from_slice(&position.to_le_bytes());
        let check = synced_sum(self.id, self.base, &position.to_le_bytes());
        bytes[8..12].copy_from_slice(&check.to_le_bytes());
        write_all_at(&*self.file, &bytes, 0)
    }

    pub(crate) fn file(&self) -> &Arc<dyn File> {
        &self.file
    }
}

/// Reads the sums of one segment.
pub(crate) struct SumReader {
    file: Arc<dyn File>,
    id: i64,
    base: i64,
    /// Up to where the recording was synced at least, if that is known.
    pub(crate) synced: Option<i64>,
    /// Sums of the part of the segment that was asked for last.
    held: Vec<u8>,
    from: i64,
}

impl SumReader {
    /// The sums of a segment; `None` if there are none that count.
    pub(crate) fn open(
        files: &dyn Files,
        directory: &Path,
        id: i64,
        base: i64,
    ) -> io::Result<Option<Self>> {
        let (path, segment) = (path(directory, id, base), segment::file_name(id, base));
        let segment = directory.join(segment);
        if files.entry(&path)?.is_none() || files.entry(&segment)?.is_none() {
            return Ok(None);
        }
        let (file, segment) = (files.open(&path)?, files.open(&segment)?);
        if segment.modified()?.0 > file.modified()?.0.saturating_add(LATE) {
            return Ok(None);
        }
        let mut bytes = [0; START as usize];
        let mut synced = None;
        if file.length()? >= START {
            read_exact_at(&*file, &mut bytes, 0)?;
            let (position, rest) = bytes.split_at(8);
            if rest[..4] == synced_sum(id, base, position).to_le_bytes() {
                synced = position.first_chunk().map(|it| i64::from_le_bytes(*it));
            }
        }
        Ok(Some(Self { file, id, base, synced, held: Vec::new(), from: base }))
    }

    /// Reads the sums of `length` bytes of the segment from `position` on.
    pub(crate) fn load(&mut self, position: i64, length: usize) -> io::Result<()> {
        let at = START + (position - self.base).cast_unsigned() / RATIO;
        let available = self.file.length()?.saturating_sub(at);
        let wanted = (length as u64).div_ceil(RATIO).min(available);
        self.held.resize(usize::try_from(wanted).unwrap_or(0), 0);
        self.from = position;
        read_exact_at(&*self.file, &mut self.held, at)
    }

    /// Whether the header of the frame at `position`, in what was loaded, is the one that was
    /// written there, as far as that is known.
    pub(crate) fn agrees(&self, position: i64, frame: &[u8]) -> bool {
        let slot = usize::try_from((position - self.from).cast_unsigned() / RATIO).unwrap_or(0);
        let known = self.held.get(slot..).and_then(|rest| rest.first_chunk());
        let Some(header) = frame.get(..HEADER_LENGTH) else { return false };
        match known.map_or(0, |known| u32::from_le_bytes(*known)) {
            0 => true,
            known => known == sum(self.id, position, header),
        }
    }
}

/// Cuts the sums of a segment that is about to be cut at `position`; returns what is to be synced.
pub(crate) fn cut(
    files: &dyn Files,
    directory: &Path,
    id: i64,
    base: i64,
    position: i64,
    synced: Option<i64>,
) -> io::Result<Option<Arc<dyn File>>> {
    if SumReader::open(files, directory, id, base)?.is_none() {
        return Ok(None);
    }
    Ok(Some(SumWriter::open(files, directory, id, base, position, synced)?.file))
}

/// Removes sums whose segments are gone.
pub(crate) fn remove_orphans(files: &dyn Files, directory: &Path) -> io::Result<()> {
    for entry in files.list(directory)? {
        let of = entry.name.strip_suffix(".sum").and_then(segment::parse_name);
        if let Some(segment::Name::Segment(id, base)) = of
            && files.entry(&directory.join(segment::file_name(id, base)))?.is_none()
        {
            files.remove(&directory.join(&entry.name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Recording;
    use crate::checksum::Checksum;
    use crate::frame::test_frame;
    use crate::recovery::{RecoveryError, recover};
    use crate::testing::{DIRECTORY, Disk};
    use crate::writer::{Store, Writer};
    use runtime::background::Background;

    fn recording(id: i64) -> Recording {
        Recording {
            id,
            stop_position: -1,
            segment_file_length: 65_536,
            term_buffer_length: 65_536,
            mtu_length: 1_408,
            stream_id: 10,
            ..Recording::default()
        }
    }

    /// Eight frames of 1,024 bytes, of which the first six are synced.
    fn write(disk: &Disk, id: i64) {
        let directory = Arc::from(Path::new(DIRECTORY));
        let checksum = Some(Checksum::Crc32c);
        let (files, is_synced, has_sums) = (disk.files(), true, true);
        let store = Store { files, directory, checksum, is_synced, has_sums };
        let mut writer = Writer::open(&store, &recording(id), 0).unwrap();
        let mut background: Box<dyn Background> = disk.background();
        for number in 0..8 {
            let place = recording(id).place(writer.position());
            let frame = test_frame(place, 9, &[number + 1; 992]);
            writer.write(&frame, 1_024, &mut *background).unwrap();
            if number == 5 {
                writer.on_synced(writer.position()).unwrap();
            }
        }
    }

    fn agrees(disk: &Disk, id: i64, position: i64) -> Option<bool> {
        let (files, directory) = (disk.files(), Path::new(DIRECTORY));
        let mut sums = SumReader::open(&*files, directory, id, 0).unwrap()?;
        sums.load(0, 65_536).unwrap();
        let segment = disk.read(&segment::file_name(id, 0));
        Some(sums.agrees(position, &segment[position as usize..]))
    }

    #[test]
    fn every_bit_of_a_header_counts_and_so_does_its_place() {
        let disk = Disk::new();
        write(&disk, 0);
        assert_eq!(agrees(&disk, 0, 1_024), Some(true));
        let header = disk.read("0-0.rec")[1_024..1_056].to_vec();
        for bit in 0..256 {
            let mut flipped = header.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            disk.write("0-0.rec", 1_024, &flipped);
            assert_eq!(agrees(&disk, 0, 1_024), Some(false), "bit {bit}");
        }
        disk.write("0-0.rec", 2_048, &header);
        assert_eq!(agrees(&disk, 0, 2_048), Some(false));
    }

    #[test]
    fn the_same_frame_of_another_recording_is_another() {
        let disk = Disk::new();
        write(&disk, 0);
        write(&disk, 1);
        disk.write("1-0.rec.sum", 0, &disk.read("0-0.rec.sum"));
        assert_eq!(agrees(&disk, 1, 1_024), Some(false));
    }

    #[test]
    fn a_segment_that_others_wrote_to_later_is_taken_as_it_is() {
        let disk = Disk::new();
        write(&disk, 0);
        disk.run();
        disk.run();
        disk.write("0-0.rec", 1_024, b"genuine");
        assert_eq!(agrees(&disk, 0, 1_024), None);
    }

    #[test]
    fn what_was_synced_and_is_gone_is_rotten_and_what_was_not_is_torn() {
        for (damaged, expected) in [(3 * 1_024 + 100, None), (7 * 1_024 + 100, Some(7 * 1_024))] {
            for byte in [0, 29] {
                let disk = Disk::new();
                write(&disk, 0);
                disk.write("0-0.rec", damaged - byte, &[0xee]);
                let (files, directory) = (disk.files(), Path::new(DIRECTORY));
                let mut buffer = vec![0; 4_096];
                let checksum = Some(Checksum::Crc32c);
                let found = recover(&*files, directory, &recording(0), checksum, &mut buffer);
                match found {
                    Ok(found) => assert_eq!(Some(found.stop_position), expected),
                    Err(RecoveryError::Rotten { position, synced, .. }) => {
                        assert_eq!((expected, position, synced), (None, 3 * 1_024, 6 * 1_024));
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
}
