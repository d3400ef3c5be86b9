//! What a client may ask of an archive.
//!
//! All but the first word carry the control session id, which the answer to it told. Every request
//! with a correlation id is answered with a [`ControlResponse`](super::response::ControlResponse),
//! apart from [`KeepAliveRequest`].

use crate::archive::SourceLocation;
use crate::bytes::SemanticVersion;
use crate::message::messages;

messages! {
    /// What a client may ask of an archive.
    pub enum Request<'a>: schema 101 version 14 {
        /// End the session; there is no answer.
        CloseSessionRequest = 3 { control_session_id: i64 }
        /// Record a channel and stream; not ending with its image.
        StartRecordingRequest = 4 {
            control_session_id: i64,
            correlation_id: i64,
            stream_id: i32,
            source_location: SourceLocation,
        } [channel]
        /// Stop recording a channel and stream.
        StopRecordingRequest = 5 {
            control_session_id: i64,
            correlation_id: i64,
            stream_id: i32,
        } [channel]
        /// Replay a recording.
        ReplayRequest = 6 {
            control_session_id: i64,
            correlation_id: i64,
            recording_id: i64,
            /// -1 is the start.
            position: i64,
            /// -1 is all, following a live recording; -2 is all that is there now.
            length: i64,
            replay_stream_id: i32,
            file_io_max_length: i32 = -1,
            replay_token: i64 = -1,
        } [replay_channel]
        /// Stop a replay.
        StopReplayRequest = 7 {
            control_session_id: i64,
            correlation_id: i64,
            replay_session_id: i64,
        }
        /// List recordings by id.
        ListRecordingsRequest = 8 {
            control_session_id: i64,
            correlation_id: i64,
            from_recording_id: i64,
            record_count: i32,
        }
        /// List recordings of a stream whose channel contains a text.
        ListRecordingsForUriRequest = 9 {
            control_session_id: i64,
            correlation_id: i64,
            from_recording_id: i64,
            record_count: i32,
            stream_id: i32,
        } [channel]
        /// List one recording.
        ListRecordingRequest = 10 {
            control_session_id: i64,
            correlation_id: i64,
            recording_id: i64,
        }
        /// Go on with a stopped recording.
        ExtendRecordingRequest = 11 {
            control_session_id: i64,
            correlation_id: i64,
            recording_id: i64,
            stream_id: i32,
            source_location: SourceLocation,
        } [channel]
        /// How far has an active recording come?
        RecordingPositionRequest = 12 {
            control_session_id: i64,
            correlation_id: i64,
            recording_id: i64,
        }
        /// Cut the end off a stopped recording.
        TruncateRecordingRequest = 13 {
            control_session_id: i64,
            correlation_id: i64,
            recording_id: i64,
            position: i64,
        }
        /// Stop what an earlier request started.
        StopRecordingSubscriptionRequest = 14 {
            control_session_id: i64,
            correlation_id: i64,
            subscription_id: i64,
        }
        /// Where did a recording stop?
        StopPositionRequest = 15 {
            control_session_id: i64,
            correlation_id: i64,
            recording_id: i64,
        }
        /// The newest recording of a session and stream whose channel contains a text.
        FindLastMatchingRecordingRequest = 16 {
            control_session_id: i64,
            correlation_id: i64,
            min_recording_id: i64,
            session_id: i32,
            stream_id: i32,
        } [channel]
        /// List the subscriptions that record.
        ListRecordingSubscriptionsRequest = 17 {
            control_session_id: i64,
            correlation_id: i64,
            pseudo_index: i32,
            subscription_count: i32,
            apply_stream_id: bool,
            stream_id: i32,
        } [channel]
        /// Replay a recording no further than a counter says.
        BoundedReplayRequest = 18 {
            control_session_id: i64,
            correlation_id: i64,
            recording_id: i64,
            /// -1 is the start.
            position: i64,
            /// -1 is all, following a live recording; -2 is all that is there now.
            length: i64,
            limit_counter_id: i32,
            replay_stream_id: i32,
            file_io_max_length: i32 = -1,
            replay_token: i64 = -1,
        } [replay_channel]
        /// Stop the replays of a recording; -1 is all.
        StopAllReplaysRequest = 19 {
            control_session_id: i64,
            correlation_id: i64,
            recording_id: i64,
        }
        /// Copy a recording from another archive.
        ReplicateRequest = 50 {
            control_session_id: i64,
            correlation_id: i64,
            src_recording_id: i64,
            /// -1 is a new recording.
            dst_recording_id: i64,
            src_control_stream_id: i32,
        } [src_control_channel, live_destination]
        /// Stop copying.
        StopReplicationRequest = 51 {
            control_session_id: i64,
            correlation_id: i64,
            replication_id: i64,
        }
        /// Where does a recording start?
        StartPositionRequest = 52 {
            control_session_id: i64,
            correlation_id: i64,
            recording_id: i64,
        }
        /// Forget the segments before a position, and keep their files.
        DetachSegmentsRequest = 53 {
            control_session_id: i64,
            correlation_id: i64,
            recording_id: i64,
            new_start_position: i64,
        }
        /// Delete the files of detached segments.
        DeleteDetachedSegmentsRequest = 54 {
            control_session_id: i64,
            correlation_id: i64,
            recording_id: i64,
        }
        /// Forget the segments before a position, and delete their files.
        PurgeSegmentsRequest = 55 {
            control_session_id: i64,
            correlation_id: i64,
            recording_id: i64,
            new_start_position: i64,
        }
        /// Take detached segments back.
        AttachSegmentsRequest = 56 {
            control_session_id: i64,
            correlation_id: i64,
            recording_id: i64,
        }
        /// Move the segments of one recording to the front of another.
        MigrateSegmentsRequest = 57 {
            control_session_id: i64,
            correlation_id: i64,
            src_recording_id: i64,
            dst_recording_id: i64,
        }
        /// Ask for a session.
        AuthConnectRequest = 58 {
            correlation_id: i64,
            response_stream_id: i32,
            version: SemanticVersion = SemanticVersion::NONE,
        } [response_channel, encoded_credentials, client_info since 12]
        /// Answer to a challenge.
        ChallengeResponse = 60 {
            control_session_id: i64,
            correlation_id: i64,
        } [encoded_credentials]
        /// The client is alive; there is no answer.
        KeepAliveRequest = 61 { control_session_id: i64, correlation_id: i64 }
        /// Copy a recording, with tags for the subscription that joins it to the live stream.
        TaggedReplicateRequest = 62 {
            control_session_id: i64,
            correlation_id: i64,
            src_recording_id: i64,
            /// -1 is a new recording.
            dst_recording_id: i64,
            channel_tag_id: i64,
            subscription_tag_id: i64,
            src_control_stream_id: i32,
        } [src_control_channel, live_destination]
        /// Record a channel and stream, if wished for one image only.
        StartRecordingRequest2 = 63 {
            control_session_id: i64,
            correlation_id: i64,
            stream_id: i32,
            source_location: SourceLocation,
            auto_stop: bool,
        } [channel]
        /// Go on with a stopped recording, if wished for one image only.
        ExtendRecordingRequest2 = 64 {
            control_session_id: i64,
            correlation_id: i64,
            recording_id: i64,
            stream_id: i32,
            source_location: SourceLocation,
            auto_stop: bool,
        } [channel]
        /// Stop an active recording.
        StopRecordingByIdentityRequest = 65 {
            control_session_id: i64,
            correlation_id: i64,
            recording_id: i64,
        }
        /// Copy a recording, with everything that can be said about it.
        ReplicateRequest2 = 66 {
            control_session_id: i64,
            correlation_id: i64,
            src_recording_id: i64,
            /// -1 is a new recording.
            dst_recording_id: i64,
            /// -1 is the end.
            stop_position: i64,
            channel_tag_id: i64,
            subscription_tag_id: i64,
            src_control_stream_id: i32,
            file_io_max_length: i32 = -1,
            replication_session_id: i32 = -1,
        } [
            src_control_channel,
            live_destination,
            replication_channel,
            encoded_credentials since 8,
            src_response_channel since 10,
        ]
        /// How far has a recording come, active or not?
        MaxRecordedPositionRequest = 67 {
            control_session_id: i64,
            correlation_id: i64,
            recording_id: i64,
        }
        /// Which archive is this?
        ArchiveIdRequest = 68 { control_session_id: i64, correlation_id: i64 }
        /// Mark a recording as gone and delete its files.
        PurgeRecordingRequest = 104 {
            control_session_id: i64,
            correlation_id: i64,
            recording_id: i64,
        }
        /// A token that allows a replay to be asked for on another publication.
        ReplayTokenRequest = 105 {
            control_session_id: i64,
            correlation_id: i64,
            recording_id: i64,
        }
        /// Write another channel into the descriptor of a recording.
        UpdateChannelRequest = 107 {
            control_session_id: i64,
            correlation_id: i64,
            recording_id: i64,
        } [channel]
    }
}
