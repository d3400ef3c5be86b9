//! Finding what a sender may send.

use wire::frame::DATA_HEADER_LENGTH;
use wire::position::Position;

use super::LogBuffer;
use super::frame;

/// A run of frames for one datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Bytes to send: whole frames, and of padding at the end its header only.
    pub available: usize,
    /// Bytes of padding behind those, which are not sent.
    pub padding: usize,
    /// Length of the first frame when it alone is longer than the limit; nothing is available then.
    pub blocked: usize,
}

impl Scan {
    /// How far the sender's position moves once the bytes are sent.
    #[must_use]
    pub fn advance(&self) -> usize {
        self.available + self.padding
    }
}

impl LogBuffer {
    /// Scans from `position` for frames that fit into `limit` bytes, within the term.
    #[must_use]
    pub fn scan(&self, position: Position, limit: usize) -> Scan {
        let (term, begin) = self.term_at(position);
        let mut scan = Scan::default();
        while begin + scan.available < term.length() {
            let Some(found) = frame::at_walking(term, begin + scan.available) else { break };
            let on_wire = if found.is_padding { DATA_HEADER_LENGTH } else { found.aligned };
            if scan.available + on_wire > limit {
                if scan.available == 0 {
                    scan.blocked = found.aligned;
                }
                break;
            }
            scan.available += on_wire;
            if found.is_padding && found.aligned > DATA_HEADER_LENGTH {
                scan.padding = found.aligned - DATA_HEADER_LENGTH;
                break;
            }
        }
        scan
    }

    /// Lends the bytes of a [`Scan`] at `position` to `send`, in place.
    ///
    /// The publisher limit, which stays within a term of the sender's position, stops their re-use.
    ///
    /// # Panics
    /// When the range does not lie in one term.
    pub fn with_scanned<R>(
        &self,
        position: Position,
        length: usize,
        send: impl FnOnce(&[u8]) -> R,
    ) -> R {
        let (term, offset) = self.term_at(position);
        #[allow(clippy::needless_borrow)] // Owned bytes in the model checker.
        // SAFETY: the range was found published by `scan`, at or before the sender's position plus
        // its window; terms are cleaned only a whole term behind that position (condition 4).
        send(&unsafe { term.published(offset, length) })
    }
}
