//! Messages that follow from a seed, so that each side can check every byte of the other: the first
//! is the shortest, the second the longest. The same rule stands in `java/Content.java`.

/// A sequence of messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content {
    /// From which all follows.
    pub(crate) seed: u64,
    /// Length in bytes of the shortest message.
    pub(crate) minimum: u32,
    /// Length in bytes of the longest message.
    pub(crate) maximum: u32,
}

impl Content {
    fn key(&self, index: u64) -> u64 {
        mix(self.seed ^ mix(index))
    }

    fn length(&self, index: u64) -> u32 {
        let span = u64::from(self.maximum - self.minimum) + 1;
        let over = u32::try_from(self.key(index) % span).unwrap_or(0);
        match index {
            0 => self.minimum,
            1 => self.maximum,
            _ => self.minimum + over,
        }
    }

    /// Writes the message of this index into `target`, replacing what is there.
    pub(crate) fn write(&self, index: u64, target: &mut Vec<u8>) {
        let key = self.key(index);
        let length = usize::try_from(self.length(index)).unwrap_or(usize::MAX);
        target.clear();
        for word in 0.. {
            if target.len() >= length {
                break;
            }
            target.extend_from_slice(&mix(key.wrapping_add(word)).to_le_bytes());
        }
        target.truncate(length);
    }
}

/// Makes each bit of a word depend on all of its bits.
pub(crate) fn mix(word: u64) -> u64 {
    let mut z = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Checks messages as they come.
#[derive(Debug)]
pub(crate) struct Checker {
    content: Content,
    expected: Vec<u8>,
    /// How many have come, all right so far.
    pub(crate) count: u64,
}

impl Checker {
    /// Expects the first message.
    #[must_use]
    pub(crate) fn new(content: Content) -> Self {
        Self { content, expected: Vec::new(), count: 0 }
    }

    /// Takes the next message.
    ///
    /// # Errors
    /// Which message is wrong, and where.
    pub(crate) fn check(&mut self, message: &[u8]) -> Result<(), String> {
        self.content.write(self.count, &mut self.expected);
        let (count, expected) = (self.count, &self.expected);
        if message.len() != expected.len() {
            let (is, should) = (message.len(), expected.len());
            return Err(format!("message {count} has length {is}, not {should}"));
        }
        if let Some(at) = message.iter().zip(expected).position(|(is, should)| is != should) {
            return Err(format!("message {count} differs at byte {at}"));
        }
        self.count += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checker_takes_what_the_writer_makes_and_nothing_else() {
        let content = Content { seed: 7, minimum: 8, maximum: 100 };
        let mut checker = Checker::new(content);
        let mut message = Vec::new();
        for index in 0..50 {
            content.write(index, &mut message);
            assert!((8..=100).contains(&message.len()));
            assert!(index > 0 || message.len() == 8);
            assert!(index != 1 || message.len() == 100);
            checker.check(&message).unwrap();
        }
        content.write(50, &mut message);
        message[3] ^= 1;
        assert_eq!(checker.check(&message), Err("message 50 differs at byte 3".into()));
        message.pop();
        assert!(checker.check(&message).unwrap_err().contains("has length"));
    }
}
