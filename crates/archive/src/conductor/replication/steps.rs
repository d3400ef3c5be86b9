//! What a replication does from pass to pass.

use archive_client::{
    Recording as Described, ReplayLength, ReplayParameters, Request, RequestError,
};
use client::{AddError, ErrorCode, ExclusivePublication, OfferError};
use wire::archive::SourceLocation;
use wire::archive::response::{ArchiveErrorCode, RecordingSignal};
use wire::position::{Position, StreamId};
use wire::time::{Nanos, Now};
use wire::uri::{ChannelUri, key};

use super::{Join, NONE, Over, Phase, PublishState, Publishing, Replication};
use crate::catalog::Recording;
use crate::channel;
use crate::conductor::Conductor;
use crate::conductor::requests::Asker;
use crate::control::refusal::Refusal;

/// A live stream is joined by a replay that is at most this far behind, or a quarter of a term.
const JOIN_WINDOW_MAX: i64 = 32 << 20;
/// How often a source that does not tell its position is asked again.
const TIMEOUTS_MAX: u32 = 3;
/// How long to wait before the source's position is asked for again.
const ASK_INTERVAL: Nanos = Nanos::from_millis(10);

/// What was done, and when the next step is due.
pub(super) type Stepped = Result<(usize, Nanos), Over>;

impl Replication {
    pub(super) fn step(&mut self, archive: &mut Conductor, now: Now) -> Stepped {
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
        let work = source.poll(now).map_err(Refusal::from)?;
        if let Some((_, error)) = source.next_failure() {
            return Err(Refusal::from(error).into());
        }
        let changes = self.poll_changes()?;
        let done = match &mut self.phase {
            Phase::Connect(_) => 0,
            &mut Phase::Describe(request) => match self.answer(request)? {
                None => 0,
                Some(found) => {
                    let unknown = Refusal::unknown_recording(self.wanted.source_recording_id);
                    self.on_described(found.ok_or(unknown)?, archive)?;
                    1
                }
            },
            &mut Phase::SourcePosition(request) => match self.answer(request)? {
                None => 0,
                Some(None) => return Err(not_live()),
                Some(Some(_)) => {
                    self.subscribe(archive)?;
                    1
                }
            },
            Phase::Subscribe => self.await_subscription(archive)?,
            &mut Phase::Token(request) => match self.answer(request)? {
                None => 0,
                Some(token) => {
                    self.publish(token, archive, now);
                    1
                }
            },
            Phase::Publish(_) => self.ask_elsewhere(archive, now)?,
            &mut Phase::Replay(request) => match self.answer(request)? {
                None => 0,
                Some(replay) => {
                    self.replay = Some(replay);
                    self.publication = None;
                    self.deadline = now.mono + archive.config.limits.connect_timeout;
                    self.phase = Phase::AwaitImage;
                    1
                }
            },
            Phase::AwaitImage => self.await_image(archive, now)?,
            Phase::Copy => self.copy(archive)?,
            Phase::Join(_) => self.join(archive, now)?,
        };
        Ok((work.done + changes + done, work.next_deadline.min(self.due())))
    }

    fn due(&self) -> Nanos {
        match &self.phase {
            Phase::Join(join) => self.deadline.min(join.next_ask),
            _ => self.deadline,
        }
    }

    /// The answer to a request to the source, once it is there.
    fn answer<T: archive_client::FromAnswer>(
        &mut self,
        request: Request<T>,
    ) -> Result<Option<T>, Refusal> {
        let answer = self.source.as_mut().and_then(|source| source.take(request));
        Ok(answer.transpose()?)
    }

    fn poll_changes(&mut self) -> Result<usize, Refusal> {
        let before = self.changes.len();
        let mut result = Ok(());
        self.changes.retain_mut(|change| match change.poll() {
            Ok(answer) => answer.is_none(),
            Err(error) => {
                result = Err(Refusal::from(error));
                false
            }
        });
        result.map(|()| before - self.changes.len())
    }

    /// Makes the entry of the copy, and the subscription that will extend it.
    fn on_described(&mut self, described: Described, archive: &mut Conductor) -> Result<(), Over> {
        let start = described.start_position.0;
        if self.wanted.file_io_max_length.is_some_and(|length| length < described.mtu_length) {
            return Err(Refusal::generic("io length is below the mtu of the source").into());
        }
        let (stop, is_live) = (described.stop_position, self.is_live());
        if is_live && stop.is_some() {
            return Err(not_live());
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
        self.described = Some(described);
        if stop.is_some_and(|stop| stop.0 == start || stop.0 == self.position) {
            archive.tell(self, self.position, RecordingSignal::Sync);
            return Err(Over::Done);
        }
        match &mut self.source {
            Some(source) if is_live => {
                let request = source.recording_position(self.wanted.source_recording_id);
                self.phase = Phase::SourcePosition(request);
                Ok(())
            }
            _ => Ok(self.subscribe(archive)?),
        }
    }

    const fn is_live(&self) -> bool {
        !self.wanted.live_destination.is_empty()
    }

    /// Subscribes to what the source will replay, as an extension of the copy.
    fn subscribe(&mut self, archive: &mut Conductor) -> Result<(), Refusal> {
        let Some(described) = &self.described else { return Ok(()) };
        let stream_id = described.stream_id.0;
        if !channel::is_response(&self.wanted.channel) {
            // A live stream comes in the session that was recorded.
            let given = self.wanted.session_id.filter(|_| !self.is_live());
            let session_id = given.unwrap_or(described.session_id.0);
            self.wanted.channel.set(key::SESSION_ID, session_id);
        }
        let mut subscribed = self.wanted.channel.clone().with(key::REJOIN, "false");
        let (channel_tag, subscription_tag) = self.wanted.tags;
        if self.is_live() || channel_tag.is_some() || subscription_tag.is_some() {
            let (one, two) = (channel_tag.unwrap_or(self.id), subscription_tag.unwrap_or(self.id));
            self.replay_destination = Some(destination_of(&self.wanted.channel));
            subscribed = subscribed
                .without(key::ENDPOINT)
                .with(key::TAGS, format!("{one},{two}"))
                .with(key::CONTROL_MODE, "manual");
        }
        let asker = Asker {
            session_id: self.control_session_id,
            correlation_id: self.id,
            image: client::CorrelationId(NONE),
        };
        let to = (self.recording_id, stream_id, SourceLocation::Remote);
        let text = subscribed.to_string();
        self.subscription_id = Some(archive.subscribe_extension(asker, to, text.as_bytes())?);
        self.phase = Phase::Subscribe;
        Ok(())
    }

    /// Asks for the replay once the port is known on which it is to come.
    fn await_subscription(&mut self, archive: &Conductor) -> Result<usize, Refusal> {
        let Some(id) = self.subscription_id else { return Ok(0) };
        if !archive.is_subscribed(id) {
            return Err(Refusal::generic("the source's replay cannot be subscribed to"));
        }
        let Some(subscription) = archive.recording_subscription(id) else { return Ok(0) };
        if channel::is_response(&self.wanted.channel) {
            let source = self.source.as_mut();
            let token = source.map(|it| it.replay_token(self.wanted.source_recording_id));
            token.into_iter().for_each(|request| self.phase = Phase::Token(request));
            return Ok(1);
        }
        if let Some(destination) = &self.replay_destination
            && !self.is_destination_added
        {
            self.changes.push(subscription.add_destination(destination));
            self.is_destination_added = true;
            return Ok(1);
        }
        let endpoint = self.wanted.channel.value(key::ENDPOINT).map(str::to_string);
        let mut uri = self.wanted.channel.clone();
        if let Some(host) = endpoint.as_deref().and_then(|it| it.strip_suffix(":0")) {
            let Some(address) = subscription.resolved_endpoint() else { return Ok(0) };
            let port = address.rsplit_once(':').map_or("0", |(_, port)| port);
            uri.set(key::ENDPOINT, format!("{host}:{port}"));
        } else if !self.changes.is_empty() {
            return Ok(0);
        }
        if self.is_live() {
            uri.set(key::LINGER, 0);
            uri.set(key::EOS, "false");
        }
        let parameters = self.replay_parameters(None);
        let (Some(source), Some(described)) = (&mut self.source, &self.described) else {
            return Ok(0);
        };
        let (id, stream_id) = (self.wanted.source_recording_id, described.stream_id);
        let request = source.replay(id, &uri.to_string(), stream_id, &parameters);
        self.phase = Phase::Replay(request);
        Ok(1)
    }

    fn replay_parameters(&self, token: Option<i64>) -> ReplayParameters {
        let length = match self.wanted.stop_position {
            NONE => ReplayLength::Follow,
            stop => ReplayLength::Bytes(stop - self.position),
        };
        ReplayParameters {
            position: Some(Position(self.position)),
            length,
            file_io_max_length: self.wanted.file_io_max_length,
            token,
            ..ReplayParameters::default()
        }
    }

    /// Adds the publication on which a replay over response channels is asked for.
    fn publish(&mut self, token: i64, archive: &Conductor, now: Now) {
        let channel = self.request_channel(archive);
        let stream_id = StreamId(self.wanted.control_stream_id);
        let pending = archive.client.add_exclusive_publication(&channel, stream_id);
        self.deadline = now.mono + archive.config.limits.connect_timeout;
        let state = PublishState::Adding(pending);
        self.phase = Phase::Publish(Box::new(Publishing { token, state }));
    }

    /// The source's control channel, for requests whose image is answered by the replay.
    fn request_channel(&self, archive: &Conductor) -> String {
        let control = channel::parse(self.wanted.control_channel.as_bytes());
        let Ok(uri) = control else { return self.wanted.control_channel.clone() };
        uri.without(key::SESSION_ID)
            .with(key::RESPONSE_CORRELATION_ID, self.subscription_id.unwrap_or(NONE))
            .with(key::TERM_LENGTH, archive.config.control.term_buffer_length)
            .to_string()
    }

    fn ask_elsewhere(&mut self, archive: &Conductor, now: Now) -> Result<usize, Refusal> {
        if now.mono >= self.deadline {
            return Err(Refusal::generic("the replay could not be asked for in time"));
        }
        let phase = std::mem::replace(&mut self.phase, Phase::Subscribe);
        let Phase::Publish(publishing) = phase else { return Ok(0) };
        let Publishing { token, state } = *publishing;
        let (done, state) = match state {
            PublishState::Adding(mut pending) => match pending.poll() {
                Ok(None) => (0, PublishState::Adding(pending)),
                Ok(Some(publication)) => (1, PublishState::Connecting(publication)),
                Err(AddError::Refused { code, .. })
                    if code == ErrorCode::RESOURCE_TEMPORARILY_UNAVAILABLE =>
                {
                    self.publish(token, archive, now);
                    return Ok(1);
                }
                Err(error) => return Err(error.into()),
            },
            PublishState::Connecting(publication) => self.prepare(token, publication),
            PublishState::Offering(mut publication, request, bytes) => {
                match publication.offer(&bytes) {
                    Ok(_) => {
                        self.publication = Some(publication);
                        self.deadline = Nanos::MAX;
                        self.phase = Phase::Replay(request);
                        return Ok(1);
                    }
                    Err(
                        OfferError::BackPressured
                        | OfferError::AdminAction
                        | OfferError::NotConnected,
                    ) => (0, PublishState::Offering(publication, request, bytes)),
                    Err(error) => return Err(error.into()),
                }
            }
        };
        self.phase = Phase::Publish(Box::new(Publishing { token, state }));
        Ok(done)
    }

    fn prepare(&mut self, token: i64, publication: ExclusivePublication) -> (usize, PublishState) {
        let parameters = self.replay_parameters(Some(token));
        match (&mut self.source, &self.described) {
            (Some(source), Some(described)) if publication.is_connected() => {
                let (id, stream_id) = (self.wanted.source_recording_id, described.stream_id);
                let channel = self.wanted.channel.to_string();
                let (request, bytes) =
                    source.replay_elsewhere(id, &channel, stream_id, &parameters);
                (1, PublishState::Offering(publication, request, bytes))
            }
            _ => (0, PublishState::Connecting(publication)),
        }
    }

    fn await_image(&mut self, archive: &mut Conductor, now: Now) -> Result<usize, Over> {
        let is_active = archive.recorded_position(self.recording_id).is_some();
        // All of it may have come and gone in one pass.
        if is_active || archive.recording(self.recording_id)?.stop_position > self.position {
            self.deadline = Nanos::MAX;
            self.phase = if self.is_live() { Phase::Join(Join::new()) } else { Phase::Copy };
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

    /// From the replay to the live stream. The replay is left once the copy is as far as the source
    /// was after both streams had come.
    fn join(&mut self, archive: &mut Conductor, now: Now) -> Result<usize, Over> {
        let Some(position) = archive.recorded_position(self.recording_id) else {
            self.phase = Phase::Copy;
            return Ok(1);
        };
        let transports = archive.recorder.transport_count(self.recording_id);
        let term_length = self.described.as_ref().map_or(0, |it| it.term_length);
        let window = (i64::from(term_length) / 4).min(JOIN_WINDOW_MAX);
        let (Phase::Join(join), Some(source)) = (&mut self.phase, &mut self.source) else {
            return Ok(0);
        };
        if let Some(request) = join.asked {
            match source.take(request) {
                None => return Ok(0),
                Some(Ok(Some(target))) => {
                    (join.asked, join.timeouts, join.target) = (None, 0, Some(target.0));
                }
                Some(Ok(None)) => {
                    // The source has stopped: the replay brings all of it.
                    self.phase = Phase::Copy;
                    return Ok(1);
                }
                Some(Err(error)) => {
                    (join.asked, join.timeouts) = (None, join.timeouts + 1);
                    let is_timeout = matches!(error, RequestError::Timeout { .. });
                    if !is_timeout || join.timeouts >= TIMEOUTS_MAX {
                        return Err(Refusal::from(error).into());
                    }
                }
            }
        }
        let behind = join.target.map(|target| target - position);
        if !join.is_added && behind.is_some_and(|behind| behind <= window) {
            join.is_added = true;
            let subscription =
                self.subscription_id.and_then(|id| archive.recording_subscription(id));
            let live = &self.wanted.live_destination;
            self.changes.extend(subscription.map(|it| it.add_destination(live)));
            return Ok(1);
        }
        let is_there = behind.is_some_and(|behind| behind <= 0);
        if join.is_target_live && is_there {
            return self.leave_replay(archive, position);
        }
        if (behind.is_none() || is_there) && now.mono >= join.next_ask {
            join.is_target_live = join.is_added && transports >= 2;
            join.next_ask = now.mono + ASK_INTERVAL;
            join.asked = Some(source.recording_position(self.wanted.source_recording_id));
            return Ok(1);
        }
        Ok(0)
    }

    fn leave_replay(&self, archive: &mut Conductor, position: i64) -> Result<usize, Over> {
        let subscription = self.subscription_id.and_then(|id| archive.recording_subscription(id));
        if let (Some(subscription), Some(replay)) = (subscription, &self.replay_destination) {
            // Whether the driver does so shows in the stream only: it goes on without.
            drop(subscription.remove_destination(replay));
        }
        archive.tell(self, position, RecordingSignal::Merge);
        Err(Over::Merged)
    }
}

impl Join {
    const fn new() -> Self {
        Self {
            target: None,
            asked: None,
            timeouts: 0,
            is_target_live: false,
            is_added: false,
            next_ask: Nanos(0),
        }
    }
}

fn not_live() -> Over {
    Refusal::generic("a live stream cannot be joined: the source recording is not active").into()
}

/// Where a replay over `channel` arrives.
fn destination_of(channel: &ChannelUri) -> String {
    let mut destination = ChannelUri::new(channel.media());
    for name in [key::ENDPOINT, key::INTERFACE] {
        if let Some(value) = channel.value(name) {
            destination.set(name, value);
        }
    }
    destination.to_string()
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
