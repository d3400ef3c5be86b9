//! What the abstract model of the rules left open, on the core itself; `docs/model-check.md` has
//! the list. The other half of the answers is the model check.

#![allow(clippy::unwrap_used)] // Helpers of tests.

extern crate coracle_consensus as consensus;

mod bench;

use bench::{Bench, ONE, TWO, at, canvassed, records, request, says, term, votes};
use consensus::{
    ArchiveAction, ArchiveInput, CommitPosition, Consensus, ElectionState, Halt, Input, PeerAction,
    PeerMessage, Persist, TermRecord, TermTable,
};
use wire::position::Position;

/// The TERM entries of recording.log, as an agent keeps them.
#[derive(Default)]
struct File(Vec<TermRecord>);

impl File {
    fn take(&mut self, actions: &[PeerAction]) {
        for action in actions {
            match action {
                PeerAction::Persist(Persist::Term { term: id, base, gap_from }) => {
                    let ids = [*id].into_iter().chain((gap_from.0..id.0).map(term));
                    self.0.extend(ids.map(|term| TermRecord { term, base: *base }));
                }
                PeerAction::Persist(Persist::DropTerms { from }) => {
                    self.0.retain(|record| record.term < *from);
                }
                _ => {}
            }
        }
        self.0.sort_by_key(|record| record.term);
    }

    /// What a restart makes of it is what the running core holds: all bases up to the same term.
    fn must_match(&self, core: &Consensus) {
        let doubled = self.0.windows(2).any(|pair| pair[0].term == pair[1].term);
        assert!(!doubled, "{:?}", self.0);
        let (loaded, dropped) = TermTable::load(&self.0, Position(i64::MAX), true).unwrap();
        assert_eq!((loaded.last(), dropped), (core.terms().last(), None));
        for id in 0..=loaded.last().0 {
            assert_eq!(loaded.base_of(term(id)), core.terms().base_of(term(id)), "{:?}", self.0);
        }
    }
}

/// Follows member 1 of `led` until its term is recorded; all that was written is in `file`.
fn follow(bench: &mut Bench, file: &mut File, table: &[(i64, i64)], led: i64) {
    for _ in 0..12 {
        let asked = bench.core.terms().last().0;
        let mut said = bench.hears(says(table, led, asked));
        file.take(&said);
        while let Some(&(probe, _)) = canvassed(&said).last() {
            said = bench.hears(says(table, led, probe));
            file.take(&said);
        }
        for action in bench.archive() {
            match action {
                ArchiveAction::Truncate { position } => {
                    bench.archive_says(ArchiveInput::Truncated { position });
                }
                ArchiveAction::Replicate { stop, .. } => {
                    bench.archive_says(ArchiveInput::Replicated { position: stop });
                }
                _ => {}
            }
        }
        file.take(&bench.peers());
        if bench.core.terms().last() == term(led) {
            return;
        }
    }
    panic!("never followed: {:?}", bench.core.terms());
}

/// The leader is gone: back to the canvass.
fn leave(bench: &mut Bench, file: &mut File) {
    bench.tick(60_000);
    let recorded = bench.core.append_position();
    bench.archive_says(ArchiveInput::LogLeft { recorded });
    file.take(&bench.peers());
    assert_eq!(bench.core.election_state(), ElectionState::Canvass);
}

#[test]
fn terms_of_a_gap_before_the_first_record_go_with_it() {
    let (mut bench, mut file) = (Bench::of_three(&[], 0, -1), File::default());
    follow(&mut bench, &mut file, &[(3, 0)], 3);
    assert_eq!(file.0, records(&[(0, 0), (1, 0), (2, 0), (3, 0)]));
    file.must_match(&bench.core);
    leave(&mut bench, &mut file);
    // A leader that never had term 3, and data of term 0.
    follow(&mut bench, &mut file, &[(0, 0), (3, 64), (5, 128)], 5);
    file.must_match(&bench.core);
}

#[test]
fn terms_of_a_gap_between_records_go_with_the_term_that_made_them() {
    let (mut bench, mut file) = (Bench::of_three(&[(0, 0)], 64, -1), File(records(&[(0, 0)])));
    follow(&mut bench, &mut file, &[(0, 0), (3, 64)], 3);
    assert_eq!(file.0, records(&[(0, 0), (1, 64), (2, 64), (3, 64)]));
    leave(&mut bench, &mut file);
    // It agrees on terms 1 and 2, which this member never followed, but not on 3.
    let with_two = [(0, 0), (2, 64), (5, 128)];
    for question in [3, 2, 0, 1, -1] {
        let said = bench.hears(says(&with_two, 5, question));
        file.take(&said);
        if file.0.len() < 4 {
            break;
        }
    }
    assert_eq!(file.0, records(&[(0, 0)]), "or term 2 would be its newest after a restart");
    // It dies; the next leader has data of term 1 there.
    follow(&mut bench, &mut file, &[(0, 0), (1, 64), (6, 128)], 6);
    assert_eq!(file.0[1], records(&[(1, 64)])[0]);
    file.must_match(&bench.core);
}

#[test]
fn a_member_whose_records_cannot_all_be_true_ends_with_the_evidence() {
    let bench = Bench::of_three(&[(0, 0), (2, 64), (1, 96)], 128, 2);
    let [last, refused] = [(1, 96), (2, 64)].map(|pair| records(&[pair])[0]);
    assert_eq!(bench.core.halted(), Some(&Halt::IncoherentTerm { last, refused }));
}

#[test]
fn p2_a_torn_gap_never_leaves_a_term_that_was_not_heard_of() {
    let mut bench = Bench::of_three(&[(0, 0)], 64, -1);
    bench.hears(says(&[(0, 0), (4, 64)], 4, 0));
    let said = bench.hears(says(&[(0, 0), (4, 64)], 4, -1));
    let persisted = said.iter().find_map(|action| match action {
        PeerAction::Persist(record @ Persist::Term { .. }) => Some(record.clone()),
        _ => None,
    });
    // One record says all: the agent writes its term first, so that any part of it holds term 4.
    let all = Persist::Term { term: term(4), base: Position(64), gap_from: term(1) };
    assert_eq!(persisted, Some(all));
    let torn = Bench::of_three(&[(0, 0), (4, 64), (1, 64)], 64, 4);
    let bases: Vec<_> = (0..5).map(|id| torn.core.terms().base_of(term(id)).unwrap().0).collect();
    assert_eq!((torn.core.terms().last(), bases), (term(4), vec![0, 64, 64, 64, 64]));
}

#[test]
fn a_vote_against_raises_the_candidate_term_and_binds_only_after_a_restart() {
    let mut bench = Bench::of_three(&[(0, 0)], 64, -1);
    assert_eq!(votes(&bench.hears(request(TWO, 5, -1, 0))), [false], "its log is older");
    let fourth = [(0, 0), (4, 64)];
    bench.hears(says(&fourth, 4, 0));
    bench.hears(says(&fourth, 4, -1));
    assert_eq!(bench.core.leader(), Some(ONE), "who voted against may follow an older term");
    assert_eq!(votes(&bench.hears(request(TWO, 5, -1, 0))), [], "it leaves the leader first");
    // After a restart nobody knows which vote it was: it binds (V1), and V2 is the way out.
    let mut bench = Bench::of_three(&[(0, 0)], 64, 5);
    let said = bench.hears(says(&fourth, 4, 0));
    assert_eq!(bench.core.counters().promises_kept, 1);
    let asks = |action: &&PeerAction| {
        matches!(action, PeerAction::Send { message: PeerMessage::RequestVote(m), .. }
            if m.candidate_term_id == term(6))
    };
    assert_eq!(said.iter().filter(asks).count(), 2);
}

#[test]
fn a_late_word_of_a_leader_that_leads_no_more_moves_nothing_but_its_own_record() {
    let mut bench = Bench::of_three(&[(0, 0)], 64, -1);
    let fourth = [(0, 0), (4, 64)];
    bench.hears(says(&fourth, 4, 0));
    bench.hears(says(&fourth, 4, -1));
    assert_eq!(bench.core.terms().last(), term(4), "its base was the end of a quorum's log");
    assert_eq!(bench.core.commit_position(), Position(0));
    leave(&mut bench, &mut File::default());
    // Term 6 is followed; what the leader of 4 said before it fell arrives now, twice.
    let sixth = [(0, 0), (4, 64), (6, 64)];
    let from_two = |message: PeerMessage| match message {
        PeerMessage::NewLeadershipTerm(mut m) => {
            m.leader_member_id = TWO;
            PeerMessage::NewLeadershipTerm(m)
        }
        other => other,
    };
    for log_term in [4, 3, 0, -1] {
        bench.hears(from_two(says(&sixth, 6, log_term)));
    }
    assert_eq!(bench.core.leader(), Some(TWO));
    let commit = PeerMessage::CommitPosition(CommitPosition {
        leadership_term_id: term(4),
        log_position: Position(64),
        leader_member_id: ONE,
    });
    for message in [commit.clone(), says(&fourth, 4, 0), commit, says(&fourth, 4, 4)] {
        bench.hears(message);
        assert_eq!(bench.core.leader(), Some(TWO));
        assert_eq!(bench.core.commit_position(), Position(0));
    }
}

/// All tables over `ids`, the first base 0, bases up to 64.
fn tables(ids: &[i64]) -> Vec<Vec<(i64, i64)>> {
    let mut all: Vec<Vec<(i64, i64)>> = vec![Vec::new()];
    for &id in ids {
        let mut more = all.clone();
        for table in &all {
            let bases: &[i64] = if table.is_empty() { &[0] } else { &[0, 32, 64] };
            let last = table.last().map_or(0, |&(_, base)| base);
            for &base in bases.iter().filter(|&&base| base >= last) {
                more.push([table.as_slice(), &[(id, base)]].concat());
            }
        }
        all = more;
    }
    all
}

fn table_of(pairs: &[(i64, i64)]) -> TermTable {
    TermTable::load(&records(pairs), Position(i64::MAX), true).unwrap().0
}

/// Whether two members can have these tables: where a term with data begins alike, all before it
/// is alike (log matching).
fn can_be(ours: &TermTable, recorded: i64, theirs: &TermTable) -> bool {
    let last = ours.last().0;
    let shares = |id: i64| {
        let base = ours.base_of(term(id));
        let end = ours.end_of(term(id)).unwrap_or(Position(recorded));
        base == theirs.base_of(term(id)) && base < Some(end) && base < theirs.end_of(term(id))
    };
    (0..=last)
        .filter(|&id| shares(id))
        .all(|id| (0..id).all(|below| ours.base_of(term(below)) == theirs.base_of(term(below))))
}

/// What the rule says: where to cut, and from which term on to drop.
fn by_the_rule(ours: &TermTable, recorded: i64, theirs: &TermTable) -> (i64, Option<i64>) {
    let last = ours.last();
    let differs = (0..=last.0).find(|&id| ours.base_of(term(id)) != theirs.base_of(term(id)));
    let base = |table: &TermTable, id| table.base_of(term(id)).unwrap().0;
    let cut = differs
        .map_or_else(|| theirs.end_of(last).unwrap().0, |id| base(ours, id).min(base(theirs, id)));
    (cut.min(recorded), differs)
}

/// What the walk does, its answers doubled and mixed with those to other questions.
fn by_the_walk(ours: &[(i64, i64)], recorded: i64, theirs: &[(i64, i64)]) -> (i64, Option<i64>) {
    let last = ours.last().unwrap().0;
    let mut bench = Bench::of_three(ours, recorded, -1);
    bench.archive();
    bench.peers();
    let mut question = last;
    for _ in 0..20 {
        for other in (-1..4).filter(|&other| other != question) {
            bench.core.handle(at(0), Input::Peer(says(theirs, 4, other)));
        }
        for _ in 0..2 {
            bench.core.handle(at(0), Input::Peer(says(theirs, 4, question)));
        }
        let said = bench.peers();
        let cut = bench.archive().into_iter().find_map(|action| match action {
            ArchiveAction::Truncate { position } => Some(position.0),
            _ => None,
        });
        if let Some(cut) = cut {
            bench.archive_says(ArchiveInput::Truncated { position: Position(cut) });
            return (cut, dropped(&bench, last));
        }
        let is_over = dropped(&bench, last).is_some()
            || bench.core.election_state() != ElectionState::Canvass;
        if is_over {
            return (recorded, dropped(&bench, last));
        }
        bench.tick(100);
        let probes = canvassed(&[said, bench.peers()].concat());
        question = probes.iter().rev().find(|probe| probe.0 != last).map_or(last, |probe| probe.0);
    }
    panic!("{ours:?} to {recorded} never agrees with {theirs:?}");
}

fn dropped(bench: &Bench, last: i64) -> Option<i64> {
    let now = bench.core.terms().last().0;
    (now < last).then_some(now + 1)
}

#[test]
fn f1_the_walk_message_by_message_cuts_where_a_comparison_at_once_would() {
    let mut compared = 0;
    for ours in tables(&[0, 1, 2, 3]).into_iter().filter(|table| !table.is_empty()) {
        let begins = ours.last().unwrap().1;
        for recorded in [0, 32, 64].into_iter().filter(|&end| end >= begins) {
            for theirs in tables(&[0, 1, 2, 3]) {
                let base = theirs.last().map_or(0, |&(_, base)| base.max(32));
                let theirs = [theirs.as_slice(), &[(4, base)]].concat();
                let (own, other) = (table_of(&ours), table_of(&theirs));
                if !can_be(&own, recorded, &other) {
                    continue;
                }
                let (cut, differs) = by_the_rule(&own, recorded, &other);
                let (walked, dropped) = by_the_walk(&ours, recorded, &theirs);
                let text = format!("{ours:?} to {recorded}, leader {theirs:?}");
                assert_eq!(walked, cut, "{text}");
                // Ids without a record of their own go with the one above.
                let kept = |from: Option<i64>| {
                    ours.iter().filter(|&&(id, _)| from.is_none_or(|from| id < from)).count()
                };
                assert_eq!(kept(dropped), kept(differs), "{text}");
                compared += 1;
            }
        }
    }
    assert!(compared > 3_000, "{compared}");
}
