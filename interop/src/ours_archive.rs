//! Our side of the archive: the archive beside its driver, and a client that waits for answers.

use std::path::Path;

use coracle::archive::checksum::Checksum;
use coracle::archive::{self, AllowAll};
use coracle::archive_client::{
    self, ArchiveClient, FromAnswer, NoCredentials, Recording, ReplayLength, ReplayParameters,
    Request,
};
use coracle::os::thread::AgentThread;
use coracle::prelude::*;
use coracle::runtime::Halt;
use coracle::runtime::idle::IdleStrategy;
use coracle::{client, os};

use crate::content::Content;
use crate::ours::{self, Deadline, Publisher, STREAM, Verifier};

/// The stream of all replays.
const REPLAY_STREAM: StreamId = StreamId(7_777);

/// Our driver and our archive, each on a thread.
pub(crate) struct Node {
    driver: Driver,
    archive: AgentThread,
}

impl Node {
    /// Starts both. The archive listens in this host, and to `control`.
    ///
    /// # Errors
    /// One of them could not.
    pub(crate) fn start(aeron: &Path, archive: &Path, control: &str) -> Result<Self, String> {
        let driver = ours::start_driver(aeron, 0.0)?;
        let mut config = archive::Config::default();
        config.storage.directory = archive.to_path_buf();
        config.storage.segment_file_length = 1 << 20;
        config.storage.record_checksum = Some(Checksum::Crc32);
        config.storage.replay_checksum = Some(Checksum::Crc32);
        config.control.channel = control.to_string();
        config.control.replication_channel = "aeron:udp?endpoint=127.0.0.1:0".to_string();
        let ports = os::ports(Some(8)).map_err(|error| error.to_string())?;
        let aeron = client::Config { directory: aeron.to_path_buf(), ..Default::default() };
        let archive = archive::launch(config, aeron, Box::new(AllowAll), &ports, os::clock::now())
            .map_err(|error| error.to_string())?;
        let archive = AgentThread::spawn(Box::new(archive), IdleStrategy::BACKOFF, ports.network)
            .map_err(|error| error.to_string())?;
        Ok(Self { driver, archive })
    }

    /// The driver's directory.
    pub(crate) fn directory(&self) -> &Path {
        self.driver.directory()
    }

    /// Ends both in order.
    ///
    /// # Errors
    /// One of them had failed.
    pub(crate) fn close(self) -> Result<(), String> {
        self.archive.stop();
        if let Halt::Failed(reason) = self.archive.join() {
            return Err(format!("our archive: {reason}"));
        }
        self.driver.close().map_err(|error| error.to_string())
    }
}

/// Our client of an archive.
pub(crate) struct Session {
    archive: ArchiveClient,
    client: Client,
}

impl Session {
    /// Connects to an archive through the driver in `aeron`.
    ///
    /// # Errors
    /// It could not.
    pub(crate) fn connect(aeron: &Path, control: &str) -> Result<Self, String> {
        let client = ours::connect(aeron)?;
        let response_channel = match control {
            "aeron:ipc" => control.to_string(),
            _ => "aeron:udp?endpoint=127.0.0.1:0".to_string(),
        };
        let config = archive_client::Config {
            control_channel: control.to_string(),
            response_channel,
            ..Default::default()
        };
        let now = os::clock::now();
        let connecting = ArchiveClient::connect(config, Box::new(NoCredentials), &client, now);
        let mut connecting = connecting.map_err(|error| error.to_string())?;
        let deadline = Deadline::new();
        loop {
            let polled = connecting.poll(os::clock::now()).map_err(|error| error.to_string())?;
            if let Some(archive) = polled {
                return Ok(Self { archive, client });
            }
            deadline.pause("connecting to the archive")?;
        }
    }

    fn poll(&mut self) -> Result<(), String> {
        self.archive.poll(os::clock::now()).map(drop).map_err(|error| error.to_string())
    }

    fn wait<T: FromAnswer>(&mut self, request: Request<T>) -> Result<T, String> {
        let deadline = Deadline::new();
        loop {
            self.poll()?;
            if let Some(answer) = self.archive.take(request) {
                return answer.map_err(|error| error.to_string());
            }
            deadline.pause("answer of the archive")?;
        }
    }

    /// Records messages that it publishes itself; returns the recording, which has stopped.
    ///
    /// # Errors
    /// The archive refused, or something was not in time.
    pub(crate) fn record(
        &mut self,
        channel: &str,
        (content, count): (Content, u64),
    ) -> Result<Recording, String> {
        let local = archive_client::SourceLocation::Local;
        let started = self.archive.start_recording(channel, STREAM, local, false);
        let subscription = self.wait(started)?;
        let Self { archive, client } = self;
        let mut publisher = Publisher::add(client, channel, true)?;
        publisher.offer_all(content, count, || {
            // The session is kept alive meanwhile.
            archive.poll(os::clock::now()).map(drop).map_err(|error| error.to_string())
        })?;
        let listed = self.list()?;
        let recording = listed.last().ok_or("nothing is recorded")?.id;
        let deadline = Deadline::new();
        loop {
            let asked = self.archive.recording_position(recording);
            let recorded = self.wait(asked)?;
            if recorded == Some(publisher.position()) {
                break;
            }
            deadline.pause(&format!("recorded to {recorded:?}"))?;
        }
        let stopped = self.archive.stop_recording_subscription(subscription);
        self.wait(stopped)?;
        loop {
            let asked = self.archive.list_recording(recording);
            let described = self.wait(asked)?.ok_or("the recording is gone")?;
            if described.stop_position.is_some() {
                return Ok(described);
            }
            deadline.pause("the recording does not stop")?;
        }
    }

    /// All recordings of the archive.
    ///
    /// # Errors
    /// It did not answer.
    pub(crate) fn list(&mut self) -> Result<Vec<Recording>, String> {
        let asked = self.archive.list_recordings(0, 1000);
        self.wait(asked)
    }

    /// Replays a recording over `channel` and checks each byte.
    ///
    /// # Errors
    /// The archive refused, or what came is not `content`.
    pub(crate) fn replay(
        &mut self,
        recording: i64,
        channel: &str,
        (content, count): (Content, u64),
    ) -> Result<(), String> {
        let parameters =
            ReplayParameters { length: ReplayLength::UntilNow, ..ReplayParameters::default() };
        let mut verifier = Verifier::add_on(&self.client, channel, REPLAY_STREAM, content)?;
        let asked = self.archive.replay(recording, channel, REPLAY_STREAM, &parameters);
        self.wait(asked)?;
        verifier.expect(count)
    }
}
