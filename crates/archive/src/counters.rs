//! Counters that show what the archive does, beside those of recordings and sessions.
//!
//! Types, keys and labels of genuine Aeron (archive specification 8.3), which the tools that watch
//! an archive look for. Conductor, recorder and replayer are one agent here, as genuine Aeron's
//! are in its mode `SHARED`.

use std::collections::VecDeque;

use client::{Counter, CounterTypeId, Handle, Pending};
use runtime::config::Setting as _;
use runtime::duty_cycle::StallTracker;
use wire::time::{Nanos, Now};

/// Type ids of an archive's counters.
pub(crate) mod type_id {
    use super::CounterTypeId;

    pub(crate) const RECORDING_POSITION: CounterTypeId = CounterTypeId(100);
    pub(crate) const ERRORS: CounterTypeId = CounterTypeId(101);
    pub(crate) const CONTROL_SESSIONS: CounterTypeId = CounterTypeId(102);
    pub(crate) const CYCLE_TIME_MAX: CounterTypeId = CounterTypeId(103);
    pub(crate) const CYCLES_EXCEEDED: CounterTypeId = CounterTypeId(104);
    pub(crate) const WRITE_TIME_MAX: CounterTypeId = CounterTypeId(105);
    pub(crate) const WRITTEN_BYTES: CounterTypeId = CounterTypeId(106);
    pub(crate) const WRITE_TIME: CounterTypeId = CounterTypeId(107);
    pub(crate) const READ_TIME_MAX: CounterTypeId = CounterTypeId(108);
    pub(crate) const READ_BYTES: CounterTypeId = CounterTypeId(109);
    pub(crate) const READ_TIME: CounterTypeId = CounterTypeId(110);
    pub(crate) const RECORDING_SESSIONS: CounterTypeId = CounterTypeId(111);
    pub(crate) const REPLAY_SESSIONS: CounterTypeId = CounterTypeId(112);
    pub(crate) const CONTROL_SESSION: CounterTypeId = CounterTypeId(113);
}

/// How the agents of an archive share threads, in the words of genuine Aeron.
const MODE: &str = "SHARED";

/// How much was read or written, and how long that took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct IoTotals {
    longest: Nanos,
    bytes: u64,
    time: Nanos,
}

impl IoTotals {
    /// One read or write of so many bytes between two times of the same clock.
    pub(crate) fn add(&mut self, bytes: usize, begin: Nanos, end: Nanos) {
        let span = end - begin;
        self.longest = self.longest.max(span);
        self.bytes += bytes as u64;
        self.time = self.time + span;
    }

    pub(crate) fn absorb(&mut self, other: Self) {
        self.longest = self.longest.max(other.longest);
        self.bytes += other.bytes;
        self.time = self.time + other.time;
    }
}

/// The counters of one direction.
struct IoCounters {
    longest: Counter,
    bytes: Counter,
    time: Counter,
}

impl IoCounters {
    fn show(&mut self, totals: &IoTotals) {
        set(&mut self.longest, totals.longest.0);
        set(&mut self.bytes, i64::try_from(totals.bytes).unwrap_or(i64::MAX));
        set(&mut self.time, totals.time.0);
    }
}

/// What is shown after each pass.
pub(crate) struct Shown {
    pub(crate) sessions: usize,
    pub(crate) recordings: usize,
    pub(crate) replays: usize,
    pub(crate) written: IoTotals,
    pub(crate) read: IoTotals,
}

/// The counters, asked for.
pub(crate) struct PendingGauges {
    pending: VecDeque<Pending<Counter>>,
    threshold: Nanos,
    have: Vec<Counter>,
}

impl PendingGauges {
    /// Asks the driver for all of them.
    pub(crate) fn ask(client: &Handle, archive_id: i64, threshold: Nanos) -> Self {
        let shown = threshold.show();
        let cycles = "archive-conductor work cycle time exceeded count: threshold=";
        let labels = [
            (type_id::ERRORS, "Archive Errors".to_string()),
            (type_id::CONTROL_SESSIONS, "Archive Control Sessions".to_string()),
            (type_id::RECORDING_SESSIONS, "Archive Recording Sessions".to_string()),
            (type_id::REPLAY_SESSIONS, "Archive Replay Sessions".to_string()),
            (type_id::CYCLE_TIME_MAX, format!("archive-conductor max cycle time in ns: {MODE}")),
            (type_id::CYCLES_EXCEEDED, format!("{cycles}{shown} {MODE}")),
            (type_id::WRITE_TIME_MAX, "archive-recorder max write time in ns".to_string()),
            (type_id::WRITTEN_BYTES, "archive-recorder total write bytes".to_string()),
            (type_id::WRITE_TIME, "archive-recorder total write time in ns".to_string()),
            (type_id::READ_TIME_MAX, "archive-replayer max read time in ns".to_string()),
            (type_id::READ_BYTES, "archive-replayer total read bytes".to_string()),
            (type_id::READ_TIME, "archive-replayer total read time in ns".to_string()),
        ];
        let key = archive_id.to_le_bytes();
        let version = |type_id| match type_id {
            type_id::ERRORS => concat!(" version=", env!("CARGO_PKG_VERSION"), " commit=coracle"),
            _ => "",
        };
        let pending = labels.into_iter().map(|(type_id, label)| {
            let label = format!("{label} - archiveId={archive_id}{}", version(type_id));
            client.add_counter(type_id, &key, &label)
        });
        Self { pending: pending.collect(), threshold, have: Vec::new() }
    }

    /// Takes what the driver has made, in the order in which it was asked for; returns how much.
    ///
    /// # Errors
    /// The driver refuses one.
    pub(crate) fn poll(&mut self) -> Result<usize, client::AddError> {
        let before = self.have.len();
        while let Some(pending) = self.pending.front_mut()
            && let Some(counter) = pending.poll()?
        {
            drop(self.pending.pop_front());
            self.have.push(counter);
        }
        Ok(self.have.len() - before)
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.pending.is_empty()
    }

    /// The counters; none unless all are there.
    pub(crate) fn into_gauges(self) -> Option<Gauges> {
        let mut counters = self.have.into_iter();
        let io = |counters: &mut std::vec::IntoIter<Counter>| {
            let (longest, bytes, time) = (counters.next()?, counters.next()?, counters.next()?);
            Some(IoCounters { longest, bytes, time })
        };
        Some(Gauges {
            errors: counters.next()?,
            sessions: counters.next()?,
            recordings: counters.next()?,
            replays: counters.next()?,
            cycle_time_max: counters.next()?,
            cycles_exceeded: counters.next()?,
            written: io(&mut counters)?,
            read: io(&mut counters)?,
            stalls: StallTracker::new(self.threshold),
        })
    }
}

/// The counters.
pub(crate) struct Gauges {
    errors: Counter,
    sessions: Counter,
    recordings: Counter,
    replays: Counter,
    cycle_time_max: Counter,
    cycles_exceeded: Counter,
    written: IoCounters,
    read: IoCounters,
    stalls: StallTracker,
}

impl Gauges {
    pub(crate) fn on_error(&mut self) {
        self.errors.add(1);
    }

    /// A pass begins, after one that did nothing or not.
    pub(crate) fn on_pass(&mut self, was_idle: bool, now: Now) {
        if was_idle {
            self.stalls.resume();
        }
        let stall = self.stalls.on_pass(now);
        if let Some(cycle) = stall.new_longest {
            self.cycle_time_max.set(cycle.0);
        }
        if stall.exceeded {
            self.cycles_exceeded.add(1);
        }
    }

    pub(crate) fn show(&mut self, shown: &Shown) {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        set(&mut self.sessions, count(shown.sessions));
        set(&mut self.recordings, count(shown.recordings));
        set(&mut self.replays, count(shown.replays));
        self.written.show(&shown.written);
        self.read.show(&shown.read);
    }
}

fn set(counter: &mut Counter, value: i64) {
    if counter.get() != value {
        counter.set(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_keep_the_longest_and_the_sums() {
        let mut totals = IoTotals::default();
        totals.add(100, Nanos(10), Nanos(40));
        totals.add(50, Nanos(50), Nanos(55));
        assert_eq!(totals, IoTotals { longest: Nanos(30), bytes: 150, time: Nanos(35) });
        let mut all = totals;
        all.absorb(totals);
        assert_eq!(all, IoTotals { longest: Nanos(30), bytes: 300, time: Nanos(70) });
    }
}
