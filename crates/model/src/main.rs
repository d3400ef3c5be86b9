//! Floor 8: a model check of the consensus core, as `cargo xtask model` starts it.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout)] // A program for a terminal.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use coracle_model::live::who;
use coracle_model::search::{Limits, Report, Search, Verdict};
use coracle_model::setup::{Setup, rules_without};
use coracle_model::teeth;
use coracle_model::walk::{Reach, walk};

/// A model check of the consensus core.
#[derive(Parser)]
struct Arguments {
    /// Members: 3 to 5.
    #[arg(long, default_value_t = 3)]
    members: usize,
    /// Leadership terms.
    #[arg(long, default_value_t = 2)]
    terms: i64,
    /// Entries of the log.
    #[arg(long, default_value_t = 2)]
    entries: usize,
    /// Every order of single events, not coarse steps.
    #[arg(long)]
    fine: bool,
    /// Messages that outlive what their sender said them in.
    #[arg(long, default_value_t = 0)]
    late: usize,
    /// A rule to switch off: p1 to p3 l1 to l4 f1 to f6 v1 to v3 h1 to h4 commit vote.
    #[arg(long)]
    without: Vec<String>,
    /// No crashes.
    #[arg(long)]
    no_crashes: bool,
    /// Live images end besides being silent.
    #[arg(long)]
    closes: bool,
    /// Members take snapshots.
    #[arg(long)]
    snapshots: bool,
    /// Disks that are lost.
    #[arg(long, default_value_t = 0)]
    lost_disks: u32,
    /// Times that a part of a recording rots.
    #[arg(long, default_value_t = 0)]
    rots: u32,
    /// Tables of terms need not fit the recording: only what comes of it counts.
    #[arg(long)]
    loose: bool,
    /// Leaders that wait for a quorum also announce lower positions, as genuine ones do.
    #[arg(long)]
    lower_commits: bool,
    /// Compares what comes of situations that count as one, with so many others of each.
    #[arg(long, default_value_t = 0)]
    twins: usize,
    /// Random walks instead of a search.
    #[arg(long, default_value_t = 0)]
    walks: u64,
    /// Steps of a walk.
    #[arg(long, default_value_t = 60)]
    depth: usize,
    /// Tries liveness from so many of the states.
    #[arg(long, default_value_t = 0)]
    live: usize,
    /// Ends after this time.
    #[arg(long, default_value_t = 30)]
    minutes: u64,
    /// Ends when states take so many GiB.
    #[arg(long, default_value_t = 8)]
    gigabytes: usize,
    /// Switches each rule off in turn, and must notice.
    #[arg(long)]
    teeth: bool,
    /// Ends with this many states.
    #[arg(long, default_value_t = 150_000_000)]
    states: usize,
}

impl Arguments {
    fn setup(&self) -> Result<Setup, String> {
        let mut setup = Setup::new(self.terms, self.entries);
        setup.members = self.members;
        setup.is_coarse = !self.fine;
        setup.late = self.late;
        setup.has_crashes = !self.no_crashes;
        setup.has_closes = self.closes;
        setup.has_snapshots = self.snapshots;
        setup.lost_disks = self.lost_disks;
        setup.rots = self.rots;
        setup.checks_tables = !self.loose;
        setup.twins = self.twins;
        setup.has_lower_commits = self.lower_commits;
        for name in &self.without {
            setup.rules = rules_without(name).ok_or_else(|| format!("no rule {name}"))?;
        }
        Ok(setup)
    }
}

/// A clock that begins now.
#[allow(clippy::disallowed_methods)] // A program: its time limits are those of the real clock.
fn clock() -> impl Fn() -> Duration {
    let begin = Instant::now();
    move || begin.elapsed()
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.teeth {
        return show_teeth(&arguments.without);
    }
    let setup = match arguments.setup() {
        Ok(setup) => setup,
        Err(text) => {
            println!("{text}");
            return ExitCode::FAILURE;
        }
    };
    let limits = Limits {
        states: arguments.states,
        bytes: arguments.gigabytes << 30,
        time: Duration::from_secs(arguments.minutes * 60),
    };
    if arguments.walks > 0 {
        return stroll(&arguments, setup);
    }
    let mut search = Search::new(setup);
    let report = search.run(limits, clock(), |report| println!("{}", line(report)));
    println!("{}", line(&report));
    if arguments.twins > 0 {
        println!("{} comparisons of twins", search.world.compared());
    }
    match report.verdict {
        Verdict::Exhausted => println!("exhausted: no violation"),
        Verdict::Stopped => println!("stopped at a limit: no violation"),
        Verdict::Violated { scenario, .. } => {
            scenario.iter().for_each(|line| println!("{line}"));
            return ExitCode::FAILURE;
        }
    }
    if arguments.live == 0 || try_liveness(&mut search, arguments.live) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The table of all rules, or of those named.
fn show_teeth(only: &[String]) -> ExitCode {
    println!("rule  found by  bound    steps    states   control seconds  what");
    let (mut found, mut missed) = (0, Vec::new());
    for rule in teeth::rules() {
        if !only.is_empty() && !only.iter().any(|name| name.eq_ignore_ascii_case(rule)) {
            continue;
        }
        let Some(bite) = teeth::bite(rule, clock()) else { continue };
        println!("{}", bite.row);
        if bite.is_found {
            found += 1;
        } else {
            missed.push(bite.rule);
        }
        if !only.is_empty() {
            bite.scenario.iter().for_each(|line| println!("{line}"));
        }
    }
    println!("{found} found, not found: {missed:?}");
    if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn stroll(arguments: &Arguments, setup: Setup) -> ExitCode {
    let elapsed = clock();
    let limit = Duration::from_secs(arguments.minutes * 60);
    let reach = Reach { first: 0, count: arguments.walks, steps: arguments.depth };
    let walks = walk(setup, reach, || elapsed() > limit);
    println!(
        "{} walks, {} steps, longest {}, {:.1} s",
        walks.walks,
        walks.steps,
        walks.steps_max,
        elapsed().as_secs_f64()
    );
    let Some((seed, lines, _)) = walks.violation else { return ExitCode::SUCCESS };
    lines.iter().for_each(|line| println!("{line}"));
    println!("walk {seed}");
    ExitCode::FAILURE
}

fn try_liveness(search: &mut Search, count: usize) -> bool {
    let liveness = search.liveness(count);
    println!("liveness: {} checks, longest way {} steps", liveness.checks, liveness.steps_max);
    let Some((index, dead)) = liveness.dead else { return true };
    search.way(index).iter().for_each(|line| println!("{line}"));
    println!("dead, with {}", who(dead));
    false
}

fn line(report: &Report) -> String {
    format!(
        "depth {:>3}  states {:>11}  transitions {:>12}  situations {:>9}  {:>6.1} s",
        report.depth,
        report.states,
        report.transitions,
        report.situations,
        report.elapsed.as_secs_f64()
    )
}
