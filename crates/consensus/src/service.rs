//! Services of this member: their acknowledgements and the messages they offer to the cluster.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use wire::position::Position;

use crate::id::{ClusterSessionId, ServiceId};

/// What a barrier waits for: every service acknowledges it once (cluster specification 6.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Barrier {
    Start,
    Join,
    Snapshot,
    Termination,
}

#[derive(Clone, Copy, Debug)]
struct Expected {
    ack_id: i64,
    position: Position,
    barrier: Barrier,
    /// Nobody waits for it any more; its acks are consumed before the next join.
    is_abandoned: bool,
}

#[derive(Clone, Copy, Debug)]
struct Ack {
    ack_id: i64,
    position: Position,
    relevant_id: i64,
}

/// A service answered another barrier than the one that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnexpectedAck;

/// A service offered more than may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyPending;

/// Most acks of one service that wait for the others.
const ACKS_MAX: usize = 64;

/// All services of this member.
#[derive(Clone, Debug)]
pub(crate) struct Services {
    next_ack_id: i64,
    expected: VecDeque<Expected>,
    acks: Vec<VecDeque<Ack>>,
    pub(crate) pending: Vec<PendingMessages>,
}

impl Services {
    pub(crate) fn new(count: usize, pending_bytes_max: usize) -> Self {
        let pending = |index| PendingMessages::new(index, pending_bytes_max);
        Self {
            next_ack_id: 0,
            expected: VecDeque::new(),
            acks: (0..count).map(|_| VecDeque::new()).collect(),
            pending: (0..count).map(pending).collect(),
        }
    }

    /// The next ack of every service is for this barrier, at this position.
    pub(crate) fn expect(&mut self, barrier: Barrier, position: Position) {
        let expected =
            Expected { ack_id: self.next_ack_id, position, barrier, is_abandoned: false };
        self.next_ack_id += 1;
        self.expected.push_back(expected);
    }

    /// Whether no acks are outstanding that a join would have to follow.
    pub(crate) fn is_idle(&self) -> bool {
        self.expected.is_empty()
    }

    /// The join that was asked for is of no interest any more. `was_sent` tells whether services
    /// know of it and will acknowledge.
    pub(crate) fn abandon_join(&mut self, was_sent: bool) {
        let Some(last) = self.expected.back_mut() else { return };
        if last.barrier != Barrier::Join || last.is_abandoned {
            return;
        }
        if was_sent {
            last.is_abandoned = true;
        } else {
            self.retract(Barrier::Join);
        }
    }

    /// The last barrier cannot be met: services will never see its cause.
    pub(crate) fn retract(&mut self, barrier: Barrier) {
        if self.expected.back().is_some_and(|last| last.barrier == barrier && !last.is_abandoned) {
            self.expected.pop_back();
            self.next_ack_id -= 1;
        }
    }

    pub(crate) fn on_ack(
        &mut self,
        service: ServiceId,
        ack_id: i64,
        position: Position,
        relevant_id: i64,
    ) -> Result<(), UnexpectedAck> {
        let queue = usize::try_from(service.0)
            .ok()
            .and_then(|index| self.acks.get_mut(index))
            .filter(|queue| queue.len() < ACKS_MAX)
            .ok_or(UnexpectedAck)?;
        queue.push_back(Ack { ack_id, position, relevant_id });
        Ok(())
    }

    /// The oldest barrier if every service has acknowledged it, with their relevant ids.
    pub(crate) fn settle(
        &mut self,
    ) -> Result<Option<(Barrier, Position, Vec<i64>)>, UnexpectedAck> {
        while let Some(&expected) = self.expected.front() {
            if self.acks.iter().any(VecDeque::is_empty) {
                return Ok(None);
            }
            let heads: Vec<Ack> = self.acks.iter_mut().filter_map(VecDeque::pop_front).collect();
            self.expected.pop_front();
            let fits = |ack: &Ack| {
                ack.ack_id == expected.ack_id
                    && (ack.position == expected.position || expected.is_abandoned)
            };
            if !heads.iter().all(fits) {
                return Err(UnexpectedAck);
            }
            if !expected.is_abandoned {
                let relevant = heads.iter().map(|ack| ack.relevant_id).collect();
                return Ok(Some((expected.barrier, expected.position, relevant)));
            }
        }
        Ok(None)
    }

    pub(crate) fn pending_of(&mut self, service: ServiceId) -> Option<&mut PendingMessages> {
        usize::try_from(service.0).ok().and_then(|index| self.pending.get_mut(index))
    }

    /// A service message was read in the log.
    pub(crate) fn on_log_message(&mut self, id: ClusterSessionId) {
        let service = ServiceId(((id.0 >> 56) & 0x7F) as i32);
        if let Some(pending) = self.pending_of(service) {
            pending.on_log_message(id);
        }
    }
}

/// A message of a service on its way into the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) id: ClusterSessionId,
    pub(crate) payload: Box<[u8]>,
    appended: Option<Position>,
}

/// Messages offered by one service, until they are committed (cluster specification 5.6).
///
/// Ids are `-2^63 | service << 56 | n`, n from 1; every member gives equal ids to equal messages.
#[derive(Clone, Debug)]
pub(crate) struct PendingMessages {
    pub(crate) next_id: i64,
    pub(crate) log_id: i64,
    queue: VecDeque<Pending>,
    bytes: usize,
    bytes_max: usize,
}

impl PendingMessages {
    fn new(service: usize, bytes_max: usize) -> Self {
        let log_id = i64::MIN | ((service as i64) << 56);
        Self { next_id: log_id + 1, log_id, queue: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// The service offered a message: dropped if the log has it already.
    pub(crate) fn offer(&mut self, payload: &[u8]) -> Result<(), TooManyPending> {
        if self.bytes + payload.len() > self.bytes_max {
            return Err(TooManyPending);
        }
        let id = self.next_id;
        self.next_id += 1;
        if id > self.log_id {
            self.bytes += payload.len();
            let id = ClusterSessionId(id);
            self.queue.push_back(Pending { id, payload: payload.into(), appended: None });
        }
        Ok(())
    }

    /// The first message that is not yet in the log.
    pub(crate) fn to_append(&self) -> Option<&Pending> {
        let index = self.queue.partition_point(|pending| pending.appended.is_some());
        self.queue.get(index)
    }

    pub(crate) fn appended(&mut self, position: Position) {
        let index = self.queue.partition_point(|pending| pending.appended.is_some());
        if let Some(pending) = self.queue.get_mut(index) {
            pending.appended = Some(position);
        }
    }

    pub(crate) fn committed(&mut self, position: Position) {
        while self.queue.front().and_then(|front| front.appended).is_some_and(|at| at <= position) {
            self.pop();
        }
    }

    fn on_log_message(&mut self, id: ClusterSessionId) {
        self.log_id = self.log_id.max(id.0);
        while self.queue.front().is_some_and(|front| front.id <= id) {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some(front) = self.queue.pop_front() {
            self.log_id = self.log_id.max(front.id.0);
            self.bytes -= front.payload.len();
        }
    }

    pub(crate) fn roll_back(&mut self) {
        for pending in &mut self.queue {
            pending.appended = None;
        }
    }

    /// Bytes kept, ids and payloads: what a snapshot holds.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Pending> {
        self.queue.iter()
    }

    /// Restores the tracker of a snapshot, before its messages.
    pub(crate) fn restore(&mut self, next_id: i64, log_id: i64) {
        self.queue.clear();
        self.bytes = 0;
        self.log_id = log_id;
        self.next_id = log_id.saturating_add(1).min(next_id);
    }

    /// Restores one message of a snapshot; false if its id is not the next one.
    pub(crate) fn restore_message(&mut self, id: ClusterSessionId, payload: &[u8]) -> bool {
        self.next_id == id.0 && self.offer(payload).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Services {
        Services::new(2, 1_000)
    }

    fn ack(services: &mut Services, service: i32, id: i64, position: i64) {
        services.on_ack(ServiceId(service), id, Position(position), 7).unwrap();
    }

    #[test]
    fn a_barrier_ends_when_every_service_acknowledged_its_id_and_position() {
        let mut services = two();
        services.expect(Barrier::Start, Position(0));
        ack(&mut services, 0, 0, 0);
        assert_eq!(services.settle(), Ok(None));
        ack(&mut services, 1, 0, 0);
        let settled = services.settle().unwrap();
        assert_eq!(settled, Some((Barrier::Start, Position(0), alloc::vec![7, 7])));
        services.expect(Barrier::Join, Position(64));
        ack(&mut services, 0, 1, 64);
        ack(&mut services, 1, 1, 32);
        assert_eq!(services.settle(), Err(UnexpectedAck));
    }

    #[test]
    fn acks_of_an_abandoned_join_are_consumed_before_the_next() {
        let mut services = two();
        services.expect(Barrier::Join, Position(64));
        services.abandon_join(true);
        assert!(!services.is_idle());
        ack(&mut services, 0, 0, 64);
        ack(&mut services, 1, 0, 64);
        assert_eq!(services.settle(), Ok(None));
        assert!(services.is_idle());
        services.expect(Barrier::Join, Position(64));
        services.abandon_join(false);
        services.expect(Barrier::Join, Position(96));
        ack(&mut services, 0, 1, 96);
        ack(&mut services, 1, 1, 96);
        assert!(matches!(services.settle(), Ok(Some((Barrier::Join, Position(96), _)))));
    }

    #[test]
    fn a_message_that_the_log_has_already_is_not_appended_again() {
        let mut services = two();
        let base = i64::MIN | (1 << 56);
        services.on_log_message(ClusterSessionId(base + 2));
        let pending = services.pending_of(ServiceId(1)).unwrap();
        pending.offer(b"a").unwrap();
        pending.offer(b"b").unwrap();
        assert_eq!(pending.to_append(), None);
        pending.offer(b"c").unwrap();
        assert_eq!(pending.to_append().unwrap().id, ClusterSessionId(base + 3));
    }

    #[test]
    fn uncommitted_messages_are_appended_again_after_leadership_is_lost() {
        let mut services = two();
        let pending = services.pending_of(ServiceId(0)).unwrap();
        pending.offer(b"a").unwrap();
        pending.offer(b"b").unwrap();
        pending.appended(Position(64));
        pending.appended(Position(96));
        pending.committed(Position(64));
        pending.roll_back();
        assert_eq!(&*pending.to_append().unwrap().payload, b"b");
        assert_eq!(pending.log_id, i64::MIN + 1);
    }
}
