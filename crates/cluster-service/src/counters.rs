//! Counters of the container, and those of the module that it follows.
//!
//! Type ids, keys and labels: cluster specification 10. The key of a container's counter is its
//! cluster id and service id, both `i32`.

use client::{AddError, Counter, CounterReader, CounterTypeId, Handle, Pending};
use runtime::config::Setting;
use runtime::{Nanos, Now};
use wire::bytes::{Field, Reader};

use crate::config::Config;

const COMMIT_POSITION: CounterTypeId = CounterTypeId(203);
const RECOVERY_STATE: CounterTypeId = CounterTypeId(204);
const ERRORS: CounterTypeId = CounterTypeId(215);
const CYCLE_MAX: CounterTypeId = CounterTypeId(218);
const CYCLES_EXCEEDED: CounterTypeId = CounterTypeId(219);
const SNAPSHOT_MAX: CounterTypeId = CounterTypeId(236);
const SNAPSHOTS_EXCEEDED: CounterTypeId = CounterTypeId(237);

/// The module's commit position: how far the log may be read.
pub(crate) struct CommitPosition {
    reader: CounterReader,
    registration_id: i64,
}

impl CommitPosition {
    /// That of the client which said from where to start: a module that died may have left one.
    pub(crate) fn find(handle: &Handle, cluster_id: i32, owner_id: i64) -> Option<Self> {
        let counters = handle.counters();
        let found = counters.records().find(|record| {
            record.type_id == COMMIT_POSITION
                && record.owner_id == owner_id
                && at::<i32>(&record.key, 0) == Some(cluster_id)
        })?;
        let reader = counters.reader(found.id).ok()?;
        Some(Self { reader, registration_id: found.registration_id })
    }

    pub(crate) fn get(&self) -> i64 {
        self.reader.get()
    }

    /// Whether the module still has it.
    pub(crate) fn is_alive(&self, handle: &Handle) -> bool {
        let counters = handle.counters();
        counters.type_id(self.reader.id()) == Some(COMMIT_POSITION)
            && counters.is_registered(self.reader.id(), self.registration_id)
    }
}

/// From where a service starts, as the module says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecoveryState {
    pub(crate) leadership_term_id: i64,
    pub(crate) log_position: i64,
    pub(crate) timestamp: i64,
    /// The recording of the service's snapshot.
    pub(crate) snapshot: Option<i64>,
}

impl RecoveryState {
    /// The newest one, with its owner.
    pub(crate) fn find(handle: &Handle, cluster_id: i32, service_id: i32) -> Option<(Self, i64)> {
        let records = handle.counters().records();
        let states = records.filter(|record| record.type_id == RECOVERY_STATE);
        let found = states.filter_map(|record| {
            let state = Self::decode(&record.key, cluster_id, service_id)?;
            Some((record.registration_id, state, record.owner_id))
        });
        found.max_by_key(|(id, ..)| *id).map(|(_, state, owner_id)| (state, owner_id))
    }

    /// Reads the key of a recovery counter; `None` if it is another cluster's or does not know the
    /// service.
    fn decode(key: &[u8], cluster_id: i32, service_id: i32) -> Option<Self> {
        if at::<i32>(key, 24)? != cluster_id {
            return None;
        }
        let leadership_term_id = at::<i64>(key, 0)?;
        let snapshot = if leadership_term_id == -1 {
            None
        } else {
            if !(0..at::<i32>(key, 28)?).contains(&service_id) {
                return None;
            }
            Some(at::<i64>(key, 32 + 8 * usize::try_from(service_id).ok()?)?)
        };
        let (log_position, timestamp) = (at::<i64>(key, 8)?, at::<i64>(key, 16)?);
        Some(Self { leadership_term_id, log_position, timestamp, snapshot })
    }
}

/// The container's own counters.
pub(crate) struct ContainerCounters {
    pub(crate) errors: Counter,
    cycle_max: Counter,
    cycles_exceeded: Counter,
    snapshot_max: Counter,
    snapshots_exceeded: Counter,
}

impl ContainerCounters {
    pub(crate) fn on_cycle(&mut self, new_longest: Option<Nanos>, exceeded: bool) {
        if let Some(longest) = new_longest {
            self.cycle_max.set(longest.0);
        }
        if exceeded {
            self.cycles_exceeded.add(1);
        }
    }

    pub(crate) fn on_snapshot(&mut self, took: Nanos, threshold: Nanos) {
        if took.0 > self.snapshot_max.get() {
            self.snapshot_max.set(took.0);
        }
        if took > threshold {
            self.snapshots_exceeded.add(1);
        }
    }
}

/// The container's own counters, on their way.
pub(crate) struct PendingCounters {
    pending: Vec<Pending<Counter>>,
    ready: Vec<Counter>,
}

impl PendingCounters {
    pub(crate) fn new(handle: &Handle, config: &Config) -> Self {
        let key = key(config);
        let add = |type_id, name: &str, suffix: &str| {
            let (cluster, service) = (config.cluster_id, config.service_id);
            let label = format!("{name} - clusterId={cluster} serviceId={service}{suffix}");
            handle.add_counter(type_id, &key, &label)
        };
        let version = format!(" version={} commit=coracle", env!("CARGO_PKG_VERSION"));
        let cycles = config.cycle_threshold.show();
        let snapshots = config.snapshot_threshold.show();
        let pending = vec![
            add(ERRORS, "Cluster Container Errors", &version),
            add(CYCLE_MAX, "Cluster container max cycle time in ns", ""),
            add(
                CYCLES_EXCEEDED,
                &format!("Cluster container work cycle time exceeded count: threshold={cycles}"),
                "",
            ),
            add(SNAPSHOT_MAX, "Clustered service max snapshot duration in ns", ""),
            add(
                SNAPSHOTS_EXCEEDED,
                &format!(
                    "Clustered service max snapshot duration exceeded count: threshold={snapshots}"
                ),
                "",
            ),
        ];
        Self { pending, ready: Vec::new() }
    }

    /// The counters, once all are there.
    pub(crate) fn poll(&mut self) -> Result<Option<ContainerCounters>, AddError> {
        while let Some(next) = self.pending.first_mut() {
            let Some(counter) = next.poll()? else { return Ok(None) };
            self.ready.push(counter);
            drop(self.pending.remove(0));
        }
        let Ok(ready) = <[Counter; 5]>::try_from(std::mem::take(&mut self.ready)) else {
            return Ok(None);
        };
        let [errors, cycle_max, cycles_exceeded, snapshot_max, snapshots_exceeded] = ready;
        let counters = ContainerCounters {
            errors,
            cycle_max,
            cycles_exceeded,
            snapshot_max,
            snapshots_exceeded,
        };
        Ok(Some(counters))
    }
}

/// The counters behind a service's gauges, in the order in which they were made.
#[derive(Default)]
pub(crate) struct GaugeCounters {
    counters: Vec<GaugeCounter>,
}

enum GaugeCounter {
    Pending(Pending<Counter>),
    Ready(Counter),
    /// The driver refused: the service goes on without it.
    Refused,
}

impl GaugeCounters {
    /// Shows values in the order of the gauges; returns why a counter could not be had.
    pub(crate) fn show<'g>(
        &mut self,
        handle: &Handle,
        config: &Config,
        gauges: impl ExactSizeIterator<Item = (i32, &'g str, i64)>,
    ) -> Option<AddError> {
        let mut refused = None;
        for (index, (type_id, label, value)) in gauges.enumerate() {
            if index == self.counters.len() {
                let pending = handle.add_counter(CounterTypeId(type_id), &key(config), label);
                self.counters.push(GaugeCounter::Pending(pending));
            }
            let gauge = &mut self.counters[index];
            if let GaugeCounter::Pending(pending) = gauge {
                match pending.poll() {
                    Ok(None) => {}
                    Ok(Some(counter)) => *gauge = GaugeCounter::Ready(counter),
                    Err(error) => {
                        *gauge = GaugeCounter::Refused;
                        refused = Some(error);
                    }
                }
            }
            if let GaugeCounter::Ready(counter) = gauge
                && counter.get() != value
            {
                counter.set(value);
            }
        }
        refused
    }
}

/// The number at an offset of a key.
fn at<F: Field>(key: &[u8], offset: usize) -> Option<F> {
    Reader::new(key.get(offset..)?).read().ok()
}

fn key(config: &Config) -> [u8; 8] {
    let mut key = [0; 8];
    key[..4].copy_from_slice(&config.cluster_id.to_le_bytes());
    key[4..].copy_from_slice(&config.service_id.to_le_bytes());
    key
}

/// How far an archive has recorded a session.
pub(crate) struct RecordingPosition {
    /// Which recording that is.
    pub(crate) recording_id: i64,
    reader: CounterReader,
    registration_id: i64,
}

impl RecordingPosition {
    /// The counter of a session, once recording has begun.
    ///
    /// Key (archive specification): recording id `i64` at 0, session id `i32` at 8.
    pub(crate) fn find(handle: &Handle, session_id: i32) -> Option<Self> {
        const RECORDING_POSITION: CounterTypeId = CounterTypeId(100);
        let counters = handle.counters();
        let found = counters.records().find(|record| {
            record.type_id == RECORDING_POSITION && at::<i32>(&record.key, 8) == Some(session_id)
        })?;
        let reader = counters.reader(found.id).ok()?;
        let (recording_id, registration_id) = (at::<i64>(&found.key, 0)?, found.registration_id);
        Some(Self { recording_id, reader, registration_id })
    }

    /// `None` once the archive has freed it: the recording has ended.
    pub(crate) fn get(&self, handle: &Handle) -> Option<i64> {
        let value = self.reader.get();
        let is_there = handle.counters().is_registered(self.reader.id(), self.registration_id);
        is_there.then_some(value)
    }
}

/// When something that is waited for in counters is looked for again.
pub(crate) fn next_look(now: Now) -> Nanos {
    now.mono + Nanos::from_millis(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recovery_key(term: i64, services: &[i64]) -> Vec<u8> {
        let mut key = Vec::new();
        for value in [term, 4_096, 77] {
            key.extend(value.to_le_bytes());
        }
        key.extend(3_i32.to_le_bytes());
        key.extend(i32::try_from(services.len()).unwrap().to_le_bytes());
        services.iter().for_each(|id| key.extend(id.to_le_bytes()));
        key.resize(112, 0);
        key
    }

    #[test]
    fn a_recovery_counter_names_the_snapshot_of_each_service() {
        let key = recovery_key(2, &[10, 11]);
        let state = RecoveryState::decode(&key, 3, 1).unwrap();
        let expected = RecoveryState {
            leadership_term_id: 2,
            log_position: 4_096,
            timestamp: 77,
            snapshot: Some(11),
        };
        assert_eq!(state, expected);
        assert_eq!(RecoveryState::decode(&key, 4, 1), None);
        assert_eq!(RecoveryState::decode(&key, 3, 2), None);
        assert_eq!(RecoveryState::decode(&key[..40], 3, 1), None);
    }

    #[test]
    fn without_a_term_there_is_no_snapshot() {
        let state = RecoveryState::decode(&recovery_key(-1, &[]), 3, 0).unwrap();
        assert_eq!(state.snapshot, None);
    }
}
