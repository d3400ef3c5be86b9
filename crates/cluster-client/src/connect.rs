//! Opening a session.
//!
//! ```text
//! egress subscription, ingress publications
//!   --> one is connected --> SessionConnectRequest
//!         ^                    |-- OK --------> Session
//!         |-- REDIRECT --------|-- Challenge -> ChallengeResponse, and wait on
//!                              |-- ERROR, AUTHENTICATION_REJECTED -> SessionError
//! ```

use client::{
    Action, AddError, CorrelationId, ErrorCode, FragmentAssembler, Handle, Pending, Subscription,
};
use runtime::{Nanos, Now, Work};
use wire::cluster::CLIENT_PROTOCOL_VERSION;
use wire::cluster::ingress::{ChallengeResponse, SessionConnectRequest};
use wire::message::Message;
use wire::position::StreamId;
use wire::uri::{ChannelUri, key};

use crate::config::Config;
use crate::credentials::Credentials;
use crate::egress::{Answer, answer, poll_images};
use crate::error::SessionError;
use crate::ingress::{Ingress, Route, describe_routes};
use crate::session::{Opened, Session};

/// How many fragments one pass takes in.
const FRAGMENT_LIMIT: usize = 10;
/// When to look again for a place in the driver, or for a leader that nobody knows yet.
const RETRY_INTERVAL: Nanos = Nanos::from_millis(20);

/// What surrounds a pass.
pub(crate) struct Context<'a> {
    pub(crate) config: &'a Config,
    pub(crate) handle: &'a Handle,
    pub(crate) credentials: &'a mut dyn Credentials,
}

/// A session that is being opened.
pub(crate) struct Connect {
    started: Nanos,
    ingress: Ingress,
    routes: Vec<Route>,
    egress: Egress,
    egress_channel: String,
    assembler: FragmentAssembler,
    asked: Option<Asked>,
    ask_at: Nanos,
}

/// The subscription for answers, on its way.
enum Egress {
    Pending(Pending<Subscription>),
    RetryAt(Nanos),
    Open(Box<Subscription>),
}

/// A request that went out.
struct Asked {
    /// Index of the way by which it went.
    route: usize,
    correlation_id: i64,
    /// Answer to a challenge that has not gone out yet.
    response: Option<Vec<u8>>,
}

/// What came of a pass.
pub(crate) enum Progress {
    Again(Box<Connect>, Work),
    Open(Box<Session>),
}

impl Connect {
    pub(crate) fn new(config: &Config, handle: &Handle, now: Now) -> Result<Self, SessionError> {
        let ingress = Ingress::new(config)?;
        let egress_channel = egress_channel(config)?;
        let routes = ingress.routes(handle, &config.ingress_endpoints)?;
        let stream_id = StreamId(config.egress_stream_id);
        let egress = Egress::Pending(handle.add_subscription(&egress_channel, stream_id));
        Ok(Self {
            started: now.mono,
            ingress,
            routes,
            egress,
            egress_channel,
            assembler: FragmentAssembler::new(),
            asked: None,
            ask_at: now.mono,
        })
    }

    pub(crate) fn poll(
        mut self: Box<Self>,
        context: &mut Context<'_>,
        now: Now,
    ) -> Result<Progress, SessionError> {
        let mut done = self.poll_egress(context, now)?;
        for route in &mut self.routes {
            done += usize::from(route.poll(&self.ingress, context.handle, now));
        }
        done += self.ask(context, now);
        done += self.respond();
        if let Some((image, answer)) = self.poll_answers() {
            return self.on_answer(image, answer, context, now);
        }
        let deadline = self.started + context.config.message_timeout;
        if now.mono >= deadline {
            return Err(self.timed_out(now));
        }
        let due = self.routes.iter().map(Route::next_deadline).fold(deadline, Nanos::min);
        let due = match self.egress {
            Egress::RetryAt(at) => due.min(at),
            Egress::Pending(_) | Egress::Open(_) => due,
        };
        let due = if now.mono < self.ask_at { due.min(self.ask_at) } else { due };
        Ok(Progress::Again(self, Work::done(done).due(due)))
    }

    fn poll_egress(&mut self, context: &Context<'_>, now: Now) -> Result<usize, SessionError> {
        match &mut self.egress {
            Egress::Pending(pending) => match pending.poll() {
                Ok(None) => return Ok(0),
                Ok(Some(subscription)) => self.egress = Egress::Open(Box::new(subscription)),
                Err(AddError::Refused { code, .. })
                    if code == ErrorCode::RESOURCE_TEMPORARILY_UNAVAILABLE =>
                {
                    self.egress = Egress::RetryAt(now.mono + RETRY_INTERVAL);
                }
                Err(error) => return Err(SessionError::Egress(error)),
            },
            Egress::RetryAt(at) if *at <= now.mono => {
                let stream_id = StreamId(context.config.egress_stream_id);
                let pending = context.handle.add_subscription(&self.egress_channel, stream_id);
                self.egress = Egress::Pending(pending);
            }
            Egress::RetryAt(_) | Egress::Open(_) => return Ok(0),
        }
        Ok(1)
    }

    /// Asks for a session by the first way that is connected. A request whose way broke is taken
    /// for lost.
    fn ask(&mut self, context: &mut Context<'_>, now: Now) -> usize {
        if let Some(asked) = &self.asked
            && self.routes[asked.route].connected().is_none()
        {
            self.asked = None;
        }
        if self.asked.is_some() || now.mono < self.ask_at {
            return 0;
        }
        let Egress::Open(egress) = &self.egress else { return 0 };
        let mut ways = self.routes.iter_mut().enumerate();
        let found = ways.find_map(|(index, route)| Some((index, route.connected()?)));
        let Some((route, publication)) = found else { return 0 };
        let Some(response_channel) = egress.resolved_channel() else { return 0 };
        let correlation_id = context.handle.next_correlation_id().0;
        let client_info = client_info(&context.config.name);
        let request = SessionConnectRequest {
            correlation_id,
            response_stream_id: context.config.egress_stream_id,
            version: CLIENT_PROTOCOL_VERSION,
            response_channel: response_channel.as_bytes(),
            encoded_credentials: &context.credentials.encoded(),
            client_info: client_info.as_bytes(),
        };
        if publication.offer(&encode(&request)).is_err() {
            return 0;
        }
        self.asked = Some(Asked { route, correlation_id, response: None });
        1
    }

    /// Sends the answer to a challenge that waits, if any.
    fn respond(&mut self) -> usize {
        let Some(Asked { route, response, .. }) = &mut self.asked else { return 0 };
        let Some(message) = response else { return 0 };
        let Some(publication) = self.routes[*route].connected() else { return 0 };
        if publication.offer(message).is_err() {
            return 0;
        }
        *response = None;
        1
    }

    fn poll_answers(&mut self) -> Option<(CorrelationId, Answer)> {
        let Egress::Open(egress) = &mut self.egress else { return None };
        let asked = self.asked.as_ref().map(|asked| asked.correlation_id);
        let mut found = None;
        poll_images(egress, &mut self.assembler, FRAGMENT_LIMIT, |image, message| {
            if found.is_some() {
                return Action::Abort;
            }
            found = asked.and_then(|id| answer(message, id)).map(|answer| (image, answer));
            if found.is_some() { Action::Break } else { Action::Continue }
        });
        found
    }

    fn on_answer(
        mut self: Box<Self>,
        image: CorrelationId,
        answer: Answer,
        context: &mut Context<'_>,
        now: Now,
    ) -> Result<Progress, SessionError> {
        match answer {
            Answer::Opened {
                session_id,
                leadership_term_id,
                leader_member_id,
                leader_heartbeat_timeout_ns,
            } => {
                let opened = Opened {
                    session_id,
                    leadership_term_id,
                    leader_member_id,
                    leader_heartbeat_timeout: leader_heartbeat_timeout_ns.map(Nanos),
                    image,
                };
                return Ok((*self).open(opened, context.config, now));
            }
            Answer::Redirect { leader_member_id, endpoints } => {
                self.redirect(leader_member_id, &endpoints, context, now)?;
            }
            Answer::Refused { detail } => return Err(SessionError::Refused { detail }),
            Answer::AuthenticationRejected { detail } => {
                return Err(SessionError::AuthenticationRejected { detail });
            }
            Answer::Challenge { session_id, challenge } => {
                let correlation_id = context.handle.next_correlation_id().0;
                let response = encode(&ChallengeResponse {
                    correlation_id,
                    cluster_session_id: session_id,
                    encoded_credentials: &context.credentials.on_challenge(&challenge),
                });
                if let Some(asked) = &mut self.asked {
                    asked.correlation_id = correlation_id;
                    asked.response = Some(response);
                }
            }
        }
        Ok(Progress::Again(self, Work::done(1)))
    }

    /// Goes to the leader; to everybody once more, a little later, if nobody knows it.
    fn redirect(
        &mut self,
        leader: i32,
        endpoints: &str,
        context: &Context<'_>,
        now: Now,
    ) -> Result<(), SessionError> {
        self.asked = None;
        let existing = std::mem::take(&mut self.routes);
        self.routes = match self.ingress.route_to(context.handle, leader, endpoints, existing) {
            Ok(route) => vec![route],
            Err(_) => {
                self.ask_at = now.mono + RETRY_INTERVAL;
                self.ingress.routes(context.handle, &context.config.ingress_endpoints)?
            }
        };
        Ok(())
    }

    /// The session is open: the ways to other members are closed.
    fn open(mut self, opened: Opened, config: &Config, now: Now) -> Progress {
        let route = self.asked.as_ref().map_or(0, |asked| asked.route);
        let publication = self.routes.swap_remove(route).into_publication();
        let Egress::Open(egress) = self.egress else {
            unreachable!("an answer came by the egress subscription");
        };
        let session =
            Session::new(opened, config, self.ingress, publication, *egress, self.assembler, now);
        Progress::Open(Box::new(session))
    }

    fn timed_out(&self, now: Now) -> SessionError {
        let step = match (&self.egress, &self.asked) {
            (Egress::Pending(_) | Egress::RetryAt(_), _) => "waiting for the egress subscription",
            (Egress::Open(_), None) => "waiting for a member to be connected",
            (Egress::Open(_), Some(_)) => "waiting for the answer to the request",
        };
        let (waited, tried) = (now.mono - self.started, describe_routes(&self.routes));
        SessionError::ConnectTimeout { waited, step, tried }
    }
}

/// An image that was lost must not come back with a gap: `rejoin=false`.
fn egress_channel(config: &Config) -> Result<String, SessionError> {
    let channel = &config.egress_channel;
    let uri = ChannelUri::parse(channel).map_err(|error| SessionError::Channel {
        channel: channel.clone(),
        cause: error.to_string(),
    })?;
    let uri = if uri.is_udp() { uri.with(key::REJOIN, false) } else { uri };
    Ok(uri.to_string())
}

fn client_info(name: &str) -> String {
    format!("name={name} version={} commit=coracle", env!("CARGO_PKG_VERSION"))
}

/// A message of its own length: for what is rare.
pub(crate) fn encode<'a>(message: &impl Message<'a>) -> Vec<u8> {
    let mut bytes = vec![0; message.encoded_length()];
    let result = message.encode(&mut bytes);
    assert!(result.is_ok(), "a message of known length was not encoded: {result:?}");
    bytes
}
