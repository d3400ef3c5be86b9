//! What clients say to the order book, and what it answers.
//!
//! ```text
//! place   0    1    2      8    16      24             cancel  0    1      8
//!         | 1  |side| zero | id | price | amount |             | 2  | zero | id |
//! report  0       1      8    16     24       32
//!         |outcome| zero | id | open | trades | volume |
//! ```
//! Little-endian; side is 0 to buy, 1 to sell.

use crate::book::{Rejection, Side};

/// A command of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Place a limit order.
    Place {
        /// Chosen by the client; unique among resting orders.
        id: u64,
        /// Buy or sell.
        side: Side,
        /// Limit, in the smallest unit of price.
        price: i64,
        /// Volume, in the smallest unit of volume.
        amount: i64,
    },
    /// Take an order out of the book.
    Cancel {
        /// The order.
        id: u64,
    },
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// No order of this id rests in the book.
    UnknownOrder,
    /// An order of this id rests in the book already.
    DuplicateOrder,
    /// Price or volume mean nothing.
    BadOrder,
    /// The bytes are no command.
    Malformed,
}

/// The answer to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// What became of it.
    pub outcome: Outcome,
    /// The order.
    pub id: u64,
    /// Volume that is open: of a new order what rests now, of a cancelled one what rested.
    pub open: i64,
    /// Trades that a new order made.
    pub trades: u64,
    /// Their volume.
    pub volume: i64,
}

/// Length in bytes of the longest command.
pub const COMMAND_LENGTH_MAX: usize = 32;
/// Length in bytes of a report.
pub const REPORT_LENGTH: usize = 40;

const PLACE: u64 = 1;
const CANCEL: u64 = 2;

impl Command {
    /// Writes the command to the front of `buffer`; returns its bytes.
    pub fn encode<'b>(&self, buffer: &'b mut [u8; COMMAND_LENGTH_MAX]) -> &'b [u8] {
        match *self {
            Self::Place { id, side, price, amount } => {
                let kind = PLACE | u64::from(side == Side::Sell) << 8;
                put(buffer, &[kind, id, price.cast_unsigned(), amount.cast_unsigned()])
            }
            Self::Cancel { id } => put(buffer, &[CANCEL, id]),
        }
    }

    /// Reads a command; `None` when the bytes are none.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, [kind_word, id, ..]) = (*bytes.first()?, words::<2>(bytes)?);
        match (u64::from(kind), bytes.len()) {
            (PLACE, 32) => {
                let [_, _, price, amount] = words::<4>(bytes)?;
                let side = match kind_word >> 8 {
                    0 => Side::Buy,
                    1 => Side::Sell,
                    _ => return None,
                };
                let (price, amount) = (price.cast_signed(), amount.cast_signed());
                Some(Self::Place { id, side, price, amount })
            }
            (CANCEL, 16) if kind_word == CANCEL => Some(Self::Cancel { id }),
            _ => None,
        }
    }
}

impl Report {
    /// The report as bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; REPORT_LENGTH] {
        let mut bytes = [0; REPORT_LENGTH];
        let outcome = match self.outcome {
            Outcome::Done => 0,
            Outcome::UnknownOrder => 1,
            Outcome::DuplicateOrder => 2,
            Outcome::BadOrder => 3,
            Outcome::Malformed => 4,
        };
        let (open, volume) = (self.open.cast_unsigned(), self.volume.cast_unsigned());
        put(&mut bytes, &[outcome, self.id, open, self.trades, volume]);
        bytes
    }

    /// Reads a report; `None` when the bytes are none.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let [outcome, id, open, trades, volume] = words::<5>(bytes)?;
        let outcome = match outcome {
            0 => Outcome::Done,
            1 => Outcome::UnknownOrder,
            2 => Outcome::DuplicateOrder,
            3 => Outcome::BadOrder,
            4 => Outcome::Malformed,
            _ => return None,
        };
        let (open, volume) = (open.cast_signed(), volume.cast_signed());
        Some(Self { outcome, id, open, trades, volume })
    }

    /// The report of a command that changed nothing.
    #[must_use]
    pub fn rejected(id: u64, rejection: Rejection) -> Self {
        let outcome = match rejection {
            Rejection::UnknownOrder(_) => Outcome::UnknownOrder,
            Rejection::DuplicateOrder(_) => Outcome::DuplicateOrder,
            Rejection::Volume(_) | Rejection::Price(_) => Outcome::BadOrder,
        };
        Self { outcome, id, open: 0, trades: 0, volume: 0 }
    }
}

pub(crate) fn put<'b, const N: usize>(buffer: &'b mut [u8; N], words: &[u64]) -> &'b [u8] {
    for (target, word) in buffer.chunks_exact_mut(8).zip(words) {
        target.copy_from_slice(&word.to_le_bytes());
    }
    &buffer[..N.min(8 * words.len())]
}

pub(crate) fn words<const N: usize>(bytes: &[u8]) -> Option<[u64; N]> {
    let mut words = [0; N];
    let (chunks, _) = bytes.as_chunks::<8>();
    for (word, chunk) in words.iter_mut().zip(chunks.get(..N)?) {
        *word = u64::from_le_bytes(*chunk);
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_reports_survive_the_wire() {
        let mut buffer = [0; COMMAND_LENGTH_MAX];
        for command in [
            Command::Place { id: 7, side: Side::Buy, price: -1, amount: 9 },
            Command::Place { id: u64::MAX, side: Side::Sell, price: i64::MAX, amount: 1 },
            Command::Cancel { id: 3 },
        ] {
            assert_eq!(Command::decode(command.encode(&mut buffer)), Some(command));
        }
        let report =
            Report { outcome: Outcome::UnknownOrder, id: 1, open: -2, trades: 3, volume: 4 };
        assert_eq!(Report::decode(&report.encode()), Some(report));
    }

    #[test]
    fn other_bytes_are_no_commands() {
        let mut buffer = [0; COMMAND_LENGTH_MAX];
        let place = Command::Place { id: 7, side: Side::Buy, price: 1, amount: 9 };
        let bytes = place.encode(&mut buffer).to_vec();
        assert!((0..32).all(|length| Command::decode(&bytes[..length]).is_none()));
        let changed = |at: usize, value: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            Command::decode(&bytes)
        };
        assert_eq!(changed(0, 3), None);
        assert_eq!(changed(1, 2), None);
        assert_eq!(changed(5, 1), None);
        assert_eq!(Report::decode(&[9; REPORT_LENGTH]), None);
    }
}
