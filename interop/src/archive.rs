//! Archive: genuine clients of ours, our client of theirs, and directories that change hands.

use std::path::{Path, PathBuf};

use coracle::archive_client::Recording;

use crate::content::Content;
use crate::java::{Java, Peer};
use crate::ours::STREAM;
use crate::ours_archive::{Node, Session};
use crate::table::{OursOnTheirs, Seam, TheirsOnOurs};
use crate::transport::{Channel, check_errors};
use crate::{Setting, Test, test};

/// The tests of this seam.
pub(crate) const TESTS: &[Test] = &[
    test(
        "their_client_records_lists_and_replays_on_our_archive",
        &[(Seam::ArchiveClient, TheirsOnOurs)],
        their_client_on_our_archive,
    ),
    test(
        "our_client_records_lists_and_replays_on_their_archive",
        &[(Seam::ArchiveClient, OursOnTheirs)],
        our_client_on_their_archive,
    ),
    test(
        "their_archive_opens_and_replays_our_directory",
        &[(Seam::ArchiveFiles, TheirsOnOurs), (Seam::ArchiveTools, TheirsOnOurs)],
        their_archive_opens_ours,
    ),
    test(
        "our_archive_opens_and_replays_their_directory",
        &[(Seam::ArchiveFiles, OursOnTheirs)],
        our_archive_opens_theirs,
    ),
];

/// Messages of up to five frames: 2.4 MB, three segment files.
pub(crate) const CONTENT: Content = Content { seed: 21, minimum: 8, maximum: 6_000 };
pub(crate) const COUNT: u64 = 800;

pub(crate) const IPC: &str = "aeron:ipc";
pub(crate) const RECORDED_IPC: &str = "aeron:ipc?term-length=64k";

/// The tool by which genuine Aeron looks at the files of an archive.
pub(crate) const TOOL: &str = "io.aeron.archive.ArchiveTool";

/// A recording of either side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recorded {
    /// Its id.
    pub(crate) id: i64,
    /// Where it stops.
    pub(crate) stop: i64,
    /// What is kept of its channel.
    pub(crate) channel: String,
}

impl Recorded {
    pub(crate) fn of(recording: &Recording) -> Result<Self, String> {
        let stop = recording.stop_position.ok_or_else(|| format!("active: {recording:?}"))?.0;
        Ok(Self { id: recording.id, stop, channel: recording.stripped_channel.clone() })
    }

    /// What the role `list` prints of it.
    pub(crate) fn line(&self) -> String {
        let Self { id, stop, channel } = self;
        let stream = STREAM.0;
        format!(
            "RECORDING {id} stream {stream} start 0 stop {stop} term-length 65536 \
             segment-length 1048576 channel {channel}"
        )
    }
}

/// A channel that is recorded through a spy, with nobody else subscribed.
pub(crate) fn recorded_udp() -> String {
    format!("{}|term-length=64k|ssc=true", Channel::udp().text())
}

pub(crate) fn show(path: &Path) -> String {
    path.display().to_string()
}

/// The genuine client of the archive that `control` leads to, with a driver to reach it by.
pub(crate) struct TheirClient<'a> {
    /// By which it runs.
    pub(crate) java: &'a Java,
    /// Directory of its driver.
    pub(crate) aeron: String,
    /// Where the archive listens.
    pub(crate) control: &'a str,
}

impl TheirClient<'_> {
    pub(crate) fn start(&self, role: &str, options: &[(&str, String)]) -> Result<Peer, String> {
        let response = if self.control == IPC { IPC } else { "aeron:udp?endpoint=127.0.0.1:0" };
        let mut all = vec![
            ("dir", self.aeron.clone()),
            ("control", self.control.to_string()),
            ("response", response.to_string()),
            ("seed", CONTENT.seed.to_string()),
            ("min", CONTENT.minimum.to_string()),
            ("max", CONTENT.maximum.to_string()),
            ("count", COUNT.to_string()),
            ("stream", STREAM.0.to_string()),
        ];
        all.extend_from_slice(options);
        self.java.start(role, &all)
    }

    pub(crate) fn record(&self, channel: &str) -> Result<Recorded, String> {
        let mut peer = self.start("record", &[("channel", channel.to_string())])?;
        let line = peer.expect("RECORDED")?;
        peer.expect("OK")?;
        let mut words = line.split(" position ").map(str::parse);
        let (Some(Ok(id)), Some(Ok(stop))) = (words.next(), words.next()) else {
            return Err(format!("recorded what? {line}"));
        };
        Ok(Recorded { id, stop, channel: stripped(channel) })
    }

    /// Whether it lists just these.
    pub(crate) fn list(&self, expected: &[Recorded]) -> Result<(), String> {
        let lines = self.start("list", &[])?.finish()?;
        let found = lines.iter().filter(|line| line.starts_with("RECORDING"));
        let expected: Vec<String> = expected.iter().map(Recorded::line).collect();
        if found.eq(&expected) {
            return Ok(());
        }
        Err(format!("listed {lines:#?}, expected {expected:#?}"))
    }

    pub(crate) fn replay(&self, recording: i64, channel: &str) -> Result<(), String> {
        let channel = ("replay-channel", channel.to_string());
        let mut peer = self.start("replay", &[("recording", recording.to_string()), channel])?;
        peer.expect("VERIFIED")?;
        peer.expect("OK").map(drop)
    }
}

/// An archive leaves this of a channel: endpoint, interface and the like.
fn stripped(channel: &str) -> String {
    channel
        .split(['|', '?'])
        .take(1 + usize::from(channel.contains("udp")))
        .collect::<Vec<_>>()
        .join("?")
}

/// Their driver and archive on two directories.
pub(crate) fn their_node(
    setting: &Setting,
    archive: &Path,
    control: &str,
) -> Result<(Peer, PathBuf), String> {
    their_node_with(setting, archive, control, &[])
}

/// The same, told these too.
pub(crate) fn their_node_with(
    setting: &Setting,
    archive: &Path,
    control: &str,
    more: &[(&'static str, String)],
) -> Result<(Peer, PathBuf), String> {
    let aeron = setting.work.join("theirs");
    let mut options = vec![
        ("dir", show(&aeron)),
        ("archive-dir", show(archive)),
        ("control", control.to_string()),
        ("deadline", "120".to_string()),
    ];
    options.extend_from_slice(more);
    let mut peer = setting.java.start("archive", &options)?;
    peer.expect("READY")?;
    Ok((peer, aeron))
}

fn their_client_on_our_archive(setting: &Setting) -> Result<String, String> {
    let (aeron, archive) = (setting.work.join("ours"), setting.work.join("archive"));
    let control = Channel::udp().text();
    let node = Node::start(&aeron, &archive, &control)?;
    let mut recorded = Vec::new();
    for (control, channel) in [(IPC, RECORDED_IPC.to_string()), (&control, recorded_udp())] {
        let client = TheirClient { java: &setting.java, aeron: show(&aeron), control };
        recorded.push(client.record(&channel)?);
        client.list(&recorded)?;
        for recording in &recorded {
            client.replay(recording.id, IPC)?;
            client.replay(recording.id, &Channel::udp().text())?;
        }
    }
    let errors = check_errors(node.directory())?;
    node.close()?;
    Ok(format!("2 recordings, 6 replays of {COUNT} messages, {errors}"))
}

fn our_client_on_their_archive(setting: &Setting) -> Result<String, String> {
    let control = Channel::udp().text();
    let (theirs, aeron) = their_node(setting, &setting.work.join("archive"), &control)?;
    let mut recorded = Vec::new();
    for (control, channel) in [(IPC, RECORDED_IPC.to_string()), (&control, recorded_udp())] {
        let mut session = Session::connect(&aeron, control)?;
        recorded.push(session.record(&channel, (CONTENT, COUNT))?);
        let listed = session.list()?;
        if listed != recorded {
            return Err(format!("listed {listed:#?}, expected {recorded:#?}"));
        }
        for recording in &recorded {
            session.replay(recording.id, IPC, (CONTENT, COUNT))?;
            session.replay(recording.id, &Channel::udp().text(), (CONTENT, COUNT))?;
        }
    }
    theirs.finish()?;
    Ok(format!("2 recordings, 6 replays of {COUNT} messages"))
}

fn their_archive_opens_ours(setting: &Setting) -> Result<String, String> {
    let (aeron, archive) = (setting.work.join("ours"), setting.work.join("archive"));
    let control = Channel::udp().text();
    let node = Node::start(&aeron, &archive, &control)?;
    let mut session = Session::connect(&aeron, IPC)?;
    let mut recorded = Vec::new();
    for channel in [RECORDED_IPC.to_string(), recorded_udp()] {
        recorded.push(Recorded::of(&session.record(&channel, (CONTENT, COUNT))?)?);
    }
    drop(session);
    node.close()?;
    verify(&setting.java, &archive, &recorded)?;
    let (theirs, aeron) = their_node(setting, &archive, &control)?;
    let client = TheirClient { java: &setting.java, aeron: show(&aeron), control: IPC };
    client.list(&recorded)?;
    for recording in &recorded {
        client.replay(recording.id, IPC)?;
    }
    theirs.finish()?;
    Ok(format!("{} recordings of {COUNT} messages, verified and replayed", recorded.len()))
}

/// Their tool finds nothing wrong with any frame of these recordings.
pub(crate) fn verify(java: &Java, archive: &Path, recorded: &[Recorded]) -> Result<(), String> {
    let archive = show(archive);
    let checksum = "io.aeron.archive.checksum.Crc32";
    for arguments in
        [vec!["verify"], vec!["verify", "-a"], vec!["verify", "-a", "-checksum", checksum]]
    {
        let said = java.run(TOOL, &[&[archive.as_str()], arguments.as_slice()].concat())?;
        for Recorded { id, .. } in recorded {
            if !said.lines().any(|line| line.trim() == format!("(recordingId={id}) OK")) {
                return Err(format!("{arguments:?}: {said}"));
            }
        }
    }
    Ok(())
}

fn our_archive_opens_theirs(setting: &Setting) -> Result<String, String> {
    let (aeron, archive) = (setting.work.join("ours"), setting.work.join("archive"));
    let control = Channel::udp().text();
    let (theirs, their_aeron) = their_node(setting, &archive, &control)?;
    let client = TheirClient { java: &setting.java, aeron: show(&their_aeron), control: IPC };
    let expected = [client.record(RECORDED_IPC)?, client.record(&recorded_udp())?];
    theirs.finish()?;
    let node = Node::start(&aeron, &archive, &control)?;
    let mut session = Session::connect(&aeron, &control)?;
    let listed = session.list()?;
    let found = listed.iter().map(Recorded::of).collect::<Result<Vec<_>, _>>()?;
    if found != expected {
        return Err(format!("listed {found:#?}, expected {expected:#?}"));
    }
    for recording in &found {
        session.replay(recording.id, IPC, (CONTENT, COUNT))?;
    }
    // What is written after them is theirs to read again.
    let added = Recorded::of(&session.record(RECORDED_IPC, (CONTENT, COUNT))?)?;
    drop(session);
    node.close()?;
    let all = [expected.as_slice(), &[added]].concat();
    verify(&setting.java, &archive, &all)?;
    Ok(format!("{} recordings of {COUNT} messages replayed, one added", expected.len()))
}
