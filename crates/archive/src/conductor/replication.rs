//! Replication: copies a recording from another archive, as that archive's client.
//!
//! ```text
//! Connect -> Describe -> Subscribe ----------------------> Replay -> AwaitImage -> Copy -> over
//!               |         ^   |                              ^          |           ^
//!               v         |   v                              |          v           | source
//!            SourcePosition   Token -> Publish (responses) --+         Join --------+ stopped
//!            (live)                                                      +-> merged, over
//! ```
//!
//! The copy is an ordinary recording: the source replays to a subscription that extends the
//! destination. With a live destination the same subscription receives the live stream as well,
//! once the replay is near its end, and then alone. Everything after the first answer is told under
//! the replication's id.

mod steps;

use archive_client::{
    ArchiveClient, Config as SourceConfig, Connecting, FixedCredentials, Recording as Described,
    ReplaySession, Request,
};
use client::{ExclusivePublication, Pending};
use wire::archive::request::{ReplicateRequest, ReplicateRequest2, TaggedReplicateRequest};
use wire::archive::response::{ArchiveErrorCode, RecordingSignal};
use wire::position::Position;
use wire::time::{Nanos, Now};
use wire::uri::{ChannelUri, key};

use super::Conductor;
use super::requests::{Answer, Asker};
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
    /// Where the live stream is to be had, to be joined; empty to copy only.
    live_destination: String,
    /// Tags of channel and subscription, for a copy that others add destinations to.
    tags: (Option<i64>, Option<i64>),
    session_id: Option<i32>,
    file_io_max_length: Option<i32>,
    credentials: Vec<u8>,
}

/// What is to be told once a replication is over.
enum Over {
    Done,
    /// The recording goes on from the live stream.
    Merged,
    Refused(Refusal),
}

enum Phase {
    Connect(Box<Connecting>),
    Describe(Request<Option<Described>>),
    SourcePosition(Request<Option<Position>>),
    Subscribe,
    Token(Request<i64>),
    /// The replay is asked for on a publication of its own, whose image is answered.
    Publish(Box<Publishing>),
    Replay(Request<ReplaySession>),
    AwaitImage,
    Copy,
    Join(Join),
}

/// A publication by which a replay over response channels is asked for.
struct Publishing {
    token: i64,
    state: PublishState,
}

enum PublishState {
    Adding(Pending<ExclusivePublication>),
    Connecting(ExclusivePublication),
    Offering(ExclusivePublication, Request<ReplaySession>, Vec<u8>),
}

/// The way from the replay to the live stream.
struct Join {
    /// How far the source was when it last answered.
    target: Option<i64>,
    asked: Option<Request<Option<Position>>>,
    /// How many times the source has not answered.
    timeouts: u32,
    /// Whether the live destination was there when the source was last asked.
    is_target_live: bool,
    is_added: bool,
    next_ask: Nanos,
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
    /// Where the replay arrives, if destinations are added to the subscription one by one.
    replay_destination: Option<String>,
    is_destination_added: bool,
    /// Changes of destinations that are not answered.
    changes: Vec<Pending<()>>,
    /// Kept until the replay that was asked for on it is answered.
    publication: Option<ExclusivePublication>,
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
        let tagged = TaggedReplicateRequest {
            control_session_id: it.control_session_id,
            correlation_id: it.correlation_id,
            src_recording_id: it.src_recording_id,
            dst_recording_id: it.dst_recording_id,
            channel_tag_id: NONE,
            subscription_tag_id: NONE,
            src_control_stream_id: it.src_control_stream_id,
            src_control_channel: it.src_control_channel,
            live_destination: it.live_destination,
        };
        self.replicate_tagged(asker, &tagged, now)
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
            replay_destination: None,
            is_destination_added: false,
            changes: Vec::new(),
            publication: None,
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
        let configured = self.config.control.replication_channel.as_bytes();
        let asked = it.replication_channel;
        let asked = if asked.is_empty() { configured } else { asked };
        if asked.is_empty() {
            return Err(Refusal::generic("aeron.archive.replication.channel is not set"));
        }
        let uri = channel::parse(asked)?;
        if channel::is_response(&uri) {
            let is_plain = it.live_destination.is_empty()
                && it.channel_tag_id == NONE
                && it.subscription_tag_id == NONE;
            if !is_plain {
                let text = "a response channel goes with neither live destination nor tags";
                return Err(Refusal::generic(text));
            }
        }
        if !it.live_destination.is_empty() {
            channel::parse(it.live_destination)?;
        }
        let control_channel = text(it.src_control_channel);
        let source = channel::parse(it.src_control_channel)?;
        let response_channel = match it.src_response_channel {
            [] => self.response_channel(&source),
            given => text(given),
        };
        let given = |tag: i64| Some(tag).filter(|tag| *tag != NONE);
        let positive = |value: i32| Some(value).filter(|value| *value > 0);
        Ok(Wanted {
            source_recording_id: it.src_recording_id,
            recording_id: it.dst_recording_id,
            stop_position: it.stop_position,
            control_channel,
            control_stream_id: it.src_control_stream_id,
            response_channel,
            channel: uri,
            live_destination: text(it.live_destination),
            tags: (given(it.channel_tag_id), given(it.subscription_tag_id)),
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
        if let Over::Refused(refusal) = &over {
            self.note(&refusal.message, now);
            self.refuse(replication.control_session_id, replication.id, refusal);
        }
        if let Some(id) = replication.subscription_id
            && !matches!(over, Over::Merged)
        {
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
