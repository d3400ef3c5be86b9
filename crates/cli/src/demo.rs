//! `coracle demo`: a cluster of three nodes on this machine, whose leader is killed in mid-stream.
//!
//! ```text
//! this process: orders -> pacer -> exactly-once client -> own driver ==UDP==> leader
//!               oracle <- answers <----------------------------------------/
//!               script, view <- counters in the drivers' directories <- node 0, 1, 2
//! ```

mod nodes;
mod oracle;
mod pacer;
mod place;
mod play;
mod ports;
mod report;
mod script;
mod status;
mod view;

use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::value_parser;

use crate::Failure;
use crate::orders::source::{self, Generator, Request};
use pacer::Pacer;
use play::{Input, Play};
use report::STREAM_MIN;

/// Orders a second that are made up.
const RATE: u64 = 4_000;
/// Seconds that the stream lasts.
const DURATION: u64 = 12;
/// Seconds that it may last: in fewer there is no time for all.
const DURATIONS: RangeInclusive<u64> = 8..=86_400;
/// Fewer orders leave too few for every part.
const ORDERS_MIN: u64 = 1_000;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Exchange events, plain or packed with xz, instead of made-up orders.
    #[arg(long, value_name = "FILE")]
    orders: Option<PathBuf>,
    /// How long to stream: 12 s, or what the rate makes of a file.
    #[arg(long, value_name = "SECONDS", value_parser = value_parser!(u64).range(DURATIONS))]
    duration: Option<u64>,
    /// Orders a second: 4000, or what the duration makes of a file.
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u64).range(1..=1_000_000))]
    rate: Option<u64>,
    /// What made-up orders follow from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Leave the nodes' directories and output behind.
    #[arg(long)]
    keep: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let input = input(arguments)?;
    let stop = coracle::os::signal::termination()?;
    let play = Play::prepare(input, arguments.keep)?;
    play.perform(&stop)
}

fn input(arguments: &Arguments) -> Result<Input, Failure> {
    let Some(file) = &arguments.orders else {
        let rate = arguments.rate.unwrap_or(RATE);
        let total = rate * arguments.duration.unwrap_or(DURATION);
        let count = usize::try_from(total)?;
        let requests: Box<dyn Iterator<Item = Request>> =
            Box::new(Generator::new(arguments.seed).take(count));
        return Ok(Input { requests, pacer: pacer(total, rate)?, reported: None });
    };
    let orders = source::read(file)?;
    let total = orders.requests.len() as u64;
    let rate = match (arguments.rate, arguments.duration) {
        (Some(rate), None) => rate,
        (Some(_), Some(_)) => return Err("of a file, --rate or --duration follows".into()),
        (None, duration) => (total / duration.unwrap_or(DURATION)).max(1),
    };
    let reported = Some((orders.trades_reported, orders.volume_reported));
    let requests = Box::new(orders.requests.into_iter());
    Ok(Input { requests, pacer: pacer(total, rate)?, reported })
}

fn pacer(total: u64, rate: u64) -> Result<Pacer, Failure> {
    let pacer = Pacer::new(total, rate);
    if total < ORDERS_MIN {
        return Err(format!("{total} orders and cancels are too few: {ORDERS_MIN} at least").into());
    }
    if pacer.span() < STREAM_MIN {
        let millis = pacer.span().as_millis();
        return Err(format!("{total} at {rate} a second last {millis} ms, not 8 s").into());
    }
    Ok(pacer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle::runtime::Nanos;

    fn arguments(orders: Option<PathBuf>, rate: Option<u64>, duration: Option<u64>) -> Arguments {
        Arguments { orders, duration, rate, seed: 1, keep: false }
    }

    #[test]
    fn made_up_orders_last_as_long_as_asked() {
        let input = input(&arguments(None, Some(500), Some(9))).unwrap();
        assert_eq!((input.pacer.total(), input.pacer.span()), (4_500, Nanos::from_secs(9)));
        assert_eq!(input.requests.count(), 4_500);
        assert_eq!(input.reported, None);
    }

    #[test]
    fn a_file_lasts_by_its_rate_or_as_long_as_asked_but_not_too_short() {
        let line =
            r#"1 order_created {"price": "236.47", "amount": "2.5", "id": 7, "order_type": 1}"#;
        let path = std::env::temp_dir().join(format!("coracle-demo-{}.log", std::process::id()));
        std::fs::write(&path, format!("{line}\n").repeat(2_000)).unwrap();
        let span = |rate, duration| {
            let made = input(&arguments(Some(path.clone()), rate, duration));
            made.map(|input| input.pacer.span()).map_err(|error| error.to_string())
        };
        assert_eq!(span(Some(200), None), Ok(Nanos::from_secs(10)));
        assert!(span(None, Some(11)).unwrap() >= Nanos::from_secs(11));
        assert!(span(None, None).unwrap() >= Nanos::from_secs(DURATION.cast_signed()));
        assert_eq!(
            span(Some(2_000), None).unwrap_err(),
            "2000 at 2000 a second last 1000 ms, not 8 s"
        );
        assert!(span(Some(200), Some(10)).is_err());
        std::fs::write(&path, line).unwrap();
        assert!(span(None, None).unwrap_err().contains("too few"));
        std::fs::remove_file(&path).unwrap();
    }
}
