use wire::frame::{DataHeader, FrameType, flags};
use wire::position::{SessionId, StreamId};

use super::append::AppendError;
use super::append_exclusive::{BlockError, ExclusiveAppender};
use super::gap::Gap;
use super::read::{Progress, ReadAction};
use super::scan::Scan;
use super::unblock::Unblocked;
use super::*;

const TERM: i32 = 65_536;
const MTU: i32 = 1_408;
const INITIAL: TermId = TermId(7);
const FAR: Position = Position(i64::MAX);

fn log_at(term_id: TermId, offset: i32) -> LogBuffer {
    let description = LogDescription {
        initial_term_id: INITIAL,
        session_id: SessionId(3),
        stream_id: StreamId(4),
        mtu_length: MTU,
        term_length: TERM,
        page_size: 4096,
        ..LogDescription::default()
    };
    let length = usize::try_from(layout::file_length(TERM, 4096)).unwrap();
    LogBuffer::create(Region::heap(length), &description, term_id, offset).unwrap()
}

fn log() -> LogBuffer {
    log_at(INITIAL, 0)
}

fn none(_offset: i32, _length: i32) -> i64 {
    0
}

fn append(log: &LogBuffer, length: usize) -> Result<i64, AppendError> {
    log.append(FAR, &[&vec![1; length]], none).map(|position| position.0)
}

fn read_all(log: &LogBuffer, from: i64) -> (Vec<(u8, usize)>, i64) {
    let mut seen = Vec::new();
    let end = log.read(Position(from), FAR, usize::MAX, |header, payload, _| {
        seen.push((header.flags, payload.len()));
    });
    (seen, end.position.0)
}

#[test]
fn a_message_is_read_back_with_its_header_and_position() {
    let log = log();
    let parts: [&[u8]; 3] = [b"one ", b"", b"message"];
    let position = log.append(FAR, &parts, |offset, length| i64::from(offset + length)).unwrap();
    assert_eq!(position, Position(64));
    let mut seen = Vec::new();
    let progress = log.read(Position(0), FAR, 10, |header, payload, position| {
        seen.push((*header, payload.to_vec(), position));
    });
    let header = DataHeader {
        frame_length: 43,
        version: 0,
        flags: flags::UNFRAGMENTED,
        frame_type: FrameType::DATA,
        term_offset: 0,
        session_id: SessionId(3),
        stream_id: StreamId(4),
        term_id: INITIAL,
        reserved_value: 43,
    };
    assert_eq!(seen, [(header, b"one message".to_vec(), Position(64))]);
    assert_eq!(progress, Progress { position: Position(64), fragments: 1 });
}

#[test]
fn a_long_message_is_cut_into_frames_across_the_borders_of_its_parts() {
    let log = log();
    let message: Vec<u8> = (0..3_000_u32).map(|at| (at % 251) as u8).collect();
    let parts: [&[u8]; 3] = [&message[..1_000], &message[1_000..2_900], &message[2_900..]];
    let position = log.append(FAR, &parts, none).unwrap();
    let mut whole = Vec::new();
    let mut all_flags = Vec::new();
    log.read(Position(0), FAR, 10, |header, payload, _| {
        whole.extend_from_slice(payload);
        all_flags.push((header.flags, header.frame_length));
    });
    assert_eq!(whole, message);
    assert_eq!(all_flags, [(flags::BEGIN, MTU), (0, MTU), (flags::END, 3_000 - 2 * 1_376 + 32)]);
    assert_eq!(position.0, i64::from(log.framed_length(3_000)));
}

/// Method: 1 376 bytes fit a frame, 1 377 do not; 8 192 fit a message, 60 000 do not.
#[test]
fn a_message_in_one_piece_is_appended_as_one_in_parts_by_one_publisher_or_by_many() {
    let bytes = vec![5; 60_000];
    let reserved = |offset: i32, length: i32| i64::from(offset) << 32 | i64::from(length);
    let (parts, many, one) = (log(), log(), log());
    let mut exclusive = ExclusiveAppender::new(one.clone());
    for length in [0, 1, 32, 1_024, 1_376, 1_377, 4_000, 8_192, 8_000, 60_000] {
        for _ in 0..8 {
            let message = &bytes[..length];
            let expected = parts.append(FAR, &[message], reserved);
            assert_eq!(many.append_one(FAR, message, reserved), expected);
            assert_eq!(exclusive.append_one(FAR, message, reserved), expected);
        }
    }
    assert_eq!(parts.active_term_count(), 2);
    for term in 0..3 {
        let bytes_of = |log: &LogBuffer| {
            let mut bytes = vec![0; TERM as usize];
            log.terms[term].copy_out(0, &mut bytes);
            bytes
        };
        assert_eq!(bytes_of(&many), bytes_of(&parts));
        assert_eq!(bytes_of(&one), bytes_of(&parts));
    }
}

#[test]
fn an_exact_fit_succeeds_and_the_next_append_passes_to_the_next_term() {
    let log = log_at(INITIAL, TERM - 64);
    assert_eq!(append(&log, 32), Ok(i64::from(TERM)));
    assert_eq!(append(&log, 32), Err(AppendError::AdminAction));
    assert_eq!(log.active_term_count(), 1);
    assert_eq!(append(&log, 32), Ok(i64::from(TERM) + 64));
}

#[test]
fn what_is_left_of_a_term_is_padded_even_if_it_is_a_header_only() {
    let log = log_at(INITIAL, TERM - 32);
    assert_eq!(append(&log, 1), Err(AppendError::AdminAction));
    assert_eq!(read_all(&log, i64::from(TERM) - 32), (vec![], i64::from(TERM)));
}

#[test]
fn only_the_first_claim_over_the_end_pads() {
    let log = log_at(INITIAL, TERM - 32);
    let tail = layout::tail_counter_offset(0);
    log.metadata.fetch_add_i64(tail, 64);
    assert_eq!(append(&log, 100), Err(AppendError::AdminAction));
    let (term, offset) = log.term_at(Position(i64::from(TERM) - 32));
    assert_eq!(frame::length_at(term, offset), 0, "the owner of the space has not padded yet");
    assert_eq!(append(&log, 8), Ok(i64::from(TERM) + 64));
}

#[test]
fn the_limit_is_compared_with_the_position_before_the_message() {
    let log = log();
    log.set_connected(true);
    let limit = Position(32);
    assert!(log.append(limit, &[&[0; 500]], none).is_ok());
    assert_eq!(log.append(limit, &[&[0; 1]], none), Err(AppendError::BackPressured));
    log.set_connected(false);
    assert_eq!(log.append(limit, &[&[0; 1]], none), Err(AppendError::NotConnected));
}

#[test]
fn a_message_over_an_eighth_of_the_term_is_refused() {
    let longest = TERM / 8;
    let error = AppendError::TooLong { length: 8_193, longest };
    assert_eq!(append(&log(), 8_193), Err(error));
    assert!(append(&log(), 8_192).is_ok());
    let error = AppendError::TooLong { length: 1_377, longest: 1_376 };
    assert_eq!(log().claim(FAR, 1_377).err(), Some(error));
}

#[test]
fn the_last_term_is_padded_to_its_end_and_never_passed() {
    let last = INITIAL.wrapping_add(i32::MAX);
    let log = log_at(last, TERM - 64);
    assert_eq!(append(&log, 100), Err(AppendError::MaxPositionExceeded));
    assert_eq!(append(&log, 100), Err(AppendError::MaxPositionExceeded));
    assert_eq!(log.active_term_count(), i32::MAX);
    let end = Position::limit(TERM);
    assert_eq!(read_all(&log, end.0 - 64), (vec![], end.0));
    let mut exclusive = ExclusiveAppender::new(log_at(last, TERM - 64));
    let refused = exclusive.append(FAR, &[&[0; 100]], none);
    assert_eq!(refused, Err(AppendError::MaxPositionExceeded));
    assert_eq!(read_all(exclusive.log(), end.0 - 64), (vec![], end.0));
}

#[test]
fn a_claim_is_invisible_until_committed_and_skipped_when_dropped() {
    let log = log();
    let mut claim = log.claim(FAR, 8).unwrap();
    claim.write(0, b"claimed!");
    claim.set_reserved_value(9);
    assert_eq!(read_all(&log, 0), (vec![], 0));
    assert_eq!(claim.commit(), Position(64));
    drop(log.claim(FAR, 8).unwrap());
    assert!(append(&log, 1).is_ok());
    assert_eq!(read_all(&log, 0), (vec![(0xC0, 8), (0xC0, 1)], 192));
}

#[test]
#[should_panic(expected = "do not fit a claim of 8")]
fn a_claim_cannot_be_overrun() {
    log().claim(FAR, 8).unwrap().write(1, &[0; 8]);
}

#[test]
fn a_read_ends_at_its_bound_its_limit_and_the_end_of_the_term() {
    let log = log_at(INITIAL, TERM - 128);
    assert!(append(&log, 1).is_ok() && append(&log, 1).is_ok());
    assert_eq!(append(&log, 1), Err(AppendError::AdminAction));
    assert!(append(&log, 1).is_ok());
    let begin = Position(i64::from(TERM) - 128);
    let read = |bound: i64, limit| log.read(begin, Position(bound), limit, |_, _, _| ());
    let end = |offset: i64, fragments| Progress { position: Position(begin.0 + offset), fragments };
    assert_eq!(read(i64::MAX, 9), end(128, 2));
    assert_eq!(read(i64::MAX, 1), end(64, 1));
    assert_eq!(read(begin.0, 9), end(0, 0));
    assert_eq!(read(begin.0 + 1, 9), end(64, 1));
    assert_eq!(read(begin.0 - 1, 9), end(0, 0));
}

#[test]
fn a_controlled_read_aborts_before_breaks_behind_and_commits_on_the_way() {
    let log = log();
    for _ in 0..4 {
        append(&log, 1).unwrap();
    }
    let run = |actions: [ReadAction; 3]| {
        let (mut committed, mut next) = (Vec::new(), actions.into_iter());
        let progress = log.read_controlled(
            Position(0),
            FAR,
            3,
            |_, _, _| next.next().unwrap(),
            |position| committed.push(position.0),
        );
        (progress.position.0, progress.fragments, committed)
    };
    use ReadAction::{Abort, Break, Commit, Continue};
    assert_eq!(run([Continue, Abort, Continue]), (64, 1, vec![]));
    assert_eq!(run([Continue, Break, Continue]), (128, 2, vec![]));
    assert_eq!(run([Continue, Commit, Continue]), (192, 3, vec![128]));
}

#[test]
fn blocks_are_whole_frames_and_padding_comes_alone() {
    let log = log_at(INITIAL, TERM - 512);
    assert!(append(&log, 100).is_ok() && append(&log, 100).is_ok());
    assert_eq!(append(&log, 400), Err(AppendError::AdminAction));
    let begin = i64::from(TERM) - 512;
    let block = |offset: i64, limit| {
        let mut seen = 0;
        let length = log.read_block(Position(begin + offset), limit, |bytes| seen = bytes.len());
        assert_eq!(seen, length);
        length
    };
    assert_eq!(block(0, 159), 0);
    assert_eq!(block(0, 160), 160);
    assert_eq!(block(0, 4_096), 320);
    assert_eq!(block(320, 32), 192);
    assert_eq!(block(512, 4_096), 0);
}

#[test]
fn a_scan_takes_whole_frames_and_only_the_header_of_padding() {
    let log = log_at(INITIAL, TERM - 512);
    assert!(append(&log, 100).is_ok() && append(&log, 100).is_ok());
    assert_eq!(append(&log, 400), Err(AppendError::AdminAction));
    let scan = |limit| log.scan(Position(i64::from(TERM) - 512), limit);
    let found = |available, padding, blocked| Scan { available, padding, blocked };
    assert_eq!(scan(159), found(0, 0, 160));
    assert_eq!(scan(319), found(160, 0, 0));
    assert_eq!(scan(351), found(320, 0, 0));
    assert_eq!(scan(352), found(352, 160, 0));
    assert_eq!(scan(352).advance(), 512);
}

#[test]
fn an_aborted_empty_claim_may_stand_in_the_middle_of_a_scan() {
    let log = log();
    append(&log, 1).unwrap();
    log.claim(FAR, 0).unwrap().abort();
    append(&log, 1).unwrap();
    assert_eq!(log.scan(Position(0), 1_408), Scan { available: 160, padding: 0, blocked: 0 });
}

#[test]
fn an_exclusive_appender_writes_what_a_concurrent_one_writes() {
    let (concurrent, exclusive) = (log(), log());
    let mut appender = ExclusiveAppender::new(exclusive.clone());
    for length in (0..200).map(|at| at * 41 % 7_000) {
        let message = vec![at_most(length); length];
        let mut expected = concurrent.append(FAR, &[&message], none);
        let mut result = appender.append(FAR, &[&message], none);
        assert_eq!(result, expected);
        if expected == Err(AppendError::AdminAction) {
            expected = concurrent.append(FAR, &[&message], none);
            result = appender.append(FAR, &[&message], none);
            assert_eq!(result, expected);
        }
        assert_eq!(exclusive.producer_position(), concurrent.producer_position());
    }
    for index in 0..3 {
        let mut bytes = [vec![0; 65_536], vec![0; 65_536]];
        concurrent.terms[index].copy_out(0, &mut bytes[0]);
        exclusive.terms[index].copy_out(0, &mut bytes[1]);
        assert!(bytes[0] == bytes[1], "term {index} differs");
    }
}

#[test]
fn a_block_whose_first_frame_is_no_data_leaves_the_log_alone() {
    let source = log();
    append(&source, 32).unwrap();
    let mut block = Vec::new();
    source.read_block(Position(0), 4_096, |bytes| block.extend_from_slice(bytes));
    let mut target = ExclusiveAppender::new(log());
    let elsewhere = Err(BlockError::Elsewhere { term_id: INITIAL, term_offset: 0 });
    for length in [0, -64, 31, i32::MIN] {
        let mut wrong = block.clone();
        wrong[..4].copy_from_slice(&length.to_le_bytes());
        assert_eq!(target.append_block(FAR, &wrong), elsewhere, "{length}");
    }
    let mut padding = block.clone();
    padding[6] = 0;
    assert_eq!(target.append_block(FAR, &padding), elsewhere);
    assert_eq!(target.append_block(FAR, &block), Ok(Position(64)));
}

#[test]
fn a_block_is_refused_at_the_end_of_the_last_term() {
    let last = INITIAL.wrapping_add(i32::MAX);
    let mut target = ExclusiveAppender::new(log_at(last, TERM));
    let error = target.append_block(FAR, &[0; 32]);
    assert_eq!(error, Err(BlockError::Append(AppendError::MaxPositionExceeded)));
    assert_eq!(target.position(), Position::limit(TERM));
}

#[test]
fn what_fits_a_single_frame_is_taken_even_if_it_is_over_an_eighth_of_the_term() {
    let mut description = *log().description();
    description.mtu_length = 16_384;
    let length = usize::try_from(layout::file_length(TERM, 4096)).unwrap();
    let log = LogBuffer::create(Region::heap(length), &description, INITIAL, 0).unwrap();
    assert_eq!(append(&log, 16_352), Ok(16_384));
    let error = AppendError::TooLong { length: 16_353, longest: 16_352 };
    assert_eq!(append(&log, 16_353), Err(error));
}

fn at_most(length: usize) -> u8 {
    u8::try_from(length % 251).unwrap()
}

#[test]
fn a_block_must_follow_the_tail_and_is_then_appended_as_it_is() {
    let source = log();
    append(&source, 100).unwrap();
    append(&source, 50).unwrap();
    let mut block = Vec::new();
    source.read_block(Position(0), 4_096, |bytes| block.extend_from_slice(bytes));
    let mut target = ExclusiveAppender::new(log());
    let misplaced = target.append_block(FAR, &block[160..]);
    assert_eq!(misplaced, Err(BlockError::Elsewhere { term_id: INITIAL, term_offset: 160 }));
    let room = TERM;
    assert_eq!(
        target.append_block(FAR, &block[..33]),
        Err(BlockError::Length { length: 33, room })
    );
    assert_eq!(target.append_block(FAR, &block), Ok(Position(256)));
    assert_eq!(read_all(target.log(), 0), (vec![(0xC0, 100), (0xC0, 50)], 256));
    let padded = target.append_padding(FAR, 64).unwrap();
    assert_eq!(read_all(target.log(), 256), (vec![], padded.0));
}

#[test]
fn received_frames_are_inserted_once_and_gaps_are_found_and_filled() {
    let source = log();
    for _ in 0..4 {
        append(&source, 100).unwrap();
    }
    let frame = |index: i64| {
        let mut bytes = Vec::new();
        source.read_block(Position(index * 160), 160, |frame| bytes.extend_from_slice(frame));
        bytes
    };
    let image = log();
    let hwm = Position(640);
    assert!(image.insert(Position(0), &frame(0)));
    assert!(!image.insert(Position(0), &frame(0)));
    assert!(image.insert(Position(480), &frame(3)));
    let gap = Gap { term_id: INITIAL, term_offset: 160, length: 320 };
    assert_eq!(image.scan_gap(Position(0), hwm), (Position(160), Some(gap)));
    assert!(image.insert(Position(320), &frame(2)));
    assert!(!image.fill_gap(gap), "part of it has come in");
    let gap = Gap { length: 160, ..gap };
    assert_eq!(image.scan_gap(Position(160), hwm), (Position(160), Some(gap)));
    assert!(image.fill_gap(gap));
    assert_eq!(image.scan_gap(Position(160), hwm), (hwm, None));
    assert_eq!(read_all(&image, 0), (vec![(0xC0, 100); 3], 640));
}

#[test]
fn a_received_padding_header_stands_for_the_whole_padding() {
    let source = log_at(INITIAL, TERM - 256);
    append(&source, 10).unwrap();
    assert_eq!(append(&source, 400), Err(AppendError::AdminAction));
    let begin = Position(i64::from(TERM) - 256);
    let scan = source.scan(begin, 1_408);
    assert_eq!(scan, Scan { available: 96, padding: 160, blocked: 0 });
    let image = log();
    assert!(source.with_scanned(begin, scan.available, |bytes| image.insert(begin, bytes)));
    assert_eq!(read_all(&image, begin.0), (vec![(0xC0, 10)], i64::from(TERM)));
}

#[test]
fn cleaning_stops_at_the_end_of_a_term_and_at_its_limit() {
    let log = log_at(INITIAL, TERM - 128);
    assert!(append(&log, 100).is_err() && append(&log, 100).is_ok());
    let begin = Position(i64::from(TERM) - 128);
    assert_eq!(log.clean(begin, Position(begin.0 + 288), 64), Position(begin.0 + 64));
    let end = log.clean(Position(begin.0 + 64), Position(begin.0 + 288), usize::MAX);
    assert_eq!(end, Position(i64::from(TERM)));
    assert_eq!(log.clean(end, begin, usize::MAX), end);
    let (term, offset) = log.term_at(begin);
    let mut bytes = [1; 128];
    term.copy_out(offset, &mut bytes);
    assert_eq!(bytes, [0; 128]);
    assert_eq!(read_all(&log, end.0).0, [(0xC0, 100)]);
}

#[test]
fn an_unfinished_frame_is_turned_into_padding() {
    let log = log();
    std::mem::forget(log.claim(FAR, 100).unwrap());
    append(&log, 1).unwrap();
    assert_eq!(read_all(&log, 0), (vec![], 0));
    assert_eq!(log.unblock(Position(0)), Unblocked::Padded);
    assert_eq!(read_all(&log, 0), (vec![(0xC0, 1)], 224));
    assert_eq!(log.unblock(Position(224)), Unblocked::No);
}

#[test]
fn a_hole_before_a_frame_is_turned_into_padding() {
    let log = log();
    log.metadata.fetch_add_i64(layout::tail_counter_offset(0), 96);
    append(&log, 1).unwrap();
    assert_eq!(log.unblock(Position(0)), Unblocked::Padded);
    assert_eq!(read_all(&log, 0), (vec![(0xC0, 1)], 160));
}

#[test]
fn a_hole_to_the_end_of_a_term_rotates() {
    let log = log_at(INITIAL, TERM - 96);
    log.metadata.fetch_add_i64(layout::tail_counter_offset(0), 4_096);
    let blocked = Position(i64::from(TERM) - 96);
    assert_eq!(log.unblock(blocked), Unblocked::Rotated);
    assert_eq!(read_all(&log, blocked.0), (vec![], i64::from(TERM)));
    assert_eq!(append(&log, 1), Ok(i64::from(TERM) + 64));
}

#[test]
fn a_rotation_left_half_done_is_completed() {
    let log = log_at(INITIAL, TERM - 64);
    assert!(append(&log, 32).is_ok());
    let next = RawTail::new(INITIAL.wrapping_add(1), 0);
    log.metadata.store_i64_release(layout::tail_counter_offset(1), next.0);
    assert_eq!(log.unblock(Position(i64::from(TERM))), Unblocked::Rotated);
    assert_eq!(log.active_term_count(), 1);
}

#[test]
fn senseless_frames_of_other_processes_end_a_read_and_nothing_else() {
    for length in [1, 31, TERM + 32, i32::MAX, i32::MIN] {
        let log = log();
        log.terms[0].store_i32_release(0, length);
        assert_eq!(read_all(&log, 0), (vec![], 0), "{length}");
        assert_eq!(log.scan(Position(0), 1_408), Scan::default());
        assert_eq!(log.read_block(Position(0), 1_408, |_| ()), 0);
        let _ = (log.unblock(Position(0)), log.scan_gap(Position(0), Position(64)));
    }
}

#[test]
fn a_log_is_opened_only_when_its_length_is_what_it_says() {
    let log = log();
    assert_eq!(LogBuffer::open(Arc::clone(log.metadata.region())).unwrap().term_length(), TERM);
    log.metadata.store_i32(layout::TERM_LENGTH_OFFSET, TERM * 2);
    let refused = LogBuffer::open(Arc::clone(log.metadata.region()));
    assert!(matches!(refused, Err(LogError::FileLength { .. })));
    assert!(matches!(LogBuffer::open(Region::heap(64)), Err(LogError::Short { length: 64 })));
}

#[test]
fn threads_that_append_at_once_lose_and_double_nothing() {
    const EACH: u64 = 40_000;
    let log = log();
    let consumed = std::sync::atomic::AtomicI64::new(0);
    std::thread::scope(|scope| {
        for writer in 0..3_u64 {
            let (log, consumed) = (&log, &consumed);
            scope.spawn(move || {
                for number in 0..EACH {
                    let message = [writer.to_le_bytes(), number.to_le_bytes()].concat();
                    let limit = || consumed.load(std::sync::atomic::Ordering::Acquire);
                    let window = i64::from(TERM / 2);
                    while log.append(Position(limit() + window), &[&message], none).is_err() {
                        std::thread::yield_now();
                    }
                }
            });
        }
        let (mut position, mut cleaned) = (Position(0), Position(0));
        let mut next = [0_u64; 3];
        while next.iter().sum::<u64>() < 3 * EACH {
            position = log
                .read(position, FAR, 64, |_, payload, _| {
                    let word =
                        |at: usize| u64::from_le_bytes(payload[at..at + 8].try_into().unwrap());
                    let writer = usize::try_from(word(0)).unwrap();
                    assert_eq!(word(8), next[writer], "of writer {writer}");
                    next[writer] += 1;
                })
                .position;
            cleaned = log.clean(cleaned, position, usize::MAX);
            consumed.store(cleaned.0, std::sync::atomic::Ordering::Release);
        }
    });
}
