//! One replay: from a position of a recording to an end that may still move.

use client::{AddError, ErrorCode, ExclusivePublication, Handle, OfferError, Pending};
use memory::counters::CounterReader;
use runtime::point::{Point, strikes};
use wire::counters::CounterId;
use wire::frame::{SESSION_ID_OFFSET, STREAM_ID_OFFSET};
use wire::position::StreamId;
use wire::time::{Nanos, Now};

use super::ReplayEvent;
use super::reader::{Next, Reader};
use crate::catalog::Recording;
use crate::checksum::Checksum;
use crate::control::refusal::Refusal;
use crate::counters::IoTotals;
use crate::frame::{HEADER_LENGTH, Header};
use crate::writer::Store;

/// How far a recording goes.
pub(crate) enum Recorded {
    /// It is active: as far as its position counter says.
    Live(CounterReader),
    /// It has ended here.
    Ended(i64),
}

/// A counter beyond whose value a bounded replay does not go.
pub(crate) struct Bound {
    pub(crate) id: CounterId,
    pub(crate) registration_id: i64,
    /// Its value when it was last seen as ours.
    pub(crate) value: i64,
    /// Whether it is closed: the value is final.
    pub(crate) is_closed: bool,
}

/// A replay that has been checked and may begin.
pub(crate) struct ReplayRequest {
    pub(crate) control_session_id: i64,
    pub(crate) correlation_id: i64,
    pub(crate) recording: Recording,
    pub(crate) position: i64,
    /// The position at which it ends at the latest.
    pub(crate) limit: i64,
    pub(crate) recorded: Recorded,
    pub(crate) bound: Option<Bound>,
    pub(crate) channel: String,
    pub(crate) stream_id: i32,
    pub(crate) buffer_length: usize,
    pub(crate) checksum: Option<Checksum>,
}

enum State {
    Adding(Pending<ExclusivePublication>),
    Connecting(ExclusivePublication),
    Replaying(ExclusivePublication),
    Over,
}

/// One replay.
pub(crate) struct Replay {
    request: ReplayRequest,
    sequence: i64,
    replay_session_id: Option<i64>,
    state: State,
    deadline: Nanos,
    position: i64,
    reader: Reader,
    /// Bytes of the buffer that are ready to be published and were refused so far.
    ready: usize,
}

impl Replay {
    pub(crate) fn new(
        request: ReplayRequest,
        sequence: i64,
        client: &Handle,
        deadline: Nanos,
    ) -> Self {
        let stream_id = StreamId(request.stream_id);
        let pending = client.add_exclusive_publication(&request.channel, stream_id);
        let reader = Reader::new(request.recording.clone(), request.checksum);
        Self {
            position: request.position,
            request,
            sequence,
            replay_session_id: None,
            state: State::Adding(pending),
            deadline,
            reader,
            ready: 0,
        }
    }

    pub(crate) const fn recording_id(&self) -> i64 {
        self.request.recording.id
    }

    pub(crate) const fn position(&self) -> i64 {
        self.position
    }

    /// What was read since the last call.
    pub(crate) fn take_read(&mut self) -> IoTotals {
        std::mem::take(&mut self.reader.read)
    }

    pub(crate) const fn replay_session_id(&self) -> Option<i64> {
        self.replay_session_id
    }

    pub(crate) const fn next_deadline(&self) -> Nanos {
        match self.state {
            State::Adding(_) | State::Connecting(_) => self.deadline,
            State::Replaying(_) | State::Over => Nanos::MAX,
        }
    }

    /// The recording that it follows has ended.
    pub(crate) fn on_stopped(&mut self, position: i64) {
        self.request.recorded = Recorded::Ended(position);
    }

    /// Ends it at once: its subscribers drop what they have not read.
    pub(crate) fn revoke(self) {
        if let State::Connecting(publication) | State::Replaying(publication) = self.state {
            publication.revoke();
        }
    }

    /// One cycle. Returns how much was done and whether it is over.
    pub(crate) fn do_work(
        &mut self,
        store: &Store,
        client: &Handle,
        now: Now,
        events: &mut Vec<ReplayEvent>,
    ) -> (usize, bool) {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Adding(pending) => {
                (self.add(pending, store, client, now, events), self.is_over())
            }
            State::Connecting(publication) => {
                (self.connect(publication, now, events), self.is_over())
            }
            State::Replaying(publication) => {
                let done = self.replay(publication, store, client, events);
                (done, self.is_over())
            }
            State::Over => (0, true),
        }
    }

    const fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    fn fail(&self, refusal: Refusal, events: &mut Vec<ReplayEvent>) {
        let (control_session_id, correlation_id) =
            (self.request.control_session_id, self.request.correlation_id);
        let recording_id = self.request.recording.id;
        let failed =
            ReplayEvent::Failed { recording_id, control_session_id, correlation_id, refusal };
        events.push(failed);
    }

    fn add(
        &mut self,
        mut pending: Pending<ExclusivePublication>,
        store: &Store,
        client: &Handle,
        now: Now,
        events: &mut Vec<ReplayEvent>,
    ) -> usize {
        let publication = match pending.poll() {
            Ok(Some(publication)) => publication,
            Ok(None) if now.mono < self.deadline => {
                self.state = State::Adding(pending);
                return 0;
            }
            Ok(None) => {
                self.fail(Refusal::generic("replay publication timed out"), events);
                return 1;
            }
            Err(AddError::Refused { code, .. })
                if code == ErrorCode::RESOURCE_TEMPORARILY_UNAVAILABLE =>
            {
                let stream_id = StreamId(self.request.stream_id);
                let channel = &self.request.channel;
                self.state = State::Adding(client.add_exclusive_publication(channel, stream_id));
                return 1;
            }
            Err(error) => {
                self.fail(error.into(), events);
                return 1;
            }
        };
        if let Err(refusal) = self.check_start(store) {
            self.fail(refusal, events);
            publication.revoke();
            return 1;
        }
        let session = i64::from(publication.session_id().0.cast_unsigned());
        let replay_session_id = (self.sequence << 32) | session;
        self.replay_session_id = Some(replay_session_id);
        events.push(ReplayEvent::Started {
            control_session_id: self.request.control_session_id,
            correlation_id: self.request.correlation_id,
            replay_session_id,
        });
        self.state = State::Connecting(publication);
        1
    }

    /// Where a replay begins inside a recording there must be a frame.
    fn check_start(&mut self, store: &Store) -> Result<(), Refusal> {
        let recording = &self.request.recording;
        let end = self.recorded_end();
        if self.position == recording.start_position || self.position >= end {
            return Ok(());
        }
        let (position, place) = (self.position, recording.place(self.position));
        if self.reader.header(store, position)?.is_at(place) {
            return Ok(());
        }
        Err(Refusal::position(format!("position {position} is not that of a frame")))
    }

    fn connect(
        &mut self,
        publication: ExclusivePublication,
        now: Now,
        events: &mut Vec<ReplayEvent>,
    ) -> usize {
        if publication.is_connected() {
            self.state = State::Replaying(publication);
            return 1;
        }
        if now.mono < self.deadline {
            self.state = State::Connecting(publication);
            return 0;
        }
        self.fail(Refusal::generic("replay publication was not connected in time"), events);
        publication.revoke();
        1
    }

    fn replay(
        &mut self,
        mut publication: ExclusivePublication,
        store: &Store,
        client: &Handle,
        events: &mut Vec<ReplayEvent>,
    ) -> usize {
        if !publication.is_connected() {
            publication.revoke();
            return 1;
        }
        let (end, is_final) = self.end(client);
        if self.position >= end {
            if !is_final {
                self.state = State::Replaying(publication);
                return 0;
            }
            return 1;
        }
        match self.publish(&mut publication, store, end) {
            Ok(done) => {
                self.state = State::Replaying(publication);
                done
            }
            Err(refusal) => {
                self.fail(refusal, events);
                publication.revoke();
                1
            }
        }
    }

    fn recorded_end(&self) -> i64 {
        match &self.request.recorded {
            Recorded::Live(counter) => counter.get(),
            Recorded::Ended(position) => *position,
        }
    }

    /// How far it may go now, and whether that is for good.
    fn end(&mut self, client: &Handle) -> (i64, bool) {
        let recorded = self.recorded_end();
        let mut end = self.request.limit.min(recorded);
        let mut is_final = end == self.request.limit
            || (matches!(self.request.recorded, Recorded::Ended(_)) && end == recorded);
        if let Some(bound) = &mut self.request.bound {
            bound.update(client);
            if bound.value < end {
                end = bound.value;
                is_final = bound.is_closed;
            }
        }
        (end, is_final)
    }

    fn publish(
        &mut self,
        publication: &mut ExclusivePublication,
        store: &Store,
        end: i64,
    ) -> Result<usize, Refusal> {
        if publication.available_window() <= 0 || strikes(Point::ReplayLeft) {
            return Ok(0);
        }
        let next = match self.ready {
            0 => self.read_next(publication, store, end)?,
            ready => Next::Block(ready),
        };
        let (offered, length) = match next {
            Next::Block(length) => {
                (publication.offer_block(&self.reader.buffer[..length]), length as i64)
            }
            Next::Padding(length) => {
                let behind = usize::try_from(length).unwrap_or(0) - HEADER_LENGTH;
                (publication.append_padding(behind), length)
            }
        };
        match offered {
            Ok(_) => {
                self.position += length;
                self.ready = 0;
                Ok(1)
            }
            Err(OfferError::BackPressured | OfferError::AdminAction) => {
                self.ready = if let Next::Block(length) = next { length } else { 0 };
                Ok(0)
            }
            Err(OfferError::NotConnected) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads what stands at the position: whole data frames up to `end`, which a frame may exceed,
    /// or padding.
    fn read_next(
        &mut self,
        publication: &ExclusivePublication,
        store: &Store,
        end: i64,
    ) -> Result<Next, Refusal> {
        let term_length = i64::from(self.reader.recording.term_buffer_length);
        let term_rest = term_length - (self.position & (term_length - 1));
        let wanted = i64::try_from(self.request.buffer_length).unwrap_or(i64::MAX);
        let recorded_rest = self.recorded_end() - self.position;
        let length = usize::try_from(wanted.min(term_rest).min(recorded_rest)).unwrap_or(0);
        let next = self.reader.next(store, self.position, length, end)?;
        if let Next::Block(length) = next {
            let session_id = publication.session_id().0.to_le_bytes();
            let stream_id = self.request.stream_id.to_le_bytes();
            let mut rest = &mut self.reader.buffer[..length];
            while let Some(header) = Header::read(rest) {
                rest[SESSION_ID_OFFSET..][..4].copy_from_slice(&session_id);
                rest[STREAM_ID_OFFSET..][..4].copy_from_slice(&stream_id);
                let frame = header.stored_length().clamp(HEADER_LENGTH, rest.len());
                rest = &mut rest[frame..];
            }
        }
        Ok(next)
    }
}

impl Bound {
    /// Looks at the counter. Once closed, its last value stands; if its record is another's, what
    /// was seen last.
    fn update(&mut self, client: &Handle) {
        if self.is_closed {
            return;
        }
        match client.counters().record(self.id) {
            Some(record) if record.registration_id == self.registration_id => {
                self.value = record.value.max(self.value);
                self.is_closed = record.state != wire::counters::state::ALLOCATED;
            }
            _ => self.is_closed = true,
        }
    }
}
