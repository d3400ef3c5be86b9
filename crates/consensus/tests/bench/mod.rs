//! One core on a bench: what it hears is written down, what it says is read.

#![allow(dead_code, unreachable_pub)] // Each test uses its part of it.

use consensus::{
    AppendPosition, ArchiveAction, ArchiveInput, CanvassPosition, CommitPosition, Config,
    Consensus, ElectionState, Input, LeadershipTermId, LogAction, MemberId, NewLeadershipTerm,
    Outcome, PeerAction, PeerMessage, RecordingId, Recovery, RequestVote, StopCatchup, TermRecord,
    TermTable, Vote,
};
use wire::position::Position;
use wire::time::{EpochNanos, Nanos, Now};

pub const ONE: MemberId = MemberId(1);
pub const TWO: MemberId = MemberId(2);

pub fn term(id: i64) -> LeadershipTermId {
    LeadershipTermId(id)
}

pub fn records(pairs: &[(i64, i64)]) -> Vec<TermRecord> {
    let record = |&(id, base): &(i64, i64)| TermRecord { term: term(id), base: Position(base) };
    pairs.iter().map(record).collect()
}

/// Member 0 of a cluster, without services, with genuine time-outs.
pub struct Bench {
    pub core: Consensus,
    pub ms: i64,
    pub published: i64,
}

impl Bench {
    pub fn with(members: i32, recovery: &Recovery, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(MemberId(0), (0..members).map(MemberId).collect());
        config.service_count = 0;
        change(&mut config);
        let core = Consensus::new(config, recovery, 1, at(0));
        let mut bench = Self { core, ms: 0, published: recovery.recorded.0 };
        bench.tick(0);
        bench
    }

    pub fn of_three(terms: &[(i64, i64)], recorded: i64, candidate: i64) -> Self {
        let recovery = Recovery {
            terms: records(terms),
            candidate_term: term(candidate),
            recorded: Position(recorded),
            ..Recovery::empty()
        };
        Self::with(3, &recovery, |_| {})
    }

    pub fn tick(&mut self, ms: i64) {
        self.ms += ms;
        self.core.handle(at(self.ms), Input::Tick);
    }

    pub fn hears(&mut self, message: PeerMessage) -> Vec<PeerAction> {
        self.peers();
        self.core.handle(at(self.ms), Input::Peer(message));
        self.peers()
    }

    pub fn archive_says(&mut self, input: ArchiveInput) {
        self.core.handle(at(self.ms), Input::Archive(input));
    }

    pub fn peers(&mut self) -> Vec<PeerAction> {
        let mut all = Vec::new();
        self.core.drain_peers(|action| {
            all.push(action.clone());
            Outcome::Done
        });
        all
    }

    pub fn archive(&mut self) -> Vec<ArchiveAction> {
        let mut all = Vec::new();
        self.core.drain_archive(|action| {
            all.push(*action);
            Outcome::Done
        });
        all
    }

    /// Appends what is due; the names of the events.
    pub fn log(&mut self) -> Vec<String> {
        let (mut all, published) = (Vec::new(), &mut self.published);
        self.core.drain_log(at(self.ms), |action: &LogAction<'_>| {
            all.push(format!("{action:?}").split(' ').next().unwrap().into());
            *published += 96;
            Outcome::Appended(Position(*published))
        });
        all
    }

    /// Lets member 0 win with the votes of all, and has its publication made.
    pub fn wins(&mut self) -> LeadershipTermId {
        for member in [ONE, TWO] {
            self.hears(canvass(member, -1, 0));
        }
        self.tick(1);
        self.tick(1_000);
        let asked = self.peers().into_iter().find_map(|action| match action {
            PeerAction::Send { message: PeerMessage::RequestVote(m), .. } => {
                Some(m.candidate_term_id)
            }
            _ => None,
        });
        let asked = asked.unwrap();
        for member in [ONE, TWO] {
            self.core.handle(at(self.ms), Input::Peer(vote(member, asked)));
        }
        assert_eq!(self.core.election_state(), ElectionState::LeaderLogReplication);
        asked
    }

    /// A single member up to its service.
    pub fn single() -> Self {
        let mut bench = Self::with(1, &Recovery::empty(), |_| {});
        bench.peers();
        assert_eq!(bench.archive(), [ArchiveAction::CreatePublication { position: Position(0) }]);
        bench.archive_says(ArchiveInput::PublicationReady { session_id: 9 });
        assert_eq!(bench.archive(), [ArchiveAction::RecordPublication]);
        let recording_id = RecordingId(3);
        let position = Position(0);
        bench.archive_says(ArchiveInput::RecordingStarted { recording_id, position });
        bench.tick(1);
        assert_eq!(bench.log(), ["NewLeadershipTerm"]);
        bench.records();
        assert!(bench.core.is_leading());
        bench
    }

    /// The archive records all that was published.
    pub fn records(&mut self) {
        let recorded = Input::Recorded(Position(self.published));
        self.core.handle(at(self.ms), recorded);
        self.core.handle(at(self.ms), Input::Tick);
    }
}

pub fn at(ms: i64) -> Now {
    Now { mono: Nanos::from_millis(5_000 + ms), epoch: EpochNanos(1_000_000_000_000 + ms) }
}

pub fn canvass(from: MemberId, log_term: i64, position: i64) -> PeerMessage {
    PeerMessage::CanvassPosition(CanvassPosition {
        log_leadership_term_id: term(log_term),
        log_position: Position(position),
        leadership_term_id: term(log_term),
        follower_member_id: from,
    })
}

pub fn request(from: MemberId, candidate: i64, log_term: i64, position: i64) -> PeerMessage {
    PeerMessage::RequestVote(RequestVote {
        log_leadership_term_id: term(log_term),
        log_position: Position(position),
        candidate_term_id: term(candidate),
        candidate_member_id: from,
    })
}

pub fn vote(from: MemberId, candidate: LeadershipTermId) -> PeerMessage {
    PeerMessage::Vote(Vote {
        candidate_term_id: candidate,
        log_leadership_term_id: term(-1),
        log_position: Position(0),
        candidate_member_id: MemberId(0),
        follower_member_id: from,
        vote: true,
    })
}

pub fn append(from: MemberId, at_term: LeadershipTermId, position: i64) -> PeerMessage {
    PeerMessage::AppendPosition(AppendPosition {
        leadership_term_id: at_term,
        log_position: Position(position),
        follower_member_id: from,
        is_catchup: false,
    })
}

/// What member 1, which leads `led` since `base`, says of the term after `log_term`.
pub fn says(table: &[(i64, i64)], led: i64, log_term: i64) -> PeerMessage {
    let (table, _) = TermTable::load(&records(table), Position(i64::MAX), true).unwrap();
    let base = table.base_of(term(led)).unwrap();
    // As our leaders do: empty terms that follow are skipped.
    let begins = |id: i64| table.base_of(term(id));
    let next = (log_term + 1..=led).rev().find(|&id| begins(id) == begins(log_term + 1));
    let next = term(next.unwrap_or(log_term + 1));
    let has_next = log_term < led;
    PeerMessage::NewLeadershipTerm(NewLeadershipTerm {
        log_leadership_term_id: term(log_term),
        next_leadership_term_id: has_next.then_some(next),
        next_term_base_log_position: table.base_of(next).filter(|_| has_next),
        next_log_position: table.end_of(next).filter(|_| has_next),
        leadership_term_id: term(led),
        term_base_log_position: base,
        log_position: base,
        leader_recording_id: RecordingId(4),
        timestamp: 0,
        leader_member_id: ONE,
        log_session_id: 11,
        is_startup: false,
        commit_position: Some(Position(0)),
    })
}

pub fn votes(actions: &[PeerAction]) -> Vec<bool> {
    let vote = |action: &PeerAction| match action {
        PeerAction::Send { message: PeerMessage::Vote(m), .. } => Some(m.vote),
        _ => None,
    };
    actions.iter().filter_map(vote).collect()
}

/// Log terms of the canvass positions sent to member 1.
pub fn canvassed(actions: &[PeerAction]) -> Vec<(i64, i64)> {
    let canvass = |action: &PeerAction| match action {
        PeerAction::Send { to, message: PeerMessage::CanvassPosition(m) } if *to == ONE => {
            Some((m.log_leadership_term_id.0, m.log_position.0))
        }
        _ => None,
    };
    actions.iter().filter_map(canvass).collect()
}

/// The leader's word of what is committed.
pub fn commit(from: MemberId, led: i64, position: i64) -> PeerMessage {
    PeerMessage::CommitPosition(CommitPosition {
        leadership_term_id: term(led),
        log_position: Position(position),
        leader_member_id: from,
    })
}

/// The leader's word that member 0 has caught up.
pub fn stop_catchup(led: i64) -> PeerMessage {
    PeerMessage::StopCatchup(StopCatchup {
        leadership_term_id: term(led),
        follower_member_id: MemberId(0),
    })
}
