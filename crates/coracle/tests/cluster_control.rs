//! An operator's word in the counters of a driver. The member is played by a client that owns the
//! counters of one.

use std::path::PathBuf;

use coracle::cluster::counters::Gauge;
use coracle::cluster_control::{ClusterControl, ControlError};
use coracle::consensus::Toggle;
use coracle::prelude::*;
use coracle::wire::cluster::Role;
use coracle::{client, driver, os};

#[test]
fn only_a_neutral_toggle_of_a_live_member_is_moved() {
    let place = format!("coracle-control-{}", std::process::id());
    let place: PathBuf = std::env::temp_dir().join(place);
    let driver = Driver::launch(driver::Config::at(&place)).unwrap();
    let control = ClusterControl::open(&place, 3).unwrap();
    let ask = |request| control.ask(request, os::clock::now());
    assert!(matches!(ask(Toggle::Snapshot), Err(ControlError::NoMember(3))));

    let config = client::Config { directory: place.clone(), ..client::Config::default() };
    let client = Client::connect(config).unwrap();
    let add = |gauge: Gauge, cluster_id: i32| {
        let key = cluster_id.to_le_bytes();
        client.add_counter(gauge.type_id(), &key, "a counter").wait().unwrap()
    };
    let mut other = add(Gauge::ControlToggle, 4);
    other.set(Toggle::Neutral as i64);
    assert!(matches!(ask(Toggle::Snapshot), Err(ControlError::NoMember(3))));

    let (mut toggle, mut role) = (add(Gauge::ControlToggle, 3), add(Gauge::NodeRole, 3));
    let error = ask(Toggle::Snapshot).unwrap_err().to_string();
    assert_eq!(error, "this member does not lead: its role is follower; ask the one that does");
    toggle.set(Toggle::Neutral as i64);
    role.set(2);
    assert_eq!(control.role(), Some(Role::Leader));
    assert!(ask(Toggle::Resume).is_err(), "it is not suspended");
    ask(Toggle::Snapshot).unwrap();
    assert_eq!(toggle.get(), Toggle::Snapshot as i64);
    let error = ask(Toggle::Shutdown).unwrap_err().to_string();
    assert_eq!(error, "the leader is busy: its toggle is snapshot");
    toggle.set(Toggle::Suspend as i64);
    ask(Toggle::Resume).unwrap();
    assert_eq!(toggle.get(), Toggle::Resume as i64);
    assert_eq!(other.get(), Toggle::Neutral as i64);

    client.close();
    driver.close().unwrap();
    assert!(matches!(ask(Toggle::Abort), Err(ControlError::Dead(_))));
    std::fs::remove_dir_all(&place).unwrap();
}
