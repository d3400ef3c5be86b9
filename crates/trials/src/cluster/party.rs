//! A client process: an agent that owns a client of the driver and numbers its messages.

use std::sync::{Arc, Mutex};

use client::{Client, Connecting};
use cluster_client::{
    ClusterClient, Config, ExactlyOnce, ExactlyOnceError, ExactlyOnceOptions, NoCredentials,
    SessionError,
};
use runtime::random::Rng;
use runtime::{Agent, Halt, Nanos, Now, Ports, Work};

use super::node::client_config;
use super::oracle::{Oracle, Phase};
use super::plan::Plan;
use crate::lock;

/// Messages of a client that may wait for answers.
const WINDOW: usize = 16;

enum Life {
    Away { until: Nanos },
    Connecting(Box<Connecting>),
    Speaking(Box<Speaking>),
}

/// A client and what it has sent.
struct Speaking {
    client: i64,
    messages: ExactlyOnce,
    next_number: i64,
    next_submit: Nanos,
    /// From this number on messages were submitted since healing.
    fresh_from: Option<i64>,
    sessions_lost: u64,
}

/// A client process.
pub(super) struct Party {
    ports: Ports,
    rng: Rng,
    config: Config,
    rate: u64,
    oracle: Arc<Mutex<Oracle>>,
    life: Life,
    /// The name of the client, for whoever kills the process.
    name: Arc<Mutex<Option<i64>>>,
}

impl Party {
    pub(super) fn new(
        plan: &Plan,
        host: usize,
        (oracle, name): (Arc<Mutex<Oracle>>, Arc<Mutex<Option<i64>>>),
        ports: &Ports,
    ) -> Self {
        let config = Config {
            ingress_endpoints: plan.ingress_text(),
            egress_channel: format!("aeron:udp?endpoint={}:0", Plan::address(host)),
            message_timeout: Nanos::from_secs(3),
            ..Config::default()
        };
        Self {
            ports: ports.clone(),
            rng: ports.rng("party"),
            config,
            rate: plan.rate,
            oracle,
            life: Life::Away { until: Nanos(0) },
            name,
        }
    }

    fn begin(&mut self, client: Client, now: Now) -> Box<Speaking> {
        let credentials = Box::new(NoCredentials);
        let cluster = ClusterClient::connect(self.config.clone(), credentials, client, now);
        let client = self.rng.next_i64();
        *lock(&self.name) = Some(client);
        let options = ExactlyOnceOptions { window: WINDOW, ..ExactlyOnceOptions::new(client) };
        Box::new(Speaking {
            client,
            messages: ExactlyOnce::new(cluster, options),
            next_number: 1,
            next_submit: now.mono,
            fresh_from: None,
            sessions_lost: 0,
        })
    }

    /// One pass; `None` when the client has lost its driver.
    fn speak(&mut self, speaking: &mut Speaking, now: Now) -> Option<Work> {
        let kept = speaking.messages.do_work(now);
        let shared = Arc::clone(&self.oracle);
        let oracle = &mut *lock(&shared);
        let mut work = match kept {
            Ok(work) => work,
            Err(ExactlyOnceError::Session(SessionError::Client(_))) => return None,
            Err(error) => {
                oracle.fail(format!("client {}: {error}", speaking.client));
                return None;
            }
        };
        let (client, fresh_from) = (speaking.client, speaking.fresh_from);
        let heard = speaking.messages.poll(10, now, |number, answer| {
            let is_fresh = fresh_from.is_some_and(|from| number >= from);
            oracle.acknowledged(client, number, is_fresh, answer);
        });
        match heard {
            Ok(count) => work = work.and(Work::done(count)),
            Err(error) => {
                oracle.fail(format!("client {client}: {error}"));
                return None;
            }
        }
        let lost = speaking.messages.sessions_lost();
        oracle.totals.sessions_lost += lost - speaking.sessions_lost;
        speaking.sessions_lost = lost;
        Some(work.and(self.submit(speaking, oracle, now)))
    }

    fn submit(&mut self, speaking: &mut Speaking, oracle: &mut Oracle, now: Now) -> Work {
        if oracle.phase == Phase::Quiet {
            return Work::NONE;
        }
        if oracle.phase == Phase::Calm {
            speaking.fresh_from.get_or_insert(speaking.next_number);
        }
        let mut done = 0;
        while now.mono >= speaking.next_submit {
            let mean = 1_000_000 / self.rate;
            let pause = self.rng.below(2 * mean + 1).cast_signed();
            speaking.next_submit = now.mono + Nanos::from_micros(pause);
            // Now and then several at once.
            for _ in 0..if self.rng.chance(0.1) { 1 + self.rng.below(12) } else { 1 } {
                let number = speaking.next_number;
                let content = oracle.content(speaking.client, number);
                if speaking.messages.submit(&content).is_ok() {
                    oracle.submitted(speaking.client, number);
                    oracle.totals.fragmented += u64::from(content.len() > 1_408);
                    speaking.next_number += 1;
                    done += 1;
                }
            }
        }
        Work::done(done).due(speaking.next_submit)
    }

    fn forget(&mut self) {
        if let Some(client) = lock(&self.name).take() {
            lock(&self.oracle).is_gone(client);
        }
    }
}

impl Agent for Party {
    fn name(&self) -> &'static str {
        "party"
    }

    fn do_work(&mut self, now: Now) -> Result<Work, Halt> {
        let until = now.mono + Nanos::from_millis(10);
        let life = std::mem::replace(&mut self.life, Life::Away { until });
        let (life, work) = match life {
            Life::Away { until } if now.mono < until => {
                (Life::Away { until }, Work::NONE.due(until))
            }
            Life::Away { .. } => {
                let connecting = Client::connect(client_config(), &self.ports, now);
                (Life::Connecting(Box::new(connecting)), Work::done(1))
            }
            Life::Connecting(mut connecting) => match connecting.poll(now) {
                Ok(None) => {
                    let due = connecting.next_deadline();
                    (Life::Connecting(connecting), Work::NONE.due(due))
                }
                Ok(Some(client)) => (Life::Speaking(self.begin(client, now)), Work::done(1)),
                Err(_) => (Life::Away { until }, Work::done(1)),
            },
            Life::Speaking(mut speaking) => {
                if let Some(work) = self.speak(&mut speaking, now) {
                    (Life::Speaking(speaking), work)
                } else {
                    self.forget();
                    (Life::Away { until }, Work::done(1))
                }
            }
        };
        self.life = life;
        Ok(work)
    }
}
