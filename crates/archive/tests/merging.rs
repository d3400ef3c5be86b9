//! Readers that begin in a recording and end in the live stream.

#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;

use archive_client::{MergeError, MergeParameters, ReplayMerge};
use client::{ExclusivePublication, FragmentAssembler, OfferError, Subscription};
use common::{Lab, STREAM};
use runtime::Nanos;
use wire::position::Position;

/// A stream that any number of receivers can join, recorded at its source through a spy.
const DYNAMIC: &str =
    "aeron:udp?control-mode=dynamic|control=10.0.0.1:40456|term-length=64k|ssc=true";
/// The same as the reader's host receives it.
const LIVE: &str = "aeron:udp?endpoint=10.0.0.2:0|control=10.0.0.1:40456|control-mode=dynamic";
const REPLAYED: &str = "aeron:udp?endpoint=10.0.0.2:0";

/// Publishes a message unless the reader holds it back: it is not to be waited for without reading.
fn offers(publication: &mut ExclusivePublication, number: u32) -> bool {
    match publication.offer(&common::message(number)) {
        Ok(_) => true,
        Err(OfferError::BackPressured | OfferError::AdminAction) => false,
        Err(error) => panic!("{error}"),
    }
}

/// A reader at the second site.
struct Reader {
    subscription: Subscription,
    assembler: FragmentAssembler,
    numbers: Vec<u32>,
}

impl Reader {
    fn new(lab: &mut Lab, channel: &str) -> Self {
        let mut pending = lab.sites[1].client.add_subscription(channel, STREAM);
        let mut subscription = None;
        lab.until("the subscription", |_| {
            subscription = pending.poll().unwrap();
            subscription.is_some()
        });
        let (assembler, numbers) = (FragmentAssembler::new(), Vec::new());
        Self { subscription: subscription.unwrap(), assembler, numbers }
    }

    fn read(&mut self) {
        let Self { subscription, assembler, numbers } = self;
        subscription.poll(20, |fragment| {
            assembler.on_fragment(fragment, |message| {
                numbers.push(common::number(message.payload()));
            });
        });
    }
}

fn lab(seed: u64) -> Lab {
    let mut lab = Lab::new(seed, 2, |_| {});
    lab.connect_over(1, "aeron:udp?endpoint=10.0.0.1:8010", "aeron:udp?endpoint=10.0.0.2:0");
    lab
}

fn parameters(id: i64, session_id: i32) -> MergeParameters {
    MergeParameters {
        replay_channel: format!("aeron:udp?session-id={session_id}"),
        replay_destination: REPLAYED.to_string(),
        live_destination: LIVE.to_string(),
        ..MergeParameters::new(id, Position(0))
    }
}

#[test]
fn a_reader_goes_from_the_recording_to_the_live_stream_without_gap_or_repetition() {
    for seed in 0..5 {
        let mut lab = lab(seed);
        let (mut publication, id) = lab.record(0, DYNAMIC);
        lab.publish(&mut publication, 0..200);
        let mut reader = Reader::new(&mut lab, "aeron:udp?control-mode=manual");
        let parameters = parameters(id, publication.session_id().0);
        let now = lab.world.now(lab.sites[1].host);
        let mut merge = ReplayMerge::new(parameters, &reader.subscription, now).unwrap();
        let mut next = 200;
        lab.until("they are merged", |lab| {
            next += u32::from(offers(&mut publication, next));
            let now = lab.world.now(lab.sites[1].host);
            let _ = merge.do_work(lab.asker(1), &mut reader.subscription, now).unwrap();
            reader.read();
            merge.is_merged()
        });
        assert!(merge.is_live_added());
        assert_eq!(reader.numbers[0], 0);
        // The archive is not needed any more.
        lab.world.kill(lab.sites[0].archive);
        let last = next + 100;
        while next < last {
            match offers(&mut publication, next) {
                true => next += 1,
                false => lab.step(),
            }
            reader.read();
        }
        lab.until("all has come", |_| {
            reader.read();
            reader.numbers.len() == next as usize
        });
        assert_eq!(reader.numbers, (0..next).collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn a_merge_whose_live_stream_never_comes_fails_in_time_and_says_where() {
    let mut lab = lab(7);
    let (mut publication, id) = lab.record(0, DYNAMIC);
    lab.publish(&mut publication, 0..20);
    let mut reader = Reader::new(&mut lab, "aeron:udp?control-mode=manual");
    let mut parameters = parameters(id, publication.session_id().0);
    parameters.live_destination = "aeron:udp?endpoint=10.0.0.2:40999".to_string();
    parameters.progress_timeout = Nanos::from_secs(1);
    let begin = lab.world.now(lab.sites[1].host);
    let mut merge = ReplayMerge::new(parameters, &reader.subscription, begin).unwrap();
    let mut failed = None;
    lab.until("it fails", |lab| {
        let now = lab.world.now(lab.sites[1].host);
        failed = merge.do_work(lab.asker(1), &mut reader.subscription, now).err();
        reader.read();
        failed.is_some()
    });
    let Some(MergeError::Timeout { waited, state }) = failed else { panic!("{failed:?}") };
    assert!((1_000..1_100).contains(&waited.as_millis()), "{waited:?}");
    assert!(["catching up", "joining the live stream"].contains(&state), "{state}");
    assert_eq!(reader.numbers, (0..20).collect::<Vec<_>>());
    merge.close(lab.asker(1), &reader.subscription);
    lab.run(Nanos::from_millis(100));
    let replays = lab.sites[0].client.counters();
    let left = replays.records().find(|it| it.type_id == client::CounterTypeId(112)).unwrap();
    assert_eq!(left.value, 0, "the replay goes on");
}

#[test]
fn only_a_subscription_with_destinations_of_its_own_can_be_merged() {
    let mut lab = lab(8);
    let reader = Reader::new(&mut lab, "aeron:ipc");
    let now = lab.world.now(lab.sites[1].host);
    let refused = ReplayMerge::new(parameters(0, 1), &reader.subscription, now);
    assert!(matches!(refused, Err(MergeError::Subscription { .. })));
}
