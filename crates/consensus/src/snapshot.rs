//! The module's own state, out to a snapshot and in from one (cluster specification 7.4).
//!
//! Markers BEGIN and END, and the bytes, are the agent's; here is what stands between them.

use wire::position::Position;

use crate::context::Context;
use crate::id::{ClusterSessionId, CorrelationId, ServiceId};
use crate::session::{CloseReason, Session};

/// One message between the markers of the module's snapshot, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Fields as in the cluster specification 1.4.
pub enum SnapshotItem<'a> {
    /// Template 105.
    Module {
        next_session_id: i64,
        next_service_session_id: i64,
        log_service_session_id: i64,
        pending_message_capacity: i32,
    },
    /// Template 103: open, or closing for a reason.
    Session {
        session: ClusterSessionId,
        correlation_id: CorrelationId,
        opened_log_position: Position,
        close_reason: Option<CloseReason>,
        response_stream_id: i32,
        response_channel: &'a str,
    },
    /// Template 104.
    Timer { correlation_id: CorrelationId, deadline: i64 },
    /// Template 107.
    Pending {
        next_service_session_id: i64,
        log_service_session_id: i64,
        pending_message_capacity: i32,
        service: ServiceId,
    },
    /// Template 1, then the payload.
    Message { session: ClusterSessionId, payload: &'a [u8] },
}

/// Bytes that a reader of the snapshot sizes its buffer for: each message with its headers.
fn capacity(pending: &crate::service::PendingMessages) -> i32 {
    let headers = pending.iter().count() * 64;
    i32::try_from(pending.bytes() + headers).unwrap_or(i32::MAX)
}

impl Context {
    pub(crate) fn snapshot(&self, mut write: impl FnMut(SnapshotItem<'_>)) {
        let first = self.services.pending.first();
        write(SnapshotItem::Module {
            next_session_id: self.sessions.next_committed_id,
            next_service_session_id: first.map_or(0, |pending| pending.next_id),
            log_service_session_id: first.map_or(0, |pending| pending.log_id),
            pending_message_capacity: first.map_or(0, capacity),
        });
        for (session, known) in self.sessions.iter() {
            // A close that only the leader knows of is not state of the cluster: the snapshots of
            // all members are equal.
            let close_reason = known.is_closed_by_service.then_some(CloseReason::ServiceAction);
            write(SnapshotItem::Session {
                session,
                correlation_id: known.correlation_id,
                opened_log_position: known.opened,
                close_reason,
                response_stream_id: known.response_stream_id,
                response_channel: &known.response_channel,
            });
        }
        for (correlation_id, deadline) in self.timers.iter() {
            write(SnapshotItem::Timer { correlation_id, deadline });
        }
        for (index, pending) in self.services.pending.iter().enumerate() {
            let is_empty = pending.iter().next().is_none();
            write(SnapshotItem::Pending {
                next_service_session_id: if is_empty {
                    pending.log_id + 1
                } else {
                    pending.next_id
                },
                log_service_session_id: pending.log_id,
                pending_message_capacity: capacity(pending),
                service: ServiceId(i32::try_from(index).unwrap_or(i32::MAX)),
            });
            for message in pending.iter() {
                let (session, payload) = (message.id, &*message.payload);
                write(SnapshotItem::Message { session, payload });
            }
        }
    }

    /// Takes one item of a snapshot. False if it does not fit what came before.
    pub(crate) fn restore(&mut self, item: SnapshotItem<'_>) -> bool {
        match item {
            SnapshotItem::Module {
                next_session_id,
                next_service_session_id,
                log_service_session_id,
                ..
            } => {
                self.sessions.restore_next_id(next_session_id);
                if let Some(first) = self.services.pending.first_mut()
                    && log_service_session_id < 0
                {
                    first.restore(next_service_session_id, log_service_session_id);
                }
                true
            }
            SnapshotItem::Session {
                session,
                correlation_id,
                opened_log_position,
                close_reason,
                response_stream_id,
                response_channel,
            } => {
                let (stream, now) = (response_stream_id, self.mono());
                let opened = opened_log_position;
                let known = Session::known(correlation_id, stream, response_channel, opened, now)
                    .restored(close_reason);
                let next = self.sessions.next_committed_id;
                self.sessions.log_opened(session, known);
                session.0 > 0 && session.0 < next
            }
            SnapshotItem::Timer { correlation_id, deadline } => {
                self.timers.insert(correlation_id, deadline);
                true
            }
            SnapshotItem::Pending {
                next_service_session_id,
                log_service_session_id,
                service,
                ..
            } => match self.services.pending_of(service) {
                Some(pending) => {
                    pending.restore(next_service_session_id, log_service_session_id);
                    true
                }
                None => false,
            },
            SnapshotItem::Message { session, payload } => {
                let service = ServiceId(((session.0 >> 56) & 0x7F) as i32);
                self.services
                    .pending_of(service)
                    .is_some_and(|pending| pending.restore_message(session, payload))
            }
        }
    }
}
