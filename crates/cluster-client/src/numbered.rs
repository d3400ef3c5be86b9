//! Numbers a client's messages and sends them again until they are answered: exactly once, together
//! with `Deduplication` in the service.
//!
//! Pure: the host sends what it is handed, and hands in what comes back and how sessions fare.

use std::collections::VecDeque;

use wire::numbered::{AnswerHeader, AnswerStatus, HEADER_LENGTH, RequestHeader};
use wire::time::Nanos;

/// Messages on their way, in order of their numbers.
#[derive(Debug)]
pub struct Numbered {
    client: i64,
    window: usize,
    resend_after: Nanos,
    /// The number of the first entry of `waiting`.
    oldest: i64,
    waiting: VecDeque<Waiting>,
    /// How many entries of `waiting`, from the front, have been sent in this session.
    sent: usize,
    spare: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct Waiting {
    /// Header and payload, ready to go.
    message: Vec<u8>,
    sent_at: Nanos,
    answered: bool,
}

/// As many messages wait as the window allows: poll for answers, then try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} messages wait for their answers")]
pub struct WindowFull(pub usize);

/// What a message from the service meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// The first answer to this number.
    Executed {
        /// The number.
        number: i64,
        /// The service's own part.
        payload: &'a [u8],
    },
    /// Nothing new: an answer that came before, or a hint that was heeded.
    Nothing,
    /// Not for this client, or not numbered at all.
    Foreign,
    /// The service no longer remembers this client: what waits cannot be sent without the danger of
    /// doubling it.
    Forgotten {
        /// The number that the service would take next.
        expected: i64,
    },
}

impl Numbered {
    /// `client` names this client for good: draw it at random. At most `window` messages wait; the
    /// service's window must not be smaller. What is unanswered for `resend_after` is sent again.
    #[must_use]
    pub fn new(client: i64, window: usize, resend_after: Nanos) -> Self {
        let (waiting, spare) = (VecDeque::with_capacity(window), Vec::with_capacity(window));
        Self { client, window, resend_after, oldest: 1, waiting, sent: 0, spare }
    }

    /// Takes a message; returns its number. It goes out with the next [`Numbered::poll_send`].
    ///
    /// # Errors
    /// The window is full.
    pub fn submit(&mut self, payload: &[u8]) -> Result<i64, WindowFull> {
        if self.waiting.len() >= self.window {
            return Err(WindowFull(self.waiting.len()));
        }
        let mut message = self.spare.pop().unwrap_or_default();
        message.clear();
        message.resize(HEADER_LENGTH, 0);
        message.extend_from_slice(payload);
        self.waiting.push_back(Waiting { message, sent_at: Nanos::MAX, answered: false });
        Ok(self.oldest + self.waiting.len() as i64 - 1)
    }

    /// How many messages wait for an answer that all before them have had.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many messages have been sent in this session and not been answered.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.waiting.iter().take(self.sent).filter(|entry| !entry.answered).count()
    }

    /// The session was lost or the leader changed: everything unanswered goes out again, in order.
    pub fn on_new_leader(&mut self) {
        self.sent = 0;
    }

    /// Sends what is due, in order, while `send` takes it; returns how many messages it took.
    ///
    /// `send` returns false when it can take no more just now.
    pub fn poll_send(&mut self, now: Nanos, mut send: impl FnMut(&[u8]) -> bool) -> usize {
        let acknowledged = self.oldest - 1;
        let client = self.client;
        let mut taken = 0;
        let mut go = |entry: &mut Waiting, number| {
            let header = RequestHeader { client, number, acknowledged };
            entry.message[..HEADER_LENGTH].copy_from_slice(&header.encode());
            let went = send(&entry.message);
            if went {
                entry.sent_at = now;
                taken += 1;
            }
            went
        };
        for (index, entry) in self.waiting.iter_mut().enumerate() {
            let number = self.oldest + index as i64;
            let is_new = index >= self.sent;
            let is_late = !is_new && !entry.answered && now - entry.sent_at >= self.resend_after;
            if entry.answered && is_new {
                self.sent += 1;
                continue;
            }
            if !is_new && !is_late {
                continue;
            }
            if !go(entry, number) {
                break;
            }
            self.sent += usize::from(is_new);
        }
        taken
    }

    /// When the next message is due to be sent again; [`Nanos::MAX`] when none is.
    #[must_use]
    pub fn next_deadline(&self) -> Nanos {
        let sent = self.waiting.iter().take(self.sent).filter(|entry| !entry.answered);
        sent.map(|entry| entry.sent_at + self.resend_after).min().unwrap_or(Nanos::MAX)
    }

    /// Takes a message that the service sent.
    pub fn on_message<'a>(&mut self, message: &'a [u8]) -> Answer<'a> {
        let Some((header, payload)) = AnswerHeader::decode(message) else {
            return Answer::Foreign;
        };
        if header.client != self.client {
            return Answer::Foreign;
        }
        match header.status {
            AnswerStatus::Executed => self.on_executed(header.number, payload),
            AnswerStatus::Expected => {
                // A number below the oldest is an old hint: its gap was filled meanwhile.
                if let Ok(index) = usize::try_from(header.number - self.oldest) {
                    self.sent = self.sent.min(index);
                }
                Answer::Nothing
            }
            AnswerStatus::Forgotten => Answer::Forgotten { expected: header.number },
            AnswerStatus::Other(_) => Answer::Nothing,
        }
    }

    fn on_executed<'a>(&mut self, number: i64, payload: &'a [u8]) -> Answer<'a> {
        let index = usize::try_from(number - self.oldest).ok();
        let Some(entry) = index.and_then(|index| self.waiting.get_mut(index)) else {
            return Answer::Nothing;
        };
        if std::mem::replace(&mut entry.answered, true) {
            return Answer::Nothing;
        }
        while self.waiting.front().is_some_and(|entry| entry.answered) {
            self.spare.extend(self.waiting.pop_front().map(|entry| entry.message));
            self.oldest += 1;
            self.sent = self.sent.saturating_sub(1);
        }
        Answer::Executed { number, payload }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESEND: Nanos = Nanos(100);

    fn numbered(messages: usize) -> Numbered {
        let mut numbered = Numbered::new(7, 4, RESEND);
        for _ in 0..messages {
            numbered.submit(b"do").unwrap();
        }
        numbered
    }

    fn sent(numbered: &mut Numbered, now: i64) -> Vec<(i64, i64)> {
        let mut sent = Vec::new();
        numbered.poll_send(Nanos(now), |message| {
            let (header, payload) = RequestHeader::decode(message).unwrap();
            assert_eq!((header.client, payload), (7, &b"do"[..]));
            sent.push((header.number, header.acknowledged));
            true
        });
        sent
    }

    fn answer(number: i64, status: AnswerStatus) -> [u8; HEADER_LENGTH] {
        AnswerHeader { client: 7, number, status }.encode()
    }

    #[test]
    fn messages_go_out_once_in_order_and_acknowledge_what_was_answered() {
        let mut numbered = numbered(2);
        assert_eq!(sent(&mut numbered, 0), [(1, 0), (2, 0)]);
        assert_eq!(sent(&mut numbered, 1), []);
        let message = answer(1, AnswerStatus::Executed);
        assert_eq!(numbered.on_message(&message), Answer::Executed { number: 1, payload: b"" });
        assert_eq!(numbered.on_message(&message), Answer::Nothing);
        numbered.submit(b"do").unwrap();
        assert_eq!(sent(&mut numbered, 2), [(3, 1)]);
    }

    #[test]
    fn after_a_leader_change_what_is_unanswered_goes_out_again_in_order() {
        let mut numbered = numbered(3);
        assert_eq!(sent(&mut numbered, 0).len(), 3);
        numbered.on_message(&answer(2, AnswerStatus::Executed));
        numbered.on_new_leader();
        assert_eq!(sent(&mut numbered, 1), [(1, 0), (3, 0)]);
    }

    #[test]
    fn an_answer_that_was_lost_is_asked_for_again() {
        let mut numbered = numbered(2);
        assert_eq!(sent(&mut numbered, 0).len(), 2);
        numbered.on_message(&answer(2, AnswerStatus::Executed));
        assert_eq!(numbered.next_deadline(), RESEND);
        assert_eq!(sent(&mut numbered, 99), []);
        assert_eq!(sent(&mut numbered, 100), [(1, 0)]);
        numbered.on_message(&answer(1, AnswerStatus::Executed));
        assert_eq!((numbered.waiting(), numbered.next_deadline()), (0, Nanos::MAX));
    }

    #[test]
    fn a_gap_seen_by_the_service_is_filled_from_the_expected_number() {
        let mut numbered = numbered(3);
        assert_eq!(sent(&mut numbered, 0).len(), 3);
        assert_eq!(numbered.on_message(&answer(2, AnswerStatus::Expected)), Answer::Nothing);
        assert_eq!(sent(&mut numbered, 1), [(2, 0), (3, 0)]);
    }

    #[test]
    fn a_service_that_forgot_the_client_is_told_apart_from_a_gap() {
        let mut numbered = numbered(1);
        assert_eq!(sent(&mut numbered, 0).len(), 1);
        numbered.on_message(&answer(1, AnswerStatus::Executed));
        assert_eq!(numbered.on_message(&answer(1, AnswerStatus::Expected)), Answer::Nothing);
        let forgotten = answer(1, AnswerStatus::Forgotten);
        assert_eq!(numbered.on_message(&forgotten), Answer::Forgotten { expected: 1 });
    }

    #[test]
    fn a_full_window_and_a_busy_session_hold_messages_back() {
        let mut numbered = numbered(4);
        assert_eq!(numbered.submit(b"do"), Err(WindowFull(4)));
        let mut room = 2;
        let taken = numbered.poll_send(Nanos(0), |_| {
            room -= 1;
            room >= 0
        });
        assert_eq!((taken, numbered.in_flight()), (2, 2));
        assert_eq!(sent(&mut numbered, 1), [(3, 0), (4, 0)]);
    }

    #[test]
    fn messages_of_others_are_foreign() {
        let mut numbered = numbered(1);
        let other = AnswerHeader { client: 8, number: 1, status: AnswerStatus::Executed };
        assert_eq!(numbered.on_message(&other.encode()), Answer::Foreign);
        assert_eq!(numbered.on_message(b"short"), Answer::Foreign);
    }
}
