//! What a member starts from: its recording, and the newest snapshot that can be read.
//!
//! With guards the snapshots of services are read before they are told of them: a service that
//! finds a damaged one has to end, and would again. A damaged set counts no more, and an older one
//! is taken, with more of the log behind it.

use std::collections::VecDeque;

use archive_client::{ArchiveClient, Recording};
use consensus::{Consensus, RecordingId, SnapshotSet};
use runtime::{Nanos, Now, Work};

use super::{ConsensusModule, DOUBT, Joined, LOOK_INTERVAL, Stage, StartError};
use crate::directory::LogRecording;
use crate::rot;
use crate::snapshot::Provenance;
use crate::snapshot_archive::{SnapshotLoad, SnapshotLoadError};

/// Reads the snapshots of a set, and takes the module's own in.
pub(super) struct Loading {
    pub(super) joined: Joined,
    archive: ArchiveClient,
    recording: Option<Recording>,
    core: Consensus,
    set: SnapshotSet,
    /// Those of services that are still to be read.
    unread: VecDeque<RecordingId>,
    load: SnapshotLoad,
    /// The last one could not be read; until when the archive may say that it is damaged.
    doubt: Option<(SnapshotLoadError, Nanos)>,
}

impl ConsensusModule {
    /// Knows what there is: makes the core, and takes the snapshot in if there is one.
    pub(super) fn start(
        &mut self,
        joined: Joined,
        mut archive: ArchiveClient,
        recording: Option<Recording>,
        now: Now,
    ) -> Result<Work, StartError> {
        let end = recording
            .as_ref()
            .and_then(|it| Some(LogRecording { id: RecordingId(it.id), end: it.stop_position? }));
        let settings = &joined.luggage.settings;
        let service_count = settings.consensus.service_count;
        let (recovery, set) = joined.luggage.directory.recovery(service_count, end);
        let begins = recording.as_ref().map_or(0, |recording| recording.start_position.0);
        if set.as_ref().map_or(0, |set| set.position.0) < begins {
            return Err(StartError::NoSnapshot(begins));
        }
        let core = Consensus::new(settings.consensus.clone(), &recovery, self.ports.seed, now);
        let Some(set) = set else {
            self.run(joined, archive, recording, core, None);
            return Ok(Work::done(1));
        };
        let mut unread = VecDeque::new();
        if self.config.member.guards {
            unread.extend(&set.services);
        }
        let load = self.load_next(&joined, &mut archive, &mut unread, &set, now);
        let doubt = None;
        let loading = Loading { joined, archive, recording, core, set, unread, load, doubt };
        self.stage = Stage::Loading(Box::new(loading));
        Ok(Work::done(1))
    }

    /// The next of the set: services first.
    fn load_next(
        &self,
        joined: &Joined,
        archive: &mut ArchiveClient,
        unread: &mut VecDeque<RecordingId>,
        set: &SnapshotSet,
        now: Now,
    ) -> SnapshotLoad {
        let (handle, settings) = (joined.client.handle(), &joined.luggage.settings);
        if let Some(id) = unread.pop_front() {
            return SnapshotLoad::check(archive, &handle, settings, &self.config, id, now);
        }
        let expected = Provenance {
            position: set.position,
            term: set.term,
            time_unit: settings.consensus.time_unit,
            app_version: self.config.app_version,
        };
        let (config, id) = (&self.config, set.module);
        SnapshotLoad::begin(archive, &handle, settings, config, id, expected, now)
    }

    pub(super) fn load(&mut self, mut it: Box<Loading>, now: Now) -> Result<Work, StartError> {
        let work = it.joined.step(now)?.and(it.archive.poll(now)?);
        if it.doubt.is_some() {
            return self.doubt(it, work, now);
        }
        let Loading { archive, core, load, .. } = &mut *it;
        match load.poll(archive, now, |item| core.restore(item)) {
            Ok(true) if load.recording_id() == it.set.module => {
                let Loading { joined, archive, recording, core, set, .. } = *it;
                self.run(joined, archive, recording, core, Some(&set));
                return Ok(Work::done(1));
            }
            Ok(true) => {
                let Loading { joined, archive, unread, set, .. } = &mut *it;
                it.load = self.load_next(joined, archive, unread, set, now);
            }
            Ok(false) => {}
            Err(error) => it.doubt = Some((error, now.mono + DOUBT)),
        }
        self.stage = Stage::Loading(it);
        Ok(work.due(now.mono + LOOK_INTERVAL))
    }

    /// A snapshot cannot be read: if it is damaged, an older one is taken.
    fn doubt(&mut self, mut it: Box<Loading>, work: Work, now: Now) -> Result<Work, StartError> {
        let id = it.load.recording_id();
        if let Some(rot) = rot::of(&it.joined.client.handle(), &it.archive, id) {
            let directory = &mut it.joined.luggage.directory;
            let _ = directory.invalidate(id)?;
            let text = format!("snapshot {} is rotten at {}: not used", id.0, rot.position);
            directory.findings.push(text);
            let Loading { joined, archive, recording, .. } = *it;
            return self.start(joined, archive, recording, now);
        }
        match it.doubt.take() {
            Some((error, until)) if now.mono < until => it.doubt = Some((error, until)),
            Some((error, _)) => return Err(error.into()),
            None => {}
        }
        self.stage = Stage::Loading(it);
        Ok(work.due(now.mono + LOOK_INTERVAL))
    }
}
