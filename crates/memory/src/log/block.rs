//! Reading whole frames in one piece: for recorders.

use wire::position::Position;

use super::LogBuffer;
use super::frame;

impl LogBuffer {
    /// Hands a run of whole frames from `position` on to `handler`, in place; returns its length in
    /// bytes, or zero when there is none.
    ///
    /// The run ends at the end of the term, before the frame that would make it longer than
    /// `limit`, and before padding. Padding comes alone, and then even if it is longer than
    /// `limit`.
    pub fn read_block(
        &self,
        position: Position,
        limit: usize,
        handler: impl FnOnce(&[u8]),
    ) -> usize {
        let (term, begin) = self.term_at(position);
        let mut length = 0;
        while begin + length < term.length() {
            let Some(found) = frame::at_running(term, begin + length) else { break };
            if found.is_padding {
                if length == 0 {
                    length = found.aligned;
                }
                break;
            }
            if length + found.aligned > limit {
                break;
            }
            length += found.aligned;
        }
        if length > 0 {
            #[allow(clippy::needless_borrow)] // Owned bytes in the model checker.
            // SAFETY: every frame in the run was found published, and the caller's position, which
            // is before the first, stops their re-use (condition 4).
            handler(&unsafe { term.published(begin, length) });
        }
        length
    }
}
