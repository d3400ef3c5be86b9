//! What a service asks of the consensus module, until it has been said.

use wire::cluster::ingress::SessionMessageHeader;
use wire::cluster::service::{CancelTimer, CloseSession, ScheduleTimer};
use wire::message::Message;
use wire::position::Position;

/// Encoded messages to the module, oldest first.
///
/// Unbounded within one event of the log; the container reads no further event while any waits.
#[derive(Debug, Default)]
pub struct Requests {
    bytes: Vec<u8>,
    /// Where each message ends in `bytes`, and where in the log the service stood.
    ends: Vec<(usize, Position)>,
    sent: usize,
}

impl Requests {
    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sent == self.ends.len()
    }

    /// Hands over messages in order while `send` takes them, each with where in the log the service
    /// stood when it asked; returns how many it took.
    pub fn drain(&mut self, mut send: impl FnMut(&[u8], Position) -> bool) -> usize {
        let before = self.sent;
        while self.sent < self.ends.len() {
            let begin = self.sent.checked_sub(1).map_or(0, |index| self.ends[index].0);
            let (end, position) = self.ends[self.sent];
            if !send(&self.bytes[begin..end], position) {
                return self.sent - before;
            }
            self.sent += 1;
        }
        let taken = self.sent - before;
        self.bytes.clear();
        self.ends.clear();
        self.sent = 0;
        taken
    }

    pub(crate) fn schedule_timer(&mut self, correlation_id: i64, deadline: i64, at: Position) {
        self.push(&ScheduleTimer { correlation_id, deadline }, at);
    }

    pub(crate) fn cancel_timer(&mut self, correlation_id: i64, at: Position) {
        self.push(&CancelTimer { correlation_id }, at);
    }

    pub(crate) fn close_session(&mut self, cluster_session_id: i64, at: Position) {
        self.push(&CloseSession { cluster_session_id }, at);
    }

    /// A message of this service to all services, by way of the log.
    pub(crate) fn offer(&mut self, (term, service_id): (i64, i32), message: &[u8], at: Position) {
        let cluster_session_id = i64::from(service_id);
        let leadership_term_id = term;
        let header = SessionMessageHeader { leadership_term_id, cluster_session_id, timestamp: 0 };
        self.encode(&header);
        self.bytes.extend_from_slice(message);
        self.ends.push((self.bytes.len(), at));
    }

    fn push<'m>(&mut self, message: &impl Message<'m>, at: Position) {
        self.encode(message);
        self.ends.push((self.bytes.len(), at));
    }

    fn encode<'m>(&mut self, message: &impl Message<'m>) {
        let begin = self.bytes.len();
        self.bytes.resize(begin + message.encoded_length(), 0);
        let result = message.encode(&mut self.bytes[begin..]);
        assert!(result.is_ok(), "a message of known length was not encoded: {result:?}");
    }
}
