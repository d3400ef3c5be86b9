//! What one pass does with each part of the log, and what the core is told of it.

use archive_client::{ArchiveError, RecordingSignalEvent};
use client::CorrelationId;
use consensus::{ArchiveInput, Input};
use runtime::Now;
use wire::position::Position;

use super::leave::Left;
use super::recording::RecordingEvent;
use super::replication::ReplicationEvent;
use super::{FAULTS_MAX, LogArchive, LogFault, Reader, Source, Task};

impl Source {
    pub(super) fn reader(&mut self) -> Option<&mut Reader> {
        match self {
            Self::Replay(replay) => replay.reader(),
            Self::Join(join) => join.reader(),
        }
    }
}

impl LogArchive {
    fn tell(&mut self, input: ArchiveInput) {
        self.inputs.push(Input::Archive(input));
    }

    pub(super) fn note(&mut self, fault: LogFault) {
        if self.faults.len() == FAULTS_MAX {
            self.faults.pop_front();
        }
        self.faults.push_back(fault);
    }

    /// Something that the core waits for failed.
    pub(super) fn on_fault(&mut self, fault: LogFault) {
        if fault.is_loss() {
            self.lose(fault);
        } else {
            self.tell(ArchiveInput::Failed);
            self.note(fault);
        }
    }

    /// The archive or its storage is gone: told once, and nothing after it.
    fn lose(&mut self, fault: LogFault) {
        self.is_lost = true;
        self.tell(ArchiveInput::Lost);
        self.note(fault);
    }

    /// What the archive says without being asked.
    pub(super) fn take_notices(&mut self, now: Now) {
        let environment = &mut self.environment;
        let answered = match &mut self.task {
            Task::Replication(replication) => replication.take_answer(environment),
            Task::Leave(leave) => leave.take_answer(environment),
            Task::None | Task::Recording(_) | Task::Truncation(_) => Ok(()),
        };
        match answered {
            Ok(()) => {}
            Err(fault) if matches!(self.task, Task::Leave(_)) => self.lose(fault),
            Err(fault) => self.on_task_fault(fault),
        }
        while let Some(signal) = self.environment.archive.next_signal() {
            self.on_signal(&signal, now);
        }
        while let Some((id, error)) = self.environment.archive.next_failure() {
            self.on_failure(id, error);
        }
    }

    fn on_signal(&mut self, signal: &RecordingSignalEvent, now: Now) {
        match &mut self.task {
            Task::None => {}
            Task::Recording(recording) => recording.on_signal(signal),
            Task::Replication(replication) => replication.on_signal(signal, now),
            Task::Truncation(truncation) => truncation.on_signal(signal),
            Task::Leave(leave) => leave.on_signal(signal, now),
        }
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.on_signal(signal);
        }
    }

    fn on_failure(&mut self, id: CorrelationId, error: ArchiveError) {
        let fault = match &self.task {
            Task::Recording(recording) => recording.on_failure(id, &error),
            Task::Replication(replication) if replication.is_of(id) => {
                Some(LogFault::Archive(error.clone()))
            }
            Task::Truncation(truncation) if truncation.id() == id => {
                Some(LogFault::Archive(error.clone()))
            }
            _ => None,
        };
        if let Some(fault) = fault {
            self.on_task_fault(fault);
        } else if matches!(&self.source, Some(Source::Replay(replay)) if replay.id() == id) {
            self.source = None;
            self.on_fault(error.into());
        } else if self.snapshot.as_ref().is_some_and(|snapshot| snapshot.is_of(id)) {
            self.on_snapshot_fault(error.into());
        } else {
            // Of a catch-up, or of what was left: those who wait for it give up by themselves.
            self.note(error.into());
        }
    }

    /// The task stays as it is: leaving the log stops what is left of it.
    fn on_task_fault(&mut self, fault: LogFault) {
        if !std::mem::replace(&mut self.is_task_failed, true) {
            self.on_fault(fault);
        }
    }

    fn on_snapshot_fault(&mut self, fault: LogFault) {
        self.snapshot = None;
        if fault.is_loss() {
            self.lose(fault);
        } else {
            self.tell(ArchiveInput::SnapshotTaken { recording_id: None });
            self.note(fault);
        }
    }

    pub(super) fn step_publication(&mut self, now: Now) {
        let Some(publication) = &mut self.publication else { return };
        match publication.poll(&self.environment, now) {
            Ok(None) => {}
            Ok(Some(session_id)) => {
                self.tell(ArchiveInput::PublicationReady { session_id: session_id.0 });
            }
            Err(fault) => {
                self.publication = None;
                self.on_fault(fault);
            }
        }
    }

    pub(super) fn step_source(&mut self, now: Now) {
        let result = match &mut self.source {
            None => return,
            Some(Source::Replay(replay)) => replay.poll(&mut self.environment, now),
            Some(Source::Join(join)) => join.poll(&self.environment),
        };
        match result {
            Ok(None) => {}
            Ok(Some(input)) => self.tell(input),
            Err(fault) => {
                self.closing = self.close_source(now);
                self.on_fault(fault);
            }
        }
    }

    pub(super) fn step_snapshot(&mut self, now: Now) {
        let Some(snapshot) = self.snapshot.take() else { return };
        match snapshot.poll(&mut self.environment, now) {
            Ok(Err(snapshot)) => self.snapshot = Some(snapshot),
            Ok(Ok(id)) => self.tell(ArchiveInput::SnapshotTaken { recording_id: Some(id) }),
            Err(fault) => self.on_snapshot_fault(fault),
        }
    }

    pub(super) fn step_task(&mut self, now: Now) {
        if self.is_task_failed {
            return;
        }
        let result = match &mut self.task {
            Task::None => Ok(()),
            Task::Recording(_) => self.step_recording(now),
            Task::Replication(_) => self.step_replication(now),
            Task::Truncation(_) => self.step_truncation(now),
            Task::Leave(_) => return self.step_leave(now),
        };
        if let Err(fault) = result {
            self.on_task_fault(fault);
        }
    }

    fn step_recording(&mut self, now: Now) -> Result<(), LogFault> {
        while let Task::Recording(recording) = &mut self.task {
            let Some(event) = recording.poll(&mut self.environment, now)? else { break };
            match event {
                RecordingEvent::Began { recording_id, position } => {
                    self.recording_id = Some(recording_id);
                    self.tell(ArchiveInput::RecordingStarted { recording_id, position });
                }
                RecordingEvent::Grew { position } => self.inputs.push(Input::Recorded(position)),
                RecordingEvent::Stopped { position } => {
                    self.task = Task::None;
                    self.on_recording_stopped(position);
                }
            }
        }
        Ok(())
    }

    /// A recording that ends with its stream is no news: the end of the image is.
    fn on_recording_stopped(&mut self, position: Position) {
        let reader = self.source.as_mut().and_then(Source::reader);
        let is_end = reader.is_some_and(|reader| reader.on_recording_stopped(position));
        if !is_end {
            self.tell(ArchiveInput::RecordingStopped { position });
        }
    }

    fn step_replication(&mut self, now: Now) -> Result<(), LogFault> {
        let Task::Replication(replication) = &mut self.task else { return Ok(()) };
        let event = replication.poll(&mut self.environment, now)?;
        self.recording_id = replication.recording_id();
        match event {
            None => {}
            Some(ReplicationEvent::Grew(position)) => self.inputs.push(Input::Recorded(position)),
            Some(ReplicationEvent::Over(recording, position)) => {
                self.task = Task::None;
                self.recording = Some(*recording);
                self.tell(ArchiveInput::Replicated { position });
            }
        }
        Ok(())
    }

    fn step_truncation(&mut self, now: Now) -> Result<(), LogFault> {
        let Task::Truncation(truncation) = &mut self.task else { return Ok(()) };
        if let Some(position) = truncation.poll(&mut self.environment, now)? {
            self.task = Task::None;
            self.tell(ArchiveInput::Truncated { position });
        }
        Ok(())
    }

    fn step_leave(&mut self, now: Now) {
        let Task::Leave(leave) = &mut self.task else { return };
        match leave.poll(&mut self.environment, self.recording_id, now) {
            Ok(None) => {}
            Ok(Some(left)) => self.on_left(left),
            // Nobody can say any more what the recording holds.
            Err(fault) => self.lose(fault),
        }
    }

    fn on_left(&mut self, left: Left) {
        self.task = Task::None;
        let recorded = left.as_ref().map_or(Position(0), |(.., end)| *end);
        let (id, recording) = left.map(|(id, recording, _)| (id, *recording)).unzip();
        (self.recording_id, self.recording) = (id, recording);
        self.tell(ArchiveInput::LogLeft { recorded });
    }
}
