//! Guarded files: what is told from what, and what is restored.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use coracle_sim::World;
use runtime::Nanos;
use runtime::files::{Files, SyncKind, read_exact_at, write_all_at};
use runtime::guarded::{GuardError, Guarded};

const PATH: &str = "/d/file";

struct Bed {
    world: World,
    files: Arc<dyn Files>,
}

impl Bed {
    fn new() -> Self {
        let mut world = World::new(1);
        let host = world.add_host("a", &[IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))]);
        let process = world.spawn(host, |_| Vec::new());
        let files = world.ports(process).files;
        files.create_directory(Path::new("/d")).unwrap();
        let file = files.create(Path::new(PATH)).unwrap();
        write_all_at(&*file, &[1; 2_000], 0).unwrap();
        Self { world, files }
    }

    fn open(&self) -> Result<(Guarded, Vec<String>), GuardError> {
        let mut file = Guarded::open(&self.files, Path::new(PATH))?;
        let findings = file.guard()?;
        Ok((file, findings))
    }

    fn raw(&self) -> Vec<u8> {
        let file = self.files.open(Path::new(PATH)).unwrap();
        let mut bytes = vec![0; file.length().unwrap() as usize];
        read_exact_at(&*file, &mut bytes, 0).unwrap();
        bytes
    }

    /// Where the zeros behind the last record begin, or up to seven bytes earlier.
    fn log_end(&self) -> u64 {
        let file = self.files.open(Path::new("/d/file.sum")).unwrap();
        let mut bytes = vec![0; file.length().unwrap() as usize];
        read_exact_at(&*file, &mut bytes, 0).unwrap();
        bytes.iter().rposition(|&byte| byte != 0).unwrap() as u64 + 1
    }

    fn overwrite(&self, path: &str, bytes: &[u8], offset: u64) {
        write_all_at(&*self.files.open(Path::new(path)).unwrap(), bytes, offset).unwrap();
    }

    /// A file with a change in it, closed.
    fn changed(&self) {
        let (mut file, findings) = self.open().unwrap();
        assert!(findings.is_empty(), "{findings:?}");
        file.write(&[2; 600], 1_900).unwrap();
        file.write(&[3; 10], 0).unwrap();
        file.settle().unwrap();
    }
}

fn expected() -> Vec<u8> {
    let mut bytes = vec![1; 1_900];
    bytes.extend_from_slice(&[2; 600]);
    bytes[..10].fill(3);
    bytes
}

#[test]
fn a_change_reaches_the_file_only_when_it_is_recorded() {
    let bed = Bed::new();
    let (mut file, _) = bed.open().unwrap();
    file.write(&[9], 5).unwrap();
    assert_eq!((bed.raw()[5], file.content().unwrap()[5]), (1, 9));
    let due = file.log().unwrap().unwrap();
    due.files.iter().for_each(|it| it.sync(SyncKind::All).unwrap());
    assert_eq!(bed.raw()[5], 1);
    file.apply().unwrap();
    assert_eq!(bed.raw()[5], 9);
    assert!(file.log().unwrap().is_none());
}

#[test]
fn a_change_that_was_recorded_is_completed_and_said_to_have_been_torn() {
    let bed = Bed::new();
    let (mut file, _) = bed.open().unwrap();
    file.write(&[2; 600], 1_900).unwrap();
    file.log().unwrap().unwrap();
    drop(file);
    let (_, findings) = bed.open().unwrap();
    assert_eq!(findings, ["file: the last change was torn: completed"]);
    assert_eq!(bed.raw()[1_900..], [2; 600]);
    assert!(bed.open().unwrap().1.is_empty());
}

#[test]
fn what_rotted_was_cut_or_came_from_an_old_copy_is_restored() {
    let bed = Bed::new();
    bed.changed();
    for damage in 0..4 {
        match damage {
            0 => bed.overwrite(PATH, &[0xff], 700),
            1 => bed.overwrite(PATH, &[0; 2_500], 0),
            2 => bed.files.open(Path::new(PATH)).unwrap().set_length(100).unwrap(),
            _ => bed.overwrite(PATH, &[1; 2_500], 0),
        }
        let (_, findings) = bed.open().unwrap();
        assert!(findings[0].starts_with("file was rotten at ["), "{findings:?}");
        assert_eq!(bed.raw(), expected());
    }
}

#[test]
fn what_others_wrote_later_stands() {
    let mut bed = Bed::new();
    bed.changed();
    bed.world.run_for(Nanos::from_secs(60));
    bed.overwrite(PATH, b"genuine", 50);
    let (_, findings) = bed.open().unwrap();
    assert_eq!(findings, ["file was changed by other software: taken as it is"]);
    assert_eq!(&bed.raw()[50..57], b"genuine");
    assert!(bed.open().unwrap().1.is_empty());
}

#[test]
fn a_file_that_got_lost_is_not_begun_anew() {
    let bed = Bed::new();
    bed.changed();
    Guarded::expect_none(&*bed.files, Path::new(PATH)).unwrap();
    bed.files.remove(Path::new(PATH)).unwrap();
    let error = Guarded::expect_none(&*bed.files, Path::new(PATH)).unwrap_err();
    assert!(matches!(error, GuardError::Missing(_)), "{error}");
    Guarded::forget(&*bed.files, Path::new(PATH)).unwrap();
    Guarded::expect_none(&*bed.files, Path::new(PATH)).unwrap();
}

#[test]
fn a_rotten_log_never_brings_an_old_state_back() {
    for at in (0..5_000).step_by(97) {
        let mut bed = Bed::new();
        bed.changed();
        bed.world.run_for(Nanos::from_secs(1));
        let path = "/d/file.sum";
        let mut byte = [0];
        read_exact_at(&*bed.files.open(Path::new(path)).unwrap(), &mut byte, at).unwrap();
        bed.overwrite(path, &[byte[0] ^ 4], at);
        match bed.open() {
            Ok(_) => {}
            Err(GuardError::Doubtful(_)) => continue,
            Err(error) => panic!("{error}"),
        }
        assert_eq!(bed.raw(), expected(), "byte {at}");
    }
}

/// Seed 245 of the clusters: a bit rotted in a record that says that a change is in the file, with
/// other changes behind it, and the file was as it should be.
#[test]
fn a_bit_that_rots_in_any_record_but_the_first_and_the_last_loses_nothing() {
    for is_torn in [false, true] {
        let (length, whole) = log_of_changes(&Bed::new(), is_torn);
        let first = 28 + 4 * 4 + 2_000 + 4;
        for at in (first..length).step_by(13) {
            let bed = Bed::new();
            assert_eq!(log_of_changes(&bed, is_torn), (length, whole.clone()));
            let path = Path::new("/d/file.sum");
            let mut byte = [0];
            read_exact_at(&*bed.files.open(path).unwrap(), &mut byte, at).unwrap();
            bed.overwrite("/d/file.sum", &[byte[0] ^ 4], at);
            let (_, findings) = bed.open().unwrap_or_else(|error| panic!("byte {at}: {error}"));
            let is_told = findings.iter().any(|it| it == "file.sum was rotten: made anew");
            assert!(is_told, "byte {at}: {findings:?}");
            assert!(bed.raw() == whole, "byte {at}");
            assert!(bed.open().unwrap().1.is_empty());
        }
    }
}

/// Makes several changes, of which the last is recorded but torn, or done. Returns where the last
/// record begins, and what the file has to hold.
fn log_of_changes(bed: &Bed, is_torn: bool) -> (u64, Vec<u8>) {
    let (mut file, _) = bed.open().unwrap();
    for round in 1..=4_u8 {
        file.write(&[round; 30], 100 * u64::from(round)).unwrap();
        file.write(&[round; 700], 1_500).unwrap();
        file.settle().unwrap();
    }
    file.write(&[9; 900], 1_300).unwrap();
    let last = if is_torn {
        let end = bed.log_end();
        drop(file.log().unwrap().unwrap());
        bed.overwrite(PATH, &[9; 236], 1_300);
        end
    } else {
        file.settle().unwrap();
        bed.log_end() - (28 + 8 + 4)
    };
    (last, file.content().unwrap())
}

#[test]
fn a_long_log_is_begun_anew_and_says_the_same() {
    let bed = Bed::new();
    let (mut file, _) = bed.open().unwrap();
    for round in 0..3_000_u32 {
        file.write(&round.to_le_bytes(), 512).unwrap();
        file.settle().unwrap();
    }
    drop(file);
    let length = bed.files.entry(Path::new("/d/file.sum")).unwrap().unwrap().length;
    assert!(length < 1_500_000, "{length}");
    bed.overwrite(PATH, &[7; 20], 510);
    let (_, findings) = bed.open().unwrap();
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(bed.raw()[512..516], 2_999_u32.to_le_bytes());
}

/// Flips, seed 5, number 251: a log from before the last change, put back, took that change away.
#[test]
fn an_old_log_without_its_end_is_doubted() {
    let bed = Bed::new();
    let (mut file, _) = bed.open().unwrap();
    file.write(&[5; 10], 100).unwrap();
    let due = file.log().unwrap().unwrap();
    let length = due.files[0].length().unwrap() as usize;
    let mut old = vec![0; length];
    read_exact_at(&*due.files[0], &mut old, 0).unwrap();
    file.apply().unwrap();
    file.on_durable().unwrap();
    file.write(&[6; 10], 100).unwrap();
    file.settle().unwrap();
    drop(file);
    bed.overwrite("/d/file.sum", &old, 0);
    assert!(matches!(bed.open(), Err(GuardError::Doubtful(_))));
    assert_eq!(bed.raw()[100], 6);
}
