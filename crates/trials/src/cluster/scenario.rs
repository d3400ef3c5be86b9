//! A run as a text: who there is, and what strikes when.
//!
//! A seed draws its scenario; what is left of it after something was taken away runs all the same,
//! as everything that a strike draws follows from the seed and the number of the strike.

use std::fmt;
use std::str::FromStr;

use archive::config::SyncLevel;
use runtime::Nanos;
use runtime::point::Point;
use runtime::random::Rng;

use super::plan::{Plan, Trouble, index};

/// How long faults strike.
const STORM_SPAN: u64 = 40_000;
/// When the first one may.
const CALM_SPAN: u64 = 2_000;

/// One strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strike {
    /// When, in milliseconds.
    pub(super) at: u64,
    pub(super) trouble: Trouble,
    /// From which, with the seed, all follows that it draws.
    pub(super) number: u64,
}

/// What happens in one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// From which all else is drawn.
    pub seed: u64,
    pub(super) plan: Plan,
    pub(super) strikes: Vec<Strike>,
    /// When faults end, in milliseconds.
    pub(super) end: u64,
}

/// Why a text is no scenario.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {text:?} does not belong into a scenario")]
pub struct ScenarioError {
    line: usize,
    text: String,
}

impl Scenario {
    /// The scenario of a seed.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut rng = Rng::new(seed, "plan");
        let plan = Plan::draw(&mut rng);
        let troubles = plan.draw_troubles(&mut rng);
        let pause = 200 + rng.below(2_500);
        let mut strikes = Vec::new();
        let mut at = CALM_SPAN;
        while at < STORM_SPAN && !troubles.is_empty() {
            let number = strikes.len() as u64;
            let is_mended = rng.chance(0.25);
            let trouble = troubles[index(&mut rng, troubles.len())];
            let trouble = if is_mended { Trouble::Mend } else { trouble };
            strikes.push(Strike { at, trouble, number });
            at += 20 + rng.below(2 * pause);
        }
        Self { seed, plan, strikes, end: STORM_SPAN }
    }

    /// A scenario in which nothing strikes.
    #[must_use]
    pub fn calm(seed: u64) -> Self {
        let mut scenario = Self::draw(seed);
        scenario.strikes.clear();
        scenario.plan.voters = false;
        scenario.plan.points.clear();
        scenario.plan.is_hostile = false;
        scenario
    }

    /// What a strike draws comes from here.
    pub(super) fn rng(&self, strike: Strike) -> Rng {
        Rng::new(self.seed, &format!("strike {}", strike.number))
    }

    /// When faults end.
    pub(super) fn span(&self) -> Nanos {
        Nanos::from_millis(self.end.cast_signed())
    }

    /// What follows from the seed alone.
    fn of_seed(seed: u64) -> Self {
        let scenario = Self::draw(seed);
        Self { strikes: Vec::new(), ..scenario }
    }

    pub(super) fn take_line(&mut self, line: &str) -> Option<()> {
        let mut words = line.split_whitespace();
        let (name, value) = (words.next()?, words.next()?);
        let plan = &mut self.plan;
        match name {
            "seed" => *self = Self::of_seed(value.parse().ok()?),
            "members" => plan.members = value.parse().ok().filter(|it| [1, 3, 5].contains(it))?,
            "client-hosts" => plan.client_hosts = value.parse().ok().filter(|it| *it > 0)?,
            "clients" => plan.clients = value.parse().ok().filter(|it| *it > 0)?,
            "rate" => plan.rate = value.parse().ok().filter(|it| *it > 0)?,
            "sync" => {
                plan.sync = match value {
                    "none" => SyncLevel::None,
                    "data" => SyncLevel::Data,
                    "all" => SyncLevel::All,
                    _ => return None,
                };
            }
            "checksums" => plan.checksums = yes(value)?,
            "tears" => plan.tears = yes(value)?,
            "voters" => plan.voters = yes(value)?,
            "hostile" => plan.is_hostile = yes(value)?,
            "services" => plan.services = value.parse().ok().filter(|it| [1, 2].contains(it))?,
            "log-channel-of" => {
                let member = value.parse().ok()?;
                plan.odd_log_channels.push((member, words.next()?.to_string()));
            }
            "snapshots" => plan.snapshot_pause = value.parse().ok()?,
            "points" if value == "none" => plan.points.clear(),
            "point" => {
                let name = words.collect::<Vec<_>>().join(" ");
                let point = Point::ALL.into_iter().find(|point| point.name() == name)?;
                plan.points.push((point, value.parse().ok()?));
                return Some(());
            }
            "end" => self.end = value.parse().ok()?,
            "at" => {
                let trouble = Trouble::from_name(words.next()?)?;
                let number = words.next()?.parse().ok()?;
                self.strikes.push(Strike { at: value.parse().ok()?, trouble, number });
            }
            _ => return None,
        }
        words.next().is_none().then_some(())
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, plan, strikes, end } = self;
        let sync = match plan.sync {
            SyncLevel::None => "none",
            SyncLevel::Data => "data",
            SyncLevel::All => "all",
        };
        writeln!(f, "seed {seed}\nmembers {}\nclient-hosts {}", plan.members, plan.client_hosts)?;
        writeln!(f, "clients {}\nrate {}\nsync {sync}", plan.clients, plan.rate)?;
        let word = |it: bool| if it { "yes" } else { "no" };
        writeln!(f, "checksums {}\ntears {}", word(plan.checksums), word(plan.tears))?;
        writeln!(f, "voters {}\nhostile {}", word(plan.voters), word(plan.is_hostile))?;
        writeln!(f, "snapshots {}\npoints none", plan.snapshot_pause)?;
        for (point, chance) in &plan.points {
            writeln!(f, "point {chance} {}", point.name())?;
        }
        writeln!(f, "end {end}")?;
        for Strike { at, trouble, number } in strikes {
            writeln!(f, "at {at} {} {number}", trouble.name())?;
        }
        Ok(())
    }
}

impl FromStr for Scenario {
    type Err = ScenarioError;

    /// Reads what `Display` writes; lines that begin with `#` and empty ones are passed over.
    fn from_str(text: &str) -> Result<Self, ScenarioError> {
        let mut scenario = Self::of_seed(0);
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let error = || ScenarioError { line: number + 1, text: line.to_owned() };
            scenario.take_line(line).ok_or_else(error)?;
        }
        scenario.strikes.sort_by_key(|strike| strike.at);
        Ok(scenario)
    }
}

fn yes(word: &str) -> Option<bool> {
    match word {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_is_read_as_it_was_written() {
        for seed in 0..50 {
            let scenario = Scenario::draw(seed);
            assert_eq!(scenario.to_string().parse(), Ok(scenario));
        }
    }

    #[test]
    fn what_does_not_belong_is_named() {
        for line in ["at 5 nothing 3", "sync maybe", "at 5 kill", "members 2", "seed 5 6"] {
            let error = format!("seed 4\n\n# this\n{line}").parse::<Scenario>().unwrap_err();
            assert_eq!(error, ScenarioError { line: 4, text: line.to_owned() });
        }
    }

    #[test]
    fn all_troubles_are_drawn() {
        let drawn: Vec<_> = (0..400).flat_map(|seed| Scenario::draw(seed).strikes).collect();
        for trouble in Trouble::ALL {
            let is_drawn = drawn.iter().any(|strike| strike.trouble == *trouble);
            assert!(is_drawn, "{}", trouble.name());
        }
    }
}
