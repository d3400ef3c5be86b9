//! Messages and files against bytes that genuine Aeron 1.51.0 wrote (`data/Golden.java`).
//!
//! That release speaks cluster schema 111 version 16 and archive schema 101 version 13; ours speaks
//! 17 and 14. Apart from the version in the header they differ in one message of each: 42 grew by
//! `ackRequired`, and template 2 of the archive is gone.

extern crate coracle_wire as wire;

use proptest::prelude::*;
use wire::archive::{event, request, response};
use wire::bytes::{DecodeError, Reader};
use wire::cluster::{
    backup, egress, ingress, log, mark, node_state, peer, recording_log, service, snapshot,
};
use wire::message::{Body, Message, MessageHeader};

const CLUSTER: &str = include_str!("data/cluster.txt");
const CLUSTER_MARK: &str = include_str!("data/cluster_mark.txt");
const CLUSTER_FILES: &str = include_str!("data/cluster_files.txt");
const ARCHIVE: &str = include_str!("data/archive.txt");
const ARCHIVE_MARK: &str = include_str!("data/archive_mark.txt");

/// Name, template id, block length.
type Row = (&'static str, u16, u16);
/// What was decoded as text, and its encoding.
type Decoded = (String, Vec<u8>);
type Decoding = Result<Option<Decoded>, DecodeError>;

/// Decodes in one conversation, and encodes again.
macro_rules! conversation {
    ($Any:ty) => {
        |bytes: &[u8]| -> Decoding {
            let Some(message) = <$Any>::decode(bytes)? else { return Ok(None) };
            let mut buffer = vec![0xaa; message.encoded_length()];
            assert_eq!(message.encode(&mut buffer), Ok(buffer.len()));
            let Ok(Some(again)) = <$Any>::decode(&buffer) else { panic!("{message:?}") };
            assert_eq!(again, message);
            Ok(Some((plain(&format!("{message:?}")), buffer)))
        }
    };
}

type Conversation = (fn(&[u8]) -> Decoding, &'static [Row]);

const CLUSTER_CONVERSATIONS: [Conversation; 9] = [
    (conversation!(ingress::Ingress<'_>), ingress::Ingress::TABLE),
    (conversation!(egress::Egress<'_>), egress::Egress::TABLE),
    (conversation!(log::Log<'_>), log::Log::TABLE),
    (conversation!(service::ToModule), service::ToModule::TABLE),
    (conversation!(service::ToService<'_>), service::ToService::TABLE),
    (conversation!(peer::Peer<'_>), peer::Peer::TABLE),
    (conversation!(backup::BackupRequest<'_>), backup::BackupRequest::TABLE),
    (conversation!(backup::BackupReply<'_>), backup::BackupReply::TABLE),
    (conversation!(snapshot::SnapshotRecord<'_>), snapshot::SnapshotRecord::TABLE),
];

const ARCHIVE_CONVERSATIONS: [Conversation; 3] = [
    (conversation!(request::Request<'_>), request::Request::TABLE),
    (conversation!(response::Response<'_>), response::Response::TABLE),
    (conversation!(event::Event<'_>), event::Event::TABLE),
];

const MARKS: [Conversation; 2] = [
    (conversation!(mark::MarkFile<'_>), mark::MarkFile::TABLE),
    (conversation!(wire::archive::mark::MarkFile<'_>), wire::archive::mark::MarkFile::TABLE),
];

/// The `Debug` text without what only Rust knows of: wrappers, padding and names of entries.
fn plain(debug: &str) -> String {
    let mut text = debug.to_owned();
    for wrapper in ["Some(", "SemanticVersion(", "Unknown("] {
        while let Some(at) = text.find(wrapper) {
            let close = at + text[at..].find(')').expect("closes");
            text.remove(close);
            text.replace_range(at..at + wrapper.len(), "");
        }
    }
    let mut text = text.split_once('(').expect("a variant").1.trim_end_matches(')').to_owned();
    for padding in [", second_gap: Padding", ", gap: Padding", ", reserved: Padding"] {
        text = text.replace(padding, "");
    }
    for entry in ["SnapshotAt", "Snapshot", "ClusterMember"] {
        text = text.replace(&format!("[{entry} {{"), "[_ {");
        text = text.replace(&format!(", {entry} {{"), ", _ {");
    }
    text
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("ascii"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal")).collect()
}

/// Bytes and content of each line.
fn golden(file: &'static str) -> impl Iterator<Item = (Vec<u8>, &'static str)> {
    let lines = file.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_once(' ').expect("two parts")).map(|(hex, text)| (unhex(hex), text))
}

/// All lines of both schemas but those of the retired template 2, and the two structures of the
/// catalog, which have no header on disk.
fn golden_messages() -> impl Iterator<Item = (Vec<u8>, &'static str)> {
    golden(CLUSTER).chain(golden(ARCHIVE)).filter(|(bytes, _)| {
        let header = MessageHeader::decode(bytes).expect("a header");
        header.schema_id != 101 || !matches!(header.template_id, 2 | 20 | 21)
    })
}

/// Decodes in the conversation where the message is declared.
fn decode(bytes: &[u8]) -> Decoding {
    let Ok(header) = MessageHeader::decode(bytes) else {
        return Err(DecodeError::Truncated { needed: 8, available: bytes.len() });
    };
    let conversations: &[Conversation] = match header.schema_id {
        101 => &ARCHIVE_CONVERSATIONS,
        111 => &CLUSTER_CONVERSATIONS,
        _ => &MARKS,
    };
    let declares = |table: &[Row]| table.iter().any(|row| row.1 == header.template_id);
    let decoder = conversations.iter().find(|(decoder, table)| {
        let other = |error| matches!(error, Err(DecodeError::OtherSchema { .. }));
        declares(table) && !other(decoder(bytes))
    });
    decoder.map_or(Ok(None), |(decoder, _)| decoder(bytes))
}

fn set_header(bytes: &mut [u8], block_length: u16, version: u16) {
    bytes[..2].copy_from_slice(&block_length.to_le_bytes());
    bytes[6..8].copy_from_slice(&version.to_le_bytes());
}

fn block_length(bytes: &[u8]) -> usize {
    MessageHeader::decode(bytes).expect("a header").block_length.into()
}

/// Template id, old and new length of the block: what changed since the golden release.
const GROWN: (u16, usize, usize) = (42, 8, 12);

#[test]
fn every_genuine_message_is_understood_and_written_alike() {
    let mut count = 0;
    let marks = golden(CLUSTER_MARK).chain(golden(ARCHIVE_MARK));
    for (bytes, expected) in golden_messages().chain(marks) {
        let (text, encoded) = decode(&bytes).expect("whole").expect("known");
        let header = MessageHeader::decode(&bytes).expect("a header");
        let mut genuine = bytes.clone();
        if (header.template_id, header.schema_id) == (GROWN.0, 111) {
            assert_eq!(text, expected.replace(" }", ", ack_required: true }"));
            genuine.extend([1, 0, 0, 0]);
            set_header(&mut genuine, 12, 17);
        } else {
            assert_eq!(text, expected);
            let version = match header.schema_id {
                101 => 14,
                111 => 17,
                _ => 2,
            };
            set_header(&mut genuine, header.block_length, version);
        }
        assert_eq!(encoded, genuine, "{expected}");
        count += 1;
    }
    // Two of each: 54 of the cluster, 49 of the archive less the two of the catalog, two marks.
    assert_eq!(count, 2 * (54 + 47 + 2));
}

#[test]
fn every_template_is_declared_once_with_the_genuine_block() {
    for (conversations, file, count) in
        [(&CLUSTER_CONVERSATIONS[..], CLUSTER, 54), (&ARCHIVE_CONVERSATIONS[..], ARCHIVE, 47)]
    {
        let rows = || conversations.iter().flat_map(|(_, table)| table.iter());
        assert_eq!(rows().count(), count);
        for &(name, template_id, block_length) in rows() {
            assert_eq!(rows().filter(|row| row.1 == template_id).count(), 1, "{name}");
            let is_same = |header: &MessageHeader| header.template_id == template_id;
            let (genuine, text) = golden(file)
                .map(|(bytes, text)| (MessageHeader::decode(&bytes).expect("a header"), text))
                .find(|(header, _)| is_same(header))
                .expect("genuine Aeron has it too");
            assert!(text.starts_with(&format!("{name} {{")), "{name} is {text}");
            let grown = if template_id == GROWN.0 { GROWN.2 - GROWN.1 } else { 0 };
            assert_eq!(usize::from(block_length), usize::from(genuine.block_length) + grown);
        }
    }
}

#[test]
fn the_pages_of_the_seams_list_every_message() {
    for (conversations, page) in [
        (&CLUSTER_CONVERSATIONS[..], include_str!("../../../docs/cluster-protocol.md")),
        (&ARCHIVE_CONVERSATIONS[..], include_str!("../../../docs/archive-protocol.md")),
    ] {
        for (name, template_id, block_length) in conversations.iter().flat_map(|(_, rows)| *rows) {
            let row = format!("| {template_id} | {name} | {block_length} |");
            assert_eq!(page.matches(&row).count(), 1, "{row}");
        }
    }
}

#[test]
fn the_structures_of_the_catalog_have_the_genuine_blocks() {
    use wire::archive::catalog::{CatalogHeader, DescriptorHeader};
    let find = |id: u16| {
        let mut lines = golden(ARCHIVE).filter(move |(bytes, _)| bytes[2..4] == id.to_le_bytes());
        lines.next().expect("genuine Aeron has it")
    };
    let (bytes, text) = find(20);
    assert_eq!(block_length(&bytes), usize::from(CatalogHeader::BLOCK_LENGTH));
    let header = CatalogHeader::decode(&bytes[8..]).expect("whole");
    let header = plain(&format!("({header:?})"));
    assert_eq!(header, text);
    let (bytes, text) = find(21);
    let length = DescriptorHeader::BLOCK_LENGTH;
    assert_eq!(block_length(&bytes), usize::from(length));
    let header = DescriptorHeader::read_body(length, 14, &mut Reader::new(&bytes[8..]));
    let header = plain(&format!("({:?})", header.expect("whole")));
    assert_eq!(header.replace("DescriptorHeader", "RecordingDescriptorHeader"), text);
}

#[test]
fn no_truncation_passes_for_a_message() {
    for (bytes, text) in golden_messages() {
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{length} bytes of {text}");
        }
    }
}

#[test]
fn messages_of_a_newer_sender_are_understood() {
    for (bytes, expected) in golden_messages() {
        let length = block_length(&bytes);
        let mut newer = bytes.clone();
        newer.splice(8 + length..8 + length, [0xee; 13]);
        set_header(&mut newer, u16::try_from(length).expect("short") + 13, 99);
        newer.extend([3, 0, 0, 0, 1, 2, 3]);
        let (text, _) = decode(&newer).expect("whole").expect("known");
        // In the message that has grown, the bytes of tomorrow stand where ours has a field.
        let expected = if newer[2..8] == [42, 0, 111, 0, 99, 0] {
            expected.replace(" }", ", ack_required: false }")
        } else {
            expected.to_owned()
        };
        assert_eq!(text, expected);
    }
}

/// Message, length of its block before a field came, and what the field reads as without.
const OLDER: &[(&str, usize, &str)] = &[
    ("SessionEvent", 36, "leader_heartbeat_timeout_ns: None"),
    ("SessionEvent", 32, "version: 0, leader_heartbeat_timeout_ns: None"),
    ("SessionConnectRequest", 12, "version: 0"),
    ("ClusterActionRequest", 28, "flags: 0"),
    ("NewLeadershipTermEvent", 40, "time_unit: Millis, app_version: 0"),
    ("ClusterMembersQuery", 8, "extended: false"),
    ("JoinLog", 36, "is_standby: false"),
    ("CanvassPosition", 28, "protocol_version: 0"),
    ("RequestVote", 28, "protocol_version: 0"),
    ("NewLeadershipTerm", 88, "commit_position: -1"),
    ("AppendPosition", 20, "flags: 0"),
    ("BackupQuery", 16, "log_position: None"),
    ("BackupQuery", 12, "version: 0, log_position: None"),
    ("BackupResponse", 56, "member_id: None"),
    ("SnapshotMarker", 32, "time_unit: Millis, app_version: 0"),
    (
        "ConsensusModule",
        8,
        "next_service_session_id: -9223372036854775808, log_service_session_id: \
         -9223372036854775808, pending_message_capacity: 0",
    ),
    ("ControlResponse", 28, "version: 0"),
    ("AuthConnectRequest", 12, "version: 0"),
    ("ReplayRequest", 48, "replay_token: -1"),
    ("ReplayRequest", 44, "file_io_max_length: -1, replay_token: -1"),
    ("BoundedReplayRequest", 52, "replay_token: -1"),
    ("BoundedReplayRequest", 48, "file_io_max_length: -1, replay_token: -1"),
    ("ReplicateRequest2", 64, "replication_session_id: -1"),
    ("ReplicateRequest2", 60, "file_io_max_length: -1, replication_session_id: -1"),
    ("Challenge", 16, "version: 0"),
];

#[test]
fn fields_that_an_older_sender_lacks_read_as_documented() {
    for &(name, old_length, expected) in OLDER {
        let (bytes, text) = golden_messages()
            .filter(|(bytes, _)| name != "Challenge" || bytes[4] == 101)
            .find(|(_, text)| text.starts_with(&format!("{name} {{")))
            .expect("a message of that name");
        let length = block_length(&bytes);
        let mut older = bytes.clone();
        older.drain(8 + old_length..8 + length);
        // The version is left as it is, so that variable fields stay: the block alone decides.
        set_header(&mut older, u16::try_from(old_length).expect("short"), 17);
        let (decoded, _) = decode(&older).expect("whole").expect("known");
        assert!(decoded.contains(&format!(", {expected}")), "{decoded} from {text}");
        let mut torn = older.clone();
        torn.remove(7 + old_length);
        let torn_length = u16::try_from(old_length - 1).expect("short");
        set_header(&mut torn, torn_length, 17);
        let alone = OLDER.iter().filter(|row| row.0 == name).all(|row| row.1 >= old_length);
        assert_eq!(decode(&torn).is_err(), alone, "{name} with {torn_length} bytes");
    }
}

#[test]
fn variable_fields_that_came_later_are_not_looked_for_before() {
    for (name, since, after) in [
        ("SessionConnectRequest", 14, "client_info: []"),
        ("AuthConnectRequest", 12, "client_info: []"),
        ("ReplicateRequest2", 10, "src_response_channel: []"),
        ("ReplicateRequest2", 8, "encoded_credentials: [], src_response_channel: []"),
    ] {
        let (mut bytes, _) = golden_messages()
            .find(|(_, text)| text.starts_with(&format!("{name} {{")))
            .expect("a message of that name");
        let length = u16::try_from(block_length(&bytes)).expect("short");
        for (version, is_absent) in [(since - 1, true), (since, false)] {
            set_header(&mut bytes, length, version);
            let (decoded, _) = decode(&bytes).expect("whole").expect("known");
            assert_eq!(decoded.ends_with(&format!(", {after} }}")), is_absent, "{decoded}");
        }
    }
}

#[test]
fn a_genuine_recording_log_is_read_and_written_alike() {
    use recording_log::{Entry, EntryKind};
    let (file, _) = golden(CLUSTER_FILES).next().expect("the first line");
    let mut reader = Reader::new(&file);
    let mut entries = Vec::new();
    while !reader.rest().is_empty() {
        let start = file.len() - reader.rest().len();
        let entry = Entry::read(&mut reader).expect("whole").expect("not removed");
        let mut buffer = [0; 4096];
        let length = entry.encode(&mut buffer).expect("fits");
        let used = match entry.kind {
            EntryKind::StandbySnapshot { archive_endpoint } => 52 + archive_endpoint.len(),
            _ => 48,
        };
        assert_eq!(buffer[..used], file[start..start + used]);
        assert_eq!(start + length, file.len() - reader.rest().len());
        entries.push(entry);
    }
    let brief = |entry: &Entry<'_>| {
        (entry.recording_id, entry.log_position, entry.timestamp, entry.service_id, entry.is_valid)
    };
    let expected = [
        (5, 8224, 1000, -1, true),
        (6, 4096, 1001, 0, true),
        (7, 4096, 1002, -1, true),
        (8, 8192, 1003, 0, true),
        (9, 8192, 1004, -1, true),
        (5, -1, 1005, -1, true),
    ];
    // Entry 1 in the order of memory is not entry 1 of the file: the flag stands where it stands.
    let invalid = entries.iter().position(|entry| !entry.is_valid);
    for (index, (entry, mut expected)) in entries.iter().zip(expected).enumerate() {
        expected.4 = invalid != Some(index);
        assert_eq!(brief(entry), expected);
    }
    assert_eq!((entries.len(), invalid), (6, Some(3)));
    assert_eq!(
        entries[3].kind,
        EntryKind::StandbySnapshot { archive_endpoint: b"standby.example:8010" }
    );
}

#[test]
fn a_genuine_node_state_is_read_and_written_alike() {
    let (file, _) = golden(CLUSTER_FILES).nth(1).expect("the second line");
    let found = node_state::find(&file).expect("a vote");
    let (candidate_term_id, timestamp, log_position) = (7, 1700, 96);
    let vote = node_state::CandidateTerm { candidate_term_id, timestamp, log_position };
    assert_eq!(found, node_state::Found { offset: 24, candidate: vote });
    let mut written = vec![0; file.len()];
    node_state::encode(&vote, &mut written).expect("fits");
    assert_eq!(written, file);
}

#[test]
fn fields_of_mark_files_changed_in_place_are_where_they_are_looked_for() {
    let (bytes, _) = golden(CLUSTER_MARK).next().expect("a line");
    let header = mark::MarkFileHeader::decode(&bytes).expect("whole");
    let at = |offset: usize| i64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap());
    assert_eq!(at(mark::ACTIVITY_TIMESTAMP_OFFSET), header.activity_timestamp);
    assert_eq!(at(mark::MEMBER_ID_OFFSET) as i32, header.member_id);
    assert_eq!(at(mark::VERSION_OFFSET) as i32, header.version);
    use wire::archive::mark as archive_mark;
    let (bytes, _) = golden(ARCHIVE_MARK).next().expect("a line");
    let header = archive_mark::MarkFileHeader::decode(&bytes).expect("whole");
    let at = |offset: usize| i64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap());
    assert_eq!(at(archive_mark::ACTIVITY_TIMESTAMP_OFFSET), header.activity_timestamp);
    assert_eq!(at(archive_mark::ARCHIVE_ID_OFFSET), header.archive_id);
    assert_eq!(at(archive_mark::VERSION_OFFSET) as i32, header.version);
}

/// A header of a known message in front of anything, or a genuine message with bytes changed.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let files = [CLUSTER, ARCHIVE, CLUSTER_MARK, ARCHIVE_MARK].into_iter();
    let whole: Vec<_> = files.flat_map(golden).map(|(bytes, _)| bytes).collect();
    let headers = whole.clone();
    let length = prop_oneof![0_u16..128, any::<u16>()];
    let made_up = (prop::sample::select(headers), length, any::<Vec<u8>>()).prop_map(
        |(genuine, length, body)| {
            let mut bytes = genuine[..8].to_vec();
            bytes[..2].copy_from_slice(&length.to_le_bytes());
            bytes.extend(body);
            bytes
        },
    );
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    let harmed = (prop::sample::select(whole), changes).prop_map(|(mut bytes, changes)| {
        for (index, value) in changes {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        bytes
    });
    prop_oneof![made_up, harmed]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    /// Whatever is decoded from hostile bytes also survives being encoded (see `conversation!`).
    #[test]
    fn no_bytes_panic_a_decoder(bytes in hostile()) {
        let all = CLUSTER_CONVERSATIONS.iter().chain(&ARCHIVE_CONVERSATIONS).chain(&MARKS);
        for (decoder, _) in all {
            let _ = decoder(&bytes);
        }
    }

    #[test]
    fn no_bytes_panic_a_reader_of_files(bytes in any::<Vec<u8>>(), kind in 0_i32..4) {
        let mut record = bytes.clone();
        record.resize(bytes.len() + 64, 7);
        record[44..48].copy_from_slice(&kind.to_le_bytes());
        let mut reader = Reader::new(&record);
        while recording_log::Entry::read(&mut reader).is_ok() {}
        let mut state = vec![0, 3, 0, 0, 0, 0, 0, 0];
        state.extend(&bytes);
        let _ = node_state::find(&state);
        let _ = wire::archive::catalog::Frame::decode(&bytes);
        let _ = wire::archive::segment::SegmentFileName::parse(&String::from_utf8_lossy(&bytes));
    }
}
