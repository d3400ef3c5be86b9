//! Transport: our clients on genuine drivers, genuine clients on ours, and the drivers facing each
//! other.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use coracle::directory::DriverDirectory;
use coracle::wire::counters::SystemCounter;

use crate::content::Content;
use crate::java::Peer;
use crate::ours::{self, Publisher, STREAM, Verifier};
use crate::table::{OursOnTheirs, Seam, TheirsOnOurs};
use crate::{Setting, Test, test};

/// The tests of this seam.
pub(crate) const TESTS: &[Test] = &[
    test("our_client_on_their_driver_over_ipc", &[(Seam::Ipc, OursOnTheirs)], |setting| {
        our_clients(setting, &Channel::Ipc)
    }),
    test("our_client_on_their_driver_over_udp", &[(Seam::Udp, OursOnTheirs)], |setting| {
        our_clients(setting, &Channel::udp())
    }),
    test("our_client_hears_theirs_on_their_driver", &[(Seam::Ipc, OursOnTheirs)], |setting| {
        our_client_hears_theirs(setting)
    }),
    test("their_client_hears_ours_on_their_driver", &[(Seam::Ipc, OursOnTheirs)], |setting| {
        their_client_hears_ours(setting)
    }),
    test("their_clients_on_our_driver_over_ipc", &[(Seam::Ipc, TheirsOnOurs)], |setting| {
        their_clients(setting, &Channel::Ipc)
    }),
    test("their_clients_on_our_driver_over_udp", &[(Seam::Udp, TheirsOnOurs)], |setting| {
        their_clients(setting, &Channel::udp())
    }),
    test(
        "their_tool_reads_our_counters",
        &[(Seam::DriverTools, TheirsOnOurs)],
        their_tool_reads_our_counters,
    ),
    test(
        "our_tools_read_their_directory",
        &[(Seam::DriverTools, OursOnTheirs)],
        our_tools_read_their_directory,
    ),
];

/// Messages that go in one frame each.
const WHOLE: Content = Content { seed: 11, minimum: 0, maximum: 1300 };
/// Messages of up to fifteen frames.
pub(crate) const FRAGMENTED: Content = Content { seed: 12, minimum: 0, maximum: 20_000 };
const COUNT: u64 = 2_000;

/// A port that no other test has, and nobody else now.
pub(crate) fn port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let of_process = u16::try_from(std::process::id() % 60).unwrap_or(0) * 200;
    loop {
        let port = 20_000 + of_process + NEXT.fetch_add(1, Ordering::Relaxed);
        #[allow(clippy::disallowed_types)] // It is let go at once.
        if std::net::UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A channel that each test has for itself.
pub(crate) enum Channel {
    /// Within the driver.
    Ipc,
    /// To a port of this host.
    Udp(u16),
}

impl Channel {
    /// To a port that no other test has.
    pub(crate) fn udp() -> Self {
        Self::Udp(port())
    }

    /// As it is written.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Ipc => "aeron:ipc".to_string(),
            Self::Udp(port) => format!("aeron:udp?endpoint=127.0.0.1:{port}"),
        }
    }
}

pub(crate) fn their_driver(setting: &Setting) -> Result<(Peer, PathBuf), String> {
    let directory = setting.work.join("theirs");
    let options = [("dir", directory.display().to_string()), ("deadline", "120".to_string())];
    let mut peer = setting.java.start("driver", &options)?;
    peer.expect("READY")?;
    Ok((peer, directory))
}

pub(crate) fn their_client(
    setting: &Setting,
    role: &str,
    directory: &Path,
    channel: &Channel,
    (content, count, exclusive): (Content, u64, bool),
) -> Result<Peer, String> {
    let more = [("channel", channel.text()), ("exclusive", exclusive.to_string())];
    start_client(setting, role, directory, (content, count), &more)
}

/// A genuine client that has been told these too.
pub(crate) fn start_client(
    setting: &Setting,
    role: &str,
    directory: &Path,
    (content, count): (Content, u64),
    more: &[(&'static str, String)],
) -> Result<Peer, String> {
    let mut options = vec![
        ("dir", directory.display().to_string()),
        ("stream", STREAM.0.to_string()),
        ("seed", content.seed.to_string()),
        ("min", content.minimum.to_string()),
        ("max", content.maximum.to_string()),
        ("count", count.to_string()),
    ];
    options.extend_from_slice(more);
    let mut peer = setting.java.start(role, &options)?;
    peer.expect("READY")?;
    Ok(peer)
}

const KINDS: [(Content, bool); 4] =
    [(WHOLE, false), (WHOLE, true), (FRAGMENTED, false), (FRAGMENTED, true)];

fn our_clients(setting: &Setting, channel: &Channel) -> Result<String, String> {
    let (driver, directory) = their_driver(setting)?;
    for (content, exclusive) in KINDS {
        let client = ours::connect(&directory)?;
        let mut verifier = Verifier::add(&client, &channel.text(), content)?;
        let mut publisher = Publisher::add(&client, &channel.text(), exclusive)?;
        publisher.offer_all(content, COUNT, || verifier.poll().map(drop))?;
        verifier.expect(COUNT)?;
    }
    driver.finish()?;
    Ok(format!("4 times {COUNT} messages"))
}

fn our_client_hears_theirs(setting: &Setting) -> Result<String, String> {
    let (driver, directory) = their_driver(setting)?;
    let client = ours::connect(&directory)?;
    for (channel, content, exclusive) in
        [(Channel::Ipc, FRAGMENTED, false), (Channel::udp(), FRAGMENTED, true)]
    {
        let mut verifier = Verifier::add(&client, &channel.text(), content)?;
        let what = (content, COUNT, exclusive);
        let mut publisher = their_client(setting, "publish", &directory, &channel, what)?;
        verifier.expect(COUNT)?;
        drop(verifier);
        publisher.expect("SENT")?;
    }
    driver.finish()?;
    Ok(format!("2 times {COUNT} messages"))
}

fn their_client_hears_ours(setting: &Setting) -> Result<String, String> {
    let (driver, directory) = their_driver(setting)?;
    let client = ours::connect(&directory)?;
    for (channel, content, exclusive) in
        [(Channel::Ipc, FRAGMENTED, true), (Channel::udp(), FRAGMENTED, false)]
    {
        let what = (content, COUNT, exclusive);
        let mut subscriber = their_client(setting, "subscribe", &directory, &channel, what)?;
        let mut publisher = Publisher::add(&client, &channel.text(), exclusive)?;
        publisher.offer_all(content, COUNT, || Ok(()))?;
        subscriber.expect("VERIFIED")?;
    }
    driver.finish()?;
    Ok(format!("2 times {COUNT} messages"))
}

fn their_clients(setting: &Setting, channel: &Channel) -> Result<String, String> {
    let driver = ours::start_driver(&setting.work.join("ours"), 0.0)?;
    for (content, exclusive) in [(WHOLE, true), (FRAGMENTED, false)] {
        let what = (content, COUNT, exclusive);
        let directory = driver.directory();
        let mut subscriber = their_client(setting, "subscribe", directory, channel, what)?;
        let mut publisher = their_client(setting, "publish", directory, channel, what)?;
        subscriber.expect("VERIFIED")?;
        publisher.expect("SENT")?;
        subscriber.expect("OK")?;
        publisher.expect("OK")?;
    }
    let errors = check_errors(driver.directory())?;
    driver.close().map_err(|error| error.to_string())?;
    Ok(format!("2 times {COUNT} messages, {errors}"))
}

fn open(directory: &Path) -> Result<DriverDirectory, String> {
    DriverDirectory::open(directory).map_err(|error| error.to_string())
}

pub(crate) fn system_counter(directory: &Path, counter: SystemCounter) -> Result<i64, String> {
    let found = open(directory)?.counters().records().find(|record| record.id.0 == counter.id());
    found.map(|record| record.value).ok_or_else(|| format!("no counter {counter:?}"))
}

/// An orderly exchange leaves nothing in our driver's error log.
///
/// # Errors
/// What it holds.
pub(crate) fn check_errors(directory: &Path) -> Result<String, String> {
    let errors: Vec<String> = open(directory)?.errors().map(|error| error.text).collect();
    if errors.is_empty() { Ok("no errors".into()) } else { Err(errors.join("\n")) }
}

fn their_tool_reads_our_counters(setting: &Setting) -> Result<String, String> {
    let driver = ours::start_driver(&setting.work.join("ours"), 0.0)?;
    let client = ours::connect(driver.directory())?;
    let channel = Channel::udp();
    let mut verifier = Verifier::add(&client, &channel.text(), WHOLE)?;
    let mut publisher = Publisher::add(&client, &channel.text(), false)?;
    publisher.offer_all(WHOLE, COUNT, || verifier.poll().map(drop))?;
    verifier.expect(COUNT)?;
    let options = [("dir", driver.directory().display().to_string())];
    let lines = setting.java.start("stat", &options)?.finish()?;
    let read: Vec<&String> = lines.iter().filter(|line| line.starts_with("COUNTER ")).collect();
    if !lines.iter().any(|line| line == "DRIVER ACTIVE true") {
        return Err(format!("they hold our driver for dead:\n{}", lines.join("\n")));
    }
    let ids: Vec<(i32, String)> = open(driver.directory())?
        .counters()
        .records()
        .map(|record| (record.id.0, record.label))
        .collect();
    for (id, label) in &ids {
        let beginning = format!("COUNTER {id} type ");
        if !read.iter().any(|line| line.starts_with(&beginning) && line.ends_with(label.as_str())) {
            return Err(format!("they do not see counter {id} {label}:\n{}", lines.join("\n")));
        }
    }
    for beginning in ["pub-lmt", "pub-pos", "snd-pos", "rcv-pos", "sub-pos", "snd-channel"] {
        if !ids.iter().any(|(_, label)| label.starts_with(beginning)) {
            return Err(format!("no counter begins with {beginning}: {ids:?}"));
        }
    }
    Ok(format!("{} counters", ids.len()))
}

fn our_tools_read_their_directory(setting: &Setting) -> Result<String, String> {
    let (driver, directory) = their_driver(setting)?;
    let client = ours::connect(&directory)?;
    let _publisher = Publisher::add(&client, "aeron:ipc", false)?;
    // A channel that cannot be: it leaves a distinct error.
    let refused = Publisher::add(&client, "aeron:udp?endpoint=no.such.host.invalid:1", false);
    let (stat, errors) = (tool("stat", &directory)?, tool("errors", &directory)?);
    driver.finish()?;
    for part in ["Bytes sent", "client-heartbeat", "NAKs sent"] {
        if !stat.contains(part) {
            return Err(format!("stat does not show {part:?}:\n{stat}"));
        }
    }
    let count = errors.lines().last().unwrap_or_default();
    if refused.is_ok() || count != "1 distinct errors observed" {
        return Err(format!("errors does not show the one error:\n{errors}"));
    }
    Ok(format!("{} lines of counters, {count}", stat.lines().count()))
}

fn tool(name: &str, directory: &Path) -> Result<String, String> {
    program(&[name, "--dir", &directory.display().to_string()])
}

/// Runs the `coracle` program, which is built beside this one; returns what it printed.
///
/// # Errors
/// It failed, or cannot be run.
pub(crate) fn program(words: &[&str]) -> Result<String, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let program = own.with_file_name("coracle");
    let output = Command::new(&program).args(words).output();
    let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
    if !output.status.success() {
        return Err(format!("{words:?}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
