//! The interface of `buffer` and `region` over model atomics, for the model checker.
//!
//! Loom's atomics cannot lie over raw bytes. A region is therefore a table of 8-byte cells, made
//! when first touched; narrower stores are read-modify-writes of their cell. Cells that nobody
//! touched are zero, as in a new region. A model calls [`Region::touch`] for what its threads
//! share, before it starts them: loom reports a cell that one thread makes and another uses.
//!
//! Loom forgets that a cell was loaded by one thread once the storing thread has loaded it too,
//! and then does not try the store first. Models therefore run twice: with loads as they are, which
//! shows stale values, and with [`Region::interleaved`] memory, where every access is a
//! read-modify-write and every order of two is tried.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use loom::sync::atomic::{AtomicU64, Ordering, fence};

/// Memory of the model.
pub struct Region {
    cells: Mutex<BTreeMap<usize, Arc<AtomicU64>>>,
    length: usize,
    is_interleaved: bool,
}

impl Region {
    /// `length` zero bytes.
    #[must_use]
    pub fn heap(length: usize) -> Arc<Self> {
        Arc::new(Self { cells: Mutex::default(), length, is_interleaved: false })
    }

    /// `length` zero bytes whose loads are read-modify-writes.
    #[must_use]
    pub fn interleaved(length: usize) -> Arc<Self> {
        Arc::new(Self { cells: Mutex::default(), length, is_interleaved: true })
    }

    /// How many bytes it has.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// Makes the cells of a range.
    pub fn touch(&self, range: std::ops::Range<usize>) {
        range.step_by(8).for_each(|offset| drop(self.cell(offset)));
    }

    fn cell(&self, offset: usize) -> Arc<AtomicU64> {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(cells.entry(offset / 8).or_insert_with(|| Arc::new(AtomicU64::new(0))))
    }

    fn store_cell(&self, cell: &AtomicU64, value: u64, order: Ordering) {
        match self.is_interleaved {
            true => drop(cell.swap(value, order)),
            false => cell.store(value, order),
        }
    }

    fn is_touched(&self, offset: usize) -> bool {
        let cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.contains_key(&(offset / 8))
    }

    /// The touched cells of a range of whole cells.
    fn touched(&self, offset: usize, length: usize) -> Vec<Arc<AtomicU64>> {
        let cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.range(offset / 8..(offset + length) / 8).map(|(_, cell)| Arc::clone(cell)).collect()
    }
}

/// A range of a [`Region`]; see `buffer::AtomicBuffer` of ordinary builds.
#[derive(Clone)]
pub struct AtomicBuffer {
    offset: usize,
    length: usize,
    region: Arc<Region>,
}

impl std::fmt::Debug for AtomicBuffer {
    fn fmt(&self, target: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(target, "AtomicBuffer({} bytes)", self.length)
    }
}

#[allow(missing_docs)] // The same methods as in ordinary builds.
impl AtomicBuffer {
    #[must_use]
    pub fn new(region: Arc<Region>) -> Self {
        Self { offset: 0, length: region.length, region }
    }

    #[must_use]
    pub fn slice(&self, offset: usize, length: usize) -> Self {
        assert!(offset % 8 == 0);
        Self { offset: self.at(offset, length), length, region: Arc::clone(&self.region) }
    }

    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    #[must_use]
    pub fn region(&self) -> &Arc<Region> {
        &self.region
    }

    fn at(&self, offset: usize, length: usize) -> usize {
        assert!(length <= self.length && offset <= self.length - length, "{length} at {offset}");
        self.offset + offset
    }

    fn word(&self, offset: usize, length: usize) -> usize {
        let at = self.at(offset, length);
        assert!(at % length == 0, "misaligned");
        at
    }

    fn load(&self, offset: usize, length: usize, order: Ordering) -> u64 {
        let at = self.word(offset, length);
        let cell = self.region.cell(at);
        let cell =
            if self.region.is_interleaved { cell.fetch_or(0, order) } else { cell.load(order) };
        (cell >> (8 * (at % 8))) & mask(length)
    }

    fn store(&self, offset: usize, length: usize, value: u64, order: Ordering) {
        let at = self.word(offset, length);
        let cell = self.region.cell(at);
        if length == 8 {
            return self.region.store_cell(&cell, value, order);
        }
        let shift = 8 * (at % 8);
        let keep = !(mask(length) << shift);
        let update = |old: u64| Some((old & keep) | ((value & mask(length)) << shift));
        cell.fetch_update(order, Ordering::Relaxed, update).expect("the update is always some");
    }

    #[must_use]
    pub fn load_i32(&self, offset: usize) -> i32 {
        self.load(offset, 4, Ordering::Relaxed) as i32
    }

    #[must_use]
    pub fn load_i32_acquire(&self, offset: usize) -> i32 {
        self.load(offset, 4, Ordering::Acquire) as i32
    }

    pub fn store_i32(&self, offset: usize, value: i32) {
        self.store(offset, 4, u64::from(value as u32), Ordering::Relaxed);
    }

    pub fn store_i32_release(&self, offset: usize, value: i32) {
        self.store(offset, 4, u64::from(value as u32), Ordering::Release);
    }

    pub fn fetch_add_i32(&self, offset: usize, delta: i32) -> i32 {
        loop {
            let old = self.load_i32_acquire(offset);
            if self.compare_exchange_i32(offset, old, old.wrapping_add(delta)) {
                return old;
            }
        }
    }

    pub fn compare_exchange_i32(&self, offset: usize, current: i32, new: i32) -> bool {
        let at = self.word(offset, 4);
        let shift = 8 * (at % 8);
        let update = |old: u64| {
            let found = (old >> shift) as i32 == current;
            let kept = old & !(mask(4) << shift);
            found.then_some(kept | (u64::from(new as u32) << shift))
        };
        self.region.cell(at).fetch_update(Ordering::AcqRel, Ordering::Acquire, update).is_ok()
    }

    #[must_use]
    pub fn load_i64(&self, offset: usize) -> i64 {
        self.load(offset, 8, Ordering::Relaxed) as i64
    }

    #[must_use]
    pub fn load_i64_acquire(&self, offset: usize) -> i64 {
        self.load(offset, 8, Ordering::Acquire) as i64
    }

    pub fn store_i64(&self, offset: usize, value: i64) {
        self.store(offset, 8, value as u64, Ordering::Relaxed);
    }

    pub fn store_i64_release(&self, offset: usize, value: i64) {
        self.store(offset, 8, value as u64, Ordering::Release);
    }

    pub fn fetch_add_i64(&self, offset: usize, delta: i64) -> i64 {
        let at = self.word(offset, 8);
        self.region.cell(at).fetch_add(delta as u64, Ordering::AcqRel) as i64
    }

    pub fn compare_exchange_i64(&self, offset: usize, current: i64, new: i64) -> bool {
        let at = self.word(offset, 8);
        self.region
            .cell(at)
            .compare_exchange(current as u64, new as u64, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    #[must_use]
    pub fn load_u8_acquire(&self, offset: usize) -> u8 {
        self.load(offset, 1, Ordering::Acquire) as u8
    }

    pub fn store_u8(&self, offset: usize, value: u8) {
        self.store(offset, 1, u64::from(value), Ordering::Relaxed);
    }

    pub fn store_u8_release(&self, offset: usize, value: u8) {
        self.store(offset, 1, u64::from(value), Ordering::Release);
    }

    pub fn store_header_first(&self, offset: usize, words: [i64; 4]) {
        self.store_i64_release(offset, words[0]);
        fence(Ordering::Release);
        for (index, word) in words.iter().enumerate().skip(1) {
            self.store_i64(offset + 8 * index, *word);
        }
    }

    pub fn store_header_last(&self, offset: usize, words: [i64; 4]) {
        for index in [3, 2, 1] {
            self.store_i64(offset + 8 * index, words[index]);
        }
        self.store_i64_release(offset, words[0]);
    }

    pub fn store_frame(&self, offset: usize, words: [i64; 4], payload: &[u8], length: i32) {
        self.store_header_first(offset, words);
        self.copy_in(offset + 32, payload);
        self.store_i32_release(offset, length);
    }

    pub(crate) fn prefetch(&self, _offset: usize) {}

    #[must_use]
    pub fn load_halves_acquire(&self, offset: usize) -> (i32, i32) {
        let first = self.load_i32_acquire(offset);
        (first, self.load_i32(offset + 4))
    }

    pub fn copy_in(&self, offset: usize, source: &[u8]) {
        self.at(offset, source.len());
        let (mut at, mut rest) = (offset, source);
        while !rest.is_empty() {
            let length = if at % 8 == 0 && rest.len() >= 8 { 8 } else { 1 };
            let mut word = [0; 8];
            word[..length].copy_from_slice(&rest[..length]);
            // Zeros that nobody touched need no cell: a log's metadata is mostly these.
            if word == [0; 8] && !self.region.is_touched(self.offset + at) {
                (at, rest) = (at + length, &rest[length..]);
                continue;
            }
            self.store(at, length, u64::from_le_bytes(word), Ordering::Relaxed);
            (at, rest) = (at + length, &rest[length..]);
        }
    }

    pub fn copy_out(&self, offset: usize, target: &mut [u8]) {
        self.at(offset, target.len());
        let mut at = 0;
        while at < target.len() {
            let length = if (offset + at) % 8 == 0 && target.len() - at >= 8 { 8 } else { 1 };
            let is_touched = self.region.is_touched(self.offset + offset + at);
            let word = match is_touched {
                true => self.load(offset + at, length, Ordering::Relaxed),
                false => 0,
            };
            let word = word.to_le_bytes();
            target[at..at + length].copy_from_slice(&word[..length]);
            at += length;
        }
    }

    pub fn copy_from(&self, offset: usize, source: &Self, source_offset: usize, length: usize) {
        let mut bytes = vec![0; length];
        source.copy_out(source_offset, &mut bytes);
        self.copy_in(offset, &bytes);
    }

    pub fn zero(&self, offset: usize, length: usize) {
        let at = self.at(offset, length);
        assert!(at % 8 == 0 && length % 8 == 0, "the model zeroes whole cells");
        for cell in self.region.touched(at, length) {
            self.region.store_cell(&cell, 0, Ordering::Relaxed);
        }
    }

    #[must_use]
    pub fn load_i64_unaligned(&self, offset: usize) -> i64 {
        let mut bytes = [0; 8];
        self.copy_out(offset, &mut bytes);
        i64::from_le_bytes(bytes)
    }

    /// # Safety
    /// None needed here: the bytes are copied.
    pub(crate) unsafe fn published(&self, offset: usize, length: usize) -> Bytes<'_> {
        let mut bytes = vec![0; length];
        self.copy_out(offset, &mut bytes);
        bytes.into()
    }
}

/// Bytes of a published range.
pub(crate) type Bytes<'a> = std::borrow::Cow<'a, [u8]>;

const fn mask(length: usize) -> u64 {
    if length == 8 { u64::MAX } else { (1 << (8 * length)) - 1 }
}

/// Orders the loads before it ahead of everything after it.
pub(crate) fn acquire_fence() {
    fence(Ordering::Acquire);
}

/// Orders everything before it ahead of the stores after it.
pub(crate) fn release_fence() {
    fence(Ordering::Release);
}
