//! The messages and files of a cluster: schema 111 version 17, one file per conversation.
//!
//! | conversation | who speaks | stream |
//! |---|---|---|
//! | [`ingress`] | client to member | 101 |
//! | [`egress`] | module and services to client | 102, or as the client says |
//! | [`log`] | leader to all, for ever | 100 |
//! | [`service`] | module and its services, both ways | 104 and 105 |
//! | [`peer`] | member to member | 108 |
//! | [`backup`] | backup or standby to member, and back | 108, or as asked |
//! | [`snapshot`] | module or service to a recording | 106 and 107 |
//!
//! Each message is declared once, where it belongs most; other conversations in which it may arrive
//! name it. Application nulls of ids, positions and terms are -1 (source: cluster page 1).

pub mod backup;
pub mod egress;
pub mod ingress;
pub mod log;
pub mod mark;
pub mod node_state;
pub mod peer;
pub mod recording_log;
pub mod service;
pub mod snapshot;

use crate::bytes::SemanticVersion;
use crate::open_enum::open_enum;

/// Version of the protocol between clients and cluster: the major part must be equal.
pub const CLIENT_PROTOCOL_VERSION: SemanticVersion = SemanticVersion::new(0, 3, 0);
/// Version of the protocol between members; informative only.
pub const CONSENSUS_PROTOCOL_VERSION: SemanticVersion = SemanticVersion::new(1, 0, 0);

open_enum! {
    /// How long a unit of the cluster's time is.
    pub enum TimeUnit {
        /// Milliseconds, also of messages that do not say.
        Millis = 0,
        /// Microseconds.
        Micros = 1,
        /// Nanoseconds.
        Nanos = 2,
    }
}

open_enum! {
    /// Why a client session ended.
    pub enum CloseReason {
        /// The client closed it.
        ClientAction = 0,
        /// A service closed it.
        ServiceAction = 1,
        /// It was silent for too long, or its ingress went away.
        Timeout = 2,
    }
}

impl CloseReason {
    /// The session is not closing: the null value, in the snapshot of an open session.
    pub const NONE: Self = Self::Unknown(i32::MIN);
}

open_enum! {
    /// What a member is at the moment.
    pub enum Role {
        /// Follows a leader, or none yet.
        Follower = 0,
        /// Asks for votes.
        Candidate = 1,
        /// Leads.
        Leader = 2,
    }
}
