//! Recordings that are damaged: how that is found, told, and ended.
//!
//! Found at start, by replays, and by a scrub, which reads all that is recorded, slowly and again
//! and again, as a replay would: what nobody reads rots as well. Told by a counter for each
//! ([`wire::archive::rot`]) and in the error log. Ended when the recording is cut where the damage
//! begins, or before: what it lost, somebody else has.

use std::collections::BTreeMap;

use client::{Counter, CounterTypeId, Pending};
use wire::archive::rot::{RotKey, TYPE_ID};
use wire::time::{Nanos, Now};

use super::Conductor;
use super::requests::{Answer, Asker};
use crate::control::refusal::Refusal;
use crate::recovery::Rot;
use crate::replayer::reader::{Next, Reader};

/// How often the scrub reads.
const SCRUB_INTERVAL: Nanos = Nanos::from_millis(100);
/// How much at a time, at most; a frame at least.
const SCRUB_LENGTH: i64 = 64 << 10;

/// What is known to be damaged, by recording.
#[derive(Default)]
pub(super) struct Rotten {
    found: BTreeMap<i64, Found>,
    scrub: Scrub,
}

struct Found {
    rot: Rot,
    shown: Shown,
}

enum Shown {
    Asked(Pending<Counter>),
    /// Freed with it.
    Counter {
        _counter: Counter,
    },
    /// The driver refused.
    Nothing,
}

/// Where the scrub goes on.
#[derive(Default)]
struct Scrub {
    recording_id: i64,
    position: i64,
    due: Nanos,
}

impl Conductor {
    /// A recording is damaged. What was known before stands if it is no further on.
    pub(super) fn on_rot(&mut self, rot: Rot, now: Now) {
        let Rot { recording_id, position, end } = rot;
        if self.rotten_at(recording_id).is_some_and(|known| known <= position) {
            return;
        }
        let key = RotKey { archive_id: self.archive_id, recording_id, position, end }.encode();
        let label = format!("Archive Rotten Recording: {recording_id} at {position}");
        let label = format!("{label} - archiveId={}", self.archive_id);
        let pending = self.client.add_counter(CounterTypeId(TYPE_ID), &key, &label);
        let found = Found { rot, shown: Shown::Asked(pending) };
        self.rotten.found.insert(recording_id, found);
        let text = format!("recording {recording_id} is rotten at {position}, it went to {end}");
        self.note(&text, now);
    }

    /// A replay, or the scrub, found that a recording is damaged.
    pub(super) fn on_rotten_read(&mut self, recording_id: i64, refusal: &Refusal, now: Now) {
        let Some(position) = refusal.rot else { return };
        let Some(recording) = self.catalog.get(recording_id) else { return };
        let end = self.recorded_position(recording_id).unwrap_or(recording.stop_position);
        self.on_rot(Rot { recording_id, position, end: end.max(position) }, now);
    }

    /// A recording was cut at `position`, or purged. Frames begin elsewhere behind it from now on.
    pub(super) fn on_cut(&mut self, recording_id: i64, position: i64) {
        let scrub = &mut self.rotten.scrub;
        if scrub.recording_id == recording_id {
            scrub.position = scrub.position.min(position);
        }
        if self.rotten_at(recording_id).is_some_and(|rot| rot >= position) {
            self.rotten.found.remove(&recording_id);
        }
    }

    /// Where a recording is damaged, if it is.
    pub(super) fn rotten_at(&self, recording_id: i64) -> Option<i64> {
        self.rotten.found.get(&recording_id).map(|found| found.rot.position)
    }

    /// Cuts a recording that is out of service for its damage where that begins, or before: it is
    /// in service again.
    pub(super) fn cut_rotten(
        &mut self,
        asker: Asker,
        recording_id: i64,
        position: i64,
        now: Now,
    ) -> Answer {
        let unknown = || Refusal::unknown_recording(recording_id);
        let rot = self.rotten_at(recording_id).ok_or_else(unknown)?;
        let recording = self.catalog.retired().find(|it| it.id == recording_id);
        let recording = recording.ok_or_else(unknown)?.clone();
        if position < recording.start_position || rot < position || position % 32 != 0 {
            let start = recording.start_position;
            let text = format!("cannot truncate to {position}: not a position in {start} to {rot}");
            return Err(Refusal::position(text));
        }
        self.expect_no_deletion(recording_id)?;
        let (segments, cut) = self.beyond(&recording, position)?;
        self.catalog.revive(recording_id, |it| {
            it.stop_position = position;
            it.stop_timestamp = now.epoch_millis();
        })?;
        self.on_cut(recording_id, position);
        Ok(Some(self.delete(asker, recording_id, &segments, cut)))
    }

    /// Takes the counters that the driver has made.
    pub(super) fn step_rotten(&mut self) -> usize {
        let mut done = 0;
        for found in self.rotten.found.values_mut() {
            let Shown::Asked(pending) = &mut found.shown else { continue };
            found.shown = match pending.poll() {
                Ok(None) => continue,
                Ok(Some(mut counter)) => {
                    counter.set(found.rot.position);
                    Shown::Counter { _counter: counter }
                }
                Err(_) => Shown::Nothing,
            };
            done += 1;
        }
        done
    }

    /// Reads on, when it is time to; returns when it is next. Without sums nothing is known of
    /// headers, and old recordings may have been damaged when they were made: nothing is read.
    pub(super) fn step_scrub(&mut self, now: Now) -> Nanos {
        if !self.store.has_sums || self.config.storage.replay_checksum.is_none() {
            return Nanos::MAX;
        }
        if self.rotten.scrub.due <= now.mono {
            self.rotten.scrub.due = now.mono + SCRUB_INTERVAL;
            self.scrub(now);
        }
        self.rotten.scrub.due
    }

    fn scrub(&mut self, now: Now) {
        let Scrub { recording_id, position, .. } = self.rotten.scrub;
        let Some(recording) = self.catalog.iter_from(recording_id).next().cloned() else {
            (self.rotten.scrub.recording_id, self.rotten.scrub.position) = (0, 0);
            return;
        };
        let id = recording.id;
        let from = if id == recording_id { position } else { 0 };
        let from = from.max(recording.start_position);
        let end = self.recorded_position(id).unwrap_or(recording.stop_position);
        let is_known = self.rotten_at(id).is_some_and(|rot| rot <= from);
        (self.rotten.scrub.recording_id, self.rotten.scrub.position) = (id + 1, 0);
        if from >= end || is_known {
            return;
        }
        let term_length = i64::from(recording.term_buffer_length);
        let term_rest = term_length - (from & (term_length - 1));
        let most = SCRUB_LENGTH.max(i64::from(recording.mtu_length));
        let length = usize::try_from(most.min(term_rest).min(end - from)).unwrap_or(0);
        // Anew each time: the files may have been others since.
        let mut reader = Reader::new(recording, self.config.storage.replay_checksum);
        match reader.next(&self.store, from, length, end) {
            Ok(next) => {
                let length = match next {
                    Next::Block(length) => length as i64,
                    Next::Padding(length) => length,
                };
                (self.rotten.scrub.recording_id, self.rotten.scrub.position) = (id, from + length);
            }
            Err(refusal) => self.on_rotten_read(id, &refusal, now),
        }
    }
}
