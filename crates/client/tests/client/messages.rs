//! Messages out and in.

use client::{Action, FragmentAssembler, ImageEvent, OfferError, Publication, Subscription};
use wire::position::Position;

use crate::bed::{Bed, CHANNEL, STREAM};
use crate::driver::TERM_LENGTH;

fn polled(subscription: &mut Subscription, limit: usize) -> Vec<String> {
    let mut texts = Vec::new();
    subscription.poll(limit, |fragment| {
        texts.push(String::from_utf8(fragment.payload().to_vec()).unwrap());
    });
    texts
}

/// A publication with a subscriber, both of one client.
fn pair() -> (Bed, Publication, Subscription) {
    let mut bed = Bed::new();
    let subscription = bed.subscription();
    let publication = bed.publication();
    (bed, publication, subscription)
}

fn send(publication: &Publication, texts: &[&str]) {
    for text in texts {
        publication.offer(text.as_bytes()).unwrap();
    }
}

#[test]
fn what_is_offered_is_polled_with_its_header_and_the_position_is_stored() {
    let (bed, publication, mut subscription) = pair();
    assert_eq!(publication.offer(b"hello"), Ok(Position(64)));
    let mut seen = 0;
    subscription.poll(10, |fragment| {
        seen += 1;
        assert_eq!(fragment.payload(), b"hello");
        assert_eq!(fragment.position(), Position(64));
        assert_eq!(fragment.session_id(), publication.session_id());
        assert_eq!((fragment.stream_id(), fragment.header().frame_length), (STREAM, 37));
    });
    assert_eq!(seen, 1);
    let image = subscription.images().next().unwrap();
    assert_eq!(bed.driver.value(image.subscriber_position_id()), 64);
    assert_eq!((image.join_position(), image.position()), (Position(0), Position(64)));
    assert_eq!(image.source_identity(), "aeron:ipc");
}

#[test]
fn long_messages_are_cut_and_put_together_again() {
    let (_bed, publication, mut subscription) = pair();
    let message: Vec<u8> = (0..5000_u32).map(|n| n.to_le_bytes()[0] ^ 0x5A).collect();
    publication.offer_vectored(&[&message[..7], &message[7..2000], &message[2000..]]).unwrap();
    let mut assembler = FragmentAssembler::new();
    let (mut fragments, mut whole) = (0, Vec::new());
    subscription.poll(10, |fragment| {
        fragments += 1;
        assembler.on_fragment(fragment, |message| whole.push(message.payload().to_vec()));
    });
    assert_eq!((fragments, whole), (4, vec![message]));
}

#[test]
fn the_reserved_value_is_asked_for_frame_by_frame() {
    let (_bed, publication, mut subscription) = pair();
    let reserved = |offset: i32, length: i32| i64::from(offset) * 10_000 + i64::from(length);
    publication.offer_with_reserved(&[&[0; 1400]], reserved).unwrap();
    let mut values = Vec::new();
    subscription.poll(10, |fragment| values.push(fragment.reserved_value()));
    assert_eq!(values, [1408, 14_080_056]);
}

#[test]
fn claims_are_seen_when_committed_and_skipped_when_aborted_or_dropped() {
    let (_bed, publication, mut subscription) = pair();
    let mut claim = publication.try_claim(4).unwrap();
    claim.write(0, b"abcd");
    claim.set_reserved_value(77);
    assert_eq!(polled(&mut subscription, 10), [""; 0]);
    claim.commit();
    publication.try_claim(100).unwrap().abort();
    drop(publication.try_claim(100).unwrap());
    send(&publication, &["after"]);
    assert_eq!(polled(&mut subscription, 10), ["abcd", "after"]);
    let error = publication.try_claim(1377).err();
    assert_eq!(error, Some(OfferError::MessageTooLong { length: 1377, max: 1376 }));
}

#[test]
fn without_a_subscriber_it_is_not_connected_and_at_the_limit_back_pressured() {
    let mut bed = Bed::new();
    let publication = bed.publication();
    let limit = &mut bed.driver.publications.values_mut().next().unwrap().limit;
    limit.set_release(0);
    assert_eq!(publication.offer(b"x"), Err(OfferError::NotConnected));
    bed.driver.publications.values().next().unwrap().log.set_connected(true);
    assert_eq!(publication.offer(b"x"), Err(OfferError::BackPressured));
    assert_eq!((publication.position_limit(), publication.available_window()), (Position(0), 0));
    let too_long = publication.offer(&[0; 8193]);
    assert_eq!(too_long, Err(OfferError::MessageTooLong { length: 8193, max: 8192 }));
}

#[test]
fn the_log_rotates_and_polls_end_at_the_end_of_a_term() {
    let (mut bed, publication, mut subscription) = pair();
    bed.driver.publications.values_mut().next().unwrap().limit.set_release(1 << 40);
    let mut rotations = 0;
    for number in 0..180_u32 {
        // 1056 bytes each: a term takes 62, and what is left is padded.
        while let Err(error) = publication.offer(&[number.to_le_bytes()[0]; 1024]) {
            assert_eq!(error, OfferError::AdminAction);
            rotations += 1;
        }
        let mut seen = Vec::new();
        while seen.is_empty() {
            subscription.poll(10, |fragment| seen.push(fragment.payload()[0]));
        }
        assert_eq!(seen, [number.to_le_bytes()[0]]);
    }
    assert_eq!(rotations, 2);
    assert_eq!(publication.position(), subscription.images().next().unwrap().position());
}

#[test]
fn controlled_polls_do_as_their_handler_says() {
    let (bed, publication, mut subscription) = pair();
    send(&publication, &["1", "2", "3", "4", "5"]);
    let position_id =
        subscription.image_by_session(publication.session_id()).unwrap().subscriber_position_id();
    let mut seen = Vec::new();
    let done = subscription.controlled_poll(10, |fragment| {
        seen.push((fragment.payload()[0], bed.driver.value(position_id)));
        match fragment.payload() {
            b"2" => Action::Commit,
            b"4" => Action::Abort,
            _ => Action::Continue,
        }
    });
    assert_eq!((done, seen), (3, vec![(b'1', 0), (b'2', 0), (b'3', 128), (b'4', 128)]));
    assert_eq!(bed.driver.value(position_id), 192);
    assert_eq!(subscription.controlled_poll(10, |_| Action::Break), 1);
    assert_eq!(polled(&mut subscription, 10), ["5"]);
}

#[test]
fn a_bounded_poll_stops_before_its_bound() {
    let (_bed, publication, mut subscription) = pair();
    send(&publication, &["1", "2", "3"]);
    let image = subscription.image_by_session(publication.session_id()).unwrap();
    assert_eq!(image.bounded_poll(Position(128), 10, |_| ()), 2);
    assert_eq!(image.bounded_poll(Position(128), 10, |_| ()), 0);
    assert_eq!(image.bounded_controlled_poll(Position(129), 10, |_| Action::Continue), 1);
    assert_eq!(image.position(), Position(192));
}

#[test]
fn a_block_is_whole_frames_and_padding_comes_alone() {
    let mut bed = Bed::new();
    let mut subscription = bed.subscription();
    let mut publication = bed.exclusive_publication();
    publication.offer(b"one").unwrap();
    publication.offer(b"two").unwrap();
    publication.append_padding(100).unwrap();
    let mut blocks = Vec::new();
    for _ in 0..3 {
        subscription.block_poll(100, |block| blocks.push((block.position.0, block.bytes.len())));
    }
    subscription.block_poll(100, |_| unreachable!("nothing is left"));
    assert_eq!(blocks, [(0, 64), (64, 64), (128, 160)]);
    assert_eq!(subscription.images().next().unwrap().position(), Position(288));
}

#[test]
fn recorded_blocks_go_out_again_only_where_they_belong() {
    let mut bed = Bed::new();
    let mut subscription = bed.subscription();
    let mut publication = bed.exclusive_publication();
    publication.offer(b"one").unwrap();
    let mut block = Vec::new();
    subscription.block_poll(100, |found| block = found.bytes.to_vec());
    let wrong = Err(OfferError::WrongBlock { position: Position(64) });
    assert_eq!(publication.offer_block(&block), wrong);
    block[8..12].copy_from_slice(&64_i32.to_le_bytes());
    assert_eq!(publication.offer_block(&block[..63]), wrong);
    assert_eq!(publication.offer_block(&block), Ok(Position(128)));
    assert_eq!(polled(&mut subscription, 10), ["one"]);
    assert_eq!(publication.position(), Position(128));
}

#[test]
fn images_take_turns_being_the_first() {
    let mut bed = Bed::new();
    let mut subscription = bed.subscription();
    let mut publications = [bed.exclusive_publication(), bed.exclusive_publication()];
    for (publication, text) in publications.iter_mut().zip(["a", "b"]) {
        for _ in 0..3 {
            publication.offer(text.as_bytes()).unwrap();
        }
    }
    let turns: Vec<_> = (0..4).map(|_| polled(&mut subscription, 1).remove(0)).collect();
    assert!(turns == ["a", "b", "a", "b"] || turns == ["b", "a", "b", "a"], "{turns:?}");
    assert_eq!(polled(&mut subscription, 10).len(), 2);
}

fn events(subscription: &mut Subscription) -> Vec<(bool, i64)> {
    let mut events = Vec::new();
    subscription.poll_image_events(|event| match event {
        ImageEvent::Available(image) => events.push((true, image.correlation_id().0)),
        ImageEvent::Unavailable(image) => {
            assert!(image.is_closed());
            events.push((false, image.correlation_id().0));
        }
    });
    events
}

#[test]
fn images_are_announced_once_when_they_come_and_when_they_go() {
    let (mut bed, publication, mut subscription) = pair();
    let id = publication.registration_id();
    polled(&mut subscription, 1);
    assert_eq!(events(&mut subscription), [(true, id.0)]);
    assert_eq!(events(&mut subscription), []);
    send(&publication, &["never read"]);
    bed.driver.unlink(id, subscription.registration_id());
    bed.step();
    assert_eq!(polled(&mut subscription, 10), [""; 0]);
    assert_eq!(subscription.image_count(), 0);
    assert_eq!(events(&mut subscription), [(false, id.0)]);
    assert_eq!(events(&mut subscription), []);
    bed.driver.link(id, subscription.registration_id());
    bed.step();
    assert_eq!(events(&mut subscription), [(true, id.0)]);
    send(&publication, &["again"]);
    assert_eq!(polled(&mut subscription, 10), ["again"]);
}

#[test]
fn an_image_taken_out_is_polled_elsewhere_and_closed_all_the_same() {
    let (mut bed, publication, mut subscription) = pair();
    let id = publication.registration_id();
    let mut image = subscription.take_image(id).unwrap();
    assert_eq!((subscription.image_count(), subscription.is_connected()), (0, false));
    send(&publication, &["1"]);
    let mut image = std::thread::scope(|scope| {
        let other = scope.spawn(move || {
            assert_eq!(image.poll(10, |_| ()), 1);
            image
        });
        other.join().unwrap()
    });
    send(&publication, &["2"]);
    bed.driver.unlink(id, subscription.registration_id());
    bed.step();
    assert!(image.is_closed());
    assert_eq!(image.poll(10, |_| ()), 0);
}

#[test]
fn the_end_of_a_stream_and_its_revocation_show_after_it_closed() {
    let (mut bed, publication, mut subscription) = pair();
    let id = publication.registration_id();
    send(&publication, &["1", "2"]);
    let mut image = subscription.take_image(id).unwrap();
    image.poll(1, |_| ());
    let log = &bed.driver.publications[&id].log;
    log.set_end_of_stream_position(Position(128));
    assert!(!image.is_end_of_stream());
    image.poll(1, |_| ());
    assert!(image.is_end_of_stream() && !image.is_revoked());
    log.set_revoked();
    bed.driver.unlink(id, subscription.registration_id());
    bed.step();
    assert!(image.is_closed() && image.is_end_of_stream() && image.is_revoked());
}

#[test]
fn an_untethered_subscriber_reads_copies_and_closes_when_it_is_overtaken() {
    let mut bed = Bed::new();
    let pending = bed.client.add_subscription("aeron:ipc?tether=false", STREAM);
    let mut subscription = bed.wait(pending);
    let publication = bed.publication();
    let id = publication.registration_id();
    bed.driver.publications.get_mut(&id).unwrap().limit.set_release(1 << 40);
    send(&publication, &["1", "2", "3"]);
    assert_eq!(polled(&mut subscription, 2), ["1", "2"]);
    subscription.controlled_poll(10, |fragment| {
        assert_eq!(fragment.payload(), b"3");
        Action::Abort
    });
    assert_eq!(polled(&mut subscription, 10), ["3"]);
    let mut image = subscription.take_image(id).unwrap();
    // Three terms on, without anybody having waited for this reader.
    let length = usize::try_from(TERM_LENGTH / 8).unwrap();
    while publication.position() < Position(3 * i64::from(TERM_LENGTH) + 1024) {
        let _ = publication.offer(&vec![7; length]);
    }
    assert_eq!(image.poll(10, |_| unreachable!("overwritten")), 0);
    assert!(image.is_overtaken() && image.is_closed());
}

#[test]
fn many_threads_may_offer_on_one_publication() {
    let (_bed, publication, mut subscription) = pair();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    publication.offer(b"x").unwrap();
                }
            });
        }
    });
    assert_eq!(polled(&mut subscription, 1000).len(), 200);
    assert_eq!((subscription.channel(), subscription.stream_id()), (CHANNEL, STREAM));
}
