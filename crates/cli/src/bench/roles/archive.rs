//! An archive beside its driver, and a client that records and replays.

use coracle::archive::{self, AllowAll};
use coracle::archive_client::{
    self, ArchiveClient, FromAnswer, NoCredentials, ReplayLength, ReplayParameters, Request,
    SourceLocation,
};
use coracle::memory::counters::CounterReader;
use coracle::os::thread::AgentThread;
use coracle::prelude::*;
use coracle::wire::counters::CounterTypeId;
use coracle::{client as media_client, os};

use super::transport::start_driver;
use super::{FRAGMENT_LIMIT, Options, Pace, measured, offer, serve, wait_until};
use crate::Failure;

/// Position counters of recordings: their keys begin with the recording's id and the session's.
const RECORDING_POSITION: CounterTypeId = CounterTypeId(100);

pub(super) fn archive(options: &Options) -> Result<(), Failure> {
    let driver = start_driver(options)?;
    let mut config = archive::Config::default();
    for (name, value) in &options.0 {
        if name.starts_with("aeron.archive.") {
            config.set(name, value)?;
        }
    }
    let ports = os::ports(None)?;
    let directory = options.text("dir")?.into();
    let aeron = media_client::Config { directory, ..Default::default() };
    let now = os::clock::now();
    let archive = archive::launch(config, aeron, Box::new(AllowAll), &ports, now)?;
    let archive = AgentThread::spawn(Box::new(archive), options.strategy()?, ports.network)?;
    serve(&[driver, archive])
}

/// A recorded publication that is written to in rounds.
struct Recorded {
    client: Client,
    archive: ArchiveClient,
    publication: ExclusivePublication,
    message: Vec<u8>,
    pace: Pace,
    /// How far it is recorded.
    position: CounterReader,
    id: i64,
}

impl Recorded {
    fn start(options: &Options) -> Result<Self, Failure> {
        let client = options.connect()?;
        let mut archive = connect(&client)?;
        let (channel, stream) = (options.text("channel")?, options.stream("stream")?);
        let publication = client.add_exclusive_publication(channel, stream).wait()?;
        let started = archive.start_recording(channel, stream, SourceLocation::Local, false);
        wait(&mut archive, started)?;
        let mut found = None;
        wait_until("the recording", || {
            found = client.counters().records().find_map(|record| {
                let id = record.key.first_chunk()?;
                let session = record.key.get(8..)?.first_chunk()?;
                let is_ours = record.type_id == RECORDING_POSITION
                    && i32::from_le_bytes(*session) == publication.session_id().0;
                is_ours.then_some((record.id, i64::from_le_bytes(*id)))
            });
            found.is_some()
        })?;
        let (counter, id) = found.ok_or("no recording")?;
        let position = client.counters().reader(counter)?;
        let (message, pace) = (options.message()?, options.pace()?);
        Ok(Self { client, archive, publication, message, pace, position, id })
    }

    /// Writes so many messages, and waits until the last of them is recorded.
    fn write(&mut self, count: u64) -> Result<(), Failure> {
        for _ in 0..count {
            offer(&mut self.publication, &self.message, self.pace)?;
        }
        let end = self.publication.position().0;
        while self.position.get() < end {
            self.pace.idle();
        }
        // A session that is not polled for long is ended by the archive.
        let _ = self.archive.poll(os::clock::now())?;
        Ok(())
    }

    fn replay(&mut self, channel: &str, count: u64) -> Result<(), Failure> {
        const STREAM: StreamId = StreamId(7777);
        let length = ReplayLength::Bytes(self.publication.position().0);
        let parameters = ReplayParameters { length, ..ReplayParameters::default() };
        let asked = self.archive.replay(self.id, channel, STREAM, &parameters);
        let session = wait(&mut self.archive, asked)?.session_id().0;
        let channel = format!("{channel}?session-id={session}");
        let mut subscription = self.client.add_subscription(&channel, STREAM).wait()?;
        let mut heard = 0;
        while heard < count {
            if subscription.poll(FRAGMENT_LIMIT, |_| heard += 1) == 0 {
                self.pace.idle();
            }
        }
        Ok(())
    }
}

pub(super) fn record(options: &Options) -> Result<(), Failure> {
    let count = options.number("count")?;
    let mut recorded = Recorded::start(options)?;
    recorded.write(options.number("warm-up-count")?)?;
    let position = recorded.publication.position();
    println!("MEASURING");
    let start = os::clock::now_mono();
    recorded.write(count)?;
    let span = os::clock::now_mono() - start;
    let bytes = recorded.publication.position().0 - position.0;
    measured(count, bytes.try_into()?, span);
    Ok(())
}

pub(super) fn replay(options: &Options) -> Result<(), Failure> {
    let (count, channel) = (options.number("count")?, options.text("replay-channel")?);
    let mut recorded = Recorded::start(options)?;
    recorded.write(count)?;
    recorded.replay(channel, count)?;
    println!("MEASURING");
    let start = os::clock::now_mono();
    recorded.replay(channel, count)?;
    let span = os::clock::now_mono() - start;
    measured(count, recorded.publication.position().0.try_into()?, span);
    Ok(())
}

fn connect(client: &Client) -> Result<ArchiveClient, Failure> {
    let config = archive_client::Config::default();
    let now = os::clock::now();
    let mut connecting = ArchiveClient::connect(config, Box::new(NoCredentials), client, now)?;
    loop {
        if let Some(archive) = connecting.poll(os::clock::now())? {
            return Ok(archive);
        }
        std::thread::yield_now();
    }
}

fn wait<T: FromAnswer>(archive: &mut ArchiveClient, request: Request<T>) -> Result<T, Failure> {
    loop {
        let _ = archive.poll(os::clock::now())?;
        if let Some(answer) = archive.take(request) {
            return Ok(answer?);
        }
        std::thread::yield_now();
    }
}
