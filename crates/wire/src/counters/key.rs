//! Keys of counters: what a counter is about, for programs.
//!
//! Genuine drivers leave old bytes behind the used part of a key, so a decoder goes by the lengths
//! inside and never expects zeros.

use super::KEY_LENGTH_MAX;
use crate::le::{i32_at, i64_at, put};
use crate::position::{SessionId, StreamId};

/// Longest channel text in a stream key; longer ones are cut.
pub const KEY_CHANNEL_LENGTH_MAX: usize = KEY_LENGTH_MAX - STREAM_CHANNEL_OFFSET;

const STREAM_CHANNEL_LENGTH_OFFSET: usize = 16;
const STREAM_CHANNEL_OFFSET: usize = 20;
const CHANNEL_OFFSET: usize = 4;
const ADDRESS_LENGTH_OFFSET: usize = 4;
const ADDRESS_OFFSET: usize = 8;

/// The bytes of a key, with their length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    bytes: [u8; KEY_LENGTH_MAX],
    length: usize,
}

impl Key {
    const fn zeroed(length: usize) -> Self {
        Self { bytes: [0; KEY_LENGTH_MAX], length }
    }

    /// A key that is one `i32`, such as the id of a system counter.
    #[must_use]
    pub fn of_i32(value: i32) -> Self {
        let mut key = Self::zeroed(4);
        put(&mut key.bytes, 0, value.to_le_bytes());
        key
    }

    /// A key of these bytes; none when they are too many.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let mut key = Self::zeroed(bytes.len());
        key.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(key)
    }

    /// The used bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Puts a length and as much of `text` as fits at `length_offset`; the key ends behind it.
    fn put_text(&mut self, length_offset: usize, text: &str) {
        let at = length_offset + 4;
        let cut = cut_text(text, KEY_LENGTH_MAX - at);
        let length = i32::try_from(cut.len()).unwrap_or(0);
        put(&mut self.bytes, length_offset, length.to_le_bytes());
        self.bytes[at..at + cut.len()].copy_from_slice(cut.as_bytes());
        self.length = at + cut.len();
    }
}

/// The longest prefix of `text` of at most `length` bytes.
pub(super) fn cut_text(text: &str, length: usize) -> &str {
    let mut end = text.len().min(length);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The text that a length at `length_offset` describes.
fn text_at(bytes: &[u8], length_offset: usize) -> Option<&str> {
    let length = usize::try_from(i32_at(bytes, length_offset)?).ok()?;
    let text = bytes.get(length_offset + 4..)?.get(..length)?;
    core::str::from_utf8(text).ok()
}

/// Key of the counters of one stream: positions, limits, NAK counts.
///
/// ```text
/// 0 registration id i64 | 8 session i32 | 12 stream i32 | 16 channel length i32 | 20 channel
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamKey<'a> {
    /// Registration id of the publication, subscription or image.
    pub registration_id: i64,
    /// The publication.
    pub session_id: SessionId,
    /// The stream.
    pub stream_id: StreamId,
    /// The channel, cut to [`KEY_CHANNEL_LENGTH_MAX`].
    pub channel: &'a str,
}

impl<'a> StreamKey<'a> {
    /// The key as bytes.
    #[must_use]
    pub fn encode(&self) -> Key {
        let mut key = Key::zeroed(0);
        put(&mut key.bytes, 0, self.registration_id.to_le_bytes());
        put(&mut key.bytes, 8, self.session_id.0.to_le_bytes());
        put(&mut key.bytes, 12, self.stream_id.0.to_le_bytes());
        key.put_text(STREAM_CHANNEL_LENGTH_OFFSET, self.channel);
        key
    }

    /// Reads a key; none when its lengths do not fit it.
    #[must_use]
    pub fn decode(key: &'a [u8]) -> Option<Self> {
        Some(Self {
            registration_id: i64_at(key, 0)?,
            session_id: SessionId(i32_at(key, 8)?),
            stream_id: StreamId(i32_at(key, 12)?),
            channel: text_at(key, STREAM_CHANNEL_LENGTH_OFFSET)?,
        })
    }
}

/// Key of channel status counters and of the count of destinations: the channel.
///
/// ```text
/// 0 channel length i32 | 4 channel
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelKey<'a> {
    /// The channel, cut to what fits.
    pub channel: &'a str,
}

impl<'a> ChannelKey<'a> {
    /// The key as bytes.
    #[must_use]
    pub fn encode(&self) -> Key {
        let mut key = Key::zeroed(0);
        key.put_text(CHANNEL_OFFSET - 4, self.channel);
        key
    }

    /// Reads a key; none when its length does not fit it.
    #[must_use]
    pub fn decode(key: &'a [u8]) -> Option<Self> {
        Some(Self { channel: text_at(key, CHANNEL_OFFSET - 4)? })
    }
}

/// Key of local address counters: where a channel's socket is bound.
///
/// ```text
/// 0 channel status counter id i32 | 4 length i32 | 8 ip:port
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalAddressKey<'a> {
    /// The status counter of the channel.
    pub channel_status_id: i32,
    /// Address and port as text; IPv6 addresses stand in brackets.
    pub address: &'a str,
}

impl<'a> LocalAddressKey<'a> {
    /// The key as bytes.
    #[must_use]
    pub fn encode(&self) -> Key {
        let mut key = Key::zeroed(ADDRESS_OFFSET);
        put(&mut key.bytes, 0, self.channel_status_id.to_le_bytes());
        key.put_text(ADDRESS_LENGTH_OFFSET, self.address);
        key
    }

    /// Reads a key; none when its length does not fit it.
    #[must_use]
    pub fn decode(key: &'a [u8]) -> Option<Self> {
        let address = text_at(key, ADDRESS_LENGTH_OFFSET)?;
        Some(Self { channel_status_id: i32_at(key, 0)?, address })
    }
}

/// Key of client heartbeat counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientHeartbeatKey {
    /// The client.
    pub client_id: i64,
}

impl ClientHeartbeatKey {
    /// The key as bytes.
    #[must_use]
    pub fn encode(&self) -> Key {
        let mut key = Key::zeroed(8);
        put(&mut key.bytes, 0, self.client_id.to_le_bytes());
        key
    }

    /// Reads a key; none when it is too short.
    #[must_use]
    pub fn decode(key: &[u8]) -> Option<Self> {
        Some(Self { client_id: i64_at(key, 0)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_a_round_trip_with_rubbish_behind_them() {
        let channel = "aeron:udp?endpoint=localhost:40123";
        let stream = StreamKey {
            registration_id: -7,
            session_id: SessionId(3),
            stream_id: StreamId(10),
            channel,
        };
        let mut bytes = [0xFF; KEY_LENGTH_MAX];
        let key = stream.encode();
        bytes[..key.as_bytes().len()].copy_from_slice(key.as_bytes());
        assert_eq!(StreamKey::decode(&bytes), Some(stream));
        let key = LocalAddressKey { channel_status_id: 4, address: "127.0.0.1:5" }.encode();
        assert_eq!(LocalAddressKey::decode(key.as_bytes()).unwrap().address, "127.0.0.1:5");
        let key = ChannelKey { channel }.encode();
        assert_eq!(ChannelKey::decode(key.as_bytes()), Some(ChannelKey { channel }));
        let heartbeat = ClientHeartbeatKey { client_id: 99 };
        assert_eq!(ClientHeartbeatKey::decode(heartbeat.encode().as_bytes()), Some(heartbeat));
    }

    #[test]
    fn long_channels_are_cut_to_the_key() {
        let bytes = [b'x'; 500];
        let long = core::str::from_utf8(&bytes).unwrap();
        let key = StreamKey {
            registration_id: 1,
            session_id: SessionId(2),
            stream_id: StreamId(3),
            channel: long,
        }
        .encode();
        assert_eq!(key.as_bytes().len(), KEY_LENGTH_MAX);
        assert_eq!(StreamKey::decode(key.as_bytes()).unwrap().channel.len(), 92);
    }

    #[test]
    fn a_key_cut_anywhere_is_no_key() {
        let key = StreamKey {
            registration_id: 1,
            session_id: SessionId(2),
            stream_id: StreamId(3),
            channel: "aeron:ipc",
        }
        .encode();
        for length in 0..key.as_bytes().len() {
            assert_eq!(StreamKey::decode(&key.as_bytes()[..length]), None);
        }
    }
}
