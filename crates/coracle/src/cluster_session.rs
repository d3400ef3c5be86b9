//! [`ClusterSession`]: a session with a cluster, for threads that have nothing else to do.

use std::collections::VecDeque;

use cluster_client::{
    ClusterClient, Config, Credentials, EgressEvent, NoCredentials, OfferError, SessionError,
};
use runtime::Nanos;

use crate::{Client, ClientStartError};

/// How long to sleep between two passes in which nothing happened.
const INTERVAL: Nanos = Nanos::from_micros(50);
/// Fragments taken in one pass, at most.
const FRAGMENT_LIMIT: usize = 10;

/// Why a session cannot be had, or does not go on.
#[derive(Debug, thiserror::Error)]
pub enum ClusterSessionError {
    /// There is no driver, or no thread for its client.
    #[error(transparent)]
    Client(#[from] ClientStartError),
    /// See [`SessionError`]; its text says what was tried.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A message did not go out in time. It was not sent.
    #[error("message was not taken within {} ms: {cause}", waited.as_millis())]
    SendTimeout {
        /// How long was tried.
        waited: Nanos,
        /// What stood in the way last.
        cause: OfferError,
    },
    /// A message that can never go out.
    #[error(transparent)]
    Message(OfferError),
}

/// A session with a cluster whose methods wait.
///
/// It goes on through changes of the leader, but what is under way then may be lost, or executed
/// although its answer is: for messages that must be executed once, see
/// [`cluster_client::ExactlyOnce`], which is stepped like everything else.
pub struct ClusterSession {
    cluster: ClusterClient,
    /// Answers that came while something else was waited for.
    inbox: VecDeque<Vec<u8>>,
    message_timeout: Nanos,
    /// Keeps the transport alive; ends after the session.
    client: Client,
}

impl ClusterSession {
    /// Opens a session by the driver in `aeron.directory`, without credentials.
    ///
    /// # Errors
    /// See [`ClusterSessionError`].
    pub fn connect(config: Config, aeron: client::Config) -> Result<Self, ClusterSessionError> {
        Self::connect_as(config, Box::new(NoCredentials), aeron)
    }

    /// Opens a session by the driver in `aeron.directory`.
    ///
    /// # Errors
    /// See [`ClusterSessionError`].
    pub fn connect_as(
        config: Config,
        credentials: Box<dyn Credentials>,
        aeron: client::Config,
    ) -> Result<Self, ClusterSessionError> {
        let client = Client::connect(aeron)?;
        let message_timeout = config.message_timeout;
        let now = os::clock::now();
        let cluster = ClusterClient::connect(config, credentials, client.clone(), now);
        let mut session = Self { cluster, inbox: VecDeque::new(), message_timeout, client };
        // Connecting ends by itself, with an error that says what was tried.
        while !session.cluster.is_connected() {
            session.step()?;
        }
        Ok(session)
    }

    /// Sends a message; waits as long as the cluster is slow, or without a leader.
    ///
    /// # Errors
    /// The session has ended, or the message was not taken within the message time-out.
    pub fn send(&mut self, message: &[u8]) -> Result<(), ClusterSessionError> {
        let started = os::clock::now().mono;
        loop {
            let cause = match self.cluster.offer(message) {
                Ok(()) => return Ok(()),
                Err(error @ OfferError::MessageTooLong { .. }) => {
                    return Err(ClusterSessionError::Message(error));
                }
                Err(cause) => cause,
            };
            self.step()?;
            let waited = os::clock::now().mono - started;
            if waited > self.message_timeout {
                return Err(ClusterSessionError::SendTimeout { waited, cause });
            }
        }
    }

    /// Waits for the next message of a service, at most `timeout`; `None` if none came.
    ///
    /// # Errors
    /// The session has ended.
    pub fn receive(&mut self, timeout: Nanos) -> Result<Option<Vec<u8>>, ClusterSessionError> {
        let deadline = os::clock::now().mono + timeout;
        loop {
            if let Some(message) = self.inbox.pop_front() {
                return Ok(Some(message));
            }
            self.step()?;
            if self.inbox.is_empty() && os::clock::now().mono >= deadline {
                return Ok(None);
            }
        }
    }

    /// One pass. Sleeps if nothing happened.
    fn step(&mut self) -> Result<(), SessionError> {
        let now = os::clock::now();
        let work = self.cluster.do_work(now)?;
        let inbox = &mut self.inbox;
        let count = self.cluster.poll(FRAGMENT_LIMIT, now, |event| {
            if let EgressEvent::Message { payload, .. } = event {
                inbox.push_back(payload.to_vec());
            }
        });
        if work.done + count == 0 {
            os::thread::sleep(INTERVAL);
        }
        Ok(())
    }

    /// The session's id in the cluster.
    #[must_use]
    pub fn session_id(&self) -> Option<i64> {
        self.cluster.session_id()
    }

    /// Which member leads, as far as is known.
    #[must_use]
    pub fn leader_member_id(&self) -> Option<i32> {
        self.cluster.leader_member_id()
    }

    /// Tells the cluster that the session ends, and closes the client of the driver.
    pub fn close(mut self) {
        self.cluster.close();
        let _ = self.client.close();
    }
}
