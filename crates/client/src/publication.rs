//! [`Publication`]: a stream that several threads may publish on.

use std::sync::Arc;

use memory::counters::CounterReader;
use memory::log::LogBuffer;
use memory::log::append::{AppendError, Claim};
use runtime::point::{Point, strikes};
use wire::control::CorrelationId;
use wire::counters::CounterId;
use wire::position::{Position, SessionId, StreamId};

use crate::error::OfferError;
use crate::handle::{ChannelStatus, Handle, Resource};
use crate::pending::Pending;
use crate::state::Closed;
use crate::subscription::local_addresses;

/// Publishes on a stream. Any number of threads may offer at once; share it by reference.
///
/// Dropping it closes it; the stream ends when the last publication of its log has gone.
pub struct Publication {
    setup: PublicationSetup,
}

/// What the conductor hands over, and what both kinds of publications have in common.
pub(crate) struct PublicationSetup {
    pub(crate) log: Arc<LogBuffer>,
    pub(crate) limit: CounterReader,
    pub(crate) channel: String,
    pub(crate) stream_id: StreamId,
    pub(crate) session_id: SessionId,
    pub(crate) registration_id: CorrelationId,
    pub(crate) original_registration_id: CorrelationId,
    pub(crate) channel_status_id: CounterId,
    pub(crate) closed: Closed,
    pub(crate) handle: Handle,
}

impl PublicationSetup {
    /// How far the driver lets publishers go.
    #[inline]
    pub(crate) fn open_limit(&self) -> Result<Position, OfferError> {
        if self.closed.is_set() {
            return Err(OfferError::Closed);
        }
        if strikes(Point::OfferBackPressure) {
            return Err(OfferError::BackPressured);
        }
        if strikes(Point::OfferAdminAction) {
            return Err(OfferError::AdminAction);
        }
        Ok(Position(self.limit.get()))
    }

    /// What an append error means to the caller.
    #[cold]
    pub(crate) fn offer_error(&self, error: AppendError) -> OfferError {
        match error {
            AppendError::NotConnected => OfferError::NotConnected,
            AppendError::BackPressured => OfferError::BackPressured,
            AppendError::AdminAction => OfferError::AdminAction,
            AppendError::MaxPositionExceeded => {
                let position = Position::limit(self.log.term_length());
                OfferError::MaxPositionExceeded { position }
            }
            AppendError::TooLong { length, longest } => {
                OfferError::MessageTooLong { length, max: usize::try_from(longest).unwrap_or(0) }
            }
        }
    }

    /// Closes it and tells the driver, unless it is closed.
    pub(crate) fn close(&self, revoke: bool) {
        if self.closed.set() {
            self.handle.remove(self.registration_id, Resource::Publication, revoke);
        }
    }
}

/// What both kinds of publications say of themselves.
macro_rules! describe_publication {
    () => {
        /// Whether it is closed, by its owner or with its client.
        #[must_use]
        pub fn is_closed(&self) -> bool {
            self.setup.closed.is_set()
        }

        /// Whether a subscriber is there. An offer tells as well.
        #[must_use]
        pub fn is_connected(&self) -> bool {
            !self.is_closed() && self.setup.log.is_connected()
        }

        /// How far the driver lets publishers go at present.
        #[must_use]
        pub fn position_limit(&self) -> Position {
            self.setup.open_limit().unwrap_or_else(|_| self.position())
        }

        /// How many bytes, framing included, may be offered before back pressure.
        #[must_use]
        pub fn available_window(&self) -> i64 {
            (self.position_limit().0 - self.position().0).max(0)
        }

        /// Longest message, in bytes.
        #[must_use]
        pub fn message_length_max(&self) -> usize {
            usize::try_from(self.setup.log.message_length_max()).unwrap_or(0)
        }

        /// Longest claim, and longest message that goes in one frame, in bytes.
        #[must_use]
        pub fn payload_length_max(&self) -> usize {
            usize::try_from(self.setup.log.payload_length_max()).unwrap_or(0)
        }

        /// Length of a term in bytes.
        #[must_use]
        pub fn term_length(&self) -> i32 {
            self.setup.log.term_length()
        }

        /// First term of the stream.
        #[must_use]
        pub fn initial_term_id(&self) -> wire::position::TermId {
            self.setup.log.initial_term_id()
        }

        /// Where positions end.
        #[must_use]
        pub fn position_max(&self) -> Position {
            Position::limit(self.term_length())
        }

        /// The channel, as it was asked for.
        #[must_use]
        pub fn channel(&self) -> &str {
            &self.setup.channel
        }

        /// The stream.
        #[must_use]
        pub const fn stream_id(&self) -> StreamId {
            self.setup.stream_id
        }

        /// What tells this source of the stream from others.
        #[must_use]
        pub const fn session_id(&self) -> SessionId {
            self.setup.session_id
        }

        /// The id of the request that made this value.
        #[must_use]
        pub const fn registration_id(&self) -> CorrelationId {
            self.setup.registration_id
        }

        /// The id of the request that made the log: another's, if the log is shared.
        #[must_use]
        pub const fn original_registration_id(&self) -> CorrelationId {
            self.setup.original_registration_id
        }

        /// The counter that shows the channel's status; none for IPC.
        #[must_use]
        pub const fn channel_status_id(&self) -> CounterId {
            self.setup.channel_status_id
        }

        /// The counter that shows the limit.
        #[must_use]
        pub fn position_limit_id(&self) -> CounterId {
            self.setup.limit.id()
        }

        /// What the channel's socket is doing.
        #[must_use]
        pub fn channel_status(&self) -> ChannelStatus {
            self.setup.handle.channel_status(self.setup.channel_status_id)
        }

        /// The addresses of the channel's sockets, as `ip:port`, once they are open. Allocates.
        #[must_use]
        pub fn local_addresses(&self) -> Vec<String> {
            local_addresses(&self.setup.handle, self.setup.channel_status_id)
        }

        /// Sends to one more destination (control-mode manual). The pending answer's id is the
        /// destination's.
        pub fn add_destination(&self, channel: &str) -> Pending<()> {
            self.setup.handle.add_destination(self.setup.registration_id, channel)
        }

        /// Sends to one destination less.
        pub fn remove_destination(&self, channel: &str) -> Pending<()> {
            self.setup.handle.remove_destination(self.setup.registration_id, channel)
        }

        /// Sends to one destination less, by the id of the request that added it.
        pub fn remove_destination_by_id(&self, destination: CorrelationId) -> Pending<()> {
            let id = self.setup.registration_id;
            self.setup.handle.remove_destination_by_id(id, destination)
        }

        /// Closes it. Dropping does the same.
        pub fn close(self) {
            drop(self);
        }
    };
}
pub(crate) use describe_publication;

impl Publication {
    pub(crate) const fn new(setup: PublicationSetup) -> Self {
        Self { setup }
    }

    /// Publishes a message; returns the position behind it.
    ///
    /// Nothing blocks: what to do on back pressure is the caller's choice.
    ///
    /// # Errors
    /// See [`OfferError`].
    #[inline]
    pub fn offer(&self, message: &[u8]) -> Result<Position, OfferError> {
        let limit = self.setup.open_limit()?;
        let appended = self.setup.log.append_one(limit, message, |_, _| 0);
        appended.map_err(|error| self.setup.offer_error(error))
    }

    /// Publishes the parts as one message.
    ///
    /// # Errors
    /// See [`OfferError`].
    #[inline]
    pub fn offer_vectored(&self, parts: &[&[u8]]) -> Result<Position, OfferError> {
        self.offer_with_reserved(parts, |_, _| 0)
    }

    /// The same, with a reserved value for each frame: `reserved` gets the frame's offset in its
    /// term and its length, header included.
    ///
    /// # Errors
    /// See [`OfferError`].
    #[inline]
    pub fn offer_with_reserved(
        &self,
        parts: &[&[u8]],
        reserved: impl FnMut(i32, i32) -> i64,
    ) -> Result<Position, OfferError> {
        let limit = self.setup.open_limit()?;
        let appended = self.setup.log.append(limit, parts, reserved);
        appended.map_err(|error| self.setup.offer_error(error))
    }

    /// Claims room for a message of at most [`Publication::payload_length_max`] bytes, to be
    /// written in place and committed. The stream stands still behind an open claim; dropping it
    /// gives it up.
    ///
    /// # Errors
    /// See [`OfferError`].
    #[inline]
    pub fn try_claim(&self, length: usize) -> Result<Claim<'_>, OfferError> {
        let limit = self.setup.open_limit()?;
        let claim = self.setup.log.claim(limit, length);
        claim.map_err(|error| self.setup.offer_error(error))
    }

    /// How far the stream has been published, by all who share the log.
    #[must_use]
    pub fn position(&self) -> Position {
        self.setup.log.producer_position()
    }

    describe_publication!();
}

impl Drop for Publication {
    fn drop(&mut self) {
        self.setup.close(false);
    }
}
