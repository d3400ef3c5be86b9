//! Several destinations, several sources, tags, sessions and responses.

#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;

use common::*;
use runtime::Nanos;
use sim::{HostId, World};
use wire::control::{CorrelationId, ErrorCode, Request};
use wire::counters::{CounterTypeId, SystemCounter};
use wire::position::StreamId;

const DIRECTORY: &str = "/dev/shm/driver";

/// One driver and one client on each of some hosts; the first publishes.
struct Group {
    world: World,
    hosts: Vec<HostId>,
    clients: Vec<Client>,
}

impl Group {
    fn new(count: u8) -> Self {
        let (mut world, hosts) = world(21, count);
        let mut clients = Vec::new();
        for host in &hosts {
            start(&mut world, *host, config(DIRECTORY));
            clients.push(Client::connect(&mut world, *host, DIRECTORY));
        }
        Self { world, hosts, clients }
    }

    fn run(&mut self, span: Nanos) {
        let end = self.world.elapsed() + span;
        while self.world.elapsed() < end {
            let step = (end - self.world.elapsed()).min(Nanos::from_millis(500));
            for client in &mut self.clients {
                client.keep_alive(&self.world);
            }
            self.clients[0].run(&mut self.world, step);
        }
        for client in &mut self.clients {
            client.receive();
        }
    }

    fn subscribe(&mut self, at: usize, channel: &str) -> i64 {
        self.clients[at].add_subscription(&mut self.world, channel)
    }

    fn publish(&mut self, at: usize, channel: &str) -> Publication {
        self.clients[at].add_publication(&mut self.world, channel)
    }

    fn succeed(&mut self, at: usize, request: Request<'_>) -> i64 {
        let (id, seen) = self.clients[at].call(&mut self.world, request);
        assert_eq!(seen.first(), Some(&Seen::Success(id)), "{seen:?}");
        id
    }

    fn image(&self, at: usize, subscription: i64) -> Image {
        self.clients[at].only_image(subscription)
    }

    fn offer(&mut self, publication: &Publication, message: &[u8]) -> i64 {
        publication.must_offer(&mut self.clients[0], &mut self.world, message)
    }
}

#[test]
fn dynamic_destinations_come_and_go_with_their_receivers() {
    let mut group = Group::new(3);
    let channel = "aeron:udp?control=10.0.0.1:20000|control-mode=dynamic|term-length=64k";
    let publication = group.publish(0, channel);
    let at = |host: u8| format!("aeron:udp?endpoint=10.0.0.{host}:20001|control=10.0.0.1:20000");
    let (one, two) = (group.subscribe(1, &at(2)), group.subscribe(2, &at(3)));
    group.run(Nanos::from_secs(2));
    assert_eq!(group.clients[0].values(CounterTypeId::MDC_DESTINATIONS), [2]);
    group.offer(&publication, b"to both");
    group.run(Nanos::from_millis(200));
    for (host, subscription) in [(1, one), (2, two)] {
        let mut image = group.image(host, subscription);
        image.poll();
        assert_eq!(image.messages, [b"to both"]);
    }
    let host = group.hosts[2];
    group.world.partition(&[host]);
    group.run(Nanos::from_secs(7));
    assert_eq!(group.clients[0].values(CounterTypeId::MDC_DESTINATIONS), [1]);
}

#[test]
fn manual_destinations_are_added_and_removed_by_command() {
    let mut group = Group::new(3);
    let publication = group.publish(0, "aeron:udp?control-mode=manual|term-length=64k");
    let registration_id = CorrelationId(publication.ready.id);
    let channels = ["aeron:udp?endpoint=10.0.0.2:20001", "aeron:udp?endpoint=10.0.0.3:20001"];
    let (one, two) = (group.subscribe(1, channels[0]), group.subscribe(2, channels[1]));
    let destinations = channels
        .map(|channel| group.succeed(0, Request::AddDestination { registration_id, channel }));
    group.run(Nanos::from_secs(1));
    group.offer(&publication, b"first");
    group.run(Nanos::from_millis(100));
    let request = Request::RemoveDestination { registration_id, channel: channels[0] };
    group.succeed(0, request);
    group.offer(&publication, b"second");
    group.run(Nanos::from_millis(100));
    let (mut at_one, mut at_two) = (group.image(1, one), group.image(2, two));
    at_one.poll();
    at_two.poll();
    assert_eq!(at_one.messages, [b"first".to_vec()]);
    assert_eq!(at_two.messages, [b"first".to_vec(), b"second".to_vec()]);
    let destination = CorrelationId(destinations[1]);
    group.succeed(0, Request::RemoveDestinationById { registration_id, destination });
    assert_eq!(group.clients[0].values(CounterTypeId::MDC_DESTINATIONS), [0]);
    let wrong = [
        "aeron:ipc",
        "aeron:udp?endpoint=10.0.0.2:0",
        "aeron:udp?endpoint=10.0.0.2:1|mtu=1408",
        "aeron-spy:aeron:udp?endpoint=10.0.0.2:1",
    ];
    for channel in wrong {
        let request = Request::AddDestination { registration_id, channel };
        let (_, seen) = group.clients[0].call(&mut group.world, request);
        let is_refused =
            |seen: &[Seen]| matches!(seen, [Seen::Error { code: ErrorCode::INVALID_CHANNEL, .. }]);
        assert!(is_refused(&seen), "{channel}: {seen:?}");
    }
}

#[test]
fn a_destination_that_is_added_to_a_publication_without_receivers_gets_a_setup_at_once() {
    let mut group = Group::new(2);
    let channel = "aeron:udp?endpoint=10.0.0.2:20001";
    let subscription = group.subscribe(1, channel);
    let publication = group.publish(0, "aeron:udp?control-mode=manual|term-length=64k");
    // Setups go out every 20 ms, so far to nobody.
    group.run(Nanos::from_millis(21));
    let registration_id = CorrelationId(publication.ready.id);
    group.succeed(0, Request::AddDestination { registration_id, channel });
    group.run(Nanos::from_millis(5));
    assert_eq!(group.clients[1].images(subscription).len(), 1);
}

#[test]
fn the_slowest_of_a_group_sets_the_pace_until_it_is_gone() {
    let mut group = Group::new(3);
    let channel =
        "aeron:udp?control=10.0.0.1:20000|control-mode=dynamic|fc=min,g:/2,t:2s|term-length=64k";
    let publication = group.publish(0, channel);
    let at = |host: u8| format!("aeron:udp?endpoint=10.0.0.{host}:20001|control=10.0.0.1:20000");
    let fast = group.subscribe(1, &at(2));
    group.run(Nanos::from_secs(2));
    assert!(!publication.log.is_connected(), "two receivers are required");
    let slow = group.subscribe(2, &at(3));
    group.run(Nanos::from_secs(2));
    assert_eq!(group.clients[0].values(CounterTypeId::FLOW_CONTROL_RECEIVERS), [2]);
    let (mut fast_image, _slow_image) = (group.image(1, fast), group.image(2, slow));
    for number in 0..200 {
        let _refused_sometimes = publication.offer(&message(number, 1000));
        fast_image.poll();
        group.run(Nanos::from_millis(2));
    }
    assert!(fast_image.position.get() <= 32 * 1024, "held by the slow one");
    let host = group.hosts[2];
    group.world.partition(&[host]);
    group.run(Nanos::from_secs(4));
    assert!(!publication.log.is_connected(), "one receiver is not enough");
    assert_eq!(group.clients[0].values(CounterTypeId::FLOW_CONTROL_RECEIVERS), [1]);
}

#[test]
fn a_subscription_with_several_transports_sees_one_image() {
    let mut group = Group::new(2);
    let subscription = group.subscribe(1, "aeron:udp?control-mode=manual");
    let registration_id = CorrelationId(subscription);
    let channels = ["aeron:udp?endpoint=10.0.0.2:20001", "aeron:udp?endpoint=10.0.0.2:20002"];
    for channel in channels {
        group.succeed(1, Request::AddReceiveDestination { registration_id, channel });
    }
    assert_eq!(group.clients[1].values(CounterTypeId::LOCAL_ADDRESS).len(), 2);
    let publication = group.publish(0, "aeron:udp?control-mode=manual|term-length=64k");
    let registration = CorrelationId(publication.ready.id);
    for channel in channels {
        group.succeed(0, Request::AddDestination { registration_id: registration, channel });
    }
    group.run(Nanos::from_secs(1));
    let mut image = group.image(1, subscription);
    for number in 0..100 {
        group.offer(&publication, &message(number, 900));
        // The window opens only for who reads.
        group.run(Nanos::from_millis(1));
        image.poll();
    }
    group.run(Nanos::from_millis(500));
    image.poll();
    assert_eq!(image.messages.len(), 100);
    assert_eq!(image.log.active_transport_count(), 2);
    let request = Request::RemoveReceiveDestination { registration_id, channel: channels[0] };
    group.succeed(1, request);
    group.offer(&publication, b"over the other");
    group.run(Nanos::from_millis(500));
    image.poll();
    assert_eq!(image.messages.last().unwrap(), b"over the other");
    assert_eq!(image.log.active_transport_count(), 1);
}

#[test]
fn a_subscription_may_have_local_destinations() {
    let mut group = Group::new(1);
    let subscription = group.subscribe(0, "aeron:udp?control-mode=manual");
    let registration_id = CorrelationId(subscription);
    let _publication = group.publish(0, IPC);
    let channel = "aeron:ipc";
    let add = Request::AddReceiveDestination { registration_id, channel };
    let (_, seen) = group.clients[0].call(&mut group.world, add);
    assert_eq!(kinds(&seen), ["success", "image"]);
    let remove = Request::RemoveReceiveDestination { registration_id, channel };
    let (_, seen) = group.clients[0].call(&mut group.world, remove);
    assert_eq!(kinds(&seen), ["success", "no image"]);
}

#[test]
fn tags_name_endpoints_and_sessions() {
    let mut group = Group::new(1);
    let first = group.publish(0, "aeron:udp?endpoint=10.0.0.1:20001|tags=5,6|term-length=64k");
    let exclusive =
        group.clients[0].add_exclusive(&mut group.world, "aeron:udp?tags=5|term-length=64k");
    assert_eq!(exclusive.ready.status, first.ready.status, "one endpoint");
    let spy = group.subscribe(0, "aeron-spy:aeron:udp?tags=5");
    assert_eq!(group.clients[0].images(spy).len(), 2);
    let only = group.subscribe(0, "aeron-spy:aeron:udp?tags=5|session-id=tag:6");
    let images = group.clients[0].images(only);
    assert_eq!(images.len(), 1);
    assert_eq!(images[0].session, first.ready.session);
    let clash = Request::AddPublication {
        stream_id: StreamId(11),
        channel: "aeron:udp?endpoint=10.0.0.1:20009|tags=5",
    };
    let (_, seen) = group.clients[0].call(&mut group.world, clash);
    assert!(matches!(&seen[..], [Seen::Error { code: ErrorCode::INVALID_CHANNEL, .. }]));
}

#[test]
fn a_subscription_to_one_session_sees_that_one_only() {
    let mut group = Group::new(2);
    let channel = "aeron:udp?endpoint=10.0.0.2:20001|term-length=64k";
    let wanted = group.subscribe(1, "aeron:udp?endpoint=10.0.0.2:20001|session-id=77");
    let _other = group.publish(0, &format!("{channel}|session-id=76"));
    let _wanted =
        group.clients[0].add_exclusive(&mut group.world, &format!("{channel}|session-id=77"));
    group.run(Nanos::from_secs(2));
    assert_eq!(group.image(1, wanted).seen.session, 77);
    let all = group.subscribe(1, "aeron:udp?endpoint=10.0.0.2:20001");
    group.run(Nanos::from_secs(2));
    let mut sessions: Vec<_> =
        group.clients[1].images(all).iter().map(|image| image.session).collect();
    sessions.sort_unstable();
    assert_eq!(sessions, [76, 77]);
}

#[test]
fn wildcard_ports_come_from_the_range_and_go_back_to_it() {
    let (mut world, hosts) = world(5, 1);
    let mut config = config(DIRECTORY);
    config.set("aeron.receiver.wildcard.port.range", "20500 20501").unwrap();
    start(&mut world, hosts[0], config);
    let mut client = Client::connect(&mut world, hosts[0], DIRECTORY);
    let wildcard = "aeron:udp?endpoint=10.0.0.1:0";
    let first = client.add_subscription(&mut world, wildcard);
    client.add_subscription(&mut world, wildcard);
    let request = Request::AddSubscription { stream_id: STREAM, channel: wildcard };
    let (_, seen) = client.call(&mut world, request);
    assert_eq!(kinds(&seen), ["error"]);
    let registration_id = CorrelationId(first);
    client.call(&mut world, Request::RemoveSubscription { registration_id });
    client.run(&mut world, Nanos::from_secs(2));
    client.add_subscription(&mut world, wildcard);
    let labels = client.labels(CounterTypeId::LOCAL_ADDRESS);
    assert!(labels.iter().any(|label| label.ends_with(" 10.0.0.1:20500")), "{labels:?}");
}

#[test]
fn a_requester_gets_its_answers_over_a_response_channel() {
    let mut group = Group::new(2);
    let (server, client) = (1, 0);
    let requests = group.subscribe(server, "aeron:udp?endpoint=10.0.0.2:20001");
    let answers = group.subscribe(client, "aeron:udp?control-mode=response|control=10.0.0.2:20002");
    let channel = format!(
        "aeron:udp?endpoint=10.0.0.2:20001|term-length=64k|response-correlation-id={answers}"
    );
    let request = group.publish(client, &channel);
    group.run(Nanos::from_secs(1));
    let image = group.image(server, requests);
    let channel = format!(
        "aeron:udp?control-mode=response|control=10.0.0.2:20002|term-length=64k\
         |response-correlation-id={}",
        image.seen.image
    );
    let response = group.publish(server, &channel);
    group.run(Nanos::from_secs(3));
    let mut answers = group.image(client, answers);
    assert_eq!(answers.seen.session, response.ready.session);
    response.offer(b"the answer").unwrap();
    group.run(Nanos::from_millis(200));
    answers.poll();
    assert_eq!(answers.messages, [b"the answer"]);
    let _still_there = request;
}

#[test]
fn multicast_reaches_every_member_of_its_group() {
    let mut group = Group::new(3);
    let at = |host: u8| {
        format!("aeron:udp?endpoint=224.20.30.39:20001|interface=10.0.0.{host}|term-length=64k")
    };
    let (one, two) = (group.subscribe(1, &at(2)), group.subscribe(2, &at(3)));
    let publication = group.publish(0, &at(1));
    group.run(Nanos::from_secs(1));
    group.offer(&publication, b"to the group");
    group.run(Nanos::from_millis(300));
    for (host, subscription) in [(1, one), (2, two)] {
        let mut image = group.image(host, subscription);
        image.poll();
        assert_eq!(image.messages, [b"to the group"]);
    }
    assert_eq!(group.clients[0].system(SystemCounter::InvalidPackets), 0);
}
