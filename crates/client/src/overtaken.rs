//! Reading where nobody waits for the reader: copy out, then look again.
//!
//! A subscriber that is not tethered does not hold back its publisher, which may clean and rewrite
//! a frame at any time. No reference is made to such bytes: they are copied, and the copy counts
//! only if the header is the same afterwards (docs/log-buffer.md).

use std::sync::atomic::{Ordering, fence};

use memory::buffer::AtomicBuffer;
use memory::log::LogBuffer;
use wire::frame::{DATA_HEADER_LENGTH, DataHeader, FRAME_LENGTH_OFFSET, FrameType};
use wire::position::{Position, align_frame};

/// What stands at a position.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Copied {
    /// No frame yet.
    Nothing,
    /// A frame without data.
    Padding {
        /// The position behind it.
        after: Position,
    },
    /// A frame, its payload copied.
    Frame {
        /// Its header.
        header: DataHeader,
        /// Length of its payload.
        length: usize,
        /// The position behind it.
        after: Position,
    },
    /// The publisher has been here again: what this reader missed is gone.
    Overtaken,
}

/// Copies the frame at `position`.
pub(crate) fn copy_frame(log: &LogBuffer, position: Position, target: &mut Vec<u8>) -> Copied {
    let (term, offset) = log.term_at(position);
    // Acquire: pairs with the release store by which a frame is published.
    let length = term.load_i32_acquire(offset + FRAME_LENGTH_OFFSET);
    if length <= 0 {
        return if is_lost(log, position) { Copied::Overtaken } else { Copied::Nothing };
    }
    let header = header_at(term, offset);
    let expected = header.frame_length == length
        && header.term_id == log.term_id_at(position)
        && usize::try_from(header.term_offset) == Ok(offset);
    let Some((length, aligned)) = extent(length, term.length() - offset).filter(|_| expected)
    else {
        return Copied::Overtaken;
    };
    let after = Position(position.0 + aligned);
    if header.frame_type == FrameType::PADDING {
        return Copied::Padding { after };
    }
    let payload_length = length - DATA_HEADER_LENGTH;
    if target.len() < payload_length {
        target.resize(payload_length, 0);
    }
    term.copy_out(offset + DATA_HEADER_LENGTH, &mut target[..payload_length]);
    // Acquire: the copy is complete before the header is looked at again; whoever rewrites the
    // frame changes the header first.
    fence(Ordering::Acquire);
    if header_at(term, offset) != header || is_lost(log, position) {
        return Copied::Overtaken;
    }
    Copied::Frame { header, length: payload_length, after }
}

/// Length of a frame, and what it takes of the log, if it lies within `room` bytes.
fn extent(length: i32, room: usize) -> Option<(usize, i64)> {
    let aligned = align_frame(length);
    let length = usize::try_from(length).ok().filter(|&length| length >= DATA_HEADER_LENGTH)?;
    let fits = usize::try_from(aligned).is_ok_and(|aligned| 0 < aligned && aligned <= room);
    fits.then_some((length, i64::from(aligned)))
}

/// Whether the publisher has begun to write the term buffer of `position` anew. Logs of images have
/// no tails: there the header alone tells.
fn is_lost(log: &LogBuffer, position: Position) -> bool {
    let written = i64::from(log.active_term_count());
    let read = position.0 >> log.bits_to_shift();
    written - read >= 3
}

fn header_at(term: &AtomicBuffer, offset: usize) -> DataHeader {
    let mut bytes = [0; DATA_HEADER_LENGTH];
    term.copy_out(offset, &mut bytes);
    DataHeader::from_bytes(&bytes)
}
