//! When the first gap of an image is to be reported.
//!
//! Pure: what the scan found and the time in, reports out. A gap is known by its place and its
//! length; when either changes the wait begins anew (docs/udp.md, "Loss detection and NAK").

use memory::log::gap::Gap;
use runtime::Nanos;

use super::feedback_delay::FeedbackDelay;

/// What a look at the gap led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Report it now.
    pub(crate) report: Option<Gap>,
    /// It is new, or has changed.
    pub(crate) is_new: bool,
}

/// Follows the first gap of one image.
#[derive(Debug)]
pub(crate) struct LossDetector {
    delay: FeedbackDelay,
    active: Option<(Gap, Nanos)>,
}

impl LossDetector {
    pub(crate) fn new(delay: FeedbackDelay) -> Self {
        Self { delay, active: None }
    }

    /// The scan from the rebuild position found this gap, or none.
    pub(crate) fn on_scan(&mut self, gap: Option<Gap>, now: Nanos) -> Found {
        let Some(gap) = gap else {
            self.active = None;
            return Found::default();
        };
        let mut is_new = false;
        let deadline = match self.active {
            Some((active, deadline)) if active == gap => deadline,
            _ => {
                is_new = true;
                now + self.delay.first()
            }
        };
        if now < deadline {
            self.active = Some((gap, deadline));
            return Found { report: None, is_new };
        }
        self.active = Some((gap, now + self.delay.retry()));
        Found { report: Some(gap), is_new }
    }

    /// When the gap is to be reported, if it stays.
    pub(crate) fn next_deadline(&self) -> Nanos {
        self.active.map_or(Nanos::MAX, |(_, deadline)| deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::position::TermId;

    fn detector() -> LossDetector {
        LossDetector::new(FeedbackDelay::Constant { delay: Nanos(10), retry: Nanos(100) })
    }

    fn gap(length: i32) -> Option<Gap> {
        Some(Gap { term_id: TermId(1), term_offset: 64, length })
    }

    #[test]
    fn a_gap_is_reported_after_its_delay_and_again_after_the_retry_delay() {
        let mut loss = detector();
        assert_eq!(loss.on_scan(gap(32), Nanos(0)), Found { report: None, is_new: true });
        assert_eq!(loss.next_deadline(), Nanos(10));
        assert_eq!(loss.on_scan(gap(32), Nanos(10)), Found { report: gap(32), is_new: false });
        assert_eq!(loss.on_scan(gap(32), Nanos(109)), Found::default());
        assert_eq!(loss.on_scan(gap(32), Nanos(110)).report, gap(32));
    }

    #[test]
    fn a_gap_that_changed_waits_anew_and_a_filled_one_is_forgotten() {
        let mut loss = detector();
        let _ = loss.on_scan(gap(32), Nanos(0));
        assert_eq!(loss.on_scan(gap(64), Nanos(9)), Found { report: None, is_new: true });
        assert_eq!(loss.on_scan(gap(64), Nanos(18)).report, None);
        assert_eq!(loss.on_scan(None, Nanos(19)), Found::default());
        assert_eq!(loss.next_deadline(), Nanos::MAX);
    }

    #[test]
    fn without_a_delay_a_gap_is_reported_when_it_is_found() {
        let mut loss =
            LossDetector::new(FeedbackDelay::Constant { delay: Nanos(0), retry: Nanos(0) });
        assert_eq!(loss.on_scan(gap(32), Nanos(5)), Found { report: gap(32), is_new: true });
    }
}
