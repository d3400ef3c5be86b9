//! Replication: copies a recording from another archive, as that archive's client.
//!
//! ```text
//! Connect -> Describe -> Subscribe -> Replay -> AwaitImage -> Copy -> over
//! ```
//!
//! The copy is an ordinary recording: the source replays to a subscription that extends the
//! destination. Everything after the first answer is told under the replication's id.

use archive_client::{
    ArchiveClient, Config as SourceConfig, Connecting, FixedCredentials, Recording as Described,
    ReplayLength, ReplayParameters, ReplaySession, Request,
};
use wire::archive::SourceLocation;
use wire::archive::request::{ReplicateRequest, ReplicateRequest2, TaggedReplicateRequest};
use wire::archive::response::{ArchiveErrorCode, RecordingSignal};
use wire::position::Position;
use wire::time::{Nanos, Now};
use wire::uri::{ChannelUri, key};

use super::Conductor;
use super::requests::{Answer, Asker};
use crate::catalog::Recording;
use crate::channel;
use crate::control::outbox::Signal;
use crate::control::refusal::Refusal;

/// In place of an id that is not given.
const NONE: i64 = -1;

/// What a client asked for.
pub(super) struct Wanted {
    source_recording_id: i64,
    /// The recording to go on with; -1 is a new one.
    recording_id: i64,
    /// Where to stop; -1 is the end.
    stop_position: i64,
    control_channel: String,
    control_stream_id: i32,
    response_channel: String,
    channel: ChannelUri,
    session_id: Option<i32>,
    file_io_max_length: Option<i32>,
    credentials: Vec<u8>,
}

/// What is to be told once a replication is over.
enum Over {
    Done,
    Refused(Refusal),
}

enum Phase {
    Connect(Box<Connecting>),
    Describe(Request<Option<Described>>),
    Subscribe,
    Replay(Request<ReplaySession>),
    AwaitImage,
    Copy,
}

/// A copy in progress.
pub(super) struct Replication {
    /// The id under which all is told.
    pub(super) id: i64,
    control_session_id: i64,
    wanted: Wanted,
    /// The recording that is written; -1 until it is known.
    recording_id: i64,
    phase: Phase,
    source: Option<ArchiveClient>,
    described: Option<Described>,
    /// Where the copy begins.
    position: i64,
    subscription_id: Option<i64>,
    replay: Option<ReplaySession>,
    deadline: Nanos,
    /// Whether the client has asked to stop it.
    is_stopped: bool,
}

impl Conductor {
    pub(super) fn replicate_plain(
        &mut self,
        asker: Asker,
        it: &ReplicateRequest<'_>,
        now: Now,
    ) -> Answer {
        let full = ReplicateRequest2 {
            control_session_id: it.control_session_id,
            correlation_id: it.correlation_id,
            src_recording_id: it.src_recording_id,
            dst_recording_id: it.dst_recording_id,
            stop_position: NONE,
            channel_tag_id: NONE,
            subscription_tag_id: NONE,
            src_control_stream_id: it.src_control_stream_id,
            file_io_max_length: -1,
            replication_session_id: -1,
            src_control_channel: it.src_control_channel,
            live_destination: it.live_destination,
            replication_channel: &[],
            encoded_credentials: &[],
            src_response_channel: &[],
        };
        self.replicate(asker, &full, now)
    }

    pub(super) fn replicate_tagged(
        &mut self,
        asker: Asker,
        it: &TaggedReplicateRequest<'_>,
        now: Now,
    ) -> Answer {
        let full = ReplicateRequest2 {
            control_session_id: it.control_session_id,
            correlation_id: it.correlation_id,
            src_recording_id: it.src_recording_id,
            dst_recording_id: it.dst_recording_id,
            stop_position: NONE,
            channel_tag_id: it.channel_tag_id,
            subscription_tag_id: it.subscription_tag_id,
            src_control_stream_id: it.src_control_stream_id,
            file_io_max_length: -1,
            replication_session_id: -1,
            src_control_channel: it.src_control_channel,
            live_destination: it.live_destination,
            replication_channel: &[],
            encoded_credentials: &[],
            src_response_channel: &[],
        };
        self.replicate(asker, &full, now)
    }

    pub(super) fn replicate(
        &mut self,
        asker: Asker,
        it: &ReplicateRequest2<'_>,
        now: Now,
    ) -> Answer {
        let wanted = self.check_replication(it)?;
        let config = SourceConfig {
            control_channel: wanted.control_channel.clone(),
            control_stream_id: wanted.control_stream_id,
            response_channel: wanted.response_channel.clone(),
            message_timeout: self.config.limits.replication_timeout,
            client_name: format!("replication {}", self.next_session_id),
            ..SourceConfig::default()
        };
        let credentials = Box::new(FixedCredentials(wanted.credentials.clone()));
        let connecting = ArchiveClient::connect(config, credentials, &self.client, now)?;
        let id = self.next_session_id;
        self.next_session_id += 1;
        self.replications.push(Replication {
            id,
            control_session_id: asker.session_id,
            recording_id: wanted.recording_id,
            wanted,
            phase: Phase::Connect(Box::new(connecting)),
            source: None,
            described: None,
            position: NONE,
            subscription_id: None,
            replay: None,
            deadline: Nanos::MAX,
            is_stopped: false,
        });
        Ok(Some(id))
    }

    fn check_replication(&self, it: &ReplicateRequest2<'_>) -> Result<Wanted, Refusal> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if it.dst_recording_id != NONE {
            self.recording(it.dst_recording_id)?;
            self.expect_inactive(it.dst_recording_id)?;
            self.expect_no_deletion(it.dst_recording_id)?;
        }
        if !it.live_destination.is_empty() {
            return Err(Refusal::generic("joining a live stream is not supported"));
        }
        let configured = self.config.control.replication_channel.as_bytes();
        let asked = it.replication_channel;
        let asked = if asked.is_empty() { configured } else { asked };
        if asked.is_empty() {
            return Err(Refusal::generic("aeron.archive.replication.channel is not set"));
        }
        let uri = channel::parse(asked)?;
        if channel::is_response(&uri) {
            return Err(Refusal::generic("replication by response channels is not supported"));
        }
        let control_channel = text(it.src_control_channel);
        let source = channel::parse(it.src_control_channel)?;
        let response_channel = match it.src_response_channel {
            [] => self.response_channel(&source),
            given => text(given),
        };
        let positive = |value: i32| Some(value).filter(|value| *value > 0);
        Ok(Wanted {
            source_recording_id: it.src_recording_id,
            recording_id: it.dst_recording_id,
            stop_position: it.stop_position,
            control_channel,
            control_stream_id: it.src_control_stream_id,
            response_channel,
            channel: uri,
            session_id: Some(it.replication_session_id).filter(|id| *id != -1),
            file_io_max_length: positive(it.file_io_max_length),
            credentials: it.encoded_credentials.to_vec(),
        })
    }

    /// Where a source answers: on this host, at a port that the driver chooses.
    fn response_channel(&self, source: &ChannelUri) -> String {
        let control = &self.config.control;
        if source.is_ipc() {
            return "aeron:ipc".to_string();
        }
        if !control.response_channel.is_empty() {
            return control.response_channel.clone();
        }
        let own = channel::parse(control.channel.as_bytes()).ok();
        let endpoint = own.as_ref().and_then(|uri| uri.value(key::ENDPOINT)).unwrap_or("");
        let host = endpoint.rsplit_once(':').map_or("localhost", |(host, _)| host);
        format!("aeron:udp?endpoint={host}:0")
    }

    pub(super) fn stop_replication(&mut self, id: i64) -> Answer {
        let mut replications = self.replications.iter_mut();
        let Some(replication) = replications.find(|replication| replication.id == id) else {
            let text = format!("unknown replication {id}");
            return Err(Refusal::new(ArchiveErrorCode::UnknownReplication, text));
        };
        replication.is_stopped = true;
        Ok(Some(0))
    }

    /// Steps every replication; returns how much was done and when the next one is due.
    pub(super) fn step_replications(&mut self, now: Now) -> (usize, Nanos) {
        let (mut done, mut due) = (0, Nanos::MAX);
        for mut replication in std::mem::take(&mut self.replications) {
            let result =
                if replication.is_stopped { Err(Over::Done) } else { replication.step(self, now) };
            match result {
                Ok((count, deadline)) => {
                    done += count;
                    due = due.min(deadline);
                    self.replications.push(replication);
                }
                Err(over) => {
                    done += 1;
                    self.end_replication(replication, over, now);
                }
            }
        }
        (done, due)
    }

    fn end_replication(&mut self, mut replication: Replication, over: Over, now: Now) {
        if let Over::Refused(refusal) = over {
            self.note(&refusal.message, now);
            self.refuse(replication.control_session_id, replication.id, &refusal);
        }
        if let Some(id) = replication.subscription_id {
            self.end_subscription(id);
        }
        if let Some(mut source) = replication.source.take() {
            if let Some(replay) = replication.replay {
                source.stop_replay(replay);
                // Best effort: without it the source notices that its subscriber is gone.
                let _ = source.poll(now);
            }
            source.close();
        }
        self.tell(&replication, NONE, RecordingSignal::ReplicateEnd);
    }

    fn tell(&mut self, replication: &Replication, position: i64, signal: RecordingSignal) {
        let signal = Signal {
            correlation_id: replication.id,
            recording_id: replication.recording_id,
            subscription_id: NONE,
            position,
            signal,
        };
        self.signal(replication.control_session_id, &signal);
    }
}

impl From<Refusal> for Over {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What was done, and when the next step is due.
type Stepped = Result<(usize, Nanos), Over>;

impl Replication {
    fn step(&mut self, archive: &mut Conductor, now: Now) -> Stepped {
        if let Phase::Connect(connecting) = &mut self.phase {
            let connected = connecting.poll(now).map_err(|error| {
                Refusal::new(ArchiveErrorCode::ReplicationConnectionFailure, error.to_string())
            })?;
            let Some(mut source) = connected else { return Ok((0, connecting.deadline())) };
            let request = source.list_recording(self.wanted.source_recording_id);
            self.phase = Phase::Describe(request);
            self.source = Some(source);
            return Ok((1, now.mono));
        }
        let Some(source) = &mut self.source else { return Err(Over::Done) };
        let work = source.poll(now).map_err(|error| Refusal::generic(error.to_string()))?;
        if let Some((_, error)) = source.next_failure() {
            return Err(Refusal::generic(error.to_string()).into());
        }
        let done = match &self.phase {
            Phase::Connect(_) => 0,
            Phase::Describe(request) => match source.take(*request) {
                None => 0,
                Some(answer) => {
                    let found = answer.map_err(|error| Refusal::generic(error.to_string()))?;
                    let unknown = Refusal::unknown_recording(self.wanted.source_recording_id);
                    self.on_described(found.ok_or(unknown)?, archive)?;
                    1
                }
            },
            Phase::Subscribe => self.await_subscription(archive),
            Phase::Replay(request) => match source.take(*request) {
                None => 0,
                Some(answer) => {
                    let replay = answer.map_err(|error| Refusal::generic(error.to_string()))?;
                    self.replay = Some(replay);
                    self.deadline = now.mono + archive.config.limits.connect_timeout;
                    self.phase = Phase::AwaitImage;
                    1
                }
            },
            Phase::AwaitImage => self.await_image(archive, now)?,
            Phase::Copy => self.copy(archive)?,
        };
        Ok((work.done + done, work.next_deadline.min(self.deadline)))
    }

    /// Makes the entry of the copy, and the subscription that will extend it.
    fn on_described(&mut self, described: Described, archive: &mut Conductor) -> Result<(), Over> {
        let start = described.start_position.0;
        if self.wanted.file_io_max_length.is_some_and(|length| length < described.mtu_length) {
            return Err(Refusal::generic("io length is below the mtu of the source").into());
        }
        let is_new = self.recording_id == NONE;
        if is_new {
            let recording = entry_of(&described);
            self.recording_id = archive.catalog.add(recording).map_err(Refusal::from)?;
            self.position = start;
        } else {
            archive.expect_inactive(self.recording_id)?;
            let recording = archive.recording(self.recording_id)?;
            self.position = recording.stop_position;
            if recording.start_position == recording.stop_position {
                let copy = entry_of(&described);
                let id = self.recording_id;
                archive.catalog.update(id, |it| *it = copy).map_err(Refusal::from)?;
                self.position = start;
            }
        }
        if is_new {
            archive.tell(self, start, RecordingSignal::Replicate);
        }
        let stop = described.stop_position;
        let (session_id, stream_id) = (described.session_id, described.stream_id);
        self.described = Some(described);
        if stop.is_some_and(|stop| stop.0 == start || stop.0 == self.position) {
            archive.tell(self, self.position, RecordingSignal::Sync);
            return Err(Over::Done);
        }
        let session_id = self.wanted.session_id.unwrap_or(session_id.0);
        self.wanted.channel.set(key::SESSION_ID, session_id);
        let subscribed = self.wanted.channel.clone().with(key::REJOIN, "false").to_string();
        let asker = Asker {
            session_id: self.control_session_id,
            correlation_id: self.id,
            image: client::CorrelationId(NONE),
        };
        let to = (self.recording_id, stream_id.0, SourceLocation::Remote);
        self.subscription_id =
            Some(archive.subscribe_extension(asker, to, subscribed.as_bytes())?);
        self.phase = Phase::Subscribe;
        Ok(())
    }

    /// Asks for the replay once the port is known on which it is to come.
    fn await_subscription(&mut self, archive: &Conductor) -> usize {
        let resolved = self.subscription_id.and_then(|id| archive.resolved_channel(id));
        let Some(endpoint) = resolved else { return 0 };
        let (Some(source), Some(described)) = (&mut self.source, &self.described) else { return 0 };
        let mut uri = self.wanted.channel.clone();
        if let Ok(resolved) = channel::parse(endpoint.as_bytes())
            && let Some(endpoint) = resolved.value(key::ENDPOINT)
        {
            uri.set(key::ENDPOINT, endpoint);
        }
        let length = match self.wanted.stop_position {
            NONE => ReplayLength::Follow,
            stop => ReplayLength::Bytes(stop - self.position),
        };
        let parameters = ReplayParameters {
            position: Some(Position(self.position)),
            length,
            file_io_max_length: self.wanted.file_io_max_length,
            ..ReplayParameters::default()
        };
        let (id, stream_id) = (self.wanted.source_recording_id, described.stream_id);
        let request = source.replay(id, &uri.to_string(), stream_id, &parameters);
        self.phase = Phase::Replay(request);
        1
    }

    fn await_image(&mut self, archive: &mut Conductor, now: Now) -> Result<usize, Over> {
        if archive.recorded_position(self.recording_id).is_some() {
            self.deadline = Nanos::MAX;
            self.phase = Phase::Copy;
            return Ok(1);
        }
        // All of it may have come and gone in one pass.
        let recording = archive.recording(self.recording_id)?;
        if recording.stop_position > self.position {
            self.phase = Phase::Copy;
            return Ok(1);
        }
        let is_subscribed = self.subscription_id.is_some_and(|id| archive.is_subscribed(id));
        if !is_subscribed {
            return Err(Refusal::generic("the replayed stream does not fit the recording").into());
        }
        if now.mono >= self.deadline {
            return Err(Refusal::generic("the source's replay did not come in time").into());
        }
        Ok(0)
    }

    fn copy(&mut self, archive: &mut Conductor) -> Result<usize, Over> {
        let active = archive.recorded_position(self.recording_id);
        let position = match active {
            Some(position) => position,
            None => archive.recording(self.recording_id)?.stop_position,
        };
        let stop = self.described.as_ref().and_then(|described| described.stop_position);
        if stop.is_some_and(|stop| position >= stop.0) {
            archive.tell(self, position, RecordingSignal::Sync);
            return Err(Over::Done);
        }
        if self.wanted.stop_position != NONE && position >= self.wanted.stop_position {
            return Err(Over::Done);
        }
        match (active, stop) {
            (Some(_), _) => Ok(0),
            // A live source has stopped, and all of it is here.
            (None, None) => Err(Over::Done),
            (None, Some(stop)) => {
                let text = format!("replication ended at {position}, before {}", stop.0);
                Err(Refusal::generic(text).into())
            }
        }
    }
}

/// An empty recording like the one described.
fn entry_of(described: &Described) -> Recording {
    Recording {
        start_timestamp: described.start_timestamp_ms,
        stop_timestamp: described.start_timestamp_ms,
        start_position: described.start_position.0,
        stop_position: described.start_position.0,
        initial_term_id: described.initial_term_id.0,
        segment_file_length: described.segment_length,
        term_buffer_length: described.term_length,
        mtu_length: described.mtu_length,
        session_id: described.session_id.0,
        stream_id: described.stream_id.0,
        stripped_channel: described.stripped_channel.clone(),
        original_channel: described.original_channel.clone(),
        source_identity: described.source_identity.clone(),
        ..Recording::default()
    }
}
