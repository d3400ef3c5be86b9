//! Looks at what a driver has in its directory, from outside.

use std::path::Path;

use memory::counters::CountersReader;
use runtime::Ports;
use wire::counters::{CounterId, SystemCounter};

use crate::counters;

/// Where every driver lives on its host.
pub(super) const DIRECTORY: &str = "/dev/shm/driver";

/// The directory of one driver.
pub(super) struct Witness {
    ports: Ports,
    counters: CountersReader,
    /// The counters that were there when the driver began.
    base: Vec<CounterId>,
}

impl Witness {
    /// Takes up the directory of a driver that was just launched.
    pub(super) fn new(ports: Ports) -> Result<Self, String> {
        let counters = counters::open(&ports, DIRECTORY)?;
        let base = counters.ids().collect();
        Ok(Self { ports, counters, base })
    }

    pub(super) fn system(&self, counter: SystemCounter) -> u64 {
        let value = self.counters.reader(CounterId(counter.id())).map(|reader| reader.get());
        value.map_or(0, |value| u64::try_from(value).unwrap_or_default())
    }

    /// What is there beyond the beginning: counters by label, files, mapped bytes.
    pub(super) fn left_over(&self) -> Vec<String> {
        let mut left = Vec::new();
        for id in self.counters.ids().filter(|id| !self.base.contains(id)) {
            let label = self.counters.record(id).map(|record| record.label).unwrap_or_default();
            left.push(format!("counter {} {label:?}", id.0));
        }
        for directory in ["publications", "images"] {
            let path = Path::new(DIRECTORY).join(directory);
            match self.ports.files.list(&path) {
                Ok(entries) => {
                    left.extend(entries.iter().map(|entry| format!("{directory}/{}", entry.name)));
                }
                Err(error) => left.push(format!("{directory}: {error}")),
            }
        }
        let mapped = self.system(SystemCounter::BytesCurrentlyMapped);
        if mapped > 0 {
            left.push(format!("{mapped} bytes mapped"));
        }
        left
    }
}
