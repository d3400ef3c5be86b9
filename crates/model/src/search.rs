//! Breadth-first search: the first violation that it finds takes the fewest steps.

use std::time::Duration;

use consensus::ElectionState;

use crate::hash::HashSet128;
use crate::live::{self, Liveness};
use crate::setup::Setup;
use crate::world::{Found, Key, Label, Row, World};

/// Where a search ends.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// States.
    pub states: usize,
    /// Bytes that states take.
    pub bytes: usize,
    /// Time.
    pub time: Duration,
}

/// How a search ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every state within the bounds was seen, and all was well.
    Exhausted,
    /// A limit was reached, and all was well.
    Stopped,
    /// Something is wrong: what, and the scenario, step by step.
    Violated {
        /// What is wrong.
        text: String,
        /// The steps.
        scenario: Vec<String>,
    },
}

/// What a search did.
#[derive(Clone, Debug)]
pub struct Report {
    /// How it ended.
    pub verdict: Verdict,
    /// States seen.
    pub states: usize,
    /// Transitions taken.
    pub transitions: u64,
    /// Steps from the first state to the last one whose successors were all looked at.
    pub depth: usize,
    /// Situations of single members.
    pub situations: usize,
    /// Time it took.
    pub elapsed: Duration,
}

/// A search, and all that it has seen.
pub struct Search {
    /// Situations.
    pub world: World,
    rows: Vec<u32>,
    parents: Vec<u32>,
    seen: HashSet128,
    stride: usize,
}

impl Search {
    /// A search that has seen nothing.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let stride = setup.members + 1 + setup.late;
        let world = World::new(setup);
        Self { world, rows: Vec::new(), parents: Vec::new(), seen: HashSet128::default(), stride }
    }

    /// States seen.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parents.len()
    }

    /// Whether nothing was seen yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parents.is_empty()
    }

    /// Bytes that states and situations take, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let rows = self.rows.capacity() + self.parents.capacity();
        rows * 4 + self.seen.bytes() + self.world.bytes()
    }

    /// The state of this number.
    #[must_use]
    pub fn row(&self, index: usize) -> Row {
        let mut row = [crate::world::NOTHING; crate::world::ROW];
        let begin = index * self.stride;
        row[..self.stride].copy_from_slice(&self.rows[begin..begin + self.stride]);
        row
    }

    fn push(&mut self, row: &Row, parent: usize) {
        self.rows.extend_from_slice(&row[..self.stride]);
        self.parents.push(parent as u32);
    }

    /// Searches from the first start of all members. `progress` is told now and then.
    ///
    /// `clock` tells the time since it began.
    pub fn run(
        &mut self,
        limits: Limits,
        clock: impl Fn() -> Duration,
        mut progress: impl FnMut(&Report),
    ) -> Report {
        let first = self.world.first();
        let hash = self.world.canonical(&first);
        self.seen.insert(hash);
        self.push(&first, 0);
        let mut found = Found::default();
        let (mut at, mut depth, mut level_end) = (0, 0, 1);
        let mut report = Report {
            verdict: Verdict::Exhausted,
            states: 1,
            transitions: 0,
            depth: 0,
            situations: 0,
            elapsed: Duration::ZERO,
        };
        while at < self.len() {
            if at == level_end {
                (level_end, depth) = (self.len(), depth + 1);
                report.depth = depth;
                self.measure(&mut report, clock());
                progress(&report);
            }
            let is_full = self.len() >= limits.states
                || at % 1024 == 0 && (self.bytes() >= limits.bytes || clock() > limits.time);
            if is_full {
                report.verdict = Verdict::Stopped;
                break;
            }
            let row = self.row(at);
            self.world.expand(&row, &mut found);
            report.transitions += found.next.len() as u64;
            if let Some(text) = self.take(&found, at) {
                let rows = self.rows_to(at);
                let scenario = self.scenario(&rows, &text);
                report.verdict = Verdict::Violated { text, scenario };
                break;
            }
            at += 1;
        }
        self.measure(&mut report, clock());
        report
    }

    /// Tries `count` states, evenly taken from all that were seen, each with all members alive and
    /// with each one dead, until one is dead.
    pub fn liveness(&self, count: usize) -> Liveness {
        let mut liveness = Liveness::default();
        let stride = (self.len() / count.max(1)).max(1);
        for index in (0..self.len()).step_by(stride) {
            let row = self.row(index);
            let dead = (0..self.world.setup.members).map(Some);
            for dead in std::iter::once(None).chain(dead) {
                if !live::has_voters(&self.world, &row, dead) {
                    continue;
                }
                liveness.checks += 1;
                match live::serves(&self.world, &row, dead) {
                    Some(steps) => liveness.steps_max = liveness.steps_max.max(steps),
                    None => {
                        liveness.dead = Some((index, dead));
                        return liveness;
                    }
                }
            }
        }
        liveness
    }

    fn measure(&self, report: &mut Report, elapsed: Duration) {
        report.states = self.len();
        report.situations = self.world.known().0;
        report.elapsed = elapsed;
    }

    /// Adds what is new. The first violation, if there is one.
    fn take(&mut self, found: &Found, parent: usize) -> Option<String> {
        if let Some(text) = &self.world.parted {
            return Some(text.clone());
        }
        for next in &found.next {
            if let Some(text) = &next.violation {
                return Some(text.clone());
            }
            if self.seen.insert(next.hash) {
                if let Err(text) = self.world.check(&next.row) {
                    return Some(text);
                }
                self.push(&next.row, parent);
            }
        }
        None
    }

    /// How the state `last` comes about.
    pub fn way(&mut self, last: usize) -> Vec<String> {
        let rows = self.rows_to(last);
        self.steps(&rows)
    }

    fn rows_to(&self, last: usize) -> Vec<Row> {
        let mut rows = vec![self.row(last)];
        let mut index = last;
        while index != 0 {
            index = self.parents[index] as usize;
            rows.push(self.row(index));
        }
        rows.reverse();
        rows
    }

    fn steps(&mut self, rows: &[Row]) -> Vec<String> {
        let mut lines = Vec::new();
        let mut found = Found { keeps_paths: true, ..Found::default() };
        for pair in rows.windows(2) {
            self.world.expand(&pair[0], &mut found);
            let step = found.next.iter().find(|next| next.row == pair[1]);
            let path = step.map(|next| next.path.clone()).unwrap_or_default();
            self.tell(&mut lines, &path, &pair[1]);
        }
        lines
    }

    /// How the violation `text` comes about after the last of `rows`.
    pub(crate) fn scenario(&mut self, rows: &[Row], text: &str) -> Vec<String> {
        let mut lines = self.steps(rows);
        let mut found = Found { keeps_paths: true, ..Found::default() };
        let Some(row) = rows.last() else { return lines };
        self.world.expand(row, &mut found);
        let world = &self.world;
        let is_wrong = |next: &&crate::world::Next| {
            next.violation.is_some() || world.check(&next.row).is_err()
        };
        let wrong = found.next.iter().find(is_wrong).cloned();
        if let Some(wrong) = wrong {
            self.tell(&mut lines, &wrong.path, &wrong.row);
        }
        lines.push(format!("violation: {text}"));
        lines
    }

    fn tell(&self, lines: &mut Vec<String>, path: &[Label], row: &Row) {
        let labels: Vec<String> = path.iter().map(|label| self.describe(label)).collect();
        lines.push(format!("{:>3}. {}", lines.len() / 2 + 1, labels.join(", then ")));
        lines.push(format!("     {}", self.picture(row)));
    }

    fn describe(&self, label: &Label) -> String {
        let member = label.member;
        let what = match label.key {
            Key::Deliver(id) => self.world.message(id).describe(),
            Key::Copy(entry) => {
                format!("{member} records entry {} of term {}", entry.by, entry.term)
            }
            other => format!("{member} {other:?}"),
        };
        if label.torn > 0 { format!("{what} [{member} crashes on the way]") } else { what }
    }

    /// A state in one line.
    #[must_use]
    pub fn picture(&self, row: &Row) -> String {
        let setup = &self.world.setup;
        let mut text = String::new();
        for member in 0..setup.members {
            let node = &self.world.member(row, member).node;
            let log: Vec<String> = node.readable().iter().map(|e| e.term.to_string()).collect();
            let terms: Vec<String> = node
                .disk
                .terms
                .iter()
                .map(|record| format!("{}@{}", record.term.0, record.base.0 / 32))
                .collect();
            let core = &node.core;
            let state = if core.election_state() == ElectionState::Closed {
                format!("{:?} in service", core.role())
            } else {
                format!("{:?}", core.election_state())
            };
            text += &format!(
                "{member}: {state} t{} v{} [{}] {} rec {} com {} | ",
                core.leadership_term_id().0,
                node.disk.candidate,
                log.join(","),
                terms.join(" "),
                node.disk.log.len(),
                node.exposed()
            );
        }
        let ghost = self.world.ghost(row);
        let committed: Vec<String> = ghost.committed.iter().map(|e| e.term.to_string()).collect();
        text += &format!("committed [{}]", committed.join(","));
        for &late in row[setup.members + 1..].iter().filter(|&&id| id != crate::world::NOTHING) {
            text += &format!(" late {}", self.world.message(late).describe());
        }
        text
    }
}
