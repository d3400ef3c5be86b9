//! One host with a driver, an archive whose files are watched, and a client that asks it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use archive_client::{
    ArchiveClient, FromAnswer, NoCredentials, RecordingSignal, RecordingSignalEvent, Request,
    RequestError, SourceLocation,
};
use client::{Client, CounterTypeId, ExclusivePublication, OfferError};
use runtime::{Nanos, Ports};
use sim::{HostId, Journal, World};
use wire::position::{Position, StreamId};

use super::Fault;

/// The archive's directory.
pub(super) const DIRECTORY: &str = "/archive";
/// The stream that is recorded.
pub(super) const STREAM: StreamId = StreamId(1_001);
/// Its channel.
pub(super) const IPC: &str = "aeron:ipc?term-length=64k";
/// Length of a segment file.
pub(super) const SEGMENT: i64 = 64 << 10;

const AERON: &str = "/dev/shm/aeron";

/// How long anything may take.
const PATIENCE: Nanos = Nanos::from_secs(60);

/// The host. `Fact` is what becomes known in the course of a run.
pub(super) struct Bed<Fact> {
    pub(super) world: World,
    pub(super) host: HostId,
    ports: Ports,
    client: Client,
    asker: Option<ArchiveClient>,
    signals: Vec<RecordingSignalEvent>,
    pub(super) journal: Journal,
    pub(super) facts: Vec<Fact>,
    next_number: u32,
}

/// Options of the archive in every run: all is durable before it is told.
pub(super) fn config(has_checksums: bool) -> archive::Config {
    let mut config = archive::Config::default();
    config.storage.directory = PathBuf::from(DIRECTORY);
    config.storage.segment_file_length = SEGMENT as i32;
    config.storage.file_io_max_length = 64 << 10;
    config.storage.catalog_capacity = 4 << 10;
    config.storage.file_sync_level = archive::config::SyncLevel::Data;
    config.storage.catalog_file_sync_level = archive::config::SyncLevel::Data;
    config.storage.record_checksum = has_checksums.then_some(archive::checksum::Checksum::Crc32c);
    config.storage.guards = has_checksums;
    config.control.channel = "aeron:udp?endpoint=10.0.0.1:8010".to_string();
    config
}

impl<Fact> Bed<Fact> {
    pub(super) fn new(seed: u64, config: &archive::Config) -> Result<Self, Fault> {
        let mut world = World::new(seed);
        let host = world.add_host("host", &[IpAddr::from([10, 0, 0, 1])]);
        let journal = world.watch(host, Path::new(DIRECTORY));
        let mut driver = driver::Config::at(AERON);
        driver.buffers.counters_values_length = 256 << 10;
        driver.terms.term_length = 64 << 10;
        driver.terms.ipc_term_length = 64 << 10;
        let now = world.now(host);
        let mut failed = None;
        world.spawn(host, |ports| match driver::launch(driver, ports, now) {
            Ok(agents) => vec![agents.conductor, agents.sender, agents.receiver],
            Err(error) => {
                failed = Some(error.to_string());
                Vec::new()
            }
        });
        let aeron = client::Config { directory: PathBuf::from(AERON), ..Default::default() };
        world.spawn(host, |ports| {
            let everybody = Box::new(archive::AllowAll);
            match archive::launch(config.clone(), aeron.clone(), everybody, ports, now) {
                Ok(archive) => vec![Box::new(archive)],
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
        let mut connecting = Client::connect(aeron, &ports, now);
        let client = loop {
            world.run_for(Nanos::from_millis(1));
            let polled = connecting.poll(world.now(host)).map_err(Fault::run)?;
            if let Some(client) = polled {
                break client;
            }
        };
        let mut bed = Self {
            world,
            host,
            ports,
            client,
            asker: None,
            signals: Vec::new(),
            journal,
            facts: Vec::new(),
            next_number: 0,
        };
        bed.connect()?;
        Ok(bed)
    }

    fn connect(&mut self) -> Result<(), Fault> {
        let (config, now) = (archive_client::Config::default(), self.world.now(self.host));
        let handle = self.client.handle();
        let connecting = ArchiveClient::connect(config, Box::new(NoCredentials), &handle, now);
        let mut connecting = connecting.map_err(Fault::run)?;
        self.until("an archive", |bed| {
            let now = bed.world.now(bed.host);
            bed.asker = connecting.poll(now).map_err(Fault::run)?;
            Ok(bed.asker.is_some())
        })
    }

    /// Something is known from here on.
    pub(super) fn note(&mut self, fact: Fact) {
        self.facts.push(fact);
        self.journal.mark(self.facts.len());
    }

    fn step(&mut self) -> Result<(), Fault> {
        self.world.run_for(Nanos::from_micros(50));
        let now = self.world.now(self.host);
        let _ = self.client.do_work(now).map_err(Fault::run)?;
        if let Some(asker) = &mut self.asker {
            let _ = asker.poll(now).map_err(Fault::run)?;
            while let Some(signal) = asker.next_signal() {
                self.signals.push(signal);
            }
            if let Some((_, failure)) = asker.next_failure() {
                return Err(Fault::run(failure));
            }
        }
        self.world.wake(self.host);
        Ok(())
    }

    pub(super) fn until(
        &mut self,
        what: &str,
        mut condition: impl FnMut(&mut Self) -> Result<bool, Fault>,
    ) -> Result<(), Fault> {
        let end = self.world.elapsed() + PATIENCE;
        while !condition(self)? {
            if self.world.elapsed() >= end {
                return Err(Fault::run(format!("waited in vain for {what}")));
            }
            self.step()?;
        }
        Ok(())
    }

    /// Makes a request and waits for its answer.
    pub(super) fn ask<T: FromAnswer>(
        &mut self,
        request: impl FnOnce(&mut ArchiveClient) -> Request<T>,
    ) -> Result<T, Fault> {
        let asker = self.asker.as_mut().ok_or_else(|| Fault::run("no archive"))?;
        let request = request(asker);
        let mut answer: Option<Result<T, RequestError>> = None;
        self.until("an answer", |bed| {
            answer = bed.asker.as_mut().and_then(|asker| asker.take(request));
            Ok(answer.is_some())
        })?;
        answer.ok_or_else(|| Fault::run("no answer"))?.map_err(Fault::run)
    }

    /// Waits for a signal and forgets those before it.
    pub(super) fn await_signal(
        &mut self,
        wanted: RecordingSignal,
    ) -> Result<RecordingSignalEvent, Fault> {
        let mut found = None;
        self.until("a signal", |bed| {
            let at = bed.signals.iter().position(|signal| signal.signal == wanted);
            found = at.and_then(|at| bed.signals.drain(..=at).next_back());
            Ok(found.is_some())
        })?;
        found.ok_or_else(|| Fault::run("no signal"))
    }

    pub(super) fn publication(
        &mut self,
        channel: &str,
        stream: StreamId,
    ) -> Result<ExclusivePublication, Fault> {
        let mut pending = self.client.add_exclusive_publication(channel, stream);
        let mut publication = None;
        self.until("a publication", |_| {
            publication = pending.poll().map_err(Fault::run)?;
            Ok(publication.is_some())
        })?;
        publication.ok_or_else(|| Fault::run("no publication"))
    }

    /// Publishes on `channel` and begins to record it; returns publication and recording.
    pub(super) fn record(
        &mut self,
        channel: &str,
        stream: StreamId,
    ) -> Result<(ExclusivePublication, i64), Fault> {
        let publication = self.publication(channel, stream)?;
        let local = SourceLocation::Local;
        self.ask(|it| it.start_recording(channel, stream, local, false))?;
        let id = self.await_signal(RecordingSignal::Start)?.recording_id;
        Ok((publication, id))
    }

    /// Publishes messages, of lengths that follow from their numbers.
    pub(super) fn publish(
        &mut self,
        publication: &mut ExclusivePublication,
        count: u32,
    ) -> Result<Position, Fault> {
        for _ in 0..count {
            let number = self.next_number;
            self.next_number += 1;
            let length = 4 + (number.wrapping_mul(2_654_435_761) >> 20) as usize % 3_000;
            let mut message = vec![number as u8 | 1; length];
            message[..4].copy_from_slice(&number.to_le_bytes());
            self.until("room", |_| match publication.offer(&message) {
                Ok(_) => Ok(true),
                Err(OfferError::BackPressured | OfferError::AdminAction) => Ok(false),
                Err(error) => Err(Fault::run(error)),
            })?;
        }
        Ok(publication.position())
    }

    /// The published position of an active recording: what a reader of its counter sees.
    pub(super) fn recorded(&self, recording_id: i64) -> Option<i64> {
        let mut records = self.client.counters().records();
        let is_of = |key: &[u8]| key[..8] == recording_id.to_le_bytes();
        let position = CounterTypeId(100);
        let found = records.find(|it| it.type_id == position && is_of(&it.key));
        found.map(|record| record.value)
    }

    pub(super) fn await_recorded(&mut self, id: i64, position: Position) -> Result<(), Fault> {
        self.until("all is recorded", |bed| Ok(bed.recorded(id) == Some(position.0)))
    }

    /// Ends a publication and its recording, and returns where that stops.
    pub(super) fn end(&mut self, publication: ExclusivePublication) -> Result<i64, Fault> {
        drop(publication);
        Ok(self.await_signal(RecordingSignal::Stop)?.position)
    }

    pub(super) fn ports(&self) -> &Ports {
        &self.ports
    }
}
