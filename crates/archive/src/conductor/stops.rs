//! Where recordings ended, written into the catalog as soon as the disk takes it.
//!
//! What ends a recording is often what keeps its end from being written: a disk that is full or
//! fails. Whoever asks hears that the recording is still active as long as its end is not written,
//! and may wait for it.

use std::collections::BTreeMap;

use wire::time::{Nanos, Now};

use super::Conductor;
use crate::catalog::CatalogError;

/// How soon it is tried again.
const INTERVAL: Nanos = Nanos::from_millis(100);

/// Ends that the catalog does not have yet.
#[derive(Default)]
pub(super) struct Stops {
    unwritten: BTreeMap<i64, Stop>,
    due: Nanos,
}

#[derive(Clone, Copy)]
struct Stop {
    position: i64,
    /// Milliseconds since 1970.
    timestamp: i64,
}

impl Conductor {
    /// A recording has ended: the catalog is to say where.
    pub(super) fn write_stop(&mut self, recording_id: i64, position: i64, now: Now) {
        let stop = Stop { position, timestamp: now.epoch_millis() };
        if let Err(error) = self.try_stop(recording_id, stop) {
            self.note(&format!("end of recording {recording_id}: {error}"), now);
            self.stops.unwritten.insert(recording_id, stop);
            self.stops.due = now.mono + INTERVAL;
        }
    }

    /// Tries again what failed; returns when to come back.
    pub(super) fn step_stops(&mut self, now: Now) -> Nanos {
        if self.stops.unwritten.is_empty() {
            return Nanos::MAX;
        }
        if now.mono >= self.stops.due {
            for (recording_id, stop) in std::mem::take(&mut self.stops.unwritten) {
                match self.try_stop(recording_id, stop) {
                    // It was purged meanwhile.
                    Ok(()) | Err(CatalogError::Unknown(_)) => {}
                    Err(_) => drop(self.stops.unwritten.insert(recording_id, stop)),
                }
            }
            self.stops.due = now.mono + INTERVAL;
        }
        self.stops.due
    }

    fn try_stop(&mut self, recording_id: i64, stop: Stop) -> Result<(), CatalogError> {
        self.catalog.update(recording_id, |recording| {
            recording.stop_position = stop.position;
            recording.stop_timestamp = stop.timestamp;
        })
    }
}
