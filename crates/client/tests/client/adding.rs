//! Requests and their answers; drops and removals.

use client::{AddError, ClientError, ClientEvent, Counter, CounterTypeId, ErrorCode, Pending};
use runtime::Nanos;
use wire::cnc::PackedVersion;
use wire::control::{CorrelationId, Event, PublicationError};
use wire::counters::{ChannelKey, CounterId, LocalAddressKey};
use wire::position::SessionId;

use crate::bed::{Bed, CHANNEL, STREAM};

const TYPE: CounterTypeId = CounterTypeId(1000);

fn count(commands: &[String], beginning: &str) -> usize {
    commands.iter().filter(|command| command.starts_with(beginning)).count()
}

#[test]
fn publications_of_one_stream_share_the_log_and_exclusive_ones_do_not() {
    let mut bed = Bed::new();
    let (first, second) = (bed.publication(), bed.publication());
    let exclusive = bed.exclusive_publication();
    assert_eq!(first.registration_id(), first.original_registration_id());
    assert_eq!(second.original_registration_id(), first.registration_id());
    assert_ne!(second.registration_id(), first.registration_id());
    assert_eq!(first.session_id(), second.session_id());
    assert_ne!(exclusive.session_id(), first.session_id());
    assert_eq!((first.channel(), first.stream_id()), (CHANNEL, STREAM));
    assert_eq!((first.message_length_max(), first.payload_length_max()), (8192, 1376));
}

#[test]
fn a_refusal_has_the_drivers_code_and_words() {
    let mut bed = Bed::new();
    bed.driver.refusal = Some((ErrorCode::INVALID_CHANNEL, "no such thing"));
    let mut pending = bed.client.add_publication("aeron:nonsense", STREAM);
    bed.step();
    let error = pending.poll().err().unwrap();
    assert_eq!(error.to_string(), "driver refused: invalid channel: no such thing");
}

#[test]
fn a_request_without_an_answer_times_out_and_says_what_was_asked() {
    let mut bed = Bed::new();
    bed.driver.is_mute = true;
    let mut pending = bed.client.add_subscription("aeron:udp?endpoint=x:1", STREAM);
    bed.step();
    assert!(pending.poll().unwrap().is_none());
    bed.run_for(Nanos::from_secs(4));
    let error = pending.poll().err().unwrap();
    assert_eq!(
        error.to_string(),
        "no answer from the driver within 4000 ms to: \
         add subscription aeron:udp?endpoint=x:1 stream 10"
    );
}

#[test]
fn what_the_driver_makes_after_the_time_out_is_removed_again() {
    let mut bed = Bed::new();
    bed.driver.is_mute = true;
    let pending = bed.client.add_subscription(CHANNEL, STREAM);
    bed.run_for(Nanos::from_secs(5));
    bed.commands();
    let correlation_id = pending.registration_id();
    let channel_status_id = CounterId::NONE;
    bed.driver.send(&Event::SubscriptionReady { correlation_id, channel_status_id });
    bed.step();
    assert_eq!(
        bed.commands(),
        [format!("RemoveSubscription {{ registration_id: {correlation_id:?} }}")]
    );
}

#[test]
fn an_answer_that_nobody_waits_for_is_removed_again() {
    let mut bed = Bed::new();
    drop(bed.client.add_publication(CHANNEL, STREAM));
    drop(bed.client.add_subscription(CHANNEL, STREAM));
    drop(bed.client.add_counter(TYPE, b"", "label"));
    bed.step();
    bed.step();
    let commands = bed.commands();
    for removal in ["RemovePublication", "RemoveSubscription", "RemoveCounter"] {
        assert_eq!(count(&commands, removal), 1, "{commands:?}");
    }
}

#[test]
fn dropping_removes_once_and_by_the_right_id() {
    let mut bed = Bed::new();
    let publication = bed.publication();
    let id = publication.registration_id();
    bed.commands();
    drop(publication);
    bed.step();
    bed.client.remove_publication(id);
    bed.step();
    let removal = format!("RemovePublication {{ registration_id: {id:?}, revoke: false }}");
    assert_eq!(bed.commands(), [removal]);
}

#[test]
fn removal_by_id_closes_the_value_wherever_it_is() {
    let mut bed = Bed::new();
    let (publication, mut subscription) = (bed.publication(), bed.subscription());
    publication.offer(b"x").unwrap();
    bed.client.remove_publication(publication.registration_id());
    bed.client.remove_subscription(subscription.registration_id());
    bed.step();
    assert_eq!(publication.offer(b"x"), Err(client::OfferError::Closed));
    assert!(subscription.is_closed() && publication.is_closed());
    assert_eq!(subscription.poll(10, |_| unreachable!("closed")), 0);
    bed.commands();
    drop((publication, subscription));
    bed.step();
    assert_eq!(bed.commands(), [""; 0]);
}

#[test]
fn revoking_tells_the_driver() {
    let mut bed = Bed::new();
    let publication = bed.exclusive_publication();
    bed.commands();
    publication.revoke();
    bed.step();
    assert!(bed.commands()[0].ends_with("revoke: true }"));
}

#[test]
fn counters_are_written_by_their_owner_and_seen_by_all() {
    let mut bed = Bed::new();
    let pending = bed.client.add_counter(TYPE, b"key", "a label");
    let mut counter: Counter = bed.wait(pending);
    counter.set(41);
    assert_eq!(counter.add(1), 41);
    assert_eq!(bed.driver.value(counter.id()), 42);
    let record = bed.client.counters().record(counter.id()).unwrap();
    assert_eq!((record.label.as_str(), &record.key[..3]), ("a label", &b"key"[..]));
    assert_eq!(bed.client.counters().find(TYPE, counter.registration_id().0), Some(counter.id()));
    let mut events = Vec::new();
    bed.client.poll_events(|event| events.push(event));
    let (registration_id, counter_id) = (counter.registration_id(), counter.id());
    assert_eq!(events, [ClientEvent::CounterAvailable { registration_id, counter_id }]);
}

#[test]
fn a_counter_that_the_driver_freed_takes_no_more_values() {
    let mut bed = Bed::new();
    let pending = bed.client.add_counter(TYPE, b"", "x");
    let mut counter = bed.wait(pending);
    counter.set(1);
    let (registration_id, counter_id) = (counter.registration_id(), counter.id());
    bed.driver.send(&Event::UnavailableCounter { registration_id, counter_id });
    bed.step();
    assert!(counter.is_closed());
    counter.set(2);
    assert_eq!(bed.driver.value(counter_id), 1);
}

#[test]
fn static_counters_are_found_again_and_outlive_their_value() {
    let mut bed = Bed::new();
    let add = |bed: &mut Bed| {
        let pending = bed.client.add_static_counter(TYPE, CorrelationId(99), b"", "static");
        bed.wait(pending)
    };
    let mut first = add(&mut bed);
    first.set(5);
    let id = first.id();
    drop(first);
    bed.commands();
    bed.step();
    assert_eq!(bed.commands(), [""; 0]);
    let again = add(&mut bed);
    assert_eq!((again.id(), again.get(), again.registration_id().0), (id, 5, 99));
}

#[test]
fn arguments_that_no_driver_takes_fail_at_once() {
    let bed = Bed::new();
    let long = "x".repeat(5000);
    let channel = bed.client.add_publication(&long, STREAM).poll().err();
    assert_eq!(channel, Some(AddError::TooLong { what: "channel", length: 5000, max: 4095 }));
    let key = bed.client.add_counter(TYPE, &[0; 113], "").poll().err();
    assert_eq!(key, Some(AddError::TooLong { what: "counter key", length: 113, max: 112 }));
    let label = bed.client.add_counter(TYPE, b"", &long[..381]).poll().err();
    assert_eq!(label, Some(AddError::TooLong { what: "counter label", length: 381, max: 380 }));
}

#[test]
fn destinations_are_added_and_removed_for_their_resource() {
    let mut bed = Bed::new();
    let (publication, subscription) = (bed.publication(), bed.subscription());
    bed.commands();
    let channel = "aeron:udp?endpoint=h:1";
    let add = publication.add_destination(channel);
    let destination = add.registration_id();
    let requests: Vec<Pending<()>> = vec![
        add,
        publication.remove_destination_by_id(destination),
        publication.remove_destination(channel),
        subscription.add_destination(channel),
        subscription.remove_destination(channel),
    ];
    bed.step();
    for mut pending in requests {
        assert_eq!(pending.poll().unwrap(), Some(()));
    }
    let (p, s) = (publication.registration_id(), subscription.registration_id());
    let commands = bed.commands();
    let expected = [
        format!("AddDestination {{ registration_id: {p:?}, channel: {channel:?} }}"),
        format!("RemoveDestinationById {{ registration_id: {p:?}, destination: {destination:?} }}"),
        format!("RemoveDestination {{ registration_id: {p:?}, channel: {channel:?} }}"),
        format!("AddReceiveDestination {{ registration_id: {s:?}, channel: {channel:?} }}"),
        format!("RemoveReceiveDestination {{ registration_id: {s:?}, channel: {channel:?} }}"),
    ];
    assert_eq!(commands, expected);
}

#[test]
fn session_ids_come_from_the_driver_or_at_random_from_an_old_one() {
    let mut bed = Bed::new();
    let pending = bed.client.next_session_id(STREAM);
    assert_eq!(bed.wait(pending), SessionId(4711));
    bed.driver.set_protocol_version(PackedVersion::new(0, 9, 0));
    bed.commands();
    let (first, second) = (bed.client.next_session_id(STREAM), bed.client.next_session_id(STREAM));
    assert_ne!(bed.wait(first), bed.wait(second));
    assert_eq!(bed.commands(), [""; 0]);
}

#[test]
fn an_image_is_rejected_where_its_reader_stands() {
    let mut bed = Bed::new();
    let (publication, mut subscription) = (bed.publication(), bed.subscription());
    publication.offer(b"x").unwrap();
    subscription.poll(1, |_| ());
    bed.commands();
    let image = subscription.images().next().unwrap();
    let pending = image.reject("bad manners");
    let id = image.correlation_id();
    bed.wait(pending);
    let rejection =
        format!("RejectImage {{ image: {id:?}, position: Position(64), reason: \"bad manners\" }}");
    assert_eq!(bed.commands(), [rejection]);
}

#[test]
fn a_wildcard_port_is_resolved_by_the_local_address_counter() {
    let mut bed = Bed::new();
    let channel = "aeron:udp?endpoint=localhost:0|alias=x";
    let key = ChannelKey { channel }.encode();
    let kind = CounterTypeId::RECEIVE_CHANNEL_STATUS;
    let status_id = bed.driver.add_counter(kind, key.as_bytes(), "rcv-channel", 1, 0);
    let mut pending = bed.client.add_subscription(channel, STREAM);
    bed.driver.is_mute = true;
    bed.step();
    let correlation_id = pending.registration_id();
    let channel_status_id = status_id;
    bed.driver.send(&Event::SubscriptionReady { correlation_id, channel_status_id });
    bed.step();
    let subscription = pending.poll().unwrap().unwrap();
    assert_eq!(subscription.channel_status(), client::ChannelStatus::Initializing);
    assert_eq!(subscription.resolved_channel(), None);

    let address = "127.0.0.1:20500";
    let key = LocalAddressKey { channel_status_id: status_id.0, address }.encode();
    let kind = CounterTypeId::LOCAL_ADDRESS;
    let address_id = bed.driver.add_counter(kind, key.as_bytes(), "rcv-local-sockaddr", 1, 0);
    bed.driver.counters.writer(address_id).unwrap().set_release(1);
    assert_eq!(subscription.local_addresses(), [""; 0], "the channel is not active yet");
    bed.driver.counters.writer(status_id).unwrap().set_release(1);
    assert_eq!(subscription.resolved_endpoint().as_deref(), Some(address));
    let resolved = subscription.resolved_channel().unwrap();
    assert!(resolved.contains("endpoint=127.0.0.1:20500"), "{resolved}");
    assert!(resolved.contains("alias=x"), "{resolved}");
}

#[test]
fn errors_of_own_publications_and_channels_become_events_and_others_do_not() {
    let mut bed = Bed::new();
    let publication = bed.publication();
    let error = |registration_id| {
        Event::PublicationError(PublicationError {
            registration_id,
            destination: CorrelationId(-1),
            session_id: SessionId(1),
            stream_id: STREAM,
            receiver_id: 9,
            group_tag: -1,
            source: "10.0.0.2:7".parse::<std::net::SocketAddr>().unwrap().into(),
            code: ErrorCode::IMAGE_REJECTED,
            text: "go away",
        })
    };
    bed.driver.send(&error(CorrelationId(123_456)));
    bed.driver.send(&error(publication.original_registration_id()));
    bed.step();
    let mut events = Vec::new();
    assert_eq!(bed.client.poll_events(|event| events.push(event)), 1);
    match &events[0] {
        ClientEvent::PublicationError { destination, group_tag, source, message, .. } => {
            assert_eq!((destination, group_tag, message.as_str()), (&None, &None, "go away"));
            assert_eq!(*source, Some("10.0.0.2:7".parse().unwrap()));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn answers_to_other_clients_and_unknown_messages_are_ignored() {
    let mut bed = Bed::new();
    let correlation_id = CorrelationId(424_242);
    let channel_status_id = CounterId::NONE;
    bed.driver.send(&Event::SubscriptionReady { correlation_id, channel_status_id });
    let (code, text) = (ErrorCode::GENERIC, "not yours");
    bed.driver.send(&Event::Error { offending: correlation_id, code, text });
    bed.driver.events.transmit(0x0FFF, b"unknown").unwrap();
    bed.driver.events.transmit(0x0F03, b"short").unwrap();
    bed.step();
    assert_eq!(bed.client.poll_events(|_| ()), 0);
    assert!(bed.publication().is_connected() || bed.commands().len() == 1);
}

#[test]
fn a_full_ring_delays_requests_and_loses_none() {
    let mut bed = Bed::new();
    let channel = format!("aeron:ipc?alias={}", "a".repeat(4000));
    let mut requests: Vec<_> =
        (0..40).map(|_| bed.client.add_destination(CorrelationId(1), &channel)).collect();
    for _ in 0..10 {
        bed.step();
    }
    assert_eq!(bed.commands().len(), 40);
    assert!(requests.iter_mut().all(|pending| pending.poll().unwrap() == Some(())));
}

#[test]
fn a_log_that_cannot_be_mapped_fails_the_request_and_is_removed() {
    let mut bed = Bed::new();
    let publication = bed.publication();
    let path = bed.driver.publications[&publication.registration_id()].path.clone();
    drop(publication);
    bed.step();
    // The log is mapped still, until its linger is over.
    bed.run_for(Nanos::from_secs(5));
    bed.driver.files.remove(std::path::Path::new(&path)).unwrap();
    bed.commands();
    let mut pending = bed.client.add_publication(CHANNEL, STREAM);
    bed.step();
    let error = pending.poll().err().unwrap();
    assert!(matches!(&error, AddError::Log { path: of, .. } if *of == path), "{error}");
    bed.step();
    assert_eq!(count(&bed.commands(), "RemovePublication"), 1);
}

#[test]
fn requests_to_a_client_that_has_gone_fail() {
    let bed = Bed::new();
    let handle = bed.client.handle();
    let mut before = handle.add_publication(CHANNEL, STREAM);
    drop(bed.client);
    let closed = Some(AddError::Client(ClientError::Closed));
    assert_eq!(before.poll().err(), closed);
    assert_eq!(handle.add_publication(CHANNEL, STREAM).poll().err(), closed);
    assert!(handle.is_closed());
}
