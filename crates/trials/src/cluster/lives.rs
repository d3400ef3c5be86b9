//! The lives of members and clients: how they begin and end.

use std::path::Path;
use std::sync::{Arc, Mutex};

use runtime::Nanos;
use runtime::random::Rng;
use sim::{HostId, Image, ProcessId, World};

use super::node::{self, DRIVER_DIRECTORY};
use super::party::Party;
use super::storm::Storm;
use super::{Failure, Trouble};
use crate::lock;

/// Longest time that a member may go on after syncs failed.
const END_BOUND: Nanos = Nanos::from_secs(1);
/// From how many failed syncs on it must not go on: one may be of a file that nobody needs yet.
const FAILURES: u64 = 3;
/// How long a snapshot may take after it was asked for.
const SNAPSHOT_SPAN: Nanos = Nanos::from_secs(3);
/// From which time on who was not stepped may find that others have given it up.
const GIVEN_UP: Nanos = Nanos::from_secs(3);

/// A member: its host outlives it.
pub(super) struct Member {
    pub(super) host: HostId,
    pub(super) id: Option<ProcessId>,
    /// When it starts again.
    pub(super) again: Nanos,
    pub(super) paused_until: Nanos,
    /// Looks at its disk from outside.
    pub(super) watcher: ProcessId,
    /// What ails its disk, until when.
    pub(super) ailment: Option<(Trouble, Nanos)>,
    /// What has ailed it in the present life so that it may end by itself.
    pub(super) ailed: Option<Trouble>,
    /// How many operations its disk had refused before.
    pub(super) failed_before: u64,
    /// How many elections it had entered before.
    pub(super) elections_before: u64,
    /// When a failed sync was first seen.
    failed_at: Option<Nanos>,
    /// What its disk held when it began to call durable what is not.
    pub(super) truth: Option<Image>,
    /// What was copied of its files.
    pub(super) backup: Option<Image>,
    /// Whether it may end by itself, as a scenario lets it.
    pub(super) may_end: bool,
    pub(super) lives: u64,
}

/// Why a member does not start.
pub(super) struct Refusal(pub(super) String);

impl Member {
    pub(super) fn new(host: HostId, watcher: ProcessId, again: Nanos) -> Self {
        Self {
            host,
            id: None,
            again,
            paused_until: Nanos(0),
            watcher,
            ailment: None,
            ailed: None,
            failed_before: 0,
            elections_before: 0,
            failed_at: None,
            truth: None,
            backup: None,
            may_end: false,
            lives: 0,
        }
    }

    /// It is not stepped, or parts of it are not, for `span` from `now` on.
    pub(super) fn stands_still(&mut self, now: Nanos, span: Nanos, trouble: Trouble) {
        self.paused_until = self.paused_until.max(now + span);
        if span >= GIVEN_UP {
            self.ailed.get_or_insert(trouble);
        }
    }
}

/// A client process.
pub(super) struct Caller {
    pub(super) id: Option<ProcessId>,
    pub(super) again: Nanos,
    pub(super) host: usize,
    pub(super) name: Arc<Mutex<Option<i64>>>,
}

impl Caller {
    pub(super) fn new(host: usize) -> Self {
        Self { id: None, again: Nanos(0), host, name: Arc::default() }
    }
}

impl Storm {
    pub(super) fn start_due(&mut self) -> Result<(), Failure> {
        let now = self.world.elapsed();
        for member in 0..self.members.len() {
            if self.members[member].id.is_none() && self.members[member].again <= now {
                self.start_member(member)?;
            }
        }
        for caller in &mut self.callers {
            if caller.id.is_none() && caller.again <= now {
                let host = self.plan.members + caller.host;
                let (plan, shared) = (&self.plan, (self.oracle.clone(), caller.name.clone()));
                let id = self.world.spawn(self.caller_hosts[caller.host], |ports| {
                    vec![Box::new(Party::new(plan, host, shared, ports))]
                });
                caller.id = Some(id);
            }
        }
        Ok(())
    }

    fn start_member(&mut self, member: usize) -> Result<(), Failure> {
        self.cure(member);
        match self.try_start(member) {
            Err(_) if self.plan.is_hostile => {
                self.members[member].again = self.world.elapsed() + GIVEN_UP;
                Ok(())
            }
            Err(Refusal(what)) => {
                Err(self.failure(format!("member {member} does not start: {what}")))
            }
            Ok(()) => Ok(()),
        }
    }

    pub(super) fn try_start(&mut self, member: usize) -> Result<(), Refusal> {
        let host = self.members[member].host;
        let now = self.world.now(host);
        let shared = (self.watch.begin(member), Arc::clone(&self.oracle));
        let life = self.members[member].lives;
        let place = format!("life {life} of member {member}");
        let is_one_thread = self.world.rng(&place).chance(0.5);
        let (plan, rules) = (&self.plan, self.rules);
        let mut refusal = None;
        let id = self.world.spawn(host, |ports| {
            match node::node(plan, member, rules, shared, ports, now) {
                Ok(agents) if is_one_thread => node::one_thread(agents),
                Ok(agents) => agents,
                Err(error) => {
                    refusal = Some(error);
                    Vec::new()
                }
            }
        });
        self.members[member].lives += 1;
        if let Some(what) = refusal {
            self.world.kill(id);
            self.watch.end(member);
            return Err(Refusal(what));
        }
        self.tell(format_args!("member {member} starts as {id:?}"));
        self.watch.starts(member, self.world.elapsed());
        let failed_before = self.world.disk_faults(host).failed();
        let state = &mut self.members[member];
        state.id = Some(id);
        (state.ailed, state.failed_at, state.failed_before) = (None, None, failed_before);
        Ok(())
    }

    /// The disk of a member works again.
    pub(super) fn cure(&mut self, member: usize) {
        let host = self.members[member].host;
        self.world.cure_disk(host);
        if self.members[member].truth.take().is_some() {
            self.world.disk_faults(host).lie(false);
            self.world.settle_disk(host);
        }
        self.members[member].ailment = None;
    }

    /// Kills all members at once; each is back after a while of its own.
    pub(super) fn kill_all(&mut self, rng: &mut Rng) {
        self.count(Trouble::Outage);
        (0..self.members.len()).for_each(|it| self.end_member(it, 1_500, rng, World::kill));
    }

    /// A member's process ends, and begins anew after a while.
    pub(super) fn end_member(
        &mut self,
        member: usize,
        longest: u64,
        rng: &mut Rng,
        end: fn(&mut World, ProcessId),
    ) {
        let span = Nanos::from_millis(rng.below(longest + 1).cast_signed());
        let Some(id) = self.members[member].id.take() else { return };
        self.watch.end(member);
        end(&mut self.world, id);
        self.members[member].again = self.world.elapsed() + span;
        self.tell(format_args!("member {member} ends for {} ms", span.as_millis()));
    }

    /// The power of a member's host is cut, and is back after a while. Where its disk lied, all is
    /// gone since it began to, unless that would be more than others can make good.
    ///
    /// One whose disk has rotted since it started is only killed: what tells rot from what a power
    /// cut tore is not synced with each block.
    pub(super) fn cut_power(&mut self, member: usize, longest: u64, rng: &mut Rng) {
        if self.watch.is_rotten(member) {
            self.end_member(member, longest, rng, World::kill);
            return;
        }
        let is_recoverable = self.are_others_whole(member);
        let truth = self.members[member].truth.take();
        let host = self.members[member].host;
        if truth.is_some() {
            self.world.disk_faults(host).lie(false);
            self.world.settle_disk(host);
        }
        self.end_member(member, longest, rng, |_, _| {});
        self.world.power_cut(host);
        if let Some(truth) = truth.filter(|_| is_recoverable) {
            self.count(Trouble::LyingDisk);
            self.put_back(member, &truth);
        }
        self.look_anew(member);
    }

    /// A member's disk is looked at through other ports from here on; its shared memory is gone.
    pub(super) fn look_anew(&mut self, member: usize) {
        let host = self.members[member].host;
        let watcher = self.world.observer(host);
        let ports = self.world.ports(watcher);
        // Shared memory is no disk. Nothing was there if it cannot be removed.
        let _ = ports.files.remove_tree(Path::new(DRIVER_DIRECTORY));
        self.watch.set_disk(member, ports);
        self.members[member].watcher = watcher;
    }

    /// A member knows less than it did: what it said before binds nobody.
    pub(super) fn forget(&mut self, member: usize) {
        self.watch.forget(member);
        lock(&self.votes).forget(member);
    }

    /// Whether all other members are in service under one leader and have all that was committed,
    /// so that one may lose everything.
    pub(super) fn are_others_whole(&self, member: usize) -> bool {
        let committed = lock(&self.oracle).committed;
        let views = self.watch.views();
        let term = views.iter().map(|view| view.term).max().unwrap_or_default();
        let others = || (0..views.len()).filter(|it| *it != member);
        let is_whole = |other: usize| {
            let (state, view) = (&self.members[other], &views[other]);
            state.id.is_some()
                && state.truth.is_none()
                && !self.watch.is_rotten(other)
                && view.is_settled()
                && view.term == term
                && view.append >= committed
        };
        others().all(is_whole) && others().any(|other| views[other].is_leading)
    }

    /// Members may end by themselves only because of what ailed them, and must when a sync failed.
    pub(super) fn bury_ended(&mut self) -> Result<(), Failure> {
        let mut rng = self.world.rng(&format!("burial at {}", self.world.elapsed().0));
        for member in 0..self.members.len() {
            let Member { id: Some(id), ailed, .. } = self.members[member] else { continue };
            if let Some((name, halt)) = self.world.halts(id).first() {
                self.tell(format_args!("member {member}: {name}: {halt}"));
                let is_excused =
                    ailed.is_some() || self.members[member].may_end || self.watch.is_rotten(member);
                if !is_excused && !self.plan.is_hostile {
                    return Err(self.failure(format!("member {member}: {name}: {halt}")));
                }
                self.count_end(ailed);
                self.end_member(member, 2_000, &mut rng, World::kill);
                continue;
            }
            self.check_failed_sync(member)?;
            let now = self.world.elapsed();
            match self.members[member].ailment {
                Some((trouble, until)) if until <= now => {
                    // Such a disk shows what it is worth when the power goes.
                    if trouble == Trouble::LyingDisk && self.are_others_whole(member) {
                        self.cut_power(member, 2_000, &mut rng);
                    }
                    self.cure(member);
                }
                _ => {}
            }
        }
        for caller in &mut self.callers {
            if let Some((name, halt)) = caller.id.and_then(|id| self.world.halts(id).pop()) {
                if self.plan.is_hostile {
                    caller.id.take().into_iter().for_each(|id| self.world.kill(id));
                    continue;
                }
                return Err(self.failure(format!("client: {name}: {halt}")));
            }
        }
        Ok(())
    }

    fn count_end(&self, ailed: Option<Trouble>) {
        let totals = &mut lock(&self.oracle).totals;
        match ailed {
            Some(Trouble::FullDisk) => totals.full_disk_ends += 1,
            Some(Trouble::FailedSync) => totals.failed_sync_ends += 1,
            _ => totals.other_ends += 1,
        }
    }

    /// I-11: nobody goes on as if nothing had been when syncs fail.
    fn check_failed_sync(&mut self, member: usize) -> Result<(), Failure> {
        let now = self.world.elapsed();
        let state = &mut self.members[member];
        let failed = self.world.disk_faults(state.host).failed() - state.failed_before;
        if state.ailed != Some(Trouble::FailedSync) || failed < FAILURES {
            return Ok(());
        }
        let elections = self.watch.views()[member].counters.elections;
        let at = *state.failed_at.get_or_insert(now);
        // What is copied from others is copied again, a snapshot is given up.
        let is_else =
            elections != state.elections_before || at < self.last_snapshot + SNAPSHOT_SPAN;
        if now > at.max(state.paused_until) + END_BOUND && !is_else && !self.plan.is_hostile {
            let what = format!("I-11: member {member} goes on though {failed} syncs failed");
            return Err(self.failure(what));
        }
        Ok(())
    }
}
