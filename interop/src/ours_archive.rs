//! Our side of the archive: the archive beside its driver, and a client that waits for answers.

use std::path::Path;

use coracle::archive::checksum::Checksum;
use coracle::archive::{self, AllowAll, Authenticator};
use coracle::archive_client::{
    self, ArchiveClient, Credentials, FromAnswer, NoCredentials, Recording, RecordingSignal,
    ReplayLength, ReplayParameters, Request, RequestError,
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
        Self::start_guarded(aeron, archive, control, Box::new(AllowAll))
    }

    /// The same with somebody at the door.
    ///
    /// # Errors
    /// One of them could not.
    pub(crate) fn start_guarded(
        aeron: &Path,
        archive: &Path,
        control: &str,
        guard: Box<dyn Authenticator>,
    ) -> Result<Self, String> {
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
        let archive = archive::launch(config, aeron, guard, &ports, os::clock::now())
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
    /// To be asked.
    pub(crate) archive: ArchiveClient,
    /// By which it publishes and subscribes.
    pub(crate) client: Client,
    /// What was signalled, and of which recording, and not yet waited for.
    signals: Vec<(RecordingSignal, i64)>,
}

impl Session {
    /// Connects to an archive through the driver in `aeron`.
    ///
    /// # Errors
    /// It could not.
    pub(crate) fn connect(aeron: &Path, control: &str) -> Result<Self, String> {
        Self::connect_as(aeron, control, Box::new(NoCredentials))
    }

    /// The same with a word of who it is.
    ///
    /// # Errors
    /// It could not, or is not known.
    pub(crate) fn connect_as(
        aeron: &Path,
        control: &str,
        credentials: Box<dyn Credentials>,
    ) -> Result<Self, String> {
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
        let connecting = ArchiveClient::connect(config, credentials, &client, now);
        let mut connecting = connecting.map_err(|error| error.to_string())?;
        let deadline = Deadline::new();
        loop {
            let polled = connecting.poll(os::clock::now()).map_err(|error| error.to_string())?;
            if let Some(archive) = polled {
                return Ok(Self { archive, client, signals: Vec::new() });
            }
            deadline.pause("connecting to the archive")?;
        }
    }

    /// Steps the client of the archive.
    ///
    /// # Errors
    /// The archive has gone.
    pub(crate) fn poll(&mut self) -> Result<(), String> {
        let polled = self.archive.poll(os::clock::now());
        while let Some(event) = self.archive.next_signal() {
            self.signals.push((event.signal, event.recording_id));
        }
        polled.map(drop).map_err(|error| error.to_string())
    }

    /// Waits for an answer, which may be a refusal.
    ///
    /// # Errors
    /// None comes.
    pub(crate) fn answer<T: FromAnswer>(
        &mut self,
        request: Request<T>,
    ) -> Result<Result<T, RequestError>, String> {
        let deadline = Deadline::new();
        loop {
            self.poll()?;
            if let Some(answer) = self.archive.take(request) {
                return Ok(answer);
            }
            deadline.pause("answer of the archive")?;
        }
    }

    /// Waits for what was asked for.
    ///
    /// # Errors
    /// It is refused, or no answer comes.
    pub(crate) fn wait<T: FromAnswer>(&mut self, request: Request<T>) -> Result<T, String> {
        self.answer(request)?.map_err(|error| error.to_string())
    }

    /// Waits for a signal; returns of which recording it is.
    ///
    /// # Errors
    /// It does not come, or something fails meanwhile.
    pub(crate) fn signal(
        &mut self,
        wanted: RecordingSignal,
        recording: Option<i64>,
    ) -> Result<i64, String> {
        let deadline = Deadline::new();
        loop {
            self.poll()?;
            let is_it = |&(signal, id): &(RecordingSignal, i64)| {
                signal == wanted && recording.is_none_or(|recording| recording == id)
            };
            if let Some(at) = self.signals.iter().position(is_it) {
                return Ok(self.signals.remove(at).1);
            }
            if let Some((_, failure)) = self.archive.next_failure() {
                return Err(failure.to_string());
            }
            deadline.pause(&format!("{wanted:?} of {recording:?} beside {:?}", self.signals))?;
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
        let Self { archive, client, .. } = self;
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

    /// Replays all of a recording within this host; it must be messages from one on. Returns up to
    /// which.
    ///
    /// # Errors
    /// The archive refused, or what came is not `content`.
    pub(crate) fn verify(
        &mut self,
        recording: i64,
        (content, first): (Content, u64),
    ) -> Result<u64, String> {
        const CHANNEL: &str = "aeron:ipc";
        let asked = self.archive.stop_position(recording);
        let stop = self.wait(asked)?;
        let verifier = Verifier::add_on(&self.client, CHANNEL, REPLAY_STREAM, content)?;
        let mut verifier = verifier.beginning_with(first);
        let parameters =
            ReplayParameters { length: ReplayLength::UntilNow, ..ReplayParameters::default() };
        let asked = self.archive.replay(recording, CHANNEL, REPLAY_STREAM, &parameters);
        self.wait(asked)?;
        let deadline = Deadline::new();
        while verifier.position() != stop {
            self.poll()?;
            if verifier.poll()? == 0 {
                deadline.pause(&format!("came to {:?} of {stop:?}", verifier.position()))?;
            }
        }
        Ok(verifier.count())
    }
}
