//! Makes a scenario that fails as short as it can be and still fails in the same way.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::scenario::Scenario;
use super::{Failure, Plant, play};

/// What is left of a scenario.
#[derive(Clone, Debug)]
pub struct Minimal {
    /// What still fails.
    pub scenario: Scenario,
    /// How.
    pub what: String,
    /// How many runs it took.
    pub runs: usize,
}

/// A search under way.
struct Search {
    plant: Plant,
    best: Scenario,
    what: String,
    runs: usize,
    most: usize,
}

/// Takes away from a scenario whatever its failure does not need, in at most `most` runs. `None`
/// if it does not fail.
#[must_use]
pub fn minimise(scenario: &Scenario, plant: Plant, most: usize) -> Option<Minimal> {
    let (what, at) = violation(scenario, plant)?;
    let mut search = Search { plant, best: scenario.clone(), what, runs: 1, most };
    search.drop_later(at);
    search.bisect();
    loop {
        let before = search.best.clone();
        search.drop_kinds();
        search.drop_settings();
        search.drop_strikes();
        if search.best == before || search.runs >= most {
            break;
        }
    }
    let Search { best, what, runs, .. } = search;
    Some(Minimal { scenario: best, what, runs })
}

/// What a scenario ends with, and after how many milliseconds, if that is a failure.
fn violation(scenario: &Scenario, plant: Plant) -> Option<(String, u64)> {
    match catch_unwind(AssertUnwindSafe(|| play(scenario, plant))) {
        Ok(Ok(_)) => None,
        Ok(Err(Failure { what, at, .. })) => Some((what, at.as_millis().unsigned_abs())),
        Err(_) => Some(("panicked".to_owned(), scenario.end)),
    }
}

/// Two failures are of one kind if they begin with the same words, up to the first number.
fn kind(what: &str) -> String {
    match what.split_once(':') {
        Some((rule, rest)) if rule.starts_with("I-") => {
            let words: String = rest.chars().filter(|it| !it.is_ascii_digit()).take(12).collect();
            format!("{rule}{words}")
        }
        _ => what.chars().filter(|it| !it.is_ascii_digit()).take(24).collect(),
    }
}

impl Search {
    /// Keeps a change if the failure stays.
    fn attempt(&mut self, change: impl FnOnce(&mut Scenario)) -> bool {
        let mut candidate = self.best.clone();
        change(&mut candidate);
        if candidate == self.best || self.runs >= self.most {
            return false;
        }
        self.runs += 1;
        match violation(&candidate, self.plant) {
            Some((what, _)) if kind(&what) == kind(&self.what) => {
                (self.best, self.what) = (candidate, what);
                true
            }
            _ => false,
        }
    }

    /// What strikes after the failure has no part in it.
    fn drop_later(&mut self, at: u64) {
        self.attempt(|it| {
            it.strikes.retain(|strike| strike.at <= at);
            it.end = it.end.min(at + 1);
        });
    }

    /// The shortest run of first strikes that fails.
    fn bisect(&mut self) {
        let (mut few, mut many) = (0, self.best.strikes.len());
        while few < many {
            let middle = usize::midpoint(few, many);
            let is_enough = self.attempt(|it| {
                it.end = it.strikes.get(middle).map_or(it.end, |strike| strike.at);
                it.strikes.truncate(middle);
            });
            if is_enough {
                many = middle;
            } else {
                few = middle + 1;
            }
        }
    }

    /// Kinds of trouble that have no part in it.
    fn drop_kinds(&mut self) {
        let mut kinds: Vec<_> = self.best.strikes.iter().map(|strike| strike.trouble).collect();
        kinds.sort();
        kinds.dedup();
        for kind in kinds {
            self.attempt(|it| it.strikes.retain(|strike| strike.trouble != kind));
        }
    }

    /// Settings and clients that have no part in it.
    fn drop_settings(&mut self) {
        self.attempt(|it| it.plan.points.clear());
        for point in 0..self.best.plan.points.len() {
            let last = self.best.plan.points.len() - 1 - point;
            self.attempt(|it| {
                it.plan.points.remove(last);
            });
        }
        self.attempt(|it| it.plan.voters = false);
        self.attempt(|it| it.plan.tears = false);
        self.attempt(|it| it.plan.checksums = false);
        self.attempt(|it| it.plan.snapshot_pause = 0);
        self.attempt(|it| it.plan.client_hosts = 1);
        self.attempt(|it| it.plan.clients = 1);
        self.attempt(|it| it.plan.members = 3);
        self.attempt(|it| it.plan.rate = 8);
    }

    /// Strikes that have no part in it: halves, quarters and so on, then each by itself.
    fn drop_strikes(&mut self) {
        let mut length = self.best.strikes.len().div_ceil(2);
        while length > 0 {
            let mut begin = 0;
            while begin < self.best.strikes.len() {
                let end = (begin + length).min(self.best.strikes.len());
                if !self.attempt(|it| drop(it.strikes.drain(begin..end))) {
                    begin = end;
                }
            }
            length = if length == 1 { 0 } else { length.div_ceil(2) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_of_one_kind_whatever_their_numbers() {
        let one = "I-6: member 1 commits 5, recorded up to 3";
        assert_eq!(kind(one), kind("I-6: member 2 commits 77, recorded up to 4"));
        assert_ne!(kind(one), kind("I-20: 3 members lead"));
        assert_eq!(kind("member 1: node: failed: x"), kind("member 4: node: failed: x"));
    }
}
