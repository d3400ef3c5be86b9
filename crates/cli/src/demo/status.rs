//! What the counters of a node show of its member and its service.

use coracle::cluster::counters::{Gauge, RECOVERY_TYPE};
use coracle::consensus::{ElectionState, ModuleState, Role};
use coracle::directory::DriverDirectory;
use order_book::service::{GAUGE_TYPE, GAUGES};

/// A member at one moment. What has not been shown yet is as it is before anything happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    /// A [`Role`].
    pub(crate) role: i64,
    /// A [`ModuleState`].
    pub(crate) state: i64,
    /// An [`ElectionState`].
    pub(crate) election: i64,
    /// The leadership term.
    pub(crate) term: i64,
    /// Up to where the log is committed, as far as the member knows.
    pub(crate) commit_position: i64,
    /// How many snapshots it took.
    pub(crate) snapshots: i64,
    /// From where in the log it starts, while it does: the position of a snapshot, or 0.
    pub(crate) recovery: Option<i64>,
    /// What its order book shows, once it has started.
    pub(crate) book: Option<Book>,
}

/// The order book of a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Book {
    /// Hash of its state.
    pub(crate) hash: u64,
    /// Commands executed.
    pub(crate) executed: u64,
    /// Commands that were executed before.
    pub(crate) doubled: u64,
    /// Commands that changed nothing.
    pub(crate) rejected: u64,
    /// Trades made.
    pub(crate) trades: u64,
    /// Their volume.
    pub(crate) volume: i64,
    /// The position of the log that all of this is at.
    pub(crate) position: i64,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            role: Role::Follower as i64,
            state: ModuleState::Init as i64,
            election: ElectionState::Init as i64,
            term: -1,
            commit_position: 0,
            snapshots: 0,
            recovery: None,
            book: None,
        }
    }
}

impl Status {
    /// Reads them all from a driver's directory.
    pub(crate) fn read(directory: &DriverDirectory) -> Self {
        let counters = directory.counters();
        let mut status = Self::default();
        let mut book = [None; GAUGES.len()];
        for id in counters.ids() {
            let Some(type_id) = counters.type_id(id) else { continue };
            if type_id == RECOVERY_TYPE {
                let record = counters.record(id);
                let position = record.and_then(|record| record.key[8..16].try_into().ok());
                status.recovery = position.map(i64::from_le_bytes);
                continue;
            }
            let Ok(counter) = counters.reader(id) else { continue };
            let value = counter.get();
            let gauge = usize::try_from(type_id.0 - GAUGE_TYPE).ok();
            if let Some(shown) = gauge.and_then(|gauge| book.get_mut(gauge)) {
                *shown = Some(value);
                continue;
            }
            match Gauge::ALL.into_iter().find(|gauge| gauge.type_id() == type_id) {
                Some(Gauge::ModuleState) => status.state = value,
                Some(Gauge::NodeRole) => status.role = value,
                Some(Gauge::CommitPosition) => status.commit_position = value,
                Some(Gauge::SnapshotCount) => status.snapshots = value,
                Some(Gauge::ElectionState) => status.election = value,
                Some(Gauge::LeadershipTermId) => status.term = value,
                Some(_) | None => {}
            }
        }
        status.book = book_of(book);
        status
    }

    /// Whether it leads, and its election is over.
    pub(crate) fn is_leading(&self) -> bool {
        self.is_in_service() && self.role == Role::Leader as i64
    }

    /// Whether it follows or leads, with its election over.
    pub(crate) fn is_in_service(&self) -> bool {
        self.state == ModuleState::Active as i64
            && self.election == ElectionState::Closed as i64
            && self.book.is_some()
    }
}

fn book_of(gauges: [Option<i64>; GAUGES.len()]) -> Option<Book> {
    let [hash, executed, doubled, rejected, trades, volume, _resting, position] = gauges;
    Some(Book {
        hash: hash?.cast_unsigned(),
        executed: executed?.cast_unsigned(),
        doubled: doubled?.cast_unsigned(),
        rejected: rejected?.cast_unsigned(),
        trades: trades?.cast_unsigned(),
        volume: volume?,
        position: position?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle::client::CounterTypeId;
    use coracle::{Client, Driver, Wait as _};

    #[test]
    fn a_book_is_read_in_the_order_of_its_gauges_and_only_whole() {
        let mut gauges = [1, 2, 3, 4, 5, 6, 7, 8].map(Some);
        let book = book_of(gauges).unwrap();
        assert_eq!((book.hash, book.executed, book.doubled, book.rejected), (1, 2, 3, 4));
        assert_eq!((book.trades, book.volume, book.position), (5, 6, 8));
        gauges[7] = None;
        assert_eq!(book_of(gauges), None);
    }

    #[test]
    fn a_member_is_in_service_only_with_its_election_over_and_its_book_shown() {
        let status = Status {
            role: Role::Leader as i64,
            state: ModuleState::Active as i64,
            election: ElectionState::Closed as i64,
            book: Some(Book::default()),
            ..Status::default()
        };
        assert!(status.is_leading());
        let follower = Status { role: Role::Follower as i64, ..status };
        assert!(follower.is_in_service() && !follower.is_leading());
        assert!(!Status { book: None, ..status }.is_leading());
        assert!(!Status { election: ElectionState::LeaderReady as i64, ..status }.is_leading());
        assert!(!Status::default().is_in_service());
    }

    #[test]
    fn the_counters_of_a_driver_are_read_by_their_types() {
        let place = crate::demo::place::Place::make("status", false).unwrap();
        let mut options = coracle::driver::Config::default();
        options.directory.path = place.driver("counters");
        options.set("aeron.counters.buffer.length", "1m").unwrap();
        let driver = Driver::launch(options).unwrap();
        let directory = driver.directory().to_path_buf();
        let options = coracle::client::Config { directory, ..Default::default() };
        let client = Client::connect(options).unwrap();
        let mut key = [0; 32];
        key[8..16].copy_from_slice(&64_000_i64.to_le_bytes());
        let add = |type_id| client.add_counter(type_id, &key, "a label").wait().unwrap();
        let _recovery = add(RECOVERY_TYPE);
        let mut term = add(Gauge::LeadershipTermId.type_id());
        let gauges = (GAUGE_TYPE..).take(GAUGES.len()).map(CounterTypeId);
        let mut gauges: Vec<_> = gauges.map(add).collect();
        term.set(7);
        gauges[7].set(128_000);
        let seen = DriverDirectory::open(driver.directory()).unwrap();
        let book = Some(Book { position: 128_000, ..Book::default() });
        let recovery = Some(64_000);
        assert_eq!(Status::read(&seen), Status { term: 7, recovery, book, ..Status::default() });
        client.close();
        driver.close().unwrap();
    }
}
