//! The snapshot of a whole node: log, recordings of the snapshot, catalog and `recording.log`
//! together, written by module, service and archive.

use std::net::IpAddr;
use std::path::Path;

use archive::catalog::{Catalog, Recording};
use client::Client;
use cluster::authentication::AcceptAll;
use cluster::counters::Gauge;
use cluster::directory::{Directory, DirectoryError};
use cluster::mark_file::MarkFileError;
use cluster::recording_log::RecordingLog;
use cluster_client::{ClusterClient, EgressEvent, NoCredentials};
use consensus::{SnapshotSet, newest_snapshot};
use node::{EchoService, Members, Settings};
use runtime::{Nanos, Now, Ports};
use sim::{HostId, Image, Journal, ProcessId, World};

use super::model::{self, content};
use super::{Fault, Outcome, Scene, later};

const ROOT: &str = "/node";
const SNAPSHOT: i64 = 4;
const PATIENCE_MS: u32 = 60_000;

fn config() -> Result<node::Config, String> {
    let hosts = vec!["10.0.0.1".to_string()];
    let members = Members::Hosts { hosts, base_port: 20_000 };
    let aeron_directory = Some("/dev/shm/aeron".into());
    let term_length = Some(64 << 10);
    let settings = Settings { aeron_directory, term_length, ..Settings::new(ROOT, 0, members) };
    let mut config = settings.config().map_err(|error| error.to_string())?;
    config.archive.storage.segment_file_length = 64 << 10;
    config.archive.storage.catalog_capacity = 4 << 10;
    Ok(config)
}

/// What was known at a mark.
#[derive(Clone)]
struct Fact {
    /// Up to here the log was committed, and somebody had an answer that rests on it.
    committed: i64,
    /// The newest snapshot, with what its recordings held.
    snapshot: Option<Snapshot>,
}

#[derive(Clone)]
struct Snapshot {
    set: SnapshotSet,
    recordings: Vec<(Recording, Vec<u8>)>,
}

struct Run {
    world: World,
    host: HostId,
    node: ProcessId,
    ports: Ports,
    observer: Client,
    journal: Journal,
    facts: Vec<Fact>,
}

impl Run {
    fn new(seed: u64) -> Result<Self, Fault> {
        let config = config().map_err(Fault::run)?;
        let mut world = World::new(seed);
        let host = world.add_host("host", &[IpAddr::from([10, 0, 0, 1])]);
        let journal = world.watch(host, Path::new(ROOT));
        let (now, transport) = (world.now(host), config.client.clone());
        let mut failed = None;
        let node = world.spawn(host, |ports| {
            let services = vec![Box::new(EchoService::default()) as _];
            match node::launch(config, services, Box::new(AcceptAll), ports, now) {
                Ok(agents) => vec![Box::new(agents.together())],
                Err(error) => {
                    failed = Some(error.to_string());
                    Vec::new()
                }
            }
        });
        if let Some(error) = failed {
            return Err(Fault::run(error));
        }
        let process = world.spawn(host, |_| Vec::new());
        let ports = world.ports(process);
        let observer = connect(&mut world, host, transport, &ports)?;
        Ok(Self { world, host, node, ports, observer, journal, facts: Vec::new() })
    }

    fn until(
        &mut self,
        what: &str,
        mut condition: impl FnMut(&mut Self) -> Result<bool, Fault>,
    ) -> Result<(), Fault> {
        for _ in 0..PATIENCE_MS {
            let now = self.world.now(self.host);
            let _ = self.observer.do_work(now).map_err(Fault::run)?;
            self.world.wake(self.host);
            self.world.run_for(Nanos::from_millis(1));
            if condition(self)? {
                return Ok(());
            }
        }
        Err(Fault::run(format!("waited in vain for {what}")))
    }

    fn gauge(&self, gauge: Gauge) -> Option<i64> {
        let mut records = self.observer.counters().records();
        records.find(|record| record.type_id == gauge.type_id()).map(|record| record.value)
    }

    /// Sends messages in a session of their own; what their answers rest on is noted.
    fn echo(&mut self, count: usize) -> Result<(), Fault> {
        let config = cluster_client::Config {
            ingress_endpoints: "0=10.0.0.1:20002".to_string(),
            egress_channel: "aeron:udp?endpoint=10.0.0.1:0".to_string(),
            ..cluster_client::Config::default()
        };
        let transport = super::snapshots::config().map_err(Fault::run)?.client;
        let ports = self.ports.clone();
        let transport = connect(&mut self.world, self.host, transport, &ports)?;
        let now = self.world.now(self.host);
        let mut client = ClusterClient::connect(config, Box::new(NoCredentials), transport, now);
        let message = [7; 900];
        let (mut sent, mut answered) = (0, 0);
        self.until("echoes", |run| {
            let now = run.world.now(run.host);
            let _ = client.do_work(now).map_err(Fault::run)?;
            // No more than answers find room for: an echo that does not is dropped.
            let limit = count.min(answered + 20);
            while client.is_connected() && sent < limit && client.offer(&message).is_ok() {
                sent += 1;
            }
            client.poll(10, now, |event| {
                answered += usize::from(matches!(event, EgressEvent::Message { .. }));
            });
            Ok(answered == count)
        })?;
        self.note(None)
    }

    /// The node's own files.
    fn image(&self) -> Image {
        let Image { mut directories, mut files, mut modified } = self.world.image(self.host);
        directories.retain(|path| path.starts_with(ROOT));
        files.retain(|path, _| path.starts_with(ROOT));
        modified.retain(|path, _| path.starts_with(ROOT));
        Image { directories, files, modified }
    }

    fn note(&mut self, snapshot: Option<Snapshot>) -> Result<(), Fault> {
        let committed = self.gauge(Gauge::CommitPosition).unwrap_or(0);
        let snapshot = snapshot.or_else(|| self.facts.last().and_then(|it| it.snapshot.clone()));
        self.facts.push(Fact { committed, snapshot });
        self.journal.mark(self.facts.len());
        Ok(())
    }

    /// Takes a snapshot as an operator does, and keeps what it holds.
    fn take(&mut self, number: i64) -> Result<(), Fault> {
        let toggle = Gauge::ControlToggle;
        self.until("a leader", |run| Ok(run.gauge(toggle) == Some(1)))?;
        let counters = self.observer.counters();
        let record = counters.records().find(|record| record.type_id == toggle.type_id());
        let id = record.ok_or_else(|| Fault::run("no toggle"))?.id;
        let mut writer = counters.writer_unchecked(id).map_err(Fault::run)?;
        if !writer.replace(1, SNAPSHOT) {
            return Err(Fault::run("the toggle is in use"));
        }
        self.until("a snapshot", |run| Ok(run.gauge(Gauge::SnapshotCount) == Some(number)))?;
        // It counts when it is taken, which is before it stands in the file.
        let before = self.facts.last().and_then(|fact| fact.snapshot.as_ref());
        let before = before.map(|it| it.set.clone());
        let mut newest = None;
        self.until("its entry", |run| {
            newest = run.newest()?.filter(|it| Some(&it.set) != before.as_ref());
            Ok(newest.is_some())
        })?;
        self.note(newest)
    }

    fn newest(&self) -> Result<Option<Snapshot>, Fault> {
        let config = config().map_err(Fault::run)?;
        let files = &*self.ports.files;
        // As tools do it: the file as it is.
        let path = &config.cluster.member.directory;
        let log = RecordingLog::read(&self.ports.files, path).map_err(Fault::run)?;
        let Some(set) = newest_snapshot(&log.snapshots(), 1) else { return Ok(None) };
        let path = &config.archive.storage.directory;
        let catalog = Catalog::open(&self.ports.files, path, 32, None).map_err(Fault::run)?;
        let mut recordings = Vec::new();
        for id in [set.module].iter().chain(&set.services) {
            let found = catalog.get(id.0).ok_or_else(|| Fault::run("a snapshot is gone"))?;
            // Nobody waits for its end to count.
            if found.is_active() {
                return Ok(None);
            }
            let bytes = content(found, files, path).map_err(Fault::run)?;
            recordings.push((found.clone(), bytes));
        }
        Ok(Some(Snapshot { set, recordings }))
    }
}

fn connect(
    world: &mut World,
    host: HostId,
    config: client::Config,
    ports: &Ports,
) -> Result<Client, Fault> {
    let mut connecting = Client::connect(config, ports, world.now(host));
    for _ in 0..PATIENCE_MS {
        if let Some(client) = connecting.poll(world.now(host)).map_err(Fault::run)? {
            return Ok(client);
        }
        world.wake(host);
        world.run_for(Nanos::from_millis(1));
    }
    Err(Fault::run("no driver"))
}

/// A node's files at the end of its life.
pub(crate) struct Lives {
    pub(crate) image: Image,
    /// After its first snapshot.
    pub(crate) older: Image,
    pub(crate) now: Now,
}

/// A life with two snapshots, ended by a kill or in order.
pub(crate) fn lives(seed: u64, is_killed: bool) -> Result<Lives, Fault> {
    let mut run = Run::new(seed)?;
    run.echo(20)?;
    run.take(1)?;
    let older = run.image();
    run.echo(90)?;
    run.take(2)?;
    run.echo(3)?;
    if is_killed {
        run.world.kill(run.node);
    } else {
        run.world.stop(run.node);
    }
    Ok(Lives { image: run.image(), older, now: run.world.now(run.host) })
}

/// Opens the directories of archive and module as the node does.
pub(crate) fn open(
    ports: &Ports,
    now: Now,
) -> Result<(archive::directory::Directory, Directory), String> {
    open_both(&config()?, ports, now).map(|(archive, directory, _)| (archive, directory))
}

fn open_both(
    config: &node::Config,
    ports: &Ports,
    now: Now,
) -> Result<(archive::directory::Directory, Directory, Outcome), String> {
    let mut config = config.clone();
    config.cluster.member.error_buffer_length = 4 << 10;
    let (archive, outcome) = model::open(ports, &config.archive, now)?;
    let open = |now| {
        let (cluster, aeron) = (&config.cluster, Path::new("/dev/shm/aeron"));
        Directory::open(ports, cluster, aeron, 10, "accept all", now)
    };
    let directory = match open(now) {
        Err(DirectoryError::Mark(MarkFileError::Active { .. })) => {
            open(later(now, Nanos::from_secs(11)))
        }
        other => other,
    };
    Ok((archive, directory.map_err(|error| error.to_string())?, outcome))
}

/// Two snapshots, with work before, between and after.
pub(super) fn snapshot(seed: u64) -> Result<Scene, Fault> {
    let mut run = Run::new(seed)?;
    run.echo(20)?;
    run.take(1)?;
    run.echo(60)?;
    run.take(2)?;
    run.echo(3)?;
    let facts = run.facts;
    let judge = move |ports: &Ports, now, known: usize| judge(&facts, ports, now, known);
    let end = run.world.now(run.host);
    Ok(Scene { events: run.journal.events(), judge: Box::new(judge), end })
}

fn judge(facts: &[Fact], ports: &Ports, now: Now, known: usize) -> Result<Outcome, String> {
    let config = config()?;
    let (archive, directory, outcome) = open_both(&config, ports, now)?;
    let found = newest_snapshot(&directory.recording_log.snapshots(), 1);
    let told = known.checked_sub(1).and_then(|at| facts.get(at));
    // What was told last, or what was under way when the power was cut.
    let under_way = facts.get(known).and_then(|fact| fact.snapshot.as_ref());
    let last = told.and_then(|fact| fact.snapshot.as_ref());
    let is_of = |it: &&Snapshot| Some(&it.set) == found.as_ref();
    let snapshot = [last, under_way].into_iter().flatten().find(is_of);
    if snapshot.is_none() && (found.is_some() || last.is_some()) {
        return Err(format!("snapshot {found:?}, told was {:?}", last.map(|it| &it.set)));
    }
    for (recording, bytes) in snapshot.iter().flat_map(|it| &it.recordings) {
        let Some(there) = archive.catalog.get(recording.id) else {
            return Err(format!("recording {} of the snapshot is lost", recording.id));
        };
        if there.stop_position != recording.stop_position {
            return Err(format!("recording of the snapshot: {there:?}, it was {recording:?}"));
        }
        let held = content(there, &*ports.files, &config.archive.storage.directory);
        if held.map_err(|error| error.to_string())? != *bytes {
            return Err(format!("recording {} of the snapshot is not the same", recording.id));
        }
    }
    let Some(told) = told else { return Ok(outcome) };
    let log = directory.recording_id().and_then(|id| archive.catalog.get(id.0));
    let Some(log) = log else { return Err("the log is lost".to_string()) };
    let position = snapshot.map_or(0, |it| it.set.position.0);
    if log.stop_position < told.committed.max(position) {
        return Err(format!("log ends at {}, told was {}", log.stop_position, told.committed));
    }
    Ok(outcome)
}
