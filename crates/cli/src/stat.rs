//! `coracle stat`: the counters of a driver.

use std::fmt::Write as _;

use coracle::directory::DriverDirectory;
use coracle::memory::counters::CounterRecord;
use coracle::os;
use coracle::runtime::{Nanos, Now};

use crate::time::utc;
use crate::{Directory, Failure};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    directory: Directory,
    /// Show them again every so many seconds until interrupted.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1")]
    watch: Option<u32>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let directory = DriverDirectory::open(&arguments.directory.path())?;
    loop {
        print!("{}", table(&directory, os::clock::now()));
        let Some(seconds) = arguments.watch else { return Ok(()) };
        os::thread::sleep(Nanos::from_secs(i64::from(seconds.max(1))));
        println!();
    }
}

fn table(directory: &DriverDirectory, now: Now) -> String {
    let version = directory.version();
    let mut text = format!(
        "{} - CnC v{}.{}.{}, pid {}, ",
        utc(now.epoch_millis()),
        version.major(),
        version.minor(),
        version.patch(),
        directory.header().pid,
    );
    text += &match directory.heartbeat_age_ms(now) {
        Some(age) => format!("heartbeat age {age} ms\n"),
        None => "shut down\n".to_string(),
    };
    for record in directory.counters().records() {
        line(&mut text, &record);
    }
    text
}

fn line(text: &mut String, record: &CounterRecord) {
    let CounterRecord { id, value, label, .. } = record;
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{:>3}: {:>20} - {label}", id.0, grouped(*value));
}

/// A number with commas between groups of three digits.
pub(crate) fn grouped(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = if value < 0 { "-".to_string() } else { String::new() };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_by_three_from_the_right() {
        let shown = [0, 999, 1000, 1_234_567, -1000, -999, i64::MIN].map(grouped);
        let expected =
            ["0", "999", "1,000", "1,234,567", "-1,000", "-999", "-9,223,372,036,854,775,808"];
        assert_eq!(shown, expected);
    }
}
