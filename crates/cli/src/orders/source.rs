//! Where orders come from: a file of exchange events, or a seeded generator.
//!
//! A line of a file is `<time in ms> <event> <JSON>`. Created orders become limit orders; deletions
//! with volume left become cancels, since those without were traded away; trades are only counted,
//! to stand beside those that come out. Everything else is skipped.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use order_book::book::Side;
use serde_json::Value;

/// Units of price and volume in one whole of either: eight decimals.
pub(crate) const UNITS: i64 = 100_000_000;

/// What is asked of the order book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Place a limit order.
    Place {
        /// The order's id.
        id: u64,
        /// Buy or sell.
        side: Side,
        /// Limit, in [`UNITS`].
        price: i64,
        /// Volume, in [`UNITS`].
        amount: i64,
    },
    /// Take an order out of the book.
    Cancel {
        /// The order's id.
        id: u64,
    },
}

/// A day at an exchange, or a made-up one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Orders {
    /// What to send, in order.
    pub(crate) requests: Vec<Request>,
    /// Trades that the source itself reports, when it does.
    pub(crate) trades_reported: usize,
    /// Their volume, in [`UNITS`].
    pub(crate) volume_reported: i64,
}

impl Orders {
    /// How many of the requests place orders.
    #[must_use]
    pub(crate) fn placed(&self) -> usize {
        self.requests.iter().filter(|request| matches!(request, Request::Place { .. })).count()
    }
}

/// Why orders could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OrdersError {
    /// The file could not be read or unpacked.
    #[error("{path}: {cause}")]
    File {
        /// The file.
        path: String,
        /// What the host or the unpacker said.
        cause: std::io::Error,
    },
    /// A line is not what it should be.
    #[error("{path}, line {line}: {cause}")]
    Line {
        /// The file.
        path: String,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        cause: String,
    },
    /// Nothing in the file can be sent.
    #[error("{path}: no orders in it")]
    Empty {
        /// The file.
        path: String,
    },
}

/// Reads a file of exchange events, plain or packed with xz (told by its first bytes).
///
/// # Errors
/// The file, or the line and what is wrong with it.
pub(crate) fn read(path: &Path) -> Result<Orders, OrdersError> {
    let shown = path.display().to_string();
    let file_error = |cause| OrdersError::File { path: shown.clone(), cause };
    let mut file = BufReader::new(std::fs::File::open(path).map_err(file_error)?);
    let packed = file.fill_buf().map_err(file_error)?.starts_with(b"\xfd7zXZ\0");
    let text: Box<dyn Read> =
        if packed { Box::new(lzma_rust2::XzReader::new(file, true)) } else { Box::new(file) };
    let mut orders = Orders::default();
    for (index, line) in BufReader::new(text).lines().enumerate() {
        let line = line.map_err(file_error)?;
        add_line(&mut orders, &line).map_err(|cause| OrdersError::Line {
            path: shown.clone(),
            line: index + 1,
            cause,
        })?;
    }
    if orders.requests.is_empty() { Err(OrdersError::Empty { path: shown }) } else { Ok(orders) }
}

fn add_line(orders: &mut Orders, line: &str) -> Result<(), String> {
    if line.trim().is_empty() {
        return Ok(());
    }
    let mut parts = line.splitn(3, ' ');
    let (time, event, body) = (parts.next(), parts.next(), parts.next());
    time.and_then(|time| time.parse::<u64>().ok()).ok_or("it does not begin with a time")?;
    let event = event.ok_or("it has no event")?;
    if !matches!(event, "order_created" | "order_deleted" | "trade") {
        return Ok(());
    }
    let body: Value = serde_json::from_str(body.ok_or("it has no JSON")?)
        .map_err(|error| format!("its JSON: {error}"))?;
    let amount = units(&body, "amount")?;
    if event == "trade" {
        orders.trades_reported += 1;
        orders.volume_reported = orders.volume_reported.saturating_add(amount);
        return Ok(());
    }
    let id = body["id"].as_u64().ok_or("its id is not a number")?;
    if event == "order_created" {
        let side = match body["order_type"].as_u64() {
            Some(0) => Side::Buy,
            Some(1) => Side::Sell,
            _ => return Err("its order_type is neither 0 nor 1".into()),
        };
        let price = units(&body, "price")?;
        orders.requests.push(Request::Place { id, side, price, amount });
    } else if amount > 0 {
        orders.requests.push(Request::Cancel { id });
    }
    Ok(())
}

/// Reads a decimal number: exactly when it is text; to the nearest unit when it is a JSON number,
/// since such a number has been through binary floating point already.
fn units(body: &Value, field: &str) -> Result<i64, String> {
    match &body[field] {
        Value::String(text) => parse_units(text),
        #[allow(clippy::cast_possible_truncation)] // Saturates, far beyond any price or volume.
        Value::Number(number) => number.as_f64().map(|value| (value * UNITS as f64).round() as i64),
        _ => return Err(format!("it has no {field}")),
    }
    .ok_or_else(|| format!("its {field} is {}, not a decimal with 8 places", body[field]))
}

fn parse_units(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 8 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction: i64 = format!("{fraction:0<8}").parse().ok()?;
    let negative = whole.starts_with('-');
    let whole: i64 = whole.parse::<i64>().ok()?.checked_mul(UNITS)?;
    whole.checked_add(if negative { -fraction } else { fraction })
}

/// Makes up orders without end: a price that wanders, orders around it, cancels among them.
pub(crate) struct Generator {
    state: u64,
    next_id: u64,
    middle: i64,
    resting: Vec<u64>,
}

impl Generator {
    /// The same seed makes the same orders.
    #[must_use]
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed, next_id: 1, middle: 236 * UNITS, resting: Vec::new() }
    }

    /// A number below `bound`: `SplitMix64`.
    fn below(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(z ^ (z >> 31)) * u128::from(bound)) >> 64).try_into().unwrap_or(0)
    }

    fn signed_below(&mut self, bound: i64) -> i64 {
        self.below(bound.unsigned_abs()).cast_signed()
    }
}

impl Iterator for Generator {
    type Item = Request;

    fn next(&mut self) -> Option<Request> {
        if self.resting.len() > 64 && self.below(2) == 0 {
            let chosen = usize::try_from(self.below(self.resting.len() as u64)).unwrap_or(0);
            return Some(Request::Cancel { id: self.resting.swap_remove(chosen) });
        }
        let cent = UNITS / 100;
        self.middle += (self.signed_below(5) - 2) * cent;
        let side = if self.below(2) == 0 { Side::Buy } else { Side::Sell };
        let away = (self.signed_below(100) - 3) * cent;
        let price = if side == Side::Buy { self.middle - away } else { self.middle + away };
        let id = self.next_id;
        self.next_id += 1;
        self.resting.push(id);
        Some(Request::Place { id, side, price, amount: (1 + self.signed_below(500)) * UNITS / 100 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn created_orders_are_placed_deletions_with_volume_cancel_and_the_rest_is_not_sent() {
        let mut orders = Orders::default();
        for line in [
            r#"1 order_created {"price": "236.47", "amount": "2.5", "id": 7, "order_type": 1}"#,
            r#"2 order_changed {"price": "236.47", "amount": "1.5", "id": 7, "order_type": 1}"#,
            r#"3 order_deleted {"price": "236.47", "amount": "1.5", "id": 7, "order_type": 1}"#,
            r#"4 order_deleted {"price": "236.47", "amount": "0.00000000", "id": 8}"#,
            r#"5 trade {"price": 236.47, "amount": 0.21144331, "id": 9}"#,
            "6 order_book {not even JSON",
        ] {
            add_line(&mut orders, line).unwrap();
        }
        let place =
            Request::Place { id: 7, side: Side::Sell, price: 23_647_000_000, amount: 250_000_000 };
        assert_eq!(orders.requests, [place, Request::Cancel { id: 7 }]);
        assert_eq!((orders.trades_reported, orders.volume_reported), (1, 21_144_331));
    }

    #[test]
    fn a_bad_line_says_what_is_wrong_with_it() {
        let error = |line| add_line(&mut Orders::default(), line).unwrap_err();
        assert_eq!(error("now order_created {}"), "it does not begin with a time");
        assert!(error("1 order_created {").starts_with("its JSON: "));
        assert_eq!(error(r#"1 trade {"price": 1}"#), "it has no amount");
        assert_eq!(
            error(r#"1 trade {"amount": "1.234567891"}"#),
            "its amount is \"1.234567891\", not a decimal with 8 places"
        );
    }

    #[test]
    fn decimals_are_read_exactly() {
        assert_eq!(parse_units("0.1"), Some(10_000_000));
        assert_eq!(parse_units("-0.5"), Some(-50_000_000));
        assert_eq!(parse_units("236.47"), Some(23_647_000_000));
        assert_eq!(parse_units("99999999999999"), None);
    }

    #[test]
    fn the_generator_repeats_itself_and_never_names_a_cancelled_order_twice() {
        let first: Vec<Request> = Generator::new(5).take(2_000).collect();
        assert_eq!(first, Generator::new(5).take(2_000).collect::<Vec<_>>());
        let mut cancelled: Vec<u64> = first
            .iter()
            .filter_map(|request| match request {
                Request::Cancel { id } => Some(*id),
                Request::Place { .. } => None,
            })
            .collect();
        assert!(cancelled.len() > 500);
        cancelled.sort_unstable();
        assert!(cancelled.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
