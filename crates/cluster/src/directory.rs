//! The cluster directory: who may use it, and what a member starts from.
//!
//! Opening blocks on files; the agent does not. Every step can be repeated: a crash here is
//! followed by the same steps.

use std::io;
use std::path::{Path, PathBuf};

use consensus::{LeadershipTermId, Loss, RecordingId, Recovery, SnapshotSet, newest_snapshot};
use runtime::files::{FileLock, create_durable_directory};
use runtime::owners::Owners;
use runtime::{Now, Ports};
use wire::cluster::node_state::FILE_NAME;
use wire::position::Position;

use crate::config::Config;
use crate::loss::LossFile;
use crate::mark_file::{self, MarkFile, MarkFileError, Surroundings};
use crate::node_state::{NodeState, NodeStateError};
use crate::persist::Persister;
use crate::recording_log::{RecordingLog, RecordingLogError};

/// The file by whose lock a process owns the directory.
pub const LOCK_FILE_NAME: &str = "coracle.lock";

/// Why a directory cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Another process of ours has it.
    #[error("{} is in use by another process", .0.display())]
    Locked(PathBuf),
    /// See [`MarkFileError`].
    #[error(transparent)]
    Mark(#[from] MarkFileError),
    /// See [`RecordingLogError`].
    #[error(transparent)]
    RecordingLog(#[from] RecordingLogError),
    /// See [`NodeStateError`].
    #[error(transparent)]
    NodeState(#[from] NodeStateError),
    /// The member has led or followed, and what it voted for is gone.
    #[error(
        "{}: node-state.dat is gone, and with it the terms in which this member has voted: put it \
         back, or let the member begin with nothing while a leader is in service",
        .0.display()
    )]
    VoteLost(PathBuf),
    /// Files cannot be read or changed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// A cluster directory, opened.
pub struct Directory {
    /// Terms and snapshots.
    pub recording_log: RecordingLog,
    /// The vote.
    pub node_state: NodeState,
    /// Shows that the module lives.
    pub mark_file: MarkFile,
    /// What was lost of the log and is not regained.
    pub loss: Option<Loss>,
    /// What had to be repaired, for the error log.
    pub findings: Vec<String>,
    /// Keeps the directory as long as it lives.
    pub lock: Box<dyn FileLock>,
    path: PathBuf,
    loss_file: LossFile,
}

/// The recording of the log, as the member's archive knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRecording {
    /// Which one.
    pub id: RecordingId,
    /// Where it ends.
    pub end: Position,
}

impl Directory {
    /// Takes the directory and makes what is missing.
    ///
    /// `authenticator` is the name of what decides on sessions, for people.
    ///
    /// # Errors
    /// See [`DirectoryError`].
    pub fn open(
        ports: &Ports,
        config: &Config,
        aeron_directory: &Path,
        archive_stream_id: i32,
        authenticator: &str,
        now: Now,
    ) -> Result<Self, DirectoryError> {
        let path = config.member.directory.as_path();
        let failed = |source| DirectoryError::Io { path: path.to_path_buf(), source };
        let files = &*ports.files;
        create_durable_directory(files, path).map_err(failed)?;
        let lock_path = path.join(LOCK_FILE_NAME);
        let lock = files.lock(&lock_path).map_err(failed)?;
        let lock = lock.ok_or_else(|| DirectoryError::Locked(path.to_path_buf()))?;
        let marks = config.member.mark_file_directory.as_deref().unwrap_or(path);
        create_durable_directory(files, marks).map_err(failed)?;
        let owners = Owners::read(files, &lock_path).map_err(failed)?;
        owners.succeed(files, &lock_path, ports.process_id, now).map_err(failed)?;
        let services = config.member.services_directory.as_deref().unwrap_or(path);
        let around = Surroundings {
            aeron_directory: &aeron_directory.to_string_lossy(),
            archive_stream_id,
            authenticator,
            services_directory: &services.to_string_lossy(),
            process_id: ports.process_id,
        };
        let was_in_use = mark_file::check_member(files, marks, config)?;
        let header = mark_file::header(config, around, now);
        let is_dead = |process_id, start_ms| owners.made(process_id, start_ms);
        let vote = mark_file::take_over(files, marks, is_dead, now)?;
        let vote = LeadershipTermId(vote);
        let guards = config.member.guards;
        let mut findings = Vec::new();
        let (mut recording_log, found) = RecordingLog::open(&ports.files, path, guards)?;
        findings.extend(found);
        findings.extend(recording_log.cut().map_err(failed)?);
        let has_votes = files.entry(&path.join(FILE_NAME)).map_err(failed)?.is_some();
        let is_voteless = !has_votes && vote == LeadershipTermId::NONE;
        if is_voteless && was_in_use && !recording_log.terms().is_empty() {
            return Err(DirectoryError::VoteLost(path.to_path_buf()));
        }
        let (mut node_state, found) = NodeState::open(&ports.files, path, guards)?;
        findings.extend(found);
        // Before the old mark file goes, and with it the only word of it. Once there is a vote of
        // our own, bits that rot there mean nothing.
        if node_state.candidate_term() == LeadershipTermId::NONE && vote > LeadershipTermId::NONE {
            node_state.store(vote, Position(0), now.epoch_millis()).map_err(failed)?;
            node_state.settle().map_err(failed)?;
        }
        let mark_file = MarkFile::create(files, marks, &header, vote.0, now)?;
        mark_file::link(files, path, marks).map_err(failed)?;
        // Else a power cut brings back what others left here, whom nobody remembers.
        files.sync_directory(marks).map_err(failed)?;
        let path = path.to_path_buf();
        let loss_file = LossFile::new(&ports.files, &path);
        let terms = recording_log.terms().into_iter().map(|it| it.term);
        let newest = terms.fold(node_state.candidate_term(), LeadershipTermId::max);
        let loss = loss_file.read(newest).map_err(failed)?;
        Ok(Self { recording_log, node_state, mark_file, loss, findings, lock, path, loss_file })
    }

    /// The log turns out to be damaged: nothing of it is held from `position` on. It went to `end`.
    /// Durable when this returns (rule H3). Blocks.
    ///
    /// # Errors
    /// The host refuses: the log must not be cut.
    pub fn lose(&mut self, position: Position, end: Position) -> io::Result<()> {
        let terms = self.recording_log.terms().into_iter().map(|it| it.term);
        let term = terms.max().unwrap_or(LeadershipTermId::NONE);
        let loss = Loss { cut: Some(position), term, acknowledged: end };
        let loss = self.loss.map_or(loss, |known| known.and(loss));
        self.loss_file.store(&loss)?;
        self.loss = Some(loss);
        Ok(())
    }

    /// A snapshot turns out to be damaged: it counts no more. Durable when this returns. Blocks.
    ///
    /// # Errors
    /// The host refuses.
    pub fn invalidate(&mut self, recording_id: RecordingId) -> io::Result<bool> {
        let was_there = self.recording_log.invalidate(recording_id)?;
        self.recording_log.settle()?;
        Ok(was_there)
    }

    /// The recording of the log that the terms name: to be looked up in the archive.
    #[must_use]
    pub fn recording_id(&self) -> Option<RecordingId> {
        self.recording_log.recording_id()
    }

    /// What the core starts from, and the snapshot that it and the services are to load.
    ///
    /// A snapshot beyond the end of the recording is handed over as it is: the core refuses to
    /// start without what was committed.
    #[must_use]
    pub fn recovery(
        &self,
        service_count: usize,
        log: Option<LogRecording>,
    ) -> (Recovery, Option<SnapshotSet>) {
        let set = newest_snapshot(&self.recording_log.snapshots(), service_count);
        let recovery = Recovery {
            terms: self.recording_log.terms(),
            candidate_term: self.node_state.candidate_term(),
            recorded: log.map_or(Position(0), |log| log.end),
            recording_id: log.map_or(RecordingId(-1), |log| log.id),
            snapshot: set.as_ref().map(|set| (set.term, set.position, set.timestamp)),
            loss: self.loss,
        };
        (recovery, set)
    }

    /// Hands the files over to what makes records durable; mark file and lock stay with the agent.
    #[must_use]
    pub fn into_parts(self, ports: &Ports) -> (Persister, MarkFile, Box<dyn FileLock>) {
        let persister = Persister::new(self.recording_log, self.node_state, self.path, ports);
        (persister, self.mark_file, self.lock)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use consensus::SnapshotEntry;
    use runtime::files::{read_exact_at, write_all_at};
    use sim::World;
    use wire::cluster::mark::{ERROR_LOG_OFFSET, MARK_FILE_NAME, MarkFileHeader};
    use wire::cluster::node_state::FILE_NAME;
    use wire::message::Message;

    use super::*;

    fn ports() -> (World, Ports) {
        let mut world = World::new(3);
        let host = world.add_host("node", &[IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))]);
        let process = world.spawn(host, |_| Vec::new());
        let ports = world.ports(process);
        (world, ports)
    }

    fn open(ports: &Ports, config: &Config) -> Result<Directory, DirectoryError> {
        Directory::open(ports, config, Path::new("/aeron"), 10, "accept all", Now::default())
    }

    fn config() -> Config {
        let mut config = Config::default();
        config.member.directory = PathBuf::from("/cluster");
        config
    }

    #[test]
    fn a_directory_is_of_one_process_at_a_time_and_free_when_that_ends() {
        let (_world, ports) = ports();
        let first = open(&ports, &config()).unwrap();
        assert!(matches!(open(&ports, &config()), Err(DirectoryError::Locked(_))));
        drop(first);
        assert!(open(&ports, &config()).is_ok(), "its mark file still says that it lives");
    }

    #[test]
    fn a_new_member_starts_from_nothing() {
        let (_world, ports) = ports();
        let directory = open(&ports, &config()).unwrap();
        assert_eq!(directory.recording_id(), None);
        assert_eq!(directory.recovery(1, None), (Recovery::empty(), None));
    }

    #[test]
    fn what_was_recorded_is_what_the_next_life_starts_from() {
        let (_world, ports) = ports();
        let (recording_id, term) = (RecordingId(4), LeadershipTermId(1));
        let entry = |service_id, recording_id| SnapshotEntry {
            recording_id: RecordingId(recording_id),
            term,
            position: Position(640),
            timestamp: 9,
            service_id,
        };
        let mut first = open(&ports, &config()).unwrap();
        let log = &mut first.recording_log;
        log.append_term(recording_id, term, Position(64), term, 8).unwrap();
        log.append_snapshot(Position(64), &[entry(0, 5), entry(-1, 6)]).unwrap();
        first.node_state.store(LeadershipTermId(3), Position(640), 1).unwrap();
        drop(first);
        let second = open(&ports, &config()).unwrap();
        assert_eq!(second.recording_id(), Some(recording_id));
        let log = LogRecording { id: recording_id, end: Position(960) };
        let (recovery, set) = second.recovery(1, Some(log));
        assert_eq!(recovery.terms.len(), 1);
        assert_eq!(recovery.candidate_term, LeadershipTermId(3));
        assert_eq!((recovery.recorded, recovery.recording_id), (Position(960), recording_id));
        assert_eq!(recovery.snapshot, Some((term, Position(640), 9)));
        let set = set.unwrap();
        assert_eq!((set.module, set.services), (RecordingId(6), vec![RecordingId(5)]));
        assert_eq!(second.recovery(2, Some(log)).1, None, "a service without snapshot");
    }

    #[test]
    fn the_vote_of_an_old_mark_file_binds_a_member_without_node_state() {
        let (_world, ports) = ports();
        drop(open(&ports, &config()).unwrap());
        let path = Path::new("/cluster");
        let mark = ports.files.open(&path.join(MARK_FILE_NAME)).unwrap();
        let mut bytes = vec![0; ERROR_LOG_OFFSET];
        read_exact_at(&*mark, &mut bytes, 0).unwrap();
        let voted = {
            let header = MarkFileHeader::decode(&bytes).unwrap();
            let mut voted = vec![0; ERROR_LOG_OFFSET];
            MarkFileHeader { candidate_term_id: 9, ..header }.encode(&mut voted).unwrap();
            voted
        };
        write_all_at(&*mark, &voted, 0).unwrap();
        ports.files.remove(&path.join(FILE_NAME)).unwrap();
        let directory = open(&ports, &config()).unwrap();
        assert_eq!(directory.node_state.candidate_term(), LeadershipTermId(9));
    }
}
