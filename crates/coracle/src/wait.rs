//! Waiting for answers, for threads that have nothing else to do.

use client::{AddError, Pending};
use runtime::Nanos;

/// How long to sleep between two looks.
const INTERVAL: Nanos = Nanos::from_micros(200);

/// Blocks until the answer is there.
///
/// Not for duty cycles, and not for a thread that steps the client itself: it would wait for ever.
/// With a [`Client`](crate::Client), which has its own thread, every wait ends.
pub trait Wait {
    /// What comes of the request.
    type Answer;

    /// Blocks until the answer is there.
    ///
    /// # Errors
    /// The driver refused, did not answer in time, or the client ended.
    fn wait(self) -> Result<Self::Answer, AddError>;
}

impl<T> Wait for Pending<T> {
    type Answer = T;

    fn wait(mut self) -> Result<T, AddError> {
        loop {
            if let Some(answer) = self.poll()? {
                return Ok(answer);
            }
            os::thread::sleep(INTERVAL);
        }
    }
}
