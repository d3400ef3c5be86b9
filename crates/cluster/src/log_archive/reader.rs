//! An image of the log: what the module reads, and when nothing more will come of it.

use client::{Image, Subscription};
use wire::position::{Position, SessionId};

/// No end is known.
const UNKNOWN: Position = Position(i64::MAX);

/// An image that is read.
pub(super) struct Reader {
    image: Image,
    end: End,
}

enum End {
    /// More may come.
    Open,
    /// All is recorded that there will ever be; the module reads on as far as it may. It stood here
    /// when it was last looked at.
    Recorded { read: Option<Position> },
    /// It was told.
    Told,
}

impl Reader {
    /// The image of a session, if it is there: taken out of the subscription.
    pub(super) fn join(subscription: &mut Subscription, session_id: SessionId) -> Option<Self> {
        let id = subscription.image_by_session(session_id)?.correlation_id();
        let image = subscription.take_image(id)?;
        Some(Self { image, end: End::Open })
    }

    pub(super) fn image_mut(&mut self) -> &mut Image {
        &mut self.image
    }

    pub(super) const fn image(&self) -> &Image {
        &self.image
    }

    /// The recording of this image ended at a position. True if the stream ended there in order;
    /// then the end of the image tells of it.
    pub(super) fn on_recording_stopped(&mut self, position: Position) -> bool {
        let is_end = self.image.end_of_stream_position() == position;
        if is_end && matches!(self.end, End::Open) {
            self.end = End::Recorded { read: None };
        }
        is_end
    }

    /// Whether the end of the image is due to be looked at again at once.
    pub(super) const fn is_ending(&self) -> bool {
        matches!(self.end, End::Recorded { .. })
    }

    /// Once: nothing more can be read. Says whether the stream ended in order.
    ///
    /// The driver keeps an image open until all of it is consumed, and what no quorum has recorded
    /// never is: so an end that is recorded counts when the module reads no further.
    pub(super) fn poll_end(&mut self) -> Option<bool> {
        if matches!(self.end, End::Told) {
            return None;
        }
        let (position, end) = (self.image.position(), self.image.end_of_stream_position());
        let is_over = self.image.is_closed() || position >= end;
        let is_stalled = matches!(self.end, End::Recorded { read } if read == Some(position));
        if is_over || is_stalled {
            self.end = End::Told;
            return Some(end != UNKNOWN);
        }
        if let End::Recorded { read } = &mut self.end {
            *read = Some(position);
        }
        None
    }
}
