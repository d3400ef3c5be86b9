//! UDP channels with their addresses.
//!
//! A channel is resolved against the host's interfaces and the names known so far; a name that is
//! not known is reported, and the caller comes back once it is (docs/udp.md, "Addressing").

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use runtime::network::Interface;

use super::{Channel, ControlMode, UdpParameters};
use crate::refusal::Refusal;

/// What resolving needs to know of the host.
pub(crate) struct Surroundings<'a> {
    pub(crate) interfaces: &'a [Interface],
    pub(crate) names: &'a BTreeMap<String, IpAddr>,
}

/// Why a channel could not be resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ResolveError {
    /// This host name has to be looked up first.
    UnknownName(String),
    /// It never will.
    Refused(Refusal),
}

impl From<Refusal> for ResolveError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// A UDP channel whose addresses are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UdpChannel {
    pub(crate) text: String,
    pub(crate) parameters: UdpParameters,
    pub(crate) tag: Option<i64>,
    /// The endpoint, if one is given.
    pub(crate) endpoint: Option<SocketAddr>,
    /// The explicit control address, if one is given.
    pub(crate) control: Option<SocketAddr>,
    /// Where sockets without a better address are bound.
    pub(crate) local: SocketAddr,
    /// The interface of a multicast channel.
    pub(crate) interface: Option<IpAddr>,
    /// Channels that are equal in it share an endpoint; `None` when it shares with nobody but by
    /// tag.
    pub(crate) canonical: Option<String>,
}

impl UdpChannel {
    /// Resolves a channel. A destination may name port 0 and still have a canonical form.
    pub(crate) fn resolve(
        channel: &Channel<'_>,
        tag: Option<i64>,
        around: &Surroundings<'_>,
    ) -> Result<Self, ResolveError> {
        let parameters = channel.udp()?;
        let address = |text: &Option<String>| match text {
            None => Ok(None),
            Some(text) => around.address(text).map(Some),
        };
        let endpoint = address(&parameters.endpoint)?;
        let control = address(&parameters.control)?;
        let is_v6 = endpoint.or(control).is_some_and(|address| address.is_ipv6());
        let is_multicast = endpoint.is_some_and(|address| address.ip().is_multicast());
        if is_multicast && endpoint.is_some_and(|address| last_byte(address.ip()).is_multiple_of(2))
        {
            return Err(Refusal::channel("multicast data address must be odd").into());
        }
        let local = match &parameters.interface {
            Some(text) => around.interface(text, is_v6)?,
            None if is_multicast => SocketAddr::new(around.multicast_interface(is_v6), 0),
            None => SocketAddr::new(wildcard(is_v6), 0),
        };
        let mut resolved = Self {
            text: channel.text().to_string(),
            tag,
            endpoint,
            control,
            local,
            interface: is_multicast.then_some(local.ip()).filter(|ip| !ip.is_unspecified()),
            canonical: None,
            parameters,
        };
        resolved.canonical = resolved.canonical_form();
        Ok(resolved)
    }

    fn canonical_form(&self) -> Option<String> {
        let parameters = &self.parameters;
        let has_wildcard_port =
            [self.endpoint, self.control].iter().flatten().any(|address| address.port() == 0);
        if has_wildcard_port || (self.endpoint.is_none() && self.control.is_none()) {
            return None;
        }
        let local = match (&parameters.control, self.is_multicast()) {
            (Some(text), false) => text.clone(),
            _ => self.local.to_string(),
        };
        let remote = match (&parameters.endpoint, self.endpoint) {
            (Some(_), Some(address)) if self.is_multicast() => address.to_string(),
            (Some(text), _) => text.clone(),
            (None, _) => SocketAddr::new(wildcard(self.is_v6()), 0).to_string(),
        };
        Some(format!("UDP-{local}-{remote}"))
    }

    pub(crate) fn is_v6(&self) -> bool {
        self.endpoint.or(self.control).unwrap_or(self.local).is_ipv6()
    }

    pub(crate) fn is_multicast(&self) -> bool {
        self.endpoint.is_some_and(|address| address.ip().is_multicast())
    }

    pub(crate) fn control_mode(&self) -> ControlMode {
        self.parameters.control_mode
    }

    pub(crate) fn is_multi_destination(&self) -> bool {
        self.control_mode().is_multi_destination()
    }

    /// Where a sender of a multicast channel hears its receivers: the data group plus one.
    pub(crate) fn multicast_control(&self) -> Option<SocketAddr> {
        let data = self.endpoint.filter(|address| address.ip().is_multicast())?;
        Some(SocketAddr::new(next_address(data.ip()), data.port()))
    }

    /// The wildcard address of this channel's family.
    pub(crate) fn wildcard(&self) -> IpAddr {
        wildcard(self.is_v6())
    }

    /// Whether it has nothing but a tag to be found by.
    pub(crate) fn is_tag_only(&self) -> bool {
        self.tag.is_some()
            && self.endpoint.is_none()
            && self.control.is_none()
            && self.control_mode() == ControlMode::None
    }
}

impl Surroundings<'_> {
    /// The address that `host:port` stands for.
    pub(crate) fn address(&self, text: &str) -> Result<SocketAddr, ResolveError> {
        let wrong = || Refusal::channel(format!("address must be host:port: {text}"));
        let (host, port) = split_host_port(text).ok_or_else(wrong)?;
        let port = port.ok_or_else(wrong)?;
        Ok(SocketAddr::new(self.host(host)?, port))
    }

    fn host(&self, host: &str) -> Result<IpAddr, ResolveError> {
        if let Ok(address) = host.parse() {
            return Ok(address);
        }
        if host == "localhost" {
            return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        let known = self.names.get(host).copied();
        known.ok_or_else(|| ResolveError::UnknownName(host.to_string()))
    }

    /// The local address that `interface=` selects: the longest match in the prefix bits.
    fn interface(&self, text: &str, is_v6: bool) -> Result<SocketAddr, ResolveError> {
        let unmatched = || Refusal::channel(format!("no interface matches {text}"));
        if let Some(name) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            let named = self
                .interfaces
                .iter()
                .find(|interface| interface.name == name && interface.address.is_ipv6() == is_v6);
            let address = named.ok_or_else(unmatched)?.address;
            return Ok(SocketAddr::new(address, 0));
        }
        let (address_text, prefix) = match text.split_once('/') {
            None => (text, None),
            Some((address, prefix)) => {
                (address, Some(prefix.parse::<u8>().map_err(|_| unmatched())?))
            }
        };
        let (host, port) = split_host_port(address_text).ok_or_else(unmatched)?;
        let wanted = self.host(host)?;
        let port = port.unwrap_or(0);
        if wanted.is_unspecified() {
            return Ok(SocketAddr::new(wanted, port));
        }
        let bits = prefix.unwrap_or_else(|| if wanted.is_ipv6() { 128 } else { 32 });
        let matching = self
            .interfaces
            .iter()
            .filter(|interface| matches_prefix(wanted, interface.address, bits))
            .max_by_key(|interface| interface.prefix_length);
        Ok(SocketAddr::new(matching.ok_or_else(unmatched)?.address, port))
    }

    fn multicast_interface(&self, is_v6: bool) -> IpAddr {
        let usable =
            || self.interfaces.iter().filter(|interface| interface.address.is_ipv6() == is_v6);
        let chosen = usable()
            .find(|interface| interface.is_multicast && interface.is_loopback)
            .or_else(|| usable().find(|interface| interface.is_multicast))
            .or_else(|| usable().find(|interface| interface.is_loopback));
        chosen.map_or_else(|| wildcard(is_v6), |interface| interface.address)
    }
}

/// Splits `host:port`, `[v6]:port`, `host` or `[v6]`.
fn split_host_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?,
        None => text.split_once(':').map_or((text, ""), |(host, _)| (host, &text[host.len()..])),
    };
    if host.is_empty() {
        return None;
    }
    match rest.strip_prefix(':') {
        Some(port) => Some((host, Some(port.parse().ok()?))),
        None if rest.is_empty() => Some((host, None)),
        None => None,
    }
}

const fn wildcard(is_v6: bool) -> IpAddr {
    if is_v6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) }
}

fn last_byte(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(address) => address.octets()[15],
    }
}

fn next_address(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => IpAddr::V4(Ipv4Addr::from_bits(address.to_bits().wrapping_add(1))),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits().wrapping_add(1))),
    }
}

fn matches_prefix(wanted: IpAddr, address: IpAddr, bits: u8) -> bool {
    match (wanted, address) {
        (IpAddr::V4(wanted), IpAddr::V4(address)) => {
            let shift = 32 - u32::from(bits.min(32));
            wanted.to_bits().checked_shr(shift) == address.to_bits().checked_shr(shift)
        }
        (IpAddr::V6(wanted), IpAddr::V6(address)) => {
            let shift = 128 - u32::from(bits.min(128));
            wanted.to_bits().checked_shr(shift) == address.to_bits().checked_shr(shift)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::control::ErrorCode;

    fn interfaces() -> Vec<Interface> {
        let interface = |name: &str, address: &str, prefix_length, is_loopback| Interface {
            name: name.to_string(),
            address: address.parse().unwrap(),
            prefix_length,
            is_loopback,
            is_multicast: true,
        };
        vec![
            interface("lo", "127.0.0.1", 8, true),
            interface("lo", "::1", 128, true),
            interface("eth0", "10.1.2.3", 24, false),
        ]
    }

    fn resolve(text: &str) -> Result<UdpChannel, ResolveError> {
        let names = BTreeMap::from([("there".to_string(), "10.9.9.9".parse().unwrap())]);
        let interfaces = interfaces();
        let around = Surroundings { interfaces: &interfaces, names: &names };
        UdpChannel::resolve(&Channel::parse(text).unwrap(), None, &around)
    }

    #[test]
    fn addresses_are_literal_or_looked_up() {
        let endpoint = |text: &str| resolve(text).unwrap().endpoint.unwrap().to_string();
        assert_eq!(endpoint("aeron:udp?endpoint=127.0.0.1:4000"), "127.0.0.1:4000");
        assert_eq!(endpoint("aeron:udp?endpoint=localhost:1"), "127.0.0.1:1");
        assert_eq!(endpoint("aeron:udp?endpoint=[::1]:4000"), "[::1]:4000");
        assert_eq!(endpoint("aeron:udp?endpoint=there:7"), "10.9.9.9:7");
        let unknown = resolve("aeron:udp?endpoint=elsewhere:7").unwrap_err();
        assert_eq!(unknown, ResolveError::UnknownName("elsewhere".to_string()));
        for wrong in ["127.0.0.1", "127.0.0.1:70000", ":1", "[::1]x:1"] {
            let error = resolve(&format!("aeron:udp?endpoint={wrong}")).unwrap_err();
            let ResolveError::Refused(refusal) = error else { panic!("{wrong}: {error:?}") };
            assert_eq!(refusal.code, ErrorCode::INVALID_CHANNEL);
        }
    }

    #[test]
    fn channels_with_the_same_texts_share_a_canonical_form_and_wildcards_share_with_nobody() {
        let canonical = |text: &str| resolve(text).unwrap().canonical;
        let plain = canonical("aeron:udp?endpoint=127.0.0.1:4000");
        assert_eq!(plain.as_deref(), Some("UDP-0.0.0.0:0-127.0.0.1:4000"));
        assert_eq!(canonical("aeron:udp?endpoint=127.0.0.1:4000|mtu=4096"), plain);
        assert_ne!(canonical("aeron:udp?endpoint=localhost:4000"), plain);
        assert_eq!(canonical("aeron:udp?endpoint=127.0.0.1:0"), None);
        assert_eq!(canonical("aeron:udp?control-mode=manual"), None);
    }

    #[test]
    fn interfaces_match_by_prefix_or_name() {
        let local = |text: &str| {
            resolve(&format!("aeron:udp?endpoint=10.9.9.9:1|interface={text}"))
                .map(|channel| channel.local.to_string())
        };
        assert_eq!(local("10.1.2.0/24").unwrap(), "10.1.2.3:0");
        assert_eq!(local("10.1.2.3:777").unwrap(), "10.1.2.3:777");
        assert_eq!(local("{eth0}").unwrap(), "10.1.2.3:0");
        assert_eq!(local("0.0.0.0:5").unwrap(), "0.0.0.0:5");
        for wrong in ["10.1.2.4", "{eth9}", "10.1.2.0/x"] {
            assert!(matches!(local(wrong), Err(ResolveError::Refused(_))), "{wrong}");
        }
    }

    #[test]
    fn multicast_data_is_odd_and_control_is_the_next_address() {
        let channel = resolve("aeron:udp?endpoint=224.0.1.1:4000").unwrap();
        assert!(channel.is_multicast());
        assert_eq!(channel.multicast_control().unwrap().to_string(), "224.0.1.2:4000");
        assert_eq!(channel.interface.unwrap().to_string(), "127.0.0.1");
        assert!(resolve("aeron:udp?endpoint=224.0.1.2:4000").is_err());
    }
}
