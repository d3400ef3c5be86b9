//! Labels of counters: what a counter is about, for people.

use super::key::cut_text;
use super::{CounterTypeId, StreamKey};
use crate::position::Position;
use core::fmt::{self, Write};

/// Longest label; longer ones are cut.
pub const LABEL_LENGTH_MAX: usize = 380;

/// A label in a buffer of its own; what does not fit is cut off.
///
/// Write into it with `write!`, or use the builders below for the labels that tools know.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Label {
    bytes: [u8; LABEL_LENGTH_MAX],
    length: usize,
}

impl Label {
    /// An empty label.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: [0; LABEL_LENGTH_MAX], length: 0 }
    }

    /// A label of this text.
    #[must_use]
    pub fn of(text: impl fmt::Display) -> Self {
        Self::format(format_args!("{text}"))
    }

    /// Label of a counter of a stream: `name: registrationId sessionId streamId channel`.
    ///
    /// `key` may hold the whole channel: only the key's bytes are cut at 92.
    #[must_use]
    pub fn of_stream(name: &str, key: &StreamKey<'_>) -> Self {
        let StreamKey { registration_id, session_id, stream_id, channel } = key;
        let (session, stream) = (session_id.0, stream_id.0);
        Self::format(format_args!("{name}: {registration_id} {session} {stream} {channel}"))
    }

    /// Label of a subscriber position: as of a stream, with the position where it joined.
    #[must_use]
    pub fn of_subscriber_position(key: &StreamKey<'_>, joined_at: Position) -> Self {
        let mut label = Self::of_stream("sub-pos", key);
        label.push(format_args!(" @{}", joined_at.0));
        label
    }

    /// Label of a channel's status: `name: channel address`; the address may be empty.
    #[must_use]
    pub fn of_channel(type_id: CounterTypeId, channel: &str, address: &str) -> Self {
        let name = type_id.name().unwrap_or_default();
        let mut label = Self::format(format_args!("{name}: {channel}"));
        if !address.is_empty() {
            label.push(format_args!(" {address}"));
        }
        label
    }

    /// Label of a bound socket: `name: channelStatusId address`.
    #[must_use]
    pub fn of_local_address(name: &str, channel_status_id: i32, address: &str) -> Self {
        Self::format(format_args!("{name}: {channel_status_id} {address}"))
    }

    /// Label of a client's heartbeat; the client appends its name and version.
    #[must_use]
    pub fn of_client_heartbeat(client_id: i64) -> Self {
        Self::format(format_args!("client-heartbeat: id={client_id}"))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only whole characters are ever appended.
        core::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }

    fn format(arguments: fmt::Arguments<'_>) -> Self {
        let mut label = Self::new();
        label.push(arguments);
        label
    }

    fn push(&mut self, arguments: fmt::Arguments<'_>) {
        // An error says that the rest was cut off, which is what labels do.
        let _ = self.write_fmt(arguments);
    }
}

impl Default for Label {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), formatter)
    }
}

impl Write for Label {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let cut = cut_text(text, LABEL_LENGTH_MAX - self.length);
        let end = self.length + cut.len();
        self.bytes[self.length..end].copy_from_slice(cut.as_bytes());
        self.length = end;
        if cut.len() == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::{SessionId, StreamId};

    fn key(channel: &str) -> StreamKey<'_> {
        let (session_id, stream_id) = (SessionId(-5), StreamId(10));
        StreamKey { registration_id: 21, session_id, stream_id, channel }
    }

    #[test]
    fn labels_read_as_tools_expect() {
        let label = Label::of_stream("pub-lmt", &key("aeron:ipc"));
        assert_eq!(label.as_str(), "pub-lmt: 21 -5 10 aeron:ipc");
        let label = Label::of_subscriber_position(&key("aeron:ipc"), Position(64));
        assert_eq!(label.as_str(), "sub-pos: 21 -5 10 aeron:ipc @64");
        let status = CounterTypeId::SEND_CHANNEL_STATUS;
        let label = Label::of_channel(status, "aeron:udp?control=a:1", "127.0.0.1:1");
        assert_eq!(label.as_str(), "snd-channel: aeron:udp?control=a:1 127.0.0.1:1");
        assert_eq!(Label::of_client_heartbeat(7).as_str(), "client-heartbeat: id=7");
    }

    #[test]
    fn long_labels_are_cut() {
        let bytes = [b'x'; 500];
        let long = core::str::from_utf8(&bytes).unwrap();
        let label = Label::of_subscriber_position(&key(long), Position(0));
        assert_eq!(label.as_str().len(), LABEL_LENGTH_MAX);
        assert!(label.as_str().ends_with('x'));
    }
}
