//! What befalls the disks of a world.

use std::path::{Path, PathBuf};

use runtime::Nanos;

use crate::crash::Image;
use crate::disk_faults::DiskFaults;
use crate::journal::Journal;
use crate::lock;
use crate::world::{HostId, ProcessId, World};

impl World {
    /// Cuts the power of a host: every process is killed, and of what was not synced to its disk
    /// some is there afterwards and some is not, file contents by blocks of 4 KiB.
    pub fn power_cut(&mut self, host: HostId) {
        for id in (0..self.processes.len()).map(ProcessId) {
            if self.host_of(id) == Some(host) {
                self.kill(id);
            }
        }
        self.trace.mix(0x5043 ^ host.0 as u64);
        self.hosts[host.0].store.power_cut(&mut self.rng);
    }

    /// Keeps a journal of what happens from now on to files of a host below `root`.
    pub fn watch(&mut self, host: HostId, root: &Path) -> Journal {
        let journal = Journal::new(root);
        self.hosts[host.0].store.watch(journal.clone());
        journal
    }

    /// Replaces all files of a host, on which no process lives, by those of an image.
    pub fn load(&mut self, host: HostId, image: &Image) {
        self.hosts[host.0].store.load(image);
    }

    /// All files of a host as they stand.
    #[must_use]
    pub fn image(&self, host: HostId) -> Image {
        self.hosts[host.0].store.image()
    }

    /// Replaces all files of a host below `root` by what an image holds there, durable. Whoever has
    /// one of them open goes on with the old one.
    pub fn restore(&mut self, host: HostId, root: &Path, image: &Image) {
        self.hosts[host.0].store.restore(root, image);
    }

    /// Makes everything on the disk of a host durable, whatever it pretended before.
    pub fn settle_disk(&mut self, host: HostId) {
        self.hosts[host.0].store.settle();
    }

    /// Flips one bit at rest in one of the files of a host that suit; returns which and where.
    pub fn rot(&mut self, host: HostId, suits: impl Fn(&Path) -> bool) -> Option<(PathBuf, u64)> {
        self.hosts[host.0].store.rot(&mut self.rng, suits)
    }

    /// How the disk of a host can be made to fail.
    #[must_use]
    pub fn disk_faults(&self, host: HostId) -> &DiskFaults {
        self.hosts[host.0].store.faults()
    }

    /// The file of a host that grew beyond all sense, and the length that it was refused: the
    /// longest that is there.
    #[must_use]
    pub fn overgrown(&self, host: HostId) -> Option<(PathBuf, u64)> {
        self.hosts[host.0].store.overgrown()
    }

    /// Lets each operation of the disk of a host take that long, in the background and on agents,
    /// which wait for it.
    pub fn slow_disk(&mut self, host: HostId, span: Nanos) {
        self.disk_faults(host).slow(span);
        lock(&self.background).set_slow(host, span);
    }

    /// Lets the disk of a host answer nobody for `span`.
    pub fn stall_disk(&mut self, host: HostId, span: Nanos) {
        let until = self.now + span;
        self.hosts[host.0].stalled_until = until;
        self.disk_faults(host).slow(Nanos(1));
        lock(&self.background).stall(host, until);
    }

    /// Ends everything that the disk of a host was made to do.
    pub fn cure_disk(&mut self, host: HostId) {
        self.hosts[host.0].stalled_until = Nanos(0);
        self.disk_faults(host).cure();
        lock(&self.background).set_slow(host, Nanos(0));
    }
}
