//! What the consensus module does with its archive and the log's streams, action by action, over
//! real drivers and archives in a simulated world.

#![allow(clippy::unwrap_used)]

mod bed;

use bed::Bed;
use cluster::log_archive::{LogFault, Wanted};
use cluster::snapshot::Provenance;
use cluster::snapshot_archive::SnapshotLoadError;
use consensus::{ArchiveAction, ArchiveInput, MemberId, RecordingId};
use runtime::Nanos;
use wire::position::Position;

const START: Position = Position(0);

#[test]
fn a_leader_s_log_is_recorded_left_and_gone_on_with() {
    let mut bed = Bed::new(1, 1);
    assert_eq!(bed.leave(0), START);
    bed.lead(0, START);
    let (source, stream) = bed.nodes[0].log.log_source().unwrap();
    assert!(source.starts_with("aeron-spy:aeron:udp?"), "{source}");
    assert_eq!(stream, 100);
    let end = bed.append(0, 100);
    assert_eq!(bed.leave(0), end);
    bed.lead(0, end);
    let later = bed.append(0, 50);
    assert!(later > end);
    assert_eq!(bed.leave(0), later);
}

#[test]
fn a_recording_is_cut_and_gone_on_with() {
    let mut bed = Bed::new(2, 1);
    bed.lead(0, START);
    let kept = bed.append(0, 70);
    bed.append(0, 130);
    bed.leave(0);
    bed.perform(0, ArchiveAction::Truncate { position: kept });
    assert_eq!(bed.next(0), ArchiveInput::Truncated { position: kept });
    bed.lead(0, kept);
    let end = bed.append(0, 10);
    assert_eq!(bed.leave(0), end);
}

#[test]
fn an_archive_that_is_gone_is_told_once() {
    let mut bed = Bed::new(3, 1);
    bed.lead(0, START);
    bed.append(0, 3);
    bed.kill_archive(0);
    assert_eq!(bed.next(0), ArchiveInput::Lost);
    bed.run_millis(2_000);
    assert_eq!(bed.nodes[0].told, []);
}

#[test]
fn what_is_recorded_is_replayed_to_module_and_services() {
    let mut bed = Bed::new(4, 1);
    bed.lead(0, START);
    let end = bed.append(0, 200);
    bed.leave(0);
    bed.perform(0, ArchiveAction::StartReplay { from: START, to: end });
    let told = bed.next(0);
    let ArchiveInput::ImageJoined { session_id, position } = told else { panic!("{told:?}") };
    assert_eq!(position, START);
    let source = (format!("aeron:ipc?session-id={session_id}"), 103);
    assert_eq!(bed.nodes[0].log.log_source(), Some(source));
    bed.read_to(0, end);
    bed.perform(0, ArchiveAction::StopReplay);
    assert_eq!(bed.nodes[0].log.log_source(), None);
    bed.lead(0, end);
    assert_eq!(bed.append(0, 1), Position(end.0 + 1_088));
}

/// What services that read nothing until then find, after the module has read as much of a replay
/// of `count` messages.
fn services_after(seed: u64, count: usize, read: usize, action: ArchiveAction) {
    let mut bed = Bed::new(seed, 1);
    bed.lead(0, START);
    let middle = bed.append(0, read);
    let end = if count > read { bed.append(0, count - read) } else { middle };
    bed.leave(0);
    bed.perform(0, ArchiveAction::StartReplay { from: START, to: end });
    assert!(matches!(bed.next(0), ArchiveInput::ImageJoined { .. }));
    let mut services = bed.join_services(0);
    assert!(bed.until(|_| {
        services.update();
        services.image_count() == 1
    }));
    bed.read_to(0, middle);
    bed.perform(0, action);
    bed.run_millis(500);
    let mut found = 0;
    assert!(bed.until(|_| {
        found += services.poll(1, |_| {});
        found == read
    }));
}

#[test]
fn services_read_a_replay_to_its_end_after_the_module_has() {
    services_after(27, 20, 20, ArchiveAction::StopReplay);
}

#[test]
fn services_read_a_replay_that_is_left_as_far_as_the_module_has() {
    services_after(28, 200, 10, ArchiveAction::LeaveLog);
}

#[test]
fn a_follower_records_the_live_log_and_hears_of_its_orderly_end() {
    let mut bed = Bed::new(5, 2);
    let session_id = bed.lead(0, START);
    bed.follow(1, session_id, START);
    let end = bed.append_read(0, 200, &[1]);
    assert!(bed.until(|bed| bed.nodes[1].recorded == Some(end)));
    assert_eq!(bed.leave(0), end);
    assert_eq!(bed.next(1), ArchiveInput::ImageClosed { is_end_of_stream: true });
    assert_eq!(bed.leave(1), end);
}

#[test]
fn an_end_that_nobody_may_read_up_to_is_heard_of_too() {
    let mut bed = Bed::new(6, 2);
    let session_id = bed.lead(0, START);
    bed.follow(1, session_id, START);
    let limit = bed.append(0, 20);
    let end = bed.append(0, 20);
    bed.read_to(1, limit);
    bed.leave(0);
    assert_eq!(bed.next(1), ArchiveInput::ImageClosed { is_end_of_stream: true });
    assert_eq!(bed.leave(1), end);
}

#[test]
fn a_leader_that_dies_closes_the_image_without_an_end() {
    let mut bed = Bed::new(7, 2);
    let session_id = bed.lead(0, START);
    bed.follow(1, session_id, START);
    let end = bed.append(0, 20);
    bed.read_to(1, end);
    let (leader, follower) = (bed.nodes[0].host, bed.nodes[1].host);
    bed.world.cut(leader, follower);
    let told = bed.next(1);
    assert!(
        matches!(told, ArchiveInput::RecordingStopped { position } if position == end)
            || told == ArchiveInput::ImageClosed { is_end_of_stream: false },
        "{told:?}"
    );
    assert_eq!(bed.leave(1), end);
}

#[test]
fn a_follower_that_was_away_catches_up_and_goes_on_live() {
    let mut bed = Bed::new(8, 3);
    let session_id = bed.lead(0, START);
    bed.follow(1, session_id, START);
    bed.follow(2, session_id, START);
    let left = bed.append_read(0, 50, &[1, 2]);
    assert!(bed.until(|bed| bed.nodes[2].recorded == Some(left)));
    assert_eq!(bed.leave(2), left);
    let later = bed.append_read(0, 50, &[1]);
    bed.catch_up(2, session_id, left);
    bed.read_to(2, later);
    bed.perform(2, ArchiveAction::AddLiveDestination);
    let end = bed.append_read(0, 50, &[1]);
    bed.read_to(2, end);
    assert!(bed.until(|bed| bed.nodes[2].recorded == Some(end)));
    bed.perform(0, ArchiveAction::StopCatchup { member: MemberId(2) });
    bed.perform(2, ArchiveAction::RemoveCatchupDestination);
    let live = bed.append_read(0, 200, &[1, 2]);
    assert!(bed.until(|bed| bed.nodes[2].recorded == Some(live)));
    bed.leave(0);
    assert_eq!(bed.next(2), ArchiveInput::ImageClosed { is_end_of_stream: true });
    assert_eq!(bed.leave(2), live);
}

#[test]
fn a_follower_copies_what_it_lacks_from_the_leader_s_archive() {
    let mut bed = Bed::new(9, 3);
    let session_id = bed.lead(0, START);
    bed.follow(1, session_id, START);
    let first = bed.append(0, 30);
    let second = bed.append_read(0, 100, &[1]);
    let leader_recording_id = bed.nodes[0].log.recording_id().unwrap();
    for stop in [first, second] {
        let from_member = MemberId(0);
        bed.perform(2, ArchiveAction::Replicate { from_member, leader_recording_id, stop });
        assert_eq!(bed.next(2), ArchiveInput::Replicated { position: stop });
        assert!(bed.nodes[2].recorded.is_none_or(|position| position <= stop));
    }
    assert_eq!(bed.leave(2), second);
    bed.follow(2, session_id, second);
    let end = bed.append_read(0, 10, &[1]);
    bed.read_to(2, end);
    assert!(bed.until(|bed| bed.nodes[2].recorded == Some(end)));
}

#[test]
fn a_copy_of_what_the_leader_has_not_fails() {
    let mut bed = Bed::new(10, 2);
    let from_member = MemberId(0);
    let (leader_recording_id, stop) = (RecordingId(77), Position(1_024));
    bed.perform(1, ArchiveAction::Replicate { from_member, leader_recording_id, stop });
    assert!(bed.until(|bed| !bed.nodes[1].told.is_empty()));
    assert_eq!(bed.nodes[1].told, [ArchiveInput::Failed]);
    assert_eq!(bed.leave(1), START);
}

#[test]
fn a_log_is_left_at_any_moment_of_any_action() {
    for (seed, millis) in (0..40).enumerate() {
        let mut bed = Bed::new(100 + seed as u64, 3);
        let session_id = bed.lead(0, START);
        bed.follow(1, session_id, START);
        let first = bed.append(0, 30);
        let leader_recording_id = bed.nodes[0].log.recording_id().unwrap();
        let (from_member, stop) = (MemberId(0), first);
        bed.perform(2, ArchiveAction::Replicate { from_member, leader_recording_id, stop });
        if millis % 2 == 0 {
            bed.run_millis(millis / 2);
        } else {
            bed.doze(2, millis / 2);
        }
        let copied = bed.leave(2);
        assert!(copied <= first, "{copied:?}");
        bed.perform(
            2,
            ArchiveAction::OpenLog { leader: from_member, session_id, is_catchup: true },
        );
        bed.run_millis(millis);
        assert_eq!(bed.leave(2), copied);
        bed.perform(2, ArchiveAction::CreatePublication { position: copied });
        bed.run_millis(millis / 4);
        if bed.nodes[2].log.publisher().is_some() {
            bed.perform(2, ArchiveAction::RecordPublication);
            bed.run_millis(millis / 4);
        }
        assert_eq!(bed.leave(2), copied);
        bed.lead(2, copied);
        if copied > START {
            bed.perform(2, ArchiveAction::LeaveLog);
            bed.run_millis(1_000);
            bed.nodes[2].told.clear();
            bed.perform(2, ArchiveAction::StartReplay { from: START, to: copied });
            bed.run_millis(millis / 4);
        }
        assert_eq!(bed.leave(2), copied);
        assert_eq!(bed.log_count(2), 1);
    }
}

#[test]
fn a_first_recording_that_nobody_heard_of_is_left_and_gone_on_with() {
    let mut bed = Bed::new(24, 1);
    bed.perform(0, ArchiveAction::CreatePublication { position: START });
    assert!(matches!(bed.next(0), ArchiveInput::PublicationReady { .. }));
    bed.perform(0, ArchiveAction::RecordPublication);
    bed.doze(0, 50);
    bed.perform(0, ArchiveAction::LeaveLog);
    assert_eq!(bed.next(0), ArchiveInput::LogLeft { recorded: START });
    bed.lead(0, START);
    assert_eq!(bed.log_count(0), 1);
}

#[test]
fn what_an_archive_says_while_the_module_dozes_is_not_lost() {
    let mut bed = Bed::new(25, 3);
    let session_id = bed.lead(0, START);
    bed.follow(1, session_id, START);
    let stop = bed.append(0, 20);
    let leader_recording_id = bed.nodes[0].log.recording_id().unwrap();
    let copy = ArchiveAction::Replicate { from_member: MemberId(0), leader_recording_id, stop };
    bed.perform(2, copy);
    bed.doze(2, 1_000);
    assert_eq!(bed.next(2), ArchiveInput::Replicated { position: stop });
    bed.perform(2, ArchiveAction::Truncate { position: START });
    bed.doze(2, 100);
    assert_eq!(bed.next(2), ArchiveInput::Truncated { position: START });
    bed.perform(2, copy);
    bed.doze(2, 1_000);
    assert_eq!(bed.leave(2), stop);
    let unknown = RecordingId(77);
    let copy = ArchiveAction::Replicate {
        from_member: MemberId(0),
        leader_recording_id: unknown,
        stop: Position(stop.0 + 1_024),
    };
    bed.perform(2, copy);
    bed.doze(2, 1_000);
    bed.run_millis(10);
    assert_eq!(bed.nodes[2].told, [ArchiveInput::Failed]);
    assert_eq!(bed.leave(2), stop);
}

#[test]
fn a_log_goes_on_after_its_archive_died() {
    let mut bed = Bed::new(26, 1);
    bed.lead(0, START);
    let end = bed.append(0, 5);
    let found = bed.restart_archive(0).unwrap();
    assert_eq!(found.stop_position, Some(end));
    bed.lead(0, end);
    let later = bed.append(0, 5);
    assert_eq!(bed.leave(0), later);
}

#[test]
fn a_disk_that_fails_is_a_loss() {
    let mut bed = Bed::new(11, 1);
    bed.lead(0, START);
    bed.append(0, 3);
    bed.fail_disk(0);
    bed.offer(0, 10);
    assert_eq!(bed.next(0), ArchiveInput::Lost);
}

#[test]
fn a_module_s_snapshot_is_recorded_and_loaded() {
    let mut bed = Bed::new(12, 1);
    bed.lead(0, START);
    bed.append(0, 3);
    let (messages, provenance) = bed::snapshot();
    let position = provenance.position;
    bed.perform(0, ArchiveAction::TakeSnapshot { position, term: provenance.term });
    let now = bed.now(0);
    let log = &mut bed.nodes[0].log;
    assert_eq!(log.wants(), Some(Wanted::Snapshot { position, term: provenance.term }));
    assert_eq!(log.wants(), None);
    log.begin_snapshot(messages.clone(), now);
    // An election runs meanwhile.
    bed.perform(0, ArchiveAction::LeaveLog);
    let told = [bed.next(0), bed.next(0)];
    let taken = told.iter().find_map(|input| match input {
        ArchiveInput::SnapshotTaken { recording_id } => Some(recording_id.unwrap()),
        _ => None,
    });
    let taken = taken.unwrap();
    assert_eq!(bed.load(0, taken, provenance), Ok(messages));
    let another = Provenance { position: Position(position.0 + 32), ..provenance };
    assert!(matches!(bed.load(0, taken, another), Err(SnapshotLoadError::Content(_))));
    let unknown = RecordingId(99);
    assert!(matches!(bed.load(0, unknown, provenance), Err(SnapshotLoadError::Fault { .. })));
}

#[test]
fn a_snapshot_fails_alone() {
    let mut bed = Bed::new(13, 1);
    bed.lead(0, START);
    let now = bed.now(0);
    bed.nodes[0].log.begin_snapshot(vec![vec![0; 1 << 20]], now);
    assert_eq!(bed.next(0), ArchiveInput::SnapshotTaken { recording_id: None });
    bed.append(0, 3);
}

#[test]
fn a_snapshot_without_its_end_is_not_loaded() {
    let mut bed = Bed::new(14, 1);
    let (mut messages, provenance) = bed::snapshot();
    messages.pop();
    let now = bed.now(0);
    bed.nodes[0].log.begin_snapshot(messages, now);
    let told = bed.next(0);
    let ArchiveInput::SnapshotTaken { recording_id: Some(id) } = told else { panic!("{told:?}") };
    assert_eq!(bed.load(0, id, provenance), Err(SnapshotLoadError::Truncated(id)));
}

#[test]
fn a_recording_that_somebody_stops_is_told_with_its_end() {
    let mut bed = Bed::new(15, 1);
    bed.lead(0, START);
    let end = bed.append(0, 5);
    let id = bed.nodes[0].log.recording_id().unwrap();
    let mut archive = bed.archive(0);
    archive.stop_recording_by_identity(id.0);
    let _ = archive.poll(bed.now(0)).unwrap();
    assert_eq!(bed.next(0), ArchiveInput::RecordingStopped { position: end });
    bed.run_millis(100);
    assert_eq!(bed.nodes[0].told, []);
    assert_eq!(bed.leave(0), end);
}

#[test]
fn a_publication_that_does_not_continue_the_recording_fails() {
    let mut bed = Bed::new(16, 1);
    bed.lead(0, START);
    let end = bed.append(0, 5);
    bed.leave(0);
    bed.perform(0, ArchiveAction::CreatePublication { position: Position(end.0 + 32) });
    assert!(matches!(bed.next(0), ArchiveInput::PublicationReady { .. }));
    bed.perform(0, ArchiveAction::RecordPublication);
    assert!(bed.until(|bed| !bed.nodes[0].told.is_empty()));
    assert_eq!(bed.nodes[0].told, [ArchiveInput::Failed]);
    assert!(matches!(bed.nodes[0].log.next_fault(), Some(LogFault::Archive(_))));
    assert_eq!(bed.leave(0), end);
    bed.lead(0, end);
}

#[test]
fn a_disk_without_room_is_a_loss() {
    let mut bed = Bed::new(17, 1);
    bed.world.disk_faults(bed.nodes[0].host).set_space(64 << 20);
    bed.perform(0, ArchiveAction::CreatePublication { position: START });
    assert!(matches!(bed.next(0), ArchiveInput::PublicationReady { .. }));
    bed.perform(0, ArchiveAction::RecordPublication);
    assert_eq!(bed.next(0), ArchiveInput::Lost);
}

#[test]
fn a_log_that_services_still_hold_is_joined_again_at_once() {
    let mut bed = Bed::new(18, 2);
    let session_id = bed.lead(0, START);
    let mut position = START;
    let mut services = Vec::new();
    for _ in 0..3 {
        bed.follow(1, session_id, position);
        services.push(bed.join_services(1));
        position = bed.append_read(0, 5, &[1]);
        assert!(bed.until(|bed| bed.nodes[1].recorded == Some(position)));
        assert_eq!(bed.leave(1), position);
    }
}

#[test]
fn a_member_without_an_address_holds_no_leader_up() {
    let mut bed = Bed::named(19, 2, &[1]);
    let session_id = bed.lead(0, START);
    bed.run_millis(3_000);
    bed.name(1);
    bed.follow(1, session_id, START);
    let end = bed.append_read(0, 5, &[1]);
    assert!(bed.until(|bed| bed.nodes[1].recorded == Some(end)));
}

#[test]
fn a_long_copy_tells_how_it_goes_on_and_can_be_left() {
    let mut bed = Bed::new(20, 3);
    let session_id = bed.lead(0, START);
    bed.follow(1, session_id, START);
    let stop = bed.append_read(0, 1_000, &[1]);
    let twenty = Nanos::from_millis(20);
    let delay = sim::Delay::Uniform { min: twenty, max: twenty };
    bed.world.set_links(sim::LinkFaults { delay, ..sim::LinkFaults::default() });
    let leader_recording_id = bed.nodes[0].log.recording_id().unwrap();
    let copy = ArchiveAction::Replicate { from_member: MemberId(0), leader_recording_id, stop };
    bed.perform(2, copy);
    assert!(bed.until(|bed| bed.nodes[2].recorded.is_some()));
    let copied = bed.nodes[2].recorded.unwrap();
    let left = bed.leave(2);
    assert!(copied <= left && left < stop, "{left:?} of {stop:?}");
    bed.perform(2, copy);
    assert_eq!(bed.next(2), ArchiveInput::Replicated { position: stop });
}

#[test]
fn a_catch_up_to_nowhere_harms_nobody() {
    let mut bed = Bed::new(21, 2);
    let session_id = bed.lead(0, START);
    bed.follow(1, session_id, START);
    bed.append_read(0, 5, &[1]);
    let member = MemberId(1);
    for endpoint in ["nowhere", "10.0.0.99:4", ""] {
        bed.perform(0, ArchiveAction::StartCatchup { member, from: START });
        bed.nodes[0].log.give_catchup_endpoint(member, endpoint);
        bed.run_millis(1_000);
        bed.perform(0, ArchiveAction::StopCatchup { member });
    }
    bed.run_millis(6_000);
    assert_eq!(bed.nodes[0].told, []);
    let end = bed.append_read(0, 5, &[1]);
    assert_eq!(bed.leave(0), end);
}

#[test]
fn a_member_that_starts_again_goes_on_with_what_its_archive_holds() {
    let mut bed = Bed::new(22, 1);
    bed.lead(0, START);
    let end = bed.append(0, 100);
    bed.leave(0);
    let found = bed.restart(0).unwrap();
    assert_eq!(found.stop_position, Some(end));
    bed.lead(0, end);
    let later = bed.append(0, 10);
    assert_eq!(bed.leave(0), later);
}

#[test]
fn a_log_begins_where_a_snapshot_was_given() {
    let mut bed = Bed::new(23, 1);
    let position = Position(3 * 65_536 + 96);
    bed.lead(0, position);
    let end = bed.append(0, 1);
    assert_eq!(bed.leave(0), end);
}
