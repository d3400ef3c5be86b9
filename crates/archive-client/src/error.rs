//! Why a connection or a request did not succeed.

use client::AddError;
use runtime::Nanos;
use wire::archive::response::ArchiveErrorCode;

/// What an archive says when it refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("archive error {}: {message}", code.code())]
pub struct ArchiveError {
    /// The kind.
    pub code: ArchiveErrorCode,
    /// In words; not part of any contract.
    pub message: String,
}

/// Why no client came of a [`Connecting`](crate::Connecting).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The message time-out has passed.
    #[error("archive at {channel} stream {stream_id}: {waiting_for} within {} ms",
        waited.as_millis())]
    Timeout {
        /// The control channel.
        channel: String,
        /// The control stream.
        stream_id: i32,
        /// What did not happen, as a clause.
        waiting_for: &'static str,
        /// How long was waited in all.
        waited: Nanos,
    },
    /// A channel is no channel.
    #[error("channel {channel} is not valid: {cause}")]
    Channel {
        /// As configured.
        channel: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The driver refused a stream, or the driver's client ended.
    #[error("archive at {channel}: {cause}")]
    Driver {
        /// The channel that was asked for.
        channel: String,
        /// Why not.
        cause: AddError,
    },
    /// The archive refused.
    #[error("archive at {channel} refused: {cause}")]
    Refused {
        /// The control channel.
        channel: String,
        /// Why.
        cause: ArchiveError,
    },
    /// The archive speaks another major version of the protocol.
    #[error("archive at {channel} speaks another version: {message}")]
    Version {
        /// The control channel.
        channel: String,
        /// The archive's words.
        message: String,
    },
    /// The archive went away while connecting.
    #[error("archive at {channel} went away")]
    Disconnected {
        /// The control channel.
        channel: String,
    },
}

/// Why a request did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The archive refused.
    #[error("{request}: {cause}")]
    Refused {
        /// What was asked.
        request: &'static str,
        /// Why not.
        cause: ArchiveError,
    },
    /// The archive has no such recording.
    #[error("{request}: there is no recording {id}")]
    RecordingUnknown {
        /// What was asked.
        request: &'static str,
        /// Of which recording.
        id: i64,
    },
    /// No answer came. Whether the archive did it is not known.
    #[error("{request}: no answer within {} ms ({})", waited.as_millis(),
        if *was_sent { "it was sent" } else { "it could not be sent" })]
    Timeout {
        /// What was asked.
        request: &'static str,
        /// How long was waited.
        waited: Nanos,
        /// Whether it went out at all.
        was_sent: bool,
    },
    /// The request is longer than the control stream takes.
    #[error("{request}: {length} bytes exceed the limit of {max}")]
    TooLong {
        /// What was asked.
        request: &'static str,
        /// Its length.
        length: usize,
        /// The limit.
        max: usize,
    },
    /// The answer is of a kind that does not fit the request.
    #[error("{request}: answered with code {code}")]
    Unexpected {
        /// What was asked.
        request: &'static str,
        /// The code of the answer.
        code: i32,
    },
    /// The archive went away. Whether it did it is not known.
    #[error("{request}: the archive went away")]
    Disconnected {
        /// What was asked.
        request: &'static str,
    },
}

/// The archive is no longer there, or this client was closed: connect anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Disconnected {
    /// Nobody takes requests any more.
    #[error("the archive's control stream is gone")]
    Requests,
    /// Nobody sends answers any more.
    #[error("the archive's response stream is gone")]
    Responses,
    /// It was closed in order.
    #[error("the archive client is closed")]
    Closed,
}
