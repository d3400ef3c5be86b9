//! The files port and the background port over a directory of the real file system.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests.

use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::{fs, io, thread};

use coracle_os::files::OsFiles;
use memory::buffer::AtomicBuffer;
#[cfg(target_os = "linux")]
use runtime::background::PathRange;
use runtime::background::{Background, Job, Outcome, Ticket};
use runtime::files::{
    Entry, Files as _, SyncKind, create_durable_directory, read_exact_at, write_all_at,
};

/// A directory that is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("coracle-{name}-{}", std::process::id()));
        fs::remove_dir_all(&path).ok();
        OsFiles.create_directory(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn kind<T>(result: io::Result<T>) -> io::ErrorKind {
    result.err().expect("an error").kind()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn files_are_read_and_written_at_offsets_and_belong_to_their_owner_alone() {
    let scratch = Scratch::new("files");
    let path = scratch.path("file");
    assert_eq!(kind(OsFiles.open(&path)), io::ErrorKind::NotFound);
    let file = OsFiles.create(&path).unwrap();
    assert_eq!(kind(OsFiles.create(&path)), io::ErrorKind::AlreadyExists);
    write_all_at(file.as_ref(), b"world", 6).unwrap();
    write_all_at(file.as_ref(), b"hello ", 0).unwrap();
    file.sync(SyncKind::Data).unwrap();
    file.sync(SyncKind::All).unwrap();
    let mut bytes = [0; 11];
    read_exact_at(OsFiles.open(&path).unwrap().as_ref(), &mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"hello world");
    file.set_length(4).unwrap();
    assert_eq!((file.length().unwrap(), file.read_at(&mut bytes, 4).unwrap()), (4, 0));
    assert_eq!((mode(&path), mode(&scratch.0)), (0o600, 0o700));
}

#[test]
fn directories_are_listed_in_order_and_their_entries_renamed_and_removed() {
    let scratch = Scratch::new("directories");
    OsFiles.create_directory(&scratch.path("b/deep")).unwrap();
    OsFiles.create_directory(&scratch.path("b/deep")).unwrap();
    let file = OsFiles.create(&scratch.path("c")).unwrap();
    write_all_at(file.as_ref(), b"123", 0).unwrap();
    OsFiles.rename(&scratch.path("c"), &scratch.path("a")).unwrap();
    OsFiles.sync_directory(&scratch.0).unwrap();
    let of = |name: &str, is_directory, length| Entry { name: name.into(), is_directory, length };
    assert_eq!(OsFiles.list(&scratch.0).unwrap(), [of("a", false, 3), of("b", true, 0)]);
    assert_eq!(OsFiles.entry(&scratch.path("a")).unwrap(), Some(of("a", false, 3)));
    assert_eq!(OsFiles.entry(&scratch.path("c")).unwrap(), None);
    OsFiles.remove(&scratch.path("a")).unwrap();
    OsFiles.remove_tree(&scratch.path("b")).unwrap();
    OsFiles.remove_tree(&scratch.path("b")).unwrap();
    assert_eq!(OsFiles.list(&scratch.0).unwrap(), []);
    assert_eq!(kind(OsFiles.list(&scratch.path("b"))), io::ErrorKind::NotFound);
    assert!(OsFiles.usable_space(&scratch.0).unwrap() > 0);
}

#[test]
fn two_mappings_of_a_file_and_the_file_itself_show_the_same_bytes() {
    let scratch = Scratch::new("mappings");
    let path = scratch.path("map");
    let one = OsFiles.create_mapped(&path, 10_000, true).unwrap();
    assert_eq!(kind(OsFiles.create_mapped(&path, 1, false)), io::ErrorKind::AlreadyExists);
    let two = OsFiles.map(&path).unwrap();
    assert_eq!((one.region().length(), two.region().length()), (10_000, 10_000));
    AtomicBuffer::new(Arc::clone(one.region())).store_i64(9_992, 77);
    assert_eq!(AtomicBuffer::new(Arc::clone(two.region())).load_i64(9_992), 77);
    two.sync(5_000..10_000).unwrap();
    assert_eq!(kind(two.sync(0..10_001)), io::ErrorKind::InvalidInput);
    let mut bytes = [0; 8];
    read_exact_at(OsFiles.open(&path).unwrap().as_ref(), &mut bytes, 9_992).unwrap();
    assert_eq!(i64::from_le_bytes(bytes), 77);
    OsFiles.remove(&path).unwrap();
    assert_eq!(AtomicBuffer::new(Arc::clone(one.region())).load_i64(9_992), 77);
    OsFiles.create(&path).unwrap();
    assert_eq!(kind(OsFiles.map(&path)), io::ErrorKind::InvalidData);
}

#[test]
fn a_file_that_cannot_be_reserved_leaves_nothing_behind() {
    let scratch = Scratch::new("full");
    let path = scratch.path("huge");
    assert!(OsFiles.create_mapped(&path, 1 << 60, true).is_err());
    assert_eq!(OsFiles.entry(&path).unwrap(), None);
}

#[test]
fn a_lock_excludes_others_until_it_is_dropped() {
    let scratch = Scratch::new("lock");
    let path = scratch.path("coracle.lock");
    let held = OsFiles.lock(&path).unwrap();
    assert!(held.is_some());
    assert!(OsFiles.lock(&path).unwrap().is_none());
    drop(held);
    assert!(OsFiles.lock(&path).unwrap().is_some());
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn background_jobs_of_a_window_are_done_in_order() {
    let scratch = Scratch::new("background");
    let ports = coracle_os::ports(Some(1)).unwrap();
    let mut window = ports.background();
    let (zeros, mapped) = (scratch.path("zeros"), scratch.path("mapped"));
    let create = || Job::CreateZeroed { path: zeros.clone(), length: 600_000, sync: true };
    let touched = 8_192;
    let jobs = vec![
        create(),
        create(),
        Job::CreateMapped { path: mapped.clone(), length: 9_000, allocate: true, touch: touched },
        Job::Resolve("localhost".into()),
        Job::Remove(vec![zeros.clone(), scratch.path("nothing")]),
        Job::Sync { files: vec![], sync: SyncKind::Data, directories: vec![scratch.0.clone()] },
    ];
    let tickets: Vec<_> = jobs.into_iter().map(|job| window.submit(job)).collect();
    let outcomes = wait_for(window.as_mut(), tickets.len());
    assert!(outcomes.iter().map(|(ticket, _)| *ticket).eq(tickets));
    let [(_, zeroed), (_, again), (_, mapping), (_, names), (_, removed), (_, synced)] =
        <[_; 6]>::try_from(outcomes).ok().unwrap();
    assert!(matches!(zeroed, Outcome::Opened(file) if file.length().unwrap() == 600_000));
    assert!(matches!(again, Outcome::Failed(error)
        if error.kind() == io::ErrorKind::AlreadyExists));
    assert!(matches!(names, Outcome::Resolved(list) if list.iter().all(|ip| ip.is_loopback())));
    assert!(matches!((removed, synced), (Outcome::Done, Outcome::Done)));
    assert_eq!(OsFiles.entry(&zeros).unwrap(), None);
    let Outcome::Mapped(mapping) = mapping else { panic!("not mapped") };
    let length = mapping.region().length();
    let _ = window.submit(Job::Touch { mapping: mapping.clone(), offset: 5, length });
    let _ = window.submit(Job::Release(vec![mapping]));
    assert_eq!(wait_for(window.as_mut(), 2).len(), 2);
}

/// Method: where the file system finds the first bytes that were ever written.
#[test]
fn zeros_are_written_only_where_they_are_to_be_durable() {
    let scratch = Scratch::new("zeros");
    let mut window = coracle_os::ports(Some(1)).unwrap().background();
    for (name, sync) in [("durable", true), ("sparse", false)] {
        let path = scratch.path(name);
        let _ = window.submit(Job::CreateZeroed { path: path.clone(), length: 600_000, sync });
        let outcomes = wait_for(window.as_mut(), 1);
        let [(_, Outcome::Opened(made))] = &outcomes[..] else { panic!("not made") };
        let file = fs::File::open(&path).unwrap();
        assert_eq!((made.length().unwrap(), begins_with_data(&file)), (600_000, sync));
        let mut bytes = [1; 512];
        assert_eq!(made.read_at(&mut bytes, 599_488).unwrap(), 512);
        assert_eq!(bytes, [0; 512]);
        made.write_at(&[7], 599_999).unwrap();
        assert_eq!(made.length().unwrap(), 600_000);
    }
}

/// Method: how many pages of a mapping of the file are in memory. Those that share a large one with
/// bytes that are to stay, stay too.
#[cfg(target_os = "linux")]
#[test]
fn pages_are_given_back_and_found_again_with_the_same_bytes() {
    let scratch = Scratch::new("uncache");
    let path = scratch.path("recorded");
    let bytes: Vec<u8> = (0..8_u32 << 20).map(|index| (index % 251) as u8).collect();
    let file = OsFiles.create(&path).unwrap();
    write_all_at(file.as_ref(), &bytes, 0).unwrap();
    file.sync(SyncKind::Data).unwrap();
    let before = resident(&path);
    let mut window = coracle_os::ports(Some(1)).unwrap().background();
    let part = |path: PathBuf, range| PathRange { path, range };
    let begin = vec![part(path.clone(), 0..8 << 20), part(scratch.path("nothing"), 0..1)];
    let give_back = vec![part(path.clone(), 1 << 20..7 << 20), part(path.clone(), 5..5)];
    let _ = window.submit(Job::Uncache { begin, give_back });
    assert!(matches!(wait_for(window.as_mut(), 1)[..], [(_, Outcome::Done)]));
    let after = resident(&path);
    let mut read = vec![0; bytes.len()];
    read_exact_at(file.as_ref(), &mut read, 0).unwrap();
    assert!(read == bytes);
    if before == 0 || is_memory(&path) {
        println!("not tried: whether pages go, as this file system has none that could");
    } else {
        assert!(after * 4 <= before * 3, "{after} of {before} pages are still there");
    }
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn resident(path: &Path) -> usize {
    let mapping = OsFiles.map(path).unwrap();
    let region = mapping.region();
    let mut pages = vec![0_u8; region.length().div_ceil(4_096)];
    let address = region.base().as_ptr().cast();
    // SAFETY: the mapping lives, and there is a byte for each of its pages, or more.
    let result = unsafe { libc::mincore(address, region.length(), pages.as_mut_ptr()) };
    assert_eq!(result, 0);
    pages.iter().filter(|page| **page & 1 == 1).count()
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn is_memory(path: &Path) -> bool {
    let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    let mut found = std::mem::MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the name ends with a zero, and there is room for the answer.
    assert_eq!(unsafe { libc::statfs(name.as_ptr(), found.as_mut_ptr()) }, 0);
    // SAFETY: zeroed bytes are a statfs, and so is what the call wrote.
    unsafe { found.assume_init() }.f_type == libc::TMPFS_MAGIC
}

#[allow(unsafe_code)]
fn begins_with_data(file: &fs::File) -> bool {
    // SAFETY: the descriptor is open; the call touches no memory of ours.
    unsafe { libc::lseek(file.as_raw_fd(), 0, libc::SEEK_DATA) == 0 }
}

fn wait_for(window: &mut dyn Background, count: usize) -> Vec<(Ticket, Outcome)> {
    let mut outcomes = Vec::new();
    while outcomes.len() < count {
        if window.poll(&mut |ticket, outcome| outcomes.push((ticket, outcome))) == 0 {
            thread::yield_now();
        }
    }
    outcomes
}

#[test]
fn a_signal_to_end_sets_the_flag() {
    let asked = coracle_os::signal::termination().unwrap();
    assert!(!asked.load(Ordering::Acquire));
    signal_hook::low_level::raise(signal_hook::consts::SIGTERM).unwrap();
    assert!(asked.load(Ordering::Acquire));
}

#[test]
fn a_directory_that_takes_the_place_of_a_durable_one_is_not_durable() {
    let scratch = Scratch::new("durable");
    let path = scratch.path("one");
    OsFiles.create_directory(&path).unwrap();
    assert!(!OsFiles.is_noted_durable(&path));
    create_durable_directory(&OsFiles, &path).unwrap();
    assert!(OsFiles.is_noted_durable(&path) && OsFiles.is_noted_durable(path.parent().unwrap()));
    // Kept, so that its number is not given to the next.
    fs::rename(&path, scratch.path("away")).unwrap();
    assert!(!OsFiles.is_noted_durable(&path));
    OsFiles.create_directory(&path).unwrap();
    assert!(!OsFiles.is_noted_durable(&path));
    create_durable_directory(&OsFiles, &path).unwrap();
    assert!(OsFiles.is_noted_durable(&path));
}
