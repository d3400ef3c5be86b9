//! What stands in the snapshot of the module (stream 107) and of a service (stream 106).
//!
//! A snapshot is a recording that begins with a [`SnapshotMarker`] BEGIN and ends, as far as the
//! cluster is concerned, with an END; the state of the application follows it.

use crate::bytes::SemanticVersion;
use crate::cluster::ingress::SessionMessageHeader;
use crate::cluster::{CloseReason, TimeUnit};
use crate::message::messages;
use crate::open_enum::open_enum;

/// [`SnapshotMarker::type_id`] of a snapshot of the module.
pub const SNAPSHOT_TYPE_MODULE: i64 = 1;
/// [`SnapshotMarker::type_id`] of a snapshot of a service.
pub const SNAPSHOT_TYPE_SERVICE: i64 = 2;

open_enum! {
    /// What a marker marks.
    pub enum SnapshotMark {
        /// The beginning.
        Begin = 0,
        /// A part; not written.
        Section = 1,
        /// The end.
        End = 2,
    }
}

messages! {
    /// What may stand in a snapshot of the module or a service.
    pub enum SnapshotRecord<'a>: schema 111 version 17 {
        /// Beginning and end.
        SnapshotMarker = 100 {
            type_id: i64,
            log_position: i64,
            leadership_term_id: i64,
            index: i32,
            mark: SnapshotMark,
            time_unit: TimeUnit = TimeUnit::Millis,
            app_version: SemanticVersion = SemanticVersion::NONE,
        }
        /// An open client session, as a service knows it.
        ClientSession = 102 {
            cluster_session_id: i64,
            response_stream_id: i32,
        } [response_channel, encoded_principal]
        /// An open or closing client session, as the module knows it.
        ClusterSession = 103 {
            cluster_session_id: i64,
            correlation_id: i64,
            /// Position just after its open event.
            opened_log_position: i64,
            /// Always written as -1.
            time_of_last_activity: i64,
            /// [`CloseReason::NONE`] of an open session.
            close_reason: CloseReason,
            response_stream_id: i32,
        } [response_channel]
        /// A timer that has not fired.
        Timer = 104 {
            correlation_id: i64,
            /// In units of the cluster's time.
            deadline: i64,
        }
        /// The module. The ids of service 0 may be `i64::MIN`, which is a value here, not null.
        ConsensusModule = 105 {
            /// Next committed id of a client session.
            next_session_id: i64,
            next_service_session_id: i64 = i64::MIN,
            log_service_session_id: i64 = i64::MIN,
            /// Bytes of the pending messages of service 0.
            pending_message_capacity: i32 = 0,
        }
        /// Stands in old snapshots; ignored.
        ClusterMembers = 106 { member_id: i32, high_member_id: i32 } [cluster_members]
        /// Pending messages of one service; the messages follow it.
        PendingMessageTracker = 107 {
            next_service_session_id: i64,
            /// Highest id that is in the log.
            log_service_session_id: i64,
            /// Bytes of the pending messages.
            pending_message_capacity: i32,
            service_id: i32,
        }
    } also { SessionMessageHeader as SessionMessageHeader }
}
