//! Cluster: genuine clients, services, modules and tools with ours.

use coracle::runtime::Nanos;

use crate::cluster_tools::tool;
use crate::content::Content;
use crate::java::Peer;
use crate::members::{self, CONTAINER, Member, Plan, Side, WHOLE, WITHOUT_CONTAINER, counter};
use crate::ours_cluster::Session;
use crate::table::{OursOnTheirs, Seam, TheirsOnOurs};
use crate::{Setting, Test, echo, test};

/// The tests of this seam.
pub(crate) const TESTS: &[Test] = &[
    test(
        "their_client_keeps_its_session_when_our_leader_is_killed",
        &[(Seam::ClusterClient, TheirsOnOurs)],
        |setting| their_client_on_our_cluster(setting, (CONTENT, 10_000), 1),
    ),
    test(
        "their_client_sends_100_000_messages_across_three_leader_kills",
        &[(Seam::ClusterClient, TheirsOnOurs)],
        |setting| their_client_on_our_cluster(setting, (SHORT, 100_000), 3),
    ),
    test(
        "our_client_is_redirected_and_served_by_their_cluster",
        &[(Seam::ClusterClient, OursOnTheirs)],
        our_client_on_their_cluster,
    ),
    test(
        "their_service_runs_on_our_module",
        &[(Seam::Services, TheirsOnOurs), (Seam::Snapshots, TheirsOnOurs)],
        |setting| parted(setting, Side::Ours),
    ),
    test(
        "our_service_runs_on_their_module",
        &[(Seam::Services, OursOnTheirs), (Seam::Snapshots, OursOnTheirs)],
        |setting| parted(setting, Side::Theirs),
    ),
];

/// Messages of up to three frames.
pub(crate) const CONTENT: Content = Content { seed: 41, minimum: 0, maximum: 3_000 };
/// Messages of one frame.
const SHORT: Content = Content { seed: 42, minimum: 0, maximum: 500 };

/// Their client, with a driver of its own, of a cluster that it knows by these endpoints.
fn their_client(
    setting: &Setting,
    endpoints: String,
    (content, count): (Content, u64),
    marks: usize,
) -> Result<Peer, String> {
    let options = [
        ("dir", setting.work.join("client").display().to_string()),
        ("ingress", endpoints),
        ("count", count.to_string()),
        ("marks", marks.to_string()),
        ("seed", content.seed.to_string()),
        ("min", content.minimum.to_string()),
        ("max", content.maximum.to_string()),
        ("deadline", "240".to_string()),
    ];
    setting.java.start("cluster-client", &options)
}

/// The leader is killed so often while their client sends; whoever was killed comes back.
fn their_client_on_our_cluster(
    setting: &Setting,
    (content, count): (Content, u64),
    kills: usize,
) -> Result<String, String> {
    let plan = Plan::new(&setting.work, 3);
    let mut nodes = plan.start_all(setting, &[Side::Ours; 3])?;
    let leader = members::leader(&nodes)?;
    // It knows a follower only, which must tell it where the leader is.
    let known = plan.endpoints([(leader + 1) % plan.count()]);
    let mut client = their_client(setting, known, (content, count), kills)?;
    let session = client.expect("SESSION")?;
    if !session.ends_with(&format!("leader {leader}")) {
        return Err(format!("member {leader} leads, but the client has session {session}"));
    }
    let mut changes = Vec::new();
    for mark in 1..=kills {
        client.expect(&format!("MARK {mark} "))?;
        let leader = members::leader(&nodes)?;
        nodes.remove(leader).kill()?;
        let change = client.expect("NEW LEADER");
        changes.push(change.map_err(|cause| format!("{cause}{}", members::states(&nodes)))?);
        nodes.insert(leader, plan.start(setting, Side::Ours, leader, WHOLE)?);
        members::leader(&nodes)?;
        client.say("go")?;
    }
    let echoed = client.expect("ECHOED")?;
    client.expect("OK")?;
    let (executed, position) = members::agree(&nodes, count)?;
    if u64::try_from(executed) != Ok(count) {
        return Err(format!("{executed} were executed, not {count}"));
    }
    nodes.into_iter().try_for_each(Member::finish)?;
    Ok(format!(
        "session {session}, {kills} killed: {changes:?}; echoed {echoed}; all three executed \
         {executed} to position {position}"
    ))
}

fn our_client_on_their_cluster(setting: &Setting) -> Result<String, String> {
    const COUNT: u64 = 1_000;
    let plan = Plan::new(&setting.work, 3).with("aeron.cluster.session.timeout", "3s");
    let nodes = plan.start_all(setting, &[Side::Theirs; 3])?;
    let leader = members::leader(&nodes)?;
    let follower = (leader + 1) % plan.count();
    let node = nodes.get(follower).ok_or("no such member")?;
    let mut session = Session::open(node, plan.endpoints([follower]), CONTENT)?;
    if session.leader() != Some(leader) {
        return Err(format!("member {leader} leads, not {:?}", session.leader()));
    }
    session.echo(COUNT, || Ok(()))?;
    // Longer than a session lives without a sign of its client.
    session.keep(Nanos::from_secs(5))?;
    session.echo(1, || Ok(()))?;
    let (executed, position) = members::agree(&nodes, COUNT + 1)?;
    session.close();
    // Much sooner than it would end by itself.
    let gone = || nodes.iter().all(|node| node.sessions() == Some(0));
    members::until(&nodes, "the session is closed", gone)?;
    nodes.into_iter().try_for_each(Member::finish)?;
    Ok(format!(
        "redirected to member {leader}, {executed} echoes to position {position}, kept and closed"
    ))
}

/// Ends all parts of a member in order, as an operator would.
fn end(setting: &Setting, parts: Vec<Member>) -> Result<(), String> {
    if let Some(node) = parts.first() {
        tool(setting, node, "abort")?;
    }
    parts.into_iter().try_for_each(Member::finish)
}

/// A session with a single member, once its service has executed and restored so many messages,
/// some of them now.
fn serve(plan: &Plan, parts: &[Member], counts: [u64; 2]) -> Result<Session, String> {
    let node = parts.first().ok_or("no member")?;
    members::leader(std::slice::from_ref(node))?;
    let mut session = Session::open(node, plan.endpoints([0]), CONTENT)?;
    let echoed = session.echo(PARTED, || Ok(()));
    echoed.map_err(|cause| format!("{cause}{}", members::states(parts)))?;
    let counter = |type_id| node.counter(type_id).and_then(|it| u64::try_from(it).ok());
    let expected = counts.map(Some);
    let is_so = || [counter(echo::EXECUTED), counter(echo::RESTORED)] == expected;
    members::until(parts, &format!("executed, restored: {counts:?}"), is_so)?;
    Ok(session)
}

/// How many messages each life of a parted member echoes.
const PARTED: u64 = 300;

/// A node of one side with the service of the other: it serves, takes a snapshot, and comes back
/// from it; then with the service of the one side, which reads the snapshot of the other; then the
/// other side takes over the whole directory.
fn parted(setting: &Setting, side: Side) -> Result<String, String> {
    let other = if side == Side::Ours { Side::Theirs } else { Side::Ours };
    let plan = Plan::new(&setting.work, 1);
    let start = |service: Side| -> Result<Vec<Member>, String> {
        let node = plan.start(setting, side, 0, WITHOUT_CONTAINER)?;
        Ok(vec![node, plan.start(setting, service, 0, CONTAINER)?])
    };
    let parts = start(other)?;
    let mut session = serve(&plan, &parts, [PARTED, 0])?;
    let node = parts.first().ok_or("no member")?;
    tool(setting, node, "snapshot")?;
    let taken = || node.counter(counter::SNAPSHOTS) == Some(1) && node.is_in_service();
    members::until(&parts, "a snapshot is taken", taken)?;
    session.echo(PARTED, || Ok(()))?;
    session.close();
    end(setting, parts)?;
    let parts = start(other)?;
    serve(&plan, &parts, [3 * PARTED, PARTED])?.close();
    end(setting, parts)?;
    let parts = start(side)?;
    serve(&plan, &parts, [4 * PARTED, PARTED])?.close();
    end(setting, parts)?;
    let parts = vec![plan.start(setting, other, 0, WHOLE)?];
    serve(&plan, &parts, [5 * PARTED, PARTED])?.close();
    end(setting, parts)?;
    Ok(format!("{} echoes in 4 lives, each service restored {PARTED} of them", 5 * PARTED))
}
