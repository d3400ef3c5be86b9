//! Cluster: genuine clients, services, modules and tools with ours.

use coracle::cluster::recording_log::RecordingLog;
use coracle::consensus::{SnapshotEntry, TermRecord};
use coracle::os::files::OsFiles;
use coracle::runtime::Nanos;

use crate::content::Content;
use crate::java::Peer;
use crate::log;
use crate::members::{self, CONTAINER, Member, Plan, Side, WHOLE, WITHOUT_CONTAINER, counter};
use crate::ours_cluster::Session;
use crate::{Setting, Test, member};

/// The tests of this seam.
pub(crate) const TESTS: &[Test] = &[
    ("their_client_keeps_its_session_when_our_leader_is_killed", their_client_on_our_cluster),
    ("our_client_is_redirected_and_served_by_their_cluster", our_client_on_their_cluster),
    ("their_service_runs_on_our_module", |setting| parted(setting, Side::Ours)),
    ("our_service_runs_on_their_module", |setting| parted(setting, Side::Theirs)),
    ("their_tools_read_our_member", their_tools_on_our_member),
    ("two_of_ours_and_one_of_theirs_are_a_cluster", |setting| {
        mixed(setting, [Side::Ours, Side::Ours, Side::Theirs])
    }),
    ("one_of_ours_and_two_of_theirs_are_a_cluster", |setting| {
        mixed(setting, [Side::Theirs, Side::Ours, Side::Theirs])
    }),
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
    let directory = member.cluster().display().to_string();
    let words = std::iter::once(directory.as_str()).chain(command.split(' '));
    setting.java.run(TOOL, &words.collect::<Vec<_>>())
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
    let is_so = || [counter(member::EXECUTED), counter(member::RESTORED)] == expected;
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

fn their_tools_on_our_member(setting: &Setting) -> Result<String, String> {
    const COUNT: u64 = 50;
    let plan = Plan::new(&setting.work, 1);
    let nodes = plan.start_all(setting, &[Side::Ours])?;
    members::leader(&nodes)?;
    let node = nodes.first().ok_or("no member")?;
    let mut session = Session::open(node, plan.endpoints([0]), CONTENT)?;
    session.echo(COUNT, || Ok(()))?;
    tool(setting, node, "snapshot")?;
    let taken = || node.counter(counter::SNAPSHOTS) == Some(1) && node.is_in_service();
    members::until(&nodes, "a snapshot is taken", taken)?;
    let entries = recording_log(node)?;
    let own = format!("pid={}", node.pid());
    let authenticator = "authenticator='coracle_cluster::authentication::AcceptAll'";
    let parts = ["Type: CONSENSUS_MODULE", "Type: CONTAINER", "memberId=0", &own, authenticator];
    let terms: Vec<&str> = entries.iter().map(String::as_str).collect();
    let endpoint = format!("ingressEndpoint='{}'", plan.endpoints([0]).replace("0=", ""));
    let is_leading = ["leaderMemberId=0", "isLeader=true", &endpoint];
    let snapshot =
        ["Cluster Session: clusterSessionId=1 ", "Snapshot End: memberId=0 recordingId=2"];
    let expected: [(&str, &[&str]); 6] = [
        ("describe", &parts),
        ("recording-log", &terms),
        ("list-members", &is_leading),
        ("is-leader", &[]),
        ("errors", &["O distinct errors observed"]),
        ("describe-latest-cm-snapshot", &snapshot),
    ];
    for (command, facts) in expected {
        let said = tool(setting, node, command)?;
        let lacking = facts.iter().find(|fact| !said.contains(**fact));
        let has_errors = command == "errors" && said.contains("observations from");
        if lacking.is_some() || has_errors {
            return Err(format!("{command}: expected {lacking:?} in {said}"));
        }
    }
    let read = tool(setting, node, "recording-log")?.matches("Entry{").count();
    if read != entries.len() {
        return Err(format!("they read {read} entries of our recording.log, not {entries:?}"));
    }
    session.close();
    nodes.into_iter().try_for_each(Member::finish)?;
    Ok(format!("{} commands, {read} entries of recording.log", expected.len()))
}

/// The entries of a member's recording.log, as we read them and they print them.
fn recording_log(member: &Member) -> Result<Vec<String>, String> {
    let log = RecordingLog::open(&OsFiles, &member.cluster()).map_err(|error| error.to_string())?;
    let recording_id = log.recording_id().ok_or("the log has no recording")?.0;
    let term = |it: &TermRecord| {
        let (term, base) = (it.term.0, it.base.0);
        format!("recordingId={recording_id}, leadershipTermId={term}, termBaseLogPosition={base}, ")
    };
    let snapshot = |it: &SnapshotEntry| {
        let (term, position) = (it.term.0, it.position.0);
        let SnapshotEntry { recording_id, timestamp, service_id, .. } = it;
        format!(
            "recordingId={}, leadershipTermId={term}, termBaseLogPosition=0, \
             logPosition={position}, timestamp={timestamp}, serviceId={service_id}, type=SNAPSHOT, \
             isValid=true",
            recording_id.0
        )
    };
    let terms = log.terms();
    let snapshots = log.snapshots();
    Ok(terms.iter().map(term).chain(snapshots.iter().map(snapshot)).collect())
}

/// Members of both sides elect a leader, serve, lose it and serve on; then it comes back. All have
/// the same log.
fn mixed(setting: &Setting, sides: [Side; 3]) -> Result<String, String> {
    const COUNT: u64 = 1_000;
    let plan = Plan::new(&setting.work, 3);
    let mut nodes = plan.start_all(setting, &sides)?;
    let leader = members::leader(&nodes)?;
    let follower = (leader + 1) % plan.count();
    let node = nodes.get(follower).ok_or("no such member")?;
    let mut session = Session::open(node, plan.endpoints([follower]), CONTENT)?;
    session.echo(COUNT, || Ok(()))?;
    let mut killed = None;
    let echoed = session.echo(COUNT, || {
        let now = nodes.iter().position(Member::is_leader).ok_or("nobody leads")?;
        killed = Some(now);
        nodes.remove(now).kill()
    });
    echoed.map_err(|cause| format!("{cause}{}", members::states(&nodes)))?;
    if killed != Some(leader) || session.leader_changes() == 0 {
        return Err(format!("member {leader} led, {killed:?} was killed"));
    }
    members::agree(&nodes, 2 * COUNT)?;
    let next = session.leader();
    let side = *sides.get(leader).ok_or("no such member")?;
    if side == Side::Theirs {
        // Theirs takes the files of one that died only after its last sign of life is that old.
        session.keep(Nanos::from_secs(11))?;
    }
    nodes.insert(leader, plan.start(setting, side, leader, WHOLE)?);
    session.echo(COUNT, || Ok(()))?;
    let (executed, position) = members::agree(&nodes, 3 * COUNT)?;
    session.close();
    nodes.into_iter().try_for_each(Member::finish)?;
    let logs = (0..plan.count()).map(|id| log::read(&plan.home(id), position));
    let logs = logs.collect::<Result<Vec<_>, _>>()?;
    for id in 1..plan.count() {
        log::compare(&logs[0], &logs[id]).map_err(|at| format!("logs of 0 and {id}: {at}"))?;
    }
    Ok(format!(
        "{side:?} {leader} led and died, {next:?} after it; {executed} executed, logs equal to \
         {position}"
    ))
}
