//! Counters of clients.

use wire::control::{CorrelationId, ErrorCode, Event};
use wire::counters::{CounterTypeId, DRIVER_OWNER_ID, LABEL_LENGTH_MAX};

use super::Conductor;
use super::clients::CounterLink;
use super::desk::Belongs;
use crate::refusal::Refusal;

/// What a client asks a counter to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct CounterRequest<'a> {
    pub(super) client_id: i64,
    pub(super) correlation_id: i64,
    pub(super) type_id: CounterTypeId,
    pub(super) key: &'a [u8],
    pub(super) label: &'a str,
}

impl CounterRequest<'_> {
    fn check(&self) -> Result<(), Refusal> {
        if self.type_id.0 < 0 {
            return Err(Refusal::generic(format!("counter type {} is negative", self.type_id.0)));
        }
        if self.label.len() > LABEL_LENGTH_MAX {
            return Err(Refusal::generic("counter label is too long"));
        }
        Ok(())
    }
}

impl Conductor {
    pub(super) fn add_counter(&mut self, request: CounterRequest<'_>) -> Result<(), Refusal> {
        request.check()?;
        self.admit_client(request.client_id)?;
        let belongs = Belongs {
            registration_id: request.correlation_id,
            owner: request.client_id,
            reference: 0,
        };
        let counter =
            self.desk.allocate(request.type_id, request.key, request.label, belongs, 0)?;
        let link = CounterLink { client_id: request.client_id, id: counter.id() };
        self.counter_links.insert(request.correlation_id, link);
        self.desk.send(&Event::CounterReady {
            correlation_id: CorrelationId(request.correlation_id),
            counter_id: counter.id(),
        });
        Ok(())
    }

    /// A counter that outlives its creator; a second request gets the same one.
    pub(super) fn add_static_counter(
        &mut self,
        request: CounterRequest<'_>,
        registration_id: i64,
    ) -> Result<(), Refusal> {
        request.check()?;
        self.admit_client(request.client_id)?;
        let reader = self.desk.counters.reader();
        let counter_id = match reader.find(request.type_id, registration_id) {
            Some(id) => {
                let owner = reader.record(id).map(|record| record.owner_id);
                if owner != Some(DRIVER_OWNER_ID) {
                    return Err(Refusal::generic(format!(
                        "counter {registration_id} of type {} is not static",
                        request.type_id.0
                    )));
                }
                id
            }
            None => {
                let belongs = Belongs { registration_id, owner: DRIVER_OWNER_ID, reference: 0 };
                self.desk.allocate(request.type_id, request.key, request.label, belongs, 0)?.id()
            }
        };
        let correlation_id = CorrelationId(request.correlation_id);
        self.desk.send(&Event::StaticCounter { correlation_id, counter_id });
        Ok(())
    }

    pub(super) fn remove_counter(
        &mut self,
        correlation_id: i64,
        registration_id: i64,
    ) -> Result<(), Refusal> {
        if !self.counter_links.contains_key(&registration_id) {
            let text = format!("unknown counter: {registration_id}");
            return Err(Refusal::new(ErrorCode::UNKNOWN_COUNTER, text));
        }
        self.desk.succeed(correlation_id);
        self.drop_counter(registration_id);
        Ok(())
    }

    pub(super) fn drop_counter(&mut self, registration_id: i64) {
        let Some(link) = self.counter_links.remove(&registration_id) else { return };
        self.desk.send(&Event::UnavailableCounter {
            registration_id: CorrelationId(registration_id),
            counter_id: link.id,
        });
        self.desk.free(link.id);
    }
}
