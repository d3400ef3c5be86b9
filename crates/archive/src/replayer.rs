//! The replayer: reads segment files and publishes them again.
//!
//! Input: [`Replayer::add`] by the conductor, which has checked the request. Output: publications,
//! and [`ReplayEvent`]s. Trusts nothing that it reads: every header must say where it stands.

pub(crate) mod reader;
mod session;

use client::Handle;
use runtime::agent::Work;
use wire::time::{Nanos, Now};

use crate::control::refusal::Refusal;
use crate::counters::IoTotals;
use crate::writer::Store;

pub(crate) use session::{Bound, Recorded, Replay, ReplayRequest};

/// What the conductor has to tell its client.
pub(crate) enum ReplayEvent {
    /// The replay has its publication.
    Started { control_session_id: i64, correlation_id: i64, replay_session_id: i64 },
    /// The replay cannot begin, or ended before its end.
    Failed { recording_id: i64, control_session_id: i64, correlation_id: i64, refusal: Refusal },
}

/// Publishes recordings again.
pub(crate) struct Replayer {
    store: Store,
    replays: Vec<Replay>,
    sequence: i64,
    events: Vec<ReplayEvent>,
    read: IoTotals,
}

impl Replayer {
    pub(crate) fn new(store: &Store) -> Self {
        let (replays, events, read) = (Vec::new(), Vec::new(), IoTotals::default());
        Self { store: store.clone(), replays, sequence: 0, events, read }
    }

    /// What has been read so far.
    pub(crate) const fn read(&self) -> IoTotals {
        self.read
    }

    /// How many replays run.
    pub(crate) fn count(&self) -> usize {
        self.replays.len()
    }

    /// Whether any replay of a recording runs.
    pub(crate) fn is_replaying(&self, recording_id: i64) -> bool {
        self.replays.iter().any(|replay| replay.recording_id() == recording_id)
    }

    /// The lowest position that a replay of a recording still reads.
    pub(crate) fn lowest_position(&self, recording_id: i64) -> Option<i64> {
        let replays = self.replays.iter().filter(|it| it.recording_id() == recording_id);
        replays.map(Replay::position).min()
    }

    /// Begins a replay.
    pub(crate) fn add(&mut self, request: ReplayRequest, client: &Handle, deadline: Nanos) {
        self.sequence += 1;
        self.replays.push(Replay::new(request, self.sequence, client, deadline));
    }

    /// Stops the replay with this id; nothing if there is none.
    pub(crate) fn stop(&mut self, replay_session_id: i64) {
        self.stop_where(|replay| replay.replay_session_id() == Some(replay_session_id));
    }

    /// Stops the replays of a recording, or all with `None`.
    pub(crate) fn stop_all(&mut self, recording_id: Option<i64>) {
        self.stop_where(|replay| recording_id.is_none_or(|id| replay.recording_id() == id));
    }

    fn stop_where(&mut self, is_meant: impl Fn(&Replay) -> bool) {
        let mut index = 0;
        while let Some(replay) = self.replays.get(index) {
            if is_meant(replay) {
                self.replays.swap_remove(index).revoke();
            } else {
                index += 1;
            }
        }
    }

    /// A recording that replays follow has ended.
    pub(crate) fn on_recording_stopped(&mut self, recording_id: i64, position: i64) {
        let replays = self.replays.iter_mut();
        replays
            .filter(|it| it.recording_id() == recording_id)
            .for_each(|it| it.on_stopped(position));
    }

    /// One cycle: each replay publishes at most one block.
    pub(crate) fn do_work(&mut self, client: &Handle, now: Now) -> Work {
        let mut work = Work::NONE;
        let mut index = 0;
        while let Some(replay) = self.replays.get_mut(index) {
            let (done, is_over) = replay.do_work(&self.store, client, now, &mut self.events);
            self.read.absorb(replay.take_read());
            work = work.and(Work::done(done).due(replay.next_deadline()));
            if is_over {
                self.replays.swap_remove(index);
            } else {
                index += 1;
            }
        }
        work
    }

    /// Moves what happened since the last call into `into`.
    pub(crate) fn take_events(&mut self, into: &mut Vec<ReplayEvent>) {
        into.append(&mut self.events);
    }
}
