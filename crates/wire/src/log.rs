//! Metadata of a log buffer file (docs/log-buffer.md).
//!
//! ```text
//! 0        term length      2 x           3 x                file length - 4096
//! | term 0 | term 1         | term 2       | filler to a page | metadata |
//! ```
//!
//! Offsets are relative to the metadata, which is found from the **end** of the file. Fields that
//! change while the log is in use have an offset only: `memory` loads and stores them as atomics.
//! The others are written once by the driver: [`LogDescription`].

use crate::frame::{DATA_HEADER_LENGTH, DataHeader, FrameType, MTU_LENGTH_MAX, flags};
use crate::le::{bytes_at, i32_at, i64_at, put};
use crate::position::{SessionId, StreamId, TermId, is_term_length};
use thiserror::Error;

/// How many terms a log has.
pub const TERM_COUNT: usize = 3;
/// Length of the metadata at the end of the file.
pub const METADATA_LENGTH: usize = 4096;
/// Offset of the tail counters (`i64` each, one per term): term id << 32 | offset.
pub const TAIL_COUNTERS_OFFSET: usize = 0;
/// Offset of the active term count (`i32`): how often the log was rotated.
pub const ACTIVE_TERM_COUNT_OFFSET: usize = 24;
/// Offset of the end-of-stream position (`i64`), `i64::MAX` until known.
pub const END_OF_STREAM_POSITION_OFFSET: usize = 128;
/// Offset of the connected flag (`i32`, 0 or 1), of publications.
pub const IS_CONNECTED_OFFSET: usize = 136;
/// Offset of the count of live transports (`i32`), of images.
pub const ACTIVE_TRANSPORT_COUNT_OFFSET: usize = 140;
/// Offset of the registration or correlation id (`i64`) in the file's name.
pub const CORRELATION_ID_OFFSET: usize = 256;
/// Offset of the initial term id (`i32`).
pub const INITIAL_TERM_ID_OFFSET: usize = 264;
/// Offset of the length of a frame header (`i32`), always 32.
pub const DEFAULT_HEADER_LENGTH_OFFSET: usize = 268;
/// Offset of the MTU (`i32`).
pub const MTU_LENGTH_OFFSET: usize = 272;
/// Offset of the term length (`i32`).
pub const TERM_LENGTH_OFFSET: usize = 276;
/// Offset of the page size of the file (`i32`).
pub const PAGE_SIZE_OFFSET: usize = 280;
/// Offset of the publication window (`i32`).
pub const PUBLICATION_WINDOW_LENGTH_OFFSET: usize = 284;
/// Offset of the receiver window (`i32`).
pub const RECEIVER_WINDOW_LENGTH_OFFSET: usize = 288;
/// Offset of the socket's send buffer length (`i32`).
pub const SOCKET_SNDBUF_LENGTH_OFFSET: usize = 292;
/// Offset of the system's default send buffer length (`i32`).
pub const OS_DEFAULT_SNDBUF_LENGTH_OFFSET: usize = 296;
/// Offset of the system's largest send buffer length (`i32`).
pub const OS_MAX_SNDBUF_LENGTH_OFFSET: usize = 300;
/// Offset of the socket's receive buffer length (`i32`).
pub const SOCKET_RCVBUF_LENGTH_OFFSET: usize = 304;
/// Offset of the system's default receive buffer length (`i32`).
pub const OS_DEFAULT_RCVBUF_LENGTH_OFFSET: usize = 308;
/// Offset of the system's largest receive buffer length (`i32`).
pub const OS_MAX_RCVBUF_LENGTH_OFFSET: usize = 312;
/// Offset of the count of re-send slots (`i32`).
pub const MAX_RESEND_OFFSET: usize = 316;
/// Offset of the template of frame headers (128 bytes, 32 of them in use).
pub const DEFAULT_FRAME_HEADER_OFFSET: usize = 320;
/// Offset of the entity tag (`i64`), -1 for none.
pub const ENTITY_TAG_OFFSET: usize = 448;
/// Offset of the response correlation id (`i64`), -1 for none.
pub const RESPONSE_CORRELATION_ID_OFFSET: usize = 456;
/// Offset of the linger time-out (`i64`, nanoseconds).
pub const LINGER_TIMEOUT_OFFSET: usize = 464;
/// Offset of the window limit time-out of untethered subscribers (`i64`, nanoseconds).
pub const UNTETHERED_WINDOW_LIMIT_TIMEOUT_OFFSET: usize = 472;
/// Offset of the resting time-out of untethered subscribers (`i64`, nanoseconds).
pub const UNTETHERED_RESTING_TIMEOUT_OFFSET: usize = 480;
/// Offset of the group flag (`u8`).
pub const GROUP_OFFSET: usize = 488;
/// Offset of the response flag (`u8`).
pub const IS_RESPONSE_OFFSET: usize = 489;
/// Offset of the rejoin flag (`u8`).
pub const REJOIN_OFFSET: usize = 490;
/// Offset of the reliable flag (`u8`).
pub const RELIABLE_OFFSET: usize = 491;
/// Offset of the sparse flag (`u8`).
pub const SPARSE_OFFSET: usize = 492;
/// Offset of the flag that the end of the stream is signalled (`u8`).
pub const SIGNAL_EOS_OFFSET: usize = 493;
/// Offset of the flag that spies count as connections (`u8`).
pub const SPIES_SIMULATE_CONNECTION_OFFSET: usize = 494;
/// Offset of the tether flag (`u8`).
pub const TETHER_OFFSET: usize = 495;
/// Offset of the revoked flag (`u8`), stored by release while the log is in use.
pub const IS_PUBLICATION_REVOKED_OFFSET: usize = 496;
/// Offset of the kind of log (`u8`), see [`LogKind`].
pub const KIND_OFFSET: usize = 497;
/// Offset of the linger time-out of untethered subscribers (`i64`, nanoseconds; not 8-aligned).
pub const UNTETHERED_LINGER_TIMEOUT_OFFSET: usize = 500;

/// Smallest page size of a file, in bytes.
pub const PAGE_SIZE_MIN: i32 = 4096;
/// Largest page size of a file, in bytes.
pub const PAGE_SIZE_MAX: i32 = 1024 * 1024 * 1024;
/// Messages are never longer than this, whatever the term length.
pub const MESSAGE_LENGTH_MAX: i32 = 16 * 1024 * 1024;

/// Offset of the tail counter of the term with this index (0, 1 or 2).
#[must_use]
pub const fn tail_counter_offset(term_index: usize) -> usize {
    TAIL_COUNTERS_OFFSET + 8 * term_index
}

/// The longest message that a log of this term length takes.
#[must_use]
pub const fn message_length_max(term_length: i32) -> i32 {
    let eighth = term_length / 8;
    if eighth < MESSAGE_LENGTH_MAX { eighth } else { MESSAGE_LENGTH_MAX }
}

/// The length of the file of a log: terms and metadata, rounded up to a page.
#[must_use]
pub const fn file_length(term_length: i32, page_size: i32) -> u64 {
    let bytes = TERM_COUNT as u64 * term_length.unsigned_abs() as u64 + METADATA_LENGTH as u64;
    let page = page_size.unsigned_abs() as u64;
    bytes.next_multiple_of(if page == 0 { 1 } else { page })
}

/// A tail counter: the term's id and how much of the term has been claimed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawTail(pub i64);

impl RawTail {
    /// Packs a term id and an offset of at most a term length.
    #[must_use]
    pub const fn new(term_id: TermId, offset: i32) -> Self {
        Self(((term_id.0 as i64) << 32) | (offset as i64 & 0xFFFF_FFFF))
    }

    /// The term that the counter counts.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)] // The upper half is 32 bits.
    pub const fn term_id(self) -> TermId {
        TermId((self.0 >> 32) as i32)
    }

    /// Claimed bytes: may lie beyond the term after a claim that did not fit.
    #[must_use]
    pub const fn claimed(self) -> i64 {
        self.0 & 0xFFFF_FFFF
    }

    /// Claimed bytes, at most the term length.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)] // Bounded by the term length.
    pub const fn offset(self, term_length: i32) -> i32 {
        let claimed = self.claimed();
        if claimed < term_length as i64 { claimed as i32 } else { term_length }
    }
}

/// The active term count and tail counters of a new log that begins at a term id and offset.
///
/// The two terms that are not active hold the ids they would have had three rotations ago.
#[must_use]
pub fn initial_tails(
    initial: TermId,
    term_id: TermId,
    term_offset: i32,
) -> (i32, [RawTail; TERM_COUNT]) {
    let count = term_id.terms_since(initial);
    let mut tails = [RawTail::default(); TERM_COUNT];
    for step in 0..3_i32 {
        let index = (i64::from(count) + i64::from(step)).rem_euclid(3);
        let tail = match step {
            0 => RawTail::new(term_id, term_offset),
            _ => RawTail::new(term_id.wrapping_add(step - 3), 0),
        };
        // The index is 0, 1 or 2: a remainder of three.
        tails[usize::try_from(index).unwrap_or(0)] = tail;
    }
    (count, tails)
}

/// What a log belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogKind(pub u8);

impl LogKind {
    /// A publication that several threads may use.
    pub const CONCURRENT_PUBLICATION: Self = Self(0);
    /// A publication with a single writer.
    pub const EXCLUSIVE_PUBLICATION: Self = Self(1);
    /// A driver's copy of a publication elsewhere.
    pub const IMAGE: Self = Self(2);
}

/// Buffer lengths of the socket behind a log, for information only; bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketLengths {
    /// Send buffer as configured.
    pub sndbuf: i32,
    /// Default of the system for send buffers.
    pub os_default_sndbuf: i32,
    /// Largest send buffer that the system grants.
    pub os_max_sndbuf: i32,
    /// Receive buffer as configured.
    pub rcvbuf: i32,
    /// Default of the system for receive buffers.
    pub os_default_rcvbuf: i32,
    /// Largest receive buffer that the system grants.
    pub os_max_rcvbuf: i32,
}

/// Switches of a log, a byte each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // One byte of the layout each.
pub struct LogSwitches {
    /// Group semantics: more than one receiver is expected.
    pub group: bool,
    /// The log of a response channel.
    pub is_response: bool,
    /// Images may be joined again.
    pub rejoin: bool,
    /// Losses are repaired.
    pub reliable: bool,
    /// The file is sparse.
    pub sparse: bool,
    /// The end of the stream is signalled.
    pub signal_eos: bool,
    /// Spies count as connections.
    pub spies_simulate_connection: bool,
    /// Subscribers hold back the flow.
    pub tether: bool,
}

/// Time-outs of a log, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogTimeouts {
    /// How long a drained publication stays.
    pub linger_ns: i64,
    /// How long an untethered subscriber may be behind the window.
    pub untethered_window_limit_ns: i64,
    /// How long such a subscriber still counts for flow control.
    pub untethered_linger_ns: i64,
    /// How long it then rests.
    pub untethered_resting_ns: i64,
}

/// What the driver writes once into the metadata when it makes a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogDescription {
    /// The id in the file's name.
    pub correlation_id: i64,
    /// First term of the stream.
    pub initial_term_id: TermId,
    /// Session of the stream, in the header template.
    pub session_id: SessionId,
    /// Stream id, in the header template.
    pub stream_id: StreamId,
    /// Longest datagram, header included.
    pub mtu_length: i32,
    /// Length of each of the terms.
    pub term_length: i32,
    /// The file is a multiple of it.
    pub page_size: i32,
    /// How far a publisher may be ahead.
    pub publication_window_length: i32,
    /// How far a sender may be ahead of a receiver.
    pub receiver_window_length: i32,
    /// Slots for re-sends.
    pub max_resend: i32,
    /// Entity tag, -1 for none; 0 in images.
    pub entity_tag: i64,
    /// Response correlation id, -1 for none; 0 in images.
    pub response_correlation_id: i64,
    /// Socket buffers.
    pub sockets: SocketLengths,
    /// Time-outs.
    pub timeouts: LogTimeouts,
    /// Switches.
    pub switches: LogSwitches,
    /// What the log belongs to.
    pub kind: LogKind,
}

/// Why metadata cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LogError {
    /// The file is shorter than the metadata.
    #[error("log of {length} bytes is shorter than its metadata")]
    Short {
        /// Bytes there are.
        length: usize,
    },
    /// No power of two from 64 KiB to 1 GiB.
    #[error("log has an invalid term length of {0}")]
    TermLength(i32),
    /// No power of two from 4 KiB to 1 GiB.
    #[error("log has an invalid page size of {0}")]
    PageSize(i32),
    /// Not longer than a header, longer than any datagram, or no multiple of the frame alignment.
    #[error("log has an invalid mtu of {0}")]
    Mtu(i32),
    /// The file is not as long as its terms ask for.
    #[error("log file has {found} bytes where its terms need {needed}")]
    FileLength {
        /// Bytes there are.
        found: u64,
        /// Bytes that there should be.
        needed: u64,
    },
}

impl LogDescription {
    /// The header that frames of this log begin with.
    #[must_use]
    pub const fn default_header(&self) -> DataHeader {
        DataHeader {
            frame_length: 0,
            version: 0,
            flags: flags::UNFRAGMENTED,
            frame_type: FrameType::DATA,
            term_offset: 0,
            session_id: self.session_id,
            stream_id: self.stream_id,
            term_id: self.initial_term_id,
            reserved_value: 0,
        }
    }

    /// The longest payload of one frame.
    #[must_use]
    pub const fn payload_length_max(&self) -> i32 {
        self.mtu_length - DATA_HEADER_LENGTH_I32
    }

    /// Reads and checks the description in the metadata of a log.
    ///
    /// # Errors
    /// Too few bytes, or lengths that no log has.
    pub fn decode(metadata: &[u8]) -> Result<Self, LogError> {
        let short = LogError::Short { length: metadata.len() };
        let metadata: &[u8; METADATA_LENGTH] = metadata.first_chunk().ok_or(short)?;
        let found = Self::fields(metadata).ok_or(short)?;
        found.check()?;
        Ok(found)
    }

    /// Whether a file of this length holds the log described.
    ///
    /// # Errors
    /// [`LogError::FileLength`].
    pub const fn check_file_length(&self, found: u64) -> Result<(), LogError> {
        let needed = file_length(self.term_length, self.page_size);
        if found == needed {
            return Ok(());
        }
        Err(LogError::FileLength { found, needed })
    }

    const fn check(&self) -> Result<(), LogError> {
        if !is_term_length(self.term_length) {
            return Err(LogError::TermLength(self.term_length));
        }
        let page = self.page_size;
        if page < PAGE_SIZE_MIN || PAGE_SIZE_MAX < page || page.count_ones() != 1 {
            return Err(LogError::PageSize(page));
        }
        if self.mtu_length <= DATA_HEADER_LENGTH_I32
            || MTU_LENGTH_MAX < self.mtu_length
            || self.mtu_length % 32 != 0
        {
            return Err(LogError::Mtu(self.mtu_length));
        }
        Ok(())
    }

    fn fields(metadata: &[u8]) -> Option<Self> {
        let header = metadata.get(DEFAULT_FRAME_HEADER_OFFSET..)?.first_chunk()?;
        let header = DataHeader::from_bytes(header);
        Some(Self {
            correlation_id: i64_at(metadata, CORRELATION_ID_OFFSET)?,
            initial_term_id: TermId(i32_at(metadata, INITIAL_TERM_ID_OFFSET)?),
            session_id: header.session_id,
            stream_id: header.stream_id,
            mtu_length: i32_at(metadata, MTU_LENGTH_OFFSET)?,
            term_length: i32_at(metadata, TERM_LENGTH_OFFSET)?,
            page_size: i32_at(metadata, PAGE_SIZE_OFFSET)?,
            publication_window_length: i32_at(metadata, PUBLICATION_WINDOW_LENGTH_OFFSET)?,
            receiver_window_length: i32_at(metadata, RECEIVER_WINDOW_LENGTH_OFFSET)?,
            max_resend: i32_at(metadata, MAX_RESEND_OFFSET)?,
            entity_tag: i64_at(metadata, ENTITY_TAG_OFFSET)?,
            response_correlation_id: i64_at(metadata, RESPONSE_CORRELATION_ID_OFFSET)?,
            sockets: SocketLengths::fields(metadata)?,
            timeouts: LogTimeouts::fields(metadata)?,
            switches: LogSwitches::fields(metadata)?,
            kind: LogKind(*metadata.get(KIND_OFFSET)?),
        })
    }

    /// The whole metadata with tails, flags and positions zero, besides the end-of-stream position.
    ///
    /// The driver stores tails and active term count itself, see [`initial_tails`].
    #[must_use]
    pub fn to_bytes(&self) -> [u8; METADATA_LENGTH] {
        let mut bytes = [0; METADATA_LENGTH];
        let mut put_i32 = |at, value: i32| put(&mut bytes, at, value.to_le_bytes());
        put_i32(INITIAL_TERM_ID_OFFSET, self.initial_term_id.0);
        put_i32(DEFAULT_HEADER_LENGTH_OFFSET, DATA_HEADER_LENGTH_I32);
        put_i32(MTU_LENGTH_OFFSET, self.mtu_length);
        put_i32(TERM_LENGTH_OFFSET, self.term_length);
        put_i32(PAGE_SIZE_OFFSET, self.page_size);
        put_i32(PUBLICATION_WINDOW_LENGTH_OFFSET, self.publication_window_length);
        put_i32(RECEIVER_WINDOW_LENGTH_OFFSET, self.receiver_window_length);
        put_i32(MAX_RESEND_OFFSET, self.max_resend);
        put_i32(SOCKET_SNDBUF_LENGTH_OFFSET, self.sockets.sndbuf);
        put_i32(OS_DEFAULT_SNDBUF_LENGTH_OFFSET, self.sockets.os_default_sndbuf);
        put_i32(OS_MAX_SNDBUF_LENGTH_OFFSET, self.sockets.os_max_sndbuf);
        put_i32(SOCKET_RCVBUF_LENGTH_OFFSET, self.sockets.rcvbuf);
        put_i32(OS_DEFAULT_RCVBUF_LENGTH_OFFSET, self.sockets.os_default_rcvbuf);
        put_i32(OS_MAX_RCVBUF_LENGTH_OFFSET, self.sockets.os_max_rcvbuf);
        let mut put_i64 = |at, value: i64| put(&mut bytes, at, value.to_le_bytes());
        put_i64(END_OF_STREAM_POSITION_OFFSET, i64::MAX);
        put_i64(CORRELATION_ID_OFFSET, self.correlation_id);
        put_i64(ENTITY_TAG_OFFSET, self.entity_tag);
        put_i64(RESPONSE_CORRELATION_ID_OFFSET, self.response_correlation_id);
        put_i64(LINGER_TIMEOUT_OFFSET, self.timeouts.linger_ns);
        let limit = self.timeouts.untethered_window_limit_ns;
        put_i64(UNTETHERED_WINDOW_LIMIT_TIMEOUT_OFFSET, limit);
        put_i64(UNTETHERED_LINGER_TIMEOUT_OFFSET, self.timeouts.untethered_linger_ns);
        put_i64(UNTETHERED_RESTING_TIMEOUT_OFFSET, self.timeouts.untethered_resting_ns);
        put(&mut bytes, DEFAULT_FRAME_HEADER_OFFSET, self.default_header().to_bytes());
        put(&mut bytes, GROUP_OFFSET, self.switches.to_bytes());
        put(&mut bytes, KIND_OFFSET, [self.kind.0]);
        bytes
    }
}

/// The header length as the type of frame lengths.
#[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)] // 32.
const DATA_HEADER_LENGTH_I32: i32 = DATA_HEADER_LENGTH as i32;

impl SocketLengths {
    fn fields(metadata: &[u8]) -> Option<Self> {
        Some(Self {
            sndbuf: i32_at(metadata, SOCKET_SNDBUF_LENGTH_OFFSET)?,
            os_default_sndbuf: i32_at(metadata, OS_DEFAULT_SNDBUF_LENGTH_OFFSET)?,
            os_max_sndbuf: i32_at(metadata, OS_MAX_SNDBUF_LENGTH_OFFSET)?,
            rcvbuf: i32_at(metadata, SOCKET_RCVBUF_LENGTH_OFFSET)?,
            os_default_rcvbuf: i32_at(metadata, OS_DEFAULT_RCVBUF_LENGTH_OFFSET)?,
            os_max_rcvbuf: i32_at(metadata, OS_MAX_RCVBUF_LENGTH_OFFSET)?,
        })
    }
}

impl LogTimeouts {
    fn fields(metadata: &[u8]) -> Option<Self> {
        Some(Self {
            linger_ns: i64_at(metadata, LINGER_TIMEOUT_OFFSET)?,
            untethered_window_limit_ns: i64_at(metadata, UNTETHERED_WINDOW_LIMIT_TIMEOUT_OFFSET)?,
            untethered_linger_ns: i64_at(metadata, UNTETHERED_LINGER_TIMEOUT_OFFSET)?,
            untethered_resting_ns: i64_at(metadata, UNTETHERED_RESTING_TIMEOUT_OFFSET)?,
        })
    }
}

impl LogSwitches {
    fn fields(metadata: &[u8]) -> Option<Self> {
        let bytes: [u8; 8] = bytes_at(metadata, GROUP_OFFSET)?;
        let [group, is_response, rejoin, reliable, sparse, signal_eos, spies, tether] =
            bytes.map(|byte| byte != 0);
        Some(Self {
            group,
            is_response,
            rejoin,
            reliable,
            sparse,
            signal_eos,
            spies_simulate_connection: spies,
            tether,
        })
    }

    fn to_bytes(self) -> [u8; 8] {
        [
            self.group,
            self.is_response,
            self.rejoin,
            self.reliable,
            self.sparse,
            self.signal_eos,
            self.spies_simulate_connection,
            self.tether,
        ]
        .map(u8::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description() -> LogDescription {
        LogDescription {
            correlation_id: 77,
            initial_term_id: TermId(-5),
            session_id: SessionId(11),
            stream_id: StreamId(1001),
            mtu_length: 1408,
            term_length: 65_536,
            page_size: 4096,
            publication_window_length: 32_768,
            receiver_window_length: 131_072,
            max_resend: 16,
            entity_tag: -1,
            response_correlation_id: -1,
            sockets: SocketLengths { sndbuf: 1, os_default_sndbuf: 2, ..Default::default() },
            timeouts: LogTimeouts { linger_ns: 5, untethered_linger_ns: -9, ..Default::default() },
            switches: LogSwitches { reliable: true, tether: true, ..Default::default() },
            kind: LogKind::EXCLUSIVE_PUBLICATION,
        }
    }

    #[test]
    fn a_description_survives_a_round_trip() {
        let bytes = description().to_bytes();
        assert_eq!(LogDescription::decode(&bytes), Ok(description()));
        assert_eq!(i64_at(&bytes, END_OF_STREAM_POSITION_OFFSET), Some(i64::MAX));
    }

    #[test]
    fn metadata_of_any_shorter_length_is_an_error() {
        let bytes = description().to_bytes();
        for length in 0..METADATA_LENGTH {
            let short = Err(LogError::Short { length });
            assert_eq!(LogDescription::decode(&bytes[..length]), short);
        }
    }

    #[test]
    fn impossible_lengths_are_refused() {
        let decode = |change: fn(&mut LogDescription)| {
            let mut wrong = description();
            change(&mut wrong);
            LogDescription::decode(&wrong.to_bytes())
        };
        assert_eq!(decode(|log| log.term_length = 65_537), Err(LogError::TermLength(65_537)));
        assert_eq!(decode(|log| log.page_size = 2048), Err(LogError::PageSize(2048)));
        assert_eq!(decode(|log| log.mtu_length = 32), Err(LogError::Mtu(32)));
        assert_eq!(decode(|log| log.mtu_length = 65_536), Err(LogError::Mtu(65_536)));
    }

    #[test]
    fn a_file_is_terms_and_metadata_rounded_up_to_a_page() {
        assert_eq!(file_length(65_536, 4096), 3 * 65_536 + 4096);
        assert_eq!(file_length(65_536, 2 * 1024 * 1024), 2 * 1024 * 1024);
        assert_eq!(file_length(1 << 30, 4096), (3 << 30) + 4096);
        assert!(description().check_file_length(3 * 65_536).is_err());
        assert_eq!(description().check_file_length(3 * 65_536 + 4096), Ok(()));
    }

    #[test]
    fn a_new_log_begins_in_the_term_of_its_position() {
        let tails = |count, id, offset| {
            let (active, tails) = initial_tails(TermId(id), TermId(id).wrapping_add(count), offset);
            assert_eq!(active, count);
            tails.map(|tail| (tail.term_id().0, tail.claimed()))
        };
        assert_eq!(tails(0, 9, 0), [(9, 0), (7, 0), (8, 0)]);
        assert_eq!(tails(4, 9, 96), [(12, 0), (13, 96), (11, 0)]);
        assert_eq!(tails(0, i32::MIN, 0), [(i32::MIN, 0), (i32::MAX - 1, 0), (i32::MAX, 0)]);
    }

    #[test]
    fn a_tail_beyond_its_term_counts_as_the_end_of_the_term() {
        let tail = RawTail(RawTail::new(TermId(-1), 65_536).0 + 4096);
        assert_eq!((tail.term_id(), tail.offset(65_536)), (TermId(-1), 65_536));
        assert_eq!(tail.claimed(), 65_536 + 4096);
    }
}
