//! How long a member waits that has seen elections fail, and for whom it does not wait at all.

#![allow(clippy::unwrap_used)] // Helpers of tests.

extern crate coracle_consensus as consensus;

mod bench;

use bench::{Bench, ONE, TWO, canvass, request, says, vote};
use consensus::{ElectionState, LeadershipTermId, PeerAction, PeerMessage, Vote};

/// Stands for a term and has its request sent.
fn stands(bench: &mut Bench) -> LeadershipTermId {
    bench.peers();
    for member in [ONE, TWO] {
        bench.core.handle(bench::at(bench.ms), consensus::Input::Peer(canvass(member, -1, 0)));
    }
    bench.tick(1);
    bench.tick(5_000);
    assert_eq!(bench.core.election_state(), ElectionState::CandidateBallot);
    let asked = bench.peers().into_iter().find_map(|action| match action {
        PeerAction::Send { message: PeerMessage::RequestVote(m), .. } => Some(m.candidate_term_id),
        _ => None,
    });
    bench.tick(1);
    asked.unwrap()
}

#[test]
fn a_quorum_of_votes_is_enough_in_time_whatever_failed_before() {
    let mut bench = Bench::of_three(&[], 0, -1);
    for _ in 0..4 {
        stands(&mut bench);
        bench.tick(10_000);
        assert_eq!(bench.core.election_state(), ElectionState::Canvass);
    }
    let term = stands(&mut bench);
    bench.hears(vote(ONE, term));
    bench.tick(998);
    assert_eq!(bench.core.election_state(), ElectionState::CandidateBallot, "the third may vote");
    bench.tick(2);
    assert_eq!(bench.core.election_state(), ElectionState::LeaderLogReplication);
}

#[test]
fn a_ballot_without_enough_votes_lasts_longer_after_others_that_failed() {
    let mut bench = Bench::of_three(&[], 0, -1);
    for span in [1_000, 2_000, 4_000, 8_000, 10_000, 10_000] {
        stands(&mut bench);
        bench.tick(span - 2);
        assert_eq!(bench.core.election_state(), ElectionState::CandidateBallot);
        bench.tick(2);
        assert_eq!(bench.core.election_state(), ElectionState::Canvass);
    }
}

#[test]
fn a_leader_that_canvasses_is_left_without_waiting_for_its_silence() {
    let mut bench = Bench::of_three(&[(0, 0)], 64, -1);
    let table = [(0, 0), (1, 64)];
    bench.hears(says(&table, 1, 0));
    bench.hears(says(&table, 1, -1));
    assert_eq!(bench.core.leader(), Some(ONE));
    bench.hears(canvass(ONE, 1, 64));
    assert_eq!(bench.core.leader(), Some(ONE), "it has just spoken as the leader");
    bench.tick(400);
    bench.hears(canvass(ONE, 0, 64));
    bench.hears(canvass(TWO, 1, 64));
    assert_ne!(bench.core.election_state(), ElectionState::Init, "this is of old, or of others");
    bench.hears(canvass(ONE, 1, 64));
    assert_eq!(bench.core.election_state(), ElectionState::Init);
}

/// A member whose ballots have failed for so long that the next may last as long as any.
fn impatient() -> Bench {
    let mut bench = Bench::of_three(&[(0, 0)], 64, -1);
    for _ in 0..4 {
        stands(&mut bench);
        bench.tick(10_000);
        assert_eq!(bench.core.election_state(), ElectionState::Canvass);
    }
    bench
}

#[test]
fn a_ballot_with_a_vote_against_it_is_over_in_time_whatever_failed_before() {
    let mut bench = impatient();
    let term = stands(&mut bench);
    let PeerMessage::Vote(against) = vote(ONE, term) else { unreachable!() };
    bench.hears(PeerMessage::Vote(Vote { vote: false, ..against }));
    bench.tick(998);
    assert_eq!(bench.core.election_state(), ElectionState::CandidateBallot);
    bench.tick(2);
    assert_eq!(bench.core.election_state(), ElectionState::Canvass);
}

#[test]
fn a_ballot_that_a_higher_term_overtook_is_over_in_time_whatever_failed_before() {
    let mut bench = impatient();
    let term = stands(&mut bench);
    bench.hears(request(ONE, term.0 + 1, -1, 0));
    assert_eq!(bench.core.election_state(), ElectionState::CandidateBallot, "its log is older");
    bench.hears(vote(TWO, term));
    bench.tick(1_000);
    assert_eq!(bench.core.election_state(), ElectionState::Canvass);
}

#[test]
fn a_ballot_of_which_another_candidate_has_not_heard_is_over_in_time() {
    let mut bench = impatient();
    let term = stands(&mut bench);
    bench.hears(request(ONE, term.0 - 1, 0, 64));
    bench.tick(998);
    assert_eq!(bench.core.election_state(), ElectionState::CandidateBallot, "its vote may come");
    bench.tick(2);
    assert_eq!(bench.core.election_state(), ElectionState::Canvass);
}
