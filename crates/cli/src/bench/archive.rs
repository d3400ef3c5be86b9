//! `coracle bench archive`: recording and replaying streams of one host.

use super::pairs::{Case, RATE, Stage};
use super::report::Run;
use super::side::{Options, driver_properties};
use crate::Failure;

/// What is measured.
pub(crate) const CASES: [Case; 2] = [
    Case {
        title: "archive record, 1 KiB",
        topology: "driver and archive: one process, one thread each, which yield; publisher \
                   (exclusive IPC, offer): another, which yields; 1 GiB of messages after 256 MiB \
                   unmeasured, until the last is recorded; sync level 0, terms 64 MiB",
        columns: RATE,
        measure: |stage| {
            let counts = [("warm-up-count", "262144".to_string()), ("count", COUNT.to_string())];
            measure(stage, "record", &counts)
        },
    },
    Case {
        title: "archive replay, 1 KiB",
        topology: "as above; a recording of 1 GiB replayed over IPC, the second time measured, \
                   from the request to the last message",
        columns: RATE,
        measure: |stage| {
            let channel = ("replay-channel", "aeron:ipc".to_string());
            measure(stage, "replay", &[("count", COUNT.to_string()), channel])
        },
    },
];

const COUNT: u32 = 1 << 20;

fn measure(stage: &mut Stage<'_>, role: &str, more: &Options) -> Result<Run, Failure> {
    let directory = ("dir", stage.memory().join("aeron").display().to_string());
    let control = 20_000 + std::process::id() % 5000 * 2;
    let idle = ("idle", "yield".to_string());
    let archive = [
        directory.clone(),
        idle.clone(),
        ("aeron.archive.dir", stage.disk().join("archive").display().to_string()),
        ("aeron.archive.control.channel", format!("aeron:udp?endpoint=127.0.0.1:{control}")),
        ("aeron.archive.replication.channel", "aeron:udp?endpoint=127.0.0.1:0".to_string()),
        ("aeron.archive.recording.events.enabled", "false".to_string()),
        ("aeron.archive.file.sync.level", "0".to_string()),
        ("aeron.archive.catalog.file.sync.level", "0".to_string()),
    ];
    stage.serve("archive", &[&archive[..], &driver_properties()].concat())?;
    let own = [
        directory,
        idle,
        ("length", "1024".to_string()),
        ("channel", "aeron:ipc".to_string()),
        ("stream", "1001".to_string()),
    ];
    let client = stage.start(role, &[&own, more].concat())?;
    Ok(stage.measure(client)?.rate())
}
