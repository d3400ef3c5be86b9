//! What the conductor knows of the resources that it has handed out.

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;

use wire::control::CorrelationId;
use wire::counters::CounterId;

use crate::handle::Resource;
use crate::image::Image;
use crate::state::{Changes, Closed};

/// Resources in use, by registration id.
#[derive(Default)]
pub(crate) struct Resources {
    publications: BTreeMap<CorrelationId, PublicationRecord>,
    subscriptions: BTreeMap<CorrelationId, SubscriptionRecord>,
    counters: BTreeMap<CorrelationId, CounterRecord>,
}

pub(crate) struct PublicationRecord {
    pub(crate) closed: Closed,
    pub(crate) original_registration_id: CorrelationId,
    pub(crate) channel_status_id: CounterId,
}

pub(crate) struct SubscriptionRecord {
    pub(crate) closed: Closed,
    pub(crate) channel_status_id: CounterId,
    pub(crate) is_tethered: bool,
    /// Noted after an image was sent, or closed.
    pub(crate) changes: Changes,
    /// Where new images go.
    pub(crate) inbox: Sender<Image>,
    /// The images that are there, wherever their values are.
    pub(crate) images: BTreeMap<CorrelationId, Closed>,
}

pub(crate) struct CounterRecord {
    pub(crate) closed: Closed,
    pub(crate) counter_id: CounterId,
}

impl Resources {
    pub(crate) fn add_publication(&mut self, id: CorrelationId, record: PublicationRecord) {
        self.publications.insert(id, record);
    }

    pub(crate) fn add_subscription(&mut self, id: CorrelationId, record: SubscriptionRecord) {
        self.subscriptions.insert(id, record);
    }

    pub(crate) fn add_counter(&mut self, id: CorrelationId, record: CounterRecord) {
        self.counters.insert(id, record);
    }

    pub(crate) fn subscription(&mut self, id: CorrelationId) -> Option<&mut SubscriptionRecord> {
        self.subscriptions.get_mut(&id)
    }

    /// Whether a publication of this client uses the log.
    pub(crate) fn has_log(&self, original: CorrelationId) -> bool {
        self.publications.values().any(|record| record.original_registration_id == original)
    }

    /// Whether a resource of this client uses the channel.
    pub(crate) fn has_channel(&self, status_id: CounterId) -> bool {
        self.publications.values().any(|record| record.channel_status_id == status_id)
            || self.subscriptions.values().any(|record| record.channel_status_id == status_id)
    }

    /// Forgets a resource and closes it; whether it was there.
    pub(crate) fn remove(&mut self, id: CorrelationId, resource: Resource) -> bool {
        match resource {
            Resource::Publication => {
                self.publications.remove(&id).map(|record| record.closed.set()).is_some()
            }
            Resource::Subscription => {
                self.subscriptions.remove(&id).map(SubscriptionRecord::close).is_some()
            }
            Resource::Counter => {
                self.counters.remove(&id).map(|record| record.closed.set()).is_some()
            }
        }
    }

    /// Closes an own counter that the driver has freed.
    pub(crate) fn counter_gone(&mut self, id: CorrelationId, counter_id: CounterId) {
        if self.counters.get(&id).is_some_and(|record| record.counter_id == counter_id) {
            self.remove(id, Resource::Counter);
        }
    }

    /// Closes and forgets everything.
    pub(crate) fn close_all(&mut self) {
        for record in std::mem::take(&mut self.publications).into_values() {
            record.closed.set();
        }
        std::mem::take(&mut self.subscriptions).into_values().for_each(SubscriptionRecord::close);
        for record in std::mem::take(&mut self.counters).into_values() {
            record.closed.set();
        }
    }
}

impl SubscriptionRecord {
    fn close(self) {
        self.closed.set();
        for closed in self.images.into_values() {
            closed.set();
        }
    }
}
