//! What a service writes its state to.

/// Takes the messages of a snapshot, in order.
///
/// Each message comes back as one call of
/// [`on_snapshot`](crate::service::ClusteredService::on_snapshot). What is written is kept until it
/// has gone to the recording, so that a write never fails; a service with much state returns
/// [`Step::More`](crate::service::Step::More) whenever [`SnapshotWriter::is_full`], and goes on
/// from there in the next call.
pub struct SnapshotWriter<'a> {
    pending: &'a mut PendingSnapshot,
}

/// Messages on their way to the recording of a snapshot.
#[derive(Debug, Default)]
pub struct PendingSnapshot {
    bytes: Vec<u8>,
    /// Where each message ends in `bytes`.
    ends: Vec<usize>,
    /// How many messages have gone.
    sent: usize,
}

/// From so many bytes on a writer is full.
const FULL_LENGTH: usize = 256 * 1024;

impl<'a> SnapshotWriter<'a> {
    /// A writer into `pending`. Services are handed one; tests make theirs.
    pub fn new(pending: &'a mut PendingSnapshot) -> Self {
        Self { pending }
    }

    /// Adds a message, which must not be longer than the cluster's longest.
    pub fn write(&mut self, message: &[u8]) {
        self.pending.bytes.extend_from_slice(message);
        self.pending.ends.push(self.pending.bytes.len());
    }

    /// Whether enough has been written for this call.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.pending.bytes.len() >= FULL_LENGTH
    }
}

impl PendingSnapshot {
    /// The messages that have not gone, in order.
    pub fn messages(&self) -> impl Iterator<Item = &[u8]> {
        (self.sent..self.ends.len()).map(|index| self.message(index))
    }

    /// Hands over messages in order while `send` takes them; returns whether all have gone.
    pub fn drain(&mut self, mut send: impl FnMut(&[u8]) -> bool) -> bool {
        while self.sent < self.ends.len() {
            if !send(self.message(self.sent)) {
                return false;
            }
            self.sent += 1;
        }
        self.bytes.clear();
        self.ends.clear();
        self.sent = 0;
        true
    }

    fn message(&self, index: usize) -> &[u8] {
        let begin = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[begin..self.ends[index]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_go_in_order_and_those_refused_wait() {
        let mut pending = PendingSnapshot::default();
        let mut writer = SnapshotWriter::new(&mut pending);
        writer.write(b"one");
        writer.write(b"");
        writer.write(b"three");
        assert!(!writer.is_full());
        let mut room = 2;
        let mut gone = Vec::new();
        let mut send = |message: &[u8], room: &mut i32| {
            *room -= 1;
            if *room >= 0 {
                gone.push(message.to_vec());
            }
            *room >= 0
        };
        assert!(!pending.drain(|message| send(message, &mut room)));
        assert_eq!(pending.messages().collect::<Vec<_>>(), [b"three"]);
        room = 9;
        assert!(pending.drain(|message| send(message, &mut room)));
        assert_eq!(gone, [&b"one"[..], b"", b"three"]);
        assert_eq!(pending.messages().count(), 0);
    }

    #[test]
    fn a_writer_is_full_once_it_holds_its_share() {
        let mut pending = PendingSnapshot::default();
        let mut writer = SnapshotWriter::new(&mut pending);
        writer.write(&vec![0; FULL_LENGTH - 1]);
        assert!(!writer.is_full());
        writer.write(&[0]);
        assert!(writer.is_full());
    }
}
