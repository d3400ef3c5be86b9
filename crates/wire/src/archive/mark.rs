//! Header of `archive-mark.dat`: schema 100 version 2.
//!
//! ```text
//! 0         8                         136                     8192            8192 + error length
//! +---------+-------------------------+-----------------------+---------------+
//! | message | block of 128 bytes:     | four text fields      | error log     |
//! | header  | numbers                 | u32 length + bytes    |               |
//! +---------+-------------------------+-----------------------+---------------+
//! ```
//!
//! The file is mapped: `activity_timestamp` is the heartbeat of its owner and `version` is written
//! last, which makes the file ready (source: archive page 8.2).

use crate::bytes::Padding;
use crate::message::{Body, HEADER_LENGTH, messages, offset};

/// Name of the file in the mark directory.
pub const MARK_FILE_NAME: &str = "archive-mark.dat";
/// Name of the file that tells the mark directory, if that is not the archive's own.
pub const LINK_FILE_NAME: &str = "archive-mark.lnk";
/// Where the error log begins: the whole header must end before it.
pub const ERROR_LOG_OFFSET: usize = 8192;
/// Offset in the file of the version.
pub const VERSION_OFFSET: usize = HEADER_LENGTH + offset(MarkFileHeader::FIELDS, "version");
/// Offset in the file of the heartbeat.
pub const ACTIVITY_TIMESTAMP_OFFSET: usize =
    HEADER_LENGTH + offset(MarkFileHeader::FIELDS, "activity_timestamp");
/// Offset in the file of the archive id, which is learnt late if it is not configured.
pub const ARCHIVE_ID_OFFSET: usize = HEADER_LENGTH + offset(MarkFileHeader::FIELDS, "archive_id");

messages! {
    /// What a mark file may begin with.
    pub enum MarkFile<'a>: schema 100 version 2 {
        /// The header.
        MarkFileHeader = 200 {
            /// 0 is not ready.
            version: i32,
            gap: Padding<4>,
            /// Milliseconds. -1: terminated. `i64::MAX`: a new owner is taking over.
            activity_timestamp: i64,
            /// Milliseconds.
            start_timestamp: i64,
            pid: i64,
            control_stream_id: i32,
            local_control_stream_id: i32,
            events_stream_id: i32,
            header_length: i32 = 0,
            error_buffer_length: i32 = 0,
            second_gap: Padding<4> = Padding,
            archive_id: i64 = -1,
            reserved: Padding<64> = Padding,
        } [control_channel, local_control_channel, events_channel, aeron_directory]
    }
}
