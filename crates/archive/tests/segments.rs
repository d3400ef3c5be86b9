//! What can be done to the files of recordings: detach, attach, delete, migrate, purge.

#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;

use archive_client::{
    ArchiveErrorCode, RecordingSignal, ReplayParameters, RequestError, SourceLocation,
};
use common::{DIRECTORY, IPC, Lab, STREAM};
use coracle_archive::config::SyncLevel;
use wire::position::{Position, StreamId};

const SEGMENT: i64 = 128 << 10;

fn durable(config: &mut coracle_archive::Config) {
    config.storage.file_sync_level = SyncLevel::All;
    config.storage.catalog_file_sync_level = SyncLevel::All;
}

fn code<T: std::fmt::Debug>(answer: Result<T, RequestError>) -> ArchiveErrorCode {
    match answer {
        Err(RequestError::Refused { cause, .. }) => cause.code,
        other => panic!("{other:?}"),
    }
}

/// The segment files of a recording, by their first positions.
fn segments(lab: &Lab, id: i64) -> Vec<i64> {
    let names = lab.file_names(0, DIRECTORY);
    let prefix = format!("{id}-");
    let bases = names.iter().filter_map(|name| name.strip_prefix(&prefix)?.strip_suffix(".rec"));
    let mut bases: Vec<i64> = bases.filter_map(|base| base.parse().ok()).collect();
    bases.sort_unstable();
    bases
}

/// A stopped recording of the messages 0 to 300, five segments long.
fn stopped(lab: &mut Lab) -> (i64, Position) {
    let (mut publication, id) = lab.record(0, IPC);
    lab.publish(&mut publication, 0..300);
    let stop = publication.position();
    lab.await_recorded(0, id, stop);
    drop(publication);
    lab.until("it stops", |lab| lab.has_signal(0, RecordingSignal::Stop));
    lab.ask(0, |it| it.stop_recording(IPC, STREAM)).unwrap();
    (id, stop)
}

/// Cuts a recording off at a segment's base, and records its stream anew from there on.
fn split(lab: &mut Lab, id: i64, at: Position) -> (i64, Position) {
    lab.ask(0, |it| it.truncate_recording(id, at)).unwrap();
    lab.until("files are gone", |lab| lab.has_signal(0, RecordingSignal::Delete));
    let found = lab.ask(0, |it| it.list_recording(id)).unwrap().unwrap();
    let (initial, bits) = (found.initial_term_id, found.term_length.trailing_zeros());
    let channel = format!(
        "{IPC}|mtu={}|init-term-id={}|term-id={}|term-offset={}",
        found.mtu_length,
        initial.0,
        at.term_id(bits, initial).0,
        at.term_offset(found.term_length)
    );
    lab.sites[0].signals.clear();
    let (mut publication, second) = lab.record(0, &channel);
    lab.publish(&mut publication, 1_000..1_200);
    let stop = publication.position();
    lab.await_recorded(0, second, stop);
    drop(publication);
    lab.until("it stops", |lab| lab.has_signal(0, RecordingSignal::Stop));
    lab.sites[0].signals.clear();
    (second, stop)
}

#[test]
fn a_segment_that_begins_where_a_recording_is_cut_off_is_deleted() {
    let mut lab = Lab::new(3, 1, durable);
    let (id, _) = stopped(&mut lab);
    let all = segments(&lab, id).len();
    let count = lab.ask(0, |it| it.truncate_recording(id, Position(2 * SEGMENT))).unwrap();
    assert_eq!(usize::try_from(count), Ok(all - 2));
    lab.until("files are gone", |lab| lab.has_signal(0, RecordingSignal::Delete));
    assert_eq!(segments(&lab, id), [0, SEGMENT]);
}

#[test]
fn detached_segments_are_kept_until_they_are_deleted() {
    let mut lab = Lab::new(1, 1, durable);
    let (id, stop) = stopped(&mut lab);
    let all = segments(&lab, id);
    assert_eq!(all[..3], [0, SEGMENT, 2 * SEGMENT]);
    for wrong in [Position(0), Position(SEGMENT + 32), Position(stop.0 + SEGMENT)] {
        let refused = lab.ask(0, |it| it.detach_segments(id, wrong));
        assert_eq!(code(refused), ArchiveErrorCode::Generic);
    }
    lab.ask(0, |it| it.detach_segments(id, Position(2 * SEGMENT))).unwrap();
    assert_eq!(segments(&lab, id), all);
    assert_eq!(lab.ask(0, |it| it.delete_detached_segments(id)).unwrap(), 2);
    lab.until("files are gone", |lab| lab.has_signal(0, RecordingSignal::Delete));
    assert_eq!(segments(&lab, id), all[2..]);
    assert_eq!(lab.ask(0, |it| it.delete_detached_segments(id)).unwrap(), 0);
    assert_eq!(lab.ask(0, |it| it.start_position(id)).unwrap(), Position(2 * SEGMENT));
    let numbers = lab.replay(0, id, None);
    assert_eq!(numbers.last(), Some(&299));
}

#[test]
fn a_segment_that_is_replayed_cannot_be_detached_nor_its_recording_purged() {
    let mut lab = Lab::new(2, 1, |_| {});
    let (id, _) = stopped(&mut lab);
    let request = ReplayParameters::default();
    let replay = lab.ask(0, |it| it.replay(id, "aeron:ipc", StreamId(5), &request)).unwrap();
    let refused = lab.ask(0, |it| it.detach_segments(id, Position(SEGMENT)));
    assert_eq!(code(refused), ArchiveErrorCode::Generic);
    let refused = lab.ask(0, |it| it.purge_recording(id));
    assert_eq!(code(refused), ArchiveErrorCode::ActiveRecording);
    lab.ask(0, |it| it.stop_replay(replay)).unwrap();
    lab.ask(0, |it| it.detach_segments(id, Position(SEGMENT))).unwrap();
    lab.ask(0, |it| it.purge_recording(id)).unwrap();
    lab.until("files are gone", |lab| lab.has_signal(0, RecordingSignal::Delete));
    assert_eq!(segments(&lab, id), [0; 0], "the detached ones went with it");
}

#[test]
fn a_recording_is_migrated_to_the_end_of_another() {
    let mut lab = Lab::new(3, 1, durable);
    let (first, _) = stopped(&mut lab);
    let (second, stop) = split(&mut lab, first, Position(2 * SEGMENT));
    let moved = segments(&lab, second).len() as i64;
    assert_eq!(lab.ask(0, |it| it.migrate_segments(second, first)).unwrap(), moved);
    lab.until("the source is done with", |lab| lab.has_signal(0, RecordingSignal::Delete));
    assert_eq!(segments(&lab, second), [0; 0]);
    assert_eq!(lab.stop_position(0, first), Some(stop));
    assert_eq!(lab.stop_position(0, second), Some(Position(2 * SEGMENT)));
    let numbers = lab.replay(0, first, None);
    let kept = numbers.iter().filter(|number| **number < 300).count();
    assert_eq!(numbers[..kept], (0..kept as u32).collect::<Vec<_>>());
    assert_eq!(numbers[kept..], (1_000..1_200).collect::<Vec<_>>());
}

#[test]
fn a_recording_is_migrated_to_the_front_of_another() {
    let mut lab = Lab::new(4, 1, durable);
    let (first, _) = stopped(&mut lab);
    let (second, stop) = split(&mut lab, first, Position(2 * SEGMENT));
    assert_eq!(lab.ask(0, |it| it.migrate_segments(first, second)).unwrap(), 2);
    lab.until("the source is done with", |lab| lab.has_signal(0, RecordingSignal::Delete));
    assert_eq!(lab.ask(0, |it| it.start_position(second)).unwrap(), Position(0));
    assert_eq!(lab.stop_position(0, second), Some(stop));
    let numbers = lab.replay(0, second, None);
    assert_eq!((numbers[0], *numbers.last().unwrap()), (0, 1_199));
    let alone = lab.ask(0, |it| it.migrate_segments(first, first + 50));
    assert_eq!(code(alone), ArchiveErrorCode::UnknownRecording);
}

#[test]
fn recordings_that_do_not_continue_each_other_are_not_migrated() {
    let mut lab = Lab::new(5, 1, |_| {});
    let (first, _) = stopped(&mut lab);
    lab.sites[0].signals.clear();
    let (second, _) = stopped(&mut lab);
    let refused = lab.ask(0, |it| it.migrate_segments(first, second));
    assert_eq!(code(refused), ArchiveErrorCode::Generic);
    let local = SourceLocation::Local;
    let again = lab.ask(0, |it| it.extend_recording(first, IPC, StreamId(1), local, false));
    assert_eq!(code(again), ArchiveErrorCode::UnknownRecording, "another stream");
    assert_eq!(lab.replay(0, first, None), (0..300).collect::<Vec<_>>());
}
