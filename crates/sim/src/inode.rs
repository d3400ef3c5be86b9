//! The bytes of one simulated file: plain, until somebody maps it; and those of them that a power
//! cut leaves.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use memory::buffer::AtomicBuffer;
use memory::region::Region;
use runtime::EpochNanos;
use runtime::random::Rng;

use crate::crash::SECTOR;
use crate::disk_faults::DiskFaults;
use crate::journal::{Event, FileId, Journal};
use crate::lock;

enum Content {
    /// Shared with an image from which it was loaded, until it changes.
    Plain(Arc<Vec<u8>>),
    Mapped(AtomicBuffer),
}

/// What is written to the disk or not goes by blocks.
const BLOCK_LENGTH: u64 = 4_096;

/// What a disk holds for sure, as far as it differs from the content.
#[derive(Default)]
struct Durable {
    /// How long the file is on the disk.
    length: u64,
    /// By number of the block. Of a plain file those that were written since the last sync, as they
    /// were before; of a mapped one, which nobody sees being written, all that were ever synced.
    blocks: BTreeMap<u64, Box<[u8]>>,
}

/// One file, whatever its names.
pub(crate) struct Inode {
    faults: Arc<DiskFaults>,
    state: Mutex<State>,
}

struct State {
    content: Content,
    durable: Durable,
    watch: Option<Watch>,
    /// When it was written last, other than through a mapping.
    modified: EpochNanos,
}

/// Who keeps a journal of a file.
struct Watch {
    journal: Journal,
    file: FileId,
    /// What the journal knows of a mapped file's bytes.
    known: Vec<u8>,
}

impl Inode {
    pub(crate) fn new(faults: Arc<DiskFaults>) -> Self {
        let (content, durable) = (Content::Plain(Arc::default()), Durable::default());
        let modified = faults.time();
        let state = State { content, durable, watch: None, modified };
        Self { faults, state: Mutex::new(state) }
    }

    /// A file with bytes in it, all durable.
    pub(crate) fn holding(
        faults: Arc<DiskFaults>,
        bytes: &Arc<Vec<u8>>,
        modified: EpochNanos,
    ) -> Self {
        let length = bytes.len() as u64;
        faults.put(length);
        let content = Content::Plain(Arc::clone(bytes));
        let durable = Durable { length, blocks: BTreeMap::new() };
        Self { faults, state: Mutex::new(State { content, durable, watch: None, modified }) }
    }

    /// Tells a journal of everything from now on.
    pub(crate) fn watch(&self, journal: Journal, file: FileId) {
        lock(&self.state).watch = Some(Watch { journal, file, known: Vec::new() });
    }

    /// Tells the journal what was stored into a mapped file since the last time.
    pub(crate) fn capture(&self) {
        lock(&self.state).capture();
    }

    pub(crate) fn length(&self) -> u64 {
        lock(&self.state).content.length()
    }

    pub(crate) fn modified(&self) -> EpochNanos {
        lock(&self.state).modified
    }

    /// All its bytes.
    pub(crate) fn bytes(&self) -> Arc<Vec<u8>> {
        match &lock(&self.state).content {
            Content::Plain(bytes) => Arc::clone(bytes),
            Content::Mapped(buffer) => {
                let mut bytes = vec![0; buffer.length()];
                buffer.copy_out(0, &mut bytes);
                Arc::new(bytes)
            }
        }
    }

    /// The file as memory: the same for everybody who maps it.
    pub(crate) fn map(&self) -> io::Result<Arc<Region>> {
        let mut state = lock(&self.state);
        let state = &mut *state;
        let bytes = match &state.content {
            Content::Plain(bytes) if bytes.is_empty() => {
                return Err(io::ErrorKind::InvalidData.into());
            }
            Content::Plain(bytes) => bytes,
            Content::Mapped(buffer) => return Ok(Arc::clone(buffer.region())),
        };
        let region = Region::heap(bytes.len());
        let buffer = AtomicBuffer::new(Arc::clone(&region));
        // A new region is zeros.
        for (index, chunk) in bytes.chunks(BLOCK_LENGTH as usize).enumerate() {
            if chunk.iter().any(|&byte| byte != 0) {
                buffer.copy_in(index * BLOCK_LENGTH as usize, chunk);
            }
        }
        state.remember(0..state.durable.length);
        if let (Some(watch), Content::Plain(bytes)) = (&mut state.watch, &state.content) {
            watch.known.clone_from(&**bytes);
        }
        state.content = Content::Mapped(buffer);
        Ok(region)
    }

    /// A file of zeros that is mapped from the beginning: its pages are made when first used.
    pub(crate) fn create_mapped(&self, length: u64) -> io::Result<Arc<Region>> {
        let size = usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
        if size == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.faults.take(length)?;
        let region = Region::heap(size);
        let mut state = lock(&self.state);
        state.content = Content::Mapped(AtomicBuffer::new(Arc::clone(&region)));
        state.tell(|file| Event::Resized { file, length });
        if let Some(watch) = &mut state.watch {
            watch.known = vec![0; size];
        }
        Ok(region)
    }

    pub(crate) fn read_at(&self, target: &mut [u8], offset: u64) -> io::Result<usize> {
        let count = self.read_unharmed(target, offset);
        self.faults.on_read(&mut target[..count])?;
        Ok(count)
    }

    pub(crate) fn read_unharmed(&self, target: &mut [u8], offset: u64) -> usize {
        lock(&self.state).content.read_at(target, offset)
    }

    pub(crate) fn write_at(&self, source: &[u8], offset: u64) -> io::Result<usize> {
        let (offset, length) = self.faults.on_write((offset, source.len()), self.length())?;
        let source = &source[..length];
        let end = offset.checked_add(source.len() as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        let mut state = lock(&self.state);
        state.capture();
        if end > state.content.length() {
            state.resize(end, &self.faults)?;
        }
        state.remember_if_plain(offset..end);
        state.modified = self.faults.time();
        let at = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        state.content.write_at(source, at);
        if matches!(state.content, Content::Mapped(_)) {
            state.capture();
        } else {
            state.tell(|file| Event::Wrote { file, offset, bytes: source.into() });
        }
        Ok(source.len())
    }

    pub(crate) fn set_length(&self, length: u64) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.capture();
        state.resize(length, &self.faults)?;
        state.modified = self.faults.time();
        state.tell(|file| Event::Resized { file, length });
        Ok(())
    }

    /// Makes the whole file durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.sync_range(0..usize::MAX)
    }

    /// Makes at least a range of the file durable.
    pub(crate) fn sync_range(&self, range: Range<usize>) -> io::Result<()> {
        if !self.faults.on_sync()? {
            return Ok(());
        }
        self.make_durable(range);
        Ok(())
    }

    /// Makes all of it durable without asking the disk.
    pub(crate) fn settle(&self) {
        self.make_durable(0..usize::MAX);
    }

    fn make_durable(&self, range: Range<usize>) {
        let mut state = lock(&self.state);
        state.capture();
        if range.start == 0 && range.end as u64 >= state.content.length() {
            state.tell(|file| Event::Synced { file });
        }
        let State { content, durable, .. } = &mut *state;
        durable.length = content.length();
        if matches!(content, Content::Plain(_)) {
            durable.blocks.clear();
        } else {
            let end = durable.length.min(range.end as u64);
            for block in blocks_of(range.start as u64..end) {
                durable.blocks.insert(block, content.block(block));
            }
        }
    }

    /// Flips one bit that stands in the company of others, on the disk and in every mapping;
    /// returns where, or `None` where nothing but zeros is.
    pub(crate) fn rot(&self, rng: &mut Rng) -> Option<u64> {
        let mut state = lock(&self.state);
        let length = state.content.length();
        for _ in 0..16 {
            let at = rng.below(length);
            let mut byte = [0];
            state.content.read_at(&mut byte, at);
            if byte[0] != 0 {
                byte[0] ^= 1 << rng.below(8);
                state.content.write_at(&byte, usize::try_from(at).ok()?);
                return Some(at);
            }
        }
        // Most of it is zeros.
        let mut all = vec![0; usize::try_from(length).ok()?];
        state.content.read_at(&mut all, 0);
        let others: Vec<usize> = (0..all.len()).filter(|&at| all[at] != 0).collect();
        let chosen = rng.below(others.len() as u64);
        let at = *others.get(usize::try_from(chosen).ok()?)?;
        state.content.write_at(&[all[at] ^ 1 << rng.below(8)], at);
        Some(at as u64)
    }

    /// What is not durable is there afterwards or not, block by block.
    pub(crate) fn power_cut(&self, rng: &mut Rng) {
        let mut state = lock(&self.state);
        let State { content, durable, modified, .. } = &*state;
        let modified = *modified;
        let (old, mapped) = (content.length(), matches!(content, Content::Mapped(_)));
        let length = if rng.chance(0.5) { old } else { durable.length };
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        for (block, target) in (0_u64..).zip(bytes.chunks_mut(BLOCK_LENGTH as usize)) {
            let begin = block * BLOCK_LENGTH;
            let saved = durable.blocks.get(&block);
            let is_certain = saved.is_none() && !mapped && begin < durable.length;
            let (new, old) = (content.block(block), saved.map_or(&[][..], |saved| saved));
            if is_certain {
                copy_start(&new, target);
            } else if self.faults.tears() {
                tear(&new, old, target, rng);
            } else {
                copy_start(if rng.chance(0.5) { &new } else { old }, target);
            }
        }
        self.faults.give_back(old);
        self.faults.put(length);
        *state = State {
            content: Content::Plain(Arc::new(bytes)),
            durable: Durable { length, blocks: BTreeMap::new() },
            watch: None,
            modified,
        };
    }
}

/// As much of `source` as there is room for.
fn copy_start(source: &[u8], target: &mut [u8]) {
    let count = source.len().min(target.len());
    target[..count].copy_from_slice(&source[..count]);
}

/// Each sector is the new one or the old one, by itself; where there was no old one, zeros.
fn tear(new: &[u8], old: &[u8], target: &mut [u8], rng: &mut Rng) {
    for (number, sector) in target.chunks_mut(SECTOR).enumerate() {
        let source = if rng.chance(0.5) { new } else { old };
        copy_start(source.get(number * SECTOR..).unwrap_or(&[]), sector);
    }
}

/// Numbers of the blocks that a range touches.
fn blocks_of(range: Range<u64>) -> Range<u64> {
    if range.is_empty() {
        return 0..0;
    }
    range.start / BLOCK_LENGTH..range.end.div_ceil(BLOCK_LENGTH)
}

impl State {
    fn tell(&self, event: impl FnOnce(FileId) -> Event) {
        if let Some(watch) = &self.watch {
            watch.journal.push(event(watch.file));
        }
    }

    fn capture(&mut self) {
        let (Some(watch), Content::Mapped(buffer)) = (&mut self.watch, &self.content) else {
            return;
        };
        let mut bytes = vec![0; buffer.length()];
        buffer.copy_out(0, &mut bytes);
        watch.known.resize(bytes.len(), 0);
        for (number, (old, new)) in
            (0_u64..).zip(watch.known.chunks(SECTOR).zip(bytes.chunks(SECTOR)))
        {
            if old != new {
                let (file, offset) = (watch.file, number * SECTOR as u64);
                watch.journal.push(Event::Wrote { file, offset, bytes: new.into() });
            }
        }
        watch.known = bytes;
    }

    /// Keeps what the disk holds in a range, before it is overwritten.
    fn remember(&mut self, range: Range<u64>) {
        for block in blocks_of(range.start..range.end.min(self.durable.length)) {
            if !self.durable.blocks.contains_key(&block) {
                self.durable.blocks.insert(block, self.content.block(block));
            }
        }
    }

    fn remember_if_plain(&mut self, range: Range<u64>) {
        if matches!(self.content, Content::Plain(_)) {
            self.remember(range);
        }
    }

    /// A mapped file cannot change its length while somebody has it mapped: in this world the new
    /// mapping could not share memory with the old one.
    fn resize(&mut self, length: u64, faults: &DiskFaults) -> io::Result<()> {
        let old = self.content.length();
        if length == old {
            return Ok(());
        }
        let size = usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
        if let Content::Mapped(buffer) = &self.content {
            if Arc::strong_count(buffer.region()) > 1 {
                return Err(io::Error::other("a file that is mapped cannot change its length"));
            }
            let mut bytes = vec![0; buffer.length()];
            buffer.copy_out(0, &mut bytes);
            for block in blocks_of(0..self.durable.length) {
                self.durable.blocks.entry(block).or_default();
            }
            self.content = Content::Plain(Arc::new(bytes));
        }
        if length > old {
            faults.expect_sane(length)?;
            faults.take(length - old)?;
        } else {
            faults.give_back(old - length);
        }
        self.remember(length..old);
        if let Content::Plain(bytes) = &mut self.content {
            Arc::make_mut(bytes).resize(size, 0);
        }
        Ok(())
    }
}

impl Drop for Inode {
    fn drop(&mut self) {
        self.faults.give_back(self.length());
    }
}

impl Content {
    fn length(&self) -> u64 {
        match self {
            Self::Plain(bytes) => bytes.len() as u64,
            Self::Mapped(buffer) => buffer.length() as u64,
        }
    }

    fn read_at(&self, target: &mut [u8], offset: u64) -> usize {
        let left = self.length().saturating_sub(offset);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(target.len());
        let Ok(offset) = usize::try_from(offset) else { return 0 };
        match self {
            _ if count == 0 => {}
            Self::Plain(bytes) => target[..count].copy_from_slice(&bytes[offset..offset + count]),
            Self::Mapped(buffer) => buffer.copy_out(offset, &mut target[..count]),
        }
        count
    }

    fn write_at(&mut self, source: &[u8], at: usize) {
        match self {
            Self::Plain(bytes) => {
                Arc::make_mut(bytes)[at..at + source.len()].copy_from_slice(source);
            }
            Self::Mapped(buffer) => buffer.copy_in(at, source),
        }
    }

    /// The bytes of one block; fewer at the end of the file.
    fn block(&self, block: u64) -> Box<[u8]> {
        let mut bytes = vec![0; BLOCK_LENGTH as usize];
        let count = self.read_at(&mut bytes, block * BLOCK_LENGTH);
        bytes.truncate(count);
        bytes.into()
    }
}
