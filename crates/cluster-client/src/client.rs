//! [`ClusterClient`]: what its owner steps.

use client::{ClientError, Handle};
use runtime::{Now, Work};

use crate::config::Config;
use crate::connect::{Connect, Context, Progress};
use crate::credentials::Credentials;
use crate::egress::EgressEvent;
use crate::error::{OfferError, SessionError};
use crate::session::{PARTS_MAX, Session};
use crate::transport::Transport;

/// A session with a cluster, from the first request to its end.
///
/// ```text
/// loop {
///     work = client.do_work(now)?;         // opens, keeps alive, follows the leader
///     client.poll(10, now, |event| ...);   // answers; news of leaders come this way too
///     client.offer(b"...")                 // when is_connected
/// }
/// ```
/// Dropping it closes it in this process only: the cluster finds out by silence. An orderly end is
/// [`ClusterClient::close`].
pub struct ClusterClient {
    config: Config,
    credentials: Box<dyn Credentials>,
    transport: Transport,
    phase: Phase,
}

enum Phase {
    Connecting(Box<Connect>),
    Open(Box<Session>),
    Closed(SessionError),
}

impl ClusterClient {
    /// Most parts that an offer may have.
    pub const PARTS_MAX: usize = PARTS_MAX;

    /// Begins to open a session. Whatever is wrong, the first [`ClusterClient::do_work`] says.
    pub fn connect(
        config: Config,
        credentials: Box<dyn Credentials>,
        transport: impl Into<Transport>,
        now: Now,
    ) -> Self {
        let transport = transport.into();
        let phase = begin(&config, transport.handle(), now);
        Self { config, credentials, transport, phase }
    }

    /// One pass: steps the driver's client, if it is owned, opens the session and keeps it.
    ///
    /// # Errors
    /// There is no session, or no longer; every further pass says the same, until
    /// [`ClusterClient::reconnect`]. An owned client of the driver is stepped all the same.
    pub fn do_work(&mut self, now: Now) -> Result<Work, SessionError> {
        let transport = self.transport.do_work(now);
        let session = match transport {
            Ok(_) => self.step(now),
            Err(ref error) => Err(self.transport_ended(error)),
        };
        match session {
            Ok(work) => Ok(work.and(transport.unwrap_or(Work::NONE))),
            Err(error) => {
                if !matches!(self.phase, Phase::Closed(_)) {
                    self.phase = Phase::Closed(error.clone());
                }
                Err(error)
            }
        }
    }

    fn transport_ended(&self, error: &ClientError) -> SessionError {
        match &self.phase {
            Phase::Closed(earlier) => earlier.clone(),
            Phase::Connecting(_) | Phase::Open(_) => SessionError::Client(error.clone()),
        }
    }

    fn step(&mut self, now: Now) -> Result<Work, SessionError> {
        match std::mem::replace(&mut self.phase, Phase::Closed(SessionError::Closed)) {
            Phase::Connecting(connect) => {
                let mut context = Context {
                    config: &self.config,
                    handle: self.transport.handle(),
                    credentials: &mut *self.credentials,
                };
                let progress = connect.poll(&mut context, now);
                match progress {
                    Ok(Progress::Again(connect, work)) => {
                        self.phase = Phase::Connecting(connect);
                        Ok(work)
                    }
                    Ok(Progress::Open(session)) => {
                        self.phase = Phase::Open(session);
                        Ok(Work::done(1))
                    }
                    Err(error) => self.ended(error),
                }
            }
            Phase::Open(mut session) => match session.do_work(self.transport.handle(), now) {
                Ok(work) => {
                    self.phase = Phase::Open(session);
                    Ok(work)
                }
                Err(error) => self.ended(error),
            },
            Phase::Closed(error) => self.ended(error),
        }
    }

    fn ended(&mut self, error: SessionError) -> Result<Work, SessionError> {
        self.phase = Phase::Closed(error.clone());
        Err(error)
    }

    /// Opens a new session in the place of one that ended, or is open. What was sent in the old one
    /// may have been executed or not.
    pub fn reconnect(&mut self, now: Now) {
        self.phase = begin(&self.config, self.transport.handle(), now);
    }

    /// Sends a message to the cluster. It is not acknowledged: see [`crate::ExactlyOnce`].
    ///
    /// # Errors
    /// See [`OfferError`].
    #[inline]
    pub fn offer(&mut self, payload: &[u8]) -> Result<(), OfferError> {
        self.offer_parts(&[payload])
    }

    /// The same for a message that lies in at most [`ClusterClient::PARTS_MAX`] parts.
    ///
    /// # Errors
    /// See [`OfferError`].
    #[inline]
    pub fn offer_parts(&mut self, parts: &[&[u8]]) -> Result<(), OfferError> {
        self.session()?.offer(parts)
    }

    /// Asks the cluster to take a snapshot; returns the id that the answer will carry.
    ///
    /// # Errors
    /// See [`OfferError`].
    pub fn request_snapshot(&mut self) -> Result<i64, OfferError> {
        let correlation_id = self.transport.handle().next_correlation_id().0;
        self.session()?.request_snapshot(correlation_id)?;
        Ok(correlation_id)
    }

    fn session(&mut self) -> Result<&mut Session, OfferError> {
        match &mut self.phase {
            Phase::Open(session) => Ok(session),
            Phase::Connecting(_) => Err(OfferError::NotConnected),
            Phase::Closed(_) => Err(OfferError::Closed),
        }
    }

    /// Hands over at most `limit` fragments of what the cluster said; returns how many.
    ///
    /// News of leaders come this way: poll in every pass, even if no message is expected.
    pub fn poll(&mut self, limit: usize, now: Now, on_event: impl FnMut(EgressEvent<'_>)) -> usize {
        match &mut self.phase {
            Phase::Open(session) => session.poll(self.transport.handle(), limit, now, on_event),
            Phase::Connecting(_) | Phase::Closed(_) => 0,
        }
    }

    /// Tells the cluster that the session ends. With an owned client of the driver, step it once
    /// more, or close it by [`ClusterClient::close_transport`].
    pub fn close(&mut self) {
        let was = std::mem::replace(&mut self.phase, Phase::Closed(SessionError::Closed));
        if let Phase::Open(session) = was {
            session.close();
        }
    }

    /// Ends the session, and the client of the driver if it is owned.
    pub fn close_transport(&mut self) {
        self.close();
        if let Transport::Owned(client) = &mut self.transport {
            client.close();
        }
    }

    /// Whether the session is open and its leader takes messages, as far as is known.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(&self.phase, Phase::Open(session) if session.is_connected())
    }

    /// The id of the open session.
    #[must_use]
    pub fn session_id(&self) -> Option<i64> {
        self.open().map(Session::id)
    }

    /// The leadership term of the open session.
    #[must_use]
    pub fn leadership_term_id(&self) -> Option<i64> {
        self.open().map(Session::leadership_term_id)
    }

    /// The member that leads, as far as the open session knows.
    #[must_use]
    pub fn leader_member_id(&self) -> Option<i32> {
        self.open().map(Session::leader_member_id)
    }

    fn open(&self) -> Option<&Session> {
        match &self.phase {
            Phase::Open(session) => Some(session),
            Phase::Connecting(_) | Phase::Closed(_) => None,
        }
    }
}

fn begin(config: &Config, handle: &Handle, now: Now) -> Phase {
    match Connect::new(config, handle, now) {
        Ok(connect) => Phase::Connecting(Box::new(connect)),
        Err(error) => Phase::Closed(error),
    }
}
