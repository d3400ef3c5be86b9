//! Frames of the UDP protocol: data, padding, setup, status message, NAK, round trip, error and
//! response setup (docs/udp.md). The data header is also the header of frames in log buffers.
//!
//! [`decode`] is total: whatever arrives becomes a [`Frame`] or the reason why not. It checks what
//! a datagram can tell by itself; checks that need the stream's term length are methods.
//!
//! ```text
//! every frame   0 frame length i32 | 4 version u8 | 5 flags u8 | 6 type u16
//! data, padding 8 term offset | 12 session | 16 stream | 20 term id | 24 reserved i64 | 32 payload
//! setup         8 term offset | 12 session | 16 stream | 20 initial term id | 24 active term id
//!               28 term length | 32 mtu | 36 ttl
//! nak           8 session | 12 stream | 16 term id | 20 term offset | 24 length
//! status        8 session | 12 stream | 16 term id | 20 term offset | 24 window
//!               28 receiver id i64 | 36 group tag i64 (optional)
//! error         8 session | 12 stream | 16 receiver id i64 | 24 group tag i64 | 32 code
//!               36 length | 40 text
//! round trip    8 session | 12 stream | 16 echo i64 | 24 reception delta i64 | 32 receiver id i64
//! response      8 session | 12 stream | 16 response session
//! ```

mod control;
mod data;

pub use control::{ErrorFrame, Nak, ResponseSetup, RoundTrip, Setup, StatusMessage};
pub use data::{DataDatagram, DataHeader};

use crate::le::{i32_at, put, u16_at};
use crate::position::FRAME_ALIGNMENT;
use thiserror::Error;

/// Offset of the frame length (`i32`); in a log 0 is an empty slot, negative a claimed one.
pub const FRAME_LENGTH_OFFSET: usize = 0;
/// Offset of the version (`u8`).
pub const VERSION_OFFSET: usize = 4;
/// Offset of the flags (`u8`).
pub const FLAGS_OFFSET: usize = 5;
/// Offset of the type (`u16`).
pub const TYPE_OFFSET: usize = 6;
/// Offset of the term offset (`i32`) of data and setup frames.
pub const TERM_OFFSET_OFFSET: usize = 8;
/// Offset of the session id (`i32`) of data and setup frames.
pub const SESSION_ID_OFFSET: usize = 12;
/// Offset of the stream id (`i32`) of data and setup frames.
pub const STREAM_ID_OFFSET: usize = 16;
/// Offset of the term id (`i32`) of data frames.
pub const TERM_ID_OFFSET: usize = 20;
/// Offset of the reserved value (`i64`) of data frames.
pub const RESERVED_VALUE_OFFSET: usize = 24;

/// Length of what all frames begin with.
pub const BASE_HEADER_LENGTH: usize = 8;
/// Length of the header of data and padding.
pub const DATA_HEADER_LENGTH: usize = 32;
/// Length of a setup frame.
pub const SETUP_LENGTH: usize = 40;
/// Length of a NAK.
pub const NAK_LENGTH: usize = 28;
/// Length of a status message without group tag.
pub const STATUS_MESSAGE_LENGTH: usize = 36;
/// Length of a status message with group tag.
pub const STATUS_MESSAGE_TAGGED_LENGTH: usize = 44;
/// Length of a round-trip frame.
pub const ROUND_TRIP_LENGTH: usize = 40;
/// Length of an error frame before its text.
pub const ERROR_HEADER_LENGTH: usize = 40;
/// Length of a response setup frame.
pub const RESPONSE_SETUP_LENGTH: usize = 20;
/// Longest text of an error frame.
pub const ERROR_TEXT_LENGTH_MAX: usize = 1023;
/// Largest MTU: the longest UDP payload that is a multiple of the frame alignment.
pub const MTU_LENGTH_MAX: i32 = 65_504;
/// The version that all frames carry.
pub const VERSION: u8 = 0;

/// Flags of frames; their meaning depends on the type.
pub mod flags {
    /// Data: first fragment of a message.
    pub const BEGIN: u8 = 0x80;
    /// Data: last fragment of a message.
    pub const END: u8 = 0x40;
    /// Data: a message of one fragment.
    pub const UNFRAGMENTED: u8 = BEGIN | END;
    /// Heartbeat: the stream has ended at this position.
    pub const EOS: u8 = 0x20;
    /// Heartbeat: the publication was revoked.
    pub const REVOKED: u8 = 0x10;
    /// Setup: the receiver shall send response setups.
    pub const SEND_RESPONSE_SETUP: u8 = 0x80;
    /// Setup: the sender declares group semantics.
    pub const GROUP: u8 = 0x40;
    /// Status message: asks for a setup frame.
    pub const SEND_SETUP: u8 = 0x80;
    /// Status message: everything has been received.
    pub const END_OF_STREAM: u8 = 0x40;
    /// Round trip: asks for an answer.
    pub const REPLY: u8 = 0x80;
    /// Error: the group tag is meant.
    pub const HAS_GROUP_TAG: u8 = 0x08;
}

/// What kind of frame; unknown values are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameType(pub u16);

impl FrameType {
    /// Filler up to the end of a term, or in place of an aborted claim.
    pub const PADDING: Self = Self(0x00);
    /// Data, or a heartbeat when it has no length.
    pub const DATA: Self = Self(0x01);
    /// A receiver misses something.
    pub const NAK: Self = Self(0x02);
    /// A receiver's position and window.
    pub const STATUS_MESSAGE: Self = Self(0x03);
    /// A receiver gives up.
    pub const ERROR: Self = Self(0x04);
    /// A sender describes its stream.
    pub const SETUP: Self = Self(0x05);
    /// Measures the round-trip time.
    pub const ROUND_TRIP: Self = Self(0x06);
    /// Name resolution.
    pub const RESOLUTION: Self = Self(0x07);
    /// Names the session of a response publication.
    pub const RESPONSE_SETUP: Self = Self(0x0B);
    /// Reserved for extensions.
    pub const EXTENSION: Self = Self(0xFFFF);
}

/// Why a datagram is no frame: counted as invalid (system counter 14) and dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Invalid {
    /// Shorter than what its type needs.
    #[error("datagram of {length} bytes is shorter than the {needed} of its frame")]
    Short {
        /// Bytes there are.
        length: usize,
        /// Bytes there should be.
        needed: usize,
    },
    /// Not the protocol spoken here.
    #[error("frame has unknown version {0}")]
    Version(u8),
    /// Negative, or longer than the datagram.
    #[error("frame has an invalid length of {0}")]
    FrameLength(i32),
    /// Data that is no multiple of the frame alignment.
    #[error("data datagram of {0} bytes is not aligned")]
    Unaligned(usize),
    /// A frame within a data datagram is neither data nor padding.
    #[error("frame of type {} among data", .0.0)]
    NotData(FrameType),
    /// A term offset outside of the term, not aligned, or not where the last frame ended.
    #[error("frame has an invalid term offset of {0}")]
    TermOffset(i32),
    /// No power of two from 64 KiB to 1 GiB.
    #[error("setup has an invalid term length of {0}")]
    TermLength(i32),
    /// Out of range, or not aligned.
    #[error("setup has an invalid mtu of {0}")]
    Mtu(i32),
    /// An active term before the stream's first.
    #[error("setup has an active term {0}, which is before the first")]
    ActiveTerm(i32),
    /// A NAK that reaches beyond its term.
    #[error("nak has an invalid length of {0}")]
    GapLength(i32),
    /// A window that is negative or larger than half a term.
    #[error("status message has an invalid window of {0}")]
    Window(i32),
    /// An error text longer than the datagram or the limit.
    #[error("error frame has an invalid text length of {0}")]
    TextLength(i32),
    /// A resolution entry that is cut off or has a wrong type.
    #[error("resolution entry at {0} is malformed")]
    ResolutionEntry(usize),
}

/// A datagram as its first frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Frames of a stream, or a heartbeat.
    Data(DataDatagram<'a>),
    /// See [`Setup`].
    Setup(Setup),
    /// See [`StatusMessage`].
    StatusMessage(StatusMessage),
    /// See [`Nak`].
    Nak(Nak),
    /// See [`RoundTrip`].
    RoundTrip(RoundTrip),
    /// See [`ErrorFrame`].
    Error(ErrorFrame<'a>),
    /// See [`ResponseSetup`].
    ResponseSetup(ResponseSetup),
    /// Entries behind the frame header: see [`resolution`](crate::resolution).
    Resolution(&'a [u8]),
    /// A type that is not of this protocol: ignore it silently.
    Unknown(FrameType),
}

/// Decodes one datagram.
///
/// # Errors
/// The reason why it is invalid. A sender or receiver ignores valid frames that are not for it.
pub fn decode(datagram: &[u8]) -> Result<Frame<'_>, Invalid> {
    let base = whole(datagram, BASE_HEADER_LENGTH, Base::fields)?;
    if base.version != VERSION {
        return Err(Invalid::Version(base.version));
    }
    if base.frame_length < 0 {
        return Err(Invalid::FrameLength(base.frame_length));
    }
    base.check_control_length(datagram)?;
    Ok(match base.frame_type {
        FrameType::DATA | FrameType::PADDING => Frame::Data(DataDatagram::decode(datagram)?),
        FrameType::SETUP => {
            let setup = whole(datagram, SETUP_LENGTH, Setup::fields)?;
            setup.check()?;
            Frame::Setup(setup)
        }
        FrameType::STATUS_MESSAGE => {
            let fields = |bytes| StatusMessage::fields(bytes, base.frame_length);
            Frame::StatusMessage(whole(datagram, STATUS_MESSAGE_LENGTH, fields)?)
        }
        FrameType::NAK => Frame::Nak(whole(datagram, NAK_LENGTH, Nak::fields)?),
        FrameType::ROUND_TRIP => {
            Frame::RoundTrip(whole(datagram, ROUND_TRIP_LENGTH, RoundTrip::fields)?)
        }
        FrameType::ERROR => Frame::Error(ErrorFrame::decode(datagram)?),
        FrameType::RESPONSE_SETUP => {
            Frame::ResponseSetup(whole(datagram, RESPONSE_SETUP_LENGTH, ResponseSetup::fields)?)
        }
        FrameType::RESOLUTION => Frame::Resolution(&datagram[BASE_HEADER_LENGTH..]),
        other => Frame::Unknown(other),
    })
}

/// The same for a datagram of data, of which there are most; `None` leaves it to [`decode`].
#[inline]
#[must_use]
pub fn decode_data(datagram: &[u8]) -> Option<DataDatagram<'_>> {
    let header = DataHeader::read(datagram)?;
    let is_data = matches!(header.frame_type, FrameType::DATA | FrameType::PADDING)
        && header.version == VERSION
        && header.frame_length >= 0
        && datagram.len().is_multiple_of(DATA_HEADER_LENGTH);
    is_data.then_some(DataDatagram { header, bytes: datagram })
}

/// What `fields` reads from a datagram of at least `needed` bytes.
fn whole<'a, T>(
    datagram: &'a [u8],
    needed: usize,
    fields: impl FnOnce(&'a [u8]) -> Option<T>,
) -> Result<T, Invalid> {
    let length = datagram.len();
    fields(datagram).ok_or(Invalid::Short { length, needed })
}

/// What all frames begin with.
#[derive(Clone, Copy)]
struct Base {
    frame_length: i32,
    version: u8,
    frame_type: FrameType,
}

impl Base {
    fn fields(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            frame_length: i32_at(bytes, FRAME_LENGTH_OFFSET)?,
            version: *bytes.get(VERSION_OFFSET)?,
            frame_type: FrameType(u16_at(bytes, TYPE_OFFSET)?),
        })
    }

    /// Whether a control frame's length fits the datagram. Data tells more than it brings when it
    /// is padding, resolution frames are walked entry by entry, others are not ours to judge.
    fn check_control_length(&self, datagram: &[u8]) -> Result<(), Invalid> {
        let is_control = matches!(
            self.frame_type,
            FrameType::SETUP
                | FrameType::STATUS_MESSAGE
                | FrameType::NAK
                | FrameType::ROUND_TRIP
                | FrameType::ERROR
                | FrameType::RESPONSE_SETUP
        );
        let fits = usize::try_from(self.frame_length).is_ok_and(|frame| frame <= datagram.len());
        if is_control && !fits {
            return Err(Invalid::FrameLength(self.frame_length));
        }
        Ok(())
    }
}

/// Writes what all frames begin with.
pub(crate) fn put_base(bytes: &mut [u8], frame_length: usize, flags: u8, frame_type: FrameType) {
    let frame_length = i32::try_from(frame_length).unwrap_or(i32::MAX);
    put(bytes, FRAME_LENGTH_OFFSET, frame_length.to_le_bytes());
    put(bytes, VERSION_OFFSET, [VERSION, flags]);
    put(bytes, TYPE_OFFSET, frame_type.0.to_le_bytes());
}

/// Whether `offset` lies in the term and is aligned.
const fn check_offset(offset: i32, term_length: i32) -> Result<(), Invalid> {
    if offset < 0 || term_length <= offset || offset % FRAME_ALIGNMENT != 0 {
        return Err(Invalid::TermOffset(offset));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
