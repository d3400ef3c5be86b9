use super::*;
use crate::testing::{DIRECTORY, Disk};

fn recording() -> Recording {
    Recording {
        start_timestamp: 0x1a2_04c1_0b90,
        stop_timestamp: NULL_VALUE,
        start_position: 69_632,
        stop_position: NULL_VALUE,
        initial_term_id: 5,
        segment_file_length: 131_072,
        term_buffer_length: 65_536,
        mtu_length: 1_408,
        session_id: 0x6167_a47e,
        stream_id: 33,
        stripped_channel: "aeron:ipc?alias=xyz".into(),
        original_channel: "aeron:ipc?term-length=64k|alias=xyz|mtu=1408".into(),
        source_identity: "aeron:ipc".into(),
        ..Recording::default()
    }
}

fn open(disk: &Disk) -> Result<Catalog, CatalogError> {
    Catalog::open(&disk.files(), Path::new(DIRECTORY), 1 << 20, None)
}

/// The bytes of a catalog that a genuine archive wrote, from the archive specification, part 12.
const GENUINE: &str = "
    00010300 20000000 01000000 00000000 40000000 00000000 00000000 00000000
    e0000000 01000000 00000000 00000000 00000000 00000000 00000000 00000000
    00000000 00000000 00000000 00000000 00000000 00000000 900bc104 a2010000
    ffffffff ffffffff 00100100 00000000 ffffffff ffffffff 05000000 00000200
    00000100 80050000 7ea46761 21000000 13000000";

fn genuine() -> Vec<u8> {
    let digits: Vec<u8> = GENUINE.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let mut bytes: Vec<u8> = digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    bytes.extend_from_slice(b"aeron:ipc?alias=xyz");
    bytes.extend_from_slice(&[0x2c, 0, 0, 0]);
    bytes.extend_from_slice(b"aeron:ipc?term-length=64k|alias=xyz|mtu=1408");
    bytes.extend_from_slice(&[9, 0, 0, 0]);
    bytes.extend_from_slice(b"aeron:ipc");
    bytes.resize(288, 0);
    bytes
}

#[test]
fn a_new_recording_is_written_as_genuine_aeron_writes_it() {
    let disk = Disk::new();
    let mut catalog = open(&disk).unwrap();
    assert_eq!(catalog.add(recording()).unwrap(), 0);
    let bytes = disk.read(FILE_NAME);
    assert_eq!(bytes.len(), 1 << 20);
    assert_eq!(bytes[..288], genuine());
    assert!(bytes[288..].iter().all(|&byte| byte == 0));
}

#[test]
fn a_genuine_catalog_reads_the_same() {
    let disk = Disk::new();
    disk.write(FILE_NAME, 0, &genuine());
    let catalog = open(&disk).unwrap();
    assert_eq!(catalog.get(0), Some(&recording()));
    assert_eq!(catalog.next_recording_id(), 1);
    assert_eq!(catalog.capacity(), 1 << 20);
    let listed = catalog.listing_bytes(0).unwrap();
    assert_eq!(listed, genuine()[80..288]);
}

#[test]
fn recordings_survive_a_restart_and_ids_are_never_used_again() {
    let disk = Disk::new();
    let mut catalog = open(&disk).unwrap();
    for _ in 0..3 {
        catalog.add(recording()).unwrap();
    }
    catalog.update(1, |it| (it.stop_position, it.stop_timestamp) = (69_664, 7)).unwrap();
    catalog.remove(2, RecordingState::Deleted).unwrap();
    drop(catalog);
    let mut catalog = open(&disk).unwrap();
    assert_eq!(catalog.iter_from(0).map(|it| it.id).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(catalog.get(1).unwrap().stop_position, 69_664);
    assert_eq!(catalog.add(recording()).unwrap(), 3);
    assert!(matches!(catalog.update(2, |_| ()), Err(CatalogError::Unknown(2))));
}

#[test]
fn an_entry_that_outgrows_its_place_moves_those_behind_it() {
    let disk = Disk::new();
    let mut catalog = open(&disk).unwrap();
    for _ in 0..3 {
        catalog.add(recording()).unwrap();
    }
    let long = format!("aeron:ipc?alias={}", "x".repeat(500));
    catalog.update(1, |it| it.original_channel = long.clone()).unwrap();
    let catalog = open(&disk).unwrap();
    assert_eq!(catalog.get(1).unwrap().original_channel, long);
    assert_eq!(catalog.get(2).unwrap().original_channel, recording().original_channel);
    assert_eq!(catalog.iter_from(0).count(), 3);
}

/// An entry that outgrows its place has all of the file written anew: bits that the disk brings and
/// that nobody wrote must not become the catalog's.
#[test]
fn what_the_disk_brings_otherwise_than_it_was_written_is_not_written_anew() {
    let long = format!("aeron:ipc?alias={}", "x".repeat(500));
    let filled = |disk: &Disk| {
        let mut catalog = open(disk).unwrap();
        (0..3).for_each(|id| assert_eq!(catalog.add(recording()).unwrap(), id));
        catalog
    };
    let written = {
        let disk = Disk::new();
        filled(&disk).update(1, |it| it.original_channel = long.clone()).unwrap();
        disk.read(FILE_NAME)
    };
    // Bits of the file, for ever: header, a state, a position, a channel of the entries around.
    let second = HEADER_LENGTH + 256;
    for at in
        [NEXT_RECORDING_ID_OFFSET, HEADER_LENGTH + STATE_OFFSET, 0x58, 0xb0, second + 256 + 90]
    {
        let disk = Disk::new();
        let mut catalog = filled(&disk);
        let before = disk.read(FILE_NAME);
        disk.write(FILE_NAME, at as u64, &[before[at] ^ 2]);
        let refused = catalog.update(1, |it| it.original_channel = long.clone());
        assert!(
            matches!(refused, Err(CatalogError::Entry { .. } | CatalogError::Header(_))),
            "{at}"
        );
        disk.write(FILE_NAME, at as u64, &[before[at]]);
        assert_eq!(disk.read(FILE_NAME), before, "{at}: nothing was written");
        catalog.update(1, |it| it.original_channel = long.clone()).unwrap();
        assert_eq!(disk.read(FILE_NAME), written);
    }
    // Of one read, wherever.
    for place in 0..16 {
        let disk = Disk::new();
        let mut catalog = filled(&disk);
        // The place goes by how many were struck before.
        disk.rot_reads(place);
        (0..place).for_each(|_| drop(disk.read(FILE_NAME)));
        disk.rot_reads(1);
        let refused = catalog.update(1, |it| it.original_channel = long.clone());
        assert!(matches!(refused, Err(CatalogError::Entry { .. })), "{place}: {refused:?}");
        catalog.update(1, |it| it.original_channel = long.clone()).unwrap();
        assert_eq!(disk.read(FILE_NAME), written, "{place}");
    }
}

#[test]
fn a_full_catalog_grows_by_half_until_the_entry_fits() {
    let disk = Disk::new();
    let directory = Path::new(DIRECTORY);
    let mut catalog = Catalog::open(&disk.files(), directory, 32, None).unwrap();
    catalog.add(recording()).unwrap();
    assert_eq!(catalog.capacity(), 364);
    catalog.add(recording()).unwrap();
    drop(catalog);
    assert_eq!(Catalog::open(&disk.files(), directory, 32, None).unwrap().iter_from(0).count(), 2);
}

/// Every state that a crash while adding leaves: each prefix of its writes, and with power lost any
/// of its 64-byte lines missing.
#[test]
fn a_torn_last_entry_is_wiped_and_the_others_stay() {
    let whole = {
        let disk = Disk::new();
        let mut catalog = open(&disk).unwrap();
        catalog.add(recording()).unwrap();
        catalog.add(recording()).unwrap();
        disk.read(FILE_NAME)[..544].to_vec()
    };
    for missing in 0_u32..16 {
        let mut torn = whole.clone();
        for line in (0..4).filter(|line| missing & (1 << line) != 0) {
            torn[288 + line * 64..][..64].fill(0);
        }
        let disk = Disk::new();
        disk.write(FILE_NAME, 0, &torn);
        let mut catalog = open(&disk).unwrap();
        assert_eq!(catalog.get(0), Some(&recording()), "lines missing: {missing:#b}");
        let added = catalog.add(recording()).unwrap();
        assert_eq!(added, 2, "an id was used twice");
        drop(catalog);
        assert!(open(&disk).unwrap().get(added).is_some());
    }
}

#[test]
fn a_damaged_entry_in_the_middle_refuses_with_its_place() {
    let disk = Disk::new();
    let mut catalog = open(&disk).unwrap();
    catalog.add(recording()).unwrap();
    catalog.add(recording()).unwrap();
    disk.write(FILE_NAME, 32 + 64, &[0x11; 64]);
    assert!(matches!(open(&disk), Err(CatalogError::Entry { offset: 32, .. })));
}

#[test]
fn another_major_version_is_refused() {
    let disk = Disk::new();
    let mut bytes = genuine();
    bytes[2] = 2;
    disk.write(FILE_NAME, 0, &bytes);
    assert!(matches!(open(&disk), Err(CatalogError::Version(version)) if version.major() == 2));
}

#[test]
fn a_catalog_whose_creation_was_cut_short_is_made_anew() {
    for length in [0, 31, 32, 4_096] {
        let disk = Disk::new();
        disk.write(FILE_NAME, 0, &vec![0; length]);
        assert_eq!(open(&disk).unwrap().next_recording_id(), 0);
        assert_eq!(disk.read(FILE_NAME)[..8], genuine()[..8]);
    }
}

#[test]
fn the_checksum_of_an_entry_covers_its_body_with_the_fill() {
    let disk = Disk::new();
    let checksum = Some(Checksum::Crc32);
    let mut catalog =
        Catalog::open(&disk.files(), Path::new(DIRECTORY), 1 << 20, checksum).unwrap();
    catalog.add(recording()).unwrap();
    let bytes = disk.read(FILE_NAME);
    let stored = i32::from_le_bytes(bytes[40..44].try_into().unwrap());
    assert_eq!(stored, Checksum::Crc32.compute(&bytes[64..288]));
}

#[test]
fn the_newest_fitting_recording_is_found() {
    let disk = Disk::new();
    let mut catalog = open(&disk).unwrap();
    for session_id in [1, 2, 1] {
        catalog.add(Recording { session_id, ..recording() }).unwrap();
    }
    assert_eq!(catalog.find_last(0, |it| it.session_id == 2), Some(1));
    assert_eq!(catalog.find_last(0, |it| it.session_id == 1), Some(2));
    assert_eq!(catalog.find_last(2, |it| it.session_id == 2), None);
}
