//! What is looked at in a state, and what must hold.

use consensus::{LeadershipTermId, Loss, MemberId};
use wire::position::Position;

use crate::hash::{Renaming, of_words};
use crate::node::{ENTRY, Entry, Node, at};
use crate::setup::Setup;

/// The situation of a member.
#[derive(Clone, Debug)]
pub struct Member {
    /// It.
    pub node: Node,
    /// Numbers of the messages that may arrive while it is in this situation.
    pub says: Vec<u32>,
    /// Fingerprints under all renamings, if they are few.
    pub hashes: Vec<u128>,
    /// The same under all renamings.
    pub rank: u64,
    /// Entries exposed.
    pub exposed: usize,
    /// Whether it leads its term.
    pub leads: bool,
    /// The log as it reads it.
    pub log: Vec<Entry>,
}

impl Member {
    /// The situation of `node`.
    #[must_use]
    pub fn new(node: Node, says: Vec<u32>, hashes: Vec<u128>) -> Self {
        let rank = of_words(|word| {
            word(node.core.election_state() as i64);
            word(node.core.candidate_term().0);
            word(node.core.commit_position().0);
            word(node.disk.candidate);
            node.disk.terms.iter().for_each(|record| word(record.term.0 * 1_000 + record.base.0));
            node.disk.log.iter().for_each(|entry| word(i64::from(entry.term)));
        });
        let (exposed, leads, log) = (node.exposed(), node.leads(), node.readable());
        Self { node, says, hashes, rank: rank as u64, exposed, leads, log }
    }

    /// The fingerprint of a member under a renaming.
    #[must_use]
    pub fn hash(node: &Node, with_waits: bool, renaming: &Renaming) -> u128 {
        let rename = |member: MemberId| renaming.of(member);
        let name = |member: usize| i64::from(renaming.of(MemberId(member as i32)).0);
        of_words(|word| {
            word(name(node.id));
            node.core.fingerprint(with_waits, &rename, word);
            let disk = &node.disk;
            word(disk.candidate);
            // A term without a record of its own begins where the next does, but goes with that
            // when it is dropped; a core in coarse steps leaves out which ones have none.
            node.core.terms().records().iter().for_each(|record| word(record.term.0));
            word(-7);
            for record in &disk.terms {
                word(record.term.0);
                word(record.base.0);
            }
            word(-3);
            let entry = |entry: &Entry| i64::from(entry.term) * 16 + name(entry.by as usize);
            disk.log.iter().for_each(|known| word(entry(known)));
            let (term, position) = disk.snapshot.unwrap_or((-1, -1));
            [-4, term, position].into_iter().for_each(&mut *word);
            if let Some(Loss { cut, term, acknowledged }) = disk.loss {
                let cut = cut.map_or(-1, |position| position.0);
                [-6, cut, term.0, acknowledged.0].into_iter().for_each(&mut *word);
            }
            let agent = &node.agent;
            if let Some(stream) = &agent.stream {
                word(i64::from(stream.session));
                word(stream.base as i64);
                stream.entries.iter().for_each(|known| word(entry(known)));
            }
            word(-5 - i64::from(agent.records_own));
            if let Some(image) = &agent.image {
                word(name(image.leader));
                word(i64::from(image.session));
                let flags = [image.is_replayed, image.is_live, image.is_joined, image.is_recorded];
                flags.into_iter().for_each(|flag| word(i64::from(flag)));
            }
            word(-7);
            if let Some(copying) = &agent.copying {
                word(name(copying.from));
                word(copying.stop as i64);
                word(copying.term);
            }
            word(-8);
            let mut said: Vec<u128> =
                agent.said.iter().map(|message| of_words(|w| message.words(&rename, w))).collect();
            said.sort_unstable();
            said.into_iter().for_each(|hash| word(hash as i64));
        })
    }

    /// Waiting in a canvass matters only if it ends it, or if it makes an escape due (V2).
    #[must_use]
    pub fn is_worth_waiting(before: &Node, after: &Node) -> bool {
        let canvass = consensus::ElectionState::Canvass;
        let stays =
            before.core.election_state() == canvass && after.core.election_state() == canvass;
        !stays || !before.core.is_escape_due()
    }

    /// Whether who asks a quorum of votes comes to know of this entry by this member: it has it, or
    /// it is silent until it has it again (H1).
    fn vouches(&self, index: usize, entry: Entry) -> bool {
        let disk = &self.node.disk;
        let is_lost =
            |loss: Loss| i64::from(entry.term) <= loss.term.0 && at(index + 1) <= loss.acknowledged;
        disk.log.get(index) == Some(&entry) || disk.loss.is_some_and(is_lost)
    }

    /// What a step of one member must not do.
    #[must_use]
    pub fn violation(
        setup: &Setup,
        before: &Node,
        after: &Node,
        is_reborn: bool,
        is_lost: bool,
    ) -> Option<String> {
        if let Some(halt) = after.core.halted() {
            // With lost disks a member that ends rather than cut what is committed does well.
            return (setup.lost_disks == 0).then(|| format!("halted: {halt:?}"));
        }
        if !is_lost && after.disk.candidate < before.disk.candidate {
            let (was, is) = (before.disk.candidate, after.disk.candidate);
            return Some(format!("I-12: the candidate term on disk fell from {was} to {is}"));
        }
        if !is_reborn && after.exposed() < before.exposed() {
            return Some(format!("commit fell from {} to {}", before.exposed(), after.exposed()));
        }
        let leads_on = before.leads()
            && after.leads()
            && before.core.leadership_term_id() == after.core.leadership_term_id();
        if leads_on && !after.readable().starts_with(&before.readable()) {
            return Some(format!("I-2: leader {} changed its log", after.id));
        }
        if after.exposed() > after.disk.log.len() && after.core.loss().is_none() {
            return Some(format!("exposes {} entries, {:?} recorded", after.exposed(), after.disk));
        }
        if setup.checks_tables { after.incoherence() } else { None }
    }
}

impl Node {
    /// Where a term begins by the table on disk; one without a record begins where the next does.
    fn base_of(&self, term: LeadershipTermId) -> Option<Position> {
        let record = self.disk.terms.iter().filter(|record| record.term >= term);
        record.min_by_key(|record| record.term).map(|record| record.base)
    }

    /// How the table of terms departs from the recording.
    fn incoherence(&self) -> Option<String> {
        let (terms, log) = (&self.disk.terms, &self.disk.log);
        let is_rising = |pair: &[consensus::TermRecord]| {
            pair[0].term < pair[1].term && pair[0].base <= pair[1].base
        };
        let end = log.len() as i64 * ENTRY;
        if !terms.windows(2).all(is_rising) || terms.iter().any(|record| record.base.0 > end) {
            return Some(format!("terms {terms:?} with a log of {} entries", log.len()));
        }
        let is_of_table = |(index, entry): (usize, &Entry)| {
            let at = index as i64 * ENTRY;
            let record = terms.iter().rev().find(|record| record.base.0 <= at);
            record.is_some_and(|record| record.term.0 == i64::from(entry.term))
        };
        if !log.iter().enumerate().all(is_of_table) {
            return Some(format!("terms {terms:?} are not those of the log {log:?}"));
        }
        None
    }
}

/// What no member knows: what was ever committed, who ever led.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ghost {
    /// The longest prefix of the log that anybody exposed.
    pub committed: Vec<Entry>,
    /// The term in which each of them was exposed first.
    pub committed_in: Vec<i64>,
    /// Who led which term.
    pub leaders: Vec<Option<usize>>,
    /// Disks lost so far.
    pub lost_disks: u32,
    /// How often a part of a recording rotted so far.
    pub rots: u32,
}

impl Ghost {
    /// Nothing happened yet.
    #[must_use]
    pub fn new(setup: &Setup) -> Self {
        let terms = usize::try_from(setup.terms).unwrap_or(0);
        Self {
            committed: Vec::new(),
            committed_in: Vec::new(),
            leaders: vec![None; terms],
            lost_disks: 0,
            rots: 0,
        }
    }

    /// Its fingerprint under a renaming. Coarse steps do without who led when, and what was
    /// committed in which term: a ballot is one step, so no term is won after a later one.
    #[must_use]
    pub fn hash(&self, renaming: &Renaming, with_all: bool) -> u128 {
        let name = |member: usize| i64::from(renaming.of(MemberId(member as i32)).0);
        of_words(|word| {
            for entry in &self.committed {
                word(i64::from(entry.term) * 16 + name(usize::from(entry.by)));
            }
            word(-1);
            if with_all {
                self.committed_in.iter().for_each(|&term| word(term));
                self.leaders.iter().for_each(|leader| word(leader.map_or(-1, name)));
            }
            word(i64::from(self.lost_disks));
            word(i64::from(self.rots));
        })
    }

    /// After a step of `member`: one leader a term, which has all that was committed in older
    /// ones; one committed log; and what is committed is on the disks of a quorum.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub fn extended(
        mut self,
        setup: &Setup,
        cluster: &[&Member],
        member: usize,
        is_new_leader: bool,
    ) -> Result<Self, String> {
        if self.lost_disks > 0 {
            // Nothing is promised to all then; each member still must not cut what it exposed.
            return Ok(self);
        }
        let own = cluster[member];
        let term = own.node.core.leadership_term_id();
        if own.leads && is_new_leader {
            let index = usize::try_from(term.0).unwrap_or(0);
            match self.leaders.get_mut(index) {
                Some(Some(other)) if *other != member => {
                    let other = *other;
                    return Err(format!("members {other} and {member} both led term {}", term.0));
                }
                Some(leader) => *leader = Some(member),
                None => {}
            }
            let is_due = |before: &&i64| setup.is_coarse || **before < term.0;
            let known = self.committed_in.iter().take_while(is_due).count();
            if !own.log.starts_with(&self.committed[..known]) {
                let committed = &self.committed;
                return Err(format!("leader {member} of {} lacks some of {committed:?}", term.0));
            }
        }
        let common = own.exposed.min(self.committed.len());
        let held = if own.node.core.loss().is_some() { own.log.len() } else { common };
        let held = held.min(common);
        if own.log.get(..held) != self.committed.get(..held) {
            let (log, committed) = (&own.log, &self.committed);
            return Err(format!("{member} exposes {} of {log:?}, not {committed:?}", own.exposed));
        }
        for index in common..own.exposed {
            let Some(&entry) = own.log.get(index) else {
                return Err(format!("{member} exposes {index}, which it does not have"));
            };
            let copies = cluster.iter().filter(|other| other.vouches(index, entry)).count();
            if copies < setup.quorum() {
                return Err(format!("{member} exposes {index}, which {copies} disks have"));
            }
            let lacks = |other: &&&Member| {
                other.leads
                    && other.node.core.leadership_term_id() > term
                    && other.log.get(index) != Some(&entry)
            };
            if let Some(leader) = cluster.iter().find(lacks) {
                let later = leader.node.core.leadership_term_id().0;
                return Err(format!("{member} exposes {index}, the leader of {later} lacks it"));
            }
            self.committed.push(entry);
            self.committed_in.push(term.0);
        }
        Ok(self)
    }

    /// What must hold in a state: committed entries are on the disks of a quorum, and so is the
    /// record of a term in which somebody serves; entries of one term and position are the same,
    /// and so is all before them; one leader a term.
    ///
    /// # Errors
    ///
    /// What does not.
    pub fn check(&self, setup: &Setup, cluster: &[&Member]) -> Result<(), String> {
        if self.lost_disks > 0 {
            return Ok(());
        }
        for (index, &entry) in self.committed.iter().enumerate() {
            let copies = cluster.iter().filter(|member| member.vouches(index, entry)).count();
            if copies < setup.quorum() {
                return Err(format!("committed entry {index} is on {copies} disks"));
            }
        }
        for leader in cluster.iter().filter(|member| member.node.core.is_leading()) {
            let (term, id) = (leader.node.core.leadership_term_id(), leader.node.id);
            let base = leader.node.base_of(term);
            let has = |member: &&&Member| {
                let is_lost = member.node.disk.loss.is_some_and(|loss| loss.term >= term);
                member.node.base_of(term) == base || is_lost
            };
            let copies = cluster.iter().filter(has).count();
            if base.is_none() || copies < setup.quorum() {
                return Err(format!("{id} serves in term {}, which {copies} disks have", term.0));
            }
        }
        for (number, left) in cluster.iter().enumerate() {
            for right in cluster.iter().skip(number + 1) {
                let (a, b) = (&left.node, &right.node);
                let same_term = a.core.leadership_term_id() == b.core.leadership_term_id();
                if left.leads && right.leads && same_term {
                    return Err(format!("members {} and {} lead one term", a.id, b.id));
                }
                let (one, two) = (&left.log, &right.log);
                let shared = (0..one.len().min(two.len())).rev();
                let last = shared.into_iter().find(|&index| one[index].term == two[index].term);
                if last.is_some_and(|last| one[..=last] != two[..=last]) {
                    return Err(format!("logs differ below a common term: {one:?} {two:?}"));
                }
            }
        }
        Ok(())
    }
}
