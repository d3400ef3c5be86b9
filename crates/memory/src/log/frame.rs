//! Frames in a term: how their headers are packed into words, written and read.

use wire::frame::{DATA_HEADER_LENGTH, DataHeader, FRAME_LENGTH_OFFSET, FrameType, TYPE_OFFSET};
use wire::position::{SessionId, StreamId, TermId, align_frame};

use crate::buffer::AtomicBuffer;

/// Length in bytes of a data header, as the type of frame lengths.
#[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)] // 32.
pub(crate) const HEADER_LENGTH: i32 = DATA_HEADER_LENGTH as i32;

/// What all frames of a stream have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    pub(crate) session_id: SessionId,
    pub(crate) stream_id: StreamId,
}

/// The header of a frame as four little-endian words.
#[inline]
pub(crate) fn words(header: &DataHeader) -> [i64; 4] {
    let (low, high) =
        (|word: i32| i64::from(word.cast_unsigned()), |word: i32| i64::from(word) << 32);
    let kind = i64::from(header.version)
        | i64::from(header.flags) << 8
        | i64::from(header.frame_type.0) << 16;
    [
        low(header.frame_length) | kind << 32,
        low(header.term_offset) | high(header.session_id.0),
        low(header.stream_id.0) | high(header.term_id.0),
        header.reserved_value,
    ]
}

impl Stream {
    /// A header with nothing but the place of the frame.
    #[inline]
    pub(crate) fn header(self, kind: FrameType, flags: u8, term_id: TermId, at: i32) -> DataHeader {
        DataHeader {
            frame_length: 0,
            version: 0,
            flags,
            frame_type: kind,
            term_offset: at,
            session_id: self.session_id,
            stream_id: self.stream_id,
            term_id,
            reserved_value: 0,
        }
    }
}

/// Begins a frame: its negative length is visible before anything else of it, so that whoever finds
/// it unfinished knows how long it was going to be.
#[inline]
#[allow(clippy::cast_sign_loss)] // Offsets in a term are not negative.
pub(crate) fn begin(term: &AtomicBuffer, mut header: DataHeader, length: i32) {
    header.frame_length = -length;
    term.store_header_first(header.term_offset as usize, words(&header));
}

/// Publishes a frame: nothing of it is written afterwards.
#[inline]
#[allow(clippy::cast_sign_loss)] // As above.
pub(crate) fn publish(term: &AtomicBuffer, offset: i32, length: i32) {
    // Release: pairs with the acquire load of the length by readers.
    term.store_i32_release(offset as usize + FRAME_LENGTH_OFFSET, length);
}

/// Writes a frame whose payload lies in one piece: begun, filled and published.
#[inline]
#[allow(clippy::cast_sign_loss)] // As above.
pub(crate) fn write(term: &AtomicBuffer, mut header: DataHeader, payload: &[u8], length: i32) {
    header.frame_length = -length;
    term.store_frame(header.term_offset as usize, words(&header), payload, length);
}

/// The length of the frame at an offset: positive once it is published.
#[inline]
pub(crate) fn length_at(term: &AtomicBuffer, offset: usize) -> i32 {
    // Acquire: pairs with the release store by `publish`.
    term.load_i32_acquire(offset + FRAME_LENGTH_OFFSET)
}

/// A frame that was found published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Header and payload.
    pub(crate) length: i32,
    /// What it takes of the term: never beyond its end, whatever the length says.
    pub(crate) aligned: usize,
    pub(crate) is_padding: bool,
}

/// The published frame at an offset, if there is one that a publisher can have written: whatever
/// another process put there, it lies within the term and makes progress.
#[inline]
#[allow(clippy::cast_sign_loss)] // Checked to be positive.
pub(crate) fn at(term: &AtomicBuffer, offset: usize) -> Option<Found> {
    // Acquire: as in `length_at`. What is behind an unpublished length is not looked at.
    let (length, version_word) = term.load_halves_acquire(offset + FRAME_LENGTH_OFFSET);
    if length < HEADER_LENGTH {
        return None;
    }
    let aligned = align_frame(length) as usize;
    let room = term.length() - offset;
    if aligned == 0 || aligned > room {
        return None;
    }
    let kind = version_word >> KIND_SHIFT;
    Some(Found { length, aligned, is_padding: kind == i32::from(FrameType::PADDING.0) })
}

/// Frames of this length or more begin on lines that no processor guesses by itself.
const FAR_APART: usize = 256;
/// How many frames ahead lines are asked for by those who do something with each frame.
const FRAMES_AHEAD: usize = 4;
/// The same by those who look at headers only, and so are at the next one at once.
const HEADERS_AHEAD: usize = 16;

/// The same, for whoever walks on from frame to frame: when they are long, the header of one of
/// those to come, if they are alike, is asked for.
#[inline]
pub(crate) fn at_walking(term: &AtomicBuffer, offset: usize) -> Option<Found> {
    at_asking(term, offset, FRAMES_AHEAD)
}

/// The same, for whoever leaves what lies between the headers alone.
#[inline]
pub(crate) fn at_running(term: &AtomicBuffer, offset: usize) -> Option<Found> {
    at_asking(term, offset, HEADERS_AHEAD)
}

#[inline]
fn at_asking(term: &AtomicBuffer, offset: usize, ahead: usize) -> Option<Found> {
    let found = at(term, offset)?;
    if found.aligned >= FAR_APART {
        term.prefetch(offset + ahead * found.aligned);
    }
    Some(found)
}

/// Version, flags and type share the word behind the length.
const KIND_SHIFT: u32 = 8 * (TYPE_OFFSET as u32 - 4);
