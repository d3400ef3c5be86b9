//! Open requests and what has come of those that are done.

use std::collections::{BTreeMap, VecDeque};

use client::CorrelationId;
use runtime::{Nanos, Now};
use wire::archive::response::{
    ArchiveErrorCode, ControlResponse, ControlResponseCode, RecordingDescriptor,
    RecordingSignalEvent, RecordingSubscriptionDescriptor, Response,
};

use crate::answer::{Answer, Recording, RecordingSubscription};
use crate::error::{ArchiveError, RequestError};
use crate::outbox::Outbox;

/// Answers, signals and failures that nobody takes are kept up to this many; the oldest go first.
const UNTAKEN_MAX: usize = 1024;

/// What is expected of an answer.
#[derive(Clone, Debug)]
pub(crate) enum Expected {
    Value,
    /// At most this many recordings.
    Recordings {
        left: usize,
        found: Vec<Recording>,
    },
    /// At most this many subscriptions.
    Subscriptions {
        left: usize,
        found: Vec<RecordingSubscription>,
    },
    /// True, or false when the archive refuses with this code.
    ValueOrZero(ArchiveErrorCode),
}

impl Expected {
    pub(crate) const fn recordings(count: usize) -> Self {
        Self::Recordings { left: count, found: Vec::new() }
    }

    pub(crate) const fn subscriptions(count: usize) -> Self {
        Self::Subscriptions { left: count, found: Vec::new() }
    }

    /// The answer, if there is one without asking: an archive would not answer a listing of
    /// nothing.
    const fn known(&self) -> Option<Answer> {
        match self {
            Self::Recordings { left: 0, .. } => Some(Answer::Recordings(Vec::new())),
            Self::Subscriptions { left: 0, .. } => Some(Answer::Subscriptions(Vec::new())),
            _ => None,
        }
    }
}

struct Open {
    request: &'static str,
    deadline: Nanos,
    expected: Expected,
}

/// Open requests, and untaken results.
pub(crate) struct Inbox {
    control_session_id: i64,
    timeout: Nanos,
    open: BTreeMap<CorrelationId, Open>,
    done: VecDeque<(CorrelationId, Result<Answer, RequestError>)>,
    signals: VecDeque<RecordingSignalEvent>,
    failures: VecDeque<(CorrelationId, ArchiveError)>,
}

impl Inbox {
    pub(crate) fn new(control_session_id: i64, timeout: Nanos) -> Self {
        Self {
            control_session_id,
            timeout,
            open: BTreeMap::new(),
            done: VecDeque::new(),
            signals: VecDeque::new(),
            failures: VecDeque::new(),
        }
    }

    pub(crate) const fn control_session_id(&self) -> i64 {
        self.control_session_id
    }

    /// Waits for the answer to a request; returns whether it has to be made for that.
    pub(crate) fn expect(
        &mut self,
        id: CorrelationId,
        request: &'static str,
        expected: Expected,
        now: Now,
    ) -> bool {
        if let Some(answer) = expected.known() {
            self.settle(id, Ok(answer));
            return false;
        }
        let deadline = now.mono + self.timeout;
        self.open.insert(id, Open { request, deadline, expected });
        true
    }

    /// Answers a request that never goes out.
    pub(crate) fn fail(&mut self, id: CorrelationId, error: RequestError) {
        self.open.remove(&id);
        self.settle(id, Err(error));
    }

    pub(crate) fn take(&mut self, id: CorrelationId) -> Option<Result<Answer, RequestError>> {
        let at = self.done.iter().position(|(done, _)| *done == id)?;
        self.done.remove(at).map(|(_, answer)| answer)
    }

    /// Whether the request is neither answered nor given up.
    pub(crate) fn is_open(&self, id: CorrelationId) -> bool {
        self.open.contains_key(&id)
    }

    pub(crate) fn open_count(&self) -> usize {
        self.open.len()
    }

    pub(crate) fn next_signal(&mut self) -> Option<RecordingSignalEvent> {
        self.signals.pop_front()
    }

    pub(crate) fn next_failure(&mut self) -> Option<(CorrelationId, ArchiveError)> {
        self.failures.pop_front()
    }

    /// When the first open request times out.
    pub(crate) fn next_deadline(&self) -> Nanos {
        self.open.values().map(|open| open.deadline).min().unwrap_or(Nanos::MAX)
    }

    /// Gives up requests that have waited for too long; returns how many.
    pub(crate) fn time_out(&mut self, now: Now, outbox: &mut Outbox) -> usize {
        let mut count = 0;
        while let Some(id) = self.overdue(now)
            && let Some(open) = self.open.remove(&id)
        {
            let (request, waited) = (open.request, self.timeout);
            let was_sent = !outbox.take_back(id);
            self.settle(id, Err(RequestError::Timeout { request, waited, was_sent }));
            count += 1;
        }
        count
    }

    fn overdue(&self, now: Now) -> Option<CorrelationId> {
        self.open.iter().find(|(_, open)| open.deadline <= now.mono).map(|(id, _)| *id)
    }

    /// Gives up every open request.
    pub(crate) fn disconnect(&mut self) {
        for (id, open) in std::mem::take(&mut self.open) {
            self.settle(id, Err(RequestError::Disconnected { request: open.request }));
        }
    }

    fn settle(&mut self, id: CorrelationId, answer: Result<Answer, RequestError>) {
        push_bounded(&mut self.done, (id, answer));
    }

    /// Takes in one message of the archive; messages for others, unknown and malformed ones are
    /// skipped. Returns whether it was for this client.
    pub(crate) fn on_message(&mut self, bytes: &[u8], now: Now) -> bool {
        let Ok(Some(message)) = Response::decode(bytes) else { return false };
        let own = self.control_session_id;
        match message {
            Response::ControlResponse(response) if response.control_session_id == own => {
                self.on_response(&response);
            }
            Response::RecordingDescriptor(found) if found.control_session_id == own => {
                self.on_recording(&found, now);
            }
            Response::RecordingSubscriptionDescriptor(found) if found.control_session_id == own => {
                self.on_subscription(&found, now);
            }
            Response::RecordingSignalEvent(signal) if signal.control_session_id == own => {
                push_bounded(&mut self.signals, signal);
            }
            _ => return false,
        }
        true
    }

    fn on_response(&mut self, response: &ControlResponse<'_>) {
        let id = CorrelationId(response.correlation_id);
        let Some(open) = self.open.remove(&id) else {
            // What an earlier request began has failed. Any other answer without a request is one
            // that was given up, or comes from the depths of a replication.
            if response.code == ControlResponseCode::Error {
                push_bounded(&mut self.failures, (id, archive_error(response)));
            }
            return;
        };
        let answer = answer(&open, response);
        self.settle(id, answer);
    }

    fn on_recording(&mut self, found: &RecordingDescriptor<'_>, now: Now) {
        let id = CorrelationId(found.correlation_id);
        let deadline = now.mono + self.timeout;
        let Some(open) = self.open.get_mut(&id) else { return };
        let Expected::Recordings { left, found: list } = &mut open.expected else { return };
        open.deadline = deadline;
        list.push(Recording::from(found));
        *left = left.saturating_sub(1);
        if *left == 0 {
            let list = std::mem::take(list);
            self.open.remove(&id);
            self.settle(id, Ok(Answer::Recordings(list)));
        }
    }

    fn on_subscription(&mut self, found: &RecordingSubscriptionDescriptor<'_>, now: Now) {
        let id = CorrelationId(found.correlation_id);
        let deadline = now.mono + self.timeout;
        let Some(open) = self.open.get_mut(&id) else { return };
        let Expected::Subscriptions { left, found: list } = &mut open.expected else { return };
        open.deadline = deadline;
        list.push(RecordingSubscription::from(found));
        *left = left.saturating_sub(1);
        if *left == 0 {
            let list = std::mem::take(list);
            self.open.remove(&id);
            self.settle(id, Ok(Answer::Subscriptions(list)));
        }
    }
}

fn answer(open: &Open, response: &ControlResponse<'_>) -> Result<Answer, RequestError> {
    use ControlResponseCode as Code;
    let request = open.request;
    match (response.code, &open.expected) {
        (Code::Ok, Expected::Value | Expected::ValueOrZero(_)) => {
            Ok(Answer::Value(match open.expected {
                Expected::ValueOrZero(_) => 1,
                _ => response.relevant_id,
            }))
        }
        (Code::Error, Expected::ValueOrZero(code))
            if response.relevant_id == i64::from(code.code()) =>
        {
            Ok(Answer::Value(0))
        }
        (Code::Error, _) => Err(RequestError::Refused { request, cause: archive_error(response) }),
        (Code::RecordingUnknown, Expected::Recordings { found, .. }) => {
            Ok(Answer::Recordings(found.clone()))
        }
        (Code::SubscriptionUnknown, Expected::Subscriptions { found, .. }) => {
            Ok(Answer::Subscriptions(found.clone()))
        }
        (Code::RecordingUnknown, _) => {
            Err(RequestError::RecordingUnknown { request, id: response.relevant_id })
        }
        (code, _) => Err(RequestError::Unexpected { request, code: code.code() }),
    }
}

/// The error in a response: its relevant id is the code.
pub(crate) fn archive_error(response: &ControlResponse<'_>) -> ArchiveError {
    let code = i32::try_from(response.relevant_id).unwrap_or(i32::MIN);
    let message = String::from_utf8_lossy(response.error_message).into_owned();
    ArchiveError { code: ArchiveErrorCode::from_code(code), message }
}

fn push_bounded<T>(queue: &mut VecDeque<T>, value: T) {
    if queue.len() == UNTAKEN_MAX {
        queue.pop_front();
    }
    queue.push_back(value);
}
