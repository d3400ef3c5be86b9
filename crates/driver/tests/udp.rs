//! Streams between two drivers over a simulated network.

#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;

use common::*;
use memory::log::append::AppendError;
use runtime::Nanos;
use sim::{HostId, LinkFaults, World};
use wire::control::{CorrelationId, Request};
use wire::counters::{CounterTypeId, SystemCounter};

const DIRECTORY: &str = "/dev/shm/driver";
const CHANNEL: &str = "aeron:udp?endpoint=10.0.0.2:20000|term-length=64k";

struct Pair {
    world: World,
    hosts: Vec<HostId>,
    publisher: Client,
    subscriber: Client,
}

impl Pair {
    fn new(seed: u64) -> Self {
        let (mut world, hosts) = world(seed, 2);
        start(&mut world, hosts[0], config(DIRECTORY));
        start(&mut world, hosts[1], config(DIRECTORY));
        let publisher = Client::connect(&mut world, hosts[0], DIRECTORY);
        let subscriber = Client::connect(&mut world, hosts[1], DIRECTORY);
        Self { world, hosts, publisher, subscriber }
    }

    fn run(&mut self, span: Nanos) {
        let end = self.world.elapsed() + span;
        while self.world.elapsed() < end {
            let step = (end - self.world.elapsed()).min(Nanos::from_millis(500));
            self.subscriber.keep_alive(&self.world);
            self.publisher.run(&mut self.world, step);
        }
        self.subscriber.receive();
    }

    fn run_until_image(&mut self, subscription: i64) -> Image {
        for _ in 0..100 {
            if !self.subscriber.images(subscription).is_empty() {
                break;
            }
            self.run(Nanos::from_millis(100));
        }
        self.subscriber.only_image(subscription)
    }

    /// Sends messages of many lengths and polls them until all have arrived.
    fn transfer(&mut self, publication: &Publication, image: &mut Image, count: u64, max: u64) {
        let mut sent = 0;
        for _ in 0..200_000 {
            while sent < count {
                let bytes = message(sent, 8 + usize::try_from(sent * 37 % max).unwrap());
                match publication.offer(&bytes) {
                    Ok(_) => sent += 1,
                    Err(AppendError::AdminAction) => {}
                    Err(AppendError::BackPressured | AppendError::NotConnected) => break,
                    Err(error) => panic!("{error}"),
                }
            }
            image.poll();
            if u64::try_from(image.messages.len()).unwrap() == count {
                break;
            }
            self.run(Nanos::from_millis(1));
        }
        let expected: Vec<_> = (0..count)
            .map(|number| message(number, 8 + usize::try_from(number * 37 % max).unwrap()))
            .collect();
        assert_eq!(image.messages.len(), expected.len());
        assert!(image.messages == expected, "exact to the byte");
    }
}

fn faults() -> LinkFaults {
    LinkFaults { loss: 0.05, burst: 0.002, duplicate: 0.03, reorder: 0.05, ..LinkFaults::default() }
}

#[test]
fn a_stream_arrives_exact_over_many_terms() {
    let mut pair = Pair::new(1);
    // A window of half a term would over-run on padding at the end of a term.
    let channel = format!("{CHANNEL}|rcv-wnd=16k");
    let subscription = pair.subscriber.add_subscription(&mut pair.world, &channel);
    let publication = pair.publisher.add_publication(&mut pair.world, CHANNEL);
    let mut image = pair.run_until_image(subscription);
    assert!(image.seen.source.starts_with("10.0.0.1:"));
    pair.transfer(&publication, &mut image, 1_000, 3_000);
    assert!(publication.log.active_term_count() > 10);
    assert_eq!(pair.publisher.system(SystemCounter::RetransmitsSent), 0);
    assert_eq!(pair.subscriber.system(SystemCounter::FlowControlUnderRuns), 0);
}

#[test]
fn a_stream_arrives_exact_through_loss_bursts_duplicates_and_reordering() {
    for seed in 0..8 {
        let mut pair = Pair::new(seed);
        pair.world.set_links(faults());
        let subscription = pair.subscriber.add_subscription(&mut pair.world, CHANNEL);
        let publication = pair.publisher.add_publication(&mut pair.world, CHANNEL);
        let mut image = pair.run_until_image(subscription);
        pair.transfer(&publication, &mut image, 500, 5_000);
        assert!(pair.publisher.system(SystemCounter::RetransmitsSent) > 0);
        assert!(pair.subscriber.system(SystemCounter::NaksSent) > 0);
    }
}

#[test]
fn a_stream_arrives_exact_over_ipv6_and_with_a_wildcard_port() {
    let (mut world, hosts) = world(3, 1);
    start(&mut world, hosts[0], config(DIRECTORY));
    let mut client = Client::connect(&mut world, hosts[0], DIRECTORY);
    let subscription = client.add_subscription(&mut world, "aeron:udp?endpoint=[::1]:0");
    let label = client.labels(CounterTypeId::LOCAL_ADDRESS).remove(0);
    let address = label.rsplit(' ').next().unwrap().to_string();
    assert!(address.starts_with("[::1]:") && !address.ends_with(":0"), "{label}");
    let channel = format!("aeron:udp?endpoint={address}");
    let publication = client.add_publication(&mut world, &channel);
    client.run(&mut world, Nanos::from_millis(300));
    let mut image = client.only_image(subscription);
    publication.must_offer(&mut client, &mut world, b"over six");
    client.run(&mut world, Nanos::from_millis(50));
    image.poll();
    assert_eq!(image.messages, [b"over six"]);
}

#[test]
fn a_sender_stops_at_the_window_of_its_receiver() {
    let mut pair = Pair::new(4);
    let channel = "aeron:udp?endpoint=10.0.0.2:20000|rcv-wnd=8k";
    let subscription = pair.subscriber.add_subscription(&mut pair.world, channel);
    let publication = pair.publisher.add_publication(&mut pair.world, CHANNEL);
    let mut image = pair.run_until_image(subscription);
    pair.run(Nanos::from_millis(300));
    while publication.offer(&[7; 1000]).is_ok() {}
    pair.run(Nanos::from_millis(500));
    assert_eq!(
        image.log.scan_gap(wire::position::Position(0), wire::position::Position(64 * 1024),).0.0
            / 1056,
        7,
        "whole frames within 8k"
    );
    assert!(pair.publisher.system(SystemCounter::SenderFlowControlLimits) > 0);
    image.poll();
    assert_eq!(image.messages.len(), 7);
    pair.run(Nanos::from_millis(500));
    image.poll();
    assert_eq!(image.messages.len(), 14);
}

#[test]
fn an_ended_stream_is_drained_and_then_gone() {
    let mut pair = Pair::new(5);
    let subscription = pair.subscriber.add_subscription(&mut pair.world, CHANNEL);
    let publication = pair.publisher.add_publication(&mut pair.world, CHANNEL);
    let mut image = pair.run_until_image(subscription);
    let end = publication.must_offer(&mut pair.publisher, &mut pair.world, b"the end");
    let id = publication.ready.id;
    let request = Request::RemovePublication { registration_id: CorrelationId(id), revoke: false };
    pair.publisher.call(&mut pair.world, request);
    pair.run(Nanos::from_secs(1));
    assert_eq!(image.log.end_of_stream_position().0, end);
    assert!(pair.subscriber.seen.iter().all(|seen| seen.kind() != "no image"));
    image.poll();
    assert_eq!(image.messages, [b"the end"]);
    pair.run(Nanos::from_secs(3));
    let gone = Seen::NoImage { image: image.seen.image, subscription };
    assert!(pair.subscriber.seen.contains(&gone), "{:?}", pair.subscriber.seen);
    assert!(!pair.publisher.exists(&publication.ready.log), "no linger after the receiver's end");
    pair.run(Nanos::from_secs(12));
    assert!(!pair.subscriber.exists(&image.seen.log));
}

#[test]
fn a_silent_sender_is_given_up_and_found_again() {
    let mut pair = Pair::new(6);
    let subscription = pair.subscriber.add_subscription(&mut pair.world, CHANNEL);
    let publication = pair.publisher.add_publication(&mut pair.world, CHANNEL);
    let mut image = pair.run_until_image(subscription);
    pair.transfer(&publication, &mut image, 20, 500);
    pair.world.partition(&pair.hosts[..1]);
    pair.run(Nanos::from_secs(6));
    assert_eq!(publication.offer(b"?"), Err(AppendError::NotConnected));
    pair.run(Nanos::from_secs(8));
    let gone = Seen::NoImage { image: image.seen.image, subscription };
    assert!(pair.subscriber.seen.contains(&gone));
    pair.world.mend();
    pair.run(Nanos::from_secs(3));
    let images = pair.subscriber.images(subscription);
    assert_eq!(images.len(), 2, "a new image takes over");
    let mut image = pair.subscriber.open_image(&images[1]);
    publication.must_offer(&mut pair.publisher, &mut pair.world, b"back again");
    pair.run(Nanos::from_millis(100));
    image.poll();
    assert_eq!(image.messages, [b"back again"]);
}

#[test]
fn a_rejected_image_tells_its_publisher_why() {
    let mut pair = Pair::new(7);
    let subscription = pair.subscriber.add_subscription(&mut pair.world, CHANNEL);
    let publication = pair.publisher.add_publication(&mut pair.world, CHANNEL);
    let image = pair.run_until_image(subscription);
    pair.run(Nanos::from_millis(500));
    let request = Request::RejectImage {
        image: CorrelationId(image.seen.image),
        position: wire::position::Position(0),
        reason: "no thanks",
    };
    pair.subscriber.call(&mut pair.world, request);
    pair.run(Nanos::from_secs(2));
    let told: Vec<_> = pair
        .publisher
        .seen
        .iter()
        .filter(|seen| matches!(seen, Seen::PublicationError { .. }))
        .collect();
    let Seen::PublicationError { id, text, .. } = told[0] else { panic!() };
    assert_eq!((told.len(), *id, text.as_str()), (1, publication.ready.id, "no thanks"));
}

#[test]
fn a_revoked_publication_ends_its_images_at_once() {
    let mut pair = Pair::new(8);
    let subscription = pair.subscriber.add_subscription(&mut pair.world, CHANNEL);
    let publication = pair.publisher.add_exclusive(&mut pair.world, CHANNEL);
    let image = pair.run_until_image(subscription);
    pair.run(Nanos::from_millis(500));
    let id = publication.ready.id;
    let request = Request::RemovePublication { registration_id: CorrelationId(id), revoke: true };
    pair.publisher.call(&mut pair.world, request);
    pair.run(Nanos::from_secs(2));
    assert!(image.log.is_revoked());
    let gone = Seen::NoImage { image: image.seen.image, subscription };
    assert!(pair.subscriber.seen.contains(&gone));
    assert_eq!(pair.subscriber.system(SystemCounter::PublicationImagesRevoked), 1);
}

#[test]
fn an_unreliable_subscription_fills_gaps_instead_of_asking() {
    let mut pair = Pair::new(9);
    pair.world.set_links(LinkFaults { loss: 0.1, ..LinkFaults::default() });
    let channel = format!("{CHANNEL}|reliable=false");
    let subscription = pair.subscriber.add_subscription(&mut pair.world, &channel);
    let publication = pair.publisher.add_publication(&mut pair.world, CHANNEL);
    let mut image = pair.run_until_image(subscription);
    for number in 0..300 {
        let bytes = message(number, 1000);
        publication.must_offer(&mut pair.publisher, &mut pair.world, &bytes);
        pair.run(Nanos::from_millis(2));
        image.poll();
    }
    pair.run(Nanos::from_millis(500));
    image.poll();
    assert_eq!(image.position.get(), publication.log.producer_position().0);
    assert!(image.messages.len() < 300 && image.messages.len() > 200);
    assert!(pair.subscriber.system(SystemCounter::LossGapFills) > 0);
    assert_eq!(pair.subscriber.system(SystemCounter::NaksSent), 0);
}

#[test]
fn spies_see_what_is_sent_and_may_stand_in_for_receivers() {
    let (mut world, hosts) = world(10, 1);
    start(&mut world, hosts[0], config(DIRECTORY));
    let mut client = Client::connect(&mut world, hosts[0], DIRECTORY);
    let channel = "aeron:udp?endpoint=10.0.0.1:20000|term-length=64k|ssc=true";
    let publication = client.add_publication(&mut world, channel);
    let spy = client.add_subscription(&mut world, "aeron-spy:aeron:udp?endpoint=10.0.0.1:20000");
    let mut image = client.only_image(spy);
    for number in 0..500 {
        publication.must_offer(&mut client, &mut world, &message(number, 700));
        image.poll();
    }
    client.run(&mut world, Nanos::from_millis(50));
    image.poll();
    assert_eq!(image.messages.len(), 500);
    assert_eq!(client.values(CounterTypeId::SENDER_POSITION), [image.position.get()]);
}

/// Method: hosts sleep as long as their agents allow, so that passes count deadlines.
#[test]
fn an_idle_driver_wakes_only_for_its_deadlines() {
    let mut pair = Pair::new(11);
    let mut options = sim::WorldOptions::drawn(11);
    options.idle_max = Nanos::from_secs(60);
    let mut idle = World::with_options(11, options);
    let host = idle.add_host("alone", &[std::net::IpAddr::from([10, 0, 0, 1])]);
    start(&mut idle, host, config(DIRECTORY));
    idle.run_for(Nanos::from_secs(1));
    let before = idle.passes();
    idle.run_for(Nanos::from_secs(10));
    assert!(idle.passes() - before <= 100, "{} passes", idle.passes() - before);
    let subscription = pair.subscriber.add_subscription(&mut pair.world, CHANNEL);
    let _publication = pair.publisher.add_publication(&mut pair.world, CHANNEL);
    let _image = pair.run_until_image(subscription);
    let before = pair.world.passes();
    pair.run(Nanos::from_secs(5));
    let awake = pair.world.passes() - before;
    assert!(awake < 5_000, "{awake} passes, of which 3000 are the world's own");
}
