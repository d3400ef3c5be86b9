//! Answers that are still to come.

use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

use wire::control::CorrelationId;

use crate::error::{AddError, ClientError};

/// What will come of a request. Poll it after stepping the client.
///
/// Dropped before its answer, it takes the answer along: whatever the driver made is removed again.
#[derive(Debug)]
#[must_use]
pub struct Pending<T> {
    id: CorrelationId,
    answer: Receiver<Result<T, AddError>>,
}

/// Where the answer goes.
pub(crate) type Reply<T> = Sender<Result<T, AddError>>;

impl<T> Pending<T> {
    pub(crate) fn new(id: CorrelationId) -> (Reply<T>, Self) {
        let (reply, answer) = channel();
        (reply, Self { id, answer })
    }

    pub(crate) fn failed(id: CorrelationId, error: AddError) -> Self {
        let (reply, pending) = Self::new(id);
        // The receiver is at hand: it cannot be gone.
        let _ = reply.send(Err(error));
        pending
    }

    /// The id of the request, which is the registration id of what comes of it.
    #[must_use]
    pub const fn registration_id(&self) -> CorrelationId {
        self.id
    }

    /// The answer, once it is there. Not to be polled again after that.
    ///
    /// # Errors
    /// The driver refused, did not answer in time, or the client ended.
    pub fn poll(&mut self) -> Result<Option<T>, AddError> {
        match self.answer.try_recv() {
            Ok(answer) => answer.map(Some),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(AddError::Client(ClientError::Closed)),
        }
    }
}
