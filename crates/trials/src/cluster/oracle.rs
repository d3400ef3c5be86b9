//! What the service may do, and what clients may hear.
//!
//! The first member that applies an event of the log says what it was; every other application of
//! it, by whomever and in whatever life, must be the same. So one list stands for all.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use runtime::Nanos;
use runtime::random::Rng;

use super::quirks::Quirks;
use super::totals::Totals;

/// How many lines of what happened are kept.
const STORY_LENGTH: usize = 300;

/// Where a trial stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Faults strike.
    Storm,
    /// Faults have ended; what is submitted from here on is fresh.
    Calm,
    /// Nothing more is submitted.
    Quiet,
}

/// An event of the log, as the service sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A numbered message, executed.
    Message { client: i64, number: i64 },
    /// A message of the service to itself.
    Service { number: i64 },
    /// A timer; set, or cancelled or moved when it stood in the log already. Ids below zero are
    /// used again.
    Timer { id: i64, was_set: bool },
    /// A session.
    Opened { session: i64 },
    /// Its end.
    Closed { session: i64 },
}

/// An event and the state behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Applied {
    pub(super) event: Event,
    /// Where the log stands behind the event.
    pub(super) position: i64,
    /// The cluster's time.
    pub(super) time: i64,
    /// Hash of the state.
    pub(super) hash: u64,
    /// Timers and service messages that are still to come.
    pub(super) pending: usize,
}

/// How far a member's service has got in its present life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Events applied.
    pub(super) count: u64,
    /// Hash of the state.
    pub(super) hash: u64,
    /// Position of the last of them.
    pub(super) position: i64,
    /// Whether the service has begun.
    pub(super) has_started: bool,
}

/// What a client has done.
#[derive(Clone, Debug, Default)]
struct Client {
    submitted: i64,
    executed: i64,
    acknowledged: BTreeSet<i64>,
    is_gone: bool,
}

/// Everything that was done in one run.
pub(super) struct Oracle {
    seed: u64,
    applied: Vec<Applied>,
    clients: BTreeMap<i64, Client>,
    timers: BTreeSet<i64>,
    sessions: BTreeSet<i64>,
    service_messages: i64,
    /// State hash by the position of a snapshot.
    snapshots: BTreeMap<i64, u64>,
    pub(super) snapshots_written: u64,
    pub(super) members: Vec<Progress>,
    /// The furthest that any member has committed.
    pub(super) committed: i64,
    pub(super) phase: Phase,
    /// Answers to messages that were submitted since healing.
    pub(super) fresh: u64,
    pub(super) totals: Totals,
    pub(super) violations: Vec<String>,
    /// What happened last, a line each.
    pub(super) story: VecDeque<String>,
    /// The world's time, for the story.
    pub(super) now: Nanos,
    /// What a scenario lets go wrong.
    pub(super) quirks: Quirks,
    /// State of the second service by position.
    second: BTreeMap<i64, u64>,
    hash: u64,
    scratch: Vec<u8>,
}

impl Oracle {
    pub(super) fn new(seed: u64, members: usize) -> Self {
        Self {
            seed,
            applied: Vec::new(),
            clients: BTreeMap::new(),
            timers: BTreeSet::new(),
            sessions: BTreeSet::new(),
            service_messages: 0,
            snapshots: BTreeMap::new(),
            snapshots_written: 0,
            members: vec![Progress::default(); members],
            committed: 0,
            phase: Phase::Storm,
            fresh: 0,
            totals: Totals::default(),
            violations: Vec::new(),
            story: VecDeque::new(),
            now: Nanos(0),
            quirks: Quirks::default(),
            second: BTreeMap::new(),
            hash: 0,
            scratch: Vec::new(),
        }
    }

    pub(super) fn fail(&mut self, what: String) {
        self.violations.push(what);
    }

    /// Goes into the story.
    pub(super) fn tell(&mut self, what: impl std::fmt::Display) {
        if self.story.len() >= STORY_LENGTH {
            self.story.pop_front();
        }
        let micros = self.now.0 / 1_000;
        self.story.push_back(format!("{:>6}.{:03} {what}", micros / 1_000, micros % 1_000));
    }

    /// How many events were applied by anybody.
    pub(super) fn count(&self) -> u64 {
        self.applied.len() as u64
    }

    /// The last event that anybody applied.
    pub(super) fn last(&self) -> Option<&Applied> {
        self.applied.last()
    }

    /// A hash of everything that clients heard and services did.
    pub(super) const fn hash(&self) -> u64 {
        self.hash
    }

    /// The content of a message.
    pub(super) fn content(&self, client: i64, number: i64) -> Vec<u8> {
        let mut content = Vec::new();
        fill(self.seed, (client, number), self.quirks.length, &mut content);
        content
    }

    /// A member's life ended, or begins.
    pub(super) fn reset(&mut self, member: usize) {
        self.members[member] = Progress::default();
    }

    /// A member's service begins with what a snapshot brought, if there was one.
    pub(super) fn started(&mut self, member: usize, count: u64, hash: u64) {
        let known = match count {
            0 => Some(0),
            count => self.applied.get(index(count) - 1).map(|applied| applied.hash),
        };
        if count > 0 && known != Some(hash) {
            self.fail(format!(
                "I-15: member {member} starts from a snapshot of {count} events with {hash:x}, \
                 which is {known:x?}"
            ));
        }
        self.totals.snapshot_restarts += u64::from(count > 0);
        let position = match count {
            0 => 0,
            count => self.applied.get(index(count) - 1).map_or(0, |applied| applied.position),
        };
        self.members[member] = Progress { count, hash, position, has_started: true };
        self.tell(format_args!("service {member} starts at {position} with {count} events"));
    }

    /// A member's service has applied its `count`th event.
    pub(super) fn applied(&mut self, member: usize, count: u64, applied: Applied, content: &[u8]) {
        let progress = &mut self.members[member];
        if count != progress.count + 1 {
            let known = progress.count;
            self.fail(format!("member {member} applies event {count} after {known}"));
        }
        let progress = &mut self.members[member];
        let Applied { position, hash, .. } = applied;
        *progress = Progress { count, hash, position, has_started: true };
        match self.applied.get(index(count) - 1) {
            Some(known) if *known == applied => self.totals.applied_again += 1,
            Some(known) => {
                let what =
                    format!("I-19: event {count} is {known:?}, of member {member} {applied:?}");
                self.fail(what);
            }
            None if count == self.count() + 1 => self.first(applied, content),
            None => self.fail(format!("member {member} applies event {count}, ahead of all")),
        }
    }

    fn first(&mut self, applied: Applied, content: &[u8]) {
        if let Some(last) = self.applied.last() {
            let stands = applied.position > last.position && applied.time >= last.time;
            if !stands {
                let what = format!("I-6: {applied:?} follows {last:?}");
                self.fail(what);
            }
        }
        let refused = match applied.event {
            Event::Message { client, number } => self.executed(client, number, content),
            Event::Timer { id, was_set } => {
                self.totals.timers += 1;
                self.totals.late_timers += u64::from(!was_set);
                let is_again = id >= 0 && !self.timers.insert(id);
                is_again.then(|| format!("I-10: timer {id} fired twice"))
            }
            Event::Service { number } => {
                self.totals.service_messages += 1;
                self.service_messages += 1;
                let expected = self.service_messages;
                let what = || format!("I-10: service message {number} in the place of {expected}");
                (number != expected).then(what)
            }
            Event::Opened { session } => {
                let is_new = self.sessions.insert(session);
                (!is_new).then(|| format!("I-18: session {session} opened twice"))
            }
            Event::Closed { session } => {
                let was_open = self.sessions.remove(&session);
                (!was_open).then(|| format!("I-18: session {session} closed without being open"))
            }
        };
        self.violations.extend(refused);
        self.mix(applied.hash);
        self.totals.applied += 1;
        self.applied.push(applied);
    }

    fn mix(&mut self, value: u64) {
        self.hash = (self.hash ^ value).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
    }

    fn executed(&mut self, id: i64, number: i64, content: &[u8]) -> Option<String> {
        fill(self.seed, (id, number), self.quirks.length, &mut self.scratch);
        let client = self.clients.entry(id).or_default();
        if number > client.submitted {
            return Some(format!("I-10: message {number} of client {id} was never submitted"));
        }
        client.executed += 1;
        if number != client.executed {
            let expected = client.executed;
            return Some(format!("I-10: client {id}: message {number} in place of {expected}"));
        }
        (self.scratch != content)
            .then(|| format!("I-14: message {number} of client {id} is damaged"))
    }

    /// A client hands over its next message, of which it is told the number beforehand.
    pub(super) fn submitted(&mut self, client: i64, number: i64) {
        self.totals.submitted += 1;
        self.clients.entry(client).or_default().submitted = number;
    }

    /// A client has an answer: which event its message was, and the state behind it.
    pub(super) fn acknowledged(&mut self, id: i64, number: i64, is_fresh: bool, answer: &[u8]) {
        self.totals.acknowledged += 1;
        self.fresh += u64::from(is_fresh);
        self.mix(id.cast_unsigned() ^ number.cast_unsigned());
        let (&[count, hash], []) = answer.as_chunks::<8>() else {
            return self.fail(format!("client {id}: answer to {number} is {answer:?}"));
        };
        let (count, hash) = (u64::from_le_bytes(count), u64::from_le_bytes(hash));
        let applied = self.applied.get(index(count).wrapping_sub(1)).copied();
        let event = Event::Message { client: id, number };
        match applied {
            Some(applied) if applied.event == event && applied.hash == hash => {
                if applied.position > self.committed {
                    let committed = self.committed;
                    self.fail(format!("I-9: answer for {applied:?} with {committed} committed"));
                }
            }
            _ => self.fail(format!("client {id}: answer to {number} tells of {applied:?}")),
        }
        if !self.clients.entry(id).or_default().acknowledged.insert(number) {
            self.fail(format!("client {id}: message {number} was answered twice"));
        }
    }

    /// A client ended without a word: what it waits for may have happened or not.
    pub(super) fn is_gone(&mut self, client: i64) {
        self.clients.entry(client).or_default().is_gone = true;
    }

    /// A member has written a snapshot of its service.
    pub(super) fn snapshot(&mut self, member: usize, position: i64, hash: u64) {
        self.snapshots_written += 1;
        let known = *self.snapshots.entry(position).or_insert(hash);
        if known != hash {
            self.fail(format!(
                "I-15: member {member} writes {hash:x} at {position}, another {known:x}"
            ));
        }
    }

    /// A member's second service has applied what stands before a position.
    pub(super) fn second(&mut self, member: usize, position: i64, hash: u64) {
        let known = *self.second.entry(position).or_insert(hash);
        if known != hash {
            self.fail(format!(
                "I-19: the second service of member {member} is {hash:x} at {position}, of others \
                 {known:x}"
            ));
        }
    }

    /// Messages of living clients that have no answer.
    pub(super) fn unanswered(&self) -> u64 {
        let living = self.clients.values().filter(|client| !client.is_gone);
        living
            .map(|client| {
                let answered = client.acknowledged.len() as u64;
                client.submitted.cast_unsigned().saturating_sub(answered)
            })
            .sum()
    }

    /// At the end: what was acknowledged was executed (I-9), and the cluster knows of no session
    /// but those of the clients that there are (I-18).
    pub(super) fn check_end(&mut self, clients: usize) {
        if self.sessions.len() > clients {
            let sessions = self.sessions.len();
            self.fail(format!("I-18: {sessions} sessions of {clients} clients"));
        }
        let lost: Vec<String> = self
            .clients
            .iter()
            .filter(|(_, client)| client.acknowledged.iter().any(|&it| it > client.executed))
            .map(|(id, client)| format!("I-9: client {id}: only {} executed", client.executed))
            .collect();
        self.violations.extend(lost);
    }
}

fn index(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Most messages are short; one in 32 takes several fragments. `wanted` is the length of
/// every fourth, if a scenario says so.
fn fill(seed: u64, (client, number): (i64, i64), wanted: Option<usize>, target: &mut Vec<u8>) {
    let mut rng =
        Rng::new(seed ^ client.cast_unsigned() ^ (number.cast_unsigned() << 32), "content");
    let length = match rng.below(32) {
        0 => 1_500 + rng.below(3_500),
        1..=8 => 4 + rng.below(600),
        _ => 4 + rng.below(60),
    };
    target.clear();
    let length = wanted.filter(|_| number % 4 == 0).unwrap_or_else(|| index(length));
    while target.len() < length {
        let word = rng.next_u64().to_le_bytes();
        target.extend_from_slice(&word[..word.len().min(length - target.len())]);
    }
}
