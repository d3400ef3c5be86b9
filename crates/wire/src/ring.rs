//! The two command buffers of `cnc.dat`: the ring to the driver, the broadcast to the clients.
//!
//! Layout only: who stores what in which order is the business of `memory` (docs/ipc.md). Offsets
//! of trailers are relative to the capacity, which is the buffer length without the trailer.
//!
//! ```text
//! 0                          capacity                    capacity + trailer
//! | records, 8-aligned ...    | trailer                  |
//! ```

/// Offset of the record length (`i32`) in a record; negative while the record is being written.
pub const RECORD_LENGTH_OFFSET: usize = 0;
/// Offset of the message type (`i32`) in a record.
pub const RECORD_TYPE_OFFSET: usize = 4;
/// Length of a record's header; the message follows.
pub const RECORD_HEADER_LENGTH: usize = 8;
/// Records begin at multiples of this many bytes.
pub const RECORD_ALIGNMENT: usize = 8;
/// Message type of a record that only fills space.
pub const PADDING_TYPE: i32 = -1;

/// Rounds a record length up to the record alignment. Callers check lengths first.
#[must_use]
pub const fn align_record(length: usize) -> usize {
    length.wrapping_add(RECORD_ALIGNMENT - 1) & !(RECORD_ALIGNMENT - 1)
}

/// The longest message that a buffer of this capacity takes: an eighth of it.
#[must_use]
pub const fn message_length_max(capacity: usize) -> usize {
    capacity / 8
}

/// The many-to-one ring from clients to the driver.
pub mod to_driver {
    /// Length of the trailer behind the records.
    pub const TRAILER_LENGTH: usize = 768;
    /// Tail position (`i64`), moved by producers with compare-and-swap.
    pub const TAIL_OFFSET: usize = 128;
    /// The head position as producers last saw it (`i64`).
    pub const HEAD_CACHE_OFFSET: usize = 256;
    /// Head position (`i64`), stored by the driver.
    pub const HEAD_OFFSET: usize = 384;
    /// The counter (`i64`) that all correlation ids are taken from, by fetch-and-add.
    pub const CORRELATION_OFFSET: usize = 512;
    /// Time of the driver's last sign of life (`i64`, epoch milliseconds); -1 after a shutdown.
    pub const CONSUMER_HEARTBEAT_OFFSET: usize = 640;
    /// Value of the heartbeat once a driver has shut down in order.
    pub const HEARTBEAT_CLOSED: i64 = -1;
    /// Default length of the buffer, trailer included.
    pub const LENGTH_DEFAULT: usize = 1024 * 1024 + TRAILER_LENGTH;
}

/// The one-to-many broadcast from the driver to clients.
pub mod to_clients {
    /// Length of the trailer behind the records.
    pub const TRAILER_LENGTH: usize = 128;
    /// Where the tail will be once the record being written is complete (`i64`).
    pub const TAIL_INTENT_OFFSET: usize = 0;
    /// Tail position (`i64`).
    pub const TAIL_OFFSET: usize = 8;
    /// Position of the last complete record (`i64`), where a new reader begins.
    pub const LATEST_OFFSET: usize = 16;
    /// Default length of the buffer, trailer included.
    pub const LENGTH_DEFAULT: usize = 1024 * 1024 + TRAILER_LENGTH;
}

/// The capacity of a buffer of `length` bytes with a trailer of `trailer` bytes.
///
/// None unless it is a power of two that holds at least a record header.
#[must_use]
pub const fn capacity(length: usize, trailer: usize) -> Option<usize> {
    match length.checked_sub(trailer) {
        Some(capacity) if capacity.is_power_of_two() && capacity >= RECORD_HEADER_LENGTH => {
            Some(capacity)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capacity_is_a_power_of_two_besides_its_trailer() {
        assert_eq!(capacity(to_driver::LENGTH_DEFAULT, to_driver::TRAILER_LENGTH), Some(1 << 20));
        assert_eq!(capacity(to_clients::LENGTH_DEFAULT, to_clients::TRAILER_LENGTH), Some(1 << 20));
        assert_eq!(capacity(1 << 20, to_driver::TRAILER_LENGTH), None);
        assert_eq!(capacity(100, to_clients::TRAILER_LENGTH), None);
        assert_eq!(capacity(132, to_clients::TRAILER_LENGTH), None);
    }

    #[test]
    fn records_are_aligned_to_eight_bytes() {
        assert_eq!((align_record(8), align_record(9), align_record(16)), (8, 16, 16));
    }
}
