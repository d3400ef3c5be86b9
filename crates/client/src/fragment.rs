//! What a poll hands to its handler, and what the handler answers.

use wire::position::{Position, SessionId, StreamId, TermId};

/// A frame of a stream, or a message put together from several, while a handler looks at it.
///
/// Borrowed from the log: copy what must outlive the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment<'a> {
    pub(crate) payload: &'a [u8],
    pub(crate) header: Header,
}

/// The header of a [`Fragment`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Where the stream stands after the frame, its alignment included.
    pub position: Position,
    /// `0x80` begin, `0x40` end of a message.
    pub flags: u8,
    /// Length of header and payload in bytes; of the whole message once it is put together.
    pub frame_length: i32,
    /// Offset of the (first) frame in its term.
    pub term_offset: i32,
    /// The term of the (first) frame.
    pub term_id: TermId,
    /// Who published.
    pub session_id: SessionId,
    /// On which stream.
    pub stream_id: StreamId,
    /// The user's 8 bytes; of the first frame once put together.
    pub reserved_value: i64,
}

/// First frame of a message.
pub(crate) const BEGIN: u8 = 0x80;
/// Last frame of a message.
pub(crate) const END: u8 = 0x40;
/// The only frame of a message.
pub(crate) const UNFRAGMENTED: u8 = BEGIN | END;

impl<'a> Fragment<'a> {
    /// Builds one: for tests of handlers.
    #[must_use]
    pub const fn new(payload: &'a [u8], header: Header) -> Self {
        Self { payload, header }
    }

    /// The bytes that were offered.
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Everything that the frame says of itself.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Where the stream stands after the frame, its alignment included.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.header.position
    }

    /// Who published.
    #[must_use]
    pub const fn session_id(&self) -> SessionId {
        self.header.session_id
    }

    /// On which stream.
    #[must_use]
    pub const fn stream_id(&self) -> StreamId {
        self.header.stream_id
    }

    /// The user's 8 bytes.
    #[must_use]
    pub const fn reserved_value(&self) -> i64 {
        self.header.reserved_value
    }

    /// Whether this is a whole message.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.header.flags & UNFRAGMENTED == UNFRAGMENTED
    }
}

/// What a handler of a controlled poll wants next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Go on; the position is stored when the poll ends.
    #[default]
    Continue,
    /// Store the position behind this fragment now, and go on.
    Commit,
    /// End the poll behind this fragment.
    Break,
    /// End the poll before this fragment: the next poll hands it out again.
    Abort,
}
