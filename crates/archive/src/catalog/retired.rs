//! Entries that are out of service and not deleted: recordings whose files are damaged.

use wire::archive::catalog::Frame;

use super::{Catalog, CatalogError, Entry, Recording};

impl Catalog {
    /// The recordings that are out of service, in the order of their ids.
    pub fn retired(&self) -> impl Iterator<Item = &Recording> {
        self.retired.values().map(|entry| &entry.recording)
    }

    /// Puts a recording back into service that was taken out of it.
    ///
    /// # Errors
    /// See [`CatalogError`]; it is out of service then as before.
    pub fn revive(
        &mut self,
        recording_id: i64,
        change: impl FnOnce(&mut Recording),
    ) -> Result<(), CatalogError> {
        let entry = self.retired.remove(&recording_id);
        let entry = entry.ok_or(CatalogError::Unknown(recording_id))?;
        self.entries.insert(recording_id, entry);
        let revived = self.update(recording_id, change);
        if revived.is_err()
            && let Some(entry) = self.entries.remove(&recording_id)
        {
            self.retired.insert(recording_id, entry);
        }
        revived
    }

    /// Takes in an entry that is out of service, if it is whole: it may be of another version.
    pub(super) fn read_retired(&mut self, frame: &Frame<'_>, offset: u64) {
        let recording = Recording::from(frame.descriptor);
        if recording.id >= 0 && recording.is_sound() {
            let entry = Entry { offset, frame_length: frame.length, recording };
            self.retired.insert(entry.recording.id, entry);
        }
    }
}
