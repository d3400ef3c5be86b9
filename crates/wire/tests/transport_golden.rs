//! Every frame, command, event and header of the transport against the bytes of genuine Aeron.
//!
//! The bytes come from Aeron 1.51.0 by interop/bytes/TransportBytes.java. Each is decoded to the
//! values that program wrote, and those values are encoded to the same bytes.

#![allow(clippy::unwrap_used)] // In helpers of tests, which the lint takes for code.

use coracle_wire::control::{
    AvailableImage, ClientId, Command, CorrelationId, ErrorCode, Event, PublicationError,
    PublicationReady, Request,
};
use coracle_wire::counters::{
    self, ChannelKey, ClientHeartbeatKey, CounterId, CounterTypeId, Key, Label, LocalAddressKey,
    StreamKey, SystemCounter,
};
use coracle_wire::frame::{
    self, DataHeader, ErrorFrame, Frame, FrameType, Nak, ResponseSetup, RoundTrip, Setup,
    StatusMessage, flags,
};
use coracle_wire::log::{self, LogDescription, LogKind, LogSwitches, LogTimeouts, SocketLengths};
use coracle_wire::loss_report::{self, LossEntry};
use coracle_wire::position::{Position, SessionId, StreamId, TermId};
use coracle_wire::resolution::{self, Entry, FrameWriter};
use coracle_wire::{cnc, error_log, ring};

const CHANNEL: &str = "aeron:udp?endpoint=localhost:40123";
const SESSION: SessionId = SessionId(0x1122_3344);
const STREAM: StreamId = StreamId(-1001);

/// The bytes with this name.
fn golden(name: &str) -> Vec<u8> {
    let lines = include_str!("data/transport-1.51.0.txt").lines();
    let mut named = lines.filter_map(|line| line.split_once(' '));
    let (_, hex) = named.find(|(found, _)| *found == name).expect("bytes of that name");
    let digits: Vec<u8> =
        hex.chars().filter_map(|digit| digit.to_digit(16)?.try_into().ok()).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

#[test]
fn data_reads_and_writes_as_genuine() {
    let bytes = golden("frame.data");
    let header = DataHeader {
        frame_length: 37,
        version: 0,
        flags: flags::UNFRAGMENTED,
        frame_type: FrameType::DATA,
        term_offset: 4096,
        session_id: SESSION,
        stream_id: STREAM,
        term_id: TermId(-7),
        reserved_value: 0x0102_0304_0506_0708,
    };
    let Ok(Frame::Data(datagram)) = frame::decode(&bytes) else { panic!("no data") };
    assert_eq!(datagram.header, header);
    assert_eq!(datagram.check(65_536), Ok(64));
    assert_eq!(datagram.frames().collect::<Vec<_>>(), [(header, &b"hello"[..])]);
    assert_eq!(header.to_bytes(), bytes[..32]);
}

#[test]
fn setup_reads_and_writes_as_genuine() {
    let bytes = golden("frame.setup");
    let setup = Setup {
        flags: flags::SEND_RESPONSE_SETUP | flags::GROUP,
        term_offset: 64,
        session_id: SESSION,
        stream_id: STREAM,
        initial_term_id: TermId(-8),
        active_term_id: TermId(-7),
        term_length: 65_536,
        mtu: 1408,
        ttl: 4,
    };
    assert_eq!(frame::decode(&bytes), Ok(Frame::Setup(setup)));
    assert_eq!(setup.to_bytes(), bytes[..]);
}

#[test]
fn status_messages_read_and_write_as_genuine() {
    let mut message = StatusMessage {
        flags: flags::SEND_SETUP,
        session_id: SESSION,
        stream_id: STREAM,
        consumption_term_id: TermId(-7),
        consumption_term_offset: 128,
        receiver_window: 32_768,
        receiver_id: 0x0102_0304_0506_0708,
        group_tag: None,
    };
    let bytes = golden("frame.status-message");
    assert_eq!(frame::decode(&bytes), Ok(Frame::StatusMessage(message)));
    let (written, length) = message.to_bytes();
    assert_eq!(written[..length], bytes);
    message.flags = flags::END_OF_STREAM;
    message.group_tag = Some(-9);
    let bytes = golden("frame.status-message-tagged");
    assert_eq!(frame::decode(&bytes), Ok(Frame::StatusMessage(message)));
    let (written, length) = message.to_bytes();
    assert_eq!(written[..length], bytes);
}

#[test]
fn other_frames_of_receivers_read_and_write_as_genuine() {
    let (session_id, stream_id) = (SESSION, STREAM);
    let bytes = golden("frame.nak");
    let nak = Nak { session_id, stream_id, term_id: TermId(-7), term_offset: 128, length: 1408 };
    assert_eq!(frame::decode(&bytes), Ok(Frame::Nak(nak)));
    assert_eq!(nak.to_bytes(), bytes[..]);

    let bytes = golden("frame.round-trip");
    let measurement = RoundTrip {
        flags: flags::REPLY,
        session_id,
        stream_id,
        echo_timestamp_ns: 5,
        reception_delta_ns: 6,
        receiver_id: 7,
    };
    assert_eq!(frame::decode(&bytes), Ok(Frame::RoundTrip(measurement)));
    assert_eq!(measurement.to_bytes(), bytes[..]);

    let bytes = golden("frame.error");
    let error = ErrorFrame {
        session_id,
        stream_id,
        receiver_id: 7,
        group_tag: Some(-9),
        code: ErrorCode::IMAGE_REJECTED.0,
        text: b"no",
    };
    assert_eq!(frame::decode(&bytes), Ok(Frame::Error(error)));
    let mut written = [0xFF; 64];
    let length = error.encode(&mut written).unwrap();
    assert_eq!(written[..length], bytes);

    let bytes = golden("frame.response-setup");
    let response = ResponseSetup { session_id, stream_id, response_session_id: SessionId(77) };
    assert_eq!(frame::decode(&bytes), Ok(Frame::ResponseSetup(response)));
    assert_eq!(response.to_bytes(), bytes[..]);
}

#[test]
fn name_resolution_reads_and_writes_as_genuine() {
    let bytes = golden("frame.resolution");
    let address = "10.1.2.3:8050".parse().unwrap();
    let own = Entry { flags: resolution::SELF_FLAG, address, age_ms: 1234, name: b"alpha" };
    let address = "[fe80::1]:65535".parse().unwrap();
    let other = Entry { flags: 0, address, age_ms: 0, name: b"b" };
    let Ok(Frame::Resolution(body)) = frame::decode(&bytes) else { panic!("no entries") };
    assert_eq!(resolution::entries(body).collect::<Vec<_>>(), [Ok(own), Ok(other)]);
    let mut written = [0xFF; 128];
    let mut writer = FrameWriter::new(&mut written).unwrap();
    assert!(writer.push(&own) && writer.push(&other));
    assert_eq!(writer.finish(), bytes);
}

#[test]
fn commands_read_and_write_as_genuine() {
    let registration_id = CorrelationId(77);
    let stream_id = StreamId(-10);
    let (channel, key, label) = (CHANNEL, &[1, 2, 3, 4, 5][..], "a label");
    let type_id = CounterTypeId(1001);
    let reject =
        Request::RejectImage { image: registration_id, position: Position(64), reason: "why" };
    let destination = CorrelationId(78);
    let requests = [
        ("AddPublication", Request::AddPublication { stream_id, channel }),
        ("RemovePublication", Request::RemovePublication { registration_id, revoke: true }),
        ("AddExclusivePublication", Request::AddExclusivePublication { stream_id, channel }),
        ("AddSubscription", Request::AddSubscription { stream_id, channel }),
        ("RemoveSubscription", Request::RemoveSubscription { registration_id }),
        ("ClientKeepalive", Request::ClientKeepalive),
        ("AddDestination", Request::AddDestination { registration_id, channel }),
        ("RemoveDestination", Request::RemoveDestination { registration_id, channel }),
        ("AddCounter", Request::AddCounter { type_id, key, label }),
        ("RemoveCounter", Request::RemoveCounter { registration_id }),
        ("ClientClose", Request::ClientClose),
        ("AddReceiveDestination", Request::AddReceiveDestination { registration_id, channel }),
        (
            "RemoveReceiveDestination",
            Request::RemoveReceiveDestination { registration_id, channel },
        ),
        ("TerminateDriver", Request::TerminateDriver { token: b"token" }),
        ("AddStaticCounter", Request::AddStaticCounter { registration_id, type_id, key, label }),
        ("RejectImage", reject),
        ("RemoveDestinationById", Request::RemoveDestinationById { registration_id, destination }),
        ("NextAvailableSessionId", Request::NextAvailableSessionId { stream_id }),
    ];
    for (type_id, (name, request)) in (1..).zip(requests) {
        let bytes = golden(&format!("command.{name}"));
        let (client_id, correlation_id) = (ClientId(3), CorrelationId(9));
        let command = Command { client_id, correlation_id, request };
        assert_eq!(Command::decode(type_id, &bytes), Ok(command));
        let mut written = [0xFF; 256];
        let length = command.encode(&mut written).unwrap();
        assert_eq!(written[..length], bytes, "{name}");
    }
}

fn publication_error(source: &str) -> PublicationError<'static> {
    PublicationError {
        registration_id: CorrelationId(9),
        destination: CorrelationId(-1),
        session_id: SessionId(-5),
        stream_id: StreamId(10),
        receiver_id: 7,
        group_tag: -1,
        source: source.parse::<std::net::SocketAddr>().unwrap().into(),
        code: ErrorCode::IMAGE_REJECTED,
        text: "why",
    }
}

#[test]
fn events_read_and_write_as_genuine() {
    let (correlation_id, counter_id) = (CorrelationId(9), CounterId(4));
    let (session_id, stream_id) = (SessionId(-5), StreamId(10));
    let log_file = "/a/b.logbuffer";
    let image = AvailableImage {
        image: correlation_id,
        session_id,
        stream_id,
        subscription: CorrelationId(77),
        subscriber_position_id: counter_id,
        log_file,
        source_identity: "1.2.3.4:5",
    };
    let ready = PublicationReady {
        correlation_id,
        registration_id: CorrelationId(8),
        session_id,
        stream_id,
        publisher_limit_id: counter_id,
        channel_status_id: CounterId::NONE,
        log_file,
    };
    let gone = Event::UnavailableImage {
        image: correlation_id,
        subscription: CorrelationId(77),
        stream_id,
        channel: CHANNEL,
    };
    let error =
        Event::Error { offending: correlation_id, code: ErrorCode::UNKNOWN_HOST, text: "no" };
    let subscription = Event::SubscriptionReady { correlation_id, channel_status_id: counter_id };
    let counter_gone = Event::UnavailableCounter { registration_id: correlation_id, counter_id };
    let session = Event::NextAvailableSessionId { correlation_id, session_id };
    let rejected = Event::PublicationError(publication_error("10.1.2.3:40123"));
    let rejected6 = Event::PublicationError(publication_error("[fe80::1]:40123"));
    let events = [
        (0x0F01, "Error", error),
        (0x0F02, "AvailableImage", Event::AvailableImage(image)),
        (0x0F03, "PublicationReady", Event::PublicationReady(ready)),
        (0x0F04, "OperationSucceeded", Event::OperationSucceeded { correlation_id }),
        (0x0F05, "UnavailableImage", gone),
        (0x0F06, "ExclusivePublicationReady", Event::ExclusivePublicationReady(ready)),
        (0x0F07, "SubscriptionReady", subscription),
        (0x0F08, "CounterReady", Event::CounterReady { correlation_id, counter_id }),
        (0x0F09, "UnavailableCounter", counter_gone),
        (0x0F0A, "ClientTimedOut", Event::ClientTimedOut { client_id: ClientId(3) }),
        (0x0F0B, "StaticCounter", Event::StaticCounter { correlation_id, counter_id }),
        (0x0F0C, "PublicationError", rejected),
        (0x0F0C, "PublicationError6", rejected6),
        (0x0F0D, "NextAvailableSessionId", session),
    ];
    for (type_id, name, event) in events {
        let bytes = golden(&format!("event.{name}"));
        assert_eq!(Event::decode(type_id, &bytes), Ok(event));
        assert_eq!(event.type_id(), type_id);
        let mut written = [0xFF; 256];
        let length = event.encode(&mut written).unwrap();
        assert_eq!((&written[..length], event.encoded_length()), (&bytes[..], length), "{name}");
        for length in 0..bytes.len() {
            assert!(Event::decode(type_id, &bytes[..length]).is_err(), "{name} of {length} bytes");
        }
    }
}

#[test]
fn the_header_of_cnc_dat_reads_and_writes_as_genuine() {
    let mut bytes = golden("cnc");
    let expected = cnc::Header {
        lengths: cnc::BufferLengths::default(),
        client_liveness_timeout_ns: 10_000_000_000,
        start_timestamp_ms: 1_764_000_000_000,
        pid: 4242,
        file_page_size: 8192,
    };
    assert_eq!(i32_at(&bytes, cnc::VERSION_OFFSET), cnc::VERSION.0);
    assert_eq!(cnc::Header::decode(&bytes), Ok(expected));
    bytes[..4].fill(0);
    assert_eq!(expected.to_bytes(), bytes[..]);
}

#[test]
fn log_metadata_reads_and_writes_as_genuine() {
    let mut bytes = golden("log");
    bytes.resize(log::METADATA_LENGTH, 0);
    let expected = LogDescription {
        correlation_id: 77,
        initial_term_id: TermId(-5),
        session_id: SessionId(11),
        stream_id: StreamId(1001),
        mtu_length: 1408,
        term_length: 65_536,
        page_size: 4096,
        publication_window_length: 32_768,
        receiver_window_length: 131_072,
        max_resend: 16,
        entity_tag: -1,
        response_correlation_id: -2,
        sockets: SocketLengths {
            sndbuf: 1,
            os_default_sndbuf: 2,
            os_max_sndbuf: 3,
            rcvbuf: 4,
            os_default_rcvbuf: 5,
            os_max_rcvbuf: 6,
        },
        timeouts: LogTimeouts {
            linger_ns: 5,
            untethered_window_limit_ns: 6,
            untethered_linger_ns: -9,
            untethered_resting_ns: 7,
        },
        switches: LogSwitches {
            rejoin: true,
            signal_eos: true,
            tether: true,
            ..LogSwitches::default()
        },
        kind: LogKind::EXCLUSIVE_PUBLICATION,
    };
    assert_eq!(LogDescription::decode(&bytes), Ok(expected));
    let tail = log::RawTail(i64_at(&bytes, log::tail_counter_offset(0)));
    assert_eq!((tail.term_id(), tail.offset(65_536)), (TermId(-5), 64));
    assert_eq!(i32_at(&bytes, log::ACTIVE_TERM_COUNT_OFFSET), 2);
    assert_eq!(i64_at(&bytes, log::END_OF_STREAM_POSITION_OFFSET), i64::MAX);
    assert_eq!(i32_at(&bytes, log::IS_CONNECTED_OFFSET), 1);
    assert_eq!(i32_at(&bytes, log::ACTIVE_TRANSPORT_COUNT_OFFSET), 6);
    assert_eq!(bytes[log::IS_PUBLICATION_REVOKED_OFFSET], 1);
    // What changes while the log is in use is not part of the description.
    bytes[..log::END_OF_STREAM_POSITION_OFFSET].fill(0);
    bytes[log::IS_CONNECTED_OFFSET..][..8].fill(0);
    bytes[log::IS_PUBLICATION_REVOKED_OFFSET] = 0;
    assert_eq!(expected.to_bytes()[..], bytes);
}

/// Bytes of a counter's metadata as laid out by this crate.
fn metadata(type_id: CounterTypeId, key: &Key, label: &Label) -> [u8; counters::METADATA_LENGTH] {
    let mut bytes = [0; counters::METADATA_LENGTH];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(counters::STATE_OFFSET, &counters::state::ALLOCATED.to_le_bytes());
    put(counters::TYPE_ID_OFFSET, &type_id.0.to_le_bytes());
    put(counters::FREE_FOR_REUSE_DEADLINE_OFFSET, &counters::NOT_FREE.to_le_bytes());
    put(counters::KEY_OFFSET, key.as_bytes());
    let text = label.as_str().as_bytes();
    put(counters::LABEL_LENGTH_OFFSET, &i32::try_from(text.len()).unwrap().to_le_bytes());
    put(counters::LABEL_OFFSET, text);
    bytes
}

#[test]
fn counters_are_laid_out_as_genuine() {
    let (session_id, stream_id) = (SessionId(-5), StreamId(10));
    let stream = StreamKey { registration_id: 21, session_id, stream_id, channel: CHANNEL };
    let bytes = golden("counter.metadata");
    let label = Label::of_stream("pub-lmt", &stream);
    assert_eq!(metadata(CounterTypeId::PUBLISHER_LIMIT, &stream.encode(), &label)[..], bytes);
    let key = &bytes[counters::KEY_OFFSET..][..counters::KEY_LENGTH_MAX];
    assert_eq!(StreamKey::decode(key), Some(stream));

    let value = golden("counter.value");
    assert_eq!(i64_at(&value, counters::VALUE_OFFSET), 4096);
    assert_eq!(i64_at(&value, counters::REGISTRATION_ID_OFFSET), 21);
    assert_eq!(i64_at(&value, counters::OWNER_ID_OFFSET), 3);
    assert_eq!(i64_at(&value, counters::REFERENCE_ID_OFFSET), 8);

    let bytes = golden("counter.heartbeat");
    let (key, label) = (ClientHeartbeatKey { client_id: 77 }, Label::of_client_heartbeat(77));
    assert_eq!(metadata(CounterTypeId::CLIENT_HEARTBEAT, &key.encode(), &label)[..], bytes);
}

#[test]
fn counters_of_channels_are_laid_out_as_genuine() {
    let (session_id, stream_id) = (SessionId(-5), StreamId(10));
    let stream = StreamKey { registration_id: 21, session_id, stream_id, channel: CHANNEL };
    let label = Label::of_subscriber_position(&stream, Position(64));
    let type_id = CounterTypeId::SUBSCRIBER_POSITION;
    let bytes = golden("counter.subscriber-position");
    assert_eq!(metadata(type_id, &stream.encode(), &label)[..], bytes);

    let address = "127.0.0.1:40123";
    let label = Label::of_local_address(counters::SEND_LOCAL_ADDRESS, 3, address);
    let key = LocalAddressKey { channel_status_id: 3, address };
    let bytes = golden("counter.local-address");
    assert_eq!(metadata(CounterTypeId::LOCAL_ADDRESS, &key.encode(), &label)[..], bytes);

    // Without an address genuine labels end with a blank, which ours do not.
    let type_id = CounterTypeId::SEND_CHANNEL_STATUS;
    let label = Label::of(format!("{} ", Label::of_channel(type_id, CHANNEL, "").as_str()));
    let key = ChannelKey { channel: CHANNEL };
    let bytes = golden("counter.channel-status");
    assert_eq!(metadata(type_id, &key.encode(), &label)[..], bytes);
}

#[test]
fn system_counters_have_the_genuine_labels() {
    for counter in SystemCounter::ALL {
        let genuine = golden(&format!("system-counter.{}", counter.id()));
        let genuine = std::str::from_utf8(&genuine).unwrap();
        if counter == SystemCounter::ResourceAgentProxyFails {
            // The agent has another name since 1.53.
            assert_eq!(genuine, "Failed offers to AsyncExecutorProxy");
        } else {
            let rest = genuine.strip_prefix(counter.label()).unwrap();
            assert!(rest.is_empty() || rest.starts_with(": version="), "{genuine}");
        }
    }
}

#[test]
fn the_loss_report_reads_and_writes_as_genuine() {
    let bytes = golden("loss-report");
    let expected = LossEntry {
        observations: 1,
        total_bytes_lost: 4096,
        first_observation_ms: 55,
        last_observation_ms: 55,
        session_id: SessionId(-5),
        stream_id: StreamId(10),
        channel: CHANNEL,
        source: "10.0.0.1:5",
    };
    assert_eq!(loss_report::entries(&bytes).collect::<Vec<_>>(), [expected]);
    let mut written = vec![0; bytes.len()];
    assert!(expected.encode(&mut written));
    written[..8].copy_from_slice(&1_i64.to_le_bytes());
    assert_eq!(written, bytes);
}

#[test]
fn rings_are_laid_out_as_genuine() {
    let bytes = golden("ring");
    let capacity = ring::capacity(bytes.len(), ring::to_driver::TRAILER_LENGTH).unwrap();
    assert_eq!(i32_at(&bytes, ring::RECORD_LENGTH_OFFSET), 13);
    assert_eq!(i32_at(&bytes, ring::RECORD_TYPE_OFFSET), 7);
    assert_eq!(bytes[ring::RECORD_HEADER_LENGTH..13], *b"a lab");
    let trailer = |at: usize| i64_at(&bytes, capacity + at);
    assert_eq!(trailer(ring::to_driver::TAIL_OFFSET), 16);
    assert_eq!(trailer(ring::to_driver::HEAD_OFFSET), 0);
    assert_eq!(trailer(ring::to_driver::CORRELATION_OFFSET), 1);
    assert_eq!(trailer(ring::to_driver::CONSUMER_HEARTBEAT_OFFSET), 123);

    let bytes = golden("broadcast");
    let capacity = ring::capacity(bytes.len(), ring::to_clients::TRAILER_LENGTH).unwrap();
    let trailer = |at: usize| i64_at(&bytes, capacity + at);
    assert_eq!(trailer(ring::to_clients::TAIL_INTENT_OFFSET), 32);
    assert_eq!(trailer(ring::to_clients::TAIL_OFFSET), 32);
    assert_eq!(trailer(ring::to_clients::LATEST_OFFSET), 16);
    assert_eq!((i32_at(&bytes, 16), i32_at(&bytes, 20)), (15, 8));
}

#[test]
fn the_error_log_reads_as_genuine() {
    let bytes = golden("error-log");
    let records: Vec<_> = error_log::records(&bytes).collect();
    let [record] = records[..] else { panic!("{} records", records.len()) };
    assert_eq!((record.observations, record.first_timestamp_ms), (1, 55));
    assert_eq!(record.last_timestamp_ms, 55);
    assert!(record.text.starts_with(b"TransportBytes$Quiet: quiet"));
}

/// Method: nothing may be in the file that no test looked at.
#[test]
fn every_line_of_golden_bytes_is_used() {
    let source = include_str!("transport_golden.rs");
    for line in include_str!("data/transport-1.51.0.txt").lines() {
        let name = line.split(' ').next().unwrap();
        let (kind, short) = name.split_once('.').unwrap_or(("", name));
        let is_used = |name: &str| source.contains(&format!("\"{name}\""));
        assert!(is_used(name) || is_used(short) || kind == "system-counter", "{name}");
    }
}
