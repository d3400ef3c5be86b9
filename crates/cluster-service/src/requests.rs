//! What a service asks of the consensus module, until it has been said.

use wire::cluster::ingress::SessionMessageHeader;
use wire::cluster::service::{CancelTimer, CloseSession, ScheduleTimer};
use wire::message::Message;

/// Encoded messages to the module, oldest first.
///
/// Unbounded within one event of the log; the container reads no further event while any waits.
#[derive(Debug, Default)]
pub struct Requests {
    bytes: Vec<u8>,
    /// Where each message ends in `bytes`.
    ends: Vec<usize>,
    sent: usize,
}

impl Requests {
    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sent == self.ends.len()
    }

    /// Hands over messages in order while `send` takes them; returns how many it took.
    pub fn drain(&mut self, mut send: impl FnMut(&[u8]) -> bool) -> usize {
        let before = self.sent;
        while self.sent < self.ends.len() {
            let begin = self.sent.checked_sub(1).map_or(0, |index| self.ends[index]);
            if !send(&self.bytes[begin..self.ends[self.sent]]) {
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

    pub(crate) fn schedule_timer(&mut self, correlation_id: i64, deadline: i64) {
        self.push(&ScheduleTimer { correlation_id, deadline });
    }

    pub(crate) fn cancel_timer(&mut self, correlation_id: i64) {
        self.push(&CancelTimer { correlation_id });
    }

    pub(crate) fn close_session(&mut self, cluster_session_id: i64) {
        self.push(&CloseSession { cluster_session_id });
    }

    /// A message of this service to all services, by way of the log.
    pub(crate) fn offer(&mut self, leadership_term_id: i64, service_id: i32, parts: &[&[u8]]) {
        let cluster_session_id = i64::from(service_id);
        let header = SessionMessageHeader { leadership_term_id, cluster_session_id, timestamp: 0 };
        self.encode(&header);
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        self.ends.push(self.bytes.len());
    }

    fn push<'m>(&mut self, message: &impl Message<'m>) {
        self.encode(message);
        self.ends.push(self.bytes.len());
    }

    fn encode<'m>(&mut self, message: &impl Message<'m>) {
        let begin = self.bytes.len();
        self.bytes.resize(begin + message.encoded_length(), 0);
        let result = message.encode(&mut self.bytes[begin..]);
        assert!(result.is_ok(), "a message of known length was not encoded: {result:?}");
    }
}
