//! Mark files: who runs a service in a directory, and whether it is alive.
//!
//! A version says that the file is ready, a timestamp that its owner lives. Where the two stand
//! differs by kind of file, so the offsets come in; everything else in the header is in `wire`.
//! Source: transport specification 3.10, archive specification 8.2, cluster specification 7.3.

use thiserror::Error;

use crate::buffer::AtomicBuffer;

/// Timestamp while a process is taking the file over.
pub const ACTIVATING_MS: i64 = i64::MAX;
/// Timestamp after an orderly end.
pub const TERMINATED_MS: i64 = -1;
/// Version after a start that failed.
pub const VERSION_FAILED: i32 = -1;

/// Why a mark file cannot be taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TakeOverError {
    /// Its owner lives.
    #[error("active mark file: last sign of life at {timestamp_ms} ms, now {now_ms} ms")]
    Active {
        /// The owner's last sign of life (epoch milliseconds).
        timestamp_ms: i64,
        /// The time it was compared with.
        now_ms: i64,
    },
    /// Another process was faster.
    #[error("mark file was taken over by another process")]
    Lost,
}

/// The two fields of a mark file that say whether its owner lives.
#[derive(Clone, Debug)]
pub struct MarkFile {
    buffer: AtomicBuffer,
    version_offset: usize,
    timestamp_offset: usize,
}

impl MarkFile {
    /// A mark file whose version (`i32`) and timestamp (`i64`) stand at these offsets.
    ///
    /// # Panics
    /// When they are outside of the buffer or not aligned.
    #[must_use]
    pub fn new(buffer: AtomicBuffer, version_offset: usize, timestamp_offset: usize) -> Self {
        let file = Self { buffer, version_offset, timestamp_offset };
        let _ = (file.version(), file.timestamp_ms());
        file
    }

    /// The version: 0 until the file is ready, negative after a failed start.
    #[must_use]
    pub fn version(&self) -> i32 {
        // Acquire: pairs with the release store in `signal_ready`.
        self.buffer.load_i32_acquire(self.version_offset)
    }

    /// The owner's last sign of life in epoch milliseconds.
    #[must_use]
    pub fn timestamp_ms(&self) -> i64 {
        self.buffer.load_i64_acquire(self.timestamp_offset)
    }

    /// Whether the owner lives, or a new one is just taking over.
    #[must_use]
    pub fn is_active(&self, now_ms: i64, timeout_ms: i64) -> bool {
        is_recent(self.timestamp_ms(), now_ms, timeout_ms)
    }

    /// Takes over an existing file: from now on it counts as active.
    ///
    /// # Errors
    /// The owner lives, or another process took it at the same time.
    pub fn take_over(&self, now_ms: i64, timeout_ms: i64) -> Result<(), TakeOverError> {
        let timestamp_ms = self.timestamp_ms();
        if is_recent(timestamp_ms, now_ms, timeout_ms) {
            return Err(TakeOverError::Active { timestamp_ms, now_ms });
        }
        let at = self.timestamp_offset;
        if !self.buffer.compare_exchange_i64(at, timestamp_ms, ACTIVATING_MS) {
            return Err(TakeOverError::Lost);
        }
        Ok(())
    }

    /// Gives a sign of life.
    pub fn set_timestamp_ms(&self, now_ms: i64) {
        self.buffer.store_i64_release(self.timestamp_offset, now_ms);
    }

    /// Everything else is in place: others may read the file.
    pub fn signal_ready(&self, version: i32, now_ms: i64) {
        self.set_timestamp_ms(now_ms);
        // Release, last: pairs with the acquire load in `version`.
        self.buffer.store_i32_release(self.version_offset, version);
    }

    /// The start failed.
    pub fn signal_failed(&self) {
        self.set_timestamp_ms(TERMINATED_MS);
        self.buffer.store_i32_release(self.version_offset, VERSION_FAILED);
    }

    /// The owner ends in order.
    pub fn signal_terminated(&self) {
        self.set_timestamp_ms(TERMINATED_MS);
    }

    /// The whole file.
    #[must_use]
    pub fn buffer(&self) -> &AtomicBuffer {
        &self.buffer
    }
}

/// Timestamps ahead of the clock count as recent: also that of an activation in progress.
fn is_recent(timestamp_ms: i64, now_ms: i64, timeout_ms: i64) -> bool {
    now_ms.saturating_sub(timestamp_ms) <= timeout_ms
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::region::Region;

    fn file() -> MarkFile {
        MarkFile::new(AtomicBuffer::new(Region::heap(4096)), 8, 16)
    }

    #[test]
    fn a_new_file_is_not_ready_and_not_active() {
        let file = file();
        assert_eq!(file.version(), 0);
        assert!(!file.is_active(1_700_000_000_000, 10_000));
    }

    #[test]
    fn a_live_owner_keeps_others_out_until_it_is_silent_for_the_time_out() {
        let file = file();
        file.signal_ready(768, 100_000);
        let active = TakeOverError::Active { timestamp_ms: 100_000, now_ms: 110_000 };
        assert_eq!(file.take_over(110_000, 10_000), Err(active));
        assert_eq!(file.take_over(110_001, 10_000), Ok(()));
        let activating = TakeOverError::Active { timestamp_ms: i64::MAX, now_ms: 110_001 };
        assert_eq!(file.take_over(110_001, 10_000), Err(activating));
    }

    #[test]
    fn an_orderly_end_and_a_failed_start_leave_the_file_free() {
        let file = file();
        file.signal_ready(768, 100_000);
        file.signal_terminated();
        assert_eq!((file.timestamp_ms(), file.version()), (-1, 768));
        assert_eq!(file.take_over(100_001, 10_000), Ok(()));
        file.signal_failed();
        assert_eq!((file.timestamp_ms(), file.version()), (-1, -1));
    }
}
