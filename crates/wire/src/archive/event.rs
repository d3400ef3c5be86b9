//! What an archive tells everybody who listens to its recording events.

use crate::message::messages;

messages! {
    /// The life of recordings.
    pub enum Event<'a>: schema 101 version 14 {
        /// A recording began.
        RecordingStarted = 101 {
            recording_id: i64,
            start_position: i64,
            session_id: i32,
            stream_id: i32,
        } [channel, source_identity]
        /// A recording grew.
        RecordingProgress = 102 { recording_id: i64, start_position: i64, position: i64 }
        /// A recording ended.
        RecordingStopped = 103 { recording_id: i64, start_position: i64, stop_position: i64 }
    }
}
