//! What a member lost of its log: rules H1 to H4.
//!
//! Disks rot. A member that finds its recording damaged no longer holds what it acknowledged, and
//! others may have committed it because of that word. In any order of events the log that is
//! committed stays with a quorum if it keeps to this:
//!
//! - **H1** Until it is whole again it neither votes nor stands. So every leader of a later term is
//!   elected by members that hold what they acknowledged, of which each quorum that committed
//!   anything has one: such a leader has all that was committed before its term.
//! - **H2** It is whole once it follows in service a leader of a term T, and has the log of that
//!   leader up to where it stood when it was adopted. If T is the last term of the log that it
//!   lost, it must also have all that it had acknowledged: that counts in T. In a later term
//!   nothing of it counts that the leader did not have.
//! - **H3** The loss is durable before the recording is cut, and forgotten only when it is whole: a
//!   crash in between changes nothing.
//! - **H4** T is not below any term that it voted in, stood in or followed: from the loss on all of
//!   them bind as a vote does (V1). What bound it otherwise was the record of the term in its log,
//!   which may be lost.
//!
//! What it reports meanwhile is what it has, so that it may be counted: entries that it
//! acknowledges anew are durable, and H1 binds it until it has those before them.

use wire::position::Position;

use crate::action::{ArchiveAction, Persist};
use crate::context::{Context, Halt};
use crate::election::Election;
use crate::election::canvass::Truncation;
use crate::election::restart;
use crate::id::LeadershipTermId;

/// What has to be regained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Where the recording is to be cut; `None` once it was.
    pub cut: Option<Position>,
    /// The last term of the log before the loss.
    pub term: LeadershipTermId,
    /// The end of the log before the loss: no more was acknowledged.
    pub acknowledged: Position,
}

impl Loss {
    /// Both of two losses.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let cut = match (self.cut, other.cut) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        // The newer term's, or the longer one's of the same: a log of a newer term had all that
        // counts of an older one.
        let end = |loss: Self| (loss.term, loss.acknowledged);
        let (term, acknowledged) = end(self).max(end(other));
        Self { cut, term, acknowledged }
    }
}

/// The recording turns out to be damaged at `position`: nothing from there on is held any more.
pub(crate) fn lose(election: Election, ctx: &mut Context, position: Position) -> Election {
    let is_known = ctx.loss.and_then(|loss| loss.cut).is_some_and(|cut| cut <= position);
    // While the log is being left more of it may be recorded than is known here.
    let is_beyond = position >= ctx.log.recorded && !matches!(election, Election::Init);
    if matches!(election, Election::Halted) || is_beyond || is_known {
        return election;
    }
    // The others alone must be able to elect a leader.
    if ctx.members.len() <= ctx.config.quorum() {
        ctx.halt(Halt::LogRotten { position, recorded: ctx.log.recorded });
        return Election::Halted;
    }
    let (term, acknowledged) = (ctx.terms.last(), ctx.log.recorded);
    let loss = Loss { cut: Some(position), term, acknowledged };
    let loss = ctx.loss.map_or(loss, |known| known.and(loss));
    ctx.counters.losses += 1;
    if ctx.config.rules.h4_own_terms_bind {
        ctx.promise = ctx.promise.max(ctx.candidate);
    }
    ctx.loss = Some(loss);
    if ctx.config.rules.h3_loss_before_cut {
        ctx.out.persist(Persist::Loss(loss));
    }
    match election {
        Election::Starting | Election::Init => election,
        _ => restart(ctx),
    }
}

/// Nothing of the log is open: the damaged part goes, if it is still there.
pub(crate) fn cut(ctx: &mut Context) -> Option<Election> {
    let position = ctx.loss?.cut?;
    if position >= ctx.log.recorded {
        is_cut(ctx, position);
        return None;
    }
    ctx.out.archive(ArchiveAction::Truncate { position });
    Some(Election::Truncation(Truncation::new(position)))
}

/// The recording was cut at `position`.
pub(crate) fn is_cut(ctx: &mut Context, position: Position) {
    if let Some(loss) = &mut ctx.loss
        && loss.cut.is_some_and(|cut| cut >= position)
    {
        loss.cut = None;
        let loss = *loss;
        ctx.out.persist(Persist::Loss(loss));
    }
}

/// H2, of a follower under a leader of `term`, with whose log it has caught up if it is in service.
pub(crate) fn regain(ctx: &mut Context, term: LeadershipTermId, is_in_service: bool) {
    let Some(loss) = ctx.loss else { return };
    let has_all = term > loss.term || ctx.log.recorded >= loss.acknowledged;
    if is_in_service && has_all || !ctx.config.rules.h2_whole_before_regained {
        ctx.loss = None;
        ctx.counters.regains += 1;
        ctx.out.persist(Persist::Regained);
    }
}
