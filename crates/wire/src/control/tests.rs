use super::*;
use crate::counters::CounterTypeId;
use crate::position::{Position, StreamId};

const CHANNEL: &str = "aeron:udp?endpoint=localhost:40123";

fn requests() -> [Request<'static>; 18] {
    let registration_id = CorrelationId(77);
    let stream_id = StreamId(-10);
    let (channel, key, label) = (CHANNEL, &[1, 2, 3, 4, 5][..], "a label");
    let type_id = CounterTypeId(1001);
    [
        Request::AddPublication { stream_id, channel },
        Request::RemovePublication { registration_id, revoke: true },
        Request::AddExclusivePublication { stream_id, channel },
        Request::AddSubscription { stream_id, channel },
        Request::RemoveSubscription { registration_id },
        Request::ClientKeepalive,
        Request::AddDestination { registration_id, channel },
        Request::RemoveDestination { registration_id, channel },
        Request::AddCounter { type_id, key, label },
        Request::RemoveCounter { registration_id },
        Request::ClientClose,
        Request::AddReceiveDestination { registration_id, channel },
        Request::RemoveReceiveDestination { registration_id, channel },
        Request::TerminateDriver { token: b"token" },
        Request::AddStaticCounter { registration_id, type_id, key, label },
        Request::RejectImage { image: registration_id, position: Position(64), reason: "why" },
        Request::RemoveDestinationById { registration_id, destination: CorrelationId(78) },
        Request::NextAvailableSessionId { stream_id },
    ]
}

fn command(request: Request<'_>) -> Command<'_> {
    Command { client_id: ClientId(3), correlation_id: CorrelationId(9), request }
}

#[test]
fn commands_survive_a_round_trip_and_have_consecutive_types() {
    for (type_id, request) in (1..).zip(requests()) {
        let mut bytes = [0xFF; 256];
        let length = command(request).encode(&mut bytes).unwrap();
        assert_eq!(length, command(request).encoded_length());
        assert_eq!(command(request).type_id(), type_id);
        assert_eq!(Command::decode(type_id, &bytes[..length]), Ok(command(request)));
        assert_eq!(command(request).encode(&mut bytes[..length - 1]), None);
    }
}

#[test]
fn a_command_cut_anywhere_is_malformed_but_for_the_flags_of_a_removal() {
    for request in requests() {
        let mut bytes = [0; 256];
        let type_id = command(request).type_id();
        let whole = command(request).encode(&mut bytes).unwrap();
        for length in 0..whole {
            let found = Command::decode(type_id, &bytes[..length]);
            if matches!(request, Request::RemovePublication { .. }) && length == 24 {
                let registration_id = CorrelationId(77);
                let plain = Request::RemovePublication { registration_id, revoke: false };
                assert_eq!(found, Ok(command(plain)));
            } else {
                assert_eq!(found, Err(ControlError::Malformed { type_id, length }));
            }
        }
    }
}
