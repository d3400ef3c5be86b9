//! Leaving the log: whatever goes on is stopped, and our recording described as it then is.

use archive_client::{Recording, RecordingMatch, RecordingSignalEvent, Request, RequestError};
use consensus::RecordingId;
use runtime::{Nanos, Now};
use wire::position::{Position, SessionId};

use super::environment::{Environment, LOOK_INTERVAL};
use super::join::Closing;
use super::recording::{Description, LogRecording};
use super::replication::{Replication, Truncation};
use super::{LogFault, Task};

/// A part of every log channel that is recorded.
const LOG_ALIAS: &str = "alias=log";

/// Leaving, until all is still.
pub(super) struct Leave {
    state: State,
    /// The log's sockets.
    closing: Option<Closing>,
}

enum State {
    Replication(Replication),
    Truncation(Truncation),
    /// The recording is to stop. Its id, if it is known already.
    Stop(Request<bool>, SessionId, Option<RecordingId>),
    /// Whether a recording has begun is not known.
    Find(Request<Option<i64>>),
    Describe(RecordingId, Description),
    Done(Option<(RecordingId, Box<Recording>, Position)>),
}

/// Our recording as it was left, and its end; `None` without a log.
pub(super) type Left = Option<(RecordingId, Box<Recording>, Position)>;

impl Leave {
    /// Takes over what goes on. `recording_id` is that of our recording, if there is one.
    pub(super) fn begin(
        environment: &mut Environment,
        task: Task,
        recording_id: Option<RecordingId>,
        closing: Option<Closing>,
        now: Now,
    ) -> Self {
        let state = match task {
            Task::None => describe(environment, recording_id, now),
            Task::Recording(recording) => stop(environment, &recording, recording_id),
            Task::Replication(replication) => State::Replication(replication),
            Task::Truncation(truncation) => State::Truncation(truncation),
            Task::Leave(leave) => return *leave,
        };
        Self { state, closing }
    }

    /// See [`Replication::take_answer`].
    pub(super) fn take_answer(&mut self, environment: &mut Environment) -> Result<(), LogFault> {
        let State::Replication(replication) = &mut self.state else { return Ok(()) };
        match replication.take_answer(environment) {
            // It was refused: nothing goes on. Without an answer that is not known.
            Err(LogFault::Request(RequestError::Refused { .. })) => Ok(()),
            result => result,
        }
    }

    pub(super) fn on_signal(&mut self, signal: &RecordingSignalEvent, now: Now) {
        match &mut self.state {
            State::Replication(replication) => replication.on_signal(signal, now),
            State::Truncation(truncation) => truncation.on_signal(signal),
            State::Stop(..) | State::Find(_) | State::Describe(..) | State::Done(_) => {}
        }
    }

    pub(super) fn due(&self, now: Now) -> Nanos {
        let own = match &self.state {
            State::Truncation(truncation) => truncation.due(),
            State::Describe(_, description) => description.due(),
            State::Replication(_) | State::Stop(..) | State::Find(_) | State::Done(_) => Nanos::MAX,
        };
        if self.closing.is_some() { own.min(now.mono + LOOK_INTERVAL) } else { own }
    }

    /// What was left, once all is still.
    pub(super) fn poll(
        &mut self,
        environment: &mut Environment,
        recording_id: Option<RecordingId>,
        now: Now,
    ) -> Result<Option<Left>, LogFault> {
        if let Some(next) = self.next(environment, recording_id, now)? {
            self.state = next;
        }
        if self.closing.as_mut().is_some_and(|closing| closing.is_done(now)) {
            self.closing = None;
        }
        match &mut self.state {
            State::Done(left) if self.closing.is_none() => Ok(Some(left.take())),
            _ => Ok(None),
        }
    }

    fn next(
        &mut self,
        environment: &mut Environment,
        recording_id: Option<RecordingId>,
        now: Now,
    ) -> Result<Option<State>, LogFault> {
        Ok(match &mut self.state {
            State::Replication(replication) => {
                let is_still = replication.poll_stop(environment)?;
                let id = replication.recording_id().or(recording_id);
                is_still.then(|| describe(environment, id, now))
            }
            State::Truncation(truncation) => match truncation.poll(environment, now) {
                Ok(None) => None,
                // Whether it was cut or not, its description tells.
                Ok(Some(_)) | Err(LogFault::Request(_)) => {
                    Some(describe(environment, recording_id, now))
                }
                Err(fault) => return Err(fault),
            },
            State::Stop(request, session_id, id) => {
                let (id, session_id) = (*id, *session_id);
                environment.take(*request)?.map(|_| match id {
                    Some(_) => describe(environment, id, now),
                    None => find(environment, session_id),
                })
            }
            State::Find(request) => environment
                .take(*request)?
                .map(|found| describe(environment, found.map(RecordingId), now)),
            State::Describe(id, description) => description
                .poll(environment, now)?
                .map(|(recording, end)| State::Done(Some((*id, Box::new(recording), end)))),
            State::Done(_) => None,
        })
    }
}

fn describe(environment: &mut Environment, recording_id: Option<RecordingId>, now: Now) -> State {
    match recording_id {
        None => State::Done(None),
        Some(id) => State::Describe(id, Description::new(environment, id, now)),
    }
}

fn stop(
    environment: &mut Environment,
    recording: &LogRecording,
    recording_id: Option<RecordingId>,
) -> State {
    let stream_id = environment.log_stream();
    let request = environment.archive.stop_recording(recording.channel(), stream_id);
    State::Stop(request, recording.session_id(), recording_id)
}

/// The first recording of the log may have begun just as it was stopped.
fn find(environment: &mut Environment, session_id: SessionId) -> State {
    let stream_id = environment.log_stream();
    let request = environment.archive.find_last_matching_recording(&RecordingMatch {
        recording_id_min: 0,
        channel_fragment: LOG_ALIAS,
        stream_id,
        session_id,
    });
    State::Find(request)
}
