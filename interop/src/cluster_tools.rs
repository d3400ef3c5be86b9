//! Tools of both sides for members of both.

use std::path::Path;

use coracle::cluster::recording_log::RecordingLog;
use coracle::consensus::{SnapshotEntry, TermRecord};
use coracle::os::files::OsFiles;

use crate::cluster::CONTENT;
use crate::members::{self, Member, Plan, Side, counter};
use crate::mixes::IDLE_MAX;
use crate::ours::Deadline;
use crate::ours_cluster::Session;
use crate::table::{OursOnTheirs, Seam, TheirsOnOurs};
use crate::transport::program;
use crate::{Setting, Test, echo, test};

/// The tests of this seam.
pub(crate) const TESTS: &[Test] = &[
    test(
        "their_tools_read_our_member",
        &[(Seam::ClusterTools, TheirsOnOurs)],
        their_tools_on_our_member,
    ),
    test(
        "their_tool_works_on_the_files_of_our_member",
        &[(Seam::ClusterTools, TheirsOnOurs), (Seam::Snapshots, OursOnTheirs)],
        files,
    ),
    test("their_tool_commands_our_cluster", &[(Seam::ClusterTools, TheirsOnOurs)], |setting| {
        commands(setting, Side::Ours)
    }),
    test("our_tools_command_their_cluster", &[(Seam::ClusterTools, OursOnTheirs)], |setting| {
        commands(setting, Side::Theirs)
    }),
];

/// The tool by which genuine Aeron looks at a member, and speaks to it.
const TOOL: &str = "io.aeron.cluster.ClusterTool";

/// What their tool says to a command about a member.
pub(crate) fn tool(setting: &Setting, member: &Member, command: &str) -> Result<String, String> {
    tool_at(setting, &member.cluster(), command)
}

fn tool_at(setting: &Setting, cluster: &Path, command: &str) -> Result<String, String> {
    let directory = cluster.display().to_string();
    let words = std::iter::once(directory.as_str()).chain(command.split(' '));
    setting.java.run(TOOL, &words.collect::<Vec<_>>())
}

/// What the other side's tool says to a command about a member.
fn command(setting: &Setting, side: Side, member: &Member, word: &str) -> Result<String, String> {
    match side {
        Side::Ours => tool(setting, member, word),
        Side::Theirs => program(&[word, &member.home().display().to_string()]),
    }
}

const SUSPENDED: i64 = 2;

/// A cluster of one side is asked by the other side's tool to take a snapshot, to rest, to go on
/// and to end; a follower refuses.
fn commands(setting: &Setting, side: Side) -> Result<String, String> {
    const COUNT: u64 = 200;
    let plan = Plan::new(&setting.work, 3).with("aeron.cluster.session.timeout", IDLE_MAX);
    let nodes = plan.start_all(setting, &[side; 3])?;
    let leader = members::leader(&nodes)?;
    let aeron = setting.work.join("client");
    let driver = crate::ours::start_driver(&aeron, 0.0)?;
    let mut session = Session::open_by(&aeron, plan.endpoints(0..3), CONTENT)?;
    session.echo(COUNT, || Ok(()))?;
    let node = nodes.get(leader).ok_or("no such member")?;
    for member in &nodes {
        let said = command(setting, side, member, "describe")?;
        let facts = [format!("{}", member.pid()), member.aeron().display().to_string()];
        if let Some(lacking) = facts.iter().find(|fact| !said.contains(fact.as_str())) {
            return Err(format!("describe: no {lacking:?} in {said}"));
        }
    }
    let follower = nodes.get((leader + 1) % 3).ok_or("no such member")?;
    if let Ok(said) = command(setting, side, follower, "snapshot") {
        return Err(format!("a follower took a snapshot: {said}"));
    }
    command(setting, side, node, "snapshot")?;
    let taken = || nodes.iter().all(|it| it.counter(counter::SNAPSHOTS) == Some(1));
    members::until(&nodes, "a snapshot is taken", taken)?;
    command(setting, side, node, "suspend")?;
    let rests = || node.counter(counter::STATE) == Some(SUSPENDED);
    members::until(&nodes, "it rests", rests)?;
    command(setting, side, node, "resume")?;
    members::until(&nodes, "it goes on", || nodes.iter().all(Member::is_in_service))?;
    session.echo(COUNT, || Ok(()))?;
    members::agree(&nodes, 2 * COUNT)?;
    // The command returns when the leader has gone, or before.
    command(setting, side, node, "shutdown")?;
    drop(session);
    nodes.into_iter().try_for_each(Member::terminated)?;
    let nodes = plan.start_all(setting, &[side; 3])?;
    members::leader(&nodes)?;
    let mut session = Session::open_by(&aeron, plan.endpoints(0..3), CONTENT)?;
    session.echo(COUNT, || Ok(()))?;
    let (executed, position) = members::agree(&nodes, 3 * COUNT)?;
    session.close();
    nodes.into_iter().try_for_each(Member::finish)?;
    driver.close().map_err(|error| error.to_string())?;
    Ok(format!("describe, snapshot, suspend, resume, shutdown; {executed} to {position}"))
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
    let plan_of = recovery_plan(setting, node)?;
    if !plan_of.contains("snapshots=[") || !plan_of.contains("serviceId=-1") {
        return Err(format!("recovery-plan: {plan_of}"));
    }
    let read = tool(setting, node, "recording-log")?.matches("Entry{").count();
    if read != entries.len() {
        return Err(format!("they read {read} entries of our recording.log, not {entries:?}"));
    }
    session.close();
    // The module's snapshot goes: its entry is the last.
    let mut archive = crate::ours_archive::Session::connect(node.aeron(), "aeron:ipc")?;
    let asked = archive.archive.purge_recording(2);
    archive.wait(asked)?;
    drop(archive);
    tool(setting, node, "validate-recording-log")?;
    let gone = "serviceId=-1, type=SNAPSHOT, isValid=false";
    let deadline = Deadline::new();
    while !tool(setting, node, "recording-log")?.contains(gone) {
        deadline.pause("the snapshot that is gone is invalid")?;
    }
    nodes.into_iter().try_for_each(Member::finish)?;
    Ok(format!("{} commands, {read} entries of recording.log", expected.len() + 2))
}

/// What they would recover a member from: they ask its archive, too.
fn recovery_plan(setting: &Setting, member: &Member) -> Result<String, String> {
    let driver = format!("-Daeron.dir={}", member.aeron().display());
    let properties = [
        &driver,
        "-Daeron.archive.control.channel=aeron:ipc",
        "-Daeron.archive.control.response.channel=aeron:ipc",
    ];
    let cluster = member.cluster().display().to_string();
    setting.java.run_with(&properties, TOOL, &[&cluster, "recovery-plan", "1"])
}

/// A member of ours with two snapshots ends. Their tool reads its files, invalidates the younger
/// snapshot, and makes a new recording.log of one alone; the member goes on from what is left.
fn files(setting: &Setting) -> Result<String, String> {
    const COUNT: u64 = 50;
    let plan = Plan::new(&setting.work, 1);
    let mut nodes = plan.start_all(setting, &[Side::Ours])?;
    members::leader(&nodes)?;
    let mut session = Session::open(&nodes[0], plan.endpoints([0]), CONTENT)?;
    for count in 1..=2 {
        session.echo(COUNT, || Ok(()))?;
        tool(setting, &nodes[0], "snapshot")?;
        let node = &nodes[0];
        let taken = || node.counter(counter::SNAPSHOTS) == Some(count) && node.is_in_service();
        members::until(&nodes, "a snapshot is taken", taken)?;
    }
    session.echo(COUNT, || Ok(()))?;
    session.close();
    let own = nodes[0].pid().to_string();
    let cluster = nodes[0].cluster();
    nodes.remove(0).finish()?;
    let says = |command: &str, facts: &[&str]| -> Result<String, String> {
        let said = tool_at(setting, &cluster, command)?;
        let lacking = facts.iter().find(|fact| !said.contains(**fact));
        match lacking {
            Some(lacking) => Err(format!("{command}: no {lacking:?} in {said}")),
            None => Ok(said),
        }
    };
    says("pid", &[&own])?;
    says("describe", &["CONSENSUS_MODULE", "CONTAINER"])?;
    says("errors", &[])?;
    says("recording-log", &["isValid=true"])?;
    if let Ok(said) = says("sort-recording-log", &[]) {
        return Err(format!("recording.log was not sorted: {said}"));
    }
    says("invalidate-latest-snapshot", &[])?;
    says("recording-log", &["isValid=false"])?;
    // From the first snapshot and the log behind it, in which the second is taken anew; then from
    // that one alone.
    let restored = |member: &Member| member.counter(echo::RESTORED);
    for (life, count) in [("the older snapshot", COUNT), ("a new recording.log", 2 * COUNT)] {
        let nodes = plan.start_all(setting, &[Side::Ours])?;
        members::leader(&nodes)?;
        let expected = i64::try_from(count).ok();
        members::until(&nodes, life, || restored(&nodes[0]) == expected)?;
        let mut session = Session::open(&nodes[0], plan.endpoints([0]), CONTENT)?;
        session.echo(COUNT, || Ok(()))?;
        session.close();
        nodes.into_iter().try_for_each(Member::finish)?;
        if life == "the older snapshot" {
            let log = says("recording-log", &["type=SNAPSHOT"])?;
            if log.contains("isValid=false") {
                return Err(format!("the snapshot was not taken anew: {log}"));
            }
            says("seed-recording-log-from-snapshot", &[])?;
            says("recording-log", &["logPosition=0", "type=SNAPSHOT"])?;
        }
    }
    Ok("7 commands on files; ours went on from what they left".to_string())
}

/// The entries of a member's recording.log, as we read them and they print them.
fn recording_log(member: &Member) -> Result<Vec<String>, String> {
    let files = std::sync::Arc::new(OsFiles) as _;
    let log = RecordingLog::read(&files, &member.cluster()).map_err(|error| error.to_string())?;
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
