use super::*;
use crate::position::{SessionId, StreamId, TermId};
use alloc::vec::Vec;

const TERM: i32 = 65_536;

fn header(frame_length: i32, frame_type: FrameType, term_offset: i32) -> DataHeader {
    DataHeader { frame_length, frame_type, term_offset, ..DataHeader::default() }
}

/// A datagram of these frames, each with zeros for a payload, alignment included.
fn datagram(headers: &[DataHeader]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for header in headers {
        let begin = bytes.len();
        bytes.extend(header.to_bytes());
        if header.frame_type != FrameType::PADDING {
            let length = usize::try_from(header.frame_length).unwrap().max(DATA_HEADER_LENGTH);
            bytes.resize(begin + length.next_multiple_of(DATA_HEADER_LENGTH), 0);
        }
    }
    bytes
}

fn check(headers: &[DataHeader]) -> Result<i32, Invalid> {
    let bytes = datagram(headers);
    let data = decode_data(&bytes);
    assert_eq!(decode(&bytes).ok(), data.map(Frame::Data));
    match decode(&bytes)? {
        Frame::Data(data) => data.check(TERM),
        other => panic!("{other:?}"),
    }
}

#[test]
fn frames_of_a_datagram_follow_one_another() {
    let data = FrameType::DATA;
    assert_eq!(check(&[header(33, data, 64), header(100, data, 128)]), Ok(64 + 128));
    let gap = [header(33, data, 64), header(100, data, 160)];
    assert_eq!(check(&gap), Err(Invalid::TermOffset(160)));
    let other = [header(33, data, 64), header(100, FrameType::NAK, 128)];
    assert_eq!(check(&other), Err(Invalid::NotData(FrameType::NAK)));
    let empty = [header(33, data, 64), header(0, data, 128)];
    assert_eq!(check(&empty), Err(Invalid::FrameLength(0)));
}

#[test]
fn padding_claims_more_than_its_datagram_but_only_as_the_last_frame() {
    let (data, padding) = (FrameType::DATA, FrameType::PADDING);
    let last = [header(33, data, TERM - 256), header(192, padding, TERM - 192)];
    assert_eq!(check(&last), Ok(256));
    let first = [header(192, padding, 0), header(33, data, 192)];
    assert_eq!(check(&first), Err(Invalid::FrameLength(192)));
    // Padding of a header alone, which an aborted empty claim leaves, may stand anywhere.
    assert_eq!(check(&[header(32, padding, 0), header(33, data, 32)]), Ok(96));
}

#[test]
fn data_stays_within_its_term_and_its_datagram() {
    let data = FrameType::DATA;
    assert_eq!(check(&[header(33, data, TERM - 32)]), Err(Invalid::FrameLength(33)));
    assert_eq!(check(&[header(32, data, TERM - 32)]), Ok(32));
    assert_eq!(check(&[header(32, data, TERM)]), Err(Invalid::TermOffset(TERM)));
    assert_eq!(check(&[header(32, data, 8)]), Err(Invalid::TermOffset(8)));
    assert_eq!(check(&[header(32, data, -32)]), Err(Invalid::TermOffset(-32)));
    let padding = header(i32::MAX, FrameType::PADDING, 0);
    assert_eq!(check(&[padding]), Err(Invalid::FrameLength(i32::MAX)));
    let mut cut = datagram(&[header(100, data, 0)]);
    cut.truncate(96);
    let Ok(Frame::Data(cut)) = decode(&cut) else { panic!("no data") };
    assert_eq!(cut.check(TERM), Err(Invalid::FrameLength(100)));
}

#[test]
fn a_heartbeat_is_a_header_without_length() {
    let mut eos = header(0, FrameType::DATA, 96);
    eos.flags = flags::UNFRAGMENTED | flags::EOS;
    let bytes = datagram(&[eos]);
    let Ok(Frame::Data(heartbeat)) = decode(&bytes) else { panic!("no data") };
    assert!(heartbeat.is_heartbeat() && heartbeat.header.has(flags::EOS));
    assert!(!heartbeat.header.has(flags::EOS | flags::REVOKED));
    assert_eq!(heartbeat.check(TERM), Ok(0));
    assert_eq!(heartbeat.frames().count(), 0);
}

fn setup() -> Setup {
    Setup { term_length: TERM, mtu: 1408, ..Setup::default() }
}

/// One of each frame that travels alone.
fn control_frames() -> Vec<Vec<u8>> {
    let tagged = StatusMessage { group_tag: Some(-1), ..StatusMessage::default() };
    let (tagged, length) = tagged.to_bytes();
    let (plain, plain_length) = StatusMessage::default().to_bytes();
    let mut error = [0; 64];
    let error_length = ErrorFrame { text: b"why", ..Default::default() }.encode(&mut error);
    let frames: [&[u8]; 7] = [
        &setup().to_bytes(),
        &tagged[..length],
        &plain[..plain_length],
        &Nak::default().to_bytes(),
        &RoundTrip::default().to_bytes(),
        &error[..error_length.unwrap()],
        &ResponseSetup::default().to_bytes(),
    ];
    frames.map(Vec::from).to_vec()
}

#[test]
fn a_control_frame_cut_anywhere_is_invalid() {
    for frame in control_frames() {
        assert!(decode(&frame).is_ok());
        for length in 0..frame.len() {
            assert!(decode(&frame[..length]).is_err(), "{frame:?} of {length} bytes");
        }
    }
}

#[test]
fn bytes_behind_a_control_frame_do_no_harm() {
    for mut frame in control_frames() {
        let alone = frame.clone();
        frame.extend([0xFF; 9]);
        assert_eq!(decode(&frame), decode(&alone));
    }
}

#[test]
fn versions_lengths_and_types_are_checked_first() {
    let mut bytes = Nak::default().to_bytes();
    bytes[VERSION_OFFSET] = 1;
    assert_eq!(decode(&bytes), Err(Invalid::Version(1)));
    bytes = Nak::default().to_bytes();
    bytes[..4].copy_from_slice(&(-28_i32).to_le_bytes());
    assert_eq!(decode(&bytes), Err(Invalid::FrameLength(-28)));
    bytes[..4].copy_from_slice(&29_i32.to_le_bytes());
    assert_eq!(decode(&bytes), Err(Invalid::FrameLength(29)));
    bytes[TYPE_OFFSET] = 0x08;
    assert_eq!(decode(&bytes), Ok(Frame::Unknown(FrameType(0x08))));
    let data = datagram(&[header(32, FrameType::DATA, 0)]);
    assert_eq!(decode(&data[..31]), Err(Invalid::Short { length: 31, needed: 32 }));
    assert_eq!(decode(&[&data[..], &[0]].concat()), Err(Invalid::Unaligned(33)));
}

#[test]
fn a_setup_describes_a_stream_that_can_be() {
    let decode = |change: fn(&mut Setup)| {
        let mut setup = setup();
        change(&mut setup);
        decode(&setup.to_bytes()).err()
    };
    assert_eq!(decode(|_| ()), None);
    assert_eq!(decode(|setup| setup.term_length = 1 << 31), Some(Invalid::TermLength(i32::MIN)));
    assert_eq!(decode(|setup| setup.mtu = 65_536), Some(Invalid::Mtu(65_536)));
    assert_eq!(decode(|setup| setup.mtu = 33), Some(Invalid::Mtu(33)));
    assert_eq!(decode(|setup| setup.term_offset = TERM), Some(Invalid::TermOffset(TERM)));
    assert_eq!(decode(|setup| setup.active_term_id.0 = -1), Some(Invalid::ActiveTerm(-1)));
    let wrapped = |setup: &mut Setup| {
        setup.initial_term_id.0 = i32::MAX;
        setup.active_term_id.0 = i32::MIN;
    };
    assert_eq!(decode(wrapped), None, "term ids wrap");
}

#[test]
fn naks_and_status_messages_are_checked_against_the_term() {
    let nak = |term_offset, length| Nak { term_offset, length, ..Nak::default() }.check(TERM);
    assert_eq!((nak(0, TERM), nak(TERM - 32, 32), nak(64, 0)), (Ok(()), Ok(()), Ok(())));
    assert_eq!(nak(32, TERM), Err(Invalid::GapLength(TERM)));
    assert_eq!(nak(0, -1), Err(Invalid::GapLength(-1)));
    assert_eq!(nak(1, 32), Err(Invalid::TermOffset(1)));
    let message = |consumption_term_offset, receiver_window| {
        let message =
            StatusMessage { consumption_term_offset, receiver_window, ..StatusMessage::default() };
        message.check(TERM)
    };
    assert_eq!((message(0, TERM / 2), message(64, 0)), (Ok(()), Ok(())));
    assert_eq!(message(0, TERM / 2 + 1), Err(Invalid::Window(TERM / 2 + 1)));
    assert_eq!(message(0, -1), Err(Invalid::Window(-1)));
    assert_eq!(message(TERM, 0), Err(Invalid::TermOffset(TERM)));
}

#[test]
fn the_text_of_an_error_lies_in_its_datagram() {
    let mut bytes = [0; 64];
    let length = ErrorFrame { text: b"why", ..Default::default() }.encode(&mut bytes).unwrap();
    for text_length in [4, -1, i32::MAX] {
        bytes[36..40].copy_from_slice(&i32::to_le_bytes(text_length));
        assert_eq!(decode(&bytes[..length]), Err(Invalid::TextLength(text_length)));
    }
    let long = ErrorFrame { text: &[b'x'; 2000], ..Default::default() };
    let mut bytes = [0; 2000];
    let length = long.encode(&mut bytes).unwrap();
    let Ok(Frame::Error(cut)) = decode(&bytes[..length]) else { panic!("no error") };
    assert_eq!(cut.text.len(), ERROR_TEXT_LENGTH_MAX);
    assert_eq!(long.encode(&mut bytes[..1000]), None);
}

#[test]
fn an_error_without_the_flag_has_no_group() {
    let error = ErrorFrame { group_tag: Some(5), ..Default::default() };
    let mut bytes = [0; ERROR_HEADER_LENGTH];
    error.encode(&mut bytes).unwrap();
    assert_eq!(decode(&bytes), Ok(Frame::Error(error)));
    bytes[FLAGS_OFFSET] = 0;
    assert_eq!(decode(&bytes), Ok(Frame::Error(ErrorFrame::default())));
}

#[test]
fn headers_read_what_they_wrote() {
    let header = DataHeader {
        frame_length: -64,
        version: 1,
        flags: 2,
        frame_type: FrameType(0xABCD),
        term_offset: 96,
        session_id: SessionId(-1),
        stream_id: StreamId(2),
        term_id: TermId(-3),
        reserved_value: i64::MIN,
    };
    assert_eq!(DataHeader::from_bytes(&header.to_bytes()), header);
    assert_eq!(DataHeader::read(&header.to_bytes()[..31]), None);
}
