//! Looks at all members after each step of the world.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use consensus::Counters;
use runtime::{Nanos, Ports};

use super::LEADER_TIMEOUTS;
use super::frames::Disk;
use super::healing::Healing;
use super::node::{View, leader_timeout};
use super::oracle::Oracle;
use super::votes::Votes;
use crate::lock;

/// In which time a member that runs has read all that it has, or more.
const SCRUB_SPAN: Nanos = Nanos::from_secs(12);

/// Beyond the log of any run.
const POSITION_MAX: i64 = 1 << 40;

/// One member.
struct Seen {
    view: Arc<Mutex<View>>,
    last: View,
    disk: Disk,
    /// The furthest that it committed in any life: that much it has.
    held: i64,
    /// Whether its log was seen in the present life.
    is_known: bool,
    /// Its disk may hold something else than what was written to it, since then.
    rotten_since: Option<Nanos>,
    /// Up to where it had a log when its last life ended: its leader may count on it still.
    left_at: i64,
}

impl Seen {
    /// What it may have told a leader that it has.
    fn acknowledged(&self) -> i64 {
        lock(&self.view).append.max(self.left_at)
    }
}

/// What is known of all members, over all their lives.
pub(super) struct Watch {
    oracle: Arc<Mutex<Oracle>>,
    votes: Arc<Mutex<Votes>>,
    quorum: usize,
    members: Vec<Seen>,
    /// Who led in which term.
    leaders: BTreeMap<i64, usize>,
    /// All that was ever committed, made comparable.
    committed: Vec<u8>,
    /// Up to where it was committed first in which term.
    committed_in: BTreeMap<i64, i64>,
    /// How long nobody led since faults ended.
    pub(super) healing: Option<Healing>,
    /// What modules have saved of themselves, by position.
    snapshots: BTreeMap<i64, Vec<u8>>,
    /// How long that may be.
    leaderless_max: Nanos,
}

impl Watch {
    pub(super) fn new(
        oracle: Arc<Mutex<Oracle>>,
        votes: Arc<Mutex<Votes>>,
        quorum: usize,
        disks: Vec<Ports>,
    ) -> Self {
        let seen = |ports| {
            let (view, last) = (Arc::default(), View::default());
            let (disk, rotten_since) = (Disk::new(ports), None);
            Seen { view, last, disk, held: 0, is_known: false, rotten_since, left_at: 0 }
        };
        let members = disks.into_iter().map(seen).collect();
        Self {
            oracle,
            votes,
            quorum,
            members,
            leaders: BTreeMap::new(),
            committed: Vec::new(),
            committed_in: BTreeMap::new(),
            healing: None,
            snapshots: BTreeMap::new(),
            leaderless_max: Nanos(leader_timeout().0 * LEADER_TIMEOUTS),
        }
    }

    /// A member begins a life.
    pub(super) fn begin(&mut self, member: usize) -> Arc<Mutex<View>> {
        lock(&self.oracle).reset(member);
        let seen = &mut self.members[member];
        (seen.view, seen.last) = (Arc::default(), View::default());
        seen.is_known = false;
        lock(&self.oracle).totals.restarts += u64::from(seen.disk.has_log());
        let view = Arc::clone(&seen.view);
        self.check_records(member);
        view
    }

    /// A member's life is over.
    pub(super) fn end(&mut self, member: usize) {
        let Counters {
            elections,
            snapshots,
            truncations,
            replications,
            catchups,
            losses,
            regains,
            ..
        } = self.members[member].last.counters;
        let mut oracle = lock(&self.oracle);
        oracle.totals.losses += losses;
        oracle.totals.regains += regains;
        oracle.totals.elections += elections;
        oracle.totals.snapshots += snapshots;
        oracle.totals.truncations += truncations;
        oracle.totals.replications += replications;
        oracle.totals.catchups += catchups;
        oracle.reset(member);
        drop(oracle);
        let seen = &mut self.members[member];
        seen.left_at = lock(&seen.view).append.max(seen.last.append);
        (seen.view, seen.last) = (Arc::default(), View::default());
    }

    /// I-17: what a member knows of its terms, snapshots and recordings fits together.
    fn check_records(&mut self, member: usize) {
        if let Err(what) = self.members[member].disk.check_records() {
            lock(&self.oracle).fail(format!("I-17: member {member}: {what}"));
        }
    }

    /// I-17, the catalog, once its archive has looked after it; I-15: the modules of all members
    /// save the same at one position.
    fn check_recordings(&mut self, member: usize) {
        if self.is_rotten(member) {
            return;
        }
        let disk = &self.members[member].disk;
        if let Err(what) = disk.check_catalog() {
            lock(&self.oracle).fail(format!("I-17: member {member}: {what}"));
        }
        for (position, bytes) in disk.module_snapshots() {
            let known = self.snapshots.entry(position).or_insert_with(|| bytes.clone());
            if *known != bytes {
                let same = known.iter().zip(&bytes).take_while(|(one, two)| one == two).count();
                lock(&self.oracle).fail(format!(
                    "I-15: the module of member {member} saves {} bytes at {position}, others {}, \
                     which part at {same}",
                    bytes.len(),
                    known.len()
                ));
            }
        }
    }

    /// The disk of a member may hold something else than what was written to it from now on.
    pub(super) fn rots(&mut self, member: usize, now: Nanos) {
        self.members[member].rotten_since = Some(now);
    }

    /// Whether it may.
    pub(super) fn is_rotten(&self, member: usize) -> bool {
        self.members[member].rotten_since.is_some()
    }

    /// A member that rotted was started: what it has not found it looks for anew.
    pub(super) fn starts(&mut self, member: usize, now: Nanos) {
        let since = &mut self.members[member].rotten_since;
        *since = since.map(|_| now);
    }

    /// Takes notice of members that have what they should after they rotted, and had the time to
    /// find all that rotted. Returns those that have not.
    pub(super) fn rotten(&mut self, now: Nanos) -> Vec<usize> {
        let end = as_position(self.committed.len());
        let mut rotten = Vec::new();
        for (member, seen) in self.members.iter_mut().enumerate() {
            let Some(since) = seen.rotten_since else { continue };
            let is_whole = since + SCRUB_SPAN <= now
                && !seen.last.is_lossy
                && seen.last.is_settled()
                && seen.disk.log(0, end).as_ref() == Some(&self.committed);
            if is_whole {
                seen.rotten_since = None;
            } else {
                rotten.push(member);
            }
        }
        rotten
    }

    /// A member has lost of what it had.
    pub(super) fn forget(&mut self, member: usize) {
        self.members[member].held = 0;
    }

    /// The disk of a member is looked at through other ports from here on: its power was cut.
    pub(super) fn set_disk(&mut self, member: usize, ports: Ports) {
        self.members[member].disk = Disk::new(ports);
    }

    /// The member that leads in the newest term of all that think they do.
    pub(super) fn leader(&self) -> Option<usize> {
        let leading = self.members.iter().enumerate().filter(|(_, seen)| seen.last.is_leading);
        leading.max_by_key(|(_, seen)| seen.last.term).map(|(member, _)| member)
    }

    /// What was last seen of each member.
    pub(super) fn views(&self) -> Vec<View> {
        self.members.iter().map(|seen| seen.last).collect()
    }

    /// The last of the faults ends `at` a time.
    pub(super) fn heal(&mut self, at: Nanos) {
        self.healing = Some(Healing::new(self.quorum, at));
    }

    /// How many terms had a leader so far.
    pub(super) fn terms(&self) -> usize {
        self.leaders.len()
    }

    /// Compares what members do with what they may; returns whether all is well.
    pub(super) fn look(&mut self, now: Nanos) -> bool {
        lock(&self.oracle).now = now;
        for member in 0..self.members.len() {
            let view = *lock(&self.members[member].view);
            if view != self.members[member].last {
                self.compare(member, view);
                self.members[member].last = view;
            }
            let mut oracle = lock(&self.oracle);
            let progress = oracle.members[member];
            if progress.has_started && progress.position > view.commit {
                let (at, commit) = (progress.position, view.commit);
                oracle.fail(format!("I-7: service of {member} at {at}, commit position {commit}"));
            }
        }
        if let Some(healing) = &mut self.healing {
            healing.look(self.members.iter().map(|seen| seen.last), now);
            if healing.leaderless > self.leaderless_max {
                let millis = healing.leaderless.as_millis();
                lock(&self.oracle).fail(format!("I-20: nobody leads for {millis} ms"));
            }
        }
        let mut oracle = lock(&self.oracle);
        let mut votes = lock(&self.votes);
        oracle.violations.append(&mut votes.violations);
        oracle.violations.is_empty()
    }

    fn compare(&mut self, member: usize, view: View) {
        let last = self.members[member].last;
        let seen = &mut self.members[member];
        if !seen.is_known {
            seen.is_known = true;
            self.check_recordings(member);
            let seen = &mut self.members[member];
            let (append, held) = (view.append, seen.held);
            let is_excused = view.is_lossy || seen.rotten_since.is_some();
            if append < held && !is_excused {
                let what = format!("I-25: member {member} had {held} and begins with {append}");
                lock(&self.oracle).fail(what);
            }
        }
        let seen = &mut self.members[member];
        seen.held = seen.held.max(view.commit);
        let told = |view: &View| (view.is_leading, view.election, view.term);
        if told(&view) != told(&last) {
            let View { election, term, append, commit, .. } = view;
            let leads = if view.is_leading { ", leads" } else { "" };
            lock(&self.oracle).tell(format_args!(
                "member {member} {election:?} term {term} append {append} commit {commit}{leads}"
            ));
        }
        if view.is_leading {
            let known = self.leaders.insert(view.term, member);
            if known.is_some_and(|known| known != member) {
                let what = format!("I-1: {known:?} and {member} lead in term {}", view.term);
                lock(&self.oracle).fail(what);
            }
            if known.is_none() {
                lock(&self.oracle).totals.leaders += 1;
                self.check_complete(member, view.term);
            }
            if last.is_leading && last.term == view.term && view.append < last.append {
                let (from, to) = (last.append, view.append);
                lock(&self.oracle).fail(format!("I-2: leader {member} falls from {from} to {to}"));
            }
        }
        // I-13: a position that wrapped is below zero or beyond what any log holds.
        if view.commit < 0 || view.append < 0 || view.term < -1 || view.append > POSITION_MAX {
            lock(&self.oracle).fail(format!("I-13: member {member}: {view:?}"));
            return;
        }
        if view.commit > view.append && !view.is_lossy {
            let View { commit, append, .. } = view;
            let what = format!("I-6: member {member} commits {commit}, recorded up to {append}");
            lock(&self.oracle).fail(what);
        }
        if view.commit < last.commit {
            let what = format!("I-6: member {member} commits {last:?}, then {view:?}");
            lock(&self.oracle).fail(what);
        } else if view.commit > last.commit {
            self.check_commit(member, view.term, last.commit, view.commit);
        }
    }

    /// I-4: a leader has all that was committed in earlier terms. One that wins late, while a later
    /// term is led already, need not have what that one committed.
    fn check_complete(&mut self, member: usize, term: i64) {
        if self.is_rotten(member) {
            return;
        }
        let end = self.committed_in.range(..term).map(|(_, &end)| end).max().unwrap_or(0);
        let log = self.members[member].disk.log(0, end);
        let committed = self.committed.get(..as_index(end)).unwrap_or(&self.committed);
        if log.as_deref() != Some(committed) {
            let what = difference(log, committed, 0);
            lock(&self.oracle).fail(format!("I-4: leader {member} of term {term}: {what}"));
        }
    }

    /// I-3, I-5, I-6: what a member commits it has, as all others; and when it is the first, more
    /// than half have it. What a disk that rots holds is not looked at: it was written, and that it
    /// comes back is for the end.
    fn check_commit(&mut self, member: usize, term: i64, from: i64, to: i64) {
        let known = as_position(self.committed.len());
        if !self.is_rotten(member) && !self.commits_what_it_has(member, from, to) {
            return;
        }
        if to <= known {
            return;
        }
        let rotten = |seen: &&Seen| seen.rotten_since.is_some() && seen.acknowledged() >= to;
        let excused = self.members.iter().filter(rotten).count();
        let is_rotten = self.is_rotten(member);
        let (mut copies, mut of_term) = (Vec::new(), None);
        for seen in self.members.iter_mut().filter(|seen| seen.rotten_since.is_none()) {
            let copy = seen.disk.log(known, to);
            // Who has just started, or follows another, may rightly have something else there.
            if lock(&seen.view).term == term {
                of_term = of_term.or_else(|| copy.clone());
            }
            copies.extend(copy);
        }
        let own =
            of_term.filter(|_| is_rotten).or_else(|| self.members[member].disk.log(known, to));
        let own = own.unwrap_or_default();
        let copies = copies.iter().filter(|it| **it == own).count() + excused;
        let mut oracle = lock(&self.oracle);
        if copies < self.quorum {
            oracle.fail(format!(
                "I-5: member {member} commits {known} to {to}, which {copies} members have"
            ));
        }
        oracle.committed = to;
        oracle.totals.committed += (to - known).cast_unsigned();
        self.committed.extend_from_slice(&own);
        self.committed_in.insert(term, to);
    }

    /// Whether what a member commits is on its disk, and is what others committed there.
    fn commits_what_it_has(&mut self, member: usize, from: i64, to: i64) -> bool {
        let known = as_position(self.committed.len());
        let (begin, end) = (as_index(from), as_index(to.min(known)));
        let what = match self.members[member].disk.log(from, to) {
            None => format!("I-6: member {member} commits {from} to {to} without having it"),
            Some(_) if from > known => {
                format!("I-6: member {member} commits from {from}, known up to {known}")
            }
            Some(log) if end > begin && log[..end - begin] != self.committed[begin..end] => {
                let what = difference(Some(log), &self.committed[begin..end], from);
                format!("I-3: member {member} commits another log: {what}")
            }
            Some(_) => return true,
        };
        lock(&self.oracle).fail(what);
        false
    }

    /// At the end: every disk has all that was committed.
    pub(super) fn check_all(&mut self) {
        for member in 0..self.members.len() {
            let log = self.members[member].disk.log(0, as_position(self.committed.len()));
            if log.as_ref() != Some(&self.committed) {
                let what = difference(log, &self.committed, 0);
                lock(&self.oracle).fail(format!("I-8: member {member}: {what}"));
            }
            self.check_records(member);
            self.check_recordings(member);
        }
    }
}

fn as_position(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

fn as_index(position: i64) -> usize {
    usize::try_from(position).unwrap_or_default()
}

fn difference(log: Option<Vec<u8>>, committed: &[u8], from: i64) -> String {
    let Some(log) = log else { return format!("what was committed from {from} is not there") };
    let same = log.iter().zip(committed).take_while(|(left, right)| left == right).count();
    format!("it differs from what was committed at {}", from + as_position(same))
}
