//! Reading fragments in place, up to the end of a term at a time.

use wire::frame::{DATA_HEADER_LENGTH, DataHeader};
use wire::position::Position;

use super::LogBuffer;
use super::frame;

/// What a handler wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadAction {
    /// Go on.
    Continue,
    /// Tell the position behind this fragment to `commit`, and go on.
    Commit,
    /// Stop behind this fragment.
    Break,
    /// Stop before this fragment.
    Abort,
}

/// How far a read came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Where the next read begins: behind fragments delivered and padding skipped.
    pub position: Position,
    /// Fragments delivered.
    pub fragments: usize,
}

impl LogBuffer {
    /// Hands the fragments from `position` on to `handler`, in place: header, payload and the
    /// position behind it. Ends at the end of the term, before the first fragment that begins at or
    /// behind `bound`, or after `limit` fragments.
    ///
    /// The bytes are safe to borrow because the caller's position, which is stored only afterwards,
    /// keeps the driver from cleaning them.
    #[inline]
    pub fn read(
        &self,
        position: Position,
        bound: Position,
        limit: usize,
        mut handler: impl FnMut(&DataHeader, &[u8], Position),
    ) -> Progress {
        self.read_controlled(
            position,
            bound,
            limit,
            |header, payload, after| {
                handler(header, payload, after);
                ReadAction::Continue
            },
            |_| (),
        )
    }

    /// Like [`LogBuffer::read`], with a handler that controls how it goes on.
    #[inline]
    pub fn read_controlled(
        &self,
        position: Position,
        bound: Position,
        limit: usize,
        mut handler: impl FnMut(&DataHeader, &[u8], Position) -> ReadAction,
        mut commit: impl FnMut(Position),
    ) -> Progress {
        let (term, begin) = self.term_at(position);
        let end = usize::try_from(bound.0.saturating_sub(position.0))
            .map_or(begin, |room| begin.saturating_add(room).min(term.length()));
        let mut progress = Progress { position, fragments: 0 };
        let mut offset = begin;
        while progress.fragments < limit && offset < end {
            let Some(found) = frame::at_walking(term, offset) else { break };
            let after = Position(progress.position.0 + found.aligned as i64);
            offset += found.aligned;
            if found.is_padding {
                progress.position = after;
                continue;
            }
            let length = usize::try_from(found.length).unwrap_or(DATA_HEADER_LENGTH);
            // SAFETY: the length was acquire-loaded positive by `frame::at`, and the caller's
            // position, which is before the frame, stops its re-use (condition 4).
            let bytes = unsafe { term.published(offset - found.aligned, length) };
            let Some((header, payload)) = bytes.split_first_chunk::<DATA_HEADER_LENGTH>() else {
                break;
            };
            match handler(&DataHeader::from_bytes(header), payload, after) {
                ReadAction::Continue => {}
                ReadAction::Commit => commit(after),
                ReadAction::Break => {
                    progress = Progress { position: after, fragments: progress.fragments + 1 };
                    break;
                }
                ReadAction::Abort => break,
            }
            progress = Progress { position: after, fragments: progress.fragments + 1 };
        }
        progress
    }
}
