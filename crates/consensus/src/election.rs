//! The election: from knowing nothing to leading or following, and back (cluster spec 4.3).
//!
//! A phase owns its data and is consumed by its transition. The states of genuine Aeron map to
//! these phases; [`Election::state`] tells which one is shown to others.

pub(crate) mod ballot;
pub(crate) mod canvass;
pub(crate) mod follower;
pub(crate) mod leader;
pub(crate) mod replay;

use wire::position::Position;

use crate::context::{Context, Halt, Role};
use crate::fingerprint::Print;
use crate::input::{ArchiveInput, Input};
use crate::loss;
use crate::message::PeerMessage;
use ballot::{CandidateBallot, FollowerBallot};
use canvass::{Canvass, Nominate, Truncation};
use follower::Follower;
use leader::Leader;

/// State of the election as others see it: counter 207.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)] // Names of the cluster specification 4.3.
pub enum ElectionState {
    Init = 0,
    Canvass = 1,
    Nominate = 2,
    CandidateBallot = 3,
    FollowerBallot = 4,
    LeaderLogReplication = 5,
    LeaderReplay = 6,
    LeaderInit = 7,
    LeaderReady = 8,
    FollowerLogReplication = 9,
    FollowerReplay = 10,
    FollowerCatchupInit = 11,
    FollowerCatchupAwait = 12,
    FollowerCatchup = 13,
    FollowerLogInit = 14,
    FollowerLogAwait = 15,
    FollowerReady = 16,
    Closed = 17,
}

/// Where the election stands. Leader and follower stay themselves in service.
#[derive(Clone, Debug)]
pub(crate) enum Election {
    /// Services have not all started.
    Starting,
    /// The log is being left; `LogLeft` ends it.
    Init,
    Canvass(Canvass),
    Truncation(Truncation),
    Nominate(Nominate),
    CandidateBallot(CandidateBallot),
    FollowerBallot(FollowerBallot),
    Leader(Leader),
    Follower(Follower),
    /// This member has ended, or must end.
    Halted,
}

impl Election {
    /// The state that others see.
    pub(crate) fn state(&self) -> ElectionState {
        match self {
            Self::Starting | Self::Init => ElectionState::Init,
            Self::Canvass(_) | Self::Truncation(_) => ElectionState::Canvass,
            Self::Nominate(_) => ElectionState::Nominate,
            Self::CandidateBallot(_) => ElectionState::CandidateBallot,
            Self::FollowerBallot(_) => ElectionState::FollowerBallot,
            Self::Leader(leader) => leader.state(),
            Self::Follower(follower) => follower.state(),
            Self::Halted => ElectionState::Closed,
        }
    }

    /// Where the replay ends that is being read.
    pub(crate) fn replay_end(&self) -> Option<Position> {
        match self {
            Self::Leader(leader) => leader.replay_end(),
            Self::Follower(follower) => follower.replay_end(),
            _ => None,
        }
    }

    /// Where the term of the leader begins that is followed, else 0.
    pub(crate) fn base(&self) -> Position {
        match self {
            Self::Follower(phase) => phase.base(),
            _ => Position(0),
        }
    }

    /// Which phase, and what it holds.
    pub(crate) fn fingerprint(&self, ctx: &Context, print: &mut Print<'_>) {
        print.word(-5);
        match self {
            Self::Starting => print.word(0),
            Self::Init => print.word(1),
            Self::Canvass(phase) => phase.fingerprint(ctx, print),
            Self::Truncation(phase) => phase.fingerprint(print),
            Self::Nominate(_) => print.word(4),
            // Their deadlines are ahead, or they would be over.
            Self::CandidateBallot(phase) => {
                print.word(5);
                phase.fingerprint(print);
            }
            Self::FollowerBallot(_) => print.word(6),
            Self::Leader(phase) => phase.fingerprint(ctx, print),
            Self::Follower(phase) => phase.fingerprint(print),
            Self::Halted => print.word(9),
        }
    }

    /// Takes one input. What needs no input besides is done by [`Self::advance`] afterwards.
    pub(crate) fn handle(self, ctx: &mut Context, input: &Input<'_>) -> Self {
        if let Input::Peer(message) = input
            && !is_from_member(ctx, message)
        {
            ctx.counters.refused += 1;
            return self;
        }
        if let Input::Archive(ArchiveInput::Rotten { position }) = input {
            return loss::lose(self, ctx, *position);
        }
        match self {
            Self::Init => match input {
                Input::Archive(ArchiveInput::LogLeft { recorded }) => left(ctx, *recorded),
                _ => Self::Init,
            },
            Self::Starting | Self::Halted => self,
            Self::Canvass(phase) => phase.handle(ctx, input),
            Self::Truncation(phase) => phase.handle(ctx, input),
            Self::Nominate(phase) => phase.handle(ctx, input),
            Self::CandidateBallot(phase) => phase.handle(ctx, input),
            Self::FollowerBallot(phase) => phase.handle(ctx, input),
            Self::Leader(phase) => phase.handle(ctx, input),
            Self::Follower(phase) => phase.handle(ctx, input),
        }
    }

    /// Does what time, or what is known already, allows.
    pub(crate) fn advance(self, ctx: &mut Context) -> Self {
        if ctx.halt.is_some() {
            return Self::Halted;
        }
        match self {
            Self::Starting if ctx.control.state == crate::control::ModuleState::Active => {
                ctx.counters.elections += 1;
                begin(ctx)
            }
            Self::Canvass(phase) => phase.advance(ctx),
            Self::Nominate(phase) => phase.advance(ctx),
            Self::CandidateBallot(phase) => phase.advance(ctx),
            Self::FollowerBallot(phase) => phase.advance(ctx),
            Self::Leader(phase) => phase.advance(ctx),
            Self::Follower(phase) => phase.advance(ctx),
            other => other,
        }
    }
}

/// An election begins, or begins again: everything of the log is left first.
pub(crate) fn restart(ctx: &mut Context) -> Election {
    ctx.counters.elections += 1;
    ctx.leave_log();
    Election::Init
}

/// The log is left. What the recording holds now is our log.
fn left(ctx: &mut Context, recorded: Position) -> Election {
    if recorded < ctx.exposed && ctx.loss.is_none() {
        ctx.halt(Halt::RecordingLost { recorded, committed: ctx.exposed });
        return Election::Halted;
    }
    ctx.log.recorded = recorded;
    ctx.drop_terms_past_end();
    begin(ctx)
}

/// Nothing of the log is open: a single member leads at once, others canvass.
fn begin(ctx: &mut Context) -> Election {
    ctx.role = Role::Follower;
    if let Some(cutting) = loss::cut(ctx) {
        return cutting;
    }
    let floor = ctx.term.max(ctx.terms.last());
    ctx.candidate = ctx.candidate.max(floor);
    if ctx.members.len() == 1 {
        let Some(term) = ctx.candidate.next() else { return Election::Halted };
        ctx.raise_candidate(term);
        return leader::win(ctx);
    }
    canvass::enter(ctx)
}

/// The sender that a message names must be another member.
fn is_from_member(ctx: &Context, message: &PeerMessage) -> bool {
    let sender = match message {
        PeerMessage::CanvassPosition(m) => m.follower_member_id,
        PeerMessage::RequestVote(m) => m.candidate_member_id,
        PeerMessage::Vote(m) => m.follower_member_id,
        PeerMessage::NewLeadershipTerm(m) => m.leader_member_id,
        PeerMessage::AppendPosition(m) => m.follower_member_id,
        PeerMessage::CommitPosition(m) => m.leader_member_id,
        PeerMessage::CatchupPosition(m) => m.follower_member_id,
        PeerMessage::TerminationAck(m) => m.member_id,
        PeerMessage::StopCatchup(m) => return m.follower_member_id == ctx.id(),
        PeerMessage::TerminationPosition(_) => return true,
    };
    sender != ctx.id() && ctx.members.contains(sender)
}
