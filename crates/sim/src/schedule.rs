//! Who runs next, and how far time jumps.
//!
//! Agents of one host meet in shared memory, which wakes nobody. So a host is stepped again and
//! again until a pass in which none of its agents did anything; only then may time jump to what
//! falls due next: a datagram, a background job, a deadline that an agent named.

use std::mem;

use runtime::{EpochNanos, Nanos};

use crate::lock;
use crate::world::{EPOCH_START, HostId, World};

impl World {
    /// Lets the agents of a host run in the next pass, because something was done to them from
    /// outside: a command in their memory, a file.
    pub fn wake(&mut self, host: HostId) {
        self.hosts[host.0].awake = true;
    }

    /// Steps the world for `span`.
    pub fn run_for(&mut self, span: Nanos) {
        let _ = self.run_until(|_| false, span);
    }

    /// Steps the world until `condition` holds, for at most `span`; returns whether it did.
    ///
    /// The condition is asked before the first step and after each. If it changes something that
    /// agents see, it calls [`World::wake`].
    pub fn run_until(&mut self, mut condition: impl FnMut(&mut Self) -> bool, span: Nanos) -> bool {
        let end = self.now + span;
        for host in &mut self.hosts {
            host.awake = true;
        }
        loop {
            if condition(self) {
                return true;
            }
            if self.now >= end {
                return false;
            }
            self.step_until(end);
        }
    }

    /// Delivers what is due, steps every agent that may have something to do once, in random order,
    /// and moves time on to what comes next.
    pub fn step(&mut self) {
        self.step_until(Nanos::MAX);
    }

    fn step_until(&mut self, end: Nanos) {
        self.deliver();
        self.pass();
        self.advance(end);
    }

    fn deliver(&mut self) {
        let now = self.now;
        let hosts = &mut self.hosts;
        lock(&self.network).deliver(now, |host: HostId| hosts[host.0].awake = true);
        // Jobs run outside the lock: they may open and close what lives behind it.
        while let Some(due) = { lock(&self.background).take_due(now) } {
            hosts[due.host().0].awake = true;
            let finished = due.perform();
            lock(&self.background).complete(finished);
        }
        for host in hosts {
            host.awake |= host.wake_at <= now;
        }
    }

    fn pass(&mut self) {
        let mut order = mem::take(&mut self.order);
        order.clear();
        for (index, process) in self.processes.iter().enumerate() {
            let Some(process) = process else { continue };
            if self.hosts[process.host.0].awake && process.paused_until <= self.now {
                order.extend((0..process.agents.len()).map(|agent| (index, agent)));
            }
        }
        self.rng.shuffle(&mut order);
        for host in self.hosts.iter_mut().filter(|host| host.awake) {
            host.done = 0;
            host.wake_at = self.now + self.options.idle_max;
        }
        for &(process, agent) in &order {
            self.step_agent(process, agent);
        }
        for host in &mut self.hosts {
            host.awake &= host.done > 0;
        }
        self.order = order;
    }

    fn step_agent(&mut self, process_index: usize, agent: usize) {
        let Some(process) = &self.processes[process_index] else { return };
        let now = self.now(process.host);
        let Some(process) = &mut self.processes[process_index] else { return };
        let host = &mut self.hosts[process.host.0];
        let stepped = &mut process.agents[agent];
        let work = stepped.invoker.step(now);
        self.passes += 1;
        stepped.passes += 1;
        stepped.busy += u64::from(work.done > 0);
        stepped.overdue += u64::from(work.done == 0 && work.next_deadline <= now.mono);
        host.done += work.done;
        if work.next_deadline != Nanos::MAX {
            host.wake_at = host.wake_at.min(work.next_deadline - host.mono_offset);
        }
        if work.done > 0 {
            self.trace.mix_time(self.now);
            self.trace.mix(((process_index << 8) ^ agent) as u64);
            self.trace.mix(work.done as u64);
        }
    }

    fn advance(&mut self, end: Nanos) {
        let options = &self.options;
        let soonest = self.now + options.tick_min;
        let next = if self.hosts.iter().any(|host| host.awake) {
            let spread = (options.tick_max - options.tick_min).0.max(0).cast_unsigned();
            soonest + Nanos(self.rng.below(spread + 1).cast_signed())
        } else {
            let network = lock(&self.network).next_due();
            let background = lock(&self.background).next_due();
            let hosts = self.hosts.iter().map(|host| host.wake_at).min();
            network.min(background).min(hosts.unwrap_or(Nanos::MAX)).max(soonest)
        };
        self.now = if next == Nanos::MAX { soonest.min(end) } else { next.min(end) };
        let time = self.now.0.saturating_add(EPOCH_START);
        self.hosts.iter().for_each(|host| host.store.faults().set_time(EpochNanos(time)));
        lock(&self.network).set_now(self.now);
        lock(&self.background).set_now(self.now);
    }
}
