//! Cluster: genuine clients, services, modules and tools with ours.

use coracle::runtime::Nanos;

use crate::content::Content;
use crate::java::Peer;
use crate::members::{self, CONTAINER, Member, Plan, Side, WHOLE, WITHOUT_CONTAINER, counter};
use crate::ours_cluster::Session;
use crate::{Setting, Test, member};

/// The tests of this seam.
pub(crate) const TESTS: &[Test] = &[
    ("their_client_keeps_its_session_when_our_leader_is_killed", their_client_on_our_cluster),
    ("our_client_is_redirected_and_served_by_their_cluster", our_client_on_their_cluster),
    ("their_service_runs_on_our_module", |setting| parted(setting, Side::Ours)),
    ("our_service_runs_on_their_module", |setting| parted(setting, Side::Theirs)),
];

/// Messages of up to three frames.
const CONTENT: Content = Content { seed: 41, minimum: 8, maximum: 3_000 };

/// The tool by which genuine Aeron looks at a member, and speaks to it.
const TOOL: &str = "io.aeron.cluster.ClusterTool";

/// Their client, with a driver of its own, of a cluster that it knows by these endpoints.
fn their_client(setting: &Setting, endpoints: String, count: u64) -> Result<Peer, String> {
    let options = [
        ("dir", setting.work.join("client").display().to_string()),
        ("ingress", endpoints),
        ("count", count.to_string()),
        ("seed", CONTENT.seed.to_string()),
        ("min", CONTENT.minimum.to_string()),
        ("max", CONTENT.maximum.to_string()),
        ("deadline", "120".to_string()),
    ];
    setting.java.start("cluster-client", &options)
}

fn their_client_on_our_cluster(setting: &Setting) -> Result<String, String> {
    const COUNT: u64 = 10_000;
    let plan = Plan::new(&setting.work, 3);
    let mut nodes = plan.start_all(setting, &[Side::Ours; 3])?;
    let leader = members::leader(&nodes)?;
    // It knows a follower only, which must tell it where the leader is.
    let known = plan.endpoints([(leader + 1) % plan.count()]);
    let mut client = their_client(setting, known, COUNT)?;
    let session = client.expect("SESSION")?;
    if !session.ends_with(&format!("leader {leader}")) {
        return Err(format!("member {leader} leads, but the client has session {session}"));
    }
    client.expect("HALFWAY")?;
    nodes.remove(leader).kill()?;
    let change = client.expect("NEW LEADER");
    let change = change.map_err(|cause| format!("{cause}{}", members::states(&nodes)))?;
    nodes.insert(leader, plan.start(setting, Side::Ours, leader, WHOLE)?);
    let echoed = client.expect("ECHOED")?;
    client.expect("OK")?;
    let (executed, position) = members::agree(&nodes, COUNT)?;
    if members::leader(&nodes)? == leader {
        return Err(format!("member {leader} leads again"));
    }
    nodes.into_iter().try_for_each(Member::finish)?;
    Ok(format!(
        "session {session}, killed, {change}; echoed {echoed}; all three executed {executed} \
         to position {position}"
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

/// What their tool says to a command about a member.
fn tool(setting: &Setting, member: &Member, command: &str) -> Result<String, String> {
    setting.java.run(TOOL, &[&member.cluster().display().to_string(), command])
}

/// A node of one side with the service of the other: it serves, takes a snapshot, and comes back
/// from it; then with the service of the one side, which reads the snapshot of the other.
fn parted(setting: &Setting, side: Side) -> Result<String, String> {
    const COUNT: u64 = 300;
    let other = if side == Side::Ours { Side::Theirs } else { Side::Ours };
    let plan = Plan::new(&setting.work, 1);
    let start = |service: Side| -> Result<[Member; 2], String> {
        let node = plan.start(setting, side, 0, WITHOUT_CONTAINER)?;
        Ok([node, plan.start(setting, service, 0, CONTAINER)?])
    };
    let end = |[node, service]: [Member; 2]| {
        tool(setting, &node, "abort")?;
        node.finish()?;
        service.finish()
    };
    let serve = |nodes: &[Member; 2], executed: u64, restored: u64| -> Result<Session, String> {
        let [node, _] = nodes;
        members::leader(std::slice::from_ref(node))?;
        let mut session = Session::open(node, plan.endpoints([0]), CONTENT)?;
        let echoed = session.echo(COUNT, || Ok(()));
        echoed.map_err(|cause| format!("{cause}{}", members::states(nodes)))?;
        let expected = [Some(executed), Some(restored)];
        let is_so = || {
            let counter = |type_id| node.counter(type_id).and_then(|it| u64::try_from(it).ok());
            [counter(member::EXECUTED), counter(member::RESTORED)] == expected
        };
        members::until(nodes, &format!("executed, restored: {expected:?}"), is_so)?;
        Ok(session)
    };
    let nodes = start(other)?;
    let mut session = serve(&nodes, COUNT, 0)?;
    let [node, _] = &nodes;
    tool(setting, node, "snapshot")?;
    let taken = || node.counter(counter::SNAPSHOTS) == Some(1) && node.is_in_service();
    members::until(&nodes, "a snapshot is taken", taken)?;
    session.echo(COUNT, || Ok(()))?;
    session.close();
    end(nodes)?;
    let nodes = start(other)?;
    serve(&nodes, 3 * COUNT, COUNT)?.close();
    end(nodes)?;
    let nodes = start(side)?;
    serve(&nodes, 4 * COUNT, COUNT)?.close();
    end(nodes)?;
    Ok(format!("{} echoes in 3 lives, each service restored {COUNT} of them", 4 * COUNT))
}
