//! The ports of one process, handed to whatever is launched in it.

use std::sync::Arc;

use crate::background::{Background, Workers};
use crate::files::Files;
use crate::network::Network;
use crate::random::Rng;

/// All that a process may touch outside of itself, and the seed of all that it draws.
///
/// Time is not here: it is the `now` of each pass.
#[derive(Clone)]
pub struct Ports {
    /// Sockets.
    pub network: Arc<dyn Network>,
    /// Files, mapped or plain.
    pub files: Arc<dyn Files>,
    /// Jobs that may block.
    pub workers: Arc<dyn Workers>,
    /// From which every [`Rng`] of the process is derived.
    pub seed: u64,
    /// The id of the process, as others on the host see it.
    pub process_id: i64,
}

impl Ports {
    /// A source of random numbers for one place of this process.
    #[must_use]
    pub fn rng(&self, place: &str) -> Rng {
        Rng::new(self.seed, place)
    }

    /// A window to the background for one agent.
    #[must_use]
    pub fn background(&self) -> Box<dyn Background> {
        self.workers.open()
    }
}
