//! CANVASS and NOMINATE: who is there, who leads, and does our log agree with the leader's.
//!
//! Before a leader's term is adopted, the term tables are compared (F1), the log is cut where they
//! part, and a promise to another candidate is kept (V1).

use wire::position::Position;
use wire::time::Nanos;

use super::{Election, ballot, follower};
use crate::action::ArchiveAction;
use crate::context::{Context, Halt, Role, Verified, is_due};
use crate::fingerprint::Print;
use crate::id::{LeadershipTermId, MemberId};
use crate::input::{ArchiveInput, Input};
use crate::loss;
use crate::message::{NewLeadershipTerm, PeerMessage};

/// Positions are reported and leaders listened to.
#[derive(Clone, Debug)]
pub(crate) struct Canvass {
    /// At the start of the node: until when every member is waited for.
    startup_deadline: Nanos,
    last_sent: Option<Nanos>,
    walk: Option<Walk>,
}

/// A nomination waits for its random delay.
#[derive(Clone, Debug)]
pub(crate) struct Nominate {
    at: Nanos,
    last_sent: Option<Nanos>,
}

/// Our recording is being cut; `Truncated` ends it.
#[derive(Clone, Debug)]
pub(crate) struct Truncation {
    position: Position,
    drop_from: Option<LeadershipTermId>,
}

/// The comparison of term tables with one leader, from our last term downwards (F1).
///
/// Our terms are looked at in runs of one base, all of which are empty but the last. Bases rise
/// with terms on both sides, so a run takes its two ends, or a search between them, to compare.
#[derive(Clone, Debug)]
struct Walk {
    /// What the leader says of our last term.
    relation: NewLeadershipTerm,
    /// Our last term when the walk began.
    log_term: LeadershipTermId,
    run: Run,
    ask: Ask,
    /// The leader's base of the term after the run: where the last of the run ends there.
    end_at_leader: Position,
    /// The lowest term found whose base differs, and the smaller of both bases.
    differs: Option<(LeadershipTermId, Position)>,
    last_sent: Nanos,
}

/// Our terms from `low` to `high`, which all begin at `base`.
#[derive(Clone, Copy, Debug)]
struct Run {
    low: LeadershipTermId,
    high: LeadershipTermId,
    base: Position,
    is_first: bool,
}

/// The term whose base at the leader is asked for.
#[derive(Clone, Copy, Debug)]
enum Ask {
    High,
    /// The lowest of the run; the leader's base of the highest is known.
    Low {
        at_high: Position,
    },
    /// The leader's base of `same` is ours, that of `more` is larger: which is the first larger?
    Search {
        same: LeadershipTermId,
        more: LeadershipTermId,
    },
}

/// Enters CANVASS: every word of others is forgotten.
pub(crate) fn enter(ctx: &mut Context) -> Election {
    ctx.members.forget_views();
    ctx.role = Role::Follower;
    ctx.leader = None;
    Election::Canvass(Canvass::new(ctx))
}

/// A leader was heard in a ballot: what it says is handled as in a canvass.
pub(crate) fn resume(ctx: &mut Context, input: &Input<'_>) -> Election {
    ctx.role = Role::Follower;
    Canvass::new(ctx).handle(ctx, input)
}

/// What every phase that follows nobody takes notice of: positions, and leaders of the past (V3).
pub(crate) fn overhear(ctx: &mut Context, input: &Input<'_>) {
    let Input::Peer(message) = input else { return };
    match message {
        PeerMessage::CanvassPosition(m) => {
            let plausible = ctx.is_plausible(m.log_leadership_term_id);
            if plausible && m.log_position.0 >= 0 {
                let now = ctx.mono();
                let log = (m.log_leadership_term_id, m.log_position);
                ctx.members.hear(m.follower_member_id, log, now);
                if ctx.graceful == Some(m.follower_member_id) {
                    ctx.graceful = None;
                }
            }
        }
        PeerMessage::NewLeadershipTerm(m) => {
            answer_older_leader(ctx, m.leader_member_id, m.leadership_term_id);
        }
        PeerMessage::CommitPosition(m) => {
            answer_older_leader(ctx, m.leader_member_id, m.leadership_term_id);
        }
        _ => {}
    }
}

/// V3: a leader below our own log term is told the truth. True if it is one.
pub(crate) fn answer_older_leader(
    ctx: &mut Context,
    leader: MemberId,
    term: LeadershipTermId,
) -> bool {
    let is_older = term < ctx.terms.last();
    if is_older && ctx.config.rules.v3_answer_older_leader {
        let message = ctx.canvass_position();
        ctx.send(leader, message);
    }
    is_older
}

/// F6: whether what a leader says of its own table can be true.
pub(crate) fn is_coherent(ctx: &mut Context, m: &NewLeadershipTerm) -> bool {
    if !ctx.is_plausible(m.leadership_term_id) || m.leadership_term_id.0 < 0 {
        return false;
    }
    let next = m.next_leadership_term_id;
    let next_base = m.next_term_base_log_position.unwrap_or(Position(0));
    let next_end = m.next_log_position.unwrap_or(m.log_position);
    let coherent = m.term_base_log_position.0 >= 0
        && m.term_base_log_position <= m.log_position
        && next.is_none_or(|next| {
            m.log_leadership_term_id < next
                && next <= m.leadership_term_id
                && m.next_term_base_log_position.is_some()
                && next_base.0 >= 0
                && next_base <= m.term_base_log_position
                && (next < m.leadership_term_id || next_base == m.term_base_log_position)
        })
        && next_base <= next_end
        && next_end <= m.log_position;
    let accepted = coherent || !ctx.config.rules.f6_refuse_incoherent_terms;
    ctx.counters.refused += u64::from(!accepted);
    accepted
}

impl Canvass {
    fn new(ctx: &Context) -> Self {
        let wait = ctx.config.timeouts.startup_canvass_timeout;
        let startup_deadline = if ctx.is_extended_canvass { ctx.mono() + wait } else { ctx.mono() };
        Self { startup_deadline, last_sent: None, walk: None }
    }

    pub(crate) fn handle(self, ctx: &mut Context, input: &Input<'_>) -> Election {
        match input {
            Input::Peer(PeerMessage::RequestVote(m)) => {
                let Some(next) = ballot::on_request(ctx, m) else { return Election::Canvass(self) };
                ctx.is_extended_canvass = false;
                next
            }
            Input::Peer(PeerMessage::NewLeadershipTerm(m)) => self.on_leader(ctx, m),
            _ => {
                overhear(ctx, input);
                Election::Canvass(self)
            }
        }
    }

    pub(crate) fn advance(mut self, ctx: &mut Context) -> Election {
        let now = ctx.mono();
        let interval = ctx.config.timeouts.election_status_interval;
        if is_due(self.last_sent, interval, now) {
            self.last_sent = Some(now);
            let message = ctx.canvass_position();
            ctx.send_all(&message);
        }
        if let Some(walk) = &mut self.walk
            && walk.last_sent + interval <= now
        {
            walk.last_sent = now;
            let (leader, asked) = (walk.relation.leader_member_id, walk.asked());
            ctx.send_probe(leader, asked.previous());
        }
        // H1: who lost a part of its log does not stand.
        let is_other_appointed = ctx.config.appointed_leader.is_some_and(|it| it != ctx.id());
        if is_other_appointed || ctx.is_silenced() {
            return Election::Canvass(self);
        }
        // A leader is not stood against while our terms are compared with its own, unless it fell
        // silent: a nomination would forget the comparison, and then begin it anew, and so on.
        let silence = ctx.config.timeouts.leader_heartbeat_timeout;
        if self.walk.is_some() && now < ctx.last_leader_update + silence {
            return Election::Canvass(self);
        }
        hear_self(ctx);
        let (own, quorum) = (ctx.own_log(), ctx.config.quorum());
        let is_candidate = ctx.members.is_unanimous_candidate(own, ctx.graceful, quorum)
            || now >= self.deadline(ctx) && ctx.members.is_quorum_candidate(own, quorum);
        if !is_candidate {
            return Election::Canvass(self);
        }
        let at = now + nomination_delay(ctx);
        ctx.is_extended_canvass = false;
        Election::Nominate(Nominate { at, last_sent: self.last_sent })
    }

    /// From when a quorum is enough: nobody is waited for, and no leader was heard for long.
    fn deadline(&self, ctx: &Context) -> Nanos {
        let silence = ctx.config.timeouts.leader_heartbeat_timeout;
        self.startup_deadline.max(ctx.last_leader_update + silence)
    }

    pub(crate) fn fingerprint(&self, ctx: &Context, print: &mut Print<'_>) {
        let Self { startup_deadline: _, last_sent: _, walk } = self;
        print.word(2);
        if print.with_waits {
            print.flag(ctx.mono() >= self.deadline(ctx));
        }
        if let Some(walk) = walk {
            walk.fingerprint(print);
        }
    }

    /// A leader asserts itself (cluster specification 4.5, with V1, V3, F1 and F6).
    fn on_leader(mut self, ctx: &mut Context, m: &NewLeadershipTerm) -> Election {
        if !is_coherent(ctx, m) {
            return Election::Canvass(self);
        }
        let (leader, term) = (m.leader_member_id, m.leadership_term_id);
        if ctx.graceful == Some(leader) {
            ctx.graceful = None;
        }
        if answer_older_leader(ctx, leader, term) {
            return Election::Canvass(self);
        }
        if ctx.config.rules.v1_promise && term < ctx.promise {
            return self.refuse(ctx, leader);
        }
        ctx.last_leader_update = ctx.mono();
        let log_term = ctx.terms.last();
        if log_term == term {
            return follower::adopt(ctx, m);
        }
        let is_verified = ctx.verified == Some(Verified { leader, term, log_term });
        if m.log_leadership_term_id == log_term && m.next_leadership_term_id.is_some() {
            let compares = ctx.config.rules.f1_compare_tables && log_term.0 >= 0;
            if is_verified || !compares {
                return finish(ctx, m, None);
            }
            match &mut self.walk {
                Some(walk) if walk.is_with(leader, term, log_term) => walk.relation = *m,
                _ => match Walk::new(ctx, m) {
                    Some(walk) => self.walk = Some(walk),
                    None => return finish(ctx, m, None),
                },
            }
            return Election::Canvass(self);
        }
        match self.walk.take() {
            Some(walk) if walk.is_with(leader, term, log_term) => {
                let (walk, is_done) = walk.on_answer(ctx, m);
                if is_done {
                    return finish(ctx, &walk.relation, walk.differs);
                }
                self.walk = Some(walk);
            }
            _ if self.last_sent.is_none_or(|sent| sent < ctx.mono()) => {
                // Our own report makes the leader answer with the right relation.
                let message = ctx.canvass_position();
                ctx.send(leader, message);
            }
            _ => {}
        }
        Election::Canvass(self)
    }

    /// V1: the promise to another candidate is kept. V2: the way out, at the leader's cost.
    fn refuse(self, ctx: &mut Context, leader: MemberId) -> Election {
        ctx.counters.promises_kept += 1;
        let now = ctx.mono();
        let timeout = ctx.config.timeouts.election_timeout;
        if !ctx.config.rules.v2_way_out || !is_due(ctx.last_escape, timeout, now) {
            return Election::Canvass(self);
        }
        ctx.last_escape = Some(now);
        let raised = ctx.promise.max(ctx.terms.last());
        ctx.send_probe(leader, raised);
        ctx.is_extended_canvass = false;
        if ctx.is_silenced() {
            ballot::urge(ctx);
            return Election::Canvass(self);
        }
        ballot::stand(ctx)
    }
}

/// How long to wait before standing. Members that hear each other see the same candidates: the
/// first of them does not wait, unless that was in vain before; the others leave it the time to be
/// elected. Two that stood at once would take each other's votes, for a whole ballot.
///
/// When the node has just started, whoever was heard may not yet hear: a request that is lost costs
/// a ballot, too.
fn nomination_delay(ctx: &mut Context) -> Nanos {
    // After ballots that failed candidates are further apart, but not by more than it takes to
    // miss a leader, or to hear of another: who stands is not heard before its disk has its word.
    let timeouts = &ctx.config.timeouts;
    let apart = timeouts.leader_heartbeat_timeout.0.max(4 * ctx.promise_span.0);
    let half = ctx.ballot_timeout().0.min(apart) / 2;
    let interval = timeouts.election_status_interval;
    let is_appointed = ctx.config.appointed_leader == Some(ctx.id());
    match (is_appointed || ctx.members.is_first_candidate(ctx.own_log()), ctx.failures) {
        (true, 0) if ctx.is_extended_canvass => Nanos(half.min(2 * interval.0)),
        (true, 0) => Nanos(0),
        (true, _) => Nanos(ctx.random.below(half)),
        (false, _) => Nanos(half + ctx.random.below(half)),
    }
}

/// Own view: log term and append position.
fn hear_self(ctx: &mut Context) {
    let (id, own, now) = (ctx.id(), ctx.own_log(), ctx.mono());
    ctx.members.hear(id, own, now);
}

impl Run {
    /// The run of terms that begin where `high` does. None if `high` is not in the table.
    fn ending_at(ctx: &Context, high: LeadershipTermId) -> Option<Self> {
        let base = ctx.terms.base_of(high)?;
        let records = ctx.terms.records();
        let count_below = records.partition_point(|record| record.base < base);
        let below = count_below.checked_sub(1).and_then(|index| records.get(index));
        let low = match below {
            Some(below) => LeadershipTermId(below.term.0 + 1),
            None => records.first()?.term,
        };
        Some(Self { low, high, base, is_first: below.is_none() })
    }
}

impl Walk {
    fn new(ctx: &mut Context, relation: &NewLeadershipTerm) -> Option<Self> {
        let log_term = ctx.terms.last();
        let run = Run::ending_at(ctx, log_term)?;
        ctx.send_probe(relation.leader_member_id, log_term.previous());
        Some(Self {
            relation: *relation,
            log_term,
            run,
            ask: Ask::High,
            end_at_leader: relation.next_term_base_log_position.unwrap_or(Position(0)),
            differs: None,
            last_sent: ctx.mono(),
        })
    }

    fn is_with(
        &self,
        leader: MemberId,
        term: LeadershipTermId,
        log_term: LeadershipTermId,
    ) -> bool {
        self.relation.leader_member_id == leader
            && self.relation.leadership_term_id == term
            && self.log_term == log_term
    }

    fn fingerprint(&self, print: &mut Print<'_>) {
        let Self { relation, log_term, run, ask, end_at_leader, differs, last_sent: _ } = self;
        PeerMessage::NewLeadershipTerm(*relation).print(print);
        print.term(*log_term);
        let Run { low, high, base, is_first } = run;
        print.term(*low);
        print.term(*high);
        print.at(*base);
        print.flag(*is_first);
        let (at, same, more) = match ask {
            Ask::High => (None, None, None),
            Ask::Low { at_high } => (Some(*at_high), None, None),
            Ask::Search { same, more } => (None, Some(*same), Some(*more)),
        };
        print.maybe_at(at);
        print.maybe_term(same);
        print.maybe_term(more);
        print.at(*end_at_leader);
        print.maybe_term(differs.map(|(term, _)| term));
        print.maybe_at(differs.map(|(_, base)| base));
    }

    fn asked(&self) -> LeadershipTermId {
        match self.ask {
            Ask::High => self.run.high,
            Ask::Low { .. } => self.run.low,
            Ask::Search { same, more } => LeadershipTermId(same.0 + (more.0 - same.0) / 2),
        }
    }

    /// The leader's base of the asked term. True when the walk is over.
    fn on_answer(mut self, ctx: &mut Context, m: &NewLeadershipTerm) -> (Self, bool) {
        let asked = self.asked();
        let base = match (m.next_leadership_term_id, m.next_term_base_log_position) {
            (Some(next), Some(base))
                if m.log_leadership_term_id == asked.previous() && next >= asked =>
            {
                base
            }
            _ => return (self, false),
        };
        if self.take(ctx, asked, base) {
            return (self, true);
        }
        self.last_sent = ctx.mono();
        let below = self.asked().previous();
        ctx.send_probe(m.leader_member_id, below);
        (self, false)
    }

    /// Takes the leader's base of `asked`. True when the walk is over.
    fn take(&mut self, ctx: &Context, asked: LeadershipTermId, base: Position) -> bool {
        let Run { low, high, base: own, .. } = self.run;
        match self.ask {
            Ask::High => {
                let own_end = ctx.terms.end_of(high).unwrap_or(ctx.log.recorded);
                if base == own && own < own_end && base < self.end_at_leader {
                    return true;
                }
                if low < high {
                    self.ask = Ask::Low { at_high: base };
                    return false;
                }
                if base != own {
                    self.differs = Some((high, base.min(own)));
                }
                self.next_run(ctx, base)
            }
            Ask::Low { at_high } => {
                if base != own {
                    self.differs = Some((low, base.min(own)));
                } else if at_high != own {
                    return self.search(ctx, low, high);
                }
                self.next_run(ctx, base)
            }
            Ask::Search { same, .. } if base != own => self.search(ctx, same, asked),
            Ask::Search { more, .. } => self.search(ctx, asked, more),
        }
    }

    fn search(&mut self, ctx: &Context, same: LeadershipTermId, more: LeadershipTermId) -> bool {
        if more.0 - same.0 > 1 {
            self.ask = Ask::Search { same, more };
            return false;
        }
        self.differs = Some((more, self.run.base));
        self.next_run(ctx, self.run.base)
    }

    /// The run below, whose end at the leader is known. True if there is none worth a question:
    /// what lies before our committed position is shared.
    fn next_run(&mut self, ctx: &Context, end_at_leader: Position) -> bool {
        let is_committed = ctx.exposed.0 > 0 && self.run.base <= ctx.exposed;
        if self.run.is_first || is_committed {
            return true;
        }
        let Some(run) = Run::ending_at(ctx, self.run.low.previous()) else { return true };
        self.run = run;
        self.ask = Ask::High;
        self.end_at_leader = end_at_leader;
        false
    }
}

/// The tables are compared: cut where they part, or adopt the leader.
fn finish(
    ctx: &mut Context,
    relation: &NewLeadershipTerm,
    differs: Option<(LeadershipTermId, Position)>,
) -> Election {
    let end = relation.next_term_base_log_position.unwrap_or(relation.log_position);
    let position = differs.map_or(end, |(_, base)| base).min(ctx.log.recorded);
    let drop_from = differs.map(|(term, _)| term);
    if position < ctx.log.recorded {
        let committed = ctx.exposed.max(ctx.log.position);
        if position < committed && ctx.config.rules.f5_never_cut_committed {
            ctx.halt(Halt::CommittedCut {
                leader: relation.leader_member_id,
                term: relation.leadership_term_id,
                position,
                committed,
            });
            return Election::Halted;
        }
        ctx.counters.truncations += 1;
        ctx.out.archive(ArchiveAction::Truncate { position });
        return Election::Truncation(Truncation { position, drop_from });
    }
    if let Some(term) = drop_from {
        ctx.drop_terms(term);
        return enter(ctx);
    }
    ctx.verified = Some(Verified {
        leader: relation.leader_member_id,
        term: relation.leadership_term_id,
        log_term: ctx.terms.last(),
    });
    ctx.is_extended_canvass = false;
    follower::adopt(ctx, relation)
}

impl Truncation {
    pub(crate) const fn new(position: Position) -> Self {
        Self { position, drop_from: None }
    }

    pub(crate) fn fingerprint(&self, print: &mut Print<'_>) {
        let Self { position, drop_from } = self;
        print.word(3);
        print.at(*position);
        print.maybe_term(*drop_from);
    }

    pub(crate) fn handle(self, ctx: &mut Context, input: &Input<'_>) -> Election {
        match input {
            Input::Archive(ArchiveInput::Truncated { position }) => {
                // P3: the archive is cut, now the table may be.
                ctx.log.recorded = (*position).min(self.position);
                if let Some(term) = self.drop_from {
                    ctx.drop_terms(term);
                }
                ctx.drop_terms_past_end();
                loss::is_cut(ctx, ctx.log.recorded);
                enter(ctx)
            }
            Input::Archive(ArchiveInput::Failed) => super::restart(ctx),
            _ => Election::Truncation(self),
        }
    }
}

impl Nominate {
    pub(crate) fn handle(self, ctx: &mut Context, input: &Input<'_>) -> Election {
        match input {
            Input::Peer(PeerMessage::RequestVote(m)) => {
                ballot::on_request(ctx, m).unwrap_or(Election::Nominate(self))
            }
            Input::Peer(PeerMessage::NewLeadershipTerm(m))
                if m.leadership_term_id >= ctx.terms.last()
                    && m.leadership_term_id >= ctx.promise =>
            {
                resume(ctx, input)
            }
            _ => {
                overhear(ctx, input);
                Election::Nominate(self)
            }
        }
    }

    pub(crate) fn advance(mut self, ctx: &mut Context) -> Election {
        let now = ctx.mono();
        if now >= self.at {
            return ballot::stand(ctx);
        }
        if is_due(self.last_sent, ctx.config.timeouts.election_status_interval, now) {
            self.last_sent = Some(now);
            let message = ctx.canvass_position();
            ctx.send_all(&message);
        }
        Election::Nominate(self)
    }
}
