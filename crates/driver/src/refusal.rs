//! Why a command was refused: the code that clients see, and the text.

use wire::control::ErrorCode;

/// An error that answers a command (docs/ipc.md, "Errors per command").
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    pub(crate) text: String,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    pub(crate) fn channel(text: impl Into<String>) -> Self {
        Self::new(ErrorCode::INVALID_CHANNEL, text)
    }

    pub(crate) fn generic(text: impl Into<String>) -> Self {
        Self::new(ErrorCode::GENERIC, text)
    }

    pub(crate) fn unknown_publication(registration_id: i64) -> Self {
        let text = format!("unknown publication: {registration_id}");
        Self::new(ErrorCode::UNKNOWN_PUBLICATION, text)
    }

    pub(crate) fn unknown_subscription(registration_id: i64) -> Self {
        let text = format!("unknown subscription: {registration_id}");
        Self::new(ErrorCode::UNKNOWN_SUBSCRIPTION, text)
    }
}
