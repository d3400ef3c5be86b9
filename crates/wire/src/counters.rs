//! Counters: records of metadata and values, type ids, keys and labels (docs/counters.md).
//!
//! ```text
//! metadata, 512 bytes each                      values, 128 bytes each
//!   0 state i32   | 4 type id i32                 0 value i64
//!   8 free-for-reuse deadline i64 (ms)            8 registration id i64
//!  16 key, 112 bytes                             16 owner id i64
//! 128 label length i32 | 132 label, 380 bytes    24 reference id i64 | 32 padding
//! ```

mod key;
mod label;
mod system;

pub use key::{
    ChannelKey, ClientHeartbeatKey, KEY_CHANNEL_LENGTH_MAX, Key, LocalAddressKey, StreamKey,
};
pub use label::{LABEL_LENGTH_MAX, Label};
pub use system::SystemCounter;

/// Length of a metadata record.
pub const METADATA_LENGTH: usize = 512;
/// Length of a values record.
pub const VALUE_LENGTH: usize = 128;

/// Offset of the state (`i32`) in a metadata record, see [`state`].
pub const STATE_OFFSET: usize = 0;
/// Offset of the type id (`i32`).
pub const TYPE_ID_OFFSET: usize = 4;
/// Offset of the time from which a freed record may be used again (`i64`, epoch milliseconds).
pub const FREE_FOR_REUSE_DEADLINE_OFFSET: usize = 8;
/// Offset of the key.
pub const KEY_OFFSET: usize = 16;
/// Longest key.
pub const KEY_LENGTH_MAX: usize = 112;
/// Offset of the label's length (`i32`).
pub const LABEL_LENGTH_OFFSET: usize = 128;
/// Offset of the label.
pub const LABEL_OFFSET: usize = 132;

/// Offset of the value (`i64`) in a values record.
pub const VALUE_OFFSET: usize = 0;
/// Offset of the registration id (`i64`).
pub const REGISTRATION_ID_OFFSET: usize = 8;
/// Offset of the owner's client id (`i64`).
pub const OWNER_ID_OFFSET: usize = 16;
/// Offset of the reference id (`i64`).
pub const REFERENCE_ID_OFFSET: usize = 24;

/// Deadline of a record that is allocated.
pub const NOT_FREE: i64 = i64::MAX;
/// Owner of counters that belong to the driver.
pub const DRIVER_OWNER_ID: i64 = -1;

/// States of a metadata record.
pub mod state {
    /// Never used; readers stop here.
    pub const UNUSED: i32 = 0;
    /// In use; stored by release, last.
    pub const ALLOCATED: i32 = 1;
    /// Freed; used again after its deadline.
    pub const RECLAIMED: i32 = -1;
}

/// Values of channel status counters and of local address counters.
pub mod channel_status {
    /// The socket is not open yet.
    pub const INITIALIZING: i64 = 0;
    /// In use.
    pub const ACTIVE: i64 = 1;
    /// Being closed.
    pub const CLOSING: i64 = 2;
    /// Failed.
    pub const ERRORED: i64 = -1;
}

/// Names a counter: its index in both buffers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CounterId(pub i32);

impl CounterId {
    /// No counter: what IPC channels have for a status.
    pub const NONE: Self = Self(-1);
}

/// How many counters two buffers of these lengths hold.
#[must_use]
pub const fn capacity(metadata_length: usize, values_length: usize) -> usize {
    let records = metadata_length / METADATA_LENGTH;
    let values = values_length / VALUE_LENGTH;
    if records < values { records } else { values }
}

/// What a counter counts. Users take ids from 1000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CounterTypeId(pub i32);

impl CounterTypeId {
    /// System counters, see [`SystemCounter`].
    pub const SYSTEM: Self = Self(0);
    /// How far a publisher may go.
    pub const PUBLISHER_LIMIT: Self = Self(1);
    /// How far a sender has sent.
    pub const SENDER_POSITION: Self = Self(2);
    /// The highest position that a receiver has seen.
    pub const RECEIVER_HWM: Self = Self(3);
    /// How far a subscriber has consumed; its client writes it.
    pub const SUBSCRIBER_POSITION: Self = Self(4);
    /// How far a receiver has everything.
    pub const RECEIVER_POSITION: Self = Self(5);
    /// Status of a send channel, see [`channel_status`].
    pub const SEND_CHANNEL_STATUS: Self = Self(6);
    /// Status of a receive channel, see [`channel_status`].
    pub const RECEIVE_CHANNEL_STATUS: Self = Self(7);
    /// How far flow control lets a sender go.
    pub const SENDER_LIMIT: Self = Self(9);
    /// Something of one image, such as its congestion window.
    pub const PER_IMAGE: Self = Self(10);
    /// When a client last gave a sign of life (epoch milliseconds); the client writes it.
    pub const CLIENT_HEARTBEAT: Self = Self(11);
    /// How far a publisher has gone.
    pub const PUBLISHER_POSITION: Self = Self(12);
    /// How often a sender was stopped by flow control.
    pub const SENDER_BPE: Self = Self(13);
    /// A bound socket's address is in the key.
    pub const LOCAL_ADDRESS: Self = Self(14);
    /// Neighbours of the name resolver.
    pub const RESOLVER_NEIGHBORS: Self = Self(15);
    /// Entries in the cache of the name resolver.
    pub const RESOLVER_CACHE_ENTRIES: Self = Self(16);
    /// Receivers that flow control counts.
    pub const FLOW_CONTROL_RECEIVERS: Self = Self(17);
    /// Destinations of a multi-destination publication.
    pub const MDC_DESTINATIONS: Self = Self(18);
    /// NAKs that reached a publication.
    pub const NAKS_RECEIVED: Self = Self(19);
    /// NAKs sent for an image.
    pub const NAKS_SENT: Self = Self(20);
    /// Whether a bootstrap neighbour of the name resolver is there.
    pub const BOOTSTRAP_NEIGHBOR: Self = Self(21);

    /// What labels of counters of one stream or channel begin with; none for other types.
    ///
    /// Publisher positions and per-image counters have several names and none here.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::PUBLISHER_LIMIT => "pub-lmt",
            Self::SENDER_POSITION => "snd-pos",
            Self::RECEIVER_HWM => "rcv-hwm",
            Self::SUBSCRIBER_POSITION => "sub-pos",
            Self::RECEIVER_POSITION => "rcv-pos",
            Self::SEND_CHANNEL_STATUS => "snd-channel",
            Self::RECEIVE_CHANNEL_STATUS => "rcv-channel",
            Self::SENDER_LIMIT => "snd-lmt",
            Self::CLIENT_HEARTBEAT => "client-heartbeat",
            Self::SENDER_BPE => "snd-bpe",
            Self::FLOW_CONTROL_RECEIVERS => "fc-receivers",
            Self::MDC_DESTINATIONS => "mdc-num-dest",
            Self::NAKS_RECEIVED => "snd-naks-received",
            Self::NAKS_SENT => "rcv-naks-sent",
            _ => return None,
        })
    }
}

/// Name of the position counter of a publication that several threads may use.
pub const PUBLISHER_POSITION_CONCURRENT: &str = "pub-pos (concurrent)";
/// Name of the position counter of a publication with a single writer.
pub const PUBLISHER_POSITION_EXCLUSIVE: &str = "pub-pos (exclusive)";
/// Name of the address counter of a sending socket.
pub const SEND_LOCAL_ADDRESS: &str = "snd-local-sockaddr";
/// Name of the address counter of a receiving socket.
pub const RECEIVE_LOCAL_ADDRESS: &str = "rcv-local-sockaddr";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_buffer_limits_the_capacity() {
        assert_eq!(capacity(32 << 20, 8 << 20), 65_536);
        assert_eq!(capacity(1024, 8 << 20), 2);
        assert_eq!(capacity(32 << 20, 127), 0);
    }
}
