//! Finding a driver.

use client::{Client, ConnectError, DriverState};
use memory::buffer::AtomicBuffer;
use runtime::Nanos;
use wire::cnc::{self, PackedVersion};

use crate::bed::{Bed, Place};
use crate::driver::{FakeDriver, LIVENESS, lay_out};

/// Polls until the outcome, in small paces.
fn outcome(place: &mut Place) -> Result<Client, ConnectError> {
    let mut connecting = Client::connect(Place::config(), &place.ports, place.now);
    loop {
        if let Some(client) = connecting.poll(place.now)? {
            return Ok(client);
        }
        assert!(connecting.next_deadline() > place.now.mono);
        place.pass_time(Nanos::from_millis(20));
    }
}

fn timeout_state(place: &mut Place) -> DriverState {
    let begun = place.now.mono;
    match outcome(place).err() {
        Some(ConnectError::Timeout { state, waited, .. }) => {
            assert!(waited >= Place::config().driver_timeout);
            assert!(place.now.mono - begun < Nanos::from_secs(5));
            state
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_a_driver_it_gives_up_and_says_what_was_missing() {
    assert_eq!(timeout_state(&mut Place::new()), DriverState::Absent);
}

#[test]
fn a_file_without_its_version_is_not_ready() {
    let mut place = Place::new();
    lay_out(&*place.ports.files, &Place::directory());
    assert_eq!(timeout_state(&mut place), DriverState::NotReady);
}

#[test]
fn a_file_that_is_too_short_is_not_ready() {
    let mut place = Place::new();
    place.ports.files.create_directory(&Place::directory()).unwrap();
    let path = Place::directory().join(cnc::FILE_NAME);
    place.ports.files.create(&path).unwrap().set_length(64).unwrap();
    assert_eq!(timeout_state(&mut place), DriverState::NotReady);
}

#[test]
fn a_driver_that_died_is_stale_and_one_that_ended_has_shut_down() {
    let mut place = Place::new();
    let mut driver = FakeDriver::launch(&place.ports, &Place::directory(), place.now);
    place.pass_time(Nanos::from_secs(60));
    let state = timeout_state(&mut place);
    assert!(matches!(state, DriverState::Stale { age_ms: 64_000.. }), "{state}");
    driver.ring.set_heartbeat_ms(-1);
    assert_eq!(timeout_state(&mut place), DriverState::ShutDown);
}

#[test]
fn it_connects_once_the_driver_comes() {
    let mut place = Place::new();
    let mut connecting = Client::connect(Place::config(), &place.ports, place.now);
    assert!(connecting.poll(place.now).unwrap().is_none());
    let _driver = FakeDriver::launch(&place.ports, &Place::directory(), place.now);
    assert!(connecting.poll(place.now).unwrap().is_none(), "it looks again later only");
    place.pass_time(Nanos::from_millis(20));
    assert!(connecting.poll(place.now).unwrap().is_some());
}

#[test]
fn two_clients_have_two_ids() {
    let bed = Bed::new();
    let mut connecting = Client::connect(Place::config(), &bed.place.ports, bed.place.now);
    let other = connecting.poll(bed.place.now).unwrap().unwrap();
    assert_ne!(bed.client.client_id(), other.client_id());
}

#[test]
fn a_driver_of_another_major_version_is_refused_at_once() {
    let mut place = Place::new();
    let driver = FakeDriver::launch(&place.ports, &Place::directory(), place.now);
    driver.set_version(PackedVersion::new(1, 0, 0));
    let error = outcome(&mut place).err().unwrap();
    assert!(matches!(&error, ConnectError::Incompatible { .. }), "{error}");
    assert!(error.to_string().contains("1.0.0"), "{error}");
}

#[test]
fn impossible_lengths_are_refused_and_not_followed() {
    let mut place = Place::new();
    let mapping = lay_out(&*place.ports.files, &Place::directory());
    let buffer = AtomicBuffer::new(mapping.region().clone());
    buffer.store_i32(cnc::TO_CLIENTS_LENGTH_OFFSET, -5);
    buffer.store_i32_release(cnc::VERSION_OFFSET, cnc::VERSION.0);
    assert!(matches!(outcome(&mut place).err(), Some(ConnectError::Incompatible { .. })));
}

#[test]
fn a_keep_alive_slower_than_the_driver_tolerates_is_refused() {
    let place = Place::new();
    let _driver = FakeDriver::launch(&place.ports, &Place::directory(), place.now);
    let config = client::Config { keep_alive_interval: LIVENESS, ..Place::config() };
    let refused = Client::connect(config, &place.ports, place.now).poll(place.now).err();
    assert!(matches!(refused, Some(ConnectError::KeepAliveInterval { .. })));
}
