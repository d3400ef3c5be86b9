//! One core, message by message: what each rule of consensus makes it say, and not say.

#![allow(clippy::unwrap_used)] // Helpers of tests.

extern crate coracle_consensus as consensus;

mod bench;

use bench::{Bench, ONE, TWO, append, at, canvass, canvassed, records, request, says, term, votes};
use consensus::{
    ArchiveAction, ArchiveInput, ClientAction, CommitPosition, Control, CorrelationId,
    ElectionState, EventCode, Halt, Ingress, Input, LogAction, MemberId, ModuleState,
    NewLeadershipTerm, Outcome, PeerAction, PeerMessage, Persist, RecordingId, Recovery, Toggle,
};
use wire::position::Position;
use wire::time::{EpochNanos, Nanos, Now};

#[test]
fn p1_a_vote_is_on_disk_before_it_is_spoken() {
    let mut bench = Bench::of_three(&[], 0, -1);
    bench.peers();
    bench.core.handle(at(0), Input::Peer(request(ONE, 5, -1, 0)));
    let mut seen = 0;
    bench.core.drain_peers(|action| {
        seen += 1;
        assert!(matches!(action, PeerAction::Persist(Persist::CandidateTerm { .. })));
        Outcome::BackPressured
    });
    assert_eq!(seen, 1, "nothing passes a record that is not yet durable");
    assert_eq!(votes(&bench.peers()), [true]);
}

#[test]
fn no_second_vote_in_a_term_not_even_for_the_same_candidate() {
    let mut bench = Bench::of_three(&[], 0, -1);
    assert_eq!(votes(&bench.hears(request(ONE, 5, -1, 0))), [true]);
    assert_eq!(votes(&bench.hears(request(ONE, 5, -1, 0))), [false]);
    assert_eq!(votes(&bench.hears(request(TWO, 5, 9, 960))), [false]);
    assert_eq!(votes(&bench.hears(request(TWO, 6, -1, 0))), [true]);
}

#[test]
fn a_newer_log_refuses_its_vote_and_remembers_the_term() {
    let mut bench = Bench::of_three(&[(0, 0), (1, 64)], 96, 1);
    assert_eq!(votes(&bench.hears(request(ONE, 5, 0, 960))), [false]);
    assert_eq!(votes(&bench.hears(request(ONE, 6, 1, 64))), [false]);
    assert_eq!(votes(&bench.hears(request(TWO, 6, 1, 96))), [false]);
    assert_eq!(votes(&bench.hears(request(TWO, 7, 1, 96))), [true]);
}

#[test]
fn a_term_far_above_all_known_ones_is_refused_and_counted() {
    let mut bench = Bench::of_three(&[], 0, -1);
    for far in [i64::MAX, 1 << 40, (1 << 20) + 1] {
        assert_eq!(bench.hears(request(ONE, far, -1, 0)), []);
    }
    assert_eq!(bench.core.counters().refused, 3);
    assert_eq!(bench.hears(request(MemberId(7), 1, -1, 0)), [], "no member of this cluster");
    assert_eq!(votes(&bench.hears(request(ONE, 1 << 19, -1, 0))), [true]);
}

#[test]
fn v1_a_leader_below_the_promise_is_refused_and_v2_shows_the_way_out() {
    let table = [(0, 0), (4, 64)];
    let mut bench = Bench::of_three(&[(0, 0)], 64, 5);
    let said = bench.hears(says(&table, 4, 0));
    assert_eq!(bench.core.counters().promises_kept, 1);
    assert_eq!(canvassed(&said), [(5, 0)], "the report of V2, at position 0");
    let asks = said.iter().filter_map(|action| match action {
        PeerAction::Send { message: PeerMessage::RequestVote(m), .. } => Some(m.candidate_term_id),
        _ => None,
    });
    assert_eq!(asks.collect::<Vec<_>>(), [term(6), term(6)]);
    assert_eq!(bench.core.election_state(), ElectionState::CandidateBallot);
}

#[test]
fn v1_own_nominations_do_not_bind() {
    let mut bench = Bench::of_three(&[(0, 0)], 64, -1);
    bench.hears(canvass(ONE, 0, 64));
    bench.hears(canvass(TWO, 0, 64));
    bench.tick(1);
    bench.tick(1_000);
    assert_eq!(bench.core.election_state(), ElectionState::CandidateBallot);
    // Its time runs from when the own word is durable.
    bench.peers();
    bench.tick(1);
    bench.tick(2_000);
    assert_eq!(bench.core.election_state(), ElectionState::Canvass);
    bench.hears(says(&[(0, 0), (1, 64)], 1, 0));
    bench.hears(says(&[(0, 0), (1, 64)], 1, -1));
    assert_eq!(bench.core.leader(), Some(ONE));
}

#[test]
fn v3_a_leader_of_the_past_is_told_the_truth() {
    let mut bench = Bench::of_three(&[(0, 0), (7, 64)], 96, 0);
    assert_eq!(canvassed(&bench.hears(says(&[(0, 0), (3, 32)], 3, 0))), [(7, 96)]);
    let commit = PeerMessage::CommitPosition(CommitPosition {
        leadership_term_id: term(3),
        log_position: Position(32),
        leader_member_id: ONE,
    });
    assert_eq!(canvassed(&bench.hears(commit)), [(7, 96)]);
}

#[test]
fn f1_the_log_is_cut_where_the_tables_part() {
    let ours = [(0, 0), (1, 64), (3, 96)];
    let theirs = [(0, 0), (1, 64), (2, 96), (4, 128), (5, 192)];
    let mut bench = Bench::of_three(&ours, 160, -1);
    bench.archive();
    assert_eq!(canvassed(&bench.hears(says(&theirs, 5, 3))), [(2, 0)]);
    assert_eq!(canvassed(&bench.hears(says(&theirs, 5, 2))), [(1, 0)]);
    assert_eq!(canvassed(&bench.hears(says(&theirs, 5, 1))), [(0, 0)]);
    assert_eq!(canvassed(&bench.hears(says(&theirs, 5, 0))), []);
    assert_eq!(bench.archive(), [ArchiveAction::Truncate { position: Position(96) }]);
    assert_eq!(bench.peers(), [], "P3: the table is cut after the archive");
    bench.archive_says(ArchiveInput::Truncated { position: Position(96) });
    let dropped = PeerAction::Persist(Persist::DropTerms { from: term(2) });
    assert_eq!(bench.peers().first(), Some(&dropped), "with the ids of the gap below");
    assert_eq!(bench.core.append_position(), Position(96));
}

#[test]
fn f1_the_walk_starts_again_when_the_term_changes() {
    let ours = [(0, 0), (1, 64), (3, 96)];
    let mut bench = Bench::of_three(&ours, 160, -1);
    bench.hears(says(&[(0, 0), (1, 64), (5, 128)], 5, 3));
    assert_eq!(canvassed(&bench.hears(says(&[(0, 0), (1, 64), (6, 128)], 6, 3))), [(2, 0)]);
}

#[test]
fn f2_an_older_term_is_recorded_before_its_data_is_copied() {
    let theirs = [(0, 0), (1, 64), (2, 128)];
    let mut bench = Bench::of_three(&[(0, 0)], 64, -1);
    bench.archive();
    bench.hears(says(&theirs, 2, 0));
    bench.core.handle(at(0), Input::Peer(says(&theirs, 2, -1)));
    assert_eq!(bench.archive(), [], "not before the record is durable");
    let record = Persist::Term { term: term(1), base: Position(64), gap_from: term(1) };
    assert!(bench.peers().contains(&PeerAction::Persist(record)));
    let stop = Position(128);
    let leader_recording_id = RecordingId(4);
    let copy = ArchiveAction::Replicate { from_member: ONE, leader_recording_id, stop };
    assert_eq!(bench.archive(), [copy]);
}

#[test]
fn f3_the_adopted_term_is_recorded_before_an_append_position_of_it() {
    let theirs = [(0, 0), (4, 64)];
    let mut bench = Bench::of_three(&[(0, 0)], 64, -1);
    bench.hears(says(&theirs, 4, 0));
    let said = bench.hears(says(&theirs, 4, -1));
    let record = Persist::Term { term: term(4), base: Position(64), gap_from: term(1) };
    let recorded = said.iter().position(|action| *action == PeerAction::Persist(record.clone()));
    let spoken = said.iter().position(|action| {
        matches!(action, PeerAction::Send { message: PeerMessage::AppendPosition(m), .. }
            if m.leadership_term_id == term(4) && m.log_position == Position(64))
    });
    assert!(recorded.unwrap() < spoken.unwrap());
}

#[test]
fn f4_nothing_is_exposed_below_the_base_of_the_adopted_term() {
    let theirs = [(0, 0), (4, 64)];
    let mut bench = Bench::of_three(&[(0, 0)], 64, -1);
    bench.hears(says(&theirs, 4, 0));
    bench.hears(says(&theirs, 4, -1));
    assert_eq!(bench.core.election_state(), ElectionState::FollowerReplay);
    let commit = |from, at_term, position| {
        PeerMessage::CommitPosition(CommitPosition {
            leadership_term_id: term(at_term),
            log_position: Position(position),
            leader_member_id: from,
        })
    };
    bench.archive();
    bench.hears(commit(TWO, 4, 64));
    bench.hears(commit(ONE, 3, 64));
    bench.hears(commit(ONE, 4, 32));
    assert_eq!(bench.archive(), []);
    bench.hears(commit(ONE, 4, 64));
    bench.tick(1);
    let replay = ArchiveAction::StartReplay { from: Position(0), to: Position(64) };
    assert_eq!(bench.archive(), [replay]);
}

#[test]
fn f5_what_is_committed_is_never_cut() {
    let recovery = Recovery {
        terms: records(&[(0, 0), (3, 96)]),
        recorded: Position(160),
        snapshot: Some((term(3), Position(128), 7)),
        ..Recovery::empty()
    };
    let mut bench = Bench::with(3, &recovery, |_| {});
    let theirs = [(0, 0), (4, 128), (5, 192)];
    bench.hears(says(&theirs, 5, 3));
    bench.hears(says(&theirs, 5, 2));
    bench.hears(says(&theirs, 5, 0));
    assert_eq!(
        bench.core.halted(),
        Some(&Halt::CommittedCut {
            leader: ONE,
            term: term(5),
            position: Position(96),
            committed: Position(128),
        })
    );
    assert_eq!(bench.core.module_state(), ModuleState::Closed);
}

#[test]
fn f6_a_leader_whose_bases_cannot_be_is_refused() {
    let mut bench = Bench::of_three(&[(0, 0)], 64, -1);
    let PeerMessage::NewLeadershipTerm(good) = says(&[(0, 0), (4, 64)], 4, 0) else { return };
    let bad = [
        NewLeadershipTerm { log_position: Position(32), ..good },
        NewLeadershipTerm { next_term_base_log_position: Some(Position(96)), ..good },
        NewLeadershipTerm { next_term_base_log_position: None, ..good },
        NewLeadershipTerm { next_leadership_term_id: Some(term(5)), ..good },
        NewLeadershipTerm { next_leadership_term_id: Some(term(0)), ..good },
        NewLeadershipTerm { term_base_log_position: Position(-32), ..good },
    ];
    for message in bad {
        assert_eq!(bench.hears(PeerMessage::NewLeadershipTerm(message)), [], "{message:?}");
    }
    assert_eq!(bench.core.counters().refused, 6);
}

#[test]
fn l1_the_term_is_recorded_before_the_publication_is_made() {
    let mut bench = Bench::of_three(&[], 0, -1);
    let led = bench.wins();
    assert_eq!(bench.archive(), [], "the record is not yet durable");
    let record = Persist::Term { term: led, base: Position(0), gap_from: led };
    assert!(bench.peers().contains(&PeerAction::Persist(record)));
    assert_eq!(bench.archive(), [ArchiveAction::CreatePublication { position: Position(0) }]);
}

#[test]
fn l2_only_reports_of_the_own_term_count() {
    let mut bench = Bench::of_three(&[(0, 0)], 64, -1);
    let led = bench.wins();
    bench.peers();
    bench.archive();
    bench.archive_says(ArchiveInput::PublicationReady { session_id: 9 });
    bench.hears(canvass(ONE, 0, 960));
    bench.hears(append(TWO, term(led.0 - 1), 960));
    bench.tick(1);
    assert_eq!(bench.core.election_state(), ElectionState::LeaderLogReplication);
    bench.hears(append(ONE, led, 64));
    bench.tick(1);
    assert_eq!(bench.core.election_state(), ElectionState::LeaderReplay);
    let replay = ArchiveAction::StartReplay { from: Position(0), to: Position(64) };
    assert_eq!(bench.archive(), [replay]);
}

#[test]
fn l1_a_report_of_the_own_term_is_answered_and_counted() {
    let mut bench = Bench::of_three(&[(0, 0)], 64, -1);
    let led = bench.wins();
    bench.peers();
    bench.archive_says(ArchiveInput::PublicationReady { session_id: 9 });
    let said = bench.hears(canvass(TWO, led.0, 64));
    let answered = said.iter().any(|action| {
        matches!(action, PeerAction::Send { to, message: PeerMessage::NewLeadershipTerm(m) }
            if *to == TWO && m.next_leadership_term_id.is_none())
    });
    assert!(answered);
    assert_eq!(bench.core.election_state(), ElectionState::LeaderReplay);
}

#[test]
fn l4_leadership_ends_at_any_sign_of_a_higher_term() {
    let signs: [fn(i64) -> PeerMessage; 3] = [
        |led| request(ONE, led + 1, -1, 0),
        |led| canvass(ONE, led + 1, 0),
        |led| says(&[(led + 1, 0)], led + 1, led),
    ];
    for sign in signs {
        let mut bench = Bench::of_three(&[], 0, -1);
        let led = bench.wins();
        bench.hears(sign(led.0));
        assert_eq!(bench.core.election_state(), ElectionState::Init);
        assert!(bench.archive().contains(&ArchiveAction::LeaveLog));
    }
}

#[test]
fn l4_a_leader_without_an_active_quorum_steps_down() {
    let mut bench = Bench::of_three(&[], 0, -1);
    bench.wins();
    bench.tick(9_999);
    assert_eq!(bench.core.election_state(), ElectionState::LeaderLogReplication);
    bench.tick(1);
    assert_eq!(bench.core.election_state(), ElectionState::Init);
}

#[test]
fn a_quorum_waits_for_the_missing_member_until_the_start_up_canvass_ends() {
    let mut bench = Bench::of_three(&[], 0, -1);
    bench.hears(canvass(ONE, -1, 0));
    bench.tick(59_999);
    assert_eq!(bench.core.election_state(), ElectionState::Canvass);
    bench.tick(1);
    assert_eq!(bench.core.election_state(), ElectionState::Nominate);
}

#[test]
fn who_is_not_the_first_candidate_leaves_it_time_to_be_elected() {
    let after = |other: MemberId, ms| {
        let mut bench = Bench::with(3, &Recovery::empty(), |config| config.member_id = ONE);
        bench.hears(canvass(other, -1, 0));
        bench.tick(60_000);
        assert_eq!(bench.core.election_state(), ElectionState::Nominate);
        bench.tick(ms);
        bench.core.election_state()
    };
    assert_eq!(after(TWO, 199), ElectionState::Nominate, "a node that just started");
    assert_eq!(after(TWO, 200), ElectionState::CandidateBallot);
    assert_eq!(after(MemberId(0), 499), ElectionState::Nominate);
    assert_eq!(after(MemberId(0), 1_000), ElectionState::CandidateBallot);
}

#[test]
fn a_member_that_is_not_the_appointed_leader_never_nominates_itself() {
    let mut bench = Bench::with(3, &Recovery::empty(), |config| {
        config.appointed_leader = Some(TWO);
    });
    bench.hears(canvass(ONE, -1, 0));
    bench.hears(canvass(TWO, -1, 0));
    bench.tick(600_000);
    assert_eq!(bench.core.election_state(), ElectionState::Canvass);
}

#[test]
fn a_single_member_commits_what_it_has_recorded_and_no_more() {
    let mut bench = Bench::single();
    assert_eq!(bench.core.commit_position(), Position(96));
    bench.core.handle(at(bench.ms), Input::Control(Control::Suspend));
    assert_eq!(bench.log(), ["ClusterAction"]);
    bench.tick(1);
    assert_eq!(bench.core.commit_position(), Position(96));
    bench.records();
    assert_eq!(bench.core.commit_position(), Position(192));
    assert_eq!(bench.core.module_state(), ModuleState::Suspended);
    bench.core.handle(at(bench.ms), Input::Control(Control::Resume));
    assert_eq!(bench.log(), ["ClusterAction"]);
    assert_eq!(bench.core.toggle(), Toggle::Neutral);
    bench.tick(100_000);
    assert!(bench.core.is_leading(), "a single member never loses its quorum");
}

#[test]
fn a_snapshot_is_recorded_when_all_of_it_is_and_the_log_waits_for_it() {
    let mut bench = Bench::single();
    bench.core.handle(at(bench.ms), Input::Control(Control::Snapshot));
    assert_eq!(bench.log(), ["ClusterAction"]);
    assert_eq!(bench.archive(), [], "not before it is committed");
    bench.records();
    let position = Position(192);
    assert_eq!(bench.archive(), [ArchiveAction::TakeSnapshot { position, term: term(0) }]);
    assert_eq!(bench.core.module_state(), ModuleState::Snapshot);
    let recording_id = Some(RecordingId(8));
    bench.archive_says(ArchiveInput::SnapshotTaken { recording_id });
    let recorded = bench.peers().into_iter().any(|action| {
        matches!(action, PeerAction::Persist(Persist::Snapshot { position: at, module, .. })
            if at == position && module == RecordingId(8))
    });
    assert!(recorded);
    assert_eq!(bench.core.module_state(), ModuleState::Active);
    assert_eq!(bench.core.toggle(), Toggle::Neutral);
}

#[test]
fn a_failed_snapshot_leaves_no_record_and_the_cluster_goes_on() {
    let mut bench = Bench::single();
    bench.core.handle(at(bench.ms), Input::Control(Control::Snapshot));
    bench.log();
    bench.records();
    bench.peers();
    bench.archive_says(ArchiveInput::SnapshotTaken { recording_id: None });
    assert!(!bench.peers().iter().any(|action| matches!(action, PeerAction::Persist(_))));
    assert_eq!(bench.core.module_state(), ModuleState::Active);
    assert_eq!(bench.core.toggle(), Toggle::Neutral);
}

#[test]
fn a_shutdown_takes_a_snapshot_closes_the_term_and_ends() {
    let mut bench = Bench::single();
    bench.core.handle(at(bench.ms), Input::Control(Control::Shutdown));
    bench.log();
    bench.records();
    bench.archive_says(ArchiveInput::SnapshotTaken { recording_id: Some(RecordingId(8)) });
    bench.tick(1);
    assert_eq!(bench.core.halted(), Some(&Halt::Terminated));
    let end = PeerAction::Persist(Persist::EndTerm { term: term(0), end: Position(192) });
    assert!(bench.peers().contains(&end));
}

#[test]
fn an_abort_ends_without_a_snapshot() {
    let mut bench = Bench::single();
    bench.core.handle(at(bench.ms), Input::Control(Control::Abort));
    assert_eq!(bench.log(), Vec::<String>::new());
    bench.tick(1);
    bench.tick(1);
    assert_eq!(bench.core.halted(), Some(&Halt::Terminated));
    assert!(!bench.archive().iter().any(|a| matches!(a, ArchiveAction::TakeSnapshot { .. })));
}

#[test]
fn who_does_not_lead_redirects_clients() {
    let mut bench = Bench::of_three(&[], 0, -1);
    let connect = Ingress::Connect {
        correlation_id: CorrelationId(5),
        response_stream_id: 102,
        version: 768,
        response_channel: "aeron:udp?endpoint=client:1",
        credentials: b"",
    };
    bench.core.handle(at(0), Input::Ingress(connect));
    let mut codes = Vec::new();
    bench.peers();
    bench.core.drain_clients(|_, action| {
        if let ClientAction::Event { code, .. } = action {
            codes.push(*code);
        }
        Outcome::Done
    });
    assert_eq!(codes, [EventCode::Redirect]);
}

#[test]
fn the_time_of_the_log_never_falls_with_the_wall_clock() {
    let mut bench = Bench::single();
    let mut stamp = |now: Now, control| {
        let mut time = 0;
        bench.core.handle(now, Input::Control(control));
        bench.core.drain_log(now, |action| {
            if let LogAction::ClusterAction { timestamp, .. } = action {
                time = *timestamp;
            }
            bench.published += 96;
            Outcome::Appended(Position(bench.published))
        });
        time
    };
    let later = Now { mono: Nanos::from_millis(9_000), epoch: EpochNanos(2_000_000_000_000) };
    let earlier = Now { mono: Nanos::from_millis(9_001), epoch: EpochNanos(1_500_000_000_000) };
    assert_eq!(stamp(later, Control::Suspend), 2_000_000);
    assert_eq!(stamp(earlier, Control::Resume), 2_000_000);
}
