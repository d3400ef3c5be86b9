//! Model checks of log buffers: every interleaving within a bound of preemptions.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p coracle-memory --release --test 'loom_*'`
#![cfg(loom)]

use loom::thread;
use memory::log::LogBuffer;
use memory::log::append::AppendError;
use memory::log::append_exclusive::ExclusiveAppender;
use memory::log::unblock::Unblocked;
use memory::region::Region;
use wire::frame::{DataHeader, FrameType, flags};
use wire::log::{LogDescription, file_length};
use wire::position::{Position, SessionId, StreamId, TermId};

extern crate coracle_memory as memory;

const TERM: i32 = 65_536;
const LIMIT: Position = Position(i64::MAX);
const FIRST: TermId = TermId(7);

fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.max_branches = 10_000;
    builder.check(model);
}

fn log_at(offset: i32) -> LogBuffer {
    let description = LogDescription {
        initial_term_id: FIRST,
        session_id: SessionId(3),
        stream_id: StreamId(5),
        mtu_length: 1408,
        term_length: TERM,
        page_size: 4096,
        ..LogDescription::default()
    };
    let region = Region::heap(file_length(TERM, 4096) as usize);
    LogBuffer::create(region, &description, FIRST, offset).unwrap()
}

/// Two words, so that a torn frame shows.
fn message(number: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes[8..].copy_from_slice(&(!number).to_le_bytes());
    bytes
}

fn append(log: &LogBuffer, number: u64) {
    for _ in 0..3 {
        match log.append(LIMIT, &[&message(number)], |_, _| number as i64) {
            Ok(_) => return,
            Err(AppendError::AdminAction) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("more rotations than terms");
}

/// Reads from `position` to what is there, checking that every frame is whole.
fn read(log: &LogBuffer, mut position: Position, seen: &mut Vec<u64>) -> Position {
    loop {
        let before = position;
        let progress = log.read(position, LIMIT, 10, |header, payload, _| {
            let number = u64::from_le_bytes(payload[..8].try_into().unwrap());
            assert_eq!(payload, message(number), "a torn payload");
            assert_eq!((header.session_id, header.stream_id), (SessionId(3), StreamId(5)));
            assert_eq!(header.reserved_value, number as i64);
            seen.push(number);
        });
        position = progress.position;
        if position == before {
            return position;
        }
    }
}

#[test]
fn frames_appended_at_once_are_read_whole_and_once() {
    check(|| {
        let log = log_at(0);
        let (one, two) = (log.clone(), log.clone());
        let threads =
            [thread::spawn(move || append(&one, 1)), thread::spawn(move || append(&two, 2))];
        let mut seen = Vec::new();
        let position = read(&log, Position(0), &mut seen);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let position = read(&log, position, &mut seen);
        seen.sort_unstable();
        assert_eq!((seen, position), (vec![1, 2], Position(128)));
    });
}

#[test]
fn an_aborted_claim_is_skipped_by_a_reader_that_watches() {
    check(|| {
        let log = log_at(0);
        let claimer = log.clone();
        let thread = thread::spawn(move || {
            let mut claim = claimer.claim(LIMIT, 16).unwrap();
            claim.write(0, &message(9));
            claim.abort();
            append(&claimer, 1);
        });
        let mut seen = Vec::new();
        let position = read(&log, Position(0), &mut seen);
        thread.join().unwrap();
        let position = read(&log, position, &mut seen);
        assert_eq!((seen, position), (vec![1], Position(128)));
    });
}

#[test]
fn appenders_that_meet_the_end_of_a_term_rotate_it_once() {
    check(|| {
        let log = log_at(TERM - 96);
        let (one, two) = (log.clone(), log.clone());
        let threads =
            [thread::spawn(move || append(&one, 1)), thread::spawn(move || append(&two, 2))];
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let mut seen = Vec::new();
        let position = read(&log, Position(i64::from(TERM) - 96), &mut seen);
        seen.sort_unstable();
        // One fits, the other finds 32 bytes, which it pads.
        assert_eq!((seen, position), (vec![1, 2], Position(i64::from(TERM) + 64)));
        assert_eq!(log.active_term_count(), 1);
        assert_eq!(log.producer_position(), position);
    });
}

#[test]
fn a_rotation_is_completed_once_by_publisher_and_unblocker() {
    check(|| {
        let log = log_at(TERM);
        let (publisher, driver) = (log.clone(), log.clone());
        let threads = [
            thread::spawn(move || append(&publisher, 1)),
            thread::spawn(move || {
                let done = driver.unblock(Position(i64::from(TERM)));
                assert!(matches!(done, Unblocked::No | Unblocked::Rotated));
            }),
        ];
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let mut seen = Vec::new();
        let position = read(&log, Position(i64::from(TERM)), &mut seen);
        assert_eq!((seen, position), (vec![1], Position(i64::from(TERM) + 64)));
        assert_eq!(log.active_term_count(), 1);
    });
}

#[test]
fn an_exclusive_appender_is_read_across_the_end_of_a_term() {
    check(|| {
        let log = log_at(TERM - 64);
        let start = Position(i64::from(TERM) - 64);
        let reader = log.clone();
        let thread = thread::spawn(move || {
            let mut appender = ExclusiveAppender::new(log);
            for number in [1, 2, 2] {
                let result = appender.append(LIMIT, &[&message(number)], |_, _| number as i64);
                assert_eq!(result.is_err(), appender.term_offset() == 0);
            }
        });
        let mut seen = Vec::new();
        let position = read(&reader, start, &mut seen);
        let produced = reader.producer_position();
        assert!(position <= produced || seen.len() < 2, "{position:?} {produced:?}");
        thread.join().unwrap();
        let position = read(&reader, position, &mut seen);
        assert_eq!((seen, position), (vec![1, 2], Position(i64::from(TERM) + 64)));
        assert_eq!(reader.producer_position(), position);
    });
}

#[test]
fn a_datagram_of_two_frames_is_never_seen_in_part() {
    check(|| {
        let log = log_at(0);
        let mut datagram = Vec::new();
        for number in [1, 2] {
            let header = DataHeader {
                frame_length: 48,
                flags: flags::UNFRAGMENTED,
                frame_type: FrameType::DATA,
                term_offset: 64 * (number as i32 - 1),
                session_id: SessionId(3),
                stream_id: StreamId(5),
                term_id: FIRST,
                reserved_value: number as i64,
                ..DataHeader::default()
            };
            datagram.extend(header.to_bytes());
            datagram.extend(message(number));
            datagram.resize(64 * number as usize, 0);
        }
        let receiver = log.clone();
        let thread = thread::spawn(move || assert!(receiver.insert(Position(0), &datagram)));
        let mut seen = Vec::new();
        let position = read(&log, Position(0), &mut seen);
        assert!(seen.is_empty() || seen == [1, 2], "{seen:?}");
        thread.join().unwrap();
        read(&log, position, &mut seen);
        assert_eq!(seen, [1, 2]);
    });
}
