//! Rules H1 to H4: a member that lost a part of its log.

#![allow(clippy::unwrap_used)] // Helpers of tests.

extern crate coracle_consensus as consensus;

mod bench;

use bench::{Bench, ONE, TWO, canvass, records, request, says, term};
use consensus::{
    ArchiveAction, ArchiveInput, ElectionState, Halt, Input, Loss, PeerAction, PeerMessage,
    Persist, RecordingId, Recovery,
};
use wire::position::Position;
use wire::time::Now;

/// Member 0 of three, which lost what it had from 96 to 160.
fn lossy() -> Bench {
    lossy_with(3)
}

/// The same; it voted in term `candidate`.
fn lossy_with(candidate: i64) -> Bench {
    let loss = Loss { cut: None, term: term(3), acknowledged: Position(160) };
    let recovery = Recovery {
        terms: records(&[(0, 0), (3, 64)]),
        candidate_term: term(candidate),
        recorded: Position(96),
        loss: Some(loss),
        ..Recovery::empty()
    };
    Bench::with(3, &recovery, |_| {})
}

fn votes(said: &[PeerAction]) -> usize {
    let is_one = |action: &&PeerAction| {
        let PeerAction::Send { message, .. } = action else { return false };
        matches!(message, PeerMessage::Vote(_) | PeerMessage::RequestVote(_))
    };
    said.iter().filter(is_one).count()
}

fn now(bench: &Bench) -> Now {
    bench::at(bench.ms)
}

/// Joins the log of member 1, which leads term `led` and has committed up to `end`.
fn follows(bench: &mut Bench, table: &[(i64, i64)], led: i64, end: i64) {
    bench.hears(says(table, led, led));
    bench.core.handle(now(bench), Input::Peer(bench::commit(ONE, led, end)));
    bench.tick(1);
    let replay = bench.archive();
    if replay.iter().any(|action| matches!(action, ArchiveAction::StartReplay { .. })) {
        let position = Position(0);
        bench.archive_says(ArchiveInput::ImageJoined { session_id: 5, position });
        bench.tick(1);
        let read = bench.core.append_position();
        bench.core.handle(now(bench), Input::Consumed(read));
        bench.tick(1);
        bench.archive();
    }
    let position = bench.core.append_position();
    bench.archive_says(ArchiveInput::CatchupReady);
    bench.archive_says(ArchiveInput::ImageJoined { session_id: 6, position });
    let recording_id = RecordingId(0);
    bench.archive_says(ArchiveInput::RecordingStarted { recording_id, position });
    bench.tick(1);
    bench.core.handle(now(bench), Input::Recorded(Position(end)));
    bench.core.handle(now(bench), Input::Consumed(Position(end)));
    bench.hears(bench::stop_catchup(led));
    bench.tick(1);
}

#[test]
fn h1_who_lost_of_its_log_neither_votes_nor_stands() {
    let mut bench = lossy();
    for log_term in [0, 3, 9] {
        assert_eq!(votes(&bench.hears(request(ONE, 10 + log_term, log_term, 960))), 0);
    }
    for member in [ONE, TWO] {
        bench.hears(canvass(member, 0, 64));
    }
    for _ in 0..200 {
        bench.tick(1_000);
        assert_eq!(votes(&bench.peers()), 0);
        assert_eq!(bench.core.election_state(), ElectionState::Canvass);
    }
    let mut whole = Bench::of_three(&[(0, 0), (3, 64)], 96, 3);
    assert_eq!(votes(&whole.hears(request(ONE, 10, 3, 960))), 1, "the same without a loss");
}

#[test]
fn h1_a_leader_below_the_promise_is_refused_without_standing() {
    let mut bench = lossy_with(5);
    let said = bench.hears(says(&[(0, 0), (3, 64), (4, 96)], 4, 3));
    let asks = said.iter().find_map(|action| match action {
        PeerAction::Send { message: PeerMessage::RequestVote(m), .. } => Some(*m),
        _ => None,
    });
    let asks = asks.expect("a ballot that others may win");
    assert_eq!((asks.log_leadership_term_id, asks.log_position), (term(-1), Position(0)));
    assert_eq!(asks.candidate_term_id, term(6));
    assert_eq!(bench.core.election_state(), ElectionState::Canvass);
}

#[test]
fn h2_in_the_last_term_of_the_lost_log_all_that_was_acknowledged_must_be_there_again() {
    let table = [(0, 0), (3, 64)];
    let mut bench = lossy();
    follows(&mut bench, &table, 3, 128);
    assert_eq!(bench.core.election_state(), ElectionState::Closed);
    assert!(bench.core.loss().is_some(), "160 were acknowledged, 128 are there");
    bench.core.handle(now(&bench), Input::Recorded(Position(160)));
    bench.tick(1);
    assert_eq!(bench.core.loss(), None);
    assert!(bench.peers().contains(&PeerAction::Persist(Persist::Regained)));
}

#[test]
fn h2_in_a_later_term_the_log_of_its_leader_is_enough() {
    let table = [(0, 0), (3, 64), (4, 96)];
    let mut bench = lossy();
    bench.hears(says(&table, 4, 3));
    bench.hears(says(&table, 4, 2));
    follows(&mut bench, &table, 4, 128);
    assert_eq!(bench.core.election_state(), ElectionState::Closed);
    assert_eq!(bench.core.loss(), None);
}

#[test]
fn h3_the_loss_is_durable_before_the_log_is_cut_and_its_terms_go_with_it() {
    let mut bench = Bench::of_three(&[(0, 0), (3, 64), (5, 128)], 160, 7);
    bench.peers();
    bench.archive_says(ArchiveInput::Rotten { position: Position(96) });
    assert_eq!(bench.archive(), [], "not before the record");
    let loss = Loss { cut: Some(Position(96)), term: term(5), acknowledged: Position(160) };
    assert!(bench.peers().contains(&PeerAction::Persist(Persist::Loss(loss))));
    assert_eq!(bench.archive(), [ArchiveAction::LeaveLog]);
    // Told again meanwhile: that is known.
    bench.archive_says(ArchiveInput::Rotten { position: Position(96) });
    assert_eq!(bench.peers(), []);
    bench.archive_says(ArchiveInput::LogLeft { recorded: Position(160) });
    assert_eq!(bench.archive(), [ArchiveAction::Truncate { position: Position(96) }]);
    bench.archive_says(ArchiveInput::Truncated { position: Position(96) });
    assert_eq!(bench.core.append_position(), Position(96));
    assert_eq!(bench.core.terms().last(), term(3));
    let loss = Loss { cut: None, ..loss };
    assert!(bench.peers().contains(&PeerAction::Persist(Persist::Loss(loss))));
    assert_eq!(votes(&bench.hears(request(ONE, 8, 9, 960))), 0);
}

#[test]
fn of_two_losses_that_of_the_newer_term_says_what_has_to_be_regained() {
    let loss = |cut: Option<i64>, of: i64, end| {
        let acknowledged = Position(end);
        Loss { cut: cut.map(Position), term: term(of), acknowledged }
    };
    let (older, newer) = (loss(None, 3, 160), loss(Some(64), 5, 96));
    assert_eq!(older.and(newer), loss(Some(64), 5, 96));
    assert_eq!(newer.and(older), loss(Some(64), 5, 96));
    let (one, two) = (loss(Some(64), 5, 160), loss(Some(32), 5, 96));
    assert_eq!(one.and(two), loss(Some(32), 5, 160));
}

#[test]
fn h3_what_was_recorded_last_of_a_log_that_is_being_left_may_be_lost_too() {
    let mut bench = Bench::of_three(&[(0, 0), (3, 64)], 160, 3);
    bench.hears(says(&[(0, 0), (3, 64)], 3, 3));
    bench.archive_says(ArchiveInput::Failed);
    bench.peers();
    bench.archive();
    assert_eq!(bench.core.election_state(), ElectionState::Init);
    bench.archive_says(ArchiveInput::Rotten { position: Position(192) });
    let loss = Loss { cut: Some(Position(192)), term: term(3), acknowledged: Position(160) };
    assert_eq!(bench.peers(), [PeerAction::Persist(Persist::Loss(loss))]);
    bench.archive_says(ArchiveInput::LogLeft { recorded: Position(224) });
    assert_eq!(bench.archive(), [ArchiveAction::Truncate { position: Position(192) }]);
}

#[test]
fn h4_a_term_that_was_followed_binds_though_its_record_was_lost() {
    let mut bench = Bench::of_three(&[(0, 0), (3, 64)], 160, 3);
    let table = [(0, 0), (3, 64), (5, 160)];
    bench.hears(says(&table, 5, 3));
    bench.hears(says(&table, 5, 2));
    assert_eq!(bench.core.terms().last(), term(5));
    bench.archive_says(ArchiveInput::Rotten { position: Position(96) });
    bench.peers();
    bench.archive_says(ArchiveInput::LogLeft { recorded: Position(160) });
    bench.archive_says(ArchiveInput::Truncated { position: Position(96) });
    assert_eq!(bench.core.terms().last(), term(3));
    bench.hears(says(&[(0, 0), (3, 64), (4, 160)], 4, 3));
    assert_eq!(bench.core.counters().promises_kept, 1);
    assert_eq!(bench.core.election_state(), ElectionState::Canvass);
}

#[test]
fn a_member_whose_others_are_too_few_to_elect_anybody_stops_with_the_evidence() {
    let mut bench = Bench::single();
    bench.archive_says(ArchiveInput::Rotten { position: Position(32) });
    let (position, recorded) = (Position(32), bench.core.append_position());
    assert_eq!(bench.core.halted(), Some(&Halt::LogRotten { position, recorded }));
}
