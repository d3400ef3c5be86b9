//! What of a core decides its future: for a model check, which must know equal situations again.
//!
//! Times appear only as "passed" or "not yet"; member ids as the caller renames them; what no
//! later step can read (words of others in a phase that forgets them, what is sent when) is left
//! out. Sessions, timers and services are left out too: a model has none.

use wire::position::Position;
use wire::time::Nanos;

use crate::Consensus;
use crate::config::Rules;
use crate::context::{Context, Log, Verified, is_due};
use crate::election::Election;
use crate::id::{LeadershipTermId, MemberId};
use crate::loss::Loss;
use crate::member::{Member, Members};
use crate::message::PeerMessage;
use crate::term::TermTable;

/// Gives every member a name.
pub type Rename<'a> = &'a dyn Fn(MemberId) -> MemberId;

/// Where the words of a fingerprint go.
pub(crate) struct Print<'a> {
    pub(crate) rename: Rename<'a>,
    pub(crate) word: &'a mut dyn FnMut(i64),
    /// Whether waits that are over are told from those that are not.
    pub(crate) with_waits: bool,
}

impl Print<'_> {
    pub(crate) fn word(&mut self, word: i64) {
        (self.word)(word);
    }

    pub(crate) fn flag(&mut self, flag: bool) {
        self.word(i64::from(flag));
    }

    pub(crate) fn term(&mut self, term: LeadershipTermId) {
        self.word(term.0);
    }

    pub(crate) fn at(&mut self, position: Position) {
        self.word(position.0);
    }

    pub(crate) fn member(&mut self, member: MemberId) {
        let name = (self.rename)(member);
        self.word(i64::from(name.0));
    }

    pub(crate) fn maybe_member(&mut self, member: Option<MemberId>) {
        match member {
            Some(member) => self.member(member),
            None => self.word(-1),
        }
    }

    /// One about an older record is dead: the log is left before that is the newest again.
    fn verified(&mut self, verified: Option<Verified>) {
        let Some(Verified { leader, term, log_term }) = verified else { return self.word(-1) };
        self.member(leader);
        self.term(term);
        self.term(log_term);
    }

    pub(crate) fn maybe_term(&mut self, term: Option<LeadershipTermId>) {
        self.word(term.map_or(-2, |term| term.0));
    }

    pub(crate) fn maybe_at(&mut self, position: Option<Position>) {
        self.word(position.map_or(-2, |position| position.0));
    }
}

impl Consensus {
    /// Hands the words that tell this core's situation from others to `word`.
    ///
    /// Without waits, cores are told apart as if all waits of a canvass were over, but for that of
    /// the way out (V2). Time-outs must be so long that they do not grow while elections fail.
    ///
    /// Only for a core without sessions, services, timers and requests of operators, whose queues
    /// are drained, that is told the same wall-clock time always and never hears twice at one time.
    #[doc(hidden)]
    pub fn fingerprint(&self, with_waits: bool, rename: Rename<'_>, word: &mut dyn FnMut(i64)) {
        let Self { ctx, election, is_log_refused: _ } = self;
        let mut print = Print { rename, word, with_waits };
        ctx.fingerprint(election, &mut print);
        election.fingerprint(ctx, &mut print);
    }

    /// The highest term that this member stood or voted for, or may be about to.
    #[doc(hidden)]
    #[must_use]
    pub fn candidate_term(&self) -> LeadershipTermId {
        self.ctx.candidate
    }

    /// Whether what has to wait for its time would find it come.
    #[doc(hidden)]
    #[must_use]
    pub fn is_escape_due(&self) -> bool {
        is_due(self.ctx.last_escape, self.ctx.config.timeouts.election_timeout, self.ctx.mono())
    }
}

impl PeerMessage {
    /// The words that tell this message from others. Two times, and where recordings are, are not
    /// among them.
    #[doc(hidden)]
    pub fn fingerprint(&self, rename: Rename<'_>, word: &mut dyn FnMut(i64)) {
        self.print(&mut Print { rename, word, with_waits: true });
    }
}

impl Context {
    fn fingerprint(&self, election: &Election, print: &mut Print<'_>) {
        let Self {
            config,
            now,
            random: _,
            terms,
            members,
            log,
            sessions: _,
            timers: _,
            services: _,
            control,
            out: _,
            counters: _,
            term,
            candidate,
            promise,
            loss,
            leader,
            role,
            exposed,
            notified,
            graceful,
            is_node_start: _,
            is_extended_canvass,
            last_leader_update,
            last_escape,
            failures: _,
            promise_span: _,
            verified,
            is_joined,
            halt,
            catchup_endpoints: _,
        } = self;
        // Below the base of a term a quorum position, and what is reported, moves nothing (L2, F4).
        let with_all = print.with_waits || config.rules != Rules::default();
        let leads = matches!(election, Election::Leader(_));
        let follows = matches!(election, Election::Follower(_));
        terms.fingerprint(print);
        members.fingerprint(self, election, print);
        let Log { recorded, position, published, time: _, session_id, recording_id: _ } = log;
        print.at(*recorded);
        print.at(*position);
        print.maybe_at(leads.then_some(*published));
        print.word(session_id.filter(|_| leads).map_or(-1, i64::from));
        print.word(control.state as i64);
        // Without a leader nobody reads the term of the last one: `candidate` is not below it.
        print.maybe_term((leads || follows).then_some(*term));
        print.term(*candidate);
        print.term(*promise);
        print.flag(loss.is_some());
        if let Some(Loss { cut, term, acknowledged }) = loss {
            print.maybe_at(*cut);
            print.term(*term);
            print.at(*acknowledged);
        }
        print.maybe_member(*leader);
        print.word(*role as i64);
        print.at(*exposed);
        let counts = |at: &&Position| follows && (with_all || **at >= election.base());
        print.maybe_at(Some(notified).filter(counts).copied());
        print.maybe_member(*graceful);
        if print.with_waits {
            let silence = config.timeouts.leader_heartbeat_timeout;
            print.flag(*is_extended_canvass);
            print.flag(*last_leader_update + silence <= now.mono);
        }
        if print.with_waits || !(leads || follows) {
            print.flag(is_due(*last_escape, config.timeouts.election_timeout, now.mono));
        }
        print.verified(verified.filter(|verified| verified.log_term >= terms.last()));
        print.flag(*is_joined);
        print.flag(halt.is_some());
    }
}

impl TermTable {
    fn fingerprint(&self, print: &mut Print<'_>) {
        if print.with_waits {
            for record in self.records() {
                print.term(record.term);
                print.at(record.base);
            }
        } else {
            // Holes say what the record above them says, but for those below the first.
            let first = self.records().first().map_or(0, |record| record.term.0);
            print.word(first);
            for id in first..=self.last().0 {
                print.maybe_at(self.base_of(LeadershipTermId(id)));
            }
        }
        print.word(-9);
    }
}

impl Members {
    /// Words of others count in two kinds of phases. Whose log is not newer than ours is all that
    /// a member without a leader reads of a view: its own log stays as it is until it forgets them.
    fn fingerprint(&self, ctx: &Context, election: &Election, print: &mut Print<'_>) {
        let timeout = ctx.silence();
        let with_all = print.with_waits || ctx.config.rules != Rules::default();
        let mut members: [Option<&Member>; 16] = [None; 16];
        for member in self.iter() {
            let name = (print.rename)(member.id).0;
            if let Some(slot) = usize::try_from(name).ok().and_then(|name| members.get_mut(name)) {
                *slot = Some(member);
            }
        }
        for member in members.into_iter().flatten() {
            let Member {
                id,
                view,
                vote,
                acknowledged,
                ready_position,
                last_heard,
                in_catchup: _,
                terminated: _,
            } = member;
            if *id == ctx.id() {
                print.word(-7);
                continue;
            }
            match election {
                Election::Leader(leader) if leader.is_in_service() => {
                    // What is not above the commit position moves nothing, nor is it announced.
                    print.at(acknowledged.unwrap_or(Position(0)).max(ctx.exposed));
                    let is_active = |heard: Nanos| heard + timeout > ctx.now.mono;
                    print.flag(last_heard.is_some_and(is_active));
                }
                Election::Leader(leader) => {
                    let counts = |at: &Position| with_all || *at >= leader.base;
                    print.maybe_at(acknowledged.filter(counts));
                    print.flag(ready_position.is_some_and(|at| at >= leader.base));
                    let is_active = |heard: Nanos| heard + timeout > ctx.now.mono;
                    print.flag(last_heard.is_some_and(is_active));
                }
                Election::Canvass(_)
                | Election::Nominate(_)
                | Election::CandidateBallot(_)
                | Election::FollowerBallot(_) => {
                    print.flag(view.is_some_and(|log| log <= ctx.own_log()));
                    if matches!(election, Election::CandidateBallot(_)) {
                        let counts = vote.filter(|(term, _)| *term == ctx.candidate);
                        print.word(counts.map_or(-1, |(_, vote)| i64::from(vote)));
                    }
                }
                Election::Starting
                | Election::Init
                | Election::Truncation(_)
                | Election::Follower(_)
                | Election::Halted => {}
            }
        }
    }
}
