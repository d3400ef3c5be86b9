//! What befalls datagrams between two hosts: faults, how they are drawn, how often they struck.

use std::net::SocketAddr;

use runtime::Nanos;
use runtime::random::Rng;

use crate::world::HostId;

/// How long a datagram is under way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Delay {
    /// Anything between the two, each as likely.
    Uniform {
        /// The shortest.
        min: Nanos,
        /// The longest.
        max: Nanos,
    },
    /// At least `min`, and beyond it exponentially distributed around `mean`, cut off at ten times
    /// that.
    Exponential {
        /// The shortest.
        min: Nanos,
        /// The mean of what is added.
        mean: Nanos,
    },
}

impl Delay {
    /// The delay of a quiet local network: 20 to 60 us.
    pub const LOCAL: Self =
        Self::Uniform { min: Nanos::from_micros(20), max: Nanos::from_micros(60) };

    fn draw(self, rng: &mut Rng) -> Nanos {
        match self {
            Self::Uniform { min, max } => {
                let spread = (max - min).0.max(0).cast_unsigned();
                min + Nanos(rng.below(spread.saturating_add(1)).cast_signed())
            }
            Self::Exponential { min, mean } => {
                let factor = (-(1.0 - rng.next_f64()).ln()).min(10.0);
                #[allow(clippy::cast_possible_truncation)] // A span of time far below i64::MAX.
                let added = (mean.0 as f64 * factor) as i64;
                min + Nanos(added)
            }
        }
    }
}

/// What befalls datagrams from one host to another. Probabilities are per datagram, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkFaults {
    /// Lost, each for itself.
    pub loss: f64,
    /// Begins a burst in which everything is lost.
    pub burst: f64,
    /// Most datagrams that a burst swallows; its length is drawn from 1 up to this.
    pub burst_length: u32,
    /// Arrives twice.
    pub duplicate: f64,
    /// Is held back so that later ones overtake it.
    pub reorder: f64,
    /// Longest time that it is held back.
    pub reorder_span: Nanos,
    /// Arrives with one to three bits flipped.
    pub corrupt: f64,
    /// Arrives without its end.
    pub truncate: f64,
    /// Arrives once more long after: up to `late_span`.
    pub late: f64,
    /// Longest time until that.
    pub late_span: Nanos,
    /// What is longer than this is swallowed.
    pub mtu: usize,
    /// How long it is under way. Those not held back stay in order.
    pub delay: Delay,
}

impl Default for LinkFaults {
    /// No faults, the delay of a quiet local network.
    fn default() -> Self {
        Self {
            loss: 0.0,
            burst: 0.0,
            burst_length: 8,
            duplicate: 0.0,
            reorder: 0.0,
            reorder_span: Nanos::from_millis(2),
            corrupt: 0.0,
            truncate: 0.0,
            late: 0.0,
            late_span: Nanos::from_secs(60),
            mtu: usize::MAX,
            delay: Delay::LOCAL,
        }
    }
}

/// How often each thing befell a datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkTotals {
    /// Datagrams handed to the network, one for each host that a multicast reaches.
    pub sent: u64,
    /// Put into the buffer of a socket; duplicates count.
    pub delivered: u64,
    /// Lost alone.
    pub lost: u64,
    /// Lost in a burst.
    pub burst_lost: u64,
    /// Sent twice by the network.
    pub duplicated: u64,
    /// Held back so that others overtake.
    pub reordered: u64,
    /// Harmed in their bytes.
    pub corrupted: u64,
    /// Robbed of their end.
    pub truncated: u64,
    /// Sent once more by the network, much later.
    pub late: u64,
    /// Swallowed because they were too long.
    pub oversized: u64,
    /// Held up by a clogged link.
    pub clogged: u64,
    /// Swallowed by a cut.
    pub cut: u64,
    /// Swallowed by a link that comes and goes.
    pub flapped: u64,
    /// Dropped by the filter.
    pub filtered: u64,
    /// Dropped because the buffer of a socket was full.
    pub overflowed: u64,
    /// Sent to an address that nobody has, or a port that nobody is bound to.
    pub unreachable: u64,
}

/// A datagram on its way out, as the filter sees it.
#[derive(Clone, Copy, Debug)]
pub struct Passing<'a> {
    /// The host that sends it.
    pub from: HostId,
    /// The host that it goes to.
    pub to: HostId,
    /// The sender's address.
    pub source: SocketAddr,
    /// The address that it goes to, which may be a multicast group's.
    pub destination: SocketAddr,
    /// Its payload.
    pub bytes: &'a [u8],
}

/// What becomes of a datagram that the filter saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing special: the faults of its link apply.
    Pass,
    /// It is dropped.
    Drop,
    /// It arrives twice, untouched by the faults of its link.
    Duplicate,
    /// It is under way that much longer, and others overtake it.
    Hold(Nanos),
}

/// One direction between two hosts.
pub(crate) struct Link {
    pub(crate) faults: LinkFaults,
    pub(crate) cut: bool,
    /// From when until when nothing arrives and all is kept.
    clog: Option<(Nanos, Nanos)>,
    /// How long it is down and up in turn, and until when.
    flap: Option<(Nanos, Nanos)>,
    /// How many more datagrams the burst under way swallows.
    burst_left: u32,
    /// When the last datagram that was not held back arrives.
    last_due: Nanos,
}

/// When the copies of a datagram arrive.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fate {
    pub(crate) copies: [Option<Nanos>; 3],
    pub(crate) corrupt: bool,
    pub(crate) truncate: bool,
}

impl Fate {
    fn once(due: Nanos) -> Self {
        Self { copies: [Some(due), None, None], ..Self::default() }
    }
}

impl Link {
    pub(crate) fn new(faults: LinkFaults) -> Self {
        let (clog, flap) = (None, None);
        Self { faults, cut: false, clog, flap, burst_left: 0, last_due: Nanos(0) }
    }

    /// Keeps all that is sent from `begin` until `end`, when it arrives at once.
    pub(crate) fn clog(&mut self, begin: Nanos, end: Nanos) {
        self.clog = Some((begin, end));
    }

    /// Is down and up in turn, each for `half`, until `end`.
    pub(crate) fn flap(&mut self, half: Nanos, end: Nanos) {
        self.flap = Some((half, end));
    }

    /// Is neither cut nor clogged nor does it flap.
    pub(crate) fn mend(&mut self) {
        (self.cut, self.clog, self.flap) = (false, None, None);
    }

    fn is_down(&self, now: Nanos) -> bool {
        self.flap.is_some_and(|(half, end)| now < end && now.0 / half.0.max(1) % 2 == 0)
    }

    /// Draws what becomes of a datagram of `length` bytes sent at `now`, and counts it.
    pub(crate) fn fate(
        &mut self,
        (now, length): (Nanos, usize),
        verdict: Verdict,
        rng: &mut Rng,
        totals: &mut NetworkTotals,
    ) -> Fate {
        if self.cut {
            totals.cut += 1;
            return Fate::default();
        }
        if self.is_down(now) {
            totals.flapped += 1;
            return Fate::default();
        }
        if length > self.faults.mtu {
            totals.oversized += 1;
            return Fate::default();
        }
        let mut fate = match verdict {
            Verdict::Drop => {
                totals.filtered += 1;
                Fate::default()
            }
            Verdict::Pass => self.harm(now, rng, totals),
            Verdict::Duplicate => {
                totals.duplicated += 1;
                let due = self.in_order(now, rng);
                Fate { copies: [Some(due), Some(due), None], ..Fate::default() }
            }
            Verdict::Hold(span) => {
                totals.reordered += 1;
                Fate::once(now + self.faults.delay.draw(rng) + span)
            }
        };
        if let Some((begin, end)) = self.clog
            && (begin..end).contains(&now)
        {
            totals.clogged += 1;
            fate.copies.iter_mut().flatten().for_each(|due| *due = end.max(*due));
        }
        fate
    }

    fn harm(&mut self, now: Nanos, rng: &mut Rng, totals: &mut NetworkTotals) -> Fate {
        let faults = self.faults;
        if self.burst_left == 0 && faults.burst > 0.0 && rng.chance(faults.burst) {
            let length = rng.below(u64::from(faults.burst_length)) + 1;
            self.burst_left = u32::try_from(length).unwrap_or(u32::MAX);
        }
        if self.burst_left > 0 {
            self.burst_left -= 1;
            totals.burst_lost += 1;
            return Fate::default();
        }
        if faults.loss > 0.0 && rng.chance(faults.loss) {
            totals.lost += 1;
            return Fate::default();
        }
        let first = if faults.reorder > 0.0 && rng.chance(faults.reorder) {
            totals.reordered += 1;
            let span = faults.reorder_span.0.max(0).cast_unsigned();
            now + faults.delay.draw(rng) + Nanos(rng.below(span.saturating_add(1)).cast_signed())
        } else {
            self.in_order(now, rng)
        };
        let mut fate = Fate::once(first);
        if faults.duplicate > 0.0 && rng.chance(faults.duplicate) {
            totals.duplicated += 1;
            fate.copies[1] = Some(now + faults.delay.draw(rng));
        }
        if faults.late > 0.0 && rng.chance(faults.late) {
            totals.late += 1;
            let span = faults.late_span.0.max(0).cast_unsigned();
            fate.copies[2] = Some(now + Nanos(rng.below(span.saturating_add(1)).cast_signed()));
        }
        if faults.corrupt > 0.0 && rng.chance(faults.corrupt) {
            totals.corrupted += 1;
            fate.corrupt = true;
        }
        if faults.truncate > 0.0 && rng.chance(faults.truncate) {
            totals.truncated += 1;
            fate.truncate = true;
        }
        fate
    }

    fn in_order(&mut self, now: Nanos, rng: &mut Rng) -> Nanos {
        self.last_due = self.last_due.max(now + self.faults.delay.draw(rng));
        self.last_due
    }
}

/// Flips one to three bits.
pub(crate) fn corrupt(bytes: &mut [u8], rng: &mut Rng) {
    for _ in 0..=rng.below(3) {
        let at = usize::try_from(rng.below(bytes.len() as u64)).unwrap_or_default();
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << rng.below(8);
        }
    }
}

/// Takes away the end: at least one byte of it.
pub(crate) fn truncate(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let left = rng.below(bytes.len() as u64);
    bytes.truncate(usize::try_from(left).unwrap_or_default());
}
