//! Operations on a recording that stands still: copying from the leader's, and cutting.

use archive_client::{
    Recording, RecordingSignal, RecordingSignalEvent, ReplicationParameters, Request,
};
use client::CorrelationId;
use consensus::RecordingId;
use runtime::{Nanos, Now};
use wire::position::{Position, SessionId, StreamId};
use wire::uri::key;

use super::LogFault;
use super::environment::{Deadline, Environment, LOOK_INTERVAL};
use super::recording::{Description, RecordedPosition};
use crate::channels;
use crate::members::ClusterMember;

/// Stream on which every archive listens.
const ARCHIVE_STREAM: StreamId = StreamId(10);

/// A copy from the request until our recording has stopped.
pub(super) struct Replication {
    request: CorrelationId,
    /// Our recording; `None` until the archive makes one.
    recording_id: Option<RecordingId>,
    state: State,
}

enum State {
    Asking(Request<i64>),
    Running(Running),
    /// It is over: what came of it is asked for.
    Describing(Description),
    /// It failed before there was a recording.
    Nothing,
}

struct Running {
    id: i64,
    progress: Progress,
    is_over: bool,
    stop: Option<Request<bool>>,
}

enum Progress {
    /// The copy has not begun.
    None,
    Began {
        position: Position,
        next_look: Nanos,
    },
    Counted {
        counter: RecordedPosition,
        reported: Position,
    },
}

/// What became of a copy.
pub(super) enum ReplicationEvent {
    Grew(Position),
    /// Our recording as it is now, and its end.
    Over(Box<Recording>, Position),
}

impl Replication {
    pub(super) fn start(
        environment: &mut Environment,
        leader: &ClusterMember,
        source: RecordingId,
        recording_id: Option<RecordingId>,
        stop: Position,
    ) -> Self {
        let settings = &environment.settings;
        let control = channels::destination(&settings.leader_archive, &leader.archive).to_string();
        let mut channel = settings.replication.clone();
        let mut response = String::new();
        if let Some(address) = &leader.archive_response {
            channel.remove(key::ENDPOINT);
            channel.set(key::CONTROL, address);
            channel.set(key::CONTROL_MODE, "response");
            response = channel.to_string();
        }
        let channel = channel.to_string();
        #[allow(clippy::cast_possible_truncation)] // Any number that is not used yet will do.
        let session_id = SessionId(environment.handle.next_correlation_id().0 as i32);
        let parameters = ReplicationParameters {
            dst_recording_id: recording_id.map(|id| id.0),
            stop_position: Some(stop),
            replication_channel: &channel,
            replication_session_id: Some(session_id),
            src_response_channel: &response,
            ..ReplicationParameters::default()
        };
        let archive = &mut environment.archive;
        let request = archive.replicate(source.0, &control, ARCHIVE_STREAM, &parameters);
        Self { request: request.id(), recording_id, state: State::Asking(request) }
    }

    pub(super) const fn recording_id(&self) -> Option<RecordingId> {
        self.recording_id
    }

    /// Whether a failure with this id is of this copy.
    pub(super) fn is_of(&self, id: CorrelationId) -> bool {
        match &self.state {
            State::Running(running) => running.id == id.0,
            _ => self.request == id,
        }
    }

    pub(super) fn on_signal(&mut self, signal: &RecordingSignalEvent, now: Now) {
        let State::Running(running) = &mut self.state else { return };
        if signal.correlation_id != running.id {
            return;
        }
        match signal.signal {
            RecordingSignal::Replicate | RecordingSignal::Extend => {
                self.recording_id = Some(RecordingId(signal.recording_id));
                if signal.signal == RecordingSignal::Extend {
                    let position = Position(signal.position);
                    running.progress = Progress::Began { position, next_look: now.mono };
                }
            }
            RecordingSignal::ReplicateEnd => running.is_over = true,
            _ => {}
        }
    }

    pub(super) fn due(&self) -> Nanos {
        match &self.state {
            State::Running(Running { progress: Progress::Began { next_look, .. }, .. }) => {
                *next_look
            }
            State::Describing(description) => description.due(),
            _ => Nanos::MAX,
        }
    }

    /// The next thing that happened. The core knows how long to wait for progress.
    pub(super) fn poll(
        &mut self,
        environment: &mut Environment,
        now: Now,
    ) -> Result<Option<ReplicationEvent>, LogFault> {
        match &mut self.state {
            State::Asking(_) | State::Nothing => Ok(None),
            State::Running(running) if running.is_over => {
                let Some(recording_id) = self.recording_id else {
                    self.state = State::Nothing;
                    return Err(LogFault::NoRecording);
                };
                let description = Description::new(environment, recording_id, now);
                self.state = State::Describing(description);
                Ok(None)
            }
            State::Running(running) => {
                let Some(recording_id) = self.recording_id else { return Ok(None) };
                let grown = running.progress.poll(environment, recording_id, self.request, now);
                Ok(grown.map(ReplicationEvent::Grew))
            }
            State::Describing(description) => {
                let found = description.poll(environment, now)?;
                Ok(found.map(|(it, position)| ReplicationEvent::Over(Box::new(it), position)))
            }
        }
    }

    /// Learns under which id all else is told: to be called before signals and failures are looked
    /// at, which may have come together with it.
    pub(super) fn take_answer(&mut self, environment: &mut Environment) -> Result<(), LogFault> {
        let State::Asking(request) = &self.state else { return Ok(()) };
        match environment.take(*request) {
            Ok(None) => Ok(()),
            Ok(Some(id)) => {
                let progress = Progress::None;
                self.state = State::Running(Running { id, progress, is_over: false, stop: None });
                Ok(())
            }
            Err(fault) => {
                self.state = State::Nothing;
                Err(fault)
            }
        }
    }

    /// Stops it. True once nothing of it goes on; the recording may still be ending.
    pub(super) fn poll_stop(&mut self, environment: &mut Environment) -> Result<bool, LogFault> {
        match &mut self.state {
            State::Asking(_) => Ok(false),
            State::Running(running) => {
                let stop = match running.stop {
                    Some(stop) => stop,
                    None => *running.stop.insert(environment.archive.stop_replication(running.id)),
                };
                if environment.take(stop)? == Some(false) {
                    running.is_over = true;
                }
                Ok(running.is_over)
            }
            State::Describing(_) | State::Nothing => Ok(true),
        }
    }
}

impl Progress {
    /// How far it has come, if it has grown.
    fn poll(
        &mut self,
        environment: &Environment,
        recording_id: RecordingId,
        after: CorrelationId,
        now: Now,
    ) -> Option<Position> {
        let handle = &environment.handle;
        match self {
            Self::None => None,
            Self::Began { next_look, .. } if now.mono < *next_look => None,
            Self::Began { position, next_look } => {
                let archive_id = environment.archive.archive_id();
                match RecordedPosition::find(handle, archive_id, recording_id, after) {
                    None => *next_look = now.mono + LOOK_INTERVAL,
                    Some(counter) => *self = Self::Counted { counter, reported: *position },
                }
                None
            }
            Self::Counted { counter, reported } => {
                let position = counter.get(handle)?;
                let has_grown = position > *reported;
                *reported = position.max(*reported);
                has_grown.then_some(position)
            }
        }
    }
}

/// A cut from the request until the files are gone.
pub(super) struct Truncation {
    position: Position,
    request: Request<i64>,
    is_answered: bool,
    is_deleted: bool,
    deadline: Deadline,
}

impl Truncation {
    pub(super) fn start(
        environment: &mut Environment,
        recording_id: RecordingId,
        position: Position,
        now: Now,
    ) -> Self {
        let request = environment.archive.truncate_recording(recording_id.0, position);
        let deadline = Deadline::new(now, "recording of the log was not cut");
        Self { position, request, is_answered: false, is_deleted: false, deadline }
    }

    pub(super) const fn id(&self) -> CorrelationId {
        self.request.id()
    }

    pub(super) fn on_signal(&mut self, signal: &RecordingSignalEvent) {
        let is_it = signal.correlation_id == self.request.id().0;
        self.is_deleted |= is_it && signal.signal == RecordingSignal::Delete;
    }

    pub(super) const fn due(&self) -> Nanos {
        self.deadline.at()
    }

    /// The new end of the recording.
    pub(super) fn poll(
        &mut self,
        environment: &mut Environment,
        now: Now,
    ) -> Result<Option<Position>, LogFault> {
        if !self.is_answered {
            self.is_answered = environment.take(self.request)?.is_some();
        }
        if self.is_answered && self.is_deleted {
            return Ok(Some(self.position));
        }
        self.deadline.check(now).map(|()| None)
    }
}
