//! The module's counters: their types, keys and labels (source: cluster page 10).

use client::{AddError, Counter, CounterTypeId, Handle, Pending};
use consensus::{Consensus, Control, SnapshotSet, Toggle};
use runtime::Nanos;

/// Type of the counter by which services and tools find the commit position.
pub const COMMIT_POSITION_TYPE: CounterTypeId = CounterTypeId(203);
/// Type of the counter in whose key services read what they start from.
pub const RECOVERY_TYPE: CounterTypeId = CounterTypeId(204);
/// Type of the counter of a client session.
pub const SESSION_TYPE: CounterTypeId = CounterTypeId(241);

/// A counter that lives as long as the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Names of the cluster specification 10.
pub enum Gauge {
    ModuleState,
    NodeRole,
    ControlToggle,
    CommitPosition,
    SnapshotCount,
    ElectionState,
    Errors,
    TimedOutClients,
    MaxCycleTime,
    CyclesExceeded,
    NodeControlToggle,
    MaxSnapshotDuration,
    SnapshotsExceeded,
    ElectionCount,
    LeadershipTermId,
}

impl Gauge {
    /// All, in the order in which they are made.
    pub const ALL: [Self; 15] = [
        Self::ModuleState,
        Self::NodeRole,
        Self::ControlToggle,
        Self::CommitPosition,
        Self::SnapshotCount,
        Self::ElectionState,
        Self::Errors,
        Self::TimedOutClients,
        Self::MaxCycleTime,
        Self::CyclesExceeded,
        Self::NodeControlToggle,
        Self::MaxSnapshotDuration,
        Self::SnapshotsExceeded,
        Self::ElectionCount,
        Self::LeadershipTermId,
    ];

    /// Its type.
    #[must_use]
    pub const fn type_id(self) -> CounterTypeId {
        CounterTypeId(match self {
            Self::ModuleState => 200,
            Self::NodeRole => 201,
            Self::ControlToggle => 202,
            Self::CommitPosition => COMMIT_POSITION_TYPE.0,
            Self::SnapshotCount => 205,
            Self::ElectionState => 207,
            Self::Errors => 212,
            Self::TimedOutClients => 213,
            Self::MaxCycleTime => 216,
            Self::CyclesExceeded => 217,
            Self::NodeControlToggle => 233,
            Self::MaxSnapshotDuration => 234,
            Self::SnapshotsExceeded => 235,
            Self::ElectionCount => 238,
            Self::LeadershipTermId => 239,
        })
    }

    /// Its label.
    #[must_use]
    pub fn label(self, labels: &Labels) -> String {
        let id = labels.cluster_id;
        let plain = |name: &str| format!("{name} - clusterId={id}");
        let limited = |name: &str, threshold: Nanos| {
            plain(&format!("{name}: threshold={}", human(threshold)))
        };
        match self {
            Self::ModuleState => plain("Consensus Module state"),
            Self::NodeRole => plain("Cluster node role"),
            Self::ControlToggle => plain("Cluster control toggle"),
            Self::CommitPosition => plain("Cluster commit-pos:"),
            Self::SnapshotCount => plain("Cluster snapshot count"),
            Self::ElectionState => plain("Cluster election state"),
            Self::Errors => format!("{} {}", plain("Cluster Errors"), labels.version),
            Self::TimedOutClients => plain("Cluster timed out client count"),
            Self::MaxCycleTime => plain("Cluster max cycle time in ns"),
            Self::CyclesExceeded => {
                limited("Cluster work cycle time exceeded count", labels.cycle_threshold)
            }
            Self::NodeControlToggle => plain("Node control toggle"),
            Self::MaxSnapshotDuration => plain("Total max snapshot duration in ns"),
            Self::SnapshotsExceeded => {
                let name = "Total max snapshot duration exceeded count";
                limited(name, labels.snapshot_threshold)
            }
            Self::ElectionCount => plain("Cluster election count"),
            Self::LeadershipTermId => plain("Cluster leadership term id"),
        }
    }

    /// What the core says of it; `None` for those that the agent counts.
    #[must_use]
    pub fn value(self, core: &Consensus) -> Option<i64> {
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        Some(match self {
            Self::ModuleState => core.module_state() as i64,
            Self::NodeRole => core.role() as i64,
            Self::ControlToggle => core.toggle() as i64,
            Self::CommitPosition => core.commit_position().0,
            Self::SnapshotCount => count(core.counters().snapshots),
            Self::ElectionState => core.election_state() as i64,
            Self::TimedOutClients => count(core.timed_out_sessions()),
            Self::ElectionCount => count(core.counters().elections),
            Self::LeadershipTermId => core.leadership_term_id().0,
            Self::Errors
            | Self::MaxCycleTime
            | Self::CyclesExceeded
            | Self::NodeControlToggle
            | Self::MaxSnapshotDuration
            | Self::SnapshotsExceeded => return None,
        })
    }
}

/// What labels say of the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// The cluster among those on one driver.
    pub cluster_id: i32,
    /// Cycles that take longer are counted.
    pub cycle_threshold: Nanos,
    /// Snapshots that take longer are counted.
    pub snapshot_threshold: Nanos,
    /// `version=... commit=...` of this software.
    pub version: String,
}

/// The module's counters while they are being made.
pub struct Joining {
    pending: Vec<Pending<Counter>>,
    made: Vec<Counter>,
}

/// The module's counters.
pub struct Gauges {
    counters: Vec<Counter>,
    /// What the core last said of each: only a change is stored, lest the word of an operator in
    /// a toggle is overwritten before it is read.
    shown: [Option<i64>; Gauge::ALL.len()],
}

impl Joining {
    /// Asks the driver for all of them.
    #[must_use]
    pub fn ask(handle: &Handle, labels: &Labels) -> Self {
        let key = labels.cluster_id.to_le_bytes();
        let ask = |gauge: &Gauge| handle.add_counter(gauge.type_id(), &key, &gauge.label(labels));
        // Answers are taken from the end.
        Self { pending: Gauge::ALL.iter().rev().map(ask).collect(), made: Vec::new() }
    }

    /// All of them, once they are there.
    ///
    /// # Errors
    /// The driver refuses one, or is gone.
    pub fn poll(&mut self) -> Result<Option<Gauges>, AddError> {
        while let Some(next) = self.pending.last_mut() {
            let Some(counter) = next.poll()? else { return Ok(None) };
            self.made.push(counter);
            self.pending.pop();
        }
        let shown = [None; Gauge::ALL.len()];
        Ok(Some(Gauges { counters: std::mem::take(&mut self.made), shown }))
    }
}

impl Gauges {
    /// Shows what the core says: once per cycle, after its queues were drained.
    pub fn show(&mut self, core: &Consensus) {
        let all = Gauge::ALL.into_iter().zip(&mut self.counters).zip(&mut self.shown);
        for ((gauge, counter), shown) in all {
            let value = gauge.value(core);
            if let Some(value) = value.filter(|_| value != *shown) {
                counter.set(value);
            }
            *shown = value;
        }
    }

    /// What an operator asks for in counter 202, read before [`Gauges::show`]. What the core does
    /// not take up is set back, as are words that mean nothing.
    pub fn take_request(&mut self) -> Option<Control> {
        let at = Gauge::ALL.iter().position(|&gauge| gauge == Gauge::ControlToggle)?;
        let counter = self.counters.get(at)?;
        let value = counter.get();
        if !is_request(self.shown[at], value) {
            return None;
        }
        // Stored again by the next show, whatever the core made of it.
        self.shown[at] = None;
        control(value)
    }

    /// One of those that the agent counts.
    pub fn get_mut(&mut self, gauge: Gauge) -> Option<&mut Counter> {
        self.counters.get_mut(Gauge::ALL.iter().position(|&it| it == gauge)?)
    }
}

/// Whether a toggle was written by an operator since it was shown: only in a neutral one, but that
/// a suspended cluster may be resumed.
fn is_request(shown: Option<i64>, value: i64) -> bool {
    let is_suspended = shown == Some(Toggle::Suspend as i64);
    let is_neutral = shown == Some(Toggle::Neutral as i64);
    shown != Some(value) && (is_neutral || (is_suspended && value == Toggle::Resume as i64))
}

/// What a value of counter 202 asks for.
#[must_use]
pub fn control(toggle: i64) -> Option<Control> {
    let meanings = [
        (Toggle::Suspend, Control::Suspend),
        (Toggle::Resume, Control::Resume),
        (Toggle::Snapshot, Control::Snapshot),
        (Toggle::Shutdown, Control::Shutdown),
        (Toggle::Abort, Control::Abort),
        (Toggle::StandbySnapshot, Control::StandbySnapshot),
    ];
    meanings.into_iter().find(|(word, _)| *word as i64 == toggle).map(|(_, control)| control)
}

/// The counter in whose key services find what they start from: key and label.
///
/// It is kept until every service has acknowledged its start.
#[must_use]
pub fn recovery(set: Option<&SnapshotSet>, cluster_id: i32) -> (Vec<u8>, String) {
    let (term, position, timestamp) =
        set.map_or((-1, 0, 0), |set| (set.term.0, set.position.0, set.timestamp));
    let services = set.map_or(&[][..], |set| &set.services[..]);
    let count = i32::try_from(services.len()).unwrap_or(0);
    let mut key = Vec::with_capacity(32 + 8 * services.len());
    for value in [term, position, timestamp] {
        key.extend(value.to_le_bytes());
    }
    key.extend(cluster_id.to_le_bytes());
    key.extend(count.to_le_bytes());
    for recording in services {
        key.extend(recording.0.to_le_bytes());
    }
    let label = format!(
        "Cluster recovery: leadershipTermId={term} logPosition={position} clusterId={cluster_id}"
    );
    (key, label)
}

/// A span as the driver writes it in labels: the largest unit that divides it.
fn human(span: Nanos) -> String {
    let units = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")];
    let unit = units.into_iter().find(|(nanos, _)| span.0 % nanos == 0 && span.0 != 0);
    unit.map_or_else(
        || format!("{}ns", span.0),
        |(nanos, name)| format!("{}{name}", span.0 / nanos),
    )
}

#[cfg(test)]
mod tests {
    use consensus::{LeadershipTermId, MemberId, RecordingId, Recovery};
    use runtime::Now;
    use wire::position::Position;

    use super::*;

    fn labels() -> Labels {
        Labels {
            cluster_id: 3,
            cycle_threshold: Nanos::from_millis(100),
            snapshot_threshold: Nanos::from_secs(1),
            version: "version=1.0.0 commit=abc".into(),
        }
    }

    #[test]
    fn counters_are_found_by_the_genuine_labels() {
        let label = |gauge: Gauge| gauge.label(&labels());
        assert_eq!(label(Gauge::CommitPosition), "Cluster commit-pos: - clusterId=3");
        let errors = "Cluster Errors - clusterId=3 version=1.0.0 commit=abc";
        assert_eq!(label(Gauge::Errors), errors);
        let exceeded = "Cluster work cycle time exceeded count: threshold=100ms - clusterId=3";
        assert_eq!(label(Gauge::CyclesExceeded), exceeded);
        let slow = "Total max snapshot duration exceeded count: threshold=1s - clusterId=3";
        assert_eq!(label(Gauge::SnapshotsExceeded), slow);
    }

    #[test]
    fn no_two_counters_have_one_type() {
        let mut types: Vec<i32> = Gauge::ALL.iter().map(|gauge| gauge.type_id().0).collect();
        types.dedup();
        assert_eq!(types.len(), Gauge::ALL.len());
        assert!(types.is_sorted());
    }

    #[test]
    fn an_operator_s_word_is_understood_and_a_state_is_no_word() {
        assert_eq!(control(4), Some(Control::Snapshot));
        assert_eq!(control(6), Some(Control::Abort));
        assert_eq!((control(0), control(1), control(99)), (None, None, None));
    }

    #[test]
    fn only_a_neutral_toggle_takes_a_word_and_a_suspended_one_the_word_to_resume() {
        let (neutral, suspended) = (Some(1), Some(2));
        assert!(is_request(neutral, 4));
        assert!(!is_request(neutral, 1));
        assert!(is_request(suspended, 3));
        assert!(!is_request(suspended, 4));
        assert!(!is_request(Some(0), 4), "a follower takes none");
        assert!(!is_request(None, 4), "nothing was shown yet");
    }

    #[test]
    fn a_core_that_has_just_started_shows_no_term_and_the_state_before_its_first_election() {
        let config = consensus::Config::new(MemberId(0), vec![MemberId(0)]);
        let core = Consensus::new(config, &Recovery::empty(), 1, Now::default());
        assert_eq!(Gauge::ModuleState.value(&core), Some(0));
        assert_eq!(Gauge::LeadershipTermId.value(&core), Some(-1));
        assert_eq!(Gauge::CommitPosition.value(&core), Some(0));
        assert_eq!(Gauge::ControlToggle.value(&core), Some(0));
        assert_eq!(Gauge::Errors.value(&core), None);
    }

    #[test]
    fn services_read_in_the_key_what_they_start_from() {
        let (key, label) = recovery(None, 3);
        assert_eq!(key[..8], (-1_i64).to_le_bytes());
        assert_eq!(key[24..32], [3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(key.len(), 32);
        assert_eq!(label, "Cluster recovery: leadershipTermId=-1 logPosition=0 clusterId=3");
        let set = SnapshotSet {
            term: LeadershipTermId(2),
            position: Position(640),
            timestamp: 9,
            module: RecordingId(6),
            services: (10..20).map(RecordingId).collect(),
        };
        let (key, _) = recovery(Some(&set), 3);
        assert_eq!(key.len(), 112, "the longest key that a counter may have");
        assert_eq!((key[0], key[8..10].to_vec(), key[28]), (2, vec![128, 2], 10));
        assert_eq!((key[32], key[104]), (10, 19));
    }
}
