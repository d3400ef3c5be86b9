//! The table of leadership terms: where in the log each one begins.
//!
//! It mirrors the TERM entries of recording.log (cluster specification 7.1). A record `(T, base)`
//! is, in Raft's words, the first entry of its leader: durable, of its own term, of length zero
//! (consensus rules, preface). A term without a record is empty: its base is that of the next
//! record above it, which fills the holes that a torn write of several records may leave (P2).

use alloc::vec::Vec;

use wire::position::Position;

use crate::id::LeadershipTermId;

/// One TERM entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TermRecord {
    /// The term.
    pub term: LeadershipTermId,
    /// Where it begins: the append position of its leader when it won.
    pub base: Position,
}

/// Why a record cannot follow those of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incoherent {
    /// The newest of the table.
    pub last: TermRecord,
    /// The one that cannot follow it.
    pub refused: TermRecord,
}

/// TERM records in ascending order of term; bases never fall.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TermTable {
    records: Vec<TermRecord>,
}

impl TermTable {
    /// The table of a file, repaired: sorted, one record a term, and without those whose base lies
    /// beyond the end of the recording (P3).
    ///
    /// Returns the table, and the lowest term whose records must be removed from the file too.
    ///
    /// # Errors
    /// Two records that cannot both be true: of one term with two bases, or a base that lies below
    /// that of an older term. Whichever was left out, this member might claim what it never had.
    pub fn load(
        records: &[TermRecord],
        recording_end: Position,
        repair: bool,
    ) -> Result<(Self, Option<LeadershipTermId>), Incoherent> {
        let mut sorted = records.to_vec();
        sorted.sort_by_key(|record| (record.term, record.base));
        let mut table = Self::default();
        let mut dropped = None;
        for record in sorted {
            let beyond = repair && record.base > recording_end;
            if beyond || dropped.is_some() {
                dropped = dropped.or(Some(record.term));
            } else {
                table.record(record)?;
            }
        }
        Ok((table, dropped))
    }

    /// The newest recorded term: `logLeadershipTermId` of this member.
    #[must_use]
    pub fn last(&self) -> LeadershipTermId {
        self.records.last().map_or(LeadershipTermId::NONE, |record| record.term)
    }

    /// Where `term` begins, or `None` if it is newer than every record.
    #[must_use]
    pub fn base_of(&self, term: LeadershipTermId) -> Option<Position> {
        let index = self.records.partition_point(|record| record.term < term);
        self.records.get(index).map(|record| record.base)
    }

    /// Where `term` ends, which is where the next begins; `None` for the newest and beyond.
    #[must_use]
    pub fn end_of(&self, term: LeadershipTermId) -> Option<Position> {
        self.base_of(LeadershipTermId(term.0.saturating_add(1)))
    }

    /// All records, ascending.
    #[must_use]
    pub fn records(&self) -> &[TermRecord] {
        &self.records
    }

    /// Adds the record of a newer term. Recording the newest again with its base changes nothing.
    pub(crate) fn record(&mut self, record: TermRecord) -> Result<bool, Incoherent> {
        let Some(&last) = self.records.last() else {
            self.records.push(record);
            return Ok(true);
        };
        if last == record {
            return Ok(false);
        }
        if record.term <= last.term || record.base < last.base {
            return Err(Incoherent { last, refused: record });
        }
        self.records.push(record);
        Ok(true)
    }

    /// Drops `term` and all later ones. True if there were any.
    pub(crate) fn drop_from(&mut self, term: LeadershipTermId) -> bool {
        let keep = self.records.partition_point(|record| record.term < term);
        let dropped = keep < self.records.len();
        self.records.truncate(keep);
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(term: i64, base: i64) -> TermRecord {
        TermRecord { term: LeadershipTermId(term), base: Position(base) }
    }

    fn base(table: &TermTable, term: i64) -> Option<i64> {
        table.base_of(LeadershipTermId(term)).map(|base| base.0)
    }

    #[test]
    fn terms_without_a_record_begin_where_the_next_one_does() {
        let records = [at(5, 96), at(0, 0), at(2, 64)];
        let (table, _) = TermTable::load(&records, Position(200), true).unwrap();
        assert_eq!(base(&table, 0), Some(0));
        assert_eq!(base(&table, 1), Some(64));
        assert_eq!(base(&table, 2), Some(64));
        assert_eq!(base(&table, 3), Some(96));
        assert_eq!(base(&table, 5), Some(96));
        assert_eq!(base(&table, 6), None);
        assert_eq!(table.end_of(LeadershipTermId(2)), Some(Position(96)));
        assert_eq!(table.end_of(LeadershipTermId(5)), None);
    }

    #[test]
    fn records_beyond_the_end_of_the_recording_are_dropped_at_load() {
        let records = [at(0, 0), at(1, 64), at(2, 128), at(3, 128)];
        let (table, dropped) = TermTable::load(&records, Position(64), true).unwrap();
        assert_eq!((table.last(), dropped), (LeadershipTermId(1), Some(LeadershipTermId(2))));
        let (kept, none) = TermTable::load(&records, Position(64), false).unwrap();
        assert_eq!((kept.last(), none), (LeadershipTermId(3), None));
    }

    #[test]
    fn a_file_whose_records_cannot_all_be_true_is_refused() {
        let load = |records: &[TermRecord]| TermTable::load(records, Position(200), true);
        let twice = load(&[at(0, 0), at(1, 64), at(0, 0)]).unwrap().0;
        assert_eq!(twice.records(), [at(0, 0), at(1, 64)], "the same one twice is one");
        let two_bases = load(&[at(0, 0), at(1, 64), at(1, 96)]);
        assert_eq!(two_bases, Err(Incoherent { last: at(1, 64), refused: at(1, 96) }));
        let falling = load(&[at(0, 0), at(2, 64), at(1, 96)]);
        assert_eq!(falling, Err(Incoherent { last: at(1, 96), refused: at(2, 64) }));
    }

    #[test]
    fn an_older_or_falling_record_is_refused_and_the_same_one_is_not() {
        let records = [at(0, 0), at(3, 64)];
        let (mut table, _) = TermTable::load(&records, Position(64), true).unwrap();
        assert_eq!(table.record(at(3, 64)), Ok(false));
        assert!(table.record(at(2, 64)).is_err());
        assert!(table.record(at(4, 32)).is_err());
        assert_eq!(table.record(at(4, 64)), Ok(true));
        assert!(table.drop_from(LeadershipTermId(3)));
        assert_eq!(table.last(), LeadershipTermId(0));
    }
}
