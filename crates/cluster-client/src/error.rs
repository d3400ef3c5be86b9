//! Why there is no session, and why an offer did not go out.

use client::{AddError, ClientError};
use runtime::Nanos;

/// Why there is no session, or no longer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// No session opened in time.
    #[error("no session within {} ms: {step}; tried {tried}", waited.as_millis())]
    ConnectTimeout {
        /// How long was waited.
        waited: Nanos,
        /// How far it got.
        step: &'static str,
        /// Each place that was tried, and how it fared.
        tried: String,
    },
    /// The cluster refused the request.
    #[error("cluster refused the session: {detail}")]
    Refused {
        /// Its words.
        detail: String,
    },
    /// The cluster refused the credentials.
    #[error("cluster refused the credentials: {detail}")]
    AuthenticationRejected {
        /// Its words.
        detail: String,
    },
    /// The configured endpoints, or those that the cluster named, cannot be read.
    #[error("ingress endpoints {text}: {cause}")]
    Endpoints {
        /// As given.
        text: String,
        /// What is wrong.
        cause: String,
    },
    /// A configured channel cannot be used.
    #[error("channel {channel}: {cause}")]
    Channel {
        /// As configured.
        channel: String,
        /// What is wrong.
        cause: String,
    },
    /// The driver gave no subscription for the answers.
    #[error("egress subscription: {0}")]
    Egress(AddError),
    /// The leader went, and no other one made itself known.
    #[error("no new leader within {} ms", waited.as_millis())]
    NewLeaderTimeout {
        /// How long was waited.
        waited: Nanos,
    },
    /// A new leader made itself known but could not be reached.
    #[error("new leader not reached within {} ms; tried {tried}", waited.as_millis())]
    NewLeaderUnreachable {
        /// How long was tried.
        waited: Nanos,
        /// Where, and how it fared.
        tried: String,
    },
    /// The cluster closed the session.
    #[error("cluster closed the session: {detail}")]
    ClosedByCluster {
        /// Its words: a reason to close, or `election`.
        detail: String,
    },
    /// The ingress stream has used up its positions.
    #[error("ingress stream has no positions left")]
    PositionsUsedUp,
    /// The client of the driver ended.
    #[error("driver's client: {0}")]
    Client(ClientError),
    /// The session was closed by its owner.
    #[error("session was closed")]
    Closed,
}

/// Why an offer did not go out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// The session is not open yet.
    #[error("session is not open yet")]
    NotConnected,
    /// The leader is gone: the session goes on with the next one. What was offered shortly before
    /// may be lost.
    #[error("a new leader is awaited")]
    AwaitingLeader,
    /// The leader is behind: offer again later.
    #[error("back-pressured")]
    BackPressured,
    /// The message can never go out.
    #[error("message of {length} bytes exceeds the limit of {max}")]
    MessageTooLong {
        /// Its length, header included.
        length: usize,
        /// The longest that goes.
        max: usize,
    },
    /// More parts than [`PARTS_MAX`](crate::ClusterClient::PARTS_MAX).
    #[error("message has {0} parts")]
    TooManyParts(usize),
    /// The session is closed.
    #[error("session is closed")]
    Closed,
}
