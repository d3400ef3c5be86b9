//! Who is being stepped, so that what arrives later for it wakes it and nobody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::world::{HostId, ProcessId};

/// Which agent of its process is being stepped, if any is.
#[derive(Clone, Debug)]
pub(crate) struct Current(Arc<AtomicUsize>);

/// No agent: somebody outside, or a process that is being started.
const NOBODY: usize = usize::MAX;

/// For whom something arrived: an agent if it is known, else all of the host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addressee {
    pub(crate) host: HostId,
    pub(crate) process: ProcessId,
    pub(crate) agent: Option<usize>,
}

impl Default for Current {
    fn default() -> Self {
        Self(Arc::new(AtomicUsize::new(NOBODY)))
    }
}

impl Current {
    pub(crate) fn set(&self, agent: Option<usize>) {
        self.0.store(agent.unwrap_or(NOBODY), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Option<usize> {
        Some(self.0.load(Ordering::Relaxed)).filter(|agent| *agent != NOBODY)
    }
}
