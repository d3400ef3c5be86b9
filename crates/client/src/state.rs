//! What a resource and its conductor share: whether it is closed, whether its images changed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Closed once, by the conductor or by the resource's owner, and never open again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Closed(Arc<State>);

#[derive(Debug, Default)]
struct State {
    is_closed: AtomicBool,
    /// Of an image: those of its subscription.
    changes: Option<Changes>,
}

impl Closed {
    /// Of an image, whose subscription is to hear of it.
    pub(crate) fn of_image(changes: Changes) -> Self {
        Self(Arc::new(State { is_closed: AtomicBool::new(false), changes: Some(changes) }))
    }

    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        // Acquire: pairs with the release in `set`.
        self.0.is_closed.load(Ordering::Acquire)
    }

    /// Closes it; whether this call did.
    pub(crate) fn set(&self) -> bool {
        // Release: what was done before closing is seen by whoever finds it closed.
        let was_set = self.0.is_closed.swap(true, Ordering::AcqRel);
        if let Some(changes) = &self.0.changes {
            changes.note();
        }
        !was_set
    }
}

/// Whether images of a subscription have come or gone since it last looked: one load per poll.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes(Arc<AtomicBool>);

impl Changes {
    /// Says so, after the change.
    pub(crate) fn note(&self) {
        // Release: pairs with the acquire in `take`.
        self.0.store(true, Ordering::Release);
    }

    /// Whether there are any, which the caller looks at now. What is noted after that stays.
    #[inline]
    pub(crate) fn take(&self) -> bool {
        // Acquire: the changes noted are visible to whoever takes the note.
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Acquire)
    }
}
