//! No bytes whatever make a decoder of the transport panic.

use coracle_wire::control::{Command, Event};
use coracle_wire::counters::{ChannelKey, ClientHeartbeatKey, LocalAddressKey, StreamKey};
use coracle_wire::frame::{self, Frame};
use coracle_wire::log::LogDescription;
use coracle_wire::{cnc, error_log, loss_report, resolution, uri};
use proptest::prelude::*;

/// Bytes that pass for a frame of a known type often enough to reach the inner checks.
fn datagram() -> impl Strategy<Value = Vec<u8>> {
    let plausible = (0..0x0Du8, 0..200i32, any::<u8>(), proptest::collection::vec(0..64u8, 0..160));
    plausible.prop_map(|(kind, length, flags, body)| {
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend([0, flags, kind, 0]);
        bytes.extend(body);
        bytes
    })
}

/// Looks at everything that can be asked of a datagram.
fn consume(bytes: &[u8]) {
    match frame::decode(bytes) {
        Ok(Frame::Data(data)) => {
            for term_length in [65_536, 1 << 30] {
                if let Ok(length) = data.check(term_length) {
                    assert!(0 <= length && length <= term_length);
                    assert!(data.header.term_offset + length <= term_length);
                }
            }
            assert!(data.frames().count() <= bytes.len() / 32);
        }
        Ok(Frame::Nak(nak)) => {
            if nak.check(65_536).is_ok() {
                assert!(nak.term_offset + nak.length <= 65_536);
            }
        }
        Ok(Frame::StatusMessage(message)) => drop(message.check(65_536)),
        Ok(Frame::Resolution(body)) => {
            assert!(resolution::entries(body).count() <= body.len() / 14 + 1);
        }
        Ok(_) | Err(_) => {}
    }
}

proptest! {
    #[test]
    fn datagrams(bytes in prop_oneof![datagram(), proptest::collection::vec(any::<u8>(), 0..200)]) {
        consume(&bytes);
    }

    #[test]
    fn commands_and_events(
        kind in 0..0x14i32,
        bytes in proptest::collection::vec(prop_oneof![Just(0u8), 0..40u8, any::<u8>()], 0..120),
    ) {
        for type_id in [kind, 0x0F00 + kind] {
            if let Ok(command) = Command::decode(type_id, &bytes) {
                prop_assert!(command.encoded_length() <= bytes.len() + 16);
            }
            if let Ok(event) = Event::decode(type_id, &bytes) {
                prop_assert!(event.encoded_length() <= bytes.len() + 3);
            }
        }
    }

    #[test]
    fn files_and_records(
        bytes in proptest::collection::vec(prop_oneof![0..3u8, any::<u8>()], 0..600),
    ) {
        if let Ok(header) = cnc::Header::decode(&bytes)
            && let Ok(sections) = header.sections(1 << 20) {
            prop_assert!(sections.end() <= 1 << 20);
        }
        prop_assert!(error_log::records(&bytes).count() <= bytes.len() / 24);
        prop_assert!(loss_report::entries(&bytes).count() <= bytes.len() / 48 + 1);
        let _ = (StreamKey::decode(&bytes), ChannelKey::decode(&bytes));
        let _ = (LocalAddressKey::decode(&bytes), ClientHeartbeatKey::decode(&bytes));
        let mut metadata = bytes;
        metadata.resize(4096, 0);
        if let Ok(log) = LogDescription::decode(&metadata) {
            prop_assert!(log.payload_length_max() > 0);
        }
    }

    #[test]
    fn channels(text in "\\PC{0,60}") {
        let _ = uri::ChannelUri::parse(&text);
        let _ = uri::ChannelUri::parse(&format!("aeron:udp?{text}"));
    }
}
