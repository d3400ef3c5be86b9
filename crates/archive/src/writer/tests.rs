use super::*;
use crate::frame::{test_frame, test_padding};
use crate::recovery::recover;
use crate::testing::{DIRECTORY, Disk};
use runtime::background::Outcome;

const TERM: i32 = 65_536;
const SEGMENT: i64 = 131_072;

fn recording() -> Recording {
    Recording {
        id: 3,
        stop_position: -1,
        segment_file_length: SEGMENT as i32,
        term_buffer_length: TERM,
        mtu_length: 8_192,
        session_id: 99,
        stream_id: 10,
        ..Recording::default()
    }
}

struct Bench {
    disk: Disk,
    background: Box<dyn Background>,
    store: Store,
}

impl Bench {
    fn new(checksum: Option<Checksum>) -> Self {
        let disk = Disk::new();
        let background = disk.background();
        let directory = Arc::from(Path::new(DIRECTORY));
        let (files, is_synced, has_sums) = (disk.files(), true, false);
        let store = Store { files, directory, checksum, is_synced, has_sums };
        Self { disk, background, store }
    }

    fn open(&self, position: i64) -> Writer {
        Writer::open(&self.store, &recording(), position).unwrap()
    }

    fn data(&mut self, writer: &mut Writer, payload: &[u8]) -> io::Result<()> {
        let frame = test_frame(recording().place(writer.position()), 99, payload);
        writer.write(&frame, frame.len() as i64, &mut *self.background)
    }

    fn pad(&mut self, writer: &mut Writer) -> io::Result<()> {
        let rest = i64::from(TERM) - writer.position() % i64::from(TERM);
        let frame = test_padding(recording().place(writer.position()), 99, rest as i32);
        writer.write(&frame, rest, &mut *self.background)
    }

    fn settle(&mut self, writer: &mut Writer) -> io::Result<()> {
        for (ticket, outcome) in self.disk.outcomes(&mut *self.background) {
            assert!(writer.awaits(ticket));
            let outcome = match outcome {
                Outcome::Opened(file) => Ok(file),
                Outcome::Failed(error) => Err(error),
                _ => unreachable!("only files were asked for"),
            };
            writer.on_prepared(outcome, &mut *self.background)?;
        }
        Ok(())
    }

    fn recovered(&self) -> i64 {
        let directory = Path::new(DIRECTORY);
        let (files, mut buffer) = (self.disk.files(), vec![0; 65_536]);
        recover(&*files, directory, &recording(), self.store.checksum, &mut buffer)
            .unwrap()
            .stop_position
    }
}

#[test]
fn blocks_stand_in_the_file_byte_for_byte_and_padding_as_its_header() {
    let mut bench = Bench::new(None);
    let mut writer = bench.open(0);
    bench.data(&mut writer, b"hello").unwrap();
    bench.pad(&mut writer).unwrap();
    let bytes = bench.disk.read("3-0.rec");
    assert_eq!(bytes.len(), SEGMENT as usize);
    assert_eq!(bytes[..64], test_frame(recording().place(0), 99, b"hello"));
    assert_eq!(bytes[64..96], test_padding(recording().place(64), 99, TERM - 64));
    assert!(bytes[96..].iter().all(|&byte| byte == 0));
    assert_eq!(writer.position(), i64::from(TERM));
}

#[test]
fn with_checksums_a_block_is_sealed_in_the_file_only() {
    let mut bench = Bench::new(Some(Checksum::Crc32));
    let mut writer = bench.open(0);
    bench.data(&mut writer, b"hello").unwrap();
    let header = Header::read(&bench.disk.read("3-0.rec")).unwrap();
    let mut body = b"hello".to_vec();
    body.resize(32, 0);
    assert_eq!(header.session_id, Checksum::Crc32.compute(&body));
}

#[test]
fn the_next_segment_is_prepared_aside_and_put_in_place_when_this_one_is_full() {
    let mut bench = Bench::new(None);
    let mut writer = bench.open(0);
    bench.pad(&mut writer).unwrap();
    assert_eq!(bench.disk.names(), ["3-0.rec"]);
    bench.settle(&mut writer).unwrap();
    assert_eq!(bench.disk.names(), ["3-0.rec", "3-131072.rec.next"]);
    assert_eq!(bench.recovered(), i64::from(TERM), "a spare counts for nothing");
    bench.pad(&mut writer).unwrap();
    assert_eq!(bench.disk.names(), ["3-0.rec", "3-131072.rec"]);
    assert!(writer.is_ready());
    bench.data(&mut writer, b"next").unwrap();
    assert_eq!(bench.recovered(), SEGMENT + 64);
}

#[test]
fn a_full_segment_waits_for_its_successor() {
    let mut bench = Bench::new(None);
    let mut writer = bench.open(0);
    bench.pad(&mut writer).unwrap();
    bench.pad(&mut writer).unwrap();
    assert!(!writer.is_ready());
    assert!(bench.data(&mut writer, b"too early").is_err());
    bench.settle(&mut writer).unwrap();
    assert!(writer.is_ready());
    bench.data(&mut writer, b"now").unwrap();
    assert_eq!(bench.recovered(), SEGMENT + 64);
}

#[test]
fn a_sync_covers_both_segments_and_the_directory_after_a_roll() {
    let mut bench = Bench::new(None);
    let mut writer = bench.open(0);
    let mut files = Vec::new();
    assert!(writer.take_unsynced(&mut files), "the first segment is new in its directory");
    assert_eq!(files.len(), 1);
    files.clear();
    bench.pad(&mut writer).unwrap();
    bench.settle(&mut writer).unwrap();
    bench.pad(&mut writer).unwrap();
    assert!(writer.take_unsynced(&mut files));
    assert_eq!(files.len(), 2);
    assert!(!writer.is_unsynced());
    bench.data(&mut writer, b"x").unwrap();
    files.clear();
    assert!(!writer.take_unsynced(&mut files));
    assert_eq!(files.len(), 1);
}

#[test]
fn a_failed_write_leaves_the_position_where_it_was() {
    let mut bench = Bench::new(None);
    let mut writer = bench.open(0);
    bench.data(&mut writer, b"kept").unwrap();
    bench.disk.fail_writes(1);
    assert!(bench.data(&mut writer, b"lost").is_err());
    assert_eq!(writer.position(), 64);
    assert_eq!(bench.recovered(), 64);
}

#[test]
fn an_extension_removes_what_an_earlier_life_left_beyond_its_end() {
    let mut bench = Bench::new(None);
    let mut writer = bench.open(0);
    for _ in 0..3 {
        bench.data(&mut writer, b"stale").unwrap();
    }
    bench.disk.write("3-131072.rec", 0, &[1; 64]);
    drop(writer);
    let mut writer = bench.open(64);
    assert_eq!(bench.disk.names(), ["3-0.rec"]);
    assert_eq!(bench.recovered(), 64);
    bench.data(&mut writer, b"fresh").unwrap();
    assert_eq!(bench.recovered(), 128);
}

#[test]
fn what_was_prepared_in_vain_is_removed_at_the_end() {
    let mut bench = Bench::new(None);
    let mut writer = bench.open(0);
    bench.pad(&mut writer).unwrap();
    bench.settle(&mut writer).unwrap();
    writer.close(&mut *bench.background);
    bench.disk.outcomes(&mut *bench.background);
    assert_eq!(bench.disk.names(), ["3-0.rec"]);
}
