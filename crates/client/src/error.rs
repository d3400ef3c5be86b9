//! Why a client, a request or an offer did not succeed.

use std::path::PathBuf;

use runtime::Nanos;
use wire::control::{ClientId, ErrorCode};
use wire::counters::CounterId;
use wire::position::Position;

/// Why no client came of a [`Connecting`](crate::Connecting).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// No live driver showed up in time. `state` says how far it got.
    #[error("no driver at {} within {} ms: {state}", directory.display(), waited.as_millis())]
    Timeout {
        /// The driver's directory.
        directory: PathBuf,
        /// How long was waited.
        waited: Nanos,
        /// What was seen last.
        state: DriverState,
    },
    /// The driver speaks another version of the shared files, or its file is damaged.
    #[error("driver at {} cannot be used: {cause}", directory.display())]
    Incompatible {
        /// The driver's directory.
        directory: PathBuf,
        /// What is wrong with its `cnc.dat`.
        cause: String,
    },
    /// The driver expects signs of life more often than this client is set to give them.
    #[error("keep-alive interval of {} ms is not below the driver's client time-out of {} ms",
        interval.as_millis(), liveness.as_millis())]
    KeepAliveInterval {
        /// As configured.
        interval: Nanos,
        /// As the driver says.
        liveness: Nanos,
    },
}

/// What was last seen of a driver while connecting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DriverState {
    /// There is no `cnc.dat`.
    #[error("there is no cnc.dat")]
    Absent,
    /// `cnc.dat` is there but not complete.
    #[error("cnc.dat is not ready")]
    NotReady,
    /// The driver's last sign of life is too old.
    #[error("its last sign of life is {age_ms} ms old")]
    Stale {
        /// How old.
        age_ms: i64,
    },
    /// The driver was shut down in order.
    #[error("it was shut down")]
    ShutDown,
    /// The file cannot be mapped.
    #[error("cnc.dat cannot be mapped: {0}")]
    Unreadable(String),
}

/// Why a client is of no more use. All its resources are closed by then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The driver has not shown a sign of life for the driver time-out.
    #[error("driver showed no sign of life for {age_ms} ms")]
    DriverTimeout {
        /// How old its last sign is.
        age_ms: i64,
    },
    /// The driver was shut down in order.
    #[error("driver was shut down")]
    DriverShutDown,
    /// The driver took this client for dead.
    #[error("driver timed out this client ({})", client_id.0)]
    ClientTimeout {
        /// This client's id.
        client_id: ClientId,
    },
    /// The client was not stepped for longer than the driver tolerates.
    #[error("client was not stepped for {} ms, the limit is {} ms",
        elapsed.as_millis(), limit.as_millis())]
    ServiceInterval {
        /// Since the last pass.
        elapsed: Nanos,
        /// What the driver tolerates.
        limit: Nanos,
    },
    /// The driver's messages were overwritten before they were read: what they said is unknown.
    #[error("client was unable to keep up with the driver's messages")]
    UnableToKeepUp,
    /// The client was closed in order.
    #[error("client is closed")]
    Closed,
}

/// Why a request to the driver did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// The driver refused it.
    #[error("driver refused: {code}: {message}")]
    Refused {
        /// Its code.
        code: ErrorCode,
        /// Its words.
        message: String,
    },
    /// No answer came within the driver time-out.
    #[error("no answer from the driver within {} ms to: {request}", waited.as_millis())]
    Timeout {
        /// What was asked.
        request: String,
        /// How long was waited.
        waited: Nanos,
    },
    /// The request cannot be put: too long a channel, key or label.
    #[error("{what} of {length} bytes exceeds the limit of {max}")]
    TooLong {
        /// Which part.
        what: &'static str,
        /// Its length.
        length: usize,
        /// The limit.
        max: usize,
    },
    /// The driver's log could not be mapped or is not valid.
    #[error("log {path} cannot be used: {cause}")]
    Log {
        /// Its file.
        path: String,
        /// Why.
        cause: String,
    },
    /// The driver's answer names a counter that does not exist.
    #[error("driver named counter {}, which does not exist", id.0)]
    Counter {
        /// As the driver says.
        id: CounterId,
    },
    /// The client ended meanwhile.
    #[error("client ended: {0}")]
    Client(ClientError),
}

/// Why an offer did not go out. Fatal for the publication: `Closed`, `MaxPositionExceeded`. A
/// message that is too long will never go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// The log turned to its next term: offer again at once.
    #[error("log rotated, offer again")]
    AdminAction,
    /// Subscribers are behind: offer again later.
    #[error("back-pressured")]
    BackPressured,
    /// The publication is closed.
    #[error("publication is closed")]
    Closed,
    /// The stream has used up all its positions.
    #[error("no positions are left at {}", position.0)]
    MaxPositionExceeded {
        /// Where the stream ends.
        position: Position,
    },
    /// The message can never go out on this publication.
    #[error("message of {length} bytes exceeds the limit of {max}")]
    MessageTooLong {
        /// Its length.
        length: usize,
        /// The longest that goes.
        max: usize,
    },
    /// There is no subscriber.
    #[error("no subscriber is connected")]
    NotConnected,
    /// A block does not continue the log where it stands.
    #[error("block does not continue the log at {}", position.0)]
    WrongBlock {
        /// Where the log stands.
        position: Position,
    },
}
