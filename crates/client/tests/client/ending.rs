//! Signs of life, and all the ways in which a client ends.

use client::{AddError, ClientError, CounterTypeId, OfferError};
use runtime::Nanos;
use wire::control::{ClientId, Event};

use crate::bed::{Bed, CHANNEL, STREAM};

#[test]
fn the_client_names_itself_and_shows_that_it_lives() {
    let mut bed = Bed::new();
    let _publication = bed.publication();
    bed.run_for(Nanos::from_millis(600));
    let id = bed.driver.heartbeat_of(bed.client.client_id()).unwrap();
    let first = bed.driver.value(id);
    bed.run_for(Nanos::from_millis(600));
    let second = bed.driver.value(id);
    assert!(first > 0 && (500..=600).contains(&(second - first)), "{first} {second}");
    let label = bed.client.counters().record(id).unwrap().label;
    let named = format!("client-heartbeat: id={} name=tester version=", bed.client.client_id().0);
    assert!(label.starts_with(&named), "{label}");
    bed.run_for(Nanos::from_secs(60));
}

/// Everything of a client that has ended is closed, and every further pass says why.
fn assert_ended(mut bed: Bed, expected: &ClientError) {
    let publication = bed.publication();
    let mut exclusive = bed.exclusive_publication();
    let mut subscription = bed.subscription();
    let pending = bed.client.add_counter(CounterTypeId(1000), b"", "x");
    let mut counter = bed.wait(pending);
    let mut image = subscription.take_image(publication.registration_id()).unwrap();
    publication.offer(b"x").unwrap();
    bed.driver.is_mute = true;
    let mut pending = bed.client.add_publication(CHANNEL, STREAM);
    bed.step();
    counter.set(1);
    let id = counter.id();

    end(&mut bed, expected);
    assert_eq!(bed.work(), Err(expected.clone()));
    assert_eq!(publication.offer(b"x"), Err(OfferError::Closed));
    assert_eq!(publication.try_claim(1).err(), Some(OfferError::Closed));
    assert_eq!(exclusive.offer(b"x"), Err(OfferError::Closed));
    assert!(!publication.is_connected() && subscription.is_closed() && counter.is_closed());
    assert_eq!(subscription.poll(10, |_| ()) + image.poll(10, |_| ()), 0);
    counter.set(2);
    assert_eq!(bed.driver.value(id), 1);
    let answer = pending.poll().err().unwrap();
    let waited_in_vain = matches!(expected, ClientError::DriverTimeout { .. })
        && matches!(answer, AddError::Timeout { .. });
    assert!(waited_in_vain || answer == AddError::Client(expected.clone()), "{answer}");
    let late = bed.client.add_subscription(CHANNEL, STREAM).poll().err();
    assert_eq!(late, Some(AddError::Client(ClientError::Closed)));
    drop((bed, publication, exclusive, subscription, counter, image));
}

/// Brings the end about.
fn end(bed: &mut Bed, expected: &ClientError) {
    match expected {
        ClientError::DriverTimeout { .. } => {
            while bed.work().is_ok() {
                bed.place.pass_time(Nanos::from_millis(250));
            }
        }
        ClientError::DriverShutDown => {
            bed.driver.ring.set_heartbeat_ms(-1);
            bed.place.pass_time(Nanos::from_millis(500));
        }
        ClientError::ClientTimeout { client_id } => {
            bed.driver.send(&Event::ClientTimedOut { client_id: ClientId(-77) });
            let _ = bed.work().unwrap();
            bed.driver.send(&Event::ClientTimedOut { client_id: *client_id });
        }
        ClientError::ServiceInterval { .. } => bed.place.pass_time(Nanos::from_millis(5001)),
        ClientError::UnableToKeepUp => {
            for _ in 0..100 {
                bed.driver.events.transmit(0x0FFF, &[0; 1000]).unwrap();
            }
        }
        ClientError::Closed => bed.client.close(),
    }
}

#[test]
fn a_driver_that_is_silent_for_its_time_out_ends_the_client() {
    assert_ended(Bed::new(), &ClientError::DriverTimeout { age_ms: 4500 });
}

#[test]
fn a_driver_that_shuts_down_ends_the_client() {
    assert_ended(Bed::new(), &ClientError::DriverShutDown);
}

#[test]
fn a_client_that_the_driver_took_for_dead_ends() {
    let bed = Bed::new();
    let client_id = bed.client.client_id();
    assert_ended(bed, &ClientError::ClientTimeout { client_id });
}

#[test]
fn a_client_that_was_not_stepped_ends() {
    let (elapsed, limit) = (Nanos::from_millis(5001), Nanos::from_secs(5));
    assert_ended(Bed::new(), &ClientError::ServiceInterval { elapsed, limit });
}

#[test]
fn a_client_that_missed_messages_ends() {
    assert_ended(Bed::new(), &ClientError::UnableToKeepUp);
}

#[test]
fn a_client_that_was_closed_has_ended() {
    assert_ended(Bed::new(), &ClientError::Closed);
}

#[test]
fn closing_tells_the_driver_once() {
    let mut bed = Bed::new();
    bed.client.close();
    bed.client.close();
    bed.driver.step(bed.place.now);
    assert_eq!(bed.commands(), ["ClientClose"]);
}

#[test]
fn a_heartbeat_counter_that_is_gone_means_that_the_driver_gave_up_on_this_client() {
    let mut bed = Bed::new();
    let _publication = bed.publication();
    bed.run_for(Nanos::from_secs(1));
    let client_id = bed.client.client_id();
    let id = bed.driver.heartbeat_of(client_id).unwrap();
    bed.driver.counters.free(id, bed.place.now.epoch_millis());
    bed.place.pass_time(Nanos::from_millis(500));
    assert_eq!(bed.work(), Err(ClientError::ClientTimeout { client_id }));
}

#[test]
fn a_dropped_client_has_no_outside_effect_and_its_resources_are_closed() {
    let mut bed = Bed::new();
    let (publication, subscription) = (bed.publication(), bed.subscription());
    bed.commands();
    drop(bed.client);
    assert!(publication.is_closed() && subscription.is_closed());
    drop((publication, subscription));
    bed.driver.step(bed.place.now);
    assert_eq!(bed.driver.commands, [""; 0]);
}

#[test]
fn the_next_deadline_is_the_next_sign_of_life_or_the_first_time_out() {
    let mut bed = Bed::new();
    let work = bed.work().unwrap();
    assert_eq!(work.next_deadline, bed.place.now.mono + Nanos::from_millis(500));
    assert_eq!(bed.work().unwrap().done, 0, "an idle pass does nothing");
    bed.place.pass_time(Nanos::from_millis(250));
    let _pending = bed.client.add_publication(CHANNEL, STREAM);
    let _ = bed.work().unwrap();
    for _ in 0..7 {
        bed.place.pass_time(Nanos::from_millis(500));
        bed.driver.ring.set_heartbeat_ms(bed.place.now.epoch_millis());
        let _ = bed.work().unwrap();
    }
    let work = bed.work().unwrap();
    assert_eq!(work.next_deadline, bed.place.now.mono + Nanos::from_millis(500));
}

#[test]
fn memory_of_a_log_is_given_back_after_the_linger_and_not_by_its_user() {
    let mut bed = Bed::new();
    let (publication, subscription) = (bed.publication(), bed.subscription());
    let id = publication.registration_id();
    let users = |bed: &Bed| std::sync::Arc::strong_count(&bed.driver.publications[&id].region);
    let used = users(&bed);
    drop(publication);
    bed.run_for(Nanos::from_secs(10));
    assert_eq!(users(&bed), used, "the image still uses it");
    drop(subscription);
    bed.run_for(Nanos::from_millis(2900));
    assert_eq!(users(&bed), used, "it lingers");
    bed.run_for(Nanos::from_millis(1200));
    bed.place.world.run_for(Nanos::from_secs(1));
    assert!(users(&bed) < used);
}
