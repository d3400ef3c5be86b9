//! What befalls members, clients and links.

use runtime::Nanos;
use runtime::random::Rng;
use sim::{Delay, LinkFaults, World};

use super::plan::{Trouble, index};
use super::scenario::Strike;
use super::storm::Storm;
use super::{Failure, node};
use crate::lock;

/// Longest time in milliseconds until a member that went away is back.
const AWAY: u64 = 4_000;
/// Most that a wall clock is set forward or back, in seconds.
const CLOCK_SPAN: u64 = 3_600;

impl Storm {
    /// Lets one trouble strike.
    pub(super) fn strike(&mut self, strike: Strike) -> Result<(), Failure> {
        let rng = &mut self.scenario.rng(strike);
        let member = self.victim(rng);
        let trouble = strike.trouble;
        self.tell(format_args!("{trouble:?} (member {member})"));
        match trouble {
            Trouble::Mend => {
                self.mend();
                self.count(trouble);
            }
            Trouble::Links | Trouble::Late | Trouble::Truncate | Trouble::Corrupt => {
                self.strike_links(trouble, rng);
            }
            Trouble::Mtu | Trouble::Cut | Trouble::Clog | Trouble::Flap => {
                self.strike_way(trouble, member, rng);
            }
            Trouble::Swizzle => self.strike_ways(member, rng),
            Trouble::Partition => self.strike_partition(member, rng),
            Trouble::Chain | Trouble::Ring | Trouble::Bridge => self.strike_shape(trouble, rng),
            Trouble::Kill => self.strike_process(trouble, member, rng, World::kill),
            Trouble::Stop => self.strike_process(trouble, member, rng, World::stop),
            Trouble::Outage => self.strike_all(rng),
            Trouble::PowerCut => {
                self.count(trouble);
                self.cut_power(member, AWAY, rng);
            }
            Trouble::Pause | Trouble::Freeze | Trouble::Starve => {
                self.strike_time(trouble, member, rng);
            }
            Trouble::FullDisk
            | Trouble::FailedSync
            | Trouble::FailedWrite
            | Trouble::FailedRead
            | Trouble::ShortWrite
            | Trouble::SlowDisk
            | Trouble::StalledDisk
            | Trouble::LyingDisk
            | Trouble::RotRead
            | Trouble::Misdirect => self.strike_disk(trouble, member, rng),
            Trouble::Rot | Trouble::Wipe | Trouble::Restore => {
                self.strike_files(trouble, member, rng);
            }
            Trouble::Twice => return self.strike_twice(member, rng),
            Trouble::Clock | Trouble::Drift => self.strike_clock(trouble, member, rng),
            Trouble::KillClient => self.strike_client(rng),
        }
        Ok(())
    }

    /// A trouble has struck.
    pub(super) fn count(&mut self, trouble: Trouble) {
        self.struck[trouble as usize] += 1;
    }

    /// Any member, the leader more often.
    fn victim(&mut self, rng: &mut Rng) -> usize {
        let any = index(rng, self.members.len());
        if rng.chance(0.4) { self.watch.leader().unwrap_or(any) } else { any }
    }

    /// Kills who has just voted, so that nothing but its disk knows of it.
    pub(super) fn strike_voters(&mut self) {
        let recent = std::mem::take(&mut lock(&self.votes).recent);
        if !self.plan.voters {
            return;
        }
        let mut rng = self.voters.clone();
        for member in recent {
            if rng.chance(0.15) && self.members.get(member).is_some_and(|it| it.id.is_some()) {
                lock(&self.oracle).totals.vote_kills += 1;
                self.tell("a voter is killed");
                self.end_member(member, 100, &mut rng, World::kill);
            }
        }
        self.voters = rng;
    }

    fn strike_process(
        &mut self,
        trouble: Trouble,
        member: usize,
        rng: &mut Rng,
        end: fn(&mut World, sim::ProcessId),
    ) {
        if self.members[member].id.is_some() {
            self.count(trouble);
            self.end_member(member, AWAY, rng, end);
        }
    }

    fn strike_links(&mut self, trouble: Trouble, rng: &mut Rng) {
        let links = self.links;
        self.links = match trouble {
            Trouble::Late => LinkFaults { late: rng.next_f64() * 0.01, ..links },
            Trouble::Truncate => LinkFaults { truncate: rng.next_f64() * 0.05, ..links },
            Trouble::Corrupt => LinkFaults { corrupt: rng.next_f64() * 0.05, ..links },
            _ => draw_faults(rng, links),
        };
        lock(&self.oracle).totals.delays += u64::from(self.links.delay != Delay::LOCAL);
        self.count(trouble);
        self.world.set_links(self.links);
    }

    /// Members and clients alike may lose a way to a member.
    fn strike_way(&mut self, trouble: Trouble, member: usize, rng: &mut Rng) {
        let hosts: Vec<_> = self.world.hosts().collect();
        let other = hosts[index(rng, hosts.len())];
        let host = self.members[member].host;
        if other == host {
            return;
        }
        let (from, to) = if rng.chance(0.5) { (host, other) } else { (other, host) };
        let span = draw_span(rng, 100, 6_000);
        match trouble {
            Trouble::Mtu => {
                let mtu = index(rng, 1_400).max(64);
                self.world.set_link(from, to, LinkFaults { mtu, ..self.links });
            }
            Trouble::Clog => self.world.clog(from, to, Nanos(0), span),
            Trouble::Flap => {
                // Around the time-out of leaders, on both ways.
                let half = Nanos::from_millis(50 + rng.below(800).cast_signed());
                self.world.flap(from, to, half, span);
                self.world.flap(to, from, half, span);
            }
            _ => self.world.cut(from, to),
        }
        self.count(trouble);
    }

    /// The ways to and from a member are clogged one after the other, and open in another order.
    fn strike_ways(&mut self, member: usize, rng: &mut Rng) {
        let host = self.members[member].host;
        let others = self.world.hosts().filter(|it| *it != host);
        let ways = others.flat_map(|other| [(host, other), (other, host)]);
        for (number, (from, to)) in (0..).zip(ways.collect::<Vec<_>>()) {
            let after = Nanos::from_millis(number * 50);
            let span = draw_span(rng, 200, 3_000);
            self.world.clog(from, to, after, span);
        }
        self.count(Trouble::Swizzle);
    }

    fn strike_partition(&mut self, member: usize, rng: &mut Rng) {
        let mut side = vec![self.members[member].host];
        let mut others: Vec<_> = (0..self.members.len()).filter(|&it| it != member).collect();
        rng.shuffle(&mut others);
        let more = index(rng, self.members.len() - 1);
        side.extend(others.into_iter().take(more).map(|it| self.members[it].host));
        self.world.partition(&side);
        let is_leader = more == 0 && self.watch.leader() == Some(member);
        lock(&self.oracle).totals.leader_partitions += u64::from(is_leader);
        self.count(Trouble::Partition);
    }

    /// Cuts all ways between members but those of a shape.
    fn strike_shape(&mut self, trouble: Trouble, rng: &mut Rng) {
        let mut hosts: Vec<_> = self.members.iter().map(|member| member.host).collect();
        rng.shuffle(&mut hosts);
        let count = hosts.len();
        let middle = count / 2;
        let is_way = |one: usize, two: usize| match trouble {
            Trouble::Chain => two - one == 1,
            Trouble::Ring => two - one == 1 || two - one == count - 1,
            _ => one == middle || two == middle || (one < middle) == (two < middle),
        };
        for one in 0..count {
            for two in one + 1..count {
                if !is_way(one, two) {
                    self.world.cut(hosts[one], hosts[two]);
                    self.world.cut(hosts[two], hosts[one]);
                }
            }
        }
        self.count(trouble);
    }

    fn strike_all(&mut self, rng: &mut Rng) {
        if self.plan.sync == archive::config::SyncLevel::None || rng.chance(0.5) {
            return self.kill_all(rng);
        }
        // Where one disk lied, nobody is left to make it good.
        (0..self.members.len()).for_each(|member| self.cure(member));
        self.count(Trouble::Outage);
        (0..self.members.len()).for_each(|member| self.cut_power(member, 1_500, rng));
    }

    /// Mostly short; sometimes beyond every time-out of the members.
    fn strike_time(&mut self, trouble: Trouble, member: usize, rng: &mut Rng) {
        let Some(id) = self.members[member].id else { return };
        let longest = [300, 300, 3_000, 12_000][index(rng, 4)];
        let longest = if trouble == Trouble::Pause { longest.min(3_000) } else { longest };
        let span = draw_span(rng, 1, longest);
        let now = self.world.elapsed();
        match trouble {
            Trouble::Pause => self.world.pause(id, span),
            Trouble::Freeze => self.world.freeze(self.members[member].host, span),
            _ => {
                let agent = index(rng, self.world.agent_count(id));
                self.world.pause_agent(id, agent, span);
            }
        }
        if trouble == Trouble::Freeze {
            let state = &mut self.members[member];
            state.paused_until = state.paused_until.max(now + span);
        } else {
            self.members[member].stands_still(now, span, trouble);
        }
        self.count(trouble);
    }

    /// A second process is started on what a member holds; it must be refused.
    fn strike_twice(&mut self, member: usize, rng: &mut Rng) -> Result<(), Failure> {
        let state = &self.members[member];
        if state.id.is_none() || state.ailed.is_some() {
            return Ok(());
        }
        let host = state.host;
        let now = self.world.now(host);
        let intrusion = node::Intrusion::ALL[index(rng, node::Intrusion::ALL.len())];
        let plan = &self.plan;
        let mut refusal = None;
        let id = self.world.spawn(host, |ports| {
            refusal = intrusion.refusal(plan, member, ports, now);
            Vec::new()
        });
        self.world.kill(id);
        self.count(Trouble::Twice);
        match refusal {
            Some(what) => {
                self.tell(format_args!("refused: {what}"));
                Ok(())
            }
            None => Err(self.failure(format!("I-26: {intrusion:?} of member {member} was let in"))),
        }
    }

    fn strike_clock(&mut self, trouble: Trouble, member: usize, rng: &mut Rng) {
        let host = self.members[member].host;
        if trouble == Trouble::Drift {
            let parts = i32::try_from(rng.below(2_001)).unwrap_or_default() - 1_000;
            self.world.set_clock_drift(host, parts);
        } else {
            let longest = if rng.chance(0.8) { 300 } else { CLOCK_SPAN * 1_000 };
            let span = rng.below(2 * longest).cast_signed() - longest.cast_signed();
            self.world.shift_wall_clock(host, Nanos::from_millis(span));
        }
        self.count(trouble);
    }

    /// All clocks show what the foremost shows, and no less than the cluster's time: nobody sees
    /// time go back or stand still.
    pub(super) fn set_clocks(&mut self) {
        let hosts: Vec<_> = self.world.hosts().collect();
        let cluster = lock(&self.oracle)
            .last()
            .map_or(0, |last| last.time.saturating_add(1).saturating_mul(1_000_000));
        let clocks = hosts.iter().map(|&host| self.world.now(host).epoch.0);
        let foremost = clocks.chain([cluster]).max();
        for host in hosts {
            self.world.set_clock_drift(host, 0);
            let span = foremost.unwrap_or_default() - self.world.now(host).epoch.0;
            self.world.shift_wall_clock(host, Nanos(span));
        }
    }

    pub(super) fn strike_client(&mut self, rng: &mut Rng) {
        let which = index(rng, self.callers.len());
        let caller = &mut self.callers[which];
        let Some(id) = caller.id.take() else { return };
        self.world.kill(id);
        if let Some(client) = lock(&caller.name).take() {
            lock(&self.oracle).is_gone(client);
        }
        caller.again = self.world.elapsed() + draw_span(rng, 0, 800);
        self.count(Trouble::KillClient);
    }
}

/// Between two numbers of milliseconds.
pub(super) fn draw_span(rng: &mut Rng, least: u64, most: u64) -> Nanos {
    Nanos::from_millis((least + rng.below(most - least + 1)).cast_signed())
}

fn draw_faults(rng: &mut Rng, links: LinkFaults) -> LinkFaults {
    let mut faults = links;
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
