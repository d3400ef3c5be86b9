//! How the disk of one host fails, and how often it did.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};

use runtime::{EpochNanos, Nanos};

/// How the disk of one host can be made to fail.
#[derive(Debug)]
pub struct DiskFaults {
    space: AtomicU64,
    used: AtomicU64,
    failing_syncs: AtomicU32,
    failing_writes: AtomicU32,
    failing_reads: AtomicU32,
    short_writes: AtomicU32,
    misdirected: AtomicU32,
    rotten_reads: AtomicU32,
    lies: AtomicBool,
    tears: AtomicBool,
    /// How long each operation holds up who asked for it, in nanoseconds.
    slow: AtomicU64,
    /// How long the operations of the agent under way took.
    spent: AtomicU64,
    failed: AtomicU64,
    synced: AtomicU64,
    struck: AtomicU64,
    /// The length beyond all sense that a file was to get.
    overgrown: AtomicU64,
    /// The time by which files are marked when they are written.
    time: AtomicI64,
}

impl Default for DiskFaults {
    /// One tebibyte that never fails.
    fn default() -> Self {
        Self {
            space: AtomicU64::new(1 << 40),
            used: AtomicU64::new(0),
            failing_syncs: AtomicU32::new(0),
            failing_writes: AtomicU32::new(0),
            failing_reads: AtomicU32::new(0),
            short_writes: AtomicU32::new(0),
            misdirected: AtomicU32::new(0),
            rotten_reads: AtomicU32::new(0),
            lies: AtomicBool::new(false),
            tears: AtomicBool::new(false),
            slow: AtomicU64::new(0),
            spent: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            struck: AtomicU64::new(0),
            overgrown: AtomicU64::new(0),
            time: AtomicI64::new(0),
        }
    }
}

/// Where a misdirected write lands instead.
const MISDIRECTION: u64 = 4_096;
/// How long a file gets that was not made so long at once: all bytes are in memory, and who writes
/// so much has gone astray.
pub(crate) const LENGTH_MAX: u64 = 256 << 20;

impl DiskFaults {
    /// Sets how many bytes the disk holds in all. What is there beyond it stays.
    pub fn set_space(&self, length: u64) {
        self.space.store(length, Ordering::Relaxed);
    }

    /// Bytes that files take.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Lets the next `count` syncs of files, mappings and directories fail.
    pub fn fail_syncs(&self, count: u32) {
        self.failing_syncs.store(count, Ordering::Relaxed);
    }

    /// Lets the next `count` writes fail.
    pub fn fail_writes(&self, count: u32) {
        self.failing_writes.store(count, Ordering::Relaxed);
    }

    /// Lets the next `count` reads of plain files fail.
    pub fn fail_reads(&self, count: u32) {
        self.failing_reads.store(count, Ordering::Relaxed);
    }

    /// Lets the next `count` writes of more than one byte take only half of what they are given.
    pub fn shorten_writes(&self, count: u32) {
        self.short_writes.store(count, Ordering::Relaxed);
    }

    /// Lets the next `count` writes land 4 KiB further on, where the file is that long.
    pub fn misdirect_writes(&self, count: u32) {
        self.misdirected.store(count, Ordering::Relaxed);
    }

    /// Lets the next `count` reads of plain files bring one bit flipped.
    pub fn rot_reads(&self, count: u32) {
        self.rotten_reads.store(count, Ordering::Relaxed);
    }

    /// Lets syncs succeed without making anything durable, or ends that.
    pub fn lie(&self, lies: bool) {
        self.lies.store(lies, Ordering::Relaxed);
    }

    /// Lets power cuts go by sectors of 512 bytes, or ends that.
    pub fn tear(&self, tears: bool) {
        self.tears.store(tears, Ordering::Relaxed);
    }

    /// Lets each operation hold up the agent that asked for it for that long.
    pub fn slow(&self, span: Nanos) {
        self.slow.store(span.0.max(0).cast_unsigned(), Ordering::Relaxed);
    }

    /// Ends everything that was made to fail; what was counted stays.
    pub fn cure(&self) {
        self.set_space(1 << 40);
        self.fail_syncs(0);
        self.fail_writes(0);
        self.fail_reads(0);
        self.shorten_writes(0);
        self.misdirect_writes(0);
        self.rot_reads(0);
        self.slow(Nanos(0));
    }

    /// How many operations were made to fail so far, want of space included.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// How many syncs of files and mappings succeeded so far.
    #[must_use]
    pub fn synced(&self) -> u64 {
        self.synced.load(Ordering::Relaxed)
    }

    /// How many operations were harmed and succeeded all the same so far: shortened, misdirected,
    /// rotten, lied about.
    #[must_use]
    pub fn struck(&self) -> u64 {
        self.struck.load(Ordering::Relaxed)
    }

    /// How long the operations since the last time held up who asked for them.
    pub(crate) fn take_spent(&self) -> Nanos {
        if self.spent.load(Ordering::Relaxed) == 0 {
            return Nanos(0);
        }
        Nanos(self.spent.swap(0, Ordering::Relaxed).cast_signed())
    }

    pub(crate) fn set_time(&self, time: EpochNanos) {
        self.time.store(time.0, Ordering::Relaxed);
    }

    pub(crate) fn time(&self) -> EpochNanos {
        EpochNanos(self.time.load(Ordering::Relaxed))
    }

    pub(crate) fn tears(&self) -> bool {
        self.tears.load(Ordering::Relaxed)
    }

    pub(crate) fn take(&self, length: u64) -> io::Result<()> {
        if length > self.usable() {
            self.failed.fetch_add(1, Ordering::Relaxed);
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.used.fetch_add(length, Ordering::Relaxed);
        Ok(())
    }

    /// Takes space that may not be there: what a power cut left is there whatever the limit.
    pub(crate) fn put(&self, length: u64) {
        self.used.fetch_add(length, Ordering::Relaxed);
    }

    pub(crate) fn give_back(&self, length: u64) {
        self.used.fetch_sub(length, Ordering::Relaxed);
    }

    /// The length that a file was to grow to when it was refused for being beyond all sense; 0 if
    /// none was. Whoever runs a seed must see that it fails.
    #[must_use]
    pub fn overgrown(&self) -> u64 {
        self.overgrown.load(Ordering::Relaxed)
    }

    pub(crate) fn expect_sane(&self, length: u64) -> io::Result<()> {
        if length > LENGTH_MAX {
            self.failed.fetch_add(1, Ordering::Relaxed);
            self.overgrown.fetch_max(length, Ordering::Relaxed);
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(())
    }

    pub(crate) fn usable(&self) -> u64 {
        self.space.load(Ordering::Relaxed).saturating_sub(self.used())
    }

    /// A write of `length` bytes at `offset` of a file begins: where it lands and how much of it.
    pub(crate) fn on_write(
        &self,
        (offset, length): (u64, usize),
        file_length: u64,
    ) -> io::Result<(u64, usize)> {
        self.spend();
        self.strike(&self.failing_writes, "a write was made to fail")?;
        let length = if length > 1 && self.harm(&self.short_writes) { length / 2 } else { length };
        let elsewhere = offset.saturating_add(MISDIRECTION);
        let has_room = elsewhere.saturating_add(length as u64) <= file_length;
        let offset = if has_room && self.harm(&self.misdirected) { elsewhere } else { offset };
        Ok((offset, length))
    }

    /// Bytes were read.
    pub(crate) fn on_read(&self, bytes: &mut [u8]) -> io::Result<()> {
        self.spend();
        self.strike(&self.failing_reads, "a read was made to fail")?;
        if !bytes.is_empty() && self.harm(&self.rotten_reads) {
            let at = usize::try_from(self.struck() * 37 % bytes.len() as u64).unwrap_or_default();
            bytes[at] ^= 1 << (self.struck() % 8);
        }
        Ok(())
    }

    /// Something is synced: whether it becomes durable.
    pub(crate) fn on_sync(&self) -> io::Result<bool> {
        self.strike(&self.failing_syncs, "a sync was made to fail")?;
        self.synced.fetch_add(1, Ordering::Relaxed);
        let lies = self.lies.load(Ordering::Relaxed);
        self.struck.fetch_add(u64::from(lies), Ordering::Relaxed);
        Ok(!lies)
    }

    fn spend(&self) {
        let span = self.slow.load(Ordering::Relaxed);
        if span > 0 {
            self.spent.fetch_add(span, Ordering::Relaxed);
        }
    }

    fn harm(&self, left: &AtomicU32) -> bool {
        let count = left.load(Ordering::Relaxed);
        if count == 0 {
            return false;
        }
        left.store(count - 1, Ordering::Relaxed);
        self.struck.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn strike(&self, left: &AtomicU32, what: &str) -> io::Result<()> {
        match left.load(Ordering::Relaxed) {
            0 => Ok(()),
            count => {
                left.store(count - 1, Ordering::Relaxed);
                self.failed.fetch_add(1, Ordering::Relaxed);
                Err(io::Error::other(what))
            }
        }
    }
}
