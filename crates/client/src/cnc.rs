//! The driver's `cnc.dat` as a client sees it: ring, broadcast, counters.

use memory::broadcast::Receiver as BroadcastReceiver;
use memory::buffer::AtomicBuffer;
use memory::counters::{Counter, CounterReader, CountersReader};
use memory::ring::RingProducer;
use runtime::Nanos;
use runtime::files::Mapping;
use wire::cnc::{self as layout, HeaderError, PackedVersion, Section};
use wire::counters::{CounterId, CounterTypeId, KEY_LENGTH_MAX};

use crate::handle::Outgoing;

/// The open file.
pub(crate) struct Cnc {
    /// Keeps the file mapped.
    _mapping: Mapping,
    ring: RingProducer,
    to_clients: AtomicBuffer,
    counters: CountersReader,
    client_liveness_timeout: Nanos,
}

/// What was found in the file.
pub(crate) enum Opened {
    /// Everything is in place.
    Ready(Box<Cnc>),
    /// The driver is still writing it.
    NotReady,
}

impl Cnc {
    /// Takes up the file if it is ready.
    ///
    /// # Errors
    /// It is of another version, or its lengths cannot be.
    pub(crate) fn open(mapping: Mapping) -> Result<Opened, HeaderError> {
        let buffer = AtomicBuffer::new(mapping.region().clone());
        if buffer.length() < layout::HEADER_LENGTH {
            return Ok(Opened::NotReady);
        }
        // Acquire: pairs with the release store of the version, which the driver does last.
        let version = PackedVersion(buffer.load_i32_acquire(layout::VERSION_OFFSET));
        if version.0 == 0 {
            return Ok(Opened::NotReady);
        }
        layout::check_version(version)?;
        let mut bytes = [0; layout::HEADER_LENGTH];
        buffer.copy_out(0, &mut bytes);
        let header = layout::Header::decode(&bytes)?;
        let sections = match header.sections(buffer.length()) {
            // Mapped while the file was still short.
            Err(HeaderError::Truncated { .. }) => return Ok(Opened::NotReady),
            sections => sections?,
        };
        let part = |section: Section| buffer.slice(section.offset, section.length);
        let ring = RingProducer::new(part(sections.to_driver)).map_err(|_| {
            HeaderError::Length { buffer: "to-driver", length: header.lengths.to_driver }
        })?;
        Ok(Opened::Ready(Box::new(Self {
            ring,
            to_clients: part(sections.to_clients),
            counters: CountersReader::new(
                part(sections.counters_metadata),
                part(sections.counters_values),
            ),
            client_liveness_timeout: Nanos(header.client_liveness_timeout_ns),
            _mapping: mapping,
        })))
    }

    /// A new reader of the broadcast; it may see the last message from before its time.
    ///
    /// # Errors
    /// The buffer's length cannot be.
    pub(crate) fn receiver(&self) -> Result<BroadcastReceiver, HeaderError> {
        let length = i32::try_from(self.to_clients.length()).unwrap_or(i32::MAX);
        BroadcastReceiver::new(self.to_clients.clone())
            .map_err(|_| HeaderError::Length { buffer: "to-clients", length })
    }

    /// How long the driver lets a client be silent.
    pub(crate) const fn client_liveness_timeout(&self) -> Nanos {
        self.client_liveness_timeout
    }

    /// The driver's last sign of life, in epoch milliseconds; 0 before the first, -1 after the end.
    pub(crate) fn driver_heartbeat_ms(&self) -> i64 {
        self.ring.consumer_heartbeat_ms()
    }

    pub(crate) fn next_correlation_id(&self) -> i64 {
        self.ring.next_correlation_id()
    }

    /// Puts a command into the ring; whether there was room.
    pub(crate) fn offer(&self, message: &Outgoing) -> bool {
        self.ring.write(message.type_id, &message.body).is_ok()
    }

    pub(crate) const fn counters(&self) -> &CountersReader {
        &self.counters
    }

    /// The value of a counter that is in use.
    pub(crate) fn counter_value(&self, id: CounterId) -> Option<i64> {
        self.counter_reader(id).map(|reader| reader.get())
    }

    pub(crate) fn counter_reader(&self, id: CounterId) -> Option<CounterReader> {
        self.counters.reader(id).ok()
    }

    /// The writer of a counter that the driver made for this client.
    pub(crate) fn counter_writer(&self, id: CounterId) -> Option<Counter> {
        self.counters.writer_unchecked(id).ok()
    }

    /// Calls `on_counter` with each counter of a type and its key.
    pub(crate) fn for_each_counter(
        &self,
        type_id: CounterTypeId,
        mut on_counter: impl FnMut(CounterId, &[u8; KEY_LENGTH_MAX]),
    ) {
        let of_type = |&id: &CounterId| self.counters.type_id(id) == Some(type_id);
        for id in self.counters.ids().filter(of_type) {
            if let Some(record) = self.counters.record(id) {
                on_counter(id, &record.key);
            }
        }
    }
}
