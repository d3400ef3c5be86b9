//! Channel URIs: `[aeron-spy:]aeron:udp|ipc[?key=value[|key=value]...]`.
//!
//! [`ChannelUri`] is the parsed text: it keeps parameters in their order, unknown ones included,
//! and prints them again. What a parameter means is asked by typed accessors, whose errors name the
//! key and the value. Which parameters go together is the driver's to judge, not known here.

mod address;
mod flow;
mod values;

pub use address::{HostPort, Interface};
pub use flow::FlowControl;
pub use values::{
    ControlMode, Group, InitialPosition, ResponseCorrelation, SessionIdParameter, Tags,
    TimestampOffset, parse_duration_ns, parse_size,
};

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;
use thiserror::Error;

/// Longest URI that a driver takes, in characters.
pub const URI_LENGTH_MAX: usize = 4095;

/// What comes before a URI that subscribes to a local publication.
const SPY_PREFIX: &str = "aeron-spy:";
const SCHEME: &str = "aeron:";

/// Names of parameters.
pub mod key {
    /// Remote address of a publication, bound address of a subscription.
    pub const ENDPOINT: &str = "endpoint";
    /// Selects the local interface.
    pub const INTERFACE: &str = "interface";
    /// Address for status messages and NAKs.
    pub const CONTROL: &str = "control";
    /// How destinations are found.
    pub const CONTROL_MODE: &str = "control-mode";
    /// Longest datagram.
    pub const MTU: &str = "mtu";
    /// Length of a term.
    pub const TERM_LENGTH: &str = "term-length";
    /// First term of the stream.
    pub const INITIAL_TERM_ID: &str = "init-term-id";
    /// Term where a publication begins.
    pub const TERM_ID: &str = "term-id";
    /// Offset where a publication begins.
    pub const TERM_OFFSET: &str = "term-offset";
    /// Session, or the entity tag of the publication to take it from.
    pub const SESSION_ID: &str = "session-id";
    /// How long a drained publication stays.
    pub const LINGER: &str = "linger";
    /// Multicast time to live.
    pub const TTL: &str = "ttl";
    /// Whether losses are repaired.
    pub const RELIABLE: &str = "reliable";
    /// Whether the log's file is sparse.
    pub const SPARSE: &str = "sparse";
    /// Whether the end of a stream is signalled.
    pub const EOS: &str = "eos";
    /// Whether a subscriber holds back the flow.
    pub const TETHER: &str = "tether";
    /// Whether an image may be joined again.
    pub const REJOIN: &str = "rejoin";
    /// Whether many receivers are expected.
    pub const GROUP: &str = "group";
    /// Group of a receiver.
    pub const GROUP_TAG: &str = "gtag";
    /// Flow control.
    pub const FLOW_CONTROL: &str = "fc";
    /// Congestion control.
    pub const CONGESTION_CONTROL: &str = "cc";
    /// Whether spies count as connections.
    pub const SPIES_SIMULATE_CONNECTION: &str = "ssc";
    /// Send buffer of the socket.
    pub const SOCKET_SNDBUF: &str = "so-sndbuf";
    /// Receive buffer of the socket.
    pub const SOCKET_RCVBUF: &str = "so-rcvbuf";
    /// Window of a receiver.
    pub const RECEIVER_WINDOW: &str = "rcv-wnd";
    /// Window of a publication.
    pub const PUBLICATION_WINDOW: &str = "pub-wnd";
    /// How long a receiver waits before it asks again.
    pub const NAK_DELAY: &str = "nak-delay";
    /// Slots for re-sends.
    pub const MAX_RESEND: &str = "max-resend";
    /// How long an untethered subscriber may be behind.
    pub const UNTETHERED_WINDOW_LIMIT_TIMEOUT: &str = "untethered-window-limit-timeout";
    /// How long such a subscriber still counts.
    pub const UNTETHERED_LINGER_TIMEOUT: &str = "untethered-linger-timeout";
    /// How long it then rests.
    pub const UNTETHERED_RESTING_TIMEOUT: &str = "untethered-resting-timeout";
    /// A free label.
    pub const ALIAS: &str = "alias";
    /// Tag of the channel and tag of the publication or subscription.
    pub const TAGS: &str = "tags";
    /// Endpoint for answers; for layers above the driver.
    pub const RESPONSE_ENDPOINT: &str = "response-endpoint";
    /// Links a publication to what it asks or answers.
    pub const RESPONSE_CORRELATION_ID: &str = "response-correlation-id";
    /// Must equal the stream id of the command.
    pub const STREAM_ID: &str = "stream-id";
    /// Where the time of reception by the card is put.
    pub const MEDIA_RECEIVE_TIMESTAMP_OFFSET: &str = "media-rcv-ts-offset";
    /// Where the time of reception by the driver is put.
    pub const CHANNEL_RECEIVE_TIMESTAMP_OFFSET: &str = "channel-rcv-ts-offset";
    /// Where the time of sending is put.
    pub const CHANNEL_SEND_TIMESTAMP_OFFSET: &str = "channel-snd-ts-offset";
    /// Transport security; commercial.
    pub const ATS: &str = "ats";
}

/// How frames travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Media {
    /// Over the network.
    Udp,
    /// Through memory of this host.
    Ipc,
}

/// Why a text is no channel, or a parameter has no meaning.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UriError {
    /// Longer than [`URI_LENGTH_MAX`].
    #[error("channel of {length} characters exceeds the maximum of {URI_LENGTH_MAX}")]
    TooLong {
        /// Characters there are.
        length: usize,
    },
    /// Does not begin with `aeron:`.
    #[error("channel does not begin with \"aeron:\": {uri}")]
    Scheme {
        /// The text.
        uri: String,
    },
    /// Neither `udp` nor `ipc`.
    #[error("channel has unknown media \"{media}\"")]
    Media {
        /// The media.
        media: String,
    },
    /// A parameter without a name or without `=`.
    #[error("channel parameter is not of the form key=value: \"{parameter}\"")]
    Parameter {
        /// The parameter.
        parameter: String,
    },
    /// A value that its parameter cannot have.
    #[error("channel parameter {key}={value} is not {expected}")]
    Value {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
    /// Parameters that only make sense together.
    #[error("channel parameters init-term-id, term-id and term-offset must be given together")]
    IncompletePosition,
}

/// A channel URI: media and parameters.
///
/// Two are equal when they print the same text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelUri {
    is_spy: bool,
    media: Media,
    parameters: Vec<(String, String)>,
}

impl ChannelUri {
    /// A channel without parameters.
    #[must_use]
    pub const fn new(media: Media) -> Self {
        Self { is_spy: false, media, parameters: Vec::new() }
    }

    /// Parses a channel. Of parameters given twice the last counts, in the place of the first.
    ///
    /// # Errors
    /// A text that has not the form of a channel; values are not looked at.
    pub fn parse(text: &str) -> Result<Self, UriError> {
        if text.len() > URI_LENGTH_MAX {
            return Err(UriError::TooLong { length: text.len() });
        }
        let behind_spy = text.strip_prefix(SPY_PREFIX);
        let Some(rest) = behind_spy.unwrap_or(text).strip_prefix(SCHEME) else {
            return Err(UriError::Scheme { uri: text.to_string() });
        };
        let (media, parameters) = match rest.split_once('?') {
            Some((media, parameters)) => (media, Some(parameters)),
            None => (rest, None),
        };
        let media = match media {
            "udp" => Media::Udp,
            "ipc" => Media::Ipc,
            _ => return Err(UriError::Media { media: media.to_string() }),
        };
        let mut uri = Self { is_spy: behind_spy.is_some(), media, parameters: Vec::new() };
        for parameter in parameters.into_iter().flat_map(|all| all.split('|')) {
            match parameter.split_once('=') {
                Some((key, value)) if !key.is_empty() => uri.set(key, value),
                _ => return Err(UriError::Parameter { parameter: parameter.to_string() }),
            }
        }
        Ok(uri)
    }

    /// Whether this subscribes to a publication of the same driver.
    #[must_use]
    pub const fn is_spy(&self) -> bool {
        self.is_spy
    }

    /// How frames travel.
    #[must_use]
    pub const fn media(&self) -> Media {
        self.media
    }

    /// Whether the media is UDP.
    #[must_use]
    pub const fn is_udp(&self) -> bool {
        matches!(self.media, Media::Udp)
    }

    /// Whether the media is IPC.
    #[must_use]
    pub const fn is_ipc(&self) -> bool {
        matches!(self.media, Media::Ipc)
    }

    /// Text of a parameter.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        self.parameters.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Whether a parameter is given.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// All parameters in their order.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parameters.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Sets a parameter; one that is there keeps its place.
    ///
    /// Neither key nor value may contain `|`, nor the key `=`: the text would read differently.
    pub fn set(&mut self, key: &str, value: impl fmt::Display) {
        let value = value.to_string();
        match self.parameters.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = value,
            None => self.parameters.push((key.to_string(), value)),
        }
    }

    /// Removes a parameter and returns its text.
    pub fn remove(&mut self, key: &str) -> Option<String> {
        let index = self.parameters.iter().position(|(name, _)| name == key)?;
        Some(self.parameters.remove(index).1)
    }

    /// The same channel with a parameter set.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl fmt::Display) -> Self {
        self.set(key, value);
        self
    }

    /// The same channel without a parameter.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        self.remove(key);
        self
    }

    /// The same channel as a spy.
    #[must_use]
    pub const fn spy(mut self) -> Self {
        self.is_spy = true;
        self
    }
}

impl FromStr for ChannelUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        Self::parse(text)
    }
}

impl fmt::Display for ChannelUri {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spy = if self.is_spy { SPY_PREFIX } else { "" };
        let media = match self.media {
            Media::Udp => "udp",
            Media::Ipc => "ipc",
        };
        write!(formatter, "{spy}{SCHEME}{media}")?;
        for (index, (key, value)) in self.parameters.iter().enumerate() {
            let separator = if index == 0 { '?' } else { '|' };
            write!(formatter, "{separator}{key}={value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
