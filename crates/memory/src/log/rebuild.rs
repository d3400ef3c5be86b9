//! Inserting received frames at their place.

use wire::frame::{DATA_HEADER_LENGTH, DataHeader};
use wire::position::Position;

use super::LogBuffer;
use super::frame;

impl LogBuffer {
    /// Inserts a datagram of data at `position`, where it has been checked to belong: whole frames,
    /// of which the last may be padding without its body. Returns whether the place was empty.
    ///
    /// Everything but the first word is in place before that word makes it visible, and readers do
    /// not get past the first frame before. Called by the receiver only.
    pub fn insert(&self, position: Position, datagram: &[u8]) -> bool {
        let (term, offset) = self.term_at(position);
        let Some((header, rest)) = datagram.split_first_chunk::<DATA_HEADER_LENGTH>() else {
            return false;
        };
        if datagram.len() > term.length() - offset || frame::length_at(term, offset) != 0 {
            return false;
        }
        term.copy_in(offset + DATA_HEADER_LENGTH, rest);
        term.store_header_last(offset, frame::words(&DataHeader::from_bytes(header)));
        true
    }
}
