//! Hands out ports where a channel names port 0 and a range is configured.

use std::collections::BTreeSet;

use crate::config::PortRange;

/// The ports of a range and which are taken. One for receivers, one for senders.
#[derive(Clone, Debug)]
pub(crate) struct PortPool {
    range: PortRange,
    next: u16,
    taken: BTreeSet<u16>,
}

impl PortPool {
    pub(crate) fn new(range: PortRange) -> Self {
        Self { range, next: range.low, taken: BTreeSet::new() }
    }

    /// A port to bind for a channel that names `wanted`: itself unless it is 0, then the next free
    /// one of the range, or 0 when the host is to choose. `None` when the range is used up.
    pub(crate) fn take(&mut self, wanted: u16) -> Option<u16> {
        if wanted != 0 || self.range.is_any() {
            if wanted != 0 {
                self.taken.insert(wanted);
            }
            return Some(wanted);
        }
        let count = u32::from(self.range.high) - u32::from(self.range.low) + 1;
        for _ in 0..count {
            let port = self.next;
            self.next = if port >= self.range.high { self.range.low } else { port + 1 };
            if self.taken.insert(port) {
                return Some(port);
            }
        }
        None
    }

    /// The socket on this port was closed, or never opened.
    pub(crate) fn give_back(&mut self, port: u16) {
        self.taken.remove(&port);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_go_round_the_range_and_run_out() {
        let mut pool = PortPool::new(PortRange { low: 20_000, high: 20_002 });
        assert_eq!(pool.take(20_001), Some(20_001));
        assert_eq!((pool.take(0), pool.take(0), pool.take(0)), (Some(20_000), Some(20_002), None));
        pool.give_back(20_000);
        assert_eq!(pool.take(0), Some(20_000));
    }

    #[test]
    fn without_a_range_the_host_chooses() {
        let mut pool = PortPool::new(PortRange::ANY);
        assert_eq!((pool.take(0), pool.take(0), pool.take(9)), (Some(0), Some(0), Some(9)));
    }
}
