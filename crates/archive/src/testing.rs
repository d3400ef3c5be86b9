//! What the unit tests of this crate share: a simulated disk with an archive's directory.

use std::path::Path;
use std::sync::Arc;

use runtime::background::{Background, Outcome, Ticket};
use runtime::files::{Files, read_exact_at, write_all_at};
use runtime::ports::Ports;
use sim::{HostId, ProcessId, World};
use wire::time::{Nanos, Now};

/// The archive's directory in tests.
pub(crate) const DIRECTORY: &str = "/archive";

/// One host's disk, with a process that uses it.
pub(crate) struct Disk {
    world: std::cell::RefCell<World>,
    host: HostId,
    process: ProcessId,
    ports: Ports,
}

impl Disk {
    pub(crate) fn new() -> Self {
        Self::with_seed(1)
    }

    pub(crate) fn with_seed(seed: u64) -> Self {
        let mut world = World::new(seed);
        let host = world.add_host("a", &[]);
        let process = world.spawn(host, |_| Vec::new());
        let ports = world.ports(process);
        ports.files.create_directory(Path::new(DIRECTORY)).unwrap();
        Self { world: world.into(), host, process, ports }
    }

    pub(crate) fn ports(&self) -> &Ports {
        &self.ports
    }

    pub(crate) fn now(&self) -> Now {
        self.world.borrow().now(self.host)
    }

    /// Kills the process and starts another on the same disk.
    pub(crate) fn kill(&mut self) {
        let mut world = self.world.borrow_mut();
        world.kill(self.process);
        self.process = world.spawn(self.host, |_| Vec::new());
        self.ports = world.ports(self.process);
    }

    /// Cuts the power and starts another process on what is left of the disk.
    pub(crate) fn cut_power(&mut self) {
        let mut world = self.world.borrow_mut();
        world.power_cut(self.host);
        self.process = world.spawn(self.host, |_| Vec::new());
        self.ports = world.ports(self.process);
    }

    pub(crate) fn files(&self) -> Arc<dyn Files> {
        self.ports.files.clone()
    }

    pub(crate) fn background(&self) -> Box<dyn Background> {
        self.ports.background()
    }

    /// Lets the next reads bring one bit flipped.
    pub(crate) fn rot_reads(&self, count: u32) {
        self.world.borrow().disk_faults(self.host).rot_reads(count);
    }

    /// Lets the background finish.
    pub(crate) fn run(&self) {
        self.world.borrow_mut().run_for(Nanos::from_secs(10));
    }

    /// Lets the background finish and hands over what came of it.
    pub(crate) fn outcomes(&self, background: &mut dyn Background) -> Vec<(Ticket, Outcome)> {
        self.run();
        let mut outcomes = Vec::new();
        background.poll(&mut |ticket, outcome| outcomes.push((ticket, outcome)));
        outcomes
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        let file = self.files().open(&Path::new(DIRECTORY).join(name)).unwrap();
        let mut bytes = vec![0; file.length().unwrap() as usize];
        read_exact_at(&*file, &mut bytes, 0).unwrap();
        bytes
    }

    pub(crate) fn write(&self, name: &str, offset: u64, bytes: &[u8]) {
        let path = Path::new(DIRECTORY).join(name);
        let files = self.files();
        let file = files.open(&path).or_else(|_| files.create(&path)).unwrap();
        write_all_at(&*file, bytes, offset).unwrap();
    }

    pub(crate) fn set_length(&self, name: &str, length: u64) {
        let file = self.files().open(&Path::new(DIRECTORY).join(name)).unwrap();
        file.set_length(length).unwrap();
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let entries = self.files().list(Path::new(DIRECTORY)).unwrap();
        entries.into_iter().map(|entry| entry.name).collect()
    }

    pub(crate) fn fail_syncs(&self, count: u32) {
        self.world.borrow().disk_faults(self.host).fail_syncs(count);
    }

    pub(crate) fn fail_writes(&self, count: u32) {
        self.world.borrow().disk_faults(self.host).fail_writes(count);
    }
}
