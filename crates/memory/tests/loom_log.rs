//! Model checks of log buffers: every interleaving within a bound of preemptions.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p coracle-memory --release --test 'loom_*'`
#![cfg(loom)]

use coracle_memory::log::LogBuffer;
use coracle_memory::log::append::AppendError;
use coracle_memory::log::append_exclusive::ExclusiveAppender;
use coracle_memory::region::Region;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use loom::thread;
use wire::frame::{DataHeader, FrameType, flags};
use wire::log::{LogDescription, file_length};
use wire::position::{Position, SessionId, StreamId, TermId};

const TERM: i32 = 65_536;
const LIMIT: Position = Position(i64::MAX);
const FIRST: TermId = TermId(7);

/// Runs a model over both kinds of memory; each must have been tried in many orders.
fn check(model: impl Fn(fn(usize) -> Arc<Region>) + Sync + Send + Copy + 'static) {
    for memory in [Region::heap, Region::interleaved] {
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&runs);
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.max_branches = 10_000;
        builder.check(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            model(memory);
        });
        println!("{} executions", runs.load(Ordering::Relaxed));
    }
}

fn log_at(memory: fn(usize) -> Arc<Region>, offset: i32) -> LogBuffer {
    let description = LogDescription {
        initial_term_id: FIRST,
        session_id: SessionId(3),
        stream_id: StreamId(5),
        mtu_length: 1408,
        term_length: TERM,
        page_size: 4096,
        ..LogDescription::default()
    };
    let length = file_length(TERM, 4096) as usize;
    let region = memory(length);
    // Tails and the term count, the end of the first term, the beginnings of the first and second.
    let (metadata, term) = (length - 4096, TERM as usize);
    region.touch(metadata..metadata + 32);
    region.touch(0..192);
    region.touch(term - 96..term + 192);
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
    check(|memory| {
        let log = log_at(memory, 0);
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
    check(|memory| {
        let log = log_at(memory, 0);
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
    check(|memory| {
        let log = log_at(memory, TERM - 96);
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
    check(|memory| {
        let log = log_at(memory, TERM);
        let (publisher, driver) = (log.clone(), log.clone());
        let threads = [
            thread::spawn(move || append(&publisher, 1)),
            // What unblocking does at the beginning of a term; publishers still live here.
            thread::spawn(move || {
                driver.rotate(0, FIRST);
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
    check(|memory| {
        let log = log_at(memory, TERM - 64);
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
    check(|memory| {
        let log = log_at(memory, 0);
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
