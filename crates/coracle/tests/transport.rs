//! A driver and clients on their own threads, as a program uses them.

use std::path::PathBuf;

use coracle::directory::{DirectoryError, DriverDirectory};
use coracle::prelude::*;
use coracle::runtime::{Halt, Nanos};
use coracle::{ClientStartError, DriverStartError, client, driver, os};

/// A directory of its own, removed at the end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let place = format!("coracle-facade-{}-{name}", std::process::id());
        Self(std::env::temp_dir().join(place))
    }

    fn driver(&self, mode: &str) -> Result<Driver, DriverStartError> {
        let mut config = driver::Config::at(&self.0);
        config.terms.term_length = 64 << 10;
        config.terms.ipc_term_length = 64 << 10;
        config.agents.threading_mode = mode.to_string();
        Driver::launch(config)
    }

    fn client(&self) -> Result<Client, ClientStartError> {
        let directory = self.0.clone();
        let driver_timeout = Nanos::from_secs(2);
        Client::connect(client::Config { directory, driver_timeout, ..Default::default() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn pause(tries: &mut u32) {
    *tries += 1;
    assert!(*tries < 50_000, "not in time");
    os::thread::sleep(Nanos::from_micros(200));
}

#[test]
fn messages_pass_however_the_agents_are_spread_over_threads() {
    for (index, mode) in ["SHARED", "SHARED_NETWORK", "DEDICATED"].into_iter().enumerate() {
        let place = Place::new(mode);
        let driver = place.driver(mode).unwrap();
        let client = place.client().unwrap();
        let channel = format!("aeron:udp?endpoint=127.0.0.1:{}", 31_900 + index);
        let mut subscription = client.add_subscription(&channel, StreamId(1)).wait().unwrap();
        let publication = client.add_publication(&channel, StreamId(1)).wait().unwrap();
        let mut tries = 0;
        for number in 0..200_u64 {
            while publication.offer(&number.to_le_bytes()).is_err() {
                pause(&mut tries);
            }
        }
        let mut received = Vec::new();
        while received.len() < 200 {
            let take = |fragment: Fragment<'_>| received.push(fragment.payload().to_vec());
            if subscription.poll(64, take) == 0 {
                pause(&mut tries);
            }
        }
        let expected: Vec<_> = (0..200_u64).map(|number| number.to_le_bytes().to_vec()).collect();
        assert_eq!(received, expected, "{mode}");
        assert!(driver.is_running());
        drop((subscription, publication));
        assert_eq!(client.close(), Halt::Terminated);
        driver.close().unwrap();
    }
}

#[test]
fn a_refusal_reaches_the_one_who_waits_and_the_error_log() {
    let place = Place::new("refusal");
    let driver = place.driver("SHARED").unwrap();
    let client = place.client().unwrap();
    let refused = client.add_publication("aeron:udp?nothing=1", StreamId(1)).wait();
    let refused = refused.err().unwrap();
    assert!(matches!(refused, AddError::Refused { .. }), "{refused}");
    let directory = DriverDirectory::open(driver.directory()).unwrap();
    assert_eq!(directory.errors().map(|error| error.count).collect::<Vec<_>>(), [1]);
    assert!(directory.heartbeat_age_ms(os::clock::now()).is_some());
    drop(client);
    drop(driver);
    assert_eq!(directory.heartbeat_age_ms(os::clock::now()), None);
}

#[test]
fn a_client_whose_driver_ends_says_so() {
    let place = Place::new("ends");
    let driver = place.driver("SHARED").unwrap();
    let client = place.client().unwrap();
    let publication = client.add_publication("aeron:ipc", StreamId(1)).wait().unwrap();
    driver.close().unwrap();
    let mut tries = 0;
    while !publication.is_closed() {
        pause(&mut tries);
    }
    assert!(matches!(client.close(), Halt::Failed(reason) if reason.contains("shut down")));
}

#[test]
fn a_second_driver_a_missing_one_and_an_unknown_mode_are_refused() {
    let place = Place::new("refused");
    let nobody = place.client().err().unwrap();
    assert!(matches!(nobody, ClientStartError::Connect(_)), "{nobody}");
    let nothing = DriverDirectory::open(&place.0).err().unwrap();
    assert!(matches!(nothing, DirectoryError::Io { .. }), "{nothing}");
    let unknown = place.driver("ALL").err().unwrap();
    assert!(matches!(unknown, DriverStartError::ThreadingMode(_)), "{unknown}");
    let _driver = place.driver("SHARED").unwrap();
    let second = place.driver("SHARED").err().unwrap();
    assert!(second.to_string().contains("an active driver was found"), "{second}");
}
