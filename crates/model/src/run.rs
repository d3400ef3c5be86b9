//! An event being handled: the agent's part, played at once.
//!
//! Records are made durable, completions of the archive are fed back and what may be read of the
//! log is read before anything else happens. Between any two durable operations the member may
//! crash; those points are noted on the way.

use consensus::{
    ArchiveAction, ArchiveInput, ClusterSessionId, ElectionState, Input, LeadershipTermId,
    LogEvent, Outcome, PeerAction, PeerMessage, Persist, RecordingId, TermRecord,
};
use wire::position::Position;
use wire::time::{Nanos, Now};

use crate::message::{Body, Message};
use crate::node::{
    Agent, Copying, Disk, EPOCH, Entry, Event, Image, LEAP, Node, Step, Steps, Stream, at, index,
};
use crate::setup::Setup;

/// Duty cycles until nothing but time, or others, move a member.
const TICKS: usize = 8;

/// An event being handled.
pub(crate) struct Run<'a> {
    setup: &'a Setup,
    pub(crate) node: Node,
    pub(crate) sends: Vec<Message>,
    /// Disks that a crash on the way leaves, and how much was said before it.
    points: Vec<(Disk, usize)>,
    /// The highest term stood or voted for when it began.
    candidate_before: i64,
    wrong: Option<String>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(setup: &'a Setup, node: Node) -> Self {
        let candidate_before = node.disk.candidate;
        Self { setup, node, sends: Vec::new(), points: Vec::new(), candidate_before, wrong: None }
    }

    /// Handles an event. False if it cannot happen.
    pub(crate) fn handle(&mut self, event: &Event) -> bool {
        match event {
            Event::Deliver(Body::Peer(message)) => self.feed(&Input::Peer(message.clone())),
            Event::Deliver(Body::Replay { session, from }) => return self.replay(*session, *from),
            Event::Expire => {
                self.node.now += LEAP;
                self.feed(&Input::Tick);
            }
            Event::Restart => {
                let disk = self.node.disk.clone();
                self.node = Node::started(self.setup, self.node.id, disk);
            }
            Event::LoseDisk => self.node = Node::empty(self.setup, self.node.id),
            Event::Rot(from) => {
                if *from >= self.node.disk.log.len() {
                    return false;
                }
                self.archive(ArchiveInput::Rotten { position: at(*from) });
            }
            Event::Snapshot => return self.snapshot(),
            Event::Append => return self.append(),
            Event::Record => return self.record(),
            Event::Copy(entry) => self.copy(*entry),
            Event::Join => {
                let Some(image) = &mut self.node.agent.image else { return false };
                image.is_joined = true;
                let session_id = image.session;
                let position = self.node.core.log_position();
                self.archive(ArchiveInput::ImageJoined { session_id, position });
            }
            Event::Close(is_end_of_stream) => {
                self.node.agent.image = None;
                let is_end_of_stream = *is_end_of_stream;
                self.archive(ArchiveInput::ImageClosed { is_end_of_stream });
            }
        }
        // A nomination only waits: the same messages lead from it where they lead from a canvass.
        if !self.setup.is_paced && self.node.core.election_state() == ElectionState::Nominate {
            self.node.now += LEAP;
            self.feed(&Input::Tick);
        }
        true
    }

    fn replay(&mut self, session: i32, from: i64) -> bool {
        let Some(image) = &mut self.node.agent.image else { return false };
        if image.session != session || !image.is_replayed || image.is_joined {
            return false;
        }
        image.is_joined = true;
        let position = Position(from);
        self.archive(ArchiveInput::ImageJoined { session_id: session, position });
        true
    }

    fn snapshot(&mut self) -> bool {
        let node = &mut self.node;
        let exposed = node.core.commit_position();
        let Some(last) = node.exposed().checked_sub(1) else { return false };
        let log = node.readable();
        let Some(entry) = log.get(last) else { return false };
        if node.disk.snapshot.is_some_and(|(_, position)| position >= exposed.0) {
            return false;
        }
        node.disk.snapshot = Some((i64::from(entry.term), exposed.0));
        true
    }

    fn append(&mut self) -> bool {
        let (by, term) = (self.node.id as u8, self.node.core.leadership_term_id().0 as i8);
        let entries = self.setup.entries;
        let Some(stream) = &mut self.node.agent.stream else { return false };
        if stream.end() >= entries || !self.node.core.is_leading() {
            return false;
        }
        stream.entries.push(Entry { term, by });
        let position = at(stream.end());
        self.feed(&Input::Appended(position));
        true
    }

    fn record(&mut self) -> bool {
        let node = &mut self.node;
        let Some(stream) = node.agent.stream.as_ref().filter(|_| node.agent.records_own) else {
            return false;
        };
        let Some(entry) = stream.entry(node.disk.log.len()) else { return false };
        self.copy(entry);
        true
    }

    fn copy(&mut self, entry: Entry) {
        self.node.disk.log.push(entry);
        self.point();
        let end = self.node.disk.log.len();
        self.feed(&Input::Recorded(at(end)));
        if self.node.agent.copying.is_some_and(|copying| copying.stop <= end) {
            self.node.agent.copying = None;
            self.archive(ArchiveInput::Replicated { position: at(end) });
        }
    }

    fn archive(&mut self, input: ArchiveInput) {
        self.feed(&Input::Archive(input));
    }

    /// Hands an input to the core, then does all that it asks for.
    pub(crate) fn feed(&mut self, input: &Input<'_>) {
        self.hand(input);
        for _ in 0..TICKS {
            let state = self.node.core.election_state();
            self.hand(&Input::Tick);
            if self.node.core.election_state() == state {
                break;
            }
        }
    }

    fn hand(&mut self, input: &Input<'_>) {
        self.node.now += 1;
        let now = self.node.time();
        self.node.core.handle(now, input.clone());
        let mut is_busy = true;
        while is_busy && self.node.core.halted().is_none() {
            is_busy = self.drain_peers() | self.drain_archive() | self.drain_log() | self.read();
        }
        self.drain_peers();
    }

    /// A crash may happen here.
    fn point(&mut self) {
        self.points.push((self.node.disk.clone(), self.sends.len()));
    }

    pub(crate) fn drain_peers(&mut self) -> bool {
        let mut actions = Vec::new();
        self.node.core.drain_peers(|action| {
            actions.push(action.clone());
            Outcome::Done
        });
        let is_busy = !actions.is_empty();
        for action in actions {
            match action {
                PeerAction::Persist(record) => self.persist(&record),
                PeerAction::Send { to, message } => {
                    self.judge_vote(&message);
                    self.sends.push(Message { to: to.0 as usize, body: Body::Peer(message) });
                }
            }
        }
        is_busy
    }

    /// P1 and I-12: a vote is on disk before it is spoken, and is the first one in its term. Own
    /// votes count: a request is one.
    fn judge_vote(&mut self, message: &PeerMessage) {
        let term = match message {
            PeerMessage::RequestVote(m) => m.candidate_term_id.0,
            PeerMessage::Vote(m) if m.vote => m.candidate_term_id.0,
            _ => return,
        };
        let (id, on_disk) = (self.node.id, self.node.disk.candidate);
        if on_disk < term {
            self.wrong = Some(format!("P1: {id} votes in term {term} with {on_disk} on disk"));
        } else if term <= self.candidate_before {
            self.wrong = Some(format!("I-12: {id} votes in term {term} again"));
        }
    }

    fn persist(&mut self, record: &Persist) {
        self.point();
        let terms = &mut self.node.disk.terms;
        match *record {
            Persist::CandidateTerm { term, .. } => self.node.disk.candidate = term.0,
            Persist::Term { term, base, gap_from } => {
                terms.push(TermRecord { term, base });
                for gap in gap_from.0..term.0 {
                    self.point();
                    let term = LeadershipTermId(gap);
                    self.node.disk.terms.push(TermRecord { term, base });
                }
                self.node.disk.terms.sort_by_key(|record| record.term);
            }
            Persist::DropTerms { from } => {
                while self.node.disk.terms.last().is_some_and(|last| last.term >= from) {
                    self.node.disk.terms.pop();
                    self.point();
                }
            }
            Persist::Loss(loss) => self.node.disk.loss = Some(loss),
            Persist::Regained => self.node.disk.loss = None,
            Persist::EndTerm { .. } | Persist::Snapshot { .. } => {}
        }
        self.point();
    }

    fn drain_archive(&mut self) -> bool {
        let mut actions = Vec::new();
        self.node.core.drain_archive(|action| {
            actions.push(*action);
            Outcome::Done
        });
        let is_busy = !actions.is_empty();
        for action in actions {
            if let Some(answer) = self.perform(action) {
                self.archive(answer);
            }
        }
        is_busy
    }

    /// Does what the archive and the log are asked for; what it answers at once.
    fn perform(&mut self, action: ArchiveAction) -> Option<ArchiveInput> {
        let recorded = at(self.node.disk.log.len());
        let recording_id = RecordingId(0);
        let term = self.node.core.leadership_term_id().0;
        let agent = &mut self.node.agent;
        match action {
            ArchiveAction::LeaveLog => {
                *agent = Agent::default();
                return Some(ArchiveInput::LogLeft { recorded });
            }
            ArchiveAction::CreatePublication { position } => {
                let session = term as i32 + 1;
                let base = index(position);
                agent.stream = Some(Stream { session, base, entries: Vec::new() });
                return Some(ArchiveInput::PublicationReady { session_id: session });
            }
            ArchiveAction::RecordPublication => {
                agent.records_own = true;
                return Some(ArchiveInput::RecordingStarted { recording_id, position: recorded });
            }
            ArchiveAction::StartReplay { from, .. } => {
                return Some(ArchiveInput::ImageJoined { session_id: -5, position: from });
            }
            ArchiveAction::Replicate { from_member, stop, .. } => {
                if recorded >= stop {
                    return Some(ArchiveInput::Replicated { position: recorded });
                }
                let (from, stop) = (from_member.0 as usize, index(stop));
                agent.copying = Some(Copying { from, stop, term });
            }
            ArchiveAction::Truncate { position } => {
                self.point();
                self.node.disk.log.truncate(index(position));
                self.point();
                return Some(ArchiveInput::Truncated { position });
            }
            ArchiveAction::OpenLog { leader, session_id, is_catchup } => {
                agent.image = Some(Image {
                    leader: leader.0 as usize,
                    session: session_id,
                    is_replayed: is_catchup,
                    is_live: !is_catchup,
                    is_joined: false,
                    is_recorded: false,
                });
                return is_catchup.then_some(ArchiveInput::CatchupReady);
            }
            ArchiveAction::RecordImage => {
                agent.image.as_mut()?.is_recorded = true;
                return Some(ArchiveInput::RecordingStarted { recording_id, position: recorded });
            }
            ArchiveAction::AddLiveDestination => agent.image.as_mut()?.is_live = true,
            ArchiveAction::RemoveCatchupDestination => agent.image.as_mut()?.is_replayed = false,
            ArchiveAction::StartCatchup { member, from } => {
                let session = agent.stream.as_ref()?.session;
                let body = Body::Replay { session, from: from.0 };
                self.sends.push(Message { to: member.0 as usize, body });
            }
            ArchiveAction::StopReplay
            | ArchiveAction::StopCatchup { .. }
            | ArchiveAction::TakeSnapshot { .. } => {}
        }
        None
    }

    /// The event of a new term is appended as soon as it is due, if the bound leaves room.
    fn drain_log(&mut self) -> bool {
        let node = &mut self.node;
        let term = node.core.leadership_term_id().0 as i8;
        let now = Now { mono: Nanos(node.now), epoch: EPOCH };
        let (entries, by) = (self.setup.entries, node.id as u8);
        let Some(stream) = &mut node.agent.stream else { return false };
        let appended = node.core.drain_log(now, |_| {
            if stream.end() >= entries {
                return Outcome::BackPressured;
            }
            stream.entries.push(Entry { term, by });
            Outcome::Appended(at(stream.end()))
        });
        appended > 0
    }

    /// Reads the log as far as it may be read.
    fn read(&mut self) -> bool {
        let from = self.node.core.log_position();
        let next = index(from);
        if self.node.core.log_limit() <= from {
            return false;
        }
        let Some(&entry) = self.node.disk.log.get(next) else { return false };
        let position = at(next + 1);
        let leadership_term_id = LeadershipTermId(i64::from(entry.term));
        let before = next.checked_sub(1).and_then(|last| self.node.disk.log.get(last));
        let event = if before.is_none_or(|before| before.term < entry.term) {
            LogEvent::NewLeadershipTerm {
                leadership_term_id,
                log_position: position,
                timestamp: EPOCH.as_millis(),
                term_base_log_position: from,
                time_unit: Some(0),
            }
        } else {
            let session = ClusterSessionId(1);
            LogEvent::SessionMessage { leadership_term_id, session, timestamp: EPOCH.as_millis() }
        };
        self.node.now += 1;
        let now = self.node.time();
        self.node.core.handle(now, Input::Log { position, event });
        true
    }

    /// What of this may still arrive while the phase lasts, apart from what is said regularly.
    pub(crate) fn finish_saying(&mut self) {
        let state = self.node.core.election_state();
        let is_lossy = self.node.core.loss().is_some();
        let is_lasting = |message: &&Message| {
            let Body::Peer(message) = &message.body else { return false };
            match message {
                // In a canvass: who must not stand has asked others to (H1).
                PeerMessage::RequestVote(_) => {
                    state == ElectionState::CandidateBallot
                        || state == ElectionState::Canvass && is_lossy
                }
                PeerMessage::Vote(m) => m.vote && state == ElectionState::FollowerBallot,
                PeerMessage::CatchupPosition(_) => state == ElectionState::FollowerCatchupAwait,
                _ => false,
            }
        };
        let mut said: Vec<Message> = self.sends.iter().filter(is_lasting).cloned().collect();
        if said.is_empty() {
            said = self.node.agent.said.iter().filter(is_lasting).cloned().collect();
        }
        let newest = said.iter().map(Message::term).max();
        said.retain(|message| Some(message.term()) == newest);
        self.node.agent.said = said;
    }

    pub(crate) fn finish(mut self, before: &Disk) -> Steps {
        self.finish_saying();
        let Run { setup, node, sends, points, wrong, .. } = self;
        if !node.is_within(setup) {
            return Vec::new();
        }
        let mut steps: Steps = Vec::new();
        let mut seen: Vec<(Disk, usize)> = vec![(before.clone(), 0)];
        for point in points {
            let is_new = point.0 != node.disk && !seen.contains(&point);
            if setup.has_crashes && is_new {
                seen.push(point);
            }
        }
        let id = node.id;
        steps.push(Step { node, sends: sends.clone(), wrong });
        for (disk, said) in seen.into_iter().skip(1) {
            let node = Node::started(setup, id, disk);
            let sends = sends.iter().take(said).cloned().collect();
            steps.push(Step { node, sends, wrong: None });
        }
        steps
    }
}
