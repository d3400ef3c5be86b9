//! What clients hear from the module. Services write to the same streams by themselves.

pub mod codec;

use std::collections::BTreeMap;

use client::{Handle, OfferError, Pending, Publication};
use consensus::{ClientAction, ClientInput, ClusterSessionId, EventCode, Outcome};
use wire::bytes::EncodeError;
use wire::position::{Position, StreamId};

use codec::Announcement;

/// How often something is offered before it waits, or is given up.
const SEND_ATTEMPTS: usize = 3;

enum Link {
    Asked(Pending<Publication>),
    /// There, but without its client.
    Made(Publication),
    Connected(Publication),
    Unreachable,
}

/// One publication for each client session, shared with the services of this driver: channel and
/// stream are those of the client, word for word.
pub struct Egress {
    handle: Handle,
    announcement: Announcement,
    links: BTreeMap<ClusterSessionId, Link>,
    buffer: Vec<u8>,
}

impl Egress {
    /// Without sessions.
    #[must_use]
    pub const fn new(handle: Handle, announcement: Announcement) -> Self {
        Self { handle, announcement, links: BTreeMap::new(), buffer: Vec::new() }
    }

    /// Asks for the publication of a session: [`ClientAction::Connect`].
    pub fn connect(&mut self, session: ClusterSessionId, channel: &str, stream_id: i32) {
        let pending = self.handle.add_publication(channel, StreamId(stream_id));
        self.links.insert(session, Link::Asked(pending));
    }

    /// Closes the publication of a session: [`ClientAction::Disconnect`].
    pub fn disconnect(&mut self, session: ClusterSessionId) {
        self.links.remove(&session);
    }

    /// Tells what became of publications that were asked for, once each.
    pub fn advance(&mut self, mut on_input: impl FnMut(ClientInput)) {
        for (&session, link) in &mut self.links {
            if let Link::Asked(pending) = link {
                match pending.poll() {
                    Ok(None) => {}
                    Ok(Some(publication)) => *link = Link::Made(publication),
                    Err(_) => {
                        *link = Link::Unreachable;
                        on_input(ClientInput::Unreachable(session));
                    }
                }
            }
            if matches!(link, Link::Made(publication) if publication.is_connected()) {
                let made = std::mem::replace(link, Link::Unreachable);
                if let Link::Made(publication) = made {
                    *link = Link::Connected(publication);
                    on_input(ClientInput::Connected(session));
                }
            }
        }
    }

    /// Sends what an action says. A client that cannot be reached any more loses it.
    ///
    /// # Errors
    /// A field is too long for the wire: nothing is sent, and never will be.
    pub fn send(
        &mut self,
        session: ClusterSessionId,
        action: &ClientAction,
    ) -> Result<Outcome, EncodeError> {
        let publication = match self.links.get(&session) {
            None | Some(Link::Unreachable) => return Ok(Outcome::Done),
            // Refusals too wait for the client to be there; the core ends the wait.
            Some(Link::Asked(_) | Link::Made(_)) => return Ok(Outcome::BackPressured),
            Some(Link::Connected(publication)) => publication,
        };
        if !codec::encode(session, action, &self.announcement, &mut self.buffer)? {
            return Ok(Outcome::Done);
        }
        for _ in 0..SEND_ATTEMPTS {
            if let Some(outcome) = outcome(publication.offer(&self.buffer)) {
                return Ok(outcome);
            }
        }
        Ok(refused(action))
    }
}

/// What an offer means; `None` if it may be tried again.
const fn outcome(offered: Result<Position, OfferError>) -> Option<Outcome> {
    match offered {
        Err(OfferError::BackPressured | OfferError::AdminAction | OfferError::NotConnected) => None,
        Ok(_) | Err(_) => Some(Outcome::Done),
    }
}

/// What becomes of an action that did not go out now: what a client waits for is tried again, for
/// as long as its session lives.
const fn refused(action: &ClientAction) -> Outcome {
    match action {
        ClientAction::Event { code: EventCode::Ok | EventCode::Redirect, .. }
        | ClientAction::NewLeader { .. }
        | ClientAction::Challenge { .. } => Outcome::BackPressured,
        _ => Outcome::Done,
    }
}

#[cfg(test)]
mod tests {
    use consensus::{CorrelationId, LeadershipTermId, MemberId};

    use super::*;

    fn event(code: EventCode) -> ClientAction {
        ClientAction::Event {
            correlation_id: CorrelationId(1),
            leadership_term_id: LeadershipTermId(1),
            leader_member_id: MemberId(1),
            code,
            detail: String::new(),
        }
    }

    #[test]
    fn what_a_client_waits_for_is_tried_again_and_the_rest_is_given_up() {
        for code in [EventCode::Ok, EventCode::Redirect] {
            assert_eq!(refused(&event(code)), Outcome::BackPressured);
        }
        for code in [EventCode::Closed, EventCode::Error, EventCode::AuthenticationRejected] {
            assert_eq!(refused(&event(code)), Outcome::Done);
        }
        let leadership_term_id = LeadershipTermId(1);
        let new_leader = ClientAction::NewLeader { leadership_term_id };
        assert_eq!(refused(&new_leader), Outcome::BackPressured);
    }

    #[test]
    fn a_closed_publication_is_not_waited_for() {
        assert_eq!(outcome(Ok(Position(32))), Some(Outcome::Done));
        assert_eq!(outcome(Err(OfferError::Closed)), Some(Outcome::Done));
        assert_eq!(outcome(Err(OfferError::BackPressured)), None);
        assert_eq!(outcome(Err(OfferError::NotConnected)), None);
    }
}
