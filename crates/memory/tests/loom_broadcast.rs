//! Model checks of the broadcast.
#![cfg(loom)]

use loom::thread;
use memory::broadcast::{ReceiveError, Receiver, Transmitter};
use memory::buffer::AtomicBuffer;
use memory::region::Region;
use wire::ring::to_clients::TRAILER_LENGTH;

extern crate coracle_memory as memory;

const CAPACITY: usize = 64;

fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.max_branches = 10_000;
    builder.check(model);
}

fn message(kind: i32) -> [u8; 8] {
    i64::from(kind).to_le_bytes()
}

fn pair() -> (Transmitter, Receiver) {
    let buffer = AtomicBuffer::new(Region::heap(CAPACITY + TRAILER_LENGTH));
    (Transmitter::new(buffer.clone()).unwrap(), Receiver::new(buffer).unwrap())
}

#[test]
fn messages_arrive_whole_and_in_order_while_they_are_sent() {
    check(|| {
        let (mut transmitter, mut receiver) = pair();
        let thread = thread::spawn(move || {
            for kind in 1..=2 {
                transmitter.transmit(kind, &message(kind)).unwrap();
            }
        });
        let mut seen = Vec::new();
        let mut receive = || {
            while let Some((kind, found)) = receiver.receive().unwrap() {
                assert_eq!(found, message(kind), "a torn message");
                seen.push(kind);
            }
        };
        receive();
        thread.join().unwrap();
        receive();
        assert_eq!(seen, [1, 2]);
    });
}

/// Method: four records fill the buffer; a fifth and a sixth overwrite what the receiver is reading.
#[test]
fn a_message_that_is_overwritten_while_it_is_copied_is_never_delivered() {
    check(|| {
        let (mut transmitter, mut receiver) = pair();
        for kind in 1..=4 {
            transmitter.transmit(kind, &message(kind)).unwrap();
        }
        let thread = thread::spawn(move || {
            for kind in 5..=6 {
                transmitter.transmit(kind, &message(kind)).unwrap();
            }
        });
        let mut last = 0;
        for _ in 0..2 {
            match receiver.receive() {
                Ok(Some((kind, found))) => {
                    assert_eq!(found, message(kind), "a torn message");
                    assert!(kind > last, "{kind} after {last}");
                    last = kind;
                }
                Ok(None) => {}
                Err(error) => assert_eq!(error, ReceiveError::Lapped),
            }
        }
        thread.join().unwrap();
    });
}
