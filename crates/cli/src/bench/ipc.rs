//! `coracle bench ipc`: streams within one host.

use super::latency;
use super::pairs::{Case, RATE, Stage};
use super::report::Run;
use super::side::{Options, driver_properties};
use crate::Failure;

/// What is measured.
pub(crate) const CASES: [Case; 2] = [
    Case {
        title: "ipc throughput, 32 B",
        topology: "driver, publisher (exclusive, offer), subscriber: a process each; the clients \
                   spin, the driver's one thread backs off; terms of 64 MiB",
        columns: RATE,
        measure: throughput,
    },
    Case {
        title: "ipc round trip, 32 B",
        topology: "driver, ping, pong: a process each; the clients spin, the driver's one thread \
                   backs off; one message under way, exclusive publications, offer",
        columns: latency::COLUMNS,
        measure: round_trip,
    },
];

const CHANNEL: &str = "aeron:ipc";

fn driver(stage: &mut Stage<'_>) -> Result<(), Failure> {
    let directory = stage.memory().join("aeron").display().to_string();
    let own = [("dir", directory), ("idle", "backoff".to_string())];
    stage.serve("driver", &[&own[..], &driver_properties()].concat()).map(drop)
}

fn client(stage: &Stage<'_>, options: &Options) -> Vec<(&'static str, String)> {
    let directory = stage.memory().join("aeron").display().to_string();
    let own = [
        ("dir", directory),
        ("idle", "spin".to_string()),
        ("length", "32".to_string()),
        ("channel", CHANNEL.to_string()),
        ("stream", "1001".to_string()),
    ];
    [&own, options].concat()
}

fn throughput(stage: &mut Stage<'_>) -> Result<Run, Failure> {
    driver(stage)?;
    let spans = stage.spans();
    let subscriber = stage.serve("subscribe", &client(stage, &spans))?;
    stage.start("publish", &client(stage, &[]))?;
    Ok(stage.measure(subscriber)?.rate())
}

fn round_trip(stage: &mut Stage<'_>) -> Result<Run, Failure> {
    driver(stage)?;
    let back = [("back-channel", CHANNEL.to_string()), ("back-stream", "1002".to_string())];
    stage.serve("pong", &client(stage, &back))?;
    stage.round_trip(client(stage, &back))
}
