//! Which sockets have something to read: asked once for all of them, instead of trying each.
//!
//! An agent polls its sockets in turn, pass after pass, and most of them are silent most of the
//! time. One look answers for all: it is taken by the first socket that is polled again since the
//! last one. A socket that just gave all that it was asked for is tried without a look, so that a
//! busy one costs no more than before.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use runtime::Nanos;

use crate::check;

/// Sockets that one look can answer for; others are always tried.
const SLOTS: u32 = 64;

/// All sockets of a network.
pub(crate) struct Readiness {
    epoll: OwnedFd,
    /// Slots that are taken.
    taken: AtomicU64,
    /// Slots that were ready when last looked at. What is not read stays ready, so that each look
    /// tells of everything, whoever takes it.
    ready: AtomicU64,
    /// How many looks there were.
    looks: AtomicU64,
}

impl Readiness {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: the call touches no memory of ours.
        let epoll = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the descriptor is new and nobody else's.
        let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
        let (taken, ready, looks) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self { epoll, taken, ready, looks })
    }

    /// Takes up a socket: the kernel forgets it when it is closed.
    pub(crate) fn watch(self: &Arc<Self>, socket: RawFd) -> io::Result<Watch> {
        let slot = self.take_slot();
        let watch = Watch { readiness: Arc::clone(self), slot, seen: u64::MAX, is_busy: false };
        let events = libc::EPOLLIN.cast_unsigned();
        let mut event = libc::epoll_event { events, u64: slot.into() };
        let epoll = self.epoll.as_raw_fd();
        // SAFETY: both descriptors are open, the event is valid for a read.
        check(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, socket, &raw mut event) })?;
        Ok(watch)
    }

    /// The lowest that is free; [`SLOTS`] if none is.
    fn take_slot(&self) -> u32 {
        let mut slot = SLOTS;
        let _ = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
            slot = taken.trailing_ones();
            (slot < SLOTS).then(|| taken | 1 << slot)
        });
        slot
    }

    /// Asks the kernel. If it cannot tell of all at once, any may be ready.
    fn look(&self) {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; SLOTS as usize];
        let (first, length) = (events.as_mut_ptr(), SLOTS.cast_signed());
        let (epoll, no_mask) = (self.epoll.as_raw_fd(), ptr::null::<libc::sigset_t>());
        // The bare call: the library's makes the thread cancellable for its time, which costs as
        // much as a third of a call that does not wait, and nobody cancels threads here.
        // SAFETY: the events are valid for writes of as many as they are, and no mask is given.
        let count = unsafe {
            libc::syscall(libc::SYS_epoll_pwait, epoll, first, length, 0, no_mask, 0_usize)
        };
        let ready = match usize::try_from(count) {
            Ok(count) if count < events.len() => {
                let bits = events.iter().take(count).map(|event| bit(event.u64));
                bits.fold(0, |ready, bit| ready | bit)
            }
            _ => u64::MAX,
        };
        // What was read before another thread's look is not seen after it: release and acquire.
        self.ready.store(ready, Ordering::Release);
        self.looks.fetch_add(1, Ordering::Release);
    }

    /// Sleeps until one of the sockets is readable, or for a span.
    ///
    /// An epoll descriptor is itself readable when one of its sockets is; polling it takes
    /// nanoseconds on every kernel.
    pub(crate) fn wait(&self, span: Nanos) {
        let span = span.0.max(0);
        let time = libc::timespec { tv_sec: span / 1_000_000_000, tv_nsec: span % 1_000_000_000 };
        let mut poll =
            libc::pollfd { fd: self.epoll.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one element, valid for reads and writes; the time is valid for a read. A failure
        // is an interruption, and waiting may end early.
        unsafe { libc::ppoll(&raw mut poll, 1, &raw const time, ptr::null()) };
    }
}

/// The bit of a slot; none for what has no slot.
fn bit(slot: u64) -> u64 {
    u32::try_from(slot).ok().and_then(|slot| 1_u64.checked_shl(slot)).unwrap_or(0)
}

/// One socket among those of its network.
pub(crate) struct Watch {
    readiness: Arc<Readiness>,
    slot: u32,
    /// The look that was known when it was last polled.
    seen: u64,
    /// It may have had more when it was last tried.
    is_busy: bool,
}

impl Watch {
    /// Whether it is worth trying. A look that was taken since the last call counts as one of now:
    /// what came after it is found by the next call.
    pub(crate) fn is_worth_trying(&mut self) -> bool {
        if self.is_busy || self.slot >= SLOTS {
            return true;
        }
        let readiness = &*self.readiness;
        if self.seen == readiness.looks.load(Ordering::Acquire) || self.seen == u64::MAX {
            readiness.look();
        }
        self.seen = readiness.looks.load(Ordering::Acquire);
        readiness.ready.load(Ordering::Acquire) & bit(self.slot.into()) != 0
    }

    /// It was tried, and may have more or was emptied.
    pub(crate) fn on_tried(&mut self, has_more: bool) {
        self.is_busy = has_more;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let bit = bit(self.slot.into());
        self.readiness.taken.fetch_and(!bit, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    fn watched(readiness: &Arc<Readiness>) -> (UdpSocket, Watch) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let watch = readiness.watch(socket.as_raw_fd()).unwrap();
        (socket, watch)
    }

    fn looks(readiness: &Readiness) -> u64 {
        readiness.looks.load(Ordering::Relaxed)
    }

    #[test]
    fn one_look_answers_for_all_sockets_of_a_pass() {
        let readiness = Arc::new(Readiness::new().unwrap());
        let (first, mut one) = watched(&readiness);
        let (_second, mut two) = watched(&readiness);
        first.send_to(&[1], first.local_addr().unwrap()).unwrap();
        assert!(one.is_worth_trying() && !two.is_worth_trying());
        let before = looks(&readiness);
        for _ in 0..6 {
            assert!(one.is_worth_trying() && !two.is_worth_trying());
        }
        assert_eq!(looks(&readiness), before + 6);
        first.recv(&mut [0; 8]).unwrap();
        one.on_tried(true);
        assert!(one.is_worth_trying(), "it may have more");
        one.on_tried(false);
        // The other's look may be from before, once.
        assert!(!one.is_worth_trying() || !one.is_worth_trying());
    }

    #[test]
    fn a_socket_that_nothing_else_is_polled_with_is_not_forgotten() {
        let readiness = Arc::new(Readiness::new().unwrap());
        let (_silent, mut silent) = watched(&readiness);
        let (socket, mut watch) = watched(&readiness);
        assert!(!silent.is_worth_trying() && !watch.is_worth_trying());
        socket.send_to(&[1], socket.local_addr().unwrap()).unwrap();
        // The look of another came before the datagram: at most one poll is in vain.
        assert!(watch.is_worth_trying() || watch.is_worth_trying());
    }

    #[test]
    fn slots_are_given_back_and_those_without_one_are_always_tried() {
        let readiness = Arc::new(Readiness::new().unwrap());
        let mut all: Vec<_> = (0..=SLOTS).map(|_| watched(&readiness)).collect();
        let (_socket, mut last) = all.pop().unwrap();
        assert!(last.is_worth_trying() && last.is_worth_trying());
        drop(all.remove(7));
        assert_eq!(watched(&readiness).1.slot, 7);
        assert!(all.iter_mut().all(|(_, watch)| !watch.is_worth_trying()));
    }
}
