//! Repairing what a publisher left half done when it died.

use wire::frame::{FrameType, flags};
use wire::position::Position;

use super::LogBuffer;
use super::frame::{self, length_at};

/// What an attempt to unblock did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unblocked {
    /// Nothing was blocked, or it moves by itself.
    No,
    /// A frame or a hole was turned into padding.
    Padded,
    /// The rest of the term was turned into padding and the log passed to the next term, or a
    /// passage that was left half done was completed.
    Rotated,
}

impl LogBuffer {
    /// Unblocks the log at a position where consumers have stood still for too long. Called by the
    /// driver's conductor only.
    pub fn unblock(&self, blocked: Position) -> Unblocked {
        let term_id = self.term_id_at(blocked);
        let count = term_id.terms_since(self.initial_term_id());
        let active = self.active_term_count();
        let (term, begin) = self.term_at(blocked);
        if begin == 0 && active == count.wrapping_sub(1) {
            return self.complete_rotation(active, term_id.wrapping_add(-1));
        }
        let tail = self.tail(count);
        if tail.term_id() != term_id {
            return Unblocked::No;
        }
        let end = usize::try_from(tail.offset(self.term_length())).unwrap_or(0);
        let length = length_at(term, begin);
        if length < 0 {
            let length = length.saturating_neg();
            let fits = usize::try_from(length).is_ok_and(|length| length <= term.length() - begin);
            return if fits { self.pad(blocked, length) } else { Unblocked::No };
        }
        if length > 0 || begin >= end {
            return Unblocked::No;
        }
        let hole = (begin..end).step_by(32).take_while(|&at| length_at(term, at) == 0).count() * 32;
        let hole_end = (begin + hole).min(end);
        let is_empty = (begin..hole_end).step_by(32).rev().all(|at| length_at(term, at) == 0);
        let is_overflowed = tail.claimed() >= i64::from(self.term_length());
        if !is_empty {
            return Unblocked::No;
        }
        self.pad(blocked, i32::try_from(hole_end - begin).unwrap_or(0));
        if hole_end == end && is_overflowed {
            self.rotate(count, term_id);
            return Unblocked::Rotated;
        }
        Unblocked::Padded
    }

    fn complete_rotation(&self, active: i32, term_id: wire::position::TermId) -> Unblocked {
        if self.rotate(active, term_id) { Unblocked::Rotated } else { Unblocked::No }
    }

    fn pad(&self, position: Position, length: i32) -> Unblocked {
        let (term, offset) = self.term_at(position);
        let at = position.term_offset(self.term_length());
        let term_id = self.term_id_at(position);
        let header = self.stream().header(FrameType::PADDING, flags::UNFRAGMENTED, term_id, at);
        let mut words = frame::words(&header);
        // The length goes last, by release: everything else of the header is in place before.
        words[0] |= i64::from((-length).cast_unsigned());
        term.store_header_last(offset, words);
        frame::publish(term, at, length);
        Unblocked::Padded
    }
}
