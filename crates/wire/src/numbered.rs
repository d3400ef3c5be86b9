//! Headers that make a client's messages count exactly once. Ours: the cluster protocol carries
//! them as payload and does not know them.
//!
//! ```text
//! request  0        8        16              24
//!          | client | number | acknowledged  | payload ...
//! answer   0        8        16       20     24
//!          | client | number | status | zero | payload ...
//! ```
//! Little-endian. A client numbers its messages 1, 2, 3, ... whatever session carries them.

/// Length in bytes of both headers.
pub const HEADER_LENGTH: usize = 24;

/// What stands before the payload of a client's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    /// Names the client over all of its sessions: drawn at random by it.
    pub client: i64,
    /// The message's number, from 1 without gaps.
    pub number: i64,
    /// The answers to all numbers up to this one have arrived; zero when none has.
    pub acknowledged: i64,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerStatus {
    /// It was executed, now or before; the payload is the service's answer.
    Executed,
    /// It was not executed: the number in the header is the one that must come next.
    Expected,
    /// It was not executed: the client acknowledged answers of which the service knows nothing.
    Forgotten,
    /// A status of a later version.
    Other(i32),
}

/// What stands before the payload of a service's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerHeader {
    /// The client that is answered.
    pub client: i64,
    /// The number that is answered, or the one expected next: see [`AnswerStatus`].
    pub number: i64,
    /// What became of the message.
    pub status: AnswerStatus,
}

impl RequestHeader {
    /// The header as bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LENGTH] {
        words(self.client, self.number, self.acknowledged)
    }

    /// Splits a message into header and payload; `None` when it is too short or the numbers cannot
    /// have come from a client that counts.
    #[must_use]
    pub fn decode(message: &[u8]) -> Option<(Self, &[u8])> {
        let ([client, number, acknowledged], payload) = split(message)?;
        let counts = number >= 1 && (0..number).contains(&acknowledged);
        counts.then_some((Self { client, number, acknowledged }, payload))
    }
}

impl AnswerHeader {
    /// The header as bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LENGTH] {
        let status = match self.status {
            AnswerStatus::Executed => 0,
            AnswerStatus::Expected => 1,
            AnswerStatus::Forgotten => 2,
            AnswerStatus::Other(status) => status,
        };
        words(self.client, self.number, i64::from(status.cast_unsigned()))
    }

    /// Splits an answer into header and payload; `None` when it is too short.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)] // The status is the low half of its word.
    pub fn decode(message: &[u8]) -> Option<(Self, &[u8])> {
        let ([client, number, status], payload) = split(message)?;
        let status = match status as i32 {
            0 => AnswerStatus::Executed,
            1 => AnswerStatus::Expected,
            2 => AnswerStatus::Forgotten,
            status => AnswerStatus::Other(status),
        };
        Some((Self { client, number, status }, payload))
    }
}

fn words(first: i64, second: i64, third: i64) -> [u8; HEADER_LENGTH] {
    let mut bytes = [0; HEADER_LENGTH];
    for (target, word) in bytes.chunks_exact_mut(8).zip([first, second, third]) {
        target.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// The three words of a header and what follows it.
fn split(message: &[u8]) -> Option<([i64; 3], &[u8])> {
    let (header, payload) = message.split_first_chunk::<HEADER_LENGTH>()?;
    let mut words = [0; 3];
    for (word, bytes) in words.iter_mut().zip(header.as_chunks::<8>().0) {
        *word = i64::from_le_bytes(*bytes);
    }
    Some((words, payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_survive_the_wire() {
        let request = RequestHeader { client: -7, number: 9, acknowledged: 8 };
        let message = [&request.encode()[..], b"payload"].concat();
        assert_eq!(RequestHeader::decode(&message), Some((request, &b"payload"[..])));
        for status in [AnswerStatus::Executed, AnswerStatus::Expected, AnswerStatus::Other(-3)] {
            let answer = AnswerHeader { client: 1, number: 2, status };
            assert_eq!(AnswerHeader::decode(&answer.encode()), Some((answer, &b""[..])));
        }
    }

    #[test]
    fn the_layout_is_three_little_endian_words() {
        let bytes = RequestHeader { client: 1, number: 0x0203, acknowledged: 4 }.encode();
        assert_eq!(bytes[..10], [1, 0, 0, 0, 0, 0, 0, 0, 3, 2]);
        assert_eq!(bytes[16], 4);
    }

    #[test]
    fn short_messages_and_impossible_numbers_are_refused() {
        let good = RequestHeader { client: 1, number: 2, acknowledged: 0 }.encode();
        assert!((0..HEADER_LENGTH).all(|length| RequestHeader::decode(&good[..length]).is_none()));
        let decode = |number, acknowledged| {
            RequestHeader::decode(&RequestHeader { client: 1, number, acknowledged }.encode())
                .is_some()
        };
        assert!(decode(1, 0) && decode(i64::MAX, 5));
        assert!(!decode(0, 0) && !decode(-1, 0) && !decode(2, 2) && !decode(2, -1));
    }
}
