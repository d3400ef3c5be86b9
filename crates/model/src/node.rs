//! One member: the real core, its disk, and what the agent around it holds.

use consensus::{
    Config, Consensus, Input, LeadershipTermId, Loss, MemberId, RecordingId, Recovery, TermRecord,
    Timeouts,
};
use wire::position::Position;
use wire::time::{EpochNanos, Nanos, Now};

use crate::message::{Body, Message};
use crate::run::Run;
use crate::setup::Setup;

/// Bytes of an entry of the log.
pub const ENTRY: i64 = 32;
/// Longer than any wait of the core: what a time-out adds to a member's clock.
pub(crate) const LEAP: i64 = 1 << 42;
/// All waits of the core.
pub const TIMEOUT: Nanos = Nanos(1 << 41);
/// The wall clock stands still.
pub(crate) const EPOCH: EpochNanos = EpochNanos(1_000_000_000);

/// An entry of the log is who wrote it, and in which term: a position takes but one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// Its term.
    pub term: i8,
    /// The leader that appended it.
    pub by: u8,
}

/// What outlives a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// TERM entries of recording.log.
    pub terms: Vec<TermRecord>,
    /// node-state.dat.
    pub candidate: i64,
    /// The recording.
    pub log: Vec<Entry>,
    /// Term and position of the newest snapshot.
    pub snapshot: Option<(i64, i64)>,
    /// What was lost of the recording and is not regained.
    pub loss: Option<Loss>,
}

/// The publication of a leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Its transport session: one a term.
    pub session: i32,
    /// Index of its first entry.
    pub base: usize,
    /// What was appended.
    pub entries: Vec<Entry>,
}

impl Stream {
    /// The entry at `index` of the log.
    #[must_use]
    pub fn entry(&self, index: usize) -> Option<Entry> {
        self.entries.get(index.checked_sub(self.base)?).copied()
    }

    /// Index after the last entry.
    #[must_use]
    pub fn end(&self) -> usize {
        self.base + self.entries.len()
    }
}

/// A subscription to the log of a leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The leader.
    pub leader: usize,
    /// Session of its log.
    pub session: i32,
    /// The leader replays its recording into it.
    pub is_replayed: bool,
    /// It hears the live log.
    pub is_live: bool,
    /// Data may come.
    pub is_joined: bool,
    /// Our archive records it.
    pub is_recorded: bool,
}

/// A copy of a leader's recording that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copying {
    /// From whom.
    pub from: usize,
    /// Up to which index.
    pub stop: usize,
    /// The term in which it was asked for.
    pub term: i64,
}

/// What dies with the process.
#[derive(Clone, Debug, Default)]
pub struct Agent {
    /// Own publication.
    pub stream: Option<Stream>,
    /// It is being recorded.
    pub records_own: bool,
    /// The log of another.
    pub image: Option<Image>,
    /// A replication.
    pub copying: Option<Copying>,
    /// What was said once when this phase began, and may still arrive while it lasts.
    pub said: Vec<Message>,
}

/// One thing that happens to a member.
#[derive(Clone, Debug)]
pub enum Event {
    /// A message arrives.
    Deliver(Body),
    /// Whatever the member waits for takes too long.
    Expire,
    /// It crashes and starts again.
    Restart,
    /// It crashes, and starts again with an empty disk.
    LoseDisk,
    /// The recording turns out to be damaged from this index on.
    Rot(usize),
    /// A snapshot of what is exposed becomes durable.
    Snapshot,
    /// As the leader: a client's message is appended.
    Append,
    /// As the leader: the next entry of the own log is recorded.
    Record,
    /// The next entry of another's log is recorded.
    Copy(Entry),
    /// The live image joins.
    Join,
    /// The live image ends, in order or not.
    Close(bool),
}

/// What became of an event.
#[derive(Clone, Debug)]
pub struct Step {
    /// The member afterwards.
    pub node: Node,
    /// What it said meanwhile.
    pub sends: Vec<Message>,
    /// What it must not have done, if it did.
    pub wrong: Option<String>,
}

/// All that an event may lead to: the whole of it first, then what is left of it after a crash
/// between two durable operations.
pub type Steps = Vec<Step>;

/// A member.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its number.
    pub id: usize,
    /// The real thing.
    pub core: Consensus,
    /// What outlives a crash.
    pub disk: Disk,
    /// What does not.
    pub agent: Agent,
    pub(crate) now: i64,
}

/// Position of an index of the log.
pub(crate) fn at(index: usize) -> Position {
    Position(index as i64 * ENTRY)
}

/// Index of a position of the log.
pub(crate) fn index(position: Position) -> usize {
    usize::try_from(position.0 / ENTRY).unwrap_or(0)
}

fn config(setup: &Setup, id: usize) -> Config {
    let members = (0..setup.members as i32).map(MemberId).collect();
    let mut config = Config::new(MemberId(id as i32), members);
    config.service_count = 0;
    config.rules = setup.rules;
    config.timeouts = timeouts(setup.is_paced);
    config
}

/// In the search everything that is said regularly is due at every step. Paced, members say it as
/// often as they do with the defaults, relative to the time-outs.
fn timeouts(is_paced: bool) -> Timeouts {
    let interval = if is_paced { Nanos(TIMEOUT.0 / 64) } else { Nanos(1) };
    Timeouts {
        leader_heartbeat_timeout: TIMEOUT,
        leader_heartbeat_interval: interval,
        startup_canvass_timeout: TIMEOUT,
        election_timeout: TIMEOUT,
        election_status_interval: interval,
        session_timeout: TIMEOUT,
        termination_timeout: TIMEOUT,
    }
}

impl Node {
    /// A member that starts with this disk.
    #[must_use]
    pub fn start(setup: &Setup, id: usize, mut disk: Disk) -> Self {
        disk.terms.sort_by_key(|record| record.term);
        let recovery = Recovery {
            terms: disk.terms.clone(),
            candidate_term: LeadershipTermId(disk.candidate),
            recorded: at(disk.log.len()),
            recording_id: RecordingId(0),
            snapshot: disk.snapshot.map(|(term, to)| (LeadershipTermId(term), Position(to), 0)),
            loss: disk.loss,
        };
        let now = TIMEOUT.0 * 4;
        let seed = id as u64 * 1_000 + 7;
        let time = Now { mono: Nanos(now), epoch: EPOCH };
        let core = Consensus::new(config(setup, id), &recovery, seed, time);
        Self { id, core, disk, agent: Agent::default(), now }
    }

    /// A member with nothing at all, before its first start.
    #[must_use]
    pub fn empty(setup: &Setup, id: usize) -> Self {
        Self::started(setup, id, Disk { candidate: -1, ..Disk::default() })
    }

    pub(crate) fn started(setup: &Setup, id: usize, disk: Disk) -> Self {
        let node = Self::start(setup, id, disk);
        let mut run = Run::new(setup, node);
        run.feed(&Input::Tick);
        run.node
    }

    pub(crate) fn time(&self) -> Now {
        Now { mono: Nanos(self.now), epoch: EPOCH }
    }

    /// The log as this member reads it: its recording, and as the leader what it appended.
    #[must_use]
    pub fn readable(&self) -> Vec<Entry> {
        let mut log = self.disk.log.clone();
        if let Some(stream) = &self.agent.stream {
            let have = log.len().saturating_sub(stream.base);
            log.extend(stream.entries.iter().skip(have));
        }
        log
    }

    /// How many entries are exposed to services.
    #[must_use]
    pub fn exposed(&self) -> usize {
        index(self.core.commit_position())
    }

    /// Whether this member won its term.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.core.role() == consensus::Role::Leader
    }

    /// What this member says now and again while nothing happens to it, and what it said when this
    /// phase began.
    #[must_use]
    pub fn says(&self, setup: &Setup) -> Vec<Message> {
        let mut run = Run::new(setup, self.clone());
        run.node.now += 1;
        let now = run.node.time();
        run.node.core.handle(now, Input::Tick);
        run.drain_peers();
        let mut said = run.sends;
        said.extend(self.agent.said.iter().cloned());
        said
    }

    /// Lets time pass: for schedules that keep it.
    pub fn pass(&mut self, setup: &Setup, nanos: i64) -> Vec<Message> {
        let mut run = Run::new(setup, self.clone());
        run.node.now += nanos;
        run.feed(&Input::Tick);
        run.finish_saying();
        *self = run.node;
        run.sends
    }

    /// Handles an event. Nothing if it would leave the bounds or cannot happen.
    #[must_use]
    pub fn handle(&self, setup: &Setup, event: &Event) -> Steps {
        let mut run = Run::new(setup, self.clone());
        if !run.handle(event) {
            return Vec::new();
        }
        run.finish(&self.disk)
    }

    pub(crate) fn is_within(&self, setup: &Setup) -> bool {
        self.core.candidate_term().0 < setup.terms
            && self.core.leadership_term_id().0 < setup.terms
            && self.disk.candidate < setup.terms
    }
}
