//! Everything that can be asked of an archive (archive page 2.5).
//!
//! Each method queues one request; the next poll sends it. What `T` of a [`Request`] says is in the
//! method's documentation.

use client::CorrelationId;
use wire::archive::SourceLocation;
use wire::archive::request::{
    AttachSegmentsRequest, BoundedReplayRequest, DeleteDetachedSegmentsRequest,
    DetachSegmentsRequest, ExtendRecordingRequest2, FindLastMatchingRecordingRequest,
    KeepAliveRequest, ListRecordingRequest, ListRecordingSubscriptionsRequest,
    ListRecordingsForUriRequest, ListRecordingsRequest, MaxRecordedPositionRequest,
    MigrateSegmentsRequest, PurgeRecordingRequest, PurgeSegmentsRequest, RecordingPositionRequest,
    ReplayRequest, ReplayTokenRequest, ReplicateRequest2, StartPositionRequest,
    StartRecordingRequest2, StopAllReplaysRequest, StopPositionRequest,
    StopRecordingByIdentityRequest, StopRecordingRequest, StopRecordingSubscriptionRequest,
    StopReplayRequest, StopReplicationRequest, TruncateRecordingRequest, UpdateChannelRequest,
};
use wire::archive::response::ArchiveErrorCode;
use wire::position::{Position, StreamId};

use crate::answer::{Recording, RecordingSubscription, ReplaySession, Request};
use crate::archive_client::ArchiveClient;
use crate::connect::encode;
use crate::inbox::Expected;
use crate::parameters::{RecordingMatch, ReplayParameters, ReplicationParameters};

/// What "none" is on this wire.
const NONE: i32 = -1;

/// Whether there was such a subscription.
const IS_SUBSCRIPTION: Expected = Expected::ValueOrZero(ArchiveErrorCode::UnknownSubscription);
/// Whether there was such a replication.
const IS_REPLICATION: Expected = Expected::ValueOrZero(ArchiveErrorCode::UnknownReplication);

/// Queues a request: its name for errors, what is expected of its answer (a value, if nothing is
/// said), and its message without the ids that every request carries.
macro_rules! ask {
    ($client:expr, $name:literal; $Message:ident { $($fields:tt)* }) => {
        ask!($client, $name, Expected::Value; $Message { $($fields)* })
    };
    ($client:expr, $name:literal, $expected:expr; $Message:ident { $($fields:tt)* }) => {{
        let (id, control_session_id) = ($client.next_id(), $client.control_session_id());
        let message = $Message { control_session_id, correlation_id: id.0, $($fields)* };
        let bytes = encode(&message);
        $client.ask(id, $name, $expected, bytes)
    }};
}

impl ArchiveClient {
    /// Records a channel and stream from now on; answers with the id of the archive's subscription.
    ///
    /// Every image becomes a recording of its own, later ones too: name a session in the channel to
    /// record one only. With `auto_stop` the subscription ends with its first recording. The
    /// recording's id comes with the signal [`Start`](crate::RecordingSignal::Start).
    pub fn start_recording(
        &mut self,
        channel: &str,
        stream_id: StreamId,
        source_location: SourceLocation,
        auto_stop: bool,
    ) -> Request<i64> {
        ask!(self, "start recording"; StartRecordingRequest2 {
            channel: channel.as_bytes(),
            stream_id: stream_id.0,
            source_location,
            auto_stop,
        })
    }

    /// Goes on with a stopped recording; answers with the id of the archive's subscription.
    ///
    /// The stream must begin exactly where the recording stops: see the initial position of a
    /// channel.
    pub fn extend_recording(
        &mut self,
        recording_id: i64,
        channel: &str,
        stream_id: StreamId,
        source_location: SourceLocation,
        auto_stop: bool,
    ) -> Request<i64> {
        ask!(self, "extend recording"; ExtendRecordingRequest2 {
            recording_id,
            channel: channel.as_bytes(),
            stream_id: stream_id.0,
            source_location,
            auto_stop,
        })
    }

    /// Stops what [`start_recording`](Self::start_recording) of the same channel and stream began;
    /// answers whether there was such a thing.
    pub fn stop_recording(&mut self, channel: &str, stream_id: StreamId) -> Request<bool> {
        ask!(self, "stop recording", IS_SUBSCRIPTION; StopRecordingRequest {
            channel: channel.as_bytes(),
            stream_id: stream_id.0,
        })
    }

    /// Stops a recording by the id that [`start_recording`](Self::start_recording) answered;
    /// answers whether there was such a thing.
    pub fn stop_recording_subscription(&mut self, subscription_id: i64) -> Request<bool> {
        let expected = IS_SUBSCRIPTION;
        ask!(self, "stop recording subscription", expected; StopRecordingSubscriptionRequest {
            subscription_id,
        })
    }

    /// Stops an active recording; answers whether it was active.
    pub fn stop_recording_by_identity(&mut self, recording_id: i64) -> Request<bool> {
        ask!(self, "stop recording by identity"; StopRecordingByIdentityRequest { recording_id })
    }

    /// Replays a recording to a channel and stream; answers with the replay's session.
    ///
    /// The answer comes before anybody is connected; a failure after it comes by
    /// [`next_failure`](Self::next_failure) with the same id. Subscribe to the channel with the
    /// answer's session id, unless the channel names one.
    pub fn replay(
        &mut self,
        recording_id: i64,
        channel: &str,
        stream_id: StreamId,
        parameters: &ReplayParameters,
    ) -> Request<ReplaySession> {
        let id = self.next_id();
        let bytes = self.replay_message(id, recording_id, channel, stream_id, parameters);
        self.ask(id, "replay", Expected::Value, bytes)
    }

    /// The same for a replay that is asked for on a publication of its own, with a token: returns
    /// the message to offer there. Its answer comes here.
    pub fn replay_elsewhere(
        &mut self,
        recording_id: i64,
        channel: &str,
        stream_id: StreamId,
        parameters: &ReplayParameters,
    ) -> (Request<ReplaySession>, Vec<u8>) {
        let id = self.next_id();
        let bytes = self.replay_message(id, recording_id, channel, stream_id, parameters);
        (self.ask_elsewhere(id, "replay with token"), bytes)
    }

    fn replay_message(
        &self,
        id: CorrelationId,
        recording_id: i64,
        channel: &str,
        stream_id: StreamId,
        parameters: &ReplayParameters,
    ) -> Vec<u8> {
        let (control_session_id, correlation_id) = (self.control_session_id(), id.0);
        let position = parameters.position.map_or(-1, |position| position.0);
        let length = parameters.length.to_wire();
        let file_io_max_length = parameters.file_io_max_length.unwrap_or(NONE);
        let replay_token = parameters.token.unwrap_or(-1);
        let (replay_stream_id, replay_channel) = (stream_id.0, channel.as_bytes());
        match parameters.bounding_counter {
            None => encode(&ReplayRequest {
                control_session_id,
                correlation_id,
                recording_id,
                position,
                length,
                replay_stream_id,
                file_io_max_length,
                replay_token,
                replay_channel,
            }),
            Some(counter) => encode(&BoundedReplayRequest {
                control_session_id,
                correlation_id,
                recording_id,
                position,
                length,
                limit_counter_id: counter.0,
                replay_stream_id,
                file_io_max_length,
                replay_token,
                replay_channel,
            }),
        }
    }

    /// Stops a replay. One that is not there is no error.
    pub fn stop_replay(&mut self, replay: ReplaySession) -> Request<()> {
        ask!(self, "stop replay"; StopReplayRequest { replay_session_id: replay.0 })
    }

    /// Stops all replays of a recording, or of all.
    pub fn stop_all_replays(&mut self, recording_id: Option<i64>) -> Request<()> {
        ask!(self, "stop all replays"; StopAllReplaysRequest {
            recording_id: recording_id.unwrap_or(-1),
        })
    }

    /// Asks for a token for [`replay_elsewhere`](Self::replay_elsewhere). It is good for 5 s.
    pub fn replay_token(&mut self, recording_id: i64) -> Request<i64> {
        ask!(self, "replay token"; ReplayTokenRequest { recording_id })
    }

    /// Describes one recording; answers none if there is none.
    pub fn list_recording(&mut self, recording_id: i64) -> Request<Option<Recording>> {
        ask!(self, "list recording", Expected::recordings(1); ListRecordingRequest { recording_id })
    }

    /// Describes at most `count` recordings from an id on. One listing may run at a time.
    pub fn list_recordings(
        &mut self,
        recording_id_min: i64,
        count: usize,
    ) -> Request<Vec<Recording>> {
        ask!(self, "list recordings", Expected::recordings(count); ListRecordingsRequest {
            from_recording_id: recording_id_min,
            record_count: wire_count(count),
        })
    }

    /// The same, of a stream whose channel, as it was asked for, contains a text.
    pub fn list_recordings_for_uri(
        &mut self,
        recording_id_min: i64,
        count: usize,
        channel_fragment: &str,
        stream_id: StreamId,
    ) -> Request<Vec<Recording>> {
        let expected = Expected::recordings(count);
        ask!(self, "list recordings for uri", expected; ListRecordingsForUriRequest {
            from_recording_id: recording_id_min,
            record_count: wire_count(count),
            channel: channel_fragment.as_bytes(),
            stream_id: stream_id.0,
        })
    }

    /// The newest recording that matches, if there is one.
    pub fn find_last_matching_recording(
        &mut self,
        found: &RecordingMatch<'_>,
    ) -> Request<Option<i64>> {
        ask!(self, "find last matching recording"; FindLastMatchingRecordingRequest {
            min_recording_id: found.recording_id_min,
            session_id: found.session_id.0,
            stream_id: found.stream_id.0,
            channel: found.channel_fragment.as_bytes(),
        })
    }

    /// Describes at most `count` subscriptions that record, from the `first`th on, whose channel
    /// contains a text; of one stream or of all.
    pub fn list_recording_subscriptions(
        &mut self,
        first: i32,
        count: usize,
        stream_id: Option<StreamId>,
        channel_fragment: &str,
    ) -> Request<Vec<RecordingSubscription>> {
        let expected = Expected::subscriptions(count);
        ask!(self, "list recording subscriptions", expected; ListRecordingSubscriptionsRequest {
            pseudo_index: first,
            subscription_count: wire_count(count),
            apply_stream_id: stream_id.is_some(),
            stream_id: stream_id.map_or(0, |stream_id| stream_id.0),
            channel: channel_fragment.as_bytes(),
        })
    }

    /// Where a recording begins.
    pub fn start_position(&mut self, recording_id: i64) -> Request<Position> {
        ask!(self, "start position"; StartPositionRequest { recording_id })
    }

    /// How far a recording has come; none if it is not active.
    pub fn recording_position(&mut self, recording_id: i64) -> Request<Option<Position>> {
        ask!(self, "recording position"; RecordingPositionRequest { recording_id })
    }

    /// Where a recording stopped; none while it is active.
    pub fn stop_position(&mut self, recording_id: i64) -> Request<Option<Position>> {
        ask!(self, "stop position"; StopPositionRequest { recording_id })
    }

    /// How far a recording has come, active or not.
    pub fn max_recorded_position(&mut self, recording_id: i64) -> Request<Position> {
        ask!(self, "max recorded position"; MaxRecordedPositionRequest { recording_id })
    }

    /// Cuts a stopped recording off at a position, which must be that of a frame; answers how many
    /// files will be deleted. The signal [`Delete`](crate::RecordingSignal::Delete) tells when they
    /// are.
    pub fn truncate_recording(&mut self, recording_id: i64, position: Position) -> Request<i64> {
        ask!(self, "truncate recording"; TruncateRecordingRequest {
            recording_id,
            position: position.0,
        })
    }

    /// Deletes a stopped recording; answers how many files will be deleted, which a signal tells.
    pub fn purge_recording(&mut self, recording_id: i64) -> Request<i64> {
        ask!(self, "purge recording"; PurgeRecordingRequest { recording_id })
    }

    /// Forgets the segments before a position, which must be the base of one, and keeps their
    /// files.
    pub fn detach_segments(
        &mut self,
        recording_id: i64,
        new_start_position: Position,
    ) -> Request<()> {
        ask!(self, "detach segments"; DetachSegmentsRequest {
            recording_id,
            new_start_position: new_start_position.0,
        })
    }

    /// Deletes the files of detached segments; answers how many, and a signal tells when.
    pub fn delete_detached_segments(&mut self, recording_id: i64) -> Request<i64> {
        ask!(self, "delete detached segments"; DeleteDetachedSegmentsRequest { recording_id })
    }

    /// Detaches and deletes at once; answers how many files, and a signal tells when.
    pub fn purge_segments(
        &mut self,
        recording_id: i64,
        new_start_position: Position,
    ) -> Request<i64> {
        ask!(self, "purge segments"; PurgeSegmentsRequest {
            recording_id,
            new_start_position: new_start_position.0,
        })
    }

    /// Takes detached segments back; answers how many.
    pub fn attach_segments(&mut self, recording_id: i64) -> Request<i64> {
        ask!(self, "attach segments"; AttachSegmentsRequest { recording_id })
    }

    /// Moves the segments of one stopped recording to the front or end of another; answers how
    /// many.
    pub fn migrate_segments(
        &mut self,
        src_recording_id: i64,
        dst_recording_id: i64,
    ) -> Request<i64> {
        ask!(self, "migrate segments"; MigrateSegmentsRequest {
            src_recording_id,
            dst_recording_id,
        })
    }

    /// Writes another channel into the description of a recording.
    pub fn update_channel(&mut self, recording_id: i64, channel: &str) -> Request<()> {
        ask!(self, "update channel"; UpdateChannelRequest {
            recording_id,
            channel: channel.as_bytes(),
        })
    }

    /// Copies a recording from another archive to this one; answers with the replication's id,
    /// which everything that follows carries as its correlation id: signals and failures.
    ///
    /// The end is the signal [`ReplicateEnd`](crate::RecordingSignal::ReplicateEnd);
    /// [`Stop`](crate::RecordingSignal::Stop) of the copy usually comes after it.
    pub fn replicate(
        &mut self,
        src_recording_id: i64,
        src_control_channel: &str,
        src_control_stream_id: StreamId,
        parameters: &ReplicationParameters<'_>,
    ) -> Request<i64> {
        let session_id = parameters.replication_session_id;
        ask!(self, "replicate"; ReplicateRequest2 {
            src_recording_id,
            dst_recording_id: parameters.dst_recording_id.unwrap_or(-1),
            stop_position: parameters.stop_position.map_or(-1, |position| position.0),
            channel_tag_id: parameters.channel_tag_id.unwrap_or(-1),
            subscription_tag_id: parameters.subscription_tag_id.unwrap_or(-1),
            src_control_stream_id: src_control_stream_id.0,
            file_io_max_length: parameters.file_io_max_length.unwrap_or(NONE),
            replication_session_id: session_id.map_or(NONE, |session_id| session_id.0),
            src_control_channel: src_control_channel.as_bytes(),
            live_destination: parameters.live_destination.as_bytes(),
            replication_channel: parameters.replication_channel.as_bytes(),
            encoded_credentials: parameters.encoded_credentials,
            src_response_channel: parameters.src_response_channel.as_bytes(),
        })
    }

    /// Stops a replication; answers whether there was such a thing.
    pub fn stop_replication(&mut self, replication_id: i64) -> Request<bool> {
        ask!(self, "stop replication", IS_REPLICATION; StopReplicationRequest { replication_id })
    }

    /// Says that this client lives. Not needed: reading is enough. There is no answer.
    pub fn keep_alive(&mut self) {
        let control_session_id = self.control_session_id();
        self.tell(encode(&KeepAliveRequest { control_session_id, correlation_id: -1 }));
    }
}

/// A count as it goes on the wire: more than it can say is as much as it can say.
fn wire_count(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
