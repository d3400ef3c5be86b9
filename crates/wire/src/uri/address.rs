//! Addresses in parameters: `host:port` and interfaces. Names are resolved elsewhere.

use super::{ChannelUri, UriError, key};
use core::fmt;

/// `host:port`; an IPv6 address stands in brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostPort<'a> {
    /// Name or address, without brackets.
    pub host: &'a str,
    /// Port, 0 for any.
    pub port: u16,
    /// Whether the host stood in brackets, so that it is an IPv6 address.
    pub is_bracketed: bool,
}

impl<'a> HostPort<'a> {
    /// Parses `host:port`; none when there is no host or no port.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let (host, port, is_bracketed) = split_host(text)?;
        Some(Self { host, port: port?, is_bracketed })
    }
}

impl fmt::Display for HostPort<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_bracketed {
            true => write!(formatter, "[{}]:{}", self.host, self.port),
            false => write!(formatter, "{}:{}", self.host, self.port),
        }
    }
}

/// Host without brackets, port, and whether there were brackets.
fn split_host(text: &str) -> Option<(&str, Option<u16>, bool)> {
    let (host, rest, is_bracketed) = match text.strip_prefix('[') {
        Some(inner) => {
            let (host, rest) = inner.split_once(']')?;
            (host, rest, true)
        }
        None => {
            let end = text.find(':').unwrap_or(text.len());
            (&text[..end], &text[end..], false)
        }
    };
    if host.is_empty() {
        return None;
    }
    let port = match rest.strip_prefix(':') {
        // A sign is no part of a port.
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => Some(port.parse().ok()?),
        Some(_) => return None,
        None if rest.is_empty() => None,
        None => return None,
    };
    Some((host, port, is_bracketed))
}

/// Which local interface to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface<'a> {
    /// The one with this name: `{name}`.
    Named(&'a str),
    /// The one whose address is equal in the first bits: `address[:port][/prefix]`.
    Matching {
        /// Address or name.
        host: &'a str,
        /// Port to bind, 0 for any.
        port: u16,
        /// How many bits count; all of them when there is no prefix.
        prefix_length: Option<u8>,
    },
}

impl<'a> Interface<'a> {
    /// Parses an interface; none when it has not one of the two forms.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        if let Some(inner) = text.strip_prefix('{') {
            let name = inner.strip_suffix('}').filter(|name| !name.is_empty())?;
            return Some(Self::Named(name));
        }
        let (address, prefix_length) = match text.split_once('/') {
            Some((address, prefix)) => {
                (address, Some(prefix.parse().ok().filter(|&bits| bits <= 128)?))
            }
            None => (text, None),
        };
        let (host, port, _) = split_host(address)?;
        Some(Self::Matching { host, port: port.unwrap_or(0), prefix_length })
    }
}

impl ChannelUri {
    /// The endpoint, if given.
    ///
    /// # Errors
    /// Not of the form `host:port`.
    pub fn endpoint(&self) -> Result<Option<HostPort<'_>>, UriError> {
        self.host_port(key::ENDPOINT)
    }

    /// The control address, if given.
    ///
    /// # Errors
    /// Not of the form `host:port`.
    pub fn control(&self) -> Result<Option<HostPort<'_>>, UriError> {
        self.host_port(key::CONTROL)
    }

    /// The interface, if given.
    ///
    /// # Errors
    /// Neither `{name}` nor `address[:port][/prefix]`.
    pub fn interface(&self) -> Result<Option<Interface<'_>>, UriError> {
        let interface = self.value(key::INTERFACE).and_then(Interface::parse);
        let expected = "{name} or address[:port][/prefix]";
        self.parsed(key::INTERFACE, expected, |_| interface)
    }

    fn host_port(&self, key: &str) -> Result<Option<HostPort<'_>>, UriError> {
        let address = self.value(key).and_then(HostPort::parse);
        self.parsed(key, "host:port", |_| address)
    }
}
