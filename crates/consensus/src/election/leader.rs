//! LEADER_LOG_REPLICATION to LEADER_READY, and leading in service.
//!
//! L1: the term is recorded before anything else is done with it. L2: only reports of the own
//! term count, and nothing moves below the base. L3: so with readiness. L4: doubt ends leadership.

use wire::position::Position;
use wire::time::Nanos;

use super::replay::{Progress, Replay};
use super::{Election, ElectionState, canvass, restart};
use crate::action::{ArchiveAction, ServiceAction};
use crate::context::{Context, Role, is_due};
use crate::control::{ModuleState, Toggle};
use crate::fingerprint::Print;
use crate::id::{LeadershipTermId, MemberId};
use crate::input::{ArchiveInput, Input};
use crate::message::{
    AppendPosition, CanvassPosition, CatchupPosition, CommitPosition, NewLeadershipTerm,
    PeerMessage, StopCatchup,
};

/// How soon after one word about the commit the next may follow, in service. No client waits for
/// it: followers, whose services run behind, take more of the log at once.
const COMMIT_INTERVAL: Nanos = Nanos::from_micros(200);

#[derive(Clone, Debug)]
enum Step {
    /// LEADER_LOG_REPLICATION: until a quorum has the term, and all before it.
    Replication,
    /// LEADER_REPLAY.
    Replay(Replay),
    /// LEADER_INIT: own publication is being recorded.
    Recording,
    /// LEADER_INIT: services join it.
    Joining {
        is_sent: bool,
    },
    /// LEADER_READY: until a quorum is ready and the term's event is appended.
    Ready,
    Service,
}

/// This member won a term.
#[derive(Clone, Debug)]
pub(crate) struct Leader {
    pub(crate) base: Position,
    pub(crate) is_startup: bool,
    /// Log term before the win: announced until LEADER_INIT is done.
    previous: LeadershipTermId,
    announces_own: bool,
    /// The record of the term is on disk: it may count itself.
    is_durable: bool,
    quorum_position: Position,
    last_term_sent: Option<Nanos>,
    last_commit_sent: Option<Nanos>,
    warned_at: Option<Position>,
    step: Step,
}

/// The ballot is won. L1: record the term, then create the publication.
pub(crate) fn win(ctx: &mut Context) -> Election {
    let (term, base, previous) = (ctx.candidate, ctx.log.recorded, ctx.terms.last());
    let (id, now) = (ctx.id(), ctx.mono());
    ctx.term = term;
    ctx.leader = Some(id);
    ctx.role = Role::Leader;
    ctx.graceful = None;
    ctx.is_extended_canvass = false;
    ctx.members.begin_leadership(now);
    if ctx.config.rules.l1_record_term_on_entry && !ctx.record_term(term, base) {
        return Election::Halted;
    }
    ctx.log.published = base;
    ctx.log.session_id = None;
    ctx.out.archive(ArchiveAction::CreatePublication { position: base });
    Election::Leader(Leader {
        base,
        is_startup: ctx.is_node_start,
        previous,
        announces_own: false,
        is_durable: false,
        quorum_position: Position(0),
        last_term_sent: None,
        last_commit_sent: None,
        warned_at: None,
        step: Step::Replication,
    })
}

impl Leader {
    pub(crate) fn state(&self) -> ElectionState {
        match self.step {
            Step::Replication => ElectionState::LeaderLogReplication,
            Step::Replay(_) => ElectionState::LeaderReplay,
            Step::Recording | Step::Joining { .. } => ElectionState::LeaderInit,
            Step::Ready => ElectionState::LeaderReady,
            Step::Service => ElectionState::Closed,
        }
    }

    /// In service a quorum position that is not above the commit position is as good as it.
    pub(crate) fn fingerprint(&self, ctx: &Context, print: &mut Print<'_>) {
        let Self {
            base,
            is_startup: _,
            previous,
            announces_own,
            is_durable,
            quorum_position,
            last_term_sent: _,
            last_commit_sent: _,
            warned_at: _,
            step,
        } = self;
        print.word(7);
        print.at(*base);
        print.maybe_term((!announces_own).then_some(*previous));
        print.flag(*is_durable);
        let with_all = print.with_waits || ctx.config.rules != crate::config::Rules::default();
        let floor = if self.is_in_service() { ctx.exposed } else { Position(0) };
        let counts = with_all || *quorum_position >= *base;
        print.maybe_at(counts.then_some(floor.max(*quorum_position)));
        match step {
            Step::Replication => print.word(0),
            Step::Replay(replay) => replay.fingerprint(print),
            Step::Recording => print.word(2),
            Step::Joining { is_sent } => print.word(3 + i64::from(*is_sent)),
            Step::Ready => print.word(5),
            Step::Service => print.word(6),
        }
    }

    pub(crate) fn is_in_service(&self) -> bool {
        matches!(self.step, Step::Service)
    }

    /// How far the log may be read: in the replay, the base of the term.
    pub(crate) fn read_limit(&self) -> Option<Position> {
        match &self.step {
            Step::Replay(replay) if replay.is_reading() => Some(self.base),
            _ => None,
        }
    }

    /// Where the replay ends that is being read.
    pub(crate) fn replay_end(&self) -> Option<Position> {
        self.read_limit()
    }

    /// Whether the event of the new term is to be appended.
    pub(crate) fn is_event_due(&self, ctx: &Context) -> bool {
        let timeout = ctx.silence();
        matches!(self.step, Step::Ready)
            && ctx.members.has_ready_quorum(self.base, ctx.mono(), timeout, ctx.config.quorum())
    }

    /// The event of the new term was appended: the election is over.
    pub(crate) fn complete(&mut self, ctx: &mut Context) {
        self.step = Step::Service;
        let now = ctx.mono();
        if ctx.control.state == ModuleState::Active {
            ctx.control.toggle = Toggle::Neutral;
        } else if ctx.control.state == ModuleState::Suspended {
            ctx.control.toggle = Toggle::Suspend;
        }
        let by = Context::answerer(&ctx.config, ctx.term, ctx.leader);
        ctx.sessions.begin_leadership(self.is_startup, by, now);
        ctx.is_node_start = false;
        ctx.last_leader_update = now;
    }

    pub(crate) fn handle(mut self, ctx: &mut Context, input: &Input<'_>) -> Election {
        match input {
            Input::Peer(message) => {
                if self.is_deposed_by(ctx, message) {
                    return restart(ctx);
                }
                self.on_peer(ctx, message);
            }
            Input::Archive(ArchiveInput::PublicationReady { session_id }) => {
                ctx.log.session_id = Some(*session_id);
            }
            Input::Archive(ArchiveInput::RecordingStarted { recording_id, position })
                if matches!(self.step, Step::Recording) =>
            {
                if *position != self.base {
                    return restart(ctx);
                }
                ctx.log.recording_id = *recording_id;
                self.step = Step::Joining { is_sent: false };
            }
            Input::Archive(ArchiveInput::RecordingStopped { .. } | ArchiveInput::Failed)
                if ctx.control.state != ModuleState::Terminating =>
            {
                return restart(ctx);
            }
            _ => {
                if let Step::Replay(replay) = &mut self.step
                    && replay.handle(ctx, input) == Progress::Failed
                {
                    return restart(ctx);
                }
            }
        }
        Election::Leader(self)
    }

    /// L4: whether a message shows a higher term.
    fn is_deposed_by(&self, ctx: &mut Context, message: &PeerMessage) -> bool {
        let term = match message {
            PeerMessage::RequestVote(m) => m.candidate_term_id,
            PeerMessage::NewLeadershipTerm(m) => m.leadership_term_id,
            PeerMessage::CommitPosition(m) => m.leadership_term_id,
            PeerMessage::CanvassPosition(m) => m.log_leadership_term_id,
            _ => return false,
        };
        ctx.config.rules.l4_step_down
            && term > ctx.term
            && ctx.control.state != ModuleState::Terminating
            && ctx.is_plausible(term)
    }

    fn on_peer(&mut self, ctx: &mut Context, message: &PeerMessage) {
        match message {
            PeerMessage::CanvassPosition(m) => self.on_canvass(ctx, m),
            PeerMessage::AppendPosition(m) => self.on_append_position(ctx, m),
            PeerMessage::CatchupPosition(m) => on_catchup(ctx, m),
            PeerMessage::NewLeadershipTerm(m) => {
                canvass::answer_older_leader(ctx, m.leader_member_id, m.leadership_term_id);
            }
            PeerMessage::CommitPosition(m) => {
                canvass::answer_older_leader(ctx, m.leader_member_id, m.leadership_term_id);
            }
            PeerMessage::TerminationAck(m) if m.leadership_term_id == ctx.term => {
                if let Some(member) = ctx.members.get_mut(m.member_id) {
                    member.terminated = true;
                }
            }
            _ => {}
        }
    }

    /// A position report outside of service. It counts if its last record is of our term (L2),
    /// and is answered from the table, that of our term included (L1).
    fn on_canvass(&mut self, ctx: &mut Context, m: &CanvassPosition) {
        let (now, id) = (ctx.mono(), m.follower_member_id);
        let (term, rules) = (ctx.term, ctx.config.rules);
        let log = (m.log_leadership_term_id, m.log_position);
        ctx.members.hear(id, log, now);
        let is_of_term = m.log_leadership_term_id == term;
        let Some(member) = ctx.members.get_mut(id) else { return };
        if is_of_term || !rules.l2_count_own_term_only {
            member.acknowledged = Some(m.log_position);
        }
        if is_of_term || !rules.l3_readiness_of_recorded_term {
            member.ready_position = Some(m.log_position);
        }
        if core::mem::take(&mut member.in_catchup) {
            ctx.out.archive(ArchiveAction::StopCatchup { member: id });
        }
        if m.log_leadership_term_id <= term {
            self.send_term(ctx, Some(id), m.log_leadership_term_id);
        }
    }

    fn on_append_position(&mut self, ctx: &mut Context, m: &AppendPosition) {
        if m.leadership_term_id != ctx.term || m.log_position.0 < 0 {
            return;
        }
        let (now, published) = (ctx.mono(), ctx.log.published);
        let Some(member) = ctx.members.get_mut(m.follower_member_id) else { return };
        member.acknowledged = Some(m.log_position);
        member.ready_position = Some(m.log_position);
        member.last_heard = Some(now);
        if (member.in_catchup || m.is_catchup) && m.log_position >= published {
            if core::mem::take(&mut member.in_catchup) {
                ctx.out.archive(ArchiveAction::StopCatchup { member: m.follower_member_id });
            }
            let message = StopCatchup {
                leadership_term_id: m.leadership_term_id,
                follower_member_id: m.follower_member_id,
            };
            ctx.send(m.follower_member_id, PeerMessage::StopCatchup(message));
        }
    }

    pub(crate) fn advance(mut self, ctx: &mut Context) -> Election {
        let (now, silence) = (ctx.mono(), ctx.silence());
        self.is_durable |= ctx.out.is_persisted();
        self.update_quorum(ctx);
        self.speak(ctx);
        let has_quorum = ctx.members.has_active_quorum(now, silence, ctx.config.quorum());
        let is_ending = ctx.control.state == ModuleState::Terminating;
        if !has_quorum && !is_ending && ctx.config.rules.l4_step_down {
            return restart(ctx);
        }
        match &mut self.step {
            Step::Replication => {
                if self.quorum_position >= self.base && ctx.log.session_id.is_some() {
                    self.step = self.after_replication(ctx);
                }
            }
            Step::Replay(replay) => match replay.advance(ctx) {
                Progress::Running => {}
                Progress::Failed => return restart(ctx),
                Progress::Done => self.step = record(ctx),
            },
            Step::Joining { is_sent: false } => {
                if ctx.services.is_idle() {
                    self.step = Step::Joining { is_sent: true };
                    ctx.join_log(ServiceAction::JoinLog {
                        from: self.base,
                        to: None,
                        session_id: ctx.log.session_id.unwrap_or(0),
                        is_startup: self.is_startup,
                        is_leader: true,
                    });
                }
            }
            Step::Joining { is_sent: true } if ctx.is_joined => {
                let (term, base) = (ctx.term, self.base);
                if !ctx.record_term(term, base) {
                    return Election::Halted;
                }
                self.announces_own = true;
                self.step = Step::Ready;
            }
            // A pause is not the fault of sessions: they are looked at while ACTIVE only.
            Step::Service if ctx.control.state == ModuleState::Active => ctx.sessions.expire(now),
            Step::Service | Step::Recording | Step::Joining { .. } | Step::Ready => {}
        }
        Election::Leader(self)
    }

    fn after_replication(&self, ctx: &mut Context) -> Step {
        if ctx.log.position < self.base {
            Step::Replay(Replay::new(self.base))
        } else {
            record(ctx)
        }
    }

    /// L2: the position that a quorum has recorded in our term, and what follows from it.
    fn update_quorum(&mut self, ctx: &mut Context) {
        let rules = ctx.config.rules;
        let recorded =
            if rules.commit_within_recorded { ctx.log.recorded } else { ctx.log.published };
        let own = self.is_durable.then_some(recorded);
        let timeout = ctx.silence();
        let reported = ctx.members.quorum_position(own, ctx.mono(), timeout, ctx.config.quorum());
        self.quorum_position = reported.min(own.unwrap_or(Position(0)));
        if self.quorum_position >= self.base || !rules.l2_count_own_term_only {
            let committed = self.quorum_position.min(ctx.log.position);
            if committed < ctx.exposed && self.warned_at != Some(ctx.exposed) {
                self.warned_at = Some(ctx.exposed);
                ctx.counters.quorum_fell += u64::from(self.is_in_service());
            }
            ctx.commit(committed);
        }
    }

    /// Heartbeats: the term while the election lasts, the quorum position always.
    fn speak(&mut self, ctx: &mut Context) {
        let (now, interval) = (ctx.mono(), ctx.config.timeouts.leader_heartbeat_interval);
        let in_service = self.is_in_service();
        if !in_service && is_due(self.last_term_sent, interval, now) && ctx.log.session_id.is_some()
        {
            self.last_term_sent = Some(now);
            let log_term = if self.announces_own { ctx.term } else { self.previous };
            self.send_term(ctx, None, log_term);
        }
        let position = self.announced_commit(ctx);
        let rose = position > ctx.notified && self.commit_due(ctx) <= now;
        if rose || is_due(self.last_commit_sent, interval, now) {
            self.last_commit_sent = Some(now);
            ctx.notified = position;
            let message = CommitPosition {
                leadership_term_id: ctx.term,
                log_position: position,
                leader_member_id: ctx.id(),
            };
            ctx.send_all(&PeerMessage::CommitPosition(message));
        }
    }

    /// When followers are told of a commit that they do not know of; never if there is none.
    pub(crate) fn commit_due(&self, ctx: &Context) -> Nanos {
        if self.announced_commit(ctx) <= ctx.notified {
            return Nanos::MAX;
        }
        match self.last_commit_sent {
            Some(last) if self.is_in_service() => last + COMMIT_INTERVAL,
            _ => ctx.mono(),
        }
    }

    fn announced_commit(&self, ctx: &Context) -> Position {
        if self.is_in_service() {
            self.quorum_position.max(ctx.exposed)
        } else {
            self.quorum_position
        }
    }

    /// Asserts leadership, relative to the last record of the receiver.
    fn send_term(&self, ctx: &mut Context, to: Option<MemberId>, log_term: LeadershipTermId) {
        let Some(log_session_id) = ctx.log.session_id else { return };
        let mut above = ctx.terms.records().iter().filter(|record| record.term > log_term);
        // Terms that follow and are empty are skipped: all of them begin where the named one does.
        let known = above.next().map(|&first| {
            above.take_while(|record| record.base == first.base).last().copied().unwrap_or(first)
        });
        let next = match known {
            Some(record) => Some((record.term, record.base, ctx.terms.end_of(record.term))),
            None if log_term < ctx.term => Some((ctx.term, self.base, None)),
            None => None,
        };
        let message = PeerMessage::NewLeadershipTerm(NewLeadershipTerm {
            log_leadership_term_id: log_term,
            next_leadership_term_id: next.map(|(term, ..)| term),
            next_term_base_log_position: next.map(|(_, base, _)| base),
            next_log_position: next.and_then(|(.., end)| end),
            leadership_term_id: ctx.term,
            term_base_log_position: self.base,
            log_position: ctx.log.published,
            leader_recording_id: ctx.log.recording_id,
            timestamp: ctx.log_time(),
            leader_member_id: ctx.id(),
            log_session_id,
            is_startup: self.is_startup,
            commit_position: Some(self.announced_commit(ctx)),
        });
        match to {
            Some(to) => ctx.send(to, message),
            None => ctx.send_all(&message),
        }
    }
}

fn record(ctx: &mut Context) -> Step {
    ctx.out.archive(ArchiveAction::RecordPublication);
    Step::Recording
}

/// A follower asks for a replay of the log to its endpoint.
fn on_catchup(ctx: &mut Context, m: &CatchupPosition) {
    if m.leadership_term_id > ctx.term
        || m.log_position.0 < 0
        || m.log_position > ctx.log.published
        || m.catchup_endpoint.len() > 1024
    {
        ctx.counters.refused += 1;
        return;
    }
    let id = m.follower_member_id;
    let Some(member) = ctx.members.get_mut(id) else { return };
    if core::mem::replace(&mut member.in_catchup, true) {
        ctx.out.archive(ArchiveAction::StopCatchup { member: id });
    }
    ctx.catchup_endpoints.insert(id, m.catchup_endpoint.clone());
    ctx.out.archive(ArchiveAction::StartCatchup { member: id, from: m.log_position });
}
