//! Who runs next, and how far time jumps.
//!
//! An agent is stepped when it may have something to do: a datagram or the outcome of a background
//! job arrived for it, a deadline that it named has come, it did something the last time, or
//! another agent of its host did something since: they meet in shared memory, which wakes nobody.
//! Only when there is no such agent may time jump to what falls due next.

use std::mem;

use runtime::{EpochNanos, Nanos};

use crate::current::Addressee;
use crate::lock;
use crate::world::{EPOCH_START, HostId, Stepped, World};

impl World {
    /// Lets the agents of a host run in the next pass, because something was done to them from
    /// outside: a command in their memory, a file.
    pub fn wake(&mut self, host: HostId) {
        self.hosts[host.0].stamp += 1;
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
            host.stamp += 1;
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
        let Self { network, background, hosts, processes, .. } = self;
        let mut call = |addressee: Addressee| {
            let Addressee { host, process, agent } = addressee;
            let process = processes[process.0].as_mut();
            match process.zip(agent).and_then(|(process, agent)| process.agents.get_mut(agent)) {
                Some(agent) => agent.is_called = true,
                None => hosts[host.0].stamp += 1,
            }
        };
        lock(network).deliver(now, &mut call);
        // Jobs run outside the lock: they may open and close what lives behind it.
        let mut slowed = Vec::new();
        while let Some(due) = { lock(background).take_due(now) } {
            slowed.push(due.host().0);
            let finished = due.perform();
            let addressee = { lock(background).complete(finished) };
            addressee.into_iter().for_each(&mut call);
        }
        for host in slowed {
            // It took its time before.
            let _ = hosts[host].store.faults().take_spent();
        }
    }

    fn pass(&mut self) {
        let mut order = mem::take(&mut self.order);
        order.clear();
        for (index, process) in self.processes.iter().enumerate() {
            let Some(process) = process else { continue };
            if process.paused_until > self.now {
                continue;
            }
            let stamp = self.hosts[process.host.0].stamp;
            let agents = process.agents.iter().enumerate();
            let ready = agents.filter(|(_, it)| it.is_ready(stamp, self.now));
            order.extend(ready.map(|(agent, _)| (index, agent)));
        }
        self.rng.shuffle(&mut order);
        for &(process, agent) in &order {
            self.step_agent(process, agent);
        }
        self.order = order;
    }

    fn step_agent(&mut self, process_index: usize, agent: usize) {
        let Some(process) = &self.processes[process_index] else { return };
        let now = self.now(process.host);
        let Some(process) = &mut self.processes[process_index] else { return };
        let host = &mut self.hosts[process.host.0];
        let stepped = &mut process.agents[agent];
        self.current.set(Some(agent));
        let work = stepped.invoker.step(now);
        self.current.set(None);
        let spent = host.store.faults().take_spent();
        if spent.0 > 0 {
            stepped.until = (self.now + spent).max(host.stalled_until);
        }
        self.passes += 1;
        stepped.passes += 1;
        stepped.busy += u64::from(work.done > 0);
        stepped.overdue += u64::from(work.done == 0 && work.next_deadline <= now.mono);
        // Others may see what it did, and it may have more to do.
        host.stamp += u64::from(work.done > 0);
        stepped.is_called = work.done > 0;
        stepped.seen = host.stamp;
        stepped.wake_at = self.now + self.options.idle_max;
        if work.next_deadline != Nanos::MAX {
            stepped.wake_at = stepped.wake_at.min(host.clock.world(work.next_deadline));
        }
        if work.done > 0 {
            self.trace.mix_time(self.now);
            self.trace.mix(((process_index << 8) ^ agent) as u64);
            self.trace.mix(work.done as u64);
        }
    }

    /// When the first agent is to be stepped, if there is any.
    fn next_pass(&self) -> Nanos {
        let mut next = Nanos::MAX;
        for process in self.processes.iter().flatten() {
            let stamp = self.hosts[process.host.0].stamp;
            for agent in &process.agents {
                let is_called = agent.is_called || agent.seen != stamp;
                let at = if is_called { self.now } else { agent.wake_at };
                next = next.min(at.max(agent.until).max(process.paused_until));
            }
        }
        next
    }

    fn advance(&mut self, end: Nanos) {
        let options = &self.options;
        let soonest = self.now + options.tick_min;
        let agents = self.next_pass();
        let next = if agents <= self.now {
            let spread = (options.tick_max - options.tick_min).0.max(0).cast_unsigned();
            soonest + Nanos(self.rng.below(spread + 1).cast_signed())
        } else {
            let network = lock(&self.network).next_due();
            let background = lock(&self.background).next_due();
            network.min(background).min(agents).max(soonest)
        };
        self.now = if next == Nanos::MAX { soonest.min(end) } else { next.min(end) };
        let time = self.now.0.saturating_add(EPOCH_START);
        self.hosts.iter().for_each(|host| host.store.faults().set_time(EpochNanos(time)));
        lock(&self.network).set_now(self.now);
        lock(&self.background).set_now(self.now);
    }
}

impl Stepped {
    fn is_ready(&self, stamp: u64, now: Nanos) -> bool {
        self.until <= now && (self.is_called || self.seen != stamp || self.wake_at <= now)
    }
}
