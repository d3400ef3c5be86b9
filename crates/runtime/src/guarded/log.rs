//! The log beside a guarded file.
//!
//! ```text
//! 0         4         8          16           24        28                 28 + length
//! +---------+---------+----------+------------+---------+-------------------+-------------
//! | magic   | kind    | sequence | file length| length  | sectors, or time  | next record ..
//! | u32     | u32     | u64      | u64        | u32     |                   |
//! +---------+---------+----------+------------+---------+-------------------+-------------
//! the last 4 bytes of a record: CRC-32C of all before and of the file's name
//! ```
//!
//! Kinds: 1 the whole content, 2 a change, 3 the changes so far are in the file, which was written
//! last at this time. Sectors: u32 number and 512 bytes, fewer at the end of the file; those of a
//! grown file that are not there are zeros. The file is longer than its records by zeros, always a
//! multiple of 64 KiB.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wire::time::EpochNanos;

use super::{Due, SECTOR, Sectors, name};
use crate::files::{File, Files, SyncKind, read_exact_at, write_all_at};

const MAGIC: u32 = 0x4d55_5343;
const WHOLE: u32 = 1;
const CHANGED: u32 = 2;
const APPLIED: u32 = 3;
const HEADER_LENGTH: usize = 28;
const CHUNK: u64 = 64 << 10;
/// A log that is so much longer than the content is begun anew.
const SLACK: u64 = 1 << 20;

/// The log of a file.
pub(super) fn path(of: &Path) -> PathBuf {
    of.with_file_name(format!("{}.sum", name(of)))
}

/// The name under which a new one is begun.
pub(super) fn new_path(of: &Path) -> PathBuf {
    of.with_file_name(format!("{}.sum.new", name(of)))
}

pub(super) fn directory(of: &Path) -> &Path {
    of.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// Sectors that change together.
#[derive(Default)]
pub(super) struct Change {
    /// Length of the file afterwards.
    pub(super) length: u64,
    pub(super) sectors: Sectors,
}

impl Change {
    pub(super) fn is_empty(&self) -> bool {
        self.sectors.is_empty()
    }

    /// Takes the bytes of its sectors from the content.
    pub(super) fn fill(&mut self, content: &[u8]) {
        for (sector, bytes) in &mut self.sectors {
            *bytes = super::slice(content, *sector).into();
        }
    }

    pub(super) fn extend(&mut self, later: Self) {
        self.length = later.length;
        self.sectors.extend(later.sectors);
    }
}

/// A log that is written.
pub(super) struct Log {
    of: PathBuf,
    file: Arc<dyn File>,
    /// Where the next record goes.
    end: u64,
    length: u64,
    sequence: u64,
    /// The last record says that all changes are in the file.
    is_applied: bool,
    /// It stands under its new name still.
    is_new: bool,
}

impl Log {
    /// Begins a log with the whole content, in place of the one that is there. Durable.
    pub(super) fn create(
        files: &dyn Files,
        of: &Path,
        content: &[u8],
        sequence: u64,
    ) -> io::Result<Self> {
        // The newest may still stand under the name of a new one.
        if files.entry(&new_path(of))?.is_some() && Read::is_newest(files, &new_path(of), of)? {
            files.rename(&new_path(of), &path(of))?;
            files.sync_directory(directory(of))?;
        }
        let mut log = Self::begin(files, of, content, sequence)?;
        log.file.sync(SyncKind::All)?;
        log.rename(files)?;
        files.sync_directory(directory(of))?;
        Ok(log)
    }

    fn begin(files: &dyn Files, of: &Path, content: &[u8], sequence: u64) -> io::Result<Self> {
        let new_path = new_path(of);
        if files.entry(&new_path)?.is_some() {
            files.remove(&new_path)?;
        }
        let (file, of) = (files.create(&new_path)?, of.to_path_buf());
        let (end, length, is_new) = (0, 0, true);
        let mut log = Self { of, file, end, length, sequence, is_applied: false, is_new };
        let sectors = content.chunks(SECTOR).enumerate();
        let sectors = sectors.filter(|(_, bytes)| bytes.iter().any(|&byte| byte != 0));
        let sectors = sectors.map(|(sector, bytes)| (sector, Box::from(bytes))).collect();
        let change = Change { length: content.len() as u64, sectors };
        log.put(WHOLE, change.length, &encode(&change))?;
        Ok(log)
    }

    /// Gives it its name. Not durable: it is found under either.
    fn rename(&mut self, files: &dyn Files) -> io::Result<()> {
        self.is_new = false;
        files.rename(&new_path(&self.of), &path(&self.of))
    }

    /// Whether it is time to begin it anew.
    pub(super) fn is_long(&self, content_length: usize) -> bool {
        self.end > content_length as u64 + SLACK
    }

    /// Records a change; in a log begun anew if the content before it is given.
    pub(super) fn append(
        &mut self,
        files: &dyn Files,
        whole: Option<&[u8]>,
        change: &Change,
    ) -> io::Result<Due> {
        let is_named = !self.is_new;
        if self.is_new {
            self.rename(files)?;
        }
        self.sequence += 1;
        if let Some(content) = whole {
            *self = Self::begin(files, &self.of.clone(), content, self.sequence)?;
            self.sequence += 1;
        }
        // Under one of its names it is there before the file changes, under the other before it is
        // begun anew.
        let is_named = is_named && whole.is_none();
        let directories =
            if is_named { Vec::new() } else { vec![directory(&self.of).to_path_buf()] };
        self.is_applied = false;
        self.put(CHANGED, change.length, &encode(change))?;
        Ok(Due { files: vec![self.file.clone()], directories })
    }

    /// Notes that the file holds everything.
    pub(super) fn on_applied(&mut self, modified: EpochNanos) -> io::Result<()> {
        if self.is_applied {
            return Ok(());
        }
        self.is_applied = true;
        self.put(APPLIED, 0, &modified.0.to_le_bytes())
    }

    fn put(&mut self, kind: u32, file_length: u64, body: &[u8]) -> io::Result<()> {
        let length = u32::try_from(body.len() + 4).map_err(io::Error::other)?;
        let mut record = Vec::with_capacity(HEADER_LENGTH + body.len() + 4);
        record.extend_from_slice(&MAGIC.to_le_bytes());
        record.extend_from_slice(&kind.to_le_bytes());
        record.extend_from_slice(&self.sequence.to_le_bytes());
        record.extend_from_slice(&file_length.to_le_bytes());
        record.extend_from_slice(&length.to_le_bytes());
        record.extend_from_slice(body);
        let checksum = checksum(&self.of, &record);
        record.extend_from_slice(&checksum.to_le_bytes());
        let end = self.end + record.len() as u64;
        if end > self.length {
            self.length = end.next_multiple_of(CHUNK);
            self.file.set_length(self.length)?;
        }
        write_all_at(&*self.file, &record, self.end)?;
        self.end = end;
        Ok(())
    }
}

fn encode(change: &Change) -> Vec<u8> {
    let mut body = Vec::with_capacity(change.sectors.len() * (SECTOR + 4));
    for (sector, bytes) in &change.sectors {
        body.extend_from_slice(&u32::try_from(*sector).unwrap_or(u32::MAX).to_le_bytes());
        body.extend_from_slice(bytes);
    }
    body
}

fn checksum(of: &Path, record: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(name(of).as_bytes()), record)
}

/// What a log says.
pub(super) struct Read {
    /// What the file has to hold.
    pub(super) content: Vec<u8>,
    /// The sectors of the last change, as they were before it.
    last: Sectors,
    /// When the file was written last, if all changes were in it.
    pub(super) applied: Option<EpochNanos>,
    /// When the log was written last.
    pub(super) modified: EpochNanos,
    pub(super) sequence: u64,
    /// Something stands behind the records that is none.
    pub(super) is_damaged: bool,
    /// A record between others is damaged.
    pub(super) is_rotten: bool,
    /// If a change is among those: the sectors that are known by later ones.
    known: Option<BTreeSet<usize>>,
}

impl Read {
    /// Reads the logs of a file; the one that goes further counts. `None` if none says anything.
    pub(super) fn newest(files: &dyn Files, of: &Path) -> io::Result<Option<Self>> {
        let mut newest: Option<Self> = None;
        for path in [path(of), new_path(of)] {
            if files.entry(&path)?.is_none() {
                continue;
            }
            let read = Self::open(&*files.open(&path)?, of)?;
            if let Some(read) = read
                && newest.as_ref().is_none_or(|it| it.sequence < read.sequence)
            {
                newest = Some(read);
            }
        }
        Ok(newest)
    }

    /// Whether the log at a path is the one that counts.
    fn is_newest(files: &dyn Files, path: &Path, of: &Path) -> io::Result<bool> {
        let own = Self::open(&*files.open(path)?, of)?.map(|read| read.sequence);
        let newest = Self::newest(files, of)?.map(|read| read.sequence);
        Ok(own.is_some() && own == newest)
    }

    fn open(file: &dyn File, of: &Path) -> io::Result<Option<Self>> {
        let length = file.length()?;
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        read_exact_at(file, &mut bytes, 0)?;
        let Some(first) = Record::decode(&bytes, of).filter(|it| it.kind == WHOLE) else {
            return Ok(None);
        };
        let mut read = Self {
            content: Vec::new(),
            last: Sectors::new(),
            applied: None,
            modified: file.modified()?,
            sequence: first.sequence,
            is_damaged: false,
            is_rotten: false,
            known: None,
        };
        read.take(&first)?;
        read.last.clear();
        let mut at = first.length;
        while let Some((skipped, record)) = Record::next(&bytes[at..], of) {
            at += skipped + record.length;
            read.follow(&record, skipped > 0)?;
        }
        read.is_damaged = length % CHUNK != 0 || bytes[at..].iter().any(|&byte| byte != 0);
        Ok(Some(read))
    }

    /// Goes on with the next record, before which there may be some that are damaged.
    fn follow(&mut self, record: &Record<'_>, is_behind_damage: bool) -> io::Result<()> {
        self.is_rotten |= is_behind_damage;
        let is_change = record.kind == CHANGED;
        let expected = self.sequence + u64::from(is_change);
        if record.sequence < expected {
            // An old copy of a part of the log.
            self.is_rotten = true;
            return Ok(());
        }
        if record.sequence > expected {
            // A change got lost, and with it what any sector holds.
            (self.is_rotten, self.known) = (true, Some(BTreeSet::new()));
            self.last.clear();
        }
        self.sequence = record.sequence;
        if !is_change {
            let time = record.body.first_chunk().copied().unwrap_or_default();
            self.applied = Some(EpochNanos(i64::from_le_bytes(time)));
            return Ok(());
        }
        // Whatever follows a change was written when that was in the file, or with it. If all that
        // is lost in front of this one is a record, it said that.
        if self.applied.is_some() || is_behind_damage {
            self.last.clear();
        }
        self.applied = None;
        self.take(record)
    }

    /// Whether the last change changes a sector.
    pub(super) fn changes(&self, sector: usize) -> bool {
        self.last.contains_key(&sector)
    }

    /// Whether a sector may have held this before the last change of it.
    pub(super) fn may_have_held(&self, sector: usize, there: &[u8]) -> bool {
        let old = self.last.get(&sector);
        old.is_some_and(|old| self.known.is_some() || super::is_fitted(old, there))
    }

    /// Takes from the file itself what damaged records told of it.
    pub(super) fn fill_from(&mut self, file: &[u8]) {
        let Some(known) = &self.known else { return };
        // Each change tells the length.
        if known.is_empty() {
            self.content.resize(file.len(), 0);
        }
        for (sector, bytes) in self.content.chunks_mut(SECTOR).enumerate() {
            let there = super::slice(file, sector);
            if !known.contains(&sector) {
                let count = bytes.len().min(there.len());
                bytes[..count].copy_from_slice(&there[..count]);
            }
        }
    }

    fn remember(&mut self, sector: usize) {
        let old = super::slice(&self.content, sector);
        self.last.entry(sector).or_insert_with(|| old.into());
    }

    /// Makes a change.
    fn take(&mut self, record: &Record<'_>) -> io::Result<()> {
        let old = self.content.len();
        let length = usize::try_from(record.file_length).map_err(io::Error::other)?;
        for sector in old.min(length) / SECTOR..old.max(length).div_ceil(SECTOR) {
            self.remember(sector);
        }
        self.content.resize(length, 0);
        let mut rest = record.body;
        while let Some((number, after)) = rest.split_first_chunk::<4>() {
            let sector = u32::from_le_bytes(*number) as usize;
            self.remember(sector);
            if let Some(known) = &mut self.known {
                known.insert(sector);
            }
            let begin = (sector * SECTOR).min(length);
            let target = &mut self.content[begin..(begin + SECTOR).min(length)];
            let Some((bytes, after)) = after.split_at_checked(target.len()) else {
                return Err(io::ErrorKind::InvalidData.into());
            };
            target.copy_from_slice(bytes);
            rest = after;
        }
        Ok(())
    }
}

struct Record<'a> {
    kind: u32,
    sequence: u64,
    file_length: u64,
    body: &'a [u8],
    /// Of the whole record.
    length: usize,
}

impl<'a> Record<'a> {
    /// The next one that is whole, and how many bytes stand before it.
    fn next(bytes: &'a [u8], of: &Path) -> Option<(usize, Self)> {
        let magic = MAGIC.to_le_bytes();
        let find = |(at, word): (usize, &[u8])| {
            let record = (word == magic).then(|| Self::decode(&bytes[at..], of))??;
            Some((at, record))
        };
        let mut found = bytes.windows(magic.len()).enumerate().filter_map(find);
        found.find(|(_, record)| matches!(record.kind, CHANGED | APPLIED))
    }

    fn decode(bytes: &'a [u8], of: &Path) -> Option<Self> {
        let word = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let long = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        if word(0)? != MAGIC {
            return None;
        }
        let length = HEADER_LENGTH.checked_add(word(24)? as usize)?;
        let (record, sum) = bytes.get(..length)?.split_last_chunk::<4>()?;
        let body = record.get(HEADER_LENGTH..)?;
        let is_whole = checksum(of, record) == u32::from_le_bytes(*sum);
        let (kind, sequence, file_length) = (word(4)?, long(8)?, long(16)?);
        is_whole.then_some(Self { kind, sequence, file_length, body, length })
    }
}
