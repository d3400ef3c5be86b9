//! One client and its driver, stepped by hand.

use std::path::{Path, PathBuf};

use client::{
    Client, ClientError, Config, ExclusivePublication, Pending, Publication, Subscription,
};
use runtime::{Nanos, Now, Ports, Work};
use sim::world::World;
use wire::position::StreamId;
use wire::time::EpochNanos;

use crate::driver::FakeDriver;

pub(crate) const CHANNEL: &str = "aeron:ipc";
pub(crate) const STREAM: StreamId = StreamId(10);

/// Simulated files, and clocks that are set by hand.
pub(crate) struct Place {
    pub(crate) world: World,
    pub(crate) ports: Ports,
    pub(crate) now: Now,
}

impl Place {
    pub(crate) fn new() -> Self {
        let mut world = World::new(1);
        let host = world.add_host("here", &["10.0.0.1".parse().unwrap()]);
        let process = world.spawn(host, |_| Vec::new());
        let ports = world.ports(process);
        let epoch = EpochNanos(1_700_000_000_000_000_000);
        let now = Now { mono: Nanos::from_secs(100), epoch };
        Self { world, ports, now }
    }

    pub(crate) fn directory() -> PathBuf {
        Path::new("/dev/shm/fake").to_path_buf()
    }

    pub(crate) fn config() -> Config {
        Config {
            directory: Self::directory(),
            driver_timeout: Nanos::from_secs(4),
            name: "tester".to_string(),
            ..Config::default()
        }
    }

    pub(crate) fn pass_time(&mut self, span: Nanos) {
        self.now.mono = self.now.mono + span;
        self.now.epoch.0 += span.0;
    }
}

pub(crate) struct Bed {
    pub(crate) place: Place,
    pub(crate) driver: FakeDriver,
    pub(crate) client: Client,
}

impl Bed {
    pub(crate) fn new() -> Self {
        let place = Place::new();
        let driver = FakeDriver::launch(&place.ports, &Place::directory(), place.now);
        let mut connecting = Client::connect(Place::config(), &place.ports, place.now);
        let client = connecting.poll(place.now).unwrap().expect("the driver is there");
        Self { place, driver, client }
    }

    /// The client sends, the driver answers, the client hears it.
    pub(crate) fn step(&mut self) {
        let before = self.work().unwrap();
        self.driver.step(self.place.now);
        let after = self.work().unwrap();
        assert!(before.and(after).next_deadline > self.place.now.mono);
    }

    pub(crate) fn work(&mut self) -> Result<Work, ClientError> {
        self.client.do_work(self.place.now)
    }

    /// Steps through a span in small paces.
    pub(crate) fn run_for(&mut self, span: Nanos) {
        let pace = Nanos::from_millis(100);
        let end = self.place.now.mono + span;
        while self.place.now.mono < end {
            self.place.pass_time(pace);
            self.step();
        }
    }

    pub(crate) fn wait<T>(&mut self, mut pending: Pending<T>) -> T {
        self.step();
        pending.poll().unwrap().expect("the driver has answered")
    }

    pub(crate) fn publication(&mut self) -> Publication {
        let pending = self.client.add_publication(CHANNEL, STREAM);
        self.wait(pending)
    }

    pub(crate) fn exclusive_publication(&mut self) -> ExclusivePublication {
        let pending = self.client.add_exclusive_publication(CHANNEL, STREAM);
        self.wait(pending)
    }

    pub(crate) fn subscription(&mut self) -> Subscription {
        let pending = self.client.add_subscription(CHANNEL, STREAM);
        self.wait(pending)
    }

    /// What the driver was asked since the last call.
    pub(crate) fn commands(&mut self) -> Vec<String> {
        std::mem::take(&mut self.driver.commands)
    }
}
