//! Copies of recordings from one archive to another.

#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;

use archive_client::{RecordingSignal, ReplicationParameters};
use common::{IPC, Lab};
use wire::position::{Position, StreamId};

const SOURCE: &str = "aeron:udp?endpoint=10.0.0.1:8010";
const CONTROL: StreamId = StreamId(10);

fn signals(lab: &Lab) -> Vec<RecordingSignal> {
    lab.sites[1].signals.iter().map(|it| it.signal).collect()
}

fn replicated(lab: &mut Lab, id: i64, parameters: &ReplicationParameters<'_>) -> i64 {
    lab.ask(1, |it| it.replicate(id, SOURCE, CONTROL, parameters)).unwrap();
    lab.until("the copy is over", |lab| signals(lab).contains(&RecordingSignal::ReplicateEnd));
    let mut latest = lab.sites[1].signals.iter().rev();
    latest.find(|it| it.signal == RecordingSignal::ReplicateEnd).unwrap().recording_id
}

#[test]
fn a_stopped_recording_is_copied_whole() {
    let mut lab = Lab::new(1, 2, |_| {});
    let (mut publication, id) = lab.record(0, IPC);
    lab.publish(&mut publication, 0..200);
    let stop = publication.position();
    lab.await_recorded(0, id, stop);
    drop(publication);
    lab.until("it stops", |lab| lab.has_signal(0, RecordingSignal::Stop));
    let copy = replicated(&mut lab, id, &ReplicationParameters::default());
    lab.until("it is closed", |lab| signals(lab).contains(&RecordingSignal::Stop));
    let seen = signals(&lab);
    assert_eq!(
        seen[..3],
        [RecordingSignal::Replicate, RecordingSignal::Extend, RecordingSignal::Sync]
    );
    assert_eq!(lab.stop_position(1, copy), Some(stop));
    assert_eq!(lab.replay(1, copy, None), (0..200).collect::<Vec<_>>());
    assert_eq!(lab.sites[1].failures, [""; 0]);
}

#[test]
fn a_copy_goes_on_where_it_ended_and_finds_itself_in_sync() {
    let mut lab = Lab::new(2, 2, |_| {});
    let (mut publication, id) = lab.record(0, IPC);
    lab.publish(&mut publication, 0..50);
    let middle = publication.position();
    lab.publish(&mut publication, 50..100);
    let stop = publication.position();
    lab.await_recorded(0, id, stop);
    let part = ReplicationParameters { stop_position: Some(middle), ..Default::default() };
    let copy = replicated(&mut lab, id, &part);
    lab.until("it is closed", |lab| signals(lab).contains(&RecordingSignal::Stop));
    assert_eq!(lab.stop_position(1, copy), Some(middle));
    drop(publication);
    lab.until("it stops", |lab| lab.has_signal(0, RecordingSignal::Stop));
    lab.sites[1].signals.clear();
    let rest = ReplicationParameters { dst_recording_id: Some(copy), ..Default::default() };
    assert_eq!(replicated(&mut lab, id, &rest), copy);
    lab.until("it is closed", |lab| signals(lab).contains(&RecordingSignal::Stop));
    assert_eq!(lab.replay(1, copy, None), (0..100).collect::<Vec<_>>());
    lab.sites[1].signals.clear();
    replicated(&mut lab, id, &rest);
    assert_eq!(signals(&lab), [RecordingSignal::Sync, RecordingSignal::ReplicateEnd]);
}

#[test]
fn a_live_recording_is_copied_until_it_stops() {
    let mut lab = Lab::new(3, 2, |_| {});
    let (mut publication, id) = lab.record(0, IPC);
    lab.publish(&mut publication, 0..50);
    lab.await_recorded(0, id, publication.position());
    lab.ask(1, |it| it.replicate(id, SOURCE, CONTROL, &ReplicationParameters::default())).unwrap();
    lab.until("it begins", |lab| signals(lab).contains(&RecordingSignal::Extend));
    lab.publish(&mut publication, 50..80);
    let stop = publication.position();
    lab.await_recorded(0, id, stop);
    drop(publication);
    lab.until("the copy is over", |lab| signals(lab).contains(&RecordingSignal::ReplicateEnd));
    let copy = lab.sites[1].signals[0].recording_id;
    lab.until("all is there", |lab| lab.stop_position(1, copy) == Some(stop));
    assert_eq!(lab.replay(1, copy, None), (0..80).collect::<Vec<_>>());
}

#[test]
fn what_cannot_be_copied_is_told() {
    let mut lab = Lab::new(4, 2, |_| {});
    lab.ask(1, |it| it.replicate(77, SOURCE, CONTROL, &ReplicationParameters::default())).unwrap();
    lab.until("it is over", |lab| signals(lab).contains(&RecordingSignal::ReplicateEnd));
    assert_eq!(lab.sites[1].failures, ["archive error 5: unknown recording 77"]);
    assert!(!lab.ask(1, |it| it.stop_replication(1)).unwrap());
    let nowhere = "aeron:udp?endpoint=10.0.0.1:9999";
    lab.sites[1].signals.clear();
    lab.ask(1, |it| it.replicate(0, nowhere, CONTROL, &Default::default())).unwrap();
    lab.until("it is over", |lab| signals(lab).contains(&RecordingSignal::ReplicateEnd));
    assert!(lab.sites[1].failures[1].starts_with("archive error 14"));
}

#[test]
fn a_copy_can_be_stopped() {
    let mut lab = Lab::new(5, 2, |_| {});
    let (mut publication, id) = lab.record(0, IPC);
    lab.publish(&mut publication, 0..50);
    let so_far = publication.position();
    lab.await_recorded(0, id, so_far);
    let replication = lab
        .ask(1, |it| it.replicate(id, SOURCE, CONTROL, &ReplicationParameters::default()))
        .unwrap();
    lab.until("it begins", |lab| signals(lab).contains(&RecordingSignal::Extend));
    let copy = lab.sites[1].signals[0].recording_id;
    lab.await_recorded(1, copy, so_far);
    assert!(lab.ask(1, |it| it.stop_replication(replication)).unwrap());
    lab.until("it is over", |lab| signals(lab).contains(&RecordingSignal::ReplicateEnd));
    lab.until("it is closed", |lab| signals(lab).contains(&RecordingSignal::Stop));
    assert_eq!(lab.stop_position(1, copy), Some(so_far));
    assert_eq!(lab.replay(1, copy, Some(Position(0))), (0..50).collect::<Vec<_>>());
}

/// A stream that any number of receivers can join, recorded at its source through a spy.
const DYNAMIC: &str =
    "aeron:udp?control-mode=dynamic|control=10.0.0.1:40456|term-length=64k|ssc=true";
/// The same as the host of the copy receives it.
const LIVE: &str = "aeron:udp?endpoint=10.0.0.2:0|control=10.0.0.1:40456|control-mode=dynamic";

/// Copies with a live destination while messages go on being published; returns the copy and the
/// number of the next message.
fn joined(lab: &mut Lab, parameters: &ReplicationParameters<'_>) -> (i64, u32) {
    let (mut publication, id) = lab.record(0, DYNAMIC);
    lab.publish(&mut publication, 0..300);
    lab.ask(1, |it| it.replicate(id, SOURCE, CONTROL, parameters)).unwrap();
    let mut next = 300;
    lab.until("the live stream is joined", |lab| {
        lab.publish(&mut publication, next..next + 1);
        next += 1;
        signals(lab).contains(&RecordingSignal::ReplicateEnd)
    });
    // From here on there is nothing but the live stream.
    lab.publish(&mut publication, next..next + 100);
    let stop = publication.position();
    lab.await_recorded(0, id, stop);
    let copy = lab.sites[1].signals[0].recording_id;
    lab.await_recorded(1, copy, stop);
    drop(publication);
    lab.until("the copy ends with its stream", |lab| lab.stop_position(1, copy).is_some());
    assert_eq!(lab.stop_position(1, copy), Some(stop));
    (copy, next + 100)
}

#[test]
fn a_copy_joins_the_live_stream_and_goes_on_without_its_source() {
    for seed in 0..5 {
        let mut lab = Lab::new(seed, 2, |_| {});
        let parameters = ReplicationParameters { live_destination: LIVE, ..Default::default() };
        let (copy, count) = joined(&mut lab, &parameters);
        assert_eq!(
            signals(&lab),
            [
                RecordingSignal::Replicate,
                RecordingSignal::Extend,
                RecordingSignal::Merge,
                RecordingSignal::ReplicateEnd,
                RecordingSignal::Stop
            ],
            "seed {seed}"
        );
        assert_eq!(lab.replay(1, copy, None), (0..count).collect::<Vec<_>>(), "seed {seed}");
        assert_eq!(lab.sites[1].failures, [""; 0]);
    }
}

#[test]
fn a_tagged_copy_joins_the_live_stream_under_its_tags() {
    let mut lab = Lab::new(6, 2, |_| {});
    let parameters = ReplicationParameters {
        live_destination: LIVE,
        channel_tag_id: Some(71),
        subscription_tag_id: Some(72),
        ..Default::default()
    };
    let (copy, count) = joined(&mut lab, &parameters);
    assert_eq!(lab.replay(1, copy, None), (0..count).collect::<Vec<_>>());
}

#[test]
fn a_tagged_copy_can_be_found_by_its_tags_while_it_runs() {
    let mut lab = Lab::new(7, 2, |_| {});
    let (mut publication, id) = lab.record(0, IPC);
    lab.publish(&mut publication, 0..50);
    lab.await_recorded(0, id, publication.position());
    let parameters = ReplicationParameters { channel_tag_id: Some(71), ..Default::default() };
    let replication = lab.ask(1, |it| it.replicate(id, SOURCE, CONTROL, &parameters)).unwrap();
    let copy = |lab: &Lab| lab.sites[1].signals.first().map_or(-1, |it| it.recording_id);
    lab.until("it has all", |lab| lab.recorded(1, copy(lab)) == Some(publication.position().0));
    let found = lab
        .ask(1, |it| it.list_recording_subscriptions(0, 9, None, &format!("tags=71,{replication}")))
        .unwrap();
    assert_eq!(found.len(), 1);
    assert!(found[0].channel.contains("control-mode=manual"), "{}", found[0].channel);
}

#[test]
fn a_copy_comes_over_response_channels() {
    let mut lab = Lab::new(8, 2, |_| {});
    let (mut publication, id) = lab.record(0, IPC);
    lab.publish(&mut publication, 0..200);
    let stop = publication.position();
    lab.await_recorded(0, id, stop);
    drop(publication);
    lab.until("it stops", |lab| lab.has_signal(0, RecordingSignal::Stop));
    let parameters = ReplicationParameters {
        replication_channel: "aeron:udp?control-mode=response|control=10.0.0.1:40789",
        src_response_channel: "aeron:udp?control-mode=response|control=10.0.0.1:40790",
        ..Default::default()
    };
    let copy = replicated(&mut lab, id, &parameters);
    lab.until("it is closed", |lab| signals(lab).contains(&RecordingSignal::Stop));
    assert_eq!(lab.replay(1, copy, None), (0..200).collect::<Vec<_>>());
    assert_eq!(lab.sites[1].failures, [""; 0]);
}

#[test]
fn what_cannot_be_joined_is_told() {
    let mut lab = Lab::new(9, 2, |_| {});
    let response = ReplicationParameters {
        replication_channel: "aeron:udp?control-mode=response|control=10.0.0.1:40789",
        live_destination: LIVE,
        ..Default::default()
    };
    let refused = lab.ask(1, |it| it.replicate(0, SOURCE, CONTROL, &response));
    assert!(refused.unwrap_err().to_string().contains("neither live destination nor tags"));
    let (mut publication, id) = lab.record(0, IPC);
    lab.publish(&mut publication, 0..5);
    drop(publication);
    lab.until("it stops", |lab| lab.has_signal(0, RecordingSignal::Stop));
    let live = ReplicationParameters { live_destination: LIVE, ..Default::default() };
    replicated(&mut lab, id, &live);
    assert_eq!(lab.sites[1].failures.len(), 1);
    assert!(lab.sites[1].failures[0].ends_with("the source recording is not active"));
    assert_eq!(lab.ask(1, |it| it.list_recordings(0, 9)).unwrap(), [], "nothing is left of it");
}
