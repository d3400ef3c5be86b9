//! Publications and subscriptions within one host.

mod common;

use common::*;
use memory::log::append::AppendError;
use runtime::Nanos;
use wire::control::{CorrelationId, ErrorCode, Request};
use wire::counters::{CounterId, CounterTypeId, SystemCounter};

const DIRECTORY: &str = "/dev/shm/driver";

fn driver_and_client() -> (sim::World, Client) {
    let (mut world, hosts) = world(7, 1);
    start(&mut world, hosts[0], config(DIRECTORY));
    let client = Client::connect(&mut world, hosts[0], DIRECTORY);
    (world, client)
}

#[test]
fn the_first_command_of_a_client_is_announced_by_its_heartbeat_counter() {
    let (mut world, mut client) = driver_and_client();
    let (id, seen) =
        client.call(&mut world, Request::AddPublication { stream_id: STREAM, channel: IPC });
    assert_eq!(kinds(&seen), ["counter", "publication"]);
    assert!(matches!(seen[0], Seen::Counter { id, .. } if id == client.id));
    let Seen::Publication(ready) = &seen[1] else { panic!("{seen:?}") };
    assert_eq!((ready.id, ready.original, ready.status), (id, id, CounterId::NONE));
    assert!(ready.log.ends_with(&format!("/publications/{id}.logbuffer")));
    let labels = client.labels(CounterTypeId::CLIENT_HEARTBEAT);
    assert_eq!(labels, [format!("client-heartbeat: id={}", client.id)]);
}

#[test]
fn subscriptions_and_publications_find_each_other_in_either_order() {
    let (mut world, mut client) = driver_and_client();
    let early = client.add_subscription(&mut world, "aeron:ipc");
    let (_, seen) =
        client.call(&mut world, Request::AddPublication { stream_id: STREAM, channel: IPC });
    assert_eq!(kinds(&seen), ["publication", "image"]);
    let (late, seen) =
        client.call(&mut world, Request::AddSubscription { stream_id: STREAM, channel: IPC });
    assert_eq!(kinds(&seen), ["subscription", "image"]);
    assert_eq!((client.images(early).len(), client.images(late).len()), (1, 1));
    assert_eq!(client.images(late)[0].source, "aeron:ipc");
}

#[test]
fn messages_of_every_size_arrive_whole_and_in_order_over_many_terms() {
    let (mut world, mut client) = driver_and_client();
    let subscription = client.add_subscription(&mut world, "aeron:ipc");
    let publication = client.add_publication(&mut world, IPC);
    let mut image = client.only_image(subscription);
    let mut sent = Vec::new();
    for number in 0..2_000 {
        let bytes = message(number, 8 + (number as usize * 37) % 3_000);
        loop {
            match publication.offer(&bytes) {
                Ok(_) => break,
                Err(AppendError::AdminAction) => {}
                Err(_) => {
                    image.poll();
                    client.run(&mut world, Nanos::from_millis(1));
                }
            }
        }
        sent.push(bytes);
    }
    image.poll();
    assert_eq!(image.messages, sent);
    assert!(publication.log.active_term_count() > 40);
}

#[test]
fn a_publisher_is_stopped_by_its_slowest_subscriber_and_freed_without_any() {
    let (mut world, mut client) = driver_and_client();
    let publication = client.add_publication(&mut world, IPC);
    assert_eq!(publication.offer(&[1; 100]), Err(AppendError::NotConnected));
    let subscription = client.add_subscription(&mut world, "aeron:ipc");
    client.run(&mut world, Nanos::from_millis(10));
    while publication.offer(&[1; 1000]).is_ok() {}
    assert_eq!(publication.offer(&[1; 1000]), Err(AppendError::BackPressured));
    assert!(publication.log.producer_position().0 >= 32 * 1024);
    let request = Request::RemoveSubscription { registration_id: CorrelationId(subscription) };
    let (id, seen) = client.call(&mut world, request);
    assert_eq!(seen, [Seen::Success(id)], "the client closes its own images");
    assert_eq!(publication.offer(&[1; 1000]), Err(AppendError::NotConnected));
}

#[test]
fn publications_on_one_stream_are_shared_and_exclusive_ones_are_not() {
    let (mut world, mut client) = driver_and_client();
    let first = client.add_publication(&mut world, IPC);
    let second = client.add_publication(&mut world, "aeron:ipc");
    assert_eq!(second.ready.original, first.ready.id);
    assert_eq!(second.ready.log, first.ready.log);
    let exclusive = client.add_exclusive(&mut world, IPC);
    assert_ne!(exclusive.ready.session, first.ready.session);
    let remove = |publication: &Publication| Request::RemovePublication {
        registration_id: CorrelationId(publication.ready.id),
        revoke: false,
    };
    client.call(&mut world, remove(&first));
    client.run(&mut world, Nanos::from_secs(4));
    assert!(client.exists(&first.ready.log), "the second still holds it");
    client.call(&mut world, remove(&second));
    client.run(&mut world, Nanos::from_secs(4));
    assert!(!client.exists(&first.ready.log));
    assert!(client.exists(&exclusive.ready.log));
}

#[test]
fn a_publication_drains_before_its_subscribers_are_told_that_it_went() {
    let (mut world, mut client) = driver_and_client();
    let subscription = client.add_subscription(&mut world, "aeron:ipc");
    let publication = client.add_publication(&mut world, IPC);
    let mut image = client.only_image(subscription);
    client.run(&mut world, Nanos::from_millis(10));
    let end = publication.offer(b"last words").unwrap();
    let request = Request::RemovePublication {
        registration_id: CorrelationId(publication.ready.id),
        revoke: false,
    };
    client.call(&mut world, request);
    let seen = client.run(&mut world, Nanos::from_secs(5));
    assert_eq!(seen, [], "it waits for the subscriber");
    assert_eq!(image.log.end_of_stream_position().0, end);
    image.poll();
    assert_eq!(image.messages, [b"last words"]);
    let seen = client.run(&mut world, Nanos::from_secs(3));
    let image = publication.ready.id;
    assert_eq!(seen, [Seen::NoImage { image, subscription }]);
}

#[test]
fn a_publication_that_drains_is_joined_until_it_is_read_to_its_end() {
    let (mut world, mut client) = driver_and_client();
    let first = client.add_subscription(&mut world, "aeron:ipc");
    let publication = client.add_publication(&mut world, IPC);
    let mut image = client.only_image(first);
    client.run(&mut world, Nanos::from_millis(10));
    publication.offer(b"all that there is").unwrap();
    let request = Request::RemovePublication {
        registration_id: CorrelationId(publication.ready.id),
        revoke: false,
    };
    client.call(&mut world, request);
    let late = client.add_subscription(&mut world, "aeron:ipc");
    let mut joined = client.only_image(late);
    image.poll();
    client.run(&mut world, Nanos::from_millis(10));
    let (third, seen) =
        client.call(&mut world, Request::AddSubscription { stream_id: STREAM, channel: IPC });
    assert_eq!(kinds(&seen), ["subscription", "image"], "the second has not read it yet");
    for image in [&mut joined, &mut client.only_image(third)] {
        image.poll();
        assert_eq!(image.messages, [b"all that there is"]);
    }
    client.run(&mut world, Nanos::from_millis(10));
    let (_, seen) =
        client.call(&mut world, Request::AddSubscription { stream_id: STREAM, channel: IPC });
    assert_eq!(kinds(&seen), ["subscription"], "all have read it");
}

#[test]
fn a_claim_that_its_publisher_never_finished_is_passed_after_the_unblock_time_out() {
    let (mut world, mut client) = driver_and_client();
    let subscription = client.add_subscription(&mut world, "aeron:ipc");
    let publication = client.add_publication(&mut world, IPC);
    let mut image = client.only_image(subscription);
    client.run(&mut world, Nanos::from_millis(10));
    let limit = wire::position::Position(publication.limit.get());
    std::mem::forget(publication.log.claim(limit, 100).unwrap());
    publication.offer(b"behind").unwrap();
    client.run(&mut world, Nanos::from_secs(14));
    assert_eq!(image.poll(), 0);
    client.run(&mut world, Nanos::from_secs(4));
    assert_eq!(image.poll(), 1);
    assert_eq!(image.messages, [b"behind"]);
    assert_eq!(client.system(SystemCounter::UnblockedPublications), 1);
}

#[test]
fn a_rejected_publication_is_left_for_the_image_liveness_time_out() {
    let (mut world, mut client) = driver_and_client();
    let subscription = client.add_subscription(&mut world, "aeron:ipc");
    let publication = client.add_publication(&mut world, IPC);
    let image = publication.ready.id;
    let request = Request::RejectImage {
        image: CorrelationId(image),
        position: wire::position::Position(0),
        reason: "not this one",
    };
    let (id, seen) = client.call(&mut world, request);
    assert_eq!(seen, [Seen::NoImage { image, subscription }, Seen::Success(id)]);
    assert_eq!(client.run(&mut world, Nanos::from_secs(9)), []);
    let seen = client.run(&mut world, Nanos::from_secs(3));
    assert_eq!(kinds(&seen), ["image"]);
    assert_eq!(client.system(SystemCounter::ImagesRejected), 1);
}

#[test]
fn an_untethered_subscriber_is_left_behind_and_comes_back() {
    let (mut world, mut client) = driver_and_client();
    let keen = client.add_subscription(&mut world, "aeron:ipc");
    let lazy = client.add_subscription(
        &mut world,
        "aeron:ipc?tether=false|untethered-window-limit-timeout=2s|untethered-resting-timeout=3s",
    );
    let publication = client.add_publication(&mut world, IPC);
    let mut image = client.only_image(keen);
    let mut seen = Vec::new();
    for number in 0..200 {
        while publication.offer(&message(number, 1000)).is_ok() {}
        image.poll();
        seen.extend(client.run(&mut world, Nanos::from_millis(100)));
    }
    let of_lazy: Vec<_> = seen
        .iter()
        .filter(|seen| match seen {
            Seen::NoImage { subscription, .. } => *subscription == lazy,
            Seen::Image(image) => image.subscription == lazy,
            _ => false,
        })
        .map(Seen::kind)
        .collect();
    assert_eq!(of_lazy[..3], ["no image", "image", "no image"], "{seen:?}");
    assert!(image.position.get() > 10 * 65_536, "the keen one goes on");
    assert_eq!(client.images(lazy)[0].counter, client.images(lazy)[1].counter);
}

#[test]
fn a_revoked_publication_ends_at_once_and_says_so() {
    let (mut world, mut client) = driver_and_client();
    let subscription = client.add_subscription(&mut world, "aeron:ipc");
    let publication = client.add_exclusive(&mut world, IPC);
    let image = client.only_image(subscription);
    let request = Request::RemovePublication {
        registration_id: CorrelationId(publication.ready.id),
        revoke: true,
    };
    let (id, seen) = client.call(&mut world, request);
    let gone = Seen::NoImage { image: publication.ready.id, subscription };
    assert_eq!(seen, [gone, Seen::Success(id)]);
    assert!(image.log.is_revoked());
    assert_eq!(client.system(SystemCounter::PublicationsRevoked), 1);
}

#[test]
fn logs_and_counters_of_what_is_gone_are_removed() {
    let (mut world, mut client) = driver_and_client();
    let publication = client.add_publication(&mut world, IPC);
    assert_eq!(client.system(SystemCounter::BytesCurrentlyMapped), 3 * 65_536 + 4096);
    let request = Request::RemovePublication {
        registration_id: CorrelationId(publication.ready.id),
        revoke: false,
    };
    client.call(&mut world, request);
    client.run(&mut world, Nanos::from_secs(4));
    assert!(!client.exists(&publication.ready.log));
    assert_eq!(client.values(CounterTypeId::PUBLISHER_LIMIT), [0_i64; 0]);
    assert_eq!(client.values(CounterTypeId::PUBLISHER_POSITION), [0_i64; 0]);
    assert_eq!(client.system(SystemCounter::BytesCurrentlyMapped), 0);
}

#[test]
fn a_publication_that_differs_from_the_one_that_it_would_share_is_refused() {
    let (mut world, mut client) = driver_and_client();
    let publication = client.add_publication(&mut world, IPC);
    let session = publication.ready.session.wrapping_add(1);
    for (tail, code) in [
        ("mtu=4096".to_string(), ErrorCode::GENERIC),
        ("term-length=128k".to_string(), ErrorCode::GENERIC),
        (format!("session-id={session}"), ErrorCode::GENERIC),
        ("ssc=true".to_string(), ErrorCode::GENERIC),
    ] {
        let channel = format!("aeron:ipc?{tail}");
        let request = Request::AddPublication { stream_id: STREAM, channel: &channel };
        let (id, seen) = client.call(&mut world, request);
        let [Seen::Error { id: offending, code: found, .. }] = &seen[..] else {
            panic!("{tail}: {seen:?}")
        };
        assert_eq!((*offending, *found), (id, code), "{tail}");
    }
    let clash = format!("aeron:ipc?session-id={}", publication.ready.session);
    let request = Request::AddExclusivePublication { stream_id: STREAM, channel: &clash };
    let (_, seen) = client.call(&mut world, request);
    assert!(
        matches!(&seen[..], [Seen::Error { code: ErrorCode::INVALID_CHANNEL, .. }]),
        "{seen:?}"
    );
}
