//! One number for all that happened, to compare two runs by.

/// A running hash of events. Not for tables, nor against malice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trace(u64);

impl Trace {
    /// Takes one number.
    pub(crate) fn mix(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(23) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    /// Takes a time.
    pub(crate) fn mix_time(&mut self, time: wire::time::Nanos) {
        self.mix(time.0.cast_unsigned());
    }

    /// Takes bytes and their length.
    pub(crate) fn mix_bytes(&mut self, bytes: &[u8]) {
        self.mix(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        for byte in rest {
            self.mix(u64::from(*byte));
        }
    }

    /// The hash so far.
    pub(crate) fn value(self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }
}
