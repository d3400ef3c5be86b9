//! What members say to each other, and backups and standbys to them (stream 108).

use crate::bytes::SemanticVersion;
use crate::cluster::backup::{BackupQuery, HeartbeatRequest, StandbySnapshot};
use crate::cluster::ingress::ChallengeResponse;
use crate::message::messages;

/// Flag of [`AppendPosition`]: the follower is catching up.
pub const APPEND_POSITION_FLAG_CATCHUP: u8 = 1;

messages! {
    /// What a member may hear on its consensus stream.
    pub enum Peer<'a>: schema 111 version 17 {
        /// This is how far my log goes. Also how a late member asks a leader for help.
        CanvassPosition = 50 {
            /// Term of the last entry in the sender's log.
            log_leadership_term_id: i64,
            log_position: i64,
            leadership_term_id: i64,
            follower_member_id: i32,
            protocol_version: SemanticVersion = SemanticVersion::NONE,
        }
        /// Vote for me.
        RequestVote = 51 {
            /// Term of the last entry in the candidate's log.
            log_leadership_term_id: i64,
            log_position: i64,
            candidate_term_id: i64,
            candidate_member_id: i32,
            protocol_version: SemanticVersion = SemanticVersion::NONE,
        }
        /// A vote, for or against.
        Vote = 52 {
            candidate_term_id: i64,
            log_leadership_term_id: i64,
            log_position: i64,
            candidate_member_id: i32,
            follower_member_id: i32,
            vote: bool,
        }
        /// I lead; and this is how the log goes on after the term that you named.
        NewLeadershipTerm = 53 {
            /// The term to which the three `next` values belong.
            log_leadership_term_id: i64,
            /// The term behind it in the leader's recording log; -1 is none.
            next_leadership_term_id: i64,
            /// Where that begins; -1 is none.
            next_term_base_log_position: i64,
            /// Where that ends; -1 is open or unknown.
            next_log_position: i64,
            leadership_term_id: i64,
            term_base_log_position: i64,
            log_position: i64,
            /// Recording of the log in the leader's archive.
            leader_recording_id: i64,
            timestamp: i64,
            leader_member_id: i32,
            log_session_id: i32,
            app_version: SemanticVersion,
            /// The leader is in its first election since its start.
            is_startup: bool,
            /// Quorum position known to the leader; -1 from a leader that does not tell.
            commit_position: i64 = -1,
        }
        /// I have recorded up to here.
        AppendPosition = 54 {
            leadership_term_id: i64,
            log_position: i64,
            follower_member_id: i32,
            flags: u8 = 0,
        }
        /// The quorum has recorded up to here; the leader's sign of life.
        CommitPosition = 55 {
            leadership_term_id: i64,
            log_position: i64,
            leader_member_id: i32,
        }
        /// Replay the log to me from here.
        CatchupPosition = 56 {
            leadership_term_id: i64,
            log_position: i64,
            follower_member_id: i32,
        } [catchup_endpoint]
        /// The replay has served; listen to the live log alone.
        StopCatchup = 57 { leadership_term_id: i64, follower_member_id: i32 }
        /// Not in use.
        AddPassiveMember = 70 { correlation_id: i64 } [member_endpoints]
        /// Not in use.
        ClusterMembersChange = 71 {
            correlation_id: i64,
            leader_member_id: i32,
        } [active_members, passive_members]
        /// Not in use.
        SnapshotRecordingQuery = 72 { correlation_id: i64, request_member_id: i32 }
        /// Not in use.
        SnapshotRecordings = 73 { correlation_id: i64 }
            (snapshots: crate::cluster::backup::Snapshot)
            [member_endpoints]
        /// Not in use.
        JoinCluster = 74 { leadership_term_id: i64, member_id: i32 }
        /// Terminate when the log has come to this position.
        TerminationPosition = 75 { leadership_term_id: i64, log_position: i64 }
        /// My services have terminated at this position.
        TerminationAck = 76 { leadership_term_id: i64, log_position: i64, member_id: i32 }
    } also {
        ChallengeResponse<'a> as ChallengeResponse,
        BackupQuery<'a> as BackupQuery,
        HeartbeatRequest<'a> as HeartbeatRequest,
        StandbySnapshot<'a> as StandbySnapshot,
    }
}
