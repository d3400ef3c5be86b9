//! The hidden role of this program: parts of a node of ours, in a process that a test can kill.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use coracle::cluster::authentication::AcceptAll;
use coracle::cluster_service::Container;
use coracle::runtime::agent::Together;
use coracle::runtime::idle::IdleStrategy;
use coracle::runtime::{Agent, Halt, Nanos, Now, Ports, Work};
use coracle::{archive, archive_client, client, cluster, cluster_service, driver, os};

use crate::echo::Echo;

/// The first argument of a process that has this role.
pub(crate) const ARGUMENT: &str = "--member";

/// Bytes of a term: of the driver's streams, of the log, and of a segment file.
const TERM_LENGTH: i32 = 1 << 20;

/// Runs the parts that the arguments (`name=value`) name until standard input ends. Names of
/// options of the consensus module are set in it.
pub(crate) fn run(arguments: impl Iterator<Item = String>) -> ExitCode {
    match parts(arguments).and_then(serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("member: {cause}");
            ExitCode::FAILURE
        }
    }
}

fn serve((agents, ports): (Vec<Box<dyn Agent>>, Ports)) -> Result<(), String> {
    println!("READY");
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stop);
    #[allow(clippy::disallowed_methods)] // One that only waits for the end of the input.
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        seen.store(true, Ordering::Release);
    });
    let together = Box::new(Together::new("member", agents));
    let idle = IdleStrategy::Wait { yields: 10, span_max: Nanos::from_millis(1) };
    match os::thread::run(together, idle, ports.network.as_ref(), &stop) {
        Halt::Terminated => Ok(()),
        failed => Err(failed.to_string()),
    }
}

/// A part that says which it was when it halts.
struct Part(Box<dyn Agent>);

impl Agent for Part {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn on_start(&mut self, now: Now) -> Result<(), Halt> {
        self.0.on_start(now)
    }

    fn do_work(&mut self, now: Now) -> Result<Work, Halt> {
        self.0.do_work(now).map_err(|halt| match halt {
            Halt::Terminated => Halt::Terminated,
            Halt::Failed(cause) => Halt::Failed(format!("{}: {cause}", self.0.name())),
        })
    }

    fn on_close(&mut self, now: Now) {
        self.0.on_close(now);
    }
}

/// What a member is told.
struct Options(BTreeMap<String, String>);

impl Options {
    fn text(&self, name: &str) -> Result<&str, String> {
        self.0.get(name).map(String::as_str).ok_or_else(|| format!("no {name}"))
    }

    fn path(&self, name: &str) -> Result<PathBuf, String> {
        self.text(name).map(PathBuf::from)
    }

    fn client(&self) -> Result<client::Config, String> {
        Ok(client::Config { directory: self.path("aeron")?, ..Default::default() })
    }

    fn driver(&self) -> Result<driver::Config, String> {
        let mut config = driver::Config::at(self.path("aeron")?);
        config.terms.term_length = TERM_LENGTH;
        config.terms.ipc_term_length = TERM_LENGTH;
        Ok(config)
    }

    fn archive(&self) -> Result<archive::Config, String> {
        let mut config = archive::Config::default();
        config.storage.directory = self.path("home")?.join("archive");
        config.storage.segment_file_length = TERM_LENGTH;
        config.control.channel = self.text("control")?.to_string();
        config.control.replication_channel = "aeron:udp?endpoint=127.0.0.1:0".to_string();
        Ok(config)
    }

    fn module(&self) -> Result<cluster::config::Config, String> {
        let mut config = cluster::config::Config::default();
        config.member.directory = self.path("home")?.join("cluster");
        config.channels.replication_channel = "aeron:udp?endpoint=127.0.0.1:0".to_string();
        for (name, value) in self.0.iter().filter(|(name, _)| name.starts_with("aeron.")) {
            config.set(name, value).map_err(|error| error.to_string())?;
        }
        Ok(config)
    }

    fn container(&self) -> Result<cluster_service::Config, String> {
        let directory = self.path("home")?.join("cluster");
        Ok(cluster_service::Config { directory, ..Default::default() })
    }
}

fn parts(arguments: impl Iterator<Item = String>) -> Result<(Vec<Box<dyn Agent>>, Ports), String> {
    let mut options = BTreeMap::new();
    for argument in arguments {
        let (name, value) = argument.split_once('=').ok_or("expected name=value")?;
        options.insert(name.to_string(), value.to_string());
    }
    let options = Options(options);
    let ports = os::ports(None).map_err(|error| error.to_string())?;
    let mut agents = Vec::new();
    for part in options.text("parts")?.split(',') {
        let agent = options.launch(part, &ports).map_err(|cause| format!("{part}: {cause}"))?;
        agents.push(Box::new(Part(agent)) as _);
    }
    Ok((agents, ports))
}

impl Options {
    fn launch(&self, part: &str, ports: &Ports) -> Result<Box<dyn Agent>, String> {
        let now = os::clock::now();
        let client = self.client()?;
        match part {
            "driver" => {
                let agents = driver::launch(self.driver()?, ports, now);
                agents.map(|agents| Box::new(agents.together()) as _).map_err(|it| it.to_string())
            }
            "archive" => {
                let allow = Box::new(archive::AllowAll);
                let archive = archive::launch(self.archive()?, client, allow, ports, now);
                archive.map(|it| Box::new(it) as _).map_err(|it| it.to_string())
            }
            "module" => {
                let accept = Box::new(AcceptAll);
                let archive = archive_client::Config::default();
                let config = self.module()?;
                let module = cluster::launch(config, client, archive, accept, ports, now);
                module.map(|it| Box::new(it) as _).map_err(|it| it.to_string())
            }
            "container" => {
                let service = Box::new(Echo::default());
                let container = Container::launch(self.container()?, client, service, ports, now);
                container.map(|it| Box::new(it) as _).map_err(|it| it.to_string())
            }
            _ => Err("unknown".to_string()),
        }
    }
}
