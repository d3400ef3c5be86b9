//! Requests, answers, signals and what goes wrong.

use client::CounterId;
use coracle_archive_client::{
    ArchiveClient, ArchiveErrorCode, Disconnected, RecordingMatch, RecordingSignal, ReplayLength,
    ReplayParameters, ReplicationParameters, Request, RequestError, SourceLocation,
};
use runtime::Nanos;
use wire::archive::response::{
    ControlResponse, ControlResponseCode, Ping, RecordingDescriptor, RecordingSignalEvent,
    RecordingSubscriptionDescriptor,
};
use wire::bytes::SemanticVersion;
use wire::position::{Position, SessionId, StreamId};

use crate::scene::{SESSION, Scene};

const STREAM: StreamId = StreamId(33);

fn descriptor(correlation_id: i64, recording_id: i64) -> RecordingDescriptor<'static> {
    RecordingDescriptor {
        control_session_id: SESSION,
        correlation_id,
        recording_id,
        start_timestamp: 1000,
        stop_timestamp: -1,
        start_position: 64,
        stop_position: -1,
        initial_term_id: 5,
        segment_file_length: 131_072,
        term_buffer_length: 65_536,
        mtu_length: 1408,
        session_id: 9,
        stream_id: 33,
        stripped_channel: b"aeron:ipc",
        original_channel: b"aeron:ipc?alias=x",
        source_identity: b"aeron:ipc",
    }
}

/// Sends the request and lets the archive answer it.
fn answered<T: coracle_archive_client::FromAnswer>(
    scene: &mut Scene,
    client: &mut ArchiveClient,
    request: Request<T>,
    value: i64,
) -> Result<T, RequestError> {
    scene.poll(client);
    let (_, id) = scene.archive.take_asked().remove(0);
    assert_eq!(id, request.id().0);
    scene.archive.ok(request.id(), value);
    scene.poll(client);
    client.take(request).expect("the archive has answered")
}

#[test]
fn every_request_goes_out_under_its_own_name_and_session() {
    let (mut scene, mut client) = Scene::connected();
    let found = RecordingMatch {
        recording_id_min: 0,
        channel_fragment: "x",
        stream_id: STREAM,
        session_id: SessionId(5),
    };
    let bounded =
        ReplayParameters { bounding_counter: Some(CounterId(8)), ..ReplayParameters::default() };
    let copy = ReplicationParameters::default();
    let (remote, here) = (SourceLocation::Remote, Position(128));
    client.start_recording("c", STREAM, remote, true);
    client.extend_recording(1, "c", STREAM, remote, false);
    client.stop_recording("c", STREAM);
    client.stop_recording_subscription(1);
    client.stop_recording_by_identity(1);
    client.replay(1, "c", STREAM, &ReplayParameters::default());
    client.replay(1, "c", STREAM, &bounded);
    client.stop_replay(coracle_archive_client::ReplaySession(1));
    client.stop_all_replays(None);
    client.replay_token(1);
    client.list_recording(1);
    client.list_recordings(0, 10);
    client.list_recordings_for_uri(0, 10, "c", STREAM);
    client.find_last_matching_recording(&found);
    client.list_recording_subscriptions(0, 10, None, "c");
    client.start_position(1);
    client.recording_position(1);
    client.stop_position(1);
    client.max_recorded_position(1);
    client.truncate_recording(1, here);
    client.purge_recording(1);
    client.detach_segments(1, here);
    client.delete_detached_segments(1);
    client.purge_segments(1, here);
    client.attach_segments(1);
    client.migrate_segments(1, 2);
    client.update_channel(1, "c");
    client.replicate(1, "c", STREAM, &copy);
    client.stop_replication(1);
    assert_eq!(client.open_count(), 29);
    scene.poll(&mut client);
    let asked = scene.archive.take_asked();
    let session = format!("control_session_id: {SESSION}, correlation_id: ");
    assert!(asked.iter().all(|(text, _)| text.contains(&session)), "{asked:?}");
    let names: Vec<_> = asked.iter().map(|(text, _)| text.split('(').next().unwrap()).collect();
    assert_eq!(
        names.join(" "),
        "StartRecordingRequest2 ExtendRecordingRequest2 \
        StopRecordingRequest StopRecordingSubscriptionRequest StopRecordingByIdentityRequest \
        ReplayRequest BoundedReplayRequest StopReplayRequest StopAllReplaysRequest \
        ReplayTokenRequest ListRecordingRequest ListRecordingsRequest \
        ListRecordingsForUriRequest FindLastMatchingRecordingRequest \
        ListRecordingSubscriptionsRequest StartPositionRequest RecordingPositionRequest \
        StopPositionRequest MaxRecordedPositionRequest TruncateRecordingRequest \
        PurgeRecordingRequest DetachSegmentsRequest DeleteDetachedSegmentsRequest \
        PurgeSegmentsRequest AttachSegmentsRequest MigrateSegmentsRequest UpdateChannelRequest \
        ReplicateRequest2 StopReplicationRequest"
    );
}

#[test]
fn what_is_not_given_is_minus_one_on_the_wire() {
    let (mut scene, mut client) = Scene::connected();
    client.replay(7, "aeron:ipc", STREAM, &ReplayParameters::default());
    client.replay(
        7,
        "aeron:ipc",
        STREAM,
        &ReplayParameters {
            position: Some(Position(96)),
            length: ReplayLength::UntilNow,
            bounding_counter: Some(CounterId(12)),
            file_io_max_length: Some(4096),
            token: Some(5),
        },
    );
    client.replicate(7, "aeron:udp?endpoint=a:1", STREAM, &ReplicationParameters::default());
    scene.poll(&mut client);
    let asked = scene.archive.take_asked();
    let has = |index: usize, part: &str| {
        assert!(asked[index].0.contains(part), "{part} in {}", asked[index].0);
    };
    has(
        0,
        "position: -1, length: -1, replay_stream_id: 33, file_io_max_length: -1, \
        replay_token: -1",
    );
    has(
        1,
        "position: 96, length: -2, limit_counter_id: 12, replay_stream_id: 33, \
        file_io_max_length: 4096, replay_token: 5",
    );
    has(
        2,
        "dst_recording_id: -1, stop_position: -1, channel_tag_id: -1, \
        subscription_tag_id: -1, src_control_stream_id: 33, file_io_max_length: -1, \
        replication_session_id: -1",
    );
}

#[test]
fn answers_come_in_any_order_and_are_taken_once_each() {
    let (mut scene, mut client) = Scene::connected();
    let (start, stop) = (client.start_position(1), client.stop_position(1));
    let position = client.recording_position(1);
    scene.poll(&mut client);
    scene.archive.ok(position.id(), -1);
    scene.archive.ok(stop.id(), 4096);
    scene.poll(&mut client);
    assert!(client.take(start).is_none() && client.is_open(start));
    assert_eq!(client.take(stop), Some(Ok(Some(Position(4096)))));
    assert_eq!(client.take(position), Some(Ok(None)));
    assert_eq!(client.take(position), None);
    scene.archive.ok(start.id(), 64);
    scene.poll(&mut client);
    assert_eq!(client.take(start), Some(Ok(Position(64))));
    assert_eq!(client.open_count(), 0);
}

#[test]
fn values_have_the_type_of_their_request() {
    let (mut scene, mut client) = Scene::connected();
    let (scene, client) = (&mut scene, &mut client);
    let request = client.stop_recording_by_identity(1);
    assert_eq!(answered(scene, client, request, 0), Ok(false));
    let request = client.stop_recording_by_identity(1);
    assert_eq!(answered(scene, client, request, 1), Ok(true));
    let request = client.stop_recording_subscription(1);
    assert_eq!(answered(scene, client, request, 0), Ok(true));
    let request = client.replay(1, "c", STREAM, &ReplayParameters::default());
    let replay = answered(scene, client, request, 5_929_149_567).unwrap();
    assert_eq!(replay.session_id(), SessionId(1_634_182_271));
    let request = client.truncate_recording(1, Position(0));
    assert_eq!(answered(scene, client, request, 3), Ok(3));
    let request = client.update_channel(1, "c");
    assert_eq!(answered(scene, client, request, 0), Ok(()));
}

#[test]
fn a_refusal_has_the_archives_code_and_some_are_answers() {
    let (mut scene, mut client) = Scene::connected();
    let (start, stop) = (client.start_position(1), client.stop_recording_subscription(1));
    let (update, replicate) = (client.update_channel(4, "c"), client.stop_replication(9));
    scene.poll(&mut client);
    let error = ControlResponseCode::Error;
    scene.archive.respond(start.id().0, error, 5, "no such recording");
    scene.archive.respond(stop.id().0, error, 4, "no such subscription");
    scene.archive.respond(update.id().0, ControlResponseCode::RecordingUnknown, 4, "");
    scene.archive.respond(replicate.id().0, error, 12, "");
    scene.poll(&mut client);
    let refused = client.take(start).unwrap().unwrap_err();
    assert_eq!(refused.to_string(), "start position: archive error 5: no such recording");
    assert!(matches!(refused, RequestError::Refused { cause, .. }
        if cause.code == ArchiveErrorCode::UnknownRecording));
    assert_eq!(client.take(stop), Some(Ok(false)));
    assert_eq!(client.take(replicate), Some(Ok(false)));
    let unknown = RequestError::RecordingUnknown { request: "update channel", id: 4 };
    assert_eq!(client.take(update), Some(Err(unknown)));
}

#[test]
fn a_listing_ends_with_its_count_or_with_the_last_recording() {
    let (mut scene, mut client) = Scene::connected();
    let (two, five) =
        (client.list_recordings(0, 2), client.list_recordings_for_uri(0, 5, "", STREAM));
    let none = client.list_recording(99);
    scene.poll(&mut client);
    for id in [1, 2] {
        scene.archive.send(&descriptor(two.id().0, id));
        scene.archive.send(&descriptor(five.id().0, id));
    }
    let unknown = ControlResponseCode::RecordingUnknown;
    scene.archive.respond(none.id().0, unknown, 99, "");
    scene.poll(&mut client);
    let listed = client.take(two).unwrap().unwrap();
    assert_eq!(listed.iter().map(|recording| recording.id).collect::<Vec<_>>(), [1, 2]);
    let first = &listed[0];
    assert_eq!((first.start_position, first.stop_position), (Position(64), None));
    assert_eq!((first.stream_id, first.original_channel.as_str()), (STREAM, "aeron:ipc?alias=x"));
    assert_eq!(client.take(none), Some(Ok(None)));
    assert!(client.is_open(five));
    scene.archive.respond(five.id().0, unknown, 3, "");
    scene.poll(&mut client);
    assert_eq!(client.take(five).unwrap().unwrap().len(), 2);
    let nothing = client.list_recordings(0, 0);
    assert_eq!(client.take(nothing), Some(Ok(Vec::new())));
}

#[test]
fn subscriptions_are_listed_likewise() {
    let (mut scene, mut client) = Scene::connected();
    let request = client.list_recording_subscriptions(0, 3, Some(STREAM), "ipc");
    scene.poll(&mut client);
    scene.archive.send(&RecordingSubscriptionDescriptor {
        control_session_id: SESSION,
        correlation_id: request.id().0,
        subscription_id: 12,
        stream_id: 33,
        stripped_channel: b"aeron:ipc",
    });
    let unknown = ControlResponseCode::SubscriptionUnknown;
    scene.archive.respond(request.id().0, unknown, 0, "");
    scene.poll(&mut client);
    let listed = client.take(request).unwrap().unwrap();
    assert_eq!((listed.len(), listed[0].id, listed[0].stream_id), (1, 12, STREAM));
}

#[test]
fn signals_and_late_failures_are_kept_apart_from_answers() {
    let (mut scene, mut client) = Scene::connected();
    let request = client.start_recording("c", STREAM, SourceLocation::Local, true);
    scene.poll(&mut client);
    scene.archive.ok(request.id(), 24);
    let signal = RecordingSignalEvent {
        control_session_id: SESSION,
        correlation_id: request.id().0,
        recording_id: 3,
        subscription_id: 24,
        position: 0,
        signal: RecordingSignal::Start,
    };
    scene.archive.send(&signal);
    scene.archive.send(&RecordingSignalEvent { control_session_id: SESSION + 1, ..signal });
    scene.archive.respond(request.id().0, ControlResponseCode::Error, 11, "disk full");
    scene.archive.send(&Ping { control_session_id: SESSION });
    scene.poll(&mut client);
    assert_eq!(client.take(request), Some(Ok(24)));
    assert_eq!((client.next_signal(), client.next_signal()), (Some(signal), None));
    let (id, error) = client.next_failure().unwrap();
    assert_eq!((id, error.code), (request.id(), ArchiveErrorCode::StorageSpace));
    assert_eq!(client.next_failure(), None);
}

#[test]
fn answers_to_other_sessions_and_nonsense_are_ignored() {
    let (mut scene, mut client) = Scene::connected();
    let request = client.start_position(1);
    scene.poll(&mut client);
    scene.archive.send(&ControlResponse {
        control_session_id: SESSION + 1,
        correlation_id: request.id().0,
        relevant_id: 1,
        code: ControlResponseCode::Ok,
        version: SemanticVersion::new(1, 12, 0),
        error_message: b"",
    });
    scene.archive.responses.as_mut().unwrap().offer(&[1, 2, 3]).unwrap();
    scene.archive.responses.as_mut().unwrap().offer(&[0xFF; 40]).unwrap();
    scene.poll(&mut client);
    assert!(client.is_open(request));
}

#[test]
fn a_request_without_an_answer_times_out_and_says_whether_it_was_sent() {
    let (mut scene, mut client) = Scene::connected();
    let request = client.start_position(1);
    let work = client.poll(scene.bed.place.now).unwrap();
    assert_eq!(work.next_deadline, scene.bed.place.now.mono + Nanos::from_secs(2));
    scene.pass(Nanos::from_secs(2));
    scene.poll(&mut client);
    let error = client.take(request).unwrap().unwrap_err();
    assert_eq!(error.to_string(), "start position: no answer within 2000 ms (it was sent)");
    scene.archive.ok(request.id(), 1);
    scene.poll(&mut client);
    assert_eq!(client.take(request), None);
}

#[test]
fn a_listing_that_goes_on_does_not_time_out() {
    let (mut scene, mut client) = Scene::connected();
    let request = client.list_recordings(0, 3);
    scene.poll(&mut client);
    for id in 0..3 {
        scene.pass(Nanos::from_millis(1500));
        scene.archive.send(&descriptor(request.id().0, id));
        scene.poll(&mut client);
    }
    assert_eq!(client.take(request).unwrap().unwrap().len(), 3);
}

#[test]
fn back_pressure_delays_requests_and_loses_none() {
    let (mut scene, mut client) = Scene::connected();
    let publications = &mut scene.bed.driver.publications;
    let control = publications.values_mut().find(|known| known.stream_id == StreamId(10)).unwrap();
    control.limit.set_release(0);
    let first = client.start_position(1);
    let second = client.start_position(2);
    scene.poll(&mut client);
    assert_eq!(scene.archive.take_asked(), []);
    let publications = &mut scene.bed.driver.publications;
    let control = publications.values_mut().find(|known| known.stream_id == StreamId(10)).unwrap();
    control.limit.set_release(32_768);
    scene.poll(&mut client);
    let ids: Vec<_> = scene.archive.take_asked().into_iter().map(|(_, id)| id).collect();
    assert_eq!(ids, [first.id().0, second.id().0]);
}

#[test]
fn a_request_too_long_for_the_stream_fails_at_once() {
    let (_scene, mut client) = Scene::connected();
    let request = client.update_channel(1, &"x".repeat(9000));
    let error = client.take(request).unwrap().unwrap_err();
    assert!(matches!(error, RequestError::TooLong { max: 8192, .. }), "{error}");
}

#[test]
fn an_archive_that_hangs_up_fails_everything_open() {
    let (mut scene, mut client) = Scene::connected();
    let request = client.start_position(1);
    scene.poll(&mut client);
    scene.archive.hang_up(&mut scene.bed);
    scene.step();
    assert_eq!(client.poll(scene.bed.place.now), Err(Disconnected::Responses));
    assert_eq!(client.poll(scene.bed.place.now), Err(Disconnected::Responses));
    let error = client.take(request).unwrap().unwrap_err();
    assert_eq!(error, RequestError::Disconnected { request: "start position" });
    let late = client.start_position(2);
    assert!(matches!(client.take(late), Some(Err(RequestError::Disconnected { .. }))));
}
