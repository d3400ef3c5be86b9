//! Finding what is missing, and filling it where it will not come.

use wire::frame::{FrameType, flags};
use wire::position::{FRAME_ALIGNMENT, Position, TermId};

use super::LogBuffer;
use super::frame::{self, length_at};

/// The first gap behind a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The term that it lies in.
    pub term_id: TermId,
    /// Where in the term it begins.
    pub term_offset: i32,
    /// Its length in bytes.
    pub length: i32,
}

/// Frames begin at multiples of it.
const STEP: usize = FRAME_ALIGNMENT as usize;

impl LogBuffer {
    /// Walks over published frames from `position`, up to `bound` or the end of the term; returns
    /// how far it came and the gap that stopped it, if any.
    #[must_use]
    pub fn scan_gap(&self, position: Position, bound: Position) -> (Position, Option<Gap>) {
        let (term, begin) = self.term_at(position);
        let room = usize::try_from(bound.0.saturating_sub(position.0)).unwrap_or(0);
        let end = begin.saturating_add(room).min(term.length());
        let mut offset = begin;
        while offset < end {
            let Some(found) = frame::at(term, offset) else { break };
            offset += found.aligned;
        }
        let rebuilt = Position(position.0 + (offset - begin) as i64);
        if offset >= end {
            return (rebuilt, None);
        }
        let start = offset;
        while offset < end && length_at(term, offset) == 0 {
            offset += STEP;
        }
        let gap = (offset > start).then(|| Gap {
            term_id: self.term_id_at(position),
            term_offset: i32::try_from(start).unwrap_or(i32::MAX),
            length: i32::try_from(offset.min(end) - start).unwrap_or(0),
        });
        (rebuilt, gap)
    }

    /// Fills a gap with padding, if it is still one; returns whether it was. Called by the receiver
    /// only, for streams that do not repair losses.
    #[must_use]
    pub fn fill_gap(&self, gap: Gap) -> bool {
        let position = self.position_of(gap.term_id, gap.term_offset);
        let (term, begin) = self.term_at(position);
        let length = usize::try_from(gap.length).unwrap_or(0);
        if length == 0 || length > term.length() - begin {
            return false;
        }
        // From the end backwards: what has just come in is seen.
        let is_empty =
            (begin..begin + length).step_by(STEP).rev().all(|at| length_at(term, at) == 0);
        if is_empty {
            let (kind, flags) = (FrameType::PADDING, flags::UNFRAGMENTED);
            let mut header = self.stream().header(kind, flags, gap.term_id, gap.term_offset);
            header.frame_length = gap.length;
            term.store_header_last(begin, frame::words(&header));
        }
        is_empty
    }
}
