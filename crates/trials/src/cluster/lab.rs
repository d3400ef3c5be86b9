//! A cluster for scenarios that are written by hand: what happens is said step by step, and all
//! that a trial checks is checked all the time.

use std::path::Path;

use runtime::Nanos;
use runtime::random::Rng;
use sim::{HostId, Image, World};

use super::plan::Trouble;
use super::scenario::Scenario;
use super::storm::Storm;
use super::{Failure, HEAL_BOUND, Outcome, Plant};
use crate::lock;

/// What a member is seen to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Whether it leads.
    pub is_leading: bool,
    /// Its term.
    pub term: i64,
    /// How far it has committed.
    pub commit: i64,
    /// How far it has recorded.
    pub append: i64,
    /// How often it entered an election in its present life.
    pub elections: u64,
    /// Whether it lost a part of its log and has not regained it.
    pub is_lossy: bool,
}

/// Members and clients, and a hand on them.
pub struct Lab {
    pub(super) storm: Storm,
    rng: Rng,
}

impl Lab {
    /// So many members and one client; nothing strikes by itself.
    ///
    /// # Errors
    /// The first violation.
    pub fn new(seed: u64, members: usize) -> Result<Self, Failure> {
        Self::with(seed, members, |_| {})
    }

    /// The same, with every change to the scenario that its text can name.
    ///
    /// # Errors
    /// The first violation.
    ///
    /// # Panics
    /// When a line names no setting.
    pub fn with_settings(seed: u64, members: usize, settings: &str) -> Result<Self, Failure> {
        Self::with(seed, members, |scenario| {
            for line in settings.lines() {
                assert!(scenario.take_line(line).is_some(), "{line:?} is no setting");
            }
        })
    }

    fn with(
        seed: u64,
        members: usize,
        change: impl FnOnce(&mut Scenario),
    ) -> Result<Self, Failure> {
        let mut scenario = Scenario::calm(seed);
        scenario.plan.members = members;
        (scenario.plan.clients, scenario.plan.client_hosts) = (1, 1);
        change(&mut scenario);
        let storm = Storm::new(&scenario, Plant::Nothing)?;
        Ok(Self { storm, rng: Rng::new(seed, "lab") })
    }

    /// Lets time pass, in milliseconds.
    ///
    /// # Errors
    /// The first violation.
    pub fn run(&mut self, millis: i64) -> Result<(), Failure> {
        let end = self.storm.world.elapsed() + Nanos::from_millis(millis);
        while self.storm.world.elapsed() < end {
            let left = end - self.storm.world.elapsed();
            self.storm.run(left.min(Nanos::from_millis(20)))?;
            self.storm.snapshot_when_due();
        }
        Ok(())
    }

    /// Waits until `holds`, for at most so many milliseconds; returns whether it does.
    ///
    /// # Errors
    /// The first violation.
    pub fn wait(
        &mut self,
        millis: i64,
        mut holds: impl FnMut(&Self) -> bool,
    ) -> Result<bool, Failure> {
        let end = self.storm.world.elapsed() + Nanos::from_millis(millis);
        while !holds(self) {
            if self.storm.world.elapsed() >= end {
                return Ok(false);
            }
            self.storm.run(Nanos::from_millis(5))?;
        }
        Ok(true)
    }

    /// Waits until somebody leads whom more than half follow; returns who.
    ///
    /// # Errors
    /// The first violation, or that nobody leads in time.
    pub fn leader(&mut self) -> Result<usize, Failure> {
        self.leader_within(15_000)
    }

    /// The same, within so many milliseconds.
    ///
    /// # Errors
    /// The first violation, or that nobody leads in time.
    pub fn leader_within(&mut self, millis: i64) -> Result<usize, Failure> {
        self.wait(millis, |lab| lab.storm.watch.leader().is_some())?;
        let leader = self.storm.watch.leader();
        leader.ok_or_else(|| self.storm.failure(format!("I-20: no leader after {millis} ms")))
    }

    /// Who leads now, if anybody does.
    #[must_use]
    pub fn leading(&self) -> Option<usize> {
        self.storm.watch.leader()
    }

    /// Waits until so many more messages are answered.
    ///
    /// # Errors
    /// The first violation, or that they are not answered in time.
    pub fn serve(&mut self, count: u64) -> Result<(), Failure> {
        self.storm.serve(count, HEAL_BOUND)
    }

    /// How many messages were answered so far.
    #[must_use]
    pub fn answered(&self) -> u64 {
        lock(&self.storm.oracle).totals.acknowledged
    }

    /// How many terms had a leader so far.
    #[must_use]
    pub fn terms(&self) -> usize {
        self.storm.watch.terms()
    }

    /// How far anybody has committed.
    #[must_use]
    pub fn committed(&self) -> i64 {
        lock(&self.storm.oracle).committed
    }

    /// What each member is seen to be.
    #[must_use]
    pub fn members(&self) -> Vec<Seen> {
        let views = self.storm.watch.views().into_iter();
        views
            .map(|view| Seen {
                is_leading: view.is_leading,
                term: view.term,
                commit: view.commit,
                append: view.append,
                elections: view.counters.elections,
                is_lossy: view.is_lossy,
            })
            .collect()
    }

    /// All members but these.
    #[must_use]
    pub fn others(&self, than: &[usize]) -> Vec<usize> {
        (0..self.storm.members.len()).filter(|member| !than.contains(member)).collect()
    }

    /// A member is killed and stays away.
    pub fn kill(&mut self, member: usize) {
        self.end(member, World::kill);
    }

    /// A member ends in order and stays away.
    pub fn stop(&mut self, member: usize) {
        self.end(member, World::stop);
    }

    fn end(&mut self, member: usize, end: fn(&mut World, sim::ProcessId)) {
        self.storm.end_member(member, 0, &mut self.rng, end);
        self.storm.members[member].again = Nanos::MAX;
    }

    /// The power of a member is cut, and stays so.
    pub fn cut_power(&mut self, member: usize) {
        self.storm.cut_power(member, 0, &mut self.rng);
        self.storm.members[member].again = Nanos::MAX;
    }

    /// A member that is away starts again.
    pub fn start(&mut self, member: usize) {
        self.storm.members[member].again = Nanos(0);
    }

    /// A member that is away loses all that it had.
    pub fn wipe(&mut self, member: usize) {
        self.put_back(member, &Image::default());
    }

    /// A copy of all that a member has.
    #[must_use]
    pub fn copy(&self, member: usize) -> Image {
        self.storm.copy_of(member)
    }

    /// A member that is away has what it had when the copy was made.
    pub fn put_back(&mut self, member: usize, copy: &Image) {
        self.storm.put_back(member, copy);
        self.storm.look_anew(member);
    }

    /// Members on one side, all else on the other.
    pub fn part(&mut self, side: &[usize]) {
        let side: Vec<_> = side.iter().map(|&member| self.host(member)).collect();
        self.storm.world.partition(&side);
    }

    /// Nothing goes from one member to another.
    pub fn cut(&mut self, from: usize, to: usize) {
        let (from, to) = (self.host(from), self.host(to));
        self.storm.world.cut(from, to);
    }

    /// Nothing goes from a member to anybody, or from anybody to it.
    pub fn silence(&mut self, member: usize, hears: bool) {
        let host = self.host(member);
        for other in self.storm.world.hosts().filter(|it| *it != host).collect::<Vec<_>>() {
            let (from, to) = if hears { (host, other) } else { (other, host) };
            self.storm.world.cut(from, to);
        }
    }

    /// All ways of a member come and go, each `half` milliseconds, for `span`.
    pub fn flap(&mut self, member: usize, half: i64, span: i64) {
        let (half, span) = (Nanos::from_millis(half), Nanos::from_millis(span));
        let host = self.host(member);
        for other in self.storm.world.hosts().filter(|it| *it != host).collect::<Vec<_>>() {
            self.storm.world.flap(host, other, half, span);
            self.storm.world.flap(other, host, half, span);
        }
    }

    /// What was cut is whole again.
    pub fn mend(&mut self) {
        self.storm.mend();
    }

    /// A member is not stepped for so many milliseconds.
    pub fn pause(&mut self, member: usize, millis: i64) {
        let span = Nanos::from_millis(millis);
        let now = self.storm.world.elapsed();
        let state = &mut self.storm.members[member];
        state.stands_still(now, span, Trouble::Pause);
        if let Some(id) = state.id {
            self.storm.world.pause(id, span);
        }
    }

    /// A member's host stands still, clocks and all.
    pub fn freeze(&mut self, member: usize, millis: i64) {
        let (host, span) = (self.host(member), Nanos::from_millis(millis));
        let state = &mut self.storm.members[member];
        state.paused_until = state.paused_until.max(self.storm.world.elapsed() + span);
        self.storm.world.freeze(host, span);
    }

    /// A member's wall clock is set.
    pub fn set_clock(&mut self, member: usize, millis: i64) {
        let host = self.host(member);
        self.storm.world.shift_wall_clock(host, Nanos::from_millis(millis));
    }

    /// A member's clocks run fast or slow, by so many parts in a million.
    pub fn drift(&mut self, member: usize, parts: i32) {
        let host = self.host(member);
        self.storm.world.set_clock_drift(host, parts);
    }

    /// A trouble of its disk befalls a member.
    pub fn ail(&mut self, member: usize, trouble: Trouble) {
        self.storm.strike_disk(trouble, member, &mut self.rng);
    }

    /// A bit flips in what is below `root` of a member's files; returns whether one was found.
    pub fn rot(&mut self, member: usize, root: &str) -> bool {
        let host = self.host(member);
        self.storm.watch.rots(member, self.storm.world.elapsed());
        self.storm.world.rot(host, |path| path.starts_with(Path::new(root))).is_some()
    }

    /// A client is killed; the next one comes soon.
    pub fn kill_client(&mut self) {
        self.storm.strike_client(&mut self.rng);
    }

    /// Snapshots are taken as soon as may be.
    pub fn ask_for_snapshot(&mut self) {
        self.storm.ask_for_snapshot();
    }

    /// How many snapshots of the service were written so far, by all members.
    #[must_use]
    pub fn snapshots(&self) -> u64 {
        lock(&self.storm.oracle).snapshots_written
    }

    pub(super) fn host(&self, member: usize) -> HostId {
        self.storm.members[member].host
    }

    /// Everything heals; then all that must hold in the end is checked.
    ///
    /// # Errors
    /// The first violation.
    pub fn finish(mut self) -> Result<Outcome, Failure> {
        self.storm.heal(HEAL_BOUND)?;
        self.storm.rest(Nanos(0))
    }
}
