//! `coracle bench udp`: streams from driver to driver over the loopback interface.

use super::latency;
use super::pairs::{Case, RATE, Stage};
use super::report::Run;
use super::side::driver_properties;
use crate::Failure;

/// What is measured.
pub(crate) const CASES: [Case; 3] = [
    Case {
        title: "udp throughput, 1 KiB",
        topology: "two drivers, publisher (exclusive, offer), subscriber: a process each, one \
                   thread of a driver for all; all yield; MTU 1408, windows and sockets 2 MiB",
        columns: RATE,
        measure: throughput,
    },
    Case {
        title: "udp round trip, 32 B",
        topology: ROUND_TRIP,
        columns: latency::COLUMNS,
        measure: |stage| round_trip(stage, 32),
    },
    Case {
        title: "udp round trip, 100 B",
        topology: ROUND_TRIP,
        columns: latency::COLUMNS,
        measure: |stage| round_trip(stage, 100),
    },
];

const ROUND_TRIP: &str = "two drivers, ping, pong: a process each, one thread of a driver for all; \
                          all yield; one message under way, exclusive publications, offer";

/// The driver that sends what is measured, and the one that receives it.
const HERE: &str = "aeron-here";
const THERE: &str = "aeron-there";

fn drivers(stage: &mut Stage<'_>) -> Result<(), Failure> {
    for name in [HERE, THERE] {
        let directory = stage.memory().join(name).display().to_string();
        let own = [("dir", directory), ("idle", "yield".to_string())];
        stage.serve("driver", &[&own[..], &driver_properties()].concat())?;
    }
    Ok(())
}

/// Ports that another bench on this machine hardly has.
fn channel(index: u32) -> String {
    format!("aeron:udp?endpoint=127.0.0.1:{}", 20_000 + std::process::id() % 5000 * 2 + index)
}

fn client(stage: &Stage<'_>, driver: &str, length: u32) -> Vec<(&'static str, String)> {
    vec![
        ("dir", stage.memory().join(driver).display().to_string()),
        ("idle", "yield".to_string()),
        ("length", length.to_string()),
        ("channel", channel(0)),
        ("stream", "1001".to_string()),
    ]
}

fn throughput(stage: &mut Stage<'_>) -> Result<Run, Failure> {
    drivers(stage)?;
    let options = [client(stage, THERE, 1024), stage.spans().to_vec()].concat();
    let subscriber = stage.serve("subscribe", &options)?;
    stage.start("publish", &client(stage, HERE, 1024))?;
    Ok(stage.measure(subscriber)?.rate())
}

fn round_trip(stage: &mut Stage<'_>, length: u32) -> Result<Run, Failure> {
    drivers(stage)?;
    let back = vec![("back-channel", channel(1)), ("back-stream", "1002".to_string())];
    stage.serve("pong", &[client(stage, THERE, length), back.clone()].concat())?;
    stage.round_trip([client(stage, HERE, length), back].concat())
}
