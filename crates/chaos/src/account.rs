//! What a client asked, and what must be answered.

use std::collections::VecDeque;

use coracle::runtime::random::Rng;
use order_book::book::{OrderBook, Side};
use order_book::command::{Command, Outcome, Report};

/// A book that gets every command of one client once and in order. The first client trades with
/// itself; the others bid so low that nobody trades with them, so that each book is right alone.
pub(crate) struct Account {
    is_trading: bool,
    rng: Rng,
    book: OrderBook,
    first_order: u64,
    /// How many orders were placed.
    orders: u64,
    /// What the commands on their way must be answered with, and whether they were.
    waiting: VecDeque<(Report, bool)>,
    /// The number of the first of `waiting`.
    first: i64,
}

impl Account {
    /// Of the client with this number, from 0.
    pub(crate) fn new(client: u64, seed: u64) -> Self {
        Self {
            is_trading: client == 0,
            rng: Rng::new(seed.wrapping_add(client), "orders"),
            book: OrderBook::new(),
            first_order: client << 40,
            orders: 0,
            waiting: VecDeque::new(),
            first: 1,
        }
    }

    /// How many commands are not answered.
    pub(crate) fn unanswered(&self) -> usize {
        self.waiting.len()
    }

    /// Takes an answer; it must be the right one to a command that waits for it.
    pub(crate) fn answer(&mut self, number: i64, payload: &[u8]) -> Result<(), String> {
        let at = usize::try_from(number - self.first).ok();
        let waiting = at.and_then(|at| self.waiting.get_mut(at));
        let Some((expected, answered)) = waiting.filter(|(_, answered)| !answered) else {
            return Err(format!("an answer to {number}, which waits for none"));
        };
        *answered = true;
        let report = Report::decode(payload);
        if report != Some(*expected) {
            return Err(format!("{number}: {report:?}, not {expected:?}"));
        }
        while self.waiting.front().is_some_and(|(_, answered)| *answered) {
            self.waiting.pop_front();
            self.first += 1;
        }
        Ok(())
    }

    /// Makes up a command, and what it must be answered with.
    pub(crate) fn next_command(&mut self) -> Command {
        let command = self.make_up();
        let expected = self.expect(command);
        self.waiting.push_back((expected, false));
        command
    }

    fn make_up(&mut self) -> Command {
        if self.orders > 0 && self.rng.chance(if self.is_trading { 0.3 } else { 0.5 }) {
            // One of the last, whether it rests or not.
            let back = 1 + self.rng.below(200.min(self.orders));
            return Command::Cancel { id: self.first_order + self.orders - back };
        }
        let id = self.first_order + self.orders;
        self.orders += 1;
        let amount = 1 + self.rng.below(50).cast_signed();
        let side = if self.rng.chance(0.5) { Side::Buy } else { Side::Sell };
        if self.is_trading {
            let price = 90 + self.rng.below(21).cast_signed();
            return Command::Place { id, side, price, amount };
        }
        // Nobody sells so low.
        let price = 1 + self.rng.below(50).cast_signed();
        Command::Place { id, side: Side::Buy, price, amount }
    }

    fn expect(&mut self, command: Command) -> Report {
        let done =
            |id, open, trades, volume| Report { outcome: Outcome::Done, id, open, trades, volume };
        match command {
            Command::Place { id, side, price, amount } => {
                let mut trades = Vec::new();
                match self.book.place(id, side, price, amount, &mut trades) {
                    Ok(open) => done(id, open, trades.len() as u64, amount - open),
                    Err(rejection) => Report::rejected(id, rejection),
                }
            }
            Command::Cancel { id } => match self.book.cancel(id) {
                Ok(open) => done(id, open, 0, 0),
                Err(rejection) => Report::rejected(id, rejection),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_answer_to_what_waits_is_taken_and_only_once() {
        let mut account = Account::new(0, 1);
        for _ in 0..3 {
            account.next_command();
        }
        let reports: Vec<_> = account.waiting.iter().map(|(report, _)| report.encode()).collect();
        assert_eq!(account.answer(2, &reports[1]), Ok(()));
        assert!(account.answer(2, &reports[1]).is_err());
        assert!(account.answer(4, &reports[1]).is_err());
        assert_eq!(account.answer(1, &reports[0]), Ok(()));
        assert_eq!((account.first, account.waiting.len()), (3, 1));
        let mut wrong = reports[2];
        wrong[8] ^= 1;
        assert!(account.answer(3, &wrong).unwrap_err().contains("not Report"));
    }

    #[test]
    fn books_of_several_clients_are_right_alone() {
        let mut accounts: Vec<Account> = (0..3).map(|client| Account::new(client, 7)).collect();
        let mut all = OrderBook::new();
        for turn in 0..6_000 {
            let account = &mut accounts[turn % 3];
            let command = account.next_command();
            let expected = account.waiting.pop_back().map(|(report, _)| report);
            let mut other = Account { book: all, ..Account::new(0, 0) };
            let report = other.expect(command);
            all = other.book;
            assert_eq!(Some(report), expected);
        }
        assert!(accounts[0].book.len() < 2_000 && !all.is_empty());
    }
}
