//! One node: its disk, the agent's part played in steps, one service, one client.

use consensus::{
    Admit, ArchiveAction, ArchiveInput, ClientAction, ClientInput, ClusterSessionId, Config,
    Consensus, Control, CorrelationId, Ingress, Input, LeadershipTermId, LogAction, LogEvent, Loss,
    MemberId, Outcome, PeerAction, PeerMessage, Persist, RecordingId, Recovery, ServiceAction,
    ServiceId, ServiceInput, SnapshotItem, TermRecord, Verdict,
};
use wire::position::Position;
use wire::time::Now;

use super::{Entry, Event, Stream, World, term};

pub type Message = PeerMessage;

/// A snapshot item that owns its bytes.
#[derive(Clone, Debug)]
pub enum Item {
    Module(i64, i64, i64),
    Session(i64, i64, i64, Option<consensus::CloseReason>, i32, String),
    Timer(i64, i64),
    Pending(i64, i64, i32),
    Message(i64, Vec<u8>),
}

impl Item {
    fn of(item: SnapshotItem<'_>) -> Self {
        match item {
            SnapshotItem::Module {
                next_session_id,
                next_service_session_id,
                log_service_session_id,
                ..
            } => Self::Module(next_session_id, next_service_session_id, log_service_session_id),
            SnapshotItem::Session {
                session,
                correlation_id,
                opened_log_position,
                close_reason,
                response_stream_id,
                response_channel,
            } => Self::Session(
                session.0,
                correlation_id.0,
                opened_log_position.0,
                close_reason,
                response_stream_id,
                response_channel.into(),
            ),
            SnapshotItem::Timer { correlation_id, deadline } => {
                Self::Timer(correlation_id.0, deadline)
            }
            SnapshotItem::Pending {
                next_service_session_id,
                log_service_session_id,
                service,
                ..
            } => Self::Pending(next_service_session_id, log_service_session_id, service.0),
            SnapshotItem::Message { session, payload } => Self::Message(session.0, payload.into()),
        }
    }

    fn view(&self) -> SnapshotItem<'_> {
        match self {
            Self::Module(next, service, log) => SnapshotItem::Module {
                next_session_id: *next,
                next_service_session_id: *service,
                log_service_session_id: *log,
                pending_message_capacity: 0,
            },
            Self::Session(session, correlation, opened, reason, stream, channel) => {
                SnapshotItem::Session {
                    session: ClusterSessionId(*session),
                    correlation_id: CorrelationId(*correlation),
                    opened_log_position: Position(*opened),
                    close_reason: *reason,
                    response_stream_id: *stream,
                    response_channel: channel,
                }
            }
            Self::Timer(id, deadline) => {
                SnapshotItem::Timer { correlation_id: CorrelationId(*id), deadline: *deadline }
            }
            Self::Pending(next, log, service) => SnapshotItem::Pending {
                next_service_session_id: *next,
                log_service_session_id: *log,
                pending_message_capacity: 0,
                service: ServiceId(*service),
            },
            Self::Message(session, payload) => {
                SnapshotItem::Message { session: ClusterSessionId(*session), payload }
            }
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Disk {
    pub terms: Vec<TermRecord>,
    pub candidate: i64,
    pub log: Vec<Entry>,
    /// Term, position, time and items of the newest snapshot.
    pub snapshot: Option<(i64, i64, i64, Vec<Item>)>,
    /// From which entry on the log cannot be read any more.
    pub rotten: Option<usize>,
    /// What was lost of the log and is not regained.
    pub loss: Option<Loss>,
}

impl Disk {
    pub fn is_rotten(&self) -> bool {
        self.rotten.is_some_and(|from| from < self.log.len())
    }

    /// What can be read of the log.
    fn sound(&self, at: usize) -> Option<&Entry> {
        self.log.get(at).filter(|_| self.rotten.is_none_or(|from| at < from))
    }

    /// Whether its loss is known, and includes the entry at this index.
    pub fn has_lost(&self, at: usize, entry: &Entry) -> bool {
        self.loss
            .is_some_and(|loss| entry.term <= loss.term.0 && at as i64 * 32 < loss.acknowledged.0)
    }

    fn cut(&mut self, position: Position) {
        self.log.truncate(position.0 as usize / 32);
        self.rotten = self.rotten.filter(|_| self.is_rotten());
    }

    /// The archive looks at all of the log before the member starts (H3).
    fn find_rot(&mut self) {
        let Some(from) = self.rotten.filter(|_| self.is_rotten()) else { return };
        let loss = Loss {
            cut: Some(Position(from as i64 * 32)),
            term: self.terms.iter().map(|record| record.term).max().unwrap_or_else(|| term(-1)),
            acknowledged: Position(self.log.len() as i64 * 32),
        };
        self.loss = Some(self.loss.map_or(loss, |known| known.and(loss)));
    }

    /// Where a term begins; one without a record begins where the next does.
    fn base_of(&self, term: LeadershipTermId) -> Option<Position> {
        let records = self.terms.iter().filter(|record| record.term >= term);
        records.min_by_key(|record| record.term).map(|record| record.base)
    }
}

#[derive(Clone, Debug)]
struct Image {
    session: i32,
    is_catchup: bool,
    is_live: bool,
    is_joined: bool,
    is_recorded: bool,
}

/// What dies with the process.
#[derive(Clone, Debug, Default)]
struct Agent {
    stream: Option<i32>,
    is_recording_own: bool,
    image: Option<Image>,
    is_replaying: bool,
    /// Leader and stop, in entries.
    replication: Option<(usize, usize)>,
    completions: Vec<(u64, ArchiveInput)>,
    acks: Vec<(u64, i64, i64)>,
    snapshot_items: Option<Vec<Item>>,
}

#[derive(Clone, Debug, Default)]
struct Service {
    position: usize,
    ack_id: i64,
    /// Positions it has taken a snapshot at and still has to acknowledge comes through
    /// `Agent::acks`.
    offered: u64,
}

pub struct Node {
    pub index: usize,
    config: Config,
    pub disk: Disk,
    pub core: Option<Consensus>,
    agent: Agent,
    service: Service,
    pub restart_at: u64,
    session: Option<i64>,
}

impl Node {
    pub fn new(index: usize, config: Config) -> Self {
        Self {
            index,
            config,
            disk: Disk { candidate: -1, ..Disk::default() },
            core: None,
            agent: Agent::default(),
            service: Service::default(),
            restart_at: 0,
            session: None,
        }
    }

    pub fn term(&self) -> i64 {
        self.core.as_ref().map_or(-1, |core| core.leadership_term_id().0)
    }

    pub fn describe(&self) -> String {
        let Some(core) = &self.core else { return format!("{} dead", self.index) };
        format!(
            "{} {:?} {:?} term {} log term {} append {} log {} commit {} leader {:?} disk {} \
             halt {:?} service {} image {:?} completions {:?} state {:?}",
            self.index,
            core.election_state(),
            core.role(),
            core.leadership_term_id().0,
            core.terms().last().0,
            core.append_position().0,
            core.log_position().0,
            core.commit_position().0,
            core.leader(),
            self.disk.log.len() * 32,
            core.halted(),
            self.service.position * 32,
            self.agent.image,
            self.agent.completions,
            core.module_state(),
        )
    }

    pub fn start(&mut self, seed: u64, now: Now) {
        if seed.is_multiple_of(2) {
            self.disk.find_rot();
        }
        let snapshot = self.disk.snapshot.clone();
        let recovery = Recovery {
            terms: self.disk.terms.clone(),
            candidate_term: term(self.disk.candidate),
            recorded: Position(self.disk.log.len() as i64 * 32),
            recording_id: RecordingId(0),
            snapshot: snapshot.as_ref().map(|(t, p, at, _)| (term(*t), Position(*p), *at)),
            loss: self.disk.loss,
        };
        let mut core = Consensus::new(self.config.clone(), &recovery, seed, now);
        self.agent = Agent::default();
        self.service = Service::default();
        self.session = None;
        let mut position = 0;
        if let Some((_, at, _, items)) = &snapshot {
            for item in items {
                assert!(core.restore(item.view()), "snapshot item {item:?}");
            }
            position = *at;
        }
        self.service.position = position as usize / 32;
        self.agent.acks.push((0, position, 1));
        self.core = Some(core);
    }

    pub fn crash(&mut self) {
        self.core = None;
        self.agent = Agent::default();
    }

    fn complete(&mut self, due: u64, input: ArchiveInput) {
        self.agent.completions.push((due, input));
    }

    /// The log as this node would read it: its disk, and as the leader its own stream.
    fn readable(&self, streams: &std::collections::BTreeMap<i32, Stream>) -> Vec<Entry> {
        let mut log = self.disk.log.clone();
        if let Some(stream) = self.agent.stream.and_then(|session| streams.get(&session)) {
            let have = log.len().saturating_sub(stream.base);
            log.extend(stream.entries.iter().skip(have).cloned());
        }
        log
    }
}

impl World {
    fn core(&mut self, index: usize) -> Option<&mut Consensus> {
        self.nodes[index].core.as_mut()
    }

    pub fn receive(&mut self, index: usize, message: Message) {
        self.feed(index, Input::Peer(message));
    }

    pub fn control(&mut self, index: usize, control: Control) {
        let now = self.now();
        if let Some(core) = self.core(index) {
            core.handle(now, Input::Control(control));
        }
    }

    fn feed(&mut self, index: usize, input: Input<'_>) {
        let now = self.now();
        let Some(core) = self.core(index) else { return };
        let before = core.election_state();
        core.handle(now, input);
        let after = core.election_state();
        if before != after {
            self.transitions.insert((before, after));
        }
    }

    /// One cycle of the agent.
    pub fn step_node(&mut self, index: usize) {
        self.feed_completions(index);
        self.find_rot(index);
        self.move_archive(index);
        self.read_log(index);
        self.step_service(index);
        self.feed(index, Input::Tick);
        if !self.drain_peers(index) {
            return;
        }
        self.drain_archive(index);
        self.drain_services(index);
        self.drain_clients(index);
        self.drain_log(index);
        if self.workload {
            self.step_client(index);
        }
        self.look_at(index);
    }

    fn feed_completions(&mut self, index: usize) {
        let step = self.step;
        let due: Vec<ArchiveInput> = {
            let completions = &mut self.nodes[index].agent.completions;
            let due = completions.iter().filter(|(at, _)| *at <= step).map(|&(_, input)| input);
            let due = due.collect();
            completions.retain(|(at, _)| *at > step);
            due
        };
        for input in due {
            self.feed(index, Input::Archive(input));
        }
    }

    /// Sooner or later the archive comes across what rotted.
    fn find_rot(&mut self, index: usize) {
        let disk = &self.nodes[index].disk;
        let Some(from) = disk.rotten.filter(|_| disk.is_rotten()) else { return };
        if self.dice.one_in(30) {
            let position = Position(from as i64 * 32);
            self.feed(index, Input::Archive(ArchiveInput::Rotten { position }));
        }
    }

    fn move_archive(&mut self, index: usize) {
        let most = self.dice.below(4) as usize;
        self.record_own(index, most);
        self.record_image(index, most);
        self.replicate(index, most);
        let recorded = Position(self.nodes[index].disk.log.len() as i64 * 32);
        let is_recording = {
            let agent = &self.nodes[index].agent;
            agent.is_recording_own
                || agent.image.as_ref().is_some_and(|image| image.is_recorded)
                || agent.replication.is_some()
        };
        if is_recording {
            self.feed(index, Input::Recorded(recorded));
        }
    }

    fn record_own(&mut self, index: usize, most: usize) {
        let node = &mut self.nodes[index];
        if !node.agent.is_recording_own {
            return;
        }
        let Some(stream) = node.agent.stream.and_then(|session| self.streams.get(&session)) else {
            return;
        };
        let have = node.disk.log.len() - stream.base;
        node.disk.log.extend(stream.entries.iter().skip(have).take(most).cloned());
    }

    fn record_image(&mut self, index: usize, most: usize) {
        let Some(image) = self.nodes[index].agent.image.clone() else { return };
        let Some(stream) = self.streams.get(&image.session) else { return };
        let (leader, is_closed) = (stream.leader, stream.is_closed);
        if self.cut[leader][index] {
            return;
        }
        let is_alive =
            self.nodes[leader].core.is_some() && self.nodes[leader].agent.stream.is_some();
        if is_closed {
            if image.is_joined && self.dice.one_in(10) {
                let due = self.step + 1;
                self.nodes[index].agent.image = None;
                let input = ArchiveInput::ImageClosed { is_end_of_stream: is_alive };
                self.nodes[index].complete(due, input);
            }
            return;
        }
        if !image.is_joined {
            if !image.is_catchup {
                let end = (stream.base + stream.entries.len()) as i64 * 32;
                let (due, session_id) = (self.step + 1, image.session);
                let position = Position(end);
                let node = &mut self.nodes[index];
                if let Some(image) = &mut node.agent.image {
                    image.is_joined = true;
                }
                node.complete(due, ArchiveInput::ImageJoined { session_id, position });
            }
            return;
        }
        if !image.is_recorded {
            return;
        }
        for _ in 0..most {
            let at = self.nodes[index].disk.log.len();
            let from_stream =
                at.checked_sub(stream.base).and_then(|offset| stream.entries.get(offset));
            let from_disk = self.nodes[leader].disk.sound(at);
            let entry = if image.is_live { from_stream.or(from_disk) } else { from_disk };
            let Some(entry) = entry.cloned() else { return };
            self.nodes[index].disk.log.push(entry);
        }
    }

    fn replicate(&mut self, index: usize, most: usize) {
        let Some((leader, stop)) = self.nodes[index].agent.replication else { return };
        if self.cut[leader][index] || self.nodes[leader].core.is_none() {
            return;
        }
        for _ in 0..=most {
            let at = self.nodes[index].disk.log.len();
            if at >= stop {
                let position = Position(at as i64 * 32);
                let due = self.step + 1;
                self.nodes[index].agent.replication = None;
                self.nodes[index].complete(due, ArchiveInput::Replicated { position });
                return;
            }
            let Some(entry) = self.nodes[leader].disk.sound(at).cloned() else { return };
            self.nodes[index].disk.log.push(entry);
        }
    }

    /// Reads the log up to the limit, which is asked again after every event.
    fn read_log(&mut self, index: usize) {
        for _ in 0..200 {
            let Some(core) = &self.nodes[index].core else { return };
            let at = core.log_position().0 as usize / 32;
            if core.log_limit().0 as usize / 32 <= at {
                return;
            }
            if self.nodes[index].disk.rotten.is_some_and(|from| from <= at) {
                return;
            }
            let Some(entry) = self.nodes[index].disk.log.get(at).cloned() else {
                self.check.fail(format!("log limit of {index} beyond its recording"));
                return;
            };
            let position = Position((at as i64 + 1) * 32);
            let (leadership_term_id, timestamp) = (term(entry.term), entry.time);
            let event = match entry.event {
                Event::Message { session } => LogEvent::SessionMessage {
                    leadership_term_id,
                    session: ClusterSessionId(session),
                    timestamp,
                },
                Event::Timer { id } => LogEvent::Timer {
                    leadership_term_id,
                    correlation_id: CorrelationId(id),
                    timestamp,
                },
                Event::Open { session, correlation } => LogEvent::SessionOpen {
                    leadership_term_id,
                    correlation_id: CorrelationId(correlation),
                    session: ClusterSessionId(session),
                    timestamp,
                    response_stream_id: 102,
                    response_channel: "aeron:udp?endpoint=client:1",
                    principal: b"p",
                },
                Event::Close { session, reason } => LogEvent::SessionClose {
                    leadership_term_id,
                    session: ClusterSessionId(session),
                    timestamp,
                    reason,
                },
                Event::Action { action, flags } => LogEvent::ClusterAction {
                    leadership_term_id,
                    log_position: position,
                    timestamp,
                    action,
                    flags,
                },
                Event::Term { base } => LogEvent::NewLeadershipTerm {
                    leadership_term_id,
                    log_position: position,
                    timestamp,
                    term_base_log_position: Position(base),
                    time_unit: Some(0),
                },
            };
            self.feed(index, Input::Log { position, event });
        }
    }

    /// The service reads what is committed, schedules timers, offers messages, acknowledges.
    fn step_service(&mut self, index: usize) {
        let step = self.step;
        let acks: Vec<(u64, i64, i64)> = {
            let acks = &mut self.nodes[index].agent.acks;
            let due = acks.iter().filter(|(at, ..)| *at <= step).copied().collect();
            acks.retain(|(at, ..)| *at > step);
            due
        };
        for (_, position, relevant_id) in acks {
            let ack_id = self.nodes[index].service.ack_id;
            self.nodes[index].service.ack_id += 1;
            let log_position = Position(position);
            let service = ServiceId(0);
            let ack = ServiceInput::Ack { service, ack_id, log_position, relevant_id };
            self.feed(index, Input::Service(ack));
        }
        let log = self.nodes[index].readable(&self.streams);
        for _ in 0..self.dice.below(30) {
            let Some(core) = &self.nodes[index].core else { return };
            let at = self.nodes[index].service.position;
            if core.commit_position().0 as usize / 32 <= at {
                return;
            }
            if self.nodes[index].disk.loss.is_some() && at >= log.len() {
                return;
            }
            let Some(entry) = log.get(at) else {
                self.check.fail(format!("I-7: service of {index} cannot read {at}"));
                return;
            };
            self.nodes[index].service.position += 1;
            self.serve(index, at, entry);
        }
    }

    fn serve(&mut self, index: usize, at: usize, entry: &Entry) {
        match entry.event {
            Event::Message { session } if session > 0 => {
                if entry.number.is_multiple_of(5) {
                    let correlation_id = CorrelationId(entry.number as i64);
                    let deadline = entry.time + 100;
                    let asked_at = None;
                    let timer = ServiceInput::ScheduleTimer { correlation_id, deadline, asked_at };
                    self.feed(index, Input::Service(timer));
                }
                if entry.number.is_multiple_of(7) {
                    let payload = &entry.number.to_le_bytes();
                    let offered = ServiceInput::Offered { service: ServiceId(0), payload };
                    self.feed(index, Input::Service(offered));
                }
            }
            Event::Action { action: 2, flags: 0 } => {
                let due = self.step + self.dice.below(6);
                self.nodes[index].agent.acks.push((due, (at as i64 + 1) * 32, 77));
            }
            _ => {}
        }
    }

    /// False if the node crashed on the way.
    fn drain_peers(&mut self, index: usize) -> bool {
        let crash_after =
            if self.dice.one_in(self.faults.torn_one_in) { self.dice.below(4) } else { u64::MAX };
        let Some(mut core) = self.nodes[index].core.take() else { return false };
        let (mut count, mut sends, mut is_torn) = (0, Vec::new(), false);
        let items = self.nodes[index].agent.snapshot_items.clone().unwrap_or_default();
        let disk = &mut self.nodes[index].disk;
        let check = &mut self.check;
        core.drain_peers(|action| {
            if count >= crash_after {
                is_torn = true;
                return Outcome::BackPressured;
            }
            count += 1;
            match action {
                PeerAction::Persist(record) => {
                    is_torn |= persist(disk, record, &items, count + 1 >= crash_after);
                    if is_torn {
                        return Outcome::BackPressured;
                    }
                }
                PeerAction::Send { to, message } => {
                    if let PeerMessage::Vote(vote) = message
                        && vote.vote
                    {
                        let candidate = vote.candidate_member_id.0;
                        check.voted(index, vote.candidate_term_id.0, candidate, disk.candidate);
                    }
                    if let PeerMessage::RequestVote(m) = message {
                        let own = index as i32;
                        check.voted(index, m.candidate_term_id.0, own, disk.candidate);
                    }
                    sends.push((to.0 as usize, message.clone()));
                }
            }
            Outcome::Done
        });
        self.nodes[index].core = Some(core);
        for (to, mut message) in sends {
            if let PeerMessage::CatchupPosition(m) = &mut message {
                m.catchup_endpoint = format!("node{index}:1");
            }
            self.send(index, to, message);
        }
        if is_torn {
            self.check.totals.torn += 1;
            self.crash(index);
        }
        !is_torn
    }

    fn drain_archive(&mut self, index: usize) {
        let Some(mut core) = self.nodes[index].core.take() else { return };
        let mut actions = Vec::new();
        core.drain_archive(|action| {
            actions.push(*action);
            Outcome::Done
        });
        self.nodes[index].core = Some(core);
        for action in actions {
            self.perform_archive(index, action);
        }
    }

    #[allow(clippy::too_many_lines)] // One arm an action.
    fn perform_archive(&mut self, index: usize, action: ArchiveAction) {
        let due = self.step + 1 + self.dice.below(5);
        let recorded = Position(self.nodes[index].disk.log.len() as i64 * 32);
        let recording_id = RecordingId(0);
        match action {
            ArchiveAction::LeaveLog => {
                let agent = &mut self.nodes[index].agent;
                if let Some(stream) = agent.stream.and_then(|id| self.streams.get_mut(&id)) {
                    stream.is_closed = true;
                }
                let (acks, items) = (std::mem::take(&mut agent.acks), agent.snapshot_items.take());
                let taken = agent
                    .completions
                    .iter()
                    .copied()
                    .filter(|(_, input)| matches!(input, ArchiveInput::SnapshotTaken { .. }));
                let completions = taken.collect();
                *agent = Agent { acks, completions, snapshot_items: items, ..Agent::default() };
                self.nodes[index].session = None;
                self.nodes[index].complete(due, ArchiveInput::LogLeft { recorded });
            }
            ArchiveAction::CreatePublication { position } => {
                let session_id = self.next_session;
                self.next_session += 1;
                let base = position.0 as usize / 32;
                let stream = Stream { leader: index, base, entries: Vec::new(), is_closed: false };
                self.streams.insert(session_id, stream);
                self.nodes[index].agent.stream = Some(session_id);
                self.nodes[index].complete(due, ArchiveInput::PublicationReady { session_id });
            }
            ArchiveAction::RecordPublication => {
                self.nodes[index].agent.is_recording_own = true;
                let input = ArchiveInput::RecordingStarted { recording_id, position: recorded };
                self.nodes[index].complete(due, input);
            }
            ArchiveAction::StartReplay { from, .. } => {
                self.nodes[index].agent.is_replaying = true;
                let input = ArchiveInput::ImageJoined { session_id: -5, position: from };
                self.nodes[index].complete(due, input);
            }
            ArchiveAction::StopReplay => self.nodes[index].agent.is_replaying = false,
            ArchiveAction::Replicate { from_member, stop, .. } => {
                let stop = stop.0 as usize / 32;
                self.nodes[index].agent.replication = Some((from_member.0 as usize, stop));
            }
            ArchiveAction::Truncate { position } => {
                self.nodes[index].disk.cut(position);
                self.nodes[index].complete(due, ArchiveInput::Truncated { position });
            }
            ArchiveAction::OpenLog { session_id, is_catchup, .. } => {
                self.nodes[index].agent.image = Some(Image {
                    session: session_id,
                    is_catchup,
                    is_live: !is_catchup,
                    is_joined: false,
                    is_recorded: false,
                });
                if is_catchup {
                    self.nodes[index].complete(due, ArchiveInput::CatchupReady);
                }
            }
            ArchiveAction::RecordImage => {
                let input = ArchiveInput::RecordingStarted { recording_id, position: recorded };
                self.nodes[index].complete(due, input);
                if let Some(image) = &mut self.nodes[index].agent.image {
                    image.is_recorded = true;
                }
            }
            ArchiveAction::AddLiveDestination => {
                if let Some(image) = &mut self.nodes[index].agent.image {
                    image.is_live = true;
                }
            }
            ArchiveAction::StartCatchup { member, from } => {
                self.start_catchup(index, member, from, due);
            }
            ArchiveAction::RemoveCatchupDestination | ArchiveAction::StopCatchup { .. } => {}
            ArchiveAction::TakeSnapshot { position, .. } => {
                let mut items = Vec::new();
                if let Some(core) = &self.nodes[index].core {
                    core.snapshot(|item| items.push(Item::of(item)));
                }
                let told = items.iter().map(|item| format!("{item:?}")).collect();
                self.check.snapshot(position.0, told);
                self.nodes[index].agent.snapshot_items = Some(items);
                let recording_id = Some(RecordingId(78));
                self.nodes[index].complete(due, ArchiveInput::SnapshotTaken { recording_id });
            }
        }
    }

    fn start_catchup(&mut self, index: usize, member: MemberId, from: Position, due: u64) {
        let stream = self.nodes[index].agent.stream;
        let follower = &mut self.nodes[member.0 as usize];
        let Some(image) = &mut follower.agent.image else { return };
        if Some(image.session) == stream && image.is_catchup && !image.is_joined {
            image.is_joined = true;
            let session_id = image.session;
            follower.complete(due, ArchiveInput::ImageJoined { session_id, position: from });
        }
    }

    fn drain_services(&mut self, index: usize) {
        let Some(mut core) = self.nodes[index].core.take() else { return };
        let mut actions = Vec::new();
        core.drain_services(|action| {
            actions.push(*action);
            Outcome::Done
        });
        self.nodes[index].core = Some(core);
        for action in actions {
            if let ServiceAction::JoinLog { from, .. } = action {
                let due = self.step + 1 + self.dice.below(5);
                self.nodes[index].agent.acks.push((due, from.0, -1));
                self.nodes[index].agent.acks.sort_by_key(|(at, ..)| *at);
            }
        }
    }

    fn drain_clients(&mut self, index: usize) {
        let Some(mut core) = self.nodes[index].core.take() else { return };
        let now = self.now();
        let (mut connect, mut authenticate) = (Vec::new(), Vec::new());
        let session = &mut self.nodes[index].session;
        core.drain_clients(|id, action| {
            match action {
                ClientAction::Connect { .. } => connect.push(id),
                ClientAction::Authenticate { .. } => authenticate.push(id),
                ClientAction::NewLeader { .. } => *session = Some(id.0),
                ClientAction::Event { code: consensus::EventCode::Ok, .. } => *session = Some(id.0),
                ClientAction::Disconnect if *session == Some(id.0) => *session = None,
                _ => {}
            }
            Outcome::Done
        });
        for id in connect {
            core.handle(now, Input::Client(ClientInput::Connected(id)));
        }
        for id in authenticate {
            core.handle(now, Input::Authenticated(id, Verdict::Accepted { principal: b"p" }));
        }
        self.nodes[index].core = Some(core);
    }

    fn drain_log(&mut self, index: usize) {
        if self.dice.one_in(5) {
            return;
        }
        let Some(mut core) = self.nodes[index].core.take() else { return };
        let now = self.now();
        let stream =
            self.nodes[index].agent.stream.and_then(|session| self.streams.get_mut(&session));
        if let Some(stream) = stream {
            let mut room = self.dice.below(6);
            let next_number = &mut self.next_number;
            core.drain_log(now, |action| {
                if room == 0 {
                    return Outcome::BackPressured;
                }
                room -= 1;
                let entry = entry_of(action, *next_number);
                *next_number += 1;
                stream.entries.push(entry);
                Outcome::Appended(Position((stream.base + stream.entries.len()) as i64 * 32))
            });
        }
        self.nodes[index].core = Some(core);
    }

    /// A client of whoever leads: connects, sends, goes away.
    fn step_client(&mut self, index: usize) {
        let now = self.now();
        let Some(mut core) = self.nodes[index].core.take() else { return };
        let term = core.leadership_term_id();
        if core.is_leading() {
            match self.nodes[index].session {
                None if self.dice.one_in(20) => {
                    let correlation_id = CorrelationId(self.next_correlation);
                    self.next_correlation += 1;
                    let connect = Ingress::Connect {
                        correlation_id,
                        response_stream_id: 102,
                        version: 768,
                        response_channel: "aeron:udp?endpoint=client:1",
                        credentials: b"",
                    };
                    core.handle(now, Input::Ingress(connect));
                }
                Some(session) if self.dice.one_in(100) => {
                    let session = ClusterSessionId(session);
                    let close = Ingress::Close { leadership_term_id: term, session };
                    core.handle(now, Input::Ingress(close));
                    self.nodes[index].session = None;
                }
                Some(session) if self.dice.one_in(2) => {
                    let session = ClusterSessionId(session);
                    let admit = core.admit(session, term, now);
                    let own = self.nodes[index].agent.stream;
                    let stream = own.and_then(|session| self.streams.get_mut(&session));
                    if let (Admit::Append(header), Some(stream)) = (admit, stream) {
                        stream.entries.push(Entry {
                            number: self.next_number,
                            term: header.leadership_term_id.0,
                            time: header.timestamp,
                            event: Event::Message { session: session.0 },
                        });
                        self.next_number += 1;
                        let end = (stream.base + stream.entries.len()) as i64 * 32;
                        core.appended(session, Position(end), now);
                    }
                }
                _ => {}
            }
        }
        self.nodes[index].core = Some(core);
    }

    /// The invariants, after every step of a node.
    fn look_at(&mut self, index: usize) {
        let Some(core) = &self.nodes[index].core else { return };
        if let Some(halt) = core.halted() {
            self.check.fail(format!("member {index} halted: {halt:?}"));
            return;
        }
        let log = self.nodes[index].readable(&self.streams);
        if core.role() == consensus::Role::Leader {
            self.check.leads(index, core.leadership_term_id().0, &log);
        }
        if core.is_leading() {
            let term = core.leadership_term_id();
            let own = self.nodes[index].disk.base_of(term);
            // Who lost it says nothing until it has it again.
            let bases = self.nodes.iter().map(|node| {
                let is_lost = node.disk.loss.is_some_and(|loss| loss.term >= term);
                if is_lost { own } else { node.disk.base_of(term) }
            });
            self.check.serves(index, term.0, &bases.collect::<Vec<_>>());
        }
        let disks: Vec<&Disk> = self.nodes.iter().map(|node| &node.disk).collect();
        let member = (index, core.leadership_term_id().0);
        self.check.exposes(member, core.commit_position().0, &log, &disks);
    }
}

fn entry_of(action: &LogAction<'_>, number: u64) -> Entry {
    let entry = |term: LeadershipTermId, time, event| Entry { number, term: term.0, time, event };
    match *action {
        LogAction::NewLeadershipTerm {
            leadership_term_id,
            timestamp,
            term_base_log_position,
            ..
        } => {
            let base = term_base_log_position.0;
            entry(leadership_term_id, timestamp, Event::Term { base })
        }
        LogAction::SessionOpen {
            leadership_term_id, correlation_id, session, timestamp, ..
        } => {
            let event = Event::Open { session: session.0, correlation: correlation_id.0 };
            entry(leadership_term_id, timestamp, event)
        }
        LogAction::SessionClose { leadership_term_id, session, timestamp, reason } => {
            entry(leadership_term_id, timestamp, Event::Close { session: session.0, reason })
        }
        LogAction::Timer { leadership_term_id, correlation_id, timestamp } => {
            entry(leadership_term_id, timestamp, Event::Timer { id: correlation_id.0 })
        }
        LogAction::ClusterAction { leadership_term_id, timestamp, action, flags } => {
            entry(leadership_term_id, timestamp, Event::Action { action, flags })
        }
        LogAction::ServiceMessage { leadership_term_id, session, timestamp, .. } => {
            entry(leadership_term_id, timestamp, Event::Message { session: session.0 })
        }
    }
}

/// Writes a record. True if the node crashes in the middle of several.
fn persist(disk: &mut Disk, record: &Persist, items: &[Item], is_torn: bool) -> bool {
    match *record {
        Persist::CandidateTerm { term, .. } => disk.candidate = term.0,
        Persist::Term { term, base, gap_from } => {
            disk.terms.push(TermRecord { term, base });
            if is_torn && gap_from < term {
                return true;
            }
            for id in gap_from.0..term.0 {
                disk.terms.push(TermRecord { term: super::term(id), base });
            }
        }
        Persist::DropTerms { from } => disk.terms.retain(|record| record.term < from),
        Persist::EndTerm { .. } => {}
        Persist::Loss(loss) => disk.loss = Some(loss),
        Persist::Regained => disk.loss = None,
        Persist::Snapshot { term, position, timestamp, .. } => {
            disk.snapshot = Some((term.0, position.0, timestamp, items.to_vec()));
        }
    }
    false
}
