//! What was asked and what came of it.

use std::fmt;
use std::marker::PhantomData;

use client::CorrelationId;
use wire::archive::response::{RecordingDescriptor, RecordingSubscriptionDescriptor};
use wire::position::{Position, SessionId, StreamId, TermId};

/// A request that was made; by it its answer is taken. `T` is what an answer says.
pub struct Request<T> {
    id: CorrelationId,
    answer: PhantomData<fn() -> T>,
}

impl<T> Request<T> {
    pub(crate) const fn new(id: CorrelationId) -> Self {
        Self { id, answer: PhantomData }
    }

    /// The request's correlation id: signals that come of it carry it.
    #[must_use]
    pub const fn id(&self) -> CorrelationId {
        self.id
    }
}

impl<T> Clone for Request<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Request<T> {}

impl<T> PartialEq for Request<T> {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl<T> Eq for Request<T> {}

impl<T> fmt::Debug for Request<T> {
    fn fmt(&self, target: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(target, "Request({})", self.id.0)
    }
}

/// A recording as its archive describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// Its id.
    pub id: i64,
    /// When it began, in epoch milliseconds.
    pub start_timestamp_ms: i64,
    /// When it ended, in epoch milliseconds; none while it is active.
    pub stop_timestamp_ms: Option<i64>,
    /// Where it begins.
    pub start_position: Position,
    /// Where it ends; none while it is active.
    pub stop_position: Option<Position>,
    /// First term of the stream.
    pub initial_term_id: TermId,
    /// Length of a segment file in bytes.
    pub segment_length: i32,
    /// Length of a term in bytes.
    pub term_length: i32,
    /// Longest datagram in bytes.
    pub mtu_length: i32,
    /// The session recorded last.
    pub session_id: SessionId,
    /// The stream.
    pub stream_id: StreamId,
    /// The channel without what does not matter to recording.
    pub stripped_channel: String,
    /// The channel as it was asked for.
    pub original_channel: String,
    /// Where the recorded image came from.
    pub source_identity: String,
}

/// A subscription by which an archive records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingSubscription {
    /// Its id, by which recording is stopped.
    pub id: i64,
    /// The stream.
    pub stream_id: StreamId,
    /// The channel, as the archive subscribed to it.
    pub channel: String,
}

/// A replay that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplaySession(pub i64);

impl ReplaySession {
    /// The session of the replay's publication: subscribe to the replay channel with it.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)] // The low half is the session id (page 6.2).
    pub const fn session_id(self) -> SessionId {
        SessionId(self.0 as i32)
    }
}

/// What came of a request, before it is given its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Value(i64),
    Recordings(Vec<Recording>),
    Subscriptions(Vec<RecordingSubscription>),
}

/// What an answer can say. Sealed: only the types of this crate's requests.
pub trait FromAnswer: Sized {
    #[doc(hidden)]
    fn from_answer(answer: AnswerValue) -> Option<Self>;
}

/// An answer, for [`FromAnswer`] only.
#[doc(hidden)]
pub struct AnswerValue(pub(crate) Answer);

impl AnswerValue {
    fn value(&self) -> Option<i64> {
        match self.0 {
            Answer::Value(value) => Some(value),
            Answer::Recordings(_) | Answer::Subscriptions(_) => None,
        }
    }
}

impl FromAnswer for () {
    fn from_answer(answer: AnswerValue) -> Option<Self> {
        answer.value().map(|_| ())
    }
}

impl FromAnswer for i64 {
    fn from_answer(answer: AnswerValue) -> Option<Self> {
        answer.value()
    }
}

impl FromAnswer for bool {
    fn from_answer(answer: AnswerValue) -> Option<Self> {
        answer.value().map(|value| value != 0)
    }
}

impl FromAnswer for Position {
    fn from_answer(answer: AnswerValue) -> Option<Self> {
        answer.value().map(Position)
    }
}

/// -1 on the wire is "none".
impl FromAnswer for Option<Position> {
    fn from_answer(answer: AnswerValue) -> Option<Self> {
        answer.value().map(|value| known(value).map(Position))
    }
}

/// -1 on the wire is "none".
impl FromAnswer for Option<i64> {
    fn from_answer(answer: AnswerValue) -> Option<Self> {
        answer.value().map(known)
    }
}

impl FromAnswer for ReplaySession {
    fn from_answer(answer: AnswerValue) -> Option<Self> {
        answer.value().map(ReplaySession)
    }
}

impl FromAnswer for Vec<Recording> {
    fn from_answer(answer: AnswerValue) -> Option<Self> {
        match answer.0 {
            Answer::Recordings(recordings) => Some(recordings),
            Answer::Value(_) | Answer::Subscriptions(_) => None,
        }
    }
}

impl FromAnswer for Option<Recording> {
    fn from_answer(answer: AnswerValue) -> Option<Self> {
        Vec::<Recording>::from_answer(answer).map(|mut recordings| recordings.pop())
    }
}

impl FromAnswer for Vec<RecordingSubscription> {
    fn from_answer(answer: AnswerValue) -> Option<Self> {
        match answer.0 {
            Answer::Subscriptions(subscriptions) => Some(subscriptions),
            Answer::Value(_) | Answer::Recordings(_) => None,
        }
    }
}

fn known(value: i64) -> Option<i64> {
    if value == -1 { None } else { Some(value) }
}

impl From<&RecordingDescriptor<'_>> for Recording {
    fn from(descriptor: &RecordingDescriptor<'_>) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            id: descriptor.recording_id,
            start_timestamp_ms: descriptor.start_timestamp,
            stop_timestamp_ms: known(descriptor.stop_timestamp),
            start_position: Position(descriptor.start_position),
            stop_position: known(descriptor.stop_position).map(Position),
            initial_term_id: TermId(descriptor.initial_term_id),
            segment_length: descriptor.segment_file_length,
            term_length: descriptor.term_buffer_length,
            mtu_length: descriptor.mtu_length,
            session_id: SessionId(descriptor.session_id),
            stream_id: StreamId(descriptor.stream_id),
            stripped_channel: text(descriptor.stripped_channel),
            original_channel: text(descriptor.original_channel),
            source_identity: text(descriptor.source_identity),
        }
    }
}

impl From<&RecordingSubscriptionDescriptor<'_>> for RecordingSubscription {
    fn from(descriptor: &RecordingSubscriptionDescriptor<'_>) -> Self {
        Self {
            id: descriptor.subscription_id,
            stream_id: StreamId(descriptor.stream_id),
            channel: String::from_utf8_lossy(descriptor.stripped_channel).into_owned(),
        }
    }
}
