//! What backups and standbys ask of a member, and its answers.
//!
//! The questions arrive on the consensus stream ([`Peer`](super::peer::Peer)); the answers go to
//! the channel that the question named.

use crate::bytes::SemanticVersion;
use crate::cluster::egress::{Challenge, SessionEvent};
use crate::message::{message, messages};

message! {
    /// One recording of a snapshot set.
    Snapshot {
        recording_id: i64,
        leadership_term_id: i64,
        term_base_log_position: i64,
        log_position: i64,
        timestamp: i64,
        /// -1 is the module.
        service_id: i32,
    }
}

message! {
    /// One recording of a snapshot set in the archive of a standby.
    SnapshotAt {
        recording_id: i64,
        leadership_term_id: i64,
        term_base_log_position: i64,
        log_position: i64,
        timestamp: i64,
        /// -1 is the module.
        service_id: i32,
    } [
        /// Where that archive listens.
        archive_endpoint,
    ]
}

messages! {
    /// Questions of backups and standbys.
    pub enum BackupRequest<'a>: schema 111 version 17 {
        /// Which snapshots and which log are there?
        BackupQuery = 77 {
            correlation_id: i64,
            response_stream_id: i32,
            version: SemanticVersion = SemanticVersion::NONE,
            /// The newest snapshot at or before it; `None`, -1 and `i64::MAX` are the latest.
            log_position: Option<i64> = None,
        } [response_channel, encoded_credentials]
        /// Is this member alive?
        HeartbeatRequest = 79 {
            correlation_id: i64,
            response_stream_id: i32,
        } [response_channel, encoded_credentials]
        /// A standby has taken a snapshot set.
        StandbySnapshot = 81 {
            correlation_id: i64,
            version: SemanticVersion,
            response_stream_id: i32,
        } (snapshots: SnapshotAt<'a>) [response_channel, encoded_credentials]
    }
}

messages! {
    /// What a backup or a standby may hear from a member.
    pub enum BackupReply<'a>: schema 111 version 17 {
        /// Answer to a backup query.
        BackupResponse = 78 {
            correlation_id: i64,
            log_recording_id: i64,
            log_leadership_term_id: i64,
            log_term_base_log_position: i64,
            last_leadership_term_id: i64,
            last_term_base_log_position: i64,
            /// Limit counter for a bounded replay at the answering member.
            commit_position_counter_id: i32,
            leader_member_id: i32,
            /// `None` from a member that is too old to be used.
            member_id: Option<i32> = None,
        } (snapshots: Snapshot) [cluster_members]
        /// Answer to a heartbeat request.
        HeartbeatResponse = 80 { correlation_id: i64 }
    } also { SessionEvent<'a> as SessionEvent, Challenge<'a> as Challenge }
}
