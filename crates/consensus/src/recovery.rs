//! What a member finds when it starts, and what it makes of it (cluster specification 7.1).

use alloc::vec::Vec;

use wire::position::Position;

use crate::id::{LeadershipTermId, RecordingId};
use crate::loss::Loss;
use crate::term::TermRecord;

/// A valid SNAPSHOT entry of recording.log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotEntry {
    /// The snapshot's recording.
    pub recording_id: RecordingId,
    /// Its term.
    pub term: LeadershipTermId,
    /// Its position in the log.
    pub position: Position,
    /// Cluster time of the snapshot.
    pub timestamp: i64,
    /// The service; -1 is the module.
    pub service_id: i32,
}

/// A whole snapshot: of the module and of every service, at one position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotSet {
    /// Term of the snapshot.
    pub term: LeadershipTermId,
    /// Its position.
    pub position: Position,
    /// Cluster time.
    pub timestamp: i64,
    /// Recording of the module.
    pub module: RecordingId,
    /// Recordings of the services, service 0 first.
    pub services: Vec<RecordingId>,
}

/// The newest complete snapshot among valid entries: all services and the module, or none of it.
///
/// A set that lacks a service is ignored (cluster specification 7.6 and 11.2 P). One beyond the end
/// of the recording of the log is not: what was committed is gone then, and the core says so.
#[must_use]
pub fn newest_snapshot(entries: &[SnapshotEntry], service_count: usize) -> Option<SnapshotSet> {
    let mut modules: Vec<&SnapshotEntry> =
        entries.iter().filter(|entry| entry.service_id == -1).collect();
    modules.sort_by_key(|entry| (entry.term, entry.position));
    modules.into_iter().rev().find_map(|module| {
        let recording_of = |service: usize| {
            entries
                .iter()
                .rev()
                .find(|entry| {
                    usize::try_from(entry.service_id) == Ok(service)
                        && (entry.term, entry.position) == (module.term, module.position)
                })
                .map(|entry| entry.recording_id)
        };
        let services = (0..service_count).map(recording_of).collect::<Option<Vec<_>>>()?;
        Some(SnapshotSet {
            term: module.term,
            position: module.position,
            timestamp: module.timestamp,
            module: module.recording_id,
            services,
        })
    })
}

/// What a member starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Valid TERM entries of recording.log, in any order.
    pub terms: Vec<TermRecord>,
    /// node-state.dat: the highest term voted or stood for; -1 without the file.
    pub candidate_term: LeadershipTermId,
    /// The end of the recording of the log; 0 without one.
    pub recorded: Position,
    /// The recording of the log; -1 without one.
    pub recording_id: RecordingId,
    /// Term, position and cluster time of the loaded snapshot.
    pub snapshot: Option<(LeadershipTermId, Position, i64)>,
    /// What was lost of the log and is not regained.
    pub loss: Option<Loss>,
}

impl Recovery {
    /// A member that starts for the first time.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            terms: Vec::new(),
            candidate_term: LeadershipTermId::NONE,
            recorded: Position(0),
            recording_id: RecordingId(-1),
            snapshot: None,
            loss: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(recording: i64, term: i64, position: i64, service_id: i32) -> SnapshotEntry {
        SnapshotEntry {
            recording_id: RecordingId(recording),
            term: LeadershipTermId(term),
            position: Position(position),
            timestamp: 9,
            service_id,
        }
    }

    #[test]
    fn the_newest_complete_set_is_taken_and_incomplete_ones_are_not() {
        let entries = [
            entry(1, 0, 64, 1),
            entry(2, 0, 64, 0),
            entry(3, 0, 64, -1),
            entry(4, 1, 128, 1),
            entry(5, 1, 128, -1),
            entry(6, 2, 192, 0),
        ];
        let set = newest_snapshot(&entries, 2).unwrap();
        assert_eq!((set.position, set.module), (Position(64), RecordingId(3)));
        assert_eq!(set.services, [RecordingId(2), RecordingId(1)]);
        assert_eq!(newest_snapshot(&entries, 0).unwrap().position, Position(128));
        assert_eq!(newest_snapshot(&entries[3..], 2), None);
    }
}
