//! One recording, as the catalog describes it.

use wire::archive::response::RecordingDescriptor;

use super::NULL_VALUE;
use crate::frame::Place;
use crate::segment::Layout;

/// One recording, as the catalog describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// Session that extended it last; 0 if none did.
    pub control_session_id: i64,
    /// Request that extended it last; 0 if none did.
    pub correlation_id: i64,
    /// Its id, never used again.
    pub id: i64,
    /// When it began, in milliseconds since 1970.
    pub start_timestamp: i64,
    /// When it ended; -1 while active.
    pub stop_timestamp: i64,
    /// The position of its first byte.
    pub start_position: i64,
    /// The position after its last byte; -1 while active.
    pub stop_position: i64,
    /// The first term of the stream.
    pub initial_term_id: i32,
    /// Length in bytes of its segment files.
    pub segment_file_length: i32,
    /// Length in bytes of the stream's terms.
    pub term_buffer_length: i32,
    /// Longest datagram of the stream in bytes.
    pub mtu_length: i32,
    /// Session of the last image recorded.
    pub session_id: i32,
    /// The stream.
    pub stream_id: i32,
    /// The channel without what does not identify it.
    pub stripped_channel: String,
    /// The channel as it was asked for.
    pub original_channel: String,
    /// Where the last image came from.
    pub source_identity: String,
}

impl Recording {
    /// How it is cut into segments.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        Layout::new(self.start_position, self.term_buffer_length, self.segment_file_length)
    }

    /// Whether nobody has ended it.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        self.stop_position == NULL_VALUE
    }

    /// What the header of the frame at `position` has to say.
    pub(crate) fn place(&self, position: i64) -> Place {
        let bits = self.term_buffer_length.trailing_zeros();
        let position = wire::position::Position(position);
        let initial = wire::position::TermId(self.initial_term_id);
        Place {
            term_id: position.term_id(bits, initial).0,
            term_offset: position.term_offset(self.term_buffer_length),
            stream_id: self.stream_id,
        }
    }

    /// Whether both are of one stream and cut alike, so that one can continue the other.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let shape = |it: &Self| {
            (
                it.segment_file_length,
                it.term_buffer_length,
                it.initial_term_id,
                it.stream_id,
                it.mtu_length,
            )
        };
        shape(self) == shape(other)
    }

    /// As the wire and the disk have it.
    #[must_use]
    pub fn descriptor(&self) -> RecordingDescriptor<'_> {
        RecordingDescriptor {
            control_session_id: self.control_session_id,
            correlation_id: self.correlation_id,
            recording_id: self.id,
            start_timestamp: self.start_timestamp,
            stop_timestamp: self.stop_timestamp,
            start_position: self.start_position,
            stop_position: self.stop_position,
            initial_term_id: self.initial_term_id,
            segment_file_length: self.segment_file_length,
            term_buffer_length: self.term_buffer_length,
            mtu_length: self.mtu_length,
            session_id: self.session_id,
            stream_id: self.stream_id,
            stripped_channel: self.stripped_channel.as_bytes(),
            original_channel: self.original_channel.as_bytes(),
            source_identity: self.source_identity.as_bytes(),
        }
    }

    /// Whether its numbers can be those of a recording, so that arithmetic on them holds.
    pub(super) fn is_sound(&self) -> bool {
        let power = |length: i32| length.count_ones() == 1;
        let aligned = |position: i64| position >= 0 && position % 32 == 0;
        wire::position::is_term_length(self.term_buffer_length)
            && power(self.segment_file_length)
            && self.segment_file_length >= self.term_buffer_length
            && (32..=self.term_buffer_length).contains(&self.mtu_length)
            && aligned(self.start_position)
            && (self.is_active()
                || (aligned(self.stop_position) && self.start_position <= self.stop_position))
    }
}

impl From<RecordingDescriptor<'_>> for Recording {
    /// Texts that are not UTF-8 read with the replacement character: they should be ASCII.
    fn from(it: RecordingDescriptor<'_>) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            control_session_id: it.control_session_id,
            correlation_id: it.correlation_id,
            id: it.recording_id,
            start_timestamp: it.start_timestamp,
            stop_timestamp: it.stop_timestamp,
            start_position: it.start_position,
            stop_position: it.stop_position,
            initial_term_id: it.initial_term_id,
            segment_file_length: it.segment_file_length,
            term_buffer_length: it.term_buffer_length,
            mtu_length: it.mtu_length,
            session_id: it.session_id,
            stream_id: it.stream_id,
            stripped_channel: text(it.stripped_channel),
            original_channel: text(it.original_channel),
            source_identity: text(it.source_identity),
        }
    }
}
