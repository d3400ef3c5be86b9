//! A counter of this client: one writer, any reader in any process.

use wire::control::CorrelationId;
use wire::counters::CounterId;

use crate::handle::{Handle, Resource};
use crate::state::Closed;

/// A counter that this client may write. Dropped, it is freed by the driver, unless it is static.
///
/// Stores after the end of its client go nowhere: the record may belong to another by then.
pub struct Counter {
    writer: memory::counters::Counter,
    registration_id: CorrelationId,
    is_static: bool,
    closed: Closed,
    handle: Handle,
}

impl Counter {
    pub(crate) fn new(
        writer: memory::counters::Counter,
        registration_id: CorrelationId,
        is_static: bool,
        closed: Closed,
        handle: Handle,
    ) -> Self {
        Self { writer, registration_id, is_static, closed, handle }
    }

    /// Its id: where readers of the driver's counters find it.
    #[must_use]
    pub fn id(&self) -> CounterId {
        self.writer.id()
    }

    /// The id of the request that made it, or the fixed one of a static counter.
    #[must_use]
    pub const fn registration_id(&self) -> CorrelationId {
        self.registration_id
    }

    /// The value, as this writer left it.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.writer.get()
    }

    /// Stores a value: visible after everything that this thread did before.
    pub fn set(&mut self, value: i64) {
        if !self.closed.is_set() {
            self.writer.set_release(value);
        }
    }

    /// Adds to the value and returns what it was before.
    pub fn add(&mut self, delta: i64) -> i64 {
        let before = self.get();
        self.set(before.wrapping_add(delta));
        before
    }

    /// Whether it is closed, by its owner or with its client.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.is_set()
    }

    /// Frees it. Dropping does the same.
    pub fn close(self) {
        drop(self);
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        if !self.is_static && self.closed.set() {
            self.handle.remove(self.registration_id, Resource::Counter, false);
        }
    }
}
