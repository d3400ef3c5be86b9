//! Setup, status message, NAK, round trip, error and response setup: one frame per datagram.

use super::{
    ERROR_HEADER_LENGTH, ERROR_TEXT_LENGTH_MAX, FLAGS_OFFSET, FrameType, Invalid, MTU_LENGTH_MAX,
    NAK_LENGTH, RESPONSE_SETUP_LENGTH, ROUND_TRIP_LENGTH, SETUP_LENGTH, STATUS_MESSAGE_LENGTH,
    STATUS_MESSAGE_TAGGED_LENGTH, check_offset, flags, put_base, whole,
};
use crate::le::{i32_at, i64_at, put};
use crate::position::{FRAME_ALIGNMENT, SessionId, StreamId, TermId, is_term_length};

/// A sender describes its stream and where it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// [`flags::SEND_RESPONSE_SETUP`], [`flags::GROUP`].
    pub flags: u8,
    /// Offset of the sender's position in its term.
    pub term_offset: i32,
    /// The publication.
    pub session_id: SessionId,
    /// The stream.
    pub stream_id: StreamId,
    /// First term of the stream.
    pub initial_term_id: TermId,
    /// Term of the sender's position.
    pub active_term_id: TermId,
    /// Length of a term.
    pub term_length: i32,
    /// Longest datagram.
    pub mtu: i32,
    /// Multicast TTL of the sender's socket, 0 when default or unicast.
    pub ttl: i32,
}

impl Setup {
    pub(super) fn fields(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            flags: *bytes.get(FLAGS_OFFSET)?,
            term_offset: i32_at(bytes, 8)?,
            session_id: SessionId(i32_at(bytes, 12)?),
            stream_id: StreamId(i32_at(bytes, 16)?),
            initial_term_id: TermId(i32_at(bytes, 20)?),
            active_term_id: TermId(i32_at(bytes, 24)?),
            term_length: i32_at(bytes, 28)?,
            mtu: i32_at(bytes, 32)?,
            ttl: i32_at(bytes, 36)?,
        })
    }

    pub(super) const fn check(&self) -> Result<(), Invalid> {
        if !is_term_length(self.term_length) {
            return Err(Invalid::TermLength(self.term_length));
        }
        let mtu = self.mtu;
        if mtu < FRAME_ALIGNMENT || MTU_LENGTH_MAX < mtu || mtu % FRAME_ALIGNMENT != 0 {
            return Err(Invalid::Mtu(mtu));
        }
        if self.active_term_id.0.wrapping_sub(self.initial_term_id.0) < 0 {
            return Err(Invalid::ActiveTerm(self.active_term_id.0));
        }
        check_offset(self.term_offset, self.term_length)
    }

    /// The frame as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; SETUP_LENGTH] {
        let mut bytes = [0; SETUP_LENGTH];
        put_base(&mut bytes, SETUP_LENGTH, self.flags, FrameType::SETUP);
        put(&mut bytes, 8, self.term_offset.to_le_bytes());
        put(&mut bytes, 12, self.session_id.0.to_le_bytes());
        put(&mut bytes, 16, self.stream_id.0.to_le_bytes());
        put(&mut bytes, 20, self.initial_term_id.0.to_le_bytes());
        put(&mut bytes, 24, self.active_term_id.0.to_le_bytes());
        put(&mut bytes, 28, self.term_length.to_le_bytes());
        put(&mut bytes, 32, self.mtu.to_le_bytes());
        put(&mut bytes, 36, self.ttl.to_le_bytes());
        bytes
    }
}

/// How far a receiver has got and how much more it takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusMessage {
    /// [`flags::SEND_SETUP`], [`flags::END_OF_STREAM`].
    pub flags: u8,
    /// The publication.
    pub session_id: SessionId,
    /// The stream.
    pub stream_id: StreamId,
    /// Term of the consumption position.
    pub consumption_term_id: TermId,
    /// Offset of the consumption position.
    pub consumption_term_offset: i32,
    /// Bytes that may follow it.
    pub receiver_window: i32,
    /// Identifies the receiver's endpoint.
    pub receiver_id: i64,
    /// The receiver's group, if it has one.
    pub group_tag: Option<i64>,
}

impl StatusMessage {
    pub(super) fn fields(bytes: &[u8], frame_length: i32) -> Option<Self> {
        let is_tagged = frame_length >= 44;
        Some(Self {
            flags: *bytes.get(FLAGS_OFFSET)?,
            session_id: SessionId(i32_at(bytes, 8)?),
            stream_id: StreamId(i32_at(bytes, 12)?),
            consumption_term_id: TermId(i32_at(bytes, 16)?),
            consumption_term_offset: i32_at(bytes, 20)?,
            receiver_window: i32_at(bytes, 24)?,
            receiver_id: i64_at(bytes, 28)?,
            group_tag: if is_tagged { Some(i64_at(bytes, 36)?) } else { None },
        })
    }

    /// Checks the values against the publication's term length (1 GiB when it is unknown).
    ///
    /// # Errors
    /// An offset outside of the term, or a window larger than half a term.
    pub const fn check(&self, term_length: i32) -> Result<(), Invalid> {
        if self.receiver_window < 0 || term_length / 2 < self.receiver_window {
            return Err(Invalid::Window(self.receiver_window));
        }
        check_offset(self.consumption_term_offset, term_length)
    }

    /// The frame as bytes; the second value says how many of them are used (36 or 44).
    #[must_use]
    pub fn to_bytes(&self) -> ([u8; STATUS_MESSAGE_TAGGED_LENGTH], usize) {
        let mut bytes = [0; STATUS_MESSAGE_TAGGED_LENGTH];
        let length = match self.group_tag {
            Some(_) => STATUS_MESSAGE_TAGGED_LENGTH,
            None => STATUS_MESSAGE_LENGTH,
        };
        put_base(&mut bytes, length, self.flags, FrameType::STATUS_MESSAGE);
        put(&mut bytes, 8, self.session_id.0.to_le_bytes());
        put(&mut bytes, 12, self.stream_id.0.to_le_bytes());
        put(&mut bytes, 16, self.consumption_term_id.0.to_le_bytes());
        put(&mut bytes, 20, self.consumption_term_offset.to_le_bytes());
        put(&mut bytes, 24, self.receiver_window.to_le_bytes());
        put(&mut bytes, 28, self.receiver_id.to_le_bytes());
        put(&mut bytes, 36, self.group_tag.unwrap_or(0).to_le_bytes());
        (bytes, length)
    }
}

/// A receiver misses a range of a term.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nak {
    /// The publication.
    pub session_id: SessionId,
    /// The stream.
    pub stream_id: StreamId,
    /// The term.
    pub term_id: TermId,
    /// Where the gap begins.
    pub term_offset: i32,
    /// How many bytes are missing.
    pub length: i32,
}

impl Nak {
    pub(super) fn fields(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            session_id: SessionId(i32_at(bytes, 8)?),
            stream_id: StreamId(i32_at(bytes, 12)?),
            term_id: TermId(i32_at(bytes, 16)?),
            term_offset: i32_at(bytes, 20)?,
            length: i32_at(bytes, 24)?,
        })
    }

    /// Checks the range against the publication's term length.
    ///
    /// # Errors
    /// A range that does not lie in one term.
    pub fn check(&self, term_length: i32) -> Result<(), Invalid> {
        check_offset(self.term_offset, term_length)?;
        if self.length < 0 || term_length - self.term_offset < self.length {
            return Err(Invalid::GapLength(self.length));
        }
        Ok(())
    }

    /// The frame as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; NAK_LENGTH] {
        let mut bytes = [0; NAK_LENGTH];
        put_base(&mut bytes, NAK_LENGTH, 0, FrameType::NAK);
        put(&mut bytes, 8, self.session_id.0.to_le_bytes());
        put(&mut bytes, 12, self.stream_id.0.to_le_bytes());
        put(&mut bytes, 16, self.term_id.0.to_le_bytes());
        put(&mut bytes, 20, self.term_offset.to_le_bytes());
        put(&mut bytes, 24, self.length.to_le_bytes());
        bytes
    }
}

/// Measures the time to the other side and back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoundTrip {
    /// [`flags::REPLY`] asks for an answer; an answer has no flag.
    pub flags: u8,
    /// The publication.
    pub session_id: SessionId,
    /// The stream.
    pub stream_id: StreamId,
    /// The asker's clock, in nanoseconds; comes back unchanged.
    pub echo_timestamp_ns: i64,
    /// How long the answerer held the question, in nanoseconds.
    pub reception_delta_ns: i64,
    /// The receiver that asks or is asked; 0 means any.
    pub receiver_id: i64,
}

impl RoundTrip {
    pub(super) fn fields(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            flags: *bytes.get(FLAGS_OFFSET)?,
            session_id: SessionId(i32_at(bytes, 8)?),
            stream_id: StreamId(i32_at(bytes, 12)?),
            echo_timestamp_ns: i64_at(bytes, 16)?,
            reception_delta_ns: i64_at(bytes, 24)?,
            receiver_id: i64_at(bytes, 32)?,
        })
    }

    /// The frame as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; ROUND_TRIP_LENGTH] {
        let mut bytes = [0; ROUND_TRIP_LENGTH];
        put_base(&mut bytes, ROUND_TRIP_LENGTH, self.flags, FrameType::ROUND_TRIP);
        put(&mut bytes, 8, self.session_id.0.to_le_bytes());
        put(&mut bytes, 12, self.stream_id.0.to_le_bytes());
        put(&mut bytes, 16, self.echo_timestamp_ns.to_le_bytes());
        put(&mut bytes, 24, self.reception_delta_ns.to_le_bytes());
        put(&mut bytes, 32, self.receiver_id.to_le_bytes());
        bytes
    }
}

/// A receiver refuses the stream and says why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorFrame<'a> {
    /// The publication.
    pub session_id: SessionId,
    /// The stream.
    pub stream_id: StreamId,
    /// The receiver that gave up.
    pub receiver_id: i64,
    /// The receiver's group, if it has one.
    pub group_tag: Option<i64>,
    /// An error code of [`control`](crate::control).
    pub code: i32,
    /// The reason, ASCII.
    pub text: &'a [u8],
}

impl<'a> ErrorFrame<'a> {
    pub(super) fn decode(bytes: &'a [u8]) -> Result<Self, Invalid> {
        let (error, length) = whole(bytes, ERROR_HEADER_LENGTH, Self::fields)?;
        let text_length = usize::try_from(length).ok();
        let text = text_length
            .filter(|&length| length <= ERROR_TEXT_LENGTH_MAX)
            .and_then(|length| bytes.get(ERROR_HEADER_LENGTH..)?.get(..length))
            .ok_or(Invalid::TextLength(length))?;
        Ok(Self { text, ..error })
    }

    fn fields(bytes: &[u8]) -> Option<(Self, i32)> {
        let is_tagged = bytes.get(FLAGS_OFFSET)? & flags::HAS_GROUP_TAG != 0;
        let error = Self {
            session_id: SessionId(i32_at(bytes, 8)?),
            stream_id: StreamId(i32_at(bytes, 12)?),
            receiver_id: i64_at(bytes, 16)?,
            group_tag: i64_at(bytes, 24).filter(|_| is_tagged),
            code: i32_at(bytes, 32)?,
            text: &[],
        };
        Some((error, i32_at(bytes, 36)?))
    }

    /// Writes the frame; the text is cut to [`ERROR_TEXT_LENGTH_MAX`]. Returns its length.
    ///
    /// None when `target` is too short.
    pub fn encode(&self, target: &mut [u8]) -> Option<usize> {
        let text = &self.text[..self.text.len().min(ERROR_TEXT_LENGTH_MAX)];
        let length = ERROR_HEADER_LENGTH + text.len();
        let bytes = target.get_mut(..length)?;
        let tagged = if self.group_tag.is_some() { flags::HAS_GROUP_TAG } else { 0 };
        put_base(bytes, length, tagged, FrameType::ERROR);
        put(bytes, 8, self.session_id.0.to_le_bytes());
        put(bytes, 12, self.stream_id.0.to_le_bytes());
        put(bytes, 16, self.receiver_id.to_le_bytes());
        put(bytes, 24, self.group_tag.unwrap_or(0).to_le_bytes());
        put(bytes, 32, self.code.to_le_bytes());
        put(bytes, 36, i32::try_from(text.len()).unwrap_or(0).to_le_bytes());
        bytes[ERROR_HEADER_LENGTH..].copy_from_slice(text);
        Some(length)
    }
}

/// Tells a requester the session of the publication that answers it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseSetup {
    /// The publication that asked.
    pub session_id: SessionId,
    /// Its stream.
    pub stream_id: StreamId,
    /// The publication that answers.
    pub response_session_id: SessionId,
}

impl ResponseSetup {
    pub(super) fn fields(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            session_id: SessionId(i32_at(bytes, 8)?),
            stream_id: StreamId(i32_at(bytes, 12)?),
            response_session_id: SessionId(i32_at(bytes, 16)?),
        })
    }

    /// The frame as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; RESPONSE_SETUP_LENGTH] {
        let mut bytes = [0; RESPONSE_SETUP_LENGTH];
        put_base(&mut bytes, RESPONSE_SETUP_LENGTH, 0, FrameType::RESPONSE_SETUP);
        put(&mut bytes, 8, self.session_id.0.to_le_bytes());
        put(&mut bytes, 12, self.stream_id.0.to_le_bytes());
        put(&mut bytes, 16, self.response_session_id.0.to_le_bytes());
        bytes
    }
}
