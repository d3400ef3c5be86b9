//! Commands of clients to the driver, and the driver's events to clients (docs/ipc.md).
//!
//! A message is a type id (in the record header of the ring or broadcast) and a body. Bodies hold
//! exactly what their lengths say; nothing is padded at the end. Texts are ASCII.

mod command;
mod event;
mod text;

pub use command::{Command, Request};
pub use event::{AvailableImage, Event, PublicationError, PublicationReady, Source};

use core::fmt;
use thiserror::Error;

/// Longest channel that a driver takes.
pub const CHANNEL_LENGTH_MAX: usize = 4095;
/// Longest reason that a client may give when it rejects an image.
pub const REASON_LENGTH_MAX: usize = 1023;
/// Registration id that means "none".
pub const NO_REGISTRATION: CorrelationId = CorrelationId(-1);

/// A client of a driver: one value of the ring's correlation counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub i64);

/// One command, and whatever it made: the registration id of a publication, subscription, counter
/// or destination is the correlation id of the command that added it; images have one as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CorrelationId(pub i64);

/// What went wrong, as the driver tells clients; unknown values are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorCode(pub i32);

impl ErrorCode {
    /// Not a code that is sent.
    pub const UNUSED: Self = Self(0);
    /// A channel that cannot be, or clashes with one in use.
    pub const INVALID_CHANNEL: Self = Self(1);
    /// No subscription with this registration id.
    pub const UNKNOWN_SUBSCRIPTION: Self = Self(2);
    /// No publication with this registration id.
    pub const UNKNOWN_PUBLICATION: Self = Self(3);
    /// A socket failed; the offending id is the channel status counter's. Old drivers only.
    pub const CHANNEL_ENDPOINT_ERROR: Self = Self(4);
    /// No counter with this registration id.
    pub const UNKNOWN_COUNTER: Self = Self(5);
    /// A command of unknown type.
    pub const UNKNOWN_COMMAND: Self = Self(6);
    /// A command whose lengths do not fit.
    pub const MALFORMED_COMMAND: Self = Self(7);
    /// Known, but not done here.
    pub const NOT_SUPPORTED: Self = Self(8);
    /// A name that does not resolve.
    pub const UNKNOWN_HOST: Self = Self(9);
    /// Try again.
    pub const RESOURCE_TEMPORARILY_UNAVAILABLE: Self = Self(10);
    /// Anything else; the text says what.
    pub const GENERIC: Self = Self(11);
    /// No room for a log buffer.
    pub const STORAGE_SPACE: Self = Self(12);
    /// A subscriber rejected an image.
    pub const IMAGE_REJECTED: Self = Self(13);
    /// A publisher revoked its publication.
    pub const PUBLICATION_REVOKED: Self = Self(14);
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Self::INVALID_CHANNEL => "invalid channel",
            Self::UNKNOWN_SUBSCRIPTION => "unknown subscription",
            Self::UNKNOWN_PUBLICATION => "unknown publication",
            Self::CHANNEL_ENDPOINT_ERROR => "channel endpoint error",
            Self::UNKNOWN_COUNTER => "unknown counter",
            Self::UNKNOWN_COMMAND => "unknown command",
            Self::MALFORMED_COMMAND => "malformed command",
            Self::NOT_SUPPORTED => "not supported",
            Self::UNKNOWN_HOST => "unknown host",
            Self::RESOURCE_TEMPORARILY_UNAVAILABLE => "resource temporarily unavailable",
            Self::GENERIC => "generic error",
            Self::STORAGE_SPACE => "storage space",
            Self::IMAGE_REJECTED => "image rejected",
            Self::PUBLICATION_REVOKED => "publication revoked",
            Self(code) => return write!(formatter, "error code {code}"),
        };
        formatter.write_str(name)
    }
}

/// Why a message is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ControlError {
    /// No message has this type id.
    #[error("unknown message type {0:#x}")]
    UnknownType(i32),
    /// The body ends before its fields do, or a length in it is negative or too large.
    #[error("message of type {type_id:#x} with {length} bytes is malformed")]
    Malformed {
        /// Type of the message.
        type_id: i32,
        /// Bytes in its body.
        length: usize,
    },
}

#[cfg(test)]
mod tests;
