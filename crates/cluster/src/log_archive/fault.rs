//! What can go wrong between the core and the archive.

use archive_client::{ArchiveError, ArchiveErrorCode, Disconnected, RequestError};
use client::{AddError, OfferError};
use runtime::Nanos;

/// Why something that concerns the archive, or the log's streams, did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogFault {
    /// A request did not succeed.
    #[error("archive: {0}")]
    Request(#[from] RequestError),
    /// Something that had begun failed.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A recording that was under way failed: what it should hold is not all there.
    #[error("recording failed: {0}")]
    Recording(ArchiveError),
    /// The driver refused a stream or a destination.
    #[error("log streams: {0}")]
    Driver(#[from] AddError),
    /// The archive is gone.
    #[error(transparent)]
    Disconnected(#[from] Disconnected),
    /// A snapshot cannot be written on.
    #[error("snapshot cannot be written: {0}")]
    Offer(#[from] OfferError),
    /// Something did not happen in time.
    #[error("{what} within {} ms", waited.as_millis())]
    Late {
        /// What did not happen, as a clause.
        what: &'static str,
        /// How long was waited.
        waited: Nanos,
    },
    /// A recording ended as it began.
    #[error("recording ended as it began")]
    Ended,
    /// The archive does not know the recording of the log.
    #[error("archive has no recording of the log")]
    NoRecording,
}

impl LogFault {
    /// Whether the archive or its storage is gone: no election helps.
    #[must_use]
    pub const fn is_loss(&self) -> bool {
        match self {
            Self::Disconnected(_)
            | Self::Recording(_)
            | Self::Driver(AddError::Client(_))
            | Self::Request(RequestError::Disconnected { .. }) => true,
            Self::Archive(cause) | Self::Request(RequestError::Refused { cause, .. }) => {
                matches!(cause.code, ArchiveErrorCode::StorageSpace)
            }
            Self::Request(_)
            | Self::Driver(_)
            | Self::Offer(_)
            | Self::Late { .. }
            | Self::Ended
            | Self::NoRecording => false,
        }
    }
}

/// An action that does not fit what is open: the core and this module disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogArchiveError {
    /// A publication is to be recorded, or to be caught up with, and there is none.
    #[error("the log's publication is not open")]
    NoPublication,
    /// An image is to be recorded, or a destination changed, and no log is open.
    #[error("no log of a leader is open")]
    NoLog,
    /// A recording is to be replayed or cut, and there is none.
    #[error("there is no recording of the log")]
    NoRecording,
    /// A copy comes from a member that is none.
    #[error("there is no member {0}")]
    Stranger(i32),
}
