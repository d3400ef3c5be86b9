//! A client process: an agent that owns a client and what was planned for it.

use std::sync::{Arc, Mutex};

use client::{Client, Config, Connecting};
use runtime::random::Rng;
use runtime::{Agent, Halt, Nanos, Now, Ports, Work};

use super::ledger::{Ledger, Phase};
use super::plan::PartyPlan;
use super::slots::{PublisherSlot, SubscriberSlot};
use super::witness::DIRECTORY;
use crate::lock;

enum Life {
    Away {
        until: Nanos,
    },
    Connecting(Box<Connecting>),
    Connected(Box<Client>),
    /// Its resources are dropped one by one; then it leaves.
    Leaving {
        client: Box<Client>,
        until: Nanos,
    },
    Gone,
}

/// A client process.
pub(super) struct Party {
    ports: Ports,
    rng: Rng,
    ledger: Arc<Mutex<Ledger>>,
    life: Life,
    publishers: Vec<PublisherSlot>,
    subscribers: Vec<SubscriberSlot>,
}

impl Party {
    pub(super) fn new(plan: PartyPlan, ports: &Ports, ledger: Arc<Mutex<Ledger>>) -> Self {
        Self {
            ports: ports.clone(),
            rng: ports.rng("party"),
            ledger,
            life: Life::Away { until: Nanos(0) },
            publishers: plan.publishers.into_iter().map(PublisherSlot::new).collect(),
            subscribers: plan.subscribers.into_iter().map(SubscriberSlot::new).collect(),
        }
    }

    fn connect(&self, now: Now) -> Life {
        let config = Config {
            directory: DIRECTORY.into(),
            driver_timeout: Nanos::from_secs(2),
            keep_alive_interval: Nanos::from_millis(200),
            resource_linger: Nanos::from_millis(200),
            name: "party".to_string(),
        };
        Life::Connecting(Box::new(Client::connect(config, &self.ports, now)))
    }

    fn let_go(&mut self) {
        self.publishers.iter_mut().for_each(PublisherSlot::reset);
        self.subscribers.iter_mut().for_each(SubscriberSlot::reset);
    }

    fn work(&mut self, client: &mut Client, ledger: &mut Ledger, now: Now) -> Option<Work> {
        let Ok(mut work) = client.do_work(now) else {
            ledger.totals.client_ends += 1;
            return None;
        };
        for publisher in &mut self.publishers {
            let (done, due) = publisher.step(client, ledger, &mut self.rng, now.mono);
            work = work.and(Work::done(done).due(due));
        }
        for subscriber in &mut self.subscribers {
            let (done, due) = subscriber.step(client, ledger, &mut self.rng, now.mono);
            work = work.and(Work::done(done).due(due));
        }
        client.poll_events(|_| {});
        Some(work)
    }

    /// Leaves in one of the ways in which programs do.
    fn leave(&mut self, mut client: Box<Client>, now: Now) -> Life {
        match self.rng.below(4) {
            // Without a word: the driver finds out by silence. Resources are dropped after it.
            0 => Life::Gone,
            1 => {
                client.close();
                Life::Gone
            }
            _ => {
                self.let_go();
                Life::Leaving { client, until: now.mono + Nanos::from_millis(300) }
            }
        }
    }
}

impl Agent for Party {
    fn name(&self) -> &'static str {
        "party"
    }

    fn do_work(&mut self, now: Now) -> Result<Work, Halt> {
        let shared = Arc::clone(&self.ledger);
        let ledger = &mut *lock(&shared);
        let is_closing = ledger.phase == Phase::Closing;
        let life = std::mem::replace(&mut self.life, Life::Gone);
        let (life, work) = match life {
            Life::Gone => (Life::Gone, Work::NONE),
            Life::Away { .. } | Life::Connecting(_) if is_closing => (Life::Gone, Work::done(1)),
            Life::Away { until } if now.mono < until => {
                (Life::Away { until }, Work::NONE.due(until))
            }
            Life::Away { .. } => (self.connect(now), Work::done(1)),
            Life::Connecting(mut connecting) => match connecting.poll(now) {
                Ok(None) => {
                    let again = now.mono + Nanos::from_millis(5);
                    (Life::Connecting(connecting), Work::NONE.due(again))
                }
                Ok(Some(client)) => (Life::Connected(Box::new(client)), Work::done(1)),
                Err(_) => (Life::Away { until: now.mono + Nanos::from_millis(50) }, Work::done(1)),
            },
            Life::Connected(client) if is_closing => (self.leave(client, now), Work::done(1)),
            Life::Connected(mut client) => {
                if let Some(work) = self.work(&mut client, ledger, now) {
                    (Life::Connected(client), work)
                } else {
                    let until = now.mono + Nanos::from_millis(10);
                    (Life::Away { until }, Work::done(1))
                }
            }
            Life::Leaving { mut client, until } if now.mono >= until => {
                client.close();
                (Life::Gone, Work::done(1))
            }
            Life::Leaving { mut client, until } => match client.do_work(now) {
                Ok(work) => (Life::Leaving { client, until }, work.due(until)),
                Err(_) => (Life::Gone, Work::done(1)),
            },
        };
        if matches!(life, Life::Away { .. } | Life::Gone) {
            self.let_go();
        }
        self.life = life;
        Ok(work)
    }
}
