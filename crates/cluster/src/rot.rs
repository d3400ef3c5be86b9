//! What an archive says of damage in its recordings: its counters ([`wire::archive::rot`]).

use std::collections::BTreeMap;

use archive_client::ArchiveClient;
use client::{CounterTypeId, Handle};
use consensus::RecordingId;
use runtime::{Nanos, Now};
use wire::archive::rot::{RotKey, TYPE_ID};

/// How often the counters are looked at.
const LOOK_INTERVAL: Nanos = Nanos::from_millis(50);

/// The damage of all recordings of one archive, by the registrations of its counters.
pub(crate) fn find(handle: &Handle, archive_id: Option<i64>) -> BTreeMap<i64, RotKey> {
    let counters = handle.counters();
    let ids = counters.ids().filter(|&id| counters.type_id(id) == Some(CounterTypeId(TYPE_ID)));
    let found = ids.filter_map(|id| {
        let record = counters.record(id)?;
        let key = RotKey::decode(&record.key).ok()?;
        let is_ours = archive_id.is_none_or(|id| id == key.archive_id);
        is_ours.then_some((record.registration_id, key))
    });
    found.collect()
}

/// The damage of one recording, if the archive knows of any.
pub(crate) fn of(handle: &Handle, archive: &ArchiveClient, id: RecordingId) -> Option<RotKey> {
    let found = find(handle, archive.archive_id());
    found.into_values().find(|key| key.recording_id == id.0)
}

/// Looks at the counters of a running member's archive, and tells of each once.
#[derive(Default)]
pub(crate) struct RotWatch {
    next_look: Nanos,
    told: BTreeMap<i64, RotKey>,
}

impl RotWatch {
    /// What has been found since the last look.
    pub(crate) fn look(
        &mut self,
        handle: &Handle,
        archive_id: Option<i64>,
        now: Now,
    ) -> Vec<RotKey> {
        if now.mono < self.next_look {
            return Vec::new();
        }
        self.next_look = now.mono + LOOK_INTERVAL;
        let found = find(handle, archive_id);
        let fresh = found.iter().filter(|(id, _)| !self.told.contains_key(id));
        let fresh = fresh.map(|(_, key)| *key).collect();
        self.told = found;
        fresh
    }
}
