//! The clients: orders and cancels, each to be executed once, and their account of it.

use std::path::Path;

use coracle::Driver;
use coracle::client::Client;
use coracle::cluster_client::{
    ClusterClient, Config, ExactlyOnce, ExactlyOnceOptions, NoCredentials,
};
use coracle::os::clock;
use coracle::runtime::{Nanos, Now, Ports};
use order_book::command::COMMAND_LENGTH_MAX;

use crate::account::Account;

/// How many clients there are, each with sessions of its own.
const CLIENTS: u64 = 3;
/// How many commands of each may be on their way.
const WINDOW: usize = 64;
/// How many are sent a second by each, at most.
const RATE: i64 = 700;
/// How many answers to take in one pass.
const ANSWERS_MAX: usize = 256;

/// One client.
struct Party {
    client: ExactlyOnce,
    account: Account,
    next_send: Nanos,
}

/// All clients, on a driver of their own.
pub(crate) struct Load {
    parties: Vec<Party>,
    _driver: Driver,
    /// Whether they send.
    pub(crate) is_sending: bool,
    /// Commands answered, each once and rightly.
    pub(crate) acknowledged: u64,
    /// When the last answer came.
    pub(crate) last_answer: Nanos,
    /// The longest time without an answer to anybody.
    pub(crate) longest_silence: Nanos,
}

impl Load {
    /// A driver for the clients alone, and the clients.
    ///
    /// # Errors
    /// One of them could not start.
    pub(crate) fn start(
        directory: &Path,
        ports: &Ports,
        endpoints: &str,
        own: &str,
    ) -> Result<Self, String> {
        let mut options = coracle::driver::Config::at(directory);
        options.terms.term_length = 1 << 20;
        options.terms.ipc_term_length = 1 << 20;
        let driver = Driver::launch_on(options, ports).map_err(|error| error.to_string())?;
        let party = |client| Party::start(client, directory, ports, endpoints, own);
        Ok(Self {
            parties: (0..CLIENTS).map(party).collect::<Result<_, _>>()?,
            _driver: driver,
            is_sending: true,
            acknowledged: 0,
            last_answer: clock::now().mono,
            longest_silence: Nanos(0),
        })
    }

    /// How many sessions they lost.
    pub(crate) fn sessions_lost(&self) -> u64 {
        self.parties.iter().map(|party| party.client.sessions_lost()).sum()
    }

    /// How many commands are not answered.
    pub(crate) fn unanswered(&self) -> usize {
        self.parties.iter().map(|party| party.account.unanswered()).sum()
    }

    /// One pass; whether anything came or went.
    ///
    /// # Errors
    /// An answer is wrong, or comes to nothing; or a client gives up.
    pub(crate) fn step(&mut self, now: Now) -> Result<bool, String> {
        let (mut answered, mut sent) = (0, false);
        for (client, party) in self.parties.iter_mut().enumerate() {
            let told = |cause| format!("client {client}: {cause}");
            answered += party.take(now).map_err(told)?;
            sent |= party.send(self.is_sending, now).map_err(told)?;
        }
        if answered > 0 {
            self.acknowledged += answered;
            self.longest_silence = self.longest_silence.max(now.mono - self.last_answer);
            self.last_answer = now.mono;
        }
        Ok(sent || answered > 0)
    }
}

impl Party {
    fn start(
        number: u64,
        directory: &Path,
        ports: &Ports,
        endpoints: &str,
        own: &str,
    ) -> Result<Self, String> {
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
            ingress_endpoints: endpoints.to_string(),
            egress_channel: format!("aeron:udp?endpoint={own}:0"),
            ..Config::default()
        };
        let now = clock::now();
        let cluster = ClusterClient::connect(config, Box::new(NoCredentials), client, now);
        let name = ports.seed.wrapping_add(number).cast_signed();
        let options = ExactlyOnceOptions {
            window: WINDOW,
            resend_after: Nanos::from_millis(500),
            ..ExactlyOnceOptions::new(name)
        };
        Ok(Self {
            client: ExactlyOnce::new(cluster, options),
            account: Account::new(number, ports.seed),
            next_send: now.mono,
        })
    }

    /// Takes answers; returns how many.
    fn take(&mut self, now: Now) -> Result<u64, String> {
        let Self { client, account, .. } = self;
        let (mut wrong, mut answered) = (None, 0);
        let polled = client.poll(ANSWERS_MAX, now, |number, payload| {
            match account.answer(number, payload) {
                Ok(()) => answered += 1,
                Err(cause) => wrong = Some(cause),
            }
        });
        polled.map_err(|error| error.to_string())?;
        wrong.map_or(Ok(answered), |wrong| Err(format!("a wrong answer: {wrong}")))
    }

    fn send(&mut self, is_sending: bool, now: Now) -> Result<bool, String> {
        let mut sent = false;
        while is_sending && self.next_send <= now.mono && self.client.waiting() < WINDOW {
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
