//! Channel texts: what of them identifies a stream, and what a recording keeps.
//!
//! Order and choice of parameters follow the archive specification 4.1 and 4.2, since both texts
//! are matched byte by byte by clients and tools.

use std::fmt::Write;

use wire::uri::{ChannelUri, Media, UriError, key};

/// Parameters that a recording keeps, in the order in which they are written.
const KEPT: &[&str] = &[
    "tags",
    "endpoint",
    "interface",
    "control",
    "control-mode",
    "session-id",
    "ttl",
    "alias",
    "cc",
    "fc",
    "gtag",
    "tether",
    "group",
    "rejoin",
    "so-sndbuf",
    "so-rcvbuf",
    "rcv-wnd",
    "media-rcv-ts-offset",
    "channel-rcv-ts-offset",
    "channel-snd-ts-offset",
    "response-endpoint",
    "response-correlation-id",
    "stream-id",
];

/// The same with those that an archive sets for its own publications.
const WRITTEN: &[&str] = &[
    "tags",
    "endpoint",
    "interface",
    "control",
    "control-mode",
    "mtu",
    "term-length",
    "init-term-id",
    "term-id",
    "term-offset",
    "session-id",
    "ttl",
    "linger",
    "alias",
    "cc",
    "fc",
    "gtag",
    "sparse",
    "eos",
    "tether",
    "group",
    "rejoin",
    "so-sndbuf",
    "so-rcvbuf",
    "rcv-wnd",
    "media-rcv-ts-offset",
    "channel-rcv-ts-offset",
    "channel-snd-ts-offset",
    "response-endpoint",
    "response-correlation-id",
    "stream-id",
];

/// Takes a channel text apart.
///
/// # Errors
/// It is not a channel, or not UTF-8.
pub(crate) fn parse(text: &[u8]) -> Result<ChannelUri, UriError> {
    ChannelUri::parse(&String::from_utf8_lossy(text))
}

/// The text of what identifies a stream to a recording.
pub(crate) fn stripped(channel: &ChannelUri) -> String {
    text(channel, KEPT)
}

/// The channel with only what a recording keeps of it, to which more may be set.
pub(crate) fn strip(channel: &ChannelUri) -> ChannelUri {
    let new = |media| {
        if channel.is_spy() { ChannelUri::new(media).spy() } else { ChannelUri::new(media) }
    };
    let kept = channel.parameters().filter(|(name, _)| KEPT.contains(name));
    kept.fold(new(channel.media()), |stripped, (name, value)| stripped.with(name, value))
}

/// The whole text, its parameters in the order of genuine Aeron; others are dropped.
pub(crate) fn to_text(channel: &ChannelUri) -> String {
    text(channel, WRITTEN)
}

/// Sets a parameter unless it is there.
pub(crate) fn set_default(channel: &mut ChannelUri, key: &str, value: impl std::fmt::Display) {
    if !channel.has(key) {
        channel.set(key, value);
    }
}

/// Whether its publications answer those who asked.
pub(crate) fn is_response(channel: &ChannelUri) -> bool {
    channel.value(key::CONTROL_MODE) == Some("response")
}

/// What two recording subscriptions must not share.
pub(crate) fn subscription_key(channel: &ChannelUri, stream_id: i32) -> String {
    let mut text = format!("{stream_id}:{}", media(channel));
    append(
        &mut text,
        channel,
        &[key::ENDPOINT, key::INTERFACE, key::CONTROL, key::SESSION_ID, key::TAGS],
    );
    text
}

fn text(channel: &ChannelUri, keys: &[&str]) -> String {
    let prefix = if channel.is_spy() { "aeron-spy:" } else { "" };
    let mut text = format!("{prefix}aeron:{}", media(channel));
    append(&mut text, channel, keys);
    text
}

fn append(text: &mut String, channel: &ChannelUri, keys: &[&str]) {
    let mut separator = '?';
    for name in keys {
        if let Some(value) = channel.value(name) {
            let _ = write!(text, "{separator}{name}={value}");
            separator = '|';
        }
    }
}

fn media(channel: &ChannelUri) -> &'static str {
    match channel.media() {
        Media::Udp => "udp",
        Media::Ipc => "ipc",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ChannelUri {
        super::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_recording_keeps_what_identifies_its_stream_in_the_genuine_order() {
        let channel = parse("aeron:ipc?term-length=64k|alias=xyz|mtu=1408");
        assert_eq!(stripped(&channel), "aeron:ipc?alias=xyz");
        let channel = parse("aeron:udp?reliable=false|session-id=7|linger=0|endpoint=a:1|tags=3");
        assert_eq!(stripped(&channel), "aeron:udp?tags=3|endpoint=a:1|session-id=7");
    }

    #[test]
    fn parameters_that_are_set_are_written_where_genuine_aeron_writes_them() {
        let mut channel = strip(&parse("aeron:udp?endpoint=a:1|alias=x|term-length=1m"));
        channel.set("term-length", "65536");
        set_default(&mut channel, "alias", "y");
        channel.set("sparse", "true");
        assert_eq!(
            to_text(&channel),
            "aeron:udp?endpoint=a:1|term-length=65536|alias=x|sparse=true"
        );
    }

    #[test]
    fn the_key_ignores_what_does_not_tell_streams_apart() {
        assert_eq!(subscription_key(&parse("aeron:ipc?alias=x"), 33), "33:ipc");
        assert_eq!(
            subscription_key(&parse("aeron:udp?session-id=1|endpoint=a:1"), 3),
            "3:udp?endpoint=a:1|session-id=1"
        );
    }

    #[test]
    fn texts_that_are_no_channels_are_refused() {
        for text in ["", "udp", "aeron:tcp", "aeron:udp?endpoint", "aeron:udp?=1", "aeron-spy:udp"]
        {
            assert!(super::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert_eq!(
            to_text(&parse("aeron-spy:aeron:udp?endpoint=a:1")),
            "aeron-spy:aeron:udp?endpoint=a:1"
        );
    }
}
