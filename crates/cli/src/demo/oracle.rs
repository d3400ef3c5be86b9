//! Knows what the cluster must answer: runs the same orders through a book of its own.

use std::collections::VecDeque;

use coracle::runtime::Nanos;
use hdrhistogram::Histogram;
use order_book::book::{OrderBook, Trade};
use order_book::command::{Outcome, Report};

use crate::orders::source::Request;

/// What was asked and not answered, and what was made of it.
pub(crate) struct Oracle {
    book: OrderBook,
    trades: Vec<Trade>,
    /// In order of numbers; the first is not answered.
    waiting: VecDeque<Waiting>,
    /// The number of the first of `waiting`.
    first: i64,
    totals: Totals,
    latencies: Latencies,
}

/// A request on its way.
struct Waiting {
    due: Nanos,
    expected: Report,
    is_answered: bool,
}

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Orders and cancels sent.
    pub(crate) sent: u64,
    /// Orders among them.
    pub(crate) orders: u64,
    /// Answered, each once.
    pub(crate) acknowledged: u64,
    /// Answers to what had been answered, or was never asked.
    pub(crate) unasked: u64,
    /// Answers other than those of a book that got the same orders once each, in order.
    pub(crate) wrong: u64,
    /// Cancels of orders that are not in the book.
    pub(crate) unknown: u64,
    /// Anything else that was refused.
    pub(crate) refused: u64,
    /// Trades that answers told of.
    pub(crate) trades: u64,
    /// Their volume.
    pub(crate) volume: i128,
}

impl Totals {
    /// Sent, and not acknowledged.
    pub(crate) fn missing(&self) -> u64 {
        self.sent - self.acknowledged
    }
}

/// How long answers took, in nanoseconds, since a request was due.
pub(crate) struct Latencies {
    /// All of them.
    pub(crate) all: Histogram<u64>,
    /// Those of answers that came before the leader was killed.
    pub(crate) before: Histogram<u64>,
}

impl Oracle {
    /// Nothing was asked yet.
    pub(crate) fn new() -> Self {
        let histogram =
            || Histogram::new_with_bounds(1_000, 120_000_000_000, 3).expect("bounds are in order");
        Self {
            book: OrderBook::new(),
            trades: Vec::new(),
            waiting: VecDeque::new(),
            first: 1,
            totals: Totals::default(),
            latencies: Latencies { all: histogram(), before: histogram() },
        }
    }

    /// The next request, number by number from 1, is handed to the cluster's client.
    pub(crate) fn on_sent(&mut self, request: &Request, due: Nanos) {
        let expected = self.expect(request);
        self.totals.sent += 1;
        self.totals.orders += u64::from(matches!(request, Request::Place { .. }));
        self.waiting.push_back(Waiting { due, expected, is_answered: false });
    }

    fn expect(&mut self, request: &Request) -> Report {
        self.trades.clear();
        let done =
            |id, open, trades, volume| Report { outcome: Outcome::Done, id, open, trades, volume };
        match *request {
            Request::Place { id, side, price, amount } => {
                match self.book.place(id, side, price, amount, &mut self.trades) {
                    Ok(open) => done(id, open, self.trades.len() as u64, amount - open),
                    Err(rejection) => Report::rejected(id, rejection),
                }
            }
            Request::Cancel { id } => match self.book.cancel(id) {
                Ok(open) => done(id, open, 0, 0),
                Err(rejection) => Report::rejected(id, rejection),
            },
        }
    }

    /// An answer came.
    pub(crate) fn on_answer(&mut self, number: i64, payload: &[u8], now: Nanos, is_before: bool) {
        let index = usize::try_from(number - self.first).ok();
        let waiting = index.and_then(|index| self.waiting.get_mut(index));
        let Some(waiting) = waiting.filter(|waiting| !waiting.is_answered) else {
            self.totals.unasked += 1;
            return;
        };
        waiting.is_answered = true;
        let (due, expected) = (waiting.due, waiting.expected);
        self.totals.acknowledged += 1;
        let report = Report::decode(payload);
        self.totals.wrong += u64::from(report != Some(expected));
        if let Some(report) = report {
            self.count(&report);
        }
        let took = (now - due).0.max(0).cast_unsigned();
        self.latencies.all.saturating_record(took);
        if is_before {
            self.latencies.before.saturating_record(took);
        }
        while self.waiting.front().is_some_and(|front| front.is_answered) {
            self.waiting.pop_front();
            self.first += 1;
        }
    }

    fn count(&mut self, report: &Report) {
        self.totals.trades += report.trades;
        self.totals.volume += i128::from(report.volume);
        match report.outcome {
            Outcome::Done => {}
            Outcome::UnknownOrder => self.totals.unknown += 1,
            Outcome::DuplicateOrder | Outcome::BadOrder | Outcome::Malformed => {
                self.totals.refused += 1;
            }
        }
    }

    /// What is counted so far.
    pub(crate) const fn totals(&self) -> &Totals {
        &self.totals
    }

    /// How long answers took so far.
    pub(crate) const fn latencies(&self) -> &Latencies {
        &self.latencies
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use order_book::book::Side;

    fn oracle(requests: &[Request]) -> Oracle {
        let mut oracle = Oracle::new();
        for request in requests {
            oracle.on_sent(request, Nanos(0));
        }
        oracle
    }

    fn place(id: u64, side: Side) -> Request {
        Request::Place { id, side, price: 100, amount: 5 }
    }

    fn done(id: u64, open: i64, trades: u64, volume: i64) -> [u8; 40] {
        Report { outcome: Outcome::Done, id, open, trades, volume }.encode()
    }

    #[test]
    fn right_answers_are_counted_with_their_trades_in_whatever_order_they_come() {
        let cancel = Request::Cancel { id: 1 };
        let mut oracle = oracle(&[place(1, Side::Buy), place(2, Side::Sell), cancel]);
        let unknown =
            Report { outcome: Outcome::UnknownOrder, id: 1, ..Report::decode(&[0; 40]).unwrap() };
        oracle.on_answer(3, &unknown.encode(), Nanos(9), true);
        oracle.on_answer(1, &done(1, 5, 0, 0), Nanos(9), true);
        oracle.on_answer(2, &done(2, 0, 1, 5), Nanos(9_000_000), false);
        let expected = Totals {
            sent: 3,
            orders: 2,
            acknowledged: 3,
            unknown: 1,
            trades: 1,
            volume: 5,
            ..Totals::default()
        };
        assert_eq!((*oracle.totals(), oracle.waiting.len()), (expected, 0));
        assert_eq!((oracle.latencies().all.len(), oracle.latencies().before.len()), (3, 2));
    }

    #[test]
    fn an_answer_that_comes_again_or_to_nothing_is_told_apart() {
        let mut oracle = oracle(&[place(1, Side::Buy), place(2, Side::Buy)]);
        oracle.on_answer(2, &done(2, 5, 0, 0), Nanos(0), true);
        oracle.on_answer(2, &done(2, 5, 0, 0), Nanos(0), true);
        oracle.on_answer(1, &done(1, 5, 0, 0), Nanos(0), true);
        oracle.on_answer(1, &done(1, 5, 0, 0), Nanos(0), true);
        oracle.on_answer(7, &done(7, 5, 0, 0), Nanos(0), true);
        assert_eq!((oracle.totals().acknowledged, oracle.totals().unasked), (2, 3));
        assert_eq!(oracle.totals().missing(), 0);
    }

    #[test]
    fn an_answer_of_another_book_is_wrong() {
        let mut oracle = oracle(&[place(1, Side::Buy), place(2, Side::Sell), place(3, Side::Buy)]);
        oracle.on_answer(1, &done(1, 5, 0, 0), Nanos(0), true);
        oracle.on_answer(2, &done(2, 5, 0, 0), Nanos(0), true);
        oracle.on_answer(3, b"cut short", Nanos(0), true);
        assert_eq!((oracle.totals().acknowledged, oracle.totals().wrong), (3, 2));
    }
}
