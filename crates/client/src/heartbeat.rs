//! The counter by which a client shows that it lives.
//!
//! The driver makes it at the client's first resource; the client finds it by its key, names itself
//! in its label and stores the time (transport specification, part 3.10).

use memory::counters::Counter;
use runtime::Now;
use wire::control::ClientId;
use wire::counters::{ClientHeartbeatKey, CounterId, CounterTypeId};

use crate::cnc::Cnc;
use crate::error::ClientError;

/// Longest name of a client in its label.
const NAME_LENGTH_MAX: usize = 100;

/// The client's own sign of life.
pub(crate) struct Heartbeat {
    client_id: ClientId,
    suffix: String,
    counter: Option<Counter>,
}

impl Heartbeat {
    pub(crate) fn new(client_id: ClientId, name: &str) -> Self {
        let name: String = name.chars().filter(char::is_ascii).take(NAME_LENGTH_MAX).collect();
        let version = env!("CARGO_PKG_VERSION");
        let suffix = format!(" name={name} version={version} commit=coracle");
        Self { client_id, suffix, counter: None }
    }

    /// Stores the time, once the driver has made the counter.
    pub(crate) fn beat(&mut self, cnc: &Cnc, now: Now) -> Result<(), ClientError> {
        if let Some(counter) = &mut self.counter {
            if !is_own(cnc, counter.id(), self.client_id) {
                return Err(ClientError::ClientTimeout { client_id: self.client_id });
            }
            counter.set_release(now.epoch_millis());
            return Ok(());
        }
        let key = ClientHeartbeatKey { client_id: self.client_id.0 };
        let mut found = None;
        cnc.for_each_counter(CounterTypeId::CLIENT_HEARTBEAT, |id, bytes| {
            if ClientHeartbeatKey::decode(bytes) == Some(key) && is_own(cnc, id, self.client_id) {
                found = Some(id);
            }
        });
        let Some(mut counter) = found.and_then(|id| cnc.counter_writer(id)) else { return Ok(()) };
        counter.set_release(now.epoch_millis());
        // The name is for people: a record that has just gone needs none.
        let _ = cnc.counters().append_label(counter.id(), self.client_id.0, &self.suffix);
        self.counter = Some(counter);
        Ok(())
    }
}

/// Whether the driver still keeps the counter for this client.
fn is_own(cnc: &Cnc, id: CounterId, client_id: ClientId) -> bool {
    let counters = cnc.counters();
    counters.type_id(id) == Some(CounterTypeId::CLIENT_HEARTBEAT)
        && counters.is_registered(id, client_id.0)
}
