//! What an archive says to its client.

use crate::bytes::SemanticVersion;
use crate::message::messages;
use crate::open_enum::open_enum;

open_enum! {
    /// How a request went.
    pub enum ControlResponseCode {
        /// Done, or begun; the relevant id is the result.
        Ok = 0,
        /// Refused; the relevant id is an [`ArchiveErrorCode`].
        Error = 1,
        /// No such recording; the relevant id is the one that was asked for.
        RecordingUnknown = 2,
        /// No further subscription.
        SubscriptionUnknown = 3,
    }
}

open_enum! {
    /// Why a request was refused: the relevant id of a response with the code for an error.
    pub enum ArchiveErrorCode {
        /// Everything without a code of its own.
        Generic = 0,
        /// A listing is running in this session.
        ActiveListing = 1,
        /// The recording is active.
        ActiveRecording = 2,
        /// Such a subscription records already.
        ActiveSubscription = 3,
        /// There is no such subscription.
        UnknownSubscription = 4,
        /// There is no such recording.
        UnknownRecording = 5,
        /// There is no such replay.
        UnknownReplay = 6,
        /// As many replays run as may.
        MaxReplays = 7,
        /// As many recordings run as may.
        MaxRecordings = 8,
        /// The stream does not fit the recording that it should extend.
        InvalidExtension = 9,
        /// The credentials were refused.
        AuthenticationRejected = 10,
        /// The disk is full, or nearly.
        StorageSpace = 11,
        /// There is no such replication.
        UnknownReplication = 12,
        /// The client may not do this.
        UnauthorisedAction = 13,
        /// The source archive cannot be reached.
        ReplicationConnectionFailure = 14,
        /// There is nothing to replay.
        EmptyRecording = 15,
        /// The position is outside the recording, or not that of a frame.
        InvalidPosition = 16,
    }
}

open_enum! {
    /// What happened to a recording.
    pub enum RecordingSignal {
        /// It began.
        Start = 0,
        /// It ended.
        Stop = 1,
        /// It goes on.
        Extend = 2,
        /// A replication began to fill it.
        Replicate = 3,
        /// A replication is joining the live stream.
        Merge = 4,
        /// A replication has all there is.
        Sync = 5,
        /// Files of it were deleted.
        Delete = 6,
        /// A replication ended.
        ReplicateEnd = 7,
    }
}

messages! {
    /// What a client may hear from an archive.
    pub enum Response<'a>: schema 101 version 14 {
        /// Answer to a request.
        ControlResponse = 1 {
            control_session_id: i64,
            correlation_id: i64,
            /// Result of the request, or the code of its error.
            relevant_id: i64,
            code: ControlResponseCode,
            version: SemanticVersion = SemanticVersion::NONE,
        } [error_message]
        /// One recording of a listing. Zeros may follow the last field.
        RecordingDescriptor = 22 {
            control_session_id: i64,
            correlation_id: i64,
            recording_id: i64,
            /// Milliseconds.
            start_timestamp: i64,
            /// Milliseconds; -1 while the recording is active.
            stop_timestamp: i64,
            start_position: i64,
            /// -1 while the recording is active.
            stop_position: i64,
            initial_term_id: i32,
            segment_file_length: i32,
            term_buffer_length: i32,
            mtu_length: i32,
            session_id: i32,
            stream_id: i32,
        } [stripped_channel, original_channel, source_identity]
        /// One subscription of a listing.
        RecordingSubscriptionDescriptor = 23 {
            control_session_id: i64,
            correlation_id: i64,
            subscription_id: i64,
            stream_id: i32,
        } [stripped_channel]
        /// Something happened to a recording.
        RecordingSignalEvent = 24 {
            control_session_id: i64,
            correlation_id: i64,
            recording_id: i64,
            subscription_id: i64,
            position: i64,
            signal: RecordingSignal,
        }
        /// The authenticator asks back.
        Challenge = 59 {
            control_session_id: i64,
            correlation_id: i64,
            /// Not to be relied on: genuine archives leave old bytes here.
            version: SemanticVersion = SemanticVersion::NONE,
        } [encoded_challenge]
        /// Is the client alive? Needs no answer: only that it is read.
        Ping = 106 { control_session_id: i64 }
    }
}
