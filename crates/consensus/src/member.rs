//! The members and their last words.

use alloc::vec::Vec;

use wire::position::Position;
use wire::time::Nanos;

use crate::id::{LeadershipTermId, MemberId};

/// What one member last said of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) id: MemberId,
    /// Log term and append position of its last canvass or vote; none before it spoke.
    pub(crate) view: Option<(LeadershipTermId, Position)>,
    /// Candidate term and vote of the ballot of this member.
    pub(crate) vote: Option<(LeadershipTermId, bool)>,
    /// Position that counts for the term this member leads (L2), or any at all without that rule.
    pub(crate) acknowledged: Option<Position>,
    /// Whether it reported with the term of the leader, so that readiness may count it (L3).
    pub(crate) ready_position: Option<Position>,
    /// When it was last heard in a way that shows it follows or canvasses.
    pub(crate) last_heard: Option<Nanos>,
    /// As the leader: a replay to this member runs.
    pub(crate) in_catchup: bool,
    /// As the terminating leader: it has acknowledged.
    pub(crate) terminated: bool,
}

/// All members, in the order of the configuration.
#[derive(Clone, Debug)]
pub(crate) struct Members {
    own: MemberId,
    members: Vec<Member>,
}

impl Members {
    pub(crate) fn new(own: MemberId, ids: &[MemberId]) -> Self {
        let member = |&id| Member {
            id,
            view: None,
            vote: None,
            acknowledged: None,
            ready_position: None,
            last_heard: None,
            in_catchup: false,
            terminated: false,
        };
        Self { own, members: ids.iter().map(member).collect() }
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.members.iter()
    }

    pub(crate) fn get_mut(&mut self, id: MemberId) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.id == id)
    }

    pub(crate) fn contains(&self, id: MemberId) -> bool {
        self.members.iter().any(|member| member.id == id)
    }

    /// The others, in order.
    pub(crate) fn others(&self) -> impl Iterator<Item = MemberId> + use<'_> {
        self.members.iter().map(|member| member.id).filter(|&id| id != self.own)
    }

    /// Forgets every word of everybody: a canvass or a ballot begins.
    pub(crate) fn forget_views(&mut self) {
        for member in &mut self.members {
            member.view = None;
            member.vote = None;
        }
    }

    /// Forgets what counts for a leader: leadership begins, all are given time to be heard.
    pub(crate) fn begin_leadership(&mut self, now: Nanos) {
        for member in &mut self.members {
            member.acknowledged = None;
            member.ready_position = None;
            member.last_heard = Some(now);
            member.in_catchup = false;
            member.terminated = false;
        }
    }

    pub(crate) fn forget_votes(&mut self) {
        for member in &mut self.members {
            member.vote = None;
        }
    }

    pub(crate) fn hear(&mut self, id: MemberId, log: (LeadershipTermId, Position), now: Nanos) {
        if let Some(member) = self.get_mut(id) {
            member.view = Some(log);
            member.last_heard = Some(now);
        }
    }

    fn is_active(&self, member: &Member, now: Nanos, timeout: Nanos) -> bool {
        member.id == self.own || member.last_heard.is_some_and(|heard| heard + timeout > now)
    }

    /// Whether a quorum of members, this one included, was heard within `timeout`.
    pub(crate) fn has_active_quorum(&self, now: Nanos, timeout: Nanos, quorum: usize) -> bool {
        self.members.iter().filter(|member| self.is_active(member, now, timeout)).count() >= quorum
    }

    /// The highest position that a quorum of active members has, 0 if there is no such quorum.
    pub(crate) fn quorum_position(
        &self,
        own: Option<Position>,
        now: Nanos,
        timeout: Nanos,
        quorum: usize,
    ) -> Position {
        let mut positions: Vec<Position> = self
            .members
            .iter()
            .filter(|member| self.is_active(member, now, timeout))
            .filter_map(|member| if member.id == self.own { own } else { member.acknowledged })
            .collect();
        positions.sort_unstable_by(|left, right| right.cmp(left));
        positions.get(quorum - 1).copied().unwrap_or(Position(0))
    }

    /// Whether a quorum of active members, this one included, is ready at `base` (L3).
    pub(crate) fn has_ready_quorum(
        &self,
        base: Position,
        now: Nanos,
        timeout: Nanos,
        quorum: usize,
    ) -> bool {
        let is_ready = |member: &&Member| {
            member.id == self.own
                || self.is_active(member, now, timeout)
                    && member.ready_position.is_some_and(|position| position >= base)
        };
        self.members.iter().filter(is_ready).count() >= quorum
    }

    fn would_vote(&self, member: &Member, own: (LeadershipTermId, Position)) -> bool {
        member.id == self.own || member.view.is_some_and(|log| log <= own)
    }

    /// Every member, except a leader that closed gracefully, would vote for `own`.
    pub(crate) fn is_unanimous_candidate(
        &self,
        own: (LeadershipTermId, Position),
        except: Option<MemberId>,
        quorum: usize,
    ) -> bool {
        self.all_but(except, quorum, |member| self.would_vote(member, own))
    }

    /// A quorum would vote for `own`.
    pub(crate) fn is_quorum_candidate(
        &self,
        own: (LeadershipTermId, Position),
        quorum: usize,
    ) -> bool {
        self.members.iter().filter(|member| self.would_vote(member, own)).count() >= quorum
    }

    /// Of all that were heard this one's log is the newest; of several, its id is the lowest.
    pub(crate) fn is_first_candidate(&self, own: (LeadershipTermId, Position)) -> bool {
        let is_before = |member: &Member| {
            member.view.is_some_and(|log| log > own || log == own && member.id < self.own)
        };
        !self.members.iter().any(is_before)
    }

    /// Every member, except a leader that closed gracefully, voted for this one in `term`.
    pub(crate) fn is_unanimous_leader(
        &self,
        term: LeadershipTermId,
        except: Option<MemberId>,
        quorum: usize,
    ) -> bool {
        self.all_but(except, quorum, |member| member.vote == Some((term, true)))
    }

    /// A quorum voted for this one in `term` and nobody against.
    pub(crate) fn is_quorum_leader(&self, term: LeadershipTermId, quorum: usize) -> bool {
        let count = |vote| self.members.iter().filter(|m| m.vote == Some((term, vote))).count();
        count(false) == 0 && count(true) >= quorum
    }

    /// Somebody voted against this one in `term`, or it has heard of that term from another.
    pub(crate) fn is_lost(&self, term: LeadershipTermId) -> bool {
        let stands = |member: &Member| member.id == self.own && member.vote == Some((term, true));
        !self.members.iter().any(stands)
            || self.members.iter().any(|member| member.vote == Some((term, false)))
    }

    fn all_but(
        &self,
        except: Option<MemberId>,
        quorum: usize,
        holds: impl Fn(&Member) -> bool,
    ) -> bool {
        let mut count = 0;
        for member in self.members.iter().filter(|member| Some(member.id) != except) {
            if !holds(member) {
                return false;
            }
            count += 1;
        }
        count >= quorum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Nanos = Nanos(100);

    fn three() -> Members {
        Members::new(MemberId(0), &[MemberId(0), MemberId(1), MemberId(2)])
    }

    fn log(term: i64, position: i64) -> (LeadershipTermId, Position) {
        (LeadershipTermId(term), Position(position))
    }

    #[test]
    fn the_quorum_position_is_the_lowest_of_the_highest_quorum_of_active_members() {
        let mut members = three();
        let own = Some(Position(96));
        let quorum = |members: &Members, now| members.quorum_position(own, Nanos(now), TIMEOUT, 2);
        assert_eq!(quorum(&members, 0), Position(0));
        members.begin_leadership(Nanos(0));
        members.get_mut(MemberId(1)).unwrap().acknowledged = Some(Position(64));
        assert_eq!(quorum(&members, 10), Position(64));
        members.get_mut(MemberId(2)).unwrap().acknowledged = Some(Position(128));
        assert_eq!(quorum(&members, 10), Position(96));
        assert_eq!(quorum(&members, 100), Position(0), "members that are silent do not count");
    }

    #[test]
    fn a_candidate_needs_members_whose_log_is_not_newer() {
        let mut members = three();
        assert!(!members.is_quorum_candidate(log(1, 64), 2));
        members.hear(MemberId(1), log(0, 960), Nanos(0));
        assert!(members.is_quorum_candidate(log(1, 64), 2));
        assert!(!members.is_unanimous_candidate(log(1, 64), None, 2));
        assert!(members.is_unanimous_candidate(log(1, 64), Some(MemberId(2)), 2));
        members.hear(MemberId(2), log(1, 96), Nanos(0));
        assert!(!members.is_unanimous_candidate(log(1, 64), None, 2));
    }

    #[test]
    fn the_first_candidate_has_the_newest_log_and_the_lowest_id() {
        let mut members = Members::new(MemberId(1), &[MemberId(0), MemberId(1), MemberId(2)]);
        members.hear(MemberId(1), log(1, 64), Nanos(0));
        assert!(members.is_first_candidate(log(1, 64)), "nobody else was heard");
        members.hear(MemberId(2), log(1, 64), Nanos(0));
        assert!(members.is_first_candidate(log(1, 64)));
        members.hear(MemberId(0), log(0, 96), Nanos(0));
        assert!(members.is_first_candidate(log(1, 64)));
        members.hear(MemberId(0), log(1, 64), Nanos(0));
        assert!(!members.is_first_candidate(log(1, 64)));
        members.hear(MemberId(0), log(1, 32), Nanos(0));
        members.hear(MemberId(2), log(1, 96), Nanos(0));
        assert!(!members.is_first_candidate(log(1, 64)));
    }

    #[test]
    fn one_vote_against_vetoes_a_win_that_is_not_unanimous() {
        let mut members = three();
        let term = LeadershipTermId(4);
        members.get_mut(MemberId(0)).unwrap().vote = Some((term, true));
        members.get_mut(MemberId(1)).unwrap().vote = Some((term, true));
        assert!(members.is_quorum_leader(term, 2) && !members.is_unanimous_leader(term, None, 2));
        assert!(!members.is_lost(term) && members.is_lost(LeadershipTermId(term.0 + 1)));
        members.get_mut(MemberId(2)).unwrap().vote = Some((term, false));
        assert!(!members.is_quorum_leader(term, 2) && members.is_lost(term));
    }
}
