//! What a resource and its conductor share: whether it is closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Closed once, by the conductor or by the resource's owner, and never open again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Closed(Arc<AtomicBool>);

impl Closed {
    pub(crate) fn is_set(&self) -> bool {
        // Acquire: pairs with the release in `set`.
        self.0.load(Ordering::Acquire)
    }

    /// Closes it; whether this call did.
    pub(crate) fn set(&self) -> bool {
        // Release: what was done before closing is seen by whoever finds it closed.
        !self.0.swap(true, Ordering::AcqRel)
    }
}
