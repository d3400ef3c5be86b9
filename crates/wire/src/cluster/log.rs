//! Events in the replicated log. What is written here is read for as long as the log is kept.

use crate::bytes::SemanticVersion;
use crate::cluster::ingress::SessionMessageHeader;
use crate::cluster::{CloseReason, TimeUnit};
use crate::message::messages;
use crate::open_enum::open_enum;

/// Flag of [`ClusterActionRequest`]: only standby nodes act.
pub const CLUSTER_ACTION_FLAGS_STANDBY_SNAPSHOT: i32 = 1;

open_enum! {
    /// What all members do at one position of the log.
    pub enum ClusterAction {
        /// Stop admitting.
        Suspend = 0,
        /// Go on.
        Resume = 1,
        /// Take a snapshot.
        Snapshot = 2,
    }
}

open_enum! {
    /// How the membership changed. Not written any more.
    pub enum ChangeType {
        /// A member came.
        Join = 0,
        /// A member left.
        Quit = 1,
    }
}

messages! {
    /// What may stand in the log.
    pub enum Log<'a>: schema 111 version 17 {
        /// A timer fired.
        TimerEvent = 20 { leadership_term_id: i64, correlation_id: i64, timestamp: i64 }
        /// A client session opened.
        SessionOpenEvent = 21 {
            leadership_term_id: i64,
            correlation_id: i64,
            cluster_session_id: i64,
            timestamp: i64,
            response_stream_id: i32,
        } [response_channel, encoded_principal]
        /// A client session closed.
        SessionCloseEvent = 22 {
            leadership_term_id: i64,
            cluster_session_id: i64,
            timestamp: i64,
            close_reason: CloseReason,
        }
        /// All act at this position.
        ClusterActionRequest = 23 {
            leadership_term_id: i64,
            /// Position just after this message.
            log_position: i64,
            timestamp: i64,
            action: ClusterAction,
            flags: i32 = 0,
        }
        /// The first message of every leadership term.
        NewLeadershipTermEvent = 24 {
            leadership_term_id: i64,
            /// Position just after this message.
            log_position: i64,
            timestamp: i64,
            /// Position just before this message.
            term_base_log_position: i64,
            leader_member_id: i32,
            log_session_id: i32,
            time_unit: TimeUnit = TimeUnit::Millis,
            app_version: SemanticVersion = SemanticVersion::NONE,
        }
        /// Never written now; readers skip it.
        MembershipChangeEvent = 25 {
            leadership_term_id: i64,
            log_position: i64,
            timestamp: i64,
            leader_member_id: i32,
            cluster_size: i32,
            change_type: ChangeType,
            member_id: i32,
        } [cluster_members]
    } also { SessionMessageHeader as SessionMessageHeader }
}
