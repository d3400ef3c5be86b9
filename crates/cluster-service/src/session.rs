//! The open client sessions, and the channels on which a leading member answers them.

use client::{Handle, OfferError, Pending, Publication};
use runtime::Nanos;
use wire::cluster::ingress::SessionMessageHeader;
use wire::position::StreamId;

use crate::cluster::{Egress, SendError};
use crate::service::ClusterSessionId;

/// How long one client's channel may hold up the service: a host whose name does not resolve is of
/// that client's choosing.
pub(crate) const WAIT_MAX: Nanos = Nanos::from_secs(1);

/// Parts of a message that need no copy.
const PARTS_MAX: usize = 7;

/// The open sessions in order of their ids.
#[derive(Default)]
pub(crate) struct Sessions {
    ids: Vec<ClusterSessionId>,
    /// One for each of `ids`.
    sessions: Vec<Session>,
    /// Stands in front of answers to the event that is being handled; its session is filled in.
    header: Option<SessionMessageHeader>,
    is_leading: bool,
    is_waiting: bool,
}

/// A session as the log, or a snapshot, describes it.
pub(crate) struct Session {
    pub(crate) response_stream_id: i32,
    pub(crate) response_channel: Vec<u8>,
    pub(crate) principal: Vec<u8>,
    answers: Answers,
}

/// The channel for answers.
enum Answers {
    None,
    Pending { publication: Pending<Publication>, since: Option<Nanos> },
    Open(Publication),
}

impl Session {
    pub(crate) const fn new(
        response_stream_id: i32,
        response_channel: Vec<u8>,
        principal: Vec<u8>,
    ) -> Self {
        Self { response_stream_id, response_channel, principal, answers: Answers::None }
    }

    /// Asks for the publication that the module has too: same text, same log.
    fn connect(&mut self, handle: &Handle) {
        let channel = String::from_utf8_lossy(&self.response_channel);
        let stream_id = StreamId(self.response_stream_id);
        let publication = handle.add_publication(&channel, stream_id);
        self.answers = Answers::Pending { publication, since: None };
    }
}

impl Sessions {
    /// A session opened; false if it is open already.
    pub(crate) fn open(&mut self, id: ClusterSessionId, session: Session) -> bool {
        let Err(at) = self.ids.binary_search(&id) else { return false };
        self.ids.insert(at, id);
        self.sessions.insert(at, session);
        true
    }

    /// A session closed; false if none of this id is open.
    pub(crate) fn close(&mut self, id: ClusterSessionId) -> bool {
        let Ok(at) = self.ids.binary_search(&id) else { return false };
        self.ids.remove(at);
        self.sessions.remove(at);
        true
    }

    pub(crate) fn is_open(&self, id: ClusterSessionId) -> bool {
        self.ids.binary_search(&id).is_ok()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ClusterSessionId, &Session)> {
        self.ids.iter().copied().zip(&self.sessions)
    }

    /// The event that is handled next: what stands in front of answers to it.
    pub(crate) fn set_event(&mut self, leadership_term_id: i64, timestamp: i64) {
        let header = SessionMessageHeader { leadership_term_id, cluster_session_id: 0, timestamp };
        self.header = Some(header);
    }

    /// This member leads, or no longer: others pretend to send.
    pub(crate) fn set_leading(&mut self, is_leading: bool) {
        self.is_leading = is_leading;
    }

    /// Asks for the channel to a client.
    pub(crate) fn connect(&mut self, id: ClusterSessionId, handle: &Handle) {
        if let Ok(at) = self.ids.binary_search(&id) {
            self.sessions[at].connect(handle);
            self.is_waiting = true;
        }
    }

    /// Asks for the channels to all clients.
    pub(crate) fn connect_all(&mut self, handle: &Handle) {
        self.sessions.iter_mut().for_each(|session| session.connect(handle));
        self.is_waiting = !self.sessions.is_empty();
    }

    pub(crate) fn disconnect_all(&mut self) {
        self.sessions.iter_mut().for_each(|session| session.answers = Answers::None);
        self.is_waiting = false;
    }

    /// Whether a channel is still to be opened: what is sent to its client now would be lost,
    /// though it has heard from the module that it may speak.
    pub(crate) const fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    /// Takes in channels that the driver has opened; returns how many, and why one was refused.
    pub(crate) fn poll(&mut self, now: Nanos) -> (usize, Option<String>) {
        let (mut done, mut refused) = (0, None);
        self.is_waiting = false;
        for (id, session) in self.ids.iter().zip(&mut self.sessions) {
            let Answers::Pending { publication, since } = &mut session.answers else { continue };
            match publication.poll() {
                Ok(None) => {
                    let since = *since.get_or_insert(now);
                    self.is_waiting |= now - since < WAIT_MAX;
                    continue;
                }
                Ok(Some(publication)) => session.answers = Answers::Open(publication),
                Err(error) => {
                    session.answers = Answers::None;
                    refused = Some(format!("channel to the client of session {}: {error}", id.0));
                }
            }
            done += 1;
        }
        (done, refused)
    }
}

impl Egress for Sessions {
    fn send(&mut self, session: ClusterSessionId, parts: &[&[u8]]) -> Result<(), SendError> {
        let Ok(at) = self.ids.binary_search(&session) else {
            return Err(SendError::UnknownSession(session));
        };
        if !self.is_leading {
            return Ok(());
        }
        let Some(header) = self.header else { return Err(SendError::NotConnected) };
        let Answers::Open(publication) = &self.sessions[at].answers else {
            return Err(SendError::NotConnected);
        };
        let header = SessionMessageHeader { cluster_session_id: session.0, ..header };
        let offered = offer(publication, &header.to_bytes(), parts);
        match offered {
            Ok(()) => Ok(()),
            Err(OfferError::MessageTooLong { length, max }) => {
                Err(SendError::TooLong { length, longest: max })
            }
            Err(OfferError::AdminAction | OfferError::BackPressured) => {
                Err(SendError::BackPressured)
            }
            Err(
                OfferError::Closed
                | OfferError::NotConnected
                | OfferError::MaxPositionExceeded { .. }
                | OfferError::WrongBlock { .. },
            ) => Err(SendError::NotConnected),
        }
    }

    fn sessions(&self) -> &[ClusterSessionId] {
        &self.ids
    }

    fn principal(&self, session: ClusterSessionId) -> Option<&[u8]> {
        let at = self.ids.binary_search(&session).ok()?;
        Some(&self.sessions[at].principal)
    }
}

/// Offers header and parts as one message; once more if the log turned to its next term.
fn offer(publication: &Publication, header: &[u8], parts: &[&[u8]]) -> Result<(), OfferError> {
    let mut all: [&[u8]; PARTS_MAX + 1] = [&[]; PARTS_MAX + 1];
    all[0] = header;
    let joined;
    let all = if let Some(room) = all.get_mut(1..=parts.len()) {
        room.copy_from_slice(parts);
        &all[..=parts.len()]
    } else {
        joined = parts.concat();
        all[1] = &joined;
        &all[..2]
    };
    match publication.offer_vectored(all) {
        Err(OfferError::AdminAction) => publication.offer_vectored(all).map(drop),
        offered => offered.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(principal: &[u8]) -> Session {
        Session::new(102, b"aeron:ipc".to_vec(), principal.to_vec())
    }

    fn open_two() -> Sessions {
        let mut sessions = Sessions::default();
        assert!(sessions.open(ClusterSessionId(7), session(b"seven")));
        assert!(sessions.open(ClusterSessionId(3), session(b"three")));
        sessions.set_event(1, 10);
        sessions
    }

    #[test]
    fn sessions_stand_in_order_and_open_once() {
        let mut sessions = open_two();
        assert_eq!(sessions.sessions(), [ClusterSessionId(3), ClusterSessionId(7)]);
        assert_eq!(sessions.principal(ClusterSessionId(7)), Some(&b"seven"[..]));
        assert!(!sessions.open(ClusterSessionId(7), session(b"again")));
        assert!(sessions.close(ClusterSessionId(3)) && !sessions.close(ClusterSessionId(3)));
        assert_eq!(sessions.principal(ClusterSessionId(3)), None);
    }

    #[test]
    fn a_member_that_does_not_lead_pretends_to_send() {
        let mut sessions = open_two();
        assert_eq!(sessions.send(ClusterSessionId(3), &[b"x"]), Ok(()));
        let unknown = ClusterSessionId(4);
        assert_eq!(sessions.send(unknown, &[b"x"]), Err(SendError::UnknownSession(unknown)));
        sessions.set_leading(true);
        assert_eq!(sessions.send(ClusterSessionId(3), &[b"x"]), Err(SendError::NotConnected));
    }
}
