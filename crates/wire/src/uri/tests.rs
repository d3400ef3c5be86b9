use super::*;
use crate::position::{SessionId, TermId};
use alloc::format;
use proptest::prelude::*;

/// Texts that are often channels.
const URI_LIKE: &str = "(aeron:)?(udp|ipc)?[?|=a-c:,\\[{]{0,40}";

fn uri(text: &str) -> ChannelUri {
    ChannelUri::parse(text).unwrap()
}

#[test]
fn a_channel_prints_as_it_was_written() {
    for text in [
        "aeron:ipc",
        "aeron:udp",
        "aeron:udp?endpoint=localhost:40123",
        "aeron-spy:aeron:udp?endpoint=[::1]:40123|unknown=a=b|alias=",
        "aeron:udp?fc=tagged,g:1/3,t:5s|mtu=8k",
    ] {
        assert_eq!(uri(text).to_string(), text);
    }
}

#[test]
fn of_parameters_given_twice_the_last_counts() {
    let uri = uri("aeron:ipc?mtu=64|alias=a|mtu=96");
    assert_eq!(uri.mtu(), Ok(Some(96)));
    assert_eq!(uri.to_string(), "aeron:ipc?mtu=96|alias=a");
}

#[test]
fn what_is_no_channel_is_refused() {
    let refused = |text: &str| ChannelUri::parse(text).unwrap_err();
    assert!(matches!(refused("udp?endpoint=a:1"), UriError::Scheme { .. }));
    assert!(matches!(refused("aeron-spy:udp"), UriError::Scheme { .. }));
    assert!(matches!(refused("Aeron:udp"), UriError::Scheme { .. }));
    assert!(matches!(refused("aeron:tcp"), UriError::Media { .. }));
    assert!(matches!(refused("aeron:"), UriError::Media { .. }));
    for text in ["aeron:udp?", "aeron:udp?mtu", "aeron:udp?=1", "aeron:udp?mtu=64|", "aeron:ipc?|"]
    {
        assert!(matches!(refused(text), UriError::Parameter { .. }), "{text}");
    }
    let long = format!("aeron:ipc?alias={}", "x".repeat(URI_LENGTH_MAX));
    assert!(matches!(refused(&long), UriError::TooLong { .. }));
}

#[test]
fn a_channel_is_built_from_parts() {
    let built = ChannelUri::new(Media::Udp)
        .with(key::ENDPOINT, "localhost:0")
        .with(key::TERM_LENGTH, 65_536)
        .with(key::LINGER, "0")
        .with(key::ENDPOINT, "localhost:7")
        .without(key::LINGER)
        .spy();
    assert_eq!(built.to_string(), "aeron-spy:aeron:udp?endpoint=localhost:7|term-length=65536");
}

#[test]
fn errors_name_the_key_and_the_value() {
    let error = uri("aeron:udp?mtu=100").mtu().unwrap_err();
    assert_eq!(
        error.to_string(),
        "channel parameter mtu=100 is not a multiple of 32 from 64 to 65504"
    );
    let error = uri("aeron:udp?linger=xx").duration_ns(key::LINGER).unwrap_err();
    assert!(error.to_string().starts_with("channel parameter linger=xx is not a duration"));
}

#[test]
fn sizes_and_durations_take_units() {
    let sizes = [("0", 0), ("64k", 65_536), ("2M", 2 << 20), ("1g", 1 << 30), ("1408", 1408)];
    for (text, bytes) in sizes {
        assert_eq!(parse_size(text), Some(bytes), "{text}");
    }
    for text in ["", "k", "-1", "+1", "1kb", "9223372036854775807k", "1 k"] {
        assert_eq!(parse_size(text), None, "{text}");
    }
    let durations =
        [("7", 7), ("7ns", 7), ("7us", 7_000), ("7ms", 7_000_000), ("7s", 7_000_000_000)];
    for (text, nanoseconds) in durations {
        assert_eq!(parse_duration_ns(text), Some(nanoseconds), "{text}");
    }
    for text in ["", "s", "-1s", "1m", "1.5s", "9223372036854775807s"] {
        assert_eq!(parse_duration_ns(text), None, "{text}");
    }
}

#[test]
fn numbers_have_their_limits() {
    assert_eq!(uri("aeron:ipc?term-length=1g").term_length(), Ok(Some(1 << 30)));
    assert!(uri("aeron:ipc?term-length=2g").term_length().is_err());
    assert!(uri("aeron:ipc?term-length=65537").term_length().is_err());
    assert_eq!(uri("aeron:udp?mtu=65504").mtu(), Ok(Some(65_504)));
    assert!(uri("aeron:udp?mtu=65536").mtu().is_err());
    assert!(uri("aeron:udp?mtu=32").mtu().is_err());
    assert_eq!(uri("aeron:udp?max-resend=256").max_resend(), Ok(Some(256)));
    assert!(uri("aeron:udp?max-resend=0").max_resend().is_err());
    assert!(uri("aeron:udp?ttl=256").ttl().is_err());
    assert!(uri("aeron:udp?reliable=yes").bool(key::RELIABLE).is_err());
    assert_eq!(uri("aeron:ipc").bool(key::RELIABLE), Ok(None));
}

#[test]
fn a_session_is_a_number_or_a_tag() {
    let session = |text: &str| uri(text).session_id();
    let id = SessionIdParameter::Id(SessionId(-5));
    assert_eq!(session("aeron:ipc?session-id=-5"), Ok(Some(id)));
    assert_eq!(session("aeron:ipc?session-id=tag:9"), Ok(Some(SessionIdParameter::OfTag(9))));
    assert!(session("aeron:ipc?session-id=tag:x").is_err());
    assert!(session("aeron:ipc?session-id=2147483648").is_err());
}

#[test]
fn tags_are_one_number_or_two() {
    let tags = |text: &str| uri(text).tags();
    assert_eq!(tags("aeron:udp?tags=5"), Ok(Some(Tags { channel: 5, entity: None })));
    assert_eq!(tags("aeron:udp?tags=5,6"), Ok(Some(Tags { channel: 5, entity: Some(6) })));
    assert!(tags("aeron:udp?tags=5,6,7").is_err() && tags("aeron:udp?tags=").is_err());
}

#[test]
fn a_position_has_three_parts_or_none() {
    let position = |text: &str| uri(text).initial_position();
    let whole = position("aeron:ipc?init-term-id=2147483647|term-id=-2147483648|term-offset=64");
    let initial_term_id = TermId(i32::MAX);
    let term_id = TermId(i32::MIN);
    let expected = InitialPosition { initial_term_id, term_id, term_offset: 64 };
    assert_eq!(whole, Ok(Some(expected)));
    assert_eq!(position("aeron:ipc?mtu=64"), Ok(None));
    assert_eq!(position("aeron:ipc?term-id=1"), Err(UriError::IncompletePosition));
    assert!(position("aeron:ipc?init-term-id=2|term-id=1|term-offset=0").is_err());
    assert!(position("aeron:ipc?init-term-id=1|term-id=1|term-offset=8").is_err());
}

#[test]
fn modes_have_names() {
    let mode = |text: &str| uri(&format!("aeron:udp?control-mode={text}")).control_mode();
    assert!(mode("manual").is_multi_destination() && mode("dynamic").is_multi_destination());
    assert_eq!((mode("response"), mode("other")), (ControlMode::Response, ControlMode::None));
    assert_eq!(uri("aeron:udp?group=infer").group(), Ok(Group::Infer));
    assert_eq!(uri("aeron:udp?group=true").group(), Ok(Group::Is(true)));
    assert!(uri("aeron:udp?group=perhaps").group().is_err());
    let response = uri("aeron:udp?response-correlation-id=prototype").response_correlation();
    assert_eq!(response, Ok(Some(ResponseCorrelation::Prototype)));
    let offset = uri("aeron:udp?channel-rcv-ts-offset=reserved");
    let offset = offset.timestamp_offset(key::CHANNEL_RECEIVE_TIMESTAMP_OFFSET);
    assert_eq!(offset, Ok(Some(TimestampOffset::ReservedValue)));
}

#[test]
fn addresses_have_a_host_and_a_port() {
    let parts = |text| HostPort::parse(text).map(|address| (address.host, address.port));
    assert_eq!(parts("localhost:40123"), Some(("localhost", 40_123)));
    assert_eq!(parts("[fe80::1%eth0]:0"), Some(("fe80::1%eth0", 0)));
    for text in ["localhost", ":1", "a:65536", "a:+1", "a:", "[::1", "[::1]x", "::1:5", ""] {
        assert_eq!(parts(text), None, "{text}");
    }
    assert_eq!(HostPort::parse("[::1]:5").unwrap().to_string(), "[::1]:5");
}

#[test]
fn interfaces_are_named_or_matched() {
    assert_eq!(Interface::parse("{eth0}"), Some(Interface::Named("eth0")));
    let matching = Interface::Matching { host: "10.0.0.0", port: 7, prefix_length: Some(8) };
    assert_eq!(Interface::parse("10.0.0.0:7/8"), Some(matching));
    let matching = Interface::Matching { host: "::1", port: 0, prefix_length: None };
    assert_eq!(Interface::parse("[::1]"), Some(matching));
    for text in ["{}", "{eth0", "10.0.0.0/129", "10.0.0.0/x", ""] {
        assert_eq!(Interface::parse(text), None, "{text}");
    }
}

#[test]
fn flow_control_has_parts() {
    let flow = FlowControl::parse("tagged,g:-7/3,t:250ms,rrwm:8").unwrap();
    assert_eq!((flow.strategy, flow.group_tag, flow.group_min_size), ("tagged", Some(-7), Some(3)));
    assert_eq!(flow.receiver_timeout_ns, Some(250_000_000));
    assert_eq!(flow.retransmit_window_multiple, Some(8));
    let flow = FlowControl::parse("min,g:/2").unwrap();
    assert_eq!((flow.group_tag, flow.group_min_size), (None, Some(2)));
    assert_eq!(FlowControl::parse("max").unwrap().group_tag, None);
    for text in ["", "min,", "min,g:", "min,x:1", "min,t:1y", "min,rrwm:0", "min,g:1/-2"] {
        assert_eq!(FlowControl::parse(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn any_text_is_a_channel_that_prints_itself_or_an_error(text in URI_LIKE) {
        if let Ok(parsed) = ChannelUri::parse(&text) {
            prop_assert_eq!(&ChannelUri::parse(&parsed.to_string()).unwrap(), &parsed);
        }
    }

    #[test]
    fn no_value_makes_an_accessor_panic(value in "[^|]{0,24}") {
        let _ = HostPort::parse(&value);
        let _ = Interface::parse(&value);
        let _ = FlowControl::parse(&value);
        for name in [key::SESSION_ID, key::TAGS, key::MTU, key::TERM_OFFSET, key::LINGER] {
            let uri = ChannelUri::new(Media::Udp).with(name, &value);
            let _ = (uri.session_id(), uri.tags(), uri.mtu(), uri.initial_position());
            let _ = uri.duration_ns(key::LINGER);
        }
    }
}
