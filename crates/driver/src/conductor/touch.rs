//! Pages of a sparse log, made ahead of the stream in the background.
//!
//! The first store into a page of a fresh file costs microseconds (a fault, a zeroed page); after
//! one round of the three terms all pages are there.

use runtime::background::Job;
use runtime::files::Mapping;

/// How far ahead pages are made.
const AHEAD: i64 = 1 << 20;
/// How much at a time; shorter terms are not worth it.
const STEP: i64 = 256 << 10;

/// How far the pages of one log have been made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TouchAhead {
    start: i64,
    touched: i64,
    end: i64,
    term_length: i64,
}

impl TouchAhead {
    /// For a log that begins at a position. Nothing is touched before its stream moves, nor of a
    /// log whose pages were made with it.
    pub(crate) fn new(start: i64, term_length: i32, is_sparse: bool) -> Self {
        let term_length = i64::from(term_length);
        let rounds = if is_sparse && term_length > AHEAD { 3 } else { 0 };
        Self { start, touched: start, end: start + rounds * term_length, term_length }
    }

    /// The stream has come to a position: the next range of the file to touch, if it is time.
    pub(crate) fn next(&mut self, position: i64) -> Option<(usize, usize)> {
        let is_over = self.touched >= self.end || position <= self.start;
        if is_over || position.saturating_add(AHEAD) < self.touched.saturating_add(STEP) {
            return None;
        }
        let term = self.touched / self.term_length;
        let term_end = (term + 1) * self.term_length;
        let next = (self.touched + STEP).min(term_end).min(self.end);
        let offset = term % 3 * self.term_length + self.touched % self.term_length;
        let length = next - self.touched;
        self.touched = next;
        Some((usize::try_from(offset).ok()?, usize::try_from(length).ok()?))
    }
}

/// The job that touches a range.
pub(crate) fn job(mapping: &Mapping, (offset, length): (usize, usize)) -> Job {
    Job::Touch { mapping: mapping.clone(), offset, length }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_touched_once_ahead_of_the_stream_and_none_before_it_moves() {
        let term_length = 4 << 20;
        let start = i64::from(term_length) + 96;
        let mut touch = TouchAhead::new(start, term_length, true);
        assert_eq!(touch.next(start), None);
        let mut touched = vec![0_u8; 3 * (4 << 20)];
        let mut position = start;
        for _ in 0..10_000 {
            position += 10_000;
            while let Some((offset, length)) = touch.next(position) {
                touched[offset..offset + length].iter_mut().for_each(|count| *count += 1);
            }
            assert!(touch.touched >= (position + AHEAD - STEP).min(touch.end));
        }
        assert!(touched.iter().all(|count| *count == 1));
    }

    #[test]
    fn short_terms_and_files_with_pages_are_left_alone() {
        assert_eq!(TouchAhead::new(0, 65_536, true).next(1 << 30), None);
        assert_eq!(TouchAhead::new(0, 16 << 20, false).next(1 << 30), None);
    }
}
