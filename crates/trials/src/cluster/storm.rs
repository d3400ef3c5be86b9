//! The world of one run: what is looked at in it, and how it ends.

use std::sync::{Arc, Mutex};

use consensus::{Rules, Toggle};
use runtime::Nanos;
use runtime::point;
use runtime::random::Rng;
use sim::{HostId, LinkFaults, Verdict, World};
use wire::counters::CounterTypeId;

use super::leaks::Base;
use super::lives::{Caller, Member};
use super::node::{DRIVER_DIRECTORY, View, driver_config};
use super::oracle::{Oracle, Phase};
use super::plan::{Plan, Trouble};
use super::scenario::Scenario;
use super::totals::Totals;
use super::votes::Votes;
use super::watch::Watch;
use super::{Failure, Outcome, Plant};
use crate::{counters, lock};

/// Answers to messages that were submitted since healing, without which it has not healed.
const FRESH: u64 = 100;
/// How long sessions of clients that are gone may stay: the time-out and what the cluster needs to
/// see it.
const SESSION_SPAN: Nanos = Nanos::from_secs(7);
/// How long after its clients a driver has let go of what was theirs.
const RELEASE_SPAN: Nanos = Nanos::from_secs(40);
/// The counter by which a member is asked for a snapshot.
const CONTROL_TOGGLE: CounterTypeId = CounterTypeId(202);

/// The world of one run.
pub(super) struct Storm {
    pub(super) rules: Rules,
    pub(super) world: World,
    pub(super) scenario: Scenario,
    pub(super) plan: Plan,
    pub(super) watch: Watch,
    pub(super) oracle: Arc<Mutex<Oracle>>,
    pub(super) votes: Arc<Mutex<Votes>>,
    pub(super) members: Vec<Member>,
    pub(super) callers: Vec<Caller>,
    pub(super) caller_hosts: Vec<HostId>,
    /// What the drivers of clients hold when there are no clients.
    bases: Vec<Base>,
    /// What the drivers of members hold, at most, when they have just begun to serve.
    member_base: Option<Base>,
    next_snapshot: Nanos,
    pub(super) last_snapshot: Nanos,
    /// How links are when nobody is singled out.
    pub(super) links: LinkFaults,
    /// How often each trouble struck, in their order.
    pub(super) struck: Vec<u64>,
    /// When snapshots are taken.
    snapshots: Rng,
    /// Which voters are killed.
    pub(super) voters: Rng,
}

impl Drop for Storm {
    fn drop(&mut self) {
        let _ = point::disarm();
    }
}

impl Storm {
    pub(super) fn new(scenario: &Scenario, plant: Plant) -> Result<Self, Failure> {
        let (seed, plan) = (scenario.seed, scenario.plan.clone());
        let mut world = World::new(seed);
        let mut rng = world.rng("begin");
        let hosts: Vec<_> = (0..plan.members + plan.client_hosts)
            .map(|host| world.add_host(&format!("host{host}"), &[Plan::address(host)]))
            .collect();
        let caller_hosts = hosts[plan.members..].to_vec();
        let mut begin = |host| {
            world.disk_faults(host).tear(plan.tears);
            let again = Nanos::from_millis(rng.below(800).cast_signed());
            Member::new(host, world.observer(host), again)
        };
        let members: Vec<_> = hosts[..plan.members].iter().map(|&host| begin(host)).collect();
        let callers = (0..plan.client_hosts * plan.clients)
            .map(|caller| Caller::new(caller % plan.client_hosts));
        let oracle = Arc::new(Mutex::new(Oracle::new(seed, plan.members)));
        let votes = Arc::new(Mutex::new(Votes::default()));
        let disks = members.iter().map(|member| world.ports(member.watcher)).collect();
        let chance = |chance: u64| chance as f64 / 1_000.0;
        point::arm(seed, |point| {
            plan.points.iter().find(|(it, _)| *it == point).map_or(0.0, |(_, it)| chance(*it))
        });
        let mut storm = Self {
            rules: plant.rules(Rules::default()),
            watch: Watch::new(Arc::clone(&oracle), Arc::clone(&votes), plan.quorum(), disks),
            callers: callers.collect(),
            scenario: scenario.clone(),
            snapshots: world.rng("snapshots"),
            voters: world.rng("voters"),
            world,
            plan,
            oracle,
            votes,
            members,
            caller_hosts,
            bases: Vec::new(),
            member_base: None,
            next_snapshot: Nanos::from_secs(1),
            last_snapshot: Nanos(0),
            links: LinkFaults::default(),
            struck: vec![0; Trouble::ALL.len()],
        };
        storm.observe_votes();
        storm.start_drivers()?;
        Ok(storm)
    }

    /// Lets faults strike.
    pub(super) fn rage(&mut self) -> Result<(), Failure> {
        let span = self.scenario.span();
        let mut slices = self.world.rng("slices");
        let strikes = self.scenario.strikes.clone();
        let mut strikes = strikes.into_iter().peekable();
        while self.world.elapsed() < span {
            let slice = Nanos::from_millis(5 + slices.below(60).cast_signed());
            self.run(slice)?;
            self.note_member_base();
            self.strike_voters();
            let is_due = |at: u64| Nanos::from_millis(at.cast_signed()) <= self.world.elapsed();
            if let Some(strike) = strikes.next_if(|strike| is_due(strike.at)) {
                self.strike(strike)?;
            }
            self.snapshot_when_due();
        }
        Ok(())
    }

    /// The links between hosts are as they are to be when nobody is singled out.
    pub(super) fn mend(&mut self) {
        self.world.mend();
        self.world.set_links(self.links);
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

    /// Ends all faults, then waits until all is answered and equal.
    pub(super) fn heal(&mut self, bound: Nanos) -> Result<(), Failure> {
        self.tell("faults end");
        self.world.heal();
        self.observe_votes();
        self.set_clocks();
        for member in 0..self.members.len() {
            self.cure(member);
            self.members[member].again = Nanos(0);
        }
        self.callers.iter_mut().for_each(|caller| caller.again = Nanos(0));
        lock(&self.oracle).phase = Phase::Calm;
        lock(&self.oracle).quirks.poison(&[], 0);
        let began = self.world.elapsed();
        // Who stands still goes on by itself.
        let still = self.members.iter().map(|member| member.paused_until);
        self.watch.heal(still.fold(began, Nanos::max));
        loop {
            if lock(&self.oracle).fresh >= FRESH {
                lock(&self.oracle).phase = Phase::Quiet;
            }
            let mut reasons = self.unhealed();
            let rotten = self.watch.rotten(self.world.elapsed());
            if !rotten.is_empty() && !self.plan.is_hostile {
                reasons = format!("{reasons} members {rotten:?} rotted");
            }
            let waited = self.world.elapsed() - began;
            if reasons.is_empty() {
                return Ok(());
            }
            let is_over = waited >= bound;
            if self.plan.is_hostile && is_over {
                return Ok(());
            }
            if is_over {
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
        let span = span.max(self.world.elapsed() + SESSION_SPAN);
        while self.world.elapsed() < span && !self.plan.is_hostile {
            self.run(Nanos::from_millis(200))?;
        }
        if !self.plan.is_hostile {
            if self.watch.terms() != terms {
                return Err(self.failure("I-21: an election after all was well".to_string()));
            }
            self.watch.check_all();
            let clients = self.callers.len();
            lock(&self.oracle).check_end(clients);
            self.check()?;
            let reasons = self.unhealed();
            if !reasons.is_empty() {
                return Err(self.failure(format!("I-20: at the end: {reasons}")));
            }
        }
        (0..self.members.len()).for_each(|member| self.watch.end(member));
        let invalid = self.close()?;
        let oracle = lock(&self.oracle);
        let network = self.world.network_totals();
        let mut totals = oracle.totals;
        totals += Totals {
            votes: lock(&self.votes).count,
            invalid,
            datagrams: network.sent,
            lost: network.lost,
            burst_lost: network.burst_lost,
            duplicated: network.duplicated,
            reordered: network.reordered,
            late: network.late,
            truncated: network.truncated,
            corrupted: network.corrupted,
            oversized: network.oversized,
            clogged: network.clogged,
            flapped: network.flapped,
            cut: network.cut,
            ..Totals::default()
        };
        let trace_hash = self.world.trace_hash() ^ oracle.hash();
        let struck = self.struck.clone();
        let healing = self.watch.healing.filter(|_| !self.plan.is_hostile);
        let (recovered, leaderless) =
            (healing.and_then(|it| it.recovered), healing.map(|it| it.leaderless));
        let points = point::disarm();
        Ok(Outcome { totals, struck, points, recovered, leaderless, trace_hash })
    }

    /// Takes down what the drivers of members hold once all are in service, before anything
    /// strikes.
    fn note_member_base(&mut self) {
        let is_in_service = |view: &View| view.is_settled();
        if self.member_base.is_some() || !self.watch.views().iter().all(is_in_service) {
            return;
        }
        let mut base = Base::default();
        for member in 0..self.members.len() {
            base.widen(&self.member_holds(member));
        }
        self.member_base = Some(base);
    }

    fn member_holds(&self, member: usize) -> Base {
        Base::of(&self.world.ports(self.members[member].watcher))
    }

    /// A member whose driver holds more than those of members did at first, and what.
    fn outgrown_member(&self) -> Option<String> {
        let base = self.member_base.as_ref().filter(|_| !self.plan.is_hostile)?;
        (0..self.members.len()).find_map(|member| {
            let what = base.outgrown_by(&self.member_holds(member))?;
            Some(format!("member {member}: {what}"))
        })
    }

    /// I-24: all clients end in order, and their drivers hold what they held before there were any,
    /// those of members no more than when they began to serve. Returns how many datagrams the
    /// drivers of clients found to be invalid.
    fn close(&mut self) -> Result<u64, Failure> {
        for id in self.callers.iter_mut().filter_map(|caller| caller.id.take()).collect::<Vec<_>>()
        {
            self.world.stop(id);
        }
        // A copy of a setup that comes late makes an image of a stream that is no more, for a time.
        let last_late = self.world.elapsed() + LinkFaults::default().late_span;
        loop {
            self.world.run_for(RELEASE_SPAN);
            let Some(what) = self.outgrown_member() else { break };
            if self.world.elapsed() >= last_late + RELEASE_SPAN {
                return Err(self.failure(format!("I-24: the driver of {what}")));
            }
        }
        for id in self.members.iter_mut().filter_map(|member| member.id.take()).collect::<Vec<_>>()
        {
            self.world.stop(id);
        }
        let mut invalid = 0;
        for (index, &host) in self.caller_hosts.iter().enumerate() {
            let observer = self.world.observer(host);
            let left = Base::of(&self.world.ports(observer));
            // A stream drains for as long as a receiver is there that does not read: with what a
            // hostile run leaves of a cluster that may be for ever.
            let kept = self.bases[index].exceeded_by(&left).filter(|_| !self.plan.is_hostile);
            if let Some(what) = kept {
                return Err(self.failure(format!("I-24: the driver of host {index} keeps {what}")));
            }
            invalid += left.invalid;
        }
        Ok(invalid)
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
        let seed = self.scenario.seed;
        Failure { seed, at: self.world.elapsed(), what, story }
    }

    fn check(&self) -> Result<(), Failure> {
        // Whatever members are told, they do not fill the disk with it.
        for (index, member) in self.members.iter().enumerate() {
            if let Some((path, length)) = self.world.overgrown(member.host) {
                let what = format!(
                    "I-27: member {index}: {} was to become {length} bytes long",
                    path.display()
                );
                return Err(self.failure(what));
            }
        }
        if self.plan.is_hostile {
            return Ok(());
        }
        let violation = lock(&self.oracle).violations.first().cloned();
        violation.map_or(Ok(()), |what| Err(self.failure(what)))
    }

    /// Goes into the story.
    pub(super) fn tell(&self, what: impl std::fmt::Display) {
        lock(&self.oracle).tell(what);
    }

    /// Starts who is due, then lets time pass and looks after each step.
    pub(super) fn run(&mut self, span: Nanos) -> Result<(), Failure> {
        self.start_due()?;
        let Self { world, watch, .. } = self;
        let is_hostile = self.plan.is_hostile;
        let _ = world.run_until(|world| !watch.look(world.elapsed()) && !is_hostile, span);
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
            let observer = self.world.observer(host);
            self.bases.push(Base::of(&self.world.ports(observer)));
        }
        Ok(())
    }

    pub(super) fn snapshot_when_due(&mut self) {
        if self.world.elapsed() < self.next_snapshot || self.plan.snapshot_pause == 0 {
            return;
        }
        let pause = 100 + self.snapshots.below(2 * self.plan.snapshot_pause);
        self.next_snapshot = self.world.elapsed() + Nanos::from_millis(pause.cast_signed());
        self.ask_for_snapshot();
    }

    /// The leader is asked for a snapshot as an operator asks.
    pub(super) fn ask_for_snapshot(&mut self) {
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
