//! Reads the log, replayed, caught up or live, as far as the core allows.

use client::{Action, Fragment, Image, ImageAssembler};
use consensus::{ClusterSessionId, Consensus, CorrelationId, Input, LeadershipTermId, LogEvent};
use runtime::Now;
use wire::bytes::{DecodeError, SemanticVersion};
use wire::cluster::ingress::SessionMessageHeader;
use wire::cluster::log::Log;
use wire::position::Position;

/// Set in the last frame of a message.
const END: u8 = 0x40;

/// Why the log cannot be read on: the member must end, since its log is not what the others read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Bytes that are no message of the log.
    #[error("the log is unreadable before {}: {cause}", position.0)]
    Undecodable {
        /// Position after the message.
        position: Position,
        /// What is wrong.
        cause: DecodeError,
    },
    /// A channel that is no text.
    #[error("a response channel in the log is no text")]
    Channel,
    /// The leader of a term runs an application that this one does not agree with.
    #[error("the log is of application version {theirs:?}, not {ours:?}")]
    AppVersion {
        /// Version of the leader.
        theirs: SemanticVersion,
        /// Version configured here.
        ours: SemanticVersion,
    },
}

/// Who follows the log: the core, in its state between two events.
pub trait Follower {
    /// How far the log may be read now.
    fn limit(&self) -> Position;
    /// How far it was read.
    fn position(&self) -> Position;
    /// Where the log that is read now ends, if that is known.
    fn end(&self) -> Option<Position>;
    /// Takes an event or padding.
    fn take(&mut self, input: Input<'_>);
}

/// The core at a moment.
pub struct At<'a> {
    /// The core.
    pub core: &'a mut Consensus,
    /// The moment.
    pub now: Now,
}

impl Follower for At<'_> {
    fn limit(&self) -> Position {
        self.core.log_limit()
    }

    fn position(&self) -> Position {
        self.core.log_position()
    }

    fn end(&self) -> Option<Position> {
        self.core.log_end()
    }

    fn take(&mut self, input: Input<'_>) {
        self.core.handle(self.now, input);
    }
}

/// Reads the log, image by image. A message may begin in one image and end in the next: a member
/// that dies, or whose leader does, may have recorded only a part of it.
pub struct LogFollower {
    app_version: SemanticVersion,
    assembler: ImageAssembler,
    /// Whether the last fragment left a message incomplete.
    is_amid_message: bool,
    /// The image that was read last, and how far.
    read: Option<(client::CorrelationId, Position)>,
    /// Where that image was joined, and what was incomplete there.
    joined: (Position, ImageAssembler),
}

impl LogFollower {
    /// For an application of this version.
    #[must_use]
    pub const fn new(app_version: SemanticVersion) -> Self {
        let assembler = ImageAssembler::new();
        let joined = (Position(0), ImageAssembler::new());
        Self { app_version, assembler, is_amid_message: false, read: None, joined }
    }

    /// Reads what is there within the limit, at most `fragment_limit`; returns how many fragments.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn poll(
        &mut self,
        image: &mut Image,
        fragment_limit: usize,
        follower: &mut impl Follower,
    ) -> Result<usize, ReadError> {
        self.turn_to(image.correlation_id(), image.position());
        let mut result = Ok(());
        let limit = follower.limit();
        let count = image.bounded_controlled_poll(limit, fragment_limit, |fragment| {
            let read = self.on_fragment(fragment, follower);
            read.unwrap_or_else(|error| {
                result = Err(error);
                Action::Abort
            })
        });
        self.read = Some((image.correlation_id(), image.position()));
        self.on_consumed(image.position(), follower);
        result.map(|()| count)
    }

    /// What is incomplete goes on in another image only where this one was left; where this one was
    /// joined, what was incomplete then.
    fn turn_to(&mut self, image: client::CorrelationId, position: Position) {
        if self.read.is_some_and(|(last, _)| last == image) {
            return;
        }
        let left = self.read.map(|(_, left)| left);
        if left.is_some_and(|left| left != position) {
            let (joined, assembler) = std::mem::take(&mut self.joined);
            let is_again = joined == position;
            self.assembler = if is_again { assembler } else { ImageAssembler::new() };
            self.is_amid_message = false;
        }
        self.joined = (position, self.assembler.clone());
    }

    /// Takes one fragment. A message that ends beyond the limit is left for later.
    fn on_fragment(
        &mut self,
        fragment: Fragment<'_>,
        follower: &mut impl Follower,
    ) -> Result<Action, ReadError> {
        let mut result = Ok(());
        let app_version = self.app_version;
        let action = self.assembler.on_fragment_controlled(fragment, |message| {
            let position = message.position();
            if position > follower.limit() {
                return Action::Abort;
            }
            match decode(message.payload(), app_version) {
                Ok(Some(event)) => follower.take(Input::Log { position, event }),
                Ok(None) => follower.take(Input::Consumed(position)),
                Err(error) => {
                    result = Err(error.at(position));
                    return Action::Abort;
                }
            }
            Action::Continue
        });
        if action != Action::Abort {
            self.is_amid_message = fragment.header().flags & END == 0;
        }
        result.map(|()| action)
    }

    /// Tells of padding: the image moved on, and no message is open. At the end of a replay one may
    /// be: its leader died while sending it, or this member while recording it. The rest of it
    /// comes with the log that goes on there, or exists nowhere.
    fn on_consumed(&self, position: Position, follower: &mut impl Follower) {
        let is_between = !self.is_amid_message || follower.end() == Some(position);
        if is_between && position > follower.position() && position <= follower.limit() {
            follower.take(Input::Consumed(position));
        }
    }
}

impl ReadError {
    fn at(self, position: Position) -> Self {
        match self {
            Self::Undecodable { cause, .. } => Self::Undecodable { position, cause },
            other => other,
        }
    }
}

/// Decodes a message of the log; `None` if it tells the core nothing.
///
/// # Errors
/// See [`ReadError`].
#[inline]
pub fn decode(message: &[u8], ours: SemanticVersion) -> Result<Option<LogEvent<'_>>, ReadError> {
    match SessionMessageHeader::split(message) {
        Some((header, _)) => Ok(Some(session_message(header))),
        None => decode_other(message, ours),
    }
}

const fn session_message<'a>(header: SessionMessageHeader) -> LogEvent<'a> {
    LogEvent::SessionMessage {
        leadership_term_id: LeadershipTermId(header.leadership_term_id),
        session: ClusterSessionId(header.cluster_session_id),
        timestamp: header.timestamp,
    }
}

fn decode_other(message: &[u8], ours: SemanticVersion) -> Result<Option<LogEvent<'_>>, ReadError> {
    let undecodable = |cause| ReadError::Undecodable { position: Position(0), cause };
    let Some(message) = Log::decode(message).map_err(undecodable)? else { return Ok(None) };
    Ok(Some(match message {
        Log::SessionMessageHeader(m) => session_message(m),
        Log::TimerEvent(m) => LogEvent::Timer {
            leadership_term_id: LeadershipTermId(m.leadership_term_id),
            correlation_id: CorrelationId(m.correlation_id),
            timestamp: m.timestamp,
        },
        Log::SessionOpenEvent(m) => LogEvent::SessionOpen {
            leadership_term_id: LeadershipTermId(m.leadership_term_id),
            correlation_id: CorrelationId(m.correlation_id),
            session: ClusterSessionId(m.cluster_session_id),
            timestamp: m.timestamp,
            response_stream_id: m.response_stream_id,
            response_channel: std::str::from_utf8(m.response_channel)
                .map_err(|_| ReadError::Channel)?,
            principal: m.encoded_principal,
        },
        Log::SessionCloseEvent(m) => LogEvent::SessionClose {
            leadership_term_id: LeadershipTermId(m.leadership_term_id),
            session: ClusterSessionId(m.cluster_session_id),
            timestamp: m.timestamp,
            reason: m.close_reason.code(),
        },
        Log::ClusterActionRequest(m) => LogEvent::ClusterAction {
            leadership_term_id: LeadershipTermId(m.leadership_term_id),
            log_position: Position(m.log_position),
            timestamp: m.timestamp,
            action: m.action.code(),
            flags: m.flags,
        },
        Log::NewLeadershipTermEvent(m) => {
            if !is_compatible(m.app_version, ours) {
                return Err(ReadError::AppVersion { theirs: m.app_version, ours });
            }
            let time_unit = m.time_unit.code();
            LogEvent::NewLeadershipTerm {
                leadership_term_id: LeadershipTermId(m.leadership_term_id),
                log_position: Position(m.log_position),
                timestamp: m.timestamp,
                term_base_log_position: Position(m.term_base_log_position),
                time_unit: (time_unit != i32::MIN).then_some(time_unit),
            }
        }
        Log::MembershipChangeEvent(_) => return Ok(None),
    }))
}

/// Whether two versions of the application may run one log: the same major part (source: cluster
/// page 8.9). One that says nothing is taken for 0.
#[must_use]
pub const fn is_compatible(theirs: SemanticVersion, ours: SemanticVersion) -> bool {
    theirs.major() == ours.major()
}

#[cfg(test)]
mod tests;
