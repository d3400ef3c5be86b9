//! The same calls leave the same bytes as in genuine Agrona (aeron-all 1.51.0).
//!
//! Each file of `golden/` lists the bytes that are not zero as `offset:value`, after the calls that
//! its test repeats.
#![cfg(not(loom))]

use coracle_memory::broadcast::Transmitter;
use coracle_memory::buffer::AtomicBuffer;
use coracle_memory::counters::CountersManager;
use coracle_memory::region::Region;
use coracle_memory::ring::{ReadAction, RingConsumer};
use wire::counters::CounterTypeId;

fn dump(buffer: &AtomicBuffer) -> String {
    let mut bytes = vec![0; buffer.length()];
    buffer.copy_out(0, &mut bytes);
    let set = bytes.iter().enumerate().filter(|&(_, &byte)| byte != 0);
    set.map(|(at, byte)| format!("{at}:{byte}")).collect::<Vec<_>>().join(" ")
}

fn assert_golden(buffer: &AtomicBuffer, golden: &str) {
    assert_eq!(dump(buffer), golden.split_whitespace().collect::<Vec<_>>().join(" "));
}

fn heap(length: usize) -> AtomicBuffer {
    AtomicBuffer::new(Region::heap(length))
}

/// Bytes 1, 2, 3 and so on.
fn message(length: u8) -> Vec<u8> {
    (1..=length).collect()
}

#[test]
fn a_ring_that_wrapped_with_an_open_and_an_aborted_claim() {
    let buffer = heap(256 + 768);
    let mut consumer = RingConsumer::new(buffer.clone()).unwrap();
    let ring = consumer.producer();
    (0..6).for_each(|_| ring.write(1, &message(32)).unwrap());
    consumer.read(usize::MAX, |_, _| ReadAction::Continue).unwrap();
    consumer.set_heartbeat_ms(1234);
    assert_eq!((ring.next_correlation_id(), ring.next_correlation_id()), (0, 1));
    ring.write(2, &message(20)).unwrap();
    ring.write(3, &message(5)).unwrap();
    let _open = ring.try_claim(4, 7).unwrap();
    ring.try_claim(5, 9).unwrap().abort();
    assert_golden(&buffer, include_str!("golden/ring.txt"));
}

#[test]
fn a_broadcast_that_wrapped() {
    let buffer = heap(256 + 128);
    let mut transmitter = Transmitter::new(buffer.clone()).unwrap();
    (0..6).for_each(|_| transmitter.transmit(1, &message(32)).unwrap());
    transmitter.transmit(7, &message(20)).unwrap();
    assert_golden(&buffer, include_str!("golden/broadcast.txt"));
}

#[test]
fn counters_allocated_freed_and_used_again() {
    let (metadata, values) = (heap(4 * 512), heap(4 * 128));
    let mut counters = CountersManager::new(metadata.clone(), values.clone(), 1000);
    let key = |value: i64| value.to_le_bytes();
    let mut first = counters.allocate(CounterTypeId(1001), &key(77), "first", 1000).unwrap();
    first.identify(9, 8, 6);
    first.set_release(42);
    let second = counters.allocate(CounterTypeId(1002), &key(78), "second", 1000).unwrap();
    let third = counters.allocate(CounterTypeId(1003), &key(79), "third", 1000).unwrap();
    assert!(counters.free(second.id(), 1000));
    let again = counters.allocate(CounterTypeId(1004), &key(80), "again", 2000).unwrap();
    assert_eq!(again.id(), second.id());
    assert!(counters.free(third.id(), 2000));
    assert_golden(&metadata, include_str!("golden/metadata.txt"));
    assert_golden(&values, include_str!("golden/values.txt"));
}
