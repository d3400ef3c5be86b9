use super::*;
use crate::frame::{seal, test_frame, test_padding};
use crate::testing::{DIRECTORY, Disk};

const TERM: i32 = 65_536;
const SEGMENT: i64 = 131_072;

/// A recording with two terms to a segment, begun at `start_position` of a stream whose first term
/// is 5.
fn recording(start_position: i64) -> Recording {
    Recording {
        id: 3,
        start_position,
        stop_position: -1,
        initial_term_id: 5,
        segment_file_length: SEGMENT as i32,
        term_buffer_length: TERM,
        mtu_length: 8_192,
        session_id: 99,
        stream_id: 10,
        ..Recording::default()
    }
}

/// Writes frames of a recording to a disk by hand.
struct Scribe {
    disk: Disk,
    recording: Recording,
    position: i64,
    checksum: Option<Checksum>,
}

impl Scribe {
    fn new(start_position: i64) -> Self {
        let recording = recording(start_position);
        Self { disk: Disk::new(), position: start_position, recording, checksum: None }
    }

    fn name(&self) -> String {
        segment::file_name(3, self.recording.layout().base(self.position))
    }

    fn put(&mut self, bytes: &[u8], length: i64) {
        let name = self.name();
        self.disk.write(&name, self.recording.layout().offset(self.position), bytes);
        self.disk.set_length(&name, SEGMENT as u64);
        self.position += length;
    }

    fn data(&mut self, payload: &[u8]) -> &mut Self {
        let mut frame = test_frame(self.recording.place(self.position), 99, payload);
        if let Some(checksum) = self.checksum {
            seal(&mut frame, checksum);
        }
        self.put(&frame, frame.len() as i64);
        self
    }

    fn padding(&mut self, length: i32) -> &mut Self {
        let frame = test_padding(self.recording.place(self.position), 99, length);
        self.put(&frame, length.into());
        self
    }

    /// Frames up to the end of the segment: one data frame, padding to the end of each term.
    fn fill_segment(&mut self) -> &mut Self {
        let layout = self.recording.layout();
        let end = layout.base(self.position) + SEGMENT;
        while self.position < end {
            self.data(b"x");
            let rest = i64::from(TERM) - self.position % i64::from(TERM);
            self.padding(rest as i32);
        }
        self
    }

    fn recover(&self) -> Recovered {
        self.try_recover().unwrap()
    }

    fn try_recover(&self) -> Result<Recovered, RecoveryError> {
        let mut buffer = vec![0; 65_536];
        let files = self.disk.files();
        recover(&*files, Path::new(DIRECTORY), &self.recording, self.checksum, &mut buffer)
    }

    /// Recovers and applies it, and sees that doing so again finds nothing more to do.
    fn settle(&self) -> i64 {
        let files = self.disk.files();
        let directory = Path::new(DIRECTORY);
        let first = self.recover();
        first.apply(&*files, directory, &self.recording).unwrap();
        let second = self.recover();
        assert_eq!(second.stop_position, first.stop_position, "recovery is not idempotent");
        assert!(!second.apply(&*files, directory, &self.recording).unwrap());
        first.stop_position
    }
}

#[test]
fn a_recording_without_files_ends_where_it_began() {
    assert_eq!(Scribe::new(69_632).settle(), 69_632);
}

#[test]
fn a_recording_ends_after_its_last_frame() {
    let mut scribe = Scribe::new(69_632);
    scribe.data(&[1; 100]).data(&[2; 3_000]).data(b"");
    assert_eq!(scribe.settle(), scribe.position);
}

#[test]
fn padding_at_the_tail_is_whole_though_nothing_stands_behind_its_header() {
    let mut scribe = Scribe::new(0);
    scribe.data(&[1; 100]).padding(TERM - 160);
    assert_eq!(scribe.settle(), i64::from(TERM));
}

#[test]
fn a_full_segment_without_successor_ends_at_its_end_and_gets_one() {
    let mut scribe = Scribe::new(0);
    scribe.fill_segment();
    assert_eq!(scribe.settle(), SEGMENT);
    assert_eq!(scribe.disk.names(), ["3-0.rec", "3-131072.rec"]);
}

#[test]
fn an_empty_successor_of_a_full_segment_is_where_the_recording_ends() {
    let mut scribe = Scribe::new(0);
    scribe.fill_segment();
    scribe.disk.write("3-131072.rec", 0, &[0; SEGMENT as usize]);
    assert_eq!(scribe.settle(), SEGMENT);
    assert_eq!(scribe.disk.names(), ["3-0.rec", "3-131072.rec"]);
}

#[test]
fn an_empty_successor_of_a_segment_that_lost_its_tail_is_removed() {
    let mut scribe = Scribe::new(0);
    scribe.data(&[1; 100]);
    scribe.disk.write("3-131072.rec", 0, &[0; SEGMENT as usize]);
    assert_eq!(scribe.settle(), 160);
    assert_eq!(scribe.disk.names(), ["3-0.rec"]);
}

#[test]
fn a_missing_segment_below_an_empty_one_is_named() {
    let mut scribe = Scribe::new(0);
    scribe.fill_segment();
    scribe.disk.write("3-262144.rec", 0, &[0; SEGMENT as usize]);
    let error = scribe.try_recover().unwrap_err().to_string();
    assert_eq!(error, "recording 3: segment at 131072 is missing");
}

#[test]
fn a_frame_that_misses_one_of_its_pages_is_cut_off() {
    let mut scribe = Scribe::new(0);
    scribe.data(&[1; 100]);
    let kept = scribe.position;
    scribe.data(&[2; 8_000]);
    scribe.disk.write("3-0.rec", 4_096, &[0; 4_096]);
    assert_eq!(scribe.settle(), kept);
    let bytes = scribe.disk.read("3-0.rec");
    assert!(bytes[kept as usize..].iter().all(|&byte| byte == 0), "the torn frame stays");
    assert_eq!(bytes.len(), SEGMENT as usize);
}

#[test]
fn a_hole_ends_a_recording_even_when_later_frames_are_there() {
    let mut scribe = Scribe::new(0);
    scribe.data(&[1; 100]);
    let kept = scribe.position;
    scribe.data(&[2; 100]).data(&[3; 100]);
    scribe.disk.write("3-0.rec", kept as u64, &[0; 160]);
    assert_eq!(scribe.settle(), kept);
    assert!(scribe.disk.read("3-0.rec")[kept as usize..].iter().all(|&byte| byte == 0));
}

/// Frames that stand somewhere else than they say, or belong to another stream.
#[test]
fn a_frame_that_is_not_of_this_place_ends_a_recording() {
    for change in [0_usize, 1, 2] {
        let mut scribe = Scribe::new(0);
        scribe.data(&[1; 100]);
        let kept = scribe.position;
        let mut place = scribe.recording.place(kept);
        match change {
            0 => place.term_id += 1,
            1 => place.term_offset += 32,
            _ => place.stream_id += 1,
        }
        let frame = test_frame(place, 99, &[7; 64]);
        scribe.put(&frame, frame.len() as i64);
        assert_eq!(scribe.recover().end, End::Unsound);
        assert_eq!(scribe.settle(), kept);
    }
}

#[test]
fn lengths_of_any_kind_neither_panic_nor_leave_the_segment() {
    for length in [i32::MIN, -32, -1, 1, 31, 8_193, 65_537, i32::MAX] {
        let mut scribe = Scribe::new(0);
        scribe.data(&[1; 100]);
        let kept = scribe.position;
        let mut frame = test_frame(scribe.recording.place(kept), 99, &[7; 64]);
        frame[..4].copy_from_slice(&length.to_le_bytes());
        scribe.put(&frame, frame.len() as i64);
        assert_eq!(scribe.settle(), kept, "{length}");
    }
}

#[test]
fn with_checksums_a_torn_frame_is_found_wherever_it_tore() {
    for torn_byte in [40_u64, 600, 4_500] {
        let mut scribe = Scribe::new(0);
        scribe.checksum = Some(Checksum::Crc32c);
        scribe.data(&[1; 100]);
        let kept = scribe.position;
        scribe.data(&[2; 8_000]);
        scribe.disk.write("3-0.rec", kept as u64 + torn_byte, &[0; 16]);
        assert_eq!(scribe.settle(), kept, "{torn_byte}");
    }
}

#[test]
fn with_checksums_a_payload_of_zeros_is_kept() {
    let mut scribe = Scribe::new(0);
    scribe.checksum = Some(Checksum::Crc32c);
    scribe.data(&[0; 8_000]);
    assert_eq!(scribe.settle(), scribe.position);
}

#[test]
fn a_recording_made_without_checksums_is_not_cut_because_they_are_on_now() {
    let mut scribe = Scribe::new(0);
    scribe.data(&[1; 100]).data(&[2; 100]);
    scribe.checksum = Some(Checksum::Crc32c);
    assert_eq!(scribe.settle(), scribe.position);
}

#[test]
fn spares_are_removed_and_nothing_else() {
    let scribe = Scribe::new(0);
    scribe.disk.write("3-0.rec", 0, b"");
    scribe.disk.write("3-131072.rec.next", 0, b"");
    let count = remove_spares(&*scribe.disk.files(), Path::new(DIRECTORY)).unwrap();
    assert_eq!((count, scribe.disk.names()), (1, vec!["3-0.rec".to_string()]));
}
