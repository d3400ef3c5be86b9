//! What a node starts from: all that its files say to whoever reads them.

use std::collections::BTreeMap;

use archive::catalog::Recording;
use consensus::{SnapshotEntry, TermRecord};
use runtime::{Now, Ports};

use crate::images::snapshots;

/// All that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// The recording of the log.
    pub(super) log: i64,
    recordings: BTreeMap<i64, Recording>,
    /// What each holds, as a replay hands it out.
    contents: BTreeMap<i64, Vec<u8>>,
    terms: Vec<TermRecord>,
    snapshots: Vec<SnapshotEntry>,
    vote: i64,
}

/// A state, and what was said when it was read.
pub(super) struct Found {
    pub(super) state: State,
    pub(super) findings: Vec<String>,
    /// Of replays.
    pub(super) errors: Vec<String>,
}

/// Opens both directories as the node does and reads every recording as a replay does.
pub(super) fn open(ports: &Ports, now: Now) -> Result<Found, String> {
    let (archive, cluster) = snapshots::open(ports, now)?;
    let (mut recordings, mut contents) = (BTreeMap::new(), BTreeMap::new());
    let mut errors = Vec::new();
    let checksum = archive.store.checksum;
    for recording in archive.catalog.iter_from(0) {
        match archive::read_all(&archive.store, recording, checksum) {
            Ok(content) => drop(contents.insert(recording.id, content)),
            Err(error) => errors.push(error),
        }
        // When a killed archive's recordings end is when it is found out.
        let recording = Recording { stop_timestamp: 0, ..recording.clone() };
        recordings.insert(recording.id, recording);
    }
    let state = State {
        log: cluster.recording_id().map_or(-1, |id| id.0),
        recordings,
        contents,
        terms: cluster.recording_log.terms(),
        snapshots: cluster.recording_log.snapshots(),
        vote: cluster.node_state.candidate_term().0,
    };
    let findings = archive.findings.iter().chain(&cluster.findings).cloned().collect();
    Ok(Found { state, findings, errors })
}

impl State {
    /// Whether there is nothing in it that is not in `whole`: recordings may be missing or shorter,
    /// all else must be the same.
    pub(super) fn is_part_of(&self, whole: &Self) -> bool {
        let is_known = |(id, it): (&i64, &Recording)| {
            whole.recordings.get(id).is_some_and(|known| {
                let stop_position = it.stop_position.min(known.stop_position);
                *it == Recording { stop_position, ..known.clone() }
            })
        };
        let is_prefix = |(id, it): (&i64, &Vec<u8>)| {
            whole.contents.get(id).is_some_and(|known| known.starts_with(it))
        };
        self.recordings.iter().all(is_known)
            && self.contents.iter().all(is_prefix)
            && (self.log, &self.terms, &self.snapshots, self.vote)
                == (whole.log, &whole.terms, &whole.snapshots, whole.vote)
    }

    /// In what it differs, in a few words.
    pub(super) fn difference(&self, whole: &Self) -> String {
        let mut said = Vec::new();
        if self.recordings != whole.recordings {
            said.push(format!("catalog {:?}", self.recordings));
        }
        for (id, content) in &self.contents {
            let known = whole.contents.get(id).map_or(&[][..], |it| it);
            if content != known {
                let at = content.iter().zip(known).position(|(one, other)| one != other);
                said.push(format!("recording {id} from byte {at:?} of {}", known.len()));
            }
        }
        if self.terms != whole.terms || self.snapshots != whole.snapshots {
            said.push(format!("terms {:?}, snapshots {:?}", self.terms, self.snapshots));
        }
        if self.vote != whole.vote {
            said.push(format!("vote {}", self.vote));
        }
        said.join("; ")
    }
}
