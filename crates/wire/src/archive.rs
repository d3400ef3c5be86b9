//! The messages and files of an archive: schema 101 version 14.
//!
//! | conversation | who speaks | stream |
//! |---|---|---|
//! | [`request`] | client to archive | 10 |
//! | [`response`] | archive to client | 20, or as the client says |
//! | [`event`] | archive to whoever listens | 30 |
//!
//! [`catalog`], [`segment`] and [`mark`] are the files. Ids, positions, lengths and times that are
//! not known are -1 on the wire, which is a value and not the null of SBE (source: archive page).

pub mod catalog;
pub mod event;
pub mod mark;
pub mod request;
pub mod response;
pub mod rot;
pub mod segment;

use crate::bytes::SemanticVersion;
use crate::open_enum::open_enum;

/// Version of the control protocol spoken here: the major part must be equal.
pub const CONTROL_PROTOCOL_VERSION: SemanticVersion = SemanticVersion::new(1, 12, 0);
/// First version of the control protocol that answers an archive id request.
pub const CONTROL_PROTOCOL_VERSION_WITH_ARCHIVE_ID: SemanticVersion =
    SemanticVersion::new(1, 11, 0);
/// Version of the files: the major part must be equal.
pub const STORAGE_VERSION: SemanticVersion = SemanticVersion::new(3, 1, 0);

open_enum! {
    /// Where the source of a recording is, as seen from the archive.
    pub enum SourceLocation {
        /// On the same driver: recorded through a spy, or by shared memory.
        Local = 0,
        /// Elsewhere: recorded from the network.
        Remote = 1,
    }
}
