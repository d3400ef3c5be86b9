//! What a session still has to be told, in order.
//!
//! A message that rests on a change of the catalog waits until that change is durable: its barrier
//! is the number of the sync that covers it. Bounded: a client that does not read is given up.

use std::collections::VecDeque;

use wire::archive::response::{ControlResponse, ControlResponseCode, RecordingSignalEvent};
use wire::archive::{CONTROL_PROTOCOL_VERSION, response::RecordingSignal};
use wire::message::Message;

use crate::control::refusal::Refusal;

/// Messages that may wait for one client.
const CAPACITY: usize = 4_096;

/// A message on its way to a client.
pub(crate) struct Outgoing {
    pub(crate) bytes: Vec<u8>,
    /// The sync that must have completed before it leaves.
    pub(crate) barrier: u64,
}

/// Messages on their way to one client.
#[derive(Default)]
pub(crate) struct Outbox {
    queue: VecDeque<Outgoing>,
    is_overflown: bool,
}

/// A signal to whoever asked for what happens to a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signal {
    pub(crate) correlation_id: i64,
    pub(crate) recording_id: i64,
    pub(crate) subscription_id: i64,
    pub(crate) position: i64,
    pub(crate) signal: RecordingSignal,
}

/// Encodes any message; `None` only if it is longer than its own length says.
pub(crate) fn encode<'a>(message: &impl Message<'a>) -> Vec<u8> {
    let mut bytes = vec![0; message.encoded_length()];
    let length = message.encode(&mut bytes).unwrap_or(0);
    bytes.truncate(length);
    bytes
}

impl Outbox {
    pub(crate) fn push(&mut self, bytes: Vec<u8>, barrier: u64) {
        if self.queue.len() >= CAPACITY {
            self.is_overflown = true;
            return;
        }
        self.queue.push_back(Outgoing { bytes, barrier });
    }

    pub(crate) fn ok(
        &mut self,
        session_id: i64,
        correlation_id: i64,
        relevant_id: i64,
        barrier: u64,
    ) {
        let code = ControlResponseCode::Ok;
        self.push(response(session_id, correlation_id, relevant_id, code, ""), barrier);
    }

    pub(crate) fn refuse(&mut self, session_id: i64, correlation_id: i64, refusal: &Refusal) {
        let code = ControlResponseCode::Error;
        let relevant_id = refusal.code.code().into();
        self.push(response(session_id, correlation_id, relevant_id, code, &refusal.message), 0);
    }

    pub(crate) fn signal(&mut self, session_id: i64, signal: &Signal, barrier: u64) {
        let event = RecordingSignalEvent {
            control_session_id: session_id,
            correlation_id: signal.correlation_id,
            recording_id: signal.recording_id,
            subscription_id: signal.subscription_id,
            position: signal.position,
            signal: signal.signal,
        };
        self.push(encode(&event), barrier);
    }

    /// The next message, if the syncs up to `completed` let it go.
    pub(crate) fn front(&self, completed: u64) -> Option<&[u8]> {
        self.queue.front().filter(|it| it.barrier <= completed).map(|it| it.bytes.as_slice())
    }

    pub(crate) fn pop(&mut self) {
        self.queue.pop_front();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether messages were lost because nobody read them.
    pub(crate) const fn is_overflown(&self) -> bool {
        self.is_overflown
    }
}

/// A response as bytes.
pub(crate) fn response(
    control_session_id: i64,
    correlation_id: i64,
    relevant_id: i64,
    code: ControlResponseCode,
    message: &str,
) -> Vec<u8> {
    encode(&ControlResponse {
        control_session_id,
        correlation_id,
        relevant_id,
        code,
        version: CONTROL_PROTOCOL_VERSION,
        error_message: message.as_bytes(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A response captured from a genuine archive (archive specification, part 12).
    #[test]
    fn an_ok_is_the_one_that_genuine_aeron_sends() {
        let expected = "20000100 65000e00 0188aa7f 00000000 e9030000 00000000 0188aa7f 00000000 \
                        00000000 000c0100 00000000";
        let bytes = response(0x7faa_8801, 1_001, 0x7faa_8801, ControlResponseCode::Ok, "");
        let text: Vec<String> = bytes
            .chunks(4)
            .map(|word| word.iter().map(|byte| format!("{byte:02x}")).collect())
            .collect();
        assert_eq!(text.join(" "), expected);
    }

    #[test]
    fn a_message_waits_for_the_sync_that_it_rests_on_and_holds_up_those_behind() {
        let mut outbox = Outbox::default();
        outbox.ok(1, 10, 0, 2);
        outbox.ok(1, 11, 0, 0);
        assert_eq!(outbox.front(1), None);
        assert!(outbox.front(2).is_some());
        outbox.pop();
        assert!(outbox.front(0).is_some());
    }

    #[test]
    fn a_client_that_does_not_read_is_noticed() {
        let mut outbox = Outbox::default();
        for correlation_id in 0..=CAPACITY as i64 {
            outbox.ok(1, correlation_id, 0, 0);
        }
        assert!(outbox.is_overflown());
    }
}
