//! Makes changes of the catalog durable, off the duty cycle, several at once.
//!
//! Each sync has a number. Whatever rests on a change waits for the number that
//! [`CatalogSync::barrier`] gave; the first number, 0, has always completed.

use std::io;

use runtime::background::{Background, Job, Outcome, Ticket};
use runtime::files::SyncKind;
use runtime::guarded::Due;

use crate::catalog::Catalog;

/// Which sync is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Of the log of a guarded catalog.
    Logging,
    /// Of the file itself.
    Applying,
}

/// Follows the syncs of the catalog.
pub(crate) struct CatalogSync {
    kind: Option<SyncKind>,
    background: Box<dyn Background>,
    in_flight: Option<(Ticket, Stage)>,
    submitted: u64,
    completed: u64,
    is_wanted: bool,
}

impl CatalogSync {
    pub(crate) fn new(kind: Option<SyncKind>, background: Box<dyn Background>) -> Self {
        let (in_flight, is_wanted) = (None, false);
        Self { kind, background, in_flight, submitted: 0, completed: 0, is_wanted }
    }

    /// The number of the sync that covers everything changed so far.
    pub(crate) fn barrier(&mut self, catalog: &mut Catalog) -> u64 {
        let is_changed = catalog.take_unsynced();
        if self.kind.is_none() {
            return 0;
        }
        self.is_wanted |= is_changed;
        self.submitted + u64::from(self.is_wanted)
    }

    /// Whether changes are made durable at all.
    pub(crate) const fn is_synced(&self) -> bool {
        self.kind.is_some()
    }

    /// Syncs up to this number have completed.
    pub(crate) const fn completed(&self) -> u64 {
        self.completed
    }

    /// Begins and ends syncs; returns how much was done.
    ///
    /// # Errors
    /// A sync failed: nothing of the catalog can be trusted to be durable, and trying again proves
    /// nothing. The archive has to end.
    pub(crate) fn do_work(&mut self, catalog: &mut Catalog) -> io::Result<usize> {
        let mut done = 0;
        let mut outcomes = Vec::new();
        self.background.poll(&mut |ticket, outcome| outcomes.push((ticket, outcome)));
        for (ticket, outcome) in outcomes {
            if let Outcome::Failed(error) = outcome {
                return Err(error);
            }
            let Some((_, stage)) = self.in_flight.take_if(|(awaited, _)| *awaited == ticket) else {
                continue;
            };
            done += 1;
            match stage {
                Stage::Logging => {
                    catalog.apply()?;
                    self.sync_file(catalog);
                }
                Stage::Applying => {
                    catalog.on_durable()?;
                    self.completed = self.submitted;
                }
            }
        }
        self.barrier(catalog);
        if self.kind.is_some() && self.is_wanted && self.in_flight.is_none() {
            match catalog.log()? {
                Some(Due { files, directories }) => {
                    let job = Job::Sync { files, sync: SyncKind::All, directories };
                    self.in_flight = Some((self.background.submit(job), Stage::Logging));
                }
                None => self.sync_file(catalog),
            }
            self.submitted += 1;
            self.is_wanted = false;
            done += 1;
        }
        Ok(done)
    }

    fn sync_file(&mut self, catalog: &Catalog) {
        let (files, sync) = (vec![catalog.file().clone()], self.kind.unwrap_or(SyncKind::All));
        let job = Job::Sync { files, sync, directories: Vec::new() };
        self.in_flight = Some((self.background.submit(job), Stage::Applying));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Recording;
    use crate::testing::{DIRECTORY, Disk};
    use std::path::Path;

    fn change(catalog: &mut Catalog) {
        catalog.add(Recording::default()).unwrap();
    }

    #[test]
    fn a_change_during_a_sync_waits_for_the_next_one() {
        let disk = Disk::new();
        let mut catalog = Catalog::open(&disk.files(), Path::new(DIRECTORY), 4_096, None).unwrap();
        let mut sync = CatalogSync::new(Some(SyncKind::Data), disk.background());
        assert_eq!(sync.barrier(&mut catalog), 0);
        change(&mut catalog);
        assert_eq!(sync.barrier(&mut catalog), 1);
        sync.do_work(&mut catalog).unwrap();
        change(&mut catalog);
        assert_eq!((sync.barrier(&mut catalog), sync.completed()), (2, 0));
        disk.run();
        sync.do_work(&mut catalog).unwrap();
        assert_eq!(sync.completed(), 1);
        disk.run();
        sync.do_work(&mut catalog).unwrap();
        assert_eq!(sync.completed(), 2);
    }

    #[test]
    fn without_syncs_nothing_waits() {
        let disk = Disk::new();
        let mut catalog = Catalog::open(&disk.files(), Path::new(DIRECTORY), 4_096, None).unwrap();
        let mut sync = CatalogSync::new(None, disk.background());
        change(&mut catalog);
        assert_eq!(sync.barrier(&mut catalog), 0);
        assert_eq!(sync.do_work(&mut catalog).unwrap(), 0);
    }

    #[test]
    fn a_failed_sync_is_told() {
        let disk = Disk::new();
        let mut catalog = Catalog::open(&disk.files(), Path::new(DIRECTORY), 4_096, None).unwrap();
        let mut sync = CatalogSync::new(Some(SyncKind::All), disk.background());
        change(&mut catalog);
        disk.fail_syncs(1);
        sync.do_work(&mut catalog).unwrap();
        disk.run();
        assert!(sync.do_work(&mut catalog).is_err());
    }
}
