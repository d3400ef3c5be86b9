//! Terms, offsets and positions of a stream, and the arithmetic between them.
//!
//! A stream is a sequence of terms of equal, power-of-two length. Term ids wrap as `i32`; positions
//! are `i64` byte counts that only grow (transport specification, part 1).

/// Smallest length of a term, in bytes.
pub const TERM_LENGTH_MIN: i32 = 64 * 1024;
/// Largest length of a term, in bytes.
pub const TERM_LENGTH_MAX: i32 = 1024 * 1024 * 1024;
/// Frames begin at multiples of this many bytes.
pub const FRAME_ALIGNMENT: i32 = 32;

/// Identifies a term of a stream. Consecutive terms have consecutive ids, wrapping at `i32::MAX`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TermId(pub i32);

impl TermId {
    /// The id `count` terms later.
    #[must_use]
    pub const fn wrapping_add(self, count: i32) -> Self {
        Self(self.0.wrapping_add(count))
    }

    /// How many terms lie between `earlier` and this one; negative when this one is the earlier.
    #[must_use]
    pub const fn terms_since(self, earlier: Self) -> i32 {
        self.0.wrapping_sub(earlier.0)
    }
}

/// The stream that a publication and its subscriptions agree on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub i32);

/// One publication of a stream: the source's own id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub i32);

/// Bytes since the beginning of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub i64);

impl Position {
    /// The position of `offset` in term `id` of a stream that began with term `initial`.
    ///
    /// `bits_to_shift` is the base-two logarithm of the term length.
    #[must_use]
    pub const fn compute(id: TermId, offset: i32, bits_to_shift: u32, initial: TermId) -> Self {
        Self(((id.terms_since(initial) as i64) << bits_to_shift) + offset as i64)
    }

    /// The term that holds this position.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)] // Term counts are below 2^31 by construction.
    pub const fn term_id(self, bits_to_shift: u32, initial: TermId) -> TermId {
        initial.wrapping_add((self.0 >> bits_to_shift) as i32)
    }

    /// The offset of this position in its term.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)] // Masked below a term length, which is an i32.
    pub const fn term_offset(self, term_length: i32) -> i32 {
        (self.0 & (term_length as i64 - 1)) as i32
    }

    /// Which of the three term buffers holds this position: 0, 1 or 2.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // The result is below 3.
    pub const fn term_index(self, bits_to_shift: u32) -> usize {
        ((self.0 >> bits_to_shift) % 3) as usize
    }

    /// The first position that a stream of this term length cannot reach: 2^31 terms.
    #[must_use]
    pub const fn limit(term_length: i32) -> Self {
        Self((term_length as i64) << 31)
    }
}

/// Rounds a length up to the frame alignment.
///
/// The result of a length within 31 bytes of `i32::MAX` wraps: callers check lengths first.
#[must_use]
pub const fn align_frame(length: i32) -> i32 {
    length.wrapping_add(FRAME_ALIGNMENT - 1) & !(FRAME_ALIGNMENT - 1)
}

/// Whether `length` can be the length of a term: a power of two from 64 KiB to 1 GiB.
#[must_use]
pub const fn is_term_length(length: i32) -> bool {
    TERM_LENGTH_MIN <= length && length <= TERM_LENGTH_MAX && length.count_ones() == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_names_its_term_and_offset_across_the_wrap_of_term_ids() {
        let initial = TermId(i32::MAX);
        let position = Position::compute(TermId(i32::MIN), 96, 16, initial);
        assert_eq!(position, Position(65_536 + 96));
        assert_eq!(position.term_id(16, initial), TermId(i32::MIN));
        assert_eq!(position.term_offset(65_536), 96);
        assert_eq!(position.term_index(16), 1);
    }

    #[test]
    fn term_lengths_are_powers_of_two_within_the_limits() {
        assert!(is_term_length(65_536) && is_term_length(1 << 30));
        assert!(!is_term_length(65_535) && !is_term_length(32_768) && !is_term_length(i32::MIN));
    }
}
