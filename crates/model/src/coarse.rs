//! Coarse steps: where members rest, and what runs to its end between.
//!
//! A member rests as a leader, as a follower that its leader hears, or in a canvass with all its
//! waits over, no word of others and no comparison under way. A ballot, and a meeting of a member
//! with a leader, are one step each. A leader and its followers hear each other at once, so that
//! all that is left to happen is that data arrives, that somebody appends, and that somebody leaves
//! or crashes. Whenever something becomes durable on the way, a crash right after it is a state
//! too. What is left out by that is argued in `docs/model-check.md`; the search in fine steps does
//! without it, within smaller bounds.

use consensus::{CommitPosition, ElectionState, MemberId, PeerMessage};
use wire::position::Position;

use crate::message::{Body, Message};
use crate::node::ENTRY;
use crate::world::{Found, Key, Label, NOTHING, Row, World};

/// Questions of one meeting.
const QUESTIONS_MAX: usize = 32;
/// Answers to answers of one message.
const ANSWERS_MAX: usize = 16;
/// Rounds until everybody rests.
const ROUNDS_MAX: usize = 32;

/// What one event of one member leads to.
struct Outcome {
    row: Row,
    shots: Vec<u32>,
    label: Label,
    violation: Option<String>,
}

/// Where a path stood.
#[derive(Clone, Copy)]
struct Mark {
    path: usize,
    said: usize,
}

impl Found {
    fn mark(&self) -> Mark {
        Mark { path: self.path.len(), said: self.said.len() }
    }

    fn rewind(&mut self, mark: Mark) {
        self.path.truncate(mark.path);
        self.said.truncate(mark.said);
    }
}

impl World {
    /// All states that one coarse step leads to.
    pub(crate) fn expand_coarsely(&mut self, row: &Row, found: &mut Found) {
        for member in 0..self.setup.members {
            if self.state(row, member) == ElectionState::Canvass {
                self.stand(found, row, member);
                self.urge(found, row, member);
                for leader in 0..self.setup.members {
                    if self.member(row, leader).leads {
                        self.meet(found, row, member, leader);
                    }
                }
                // A crash of a leader or follower leaves what a crash after its time-out leaves.
                if self.setup.has_crashes {
                    self.happen(found, row, member, Key::Restart);
                }
            } else {
                self.happen(found, row, member, Key::Expire);
                self.happen(found, row, member, Key::Append);
                if let Some(key) = self.data(row, member) {
                    self.happen(found, row, member, key);
                }
                self.overhear(found, row, member);
                if self.setup.has_closes && self.member(row, member).node.agent.image.is_some() {
                    self.happen(found, row, member, Key::Close(false));
                    self.happen(found, row, member, Key::Close(true));
                }
                if self.setup.has_lower_commits {
                    self.hear_lower(found, row, member);
                }
            }
            if self.setup.has_snapshots {
                self.happen(found, row, member, Key::Snapshot);
            }
            if self.ghost(row).lost_disks < self.setup.lost_disks {
                self.happen(found, row, member, Key::LoseDisk);
            }
            for key in self.rots(row, member) {
                self.happen(found, row, member, key);
            }
        }
        for place in self.late_places() {
            let message = row[place];
            if message != NOTHING {
                let to = self.message(message).to;
                let mut without = *row;
                without[place] = NOTHING;
                self.happen(found, row, to, Key::Deliver(message));
                self.happen(found, &without, to, Key::Deliver(message));
            }
        }
    }

    /// Leaders that are not followed are heard too.
    fn overhear(&mut self, found: &mut Found, row: &Row, member: usize) {
        for other in 0..self.setup.members {
            let is_own = other == member || self.leader_of(row, member) == Some(other);
            if self.member(row, other).leads && !is_own {
                for id in self.words(row, other, member) {
                    self.happen(found, row, member, Key::Deliver(id));
                }
            }
        }
    }

    /// A genuine leader that waits for a quorum announces what a quorum reported in any term.
    fn hear_lower(&mut self, found: &mut Found, row: &Row, member: usize) {
        let Some(leader) = self.leader_of(row, member) else { return };
        if self.state(row, leader) != ElectionState::LeaderLogReplication {
            return;
        }
        let core = &self.member(row, leader).node.core;
        let (term, end) = (core.leadership_term_id(), core.append_position().0);
        for at in 1..end / ENTRY {
            let body = Body::Peer(PeerMessage::CommitPosition(CommitPosition {
                leadership_term_id: term,
                log_position: Position(at * ENTRY),
                leader_member_id: MemberId(leader as i32),
            }));
            let id = self.intern_message(Message { to: member, body });
            self.happen(found, row, member, Key::Deliver(id));
        }
    }

    fn state(&self, row: &Row, member: usize) -> ElectionState {
        self.member(row, member).node.core.election_state()
    }

    fn outcomes(&mut self, row: &Row, member: usize, key: Key) -> Vec<Outcome> {
        let (begin, end) = self.effects(row[member], key);
        let mut outcomes = Vec::with_capacity((end - begin) as usize);
        for index in begin..end {
            let (to, torn) = self.effect(index);
            let shots = self.shots(index).to_vec();
            let mut next = *row;
            next[member] = to;
            let violation = self.apply(row, &mut next, member, index, key);
            let label = Label { member: member as u8, key, torn };
            outcomes.push(Outcome { row: next, shots, label, violation });
        }
        outcomes
    }

    fn note(&self, found: &mut Found, before: &Row, outcome: &Outcome) {
        found.path.push(outcome.label);
        if self.setup.late > 0 {
            found.said.extend(&self.member(before, usize::from(outcome.label.member)).says);
            found.said.extend(&outcome.shots);
        }
    }

    /// One event of one member, and all that follows from it at once.
    fn happen(&mut self, found: &mut Found, row: &Row, member: usize, key: Key) {
        found.kind += 1;
        for outcome in self.outcomes(row, member, key) {
            if outcome.row != *row || key == Key::LoseDisk {
                self.branch(found, row, &outcome);
            }
        }
    }

    fn branch(&mut self, found: &mut Found, before: &Row, outcome: &Outcome) {
        let mark = found.mark();
        self.note(found, before, outcome);
        match &outcome.violation {
            Some(text) => self.hand_out(found, &outcome.row, Some(text.clone())),
            None => self.come_to_rest(found, &outcome.row),
        }
        found.rewind(mark);
    }

    /// One event, which is bound to happen; crashes on its way are handed out besides. Nothing if
    /// it went wrong.
    fn go(
        &mut self,
        found: &mut Found,
        row: &Row,
        member: usize,
        key: Key,
    ) -> Option<(Row, Vec<u32>)> {
        let mut outcomes = self.outcomes(row, member, key).into_iter();
        let Some(first) = outcomes.next() else { return Some((*row, Vec::new())) };
        for torn in outcomes {
            self.branch(found, row, &torn);
        }
        if first.violation.is_some() {
            self.branch(found, row, &first);
            return None;
        }
        if first.row != *row || !first.shots.is_empty() {
            self.note(found, row, &first);
        }
        Some((first.row, first.shots))
    }

    /// Lets everybody come to rest, then hands the state out.
    fn come_to_rest(&mut self, found: &mut Found, row: &Row) {
        let mark = found.mark();
        let mut row = *row;
        for _ in 0..ROUNDS_MAX {
            let before = row;
            for member in 0..self.setup.members {
                match self.calm(found, &row, member) {
                    Some(next) => row = next,
                    None => {
                        found.rewind(mark);
                        return;
                    }
                }
            }
            if row == before {
                self.hand_out_all(found, &row);
                found.rewind(mark);
                return;
            }
        }
        self.hand_out(found, &row, Some("the members never come to rest".into()));
        found.rewind(mark);
    }

    /// The state, and the same with what was said on the way still in flight.
    fn hand_out_all(&mut self, found: &mut Found, row: &Row) {
        self.hand_out(found, row, None);
        if self.setup.late == 0 {
            return;
        }
        let mut said = found.said.clone();
        said.sort_unstable();
        said.dedup();
        for id in said {
            let is_said = (0..self.setup.members).any(|m| self.member(row, m).says.contains(&id));
            let is_vote = matches!(&self.message(id).body, Body::Peer(PeerMessage::Vote(_)));
            // A vote counts in its ballot only, which is one step.
            if !is_said
                && !is_vote
                && let Some(with) = self.with_late(row, id)
            {
                self.hand_out(found, &with, None);
            }
        }
    }

    /// One member rests, as far as the others let it. Nothing if that went wrong.
    fn calm(&mut self, found: &mut Found, row: &Row, member: usize) -> Option<Row> {
        match self.state(row, member) {
            ElectionState::FollowerBallot | ElectionState::Canvass => {
                return self.wait(found, row, member);
            }
            _ => {}
        }
        let own = self.member(row, member);
        if own.leads {
            return Some(self.go(found, row, member, Key::Record)?.0);
        }
        if own.node.core.halted().is_some() {
            return Some(*row);
        }
        match self.leader_of(row, member) {
            Some(leader) => self.exchange(found, row, member, leader),
            None => Some(self.go(found, row, member, Key::Expire)?.0),
        }
    }

    /// Who leads the term that a follower follows.
    fn leader_of(&self, row: &Row, member: usize) -> Option<usize> {
        let core = &self.member(row, member).node.core;
        let leader = usize::try_from(core.leader()?.0).ok()?;
        let other = self.member(row, leader);
        let is_same = other.node.core.leadership_term_id() == core.leadership_term_id();
        (other.leads && is_same).then_some(leader)
    }

    /// A leader and a follower hear each other, and a live log that is there joins.
    fn exchange(
        &mut self,
        found: &mut Found,
        row: &Row,
        follower: usize,
        leader: usize,
    ) -> Option<Row> {
        let mut row = *row;
        for (from, to) in [(leader, follower), (follower, leader)] {
            for id in self.words(&row, from, to) {
                // What it has just heard may have silenced it.
                if self.member(&row, from).says.contains(&id) {
                    row = self.tell(found, &row, from, id)?;
                }
            }
        }
        if self.data(&row, follower) == Some(Key::Join) {
            row = self.go(found, &row, follower, Key::Join)?.0;
        }
        Some(row)
    }

    /// What `from` says to `to` now and again.
    fn words(&self, row: &Row, from: usize, to: usize) -> Vec<u32> {
        let says = &self.member(row, from).says;
        says.iter().copied().filter(|&id| self.message(id).to == to).collect()
    }

    /// A message arrives, and so do the answers between the two. Nothing if that went wrong.
    fn tell(&mut self, found: &mut Found, row: &Row, from: usize, id: u32) -> Option<Row> {
        let mut row = *row;
        let mut flying = std::collections::VecDeque::from([(from, id)]);
        for _ in 0..ANSWERS_MAX {
            let Some((from, id)) = flying.pop_front() else { break };
            let to = self.message(id).to;
            let (next, shots) = self.go(found, &row, to, Key::Deliver(id))?;
            row = next;
            let to_sender = shots.into_iter().filter(|&shot| self.message(shot).to == from);
            flying.extend(to_sender.map(|shot| (to, shot)));
        }
        Some(row)
    }

    /// Waits that are over. Nothing if that went wrong.
    fn wait(&mut self, found: &mut Found, row: &Row, member: usize) -> Option<Row> {
        let mut row = *row;
        for _ in 0..4 {
            let (next, _) = self.go(found, &row, member, Key::Expire)?;
            if next == row {
                break;
            }
            row = next;
        }
        Some(row)
    }

    /// A member without a leader and a leader meet: report, answer, questions of a comparison and
    /// their answers, until it follows, cut its log, or recorded a term. A comparison that gets no
    /// answer is as one that never began.
    fn meet(&mut self, found: &mut Found, row: &Row, member: usize, leader: usize) {
        let mark = found.mark();
        found.kind += 1;
        self.try_to_meet(found, row, member, leader);
        found.rewind(mark);
    }

    fn try_to_meet(
        &mut self,
        found: &mut Found,
        row: &Row,
        member: usize,
        leader: usize,
    ) -> Option<()> {
        let (mut row, mut last) = (*row, None);
        for _ in 0..QUESTIONS_MAX {
            let Some(question) = self.question(&row, member, leader) else { break };
            if last == Some(question) {
                break;
            }
            let (next, shots) = self.go(found, &row, leader, Key::Deliver(question))?;
            if last.is_none() && next != row {
                // The report arrives, and nothing comes of the answer.
                self.come_to_rest(found, &next);
            }
            last = Some(question);
            let disk = self.member(&row, member).node.disk.clone();
            row = next;
            let answer = self.answer(&row, member, leader, &shots)?;
            row = self.go(found, &row, member, Key::Deliver(answer))?.0;
            let own = &self.member(&row, member).node;
            if own.core.election_state() != ElectionState::Canvass || own.disk != disk {
                break;
            }
        }
        let own = &self.member(&row, member).node;
        let is_over = match own.core.election_state() {
            ElectionState::Canvass => !self.is_comparing(&row, member),
            // The way out of V2: to stand is a step of its own.
            ElectionState::CandidateBallot | ElectionState::Nominate => false,
            _ => true,
        };
        if is_over {
            self.come_to_rest(found, &row);
        }
        Some(())
    }

    /// Whether it asks what its report is not.
    fn is_comparing(&self, row: &Row, member: usize) -> bool {
        let own = self.member(row, member);
        let report = (own.node.core.terms().last(), own.node.core.append_position());
        own.says.iter().any(|&id| match &self.message(id).body {
            Body::Peer(PeerMessage::CanvassPosition(m)) => {
                report != (m.log_leadership_term_id, m.log_position)
            }
            _ => false,
        })
    }

    /// What a member without a leader says to one: a question if it compares, else its report.
    fn question(&self, row: &Row, member: usize, leader: usize) -> Option<u32> {
        let own = &self.member(row, member).node;
        let report = (own.core.terms().last(), own.core.append_position());
        let words = self.words(row, member, leader).into_iter();
        let canvass = words.filter_map(|id| match &self.message(id).body {
            Body::Peer(PeerMessage::CanvassPosition(m)) => {
                Some((report == (m.log_leadership_term_id, m.log_position), id))
            }
            _ => None,
        });
        canvass.min().map(|(_, id)| id)
    }

    fn answer(&self, row: &Row, member: usize, leader: usize, shots: &[u32]) -> Option<u32> {
        let says = &self.member(row, leader).says;
        shots.iter().chain(says).copied().find(|&id| {
            let message = self.message(id);
            let is_term = matches!(&message.body, Body::Peer(PeerMessage::NewLeadershipTerm(_)));
            message.to == member && is_term
        })
    }

    /// Member `candidate` stands in a canvass: words of a quorum that had nothing yet arrive late.
    fn stand(&mut self, found: &mut Found, row: &Row, candidate: usize) {
        let mark = found.mark();
        found.kind += 1;
        let mut row = *row;
        let hellos = self.hellos(candidate);
        for key in hellos.into_iter().map(Key::Deliver).chain([Key::Expire]) {
            if self.state(&row, candidate) != ElectionState::Canvass {
                break;
            }
            let Some(first) = self.outcomes(&row, candidate, key).into_iter().next() else { break };
            self.note(found, &row, &first);
            row = first.row;
        }
        if self.state(&row, candidate) == ElectionState::CandidateBallot {
            self.ballot(found, &row, candidate, 0);
        }
        found.rewind(mark);
    }

    /// Who must not stand has asked others to.
    fn urge(&mut self, found: &mut Found, row: &Row, member: usize) {
        for voter in 0..self.setup.members {
            if let Some(request) = self.request(row, member, voter) {
                self.happen(found, row, voter, Key::Deliver(request));
            }
        }
    }

    /// The ballot goes on with the members from `voter`: each hears of it or not, and its vote
    /// arrives or not; then it ends.
    fn ballot(&mut self, found: &mut Found, row: &Row, candidate: usize, voter: usize) {
        if self.state(row, candidate) != ElectionState::CandidateBallot {
            self.come_to_rest(found, row);
            return;
        }
        if voter >= self.setup.members {
            for outcome in self.outcomes(row, candidate, Key::Expire) {
                self.branch(found, row, &outcome);
            }
            return;
        }
        self.ballot(found, row, candidate, voter + 1);
        if let Some(request) = self.request(row, candidate, voter) {
            self.ask(found, row, (candidate, voter, request), true);
        }
    }

    fn request(&self, row: &Row, candidate: usize, voter: usize) -> Option<u32> {
        self.words(row, candidate, voter)
            .into_iter()
            .find(|&id| matches!(&self.message(id).body, Body::Peer(PeerMessage::RequestVote(_))))
    }

    /// A voter hears a request. Who follows or leads leaves that first, and may hear it again.
    fn ask(&mut self, found: &mut Found, row: &Row, ballot: (usize, usize, u32), is_first: bool) {
        let (candidate, voter, request) = ballot;
        for outcome in self.outcomes(row, voter, Key::Deliver(request)) {
            if outcome.row == *row && outcome.shots.is_empty() {
                continue;
            }
            if outcome.violation.is_some() {
                self.branch(found, row, &outcome);
                continue;
            }
            let mark = found.mark();
            let leaves = is_first && self.state(row, voter) != ElectionState::Canvass;
            self.note(found, row, &outcome);
            let vote = self.vote(&outcome.row, voter, candidate, &outcome.shots);
            if let Some(next) = self.wait(found, &outcome.row, voter) {
                self.ballot(found, &next, candidate, voter + 1);
                match vote {
                    Some(vote) => {
                        for counted in self.outcomes(&next, candidate, Key::Deliver(vote)) {
                            self.count(found, &next, &counted, (candidate, voter));
                        }
                    }
                    None if leaves => self.ask(found, &next, ballot, false),
                    None => {}
                }
            }
            found.rewind(mark);
        }
    }

    fn count(
        &mut self,
        found: &mut Found,
        before: &Row,
        outcome: &Outcome,
        (candidate, voter): (usize, usize),
    ) {
        if outcome.violation.is_some() || outcome.label.torn > 0 {
            self.branch(found, before, outcome);
            return;
        }
        let mark = found.mark();
        self.note(found, before, outcome);
        self.ballot(found, &outcome.row, candidate, voter + 1);
        found.rewind(mark);
    }

    /// The vote of a voter that has just been asked.
    fn vote(&self, row: &Row, voter: usize, candidate: usize, shots: &[u32]) -> Option<u32> {
        let said = &self.member(row, voter).says;
        said.iter().chain(shots).copied().find(|&id| {
            let message = self.message(id);
            let is_vote = matches!(&message.body, Body::Peer(PeerMessage::Vote(vote)) if vote.vote);
            message.to == candidate && is_vote
        })
    }
}
