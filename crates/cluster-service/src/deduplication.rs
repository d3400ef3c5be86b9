//! Executes each numbered message of a client once, and answers it again when it comes again.
//!
//! Part of a service's state: it must be in the service's snapshot and nothing in it may depend on
//! anything but the log. The other half is `Numbered` in the cluster client.

use std::collections::{BTreeMap, VecDeque};

use wire::numbered::{AnswerHeader, AnswerStatus, HEADER_LENGTH, RequestHeader};

/// How much is remembered. Must be equal on all members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeduplicationLimits {
    /// Answers kept for one client: it may have this many messages unacknowledged.
    pub window: usize,
    /// Clients remembered. Beyond it the one that was quiet for the longest is forgotten: it learns
    /// so when it returns, and what it had unanswered then may have been executed or not.
    pub clients: usize,
}

impl Default for DeduplicationLimits {
    fn default() -> Self {
        Self { window: 4096, clients: 1024 }
    }
}

/// What a service does with a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission<'a> {
    /// Execute the payload, then give the answer to [`Deduplication::answer`].
    Execute {
        /// The header that stood before it.
        header: RequestHeader,
        /// The service's own part.
        payload: &'a [u8],
    },
    /// Execute nothing; send these bytes to the session: a remembered answer, or which number is
    /// expected.
    Reply(&'a [u8]),
    /// Execute nothing, send nothing: not a numbered message, or one whose answer has arrived.
    Ignore,
}

/// What a service remembers of its clients.
#[derive(Clone, Debug, Default)]
pub struct Deduplication {
    limits: DeduplicationLimits,
    clients: BTreeMap<i64, Window>,
    /// Counts admissions: the order in which clients were last heard.
    heard: u64,
    reply: Vec<u8>,
    spare: Vec<Vec<u8>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Window {
    /// The number that is executed next.
    next: i64,
    heard: u64,
    /// Answers, with their headers, to the numbers just below `next`.
    answers: VecDeque<Vec<u8>>,
}

/// Why a record of a snapshot was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The record ends too early, or its parts contradict each other.
    #[error("a record of {0} bytes is not one of deduplication")]
    Malformed(usize),
}

impl Deduplication {
    /// Remembers nothing yet.
    #[must_use]
    pub fn new(limits: DeduplicationLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Says what to do with a message that the log delivered.
    pub fn admit<'a>(&'a mut self, message: &'a [u8]) -> Admission<'a> {
        let Some((header, payload)) = RequestHeader::decode(message) else {
            return Admission::Ignore;
        };
        self.heard += 1;
        if header.number == 1 && !self.clients.contains_key(&header.client) {
            self.make_room();
            self.clients.insert(header.client, Window { next: 1, ..Window::default() });
        }
        let next = self.clients.get(&header.client).map_or(1, |window| window.next);
        if header.acknowledged >= next {
            return refuse(&mut self.reply, header.client, next, AnswerStatus::Forgotten);
        }
        let Some(window) = self.clients.get_mut(&header.client) else {
            return refuse(&mut self.reply, header.client, next, AnswerStatus::Expected);
        };
        window.heard = self.heard;
        while window.next - (window.answers.len() as i64) <= header.acknowledged {
            let Some(answer) = window.answers.pop_front() else { break };
            self.spare.push(answer);
        }
        if header.number == next && window.answers.len() < self.limits.window {
            return Admission::Execute { header, payload };
        }
        if header.number >= next {
            return refuse(&mut self.reply, header.client, next, AnswerStatus::Expected);
        }
        usize::try_from(next - 1 - header.number)
            .ok()
            .and_then(|back| window.answers.iter().rev().nth(back))
            .map_or(Admission::Ignore, |answer| Admission::Reply(answer))
    }

    /// Remembers the answer to a message just executed, and returns it with its header, to be sent.
    ///
    /// # Panics
    /// When `header` is not the one that [`Deduplication::admit`] gave out last for its client: the
    /// service would then execute a message twice or never.
    pub fn answer(&mut self, header: RequestHeader, payload: &[u8]) -> &[u8] {
        let window = self.clients.get_mut(&header.client).filter(|w| w.next == header.number);
        let window = window.unwrap_or_else(|| panic!("{header:?} was not admitted"));
        let mut answer = self.spare.pop().unwrap_or_default();
        let status = AnswerStatus::Executed;
        let header = AnswerHeader { client: header.client, number: header.number, status };
        answer.clear();
        answer.extend_from_slice(&header.encode());
        answer.extend_from_slice(payload);
        window.next += 1;
        window.answers.push_back(answer);
        window.answers.back().map_or(&[], Vec::as_slice)
    }

    /// How many clients are remembered.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// A hash over all that is remembered.
    #[must_use]
    pub fn state_hash(&self) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut add = |bytes: &[u8]| {
            for &byte in bytes {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        };
        for (client, window) in &self.clients {
            add(&client.to_le_bytes());
            add(&window.next.to_le_bytes());
            add(&window.heard.to_le_bytes());
            window.answers.iter().for_each(|answer| add(answer));
        }
        hash
    }

    /// The state as records for a snapshot, one for each client, in a fixed order.
    pub fn records(&self) -> impl Iterator<Item = Vec<u8>> {
        self.clients.iter().map(|(client, window)| {
            let mut record = Vec::new();
            record.extend_from_slice(&client.to_le_bytes());
            record.extend_from_slice(&window.next.to_le_bytes());
            record.extend_from_slice(&window.heard.to_le_bytes());
            for answer in &window.answers {
                record.extend_from_slice(&(answer.len() as u64).to_le_bytes());
                record.extend_from_slice(answer);
            }
            record
        })
    }

    /// Takes a record of a snapshot back.
    ///
    /// # Errors
    /// The record is damaged; nothing was taken.
    pub fn restore(&mut self, record: &[u8]) -> Result<(), RestoreError> {
        let malformed = RestoreError::Malformed(record.len());
        let mut rest = record;
        let mut word = || {
            let (head, tail) = rest.split_first_chunk::<8>().ok_or(malformed)?;
            rest = tail;
            Ok(i64::from_le_bytes(*head))
        };
        let (client, next, heard) = (word()?, word()?, word()?.cast_unsigned());
        let mut answers = VecDeque::new();
        while !rest.is_empty() {
            let (head, tail) = rest.split_first_chunk::<8>().ok_or(malformed)?;
            let length = usize::try_from(u64::from_le_bytes(*head)).map_err(|_| malformed)?;
            let (answer, tail) = tail.split_at_checked(length).ok_or(malformed)?;
            if length < HEADER_LENGTH {
                return Err(malformed);
            }
            answers.push_back(answer.to_vec());
            rest = tail;
        }
        if next <= answers.len() as i64 {
            return Err(malformed);
        }
        self.heard = self.heard.max(heard);
        self.clients.insert(client, Window { next, heard, answers });
        Ok(())
    }

    fn make_room(&mut self) {
        if self.clients.len() < self.limits.clients {
            return;
        }
        let quietest = self.clients.iter().min_by_key(|(_, window)| window.heard);
        if let Some(client) = quietest.map(|(&client, _)| client) {
            self.clients.remove(&client);
        }
    }
}

fn refuse(reply: &mut Vec<u8>, client: i64, number: i64, status: AnswerStatus) -> Admission<'_> {
    reply.clear();
    reply.extend_from_slice(&AnswerHeader { client, number, status }.encode());
    Admission::Reply(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(client: i64, number: i64, acknowledged: i64) -> Vec<u8> {
        [&RequestHeader { client, number, acknowledged }.encode()[..], b"do"].concat()
    }

    fn execute(deduplication: &mut Deduplication, message: &[u8]) -> bool {
        let header = match deduplication.admit(message) {
            Admission::Execute { header, payload } => {
                assert_eq!(payload, b"do");
                header
            }
            Admission::Reply(_) | Admission::Ignore => return false,
        };
        deduplication.answer(header, &header.number.to_le_bytes());
        true
    }

    fn reply(deduplication: &mut Deduplication, message: &[u8]) -> Option<(i64, AnswerStatus)> {
        match deduplication.admit(message) {
            Admission::Reply(reply) => {
                AnswerHeader::decode(reply).map(|(header, _)| (header.number, header.status))
            }
            Admission::Execute { .. } | Admission::Ignore => None,
        }
    }

    fn small() -> Deduplication {
        Deduplication::new(DeduplicationLimits { window: 2, clients: 2 })
    }

    #[test]
    fn a_message_that_comes_again_is_answered_again_and_not_executed() {
        let mut deduplication = small();
        assert!(execute(&mut deduplication, &request(5, 1, 0)));
        let again = reply(&mut deduplication, &request(5, 1, 0));
        assert_eq!(again, Some((1, AnswerStatus::Executed)));
        assert!(execute(&mut deduplication, &request(5, 2, 0)));
        let again = reply(&mut deduplication, &request(5, 1, 0));
        assert_eq!(again, Some((1, AnswerStatus::Executed)));
    }

    #[test]
    fn a_number_out_of_turn_is_refused_with_the_one_expected() {
        let mut deduplication = small();
        let refused = reply(&mut deduplication, &request(5, 3, 0));
        assert_eq!(refused, Some((1, AnswerStatus::Expected)));
        assert!(execute(&mut deduplication, &request(5, 1, 0)));
        let refused = reply(&mut deduplication, &request(5, 3, 0));
        assert_eq!(refused, Some((2, AnswerStatus::Expected)));
    }

    #[test]
    fn a_full_window_executes_nothing_until_answers_are_acknowledged() {
        let mut deduplication = small();
        assert!(execute(&mut deduplication, &request(5, 1, 0)));
        assert!(execute(&mut deduplication, &request(5, 2, 0)));
        assert!(!execute(&mut deduplication, &request(5, 3, 0)));
        assert!(execute(&mut deduplication, &request(5, 3, 1)));
        assert_eq!(deduplication.admit(&request(5, 1, 0)), Admission::Ignore);
    }

    #[test]
    fn beyond_the_limit_the_quietest_client_is_forgotten() {
        let mut deduplication = small();
        assert!(execute(&mut deduplication, &request(5, 1, 0)));
        assert!(execute(&mut deduplication, &request(6, 1, 0)));
        assert!(execute(&mut deduplication, &request(5, 2, 1)));
        assert!(execute(&mut deduplication, &request(7, 1, 0)));
        assert_eq!(deduplication.clients(), 2);
        let refused = reply(&mut deduplication, &request(6, 2, 1));
        assert_eq!(refused, Some((1, AnswerStatus::Forgotten)));
    }

    #[test]
    fn restored_records_behave_and_hash_as_before() {
        let mut deduplication = small();
        assert!(execute(&mut deduplication, &request(5, 1, 0)));
        assert!(execute(&mut deduplication, &request(5, 2, 0)));
        assert!(execute(&mut deduplication, &request(-6, 1, 0)));
        let mut restored = small();
        for record in deduplication.records() {
            restored.restore(&record).unwrap();
        }
        assert_eq!(restored.state_hash(), deduplication.state_hash());
        let again = reply(&mut restored, &request(5, 2, 0));
        assert_eq!(again, Some((2, AnswerStatus::Executed)));
    }

    #[test]
    fn damaged_records_are_refused() {
        let mut deduplication = small();
        assert!(execute(&mut deduplication, &request(5, 1, 0)));
        let record = deduplication.records().next().unwrap();
        for length in (0..record.len()).filter(|&length| length != HEADER_LENGTH) {
            assert_eq!(
                small().restore(&record[..length]),
                Err(RestoreError::Malformed(length)),
                "{length}"
            );
        }
    }

    #[test]
    fn what_is_not_a_numbered_message_is_ignored() {
        assert_eq!(small().admit(b"short"), Admission::Ignore);
    }
}
