//! What a client hears from its driver without having asked.

use std::collections::VecDeque;
use std::net::SocketAddr;

use wire::control::{CorrelationId, ErrorCode};
use wire::counters::CounterId;
use wire::position::{SessionId, StreamId};

/// Something that the driver told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// A receiver refused a publication of this client, or saw it break the protocol.
    PublicationError {
        /// The log's registration id: [`Publication::original_registration_id`].
        ///
        /// [`Publication::original_registration_id`]: crate::Publication::original_registration_id
        registration_id: CorrelationId,
        /// The destination, if it was one of several.
        destination: Option<CorrelationId>,
        /// The publication's session.
        session_id: SessionId,
        /// The publication's stream.
        stream_id: StreamId,
        /// Which receiver.
        receiver_id: i64,
        /// The receiver's group, if it has one.
        group_tag: Option<i64>,
        /// Where the receiver is.
        source: Option<SocketAddr>,
        /// The kind of error.
        code: ErrorCode,
        /// In words.
        message: String,
    },
    /// The socket of a channel in use failed (drivers before 1.45 tell).
    ChannelError {
        /// The channel's status counter.
        channel_status_id: CounterId,
        /// In words.
        message: String,
    },
    /// Some client got a counter.
    CounterAvailable {
        /// Its registration id.
        registration_id: CorrelationId,
        /// Its id.
        counter_id: CounterId,
    },
    /// Some client's counter has gone. The id may be taken again a second later.
    CounterUnavailable {
        /// Its registration id.
        registration_id: CorrelationId,
        /// Its id.
        counter_id: CounterId,
    },
}

/// Events that nobody polls are kept up to this many; the oldest go first.
const EVENTS_MAX: usize = 256;

/// Events not polled yet.
pub(crate) struct Events {
    queue: VecDeque<ClientEvent>,
    lost: u64,
}

impl Events {
    pub(crate) fn new() -> Self {
        Self { queue: VecDeque::with_capacity(EVENTS_MAX), lost: 0 }
    }

    pub(crate) fn push(&mut self, event: ClientEvent) {
        if self.queue.len() == EVENTS_MAX {
            self.queue.pop_front();
            self.lost += 1;
        }
        self.queue.push_back(event);
    }

    pub(crate) fn poll(&mut self, mut on_event: impl FnMut(ClientEvent)) -> usize {
        let count = self.queue.len();
        self.queue.drain(..).for_each(&mut on_event);
        count
    }

    /// How many went unseen.
    pub(crate) const fn lost(&self) -> u64 {
        self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_that_nobody_polls_are_bounded_and_the_lost_ones_counted() {
        let mut events = Events::new();
        let event = |id: usize| ClientEvent::CounterAvailable {
            registration_id: CorrelationId(i64::try_from(id).unwrap()),
            counter_id: CounterId(0),
        };
        (0..EVENTS_MAX + 3).for_each(|id| events.push(event(id)));
        let mut polled = Vec::new();
        assert_eq!(events.poll(|event| polled.push(event)), EVENTS_MAX);
        assert_eq!((events.lost(), &polled[0]), (3, &event(3)));
        assert_eq!(events.poll(|_| unreachable!("polled all")), 0);
    }
}
