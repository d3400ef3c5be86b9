//! FOLLOWER_LOG_REPLICATION to FOLLOWER_READY, and following in service.
//!
//! F2: an older term is recorded before its data is copied. F3: the adopted term is recorded
//! before the first append position of it. F4: commits count only from the adopted leader, and
//! nothing is exposed on one below the base.

use wire::position::Position;
use wire::time::Nanos;

use super::replay::{Progress, Replay};
use super::{Election, ElectionState, canvass, restart};
use crate::action::{ArchiveAction, ServiceAction};
use crate::context::{Context, Role, Verified, is_due};
use crate::control::{ModuleState, Termination};
use crate::fingerprint::Print;
use crate::id::{LeadershipTermId, MemberId};
use crate::input::{ArchiveInput, Input};
use crate::loss;
use crate::message::{AppendPosition, CatchupPosition, NewLeadershipTerm, PeerMessage};

/// How many heartbeat time-outs a follower's recording may stand still behind the commit position.
const STALLS_MAX: i64 = 5;

/// How a log is joined: image, recording, services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Join {
    /// The catch-up endpoint is being resolved.
    Subscribing,
    AwaitImage,
    AwaitRecording,
    AwaitServices {
        is_sent: bool,
    },
    Joined,
}

#[derive(Clone, Debug)]
enum Step {
    /// FOLLOWER_LOG_REPLICATION: one term, whole or the rest of it.
    Replication {
        stop: Position,
        record_after: Option<(LeadershipTermId, Position)>,
    },
    /// FOLLOWER_REPLAY: commit is awaited, then our recording is replayed.
    Replay(Option<Replay>),
    /// FOLLOWER_CATCHUP_INIT, _AWAIT and FOLLOWER_CATCHUP.
    Catchup {
        join: Join,
        is_live: bool,
        is_stopped: bool,
    },
    /// FOLLOWER_LOG_INIT and _AWAIT.
    LogJoin(Join),
    Service,
}

/// A leader was adopted.
#[derive(Clone, Debug)]
pub(crate) struct Follower {
    leader: MemberId,
    term: LeadershipTermId,
    base: Position,
    log_session_id: i32,
    /// The leader's log position when it was adopted.
    leader_position: Position,
    last_heard: Nanos,
    /// Last change of our recording, or of the step.
    last_progress: Nanos,
    reported: Option<(Position, Nanos)>,
    step: Step,
}

/// Adopts a leader whose table agrees with ours (cluster specification 4.5).
pub(crate) fn adopt(ctx: &mut Context, m: &NewLeadershipTerm) -> Election {
    let (leader, term, now) = (m.leader_member_id, m.leadership_term_id, ctx.mono());
    if ctx.leader != Some(leader) || ctx.term != term {
        ctx.notified = Position(0);
    }
    ctx.leader = Some(leader);
    ctx.term = term;
    ctx.role = Role::Follower;
    ctx.is_extended_canvass = false;
    ctx.raise_candidate(term);
    ctx.notified = ctx.notified.max(m.commit_position.unwrap_or(Position(0)));
    let mut follower = Follower {
        leader,
        term,
        base: m.term_base_log_position,
        log_session_id: m.log_session_id,
        leader_position: m.log_position,
        last_heard: now,
        last_progress: now,
        reported: None,
        step: Step::Replay(None),
    };
    let (log_term, recorded) = ctx.own_log();
    if log_term < term {
        let (Some(next), Some(base)) = (m.next_leadership_term_id, m.next_term_base_log_position)
        else {
            return canvass::enter(ctx);
        };
        if recorded < base {
            return follower.replicate(ctx, m, base, None);
        }
        if next < term {
            let Some(end) = m.next_log_position else { return canvass::enter(ctx) };
            let after = (!ctx.config.rules.f2_term_before_data).then_some((next, base));
            if after.is_none() && !follower.record(ctx, next, base) {
                return Election::Halted;
            }
            if recorded < end {
                return follower.replicate(ctx, m, end, after);
            }
            if after.is_some() && !follower.record(ctx, next, base) {
                return Election::Halted;
            }
            return canvass::enter(ctx);
        }
        // The log equals the leader's up to the base of its term.
        if ctx.config.rules.f3_term_before_append_position && !ctx.record_term(term, base) {
            return Election::Halted;
        }
    }
    if recorded < m.term_base_log_position {
        // The term is recorded and what lies before it is gone: nothing but a lost disk does that.
        ctx.counters.refused += 1;
        return canvass::enter(ctx);
    }
    // After a loss: what this member stands behind is copied before anything is replayed or joined.
    let held = ctx.exposed.max(ctx.log.position);
    if recorded < held {
        return follower.replicate(ctx, m, held, None);
    }
    follower.step = Step::Replay(None);
    Election::Follower(follower)
}

impl Follower {
    pub(crate) fn state(&self) -> ElectionState {
        match &self.step {
            Step::Replication { .. } => ElectionState::FollowerLogReplication,
            Step::Replay(_) => ElectionState::FollowerReplay,
            Step::Catchup { join: Join::Subscribing, .. } => ElectionState::FollowerCatchupInit,
            Step::Catchup { join: Join::Joined, .. } => ElectionState::FollowerCatchup,
            Step::Catchup { .. } => ElectionState::FollowerCatchupAwait,
            Step::LogJoin(Join::AwaitImage) => ElectionState::FollowerLogInit,
            Step::LogJoin(Join::Joined) => ElectionState::FollowerReady,
            Step::LogJoin(_) => ElectionState::FollowerLogAwait,
            Step::Service => ElectionState::Closed,
        }
    }

    pub(crate) fn base(&self) -> Position {
        self.base
    }

    /// Times are left out: one that has passed ends following.
    pub(crate) fn fingerprint(&self, print: &mut Print<'_>) {
        let Self {
            leader,
            term,
            base,
            log_session_id,
            leader_position,
            last_heard: _,
            last_progress: _,
            reported: _,
            step,
        } = self;
        print.word(8);
        print.member(*leader);
        print.term(*term);
        print.at(*base);
        print.word(i64::from(*log_session_id));
        let is_target = matches!(step, Step::Replay(_) | Step::Catchup { .. });
        print.maybe_at(is_target.then_some(*leader_position));
        let join_code = |join: &Join| match join {
            Join::Subscribing => 0,
            Join::AwaitImage => 1,
            Join::AwaitRecording => 2,
            Join::AwaitServices { is_sent } => 3 + i64::from(*is_sent),
            Join::Joined => 5,
        };
        match step {
            Step::Replication { stop, record_after } => {
                print.word(0);
                print.at(*stop);
                print.maybe_term(record_after.map(|(term, _)| term));
                print.maybe_at(record_after.map(|(_, base)| base));
            }
            Step::Replay(None) => print.word(2),
            Step::Replay(Some(replay)) => replay.fingerprint(print),
            Step::Catchup { join, is_live, is_stopped } => {
                print.word(3);
                print.word(join_code(join));
                print.flag(*is_live);
                print.flag(*is_stopped);
            }
            Step::LogJoin(join) => {
                print.word(4);
                print.word(join_code(join));
            }
            Step::Service => print.word(5),
        }
    }

    /// How far the log may be read.
    pub(crate) fn read_limit(&self, ctx: &Context) -> Option<Position> {
        let is_reading = match &self.step {
            Step::Replay(Some(replay)) => replay.is_reading(),
            Step::Catchup { join, .. } => *join == Join::Joined,
            Step::Service => true,
            _ => false,
        };
        is_reading.then(|| self.exposable(ctx).min(ctx.log.recorded))
    }

    /// Where the replay ends that is being read.
    pub(crate) fn replay_end(&self) -> Option<Position> {
        match &self.step {
            Step::Replay(Some(replay)) if replay.is_reading() => Some(replay.to),
            _ => None,
        }
    }

    /// F4: what the leader committed, if that includes the base of its term.
    fn exposable(&self, ctx: &Context) -> Position {
        let counts = ctx.notified >= self.base || !ctx.config.rules.f4_commit_of_adopted_leader;
        if counts { ctx.notified } else { ctx.log.position }
    }

    /// F2: records an older term; the comparison with this leader stays valid for it.
    fn record(&self, ctx: &mut Context, term: LeadershipTermId, base: Position) -> bool {
        let verified = Verified { leader: self.leader, term: self.term, log_term: term };
        let was_verified = ctx.verified.is_some();
        let recorded = ctx.record_term(term, base);
        ctx.verified = (recorded && was_verified).then_some(verified);
        recorded
    }

    fn replicate(
        mut self,
        ctx: &mut Context,
        m: &NewLeadershipTerm,
        stop: Position,
        record_after: Option<(LeadershipTermId, Position)>,
    ) -> Election {
        ctx.counters.replications += 1;
        ctx.out.archive(ArchiveAction::Replicate {
            from_member: self.leader,
            leader_recording_id: m.leader_recording_id,
            stop,
        });
        self.step = Step::Replication { stop, record_after };
        Election::Follower(self)
    }

    pub(crate) fn handle(mut self, ctx: &mut Context, input: &Input<'_>) -> Election {
        match input {
            Input::Peer(message) => {
                if self.on_peer(ctx, message) {
                    return restart(ctx);
                }
                Election::Follower(self)
            }
            Input::Archive(archive) => self.on_archive(ctx, archive, input),
            Input::Recorded(_) => {
                self.last_progress = ctx.mono();
                Election::Follower(self)
            }
            _ => Election::Follower(self),
        }
    }

    /// True if the message ends following.
    fn on_peer(&mut self, ctx: &mut Context, message: &PeerMessage) -> bool {
        match message {
            PeerMessage::NewLeadershipTerm(m) => {
                if self.is_mine(m.leader_member_id, m.leadership_term_id) {
                    self.hear(ctx, m.commit_position.unwrap_or(Position(0)));
                    self.leader_position = self.leader_position.max(m.log_position);
                    return false;
                }
                self.on_other_leader(ctx, m.leader_member_id, m.leadership_term_id)
            }
            PeerMessage::CommitPosition(m) => {
                if self.is_mine(m.leader_member_id, m.leadership_term_id) {
                    self.hear(ctx, m.log_position);
                    return false;
                }
                if !ctx.config.rules.f4_commit_of_adopted_leader {
                    ctx.notified = ctx.notified.max(m.log_position);
                }
                self.on_other_leader(ctx, m.leader_member_id, m.leadership_term_id)
            }
            PeerMessage::CanvassPosition(m) => {
                m.follower_member_id == self.leader
                    && self.has_left(ctx, m.log_leadership_term_id)
                    && ctx.control.termination.is_none()
                    && ctx.is_plausible(m.log_leadership_term_id)
            }
            PeerMessage::RequestVote(m) => {
                m.candidate_term_id > self.term
                    && ctx.control.termination.is_none()
                    && ctx.is_plausible(m.candidate_term_id)
            }
            PeerMessage::StopCatchup(m) if m.leadership_term_id == self.term => {
                if let Step::Catchup { is_stopped, .. } = &mut self.step {
                    *is_stopped = true;
                }
                false
            }
            PeerMessage::TerminationPosition(m) if m.leadership_term_id == self.term => {
                if ctx.control.termination.is_none() && m.log_position.0 >= 0 {
                    let termination = Termination::told(m.log_position, m.leadership_term_id);
                    ctx.control.termination = Some(termination);
                }
                false
            }
            _ => false,
        }
    }

    fn is_mine(&self, leader: MemberId, term: LeadershipTermId) -> bool {
        leader == self.leader && term == self.term
    }

    /// Whether the leader, which reports its position, leads no more: who leads has its term in its
    /// log and does not canvass. It tells other leaders its position, and that may come late: but
    /// then it speaks as a leader too.
    fn has_left(&self, ctx: &Context, log_term: LeadershipTermId) -> bool {
        let silence = ctx.config.timeouts.leader_heartbeat_interval.0.saturating_mul(2);
        log_term >= self.term && self.last_heard + Nanos(silence) <= ctx.mono()
    }

    fn hear(&mut self, ctx: &mut Context, commit: Position) {
        let now = ctx.mono();
        self.last_heard = now;
        ctx.last_leader_update = now;
        if matches!(self.step, Step::Service) && ctx.notified <= ctx.log.recorded {
            // Nothing was missing so far.
            self.last_progress = now;
        }
        ctx.notified = ctx.notified.max(commit);
    }

    fn on_other_leader(&self, ctx: &mut Context, leader: MemberId, term: LeadershipTermId) -> bool {
        canvass::answer_older_leader(ctx, leader, term);
        term > self.term && ctx.is_plausible(term)
    }

    fn on_archive(
        mut self,
        ctx: &mut Context,
        archive: &ArchiveInput,
        input: &Input<'_>,
    ) -> Election {
        match *archive {
            ArchiveInput::Failed | ArchiveInput::RecordingStopped { .. } => return restart(ctx),
            ArchiveInput::ImageClosed { is_end_of_stream } if self.is_live() => {
                if is_end_of_stream {
                    ctx.graceful = Some(self.leader);
                }
                return restart(ctx);
            }
            ArchiveInput::Replicated { position } => {
                return self.on_replicated(ctx, position);
            }
            _ => {}
        }
        let (leader, now) = (self.leader, ctx.mono());
        let failed = match &mut self.step {
            Step::Replay(Some(replay)) => replay.handle(ctx, input) == Progress::Failed,
            Step::Catchup { join, .. } | Step::LogJoin(join) => match (*join, *archive) {
                (Join::Subscribing, ArchiveInput::CatchupReady) => {
                    *join = Join::AwaitImage;
                    let message = CatchupPosition {
                        leadership_term_id: self.term,
                        log_position: ctx.log.position,
                        follower_member_id: ctx.id(),
                        catchup_endpoint: alloc::string::String::new(),
                    };
                    ctx.send(leader, PeerMessage::CatchupPosition(message));
                    false
                }
                (Join::AwaitImage, ArchiveInput::ImageJoined { position, .. }) => {
                    *join = Join::AwaitRecording;
                    ctx.out.archive(ArchiveAction::RecordImage);
                    position != ctx.log.position
                }
                (
                    Join::AwaitRecording,
                    ArchiveInput::RecordingStarted { recording_id, position },
                ) => {
                    *join = Join::AwaitServices { is_sent: false };
                    ctx.log.recording_id = recording_id;
                    ctx.log.recorded = ctx.log.recorded.max(position);
                    false
                }
                _ => false,
            },
            _ => false,
        };
        self.last_progress = now;
        if failed { restart(ctx) } else { Election::Follower(self) }
    }

    fn is_live(&self) -> bool {
        matches!(self.step, Step::Catchup { .. } | Step::LogJoin(_) | Step::Service)
    }

    /// A term was copied: record it now if it was not before, and ask for the next step.
    fn on_replicated(self, ctx: &mut Context, position: Position) -> Election {
        let Step::Replication { stop, record_after } = self.step else {
            return Election::Follower(self);
        };
        ctx.log.recorded = ctx.log.recorded.max(position.min(stop));
        if position < stop {
            return restart(ctx);
        }
        if let Some((term, base)) = record_after
            && !self.record(ctx, term, base)
        {
            return Election::Halted;
        }
        canvass::enter(ctx)
    }

    pub(crate) fn advance(mut self, ctx: &mut Context) -> Election {
        let now = ctx.mono();
        let timeout = ctx.silence();
        let is_silent = self.last_heard + timeout <= now;
        if is_silent && ctx.control.termination.is_none() {
            return restart(ctx);
        }
        self.report(ctx);
        loss::regain(ctx, self.term, matches!(self.step, Step::Service));
        match self.step {
            Step::Replication { .. } => {
                if self.last_progress + timeout <= now {
                    restart(ctx)
                } else {
                    Election::Follower(self)
                }
            }
            Step::Replay(_) => self.advance_replay(ctx),
            Step::Catchup { .. } => self.advance_catchup(ctx, timeout),
            Step::LogJoin(_) => self.advance_join(ctx, timeout),
            Step::Service if self.is_stuck(ctx) => restart(ctx),
            Step::Service => Election::Follower(self),
        }
    }

    /// Whether the live log stands still here though the leader committed more of it: the image was
    /// overrun, say, and its driver keeps it until everybody has read what is there, the begun half
    /// of a message included, which nobody may. The log is left, and caught up with.
    fn is_stuck(&self, ctx: &Context) -> bool {
        let patience = Nanos(ctx.silence().0.saturating_mul(STALLS_MAX));
        ctx.notified > ctx.log.recorded && self.last_progress + patience <= ctx.mono()
    }

    fn advance_replay(mut self, ctx: &mut Context) -> Election {
        let exposable = self.exposable(ctx);
        let Step::Replay(replay) = &mut self.step else { return Election::Follower(self) };
        match replay {
            Some(replay) => match replay.advance(ctx) {
                Progress::Running => Election::Follower(self),
                Progress::Failed => restart(ctx),
                Progress::Done => self.open(ctx),
            },
            None if ctx.log.position >= ctx.log.recorded => self.open(ctx),
            None => {
                if exposable > ctx.log.position {
                    *replay = Some(Replay::new(ctx.log.recorded));
                }
                Election::Follower(self)
            }
        }
    }

    /// Our recording is replayed: join the leader's log, by catch-up if it has gone on.
    fn open(mut self, ctx: &mut Context) -> Election {
        let is_catchup = self.leader_position.max(ctx.notified) > ctx.log.recorded;
        self.step = if is_catchup {
            ctx.counters.catchups += 1;
            Step::Catchup { join: Join::Subscribing, is_live: false, is_stopped: false }
        } else {
            Step::LogJoin(Join::AwaitImage)
        };
        self.last_progress = ctx.mono();
        ctx.log.session_id = Some(self.log_session_id);
        ctx.out.archive(ArchiveAction::OpenLog {
            leader: self.leader,
            session_id: self.log_session_id,
            is_catchup,
        });
        Election::Follower(self)
    }

    fn advance_catchup(mut self, ctx: &mut Context, timeout: Nanos) -> Election {
        let target = self.leader_position.max(ctx.notified);
        let Step::Catchup { join, is_live, is_stopped } = &mut self.step else {
            return Election::Follower(self);
        };
        if *join != Join::Joined {
            let is_late = self.last_progress + timeout <= ctx.mono()
                && !matches!(join, Join::AwaitServices { .. });
            advance_services(ctx, join, self.log_session_id);
            return if is_late { restart(ctx) } else { Election::Follower(self) };
        }
        let is_near = ctx.log.position.0 >= target.0 - ctx.config.live_add_window();
        if !*is_live && (is_near || *is_stopped) {
            *is_live = true;
            ctx.out.archive(ArchiveAction::AddLiveDestination);
        }
        let is_read = ctx.log.position >= target && ctx.control.state != ModuleState::Snapshot;
        if *is_stopped && is_read {
            ctx.out.archive(ArchiveAction::RemoveCatchupDestination);
            return self.complete(ctx);
        }
        let is_stalled = ctx.log.recorded < target
            && ctx.control.is_running()
            && self.last_progress + timeout <= ctx.mono();
        if is_stalled { restart(ctx) } else { Election::Follower(self) }
    }

    fn advance_join(mut self, ctx: &mut Context, timeout: Nanos) -> Election {
        let Step::LogJoin(join) = &mut self.step else { return Election::Follower(self) };
        if *join == Join::Joined {
            // Without F3 the term is only recorded here, as genuine followers do.
            let (term, base) = (self.term, self.base);
            if ctx.terms.last() < term && !ctx.record_term(term, base) {
                return Election::Halted;
            }
            return self.complete(ctx);
        }
        let is_late = self.last_progress + timeout <= ctx.mono()
            && !matches!(join, Join::AwaitServices { .. });
        advance_services(ctx, join, self.log_session_id);
        if is_late { restart(ctx) } else { Election::Follower(self) }
    }

    fn complete(mut self, ctx: &mut Context) -> Election {
        self.reported = None;
        self.step = Step::Service;
        self.report(ctx);
        ctx.is_node_start = false;
        Election::Follower(self)
    }

    /// Tells the leader where our recording stands: on progress, and as a heartbeat.
    ///
    /// While a term is copied this is a canvass: no append position before the term is recorded.
    fn report(&mut self, ctx: &mut Context) {
        let (now, interval) = (ctx.mono(), ctx.config.timeouts.leader_heartbeat_interval);
        let recorded = ctx.log.recorded;
        let is_due_now = self.reported.is_none_or(|(position, at)| {
            is_due(Some(at), interval, now) || position < recorded && !self.is_copying()
        });
        if !is_due_now {
            return;
        }
        self.reported = Some((recorded, now));
        let message = if self.is_copying() && ctx.config.rules.f3_term_before_append_position {
            ctx.canvass_position()
        } else {
            PeerMessage::AppendPosition(AppendPosition {
                leadership_term_id: self.term,
                log_position: recorded,
                follower_member_id: ctx.id(),
                is_catchup: matches!(self.step, Step::Catchup { .. }),
            })
        };
        ctx.send(self.leader, message);
    }

    fn is_copying(&self) -> bool {
        matches!(self.step, Step::Replication { .. })
    }
}

/// The barrier of a join: services are asked when nothing else is outstanding.
fn advance_services(ctx: &mut Context, join: &mut Join, session_id: i32) {
    match join {
        Join::AwaitServices { is_sent: false } if ctx.services.is_idle() => {
            *join = Join::AwaitServices { is_sent: true };
            ctx.join_log(ServiceAction::JoinLog {
                from: ctx.log.position,
                to: None,
                session_id,
                is_startup: false,
                is_leader: false,
            });
        }
        Join::AwaitServices { is_sent: true } if ctx.is_joined => *join = Join::Joined,
        _ => {}
    }
}
