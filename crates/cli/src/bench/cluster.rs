//! `coracle bench cluster`: three members that echo what a client sends.

use coracle::os;
use coracle::runtime::Nanos;

use super::latency;
use super::memory;
use super::pairs::{Case, SAMPLES_MAX, Stage, Started};
use super::report::{Better, Column, Run};
use crate::Failure;

/// What is measured.
pub(crate) const CASES: [Case; 6] = [
    Case {
        title: "cluster round trip, 100 B",
        topology: QUICK,
        columns: latency::COLUMNS,
        measure: |stage| round_trip(stage, 100),
    },
    Case {
        title: "cluster round trip, 1 KiB",
        topology: QUICK,
        columns: latency::COLUMNS,
        measure: |stage| round_trip(stage, 1024),
    },
    Case {
        title: "cluster throughput, 100 B, window 4096",
        topology: BUSY,
        columns: THROUGHPUT,
        measure: |stage| throughput(stage, 100, 4096),
    },
    Case {
        title: "cluster throughput, 1 KiB, window 2048",
        topology: BUSY,
        columns: THROUGHPUT,
        measure: |stage| throughput(stage, 1024, 2048),
    },
    Case {
        title: "cluster cold start",
        topology: "three members at their defaults, a waiting client: a process each; from the \
                   start of the first member's process to the first echo",
        columns: &[
            Column { name: "first ms", better: Better::Less },
            Column { name: "node MiB", better: Better::Less },
        ],
        measure: cold_start,
    },
    Case {
        title: "cluster failover",
        topology: "three members at their defaults, a client: a process each; 10,000 messages of \
                   100 B a second; from SIGKILL of the leader to the first echo of a message sent \
                   after it",
        columns: &[Column { name: "outage ms", better: Better::Less }],
        measure: failover,
    },
];

const QUICK: &str = "three members (driver, archive on disk, consensus module, echo service) and a \
                     client that steps its driver itself: a process each; all yield; MTU 8K, sync \
                     level 0, log terms 64 MiB, windows and sockets 2 MiB";

const BUSY: &str = "the same, with terms of 1 MiB for log, ingress and egress, and a log that goes \
                    as fast as both followers take it; theirs yield, ours yield 50 times and then \
                    wait on their sockets: each side as it is fastest";

const THROUGHPUT: &[Column] = &[
    Column { name: "K msgs/s", better: Better::More },
    Column { name: "p50 us", better: Better::Less },
    Column { name: "p99 us", better: Better::Less },
    Column { name: "node MiB", better: Better::Less },
];

/// How many members there are.
const MEMBERS: u32 = 3;
/// Ports of one member, as its entry among the members lists them: the archive's comes last.
const PORTS: u32 = 5;

type OptionList = Vec<(&'static str, String)>;

/// How a cluster is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SetUp {
    /// Each side at its defaults.
    Defaults,
    /// For round trips on few cores.
    Quick,
    /// For throughput on few cores.
    Busy,
}

impl SetUp {
    /// On few cores a thread that waits leaves its core to those with work. Genuine Aeron cannot
    /// wait on its sockets, and is slower with any way to idle that sleeps.
    const fn idle(self, is_ours: bool) -> &'static str {
        if is_ours && matches!(self, Self::Busy) { "wait" } else { "yield" }
    }

    /// Terms that fit into a cache are read and cleaned there. Where the fastest follower sets the
    /// pace the other one may lose the stream within its first term, and two do the work of three.
    const fn log_channel(self) -> &'static str {
        match self {
            Self::Busy => "aeron:udp?term-length=1m|fc=min,g:/2",
            _ => "aeron:udp?term-length=64m",
        }
    }

    const fn ingress_channel(self) -> &'static str {
        match self {
            Self::Busy => "aeron:udp?term-length=1m",
            _ => "aeron:udp",
        }
    }

    const fn egress_channel(self) -> &'static str {
        match self {
            Self::Busy => "aeron:udp?endpoint=127.0.0.1:0|term-length=1m",
            _ => "aeron:udp?endpoint=127.0.0.1:0",
        }
    }
}

/// Properties of all drivers that are tuned, under the names that both sides know.
fn tuned_driver() -> OptionList {
    [
        ("aeron.threading.mode", "SHARED"),
        ("aeron.perform.storage.checks", "false"),
        ("aeron.term.buffer.sparse.file", "true"),
        ("aeron.mtu.length", "8k"),
        ("aeron.socket.so_sndbuf", "2m"),
        ("aeron.socket.so_rcvbuf", "2m"),
        ("aeron.rcv.initial.window.length", "2m"),
    ]
    .map(|(name, value)| (name, value.to_string()))
    .to_vec()
}

/// Ports that another bench on this machine hardly has.
fn port(member: u32, index: u32) -> u32 {
    20_000 + std::process::id() % 600 * 20 + member * PORTS + index
}

fn endpoint(member: u32, index: u32) -> String {
    format!("127.0.0.1:{}", port(member, index))
}

/// `id,ingress,consensus,log,catchup,archive` of each.
fn members() -> String {
    let entry = |member| {
        let endpoints: Vec<String> = (0..PORTS).map(|index| endpoint(member, index)).collect();
        format!("{member},{}", endpoints.join(","))
    };
    (0..MEMBERS).map(entry).collect::<Vec<_>>().join("|")
}

fn member_options(stage: &Stage<'_>, set_up: SetUp, member: u32) -> OptionList {
    let archive = format!("aeron:udp?endpoint={}", endpoint(member, PORTS - 1));
    let any_port = || "aeron:udp?endpoint=127.0.0.1:0".to_string();
    let mut options = vec![
        ("dir", stage.memory().join(format!("aeron-{member}")).display().to_string()),
        ("directory", stage.disk().join(format!("node{member}")).display().to_string()),
        ("member", member.to_string()),
        ("members", members()),
        ("aeron.dir.delete.on.start", "true".to_string()),
        ("aeron.spies.simulate.connection", "true".to_string()),
        ("aeron.archive.control.channel", archive),
        ("aeron.archive.replication.channel", any_port()),
        ("aeron.archive.recording.events.enabled", "false".to_string()),
        ("aeron.cluster.ingress.channel", set_up.ingress_channel().to_string()),
        ("aeron.cluster.replication.channel", any_port()),
    ];
    match set_up {
        SetUp::Defaults => options.push(("idle", "default".to_string())),
        SetUp::Quick | SetUp::Busy => {
            options.extend(tuned_driver());
            options.extend([
                ("idle", set_up.idle(stage.is_ours()).to_string()),
                ("aeron.archive.file.sync.level", "0".to_string()),
                ("aeron.archive.catalog.file.sync.level", "0".to_string()),
                ("aeron.cluster.log.channel", set_up.log_channel().to_string()),
            ]);
        }
    }
    options
}

fn start_members(stage: &mut Stage<'_>, set_up: SetUp) -> Result<Vec<Started>, Failure> {
    let start = |member| stage.start("member", &member_options(stage, set_up, member));
    (0..MEMBERS).map(start).collect()
}

/// Options of a client, in whichever role. It is tuned always: it is not what is measured.
fn client_options(stage: &Stage<'_>, set_up: SetUp, length: u32) -> OptionList {
    let ingress = (0..MEMBERS).map(|member| format!("{member}={}", endpoint(member, 0)));
    let mut options = vec![
        ("dir", stage.memory().join("aeron-client").display().to_string()),
        ("idle", set_up.idle(stage.is_ours()).to_string()),
        ("length", length.to_string()),
        ("ingress", ingress.collect::<Vec<_>>().join(",")),
        ("ingress-channel", set_up.ingress_channel().to_string()),
        ("egress", set_up.egress_channel().to_string()),
        ("aeron.dir.delete.on.start", "true".to_string()),
    ];
    options.extend(tuned_driver());
    options.extend(stage.spans());
    options
}

/// What a loaded cluster achieved.
struct Loaded {
    run: Run,
    latencies: Vec<f64>,
    node_mib: f64,
}

/// Keeps so many messages under way.
fn load(stage: &mut Stage<'_>, set_up: SetUp, length: u32, window: u32) -> Result<Loaded, Failure> {
    let members = start_members(stage, set_up)?;
    let times = stage.memory().join("times");
    let mut options = client_options(stage, set_up, length);
    options.extend([
        ("window", window.to_string()),
        ("out", times.display().to_string()),
        ("samples", SAMPLES_MAX.to_string()),
    ]);
    let client = stage.start("load", &options)?;
    let run = stage.measure(client)?.rate();
    let node_mib = largest(stage, &members)?;
    Ok(Loaded { run, latencies: latency::values(&latency::read(&times)?), node_mib })
}

/// Private memory of the member that has most.
fn largest(stage: &Stage<'_>, members: &[Started]) -> Result<f64, Failure> {
    let mut largest = 0.0;
    for &member in members {
        let bytes = memory::private_bytes(stage.id(member)?)?;
        largest = f64::max(largest, bytes as f64 / f64::from(1 << 20));
    }
    Ok(largest)
}

fn round_trip(stage: &mut Stage<'_>, length: u32) -> Result<Run, Failure> {
    let Loaded { run, latencies, .. } = load(stage, SetUp::Quick, length, 1)?;
    Ok(Run { values: latencies, ..run })
}

fn throughput(stage: &mut Stage<'_>, length: u32, window: u32) -> Result<Run, Failure> {
    let Loaded { run, latencies, node_mib } = load(stage, SetUp::Busy, length, window)?;
    let ([millions, ..], [median, _, p99, ..]) = (&*run.values, &*latencies) else {
        return Err("a measurement without a rate or latencies".into());
    };
    Ok(Run { values: vec![millions * 1000.0, *median, *p99, node_mib], ..run })
}

fn cold_start(stage: &mut Stage<'_>) -> Result<Run, Failure> {
    let client = stage.serve("first-echo", &client_options(stage, SetUp::Quick, 100))?;
    let before = stage.sample()?;
    let start = os::clock::now_mono();
    let members = start_members(stage, SetUp::Defaults)?;
    stage.expect(client, "ECHO")?;
    let millis = (os::clock::now_mono() - start).0 as f64 / 1e6;
    let usage = stage.sample()?.since(before);
    Ok(Run { values: vec![millis, largest(stage, &members)?], usage })
}

fn failover(stage: &mut Stage<'_>) -> Result<Run, Failure> {
    let members = start_members(stage, SetUp::Defaults)?;
    let killed = stage.memory().join("killed");
    let mut options = client_options(stage, SetUp::Quick, 100);
    options.extend([("interval-us", "100".to_string()), ("killed", killed.display().to_string())]);
    let client = stage.start("outage", &options)?;
    let leader: usize = stage.expect(client, "LEADER")?.parse()?;
    stage.expect(client, "MEASURING")?;
    let before = stage.sample()?;
    let leader = *members.get(leader).ok_or("a leader that nobody knows")?;
    // The client's clock is this one: the monotonic one of the machine.
    let at: Nanos = os::clock::now_mono();
    stage.kill(leader)?;
    let draft = killed.with_extension("draft");
    std::fs::write(&draft, at.0.to_string())?;
    std::fs::rename(&draft, &killed)?;
    let nanos: u64 = stage.expect(client, "OUTAGE")?.parse()?;
    Ok(Run { values: vec![nanos as f64 / 1e6], usage: stage.sample()?.since(before) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_has_ports_of_its_own() {
        let members = members();
        let mut ports: Vec<&str> = members
            .split(['|', ','])
            .filter_map(|endpoint| endpoint.strip_prefix("127.0.0.1:"))
            .collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 15);
        assert!(ports.iter().all(|port| port.parse::<u16>().unwrap() < 32_768));
        assert!(members.ends_with(&endpoint(MEMBERS - 1, PORTS - 1)));
    }
}
