//! Model checks of the command ring.
#![cfg(loom)]

use coracle_memory::buffer::AtomicBuffer;
use coracle_memory::region::Region;
use coracle_memory::ring::{ReadAction, RingConsumer, RingProducer, WriteError};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use loom::thread;
use wire::ring::to_driver::{HEAD_CACHE_OFFSET, HEAD_OFFSET, TAIL_OFFSET, TRAILER_LENGTH};

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

/// A ring whose head and tail stand at `position`.
fn ring_at(
    memory: fn(usize) -> Arc<Region>,
    capacity: usize,
    position: i64,
) -> (RingProducer, RingConsumer) {
    let region = memory(capacity + TRAILER_LENGTH);
    region.touch(0..capacity + TRAILER_LENGTH);
    let buffer = AtomicBuffer::new(region);
    for offset in [HEAD_OFFSET, HEAD_CACHE_OFFSET, TAIL_OFFSET] {
        buffer.store_i64(capacity + offset, position);
    }
    let consumer = RingConsumer::new(buffer).unwrap();
    (consumer.producer(), consumer)
}

fn message(kind: i32, words: usize) -> Vec<u8> {
    i64::from(kind).to_le_bytes().repeat(words)
}

fn read(consumer: &mut RingConsumer, words: usize, seen: &mut Vec<i32>) {
    consumer
        .read(10, |kind, found| {
            assert_eq!(found, message(kind, words), "a torn message");
            seen.push(kind);
            ReadAction::Continue
        })
        .unwrap();
}

#[test]
fn producers_at_once_are_read_whole_while_they_write() {
    check(|memory| {
        let (producer, mut consumer) = ring_at(memory, 256, 0);
        let threads = [1, 2].map(|kind| {
            let producer = producer.clone();
            thread::spawn(move || producer.write(kind, &message(kind, 2)).unwrap())
        });
        let mut seen = Vec::new();
        read(&mut consumer, 2, &mut seen);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        read(&mut consumer, 2, &mut seen);
        seen.sort_unstable();
        assert_eq!(seen, [1, 2]);
    });
}

#[test]
fn producers_that_wrap_at_once_pad_the_end_once() {
    check(|memory| {
        let (producer, mut consumer) = ring_at(memory, 256, 240);
        let threads = [1, 2].map(|kind| {
            let producer = producer.clone();
            thread::spawn(move || producer.write(kind, &message(kind, 2)).unwrap())
        });
        let mut seen = Vec::new();
        read(&mut consumer, 2, &mut seen);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        read(&mut consumer, 2, &mut seen);
        read(&mut consumer, 2, &mut seen);
        seen.sort_unstable();
        assert_eq!(seen, [1, 2]);
        assert_eq!(consumer.consumer_position(), 256 + 48);
    });
}

#[test]
fn a_full_ring_lets_a_producer_in_only_behind_the_zeroing() {
    check(|memory| {
        let (producer, mut consumer) = ring_at(memory, 64, 0);
        for kind in 1..=4 {
            producer.write(kind, &message(kind, 1)).unwrap();
        }
        let thread = thread::spawn(move || producer.write(5, &message(5, 1)));
        let mut seen = Vec::new();
        read(&mut consumer, 1, &mut seen);
        let written = thread.join().unwrap();
        read(&mut consumer, 1, &mut seen);
        let expected = match written {
            Ok(()) => vec![1, 2, 3, 4, 5],
            Err(error) => {
                assert_eq!(error, WriteError::Full);
                vec![1, 2, 3, 4]
            }
        };
        assert_eq!(seen, expected);
    });
}

#[test]
fn an_aborted_claim_is_passed() {
    check(|memory| {
        let (producer, mut consumer) = ring_at(memory, 256, 0);
        let thread = thread::spawn(move || {
            let claim = producer.try_claim(1, 16).unwrap();
            claim.write(0, &message(1, 2));
            claim.abort();
            producer.write(2, &message(2, 2)).unwrap();
        });
        let mut seen = Vec::new();
        read(&mut consumer, 2, &mut seen);
        thread.join().unwrap();
        read(&mut consumer, 2, &mut seen);
        assert_eq!(seen, [2]);
    });
}
