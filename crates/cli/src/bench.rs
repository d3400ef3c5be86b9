//! `coracle bench`: how fast, beside genuine Aeron if it is at hand.
//!
//! Each measurement is taken in pairs, ours and theirs in turn, on the same processes with the same
//! settings, so that what else the machine does hits both alike; it is stated with each figure.

mod archive;
mod cluster;
mod cpu;
mod ipc;
mod latency;
mod memory;
mod pairs;
mod report;
mod roles;
mod side;
mod udp;

use std::path::PathBuf;

use coracle::runtime::Nanos;

use crate::Failure;
use pairs::{Case, Setting};
use side::{Genuine, WorkDirectory};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Streams within one host, through shared memory.
    Ipc(Settings),
    /// Streams from driver to driver, through the loopback interface.
    Udp(Settings),
    /// Recording and replaying streams of one host.
    Archive(Settings),
    /// Three members that echo what a client sends.
    Cluster(Settings),
    /// One process of a measurement; started by the others.
    #[command(hide = true)]
    Role {
        /// Which.
        name: String,
        /// NAME=VALUE each.
        options: Vec<String>,
    },
}

#[derive(clap::Args)]
struct Settings {
    /// Measure genuine Aeron too, from the jar of its release (aeron-all). Needs java and javac.
    #[arg(long, value_name = "CLASSPATH")]
    genuine: Option<String>,
    /// How often each side is measured.
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Seconds that a measurement takes.
    #[arg(long, default_value_t = 3)]
    seconds: u16,
    /// Seconds before it, for compilers and caches.
    #[arg(long, default_value_t = 4)]
    warm_up: u16,
    /// Wait this long, in seconds, before each pair for the machine to fall quiet.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    patience: u16,
    /// Only measurements with this in their title.
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Where recordings go; a directory of its own is made there and removed.
    #[arg(long, value_name = "DIRECTORY", default_value_os_t = std::env::temp_dir())]
    disk: PathBuf,
    /// Touch so many GiB of memory before each measurement: where a hypervisor takes back what is
    /// free, the first touch of a page waits for it, and recordings take a new page each 4 KiB.
    #[arg(long, value_name = "GIB", default_value_t = 0)]
    touch: u16,
    /// Another value for an option of all our processes.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    ours: Vec<(String, String)>,
    /// Another value for an option of all processes of genuine Aeron.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    theirs: Vec<(String, String)>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.what {
        What::Ipc(settings) => measure(settings, &ipc::CASES),
        What::Udp(settings) => measure(settings, &udp::CASES),
        What::Archive(settings) => measure(settings, &archive::CASES),
        What::Cluster(settings) => measure(settings, &cluster::CASES),
        What::Role { name, options } => roles::run(name, options),
    }
}

/// An option as it is told to a process.
fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("not NAME=VALUE")?;
    Ok((name.to_string(), value.to_string()))
}

fn measure(settings: &Settings, cases: &[Case]) -> Result<(), Failure> {
    // Shared memory, where the host has it: drivers live there.
    let memory = PathBuf::from("/dev/shm");
    let memory = if memory.is_dir() { memory } else { std::env::temp_dir() };
    let memory = WorkDirectory::make(&memory)?;
    let disk = WorkDirectory::make(&settings.disk)?;
    let genuine = settings.genuine.as_deref();
    let setting = Setting {
        genuine: genuine.map(|jar| Genuine::prepare(jar, memory.path())).transpose()?,
        memory: memory.path().to_path_buf(),
        disk: disk.path().to_path_buf(),
        pairs: settings.pairs.max(1),
        patience: Nanos::from_secs(i64::from(settings.patience)),
        span: Nanos::from_secs(i64::from(settings.seconds.max(1))),
        warm_up: Nanos::from_secs(i64::from(settings.warm_up.max(1))),
        touch: usize::from(settings.touch) << 30,
        ours: settings.ours.clone(),
        theirs: settings.theirs.clone(),
    };
    for case in cases.iter().filter(|case| case.title.contains(&settings.only)) {
        pairs::run(case, &setting)?;
    }
    Ok(())
}
