//! Recording a stream: from the request until it has ended, as the archive's counter shows.

use archive_client::{
    ArchiveClient, ArchiveError, Recording, RecordingSignal, RecordingSignalEvent, Request,
};
use client::{CorrelationId, CounterReader, CounterTypeId, Handle};
use consensus::RecordingId;
use runtime::{Nanos, Now};
use wire::bytes::{Field, Reader};
use wire::position::{Position, SessionId};

use super::LogFault;
use super::environment::{Deadline, Environment, LOOK_INTERVAL, taken};

/// An archive's counter of how far a recording has come (source: archive page 4.8).
const RECORDING_POSITION: CounterTypeId = CounterTypeId(100);

/// How far a recording has come.
pub(crate) struct RecordedPosition {
    reader: CounterReader,
    registration_id: i64,
}

impl RecordedPosition {
    /// The counter of a recording that was made after a request: an earlier one may still be there.
    pub(crate) fn find(
        handle: &Handle,
        archive_id: Option<i64>,
        recording_id: RecordingId,
        after: CorrelationId,
    ) -> Option<Self> {
        let counters = handle.counters();
        let mut ids = counters.ids();
        let found = ids.find_map(|id| {
            if counters.type_id(id) != Some(RECORDING_POSITION) {
                return None;
            }
            let record = counters.record(id)?;
            let is_it = record.registration_id > after.0
                && is_key_of(&record.key, archive_id, recording_id);
            is_it.then_some(record)
        })?;
        let reader = counters.reader(found.id).ok()?;
        Some(Self { reader, registration_id: found.registration_id })
    }

    /// `None` once the archive has freed it.
    pub(crate) fn get(&self, handle: &Handle) -> Option<Position> {
        let value = self.reader.get();
        let is_there = handle.counters().is_registered(self.reader.id(), self.registration_id);
        is_there.then_some(Position(value))
    }
}

/// Key: recording id at 0, length of the source identity at 12, itself at 16, archive id after it.
fn is_key_of(key: &[u8], archive_id: Option<i64>, recording_id: RecordingId) -> bool {
    if at::<i64>(key, 0) != Some(recording_id.0) {
        return false;
    }
    let length = at::<i32>(key, 12).and_then(|length| usize::try_from(length).ok());
    let found = length.and_then(|length| at::<i64>(key, length.checked_add(16)?));
    archive_id.is_none() || found.is_none() || found == archive_id
}

fn at<F: Field>(key: &[u8], offset: usize) -> Option<F> {
    Reader::new(key.get(offset..)?).read().ok()
}

/// A recording that was asked for, until its counter is there.
pub(crate) struct Start {
    request: Request<i64>,
    is_answered: bool,
    began: Option<(RecordingId, Position)>,
    next_look: Nanos,
    deadline: Deadline,
}

/// A recording has begun.
pub(crate) struct Began {
    pub(crate) recording_id: RecordingId,
    pub(crate) position: Position,
    pub(crate) counter: RecordedPosition,
}

impl Start {
    pub(crate) fn new(request: Request<i64>, now: Now) -> Self {
        let deadline = Deadline::new(now, "recording did not begin");
        Self { request, is_answered: false, began: None, next_look: now.mono, deadline }
    }

    /// Signals and failures of the recording carry it.
    pub(crate) const fn id(&self) -> CorrelationId {
        self.request.id()
    }

    pub(crate) fn on_signal(&mut self, signal: &RecordingSignalEvent) {
        let is_begin = matches!(signal.signal, RecordingSignal::Start | RecordingSignal::Extend);
        if is_begin && signal.correlation_id == self.id().0 {
            self.began = Some((RecordingId(signal.recording_id), Position(signal.position)));
        }
    }

    /// The counter says nothing before the signal: its first value is set after it was made.
    pub(crate) fn poll(
        &mut self,
        archive: &mut ArchiveClient,
        handle: &Handle,
        now: Now,
    ) -> Result<Option<Began>, LogFault> {
        if !self.is_answered {
            self.is_answered = taken(archive, self.request)?.is_some();
        }
        self.deadline.check(now)?;
        let Some((recording_id, position)) = self.began else { return Ok(None) };
        if now.mono < self.next_look {
            return Ok(None);
        }
        self.next_look = now.mono + LOOK_INTERVAL;
        let found = RecordedPosition::find(handle, archive.archive_id(), recording_id, self.id());
        Ok(found.map(|counter| Began { recording_id, position, counter }))
    }

    pub(crate) fn due(&self) -> Nanos {
        let look = if self.began.is_some() { self.next_look } else { Nanos::MAX };
        look.min(self.deadline.at())
    }
}

/// The log as it is being recorded here.
pub(super) struct LogRecording {
    channel: String,
    session_id: SessionId,
    id: CorrelationId,
    state: State,
    /// Where the archive says that it ended.
    stopped: Option<Position>,
}

enum State {
    Starting(Start),
    Active { counter: RecordedPosition, reported: Position },
}

/// What became of the recording of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordingEvent {
    Began { recording_id: RecordingId, position: Position },
    Grew { position: Position },
    Stopped { position: Position },
}

impl LogRecording {
    /// `request` asks to record this session of this channel.
    pub(super) fn new(
        request: Request<i64>,
        channel: String,
        session_id: SessionId,
        now: Now,
    ) -> Self {
        let (id, state) = (request.id(), State::Starting(Start::new(request, now)));
        Self { channel, session_id, id, state, stopped: None }
    }

    pub(super) fn channel(&self) -> &str {
        &self.channel
    }

    pub(super) const fn session_id(&self) -> SessionId {
        self.session_id
    }

    pub(super) fn due(&self) -> Nanos {
        match &self.state {
            State::Starting(start) => start.due(),
            State::Active { .. } => Nanos::MAX,
        }
    }

    pub(super) fn on_signal(&mut self, signal: &RecordingSignalEvent) {
        if let State::Starting(start) = &mut self.state {
            start.on_signal(signal);
        }
        if signal.signal == RecordingSignal::Stop && signal.correlation_id == self.id.0 {
            self.stopped = Some(Position(signal.position));
        }
    }

    /// What a failure of a request means here, if it is of this recording.
    pub(super) fn on_failure(&self, id: CorrelationId, error: &ArchiveError) -> Option<LogFault> {
        let is_active = matches!(self.state, State::Active { .. });
        (id == self.id).then(|| match is_active {
            true => LogFault::Recording(error.clone()),
            false => LogFault::Archive(error.clone()),
        })
    }

    /// The next thing that happened. Nothing follows `Stopped`.
    pub(super) fn poll(
        &mut self,
        environment: &mut Environment,
        now: Now,
    ) -> Result<Option<RecordingEvent>, LogFault> {
        let Environment { archive, handle, .. } = environment;
        match &mut self.state {
            State::Starting(start) => {
                if self.stopped.is_some() {
                    return Err(LogFault::Ended);
                }
                let Some(began) = start.poll(archive, handle, now)? else { return Ok(None) };
                let Began { recording_id, position, counter } = began;
                self.state = State::Active { counter, reported: position };
                Ok(Some(RecordingEvent::Began { recording_id, position }))
            }
            State::Active { counter, reported } => {
                let shown = counter.get(handle);
                let position = self.stopped.or(shown).unwrap_or(*reported);
                if position > *reported {
                    *reported = position;
                    return Ok(Some(RecordingEvent::Grew { position }));
                }
                let is_stopped = self.stopped.is_some() || shown.is_none();
                Ok(is_stopped.then_some(RecordingEvent::Stopped { position: *reported }))
            }
        }
    }
}

/// What an archive says of a recording once that has stopped.
pub(super) struct Description {
    recording_id: RecordingId,
    state: Asking,
    deadline: Deadline,
}

enum Asking {
    Asked(Request<Option<Recording>>),
    /// It was still active.
    Again(Nanos),
}

impl Description {
    pub(super) fn new(environment: &mut Environment, recording_id: RecordingId, now: Now) -> Self {
        let state = Asking::Asked(environment.archive.list_recording(recording_id.0));
        Self { recording_id, state, deadline: Deadline::new(now, "recording did not stop") }
    }

    /// The recording, and where it stopped.
    pub(super) fn poll(
        &mut self,
        environment: &mut Environment,
        now: Now,
    ) -> Result<Option<(Recording, Position)>, LogFault> {
        match &self.state {
            Asking::Again(at) if now.mono < *at => {}
            Asking::Again(_) => {
                let request = environment.archive.list_recording(self.recording_id.0);
                self.state = Asking::Asked(request);
            }
            Asking::Asked(request) => match environment.take(*request)? {
                None => {}
                Some(None) => return Err(LogFault::NoRecording),
                Some(Some(recording)) => {
                    if let Some(position) = recording.stop_position {
                        return Ok(Some((recording, position)));
                    }
                    self.deadline.check(now)?;
                    self.state = Asking::Again(now.mono + LOOK_INTERVAL);
                }
            },
        }
        Ok(None)
    }

    pub(super) const fn due(&self) -> Nanos {
        match &self.state {
            Asking::Asked(_) => Nanos::MAX,
            Asking::Again(at) => *at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(recording_id: i64, source: &str, archive_id: i64) -> Vec<u8> {
        let mut key = recording_id.to_le_bytes().to_vec();
        key.extend(7_i32.to_le_bytes());
        key.extend(i32::try_from(source.len()).unwrap().to_le_bytes());
        key.extend(source.as_bytes());
        key.extend(archive_id.to_le_bytes());
        key.resize(112, 0);
        key
    }

    #[test]
    fn a_counter_is_of_one_recording_of_one_archive() {
        let key = key(5, "10.0.0.1:4000", 9);
        assert!(is_key_of(&key, Some(9), RecordingId(5)));
        assert!(is_key_of(&key, None, RecordingId(5)));
        assert!(!is_key_of(&key, Some(8), RecordingId(5)));
        assert!(!is_key_of(&key, Some(9), RecordingId(6)));
        assert!(!is_key_of(&key[..4], Some(9), RecordingId(5)));
    }
}
