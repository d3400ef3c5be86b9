use client::Header;
use consensus::LogAction;
use wire::position::{SessionId, StreamId, TermId};

use super::*;
use crate::log_publisher::encode;

const VERSION: SemanticVersion = SemanticVersion::new(0, 0, 1);
const TERM: LeadershipTermId = LeadershipTermId(1);

/// Reads up to a limit and remembers where it was told to stand.
struct Recorder {
    limit: Position,
    position: Position,
    end: Option<Position>,
    timers: Vec<(Position, i64)>,
}

impl Follower for Recorder {
    fn limit(&self) -> Position {
        self.limit
    }

    fn position(&self) -> Position {
        self.position
    }

    fn end(&self) -> Option<Position> {
        self.end
    }

    fn take(&mut self, input: Input<'_>) {
        match input {
            Input::Log { position, event: LogEvent::Timer { correlation_id, .. } } => {
                self.position = position;
                self.timers.push((position, correlation_id.0));
            }
            Input::Consumed(position) => self.position = position,
            other => panic!("{other:?}"),
        }
    }
}

fn recorder(limit: i64) -> Recorder {
    Recorder { limit: Position(limit), position: Position(0), end: None, timers: Vec::new() }
}

fn timer(correlation_id: i64) -> Vec<u8> {
    let correlation_id = CorrelationId(correlation_id);
    let action = LogAction::Timer { leadership_term_id: TERM, correlation_id, timestamp: 7 };
    let mut buffer = Vec::new();
    encode(&action, Position(0), &mut buffer).unwrap();
    buffer
}

fn fragment(payload: &[u8], flags: u8, end: i32) -> Fragment<'_> {
    let frame_length = i32::try_from(payload.len()).unwrap() + 32;
    let header = Header {
        position: Position(i64::from(end)),
        flags,
        frame_length,
        term_offset: end - (frame_length + 31) / 32 * 32,
        term_id: TermId(0),
        session_id: SessionId(1),
        stream_id: StreamId(100),
        reserved_value: 0,
    };
    Fragment::new(payload, header)
}

#[test]
fn a_message_beyond_the_limit_is_left_until_the_limit_allows_it() {
    let (mut reader, mut follower) = (LogFollower::new(VERSION), recorder(64));
    let message = timer(5);
    let whole = fragment(&message, 0xC0, 96);
    assert_eq!(reader.on_fragment(whole, &mut follower), Ok(Action::Abort));
    assert!(follower.timers.is_empty());
    follower.limit = Position(96);
    assert_eq!(reader.on_fragment(whole, &mut follower), Ok(Action::Continue));
    assert_eq!(follower.timers, [(Position(96), 5)]);
}

#[test]
fn the_position_does_not_move_into_a_message_that_is_not_complete() {
    let (mut reader, mut follower) = (LogFollower::new(VERSION), recorder(1 << 20));
    let message = timer(5);
    let first = fragment(&message[..16], 0x80, 64);
    assert_eq!(reader.on_fragment(first, &mut follower), Ok(Action::Continue));
    reader.on_consumed(Position(64), &mut follower);
    assert_eq!(follower.position, Position(0));
    let last = fragment(&message[16..], 0x40, 128);
    assert_eq!(reader.on_fragment(last, &mut follower), Ok(Action::Continue));
    assert_eq!(follower.timers, [(Position(128), 5)]);
}

/// Half a message at the end of a replay, and how it goes on behind it.
fn half_a_message(next_image: i64, joined_at: i64) -> Vec<(Position, i64)> {
    let (mut reader, mut follower) = (LogFollower::new(VERSION), recorder(64));
    follower.end = Some(Position(64));
    let message = timer(5);
    let first = fragment(&message[..16], 0x80, 64);
    assert_eq!(reader.on_fragment(first, &mut follower), Ok(Action::Continue));
    reader.read = Some((client::CorrelationId(1), Position(64)));
    reader.on_consumed(Position(64), &mut follower);
    assert_eq!(follower.position, Position(64), "the replay is read to its end");
    (follower.limit, follower.end) = (Position(1 << 20), None);
    reader.turn_to(client::CorrelationId(next_image), Position(joined_at));
    let last = fragment(&message[16..], 0x40, 128);
    assert_eq!(reader.on_fragment(last, &mut follower), Ok(Action::Continue));
    follower.timers
}

#[test]
fn a_message_that_a_replay_ends_in_goes_on_in_the_image_that_begins_there() {
    assert_eq!(half_a_message(2, 64), [(Position(128), 5)]);
}

#[test]
fn a_message_does_not_go_on_in_an_image_that_begins_elsewhere() {
    assert_eq!(half_a_message(2, 32), []);
}

/// A log is left in the middle of a message that an earlier one began; the next begins there again.
#[test]
fn the_middle_of_a_message_that_comes_again_is_not_taken_twice() {
    let (mut reader, mut follower) = (LogFollower::new(VERSION), recorder(1 << 20));
    let message = timer(5);
    let middle = fragment(&message[16..24], 0, 128);
    let mut take = |reader: &mut LogFollower, fragment| {
        assert_eq!(reader.on_fragment(fragment, &mut follower), Ok(Action::Continue));
    };
    take(&mut reader, fragment(&message[..16], 0x80, 64));
    reader.read = Some((client::CorrelationId(1), Position(64)));
    reader.turn_to(client::CorrelationId(2), Position(64));
    take(&mut reader, middle);
    reader.read = Some((client::CorrelationId(2), Position(128)));
    reader.turn_to(client::CorrelationId(3), Position(64));
    take(&mut reader, middle);
    take(&mut reader, fragment(&message[24..], 0x40, 192));
    assert_eq!(follower.timers, [(Position(192), 5)]);
}

#[test]
fn padding_is_told_once_nothing_is_open_and_only_within_the_limit() {
    let (reader, mut follower) = (LogFollower::new(VERSION), recorder(4096));
    reader.on_consumed(Position(65_536), &mut follower);
    assert_eq!(follower.position, Position(0));
    follower.limit = Position(65_536);
    reader.on_consumed(Position(65_536), &mut follower);
    assert_eq!(follower.position, Position(65_536));
}

#[test]
fn a_message_that_is_none_of_the_log_is_an_error_with_its_position() {
    let (mut reader, mut follower) = (LogFollower::new(VERSION), recorder(1 << 20));
    let mut message = timer(5);
    message[4] = 99;
    let error = reader.on_fragment(fragment(&message, 0xC0, 96), &mut follower).unwrap_err();
    let cause = DecodeError::OtherSchema { expected: 111, actual: 99 };
    assert_eq!(error, ReadError::Undecodable { position: Position(96), cause });
}

#[test]
fn a_message_that_the_core_does_not_know_is_passed_over() {
    let (mut reader, mut follower) = (LogFollower::new(VERSION), recorder(1 << 20));
    let mut message = timer(5);
    message[2] = 77;
    let action = reader.on_fragment(fragment(&message, 0xC0, 96), &mut follower);
    assert_eq!(action, Ok(Action::Continue));
    assert_eq!(follower.position, Position(96));
}

#[test]
fn the_log_of_another_major_version_of_the_application_is_refused() {
    let action = LogAction::NewLeadershipTerm {
        leadership_term_id: TERM,
        timestamp: 0,
        term_base_log_position: Position(0),
        leader_member_id: consensus::MemberId(0),
        log_session_id: 0,
        time_unit: 0,
        app_version: VERSION.0,
    };
    let mut buffer = Vec::new();
    encode(&action, Position(0), &mut buffer).unwrap();
    let (theirs, ours) = (VERSION, SemanticVersion::new(1, 0, 0));
    assert_eq!(decode(&buffer, ours), Err(ReadError::AppVersion { theirs, ours }));
    assert!(decode(&buffer, SemanticVersion::new(0, 9, 9)).is_ok());
}
