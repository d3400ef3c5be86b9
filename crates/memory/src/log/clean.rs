//! Zeroing what everybody has consumed, so that the space can be written again.

use wire::position::Position;

use super::LogBuffer;
use crate::buffer::release_fence;

impl LogBuffer {
    /// Zeroes from `cleaned` towards `target`, at most to the end of the term and at most
    /// `length_max` bytes; returns how far the log is clean. Both are multiples of 8. Called by the
    /// driver only.
    ///
    /// The first word goes last: it tells readers that a frame is there, so that a late one sees
    /// the old bytes or nothing.
    #[must_use]
    pub fn clean(&self, cleaned: Position, target: Position, length_max: usize) -> Position {
        let Ok(dirty) = usize::try_from(target.0.saturating_sub(cleaned.0)) else {
            return cleaned;
        };
        let (term, offset) = self.term_at(cleaned);
        let length = dirty.min(term.length() - offset).min(length_max) & !7;
        if length == 0 {
            return cleaned;
        }
        term.zero(offset + 8, length - 8);
        // Release: the rest is zero before the first frame's length is.
        term.store_i64_release(offset, 0);
        // Whatever is written there next comes after the zeros, for a reader who was left behind.
        release_fence();
        Position(cleaned.0 + length as i64)
    }
}
