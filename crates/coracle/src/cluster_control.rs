//! [`ClusterControl`]: what a member's counters say, and the one by which an operator speaks to it.

use std::path::{Path, PathBuf};

use cluster::counters::Gauge;
use consensus::Toggle;
use memory::counters::CounterRecord;
use runtime::Now;
use wire::cluster::Role;

use crate::directory::{DirectoryError, DriverDirectory};

/// A driver that has been silent for longer is dead, in milliseconds.
const LIVENESS_MS: i64 = 10_000;

/// Why a member does not hear an operator.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// See [`DirectoryError`].
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The driver of the member has ended.
    #[error("{}: the driver is not running", .0.display())]
    Dead(PathBuf),
    /// No consensus module of this cluster runs on the driver.
    #[error("cluster {0} has no member that runs on this driver")]
    NoMember(i32),
    /// Only the leader of a cluster is told what to do.
    #[error("this member does not lead: its role is {0}; ask the one that does")]
    NotLeader(String),
    /// It does something else.
    #[error("the leader is busy: its toggle is {0}")]
    Busy(String),
}

/// A member of a cluster, ours or genuine Aeron's, seen from its driver's directory.
pub struct ClusterControl {
    path: PathBuf,
    directory: DriverDirectory,
    cluster_id: i32,
}

impl ClusterControl {
    /// Looks into the directory of the member's driver.
    ///
    /// # Errors
    /// See [`DirectoryError`].
    pub fn open(path: &Path, cluster_id: i32) -> Result<Self, ControlError> {
        let directory = DriverDirectory::open(path)?;
        Ok(Self { path: path.to_path_buf(), directory, cluster_id })
    }

    /// Whether the driver lives.
    #[must_use]
    pub fn is_alive(&self, now: Now) -> bool {
        self.directory.heartbeat_age_ms(now).is_some_and(|age| age < LIVENESS_MS)
    }

    /// What a counter of the module shows; `None` while there is no module.
    #[must_use]
    pub fn value(&self, gauge: Gauge) -> Option<i64> {
        self.record(gauge).map(|record| record.value)
    }

    /// What the member is, if it says.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        self.value(Gauge::NodeRole).and_then(|value| i32::try_from(value).ok()).map(Role::from_code)
    }

    fn record(&self, gauge: Gauge) -> Option<CounterRecord> {
        let key = self.cluster_id.to_le_bytes();
        let found = self.directory.counters().records().filter(|record| {
            record.type_id == gauge.type_id()
                && record.key.starts_with(&key)
                && record.state == wire::counters::state::ALLOCATED
        });
        // That of a module which was killed stays until its client has timed out.
        found.max_by_key(|record| record.registration_id)
    }

    /// Tells the leader to do something, if it has nothing else to do.
    ///
    /// [`Toggle::Resume`] is heard by a suspended cluster, everything else by one in service. The
    /// answer is the toggle's way back: see [`ClusterControl::value`].
    ///
    /// # Errors
    /// See [`ControlError`].
    pub fn ask(&self, request: Toggle, now: Now) -> Result<(), ControlError> {
        if !self.is_alive(now) {
            return Err(ControlError::Dead(self.path.clone()));
        }
        let gone = || ControlError::NoMember(self.cluster_id);
        let record = self.record(Gauge::ControlToggle).ok_or_else(gone)?;
        let counters = self.directory.counters();
        let mut toggle = counters.writer(record.id, record.registration_id).map_err(|_| gone())?;
        let expected = if matches!(request, Toggle::Resume) {
            Toggle::Suspend as i64
        } else {
            Toggle::Neutral as i64
        };
        if toggle.replace(expected, request as i64) {
            return Ok(());
        }
        match self.value(Gauge::ControlToggle).ok_or_else(gone)? {
            0 => Err(ControlError::NotLeader(self.role().map_or_else(String::new, role_name))),
            value => Err(ControlError::Busy(toggle_name(value))),
        }
    }
}

/// A role in words.
#[must_use]
pub fn role_name(role: Role) -> String {
    format!("{role:?}").to_lowercase()
}

/// A value of the control toggle in words.
#[must_use]
pub fn toggle_name(value: i64) -> String {
    let names = [
        (Toggle::Inactive, "inactive"),
        (Toggle::Neutral, "neutral"),
        (Toggle::Suspend, "suspend"),
        (Toggle::Resume, "resume"),
        (Toggle::Snapshot, "snapshot"),
        (Toggle::Shutdown, "shutdown"),
        (Toggle::Abort, "abort"),
        (Toggle::StandbySnapshot, "standby snapshot"),
    ];
    let found = names.into_iter().find(|(toggle, _)| *toggle as i64 == value);
    found.map_or_else(|| value.to_string(), |(_, name)| name.to_string())
}

/// A state of the module in words.
#[must_use]
pub fn state_name(value: i64) -> String {
    let names = ["init", "active", "suspended", "snapshot", "quitting", "terminating", "closed"];
    name_at(&names, value)
}

/// A state of an election in words; a member in service has none.
#[must_use]
pub fn election_name(value: i64) -> String {
    let names = [
        "init",
        "canvass",
        "nominate",
        "candidate ballot",
        "follower ballot",
        "leader log replication",
        "leader replay",
        "leader init",
        "leader ready",
        "follower log replication",
        "follower replay",
        "follower catch-up init",
        "follower catch-up await",
        "follower catch-up",
        "follower log init",
        "follower log await",
        "follower ready",
        "none",
    ];
    name_at(&names, value)
}

fn name_at(names: &[&str], value: i64) -> String {
    let name = usize::try_from(value).ok().and_then(|index| names.get(index));
    name.map_or_else(|| value.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use consensus::{ElectionState, ModuleState};

    use super::*;

    #[test]
    fn codes_have_the_names_of_their_states() {
        assert_eq!(state_name(ModuleState::Closed as i64), "closed");
        assert_eq!(election_name(ElectionState::Closed as i64), "none");
        assert_eq!(election_name(ElectionState::FollowerCatchup as i64), "follower catch-up");
        assert_eq!(toggle_name(Toggle::Abort as i64), "abort");
        assert_eq!(
            (state_name(7), election_name(-1), toggle_name(8)),
            ("7".into(), "-1".into(), "8".into())
        );
        assert_eq!(role_name(Role::Leader), "leader");
    }
}
