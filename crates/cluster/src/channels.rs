//! The channels that the module makes out of the configured ones (source: cluster page 2.3, 2.5
//! and 3.8).

use wire::position::{Position, SessionId, TermId};
use wire::uri::{ChannelUri, UriError, key};

use crate::members::ClusterMember;

/// What a log publication continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEnd {
    /// First term of the recording.
    pub initial_term_id: TermId,
    /// Its term length, a power of two.
    pub term_length: i32,
    /// Its longest datagram.
    pub mtu_length: i32,
    /// Where it goes on.
    pub position: Position,
}

/// The two tags by which a log's channel and stream are found again on the same driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tags {
    /// Of the channel.
    pub channel: i64,
    /// Of the publication or subscription.
    pub stream: i64,
}

/// Where a member hears its peers.
#[must_use]
pub fn consensus_subscription(channel: &ChannelUri, own: &ClusterMember) -> ChannelUri {
    with_endpoint(channel, &own.consensus)
}

/// Where a member speaks to a peer; `binds_source` makes it do so from its own address.
#[must_use]
pub fn consensus_publication(
    channel: &ChannelUri,
    own: &ClusterMember,
    peer: &ClusterMember,
    binds_source: bool,
) -> ChannelUri {
    let uri = channel.clone().with(key::ENDPOINT, &peer.consensus);
    if binds_source { uri.with(key::CONTROL, any_port(&own.consensus)) } else { uri }
}

/// Where a member hears its clients. A client that loses its image is never taken on again.
#[must_use]
pub fn ingress_subscription(channel: &ChannelUri, own: &ClusterMember) -> ChannelUri {
    with_endpoint(channel, &own.ingress).with(key::REJOIN, false).with(key::RELIABLE, true)
}

/// Whether only a leader hears clients: all members share one ingress endpoint.
#[must_use]
pub fn is_ingress_shared(channel: &ChannelUri) -> bool {
    channel.has(key::ENDPOINT)
}

/// A destination of a channel: its media, the endpoint, its interface and nothing else.
#[must_use]
pub fn destination(channel: &ChannelUri, endpoint: &str) -> ChannelUri {
    let uri = ChannelUri::new(channel.media()).with(key::ENDPOINT, endpoint);
    match channel.value(key::INTERFACE) {
        Some(interface) => uri.with(key::INTERFACE, interface),
        None => uri,
    }
}

/// Whether the leader sends the log to each member by itself.
#[must_use]
pub fn is_log_multi_destination(channel: &ChannelUri) -> bool {
    channel.is_udp() && !channel.has(key::ENDPOINT)
}

/// Whether a channel may be that of the log: its position is not for the configuration to say.
#[must_use]
pub fn is_log_channel(channel: &ChannelUri) -> bool {
    ![key::INITIAL_TERM_ID, key::TERM_ID, key::TERM_OFFSET].iter().any(|key| channel.has(key))
}

/// The publication of the log by the leader. Without an end the log begins, at the same place
/// whoever begins it.
#[must_use]
pub fn log_publication(
    channel: &ChannelUri,
    own: &ClusterMember,
    tags: Tags,
    end: Option<LogEnd>,
    is_alone: bool,
    binds_source: bool,
) -> ChannelUri {
    let mut uri = channel.clone().with(key::ALIAS, "log").with(key::TAGS, text(tags));
    if channel.is_udp() {
        uri.set(key::SPIES_SIMULATE_CONNECTION, is_alone);
    }
    if is_log_multi_destination(channel) {
        uri.set(key::CONTROL_MODE, "manual");
        if binds_source {
            uri.set(key::CONTROL, any_port(&own.log));
        }
    }
    let (initial, term, offset) = match end {
        None => (0, 0, 0),
        Some(end) => {
            uri.set(key::TERM_LENGTH, end.term_length);
            uri.set(key::MTU, end.mtu_length);
            let bits = end.term_length.trailing_zeros();
            let term = end.position.term_id(bits, end.initial_term_id);
            (end.initial_term_id.0, term.0, end.position.term_offset(end.term_length))
        }
    };
    uri.with(key::INITIAL_TERM_ID, initial).with(key::TERM_ID, term).with(key::TERM_OFFSET, offset)
}

/// What the leader's archive records: its own publication. Its services spy on the same.
#[must_use]
pub fn log_recording(channel: &ChannelUri, tags: Tags, session: SessionId) -> ChannelUri {
    ChannelUri::new(channel.media())
        .with(key::TAGS, tags.channel)
        .with(key::SESSION_ID, session.0)
        .with(key::ALIAS, "log")
}

/// What the leader's services subscribe to.
#[must_use]
pub fn log_for_leading_services(
    channel: &ChannelUri,
    tags: Tags,
    session: SessionId,
) -> ChannelUri {
    let recording = log_recording(channel, tags, session);
    if channel.is_udp() { recording.spy() } else { recording }
}

/// A follower's subscription of the log: module, services and archive share its image by the tags.
/// Where it receives from is added later.
#[must_use]
pub fn log_subscription(channel: &ChannelUri, tags: Tags, session: SessionId) -> ChannelUri {
    let mut uri = ChannelUri::new(channel.media())
        .with(key::TAGS, text(tags))
        .with(key::CONTROL_MODE, "manual")
        .with(key::SESSION_ID, session.0)
        .with(key::GROUP, true)
        .with(key::REJOIN, false)
        .with(key::ALIAS, "log-cm");
    for copied in [key::SOCKET_RCVBUF, key::RECEIVER_WINDOW] {
        if let Some(value) = channel.value(copied) {
            uri.set(copied, value);
        }
    }
    uri
}

/// Where a follower receives the live log.
#[must_use]
pub fn live_destination(channel: &ChannelUri, own: &ClusterMember) -> ChannelUri {
    if is_log_multi_destination(channel) { destination(channel, &own.log) } else { channel.clone() }
}

/// The replay by which a leader brings a follower up to the live log, in the same image.
#[must_use]
pub fn catchup_replay(
    channel: &ChannelUri,
    endpoint: &str,
    session: SessionId,
    follower: i32,
) -> ChannelUri {
    channel
        .clone()
        .with(key::ENDPOINT, endpoint)
        .with(key::SESSION_ID, session.0)
        .with(key::LINGER, 0)
        .with(key::EOS, false)
        .with(key::ALIAS, format_args!("catchup-followerId-{follower}"))
}

/// The channel on which a client is answered and its services speak to it, as it goes into the
/// log: the client's own, or what the configured template makes of it.
///
/// # Errors
/// The client's channel is none. It is not looked at without a template.
pub fn refine_response_channel(
    channel: &str,
    template: Option<&ChannelUri>,
    is_ipc_allowed: bool,
) -> Result<String, UriError> {
    let Some(template) = template else { return Ok(channel.to_string()) };
    let mut uri = ChannelUri::parse(channel)?;
    if uri.is_ipc() {
        return Ok(if is_ipc_allowed { channel.to_string() } else { template.to_string() });
    }
    for (key, value) in template.parameters() {
        uri.set(key, value);
    }
    Ok(uri.to_string())
}

fn with_endpoint(channel: &ChannelUri, endpoint: &str) -> ChannelUri {
    let uri = channel.clone();
    if uri.has(key::ENDPOINT) || uri.is_ipc() { uri } else { uri.with(key::ENDPOINT, endpoint) }
}

/// The host of an endpoint with whatever port is free.
fn any_port(endpoint: &str) -> String {
    let host = endpoint.rsplit_once(':').map_or(endpoint, |(host, _)| host);
    format!("{host}:0")
}

fn text(tags: Tags) -> String {
    format!("{},{}", tags.channel, tags.stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members;

    const TAGS: Tags = Tags { channel: 11, stream: 12 };
    const SESSION: SessionId = SessionId(-7);

    fn uri(text: &str) -> ChannelUri {
        ChannelUri::parse(text).unwrap()
    }

    fn two() -> Vec<ClusterMember> {
        members::parse("0,a:1,a:2,a:3,a:0,a:5|1,[::1]:1,[::1]:2,[::1]:3,[::1]:0,[::1]:5").unwrap()
    }

    #[test]
    fn members_hear_on_their_own_endpoint_unless_the_channel_names_one() {
        let own = &two()[0];
        let plain = consensus_subscription(&uri("aeron:udp?term-length=64k"), own);
        assert_eq!(plain.to_string(), "aeron:udp?term-length=64k|endpoint=a:2");
        let group = consensus_subscription(&uri("aeron:udp?endpoint=224.0.1.1:9"), own);
        assert_eq!(group.to_string(), "aeron:udp?endpoint=224.0.1.1:9");
    }

    #[test]
    fn a_peer_is_spoken_to_from_the_own_address_if_that_is_wanted() {
        let both = two();
        let channel = uri("aeron:udp");
        let bound = consensus_publication(&channel, &both[1], &both[0], true);
        assert_eq!(bound.to_string(), "aeron:udp?endpoint=a:2|control=[::1]:0");
        let free = consensus_publication(&channel, &both[1], &both[0], false);
        assert_eq!(free.to_string(), "aeron:udp?endpoint=a:2");
    }

    #[test]
    fn ingress_never_rejoins_and_a_shared_endpoint_is_the_leader_s() {
        let channel = uri("aeron:udp?term-length=64k");
        assert!(!is_ingress_shared(&channel));
        let expected = "aeron:udp?term-length=64k|endpoint=a:1|rejoin=false|reliable=true";
        assert_eq!(ingress_subscription(&channel, &two()[0]).to_string(), expected);
        assert!(is_ingress_shared(&uri("aeron:udp?endpoint=224.0.1.1:9")));
    }

    #[test]
    fn a_destination_keeps_the_interface_and_nothing_else() {
        let channel = uri("aeron:udp?term-length=64m|interface=10.0.0.0/8|fc=max");
        let expected = "aeron:udp?endpoint=b:3|interface=10.0.0.0/8";
        assert_eq!(destination(&channel, "b:3").to_string(), expected);
    }

    #[test]
    fn a_first_log_begins_at_the_same_place_whoever_begins_it() {
        let channel = uri("aeron:udp?term-length=64m");
        let first = log_publication(&channel, &two()[0], TAGS, None, false, true);
        let expected = "aeron:udp?term-length=64m|alias=log|tags=11,12|ssc=false\
            |control-mode=manual|control=a:0|init-term-id=0|term-id=0|term-offset=0";
        assert_eq!(first.to_string(), expected);
    }

    #[test]
    fn a_log_goes_on_where_its_recording_ends_and_with_its_shape() {
        let channel = uri("aeron:udp?term-length=64m|endpoint=224.0.1.1:9");
        let end = LogEnd {
            initial_term_id: TermId(5),
            term_length: 65_536,
            mtu_length: 1408,
            position: Position(2 * 65_536 + 96),
        };
        let next = log_publication(&channel, &two()[0], TAGS, Some(end), true, true);
        let expected = "aeron:udp?term-length=65536|endpoint=224.0.1.1:9|alias=log|tags=11,12\
            |ssc=true|mtu=1408|init-term-id=5|term-id=7|term-offset=96";
        assert_eq!(next.to_string(), expected);
        let position = next.initial_position().unwrap().unwrap();
        assert_eq!((position.term_id, position.term_offset), (TermId(7), 96));
    }

    #[test]
    fn the_configuration_may_not_say_where_the_log_stands() {
        assert!(is_log_channel(&uri("aeron:udp?term-length=64m")));
        assert!(!is_log_channel(&uri("aeron:udp?term-id=3")));
    }

    #[test]
    fn archive_and_services_of_a_leader_find_its_publication_by_tag_and_session() {
        let channel = uri("aeron:udp?term-length=64m");
        let recorded = "aeron:udp?tags=11|session-id=-7|alias=log";
        assert_eq!(log_recording(&channel, TAGS, SESSION).to_string(), recorded);
        let spied = log_for_leading_services(&channel, TAGS, SESSION);
        assert_eq!(spied.to_string(), format!("aeron-spy:{recorded}"));
        let local = log_for_leading_services(&uri("aeron:ipc"), TAGS, SESSION);
        assert_eq!(local.to_string(), "aeron:ipc?tags=11|session-id=-7|alias=log");
    }

    #[test]
    fn a_follower_s_subscription_takes_its_buffers_from_the_log_channel() {
        let channel = uri("aeron:udp?term-length=64m|so-rcvbuf=2m|rcv-wnd=1m|fc=max");
        let expected = "aeron:udp?tags=11,12|control-mode=manual|session-id=-7|group=true\
            |rejoin=false|alias=log-cm|so-rcvbuf=2m|rcv-wnd=1m";
        assert_eq!(log_subscription(&channel, TAGS, SESSION).to_string(), expected);
    }

    #[test]
    fn the_live_log_arrives_at_the_member_or_at_the_group() {
        let (own, group) = (&two()[0], uri("aeron:udp?endpoint=224.0.1.1:9|ttl=2"));
        let alone = live_destination(&uri("aeron:udp?term-length=64m"), own);
        assert_eq!(alone.to_string(), "aeron:udp?endpoint=a:3");
        assert_eq!(live_destination(&group, own), group);
    }

    #[test]
    fn a_catch_up_replay_comes_in_the_session_of_the_live_log_and_never_ends_it() {
        let expected = "aeron:udp?endpoint=b:7|session-id=-7|linger=0|eos=false\
            |alias=catchup-followerId-2";
        assert_eq!(catchup_replay(&uri("aeron:udp"), "b:7", SESSION, 2).to_string(), expected);
    }

    #[test]
    fn a_template_overrides_what_the_client_asks_for() {
        let template = uri("aeron:udp?interface=10.0.0.0/8|mtu=1408");
        let refine = |channel, ipc| refine_response_channel(channel, Some(&template), ipc);
        let asked = "aeron:udp?endpoint=c:1|mtu=8k";
        let refined = "aeron:udp?endpoint=c:1|mtu=1408|interface=10.0.0.0/8";
        assert_eq!(refine(asked, false).unwrap(), refined);
        assert_eq!(refine("aeron:ipc", true).unwrap(), "aeron:ipc");
        assert_eq!(refine("aeron:ipc", false).unwrap(), template.to_string());
        assert!(refine("nonsense", true).is_err());
        assert_eq!(refine_response_channel(asked, None, false).unwrap(), asked);
    }
}
