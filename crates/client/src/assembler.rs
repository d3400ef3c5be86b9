//! Puts messages together from the fragments of a stream.
//!
//! Input: the fragments of a poll, in order. Output: whole messages, to the handler of the same
//! call. A message whose beginning was missed is dropped. Nothing is allocated once the buffers
//! have grown to the longest message (transport specification, part 1.7).

use wire::position::{SessionId, align_frame};

use crate::fragment::{Action, BEGIN, END, Fragment, Header, UNFRAGMENTED};

/// No message is longer (transport specification, part 1.3).
const MESSAGE_LENGTH_MAX: usize = 16 * 1024 * 1024;
/// First length of a buffer: grows from there.
const BUFFER_LENGTH_MIN: usize = 4096;
/// Length of a frame's header.
const HEADER_LENGTH: i32 = 32;

/// Puts messages together from several sources of one subscription.
///
/// ```text
/// subscription.poll(10, |fragment| assembler.on_fragment(fragment, |message| use(message)));
/// ```
/// Call [`FragmentAssembler::remove`] when an image has gone, lest its buffer stays.
#[derive(Debug, Default)]
pub struct FragmentAssembler {
    /// Sorted by session.
    sessions: Vec<(SessionId, ImageAssembler)>,
}

impl FragmentAssembler {
    /// One without buffers yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { sessions: Vec::new() }
    }

    /// Takes the next fragment; calls `on_message` if a message is complete with it.
    pub fn on_fragment(&mut self, fragment: Fragment<'_>, on_message: impl FnOnce(Fragment<'_>)) {
        if fragment.is_whole() {
            on_message(fragment);
            return;
        }
        self.session(&fragment).on_fragment(fragment, on_message);
    }

    /// The same for controlled polls: what `on_message` answers is the poll's answer. An abort
    /// leaves everything as if the fragment had not come.
    pub fn on_fragment_controlled(
        &mut self,
        fragment: Fragment<'_>,
        on_message: impl FnOnce(Fragment<'_>) -> Action,
    ) -> Action {
        if fragment.is_whole() {
            return on_message(fragment);
        }
        self.session(&fragment).on_fragment_controlled(fragment, on_message)
    }

    /// Forgets a source and what it left incomplete.
    pub fn remove(&mut self, session_id: SessionId) {
        if let Ok(at) = self.find(session_id) {
            self.sessions.remove(at);
        }
    }

    /// Forgets every source.
    pub fn clear(&mut self) {
        self.sessions.clear();
    }

    fn find(&self, session_id: SessionId) -> Result<usize, usize> {
        self.sessions.binary_search_by_key(&session_id, |(id, _)| *id)
    }

    fn session(&mut self, fragment: &Fragment<'_>) -> &mut ImageAssembler {
        let session_id = fragment.session_id();
        let at = self.find(session_id).unwrap_or_else(|at| {
            self.sessions.insert(at, (session_id, ImageAssembler::new()));
            at
        });
        &mut self.sessions[at].1
    }
}

/// Puts messages together from a single image.
#[derive(Clone, Debug, Default)]
pub struct ImageAssembler {
    buffer: Vec<u8>,
    /// Header of the first frame, while a message is incomplete.
    first: Option<Header>,
    /// Where the next frame must begin in its term.
    next_term_offset: i32,
}

impl ImageAssembler {
    /// One without a buffer yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { buffer: Vec::new(), first: None, next_term_offset: 0 }
    }

    /// Takes the next fragment; calls `on_message` if a message is complete with it.
    pub fn on_fragment(&mut self, fragment: Fragment<'_>, on_message: impl FnOnce(Fragment<'_>)) {
        self.on_fragment_controlled(fragment, |message| {
            on_message(message);
            Action::Continue
        });
    }

    /// The same for controlled polls; see [`FragmentAssembler::on_fragment_controlled`].
    pub fn on_fragment_controlled(
        &mut self,
        fragment: Fragment<'_>,
        on_message: impl FnOnce(Fragment<'_>) -> Action,
    ) -> Action {
        if fragment.is_whole() {
            return on_message(fragment);
        }
        if fragment.header.flags & BEGIN != 0 {
            self.begin(&fragment);
            return Action::Continue;
        }
        let Some(first) = self.first else { return Action::Continue };
        let continues = fragment.header.term_offset == self.next_term_offset
            && self.buffer.len() + fragment.payload.len() <= MESSAGE_LENGTH_MAX;
        if !continues {
            self.reset();
            return Action::Continue;
        }
        if fragment.header.flags & END == 0 {
            self.append(&fragment);
            return Action::Continue;
        }
        self.end(first, &fragment, on_message)
    }

    /// Forgets what is incomplete.
    pub fn reset(&mut self) {
        self.buffer.clear();
        self.first = None;
    }

    fn begin(&mut self, fragment: &Fragment<'_>) {
        self.reset();
        if self.buffer.capacity() == 0 {
            self.buffer.reserve(BUFFER_LENGTH_MIN);
        }
        self.first = Some(fragment.header);
        self.append(fragment);
    }

    fn append(&mut self, fragment: &Fragment<'_>) {
        self.buffer.extend_from_slice(fragment.payload);
        let header = &fragment.header;
        self.next_term_offset = header.term_offset.wrapping_add(align_frame(header.frame_length));
    }

    fn end(
        &mut self,
        first: Header,
        last: &Fragment<'_>,
        on_message: impl FnOnce(Fragment<'_>) -> Action,
    ) -> Action {
        let length_before = self.buffer.len();
        self.buffer.extend_from_slice(last.payload);
        // Bounded by MESSAGE_LENGTH_MAX, which `continues` has checked.
        let message_length = i32::try_from(self.buffer.len()).unwrap_or(i32::MAX - HEADER_LENGTH);
        let header = Header {
            position: last.header.position,
            flags: (first.flags | last.header.flags) | UNFRAGMENTED,
            frame_length: HEADER_LENGTH + message_length,
            ..first
        };
        let action = on_message(Fragment { payload: &self.buffer, header });
        if action == Action::Abort {
            self.buffer.truncate(length_before);
        } else {
            self.reset();
        }
        action
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::position::{Position, StreamId, TermId};

    const A: SessionId = SessionId(1);
    const B: SessionId = SessionId(2);

    fn fragment(
        session_id: SessionId,
        flags: u8,
        term_offset: i32,
        payload: &[u8],
    ) -> Fragment<'_> {
        let frame_length = 32 + i32::try_from(payload.len()).unwrap();
        let end = term_offset + align_frame(frame_length);
        let header = Header {
            position: Position(i64::from(end)),
            flags,
            frame_length,
            term_offset,
            term_id: TermId(7),
            session_id,
            stream_id: StreamId(10),
            reserved_value: i64::from(term_offset),
        };
        Fragment::new(payload, header)
    }

    fn messages(fragments: &[Fragment<'_>]) -> Vec<(Vec<u8>, Header)> {
        let mut assembler = FragmentAssembler::new();
        let mut messages = Vec::new();
        for &part in fragments {
            assembler.on_fragment(part, |m| messages.push((m.payload().to_vec(), *m.header())));
        }
        messages
    }

    fn texts(fragments: &[Fragment<'_>]) -> Vec<String> {
        let text = |(bytes, _): &(Vec<u8>, Header)| String::from_utf8(bytes.clone()).unwrap();
        messages(fragments).iter().map(text).collect()
    }

    #[test]
    fn fragments_of_two_sessions_in_turn_give_both_messages() {
        let parts = [
            fragment(A, BEGIN, 0, b"a1"),
            fragment(B, BEGIN, 0, b"b1"),
            fragment(A, 0, 64, b"a2"),
            fragment(B, END, 64, b"b2"),
            fragment(A, END, 128, b"a3"),
        ];
        assert_eq!(texts(&parts), ["b1b2", "a1a2a3"]);
    }

    #[test]
    fn a_message_has_the_first_header_and_the_last_position() {
        let all = messages(&[fragment(A, BEGIN, 32, b"ab"), fragment(A, END, 96, b"c")]);
        let header = all[0].1;
        assert_eq!(header.position, Position(160));
        assert_eq!((header.term_offset, header.frame_length, header.flags), (32, 35, 0xC0));
        assert_eq!(header.reserved_value, 32);
    }

    #[test]
    fn whole_frames_pass_by_without_a_copy() {
        let payload = b"whole".to_vec();
        let mut seen = None;
        FragmentAssembler::new().on_fragment(fragment(A, UNFRAGMENTED, 0, &payload), |m| {
            seen = Some(m.payload().as_ptr());
        });
        assert_eq!(seen, Some(payload.as_ptr()));
    }

    #[test]
    fn a_message_with_a_hole_or_without_its_beginning_is_dropped() {
        let hole = [
            fragment(A, BEGIN, 0, b"x"),
            fragment(A, END, 128, b"y"),
            fragment(A, END, 192, b"z"),
            fragment(A, BEGIN, 256, b"1"),
            fragment(A, END, 320, b"2"),
        ];
        assert_eq!(texts(&hole), ["12"]);
        assert_eq!(texts(&[fragment(A, 0, 0, b"x"), fragment(A, END, 64, b"y")]), [""; 0]);
    }

    #[test]
    fn a_new_beginning_drops_what_was_incomplete() {
        let parts = [
            fragment(A, BEGIN, 0, b"x"),
            fragment(A, BEGIN, 64, b"1"),
            fragment(A, END, 128, b"2"),
        ];
        assert_eq!(texts(&parts), ["12"]);
    }

    #[test]
    fn an_aborted_end_can_come_again() {
        let mut assembler = FragmentAssembler::new();
        let end = fragment(A, END, 64, b"2");
        let never = |_: Fragment<'_>| unreachable!("not complete");
        assembler.on_fragment_controlled(fragment(A, BEGIN, 0, b"1"), never);
        for answer in [Action::Abort, Action::Abort, Action::Commit] {
            let action = assembler.on_fragment_controlled(end, |message| {
                assert_eq!(message.payload(), b"12");
                answer
            });
            assert_eq!(action, answer);
        }
        assembler.on_fragment(end, |_| unreachable!("complete before"));
    }

    #[test]
    fn a_removed_session_forgets_what_was_incomplete() {
        let mut assembler = FragmentAssembler::new();
        let never = |_: Fragment<'_>| unreachable!("not complete");
        assembler.on_fragment(fragment(A, BEGIN, 0, b"1"), never);
        assembler.remove(A);
        assembler.on_fragment(fragment(A, END, 64, b"2"), never);
    }
}
