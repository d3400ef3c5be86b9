//! An open session, through changes of the leader.
//!
//! ```text
//! Connected --ingress or egress gone--> AwaitLeader --NewLeaderEvent--> AwaitConnection
//!     ^  |________________NewLeaderEvent_________________________________^   |
//!     |__________________________________ingress connected, keep-alive sent__|
//! any --SessionEvent CLOSED, time-out--> Ended
//! ```

use client::{
    Action, CorrelationId, ExclusivePublication, FragmentAssembler, Handle, Subscription,
};
use runtime::{Nanos, Now, Work};
use wire::cluster::ingress::{
    AdminRequest, AdminRequestType, SESSION_HEADER_LENGTH, SessionCloseRequest, SessionKeepAlive,
    SessionMessageHeader,
};
use wire::message::Message;

use crate::config::Config;
use crate::connect::encode;
use crate::egress::{EgressEvent, Heard, hear, poll_images, text};
use crate::error::{OfferError, SessionError};
use crate::ingress::{Ingress, Route};

/// What a leader that does not tell is taken to have for a heartbeat time-out.
const LEADER_HEARTBEAT_TIMEOUT: Nanos = Nanos::from_secs(10);
/// How often the request to close is tried: nobody waits for it.
const CLOSE_ATTEMPTS: usize = 3;

/// Most parts that an offer may have.
pub(crate) const PARTS_MAX: usize = 7;

/// What the cluster said when it opened the session.
pub(crate) struct Opened {
    pub(crate) session_id: i64,
    pub(crate) leadership_term_id: i64,
    pub(crate) leader_member_id: i32,
    pub(crate) leader_heartbeat_timeout: Option<Nanos>,
    pub(crate) image: CorrelationId,
}

/// An open session.
pub(crate) struct Session {
    id: i64,
    leadership_term_id: i64,
    leader_member_id: i32,
    /// Stands in front of every message of this term.
    header: [u8; SESSION_HEADER_LENGTH],
    ingress: Ingress,
    egress: Subscription,
    /// The image by which the leader speaks. The end of another one is no loss.
    image: CorrelationId,
    assembler: FragmentAssembler,
    state: State,
    keep_alive_interval: Nanos,
    next_keep_alive: Nanos,
    message_timeout: Nanos,
    new_leader_timeout: Nanos,
}

enum State {
    Connected(Box<ExclusivePublication>),
    /// Found out by an offer, which has no clock: the next pass begins to wait.
    Lost,
    AwaitLeader {
        since: Nanos,
    },
    AwaitConnection {
        since: Nanos,
        route: Box<Route>,
    },
    Ended(SessionError),
}

/// What a poll found that must be followed once the poll is over.
enum Followed {
    NewLeader { leadership_term_id: i64, leader_member_id: i32, endpoints: String },
    Closed { detail: String },
}

impl Session {
    pub(crate) fn new(
        opened: Opened,
        config: &Config,
        ingress: Ingress,
        publication: Option<ExclusivePublication>,
        egress: Subscription,
        assembler: FragmentAssembler,
        now: Now,
    ) -> Self {
        let announced = opened.leader_heartbeat_timeout.filter(|timeout| timeout.0 > 0);
        let heartbeat = announced.unwrap_or(LEADER_HEARTBEAT_TIMEOUT);
        let state = match publication {
            Some(publication) => State::Connected(Box::new(publication)),
            None => State::Lost,
        };
        let (id, leadership_term_id) = (opened.session_id, opened.leadership_term_id);
        Self {
            id,
            leadership_term_id,
            leader_member_id: opened.leader_member_id,
            header: session_header(id, leadership_term_id),
            ingress,
            egress,
            image: opened.image,
            assembler,
            state,
            keep_alive_interval: config.keep_alive_interval,
            next_keep_alive: now.mono + config.keep_alive_interval,
            message_timeout: config.message_timeout,
            new_leader_timeout: config.new_leader_timeout.unwrap_or(heartbeat + heartbeat),
        }
    }

    pub(crate) const fn id(&self) -> i64 {
        self.id
    }

    pub(crate) const fn leadership_term_id(&self) -> i64 {
        self.leadership_term_id
    }

    pub(crate) const fn leader_member_id(&self) -> i32 {
        self.leader_member_id
    }

    /// Whether a leader takes messages at present, as far as is known.
    pub(crate) const fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected(_))
    }

    pub(crate) fn do_work(&mut self, handle: &Handle, now: Now) -> Result<Work, SessionError> {
        self.egress.update();
        let has_image = self.egress.images().any(|image| image.correlation_id() == self.image);
        match &mut self.state {
            State::Connected(publication) if has_image && publication.is_connected() => {
                let done = self.keep_alive(now);
                Ok(Work::done(done).due(self.next_keep_alive))
            }
            State::Connected(_) | State::Lost => Ok(self.await_leader(now)),
            State::AwaitConnection { .. } if !has_image => Ok(self.await_leader(now)),
            State::AwaitConnection { .. } => self.reach_leader(handle, now),
            State::AwaitLeader { since } => {
                let (waited, deadline) = (now.mono - *since, *since + self.new_leader_timeout);
                if now.mono >= deadline {
                    return Err(SessionError::NewLeaderTimeout { waited });
                }
                Ok(Work::NONE.due(deadline))
            }
            State::Ended(error) => Err(error.clone()),
        }
    }

    /// The leader is gone: its publication is closed, and the next one will make itself known.
    fn await_leader(&mut self, now: Now) -> Work {
        self.state = State::AwaitLeader { since: now.mono };
        Work::done(1).due(now.mono + self.new_leader_timeout)
    }

    /// The keep-alive is the first word to a new leader: it joins the new ingress to the session.
    fn reach_leader(&mut self, handle: &Handle, now: Now) -> Result<Work, SessionError> {
        let State::AwaitConnection { since, route } = &mut self.state else {
            return Ok(Work::NONE);
        };
        let since = *since;
        let mut done = usize::from(route.poll(&self.ingress, handle, now));
        let keep_alive = encode_keep_alive(self.leadership_term_id, self.id);
        let is_reached = route.connected().is_some_and(|it| it.offer(&keep_alive).is_ok());
        let deadline = since + self.message_timeout;
        if is_reached {
            done += 1;
            let was = std::mem::replace(&mut self.state, State::Lost);
            if let State::AwaitConnection { route, .. } = was
                && let Some(publication) = route.into_publication()
            {
                self.state = State::Connected(Box::new(publication));
            }
            self.next_keep_alive = now.mono + self.keep_alive_interval;
            return Ok(Work::done(done).due(self.next_keep_alive));
        }
        if now.mono >= deadline {
            let (waited, tried) = (now.mono - since, route.describe());
            return Err(SessionError::NewLeaderUnreachable { waited, tried });
        }
        Ok(Work::done(done).due(deadline.min(route.next_deadline())))
    }

    fn keep_alive(&mut self, now: Now) -> usize {
        if now.mono < self.next_keep_alive {
            return 0;
        }
        let State::Connected(publication) = &mut self.state else { return 0 };
        match publication.offer(&encode_keep_alive(self.leadership_term_id, self.id)) {
            Ok(_) => {
                self.next_keep_alive = now.mono + self.keep_alive_interval;
                1
            }
            Err(error) => {
                self.on_refusal(&error);
                0
            }
        }
    }

    /// Offers the parts behind the session's header, as one message.
    pub(crate) fn offer(&mut self, parts: &[&[u8]]) -> Result<(), OfferError> {
        let mut all: [&[u8]; PARTS_MAX + 1] = [&[]; PARTS_MAX + 1];
        let Some(room) = all.get_mut(1..=parts.len()) else {
            return Err(OfferError::TooManyParts(parts.len()));
        };
        room.copy_from_slice(parts);
        all[0] = &self.header;
        let all = &all[..=parts.len()];
        let publication = match &mut self.state {
            State::Connected(publication) => publication,
            State::Ended(_) => return Err(OfferError::Closed),
            State::Lost | State::AwaitLeader { .. } | State::AwaitConnection { .. } => {
                return Err(OfferError::AwaitingLeader);
            }
        };
        let offered = match publication.offer_vectored(all) {
            // The log turned to its next term.
            Err(client::OfferError::AdminAction) => publication.offer_vectored(all),
            offered => offered,
        };
        match offered {
            Ok(_) => Ok(()),
            Err(error) => Err(self.on_refusal(&error)),
        }
    }

    /// Asks for a snapshot of the cluster.
    pub(crate) fn request_snapshot(&mut self, correlation_id: i64) -> Result<(), OfferError> {
        let request = encode(&AdminRequest {
            leadership_term_id: self.leadership_term_id,
            cluster_session_id: self.id,
            correlation_id,
            request_type: AdminRequestType::Snapshot,
            payload: &[],
        });
        let State::Connected(publication) = &mut self.state else {
            return Err(OfferError::AwaitingLeader);
        };
        match publication.offer(&request) {
            Ok(_) => Ok(()),
            Err(error) => Err(self.on_refusal(&error)),
        }
    }

    fn on_refusal(&mut self, error: &client::OfferError) -> OfferError {
        match *error {
            client::OfferError::AdminAction | client::OfferError::BackPressured => {
                OfferError::BackPressured
            }
            client::OfferError::NotConnected | client::OfferError::Closed => {
                self.state = State::Lost;
                OfferError::AwaitingLeader
            }
            client::OfferError::MaxPositionExceeded { .. }
            | client::OfferError::WrongBlock { .. } => {
                self.state = State::Ended(SessionError::PositionsUsedUp);
                OfferError::Closed
            }
            client::OfferError::MessageTooLong { length, max } => {
                OfferError::MessageTooLong { length, max }
            }
        }
    }

    /// Hands over what came; returns how many fragments.
    pub(crate) fn poll(
        &mut self,
        handle: &Handle,
        limit: usize,
        now: Now,
        mut on_event: impl FnMut(EgressEvent<'_>),
    ) -> usize {
        if matches!(self.state, State::Ended(_)) {
            return 0;
        }
        let (id, mut found) = (self.id, None);
        let done = poll_images(&mut self.egress, &mut self.assembler, limit, |image, message| {
            if found.is_some() {
                return Action::Abort;
            }
            match hear(message, id) {
                Heard::Event(event) => on_event(event),
                Heard::Nothing => {}
                Heard::NewLeader { leadership_term_id, leader_member_id, endpoints } => {
                    on_event(EgressEvent::NewLeader { leadership_term_id, leader_member_id });
                    let endpoints = text(endpoints);
                    let leader =
                        Followed::NewLeader { leadership_term_id, leader_member_id, endpoints };
                    found = Some((image, leader));
                }
                Heard::Closed { detail } => {
                    found = Some((image, Followed::Closed { detail: text(detail) }));
                }
            }
            if found.is_some() { Action::Break } else { Action::Continue }
        });
        match found {
            None => {}
            Some((_, Followed::Closed { detail })) => {
                self.state = State::Ended(SessionError::ClosedByCluster { detail });
            }
            Some((image, leader)) => self.follow(handle, image, leader, now),
        }
        done
    }

    fn follow(&mut self, handle: &Handle, image: CorrelationId, leader: Followed, now: Now) {
        let Followed::NewLeader { leadership_term_id, leader_member_id, endpoints } = leader else {
            return;
        };
        if leadership_term_id < self.leadership_term_id {
            return;
        }
        self.leadership_term_id = leadership_term_id;
        self.leader_member_id = leader_member_id;
        self.header = session_header(self.id, leadership_term_id);
        self.image = image;
        self.assembler.clear();
        let route = self.ingress.route_to(handle, leader_member_id, &endpoints, Vec::new());
        self.state = match route {
            Ok(route) => State::AwaitConnection { since: now.mono, route: Box::new(route) },
            Err(error) => State::Ended(error),
        };
    }

    /// Tells the leader that the session ends, if there is one.
    pub(crate) fn close(mut self) {
        let State::Connected(publication) = &mut self.state else { return };
        let request = encode(&SessionCloseRequest {
            leadership_term_id: self.leadership_term_id,
            cluster_session_id: self.id,
        });
        let _ = (0..CLOSE_ATTEMPTS).any(|_| publication.offer(&request).is_ok());
    }
}

fn session_header(id: i64, leadership_term_id: i64) -> [u8; SESSION_HEADER_LENGTH] {
    let header = SessionMessageHeader { leadership_term_id, cluster_session_id: id, timestamp: 0 };
    header.to_bytes()
}

fn encode_keep_alive(leadership_term_id: i64, cluster_session_id: i64) -> [u8; 24] {
    let mut bytes = [0; 24];
    let result = SessionKeepAlive { leadership_term_id, cluster_session_id }.encode(&mut bytes);
    assert!(result.is_ok(), "a keep-alive has the length of its buffer: {result:?}");
    bytes
}
