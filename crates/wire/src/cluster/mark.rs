//! Header of `cluster-mark.dat` and `cluster-mark-service-<id>.dat`: schema 110 version 2.
//!
//! ```text
//! 0         8                         136                     8192            8192 + error length
//! +---------+-------------------------+-----------------------+---------------+
//! | message | block of 128 bytes:     | six text fields       | error log     |
//! | header  | numbers                 | u32 length + bytes    |               |
//! +---------+-------------------------+-----------------------+---------------+
//! ```
//!
//! The file is mapped: `activity_timestamp` is the heartbeat of its owner and `version` is written
//! last, which makes the file ready (source: cluster page 7.3).

use crate::bytes::{Padding, SemanticVersion};
use crate::message::{Body, HEADER_LENGTH, messages, offset};
use crate::open_enum::open_enum;

/// Name of the module's mark file in its mark directory.
pub const MARK_FILE_NAME: &str = "cluster-mark.dat";
/// Version of the layout; the major part must be equal.
pub const MARK_FILE_VERSION: SemanticVersion = SemanticVersion::new(0, 3, 0);
/// Value of [`MarkFileHeader::version`] after a failed start.
pub const MARK_FILE_VERSION_FAILED: i32 = -1;
/// Where the error log begins: the whole header must end before it.
pub const ERROR_LOG_OFFSET: usize = 8192;
/// Offset in the file of the version.
pub const VERSION_OFFSET: usize = HEADER_LENGTH + offset(MarkFileHeader::FIELDS, "version");
/// Offset in the file of the heartbeat.
pub const ACTIVITY_TIMESTAMP_OFFSET: usize =
    HEADER_LENGTH + offset(MarkFileHeader::FIELDS, "activity_timestamp");
/// Offset in the file of the member id, which a service learns late.
pub const MEMBER_ID_OFFSET: usize = HEADER_LENGTH + offset(MarkFileHeader::FIELDS, "member_id");

open_enum! {
    /// Whose file it is.
    pub enum ComponentType {
        /// Not said.
        Undefined = 0,
        /// A consensus module.
        ConsensusModule = 1,
        /// A service.
        Container = 2,
        /// A backup.
        Backup = 3,
        /// A standby.
        Standby = 4,
    }
}

messages! {
    /// What a mark file may begin with.
    pub enum MarkFile<'a>: schema 110 version 2 {
        /// The header.
        MarkFileHeader = 200 {
            /// 0 is not ready.
            version: i32,
            component_type: ComponentType,
            /// Milliseconds. -1: terminated. `i64::MAX`: a new owner is taking over.
            activity_timestamp: i64,
            /// Milliseconds.
            start_timestamp: i64,
            pid: i64,
            /// Old place of the vote: read once, to seed the node state.
            candidate_term_id: i64,
            archive_stream_id: i32,
            service_stream_id: i32,
            consensus_module_stream_id: i32,
            /// -1 in the file of a service.
            ingress_stream_id: i32,
            member_id: i32,
            /// -1 is the module.
            service_id: i32,
            header_length: i32,
            error_buffer_length: i32,
            cluster_id: i32,
            reserved: Padding<52>,
        } [
            aeron_directory,
            control_channel,
            ingress_channel,
            service_name,
            authenticator,
            services_cluster_dir since 1,
        ]
    }
}
