//! Tables of what was measured: a row a run, then medians and ratios.

use std::fmt::Write as _;

use super::cpu::Usage;

/// Which way a figure improves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    /// Upwards.
    More,
    /// Downwards.
    Less,
}

/// One figure of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    /// Its name and unit.
    pub(crate) name: &'static str,
    pub(crate) better: Better,
}

/// What one side achieved once.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Run {
    /// One for each column.
    pub(crate) values: Vec<f64>,
    /// Who used the machine meanwhile.
    pub(crate) usage: Usage,
}

/// Both sides, one after the other. Theirs only if there is a genuine Aeron.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pair {
    pub(crate) ours: Run,
    pub(crate) theirs: Option<Run>,
}

impl Pair {
    /// How many times better ours is, column by column: above 1 ours wins, whichever way the
    /// column improves.
    fn ratios(&self, columns: &[Column]) -> Option<Vec<f64>> {
        let theirs = self.theirs.as_ref()?;
        let both = self.ours.values.iter().zip(&theirs.values);
        let ratio = |(column, (ours, theirs)): (&Column, (&f64, &f64))| match column.better {
            Better::More => ours / theirs,
            Better::Less => theirs / ours,
        };
        Some(columns.iter().zip(both).map(ratio).collect())
    }

    fn is_quiet(&self) -> bool {
        self.ours.usage.is_quiet() && self.theirs.as_ref().is_none_or(|run| run.usage.is_quiet())
    }
}

/// The names above the columns.
pub(crate) fn head(columns: &[Column]) -> String {
    let mut text = format!("{:<18}", "pair");
    for column in columns {
        let _ = write!(text, "{:>12}", column.name);
    }
    text + "   cores: own  others  stolen\n"
}

/// The rows of one pair.
pub(crate) fn pair(number: usize, pair: &Pair) -> String {
    let mut text = String::new();
    for (name, run) in [("ours", Some(&pair.ours)), ("genuine", pair.theirs.as_ref())] {
        let Some(Run { values, usage }) = run else { continue };
        row(&mut text, &format!("{number:>3} {name}"), values);
        let Usage { own, others, stolen } = usage;
        let mark = if usage.is_quiet() { "" } else { "  noisy" };
        let _ = writeln!(text, "   {own:>10.2}{others:>8.2}{stolen:>8.2}{mark}");
    }
    text
}

/// Medians and ratios of all pairs, and of the quiet ones apart if there are others.
pub(crate) fn summary(pairs: &[Pair], columns: &[Column]) -> String {
    let quiet: Vec<Pair> = pairs.iter().filter(|pair| pair.is_quiet()).cloned().collect();
    let mut text = format!("median of {}\n", pairs.len());
    medians(&mut text, pairs, columns);
    if quiet.is_empty() {
        text += "none was quiet: others took more than 0.20 cores of each\n";
    } else if quiet.len() < pairs.len() {
        let _ = writeln!(text, "median of the quiet {}", quiet.len());
        medians(&mut text, &quiet, columns);
    }
    text
}

fn medians(text: &mut String, pairs: &[Pair], columns: &[Column]) {
    let ours: Vec<&[f64]> = pairs.iter().map(|pair| pair.ours.values.as_slice()).collect();
    let theirs = pairs.iter().filter_map(|pair| pair.theirs.as_ref());
    let theirs: Vec<&[f64]> = theirs.map(|run| run.values.as_slice()).collect();
    let ratios: Vec<Vec<f64>> = pairs.iter().filter_map(|pair| pair.ratios(columns)).collect();
    let ratios: Vec<&[f64]> = ratios.iter().map(Vec::as_slice).collect();
    let mut line = |name: &str, runs: &[&[f64]], of: fn(&[f64]) -> f64| {
        if !runs.is_empty() {
            let count = columns.len();
            row(text, name, &(0..count).map(|at| of(&column(runs, at))).collect::<Vec<_>>());
            text.push('\n');
        }
    };
    line("    ours", &ours, median);
    line("    genuine", &theirs, median);
    line("    ratio", &ratios, median);
    line("    lowest ratio", &ratios, |sorted| sorted.first().copied().unwrap_or(f64::NAN));
    line("    highest ratio", &ratios, |sorted| sorted.last().copied().unwrap_or(f64::NAN));
}

/// One column of all runs, sorted.
fn column(runs: &[&[f64]], at: usize) -> Vec<f64> {
    let mut values: Vec<f64> = runs.iter().filter_map(|run| run.get(at).copied()).collect();
    values.sort_by(f64::total_cmp);
    values
}

fn median(sorted: &[f64]) -> f64 {
    let middle = |at: usize| sorted.get(at).copied().unwrap_or(f64::NAN);
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        middle(half)
    } else {
        f64::midpoint(middle(half.wrapping_sub(1)), middle(half))
    }
}

fn row(text: &mut String, name: &str, values: &[f64]) {
    let _ = write!(text, "{name:<18}");
    for value in values {
        // Writing to a string cannot fail.
        let _ = write!(text, "{value:>12.2}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[
        Column { name: "M msgs/s", better: Better::More },
        Column { name: "p50 us", better: Better::Less },
    ];

    fn run(rate: f64, time: f64, others: f64) -> Run {
        Run { values: vec![rate, time], usage: Usage { own: 1.5, others, stolen: 0.0 } }
    }

    fn both(ours: (f64, f64), theirs: (f64, f64), others: f64) -> Pair {
        Pair { ours: run(ours.0, ours.1, 0.0), theirs: Some(run(theirs.0, theirs.1, others)) }
    }

    #[test]
    fn a_ratio_above_one_is_good_in_every_column() {
        let pair = both((30.0, 2.0), (20.0, 8.0), 0.0);
        assert_eq!(pair.ratios(COLUMNS), Some(vec![1.5, 4.0]));
        assert_eq!(Pair { theirs: None, ..pair }.ratios(COLUMNS), None);
    }

    #[test]
    fn the_median_of_an_even_count_lies_between() {
        assert!((median(&[1.0, 2.0, 9.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(&[1.0, 2.0, 4.0, 9.0]) - 3.0).abs() < f64::EPSILON);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_pair_is_two_rows_with_whom_the_machine_was_shared() {
        let text = pair(2, &both((30.0, 2.0), (20.0, 8.0), 0.5));
        assert_eq!(
            head(COLUMNS) + &text,
            "pair                  M msgs/s      p50 us   cores: own  others  stolen\n\
             \x20 2 ours                 30.00        2.00         1.50    0.00    0.00\n\
             \x20 2 genuine              20.00        8.00         1.50    0.50    0.00  noisy\n"
        );
    }

    #[test]
    fn a_summary_tells_quiet_pairs_apart() {
        let noisy = both((10.0, 1.0), (20.0, 1.0), 0.5);
        let pairs = [both((30.0, 2.0), (20.0, 8.0), 0.0), noisy.clone(), noisy.clone()];
        let text = summary(&pairs, COLUMNS);
        let values = |line: &str| -> Vec<String> {
            line.split_ascii_whitespace().rev().take(2).map(str::to_string).collect()
        };
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "median of 3");
        assert_eq!(values(lines[1]), ["1.00", "10.00"]);
        assert_eq!(values(lines[3]), ["1.00", "0.50"]);
        assert_eq!(values(lines[5]), ["4.00", "1.50"]);
        assert_eq!(lines[6], "median of the quiet 1");
        assert_eq!(values(lines[9]), ["4.00", "1.50"]);
        assert!(summary(&[noisy], COLUMNS).ends_with("0.20 cores of each\n"));
        let alone = Pair { ours: run(1.0, 2.0, 0.0), theirs: None };
        assert_eq!(summary(&[alone], COLUMNS).lines().count(), 2);
    }
}
