//! Appends to the log what the core decides, as the leader: its messages with their positions.

use client::{ExclusivePublication, OfferError};
use consensus::{LogAction, Outcome, SessionHeader};
use wire::bytes::{EncodeError, SemanticVersion};
use wire::cluster::ingress::{SESSION_HEADER_LENGTH, SessionMessageHeader};
use wire::cluster::log::{
    ClusterAction, ClusterActionRequest, Log, NewLeadershipTermEvent, SessionCloseEvent,
    SessionOpenEvent, TimerEvent,
};
use wire::cluster::{CloseReason, TimeUnit};
use wire::frame::DATA_HEADER_LENGTH;
use wire::position::{Position, align_frame};

/// Why the log cannot be appended to any more, or never takes this message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// A field is too long for the wire.
    #[error("a message of the log cannot be encoded: {0}")]
    Encode(#[from] EncodeError),
    /// The publication is closed, at its end, or the message too long for it.
    #[error("the log cannot be appended to: {0}")]
    Offer(#[from] OfferError),
}

impl AppendError {
    /// Whether only this message can never be appended; the next one can.
    #[must_use]
    pub const fn is_of_message(&self) -> bool {
        matches!(self, Self::Encode(_) | Self::Offer(OfferError::MessageTooLong { .. }))
    }
}

/// The log while this member leads. Owned by the agent.
pub struct LogPublisher {
    publication: ExclusivePublication,
    buffer: Vec<u8>,
}

impl LogPublisher {
    /// Takes over the publication of a new term.
    #[must_use]
    pub const fn new(publication: ExclusivePublication) -> Self {
        Self { publication, buffer: Vec::new() }
    }

    /// The publication itself, for its destinations and its session.
    #[must_use]
    pub const fn publication(&self) -> &ExclusivePublication {
        &self.publication
    }

    /// Appends one action of [`consensus::Consensus::drain_log`].
    ///
    /// # Errors
    /// See [`AppendError`]: this member cannot go on leading.
    pub fn append(&mut self, action: &LogAction<'_>) -> Result<Outcome, AppendError> {
        let before = self.publication.position();
        let payload = encode(action, before, &mut self.buffer)?;
        outcome(self.publication.offer_vectored(&[&self.buffer, payload]))
    }

    /// Appends a client's message behind the header that the core gave it.
    ///
    /// # Errors
    /// See [`AppendError`]: this member cannot go on leading, but for a message that is too long.
    pub fn append_message(
        &mut self,
        header: SessionHeader,
        payload: &[u8],
    ) -> Result<Outcome, AppendError> {
        let header = session_header(header);
        outcome(self.publication.offer_vectored(&[&header, payload]))
    }
}

/// What an offer means to the core: without a follower there is no progress, but no error either.
fn outcome(offered: Result<Position, OfferError>) -> Result<Outcome, AppendError> {
    match offered {
        Ok(position) => Ok(Outcome::Appended(position)),
        Err(OfferError::BackPressured | OfferError::AdminAction | OfferError::NotConnected) => {
            Ok(Outcome::BackPressured)
        }
        Err(error) => Err(error.into()),
    }
}

/// The bytes in front of a session message in the log.
#[inline]
#[must_use]
pub fn session_header(header: SessionHeader) -> [u8; SESSION_HEADER_LENGTH] {
    let SessionHeader { leadership_term_id, session, timestamp } = header;
    let message = SessionMessageHeader {
        leadership_term_id: leadership_term_id.0,
        cluster_session_id: session.0,
        timestamp,
    };
    message.to_bytes()
}

/// Encodes an action into `buffer`, which is cleared first; returns what follows it in the same
/// message. `before` is where the log stands: an event that carries its own position holds the one
/// after it, which is exact unless a term ends in between, and then the offer is refused and tried
/// again (source: cluster page 5.3).
///
/// # Errors
/// A field is too long.
pub fn encode<'a>(
    action: &LogAction<'a>,
    before: Position,
    buffer: &mut Vec<u8>,
) -> Result<&'a [u8], EncodeError> {
    let mut message = to_wire(action);
    let length = message.encoded_length();
    let after = position_after(before, length);
    match &mut message {
        Log::ClusterActionRequest(request) => request.log_position = after.0,
        Log::NewLeadershipTermEvent(event) => event.log_position = after.0,
        _ => {}
    }
    buffer.clear();
    buffer.resize(length, 0);
    message.encode(buffer)?;
    Ok(match *action {
        LogAction::ServiceMessage { payload, .. } => payload,
        _ => &[],
    })
}

/// Where the log stands after a message of `length` bytes that fits in one frame.
fn position_after(before: Position, length: usize) -> Position {
    let framed = i32::try_from(DATA_HEADER_LENGTH + length).unwrap_or(i32::MAX - 31);
    Position(before.0 + i64::from(align_frame(framed)))
}

/// The message, with 0 in place of its own position.
fn to_wire<'a>(action: &LogAction<'a>) -> Log<'a> {
    match *action {
        LogAction::NewLeadershipTerm {
            leadership_term_id,
            timestamp,
            term_base_log_position,
            leader_member_id,
            log_session_id,
            time_unit,
            app_version,
        } => Log::NewLeadershipTermEvent(NewLeadershipTermEvent {
            leadership_term_id: leadership_term_id.0,
            log_position: 0,
            timestamp,
            term_base_log_position: term_base_log_position.0,
            leader_member_id: leader_member_id.0,
            log_session_id,
            time_unit: TimeUnit::from_code(time_unit),
            app_version: SemanticVersion(app_version),
        }),
        LogAction::SessionOpen {
            leadership_term_id,
            correlation_id,
            session,
            timestamp,
            response_stream_id,
            response_channel,
            principal,
        } => Log::SessionOpenEvent(SessionOpenEvent {
            leadership_term_id: leadership_term_id.0,
            correlation_id: correlation_id.0,
            cluster_session_id: session.0,
            timestamp,
            response_stream_id,
            response_channel: response_channel.as_bytes(),
            encoded_principal: principal,
        }),
        LogAction::SessionClose { leadership_term_id, session, timestamp, reason } => {
            Log::SessionCloseEvent(SessionCloseEvent {
                leadership_term_id: leadership_term_id.0,
                cluster_session_id: session.0,
                timestamp,
                close_reason: CloseReason::from_code(reason),
            })
        }
        LogAction::Timer { leadership_term_id, correlation_id, timestamp } => {
            Log::TimerEvent(TimerEvent {
                leadership_term_id: leadership_term_id.0,
                correlation_id: correlation_id.0,
                timestamp,
            })
        }
        LogAction::ClusterAction { leadership_term_id, timestamp, action, flags } => {
            Log::ClusterActionRequest(ClusterActionRequest {
                leadership_term_id: leadership_term_id.0,
                log_position: 0,
                timestamp,
                action: ClusterAction::from_code(action),
                flags,
            })
        }
        LogAction::ServiceMessage { leadership_term_id, session, timestamp, .. } => {
            Log::SessionMessageHeader(SessionMessageHeader {
                leadership_term_id: leadership_term_id.0,
                cluster_session_id: session.0,
                timestamp,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use consensus::{ClusterSessionId, LeadershipTermId, LogEvent, MemberId};

    use super::*;
    use crate::log_follower::decode;

    const TERM: LeadershipTermId = LeadershipTermId(3);
    const VERSION: SemanticVersion = SemanticVersion::new(0, 0, 1);

    #[test]
    fn a_term_s_first_message_carries_the_position_after_its_frame() {
        let action = LogAction::NewLeadershipTerm {
            leadership_term_id: TERM,
            timestamp: 9,
            term_base_log_position: Position(640),
            leader_member_id: MemberId(2),
            log_session_id: -7,
            time_unit: 2,
            app_version: VERSION.0,
        };
        let mut buffer = vec![1; 3];
        assert_eq!(encode(&action, Position(640), &mut buffer), Ok(&[][..]));
        assert_eq!(buffer.len(), 8 + 48);
        let event = LogEvent::NewLeadershipTerm {
            leadership_term_id: TERM,
            // 32 of the frame's header and 56 of the message, up to a multiple of 32.
            log_position: Position(640 + 96),
            timestamp: 9,
            term_base_log_position: Position(640),
            time_unit: Some(2),
        };
        assert_eq!(decode(&buffer, VERSION), Ok(Some(event)));
    }

    #[test]
    fn an_action_carries_the_position_after_its_frame() {
        let action = LogAction::ClusterAction {
            leadership_term_id: TERM,
            timestamp: 9,
            action: 2,
            flags: 1,
        };
        let mut buffer = Vec::new();
        encode(&action, Position(32), &mut buffer).unwrap();
        let event = LogEvent::ClusterAction {
            leadership_term_id: TERM,
            log_position: Position(32 + 96),
            timestamp: 9,
            action: 2,
            flags: 1,
        };
        assert_eq!(decode(&buffer, VERSION), Ok(Some(event)));
    }

    #[test]
    fn a_service_s_message_is_its_header_and_the_payload_behind_it() {
        let (session, payload) = (ClusterSessionId(-5), &[1, 2, 3][..]);
        let action =
            LogAction::ServiceMessage { leadership_term_id: TERM, session, timestamp: 9, payload };
        let mut buffer = Vec::new();
        assert_eq!(encode(&action, Position(0), &mut buffer), Ok(payload));
        let header = SessionHeader { leadership_term_id: TERM, session, timestamp: 9 };
        assert_eq!(session_header(header)[..], buffer[..]);
    }

    #[test]
    fn a_log_without_follower_waits_and_a_closed_one_fails() {
        assert_eq!(outcome(Ok(Position(64))), Ok(Outcome::Appended(Position(64))));
        assert_eq!(outcome(Err(OfferError::NotConnected)), Ok(Outcome::BackPressured));
        let closed = AppendError::Offer(OfferError::Closed);
        assert_eq!(outcome(Err(OfferError::Closed)), Err(closed));
    }
}
