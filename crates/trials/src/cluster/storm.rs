//! The world of one run: members and clients, their lives and ends.

use std::path::Path;
use std::sync::{Arc, Mutex};

use consensus::{Rules, Toggle};
use runtime::Nanos;
use runtime::random::Rng;
use sim::{HostId, ProcessId, Verdict, World};
use wire::counters::CounterTypeId;

use super::node::{self, DRIVER_DIRECTORY, View, driver_config};
use super::oracle::{Oracle, Phase};
use super::party::Party;
use super::plan::Plan;
use super::totals::Totals;
use super::votes::Votes;
use super::watch::Watch;
use super::{Failure, Outcome, Plant};
use crate::{counters, lock};

/// Answers to messages that were submitted since healing, without which it has not healed.
const FRESH: u64 = 100;
/// Longest time that a member may go on after syncs failed.
const END_BOUND: Nanos = Nanos::from_secs(1);
/// From how many failed syncs on it must not go on: one may be of a file that nobody needs yet.
const FAILURES: u64 = 3;
/// How long a snapshot may take after it was asked for.
const SNAPSHOT_SPAN: Nanos = Nanos::from_secs(3);
/// The counter by which a member is asked for a snapshot.
const CONTROL_TOGGLE: CounterTypeId = CounterTypeId(202);

/// What ails a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ailment {
    Full,
    FailingSync,
}

/// A member: its host outlives it.
pub(super) struct Member {
    pub(super) host: HostId,
    pub(super) id: Option<ProcessId>,
    /// When it starts again.
    pub(super) again: Nanos,
    pub(super) paused_until: Nanos,
    /// Looks at its disk from outside.
    watcher: ProcessId,
    /// What ails its disk, until when.
    pub(super) ailment: Option<(Ailment, Nanos)>,
    /// What has ailed its disk in the present life.
    pub(super) ailed: Option<Ailment>,
    /// How many operations its disk had refused before.
    pub(super) failed_before: u64,
    /// How many elections it had entered before.
    pub(super) elections_before: u64,
    /// When a failed sync was first seen.
    failed_at: Option<Nanos>,
}

/// A client process.
pub(super) struct Caller {
    pub(super) id: Option<ProcessId>,
    pub(super) again: Nanos,
    host: usize,
    pub(super) name: Arc<Mutex<Option<i64>>>,
}

/// The world of one run.
pub(super) struct Storm {
    seed: u64,
    rules: Rules,
    pub(super) world: World,
    pub(super) plan: Plan,
    pub(super) watch: Watch,
    pub(super) oracle: Arc<Mutex<Oracle>>,
    pub(super) votes: Arc<Mutex<Votes>>,
    pub(super) members: Vec<Member>,
    pub(super) callers: Vec<Caller>,
    caller_hosts: Vec<HostId>,
    next_snapshot: Nanos,
    last_snapshot: Nanos,
    pub(super) rng: Rng,
}

impl Storm {
    pub(super) fn new(seed: u64, plant: Plant) -> Result<Self, Failure> {
        let mut world = World::new(seed);
        let plan = Plan::draw(&mut world.rng("plan"));
        let mut rng = world.rng("storm");
        let hosts: Vec<_> = (0..plan.members + plan.client_hosts)
            .map(|host| world.add_host(&format!("host{host}"), &[Plan::address(host)]))
            .collect();
        let caller_hosts = hosts[plan.members..].to_vec();
        let members: Vec<_> = hosts[..plan.members]
            .iter()
            .map(|&host| Member {
                host,
                id: None,
                again: Nanos::from_millis(rng.below(800).cast_signed()),
                paused_until: Nanos(0),
                watcher: world.spawn(host, |_| Vec::new()),
                ailment: None,
                ailed: None,
                failed_before: 0,
                elections_before: 0,
                failed_at: None,
            })
            .collect();
        let callers = (0..plan.client_hosts * plan.clients).map(|caller| Caller {
            id: None,
            again: Nanos(0),
            host: caller % plan.client_hosts,
            name: Arc::default(),
        });
        let oracle = Arc::new(Mutex::new(Oracle::new(seed, plan.members)));
        let votes = Arc::new(Mutex::new(Votes::default()));
        let disks = members.iter().map(|member| world.ports(member.watcher)).collect();
        let mut storm = Self {
            seed,
            rules: plant.rules(Rules::default()),
            watch: Watch::new(Arc::clone(&oracle), Arc::clone(&votes), plan.quorum(), disks),
            callers: callers.collect(),
            world,
            plan,
            oracle,
            votes,
            members,
            caller_hosts,
            next_snapshot: Nanos::from_secs(1),
            last_snapshot: Nanos(0),
            rng,
        };
        storm.observe_votes();
        storm.start_drivers()?;
        Ok(storm)
    }

    /// Lets faults strike.
    pub(super) fn rage(&mut self, span: Nanos) -> Result<(), Failure> {
        let mut next_strike = Nanos::from_secs(2);
        while self.world.elapsed() < span {
            let slice = Nanos::from_millis(5 + self.rng.below(60).cast_signed());
            self.run(slice)?;
            self.strike_voters();
            if self.world.elapsed() >= next_strike {
                self.strike();
                let pause = 20 + self.rng.below(2 * self.plan.pause);
                next_strike = self.world.elapsed() + Nanos::from_millis(pause.cast_signed());
            }
            self.snapshot_when_due();
        }
        Ok(())
    }

    /// Waits until `count` more messages are answered.
    pub(super) fn serve(&mut self, count: u64, bound: Nanos) -> Result<(), Failure> {
        let wanted = lock(&self.oracle).totals.acknowledged + count;
        let end = self.world.elapsed() + bound;
        while lock(&self.oracle).totals.acknowledged < wanted {
            if self.world.elapsed() >= end {
                let what = format!("I-20: not served for {} ms", bound.as_millis());
                return Err(self.failure(what));
            }
            self.run(Nanos::from_millis(20))?;
        }
        Ok(())
    }

    /// Kills all members at once; each is back after a while of its own.
    pub(super) fn kill_all(&mut self) {
        lock(&self.oracle).totals.outages += 1;
        (0..self.members.len()).for_each(|member| self.end_member(member, 1_500, World::kill));
    }

    /// Ends all faults, then waits until all is answered and equal.
    pub(super) fn heal(&mut self, leader: Nanos, bound: Nanos) -> Result<(), Failure> {
        self.tell("faults end");
        self.world.heal();
        self.observe_votes();
        for member in 0..self.members.len() {
            self.cure(member);
            self.members[member].again = Nanos(0);
        }
        self.callers.iter_mut().for_each(|caller| caller.again = Nanos(0));
        lock(&self.oracle).phase = Phase::Calm;
        let began = self.world.elapsed();
        loop {
            if lock(&self.oracle).fresh >= FRESH {
                lock(&self.oracle).phase = Phase::Quiet;
            }
            let reasons = self.unhealed();
            let waited = self.world.elapsed() - began;
            if reasons.is_empty() {
                return Ok(());
            }
            let is_late = waited >= leader && self.watch.leader().is_none();
            if is_late || waited >= bound {
                let what = format!("I-20: {} ms after healing: {}", waited.as_millis(), reasons);
                return Err(self.failure(what));
            }
            self.run(Nanos::from_millis(20))?;
            self.snapshot_when_due();
        }
    }

    /// Goes on in peace to the end of the run, then compares all that is left.
    pub(super) fn rest(mut self, span: Nanos) -> Result<Outcome, Failure> {
        let terms = self.watch.terms();
        while self.world.elapsed() < span {
            self.run(Nanos::from_millis(200))?;
        }
        if self.watch.terms() != terms {
            return Err(self.failure("I-21: an election after all was well".to_string()));
        }
        self.watch.check_all();
        lock(&self.oracle).check_acknowledged();
        self.check()?;
        let reasons = self.unhealed();
        if !reasons.is_empty() {
            return Err(self.failure(format!("I-20: at the end: {reasons}")));
        }
        (0..self.members.len()).for_each(|member| self.watch.end(member));
        let oracle = lock(&self.oracle);
        let network = self.world.network_totals();
        let mut totals = oracle.totals;
        totals += Totals {
            votes: lock(&self.votes).count,
            datagrams: network.sent,
            lost: network.lost,
            burst_lost: network.burst_lost,
            duplicated: network.duplicated,
            reordered: network.reordered,
            cut: network.cut,
            ..Totals::default()
        };
        Ok(Outcome { totals, trace_hash: self.world.trace_hash() ^ oracle.hash() })
    }

    /// What still differs from a cluster in good health, as text; empty when nothing does.
    fn unhealed(&self) -> String {
        let oracle = lock(&self.oracle);
        let views = self.watch.views();
        let mut reasons = Vec::new();
        let count = |on: &dyn Fn(&View) -> bool| views.iter().filter(|view| on(view)).count();
        let leading = count(&|view| view.is_leading);
        if leading != 1 {
            reasons.push(format!("{leading} members lead"));
        }
        if count(&View::is_settled) < views.len() {
            reasons.push("an election is under way".to_string());
        }
        if oracle.fresh < FRESH {
            reasons.push(format!("{} fresh messages answered", oracle.fresh));
        }
        if oracle.unanswered() > 0 {
            reasons.push(format!("{} messages unanswered", oracle.unanswered()));
        }
        let pending = oracle.last().map_or(0, |last| last.pending);
        if pending > 0 {
            reasons.push(format!("{pending} timers and service messages to come"));
        }
        let committed: Vec<_> = views.iter().map(|view| view.commit).collect();
        if committed.iter().any(|&commit| commit != oracle.committed) {
            reasons.push(format!("commit positions {committed:?}"));
        }
        let applied: Vec<_> = oracle.members.iter().map(|member| member.count).collect();
        if applied.iter().any(|&applied| applied != oracle.count()) {
            reasons.push(format!("applied {applied:?} of {} events", oracle.count()));
        }
        reasons.join(", ")
    }

    pub(super) fn failure(&self, what: String) -> Failure {
        let story = lock(&self.oracle).story.iter().cloned().collect();
        Failure { seed: self.seed, at: self.world.elapsed(), what, story }
    }

    fn check(&self) -> Result<(), Failure> {
        let violation = lock(&self.oracle).violations.first().cloned();
        violation.map_or(Ok(()), |what| Err(self.failure(what)))
    }

    /// Goes into the story.
    pub(super) fn tell(&self, what: impl std::fmt::Display) {
        lock(&self.oracle).tell(what);
    }

    /// Starts who is due, then lets time pass and looks after each step.
    fn run(&mut self, span: Nanos) -> Result<(), Failure> {
        self.start_due()?;
        let Self { world, watch, .. } = self;
        let _ = world.run_until(|world| !watch.look(world.elapsed()), span);
        self.watch.look(self.world.elapsed());
        self.check()?;
        self.bury_ended()
    }

    fn observe_votes(&mut self) {
        let votes = Arc::clone(&self.votes);
        self.world.set_filter(move |passing| {
            lock(&votes).on_datagram(passing.bytes);
            Verdict::Pass
        });
    }

    fn start_drivers(&mut self) -> Result<(), Failure> {
        for &host in &self.caller_hosts {
            let now = self.world.now(host);
            let mut refusal = None;
            self.world.spawn(host, |ports| match driver::launch(driver_config(), ports, now) {
                Ok(agents) => vec![Box::new(agents.together())],
                Err(error) => {
                    refusal = Some(error.to_string());
                    Vec::new()
                }
            });
            if let Some(what) = refusal {
                return Err(self.failure(format!("driver of clients: {what}")));
            }
        }
        Ok(())
    }

    fn start_due(&mut self) -> Result<(), Failure> {
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
        let host = self.members[member].host;
        let now = self.world.now(host);
        let shared = (self.watch.begin(member), Arc::clone(&self.oracle));
        let is_one_thread = self.rng.chance(0.5);
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
        if let Some(what) = refusal {
            return Err(self.failure(format!("member {member} does not start: {what}")));
        }
        self.tell(format_args!("member {member} starts as {id:?}"));
        let failed_before = self.world.disk_faults(host).failed();
        let state = &mut self.members[member];
        *state = Member { id: Some(id), ailed: None, failed_at: None, failed_before, ..*state };
        Ok(())
    }

    /// The disk of a member works again.
    pub(super) fn cure(&mut self, member: usize) {
        let faults = self.world.disk_faults(self.members[member].host);
        faults.set_space(1 << 40);
        faults.fail_syncs(0);
        self.members[member].ailment = None;
    }

    /// A member's process ends, and begins anew after a while.
    pub(super) fn end_member(
        &mut self,
        member: usize,
        longest: u64,
        end: fn(&mut World, ProcessId),
    ) {
        let Some(id) = self.members[member].id.take() else { return };
        self.watch.end(member);
        end(&mut self.world, id);
        let span = Nanos::from_millis(self.rng.below(longest + 1).cast_signed());
        self.members[member].again = self.world.elapsed() + span;
        self.tell(format_args!("member {member} ends for {} ms", span.as_millis()));
    }

    /// The power of a member's host is cut, and is back after a while.
    pub(super) fn cut_power(&mut self, member: usize, longest: u64) {
        self.end_member(member, longest, |_, _| {});
        let host = self.members[member].host;
        self.world.power_cut(host);
        let watcher = self.world.spawn(host, |_| Vec::new());
        let ports = self.world.ports(watcher);
        // Shared memory is no disk. Nothing was there if it cannot be removed.
        let _ = ports.files.remove_tree(Path::new(DRIVER_DIRECTORY));
        self.watch.set_disk(member, ports);
        self.members[member].watcher = watcher;
    }

    /// Members may end by themselves only because of their disks, and must when a sync failed.
    fn bury_ended(&mut self) -> Result<(), Failure> {
        let now = self.world.elapsed();
        for member in 0..self.members.len() {
            let Member { host, id: Some(id), ailed, .. } = self.members[member] else { continue };
            if let Some((name, halt)) = self.world.halts(id).first() {
                self.tell(format_args!("member {member}: {name}: {halt}"));
                let Some(ailment) = ailed else {
                    return Err(self.failure(format!("member {member}: {name}: {halt}")));
                };
                match ailment {
                    Ailment::Full => lock(&self.oracle).totals.full_disk_ends += 1,
                    Ailment::FailingSync => lock(&self.oracle).totals.failed_sync_ends += 1,
                }
                self.end_member(member, 2_000, World::kill);
                continue;
            }
            let state = &mut self.members[member];
            let failed = self.world.disk_faults(host).failed() - state.failed_before;
            if ailed == Some(Ailment::FailingSync) && failed >= FAILURES {
                let elections = self.watch.views()[member].counters.elections;
                let at = *state.failed_at.get_or_insert(now);
                // What is copied from others is copied again, a snapshot is given up.
                let is_else =
                    elections != state.elections_before || at < self.last_snapshot + SNAPSHOT_SPAN;
                if now > at.max(state.paused_until) + END_BOUND && !is_else {
                    let what =
                        format!("I-11: member {member} goes on though {failed} syncs failed");
                    return Err(self.failure(what));
                }
            }
            if state.ailment.is_some_and(|(_, until)| until <= now) {
                self.cure(member);
            }
        }
        for caller in &self.callers {
            if let Some((name, halt)) = caller.id.and_then(|id| self.world.halts(id).pop()) {
                return Err(self.failure(format!("client: {name}: {halt}")));
            }
        }
        Ok(())
    }

    fn snapshot_when_due(&mut self) {
        if self.world.elapsed() < self.next_snapshot {
            return;
        }
        let pause = 100 + self.rng.below(2 * self.plan.snapshot_pause);
        self.next_snapshot = self.world.elapsed() + Nanos::from_millis(pause.cast_signed());
        let Some(leader) = self.watch.leader() else { return };
        let Member { host, watcher, .. } = self.members[leader];
        let Ok(counters) = counters::open(&self.world.ports(watcher), DRIVER_DIRECTORY) else {
            return;
        };
        let toggle = counters.records().find(|record| record.type_id == CONTROL_TOGGLE);
        if let Some(mut toggle) = toggle.and_then(|it| counters.writer_unchecked(it.id).ok())
            && toggle.reader().get() == Toggle::Neutral as i64
        {
            toggle.set_release(Toggle::Snapshot as i64);
            self.last_snapshot = self.world.elapsed();
            self.world.wake(host);
        }
    }
}
