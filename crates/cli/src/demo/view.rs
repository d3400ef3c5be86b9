//! The live view: a table that is drawn over itself on a terminal, a line a second elsewhere.

use std::io::{IsTerminal as _, Write as _};

use coracle::consensus::{ElectionState, Role};
use coracle::runtime::Nanos;

use super::script::{MEMBERS, Stage};
use super::status::Status;
use crate::stat::grouped;

/// How often the table is drawn.
const DRAW_INTERVAL: Nanos = Nanos::from_millis(200);
/// How often a plain line is printed.
const LINE_INTERVAL: Nanos = Nanos::from_secs(1);

/// What is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Picture {
    /// Since the beginning.
    pub(crate) elapsed: Nanos,
    pub(crate) stage: Stage,
    pub(crate) total: u64,
    pub(crate) sent: u64,
    pub(crate) acknowledged: u64,
    /// Processes of the nodes that run.
    pub(crate) processes: [Option<u32>; MEMBERS],
    pub(crate) members: [Option<Status>; MEMBERS],
}

/// Draws pictures, and lines that stay above them.
pub(crate) struct View {
    is_terminal: bool,
    /// Lines of the table that stands on the terminal.
    drawn: usize,
    due: Nanos,
    /// What rates are reckoned from.
    last: Option<Counts>,
}

/// What rates are reckoned of.
#[derive(Clone, Copy)]
struct Counts {
    at: Nanos,
    acknowledged: u64,
    executed: [u64; MEMBERS],
}

impl View {
    /// Looks whether standard output is a terminal.
    pub(crate) fn new() -> Self {
        let is_terminal = std::io::stdout().is_terminal();
        Self { is_terminal, drawn: 0, due: Nanos(0), last: None }
    }

    /// Whether the next picture is due.
    pub(crate) fn is_due(&self, elapsed: Nanos) -> bool {
        elapsed >= self.due
    }

    /// Shows a picture.
    pub(crate) fn show(&mut self, picture: &Picture) {
        let counts = Counts::of(picture);
        let rates =
            self.last.replace(counts).map_or_else(Rates::default, |last| counts.since(&last));
        if self.is_terminal {
            self.due = picture.elapsed + DRAW_INTERVAL;
            let lines = table(picture, &rates);
            self.erase();
            self.drawn = lines.len();
            self.print(&lines.join("\n"));
        } else {
            self.due = picture.elapsed + LINE_INTERVAL;
            self.print(&line(picture, &rates));
        }
    }

    /// Prints a line that stays.
    pub(crate) fn tell(&mut self, elapsed: Nanos, text: &str) {
        self.erase();
        self.print(&format!("{} {text}", seconds(elapsed)));
        // The table returns at once.
        if self.is_terminal {
            self.due = elapsed;
        }
    }

    /// Takes the table off the terminal.
    pub(crate) fn erase(&mut self) {
        if self.drawn > 0 {
            // So many lines up, then clear to the end of the screen.
            print!("\x1b[{}F\x1b[J", self.drawn);
            self.drawn = 0;
        }
    }

    fn print(&self, text: &str) {
        // Nobody may be left to read it: that is no reason to fail.
        let _ = writeln!(std::io::stdout(), "{text}");
        if self.is_terminal {
            let _ = std::io::stdout().flush();
        }
    }
}

/// How much a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Rates {
    acknowledged: u64,
    executed: [u64; MEMBERS],
}

impl Counts {
    fn of(picture: &Picture) -> Self {
        let executed = picture.members.map(|member| member.map_or(0, |member| executed(&member)));
        Self { at: picture.elapsed, acknowledged: picture.acknowledged, executed }
    }

    fn since(&self, last: &Self) -> Rates {
        let nanos = u64::try_from((self.at - last.at).0).unwrap_or(0).max(1);
        let rate = |now: u64, before: u64| {
            let rate = u128::from(now.saturating_sub(before)) * 1_000_000_000 / u128::from(nanos);
            u64::try_from(rate).unwrap_or(u64::MAX)
        };
        let executed = std::array::from_fn(|id| rate(self.executed[id], last.executed[id]));
        Rates { acknowledged: rate(self.acknowledged, last.acknowledged), executed }
    }
}

fn executed(status: &Status) -> u64 {
    status.book.map_or(0, |book| book.executed)
}

/// Seconds since the beginning, aligned.
fn seconds(elapsed: Nanos) -> String {
    format!("{:>5.1} s ", elapsed.as_millis() as f64 / 1_000.0)
}

fn count(number: u64) -> String {
    grouped(i64::try_from(number).unwrap_or(i64::MAX))
}

/// What a member is, in a word.
fn role(status: &Status) -> &'static str {
    let is_election_over = status.election == ElectionState::Closed as i64;
    match status.role {
        _ if status.book.is_none() => "starting",
        _ if !is_election_over => "electing",
        role if role == Role::Leader as i64 => "LEADER",
        role if role == Role::Candidate as i64 => "candidate",
        _ => "follower",
    }
}

fn table(picture: &Picture, rates: &Rates) -> Vec<String> {
    let mut lines = vec![
        format!(
            "{} {}: {} of {} sent, {} acknowledged, {}/s",
            seconds(picture.elapsed),
            words(picture.stage),
            count(picture.sent),
            count(picture.total),
            count(picture.acknowledged),
            count(rates.acknowledged),
        ),
        "  member  process  role       term  log position   executed    rate/s  snapshots".into(),
    ];
    for id in 0..MEMBERS {
        let process = picture.processes[id].map_or_else(|| "-".into(), |pid| pid.to_string());
        lines.push(match picture.members[id] {
            Some(status) => format!(
                "  {id:<6}  {process:>7}  {:<9}  {:>4}  {:>12}  {:>9}  {:>8}  {:>9}",
                role(&status),
                status.term,
                grouped(status.commit_position),
                count(executed(&status)),
                count(rates.executed[id]),
                status.snapshots,
            ),
            None => format!("  {id:<6}  {process:>7}  down"),
        });
    }
    lines
}

fn line(picture: &Picture, rates: &Rates) -> String {
    let mut text = format!(
        "{} {} sent, {} acknowledged, {}/s",
        seconds(picture.elapsed),
        picture.sent,
        picture.acknowledged,
        rates.acknowledged,
    );
    for (id, member) in picture.members.iter().enumerate() {
        text += &match member {
            Some(status) => format!(
                " | {id} {} term {} at {}, {}/s",
                role(status),
                status.term,
                status.commit_position,
                rates.executed[id]
            ),
            None => format!(" | {id} down"),
        };
    }
    text
}

/// A stage for people.
fn words(stage: Stage) -> &'static str {
    match stage {
        Stage::Elect => "electing",
        Stage::Stream | Stage::Between => "streaming",
        Stage::Ask | Stage::Snapshot => "taking a snapshot",
        Stage::Crowd => "about to kill the leader",
        Stage::FailOver => "failing over",
        Stage::Down => "streaming to two members",
        Stage::CatchUp => "catching up",
        Stage::Drain => "streaming",
        Stage::Compare => "comparing",
        Stage::Done => "done",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::status::Book;
    use coracle::consensus::ModuleState;

    fn picture() -> Picture {
        let leader = Status {
            role: Role::Leader as i64,
            state: ModuleState::Active as i64,
            election: ElectionState::Closed as i64,
            term: 3,
            commit_position: 1_234_560,
            snapshots: 1,
            book: Some(Book { executed: 9_990, ..Book::default() }),
            ..Status::default()
        };
        Picture {
            elapsed: Nanos::from_millis(6_250),
            stage: Stage::FailOver,
            total: 49_232,
            sent: 10_000,
            acknowledged: 9_990,
            processes: [Some(4_711), None, Some(12)],
            members: [Some(leader), None, Some(Status::default())],
        }
    }

    #[test]
    fn the_table_shows_who_leads_who_is_down_and_who_starts_in_eighty_columns() {
        let rates = Rates { acknowledged: 4_000, executed: [4_100, 0, 0] };
        let lines = table(&picture(), &rates);
        assert_eq!(
            lines,
            [
                "  6.2 s  failing over: 10,000 of 49,232 sent, 9,990 acknowledged, 4,000/s",
                "  member  process  role       term  log position   executed    rate/s  snapshots",
                "  0          4711  LEADER        3     1,234,560      9,990     4,100          1",
                "  1             -  down",
                "  2            12  starting     -1             0          0         0          0",
            ]
        );
        assert!(lines.iter().all(|line| line.len() <= 80));
    }

    #[test]
    fn without_a_terminal_a_line_shows_the_same() {
        let rates = Rates { acknowledged: 4_000, executed: [4_100, 0, 0] };
        assert_eq!(
            line(&picture(), &rates),
            "  6.2 s  10000 sent, 9990 acknowledged, 4000/s \
             | 0 LEADER term 3 at 1234560, 4100/s | 1 down | 2 starting term -1 at 0, 0/s"
        );
    }

    #[test]
    fn rates_are_reckoned_between_pictures_and_a_restarted_member_has_none_below_zero() {
        let before = Counts { at: Nanos(0), acknowledged: 100, executed: [100, 100, 900] };
        let after =
            Counts { at: Nanos::from_millis(500), acknowledged: 2_100, executed: [1_100, 100, 0] };
        let rates = Rates { acknowledged: 4_000, executed: [2_000, 0, 0] };
        assert_eq!(after.since(&before), rates);
    }
}
