//! [`ExactlyOnce`]: messages that are executed once, whatever happens to leaders and sessions.

use runtime::{Nanos, Now, Work};

use crate::client::ClusterClient;
use crate::egress::EgressEvent;
use crate::error::{OfferError, SessionError};
use crate::numbered::{Answer, Numbered, WindowFull};

/// How messages are numbered and sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExactlyOnceOptions {
    /// Names this client for good, over all its sessions: draw it at random.
    pub client: i64,
    /// How many messages may wait for answers; not more than the service's window.
    pub window: usize,
    /// When to send a message again that was not answered.
    pub resend_after: Nanos,
    /// How long to wait before a new session is asked for.
    pub reconnect_after: Nanos,
}

impl ExactlyOnceOptions {
    /// 64 messages on their way, sent again after a second; 100 ms between sessions.
    #[must_use]
    pub const fn new(client: i64) -> Self {
        Self {
            client,
            window: 64,
            resend_after: Nanos::from_secs(1),
            reconnect_after: Nanos::from_millis(100),
        }
    }
}

/// Why messages cannot be sent any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExactlyOnceError {
    /// A new session would fare the same.
    #[error(transparent)]
    Session(SessionError),
    /// A message can never go out, and those behind it must not overtake it.
    #[error("message of {length} bytes exceeds the limit of {max}")]
    MessageTooLong {
        /// Its length, headers included.
        length: usize,
        /// The longest that goes.
        max: usize,
    },
    /// The service no longer remembers this client: what waits may have been executed or not.
    #[error("service forgot this client and would take number {expected} next")]
    Forgotten {
        /// As the service says.
        expected: i64,
    },
}

/// A session, and the next one if it is lost, over which each message is executed once.
///
/// For services that use `Deduplication`, whose format the messages have.
pub struct ExactlyOnce {
    cluster: ClusterClient,
    numbered: Numbered,
    reconnect_after: Nanos,
    reconnect_at: Option<Nanos>,
    /// The session and term in which messages went out last.
    spoken_in: Option<(i64, i64)>,
    last_error: Option<SessionError>,
    sessions_lost: u64,
    ended: Option<ExactlyOnceError>,
}

impl ExactlyOnce {
    /// Sends over this session, and those that it is followed by.
    #[must_use]
    pub fn new(cluster: ClusterClient, options: ExactlyOnceOptions) -> Self {
        let ExactlyOnceOptions { client, window, resend_after, reconnect_after } = options;
        Self {
            cluster,
            numbered: Numbered::new(client, window, resend_after),
            reconnect_after,
            reconnect_at: None,
            spoken_in: None,
            last_error: None,
            sessions_lost: 0,
            ended: None,
        }
    }

    /// Takes a message; returns its number, which its answer will carry. It goes out when a session
    /// is open.
    ///
    /// # Errors
    /// As many messages wait as the window allows.
    pub fn submit(&mut self, payload: &[u8]) -> Result<i64, WindowFull> {
        self.numbered.submit(payload)
    }

    /// One pass: keeps a session and sends what is due.
    ///
    /// # Errors
    /// No session can help any more; every further pass says the same. Sessions that are merely
    /// lost are followed by others: see [`ExactlyOnce::last_error`].
    pub fn do_work(&mut self, now: Now) -> Result<Work, ExactlyOnceError> {
        if let Some(error) = &self.ended {
            return Err(error.clone());
        }
        let work = match self.cluster.do_work(now) {
            Ok(work) => work,
            Err(error) if is_final(&error) => return self.end(ExactlyOnceError::Session(error)),
            Err(error) => self.on_session_lost(error, now),
        };
        let sent = self.send(now)?;
        Ok(work.and(Work::done(sent)).due(self.next_resend()))
    }

    fn end<T>(&mut self, error: ExactlyOnceError) -> Result<T, ExactlyOnceError> {
        self.ended = Some(error.clone());
        Err(error)
    }

    fn on_session_lost(&mut self, error: SessionError, now: Now) -> Work {
        let at = *self.reconnect_at.get_or_insert_with(|| {
            self.sessions_lost += 1;
            now.mono + self.reconnect_after
        });
        self.last_error = Some(error);
        if now.mono < at {
            return Work::NONE.due(at);
        }
        self.reconnect_at = None;
        self.cluster.reconnect(now);
        Work::done(1)
    }

    fn send(&mut self, now: Now) -> Result<usize, ExactlyOnceError> {
        if !self.cluster.is_connected() {
            return Ok(0);
        }
        let speaking_in = self.cluster.session_id().zip(self.cluster.leadership_term_id());
        if speaking_in != self.spoken_in {
            self.spoken_in = speaking_in;
            self.numbered.on_new_leader();
        }
        let cluster = &mut self.cluster;
        let mut too_long = None;
        let sent = self.numbered.poll_send(now.mono, |message| match cluster.offer(message) {
            Ok(()) => true,
            Err(OfferError::MessageTooLong { length, max }) => {
                too_long = Some(ExactlyOnceError::MessageTooLong { length, max });
                false
            }
            Err(_) => false,
        });
        match too_long {
            Some(error) => self.end(error),
            None => Ok(sent),
        }
    }

    /// While no leader is connected nothing is sent again, whatever the time.
    fn next_resend(&self) -> Nanos {
        if self.cluster.is_connected() { self.numbered.next_deadline() } else { Nanos::MAX }
    }

    /// Hands over answers, each number once; returns how many fragments came.
    ///
    /// # Errors
    /// The service has forgotten this client.
    pub fn poll(
        &mut self,
        limit: usize,
        now: Now,
        mut on_answer: impl FnMut(i64, &[u8]),
    ) -> Result<usize, ExactlyOnceError> {
        if let Some(error) = &self.ended {
            return Err(error.clone());
        }
        let numbered = &mut self.numbered;
        let mut forgotten = None;
        let done = self.cluster.poll(limit, now, |event| {
            let EgressEvent::Message { payload, .. } = event else { return };
            match numbered.on_message(payload) {
                Answer::Executed { number, payload } => on_answer(number, payload),
                Answer::Forgotten { expected } => forgotten = Some(expected),
                Answer::Nothing | Answer::Foreign => {}
            }
        });
        match forgotten {
            Some(expected) => self.end(ExactlyOnceError::Forgotten { expected }),
            None => Ok(done),
        }
    }

    /// How many messages wait for an answer that all before them have had.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.numbered.waiting()
    }

    /// How many messages have been sent in the open session and not been answered.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.numbered.in_flight()
    }

    /// How many sessions were lost so far.
    #[must_use]
    pub const fn sessions_lost(&self) -> u64 {
        self.sessions_lost
    }

    /// Why the last session was lost, if one was.
    #[must_use]
    pub const fn last_error(&self) -> Option<&SessionError> {
        self.last_error.as_ref()
    }

    /// The session underneath.
    #[must_use]
    pub const fn cluster(&self) -> &ClusterClient {
        &self.cluster
    }

    /// The session underneath, to be closed.
    #[must_use]
    pub fn into_cluster(self) -> ClusterClient {
        self.cluster
    }
}

/// Whether a new session would end the same.
fn is_final(error: &SessionError) -> bool {
    match error {
        SessionError::AuthenticationRejected { .. }
        | SessionError::Endpoints { .. }
        | SessionError::Channel { .. }
        | SessionError::Client(_)
        | SessionError::Closed => true,
        SessionError::ConnectTimeout { .. }
        | SessionError::Refused { .. }
        | SessionError::Egress(_)
        | SessionError::NewLeaderTimeout { .. }
        | SessionError::NewLeaderUnreachable { .. }
        | SessionError::ClosedByCluster { .. }
        | SessionError::PositionsUsedUp => false,
    }
}
