//! Teeth: each rule switched off, and the check must notice.

use std::time::Duration;

use consensus::Rules;

use crate::live::who;
use crate::search::{Limits, Search, Verdict};
use crate::setup::Setup;

/// How the lack of a rule shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    /// A state that must not be.
    Violation,
    /// A state from which nobody comes to serve.
    Dead,
}

/// One rule, and the bounds within which its lack shows.
struct Tooth {
    rule: &'static str,
    sign: Sign,
    setup: Setup,
}

/// What became of one.
pub struct Bite {
    /// The rule that was switched off.
    pub rule: &'static str,
    /// The check noticed, and found nothing with the rule within the same bounds.
    pub is_found: bool,
    /// One row of the table.
    pub row: String,
    /// The scenario.
    pub scenario: Vec<String>,
}

/// What a look at one setup found.
struct Look {
    by: &'static str,
    text: Option<String>,
    steps: usize,
    states: usize,
    scenario: Vec<String>,
}

const LIMITS: Limits =
    Limits { states: 20_000_000, bytes: 6 << 30, time: Duration::from_secs(3_600) };
/// States that are searched at least with all rules on.
const CONTROL_MIN: usize = 100_000;
/// States tried for liveness without the rule, and with it.
const SAMPLES: (usize, usize) = (2_000, 150);

fn teeth() -> Vec<Tooth> {
    let tooth = |rule, sign, terms, entries| {
        let setup = Setup::new(terms, entries);
        let setup = setup.without(rule).unwrap_or(setup);
        Tooth { rule, sign, setup }
    };
    let mut teeth = vec![
        tooth("p1", Sign::Violation, 2, 1),
        tooth("p2", Sign::Violation, 3, 1),
        tooth("p3", Sign::Violation, 3, 1),
        tooth("l1", Sign::Violation, 4, 1),
        tooth("l2", Sign::Violation, 2, 1),
        tooth("l3", Sign::Violation, 2, 1),
        tooth("l4", Sign::Dead, 2, 1),
        tooth("f1", Sign::Violation, 3, 2),
        tooth("f3", Sign::Violation, 3, 2),
        tooth("f4", Sign::Violation, 2, 2),
        tooth("f5", Sign::Violation, 2, 1),
        tooth("v1", Sign::Violation, 2, 1),
        tooth("v2", Sign::Dead, 3, 1),
        tooth("h1", Sign::Violation, 2, 1),
        tooth("h2", Sign::Violation, 2, 1),
        tooth("h3", Sign::Violation, 2, 1),
        tooth("h4", Sign::Violation, 3, 1),
        tooth("vote", Sign::Violation, 2, 1),
    ];
    for tooth in &mut teeth {
        tooth.setup.lost_disks = u32::from(tooth.rule == "f5");
        tooth.setup.rots = u32::from(tooth.rule.starts_with('h'));
        if tooth.rule == "f4" {
            // Of three, a follower and its leader are a quorum.
            tooth.setup.members = 5;
            tooth.setup.has_lower_commits = true;
            tooth.setup.has_crashes = false;
        }
    }
    teeth
}

/// The rules that are switched off, one by one.
#[must_use]
pub fn rules() -> Vec<&'static str> {
    teeth().iter().map(|tooth| tooth.rule).collect()
}

/// Searches; if that is in vain, and a dead state is looked for, tries liveness.
fn look(
    setup: Setup,
    samples: Option<usize>,
    limits: Limits,
    clock: &impl Fn() -> Duration,
) -> Look {
    let mut search = Search::new(setup);
    let report = search.run(limits, clock, |_| {});
    let mut look = Look {
        by: "search",
        text: None,
        steps: report.depth + 1,
        states: report.states,
        scenario: Vec::new(),
    };
    if let Verdict::Violated { text, scenario } = report.verdict {
        look.text = Some(text);
        look.scenario = scenario;
    } else if let Some(samples) = samples {
        look.by = "liveness";
        if let Some((index, dead)) = search.liveness(samples).dead {
            look.text = Some(format!("dead, with {}", who(dead)));
            look.scenario = search.way(index);
            look.steps = look.scenario.len() / 2;
        }
    }
    look
}

/// Switches `rule` off and looks, then looks as far with all rules on. Nothing if there is no such
/// rule in the list. `clock` tells the time since it began.
#[must_use]
pub fn bite(rule: &str, clock: impl Fn() -> Duration) -> Option<Bite> {
    let tooth = teeth().into_iter().find(|tooth| tooth.rule == rule)?;
    let is_dead = tooth.sign == Sign::Dead;
    let without = look(tooth.setup, is_dead.then_some(SAMPLES.0), LIMITS, &clock);
    let limits = Limits { states: without.states.max(CONTROL_MIN), ..LIMITS };
    let all = Setup { rules: Rules::default(), ..tooth.setup };
    let with = look(all, is_dead.then_some(SAMPLES.1), limits, &clock);
    let Setup { members, terms, entries, .. } = tooth.setup;
    let seconds = clock().as_secs_f64();
    let row = format!(
        "{rule:<5} {:<9} {members}: {terms} x {entries} {:>6} {:>9} {:>9} {seconds:>7.1}  {}",
        without.by,
        without.steps,
        without.states,
        with.text.clone().unwrap_or_else(|| format!("{} ok", with.states)),
        without.text.as_deref().unwrap_or("NOT FOUND"),
    );
    Some(Bite {
        rule: tooth.rule,
        is_found: without.text.is_some() && with.text.is_none(),
        row,
        scenario: without.scenario,
    })
}
