//! What befalls members, clients, links and disks.

use runtime::Nanos;
use runtime::random::Rng;
use sim::{Delay, LinkFaults, World};

use super::plan::{Trouble, index};
use super::storm::{Ailment, Storm};
use crate::lock;

/// Longest time in milliseconds until a member that went away is back.
const AWAY: u64 = 4_000;

impl Storm {
    /// Lets one trouble strike, of those that this run has.
    pub(super) fn strike(&mut self) {
        // What was cut is mended more often than anything is cut.
        if self.plan.troubles.is_empty() || self.rng.chance(0.25) {
            self.tell("mended");
            self.world.mend();
            return;
        }
        let which = index(&mut self.rng, self.plan.troubles.len());
        let member = self.victim();
        self.tell(format_args!("{:?} (member {member})", self.plan.troubles[which]));
        match self.plan.troubles[which] {
            Trouble::Links => self.strike_links(),
            Trouble::Cut => self.strike_way(member),
            Trouble::Partition => self.strike_partition(member),
            Trouble::Kill => {
                lock(&self.oracle).totals.kills += 1;
                self.end_member(member, AWAY, World::kill);
            }
            // These are struck when they vote.
            Trouble::KillVoter => {}
            Trouble::Stop => {
                lock(&self.oracle).totals.stops += 1;
                self.end_member(member, AWAY, World::stop);
            }
            Trouble::Outage => self.strike_all(),
            Trouble::PowerCut => {
                lock(&self.oracle).totals.power_cuts += 1;
                self.cut_power(member, AWAY);
            }
            Trouble::Pause => self.strike_time(member),
            Trouble::FullDisk => self.strike_disk(member, Ailment::Full),
            Trouble::FailedSync => self.strike_disk(member, Ailment::FailingSync),
            Trouble::Clock => {
                let span = Nanos::from_millis(self.rng.below(600).cast_signed() - 300);
                self.world.shift_wall_clock(self.members[member].host, span);
                lock(&self.oracle).totals.clock_shifts += 1;
            }
            Trouble::KillClient => self.strike_client(),
        }
    }

    /// Any member, the leader more often.
    fn victim(&mut self) -> usize {
        let any = index(&mut self.rng, self.members.len());
        if self.rng.chance(0.4) { self.watch.leader().unwrap_or(any) } else { any }
    }

    /// Kills who has just voted, so that nothing but its disk knows of it.
    pub(super) fn strike_voters(&mut self) {
        let recent = std::mem::take(&mut lock(&self.votes).recent);
        if !self.plan.troubles.contains(&Trouble::KillVoter) {
            return;
        }
        for member in recent {
            if self.rng.chance(0.15) && self.members[member].id.is_some() {
                lock(&self.oracle).totals.vote_kills += 1;
                self.tell("a voter is killed");
                self.end_member(member, 100, World::kill);
            }
        }
    }

    fn strike_links(&mut self) {
        let faults = draw_faults(&mut self.rng);
        lock(&self.oracle).totals.delays += u64::from(faults.delay != Delay::LOCAL);
        self.world.set_links(faults);
    }

    /// Members and clients alike may lose a way to a member.
    fn strike_way(&mut self, member: usize) {
        let hosts: Vec<_> = self.world.hosts().collect();
        let other = hosts[index(&mut self.rng, hosts.len())];
        let host = self.members[member].host;
        if other != host {
            let (from, to) = if self.rng.chance(0.5) { (host, other) } else { (other, host) };
            self.world.cut(from, to);
            lock(&self.oracle).totals.one_way_cuts += 1;
        }
    }

    fn strike_partition(&mut self, member: usize) {
        let mut side = vec![self.members[member].host];
        let mut others: Vec<_> = (0..self.members.len()).filter(|&it| it != member).collect();
        self.rng.shuffle(&mut others);
        let more = index(&mut self.rng, self.members.len() - 1);
        side.extend(others.into_iter().take(more).map(|it| self.members[it].host));
        self.world.partition(&side);
        let is_leader = more == 0 && self.watch.leader() == Some(member);
        let totals = &mut lock(&self.oracle).totals;
        totals.partitions += 1;
        totals.leader_partitions += u64::from(is_leader);
    }

    fn strike_all(&mut self) {
        if !self.plan.troubles.contains(&Trouble::PowerCut) || self.rng.chance(0.5) {
            return self.kill_all();
        }
        lock(&self.oracle).totals.outages += 1;
        (0..self.members.len()).for_each(|member| self.cut_power(member, 1_500));
    }

    /// Mostly short; sometimes beyond every time-out of the members.
    fn strike_time(&mut self, member: usize) {
        let Some(id) = self.members[member].id else { return };
        let longest = if self.rng.chance(0.3) { 3_000 } else { 300 };
        let span = Nanos::from_millis(1 + self.rng.below(longest).cast_signed());
        self.world.pause(id, span);
        self.members[member].paused_until = self.world.elapsed() + span;
        lock(&self.oracle).totals.pauses += 1;
    }

    fn strike_disk(&mut self, member: usize, ailment: Ailment) {
        let state = &self.members[member];
        if state.id.is_none() || state.ailed.is_some() {
            return;
        }
        let faults = self.world.disk_faults(state.host);
        let failed_before = faults.failed();
        let totals = &mut lock(&self.oracle).totals;
        match ailment {
            Ailment::Full => {
                faults.set_space(faults.used() + self.rng.below(300 << 10));
                totals.full_disks += 1;
            }
            Ailment::FailingSync => {
                faults.fail_syncs(1_000);
                totals.failing_syncs += 1;
            }
        }
        let span = Nanos::from_millis(200 + self.rng.below(3_000).cast_signed());
        let until = self.world.elapsed() + span;
        let elections_before = self.watch.views()[member].counters.elections;
        let state = &mut self.members[member];
        state.elections_before = elections_before;
        (state.ailment, state.ailed) = (Some((ailment, until)), Some(ailment));
        state.failed_before = failed_before;
    }

    fn strike_client(&mut self) {
        let which = index(&mut self.rng, self.callers.len());
        let caller = &mut self.callers[which];
        let Some(id) = caller.id.take() else { return };
        self.world.kill(id);
        if let Some(client) = lock(&caller.name).take() {
            lock(&self.oracle).is_gone(client);
        }
        let span = Nanos::from_millis(self.rng.below(800).cast_signed());
        caller.again = self.world.elapsed() + span;
        lock(&self.oracle).totals.client_kills += 1;
    }
}

fn draw_faults(rng: &mut Rng) -> LinkFaults {
    let mut faults = LinkFaults::default();
    let mut maybe = |most: f64| if rng.chance(0.4) { rng.next_f64() * most } else { 0.0 };
    faults.loss = maybe(0.1);
    faults.burst = maybe(0.005);
    faults.duplicate = maybe(0.1);
    faults.reorder = maybe(0.1);
    let micros = |rng: &mut Rng, most| Nanos::from_micros(1 + rng.below(most).cast_signed());
    faults.delay = match rng.below(4) {
        0 | 1 => Delay::LOCAL,
        2 => Delay::Uniform { min: Nanos::from_micros(10), max: micros(rng, 5_000) },
        _ => Delay::Exponential { min: Nanos::from_micros(10), mean: micros(rng, 2_000) },
    };
    faults
}
