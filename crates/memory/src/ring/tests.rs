#![allow(clippy::unwrap_used)] // Helpers of tests.

use super::*;
use crate::region::Region;

const CAPACITY: usize = 1024;

fn ring() -> (RingProducer, RingConsumer) {
    let buffer = AtomicBuffer::new(Region::heap(CAPACITY + TRAILER_LENGTH));
    let consumer = RingConsumer::new(buffer).unwrap();
    (consumer.producer(), consumer)
}

fn read_all(consumer: &mut RingConsumer) -> Vec<(i32, Vec<u8>)> {
    let mut found = Vec::new();
    for _ in 0..2 {
        consumer
            .read(usize::MAX, |kind, message| {
                found.push((kind, message.to_vec()));
                ReadAction::Continue
            })
            .unwrap();
    }
    found
}

#[test]
fn messages_arrive_in_order_with_their_exact_length() {
    let (producer, mut consumer) = ring();
    producer.write(1, b"one").unwrap();
    producer.write(2, b"").unwrap();
    producer.write(3, b"three bytes more").unwrap();
    let expected: Vec<(i32, Vec<u8>)> =
        vec![(1, b"one".to_vec()), (2, vec![]), (3, b"three bytes more".to_vec())];
    assert_eq!(read_all(&mut consumer), expected);
    assert_eq!(producer.backlog(), 0);
}

#[test]
fn what_was_read_is_zero_again() {
    let (producer, mut consumer) = ring();
    producer.write(1, &[0xFF; 100]).unwrap();
    read_all(&mut consumer);
    let mut bytes = [1; CAPACITY];
    consumer.ring.buffer.copy_out(0, &mut bytes);
    assert_eq!(bytes, [0; CAPACITY]);
    assert_eq!(consumer.consumer_position(), 112);
}

#[test]
fn a_message_that_does_not_fit_before_the_end_goes_behind_padding() {
    let (producer, mut consumer) = ring();
    for _ in 0..8 {
        producer.write(1, &[1; 112]).unwrap();
    }
    read_all(&mut consumer);
    // 960 of 1024 are used: 128 do not fit into 64.
    producer.write(2, &[2; 120]).unwrap();
    assert_eq!(consumer.producer_position(), 1024 + 128);
    assert_eq!(read_all(&mut consumer), [(2, vec![2; 120])]);
    assert_eq!(consumer.consumer_position(), 1024 + 128);
}

#[test]
fn a_full_ring_takes_nothing_until_something_was_read() {
    let (producer, mut consumer) = ring();
    for _ in 0..8 {
        producer.write(1, &[1; 120]).unwrap();
    }
    assert_eq!(producer.write(1, b""), Err(WriteError::Full));
    assert_eq!(consumer.read(1, |_, _| ReadAction::Continue), Ok(1));
    producer.write(1, &[2; 120]).unwrap();
    assert_eq!(producer.write(1, b""), Err(WriteError::Full));
    assert_eq!(read_all(&mut consumer).len(), 8);
}

#[test]
fn a_wrap_that_the_head_does_not_allow_is_full_and_leaves_the_tail() {
    let (producer, mut consumer) = ring();
    for _ in 0..7 {
        producer.write(1, &[1; 120]).unwrap();
    }
    producer.write(1, &[1; 56]).unwrap();
    // 960 used; freeing 64 bytes is not enough for 128 at the front.
    assert_eq!(producer.write(2, &[2; 120]), Err(WriteError::Full));
    assert_eq!(consumer.producer_position(), 960);
    consumer.read(1, |_, _| ReadAction::Continue).unwrap();
    producer.write(2, &[2; 120]).unwrap();
    assert_eq!(consumer.producer_position(), 1024 + 128);
}

#[test]
fn arguments_that_no_ring_takes_are_refused() {
    let (producer, _consumer) = ring();
    let too_long = WriteError::TooLong { length: 129, limit: 128 };
    assert_eq!(producer.write(1, &[0; 129]), Err(too_long));
    assert_eq!(producer.write(0, b""), Err(WriteError::Type(0)));
    assert_eq!(producer.write(-1, b""), Err(WriteError::Type(-1)));
    let odd = AtomicBuffer::new(Region::heap(CAPACITY));
    assert!(RingProducer::new(odd.slice(0, 1000)).is_err());
}

#[test]
fn aborted_claims_are_passed_and_open_ones_stop_the_reader() {
    let (producer, mut consumer) = ring();
    let open = producer.try_claim(5, 4).unwrap();
    producer.try_claim(6, 40).unwrap().abort();
    producer.write(7, b"seven").unwrap();
    assert_eq!(read_all(&mut consumer), []);
    open.write(0, b"five");
    open.commit();
    assert_eq!(read_all(&mut consumer), [(5, b"five".to_vec()), (7, b"seven".to_vec())]);
}

#[test]
fn a_message_left_in_place_comes_again() {
    let (producer, mut consumer) = ring();
    producer.write(1, b"a").unwrap();
    producer.write(2, b"b").unwrap();
    let stop_at_two = |kind: i32, _: &[u8]| match kind {
        2 => ReadAction::LeaveInPlace,
        _ => ReadAction::Continue,
    };
    assert_eq!(consumer.read(10, stop_at_two), Ok(1));
    assert_eq!(consumer.read(10, stop_at_two), Ok(0));
    assert_eq!(read_all(&mut consumer), [(2, b"b".to_vec())]);
}

#[test]
fn unblocking_passes_a_claim_whose_producer_died() {
    let (producer, mut consumer) = ring();
    assert!(!consumer.unblock());
    let _dead = producer.try_claim(1, 20).unwrap();
    producer.write(2, b"alive").unwrap();
    assert!(consumer.unblock());
    assert_eq!(read_all(&mut consumer), [(2, b"alive".to_vec())]);
    assert!(!consumer.unblock());
}

#[test]
fn unblocking_passes_a_hole_before_a_record_and_one_before_the_tail() {
    let (producer, mut consumer) = ring();
    producer.claim(64).unwrap();
    producer.write(2, b"alive").unwrap();
    assert!(consumer.unblock());
    assert_eq!(read_all(&mut consumer), [(2, b"alive".to_vec())]);
    producer.claim(24).unwrap();
    assert!(consumer.unblock());
    assert_eq!(read_all(&mut consumer), []);
    assert_eq!(producer.backlog(), 0);
}

#[test]
fn unblocking_passes_a_hole_at_the_end_of_the_buffer() {
    let (producer, mut consumer) = ring();
    for _ in 0..8 {
        producer.write(1, &[1; 112]).unwrap();
    }
    read_all(&mut consumer);
    // Claims 64 bytes of padding and 128 at the front, and dies before writing either.
    assert!(producer.move_tail(960, 64 + 128));
    assert!(consumer.unblock());
    read_all(&mut consumer);
    assert_eq!(consumer.consumer_position(), 1024);
    assert!(consumer.unblock());
    read_all(&mut consumer);
    assert_eq!(producer.backlog(), 0);
    producer.write(3, b"on").unwrap();
    assert_eq!(read_all(&mut consumer), [(3, b"on".to_vec())]);
}

#[test]
fn a_complete_record_is_not_unblocked() {
    let (producer, mut consumer) = ring();
    producer.write(1, b"x").unwrap();
    assert!(!consumer.unblock());
    assert_eq!(read_all(&mut consumer).len(), 1);
}

#[test]
fn impossible_lengths_are_an_error_and_the_ring_goes_on_behind_them() {
    for length in [1, 7, 1025, i32::MAX] {
        let (producer, mut consumer) = ring();
        producer.write(1, b"good").unwrap();
        producer.write(2, b"bad").unwrap();
        consumer.ring.buffer.store_i32(16, length);
        let mut seen = Vec::new();
        let error = consumer.read(10, |kind, _| {
            seen.push(kind);
            ReadAction::Continue
        });
        assert_eq!(error, Err(MalformedRecord { position: 16, length, dropped: 16 }));
        assert_eq!(seen, [1]);
        producer.write(3, b"next").unwrap();
        assert_eq!(read_all(&mut consumer), [(3, b"next".to_vec())]);
    }
}

#[test]
fn damaged_positions_neither_panic_nor_loop() {
    for (head, tail) in [(0, i64::MAX), (i64::MIN, 0), (1, 3), (4096, 0), (-5, 100)] {
        let (producer, mut consumer) = ring();
        let buffer = &consumer.ring.buffer;
        buffer.store_i64(CAPACITY + HEAD_OFFSET, head);
        buffer.store_i64(CAPACITY + TAIL_OFFSET, tail);
        let _ = producer.write(1, b"x");
        let _ = consumer.read(10, |_, _| ReadAction::Continue);
        let _ = consumer.unblock();
        let _ = producer.backlog();
    }
}

#[test]
fn correlation_ids_are_handed_out_once_and_heartbeats_read_back() {
    let (producer, mut consumer) = ring();
    assert_eq!((producer.next_correlation_id(), producer.next_correlation_id()), (0, 1));
    assert_eq!(producer.consumer_heartbeat_ms(), 0);
    consumer.set_heartbeat_ms(1234);
    assert_eq!(producer.consumer_heartbeat_ms(), 1234);
}

/// Method: three threads write numbered messages of changing length; each one's order must hold.
#[test]
#[allow(clippy::disallowed_methods)] // A stress test has threads of its own.
fn producers_on_threads_lose_and_reorder_nothing() {
    const COUNT: u32 = if cfg!(miri) { 50 } else { 20_000 };
    let (producer, mut consumer) = ring();
    let threads: Vec<_> = (1..=3)
        .map(|kind| {
            let producer = producer.clone();
            std::thread::spawn(move || {
                for number in 0..COUNT {
                    let mut message = number.to_le_bytes().to_vec();
                    message.resize(4 + number as usize % 60, kind as u8);
                    while producer.write(kind, &message).is_err() {
                        std::thread::yield_now();
                    }
                }
            })
        })
        .collect();
    let mut next = [0; 3];
    while next != [COUNT; 3] {
        let got = consumer.read(16, |kind, message| {
            let at = kind as usize - 1;
            let (number, rest) = message.split_first_chunk().unwrap();
            assert_eq!(u32::from_le_bytes(*number), next[at]);
            assert!(rest.iter().all(|&byte| byte == kind as u8));
            assert_eq!(rest.len(), next[at] as usize % 60);
            next[at] += 1;
            ReadAction::Continue
        });
        if got == Ok(0) {
            std::thread::yield_now();
        }
        assert!(got.is_ok());
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}
