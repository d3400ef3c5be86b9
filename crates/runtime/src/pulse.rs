//! Whether somebody else still gives signs of life.

use wire::time::Nanos;

/// Follows a value that its owner changes while it lives, such as the time of its last pass.
///
/// What the value says is not believed: wall clocks are set, and hosts freeze. What counts is how
/// long, by the own monotonic clock, it has been seen unchanged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pulse {
    last: Option<(i64, Nanos)>,
}

impl Pulse {
    /// Nothing has been seen.
    #[must_use]
    pub const fn new() -> Self {
        Self { last: None }
    }

    /// The value is looked at: how long it has been as it is.
    pub fn age(&mut self, value: i64, mono: Nanos) -> Nanos {
        match self.last {
            Some((last, since)) if last == value => mono - since,
            _ => {
                self.last = Some((value, mono));
                Nanos(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_value_that_stands_still_grows_old_whatever_it_says() {
        let mut pulse = Pulse::new();
        assert_eq!(pulse.age(1_000, Nanos(5)), Nanos(0));
        assert_eq!(pulse.age(1_000, Nanos(9)), Nanos(4));
        assert_eq!(pulse.age(-7, Nanos(20)), Nanos(0));
        assert_eq!(pulse.age(-7, Nanos(90)), Nanos(70));
    }
}
