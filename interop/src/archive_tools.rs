//! The genuine tool for archives on our directories, and our archive on what it leaves.

use std::path::Path;

use crate::archive::{CONTENT, COUNT, IPC, Recorded, TOOL, recorded_udp, show};
use crate::ours_archive::{Node, Session};
use crate::table::{OursOnTheirs, Seam, TheirsOnOurs};
use crate::transport::Channel;
use crate::{Setting, Test, test};

/// The tests of this seam.
pub(crate) const TESTS: &[Test] = &[test(
    "their_tool_works_on_our_archive",
    &[(Seam::ArchiveTools, TheirsOnOurs), (Seam::ArchiveTools, OursOnTheirs)],
    their_tool,
)];

/// The tool on one archive.
struct Tool<'a> {
    setting: &'a Setting,
    archive: String,
}

impl Tool<'_> {
    /// What it says to a command, which must contain all of these.
    fn says(&self, command: &str, facts: &[&str]) -> Result<String, String> {
        let words = std::iter::once(self.archive.as_str()).chain(command.split(' '));
        let said = self.setting.java.run(TOOL, &words.collect::<Vec<_>>())?;
        match facts.iter().find(|fact| !said.contains(**fact)) {
            Some(lacking) => Err(format!("{command}: no {lacking:?} in {said}")),
            None => Ok(said),
        }
    }
}

/// Which recordings have segment files, each so many.
fn segments(archive: &Path) -> Result<Vec<(String, usize)>, String> {
    let mut found: Vec<(String, usize)> = Vec::new();
    let listed = std::fs::read_dir(archive).map_err(|error| error.to_string())?;
    let names = listed.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".rec")).collect();
    names.sort();
    for name in names {
        let id = name.split('-').next().unwrap_or_default();
        match found.iter_mut().find(|(known, _)| known == id) {
            Some((_, count)) => *count += 1,
            None => found.push((id.to_string(), 1)),
        }
    }
    Ok(found)
}

/// Every command that leaves something to be seen, on three recordings of ours; the second is
/// thrown away. Our archive goes on with the rest.
fn their_tool(setting: &Setting) -> Result<String, String> {
    let (aeron, archive) = (setting.work.join("ours"), setting.work.join("archive"));
    let control = Channel::udp().text();
    let node = Node::start(&aeron, &archive, &control)?;
    let mut session = Session::connect(&aeron, IPC)?;
    let mut recorded = Vec::new();
    for _ in 0..3 {
        let channel = recorded_udp();
        recorded.push(Recorded::of(&session.record(&channel, (CONTENT, COUNT))?)?);
    }
    drop(session);
    node.close()?;
    let tool = Tool { setting, archive: show(&archive) };
    let stop = format!("stopPosition={}", recorded[1].stop);
    let own = format!("{}", std::process::id());
    tool.says("describe", &["recordingId=0", "recordingId=1", "recordingId=2", &stop])?;
    tool.says("describe 1", &["recordingId=1", &stop])?;
    tool.says("describe-all", &["recordingId=0", "recordingId=2", "VALID"])?;
    tool.says("count-entries", &["3"])?;
    tool.says("max-entries", &[])?;
    tool.says("pid", &[&own])?;
    tool.says("errors", &[])?;
    tool.says("dump 1000000", &["recordingId=0", "recordingId=2"])?;
    tool.says("checksum io.aeron.archive.checksum.Crc32 -a", &[])?;
    tool.says("verify 1 -a -checksum io.aeron.archive.checksum.Crc32", &["(recordingId=1) OK"])?;
    tool.says("mark-invalid 1", &[])?;
    tool.says("count-entries", &["2"])?;
    tool.says("mark-valid 1", &[])?;
    tool.says("count-entries", &["3"])?;
    // A file behind the end of the first.
    let orphan = archive.join(format!("0-{}.rec", 64 << 20));
    std::fs::write(&orphan, vec![0; 1 << 20]).map_err(|error| error.to_string())?;
    tool.says("delete-orphaned-segments", &[])?;
    if orphan.exists() {
        return Err("the orphan is still there".to_string());
    }
    let before = segments(&archive)?;
    tool.says("mark-invalid 1", &[])?;
    tool.says("compact", &[])?;
    let after = segments(&archive)?;
    let kept: Vec<_> = before.iter().filter(|(id, _)| id != "1").cloned().collect();
    if after != kept {
        return Err(format!("files {after:?} are left, not {kept:?}"));
    }
    tool.says("verify -a", &["(recordingId=0) OK", "(recordingId=2) OK"])?;
    recorded.remove(1);
    let node = Node::start(&aeron, &archive, &control)?;
    let mut session = Session::connect(&aeron, IPC)?;
    let listed = session.list()?.iter().map(Recorded::of).collect::<Result<Vec<_>, _>>()?;
    if listed != recorded {
        return Err(format!("listed {listed:#?}, not {recorded:#?}"));
    }
    for recording in &listed {
        session.replay(recording.id, IPC, (CONTENT, COUNT))?;
    }
    let added = session.record(&recorded_udp(), (CONTENT, COUNT))?;
    if added.id != 3 {
        return Err(format!("the next recording is {}, not 3", added.id));
    }
    drop(session);
    node.close()?;
    tool.says("verify 3 -a -checksum io.aeron.archive.checksum.Crc32", &["(recordingId=3) OK"])?;
    Ok("16 commands; ours goes on with what they left".to_string())
}
