//! Clusters of members of both sides, and members that go on as the other side.

use crate::cluster::CONTENT;
use crate::cluster_tools::tool;
use crate::log;
use crate::members::{self, Member, Plan, Side, WHOLE, counter};
use crate::ours;
use crate::ours_cluster::Session;
use crate::table::{Cell, OursOnTheirs, Seam, TheirsOnOurs};
use crate::{Setting, Test, long, test};

use Side::{Ours, Theirs};

/// The tests of these seams.
pub(crate) const TESTS: &[Test] = &[
    test("three_of_ours_are_a_cluster", &[], |setting| mixed(setting, [Ours; 3], 1)),
    test("two_of_ours_and_one_of_theirs_are_a_cluster", BOTH, |setting| {
        // Of equal logs ours of the lowest id stands first, and the others leave it the time to be
        // elected: with theirs first, it is theirs that has it.
        mixed(setting, [Theirs, Ours, Ours], 1)
    }),
    test("one_of_ours_and_two_of_theirs_are_a_cluster", BOTH, |setting| {
        mixed(setting, [Theirs, Ours, Theirs], 1)
    }),
    test("three_of_theirs_are_a_cluster", &[], |setting| mixed(setting, [Theirs; 3], 1)),
    test("members_go_on_as_the_other_side", EXCHANGE, exchange),
    long("three_of_ours_lose_their_leader_often", &[], |setting| mixed(setting, [Ours; 3], 5)),
    long("two_of_ours_and_one_of_theirs_lose_their_leader_often", BOTH, |setting| {
        mixed(setting, [Ours, Theirs, Ours], 5)
    }),
    long("one_of_ours_and_two_of_theirs_lose_their_leader_often", BOTH, |setting| {
        // A member of ours leaves an election to those with as much of the log and a lower id, if
        // they stand: as the last of three it would follow for ever.
        mixed(setting, [Ours, Theirs, Theirs], 5)
    }),
    long("three_of_theirs_lose_their_leader_often", &[], |setting| mixed(setting, [Theirs; 3], 5)),
];

/// Each side leads once in every mixed cluster.
const BOTH: &[Cell] = &[(Seam::Members, OursOnTheirs), (Seam::Members, TheirsOnOurs)];
const EXCHANGE: &[Cell] = &[
    (Seam::Exchange, OursOnTheirs),
    (Seam::Exchange, TheirsOnOurs),
    (Seam::Snapshots, OursOnTheirs),
    (Seam::Snapshots, TheirsOnOurs),
];

/// A client is idle while a process starts: on a busy machine that takes long.
pub(crate) const IDLE_MAX: &str = "60s";

/// A cluster of some of each, and a client with a driver of its own.
struct Scene<'a> {
    setting: &'a Setting,
    plan: Plan,
    sides: [Side; 3],
    nodes: Vec<Member>,
    session: Session,
    sent: u64,
    driver: coracle::Driver,
}

impl<'a> Scene<'a> {
    fn start(setting: &'a Setting, sides: [Side; 3]) -> Result<Self, String> {
        let plan = Plan::new(&setting.work, 3).with("aeron.cluster.session.timeout", IDLE_MAX);
        let nodes = plan.start_all(setting, &sides)?;
        let leader = members::leader(&nodes)?;
        let aeron = setting.work.join("client");
        let driver = ours::start_driver(&aeron, 0.0)?;
        // It knows a follower only.
        let session = Session::open_by(&aeron, plan.endpoints([(leader + 1) % 3]), CONTENT)?;
        Ok(Self { setting, plan, sides, nodes, session, sent: 0, driver })
    }

    /// Sends messages, does something to the members in the middle of them, and takes all echoes.
    fn under_load(
        &mut self,
        count: u64,
        act: impl FnOnce(&mut Vec<Member>) -> Result<(), String>,
    ) -> Result<(), String> {
        let Self { session, nodes, .. } = self;
        let echoed = session.echo(count, || act(nodes));
        self.sent += count;
        echoed.map_err(|cause| format!("{cause}{}", members::states(&self.nodes)))
    }

    /// Ends a member in order, under load, and starts it as one of this side.
    fn restart(&mut self, id: usize, side: Side) -> Result<(), String> {
        self.under_load(200, |nodes| nodes.remove(id).finish())?;
        self.sides[id] = side;
        let node = self.plan.start(self.setting, side, id, WHOLE)?;
        self.nodes.insert(id, node);
        self.under_load(200, |_| Ok(()))?;
        members::leader(&self.nodes)?;
        self.agree()
    }

    /// Kills the leader under load, and starts it again; returns whose it was.
    fn lose_leader(&mut self, count: u64) -> Result<Side, String> {
        let leader = members::leader(&self.nodes)?;
        let changes = self.session.leader_changes();
        self.under_load(count, |nodes| nodes.remove(leader).kill())?;
        if self.session.leader_changes() == changes {
            return Err(format!("member {leader} led and was killed, and the client did not hear"));
        }
        let side = self.sides[leader];
        if side == Theirs {
            // Theirs takes the files of one that died only after its last sign of life is that
            // old.
            self.session.keep(coracle::runtime::Nanos::from_secs(11))?;
        }
        let node = self.plan.start(self.setting, side, leader, WHOLE)?;
        self.nodes.insert(leader, node);
        self.under_load(count, |_| Ok(()))?;
        members::leader(&self.nodes)?;
        Ok(side)
    }

    fn agree(&self) -> Result<(), String> {
        let (executed, _) = members::agree(&self.nodes, self.sent)?;
        if u64::try_from(executed) != Ok(self.sent) {
            return Err(format!("{executed} were executed, not {}", self.sent));
        }
        Ok(())
    }

    /// Ends all; their logs must be equal. Returns what came of it.
    fn close(self) -> Result<String, String> {
        let Self { plan, nodes, session, sent, driver, .. } = self;
        members::leader(&nodes)?;
        let again = session.sent_again();
        let (_, position) = members::agree(&nodes, sent)?;
        session.close();
        nodes.into_iter().try_for_each(Member::finish)?;
        driver.close().map_err(|error| error.to_string())?;
        let logs = (0..plan.count()).map(|id| log::read(&plan.home(id), position));
        let logs = logs.collect::<Result<Vec<_>, _>>()?;
        for id in 1..plan.count() {
            log::compare(&logs[0], &logs[id]).map_err(|at| format!("logs of 0 and {id}: {at}"))?;
        }
        Ok(format!("{sent} executed once each, {again} sent again, logs equal to {position}"))
    }
}

/// How often a leader is ended until each side has led.
const CHANGES_MAX: usize = 8;

/// Members of both sides elect a leader, serve, and lose it to SIGKILL; they serve on, and it comes
/// back: so often. Then leaders are ended until each side has led. All have the same log.
fn mixed(setting: &Setting, sides: [Side; 3], kills: usize) -> Result<String, String> {
    const COUNT: u64 = 1_000;
    let mut scene = Scene::start(setting, sides)?;
    scene.under_load(COUNT, |_| Ok(()))?;
    let mut led = Vec::new();
    for _ in 0..kills {
        led.push(scene.lose_leader(COUNT)?);
    }
    let is_mixed = sides.contains(&Ours) && sides.contains(&Theirs);
    for _ in 0..CHANGES_MAX {
        let leader = members::leader(&scene.nodes)?;
        led.push(sides[leader]);
        if !is_mixed || led.contains(&Ours) && led.contains(&Theirs) {
            break;
        }
        scene.restart(leader, sides[leader])?;
    }
    if is_mixed && !(led.contains(&Ours) && led.contains(&Theirs)) {
        return Err(format!("only these led: {led:?}"));
    }
    scene.under_load(COUNT, |_| Ok(()))?;
    scene.agree()?;
    let facts = scene.close()?;
    Ok(format!("{led:?} led; {facts}"))
}

/// Three of ours become three of theirs, one by one and under load, and ours again; each goes on
/// from the files of the other, from a snapshot of the other too.
fn exchange(setting: &Setting) -> Result<String, String> {
    let mut scene = Scene::start(setting, [Ours; 3])?;
    scene.under_load(1_000, |_| Ok(()))?;
    for side in [Theirs, Ours] {
        let leader = members::leader(&scene.nodes)?;
        tool(setting, &scene.nodes[leader], "snapshot")?;
        let nodes = &scene.nodes;
        let taken = || {
            let all = |node: &Member| node.counter(counter::SNAPSHOTS) == Some(1);
            nodes.iter().all(all) && nodes.iter().all(Member::is_in_service)
        };
        members::until(nodes, "a snapshot is taken", taken)?;
        scene.under_load(300, |_| Ok(()))?;
        // The leader goes last.
        for id in [(leader + 1) % 3, (leader + 2) % 3, leader] {
            scene.restart(id, side)?;
        }
    }
    let facts = scene.close()?;
    Ok(format!("6 members went on as the other side; {facts}"))
}
