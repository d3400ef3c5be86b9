//! Archives on real drivers in a simulated world, and clients that ask them.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // Each test file uses a part.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use archive_client::{
    ArchiveClient, ConnectError, Credentials, FromAnswer, NoCredentials, RecordingSignal,
    RecordingSignalEvent, ReplayLength, ReplayParameters, Request, RequestError, SourceLocation,
};
use client::{Client, CounterTypeId, ExclusivePublication, FragmentAssembler, OfferError};
use coracle_archive::{AllowAll, Authenticator, Config};
use runtime::{Nanos, Ports};
use sim::{HostId, ProcessId, World, WorldOptions};
use wire::position::{Position, StreamId};

pub const STREAM: StreamId = StreamId(1_001);
pub const IPC: &str = "aeron:ipc?term-length=64k";
pub const DIRECTORY: &str = "/archive";

/// One host with a driver, an archive and a client of both.
pub struct Site {
    pub host: HostId,
    pub driver: ProcessId,
    pub archive: ProcessId,
    pub client: Client,
    pub asker: Option<ArchiveClient>,
    pub signals: Vec<RecordingSignalEvent>,
    pub failures: Vec<String>,
    ports: Ports,
    aeron: PathBuf,
    config: Config,
}

/// The world with its sites.
pub struct Lab {
    pub world: World,
    pub sites: Vec<Site>,
    lives: usize,
}

/// Options of a small archive on the host with this address.
pub fn config(address: IpAddr) -> Config {
    let mut config = Config::default();
    config.storage.directory = PathBuf::from(DIRECTORY);
    config.storage.segment_file_length = 128 << 10;
    config.storage.file_io_max_length = 64 << 10;
    config.control.channel = format!("aeron:udp?endpoint={address}:8010");
    config.control.replication_channel = format!("aeron:udp?endpoint={address}:0");
    config
}

impl Lab {
    /// A lab with this many sites, their clients connected to their archives.
    pub fn new(seed: u64, count: u8, tune: impl Fn(&mut Config)) -> Self {
        let world = World::with_options(seed, WorldOptions::drawn(seed));
        let mut lab = Self { world, sites: Vec::new(), lives: 0 };
        for number in 1..=count {
            let address = IpAddr::from([10, 0, 0, number]);
            let host = lab.world.add_host(&format!("host{number}"), &[address]);
            let mut config = config(address);
            tune(&mut config);
            let site = lab.start(host, config, Box::new(AllowAll));
            lab.sites.push(site);
        }
        for site in 0..count.into() {
            lab.connect(site);
        }
        lab
    }

    /// Starts driver, archive and client on a host, in a driver's directory of their own.
    fn start(
        &mut self,
        host: HostId,
        config: Config,
        authenticator: Box<dyn Authenticator>,
    ) -> Site {
        self.lives += 1;
        let aeron = PathBuf::from(format!("/dev/shm/aeron-{}", self.lives));
        let driver = self.spawn_driver(host, &aeron);
        let archive = self.spawn_archive(host, &aeron, &config, authenticator);
        let process = self.world.spawn(host, |_| Vec::new());
        let ports = self.world.ports(process);
        let client = connect_client(&mut self.world, host, &aeron, &ports);
        let (signals, failures) = (Vec::new(), Vec::new());
        Site { host, driver, archive, client, asker: None, signals, failures, ports, aeron, config }
    }

    fn spawn_driver(&mut self, host: HostId, aeron: &Path) -> ProcessId {
        let mut config = driver::Config::at(aeron);
        config.buffers.to_driver_length = (64 << 10) + 768;
        config.buffers.to_clients_length = (256 << 10) + 128;
        config.buffers.counters_values_length = 256 << 10;
        config.buffers.error_log_length = 64 << 10;
        config.buffers.loss_report_length = 16 << 10;
        config.terms.term_length = 64 << 10;
        config.terms.ipc_term_length = 64 << 10;
        let now = self.world.now(host);
        self.world.spawn(host, |ports| {
            let agents = driver::launch(config, ports, now).expect("the driver starts");
            vec![agents.conductor, agents.sender, agents.receiver]
        })
    }

    fn spawn_archive(
        &mut self,
        host: HostId,
        aeron: &Path,
        config: &Config,
        authenticator: Box<dyn Authenticator>,
    ) -> ProcessId {
        let now = self.world.now(host);
        self.world.spawn(host, |ports| {
            let aeron =
                client::Config { directory: aeron.to_path_buf(), ..client::Config::default() };
            let archive = coracle_archive::launch(config.clone(), aeron, authenticator, ports, now);
            vec![Box::new(archive.expect("the archive starts"))]
        })
    }

    /// Kills the archive and starts another on the same directory and driver.
    pub fn restart_archive(&mut self, site: usize) {
        self.world.kill(self.sites[site].archive);
        self.sites[site].asker = None;
        let (host, aeron) = (self.sites[site].host, self.sites[site].aeron.clone());
        let config = self.sites[site].config.clone();
        // Until the driver has noticed, the dead archive's counters are there.
        self.run(Nanos::from_secs(15));
        self.sites[site].archive = self.spawn_archive(host, &aeron, &config, Box::new(AllowAll));
        self.connect(site);
    }

    /// Starts everything on a host anew, after its power was cut.
    pub fn restart_host(&mut self, site: usize) {
        let old = &self.sites[site];
        let (host, config) = (old.host, old.config.clone());
        let new = self.start(host, config, Box::new(AllowAll));
        self.sites[site] = new;
        self.connect(site);
    }

    /// Ends archive and driver and starts others; the archive lets in whom `authenticator` does.
    pub fn replace_archive(&mut self, site: usize, authenticator: Box<dyn Authenticator>) {
        self.world.stop(self.sites[site].archive);
        self.world.stop(self.sites[site].driver);
        self.sites[site].asker = None;
        let (host, config) = (self.sites[site].host, self.sites[site].config.clone());
        self.sites[site] = self.start(host, config, authenticator);
    }

    /// Connects the site's client to its archive.
    pub fn connect(&mut self, site: usize) {
        let asker = self.try_connect(site, Box::new(NoCredentials)).unwrap();
        self.sites[site].asker = Some(asker);
    }

    /// Connects the site's client to an archive elsewhere.
    pub fn connect_over(&mut self, site: usize, control: &str, response: &str) {
        let config = archive_client::Config {
            control_channel: control.to_string(),
            response_channel: response.to_string(),
            ..Default::default()
        };
        let asker = self.try_connect_with(site, config, Box::new(NoCredentials)).unwrap();
        self.sites[site].asker = Some(asker);
    }

    /// The same with credentials, which the archive may refuse.
    pub fn try_connect(
        &mut self,
        site: usize,
        credentials: Box<dyn Credentials>,
    ) -> Result<ArchiveClient, ConnectError> {
        self.try_connect_with(site, archive_client::Config::default(), credentials)
    }

    fn try_connect_with(
        &mut self,
        site: usize,
        config: archive_client::Config,
        credentials: Box<dyn Credentials>,
    ) -> Result<ArchiveClient, ConnectError> {
        let it = &self.sites[site];
        let now = self.world.now(it.host);
        let mut connecting =
            ArchiveClient::connect(config, credentials, &it.client.handle(), now).unwrap();
        loop {
            self.step();
            let now = self.world.now(self.sites[site].host);
            if let Some(asker) = connecting.poll(now)? {
                return Ok(asker);
            }
        }
    }

    /// A little time passes everywhere.
    pub fn step(&mut self) {
        self.world.run_for(Nanos::from_micros(100));
        for site in &mut self.sites {
            let now = self.world.now(site.host);
            let _ = site.client.do_work(now).unwrap();
            if let Some(asker) = &mut site.asker {
                let _ = asker.poll(now);
                while let Some(signal) = asker.next_signal() {
                    site.signals.push(signal);
                }
                while let Some((_, failure)) = asker.next_failure() {
                    site.failures.push(failure.to_string());
                }
            }
            self.world.wake(site.host);
        }
    }

    pub fn run(&mut self, span: Nanos) {
        let end = self.world.elapsed() + span;
        while self.world.elapsed() < end {
            self.step();
        }
    }

    /// Runs until `condition` holds, for at most 30 virtual seconds.
    pub fn until(&mut self, what: &str, mut condition: impl FnMut(&mut Self) -> bool) {
        let end = self.world.elapsed() + Nanos::from_secs(30);
        while !condition(self) {
            assert!(self.world.elapsed() < end, "{what}: seed {}", self.world.seed());
            self.step();
        }
    }

    pub fn asker(&mut self, site: usize) -> &mut ArchiveClient {
        self.sites[site].asker.as_mut().unwrap()
    }

    /// Makes a request and waits for its answer.
    pub fn ask<T: FromAnswer>(
        &mut self,
        site: usize,
        request: impl FnOnce(&mut ArchiveClient) -> Request<T>,
    ) -> Result<T, RequestError> {
        let request = request(self.asker(site));
        for _ in 0..1_000_000 {
            self.step();
            if let Some(answer) = self.asker(site).take(request) {
                return answer;
            }
        }
        panic!("no answer");
    }

    /// Adds an exclusive publication.
    pub fn publication(&mut self, site: usize, channel: &str) -> ExclusivePublication {
        let mut pending = self.sites[site].client.add_exclusive_publication(channel, STREAM);
        for _ in 0..100_000 {
            self.step();
            if let Some(publication) = pending.poll().unwrap() {
                return publication;
            }
        }
        panic!("no publication");
    }

    /// Publishes on `channel` and begins to record it; returns publication and recording.
    pub fn record(&mut self, site: usize, channel: &str) -> (ExclusivePublication, i64) {
        let publication = self.publication(site, channel);
        self.ask(site, |it| it.start_recording(channel, STREAM, SourceLocation::Local, false))
            .unwrap();
        self.until("recording begins", |lab| {
            publication.is_connected() && lab.has_signal(site, RecordingSignal::Start)
        });
        let mut signals = self.sites[site].signals.iter().rev();
        let id = signals.find(|it| it.signal == RecordingSignal::Start).unwrap();
        (publication, id.recording_id)
    }

    pub fn has_signal(&self, site: usize, signal: RecordingSignal) -> bool {
        self.sites[site].signals.iter().any(|it| it.signal == signal)
    }

    /// Names of the files in a directory.
    pub fn file_names(&self, site: usize, directory: &str) -> Vec<String> {
        let listed = self.sites[site].ports.files.list(Path::new(directory)).unwrap();
        listed.into_iter().map(|entry| entry.name).collect()
    }

    /// Publishes numbered messages.
    pub fn publish(
        &mut self,
        publication: &mut ExclusivePublication,
        numbers: std::ops::Range<u32>,
    ) {
        for number in numbers {
            let message = message(number);
            loop {
                match publication.offer(&message) {
                    Ok(_) => break,
                    Err(OfferError::BackPressured | OfferError::AdminAction) => self.step(),
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    /// The published position of an active recording: what a reader of its counter sees.
    pub fn recorded(&self, site: usize, recording_id: i64) -> Option<i64> {
        let counters = self.sites[site].client.counters();
        let mut records = counters.records();
        let found = records.find(|record| {
            record.type_id == CounterTypeId(100) && record.key[..8] == recording_id.to_le_bytes()
        });
        found.map(|record| record.value)
    }

    pub fn await_recorded(&mut self, site: usize, recording_id: i64, position: Position) {
        self.until("all is recorded", |lab| lab.recorded(site, recording_id) == Some(position.0));
    }

    /// Replays a stopped recording to its end and returns the numbers of its messages, having
    /// checked every byte.
    pub fn replay(&mut self, site: usize, recording_id: i64, from: Option<Position>) -> Vec<u32> {
        let parameters = ReplayParameters {
            position: from,
            length: ReplayLength::Follow,
            ..ReplayParameters::default()
        };
        let stream_id = StreamId(7_777);
        let replay = self
            .ask(site, |it| it.replay(recording_id, "aeron:ipc", stream_id, &parameters))
            .unwrap();
        let channel = format!("aeron:ipc?session-id={}", replay.session_id().0);
        let mut pending = self.sites[site].client.add_subscription(&channel, stream_id);
        let mut assembler = FragmentAssembler::new();
        let (mut subscription, mut numbers, mut was_connected) = (None, Vec::new(), false);
        self.until("the replay ends", |_| {
            if subscription.is_none() {
                subscription = pending.poll().unwrap();
            }
            let Some(it) = &mut subscription else { return false };
            it.poll(20, |fragment| {
                assembler.on_fragment(fragment, |whole| numbers.push(number(whole.payload())));
            });
            let has_ended = it.images().next().is_some_and(|image| image.is_end_of_stream());
            was_connected |= it.image_count() > 0;
            was_connected && (it.image_count() == 0 || has_ended)
        });
        numbers
    }

    pub fn stop_position(&mut self, site: usize, recording_id: i64) -> Option<Position> {
        self.ask(site, |it| it.stop_position(recording_id)).unwrap()
    }
}

fn connect_client(world: &mut World, host: HostId, aeron: &Path, ports: &Ports) -> Client {
    let config = client::Config { directory: aeron.to_path_buf(), ..client::Config::default() };
    let mut connecting = Client::connect(config, ports, world.now(host));
    for _ in 0..10_000 {
        world.run_for(Nanos::from_millis(1));
        if let Some(client) = connecting.poll(world.now(host)).unwrap() {
            return client;
        }
    }
    panic!("no driver");
}

/// A message whose length and every byte follow from its number.
pub fn message(number: u32) -> Vec<u8> {
    let length = 4 + (number.wrapping_mul(2_654_435_761) >> 20) as usize % 3_000;
    let mut bytes = vec![number as u8; length];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    bytes
}

/// The number of a message, every byte of which is checked.
pub fn number(bytes: &[u8]) -> u32 {
    let number = u32::from_le_bytes(bytes[..4].try_into().unwrap());
    assert_eq!(bytes, message(number), "message {number} is damaged");
    number
}
