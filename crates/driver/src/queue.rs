//! Bounded queues between the agents: never a block, never a lock held.
//!
//! What does not fit at once waits in a stash of its sender and goes first at the next pass. A
//! conductor with a full stash takes no further command, so stashes stay small.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use wire::counters::SystemCounter;

use crate::system::SystemCounters;

/// Messages that fit into a queue.
const QUEUE_LENGTH: usize = 1024;
/// Messages that a stash takes before its owner is asked to hold back.
const STASH_LENGTH: usize = 1024;

/// The sending end.
pub(crate) struct Outbox<T> {
    queue: SyncSender<T>,
    stash: VecDeque<T>,
    fails: SystemCounter,
    system: SystemCounters,
}

/// A queue; failed offers are counted in `fails`.
pub(crate) fn queue<T>(fails: SystemCounter, system: &SystemCounters) -> (Outbox<T>, Receiver<T>) {
    let (queue, receiver) = sync_channel(QUEUE_LENGTH);
    (Outbox { queue, stash: VecDeque::new(), fails, system: system.clone() }, receiver)
}

impl<T> Outbox<T> {
    /// Another sending end of the same queue.
    pub(crate) fn another(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            stash: VecDeque::new(),
            fails: self.fails,
            system: self.system.clone(),
        }
    }

    /// Sends a message that must arrive.
    pub(crate) fn push(&mut self, message: T) {
        self.stash.push_back(message);
        self.flush();
    }

    /// Sends a message that will come again by itself; dropped when the stash is full.
    pub(crate) fn offer(&mut self, message: T) -> bool {
        if self.is_full() {
            return false;
        }
        self.push(message);
        true
    }

    /// Sends what waits in the stash.
    pub(crate) fn flush(&mut self) {
        while let Some(message) = self.stash.pop_front() {
            match self.queue.try_send(message) {
                Ok(()) => {}
                Err(TrySendError::Full(message)) => {
                    self.system.increment(self.fails);
                    self.stash.push_front(message);
                    return;
                }
                // The other agent has ended; nobody is left to tell.
                Err(TrySendError::Disconnected(_)) => {}
            }
        }
    }

    /// Whether the owner should hold back.
    pub(crate) fn is_full(&self) -> bool {
        self.stash.len() >= STASH_LENGTH
    }

    /// Whether something waits, so that the owner must come again soon.
    pub(crate) fn has_stash(&self) -> bool {
        !self.stash.is_empty()
    }
}
