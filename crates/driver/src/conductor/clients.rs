//! Clients of the driver: who lives, and what the dead leave behind.

use wire::control::{ClientId, CorrelationId, Event};
use wire::counters::{ClientHeartbeatKey, CounterId, CounterTypeId, Label, SystemCounter};

use memory::counters::CounterReader;

use super::Conductor;
use super::desk::Belongs;
use crate::refusal::Refusal;
use runtime::Now;
use runtime::pulse::Pulse;

/// A client as the driver knows it.
pub(crate) struct ClientRecord {
    /// Written by the client: epoch milliseconds of its last sign of life.
    heartbeat: CounterReader,
    pulse: Pulse,
    is_closed: bool,
}

/// A counter that a client asked for.
pub(crate) struct CounterLink {
    pub(crate) client_id: i64,
    pub(crate) id: CounterId,
}

impl Conductor {
    /// Makes the client known, before the answer to its first command that adds something.
    pub(super) fn admit_client(&mut self, client_id: i64) -> Result<(), Refusal> {
        if self.clients.contains_key(&client_id) {
            return Ok(());
        }
        let key = ClientHeartbeatKey { client_id }.encode();
        let label = Label::of_client_heartbeat(client_id);
        let belongs = Belongs { registration_id: client_id, owner: client_id, reference: 0 };
        let value = self.desk.epoch_ms;
        let counter = self.desk.allocate(
            CounterTypeId::CLIENT_HEARTBEAT,
            key.as_bytes(),
            label.as_str(),
            belongs,
            value,
        )?;
        let counter_id = counter.id();
        let (heartbeat, pulse) = (counter.reader(), Pulse::new());
        self.clients.insert(client_id, ClientRecord { heartbeat, pulse, is_closed: false });
        let correlation_id = CorrelationId(client_id);
        self.desk.send(&Event::CounterReady { correlation_id, counter_id });
        Ok(())
    }

    /// An old client's sign of life by command.
    pub(super) fn on_keepalive(&mut self, client_id: i64) {
        self.store_heartbeat(client_id, self.desk.epoch_ms);
    }

    /// A client says goodbye: the next timer pass sees to the rest.
    pub(super) fn on_client_close(&mut self, client_id: i64) {
        if let Some(client) = self.clients.get_mut(&client_id) {
            client.is_closed = true;
        }
        self.store_heartbeat(client_id, 0);
    }

    fn store_heartbeat(&mut self, client_id: i64, value: i64) {
        let Some(client) = self.clients.get(&client_id) else { return };
        if let Ok(mut counter) = self.desk.counters.writer(client.heartbeat.id()) {
            counter.set_release(value);
        }
    }

    /// Lets go of clients that have been silent for too long.
    pub(super) fn check_clients(&mut self, now: Now) {
        let timeout = self.config.timeouts.client_liveness;
        let mut dead = Vec::new();
        for (&client_id, client) in &mut self.clients {
            let value = client.heartbeat.get();
            if client.pulse.age(value, now.mono) > timeout || value == 0 {
                dead.push(client_id);
            }
        }
        for client_id in dead {
            self.bury(client_id, now);
        }
    }

    fn bury(&mut self, client_id: i64, now: Now) {
        let Some(client) = self.clients.remove(&client_id) else { return };
        if !client.is_closed {
            self.desk.system.increment(SystemCounter::ClientTimeouts);
            self.desk.send(&Event::ClientTimedOut { client_id: ClientId(client_id) });
        }
        let heartbeat = client.heartbeat.id();
        self.desk.send(&Event::UnavailableCounter {
            registration_id: CorrelationId(client_id),
            counter_id: heartbeat,
        });
        self.remove_all_of(client_id, now);
        self.desk.free(heartbeat);
    }

    fn remove_all_of(&mut self, client_id: i64, now: Now) {
        let links: Vec<i64> = owned(&self.publication_links, |link| link.client_id == client_id);
        for registration_id in links {
            self.unlink_publication(registration_id, false, now);
        }
        let subscriptions = owned(&self.subscriptions, |record| record.client_id == client_id);
        for registration_id in subscriptions {
            self.drop_subscription(registration_id, now);
        }
        for registration_id in owned(&self.counter_links, |link| link.client_id == client_id) {
            self.drop_counter(registration_id);
        }
    }
}

fn owned<T>(all: &std::collections::BTreeMap<i64, T>, is_owned: impl Fn(&T) -> bool) -> Vec<i64> {
    all.iter().filter(|(_, value)| is_owned(value)).map(|(id, _)| *id).collect()
}
