use super::*;
use crate::testing::directory;
use runtime::files::read_exact_at;

const LOG: RecordingId = RecordingId(5);

fn term(id: i64) -> LeadershipTermId {
    LeadershipTermId(id)
}

fn record(id: i64, base: i64) -> TermRecord {
    TermRecord { term: term(id), base: Position(base) }
}

fn snapshot(service_id: i32, position: i64) -> SnapshotEntry {
    SnapshotEntry {
        recording_id: RecordingId(100 + i64::from(service_id)),
        term: term(1),
        position: Position(position),
        timestamp: 9,
        service_id,
    }
}

fn open(files: &Arc<dyn Files>, path: &Path) -> Result<RecordingLog, RecordingLogError> {
    let (mut log, _) = RecordingLog::open(files, path, false)?;
    log.cut()?;
    Ok(log)
}

fn sorted(log: &RecordingLog) -> Vec<TermRecord> {
    let mut terms = log.terms();
    terms.sort_by_key(|record| record.term);
    terms
}

fn ends(log: &RecordingLog) -> Vec<(i64, i64)> {
    let mut ends: Vec<(i64, i64)> = log
        .terms
        .iter()
        .map(|known| {
            let mut bytes = [0; 8];
            let at = known.offset + LOG_POSITION_OFFSET as u64;
            read_exact_at(&**log.file(), &mut bytes, at).unwrap();
            (known.record.term.0, i64::from_le_bytes(bytes))
        })
        .collect();
    ends.sort_unstable();
    ends
}

#[test]
fn terms_are_read_back_and_each_is_closed_by_the_next() {
    let (files, path) = directory();
    let mut log = open(&files, &path).unwrap();
    assert!(log.is_new());
    log.append_term(LOG, term(0), Position(0), term(0), 1).unwrap();
    log.append_term(LOG, term(1), Position(640), term(1), 2).unwrap();
    let log = open(&files, &path).unwrap();
    assert_eq!(log.terms(), [record(0, 0), record(1, 640)]);
    assert_eq!(ends(&log), [(0, 640), (1, -1)]);
    assert_eq!((log.recording_id(), log.is_new()), (Some(LOG), false));
}

#[test]
fn a_term_stands_in_the_file_before_the_gap_that_it_leaves() {
    let (files, path) = directory();
    let mut log = open(&files, &path).unwrap();
    log.append_term(LOG, term(0), Position(0), term(0), 1).unwrap();
    log.append_term(LOG, term(4), Position(640), term(1), 2).unwrap();
    let log = open(&files, &path).unwrap();
    let in_file: Vec<i64> = log.terms().iter().map(|record| record.term.0).collect();
    assert_eq!(in_file, [0, 4, 1, 2, 3]);
    assert_eq!(ends(&log), [(0, 640), (1, 640), (2, 640), (3, 640), (4, -1)]);
}

/// A term that was made up, or corrupted on its way, leaps by as much as it likes.
#[test]
fn a_leap_of_terms_fills_no_disk_and_the_table_is_the_same() {
    let (files, path) = directory();
    let mut log = open(&files, &path).unwrap();
    assert_eq!(log.append_term(LOG, term(0), Position(0), term(0), 1).unwrap(), 0);
    let leap = 1 + (1 << 40);
    let left_out = log.append_term(LOG, term(leap), Position(640), term(1), 2).unwrap();
    assert_eq!(left_out, (1 << 40) - GAP_MAX.cast_unsigned());
    let next = log.append_term(LOG, term(leap + 2), Position(960), term(leap + 1), 3);
    assert_eq!(next.unwrap(), 0);
    let length = log.file().length().unwrap();
    assert_eq!(length, 64 * (4 + GAP_MAX.cast_unsigned()));
    let log = open(&files, &path).unwrap();
    assert_eq!(ends(&log)[0], (0, 640));
    assert_eq!(ends(&log).last(), Some(&(leap + 2, -1)));
    let (table, _) = consensus::TermTable::load(&log.terms(), Position(960), true).unwrap();
    let base = |id| table.base_of(term(id)).map(|base| base.0);
    let first_left_out = 1 + GAP_MAX;
    for gap in [1, GAP_MAX, first_left_out, leap / 2, leap - 1, leap] {
        assert_eq!(base(gap), Some(640), "{gap}");
    }
    assert_eq!((base(0), base(leap + 1), base(leap + 3)), (Some(0), Some(960), None));
}

/// Hours of ballots that failed: each of their terms has its entry, as genuine Aeron writes it.
#[test]
fn a_gap_that_ballots_leave_is_filled_entirely() {
    let (files, path) = directory();
    let mut log = open(&files, &path).unwrap();
    log.append_term(LOG, term(0), Position(0), term(0), 1).unwrap();
    let next = term(1 + GAP_MAX);
    assert_eq!(log.append_term(LOG, next, Position(640), term(1), 2).unwrap(), 0);
    let log = open(&files, &path).unwrap();
    let wanted: Vec<_> = (1..=next.0).map(|id| record(id, 640)).collect();
    assert_eq!(sorted(&log)[1..], wanted);
}

#[test]
fn dropped_terms_are_gone_and_the_last_that_stays_is_open() {
    let (files, path) = directory();
    let mut log = open(&files, &path).unwrap();
    log.append_term(LOG, term(0), Position(0), term(0), 1).unwrap();
    log.append_term(LOG, term(3), Position(640), term(1), 2).unwrap();
    log.drop_terms(term(2)).unwrap();
    let mut log = open(&files, &path).unwrap();
    assert_eq!(sorted(&log), [record(0, 0), record(1, 640)]);
    assert_eq!(ends(&log), [(0, 640), (1, -1)]);
    log.append_term(LOG, term(2), Position(960), term(2), 3).unwrap();
    log.end_term(term(2), Position(1_024)).unwrap();
    let log = open(&files, &path).unwrap();
    assert_eq!(ends(&log), [(0, 640), (1, 960), (2, 1_024)]);
}

#[test]
fn a_snapshot_counts_only_once_the_module_s_entry_stands() {
    let (files, path) = directory();
    let mut log = open(&files, &path).unwrap();
    let set = [snapshot(-1, 320), snapshot(0, 320), snapshot(1, 320)];
    log.append_snapshot(Position(0), &set).unwrap();
    let log = open(&files, &path).unwrap();
    let services: Vec<i32> = log.snapshots().iter().map(|entry| entry.service_id).collect();
    assert_eq!(services, [1, 0, -1]);
    let newest = consensus::newest_snapshot(&log.snapshots(), 2).unwrap();
    assert_eq!(newest.module, RecordingId(99));
    // A crash before the last of the three: there is no snapshot.
    log.file().set_length(128).unwrap();
    let log = open(&files, &path).unwrap();
    assert_eq!(consensus::newest_snapshot(&log.snapshots(), 2), None);
}

#[test]
fn every_torn_end_is_ignored_and_overwritten() {
    for length in 64..192 {
        let (files, path) = directory();
        let mut log = open(&files, &path).unwrap();
        log.append_term(LOG, term(0), Position(0), term(0), 1).unwrap();
        log.append_term(LOG, term(2), Position(640), term(1), 2).unwrap();
        log.file().set_length(length).unwrap();
        if length % 64 == 0 {
            // Extended, but the bytes were not written. No sector ends within an entry.
            log.file().set_length(192).unwrap();
        }
        let Ok(mut log) = open(&files, &path) else { panic!("refused after {length} bytes") };
        assert_eq!(log.terms()[0], record(0, 0));
        log.append_snapshot(Position(0), &[snapshot(-1, 320)]).unwrap();
        assert_eq!(open(&files, &path).unwrap().snapshots().len(), 1, "{length}");
    }
}

#[test]
fn entries_that_contradict_each_other_are_refused() {
    let (files, path) = directory();
    let mut log = open(&files, &path).unwrap();
    log.append_term(LOG, term(0), Position(0), term(0), 1).unwrap();
    log.append_one(RecordingId(6), term(1), Position(0), Position(-1), 1).unwrap();
    let refused = open(&files, &path).err();
    assert!(matches!(refused, Some(RecordingLogError::TwoRecordings(5, 6))), "{refused:?}");
    log.drop_terms(term(1)).unwrap();
    log.append_one(LOG, term(0), Position(32), Position(-1), 1).unwrap();
    let refused = open(&files, &path).err();
    assert!(matches!(refused, Some(RecordingLogError::TwoTerms(0))), "{refused:?}");
}

#[test]
fn a_snapshot_that_is_gone_is_invalid_for_good_and_may_be_taken_anew() {
    let (files, path) = directory();
    let mut log = open(&files, &path).unwrap();
    log.append_term(LOG, term(1), Position(0), term(1), 1).unwrap();
    let set = [snapshot(-1, 320), snapshot(0, 320)];
    log.append_snapshot(Position(0), &set).unwrap();
    assert!(!log.invalidate(RecordingId(7)).unwrap());
    assert!(log.invalidate(set[1].recording_id).unwrap());
    assert!(!log.invalidate(set[1].recording_id).unwrap());
    let mut log = open(&files, &path).unwrap();
    assert_eq!(log.snapshots(), [set[0]]);
    log.append_snapshot(Position(0), &set[1..]).unwrap();
    let log = open(&files, &path).unwrap();
    assert_eq!((log.snapshots().len(), log.terms()), (2, vec![record(1, 0)]));
}
