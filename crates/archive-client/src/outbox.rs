//! Requests on their way out, in order.

use std::collections::VecDeque;

use client::{CorrelationId, ExclusivePublication, OfferError};

use crate::error::Disconnected;

/// Requests that the control stream had no room for yet.
#[derive(Default)]
pub(crate) struct Outbox {
    messages: VecDeque<Message>,
}

struct Message {
    id: CorrelationId,
    bytes: Vec<u8>,
}

impl Outbox {
    pub(crate) fn push(&mut self, id: CorrelationId, bytes: Vec<u8>) {
        self.messages.push_back(Message { id, bytes });
    }

    /// Whether a request has not gone out. One that timed out will not go out any more.
    pub(crate) fn take_back(&mut self, id: CorrelationId) -> bool {
        let before = self.messages.len();
        self.messages.retain(|message| message.id != id);
        self.messages.len() < before
    }

    pub(crate) fn clear(&mut self) {
        self.messages.clear();
    }

    /// Sends as many as there is room for; returns how many.
    pub(crate) fn send(
        &mut self,
        publication: &mut ExclusivePublication,
    ) -> Result<usize, Disconnected> {
        let mut count = 0;
        let mut rotations = 0;
        while let Some(message) = self.messages.front() {
            match publication.offer(&message.bytes) {
                // Its length was checked when it was asked for.
                Ok(_) | Err(OfferError::MessageTooLong { .. }) => {
                    self.messages.pop_front();
                    count += 1;
                }
                // The log turned to its next term, once for each that fills.
                Err(OfferError::AdminAction) if rotations < 2 => rotations += 1,
                Err(OfferError::AdminAction | OfferError::BackPressured) => break,
                Err(
                    OfferError::NotConnected
                    | OfferError::Closed
                    | OfferError::MaxPositionExceeded { .. }
                    | OfferError::WrongBlock { .. },
                ) => return Err(Disconnected::Requests),
            }
        }
        Ok(count)
    }
}
