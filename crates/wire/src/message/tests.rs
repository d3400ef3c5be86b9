//! The rules of versions and truncation, on messages made up for them.

#![allow(unreachable_pub)] // The macros declare public items.

use super::*;

message! {
    /// An entry.
    Entry { id: i64, kind: u8 = 9 } [ label ]
}

messages! {
    /// What this test says.
    pub enum Talk<'a>: schema 7 version 3 {
        /// Only fixed fields, of which the last two came later.
        Plain = 1 { id: i64, count: i32 = -1, tail: u8 = 0 }
        /// Everything a message can have.
        Rich = 2 { id: i64 } ( entries: Entry<'a> ) [ text, note since 2 ]
    }
}

fn encoded<'b>(message: &Talk<'_>, buffer: &'b mut [u8]) -> &'b mut [u8] {
    let length = message.encode(buffer).expect("fits");
    assert_eq!(length, message.encoded_length());
    &mut buffer[..length]
}

fn set_header(bytes: &mut [u8], block_length: u16, version: u16) {
    bytes[..2].copy_from_slice(&block_length.to_le_bytes());
    bytes[6..8].copy_from_slice(&version.to_le_bytes());
}

const ENTRIES: &[Entry<'_>] =
    &[Entry { id: 1, kind: 2, label: b"ab" }, Entry { id: 3, kind: 4, label: b"" }];

fn rich() -> Rich<'static> {
    Rich { id: -5, entries: ENTRIES.into(), text: b"text", note: b"n" }
}

#[test]
fn messages_come_back_as_they_went() {
    for message in [Talk::from(Plain { id: i64::MIN, count: 7, tail: 8 }), rich().into()] {
        let mut buffer = [0xaa; 128];
        let bytes = encoded(&message, &mut buffer);
        assert_eq!(Talk::decode(bytes), Ok(Some(message)));
    }
}

#[test]
fn fields_beyond_an_older_block_read_as_their_absent_values() {
    let mut buffer = [0; 64];
    let bytes = encoded(&Plain { id: 1, count: 2, tail: 3 }.into(), &mut buffer);
    for (block_length, count, tail) in [(13, 2, 3), (12, 2, 0), (11, -1, 0), (9, -1, 0), (8, -1, 0)]
    {
        set_header(bytes, block_length, 1);
        let whole = &bytes[..8 + usize::from(block_length)];
        assert_eq!(Plain::decode(whole), Ok(Plain { id: 1, count, tail }));
    }
    set_header(bytes, 7, 1);
    let error = DecodeError::BlockTooShort { message: "Plain", field: "id", block_length: 7 };
    assert_eq!(Plain::decode(bytes), Err(error));
}

#[test]
fn a_newer_block_is_skipped_by_its_own_length() {
    let mut newer = [0_u8; 64];
    Writer::new(&mut newer)
        .put(&[
            10, 0, 2, 0, 7, 0, 4, 0, // header: two more bytes of block
            6, 0, 0, 0, 0, 0, 0, 0, 0xee, 0xee, // block
            9, 0, 0, 0, // an empty group
            1, 0, 0, 0, b't', 0, 0, 0, 0, // text and note
            2, 0, 0, 0, b'z', b'z', // a field of tomorrow
        ])
        .expect("fits");
    let expected = Rich { id: 6, entries: Group::default(), text: b"t", note: b"" };
    assert_eq!(Talk::decode(&newer), Ok(Some(expected.into())));
}

#[test]
fn a_variable_field_is_absent_only_from_a_message_older_than_itself() {
    let mut buffer = [0; 128];
    let message = Rich { note: b"", ..rich() };
    let bytes = encoded(&message.into(), &mut buffer);
    let short = bytes.len() - 4;
    assert!(Rich::decode(&bytes[..short]).is_err());
    set_header(bytes, 8, 1);
    assert_eq!(Rich::decode(&bytes[..short]), Ok(message));
    assert!(Rich::decode(&bytes[..short - 1]).is_err());
}

#[test]
fn no_truncation_passes_for_a_message() {
    let mut buffer = [0; 128];
    let bytes = encoded(&rich().into(), &mut buffer);
    for length in 0..bytes.len() {
        assert!(Talk::decode(&bytes[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn a_short_buffer_is_refused_before_anything_is_written() {
    let message = Talk::from(rich());
    let mut buffer = [0x55; 128];
    for length in 0..message.encoded_length() {
        let refused = message.encode(&mut buffer[..length]);
        let needed = message.encoded_length();
        assert_eq!(refused, Err(EncodeError::BufferTooShort { needed, available: length }));
    }
    assert_eq!(buffer, [0x55; 128]);
}

#[test]
fn a_count_of_entries_that_are_not_there_is_refused() {
    let mut buffer = [0; 128];
    let bytes = encoded(&rich().into(), &mut buffer);
    bytes[18..20].copy_from_slice(&u16::MAX.to_le_bytes());
    assert!(Rich::decode(bytes).is_err());
}

#[test]
fn entries_of_an_older_sender_are_understood() {
    let wire = [8, 0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let group = Group::<Entry<'_>>::read(1, &mut Reader::new(&wire)).expect("whole");
    let entry = |id| Entry { id, kind: 9, label: b"" };
    assert!(group.iter().eq([entry(1), entry(2)]));
}

#[test]
fn other_schemas_are_errors_and_other_templates_are_not() {
    let header = |template_id, schema_id| {
        let mut bytes = [0; 8];
        MessageHeader { block_length: 0, template_id, schema_id, version: 3 }
            .write(&mut Writer::new(&mut bytes))
            .expect("fits");
        bytes
    };
    assert_eq!(Talk::decode(&header(99, 7)), Ok(None));
    let error = DecodeError::OtherSchema { expected: 7, actual: 8 };
    assert_eq!(Talk::decode(&header(1, 8)), Err(error));
    let error = DecodeError::OtherTemplate { expected: 2, actual: 1 };
    assert_eq!(Rich::decode(&header(1, 7)), Err(error));
}

#[test]
fn offsets_are_known_by_name() {
    const TAIL: usize = offset(Plain::FIELDS, "tail");
    assert_eq!(TAIL, 12);
    assert_eq!(Plain::offset_of("count"), Some(8));
    assert_eq!(Plain::offset_of("absent"), None);
}

#[test]
fn the_table_tells_the_block_lengths() {
    assert_eq!(Talk::TABLE, [("Plain", 1, 13), ("Rich", 2, 8)]);
}
