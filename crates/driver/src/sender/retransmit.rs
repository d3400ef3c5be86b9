//! Which NAKs are answered with a re-send, and when.
//!
//! Pure: a slot per range that waits for its delay or lingers after its re-send. With one receiver
//! there is one slot, which a new range takes over (docs/udp.md, "NAK handling").

use runtime::Nanos;
use wire::position::TermId;

/// Bytes of a term that are to be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) term_id: TermId,
    pub(crate) offset: i32,
    pub(crate) length: i32,
}

impl Range {
    fn covers(&self, term_id: TermId, offset: i32) -> bool {
        self.term_id == term_id && self.offset <= offset && offset < self.offset + self.length
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Free,
    Delayed { range: Range, until: Nanos },
    Lingering { range: Range, until: Nanos },
}

impl Slot {
    const fn range(&self) -> Option<&Range> {
        match self {
            Self::Free => None,
            Self::Delayed { range, .. } | Self::Lingering { range, .. } => Some(range),
        }
    }
}

/// What to do about a NAK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Nothing: the range is on its way, or empty.
    Ignore,
    /// Send it again now.
    Resend(Range),
    /// Send it again when [`Retransmits::poll`] says so.
    Delay,
    /// Every slot is taken.
    Overflow,
}

/// The re-sends of one publication.
#[derive(Debug)]
pub(crate) struct Retransmits {
    slots: Vec<Slot>,
    delay: Nanos,
    linger: Nanos,
    is_group: bool,
}

impl Retransmits {
    /// `slot_count` counts for groups only; a single receiver has one slot.
    pub(crate) fn new(slot_count: usize, is_group: bool, delay: Nanos, linger: Nanos) -> Self {
        let slot_count = if is_group { slot_count.max(1) } else { 1 };
        Self { slots: vec![Slot::Free; slot_count], delay, linger, is_group }
    }

    /// A NAK came for this range. `length_max` is what flow control allows at a time.
    pub(crate) fn on_nak(
        &mut self,
        nak: Range,
        term_length: i32,
        length_max: i32,
        now: Nanos,
    ) -> Answer {
        if nak.length <= 0 || nak.offset < 0 || nak.offset >= term_length {
            return Answer::Ignore;
        }
        let is_covered =
            |slot: &Slot| slot.range().is_some_and(|range| range.covers(nak.term_id, nak.offset));
        if self.slots.iter().any(is_covered) {
            return Answer::Ignore;
        }
        let length = nak.length.min(term_length - nak.offset).min(length_max);
        let range = Range { length, ..nak };
        let free = if self.is_group {
            self.slots.iter_mut().find(|slot| **slot == Slot::Free)
        } else {
            self.slots.first_mut()
        };
        let Some(slot) = free else { return Answer::Overflow };
        if self.delay <= Nanos(0) {
            *slot = Slot::Lingering { range, until: now + self.linger };
            return Answer::Resend(range);
        }
        *slot = Slot::Delayed { range, until: now + self.delay };
        Answer::Delay
    }

    /// Moves slots whose time has come and returns one range to send now, if there is one; to be
    /// called until there is none.
    pub(crate) fn poll(&mut self, now: Nanos) -> Option<Range> {
        for slot in &mut self.slots {
            match *slot {
                Slot::Delayed { range, until } if until <= now => {
                    *slot = Slot::Lingering { range, until: now + self.linger };
                    return Some(range);
                }
                Slot::Lingering { until, .. } if until <= now => *slot = Slot::Free,
                _ => {}
            }
        }
        None
    }

    /// When a delayed range is to be sent. Lingering needs no wake-up.
    pub(crate) fn next_deadline(&self) -> Nanos {
        let delayed = self.slots.iter().filter_map(|slot| match slot {
            Slot::Delayed { until, .. } => Some(*until),
            Slot::Free | Slot::Lingering { .. } => None,
        });
        delayed.min().unwrap_or(Nanos::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM: i32 = 65_536;

    fn range(offset: i32, length: i32) -> Range {
        Range { term_id: TermId(3), offset, length }
    }

    #[test]
    fn without_a_delay_a_range_goes_at_once_and_lingers() {
        let mut resends = Retransmits::new(16, true, Nanos(0), Nanos(10));
        let answer = resends.on_nak(range(64, 128), TERM, TERM, Nanos(0));
        assert_eq!(answer, Answer::Resend(range(64, 128)));
        assert_eq!(resends.on_nak(range(96, 64), TERM, TERM, Nanos(5)), Answer::Ignore);
        assert_eq!(resends.poll(Nanos(10)), None);
        let again = resends.on_nak(range(64, 128), TERM, TERM, Nanos(10));
        assert_eq!(again, Answer::Resend(range(64, 128)));
    }

    #[test]
    fn a_delayed_range_goes_when_its_time_comes() {
        let mut resends = Retransmits::new(16, true, Nanos(5), Nanos(10));
        assert_eq!(resends.on_nak(range(0, 32), TERM, TERM, Nanos(0)), Answer::Delay);
        assert_eq!((resends.poll(Nanos(4)), resends.next_deadline()), (None, Nanos(5)));
        assert_eq!(resends.poll(Nanos(5)), Some(range(0, 32)));
        assert_eq!((resends.poll(Nanos(5)), resends.next_deadline()), (None, Nanos::MAX));
    }

    #[test]
    fn a_group_runs_out_of_slots_and_a_single_receiver_replaces_its_own() {
        let mut group = Retransmits::new(1, true, Nanos(0), Nanos(10));
        assert!(matches!(group.on_nak(range(0, 32), TERM, TERM, Nanos(0)), Answer::Resend(_)));
        assert_eq!(group.on_nak(range(64, 32), TERM, TERM, Nanos(0)), Answer::Overflow);
        let mut single = Retransmits::new(16, false, Nanos(0), Nanos(10));
        assert!(matches!(single.on_nak(range(0, 32), TERM, TERM, Nanos(0)), Answer::Resend(_)));
        assert!(matches!(single.on_nak(range(64, 32), TERM, TERM, Nanos(0)), Answer::Resend(_)));
    }

    #[test]
    fn a_range_is_cut_at_the_end_of_the_term_and_at_what_flow_control_allows() {
        let mut resends = Retransmits::new(1, false, Nanos(0), Nanos(0));
        let at_end = resends.on_nak(range(TERM - 64, 4096), TERM, TERM, Nanos(0));
        assert_eq!(at_end, Answer::Resend(range(TERM - 64, 64)));
        let long = resends.on_nak(range(0, 4096), TERM, 1024, Nanos(0));
        assert_eq!(long, Answer::Resend(range(0, 1024)));
        assert_eq!(resends.on_nak(range(0, 0), TERM, TERM, Nanos(9)), Answer::Ignore);
        assert_eq!(resends.on_nak(range(TERM, 32), TERM, TERM, Nanos(9)), Answer::Ignore);
    }
}
