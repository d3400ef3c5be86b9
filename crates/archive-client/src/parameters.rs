//! What replays and replications can be told.

use client::CounterId;
use wire::position::{Position, SessionId, StreamId};

/// How much to replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplayLength {
    /// Everything, and what an active recording gains meanwhile.
    #[default]
    Follow,
    /// Everything that is there when the replay begins.
    UntilNow,
    /// At most this many bytes, rounded up to the end of a frame.
    Bytes(i64),
}

impl ReplayLength {
    pub(crate) const fn to_wire(self) -> i64 {
        match self {
            Self::Follow => -1,
            Self::UntilNow => -2,
            Self::Bytes(length) => length,
        }
    }
}

/// How to replay a recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayParameters {
    /// Where to begin; none is where the recording begins. Must be that of a frame.
    pub position: Option<Position>,
    /// How much.
    pub length: ReplayLength,
    /// A counter of the archive's driver beyond whose value nothing is replayed.
    pub bounding_counter: Option<CounterId>,
    /// Most bytes that the archive reads at a time: a throttle.
    pub file_io_max_length: Option<i32>,
    /// A token for a replay that is asked for on a publication of its own.
    pub token: Option<i64>,
}

/// What a recording must be like to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordingMatch<'a> {
    /// Lowest id.
    pub recording_id_min: i64,
    /// A part of the channel as it was asked for; empty fits all.
    pub channel_fragment: &'a str,
    /// The stream.
    pub stream_id: StreamId,
    /// The session recorded last.
    pub session_id: SessionId,
}

/// How to copy a recording from another archive. Empty texts are "none".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplicationParameters<'a> {
    /// The recording to go on with; none makes a new one.
    pub dst_recording_id: Option<i64>,
    /// Where to stop; none is the end.
    pub stop_position: Option<Position>,
    /// Tag of the channel by which the copy joins the live stream.
    pub channel_tag_id: Option<i64>,
    /// Tag of the subscription by which the copy joins the live stream.
    pub subscription_tag_id: Option<i64>,
    /// Where the live stream is, to be joined once the copy has caught up.
    pub live_destination: &'a str,
    /// Where the source is to replay to; empty leaves it to the archive that copies.
    pub replication_channel: &'a str,
    /// Most bytes that the source reads at a time: a throttle.
    pub file_io_max_length: Option<i32>,
    /// The session of the replay; not together with a live destination.
    pub replication_session_id: Option<SessionId>,
    /// What the archive that copies says to the source; challenges are not supported.
    pub encoded_credentials: &'a [u8],
    /// Where the source is to answer; empty leaves it to the archive that copies.
    pub src_response_channel: &'a str,
}
