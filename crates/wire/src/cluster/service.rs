//! What the consensus module and its services (and tools) say to each other.

use crate::cluster::Role;
use crate::cluster::ingress::SessionMessageHeader;
use crate::message::{message, messages};
use crate::position::Position;

message! {
    /// One member, as the answering member knows it.
    ClusterMember {
        leadership_term_id: i64,
        log_position: i64,
        /// -1 if it was never heard.
        time_of_last_append_ns: i64,
        member_id: i32,
    } [
        ingress_endpoint,
        consensus_endpoint,
        log_endpoint,
        catchup_endpoint,
        archive_endpoint,
    ]
}

messages! {
    /// What a service or a tool may say to the module (stream 105).
    pub enum ToModule: schema 111 version 17 {
        /// Close a client session.
        CloseSession = 30 { cluster_session_id: i64 }
        /// Set a timer, or move it.
        ScheduleTimer = 31 {
            correlation_id: i64,
            /// In units of the cluster's time.
            deadline: i64,
        }
        /// Forget a timer.
        CancelTimer = 32 { correlation_id: i64 }
        /// A service has come to a position: started, joined, snapshot taken or terminated.
        ServiceAck = 33 {
            log_position: i64,
            timestamp: i64,
            /// 0, 1, 2 and so on over all acknowledgements of the service.
            ack_id: i64,
            /// Started: client id. Snapshot: recording id. Failed, or anything else: -1.
            relevant_id: i64,
            service_id: i32,
        }
        /// Who are the members?
        ClusterMembersQuery = 34 { correlation_id: i64, extended: bool = false }
        /// Ignored.
        RemoveMember = 35 { member_id: i32, is_passive: bool }
    } also { SessionMessageHeader as SessionMessageHeader }
}

messages! {
    /// What the module may say to its services and to tools (stream 104).
    pub enum ToService<'a>: schema 111 version 17 {
        /// Read this log from here.
        JoinLog = 40 {
            /// Where the image joins: equal to the position of the service.
            log_position: i64,
            /// After this position the log is done; `i64::MAX` if it lives.
            max_log_position: i64,
            member_id: i32,
            log_session_id: i32,
            log_stream_id: i32,
            is_startup: bool,
            role: Role,
            is_standby: bool = false,
        } [log_channel]
        /// Plain list of members.
        ClusterMembersResponse = 41 {
            correlation_id: i64,
            leader_member_id: i32,
        } [active_members, passive_followers]
        /// Terminate when this position is reached; 0 is at once.
        ServiceTerminationPosition = 42 {
            log_position: i64,
            /// A module older than version 17 always waits for the acknowledgement.
            ack_required: bool = true,
        }
        /// List of members with what they last said.
        ClusterMembersExtendedResponse = 43 {
            correlation_id: i64,
            current_time_ns: i64,
            leader_member_id: i32,
            member_id: i32,
        } (active_members: ClusterMember<'a>, passive_members: ClusterMember<'a>)
        /// Acknowledge at this position.
        RequestServiceAck = 108 { log_position: i64 }
    }
}

/// What a service writes into the reserved value of the frames in which it asks the module for
/// something: where in the log it stood. Ours; genuine Aeron writes zero there and reads nothing.
#[must_use]
pub const fn mark_of(position: Position) -> i64 {
    position.0.saturating_add(1)
}

/// Where in the log a service stood that wrote this reserved value; `None` if it does not say.
#[must_use]
pub const fn position_of(mark: i64) -> Option<Position> {
    if mark > 0 { Some(Position(mark - 1)) } else { None }
}
