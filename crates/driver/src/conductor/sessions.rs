//! Which session ids a driver gives out.

/// Draws session ids upwards from a random start, around a reserved range.
#[derive(Clone, Debug)]
pub(crate) struct SessionIds {
    next: i32,
    reserved_low: i32,
    reserved_high: i32,
}

impl SessionIds {
    pub(crate) fn new(start: i32, reserved_low: i32, reserved_high: i32) -> Self {
        Self { next: start, reserved_low, reserved_high }
    }

    /// The next id for which `is_used` says no.
    ///
    /// Ends because publications are far fewer than ids.
    pub(crate) fn next(&mut self, mut is_used: impl FnMut(i32) -> bool) -> i32 {
        loop {
            if self.reserved_low <= self.next && self.next <= self.reserved_high {
                self.next = self.reserved_high.wrapping_add(1);
            }
            let session = self.next;
            self.next = session.wrapping_add(1);
            if !is_used(session) {
                return session;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_jump_over_the_reserved_range_and_those_in_use() {
        let mut ids = SessionIds::new(-3, -1, 1000);
        assert_eq!(ids.next(|_| false), -3);
        assert_eq!(ids.next(|_| false), -2);
        assert_eq!(ids.next(|session| session == 1001), 1002);
    }

    #[test]
    fn ids_wrap_around() {
        let mut ids = SessionIds::new(i32::MAX, -1, 1000);
        assert_eq!((ids.next(|_| false), ids.next(|_| false)), (i32::MAX, i32::MIN));
    }
}
