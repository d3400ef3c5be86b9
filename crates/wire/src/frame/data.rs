//! Data and padding: the header, and the frames of one datagram.

use super::{
    DATA_HEADER_LENGTH, FLAGS_OFFSET, FRAME_LENGTH_OFFSET, FrameType, Invalid,
    RESERVED_VALUE_OFFSET, SESSION_ID_OFFSET, STREAM_ID_OFFSET, TERM_ID_OFFSET, TERM_OFFSET_OFFSET,
    TYPE_OFFSET, VERSION_OFFSET, check_offset,
};
use crate::le::put;
use crate::position::{SessionId, StreamId, TermId, align_frame};

/// The header of data and padding, in datagrams and in log buffers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DataHeader {
    /// Header and payload without alignment; 0 is a heartbeat on the wire.
    pub frame_length: i32,
    /// Always [`VERSION`](super::VERSION).
    pub version: u8,
    /// See [`flags`](super::flags).
    pub flags: u8,
    /// Data or padding.
    pub frame_type: FrameType,
    /// Where the frame begins in its term.
    pub term_offset: i32,
    /// The publication.
    pub session_id: SessionId,
    /// The stream.
    pub stream_id: StreamId,
    /// The term.
    pub term_id: TermId,
    /// The user's to fill.
    pub reserved_value: i64,
}

impl DataHeader {
    /// Reads a header of whatever content.
    #[must_use]
    pub const fn from_bytes(bytes: &[u8; DATA_HEADER_LENGTH]) -> Self {
        let [
            l0,
            l1,
            l2,
            l3,
            version,
            flags,
            t0,
            t1,
            o0,
            o1,
            o2,
            o3,
            s0,
            s1,
            s2,
            s3,
            i0,
            i1,
            i2,
            i3,
            d0,
            d1,
            d2,
            d3,
            r0,
            r1,
            r2,
            r3,
            r4,
            r5,
            r6,
            r7,
        ] = *bytes;
        Self {
            frame_length: i32::from_le_bytes([l0, l1, l2, l3]),
            version,
            flags,
            frame_type: FrameType(u16::from_le_bytes([t0, t1])),
            term_offset: i32::from_le_bytes([o0, o1, o2, o3]),
            session_id: SessionId(i32::from_le_bytes([s0, s1, s2, s3])),
            stream_id: StreamId(i32::from_le_bytes([i0, i1, i2, i3])),
            term_id: TermId(i32::from_le_bytes([d0, d1, d2, d3])),
            reserved_value: i64::from_le_bytes([r0, r1, r2, r3, r4, r5, r6, r7]),
        }
    }

    /// Reads the header that `bytes` begin with, if they are long enough.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        bytes.first_chunk().map(Self::from_bytes)
    }

    /// The header as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; DATA_HEADER_LENGTH] {
        let mut bytes = [0; DATA_HEADER_LENGTH];
        put(&mut bytes, FRAME_LENGTH_OFFSET, self.frame_length.to_le_bytes());
        put(&mut bytes, VERSION_OFFSET, [self.version]);
        put(&mut bytes, FLAGS_OFFSET, [self.flags]);
        put(&mut bytes, TYPE_OFFSET, self.frame_type.0.to_le_bytes());
        put(&mut bytes, TERM_OFFSET_OFFSET, self.term_offset.to_le_bytes());
        put(&mut bytes, SESSION_ID_OFFSET, self.session_id.0.to_le_bytes());
        put(&mut bytes, STREAM_ID_OFFSET, self.stream_id.0.to_le_bytes());
        put(&mut bytes, TERM_ID_OFFSET, self.term_id.0.to_le_bytes());
        put(&mut bytes, RESERVED_VALUE_OFFSET, self.reserved_value.to_le_bytes());
        bytes
    }

    /// Whether all of `flags` are set.
    #[must_use]
    pub const fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }
}

/// A datagram of data: frames of one term in a row, or a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataDatagram<'a> {
    /// Header of the first frame.
    pub header: DataHeader,
    /// The whole datagram, to be inserted into the term as it is.
    pub bytes: &'a [u8],
}

impl<'a> DataDatagram<'a> {
    pub(super) fn decode(datagram: &'a [u8]) -> Result<Self, Invalid> {
        let length = datagram.len();
        let short = Invalid::Short { length, needed: DATA_HEADER_LENGTH };
        let header = DataHeader::read(datagram).ok_or(short)?;
        if !length.is_multiple_of(DATA_HEADER_LENGTH) {
            return Err(Invalid::Unaligned(length));
        }
        Ok(Self { header, bytes: datagram })
    }

    /// Whether this is a heartbeat: a header alone, of length 0.
    #[must_use]
    pub const fn is_heartbeat(&self) -> bool {
        self.bytes.len() == DATA_HEADER_LENGTH && self.header.frame_length == 0
    }

    /// Checks every frame against the stream's term length; the length that they take in the term.
    ///
    /// That of a heartbeat is 0. Padding counts whole although only its header is in the datagram.
    /// Sessions, streams and terms of frames after the first are not compared, as in genuine
    /// Aeron 1.53.
    ///
    /// # Errors
    /// The first frame that is not data or padding, does not begin where the last one ended, or
    /// leaves term or datagram.
    pub fn check(&self, term_length: i32) -> Result<i32, Invalid> {
        check_offset(self.header.term_offset, term_length)?;
        if self.is_heartbeat() {
            return Ok(0);
        }
        let mut rest = self.bytes;
        let mut offset = self.header.term_offset;
        while let Some(header) = DataHeader::read(rest) {
            let aligned = check_frame(&header, offset, term_length)?;
            offset += aligned;
            let in_datagram = usize::try_from(aligned).unwrap_or(usize::MAX);
            rest = match rest.get(in_datagram..) {
                Some(behind) => behind,
                // Padding claims more than it brings: only its header travels, as the last.
                None if header.frame_type == FrameType::PADDING
                    && rest.len() == DATA_HEADER_LENGTH =>
                {
                    &[]
                }
                None => return Err(Invalid::FrameLength(header.frame_length)),
            };
        }
        Ok(offset - self.header.term_offset)
    }

    /// The frames one by one, each with its payload; stops at the first that is cut off.
    ///
    /// Call [`check`](Self::check) first.
    pub fn frames(&self) -> impl Iterator<Item = (DataHeader, &'a [u8])> + use<'a> {
        let mut rest = self.bytes;
        core::iter::from_fn(move || {
            let header = DataHeader::read(rest)?;
            let length = usize::try_from(header.frame_length).ok().filter(|&length| length > 0)?;
            let aligned = usize::try_from(align_frame(header.frame_length)).ok()?;
            let payload = rest.get(DATA_HEADER_LENGTH..length).unwrap_or_default();
            rest = rest.get(aligned..).unwrap_or_default();
            Some((header, payload))
        })
    }
}

/// The aligned length of a frame that stands at `offset` and ends within the term.
fn check_frame(header: &DataHeader, offset: i32, term_length: i32) -> Result<i32, Invalid> {
    if !matches!(header.frame_type, FrameType::DATA | FrameType::PADDING) {
        return Err(Invalid::NotData(header.frame_type));
    }
    if header.frame_length <= 0 || header.frame_length > term_length {
        return Err(Invalid::FrameLength(header.frame_length));
    }
    if header.term_offset != offset {
        return Err(Invalid::TermOffset(header.term_offset));
    }
    let aligned = align_frame(header.frame_length);
    if aligned > term_length - offset {
        return Err(Invalid::FrameLength(header.frame_length));
    }
    Ok(aligned)
}
