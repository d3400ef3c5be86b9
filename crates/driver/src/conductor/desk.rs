//! What the conductor writes for others to read: events, counters and errors.

use memory::broadcast::Transmitter;
use memory::counters::{Counter, CounterError, CountersManager};
use memory::error_log::ErrorLog;
use wire::control::{CorrelationId, ErrorCode, Event};
use wire::counters::{CounterId, CounterTypeId, Label, StreamKey, SystemCounter};

use crate::refusal::Refusal;
use crate::system::SystemCounters;

/// Longest text that goes out with an error.
const ERROR_TEXT_LENGTH_MAX: usize = 4096;

/// To whom a counter belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Belongs {
    pub(crate) registration_id: i64,
    pub(crate) owner: i64,
    pub(crate) reference: i64,
}

/// The outgoing side of the conductor.
pub(crate) struct Desk {
    events: Transmitter,
    pub(crate) counters: CountersManager,
    pub(crate) system: SystemCounters,
    errors: ErrorLog,
    /// Wall clock of this pass.
    pub(crate) epoch_ms: i64,
    /// Kept for its memory only.
    scratch: Vec<u8>,
}

impl Desk {
    pub(crate) fn new(
        events: Transmitter,
        counters: CountersManager,
        system: SystemCounters,
        errors: ErrorLog,
    ) -> Self {
        Self { events, counters, system, errors, epoch_ms: 0, scratch: Vec::new() }
    }

    /// Tells every client.
    pub(crate) fn send(&mut self, event: &Event<'_>) {
        let length = event.encoded_length();
        if self.scratch.len() < length {
            self.scratch.resize(length, 0);
        }
        let sent = event
            .encode(&mut self.scratch)
            .map(|length| self.events.transmit(event.type_id(), &self.scratch[..length]));
        if !matches!(sent, Some(Ok(()))) {
            self.error(&format!("event of {length} bytes does not fit the broadcast"));
        }
    }

    pub(crate) fn succeed(&mut self, correlation_id: i64) {
        let correlation_id = CorrelationId(correlation_id);
        self.send(&Event::OperationSucceeded { correlation_id });
    }

    /// Answers a command with an error. Transient ones stay out of the error log.
    pub(crate) fn refuse(&mut self, offending: i64, refusal: &Refusal) {
        let mut end = refusal.text.len().min(ERROR_TEXT_LENGTH_MAX);
        while !refusal.text.is_char_boundary(end) {
            end -= 1;
        }
        let text = &refusal.text[..end];
        let offending = CorrelationId(offending);
        self.send(&Event::Error { offending, code: refusal.code, text });
        if refusal.code != ErrorCode::RESOURCE_TEMPORARILY_UNAVAILABLE {
            self.error(&format!("{}: {text}", refusal.code));
        }
    }

    /// Notes an error that nobody is waiting for.
    pub(crate) fn error(&mut self, text: &str) {
        self.system.increment(SystemCounter::Errors);
        self.errors.record(self.epoch_ms, text);
    }

    /// A counter with any key.
    pub(crate) fn allocate(
        &mut self,
        type_id: CounterTypeId,
        key: &[u8],
        label: &str,
        belongs: Belongs,
        value: i64,
    ) -> Result<Counter, Refusal> {
        let mut counter = self
            .counters
            .allocate(type_id, key, label, self.epoch_ms)
            .map_err(|error: CounterError| Refusal::generic(error.to_string()))?;
        counter.identify(belongs.registration_id, belongs.owner, belongs.reference);
        counter.set_release(value);
        Ok(counter)
    }

    /// A counter of a stream, whose label begins with `name`.
    pub(crate) fn allocate_stream(
        &mut self,
        type_id: CounterTypeId,
        name: &str,
        key: &StreamKey<'_>,
        belongs: Belongs,
        value: i64,
    ) -> Result<Counter, Refusal> {
        let label = Label::of_stream(name, key);
        self.allocate(type_id, key.encode().as_bytes(), label.as_str(), belongs, value)
    }

    pub(crate) fn free(&mut self, id: CounterId) {
        self.counters.free(id, self.epoch_ms);
    }
}
