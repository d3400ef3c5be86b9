//! Why a request is turned down: a code that clients know, and words for people.

use wire::archive::response::ArchiveErrorCode;

/// A request turned down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: ArchiveErrorCode,
    pub(crate) message: String,
    /// Where a recording is damaged, if that is the cause.
    pub(crate) rot: Option<i64>,
}

impl Refusal {
    pub(crate) fn new(code: ArchiveErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), rot: None }
    }

    pub(crate) fn generic(message: impl Into<String>) -> Self {
        Self::new(ArchiveErrorCode::Generic, message)
    }

    /// What stands at `position` of a recording is not what was recorded.
    pub(crate) fn rotten(position: i64, message: impl Into<String>) -> Self {
        Self { rot: Some(position), ..Self::generic(message) }
    }

    pub(crate) fn unknown_recording(recording_id: i64) -> Self {
        Self::new(ArchiveErrorCode::UnknownRecording, format!("unknown recording {recording_id}"))
    }

    pub(crate) fn position(message: impl Into<String>) -> Self {
        Self::new(ArchiveErrorCode::InvalidPosition, message)
    }
}

impl<E: std::error::Error> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::generic(error.to_string())
    }
}
