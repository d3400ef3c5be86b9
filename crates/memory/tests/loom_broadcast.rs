//! Model checks of the broadcast.
#![cfg(loom)]

use coracle_memory::broadcast::{ReceiveError, Receiver, Transmitter};
use coracle_memory::buffer::AtomicBuffer;
use coracle_memory::region::Region;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use loom::thread;
use wire::ring::to_clients::TRAILER_LENGTH;

const CAPACITY: usize = 64;

/// Runs a model over both kinds of memory; each must have been tried in many orders.
fn check(model: impl Fn(fn(usize) -> Arc<Region>) + Sync + Send + Copy + 'static) {
    for memory in [Region::heap, Region::interleaved] {
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&runs);
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.max_branches = 10_000;
        builder.check(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            model(memory);
        });
        println!("{} executions", runs.load(Ordering::Relaxed));
    }
}

fn message(kind: i32) -> [u8; 8] {
    i64::from(kind).to_le_bytes()
}

fn pair(memory: fn(usize) -> Arc<Region>) -> (Transmitter, Receiver) {
    let region = memory(CAPACITY + TRAILER_LENGTH);
    region.touch(0..CAPACITY + TRAILER_LENGTH);
    let buffer = AtomicBuffer::new(region);
    (Transmitter::new(buffer.clone()).unwrap(), Receiver::new(buffer).unwrap())
}

#[test]
fn messages_arrive_whole_and_in_order_while_they_are_sent() {
    check(|memory| {
        let (mut transmitter, mut receiver) = pair(memory);
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

/// Method: four records fill the buffer; two more overwrite what the receiver reads.
#[test]
fn a_message_that_is_overwritten_while_it_is_copied_is_never_delivered() {
    check(|memory| {
        let (mut transmitter, mut receiver) = pair(memory);
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
