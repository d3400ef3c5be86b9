//! The container's own part of a snapshot: markers and open sessions. Pure.

use wire::bytes::SemanticVersion;
use wire::cluster::TimeUnit;
use wire::cluster::snapshot::{
    ClientSession, SNAPSHOT_TYPE_SERVICE, SnapshotMark, SnapshotMarker, SnapshotRecord,
};
use wire::message::Message;

use crate::host::Host;
use crate::service::ClusterSessionId;
use crate::session::Session;
use crate::snapshot::{PendingSnapshot, SnapshotWriter};

/// Writes what stands in front of the service's state.
pub(crate) fn write(host: &Host, pending: &mut PendingSnapshot) {
    let mut writer = SnapshotWriter::new(pending);
    let marker = |mark| SnapshotMarker {
        type_id: SNAPSHOT_TYPE_SERVICE,
        log_position: host.event.position.0,
        leadership_term_id: host.event.leadership_term_id,
        index: 0,
        mark,
        time_unit: host.event.time_unit,
        app_version: host.app_version(),
    };
    push(&mut writer, &marker(SnapshotMark::Begin));
    for (id, session) in host.sessions.iter() {
        push(
            &mut writer,
            &ClientSession {
                cluster_session_id: id.0,
                response_stream_id: session.response_stream_id,
                response_channel: &session.response_channel,
                encoded_principal: &session.principal,
            },
        );
    }
    push(&mut writer, &marker(SnapshotMark::End));
}

fn push<'a>(writer: &mut SnapshotWriter<'_>, message: &impl Message<'a>) {
    let mut bytes = vec![0; message.encoded_length()];
    let result = message.encode(&mut bytes);
    assert!(result.is_ok(), "a message of known length was not encoded: {result:?}");
    writer.write(&bytes);
}

/// How far the reading of a snapshot has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nothing has been read.
    #[default]
    Start,
    /// Between the markers.
    Records,
    /// Behind the end marker: all that follows is the service's.
    State,
}

/// Takes one message of a snapshot; returns where the reading stands then.
///
/// # Errors
/// It is not the snapshot of a service of this application.
pub(crate) fn read(host: &mut Host, place: Place, message: &[u8]) -> Result<Place, String> {
    if place == Place::State {
        host.on_snapshot(message);
        return Ok(place);
    }
    let record = SnapshotRecord::decode(message).map_err(|error| error.to_string())?;
    match (place, record) {
        (Place::Start, Some(SnapshotRecord::SnapshotMarker(marker)))
            if marker.mark == SnapshotMark::Begin =>
        {
            begin(host, &marker)?;
            Ok(Place::Records)
        }
        (Place::Records, Some(SnapshotRecord::SnapshotMarker(marker)))
            if marker.mark == SnapshotMark::End =>
        {
            Ok(Place::State)
        }
        (Place::Records, Some(SnapshotRecord::ClientSession(found))) => {
            let session = Session::new(
                found.response_stream_id,
                found.response_channel.to_vec(),
                found.encoded_principal.to_vec(),
            );
            if !host.sessions.open(ClusterSessionId(found.cluster_session_id), session) {
                return Err(format!("session {} stands there twice", found.cluster_session_id));
            }
            Ok(place)
        }
        (Place::Start, _) => Err("it does not begin with a marker".to_string()),
        (Place::Records, Some(SnapshotRecord::SnapshotMarker(_))) => {
            Err("a marker stands where none may".to_string())
        }
        (Place::Records | Place::State, _) => Ok(place),
    }
}

fn begin(host: &mut Host, marker: &SnapshotMarker) -> Result<(), String> {
    if marker.type_id != SNAPSHOT_TYPE_SERVICE {
        return Err(format!("it is of type {}, not of a service", marker.type_id));
    }
    if marker.app_version != SemanticVersion::NONE {
        host.check_version(marker.app_version)?;
    }
    let (own, found) = (host.event.position.0, marker.log_position);
    // A recording log that was seeded from a snapshot names it at 0, where a new log begins.
    if own != 0 && own != found {
        return Err(format!("it is of position {found} where the module says {own}"));
    }
    host.event.time_unit = match marker.time_unit {
        TimeUnit::Unknown(_) => TimeUnit::Millis,
        unit => unit,
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Cluster, Egress};
    use crate::config::Config;
    use crate::service::{ClusteredService, Step};
    use wire::position::Position;

    struct Idle;

    impl ClusteredService for Idle {
        fn on_snapshot(&mut self, cluster: &mut Cluster<'_>, message: &[u8]) {
            cluster.fail(String::from_utf8_lossy(message));
        }

        fn on_session_message(
            &mut self,
            _cluster: &mut Cluster<'_>,
            _session: Option<ClusterSessionId>,
            _message: &[u8],
        ) {
        }

        fn take_snapshot(
            &mut self,
            _cluster: &mut Cluster<'_>,
            _writer: &mut SnapshotWriter<'_>,
        ) -> Step {
            Step::Done
        }
    }

    fn host(position: i64) -> Host {
        let mut host = Host::new(Box::new(Idle), &Config::default());
        host.event.position = Position(position);
        host
    }

    fn snapshot() -> Vec<Vec<u8>> {
        let mut host = host(640);
        for id in [9, 4] {
            let session = Session::new(102, b"aeron:ipc".to_vec(), vec![id as u8]);
            assert!(host.sessions.open(ClusterSessionId(id), session));
        }
        let mut pending = PendingSnapshot::default();
        write(&host, &mut pending);
        pending.messages().map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn sessions_come_back_and_what_follows_the_end_is_the_services() {
        let mut host = host(640);
        let mut place = Place::default();
        for message in snapshot() {
            place = read(&mut host, place, &message).unwrap();
        }
        assert_eq!(place, Place::State);
        assert_eq!(host.sessions.sessions(), [ClusterSessionId(4), ClusterSessionId(9)]);
        assert_eq!(host.sessions.principal(ClusterSessionId(9)), Some(&[9][..]));
        assert_eq!(read(&mut host, place, b"state"), Ok(Place::State));
        assert_eq!(host.take_failure().as_deref(), Some("state"));
    }

    #[test]
    fn a_snapshot_of_another_position_or_without_its_beginning_is_refused() {
        let messages = snapshot();
        assert!(read(&mut host(608), Place::Start, &messages[0]).is_err());
        assert!(read(&mut host(640), Place::Start, &messages[1]).is_err());
        assert!(read(&mut host(640), Place::Start, b"state").is_err());
        assert!(read(&mut host(640), Place::Records, &messages[0]).is_err());
    }
}
