//! [`ConsensusModule`]: the agent, from looking for its driver to its end.
//!
//! ```text
//! Connecting (driver) -> Joining (streams, counters) -> Archive -> LookUp (the log's recording)
//!     -> Loading (the module's snapshot) -> Running -> Over
//! ```

mod loading;

use std::io;

use archive_client::{
    ArchiveClient, ArchiveError, NoCredentials, Recording, Request, RequestError,
};
use client::{AddError, Client, ClientError, ConnectError, Connecting, Pending, Subscription};
use consensus::{Consensus, RecordingId, SnapshotSet};
use memory::error_log::ErrorLog;
use runtime::duty_cycle::StallTracker;
use runtime::{Agent, Halt, Nanos, Now, Ports, Work};
use wire::archive::rot::RotKey;
use wire::position::Position;

use loading::Loading;

use crate::authentication::Authenticator;
use crate::config::{Config, ConfigError, Settings};
use crate::counters::{self, Gauge, Gauges, Labels};
use crate::directory::{Directory, DirectoryError};
use crate::egress::Egress;
use crate::egress::codec::Announcement;
use crate::ingress::Ingress;
use crate::log_archive::LogArchive;
use crate::members;
use crate::module::{Module, Recovery, State};
use crate::peers::{self, Peers};
use crate::rot;
use crate::services::{self, Services};
use crate::session_counters::SessionCounters;
use crate::snapshot_archive::SnapshotLoadError;

/// The response stream of the module with its archive: services take the ones behind it.
const ARCHIVE_RESPONSE_STREAM: i32 = 120;
/// Response streams that a cluster takes for itself.
const STREAMS_PER_CLUSTER: i32 = 100;
/// For how long the counters of a module that died may stand: the driver waits for its client.
const PREDECESSOR_TIMEOUT: Nanos = Nanos::from_secs(20);
/// How often it is looked whether they are gone, and whether a recording has stopped.
const LOOK_INTERVAL: Nanos = Nanos::from_millis(10);
/// How long after something could not be read the archive may take to say that it is damaged.
const DOUBT: Nanos = Nanos::from_secs(2);

/// Why a module cannot be launched.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// See [`ConfigError`].
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// See [`DirectoryError`].
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Files cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Why a module that was launched does not run.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("no driver: {0}")]
    Connect(#[from] ConnectError),
    #[error("client ended: {0}")]
    Client(#[from] ClientError),
    #[error("driver refused: {0}")]
    Add(#[from] AddError),
    #[error("a module of cluster {0} is running on this driver")]
    Duplicate(i32),
    #[error("no archive: {0}")]
    Archive(#[from] archive_client::ConnectError),
    #[error("archive: {0}")]
    Request(#[from] RequestError),
    #[error("archive: {0}")]
    Disconnected(#[from] archive_client::Disconnected),
    #[error("archive: {0}")]
    Refused(#[from] ArchiveError),
    #[error(
        "the archive has no recording {0}, which recording.log says is the log: the archive's \
         error log says why, docs/archive-files.md what can be done"
    )]
    NoRecording(i64),
    #[error("the snapshot to start from: {0}")]
    Snapshot(#[from] SnapshotLoadError),
    #[error(
        "recording {recording_id}, the log, is rotten at {position}, and the others are too few to \
         elect who could give it back: docs/archive-files.md says what can be done"
    )]
    Rotten { recording_id: i64, position: i64 },
    #[error("no snapshot can be used, and the log begins at {0} only")]
    NoSnapshot(i64),
    #[error("cluster directory: {0}")]
    Io(#[from] io::Error),
}

impl From<StartError> for Halt {
    fn from(error: StartError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// What goes from stage to stage until the module runs.
struct Luggage {
    directory: Directory,
    authenticator: Box<dyn Authenticator>,
    settings: Settings,
    archive: archive_client::Config,
}

enum Stage {
    Connecting(Box<(Connecting, Luggage)>),
    Joining(Box<Joining>),
    Archive(Box<(Joined, archive_client::Connecting)>),
    LookUp(Box<LookUp>),
    Loading(Box<Loading>),
    Running(Box<Module>),
    Over,
}

/// Connected, and waiting for what the driver makes for it.
struct Joining {
    client: Client,
    luggage: Luggage,
    /// Asked for once no module of this cluster is seen any more.
    asked: Option<Asked>,
    deadline: Nanos,
    have: (Option<Services>, Option<Subscription>, Option<Gauges>),
}

struct Asked {
    services: services::Joining,
    peers: Pending<Subscription>,
    counters: counters::Joining,
}

/// Has its streams and counters.
struct Joined {
    client: Client,
    luggage: Luggage,
    services: Services,
    peers: Peers,
    gauges: Gauges,
}

/// Looks for the recording of the log, which must have stopped.
struct LookUp {
    joined: Joined,
    archive: ArchiveClient,
    id: RecordingId,
    step: LookUpStep,
    /// Until when the archive may say why it does not have it.
    deadline: Nanos,
}

enum LookUpStep {
    List(Request<Option<Recording>>),
    Stop(Request<bool>),
    /// The archive took it out of service for its damage: it is cut where that begins.
    Cut(Request<i64>),
    Pause {
        until: Nanos,
    },
}

/// One member's consensus module. Steps its own client of the driver; one thread, or part of one,
/// is all it needs.
pub struct ConsensusModule {
    name: String,
    config: Config,
    ports: Ports,
    stage: Stage,
}

/// Opens the cluster directory and begins to look for the driver in `aeron.directory`, then for
/// the archive on it.
///
/// Answers of the archive come on stream `cluster id * 100 + 120`, whatever `archive` says. Blocks
/// on files, in proportion to what was left; the agent does not.
///
/// # Errors
/// See [`LaunchError`]. Nothing runs then.
pub fn launch(
    config: Config,
    aeron: client::Config,
    archive: archive_client::Config,
    authenticator: Box<dyn Authenticator>,
    ports: &Ports,
    now: Now,
) -> Result<ConsensusModule, LaunchError> {
    let settings = config.check()?;
    let name = format!("consensus-module-{}", config.member.cluster_id);
    let stream = archive.control_stream_id;
    let who = authenticator.name().to_string();
    let directory = Directory::open(ports, &config, &aeron.directory, stream, &who, now)?;
    let archive = archive_client::Config {
        response_stream_id: config.member.cluster_id * STREAMS_PER_CLUSTER
            + ARCHIVE_RESPONSE_STREAM,
        client_name: if archive.client_name.is_empty() {
            name.clone()
        } else {
            archive.client_name
        },
        ..archive
    };
    let aeron = client::Config {
        name: if aeron.name.is_empty() { name.clone() } else { aeron.name },
        ..aeron
    };
    let connecting = Client::connect(aeron, ports, now);
    let luggage = Luggage { directory, authenticator, settings, archive };
    let stage = Stage::Connecting(Box::new((connecting, luggage)));
    Ok(ConsensusModule { name, config, ports: ports.clone(), stage })
}

impl ConsensusModule {
    /// The core, once the module runs: for tests and tools of the same process.
    #[must_use]
    pub fn core(&self) -> Option<&Consensus> {
        match &self.stage {
            Stage::Running(module) => Some(&module.core),
            _ => None,
        }
    }

    fn step(&mut self, now: Now) -> Result<Work, Halt> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Connecting(it) => Ok(self.connect(it, now)?),
            Stage::Joining(it) => Ok(self.join(it, now)?),
            Stage::Archive(it) => Ok(self.find_archive(it, now)?),
            Stage::LookUp(it) => Ok(self.look_up(it, now)?),
            Stage::Loading(it) => Ok(self.load(it, now)?),
            Stage::Running(mut module) => {
                let work = module.do_work(now);
                // Kept also when it halts: closing needs it.
                self.stage = Stage::Running(module);
                work
            }
            Stage::Over => Err(Halt::Terminated),
        }
    }

    fn connect(
        &mut self,
        mut it: Box<(Connecting, Luggage)>,
        now: Now,
    ) -> Result<Work, StartError> {
        let beat = it.1.directory.mark_file.beat(now);
        let Some(client) = it.0.poll(now)? else {
            let due = it.0.next_deadline().min(beat);
            self.stage = Stage::Connecting(it);
            return Ok(Work::NONE.due(due));
        };
        let luggage = it.1;
        let deadline = now.mono + PREDECESSOR_TIMEOUT;
        let have = (None, None, None);
        let joining = Joining { client, luggage, asked: None, deadline, have };
        self.stage = Stage::Joining(Box::new(joining));
        Ok(Work::done(1))
    }

    fn join(&mut self, mut it: Box<Joining>, now: Now) -> Result<Work, StartError> {
        let work = it.client.do_work(now)?.due(it.luggage.directory.mark_file.beat(now));
        let cluster_id = self.config.member.cluster_id;
        if it.asked.is_none() {
            if is_running_elsewhere(&it.client, cluster_id) {
                if now.mono >= it.deadline {
                    return Err(StartError::Duplicate(cluster_id));
                }
                self.stage = Stage::Joining(it);
                return Ok(work.due(now.mono + LOOK_INTERVAL));
            }
            it.asked = Some(self.ask(&it.client, &it.luggage.settings));
        }
        if !it.poll()? {
            self.stage = Stage::Joining(it);
            return Ok(work);
        }
        let Joining { client, luggage, have: (Some(services), Some(peers), Some(gauges)), .. } =
            *it
        else {
            return Err(ClientError::Closed.into());
        };
        let (channels, version) = (&self.config.channels, self.config.app_version);
        let handle = client.handle();
        let peers = Peers::new(&handle, peers, &luggage.settings, channels, version);
        let config = luggage.archive.clone();
        let archive = ArchiveClient::connect(config, Box::new(NoCredentials), &handle, now)?;
        let joined = Joined { client, luggage, services, peers, gauges };
        self.stage = Stage::Archive(Box::new((joined, archive)));
        Ok(Work::done(1))
    }

    fn ask(&self, client: &Client, settings: &Settings) -> Asked {
        let handle = client.handle();
        let labels = Labels {
            cluster_id: self.config.member.cluster_id,
            cycle_threshold: self.config.limits.cycle_threshold,
            snapshot_threshold: self.config.limits.total_snapshot_threshold,
            version: format!("version={} commit=coracle", env!("CARGO_PKG_VERSION")),
        };
        Asked {
            services: services::Joining::ask(&handle, &self.config.channels),
            peers: peers::subscribe(&handle, settings, &self.config.channels),
            counters: counters::Joining::ask(&handle, &labels),
        }
    }

    fn find_archive(
        &mut self,
        mut it: Box<(Joined, archive_client::Connecting)>,
        now: Now,
    ) -> Result<Work, StartError> {
        let work = it.0.step(now)?.due(it.1.deadline());
        let Some(mut archive) = it.1.poll(now)? else {
            self.stage = Stage::Archive(it);
            return Ok(work);
        };
        let joined = it.0;
        match joined.luggage.directory.recording_id() {
            None => self.start(joined, archive, None, now),
            Some(id) => {
                let step = LookUpStep::List(archive.list_recording(id.0));
                let deadline = now.mono + DOUBT;
                let look_up = LookUp { joined, archive, id, step, deadline };
                self.stage = Stage::LookUp(Box::new(look_up));
                Ok(Work::done(1))
            }
        }
    }

    fn look_up(&mut self, mut it: Box<LookUp>, now: Now) -> Result<Work, StartError> {
        let work = it.joined.step(now)?.and(it.archive.poll(now)?);
        let LookUp { joined, archive, id, step, deadline } = &mut *it;
        let (next, done) = match step {
            LookUpStep::List(request) => match archive.take(*request).transpose()? {
                None => (None, 0),
                Some(None) => match rot::of(&joined.client.handle(), archive, *id) {
                    Some(rot) => {
                        joined.lose(rot)?;
                        (
                            Some(LookUpStep::Cut(
                                archive.truncate_recording(id.0, Position(rot.position)),
                            )),
                            1,
                        )
                    }
                    None if now.mono >= *deadline => return Err(StartError::NoRecording(id.0)),
                    None => (Some(LookUpStep::Pause { until: now.mono + LOOK_INTERVAL }), 0),
                },
                Some(Some(recording)) if recording.stop_position.is_some() => {
                    let LookUp { joined, archive, .. } = *it;
                    return self.start(joined, archive, Some(recording), now);
                }
                // An earlier life of this module left it running in an archive of its own.
                Some(Some(_)) => {
                    (Some(LookUpStep::Stop(archive.stop_recording_by_identity(id.0))), 1)
                }
            },
            LookUpStep::Stop(request) => match archive.take(*request).transpose()? {
                None => (None, 0),
                Some(_) => (Some(LookUpStep::Pause { until: now.mono + LOOK_INTERVAL }), 1),
            },
            LookUpStep::Cut(request) => match archive.take(*request).transpose()? {
                None => (None, 0),
                Some(_) => (Some(LookUpStep::Pause { until: now.mono + LOOK_INTERVAL }), 1),
            },
            LookUpStep::Pause { until } if now.mono >= *until => {
                (Some(LookUpStep::List(archive.list_recording(id.0))), 1)
            }
            LookUpStep::Pause { .. } => (None, 0),
        };
        if let Some(next) = next {
            *step = next;
        }
        self.stage = Stage::LookUp(it);
        Ok(work.and(Work::done(done)).due(now.mono + LOOK_INTERVAL))
    }

    fn run(
        &mut self,
        joined: Joined,
        archive: ArchiveClient,
        recording: Option<Recording>,
        core: Consensus,
        set: Option<&SnapshotSet>,
    ) {
        let Joined { client, luggage, services, peers, gauges } = joined;
        let Luggage { mut directory, authenticator, settings, .. } = luggage;
        let findings = std::mem::take(&mut directory.findings);
        let handle = client.handle();
        let (key, label) = counters::recovery(set, self.config.member.cluster_id);
        let recovery = Recovery::Asked(handle.add_counter(counters::RECOVERY_TYPE, &key, &label));
        let announcement = Announcement {
            member_id: settings.own.id.0,
            ingress_endpoints: members::ingress_endpoints(&settings.members),
            leader_heartbeat_timeout: settings.consensus.timeouts.announced_to_clients(),
        };
        let (persister, mark, lock) = directory.into_parts(&self.ports);
        let module = Module {
            log: LogArchive::new(archive, &handle, &settings, &self.config, recording),
            services,
            peers,
            egress: Egress::new(handle.clone(), announcement),
            sessions: SessionCounters::new(handle.clone(), self.config.member.cluster_id),
            ingress: Ingress::new(&handle, &settings, &self.config.channels),
            gauges,
            recovery,
            persister,
            authenticator,
            errors: ErrorLog::new(mark.error_log()),
            mark,
            _lock: lock,
            stalls: StallTracker::new(self.config.limits.cycle_threshold),
            state: State::new(findings),
            client,
            core,
            settings,
            config: self.config.clone(),
        };
        self.stage = Stage::Running(Box::new(module));
    }
}

impl Joining {
    /// Takes what the driver has made; true once all of it is there.
    fn poll(&mut self) -> Result<bool, AddError> {
        let Some(asked) = &mut self.asked else { return Ok(false) };
        let (services, peers, gauges) = &mut self.have;
        if services.is_none() {
            *services = asked.services.poll(&self.client.handle())?;
        }
        if peers.is_none() {
            *peers = asked.peers.poll()?;
        }
        if gauges.is_none() {
            *gauges = asked.counters.poll()?;
        }
        Ok(services.is_some() && peers.is_some() && gauges.is_some())
    }
}

impl Joined {
    /// The log is damaged: that is durable before it is cut (rule H3), and worth cutting only where
    /// the others can give it back (H1).
    fn lose(&mut self, rot: RotKey) -> Result<(), StartError> {
        let RotKey { recording_id, position, end, .. } = rot;
        let Luggage { directory, settings, .. } = &mut self.luggage;
        if settings.members.len() <= settings.consensus.quorum() {
            return Err(StartError::Rotten { recording_id, position });
        }
        let text = format!("the log is rotten at {position}, of {end}: lost until it is regained");
        directory.findings.push(text);
        Ok(directory.lose(Position(position), Position(end))?)
    }

    fn step(&mut self, now: Now) -> Result<Work, StartError> {
        let work = self.client.do_work(now)?;
        Ok(work.due(self.luggage.directory.mark_file.beat(now)))
    }
}

/// The state counter of a module shows that it runs.
fn is_running_elsewhere(client: &Client, cluster_id: i32) -> bool {
    client.counters().records().any(|record| {
        record.type_id == Gauge::ModuleState.type_id()
            && record.key[..4] == cluster_id.to_le_bytes()
    })
}

impl Agent for ConsensusModule {
    fn name(&self) -> &str {
        &self.name
    }

    fn do_work(&mut self, now: Now) -> Result<Work, Halt> {
        self.step(now)
    }

    fn on_close(&mut self, _now: Now) {
        if let Stage::Running(module) = &mut self.stage {
            module.close();
        }
        self.stage = Stage::Over;
    }
}
