//! Finding an archive and getting a session from it.
//!
//! ```text
//! SessionId -> Subscription -> Publication -> Connected -> ConnectResponse -> ArchiveId -> client
//!                                                  ^ challenge |
//!                                                  '-----------'
//! ```
//! One deadline for all of it (archive page 10.2).

use client::{
    AddError, CorrelationId, ErrorCode, ExclusivePublication, FragmentAssembler, Handle,
    OfferError, Pending, Subscription,
};
use runtime::{Nanos, Now};
use wire::archive::CONTROL_PROTOCOL_VERSION;
use wire::archive::CONTROL_PROTOCOL_VERSION_WITH_ARCHIVE_ID;
use wire::archive::request::{ArchiveIdRequest, AuthConnectRequest, ChallengeResponse};
use wire::archive::response::{ControlResponse, ControlResponseCode, Response};
use wire::message::Message;
use wire::position::{SessionId, StreamId};
use wire::uri::ChannelUri;

use crate::archive_client::{ArchiveClient, Session};
use crate::config::Config;
use crate::credentials::Credentials;
use crate::error::ConnectError;
use crate::inbox::archive_error;

/// Fragments taken in one pass, at most.
const FRAGMENT_LIMIT: usize = 10;
/// Longest name of a client.
const NAME_LENGTH_MAX: usize = 100;

/// A client that is looking for its archive.
#[must_use]
pub struct Connecting {
    config: Config,
    handle: Handle,
    credentials: Box<dyn Credentials>,
    started: Nanos,
    control: ChannelUri,
    response: ChannelUri,
    phase: Phase,
    assembler: FragmentAssembler,
    /// Whatever came last that concerned this session.
    heard: Option<Heard>,
}

enum Phase {
    SessionId(Pending<SessionId>),
    Subscription(Pending<Subscription>),
    Publication(Subscription, Pending<ExclusivePublication>),
    /// Waits to be connected, and for the port to be known, then asks.
    Connect(Subscription, ExclusivePublication),
    /// Has a message to send and then waits for its answer.
    Exchange(Exchange),
    Over,
}

struct Exchange {
    subscription: Subscription,
    publication: ExclusivePublication,
    correlation_id: CorrelationId,
    /// What is still to be sent.
    message: Option<Vec<u8>>,
    awaited: Awaited,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    Session,
    ArchiveId { control_session_id: i64 },
}

/// An answer, decoded.
enum Heard {
    Ok { control_session_id: i64, relevant_id: i64, tells_archive_id: bool },
    Challenge { control_session_id: i64, challenge: Vec<u8> },
    Failed(ConnectError),
}

impl Connecting {
    pub(crate) fn new(
        config: Config,
        credentials: Box<dyn Credentials>,
        handle: &Handle,
        now: Now,
    ) -> Result<Self, ConnectError> {
        let mut control = parse(&config.control_channel)?;
        let mut response = parse(&config.response_channel)?;
        conclude(&config, &mut control);
        conclude(&config, &mut response);
        let stream_id = StreamId(config.control_stream_id);
        let own_session =
            is_response(&response) || control.has("session-id") || response.has("session-id");
        let phase = if own_session {
            let subscription = add_subscription(&config, &response, handle);
            Phase::Subscription(subscription)
        } else {
            Phase::SessionId(handle.next_session_id(stream_id))
        };
        Ok(Self {
            config,
            handle: handle.clone(),
            credentials,
            started: now.mono,
            control,
            response,
            phase,
            assembler: FragmentAssembler::new(),
            heard: None,
        })
    }

    /// When the attempt is given up. Answers come through the client, which says when it is due.
    #[must_use]
    pub fn deadline(&self) -> Nanos {
        self.started + self.config.message_timeout
    }

    /// Goes on as far as it can; hands over the client once it has a session.
    ///
    /// The client of the driver must be stepped by its owner all the while.
    ///
    /// # Errors
    /// See [`ConnectError`]; the attempt is over then.
    pub fn poll(&mut self, now: Now) -> Result<Option<ArchiveClient>, ConnectError> {
        loop {
            let phase = std::mem::replace(&mut self.phase, Phase::Over);
            let waiting_for = phase.waiting_for();
            match self.advance(phase, now)? {
                Step::Wait(phase) => {
                    self.phase = phase;
                    return self.check_deadline(now, waiting_for);
                }
                Step::Next(phase) => self.phase = phase,
                Step::Done(client) => return Ok(Some(*client)),
            }
        }
    }

    fn check_deadline(
        &mut self,
        now: Now,
        waiting_for: &'static str,
    ) -> Result<Option<ArchiveClient>, ConnectError> {
        let waited = now.mono - self.started;
        if now.mono < self.deadline() {
            return Ok(None);
        }
        self.phase = Phase::Over;
        let (channel, stream_id) = (self.control.to_string(), self.config.control_stream_id);
        Err(ConnectError::Timeout { channel, stream_id, waiting_for, waited })
    }

    fn advance(&mut self, phase: Phase, now: Now) -> Result<Step, ConnectError> {
        match phase {
            Phase::SessionId(pending) => self.on_session_id(pending),
            Phase::Subscription(pending) => self.on_subscription(pending),
            Phase::Publication(subscription, pending) => self.on_publication(subscription, pending),
            Phase::Connect(subscription, publication) => {
                Ok(self.connect(subscription, publication))
            }
            Phase::Exchange(exchange) => self.exchange(exchange, now),
            Phase::Over => Err(ConnectError::Disconnected { channel: self.control.to_string() }),
        }
    }

    fn on_session_id(&mut self, mut pending: Pending<SessionId>) -> Result<Step, ConnectError> {
        let Some(session_id) = pending.poll().map_err(|error| self.driver_error(error))? else {
            return Ok(Step::Wait(Phase::SessionId(pending)));
        };
        self.control.set("session-id", session_id.0);
        self.response.set("session-id", session_id.0);
        let pending = add_subscription(&self.config, &self.response, &self.handle);
        Ok(Step::Next(Phase::Subscription(pending)))
    }

    fn on_subscription(
        &mut self,
        mut pending: Pending<Subscription>,
    ) -> Result<Step, ConnectError> {
        let subscription = match pending.poll() {
            Ok(Some(subscription)) => subscription,
            Ok(None) => return Ok(Step::Wait(Phase::Subscription(pending))),
            Err(error) if is_temporary(&error) => {
                let again = add_subscription(&self.config, &self.response, &self.handle);
                return Ok(Step::Wait(Phase::Subscription(again)));
            }
            Err(error) => return Err(self.driver_error(error)),
        };
        if is_response(&self.response) {
            let id = subscription.registration_id();
            self.control.set("response-correlation-id", id.0);
        }
        let pending = self.add_publication();
        Ok(Step::Next(Phase::Publication(subscription, pending)))
    }

    fn add_publication(&self) -> Pending<ExclusivePublication> {
        let stream_id = StreamId(self.config.control_stream_id);
        self.handle.add_exclusive_publication(&self.control.to_string(), stream_id)
    }

    fn on_publication(
        &mut self,
        subscription: Subscription,
        mut pending: Pending<ExclusivePublication>,
    ) -> Result<Step, ConnectError> {
        match pending.poll() {
            Ok(Some(publication)) => Ok(Step::Next(Phase::Connect(subscription, publication))),
            Ok(None) => Ok(Step::Wait(Phase::Publication(subscription, pending))),
            Err(error) if is_temporary(&error) => {
                Ok(Step::Wait(Phase::Publication(subscription, self.add_publication())))
            }
            Err(error) => Err(self.driver_error(error)),
        }
    }

    fn connect(&mut self, subscription: Subscription, publication: ExclusivePublication) -> Step {
        if !publication.is_connected() {
            return Step::Wait(Phase::Connect(subscription, publication));
        }
        let Some(channel) = subscription.resolved_channel() else {
            return Step::Wait(Phase::Connect(subscription, publication));
        };
        let correlation_id = self.handle.next_correlation_id();
        let credentials = self.credentials.credentials();
        let info = client_info(&self.config.client_name);
        let message = encode(&AuthConnectRequest {
            correlation_id: correlation_id.0,
            response_stream_id: self.config.response_stream_id,
            version: CONTROL_PROTOCOL_VERSION,
            response_channel: channel.as_bytes(),
            encoded_credentials: &credentials,
            client_info: info.as_bytes(),
        });
        Step::Next(Phase::Exchange(Exchange {
            subscription,
            publication,
            correlation_id,
            message: Some(message),
            awaited: Awaited::Session,
        }))
    }

    fn exchange(&mut self, mut exchange: Exchange, now: Now) -> Result<Step, ConnectError> {
        if let Some(message) = exchange.message.take() {
            match exchange.publication.offer(&message) {
                Ok(_) => {}
                Err(OfferError::AdminAction) => {
                    exchange.message = Some(message);
                    return Ok(Step::Next(Phase::Exchange(exchange)));
                }
                // Not connected for a moment is no reason to give up: the deadline is.
                Err(OfferError::BackPressured | OfferError::NotConnected) => {
                    exchange.message = Some(message);
                    return Ok(Step::Wait(Phase::Exchange(exchange)));
                }
                Err(_) => {
                    return Err(ConnectError::Disconnected { channel: self.control.to_string() });
                }
            }
        }
        self.listen(&mut exchange);
        match self.heard.take() {
            None => Ok(Step::Wait(Phase::Exchange(exchange))),
            Some(heard) => self.on_heard(heard, exchange, now),
        }
    }

    /// Polls until something concerns the exchange.
    fn listen(&mut self, exchange: &mut Exchange) {
        let (assembler, heard) = (&mut self.assembler, &mut self.heard);
        let (id, control) = (exchange.correlation_id, &self.control);
        exchange.subscription.controlled_poll(FRAGMENT_LIMIT, |fragment| {
            assembler.on_fragment_controlled(fragment, |message| {
                *heard = hear(message.payload(), id, control);
                if heard.is_some() { client::Action::Break } else { client::Action::Continue }
            })
        });
    }

    fn on_heard(
        &mut self,
        heard: Heard,
        exchange: Exchange,
        now: Now,
    ) -> Result<Step, ConnectError> {
        match (heard, exchange.awaited) {
            (Heard::Failed(error), _) => Err(error),
            (Heard::Challenge { control_session_id, challenge }, _) => {
                let credentials = self.credentials.answer(&challenge);
                let correlation_id = self.handle.next_correlation_id();
                let message = encode(&ChallengeResponse {
                    control_session_id,
                    correlation_id: correlation_id.0,
                    encoded_credentials: &credentials,
                });
                Ok(next_exchange(exchange, correlation_id, message, Awaited::Session))
            }
            (Heard::Ok { control_session_id, tells_archive_id, .. }, Awaited::Session) => {
                if !tells_archive_id {
                    return Ok(self.done(exchange, control_session_id, None, now));
                }
                let correlation_id = self.handle.next_correlation_id();
                let correlation = correlation_id.0;
                let message =
                    encode(&ArchiveIdRequest { control_session_id, correlation_id: correlation });
                let awaited = Awaited::ArchiveId { control_session_id };
                Ok(next_exchange(exchange, correlation_id, message, awaited))
            }
            (Heard::Ok { relevant_id, .. }, Awaited::ArchiveId { control_session_id }) => {
                Ok(self.done(exchange, control_session_id, Some(relevant_id), now))
            }
        }
    }

    fn done(
        &mut self,
        exchange: Exchange,
        control_session_id: i64,
        archive_id: Option<i64>,
        now: Now,
    ) -> Step {
        let Exchange { subscription, publication, .. } = exchange;
        let assembler = std::mem::take(&mut self.assembler);
        let session =
            Session { subscription, publication, assembler, control_session_id, archive_id };
        let timeout = self.config.message_timeout;
        Step::Done(Box::new(ArchiveClient::new(self.handle.clone(), session, timeout, now)))
    }

    fn driver_error(&self, cause: AddError) -> ConnectError {
        ConnectError::Driver { channel: self.control.to_string(), cause }
    }
}

enum Step {
    /// Nothing more can be done now.
    Wait(Phase),
    /// The next phase may go on at once.
    Next(Phase),
    Done(Box<ArchiveClient>),
}

impl Phase {
    /// For people: what has not happened yet.
    const fn waiting_for(&self) -> &'static str {
        match self {
            Self::SessionId(_) => "no session id came from the driver",
            Self::Subscription(_) => "the response subscription was not made",
            Self::Publication(..) => "the control publication was not made",
            Self::Connect(..) => "nobody listened to requests, or no response port was known",
            Self::Exchange(exchange) => match (exchange.message.is_some(), exchange.awaited) {
                (true, _) => "a request could not be sent",
                (false, Awaited::Session) => "the request to connect was not answered",
                (false, Awaited::ArchiveId { .. }) => "the archive did not say its id",
            },
            Self::Over => "it was over",
        }
    }
}

fn next_exchange(
    exchange: Exchange,
    correlation_id: CorrelationId,
    message: Vec<u8>,
    awaited: Awaited,
) -> Step {
    let message = Some(message);
    Step::Next(Phase::Exchange(Exchange { correlation_id, message, awaited, ..exchange }))
}

/// What a message says to this exchange, if anything.
fn hear(bytes: &[u8], id: CorrelationId, control: &ChannelUri) -> Option<Heard> {
    match Response::decode(bytes).ok()?? {
        Response::ControlResponse(response) if response.correlation_id == id.0 => {
            Some(hear_response(&response, control))
        }
        Response::Challenge(challenge) if challenge.correlation_id == id.0 => {
            Some(Heard::Challenge {
                control_session_id: challenge.control_session_id,
                challenge: challenge.encoded_challenge.to_vec(),
            })
        }
        _ => None,
    }
}

fn hear_response(response: &ControlResponse<'_>, control: &ChannelUri) -> Heard {
    let channel = control.to_string();
    if response.code == ControlResponseCode::Ok {
        return Heard::Ok {
            control_session_id: response.control_session_id,
            relevant_id: response.relevant_id,
            tells_archive_id: response.version.0 >= CONTROL_PROTOCOL_VERSION_WITH_ARCHIVE_ID.0,
        };
    }
    let cause = archive_error(response);
    // With another major version the relevant id is the session's, and no error code.
    if response.version.major() != CONTROL_PROTOCOL_VERSION.major() {
        return Heard::Failed(ConnectError::Version { channel, message: cause.message });
    }
    Heard::Failed(ConnectError::Refused { channel, cause })
}

fn parse(channel: &str) -> Result<ChannelUri, ConnectError> {
    ChannelUri::parse(channel).map_err(|error| ConnectError::Channel {
        channel: channel.to_string(),
        cause: error.to_string(),
    })
}

/// Fills in what the user left open.
fn conclude(config: &Config, channel: &mut ChannelUri) {
    if !channel.has("term-length") {
        channel.set("term-length", config.term_length);
    }
    if !channel.has("sparse") {
        channel.set("sparse", config.is_term_sparse);
    }
    if let Some(mtu) = config.mtu_length.filter(|_| !channel.has("mtu")) {
        channel.set("mtu", mtu);
    }
}

fn is_response(channel: &ChannelUri) -> bool {
    channel.value("control-mode") == Some("response")
}

fn is_temporary(error: &AddError) -> bool {
    matches!(error, AddError::Refused { code, .. }
        if *code == ErrorCode::RESOURCE_TEMPORARILY_UNAVAILABLE)
}

fn add_subscription(
    config: &Config,
    channel: &ChannelUri,
    handle: &Handle,
) -> Pending<Subscription> {
    handle.add_subscription(&channel.to_string(), StreamId(config.response_stream_id))
}

fn client_info(name: &str) -> String {
    let name: String = name.chars().filter(char::is_ascii).take(NAME_LENGTH_MAX).collect();
    format!("name={name} version={} commit=coracle", env!("CARGO_PKG_VERSION"))
}

/// A message as bytes.
pub(crate) fn encode<'a>(message: &impl Message<'a>) -> Vec<u8> {
    let mut bytes = vec![0; message.encoded_length()];
    // It fails only for texts beyond 1 GiB, which the length of a message rules out later.
    let length = message.encode(&mut bytes).unwrap_or(0);
    bytes.truncate(length);
    bytes
}
