//! What an archive does for its clients: record, replay, extend, cut and forget.

#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;

use archive_client::{
    ArchiveErrorCode, FixedCredentials, RecordingMatch, RecordingSignal, ReplayLength,
    ReplayParameters, RequestError, SourceLocation,
};
use client::CounterTypeId;
use common::{IPC, Lab, STREAM};
use coracle_archive::Verdict;
use coracle_archive::config::SyncLevel;
use runtime::Nanos;
use wire::position::{Position, StreamId};

fn code<T: std::fmt::Debug>(answer: Result<T, RequestError>) -> ArchiveErrorCode {
    match answer {
        Err(RequestError::Refused { cause, .. }) => cause.code,
        other => panic!("{other:?}"),
    }
}

fn durable(config: &mut coracle_archive::Config) {
    config.storage.file_sync_level = SyncLevel::All;
    config.storage.catalog_file_sync_level = SyncLevel::All;
}

#[test]
fn what_was_published_is_recorded_over_several_segments_and_replayed_byte_for_byte() {
    for seed in 0..5 {
        let mut lab = Lab::new(seed, 1, durable);
        let (mut publication, id) = lab.record(0, IPC);
        lab.publish(&mut publication, 0..400);
        lab.await_recorded(0, id, publication.position());
        assert!(publication.position().0 > 4 * 131_072, "too short to span segments");
        assert_eq!(lab.stop_position(0, id), None);
        assert!(lab.ask(0, |it| it.stop_recording_by_identity(id)).unwrap());
        lab.until("it stops", |lab| lab.has_signal(0, RecordingSignal::Stop));
        assert_eq!(lab.stop_position(0, id), Some(publication.position()));
        assert_eq!(lab.replay(0, id, None), (0..400).collect::<Vec<_>>());
    }
}

#[test]
fn a_network_stream_is_recorded_by_a_spy_and_from_afar() {
    let mut lab = Lab::new(3, 2, |_| {});
    let channel = "aeron:udp?endpoint=10.0.0.2:40123|term-length=64k|ssc=true";
    let (mut publication, near) = lab.record(0, channel);
    let received = "aeron:udp?endpoint=10.0.0.2:40123";
    lab.ask(1, |it| it.start_recording(received, STREAM, SourceLocation::Remote, false)).unwrap();
    lab.until("recording begins afar", |lab| lab.has_signal(1, RecordingSignal::Start));
    let far = lab.sites[1].signals[0].recording_id;
    let begin = lab.sites[1].signals[0].position;
    lab.publish(&mut publication, 0..50);
    lab.await_recorded(0, near, publication.position());
    lab.await_recorded(1, far, publication.position());
    drop(publication);
    lab.until("both end", |lab| {
        lab.has_signal(0, RecordingSignal::Stop) && lab.has_signal(1, RecordingSignal::Stop)
    });
    assert_eq!(lab.replay(0, near, None), (0..50).collect::<Vec<_>>());
    assert_eq!(begin, 0);
    assert_eq!(lab.replay(1, far, None), (0..50).collect::<Vec<_>>());
}

#[test]
fn a_replay_of_a_live_recording_follows_it_to_its_end() {
    let mut lab = Lab::new(4, 1, durable);
    let (mut publication, id) = lab.record(0, IPC);
    lab.publish(&mut publication, 0..20);
    lab.await_recorded(0, id, publication.position());
    let stream_id = StreamId(5);
    let request = ReplayParameters::default();
    let replay = lab.ask(0, |it| it.replay(id, "aeron:ipc", stream_id, &request)).unwrap();
    let channel = format!("aeron:ipc?session-id={}", replay.session_id().0);
    let mut pending = lab.sites[0].client.add_subscription(&channel, stream_id);
    let mut subscription = None;
    lab.until("it is there", |_| {
        subscription = pending.poll().unwrap();
        subscription.is_some()
    });
    let mut subscription = subscription.unwrap();
    lab.until("what there is", |_| {
        subscription.poll(10, |_| {});
        subscription.images().any(|image| image.position() == publication.position())
    });
    lab.publish(&mut publication, 20..40);
    lab.until("what comes", |_| {
        subscription.poll(10, |_| {});
        subscription.images().any(|image| image.position() == publication.position())
    });
    drop(publication);
    lab.until("the end", |_| {
        subscription.poll(10, |_| {});
        subscription.images().all(|image| image.is_end_of_stream())
    });
}

#[test]
fn a_bounded_replay_stops_at_its_counter_and_goes_on_with_it() {
    let mut lab = Lab::new(5, 1, |_| {});
    let (mut publication, id) = lab.record(0, IPC);
    lab.publish(&mut publication, 0..10);
    let middle = publication.position();
    lab.publish(&mut publication, 10..30);
    lab.await_recorded(0, id, publication.position());
    let mut pending = lab.sites[0].client.add_counter(CounterTypeId(1_000), &[], "bound");
    let mut bound = None;
    lab.until("the counter", |_| {
        bound = pending.poll().unwrap();
        bound.is_some()
    });
    let mut bound = bound.unwrap();
    bound.set(middle.0);
    let stream_id = StreamId(5);
    let request =
        ReplayParameters { bounding_counter: Some(bound.id()), ..ReplayParameters::default() };
    let replay = lab.ask(0, |it| it.replay(id, "aeron:ipc", stream_id, &request)).unwrap();
    let channel = format!("aeron:ipc?session-id={}", replay.session_id().0);
    let mut pending = lab.sites[0].client.add_subscription(&channel, stream_id);
    let mut subscription = None;
    lab.until("it is there", |_| {
        subscription = pending.poll().unwrap();
        subscription.is_some()
    });
    let mut subscription = subscription.unwrap();
    let end = lab.world.elapsed() + Nanos::from_millis(500);
    lab.until("time passes", |lab| {
        subscription.poll(10, |_| {});
        lab.world.elapsed() > end
    });
    assert_eq!(subscription.images().next().map(|it| it.position()), Some(middle));
    // Beyond what is recorded: the replay stays within it.
    bound.set(i64::MAX);
    lab.until("the rest", |_| {
        subscription.poll(10, |_| {});
        subscription.images().any(|image| image.position() == publication.position())
    });
    assert_eq!(lab.sites[0].failures, [""; 0]);
}

#[test]
fn a_stopped_recording_is_extended_by_a_stream_that_goes_on_where_it_ended() {
    let mut lab = Lab::new(6, 1, durable);
    let (mut publication, id) = lab.record(0, IPC);
    lab.publish(&mut publication, 0..100);
    let stop = publication.position();
    lab.await_recorded(0, id, stop);
    drop(publication);
    lab.until("it stops", |lab| lab.has_signal(0, RecordingSignal::Stop));
    lab.ask(0, |it| it.stop_recording(IPC, STREAM)).unwrap();
    let found = lab.ask(0, |it| it.list_recording(id)).unwrap().unwrap();
    let (initial, bits) = (found.initial_term_id, found.term_length.trailing_zeros());
    let channel = format!(
        "{IPC}|mtu={}|init-term-id={}|term-id={}|term-offset={}",
        found.mtu_length,
        initial.0,
        stop.term_id(bits, initial).0,
        stop.term_offset(found.term_length)
    );
    let mut publication = lab.publication(0, &channel);
    lab.ask(0, |it| it.extend_recording(id, IPC, STREAM, SourceLocation::Local, false)).unwrap();
    lab.until("it goes on", |lab| lab.has_signal(0, RecordingSignal::Extend));
    lab.publish(&mut publication, 100..200);
    lab.await_recorded(0, id, publication.position());
    drop(publication);
    lab.until("it stops again", |lab| lab.stop_position(0, id).is_some());
    assert_eq!(lab.replay(0, id, None), (0..200).collect::<Vec<_>>());
}

#[test]
fn a_truncated_recording_ends_at_the_frame_and_can_be_extended_from_there() {
    let mut lab = Lab::new(7, 1, durable);
    let (mut publication, id) = lab.record(0, IPC);
    lab.publish(&mut publication, 0..50);
    let kept = publication.position();
    lab.publish(&mut publication, 50..300);
    lab.await_recorded(0, id, publication.position());
    let truncated = lab.ask(0, |it| it.truncate_recording(id, kept));
    assert_eq!(code(truncated), ArchiveErrorCode::ActiveRecording);
    drop(publication);
    lab.until("it stops", |lab| lab.has_signal(0, RecordingSignal::Stop));
    for position in [Position(kept.0 + 1), Position(-32), Position(i64::MAX - 31)] {
        let refused = lab.ask(0, |it| it.truncate_recording(id, position));
        assert_eq!(code(refused), ArchiveErrorCode::InvalidPosition);
    }
    assert!(lab.ask(0, |it| it.truncate_recording(id, kept)).unwrap() > 0);
    lab.until("files are gone", |lab| lab.has_signal(0, RecordingSignal::Delete));
    assert_eq!(lab.stop_position(0, id), Some(kept));
    assert_eq!(lab.replay(0, id, None), (0..50).collect::<Vec<_>>());
}

#[test]
fn a_purged_recording_is_gone_and_its_id_is_not_used_again() {
    let mut lab = Lab::new(8, 1, |_| {});
    let (mut publication, id) = lab.record(0, IPC);
    lab.publish(&mut publication, 0..10);
    lab.await_recorded(0, id, publication.position());
    drop(publication);
    lab.until("it stops", |lab| lab.has_signal(0, RecordingSignal::Stop));
    lab.ask(0, |it| it.purge_recording(id)).unwrap();
    lab.until("files are gone", |lab| lab.has_signal(0, RecordingSignal::Delete));
    assert_eq!(lab.ask(0, |it| it.list_recording(id)).unwrap(), None);
    assert_eq!(code(lab.ask(0, |it| it.start_position(id))), ArchiveErrorCode::UnknownRecording);
    lab.ask(0, |it| it.stop_recording(IPC, STREAM)).unwrap();
    lab.sites[0].signals.clear();
    assert_eq!(lab.record(0, IPC).1, id + 1);
}

#[test]
fn segments_are_detached_attached_again_and_purged() {
    let mut lab = Lab::new(9, 1, durable);
    let (mut publication, id) = lab.record(0, IPC);
    lab.publish(&mut publication, 0..300);
    lab.await_recorded(0, id, publication.position());
    let base = Position(2 * 131_072);
    lab.ask(0, |it| it.detach_segments(id, base)).unwrap();
    assert_eq!(lab.ask(0, |it| it.start_position(id)).unwrap(), base);
    assert_eq!(lab.ask(0, |it| it.attach_segments(id)).unwrap(), 2);
    assert_eq!(lab.ask(0, |it| it.start_position(id)).unwrap(), Position(0));
    assert_eq!(lab.ask(0, |it| it.purge_segments(id, base)).unwrap(), 2);
    lab.until("files are gone", |lab| lab.has_signal(0, RecordingSignal::Delete));
    assert_eq!(lab.ask(0, |it| it.attach_segments(id)).unwrap(), 0);
    drop(publication);
    lab.until("it stops", |lab| lab.has_signal(0, RecordingSignal::Stop));
    let numbers = lab.replay(0, id, None);
    assert_eq!(numbers.last(), Some(&299));
}

#[test]
fn recordings_are_found_and_listed() {
    let mut lab = Lab::new(10, 1, |_| {});
    let (publication, id) = lab.record(0, IPC);
    let session_id = publication.session_id();
    let wanted = RecordingMatch {
        recording_id_min: 0,
        channel_fragment: "ipc",
        stream_id: STREAM,
        session_id,
    };
    let found = lab.ask(0, |it| it.find_last_matching_recording(&wanted)).unwrap();
    assert_eq!(found, Some(id));
    let listed = lab.ask(0, |it| it.list_recordings(0, 10)).unwrap();
    assert_eq!(listed.iter().map(|it| it.id).collect::<Vec<_>>(), [id]);
    assert_eq!(listed[0].source_identity, "aeron:ipc");
    assert_eq!(listed[0].original_channel, IPC);
    let refused = lab.ask(0, |it| it.start_recording(IPC, STREAM, SourceLocation::Local, false));
    assert_eq!(code(refused), ArchiveErrorCode::ActiveSubscription);
}

#[test]
fn a_replay_outside_of_its_recording_is_refused() {
    let mut lab = Lab::new(11, 1, |_| {});
    let (mut publication, id) = lab.record(0, IPC);
    lab.publish(&mut publication, 0..10);
    let stop = publication.position();
    lab.await_recorded(0, id, stop);
    drop(publication);
    lab.until("it stops", |lab| lab.has_signal(0, RecordingSignal::Stop));
    let mut replay = |position, length| {
        let request =
            ReplayParameters { position: Some(position), length, ..ReplayParameters::default() };
        code(lab.ask(0, |it| it.replay(id, "aeron:ipc", StreamId(5), &request)))
    };
    let all = ReplayLength::Follow;
    assert_eq!(replay(stop, all), ArchiveErrorCode::InvalidPosition);
    assert_eq!(replay(Position(stop.0 + 32), all), ArchiveErrorCode::InvalidPosition);
    // Message 0 is longer than one frame header: this is inside of it.
    assert_eq!(replay(Position(32), all), ArchiveErrorCode::InvalidPosition);
    let unknown =
        lab.ask(0, |it| it.replay(99, "aeron:ipc", StreamId(5), &ReplayParameters::default()));
    assert_eq!(code(unknown), ArchiveErrorCode::UnknownRecording);
}

#[test]
fn an_archive_at_rest_lets_its_host_sleep() {
    let mut lab = Lab::new(12, 1, |_| {});
    let (publication, _) = lab.record(0, IPC);
    lab.run(Nanos::from_secs(1));
    let before = lab.world.passes();
    lab.world.run_for(Nanos::from_secs(5));
    let passes = lab.world.passes() - before;
    assert!(passes < 20_000, "{passes} passes in 5 s at rest");
    drop(publication);
}

/// Lets in who answers its question, and lets them do everything but purge.
struct Doorkeeper;

impl coracle_archive::Authenticator for Doorkeeper {
    fn on_connect(&mut self, _: i64, credentials: &[u8], _: runtime::Now) -> Verdict {
        match credentials {
            b"known" => Verdict::Challenged { challenge: b"who?".to_vec() },
            _ => Verdict::Rejected,
        }
    }

    fn on_challenge_response(&mut self, _: i64, answer: &[u8], _: runtime::Now) -> Verdict {
        match answer {
            b"known" => Verdict::Accepted { principal: b"someone".to_vec() },
            _ => Verdict::Rejected,
        }
    }

    fn is_authorised(&mut self, template_id: u16, principal: &[u8]) -> bool {
        principal == b"someone" && template_id != 104
    }
}

#[test]
fn only_those_whom_the_authenticator_lets_in_may_ask_and_only_what_it_allows() {
    let mut lab = Lab::new(13, 1, |_| {});
    lab.replace_archive(0, Box::new(Doorkeeper));
    let connect = |lab: &mut Lab, says: &[u8]| {
        let credentials = Box::new(FixedCredentials(says.to_vec()));
        lab.try_connect(0, credentials)
    };
    let refused = connect(&mut lab, b"nobody");
    let refused = refused.err().unwrap().to_string();
    assert!(refused.contains("archive error 10"), "{refused}");
    let asker = connect(&mut lab, b"known").unwrap();
    lab.sites[0].asker = Some(asker);
    assert_eq!(lab.ask(0, |it| it.list_recordings(0, 1)).unwrap(), []);
    let refused = lab.ask(0, |it| it.purge_recording(0));
    assert_eq!(code(refused), ArchiveErrorCode::UnauthorisedAction);
}
