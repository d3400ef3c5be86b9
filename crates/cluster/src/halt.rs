//! Why a member ended, in words: for the error log, the operator and the exit.

use consensus::Halt;

/// A sentence without a full stop.
#[must_use]
pub fn describe(reason: &Halt) -> String {
    match reason {
        Halt::CommittedCut { leader, term, position, committed } => format!(
            "member {} leads term {} with a log that ends at {}, before what is committed here: \
             {}; nothing was cut",
            leader.0, term.0, position.0, committed.0
        ),
        Halt::RecordingLost { recorded, committed } => format!(
            "the recording of the log ends at {}, before what was committed: {}",
            recorded.0, committed.0
        ),
        Halt::LogRotten { position, recorded } => format!(
            "the log is rotten at {}, of {}, and the others are too few to elect who could give \
             it back: docs/archive-files.md says what can be done",
            position.0, recorded.0
        ),
        Halt::IncoherentTerm { last, refused } => {
            format!("{refused:?} cannot follow {last:?}")
        }
        Halt::UnexpectedAck => {
            "a service acknowledged what it was not asked for: are two running with one id?".into()
        }
        Halt::ServiceFailed => "a service failed to start, or its container died".into(),
        Halt::TooManyPending => "a service offered more messages than may wait for the log".into(),
        Halt::TimeUnit => "the log or a snapshot counts time in another unit".into(),
        Halt::Storage => "storage is full or failing, or the archive is gone".into(),
        Halt::Terminated => "terminated as asked".into(),
    }
}

#[cfg(test)]
mod tests {
    use wire::position::Position;

    use super::*;

    #[test]
    fn a_lost_tail_is_told_with_both_ends() {
        let (recorded, committed) = (Position(64), Position(128));
        let text = describe(&Halt::RecordingLost { recorded, committed });
        assert!(text.contains("64") && text.contains("128"), "{text}");
    }
}
