//! Bounded queues between the agents: never a block, never a lock held.
//!
//! What does not fit at once waits in a stash of its sender and goes first at the next pass. A
//! conductor with a full stash takes no further command, so stashes stay small. Every agent looks
//! into its inbox at every pass: one load while nothing was sent.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// Set after each message.
    has_mail: Arc<AtomicBool>,
    stash: VecDeque<T>,
    fails: SystemCounter,
    system: SystemCounters,
}

/// The receiving end.
pub(crate) struct Inbox<T> {
    queue: Receiver<T>,
    has_mail: Arc<AtomicBool>,
    /// Whether the queue has not been found empty since there was mail.
    is_open: bool,
}

/// A queue; failed offers are counted in `fails`.
pub(crate) fn queue<T>(fails: SystemCounter, system: &SystemCounters) -> (Outbox<T>, Inbox<T>) {
    let (sender, receiver) = sync_channel(QUEUE_LENGTH);
    let has_mail = Arc::new(AtomicBool::new(false));
    let inbox = Inbox { queue: receiver, has_mail: Arc::clone(&has_mail), is_open: false };
    let stash = VecDeque::new();
    (Outbox { queue: sender, has_mail, stash, fails, system: system.clone() }, inbox)
}

impl<T> Inbox<T> {
    /// The next message.
    #[inline]
    pub(crate) fn try_recv(&mut self) -> Option<T> {
        if !self.is_open {
            // Acquire: the message whose sender set this is in the queue. One that comes after it
            // was taken sets it again.
            if !self.has_mail.load(Ordering::Relaxed)
                || !self.has_mail.swap(false, Ordering::Acquire)
            {
                return None;
            }
            self.is_open = true;
        }
        let message = self.queue.try_recv().ok();
        self.is_open = message.is_some();
        message
    }
}

impl<T> Outbox<T> {
    /// Another sending end of the same queue.
    pub(crate) fn another(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            has_mail: Arc::clone(&self.has_mail),
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
    #[inline]
    pub(crate) fn flush(&mut self) {
        while let Some(message) = self.stash.pop_front() {
            match self.queue.try_send(message) {
                // Release: pairs with the acquire in `Inbox::try_recv`.
                Ok(()) => self.has_mail.store(true, Ordering::Release),
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

#[cfg(test)]
mod tests {
    use super::*;
    use memory::buffer::AtomicBuffer;
    use memory::region::Region;

    #[test]
    fn messages_of_all_senders_come_in_order_whatever_is_taken_meanwhile() {
        let system = SystemCounters::new(AtomicBuffer::new(Region::heap(1 << 16)));
        let (mut one, mut inbox) = queue(SystemCounter::SenderProxyFails, &system);
        let mut two = one.another();
        assert_eq!(inbox.try_recv(), None);
        one.push(1);
        two.push(2);
        assert_eq!(inbox.try_recv(), Some(1));
        one.push(3);
        assert_eq!([(); 3].map(|()| inbox.try_recv()), [Some(2), Some(3), None]);
        assert_eq!(inbox.try_recv(), None);
        two.push(4);
        assert_eq!([(); 2].map(|()| inbox.try_recv()), [Some(4), None]);
    }

    #[test]
    fn what_does_not_fit_waits_in_the_stash_and_is_found_after_the_queue_was_empty() {
        let system = SystemCounters::new(AtomicBuffer::new(Region::heap(1 << 16)));
        let (mut outbox, mut inbox) = queue(SystemCounter::SenderProxyFails, &system);
        (0..QUEUE_LENGTH + 3).for_each(|number| outbox.push(number));
        assert!(outbox.has_stash());
        let first: Vec<usize> = std::iter::from_fn(|| inbox.try_recv()).collect();
        assert_eq!(first, (0..QUEUE_LENGTH).collect::<Vec<_>>());
        outbox.flush();
        let rest: Vec<usize> = std::iter::from_fn(|| inbox.try_recv()).collect();
        assert_eq!((rest, outbox.has_stash()), ((QUEUE_LENGTH..QUEUE_LENGTH + 3).collect(), false));
    }
}
