//! The client: orders and cancels, each to be executed once, and the book that they must make.

use std::collections::VecDeque;
use std::path::Path;

use coracle::Driver;
use coracle::client::Client;
use coracle::cluster_client::{
    ClusterClient, Config, ExactlyOnce, ExactlyOnceOptions, NoCredentials,
};
use coracle::os::clock;
use coracle::runtime::random::Rng;
use coracle::runtime::{Nanos, Now, Ports};
use order_book::book::{OrderBook, Side};
use order_book::command::{COMMAND_LENGTH_MAX, Command, Outcome, Report};

/// How many commands may be on their way.
const WINDOW: usize = 64;
/// How many are sent a second, at most.
const RATE: i64 = 2_000;
/// How many answers to take in one pass.
const ANSWERS_MAX: usize = 256;

/// What was asked, and what must be answered: a book that gets every command once and in order.
struct Account {
    rng: Rng,
    book: OrderBook,
    next_order: u64,
    /// What the commands on their way must be answered with, and whether they were.
    waiting: VecDeque<(Report, bool)>,
    /// The number of the first of `waiting`.
    first: i64,
}

/// Sends, and checks every answer.
pub(crate) struct Load {
    client: ExactlyOnce,
    _driver: Driver,
    account: Account,
    next_send: Nanos,
    /// Whether it sends.
    pub(crate) is_sending: bool,
    /// Commands answered, each once and rightly.
    pub(crate) acknowledged: u64,
    /// When the last answer came.
    pub(crate) last_answer: Nanos,
    /// The longest time without an answer.
    pub(crate) longest_silence: Nanos,
}

impl Load {
    /// A driver for the client alone, and the client.
    ///
    /// # Errors
    /// One of them could not start.
    pub(crate) fn start(
        directory: &Path,
        ports: &Ports,
        endpoints: String,
        own: &str,
    ) -> Result<Self, String> {
        let mut options = coracle::driver::Config::at(directory);
        options.terms.term_length = 1 << 20;
        options.terms.ipc_term_length = 1 << 20;
        let driver = Driver::launch_on(options, ports).map_err(|error| error.to_string())?;
        let options = coracle::client::Config {
            directory: directory.to_path_buf(),
            ..coracle::client::Config::default()
        };
        let mut connecting = Client::connect(options, ports, clock::now());
        let client = loop {
            match connecting.poll(clock::now()).map_err(|error| error.to_string())? {
                Some(client) => break client,
                None => coracle::os::thread::sleep(Nanos::from_millis(1)),
            }
        };
        let config = Config {
            ingress_endpoints: endpoints,
            egress_channel: format!("aeron:udp?endpoint={own}:0"),
            ..Config::default()
        };
        let now = clock::now();
        let cluster = ClusterClient::connect(config, Box::new(NoCredentials), client, now);
        let options = ExactlyOnceOptions {
            window: WINDOW,
            resend_after: Nanos::from_millis(500),
            ..ExactlyOnceOptions::new(ports.seed.cast_signed())
        };
        Ok(Self {
            client: ExactlyOnce::new(cluster, options),
            _driver: driver,
            account: Account::new(ports.seed),
            next_send: now.mono,
            is_sending: true,
            acknowledged: 0,
            last_answer: now.mono,
            longest_silence: Nanos(0),
        })
    }

    /// How many sessions it lost.
    pub(crate) fn sessions_lost(&self) -> u64 {
        self.client.sessions_lost()
    }

    /// How many commands are not answered.
    pub(crate) fn unanswered(&self) -> usize {
        self.account.waiting.len()
    }

    /// One pass; whether anything came or went.
    ///
    /// # Errors
    /// An answer is wrong, or comes to nothing; or the client gives up.
    pub(crate) fn step(&mut self, now: Now) -> Result<bool, String> {
        let Self { client, account, acknowledged, .. } = self;
        let (mut wrong, before) = (None, *acknowledged);
        let polled = client.poll(ANSWERS_MAX, now, |number, payload| {
            match account.answer(number, payload) {
                Ok(()) => *acknowledged += 1,
                Err(cause) => wrong = Some(cause),
            }
        });
        polled.map_err(|error| error.to_string())?;
        if let Some(wrong) = wrong {
            return Err(format!("a wrong answer: {wrong}"));
        }
        if self.acknowledged > before {
            self.longest_silence = self.longest_silence.max(now.mono - self.last_answer);
            self.last_answer = now.mono;
        }
        let sent = self.send(now)?;
        Ok(sent || self.acknowledged > before)
    }

    fn send(&mut self, now: Now) -> Result<bool, String> {
        let mut sent = false;
        while self.is_sending && self.next_send <= now.mono && self.client.waiting() < WINDOW {
            let command = self.account.next_command();
            let mut buffer = [0; COMMAND_LENGTH_MAX];
            let submitted = self.client.submit(command.encode(&mut buffer));
            submitted.map_err(|error| error.to_string())?;
            // Time in which nothing could be sent is not made up for.
            let interval = Nanos::from_secs(1).0 / RATE;
            self.next_send = Nanos((self.next_send.0 + interval).max(now.mono.0 - 10 * interval));
            sent = true;
        }
        let work = self.client.do_work(now).map_err(|error| error.to_string())?;
        Ok(sent || work.done > 0)
    }
}

impl Account {
    fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed, "orders"),
            book: OrderBook::new(),
            next_order: 1,
            waiting: VecDeque::new(),
            first: 1,
        }
    }

    /// Takes an answer; it must be the right one to a command that waits for it.
    fn answer(&mut self, number: i64, payload: &[u8]) -> Result<(), String> {
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
    fn next_command(&mut self) -> Command {
        let command = self.make_up();
        let expected = self.expect(command);
        self.waiting.push_back((expected, false));
        command
    }

    fn make_up(&mut self) -> Command {
        if self.next_order > 1 && self.rng.chance(0.3) {
            // One of the last, whether it rests or not.
            let back = 1 + self.rng.below(200.min(self.next_order - 1));
            return Command::Cancel { id: self.next_order - back };
        }
        let id = self.next_order;
        self.next_order += 1;
        let side = if self.rng.chance(0.5) { Side::Buy } else { Side::Sell };
        let price = 90 + self.rng.below(21).cast_signed();
        let amount = 1 + self.rng.below(50).cast_signed();
        Command::Place { id, side, price, amount }
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
        let mut account = Account::new(1);
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
}
