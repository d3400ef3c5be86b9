//! Makes the consensus core's records durable, one at a time and aside from the duty cycle.

use std::io;
use std::path::PathBuf;

use consensus::{Outcome, Persist, RecordingId, SnapshotEntry};
use runtime::background::{Background, Job, Outcome as JobOutcome, Ticket};
use runtime::files::SyncKind;
use runtime::guarded::{Due, Guarded};
use runtime::{Now, Ports};

use crate::loss::LossFile;
use crate::node_state::NodeState;
use crate::recording_log::{FILE_NAME, RecordingLog};

/// Owns the files that a vote or a term must stand in before it is spoken of.
pub struct Persister {
    recording_log: RecordingLog,
    node_state: NodeState,
    loss: LossFile,
    background: Box<dyn Background>,
    directory: PathBuf,
    state: State,
    /// The directory is synced with the first record, since the file may be new.
    is_directory_synced: bool,
    /// What is to be told of the records.
    finding: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    /// The log of a guarded file is being made durable.
    Logging(Ticket, Record),
    /// The file is.
    Syncing(Ticket, Record),
    Durable(Record),
}

/// What is being made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    is_vote: bool,
    /// The name of the log's recording, or that a snapshot is none any more.
    is_binding: bool,
    /// A file of its own, or the end of it.
    is_loss: bool,
}

impl Record {
    const BINDING: Self = Self { is_vote: false, is_binding: true, is_loss: false };
}

/// A record could not be made durable: the node must end, since it cannot keep its word.
#[derive(Debug, thiserror::Error)]
#[error("a record of consensus could not be made durable: {0}")]
pub struct PersistError(#[from] io::Error);

impl Persister {
    /// Takes the files of a cluster directory over.
    #[must_use]
    pub fn new(
        recording_log: RecordingLog,
        node_state: NodeState,
        directory: PathBuf,
        ports: &Ports,
    ) -> Self {
        let (background, state) = (ports.background(), State::Idle);
        let is_directory_synced = !recording_log.is_new();
        let loss = LossFile::new(&ports.files, &directory);
        let finding = None;
        Self {
            recording_log,
            node_state,
            loss,
            background,
            directory,
            state,
            is_directory_synced,
            finding,
        }
    }

    /// What went wrong with a record without ending anything, once.
    pub fn take_finding(&mut self) -> Option<String> {
        self.finding.take()
    }

    /// What stands in `recording.log`.
    #[must_use]
    pub fn recording_log(&self) -> &RecordingLog {
        &self.recording_log
    }

    /// Works on the record at the head of the core's queue, the same at each call until it is
    /// [`Outcome::Done`].
    ///
    /// `recording_id` is the recording of the log, `timestamp` the cluster's time.
    ///
    /// # Errors
    /// See [`PersistError`]. A failed sync is never tried again: it proves nothing.
    pub fn perform(
        &mut self,
        now: Now,
        record: &Persist,
        recording_id: RecordingId,
        timestamp: i64,
    ) -> Result<Outcome, PersistError> {
        if self.state == State::Idle {
            let is_vote = matches!(record, Persist::CandidateTerm { .. });
            let is_loss = matches!(record, Persist::Loss(_) | Persist::Regained);
            let kind = Record { is_vote, is_binding: false, is_loss };
            if is_loss {
                let ticket = self.note_loss(record)?;
                self.state = State::Syncing(ticket, kind);
            } else {
                self.write(now, record, recording_id, timestamp)?;
                self.begin(kind)?;
            }
        }
        self.poll()?;
        if matches!(self.state, State::Durable(Record { is_binding: false, .. })) {
            self.state = State::Idle;
            return Ok(Outcome::Done);
        }
        Ok(Outcome::BackPressured)
    }

    /// Names the recording of the log in terms that were recorded before it was there:
    /// [`Outcome::Done`] when there are none, or none any more. Until then nothing of the
    /// recording may count. Between records only.
    ///
    /// # Errors
    /// See [`PersistError`].
    pub fn bind(&mut self, recording_id: Option<RecordingId>) -> Result<Outcome, PersistError> {
        if self.state == State::Idle {
            let Some(id) = recording_id.filter(|_| self.recording_log.is_unbound()) else {
                return Ok(Outcome::Done);
            };
            self.recording_log.bind(id)?;
            self.begin(Record::BINDING)?;
        }
        self.poll()?;
        if matches!(self.state, State::Durable(Record { is_binding: true, .. })) {
            self.state = State::Idle;
            return Ok(Outcome::Done);
        }
        let is_binding = match self.state {
            State::Idle => false,
            State::Logging(_, it) | State::Syncing(_, it) | State::Durable(it) => it.is_binding,
        };
        // A record under way is of a term that is there already, or binds nothing.
        let waits = is_binding || (recording_id.is_some() && self.recording_log.is_unbound());
        Ok(if waits { Outcome::BackPressured } else { Outcome::Done })
    }

    /// Says of the snapshot in a recording that it is none any more: [`Outcome::Done`] when that is
    /// written. It is durable a moment later, by [`Persister::bind`].
    ///
    /// # Errors
    /// See [`PersistError`].
    pub fn invalidate(&mut self, recording_id: RecordingId) -> Result<Outcome, PersistError> {
        if self.state != State::Idle {
            return Ok(Outcome::BackPressured);
        }
        if self.recording_log.invalidate(recording_id)? {
            self.begin(Record::BINDING)?;
        }
        Ok(Outcome::Done)
    }

    /// Writes what was lost, or removes that once it is regained.
    fn note_loss(&mut self, record: &Persist) -> io::Result<Ticket> {
        Ok(self.background.submit(match record {
            Persist::Loss(loss) => {
                let (files, sync) = (vec![self.loss.write(loss)?], SyncKind::All);
                Job::Sync { files, sync, directories: vec![self.directory.clone()] }
            }
            _ => Job::Remove(vec![self.loss.path().to_path_buf()]),
        }))
    }

    fn file(&mut self, record: Record) -> &mut Guarded {
        if record.is_vote { self.node_state.guarded() } else { self.recording_log.guarded() }
    }

    /// Begins to make durable what was written.
    fn begin(&mut self, record: Record) -> io::Result<()> {
        match self.file(record).log()? {
            Some(Due { files, directories }) => {
                let job = Job::Sync { files, sync: SyncKind::All, directories };
                self.state = State::Logging(self.background.submit(job), record);
            }
            None => self.sync(record),
        }
        Ok(())
    }

    fn sync(&mut self, record: Record) {
        let directories =
            if self.is_directory_synced { vec![] } else { vec![self.directory.clone()] };
        let files = vec![self.file(record).file().clone()];
        let job = Job::Sync { files, sync: SyncKind::All, directories };
        self.state = State::Syncing(self.background.submit(job), record);
    }

    fn poll(&mut self) -> Result<(), PersistError> {
        let mut outcomes = Vec::new();
        self.background.poll(&mut |ticket, outcome| outcomes.push((ticket, outcome)));
        for (ticket, outcome) in outcomes {
            match (self.state, outcome) {
                (State::Logging(awaited, _) | State::Syncing(awaited, _), _)
                    if awaited != ticket => {}
                (State::Logging(..) | State::Syncing(..), JobOutcome::Failed(error)) => {
                    return Err(error.into());
                }
                (State::Logging(_, record), _) => {
                    self.file(record).apply()?;
                    self.sync(record);
                }
                (State::Syncing(_, record), _) => {
                    if !record.is_loss {
                        self.file(record).on_durable()?;
                        self.is_directory_synced = true;
                    }
                    self.state = State::Durable(record);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn write(
        &mut self,
        now: Now,
        record: &Persist,
        recording_id: RecordingId,
        timestamp: i64,
    ) -> io::Result<()> {
        let log = &mut self.recording_log;
        match *record {
            Persist::CandidateTerm { term, log_position } => {
                self.node_state.store(term, log_position, now.epoch_millis())?;
            }
            Persist::Term { term, base, gap_from } => {
                let left_out = log.append_term(recording_id, term, base, gap_from, timestamp)?;
                if left_out > 0 {
                    let (from, to) = (gap_from.0, term.0);
                    self.finding = Some(format!(
                        "{FILE_NAME}: the term leapt from below {from} to {to}: {left_out} of the \
                         terms between get no entry"
                    ));
                }
            }
            Persist::DropTerms { from } => log.drop_terms(from)?,
            Persist::EndTerm { term, end } => log.end_term(term, end)?,
            Persist::Snapshot { term, term_base, position, timestamp, module, ref services } => {
                let entry = |service_id, recording_id| SnapshotEntry {
                    recording_id,
                    term,
                    position,
                    timestamp,
                    service_id,
                };
                let services = (0..).zip(services).map(|(id, &recording)| entry(id, recording));
                let entries: Vec<_> = services.chain([entry(-1, module)]).collect();
                log.append_snapshot(term_base, &entries)?;
            }
            Persist::Loss(_) | Persist::Regained => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::path::Path;

    use consensus::LeadershipTermId;
    use runtime::Nanos;
    use sim::{ProcessId, World};
    use wire::position::Position;

    use super::*;

    fn world() -> (World, ProcessId) {
        let mut world = World::new(3);
        let host = world.add_host("node", &[IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))]);
        let process = world.spawn(host, |_| Vec::new());
        (world, process)
    }

    fn persister(world: &World, process: ProcessId) -> Persister {
        let ports = world.ports(process);
        let path = Path::new("/cluster");
        ports.files.create_directory(path).unwrap();
        let (recording_log, _) = RecordingLog::open(&ports.files, path, false).unwrap();
        let (node_state, _) = NodeState::open(&ports.files, path, false).unwrap();
        Persister::new(recording_log, node_state, path.to_path_buf(), &ports)
    }

    #[test]
    fn a_record_is_done_only_after_its_sync() {
        let (mut world, process) = world();
        world.set_background_delay(Nanos::from_millis(2), Nanos::from_millis(2));
        let mut persister = persister(&world, process);
        let (term, log_position) = (LeadershipTermId(4), Position(64));
        let record = Persist::CandidateTerm { term, log_position };
        let perform = |persister: &mut Persister| {
            persister.perform(Now::default(), &record, RecordingId(0), 0).unwrap()
        };
        assert_eq!(perform(&mut persister), Outcome::BackPressured);
        world.run_for(Nanos::from_millis(1));
        assert_eq!(perform(&mut persister), Outcome::BackPressured);
        world.run_for(Nanos::from_millis(5));
        assert_eq!(perform(&mut persister), Outcome::Done);
        assert_eq!(perform(&mut persister), Outcome::BackPressured, "the next record");
    }

    #[test]
    fn the_recording_is_named_once_it_is_there_and_counts_when_that_is_durable() {
        let (mut world, process) = world();
        world.set_background_delay(Nanos::from_millis(2), Nanos::from_millis(2));
        let mut persister = persister(&world, process);
        let (term, base) = (LeadershipTermId(0), Position(0));
        let record = Persist::Term { term, base, gap_from: term };
        let nobody = RecordingId(-1);
        while persister.perform(Now::default(), &record, nobody, 0).unwrap() != Outcome::Done {
            world.run_for(Nanos::from_millis(1));
        }
        assert_eq!(persister.bind(None).unwrap(), Outcome::Done, "no recording yet");
        assert_eq!(persister.recording_log().recording_id(), None);
        let id = RecordingId(7);
        assert_eq!(persister.bind(Some(id)).unwrap(), Outcome::BackPressured);
        let vote = Persist::CandidateTerm { term, log_position: base };
        let other = persister.perform(Now::default(), &vote, id, 0).unwrap();
        assert_eq!(other, Outcome::BackPressured, "one at a time");
        while persister.bind(Some(id)).unwrap() != Outcome::Done {
            world.run_for(Nanos::from_millis(1));
        }
        assert_eq!(persister.bind(Some(id)).unwrap(), Outcome::Done);
        drop(persister);
        let files = world.ports(process).files;
        let (again, _) = RecordingLog::open(&files, Path::new("/cluster"), false).unwrap();
        assert_eq!((again.recording_id(), again.is_unbound()), (Some(id), false));
    }

    #[test]
    fn a_term_that_leaps_is_told_once() {
        let (mut world, process) = world();
        let mut persister = persister(&world, process);
        let (term, gap_from) = (LeadershipTermId(1 << 40), LeadershipTermId(0));
        let record = Persist::Term { term, base: Position(0), gap_from };
        let recording_id = RecordingId(0);
        while persister.perform(Now::default(), &record, recording_id, 0).unwrap() != Outcome::Done
        {
            world.run_for(Nanos::from_millis(1));
        }
        let left_out = (1_u64 << 40) - 4_096;
        let finding = persister.take_finding().unwrap();
        assert!(finding.contains(&format!("{left_out} of the terms")), "{finding}");
        assert_eq!(persister.take_finding(), None);
    }

    #[test]
    fn a_whole_snapshot_is_written_with_the_module_last() {
        let (mut world, process) = world();
        let mut persister = persister(&world, process);
        let record = Persist::Snapshot {
            term: LeadershipTermId(1),
            term_base: Position(0),
            position: Position(640),
            timestamp: 7,
            module: RecordingId(10),
            services: vec![RecordingId(11), RecordingId(12)],
        };
        let recording_id = RecordingId(0);
        while persister.perform(Now::default(), &record, recording_id, 0).unwrap() != Outcome::Done
        {
            world.run_for(Nanos::from_millis(1));
        }
        let snapshots = persister.recording_log().snapshots();
        let found = consensus::newest_snapshot(&snapshots, 2).unwrap();
        assert_eq!((found.module, found.services[1]), (RecordingId(10), RecordingId(12)));
        assert_eq!(snapshots.last().unwrap().service_id, -1);
    }
}
