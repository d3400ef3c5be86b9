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
pub enum Admission<'s, 'm> {
    /// Execute the payload, then give the answer to [`Deduplication::answer`].
    Execute {
        /// The header that stood before it.
        header: RequestHeader,
        /// The service's own part.
        payload: &'m [u8],
    },
    /// Execute nothing; send these bytes to the session: a remembered answer, or which number is
    /// expected.
    Reply(&'s [u8]),
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
    /// The sum of the hashes of windows and answers, kept up with each change.
    hash: u64,
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
    #[error("a record of {0} bytes is not one of deduplication, or not in its place")]
    Malformed(usize),
}

impl Deduplication {
    /// Remembers nothing yet.
    #[must_use]
    pub fn new(limits: DeduplicationLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Says what to do with a message that the log delivered.
    pub fn admit<'s, 'm>(&'s mut self, message: &'m [u8]) -> Admission<'s, 'm> {
        let Some((header, payload)) = RequestHeader::decode(message) else {
            return Admission::Ignore;
        };
        self.heard += 1;
        if header.number == 1 && !self.clients.contains_key(&header.client) {
            self.make_room();
            let window = Window { next: 1, ..Window::default() };
            self.hash = self.hash.wrapping_add(window.hash(header.client));
            self.clients.insert(header.client, window);
        }
        let next = self.clients.get(&header.client).map_or(1, |window| window.next);
        if header.acknowledged >= next {
            return refuse(&mut self.reply, header.client, next, AnswerStatus::Forgotten);
        }
        let Some(window) = self.clients.get_mut(&header.client) else {
            return refuse(&mut self.reply, header.client, next, AnswerStatus::Expected);
        };
        self.hash = self.hash.wrapping_sub(window.hash(header.client));
        window.heard = self.heard;
        self.hash = self.hash.wrapping_add(window.hash(header.client));
        while window.next - (window.answers.len() as i64) <= header.acknowledged {
            let Some(answer) = window.answers.pop_front() else { break };
            self.hash = self.hash.wrapping_sub(hash_of(&answer));
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
        self.hash = self.hash.wrapping_sub(window.hash(header.client));
        window.next += 1;
        self.hash = self.hash.wrapping_add(window.hash(header.client));
        self.hash = self.hash.wrapping_add(hash_of(&answer));
        window.answers.push_back(answer);
        window.answers.back().map_or(&[], Vec::as_slice)
    }

    /// How many clients are remembered.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// A hash over all that is remembered: the same for one restored from records.
    #[must_use]
    pub fn state_hash(&self) -> u64 {
        self.hash
    }

    /// Whether this client is remembered.
    #[must_use]
    pub fn is_known(&self, client: i64) -> bool {
        self.clients.contains_key(&client)
    }

    /// The state as records for a snapshot, in a fixed order: for each client one of 25 bytes, then
    /// one for each answer, 9 bytes longer than it.
    pub fn records(&self) -> impl Iterator<Item = Vec<u8>> {
        self.clients.iter().flat_map(|(client, window)| {
            let words = [*client, window.next, window.heard.cast_signed()].map(i64::to_le_bytes);
            let head = [&[WINDOW][..], words.as_flattened()].concat();
            let answers = window.answers.iter();
            let answers =
                answers.map(|answer| [&[ANSWER][..], &client.to_le_bytes(), answer].concat());
            std::iter::once(head).chain(answers)
        })
    }

    /// Takes a record of a snapshot back, in the order of [`Deduplication::records`].
    ///
    /// # Errors
    /// The record is damaged or out of order; nothing was taken.
    pub fn restore(&mut self, record: &[u8]) -> Result<(), RestoreError> {
        let malformed = RestoreError::Malformed(record.len());
        let (&kind, rest) = record.split_first().ok_or(malformed)?;
        let (client, rest) = rest.split_first_chunk::<8>().ok_or(malformed)?;
        let client = i64::from_le_bytes(*client);
        match kind {
            WINDOW => {
                let (&[next, heard], []) = rest.as_chunks::<8>() else { return Err(malformed) };
                let (next, heard) = (i64::from_le_bytes(next), u64::from_le_bytes(heard));
                if next < 1 {
                    return Err(malformed);
                }
                self.heard = self.heard.max(heard);
                self.forget(client);
                let window = Window { next, heard, answers: VecDeque::new() };
                self.hash = self.hash.wrapping_add(window.hash(client));
                self.clients.insert(client, window);
            }
            ANSWER if rest.len() >= HEADER_LENGTH => {
                let window = self.clients.get_mut(&client).ok_or(malformed)?;
                if window.answers.len() as i64 >= window.next - 1 {
                    return Err(malformed);
                }
                self.hash = self.hash.wrapping_add(hash_of(rest));
                window.answers.push_back(rest.to_vec());
            }
            _ => return Err(malformed),
        }
        Ok(())
    }

    fn make_room(&mut self) {
        if self.clients.len() < self.limits.clients {
            return;
        }
        let quietest = self.clients.iter().min_by_key(|(_, window)| window.heard);
        if let Some(client) = quietest.map(|(&client, _)| client) {
            self.forget(client);
        }
    }

    fn forget(&mut self, client: i64) {
        if let Some(window) = self.clients.remove(&client) {
            self.hash = self.hash.wrapping_sub(window.whole_hash(client));
        }
    }
}

impl Window {
    fn hash(&self, client: i64) -> u64 {
        let words = [client, self.next, self.heard.cast_signed()];
        hash_of(words.map(i64::to_le_bytes).as_flattened())
    }

    fn whole_hash(&self, client: i64) -> u64 {
        let answers = self.answers.iter().map(|answer| hash_of(answer));
        answers.fold(self.hash(client), u64::wrapping_add)
    }
}

/// First byte of a record that begins a client.
const WINDOW: u8 = 0;
/// First byte of a record that holds an answer.
const ANSWER: u8 = 1;

/// FNV-1a.
fn hash_of(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn refuse<'s>(
    reply: &'s mut Vec<u8>,
    client: i64,
    number: i64,
    status: AnswerStatus,
) -> Admission<'s, 'static> {
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
        assert!(execute(&mut restored, &request(-6, 2, 1)));
        assert_ne!(restored.state_hash(), deduplication.state_hash());
        assert!(execute(&mut deduplication, &request(-6, 2, 1)));
        assert_eq!(restored.state_hash(), deduplication.state_hash());
        let again = reply(&mut restored, &request(5, 2, 0));
        assert_eq!(again, Some((2, AnswerStatus::Executed)));
    }

    #[test]
    fn damaged_records_are_refused() {
        let mut deduplication = small();
        assert!(execute(&mut deduplication, &request(5, 1, 0)));
        let records: Vec<Vec<u8>> = deduplication.records().collect();
        let [window, answer] = &records[..] else { panic!("{records:?}") };
        let mut restored = small();
        for length in 0..window.len() {
            let refused = Err(RestoreError::Malformed(length));
            assert_eq!(restored.restore(&window[..length]), refused, "{length}");
        }
        assert!(restored.restore(answer).is_err(), "it comes before its window");
        restored.restore(window).unwrap();
        for length in 0..9 + HEADER_LENGTH {
            let refused = Err(RestoreError::Malformed(length));
            assert_eq!(restored.restore(&answer[..length]), refused, "{length}");
        }
        restored.restore(answer).unwrap();
        assert!(restored.restore(answer).is_err(), "there was only one");
    }

    #[test]
    fn what_is_not_a_numbered_message_is_ignored() {
        assert_eq!(small().admit(b"short"), Admission::Ignore);
    }
}
