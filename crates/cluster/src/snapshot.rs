//! The module's own snapshot: what stands in its recording (source: cluster page 7.4).
//!
//! ```text
//! SnapshotMarker BEGIN | items of the core, in its order | SnapshotMarker END | (ignored)
//! ```

use consensus::{
    CloseReason, ClusterSessionId, Consensus, CorrelationId, LeadershipTermId, ServiceId,
    SnapshotItem, TimeUnit,
};
use wire::bytes::{DecodeError, EncodeError, SemanticVersion};
use wire::cluster::ingress::SessionMessageHeader;
use wire::cluster::snapshot::{
    ClusterSession, ConsensusModule, PendingMessageTracker, SNAPSHOT_TYPE_MODULE, SnapshotMark,
    SnapshotMarker, SnapshotRecord, Timer,
};
use wire::cluster::{CloseReason as WireReason, TimeUnit as WireUnit};
use wire::position::Position;

use crate::log_follower::is_compatible;

/// Where a snapshot was taken, and by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// Position of the log.
    pub position: Position,
    /// Its term.
    pub term: LeadershipTermId,
    /// Unit of the cluster's time.
    pub time_unit: TimeUnit,
    /// Version of the application.
    pub app_version: SemanticVersion,
}

/// Why a snapshot is not to be used: the member must not start from it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Bytes that are no record of a snapshot.
    #[error("the snapshot is unreadable: {0}")]
    Undecodable(#[from] DecodeError),
    /// A record before the first marker, or a second first marker.
    #[error("the snapshot does not begin with its marker")]
    Begin,
    /// The snapshot of a service, or of another position or term.
    #[error("the snapshot is not that of the module at {} in term {}", position.0, term.0)]
    Another {
        /// The position that the recording log names.
        position: Position,
        /// The term that it names.
        term: LeadershipTermId,
    },
    /// Taken with another unit of time.
    #[error("the snapshot counts time in another unit")]
    TimeUnit,
    /// Taken by an application that this one does not agree with.
    #[error("the snapshot is of application version {theirs:?}, not {ours:?}")]
    AppVersion {
        /// Version of the snapshot.
        theirs: SemanticVersion,
        /// Version configured here.
        ours: SemanticVersion,
    },
    /// The core refuses a record: ids that do not follow each other, or a service that is none.
    #[error("the snapshot contradicts itself or the number of services")]
    Contradiction,
}

/// Takes a snapshot in, record by record.
#[derive(Clone, Debug)]
pub struct Loader {
    expected: Provenance,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    AwaitBegin,
    Items,
    Done,
}

impl Loader {
    /// Expects the snapshot that the recording log names.
    #[must_use]
    pub const fn new(expected: Provenance) -> Self {
        Self { expected, stage: Stage::AwaitBegin }
    }

    /// Whether all of it was taken in.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// Takes one whole message of the recording; what stands behind the end is passed over.
    /// `restore` is [`Consensus::restore`].
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn take(
        &mut self,
        message: &[u8],
        restore: impl FnOnce(SnapshotItem<'_>) -> bool,
    ) -> Result<(), LoadError> {
        if self.is_done() {
            return Ok(());
        }
        let Some(record) = SnapshotRecord::decode(message)? else { return Ok(()) };
        if let SnapshotRecord::SnapshotMarker(marker) = record {
            return self.on_marker(&marker);
        }
        if self.stage == Stage::AwaitBegin {
            return Err(LoadError::Begin);
        }
        match from_wire(&record, message) {
            Some(item) if !restore(item) => Err(LoadError::Contradiction),
            _ => Ok(()),
        }
    }

    fn on_marker(&mut self, marker: &SnapshotMarker) -> Result<(), LoadError> {
        let Provenance { position, term, time_unit, app_version: ours } = self.expected;
        let found = (marker.type_id, marker.leadership_term_id);
        // A recording log that was seeded from a snapshot names it at 0, where a new log begins.
        let is_there = position.0 == 0 || marker.log_position == position.0;
        if found != (SNAPSHOT_TYPE_MODULE, term.0) || !is_there {
            return Err(LoadError::Another { position, term });
        }
        let is_new = self.stage == Stage::AwaitBegin;
        self.stage = match marker.mark {
            SnapshotMark::Begin if is_new => Stage::Items,
            SnapshotMark::End if !is_new => Stage::Done,
            SnapshotMark::Section if !is_new => self.stage,
            _ => return Err(LoadError::Begin),
        };
        let code = marker.time_unit.code();
        if TimeUnit::from_code((code != i32::MIN).then_some(code)) != Some(time_unit) {
            return Err(LoadError::TimeUnit);
        }
        let theirs = marker.app_version;
        if !is_compatible(theirs, ours) {
            return Err(LoadError::AppVersion { theirs, ours });
        }
        Ok(())
    }
}

/// The messages of a whole snapshot of the core, to be offered one by one.
///
/// # Errors
/// A field is too long for the wire.
pub fn messages(core: &Consensus, provenance: Provenance) -> Result<Vec<Vec<u8>>, EncodeError> {
    let mut messages = vec![encode_marker(provenance, SnapshotMark::Begin)];
    core.snapshot(|item| messages.push(encode_item(item)));
    messages.push(encode_marker(provenance, SnapshotMark::End));
    messages.into_iter().collect()
}

fn encode_marker(from: Provenance, mark: SnapshotMark) -> Result<Vec<u8>, EncodeError> {
    let marker = SnapshotMarker {
        type_id: SNAPSHOT_TYPE_MODULE,
        log_position: from.position.0,
        leadership_term_id: from.term.0,
        index: 0,
        mark,
        time_unit: WireUnit::from_code(from.time_unit.code()),
        app_version: from.app_version,
    };
    encoded(&marker.into(), &[])
}

fn encoded(record: &SnapshotRecord<'_>, payload: &[u8]) -> Result<Vec<u8>, EncodeError> {
    let mut message = vec![0; record.encoded_length()];
    record.encode(&mut message)?;
    message.extend_from_slice(payload);
    Ok(message)
}

fn encode_item(item: SnapshotItem<'_>) -> Result<Vec<u8>, EncodeError> {
    let (record, payload) = to_wire(item);
    encoded(&record, payload)
}

fn to_wire(item: SnapshotItem<'_>) -> (SnapshotRecord<'_>, &[u8]) {
    let record: SnapshotRecord<'_> = match item {
        SnapshotItem::Module {
            next_session_id,
            next_service_session_id,
            log_service_session_id,
            pending_message_capacity,
        } => ConsensusModule {
            next_session_id,
            next_service_session_id,
            log_service_session_id,
            pending_message_capacity,
        }
        .into(),
        SnapshotItem::Session {
            session,
            correlation_id,
            opened_log_position,
            close_reason,
            response_stream_id,
            response_channel,
        } => ClusterSession {
            cluster_session_id: session.0,
            correlation_id: correlation_id.0,
            opened_log_position: opened_log_position.0,
            time_of_last_activity: -1,
            close_reason: close_reason
                .map_or(WireReason::NONE, |reason| WireReason::from_code(reason as i32)),
            response_stream_id,
            response_channel: response_channel.as_bytes(),
        }
        .into(),
        SnapshotItem::Timer { correlation_id, deadline } => {
            Timer { correlation_id: correlation_id.0, deadline }.into()
        }
        SnapshotItem::Pending {
            next_service_session_id,
            log_service_session_id,
            pending_message_capacity,
            service,
        } => PendingMessageTracker {
            next_service_session_id,
            log_service_session_id,
            pending_message_capacity,
            service_id: service.0,
        }
        .into(),
        SnapshotItem::Message { session, payload } => {
            let header = SessionMessageHeader {
                leadership_term_id: -1,
                cluster_session_id: session.0,
                timestamp: i64::MAX,
            };
            return (SnapshotRecord::SessionMessageHeader(header), payload);
        }
    };
    (record, &[])
}

/// An item for the core; `None` for what it does not take.
fn from_wire<'a>(record: &SnapshotRecord<'a>, message: &'a [u8]) -> Option<SnapshotItem<'a>> {
    Some(match record {
        SnapshotRecord::SnapshotMarker(_)
        | SnapshotRecord::ClientSession(_)
        | SnapshotRecord::ClusterMembers(_) => return None,
        SnapshotRecord::ClusterSession(m) => SnapshotItem::Session {
            session: ClusterSessionId(m.cluster_session_id),
            correlation_id: CorrelationId(m.correlation_id),
            opened_log_position: Position(m.opened_log_position),
            close_reason: CloseReason::from_code(m.close_reason.code()),
            response_stream_id: m.response_stream_id,
            // A channel that is no text reaches nobody, and the session is closed by time.
            response_channel: std::str::from_utf8(m.response_channel).unwrap_or_default(),
        },
        SnapshotRecord::Timer(m) => SnapshotItem::Timer {
            correlation_id: CorrelationId(m.correlation_id),
            deadline: m.deadline,
        },
        SnapshotRecord::ConsensusModule(m) => SnapshotItem::Module {
            next_session_id: m.next_session_id,
            next_service_session_id: m.next_service_session_id,
            log_service_session_id: m.log_service_session_id,
            pending_message_capacity: m.pending_message_capacity,
        },
        SnapshotRecord::PendingMessageTracker(m) => SnapshotItem::Pending {
            next_service_session_id: m.next_service_session_id,
            log_service_session_id: m.log_service_session_id,
            pending_message_capacity: m.pending_message_capacity,
            service: ServiceId(m.service_id),
        },
        SnapshotRecord::SessionMessageHeader(m) => SnapshotItem::Message {
            session: ClusterSessionId(m.cluster_session_id),
            payload: SessionMessageHeader::payload(message),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: Provenance = Provenance {
        position: Position(640),
        term: LeadershipTermId(2),
        time_unit: TimeUnit::Nanos,
        app_version: SemanticVersion::new(0, 0, 1),
    };

    fn marker(mark: SnapshotMark) -> Vec<u8> {
        encode_marker(FROM, mark).unwrap()
    }

    fn loading() -> Loader {
        let mut loader = Loader::new(FROM);
        loader.take(&marker(SnapshotMark::Begin), |_| unreachable!()).unwrap();
        loader
    }

    fn survives(item: SnapshotItem<'_>) {
        let mut was_taken = false;
        let message = encode_item(item).unwrap();
        let restore = |restored: SnapshotItem<'_>| {
            assert_eq!(restored, item);
            was_taken = true;
            true
        };
        loading().take(&message, restore).unwrap();
        assert!(was_taken);
    }

    #[test]
    fn every_item_survives_its_recording() {
        survives(SnapshotItem::Module {
            next_session_id: 4,
            next_service_session_id: i64::MIN + 1,
            log_service_session_id: i64::MIN,
            pending_message_capacity: 9,
        });
        let session = |close_reason| SnapshotItem::Session {
            session: ClusterSessionId(3),
            correlation_id: CorrelationId(4),
            opened_log_position: Position(96),
            close_reason,
            response_stream_id: 102,
            response_channel: "aeron:ipc",
        };
        survives(session(None));
        survives(session(Some(CloseReason::ServiceAction)));
        survives(SnapshotItem::Timer { correlation_id: CorrelationId(-4), deadline: 77 });
        survives(SnapshotItem::Pending {
            next_service_session_id: -5,
            log_service_session_id: -6,
            pending_message_capacity: 64,
            service: ServiceId(1),
        });
        survives(SnapshotItem::Message { session: ClusterSessionId(-6), payload: &[1, 2, 3] });
    }

    #[test]
    fn a_snapshot_ends_with_its_marker_and_what_follows_is_passed_over() {
        let mut loader = loading();
        assert!(!loader.is_done());
        loader.take(&marker(SnapshotMark::End), |_| unreachable!()).unwrap();
        assert!(loader.is_done());
        assert_eq!(loader.take(&[1, 2, 3], |_| unreachable!()), Ok(()));
    }

    #[test]
    fn a_snapshot_of_another_place_unit_or_version_is_refused() {
        let begin = marker(SnapshotMark::Begin);
        let refused = |expected| Loader::new(expected).take(&begin, |_| true).unwrap_err();
        let position = Position(672);
        let another = LoadError::Another { position, term: FROM.term };
        assert_eq!(refused(Provenance { position, ..FROM }), another);
        let seeded = Provenance { position: Position(0), ..FROM };
        assert_eq!(Loader::new(seeded).take(&begin, |_| true), Ok(()));
        let time_unit = TimeUnit::Millis;
        assert_eq!(refused(Provenance { time_unit, ..FROM }), LoadError::TimeUnit);
        let ours = SemanticVersion::new(1, 0, 0);
        let expected = LoadError::AppVersion { theirs: FROM.app_version, ours };
        assert_eq!(refused(Provenance { app_version: ours, ..FROM }), expected);
    }

    #[test]
    fn markers_out_of_order_and_items_without_them_are_refused() {
        let take = |loader: &mut Loader, message: &[u8]| loader.take(message, |_| true);
        let end = marker(SnapshotMark::End);
        assert_eq!(take(&mut Loader::new(FROM), &end), Err(LoadError::Begin));
        let begin = marker(SnapshotMark::Begin);
        assert_eq!(take(&mut loading(), &begin), Err(LoadError::Begin));
        let timer = SnapshotItem::Timer { correlation_id: CorrelationId(1), deadline: 1 };
        let timer = encode_item(timer).unwrap();
        assert_eq!(take(&mut Loader::new(FROM), &timer), Err(LoadError::Begin));
        assert_eq!(loading().take(&timer, |_| false), Err(LoadError::Contradiction));
    }

    #[test]
    fn a_new_core_s_snapshot_is_taken_in_by_another_one() {
        let config =
            || consensus::Config::new(consensus::MemberId(0), vec![consensus::MemberId(0)]);
        let now = runtime::Now::default();
        let empty = consensus::Recovery::empty();
        let core = Consensus::new(config(), &empty, 1, now);
        let (mut other, mut loader) = (Consensus::new(config(), &empty, 1, now), Loader::new(FROM));
        for message in messages(&core, FROM).unwrap() {
            loader.take(&message, |item| other.restore(item)).unwrap();
        }
        assert!(loader.is_done());
        assert_eq!(messages(&other, FROM), messages(&core, FROM));
    }
}
