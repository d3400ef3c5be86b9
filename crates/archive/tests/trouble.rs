//! What an archive does when disks fail, processes die and power is cut: nothing that it
//! acknowledged is lost, and everybody is told.

#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;

use archive_client::{ArchiveErrorCode, RecordingSignal};
use common::{DIRECTORY, IPC, Lab};
use coracle_archive::Config;
use coracle_archive::checksum::Checksum;
use coracle_archive::config::SyncLevel;
use runtime::Nanos;
use runtime::random::Rng;
use wire::position::Position;

fn durable(config: &mut Config) {
    config.storage.file_sync_level = SyncLevel::Data;
    config.storage.catalog_file_sync_level = SyncLevel::Data;
    config.storage.record_checksum = Some(Checksum::Crc32c);
    config.storage.replay_checksum = Some(Checksum::Crc32c);
}

#[test]
fn a_position_is_published_only_after_its_sync() {
    let mut lab = Lab::new(1, 1, durable);
    let (mut publication, id) = lab.record(0, IPC);
    lab.run(Nanos::from_secs(1));
    lab.world.set_background_delay(Nanos::from_millis(300), Nanos::from_millis(300));
    lab.publish(&mut publication, 0..5);
    lab.run(Nanos::from_millis(250));
    assert_eq!(lab.recorded(0, id), Some(0), "published before the sync");
    lab.await_recorded(0, id, publication.position());
}

#[test]
fn a_failed_sync_acknowledges_nothing_ends_the_recording_and_is_told() {
    let mut lab = Lab::new(2, 1, durable);
    let (mut publication, id) = lab.record(0, IPC);
    lab.publish(&mut publication, 0..10);
    let good = publication.position();
    lab.await_recorded(0, id, good);
    let host = lab.sites[0].host;
    lab.world.disk_faults(host).fail_syncs(1);
    lab.publish(&mut publication, 10..15);
    lab.until("it stops", |lab| lab.has_signal(0, RecordingSignal::Stop));
    let stop = lab.sites[0].signals.last().unwrap();
    assert_eq!(stop.position, good.0);
    assert_eq!(lab.stop_position(0, id), Some(good));
    assert_eq!(lab.sites[0].failures.len(), 1, "{:?}", lab.sites[0].failures);
    assert_eq!(lab.replay(0, id, None), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_failed_write_ends_the_recording_after_what_was_good() {
    let mut lab = Lab::new(3, 1, |_| {});
    let (mut publication, id) = lab.record(0, IPC);
    lab.publish(&mut publication, 0..10);
    let good = publication.position();
    lab.await_recorded(0, id, good);
    let host = lab.sites[0].host;
    lab.world.disk_faults(host).fail_writes(1);
    lab.publish(&mut publication, 10..12);
    lab.until("it stops", |lab| lab.has_signal(0, RecordingSignal::Stop));
    assert_eq!(lab.sites[0].signals.last().unwrap().position, good.0);
    assert_eq!(lab.sites[0].failures.len(), 1, "{:?}", lab.sites[0].failures);
    assert_eq!(lab.replay(0, id, None), (0..10).collect::<Vec<_>>());
}

/// Block and catalog entry both: whoever waits for the end of the recording gets it.
#[test]
fn the_end_of_a_recording_is_written_as_soon_as_the_disk_takes_it() {
    let mut lab = Lab::new(3, 1, |_| {});
    let (mut publication, id) = lab.record(0, IPC);
    lab.publish(&mut publication, 0..10);
    let good = publication.position();
    lab.await_recorded(0, id, good);
    let host = lab.sites[0].host;
    lab.world.disk_faults(host).fail_writes(3);
    lab.publish(&mut publication, 10..12);
    lab.until("it stops", |lab| lab.has_signal(0, RecordingSignal::Stop));
    assert_eq!(lab.stop_position(0, id), None, "nothing that is not written");
    lab.run(Nanos::from_millis(250));
    assert_eq!(lab.stop_position(0, id), Some(good));
}

#[test]
fn a_client_is_answered_once_there_is_room_for_its_response_stream() {
    let mut lab = Lab::new(3, 1, |_| {});
    let host = lab.sites[0].host;
    let used = lab.world.disk_faults(host).used();
    // Room for the client's request stream, and for no other.
    lab.world.disk_faults(host).set_space(used + 300_000);
    let start = lab.world.now(host);
    let (config, handle) = (archive_client::Config::default(), lab.sites[0].client.handle());
    let credentials = Box::new(archive_client::NoCredentials);
    let mut connecting =
        archive_client::ArchiveClient::connect(config, credentials, &handle, start).unwrap();
    let mut is_roomy = false;
    loop {
        lab.step();
        let now = lab.world.now(host);
        let passed = now.mono - start.mono;
        if connecting.poll(now).unwrap().is_some() {
            break;
        }
        if passed > Nanos::from_secs(1) && !is_roomy {
            is_roomy = true;
            lab.world.disk_faults(host).set_space(1 << 40);
        }
        assert!(passed < Nanos::from_secs(3), "not answered though there is room again");
    }
    assert!(is_roomy);
}

#[test]
fn a_full_disk_ends_recordings_with_its_reason_and_later_ones_work_again() {
    let mut lab = Lab::new(4, 1, |_| {});
    let (mut publication, id) = lab.record(0, IPC);
    lab.publish(&mut publication, 0..10);
    lab.await_recorded(0, id, publication.position());
    let host = lab.sites[0].host;
    let used = lab.world.disk_faults(host).used();
    lab.world.disk_faults(host).set_space(used + 100_000);
    let mut number = 10;
    lab.until("it stops", |lab| {
        if publication.is_connected() && number < 1_000 {
            let _ = publication.offer(&common::message(number)).map(|_| number += 1);
        }
        lab.has_signal(0, RecordingSignal::Stop)
    });
    let text = format!("archive error {}", ArchiveErrorCode::StorageSpace.code());
    assert!(lab.sites[0].failures.iter().any(|it| it.starts_with(&text)));
    let refused = lab.ask(0, |it| {
        it.start_recording(
            "aeron:ipc?alias=x",
            wire::position::StreamId(9),
            archive_client::SourceLocation::Local,
            false,
        )
    });
    assert!(refused.is_err());
    lab.world.disk_faults(host).set_space(1 << 40);
    drop(publication);
    let numbers = lab.replay(0, id, None);
    assert_eq!(numbers, (0..numbers.len() as u32).collect::<Vec<_>>());
    assert!(numbers.len() >= 10);
}

#[test]
fn a_killed_archive_finds_the_end_of_its_recordings_by_their_content() {
    for seed in 0..8 {
        let mut lab = Lab::new(seed, 1, |_| {});
        let mut rng = Rng::new(seed, "kill");
        let (mut publication, id) = lab.record(0, IPC);
        lab.publish(&mut publication, 0..200 + rng.below(200) as u32);
        let published = lab.recorded(0, id).unwrap();
        drop(publication);
        lab.restart_archive(0);
        let stop = lab.stop_position(0, id).expect("it has ended").0;
        assert!(stop >= published, "seed {seed}: {stop} < {published}");
        let numbers = lab.replay(0, id, None);
        assert_eq!(numbers, (0..numbers.len() as u32).collect::<Vec<_>>(), "seed {seed}");
    }
}

/// The heart of durability: whatever a reader of the position counter has seen is there after the
/// power is cut at any moment, byte for byte, and what is there beyond is whole.
#[test]
fn what_was_acknowledged_survives_a_power_cut_at_any_moment() {
    let mut cut_in_mid_stream = 0;
    for seed in 0..40 {
        let mut lab = Lab::new(seed, 1, durable);
        let mut rng = Rng::new(seed, "power");
        let (mut publication, id) = lab.record(0, IPC);
        let count = 1 + rng.below(300) as u32;
        lab.publish(&mut publication, 0..count);
        lab.run(Nanos::from_micros(rng.below(3_000).cast_signed()));
        let published = lab.recorded(0, id).unwrap();
        cut_in_mid_stream += u32::from(published < publication.position().0);
        let host = lab.sites[0].host;
        lab.world.power_cut(host);
        drop(publication);
        lab.restart_host(0);
        let stop = lab.stop_position(0, id).expect("it has ended").0;
        assert!(stop >= published, "seed {seed}: {stop} < {published}");
        if stop > 0 {
            let numbers = lab.replay(0, id, None);
            // A cut inside of a message leaves its first fragments, which no reader puts together.
            assert_eq!(numbers, (0..numbers.len() as u32).collect::<Vec<_>>(), "seed {seed}");
            assert!(published == 0 || !numbers.is_empty() || stop < 4_000, "seed {seed}");
        }
    }
    assert!(cut_in_mid_stream >= 5, "only {cut_in_mid_stream} cuts came in mid-stream");
}

#[test]
fn two_archives_do_not_share_a_directory() {
    let mut lab = Lab::new(5, 1, |_| {});
    let host = lab.sites[0].host;
    let now = lab.world.now(host);
    let mut refused = false;
    lab.world.spawn(host, |ports| {
        let config = common::config(std::net::IpAddr::from([10, 0, 0, 1]));
        let aeron = client::Config::default();
        let second =
            coracle_archive::launch(config, aeron, Box::new(coracle_archive::AllowAll), ports, now);
        refused = second.is_err_and(|error| error.to_string().contains(DIRECTORY));
        Vec::new()
    });
    assert!(refused);
}

#[test]
fn an_extension_after_a_cut_never_shows_what_was_cut_off() {
    let mut lab = Lab::new(6, 1, durable);
    let (mut publication, id) = lab.record(0, IPC);
    lab.publish(&mut publication, 0..20);
    let kept = publication.position();
    lab.publish(&mut publication, 20..40);
    lab.await_recorded(0, id, publication.position());
    drop(publication);
    lab.until("it stops", |lab| lab.has_signal(0, RecordingSignal::Stop));
    lab.ask(0, |it| it.truncate_recording(id, kept)).unwrap();
    let host = lab.sites[0].host;
    lab.world.power_cut(host);
    lab.restart_host(0);
    let stop = lab.stop_position(0, id);
    assert_eq!(stop, Some(kept), "the answer came before the catalog was durable");
    assert_eq!(lab.replay(0, id, Some(Position(0))), (0..20).collect::<Vec<_>>());
}
