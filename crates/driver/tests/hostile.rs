//! Whatever clients and the network write, a driver lives on and serves others.

#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;

use common::*;
use runtime::Nanos;
use runtime::network::{Outgoing, SocketOptions};
use runtime::random::Rng;
use sim::LinkFaults;
use wire::control::{CorrelationId, Request};
use wire::counters::{CounterTypeId, SystemCounter};
use wire::frame::{DataHeader, FrameType, Nak, Setup, StatusMessage, flags};
use wire::position::{SessionId, TermId};

const DIRECTORY: &str = "/dev/shm/driver";
const CHANNEL: &str = "aeron:udp?endpoint=10.0.0.1:20000|term-length=64k";

/// Frames with plausible headers and wild values.
fn wild_frame(rng: &mut Rng, session: i32) -> Vec<u8> {
    let session_id = SessionId(session);
    let wild = |rng: &mut Rng| match rng.below(4) {
        0 => rng.next_i32(),
        1 => i32::MIN,
        2 => i32::MAX,
        _ => i32::try_from(rng.below(70_000)).unwrap() & !31,
    };
    match rng.below(6) {
        0 => Setup {
            term_offset: wild(rng),
            session_id,
            stream_id: STREAM,
            initial_term_id: TermId(wild(rng)),
            active_term_id: TermId(wild(rng)),
            term_length: 65_536,
            mtu: 1408,
            ..Setup::default()
        }
        .to_bytes()
        .to_vec(),
        1 => Nak {
            session_id,
            stream_id: STREAM,
            term_id: TermId(wild(rng)),
            term_offset: wild(rng),
            length: wild(rng),
        }
        .to_bytes()
        .to_vec(),
        2 => {
            let message = StatusMessage {
                flags: u8::try_from(rng.below(256)).unwrap(),
                session_id,
                stream_id: STREAM,
                consumption_term_id: TermId(wild(rng)),
                consumption_term_offset: wild(rng),
                receiver_window: wild(rng),
                receiver_id: i64::from(wild(rng)),
                group_tag: None,
            };
            let (bytes, length) = message.to_bytes();
            bytes[..length].to_vec()
        }
        3 => (0..rng.below(200)).map(|_| u8::try_from(rng.below(256)).unwrap()).collect(),
        _ => {
            let header = DataHeader {
                frame_length: wild(rng),
                flags: flags::UNFRAGMENTED | u8::try_from(rng.below(64)).unwrap(),
                frame_type: FrameType(u16::try_from(rng.below(2)).unwrap()),
                term_offset: wild(rng),
                session_id,
                stream_id: STREAM,
                term_id: TermId(wild(rng)),
                ..DataHeader::default()
            };
            let mut bytes = header.to_bytes().to_vec();
            bytes.resize(32 * usize::try_from(1 + rng.below(4)).unwrap(), 7);
            bytes
        }
    }
}

#[test]
fn wild_datagrams_neither_stop_a_driver_nor_what_it_serves() {
    let (mut world, hosts) = world(13, 2);
    start(&mut world, hosts[0], config(DIRECTORY));
    let mut client = Client::connect(&mut world, hosts[0], DIRECTORY);
    let subscription = client.add_subscription(&mut world, CHANNEL);
    let publication = client.add_publication(&mut world, CHANNEL);
    client.run(&mut world, Nanos::from_millis(300));
    let mut image = client.only_image(subscription);
    let sender = image.seen.source.parse().unwrap();
    let attacker = world.spawn(hosts[1], |_| Vec::new());
    let network = world.ports(attacker).network;
    let options = SocketOptions::at("10.0.0.2:6666".parse().unwrap());
    let mut socket = network.bind(&options).unwrap();
    let mut rng = Rng::new(13, "wild");
    let mut sent = 0;
    for round in 0..400 {
        for _ in 0..20 {
            // Other sessions than the one under test: nothing authenticates a datagram.
            let frame = wild_frame(&mut rng, 1 + round % 3);
            for to in ["10.0.0.1:20000".parse().unwrap(), sender] {
                let datagrams: &[&[u8]] = &[&frame];
                let _accepted = socket.send(&[Outgoing { to: Some(to), datagrams }]).unwrap();
            }
        }
        while sent <= round && publication.offer(&message(sent.try_into().unwrap(), 500)).is_ok() {
            sent += 1;
        }
        client.run(&mut world, Nanos::from_millis(5));
        image.poll();
    }
    client.run(&mut world, Nanos::from_secs(30));
    image.poll();
    assert_eq!(image.messages.len(), usize::try_from(sent).unwrap());
    assert!(sent > 100 && client.system(SystemCounter::InvalidPackets) > 1_000);
}

/// An image would stand at a negative position, and the receiver look for its gaps outside of the
/// log.
#[test]
fn a_setup_whose_active_term_is_before_its_first_makes_no_image() {
    let (mut world, hosts) = world(14, 2);
    let driver = start(&mut world, hosts[0], config(DIRECTORY));
    let mut client = Client::connect(&mut world, hosts[0], DIRECTORY);
    let subscription = client.add_subscription(&mut world, CHANNEL);
    let attacker = world.spawn(hosts[1], |_| Vec::new());
    let network = world.ports(attacker).network;
    let options = SocketOptions::at("10.0.0.2:6666".parse().unwrap());
    let mut socket = network.bind(&options).unwrap();
    let terms = [(0, -1), (5, 4), (0, -1_000), (i32::MIN, i32::MAX)];
    for (session, (initial, active)) in (1..).zip(terms) {
        let setup = Setup {
            session_id: SessionId(session),
            stream_id: STREAM,
            initial_term_id: TermId(initial),
            active_term_id: TermId(active),
            term_length: 65_536,
            mtu: 1408,
            ..Setup::default()
        };
        let to = Some("10.0.0.1:20000".parse().unwrap());
        let datagrams: &[&[u8]] = &[&setup.to_bytes()];
        let _accepted = socket.send(&[Outgoing { to, datagrams }]).unwrap();
        client.run(&mut world, Nanos::from_millis(50));
    }
    client.run(&mut world, Nanos::from_secs(1));
    assert!(client.images(subscription).is_empty());
    assert!(world.halts(driver).is_empty());
}

#[test]
fn a_network_that_flips_bits_stops_nobody() {
    for seed in 0..5 {
        let (mut world, hosts) = world(seed, 2);
        world.set_links(LinkFaults { corrupt: 0.2, loss: 0.1, ..LinkFaults::default() });
        let drivers: Vec<_> =
            hosts.iter().map(|host| start(&mut world, *host, config(DIRECTORY))).collect();
        let mut publisher = Client::connect(&mut world, hosts[0], DIRECTORY);
        let mut subscriber = Client::connect(&mut world, hosts[1], DIRECTORY);
        let channel = "aeron:udp?endpoint=10.0.0.2:20000|term-length=64k";
        let subscription = subscriber.add_subscription(&mut world, channel);
        let publication = publisher.add_publication(&mut world, channel);
        let mut images = Vec::new();
        for round in 0..500 {
            let _refused_sometimes = publication.offer(&message(round, 700));
            subscriber.keep_alive(&world);
            publisher.run(&mut world, Nanos::from_millis(3));
            subscriber.receive();
            for seen in &subscriber.images(subscription)[images.len()..] {
                images.push(subscriber.open_image(seen));
            }
            images.iter_mut().for_each(|image| {
                image.poll();
            });
        }
        assert!(!images.is_empty());
        assert!(drivers.iter().all(|driver| world.halts(*driver).is_empty()));
    }
}

/// Method: positions, tails and counts are set to extremes, and an honest stream goes on beside.
#[test]
fn a_client_that_writes_nonsense_harms_only_itself() {
    for wild in [i64::MIN, -1, i64::MAX, 1 << 40, 12_345] {
        let (mut world, hosts) = world(17, 1);
        start(&mut world, hosts[0], config(DIRECTORY));
        let mut client = Client::connect(&mut world, hosts[0], DIRECTORY);
        let honest = client.add_subscription(&mut world, "aeron:ipc?alias=honest");
        let publication = client.add_publication(&mut world, IPC);
        let mut image = client.only_image(honest);
        let udp = client.add_publication(&mut world, CHANNEL);
        let subscription = client.add_subscription(&mut world, CHANNEL);
        client.run(&mut world, Nanos::from_millis(500));
        let mut bad = client.only_image(subscription);
        udp.offer(b"one").unwrap();
        bad.position.set_release(wild);
        let request = Request::AddSubscription { stream_id: STREAM, channel: "aeron:ipc" };
        let (lying, _) = client.call(&mut world, request);
        let mut lying = client.only_image(lying);
        udp.log.rotate(udp.log.active_term_count(), TermId(wild as i32));
        for number in 0..100 {
            lying.position.set_release(wild);
            bad.position.set_release(wild);
            let _refused_sometimes = publication.offer(&message(number, 300));
            image.poll();
            client.run(&mut world, Nanos::from_millis(20));
        }
        client.run(&mut world, Nanos::from_secs(20));
        let registration_id = CorrelationId(udp.ready.id);
        let remove = Request::RemovePublication { registration_id, revoke: false };
        client.call(&mut world, remove);
        client.run(&mut world, Nanos::from_secs(20));
        assert_eq!(client.values(CounterTypeId::CLIENT_HEARTBEAT).len(), 1, "{wild}");
        assert!(!image.messages.is_empty());
        let (id, seen) =
            client.call(&mut world, Request::NextAvailableSessionId { stream_id: STREAM });
        assert!(matches!(seen[..], [Seen::Session { id: answered, .. }] if answered == id));
    }
}
