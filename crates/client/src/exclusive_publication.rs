//! [`ExclusivePublication`]: a stream with a single writer.

use memory::log::append::Claim;
use memory::log::append_exclusive::{BlockError, ExclusiveAppender};
use wire::control::CorrelationId;
use wire::counters::CounterId;
use wire::position::{Position, SessionId, StreamId, TermId};

use crate::error::OfferError;
use crate::handle::ChannelStatus;
use crate::pending::Pending;
use crate::publication::{PublicationSetup, describe_publication};
use crate::subscription::local_addresses;

/// Publishes on a stream that is this value's alone: faster, and it knows where it stands.
///
/// It may begin at a given position: `init-term-id`, `term-id` and `term-offset` in the channel.
/// Dropping it closes it, which ends the stream.
pub struct ExclusivePublication {
    setup: PublicationSetup,
    appender: ExclusiveAppender,
    revoke_on_close: bool,
}

impl ExclusivePublication {
    pub(crate) fn new(setup: PublicationSetup) -> Self {
        let appender = ExclusiveAppender::new((*setup.log).clone());
        Self { setup, appender, revoke_on_close: false }
    }

    /// Publishes a message; returns the position behind it.
    ///
    /// # Errors
    /// See [`OfferError`].
    #[inline]
    pub fn offer(&mut self, message: &[u8]) -> Result<Position, OfferError> {
        let limit = self.setup.open_limit()?;
        let appended = self.appender.append_one(limit, message, |_, _| 0);
        appended.map_err(|error| self.setup.offer_error(error))
    }

    /// Publishes the parts as one message.
    ///
    /// # Errors
    /// See [`OfferError`].
    #[inline]
    pub fn offer_vectored(&mut self, parts: &[&[u8]]) -> Result<Position, OfferError> {
        self.offer_with_reserved(parts, |_, _| 0)
    }

    /// The same, with a reserved value for each frame: `reserved` gets the frame's offset in its
    /// term and its length, header included.
    ///
    /// # Errors
    /// See [`OfferError`].
    #[inline]
    pub fn offer_with_reserved(
        &mut self,
        parts: &[&[u8]],
        reserved: impl FnMut(i32, i32) -> i64,
    ) -> Result<Position, OfferError> {
        let limit = self.setup.open_limit()?;
        let appended = self.appender.append(limit, parts, reserved);
        appended.map_err(|error| self.setup.offer_error(error))
    }

    /// Claims room for a message of at most [`ExclusivePublication::payload_length_max`] bytes, to
    /// be written in place and committed; dropping the claim gives it up.
    ///
    /// # Errors
    /// See [`OfferError`].
    #[inline]
    pub fn try_claim(&mut self, length: usize) -> Result<Claim<'_>, OfferError> {
        let limit = self.setup.open_limit()?;
        let setup = &self.setup;
        self.appender.claim(limit, length).map_err(|error| setup.offer_error(error))
    }

    /// Appends padding of `length` bytes behind a header: subscribers skip it.
    ///
    /// # Errors
    /// See [`OfferError`].
    pub fn append_padding(&mut self, length: usize) -> Result<Position, OfferError> {
        let limit = self.setup.open_limit()?;
        let appended = self.appender.append_padding(limit, length);
        appended.map_err(|error| self.setup.offer_error(error))
    }

    /// Appends whole frames as they are, such as a recording holds them. The first must stand
    /// exactly where this publication does: term, offset, session and stream; the block ends in its
    /// term.
    ///
    /// # Errors
    /// See [`OfferError`]; `WrongBlock` when it does not continue the log.
    pub fn offer_block(&mut self, block: &[u8]) -> Result<Position, OfferError> {
        let limit = self.setup.open_limit()?;
        self.appender.append_block(limit, block).map_err(|error| match error {
            BlockError::Append(error) => self.setup.offer_error(error),
            BlockError::Length { .. } | BlockError::Elsewhere { .. } => {
                OfferError::WrongBlock { position: self.appender.position() }
            }
        })
    }

    /// How far the stream has been published.
    #[must_use]
    pub fn position(&self) -> Position {
        self.appender.position()
    }

    /// The term that is written.
    #[must_use]
    pub fn term_id(&self) -> TermId {
        self.appender.term_id()
    }

    /// Where in its term the next frame begins.
    #[must_use]
    pub fn term_offset(&self) -> i32 {
        self.appender.term_offset()
    }

    /// Closes it at once for its subscribers too: they drop what they have not consumed.
    pub fn revoke(mut self) {
        self.revoke_on_close = true;
    }

    /// Makes closing, or dropping, revoke.
    pub const fn revoke_on_close(&mut self) {
        self.revoke_on_close = true;
    }

    describe_publication!();
}

impl Drop for ExclusivePublication {
    fn drop(&mut self) {
        self.setup.close(self.revoke_on_close);
    }
}
