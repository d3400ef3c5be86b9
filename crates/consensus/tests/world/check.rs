//! What must hold at every step (reliability 3.5: I-1, I-3 to I-7, I-12, I-15, I-19, I-20).

use std::collections::BTreeMap;

use consensus::Counters;
use wire::position::Position;

use super::node::Disk;
use super::{Entry, Event};

/// What happened in a run, so that one without any trouble shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    pub crashes: u64,
    pub cuts: u64,
    pub elections: u64,
    pub truncations: u64,
    pub replications: u64,
    pub catchups: u64,
    pub snapshots: u64,
    pub promises_kept: u64,
    pub snapshot_restarts: u64,
    pub exposed: u64,
    pub torn: u64,
    pub losses: u64,
    pub regains: u64,
}

impl Totals {
    pub fn add(&mut self, counters: &Counters) {
        self.elections += counters.elections;
        self.truncations += counters.truncations;
        self.replications += counters.replications;
        self.catchups += counters.catchups;
        self.snapshots += counters.snapshots;
        self.promises_kept += counters.promises_kept;
        self.losses += counters.losses;
        self.regains += counters.regains;
    }

    pub fn merge(&mut self, other: &Self) {
        self.crashes += other.crashes;
        self.cuts += other.cuts;
        self.elections += other.elections;
        self.truncations += other.truncations;
        self.replications += other.replications;
        self.catchups += other.catchups;
        self.snapshots += other.snapshots;
        self.promises_kept += other.promises_kept;
        self.snapshot_restarts += other.snapshot_restarts;
        self.exposed += other.exposed;
        self.torn += other.torn;
        self.losses += other.losses;
        self.regains += other.regains;
    }
}

#[derive(Debug)]
pub struct Check {
    /// Everything any node ever exposed, by position.
    pub exposed: Vec<Entry>,
    /// The term of the member that exposed it first: later leaders must have it.
    exposed_in: Vec<i64>,
    leaders: BTreeMap<i64, usize>,
    votes: BTreeMap<(usize, i64), i32>,
    commits: Vec<i64>,
    snapshots: BTreeMap<i64, Vec<String>>,
    timers: BTreeMap<i64, usize>,
    service_messages: i64,
    pub totals: Totals,
    pub violation: Option<String>,
}

impl Check {
    pub fn new(members: usize) -> Self {
        Self {
            exposed: Vec::new(),
            exposed_in: Vec::new(),
            leaders: BTreeMap::new(),
            votes: BTreeMap::new(),
            commits: vec![0; members],
            snapshots: BTreeMap::new(),
            timers: BTreeMap::new(),
            service_messages: i64::MIN,
            totals: Totals::default(),
            violation: None,
        }
    }

    pub fn fail(&mut self, text: String) {
        self.violation.get_or_insert(text);
    }

    pub fn restarted(&mut self, index: usize) {
        self.commits[index] = 0;
    }

    /// I-12: one vote per member and term over all its lives, never spoken before it is on disk.
    pub fn voted(&mut self, index: usize, term: i64, candidate: i32, on_disk: i64) {
        let known = *self.votes.entry((index, term)).or_insert(candidate);
        if known != candidate {
            self.fail(format!("I-12: member {index} voted for {known} and {candidate} in {term}"));
        }
        if on_disk < term {
            self.fail(format!("P1: member {index} voted in {term} with {on_disk} on disk"));
        }
    }

    /// I-1 and I-4: one leader a term, and it has everything that was exposed in earlier terms. One
    /// that wins late, while a later term is led already, need not have what that one committed.
    pub fn leads(&mut self, index: usize, term: i64, log: &[Entry]) {
        let before = self.leaders.insert(term, index);
        if before.is_some_and(|before| before != index) {
            self.fail(format!("I-1: members {before:?} and {index} both lead {term}"));
        }
        if before.is_none() {
            let lacks = (0..self.exposed.len())
                .find(|&at| self.exposed_in[at] < term && log.get(at) != Some(&self.exposed[at]));
            if let Some(at) = lacks {
                self.fail(format!("I-4: leader {index} of {term} lacks exposed entry {at}"));
            }
        }
    }

    /// L3 (S-118): who serves in a term has its record on more than half of the disks. `bases`:
    /// where the term begins on each.
    pub fn serves(&mut self, index: usize, term: i64, bases: &[Option<Position>]) {
        let copies = bases.iter().filter(|base| **base == bases[index]).count();
        if bases[index].is_none() || copies * 2 <= bases.len() {
            self.fail(format!("L3: {index} serves in term {term}, which {copies} disks have"));
        }
    }

    /// I-3, I-5, I-6, I-7 for what `index` exposes: `log` as it reads it, `disks` of all.
    pub fn exposes(
        &mut self,
        (index, term): (usize, i64),
        commit: i64,
        log: &[Entry],
        disks: &[&Disk],
    ) {
        // What was exposed stays so, also where it was lost.
        let (recorded, is_lossy) = (disks[index].log.len(), disks[index].loss.is_some());
        if commit < self.commits[index] {
            self.fail(format!("I-6: commit position of {index} fell to {commit}"));
        }
        if commit as usize > recorded * 32 && !is_lossy {
            self.fail(format!("I-6: {index} commits {commit} with {recorded} entries recorded"));
        }
        let from = self.commits[index] as usize / 32;
        self.commits[index] = commit;
        for at in from..commit as usize / 32 {
            if is_lossy && at >= log.len() {
                return;
            }
            let Some(entry) = log.get(at) else {
                self.fail(format!("I-7: member {index} exposes {at}, which it does not have"));
                return;
            };
            if let Some(known) = self.exposed.get(at) {
                if known != entry {
                    self.fail(format!("I-3: {index} exposes {entry:?} at {at}, not {known:?}"));
                }
                continue;
            }
            let has = |disk: &&&Disk| disk.log.get(at) == Some(entry) || disk.has_lost(at, entry);
            let copies = disks.iter().filter(has).count();
            if copies * 2 <= disks.len() {
                self.fail(format!("I-5: {index} exposes {at}, which {copies} members have"));
            }
            self.once(entry);
            self.exposed.push(entry.clone());
            self.exposed_in.push(term);
            self.totals.exposed += 1;
        }
    }

    /// Timers and messages of services stand in the log exactly once, times never fall.
    fn once(&mut self, entry: &Entry) {
        if self.exposed.last().is_some_and(|last| last.time > entry.time) {
            self.fail(format!("I-6: cluster time falls at {entry:?}"));
        }
        match entry.event {
            Event::Timer { id } => {
                let count = self.timers.entry(id).or_insert(0);
                *count += 1;
                if *count > 1 {
                    self.fail(format!("timer {id} fired twice"));
                }
            }
            Event::Message { session } if session < 0 => {
                if session != self.service_messages + 1 {
                    self.fail(format!("service message {session} out of order"));
                }
                self.service_messages = session;
            }
            _ => {}
        }
    }

    /// I-15: equal snapshots at equal positions.
    pub fn snapshot(&mut self, position: i64, items: Vec<String>) {
        let known = self.snapshots.entry(position).or_insert_with(|| items.clone());
        if *known != items {
            let text = format!("I-15: snapshots at {position} differ: {known:#?} {items:#?}");
            self.fail(text);
        }
    }
}
