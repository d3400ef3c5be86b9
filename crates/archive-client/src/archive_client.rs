//! [`ArchiveClient`]: a session with an archive.

use client::{CorrelationId, ExclusivePublication, FragmentAssembler, Handle, Subscription};
use runtime::{Nanos, Now, Work};
use wire::archive::request::CloseSessionRequest;
use wire::archive::response::RecordingSignalEvent;

use crate::answer::{AnswerValue, FromAnswer, Request};
use crate::config::Config;
use crate::connect::{Connecting, encode};
use crate::credentials::Credentials;
use crate::error::{ArchiveError, ConnectError, Disconnected, RequestError};
use crate::inbox::{Expected, Inbox};
use crate::outbox::Outbox;

/// Fragments taken in one pass, at most.
const FRAGMENT_LIMIT: usize = 10;

/// A session with an archive. Owned by one agent, which polls it; nothing blocks.
///
/// Requests may be made at any time and any number may be open. It must be polled all the time: an
/// archive that cannot send for 5 s ends the session. Dropping it closes its streams, by which the
/// archive notices; [`ArchiveClient::close`] says so.
pub struct ArchiveClient {
    handle: Handle,
    subscription: Subscription,
    publication: ExclusivePublication,
    assembler: FragmentAssembler,
    archive_id: Option<i64>,
    outbox: Outbox,
    inbox: Inbox,
    /// Time of the last poll: requests made before the next one count from it.
    now: Now,
    ended: Option<Disconnected>,
}

/// What connecting has brought.
pub(crate) struct Session {
    pub(crate) subscription: Subscription,
    pub(crate) publication: ExclusivePublication,
    pub(crate) assembler: FragmentAssembler,
    pub(crate) control_session_id: i64,
    pub(crate) archive_id: Option<i64>,
}

impl ArchiveClient {
    /// Begins to look for an archive, by a client that the caller goes on stepping.
    ///
    /// # Errors
    /// A channel is not valid.
    pub fn connect(
        config: Config,
        credentials: Box<dyn Credentials>,
        handle: &Handle,
        now: Now,
    ) -> Result<Connecting, ConnectError> {
        Connecting::new(config, credentials, handle, now)
    }

    pub(crate) fn new(handle: Handle, session: Session, timeout: Nanos, now: Now) -> Self {
        let mut client = Self {
            handle,
            subscription: session.subscription,
            publication: session.publication,
            assembler: session.assembler,
            archive_id: session.archive_id,
            outbox: Outbox::default(),
            inbox: Inbox::new(session.control_session_id, timeout),
            now,
            ended: None,
        };
        // Any first request stops the archive from repeating its answer to the connection.
        client.keep_alive();
        client
    }

    /// One pass: sends requests, takes in answers and signals, gives up what is overdue.
    ///
    /// # Errors
    /// The archive is gone, and stays so for this value: every open request is answered with that.
    pub fn poll(&mut self, now: Now) -> Result<Work, Disconnected> {
        self.now = now;
        if let Some(ended) = self.ended {
            return Err(ended);
        }
        let mut done = self.receive();
        done += match self.outbox.send(&mut self.publication) {
            Ok(count) => count,
            Err(ended) => return Err(self.end(ended)),
        };
        if !self.subscription.is_connected() {
            return Err(self.end(Disconnected::Responses));
        }
        done += self.inbox.time_out(now, &mut self.outbox);
        Ok(Work::done(done).due(self.inbox.next_deadline()))
    }

    fn receive(&mut self) -> usize {
        let Self { subscription, assembler, inbox, now, .. } = self;
        let mut count = 0;
        subscription.poll(FRAGMENT_LIMIT, |fragment| {
            assembler.on_fragment(fragment, |message| {
                count += usize::from(inbox.on_message(message.payload(), *now));
            });
        });
        count
    }

    fn end(&mut self, ended: Disconnected) -> Disconnected {
        self.ended = Some(ended);
        self.outbox.clear();
        self.inbox.disconnect();
        ended
    }

    /// What came of a request: none until it is answered, refused or given up. An answer can be
    /// taken once; those that nobody takes are kept up to 1024.
    pub fn take<T: FromAnswer>(&mut self, request: Request<T>) -> Option<Result<T, RequestError>> {
        let answer = self.inbox.take(request.id())?;
        let unexpected = RequestError::Unexpected { request: "an answer of another kind", code: 0 };
        Some(answer.and_then(|answer| T::from_answer(AnswerValue(answer)).ok_or(unexpected)))
    }

    /// Whether a request is neither answered nor given up.
    #[must_use]
    pub fn is_open<T>(&self, request: Request<T>) -> bool {
        self.inbox.is_open(request.id())
    }

    /// How many requests are open.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.inbox.open_count()
    }

    /// The next thing that happened to a recording of this session. Signals that nobody takes are
    /// kept up to 1024.
    ///
    /// A signal carries the correlation id of the request that began the recording, however long
    /// ago, or the replication's id.
    pub fn next_signal(&mut self) -> Option<RecordingSignalEvent> {
        self.inbox.next_signal()
    }

    /// The next failure of something that had been answered as begun: a replay, a recording, a
    /// replication (then the id is the replication's). Kept up to 1024.
    pub fn next_failure(&mut self) -> Option<(CorrelationId, ArchiveError)> {
        self.inbox.next_failure()
    }

    /// Why the session has ended, if it has.
    #[must_use]
    pub const fn disconnected(&self) -> Option<Disconnected> {
        self.ended
    }

    /// The archive's id; none from an archive too old to tell.
    #[must_use]
    pub const fn archive_id(&self) -> Option<i64> {
        self.archive_id
    }

    /// The session's id with the archive.
    #[must_use]
    pub const fn control_session_id(&self) -> i64 {
        self.inbox.control_session_id()
    }

    /// Says goodbye to the archive, if there is room, and gives up every open request.
    pub fn close(&mut self) {
        if self.ended.is_some() {
            return;
        }
        let control_session_id = self.control_session_id();
        let goodbye = encode(&CloseSessionRequest { control_session_id });
        // The archive notices the end of the streams as well.
        let _ = self.publication.offer(&goodbye);
        self.end(Disconnected::Closed);
    }

    pub(crate) fn next_id(&self) -> CorrelationId {
        self.handle.next_correlation_id()
    }

    /// Queues a request that will be answered.
    pub(crate) fn ask<T>(
        &mut self,
        id: CorrelationId,
        request: &'static str,
        expected: Expected,
        bytes: Vec<u8>,
    ) -> Request<T> {
        let (length, max) = (bytes.len(), self.publication.message_length_max());
        if self.ended.is_some() {
            self.inbox.fail(id, RequestError::Disconnected { request });
        } else if length > max {
            self.inbox.fail(id, RequestError::TooLong { request, length, max });
        } else if self.inbox.expect(id, request, expected, self.now) {
            self.outbox.push(id, bytes);
        }
        Request::new(id)
    }

    /// Waits for the answer to a request that the caller sends elsewhere.
    pub(crate) fn ask_elsewhere<T>(
        &mut self,
        id: CorrelationId,
        request: &'static str,
    ) -> Request<T> {
        self.inbox.expect(id, request, Expected::Value, self.now);
        Request::new(id)
    }

    /// Queues a message that will not be answered.
    pub(crate) fn tell(&mut self, bytes: Vec<u8>) {
        if self.ended.is_none() {
            self.outbox.push(CorrelationId(-1), bytes);
        }
    }
}
