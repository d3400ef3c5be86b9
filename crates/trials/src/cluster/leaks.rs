//! What a driver holds that it must let go of.

use std::collections::BTreeMap;
use std::path::Path;

use runtime::Ports;
use wire::counters::SystemCounter;

use super::node::DRIVER_DIRECTORY;
use crate::counters;

/// What a role may need besides: a follower that caught up has another source of the log.
const SPARE: usize = 2;

/// What a driver holds at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Base {
    counters: Vec<String>,
    logs: Vec<String>,
    /// The labels of counters, by type.
    types: BTreeMap<i32, Vec<String>>,
    /// Datagrams that it found to be invalid.
    pub(super) invalid: u64,
}

impl Base {
    /// What the driver of a host holds, looked at from outside.
    pub(super) fn of(ports: &Ports) -> Self {
        let mut base = Self::default();
        if let Ok(counters) = counters::open(ports, DRIVER_DIRECTORY) {
            base.counters = counters.records().map(|record| record.label).collect();
            for record in counters.records() {
                base.types.entry(record.type_id.0).or_default().push(record.label);
            }
            let invalid = SystemCounter::InvalidPackets as i32;
            let record = counters.records().find(|record| record.id.0 == invalid);
            base.invalid = record.map_or(0, |record| record.value.max(0).cast_unsigned());
        }
        for directory in ["publications", "images"] {
            let path = Path::new(DRIVER_DIRECTORY).join(directory);
            let entries = ports.files.list(&path).unwrap_or_default();
            base.logs.extend(entries.into_iter().map(|it| format!("{directory}/{}", it.name)));
        }
        base
    }

    /// What either holds more of.
    pub(super) fn widen(&mut self, other: &Self) {
        for (&kind, labels) in &other.types {
            let most = self.types.entry(kind).or_default();
            if labels.len() > most.len() {
                most.clone_from(labels);
            }
        }
        if other.logs.len() > self.logs.len() {
            self.logs.clone_from(&other.logs);
        }
    }

    /// What a member's driver holds more of than those of members did that had just begun to serve,
    /// the roles of all taken together.
    pub(super) fn outgrown_by(&self, later: &Self) -> Option<String> {
        for (kind, labels) in &later.types {
            let first = self.types.get(kind).map_or(&[][..], Vec::as_slice);
            if labels.len() > first.len() + SPARE {
                return Some(format!("counters of type {kind}: {labels:?}, at first {first:?}"));
            }
        }
        let (then, now) = (self.logs.len(), later.logs.len());
        (now > then + SPARE).then(|| format!("{now} logs, at first {then}: {:?}", later.logs))
    }

    /// What is held later that was not held at first.
    pub(super) fn exceeded_by(&self, later: &Self) -> Option<String> {
        if later.counters.len() > self.counters.len() {
            let more = later.counters.iter().filter(|it| !self.counters.contains(it));
            return Some(format!("counters {:?}", more.collect::<Vec<_>>()));
        }
        (later.logs.len() > self.logs.len()).then(|| format!("logs {:?}", later.logs))
    }
}
