//! Floor 4: asks an archive to record, replay and replicate.
//!
//! The archive, ours or genuine Aeron's, is met over a pair of streams and nowhere else. Nothing
//! here blocks: requests are queued and sent by [`ArchiveClient::poll`], any number of them may be
//! open at once, and each answer is taken by its [`Request`].
//!
//! ```text
//! ArchiveClient::connect -> Connecting --poll--> ArchiveClient
//!     start_recording(..) -> Request<i64>        poll(now) again and again
//!                            take(request) -> None ... Some(Ok(id) | Err(RequestError))
//! ```

#![forbid(unsafe_code)]

mod answer;
mod archive_client;
mod config;
mod connect;
mod credentials;
mod error;
mod inbox;
mod outbox;
mod parameters;
mod replay_merge;
mod requests;

#[doc(hidden)]
pub use answer::AnswerValue;
pub use answer::{FromAnswer, Recording, RecordingSubscription, ReplaySession, Request};
pub use archive_client::ArchiveClient;
pub use config::Config;
pub use connect::Connecting;
pub use credentials::{Credentials, FixedCredentials, NoCredentials};
pub use error::{ArchiveError, ConnectError, Disconnected, RequestError};
pub use parameters::{RecordingMatch, ReplayLength, ReplayParameters, ReplicationParameters};
pub use replay_merge::{MergeError, MergeParameters, ReplayMerge};
pub use wire::archive::SourceLocation;
pub use wire::archive::response::{ArchiveErrorCode, RecordingSignal, RecordingSignalEvent};
