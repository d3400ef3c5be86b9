//! CANDIDATE_BALLOT and FOLLOWER_BALLOT, and how a vote is given.

use wire::position::Position;
use wire::time::Nanos;

use super::{Election, canvass, leader};
use crate::context::{Context, Role};
use crate::fingerprint::Print;
use crate::id::LeadershipTermId;
use crate::input::Input;
use crate::message::{PeerMessage, RequestVote, Vote};

/// This member asked for votes.
#[derive(Clone, Debug)]
pub(crate) struct CandidateBallot {
    clock: Clock,
    /// Another stands for a term that is over for us: what we asked has not come to it.
    is_unheard: bool,
}

/// This member voted for another and waits for it to lead.
#[derive(Clone, Debug)]
pub(crate) struct FollowerBallot {
    clock: Clock,
}

/// The time of a ballot. It runs from when the own word is durable, since it is not spoken before:
/// on a disk that takes longer than a ballot lasts, none would ever succeed.
#[derive(Clone, Copy, Debug)]
struct Clock {
    began_at: Nanos,
    spoken_at: Option<Nanos>,
}

impl Clock {
    fn new(ctx: &Context) -> Self {
        Self { began_at: ctx.mono(), spoken_at: None }
    }

    fn has_run(&mut self, ctx: &mut Context, span: Nanos) -> bool {
        if self.spoken_at.is_none() && ctx.out.is_persisted() {
            self.spoken_at = Some(ctx.mono());
            ctx.promise_span = ctx.mono() - self.began_at;
        }
        self.spoken_at.is_some_and(|at| at + span <= ctx.mono())
    }
}

/// Stands for the next term. P1: the term is on disk before it is spoken of.
pub(crate) fn stand(ctx: &mut Context) -> Election {
    let Some(term) = ctx.candidate.next() else { return canvass::enter(ctx) };
    ctx.members.forget_votes();
    ctx.raise_candidate(term);
    let own = ctx.id();
    if let Some(member) = ctx.members.get_mut(own) {
        member.vote = Some((term, true));
    }
    ctx.role = Role::Candidate;
    let (log_leadership_term_id, log_position) = ctx.own_log();
    ctx.send_all(&PeerMessage::RequestVote(RequestVote {
        log_leadership_term_id,
        log_position,
        candidate_term_id: term,
        candidate_member_id: own,
    }));
    Election::CandidateBallot(CandidateBallot { clock: Clock::new(ctx), is_unheard: false })
}

/// V2 of a member that must not stand (H1): others are asked for a ballot that it cannot win, with
/// a log that none is below.
pub(crate) fn urge(ctx: &mut Context) {
    let Some(term) = ctx.candidate.next() else { return };
    ctx.raise_candidate(term);
    ctx.send_all(&PeerMessage::RequestVote(RequestVote {
        log_leadership_term_id: LeadershipTermId::NONE,
        log_position: Position(0),
        candidate_term_id: term,
        candidate_member_id: ctx.id(),
    }));
}

fn vote(ctx: &mut Context, request: &RequestVote, vote: bool) {
    let (log_leadership_term_id, log_position) = ctx.own_log();
    ctx.send(
        request.candidate_member_id,
        PeerMessage::Vote(Vote {
            candidate_term_id: request.candidate_term_id,
            log_leadership_term_id,
            log_position,
            candidate_member_id: request.candidate_member_id,
            follower_member_id: ctx.id(),
            vote,
        }),
    );
}

/// A request for our vote while nobody is followed (cluster specification 4.4).
///
/// Returns the ballot of another if it got the vote. Never two votes in one term, not even for
/// the same candidate.
pub(crate) fn on_request(ctx: &mut Context, request: &RequestVote) -> Option<Election> {
    let term = request.candidate_term_id;
    if !ctx.is_plausible(term) {
        return None;
    }
    // H1: who lost a part of its log says nothing. A vote against would be a veto.
    if ctx.is_silenced() {
        return None;
    }
    if term <= ctx.candidate {
        vote(ctx, request, false);
        return None;
    }
    let is_newer = ctx.own_log() > (request.log_leadership_term_id, request.log_position);
    if !ctx.config.rules.p1_persist_before_vote {
        vote(ctx, request, !is_newer);
    }
    ctx.raise_candidate(term);
    if ctx.config.rules.p1_persist_before_vote {
        vote(ctx, request, !is_newer);
    }
    if is_newer {
        return None;
    }
    ctx.promise = term;
    ctx.role = Role::Follower;
    Some(Election::FollowerBallot(FollowerBallot { clock: Clock::new(ctx) }))
}

fn is_of_term(input: &Input<'_>, term: LeadershipTermId) -> bool {
    matches!(input, Input::Peer(PeerMessage::NewLeadershipTerm(m)) if m.leadership_term_id == term)
}

impl CandidateBallot {
    pub(crate) fn fingerprint(&self, print: &mut Print<'_>) {
        print.flag(self.is_unheard);
    }

    pub(crate) fn handle(mut self, ctx: &mut Context, input: &Input<'_>) -> Election {
        match input {
            Input::Peer(PeerMessage::Vote(m)) => {
                let is_mine = m.candidate_member_id == ctx.id();
                if is_mine && m.candidate_term_id == ctx.candidate {
                    let (log, now) = ((m.log_leadership_term_id, m.log_position), ctx.mono());
                    ctx.members.hear(m.follower_member_id, log, now);
                    if let Some(member) = ctx.members.get_mut(m.follower_member_id) {
                        member.vote = Some((m.candidate_term_id, m.vote));
                    }
                }
                Election::CandidateBallot(self)
            }
            Input::Peer(PeerMessage::RequestVote(m)) => {
                self.is_unheard |= m.candidate_term_id < ctx.candidate;
                on_request(ctx, m).unwrap_or(Election::CandidateBallot(self))
            }
            _ if is_of_term(input, ctx.candidate) => canvass::resume(ctx, input),
            _ => {
                canvass::overhear(ctx, input);
                Election::CandidateBallot(self)
            }
        }
    }

    pub(crate) fn advance(mut self, ctx: &mut Context) -> Election {
        let (term, quorum) = (ctx.candidate, ctx.config.quorum());
        if ctx.members.is_unanimous_leader(term, ctx.graceful, quorum) {
            return leader::win(ctx);
        }
        // Those whose votes lack are waited for as long as configured. However long votes may take
        // after ballots that failed, a quorum that has voted has not to wait for it.
        let (configured, longest) = (ctx.config.timeouts.election_timeout, ctx.ballot_timeout());
        let is_due = self.clock.has_run(ctx, configured);
        if is_due && ctx.members.is_quorum_leader(term, quorum) {
            return leader::win(ctx);
        }
        // A ballot that is lost is over: only another one can elect.
        let is_lost = is_due && (self.is_unheard || ctx.members.is_lost(term));
        if !is_lost && !self.clock.has_run(ctx, longest) {
            return Election::CandidateBallot(self);
        }
        canvass::enter(ctx)
    }
}

impl FollowerBallot {
    pub(crate) fn handle(self, ctx: &mut Context, input: &Input<'_>) -> Election {
        match input {
            Input::Peer(PeerMessage::RequestVote(m)) => {
                on_request(ctx, m).unwrap_or(Election::FollowerBallot(self))
            }
            _ if is_of_term(input, ctx.candidate) => canvass::resume(ctx, input),
            _ => {
                canvass::overhear(ctx, input);
                Election::FollowerBallot(self)
            }
        }
    }

    pub(crate) fn advance(mut self, ctx: &mut Context) -> Election {
        let longest = ctx.ballot_timeout();
        if !self.clock.has_run(ctx, longest) {
            return Election::FollowerBallot(self);
        }
        canvass::enter(ctx)
    }
}
