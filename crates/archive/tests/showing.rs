//! What an archive shows of itself: counters, and the stream of recording events.

#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;

use archive_client::{RecordingSignal, ReplayParameters};
use client::CounterTypeId;
use common::{IPC, Lab};
use wire::archive::event::Event;
use wire::position::StreamId;

fn counter(lab: &Lab, type_id: i32) -> (String, i64) {
    let counters = lab.sites[0].client.counters();
    let found = counters.records().find(|it| it.type_id == CounterTypeId(type_id)).unwrap();
    (found.label.clone(), found.value)
}

#[test]
fn what_is_written_and_read_is_counted_under_the_genuine_names() {
    let mut lab = Lab::new(1, 1, |config| config.control.archive_id = 77);
    let (mut publication, id) = lab.record(0, IPC);
    lab.publish(&mut publication, 0..50);
    let stop = publication.position();
    lab.await_recorded(0, id, stop);
    drop(publication);
    lab.until("it stops", |lab| lab.has_signal(0, RecordingSignal::Stop));
    lab.replay(0, id, None);
    let labels = [
        (102, "Archive Control Sessions"),
        (103, "archive-conductor max cycle time in ns: SHARED"),
        (104, "archive-conductor work cycle time exceeded count: threshold=100ms SHARED"),
        (105, "archive-recorder max write time in ns"),
        (106, "archive-recorder total write bytes"),
        (107, "archive-recorder total write time in ns"),
        (108, "archive-replayer max read time in ns"),
        (109, "archive-replayer total read bytes"),
        (110, "archive-replayer total read time in ns"),
        (111, "Archive Recording Sessions"),
        (112, "Archive Replay Sessions"),
    ];
    for (type_id, label) in labels {
        assert_eq!(counter(&lab, type_id).0, format!("{label} - archiveId=77"));
    }
    assert_eq!(counter(&lab, 102).1, 1);
    // Padding counts by its header only.
    let (written, read) = (counter(&lab, 106).1, counter(&lab, 109).1);
    assert!((1..=stop.0).contains(&written), "{written} of {stop:?}");
    assert!(read >= written, "{read} of {written}");
}

#[test]
fn recording_events_tell_how_a_recording_goes() {
    let mut lab = Lab::new(2, 1, |config| {
        config.events.enabled = true;
        config.events.channel = "aeron:udp?control-mode=dynamic|control=10.0.0.1:8030".to_string();
    });
    let listening = "aeron:udp?endpoint=10.0.0.1:0|control=10.0.0.1:8030|control-mode=dynamic";
    let mut pending = lab.sites[0].client.add_subscription(listening, StreamId(30));
    let mut subscription = None;
    lab.until("somebody listens", |_| {
        subscription = subscription.take().or_else(|| pending.poll().unwrap());
        subscription.as_mut().is_some_and(|it| {
            it.update();
            it.is_connected()
        })
    });
    let mut subscription = subscription.unwrap();
    let (mut publication, id) = lab.record(0, IPC);
    lab.publish(&mut publication, 0..50);
    let stop = publication.position();
    lab.await_recorded(0, id, stop);
    let session_id = publication.session_id().0;
    drop(publication);
    lab.until("it stops", |lab| lab.has_signal(0, RecordingSignal::Stop));
    let mut told = Vec::new();
    lab.until("the end is told", |_| {
        subscription.poll(20, |fragment| {
            match Event::decode(fragment.payload()).unwrap().unwrap() {
                Event::RecordingStarted(it) => {
                    assert_eq!(
                        (it.recording_id, it.session_id, it.start_position),
                        (id, session_id, 0)
                    );
                    assert_eq!(
                        (it.channel, it.source_identity),
                        (IPC.as_bytes(), &b"aeron:ipc"[..])
                    );
                    told.push(0);
                }
                Event::RecordingProgress(it) => told.push(it.position),
                Event::RecordingStopped(it) => {
                    assert_eq!((it.recording_id, it.stop_position), (id, stop.0));
                    told.push(i64::MAX);
                }
            }
        });
        told.last() == Some(&i64::MAX)
    });
    assert_eq!((told[0], told[told.len() - 2]), (0, stop.0), "{told:?}");
    assert!(told.is_sorted());
}

#[test]
fn a_replay_with_a_bad_token_is_refused_and_one_with_a_good_token_is_not() {
    let mut lab = Lab::new(3, 1, |_| {});
    let (mut publication, id) = lab.record(0, IPC);
    lab.publish(&mut publication, 0..5);
    lab.await_recorded(0, id, publication.position());
    let mut other = {
        let control = "aeron:ipc?term-length=64k";
        let pending = lab.sites[0].client.add_exclusive_publication(control, StreamId(10));
        let (mut pending, mut publication) = (pending, None);
        lab.until("another publication", |_| {
            publication = publication.take().or_else(|| pending.poll().unwrap());
            publication.as_ref().is_some_and(client::ExclusivePublication::is_connected)
        });
        publication.unwrap()
    };
    let token = lab.ask(0, |it| it.replay_token(id)).unwrap();
    let mut replay = |lab: &mut Lab, token| {
        let parameters = ReplayParameters { token: Some(token), ..Default::default() };
        let asker = lab.asker(0);
        let (request, bytes) = asker.replay_elsewhere(id, "aeron:ipc", StreamId(5), &parameters);
        other.offer(&bytes).unwrap();
        let mut answer = None;
        lab.until("an answer", |lab| {
            answer = lab.asker(0).take(request);
            answer.is_some()
        });
        answer.unwrap()
    };
    let refused = replay(&mut lab, token ^ 1).unwrap_err().to_string();
    assert!(refused.contains("token"), "{refused}");
    assert!(replay(&mut lab, token).is_ok());
}
