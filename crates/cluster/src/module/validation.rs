//! Counter 233, by which an operator asks any member to look whether its archive still has the
//! snapshots that recording.log names.

use std::collections::VecDeque;

use archive_client::{ArchiveClient, ArchiveErrorCode, Request, RequestError};
use client::Counter;
use consensus::{Outcome, RecordingId};
use wire::position::Position;

use crate::persist::{PersistError, Persister};

/// Nothing is asked.
const NEUTRAL: i64 = 1;
/// Look whether the snapshots are there.
const VALIDATE: i64 = 3;

/// One recording after the other.
#[derive(Default)]
pub(super) struct Validation {
    queue: VecDeque<RecordingId>,
    asked: Option<(RecordingId, Request<Position>)>,
    missing: Option<RecordingId>,
}

/// What is to be done after a look at the toggle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    /// What the toggle shows from now on.
    shows: i64,
    begins: bool,
}

/// A word is taken up once the member is in service, and put back at once.
fn look(word: i64, is_in_service: bool) -> Look {
    let shows = if is_in_service { NEUTRAL } else { word };
    Look { shows, begins: is_in_service && word == VALIDATE }
}

impl Validation {
    /// One pass. Returns what went wrong without ending anything.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn step(
        &mut self,
        toggle: Option<&mut Counter>,
        is_in_service: bool,
        archive: &mut ArchiveClient,
        persister: &mut Persister,
    ) -> Result<Option<String>, PersistError> {
        if let Some(toggle) = toggle {
            let word = toggle.get();
            let Look { shows, begins } = look(word, is_in_service);
            if shows != word {
                toggle.set(shows);
            }
            if begins {
                let snapshots = persister.recording_log().snapshots();
                self.queue = snapshots.iter().map(|entry| entry.recording_id).collect();
            }
        }
        if let Some(id) = self.missing {
            if persister.invalidate(id)? == Outcome::Done {
                self.missing = None;
            }
            return Ok(None);
        }
        let Some((id, request)) = self.asked else {
            self.asked = self.queue.pop_front().map(|id| (id, archive.start_position(id.0)));
            return Ok(None);
        };
        let Some(answer) = archive.take(request) else { return Ok(None) };
        self.asked = None;
        let Err(error) = answer else { return Ok(None) };
        if is_unknown(&error) {
            self.missing = Some(id);
        }
        Ok(Some(format!("snapshot in recording {}: {error}", id.0)))
    }
}

fn is_unknown(error: &RequestError) -> bool {
    match error {
        RequestError::Refused { cause, .. } => cause.code == ArchiveErrorCode::UnknownRecording,
        error => matches!(error, RequestError::RecordingUnknown { .. }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_waits_for_service_and_is_put_back_at_once() {
        assert_eq!(look(0, false), Look { shows: 0, begins: false });
        assert_eq!(look(0, true), Look { shows: NEUTRAL, begins: false });
        assert_eq!(look(NEUTRAL, true), Look { shows: NEUTRAL, begins: false });
        assert_eq!(look(VALIDATE, false), Look { shows: VALIDATE, begins: false });
        assert_eq!(look(VALIDATE, true), Look { shows: NEUTRAL, begins: true });
        // There are no standbys whose snapshots could be replicated.
        assert_eq!(look(2, true), Look { shows: NEUTRAL, begins: false });
    }
}
