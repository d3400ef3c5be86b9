//! [`AtomicBuffer`]: the one type that touches raw memory.

use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU8, Ordering, fence};

use crate::region::Region;

#[cfg(not(all(target_endian = "little", target_pointer_width = "64")))]
compile_error!(
    "shared layouts are little-endian and address up to 3 GiB: 64-bit little-endian only"
);

/// Longer copies are cut into pieces of this many bytes.
///
/// From about 2 KiB up the C library may copy with one string instruction, which runs at a
/// twentieth of the speed for unlucky distances between source and target (measured on Zen 3).
const COPY_PIECE_LENGTH: usize = 1024;

/// Length of the header of a frame in bytes: four words.
const HEADER_LENGTH: usize = 32;

/// A range of a [`Region`] that other threads and other processes read and write at any time.
///
/// Every method checks its range and alignment with an assertion that stays in release, so that
/// every method is safe for every argument; a failed one is a defect of this program, as lengths
/// found in memory are checked before they are used.
///
/// Why the unsafe code below is sound:
/// 1. *In bounds*: `base` is valid for reads and writes of `length` bytes, and each access lies
///    within.
/// 2. *Alive*: the `Arc<Region>` keeps the memory for as long as this value exists.
/// 3. *Aligned*: `base` is 8-aligned and offsets of atomics are multiples of their size.
/// 4. *No references*: bytes are loaded, stored and copied, never borrowed. The one exception is
///    `published`: bytes of a frame whose length was acquire-loaded positive are
///    not written until every subscriber position has passed it, which the publisher limit and the
///    cleaning rules ensure.
/// 5. *Racing copies*: words that pass between threads are atomics. Plain copies touch bytes that a
///    protocol gave to one side (a claimed range, a published record). Where a copy may race all
///    the same (a lapped broadcast receiver, another process that breaks the protocol) its bytes
///    are discarded or decoded by functions that are total over all byte values.
#[derive(Clone)]
pub struct AtomicBuffer {
    base: NonNull<u8>,
    length: usize,
    region: Arc<Region>,
}

// SAFETY: conditions 1 to 5 hold on every thread: nothing here belongs to one of them.
unsafe impl Send for AtomicBuffer {}
// SAFETY: as above; methods take `&self` and access memory by atomics or as condition 5 says.
unsafe impl Sync for AtomicBuffer {}

impl fmt::Debug for AtomicBuffer {
    fn fmt(&self, target: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(target, "AtomicBuffer({} of {} bytes)", self.length, self.region.length())
    }
}

impl AtomicBuffer {
    /// The whole of a region.
    ///
    /// # Panics
    /// When the region is not 8-aligned.
    #[must_use]
    pub fn new(region: Arc<Region>) -> Self {
        let base = region.base();
        assert!(base.addr().get().is_multiple_of(8), "a region begins 8-aligned");
        Self { base, length: region.length(), region }
    }

    /// `length` bytes from `offset`, sharing the region. Not for hot paths: it counts a reference.
    ///
    /// # Panics
    /// When the range is not inside, or `offset` no multiple of 8.
    #[must_use]
    pub fn slice(&self, offset: usize, length: usize) -> Self {
        assert!(offset.is_multiple_of(8), "slice at {offset} is not 8-aligned");
        let base = self.range(offset, length);
        Self { base, length, region: Arc::clone(&self.region) }
    }

    /// How many bytes it has.
    #[inline]
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// The region that it is part of.
    #[must_use]
    pub fn region(&self) -> &Arc<Region> {
        &self.region
    }

    /// Condition 1: the address of `length` bytes at `offset`.
    #[inline(always)]
    fn range(&self, offset: usize, length: usize) -> NonNull<u8> {
        if length > self.length || offset > self.length - length {
            out_of_bounds(offset, length, self.length);
        }
        // SAFETY: condition 1, as just checked.
        unsafe { self.base.add(offset) }
    }

    /// Conditions 1 and 3: the address of a word of `N` bytes at `offset`.
    #[inline(always)]
    fn word<const N: usize>(&self, offset: usize) -> NonNull<u8> {
        let address = self.range(offset, N);
        if offset & (N - 1) != 0 {
            misaligned(offset, N);
        }
        address
    }

    #[inline(always)]
    fn i32_at(&self, offset: usize) -> &AtomicI32 {
        let address = self.word::<4>(offset);
        // SAFETY: conditions 1 to 3; an atomic may be shared with anybody.
        unsafe { AtomicI32::from_ptr(address.as_ptr().cast()) }
    }

    #[inline(always)]
    fn i64_at(&self, offset: usize) -> &AtomicI64 {
        let address = self.word::<8>(offset);
        // SAFETY: conditions 1 to 3; an atomic may be shared with anybody.
        unsafe { AtomicI64::from_ptr(address.as_ptr().cast()) }
    }

    #[inline(always)]
    fn u8_at(&self, offset: usize) -> &AtomicU8 {
        let address = self.word::<1>(offset);
        // SAFETY: conditions 1 to 3; an atomic may be shared with anybody.
        unsafe { AtomicU8::from_ptr(address.as_ptr()) }
    }

    /// Loads an `i32` without ordering.
    #[inline]
    #[must_use]
    pub fn load_i32(&self, offset: usize) -> i32 {
        self.i32_at(offset).load(Ordering::Relaxed)
    }

    /// Loads an `i32`; what its writer did before its release store is visible afterwards.
    #[inline]
    #[must_use]
    pub fn load_i32_acquire(&self, offset: usize) -> i32 {
        self.i32_at(offset).load(Ordering::Acquire)
    }

    /// Stores an `i32` without ordering.
    #[inline]
    pub fn store_i32(&self, offset: usize, value: i32) {
        self.i32_at(offset).store(value, Ordering::Relaxed);
    }

    /// Stores an `i32` after everything that this thread did before.
    #[inline]
    pub fn store_i32_release(&self, offset: usize, value: i32) {
        self.i32_at(offset).store(value, Ordering::Release);
    }

    /// Adds to an `i32` and returns what it was before.
    #[inline]
    pub fn fetch_add_i32(&self, offset: usize, delta: i32) -> i32 {
        self.i32_at(offset).fetch_add(delta, Ordering::AcqRel)
    }

    /// Stores `new` if the `i32` is `current`; whether it was.
    #[inline]
    pub fn compare_exchange_i32(&self, offset: usize, current: i32, new: i32) -> bool {
        self.i32_at(offset)
            .compare_exchange(current, new, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Loads an `i64` without ordering.
    #[inline]
    #[must_use]
    pub fn load_i64(&self, offset: usize) -> i64 {
        self.i64_at(offset).load(Ordering::Relaxed)
    }

    /// Loads an `i64`; what its writer did before its release store is visible afterwards.
    #[inline]
    #[must_use]
    pub fn load_i64_acquire(&self, offset: usize) -> i64 {
        self.i64_at(offset).load(Ordering::Acquire)
    }

    /// Stores an `i64` without ordering.
    #[inline]
    pub fn store_i64(&self, offset: usize, value: i64) {
        self.i64_at(offset).store(value, Ordering::Relaxed);
    }

    /// Stores an `i64` after everything that this thread did before.
    #[inline]
    pub fn store_i64_release(&self, offset: usize, value: i64) {
        self.i64_at(offset).store(value, Ordering::Release);
    }

    /// Adds to an `i64` and returns what it was before.
    #[inline]
    pub fn fetch_add_i64(&self, offset: usize, delta: i64) -> i64 {
        self.i64_at(offset).fetch_add(delta, Ordering::AcqRel)
    }

    /// Stores `new` if the `i64` is `current`; whether it was.
    #[inline]
    pub fn compare_exchange_i64(&self, offset: usize, current: i64, new: i64) -> bool {
        self.i64_at(offset)
            .compare_exchange(current, new, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Loads a byte; what its writer did before its release store is visible afterwards.
    #[inline]
    #[must_use]
    pub fn load_u8_acquire(&self, offset: usize) -> u8 {
        self.u8_at(offset).load(Ordering::Acquire)
    }

    /// Stores a byte without ordering.
    #[inline]
    pub fn store_u8(&self, offset: usize, value: u8) {
        self.u8_at(offset).store(value, Ordering::Relaxed);
    }

    /// Stores a byte after everything that this thread did before.
    #[inline]
    pub fn store_u8_release(&self, offset: usize, value: u8) {
        self.u8_at(offset).store(value, Ordering::Release);
    }

    /// Stores the first of four words so that it is visible before the other three: the header of a
    /// frame that is being written.
    #[inline]
    pub fn store_header_first(&self, offset: usize, words: [i64; 4]) {
        let address = self.range(offset, 32);
        if offset & 7 != 0 {
            misaligned(offset, 8);
        }
        // SAFETY: conditions 1 to 3: 32 aligned bytes are four atomics.
        let cells = unsafe { &*address.as_ptr().cast::<[AtomicI64; 4]>() };
        cells[0].store(words[0], Ordering::Release);
        // Release: orders the first store before all that follow, for whoever acquires one of them.
        fence(Ordering::Release);
        cells[1].store(words[1], Ordering::Relaxed);
        cells[2].store(words[2], Ordering::Relaxed);
        cells[3].store(words[3], Ordering::Relaxed);
    }

    /// Stores the words at +24, +16 and +8, and last, by release, the first: the header of a frame
    /// whose other bytes are in place.
    #[inline]
    pub fn store_header_last(&self, offset: usize, words: [i64; 4]) {
        let address = self.range(offset, 32);
        if offset & 7 != 0 {
            misaligned(offset, 8);
        }
        // SAFETY: conditions 1 to 3: 32 aligned bytes are four atomics.
        let cells = unsafe { &*address.as_ptr().cast::<[AtomicI64; 4]>() };
        cells[3].store(words[3], Ordering::Relaxed);
        cells[2].store(words[2], Ordering::Relaxed);
        cells[1].store(words[1], Ordering::Relaxed);
        // Release: pairs with the acquire load of a frame length by readers.
        cells[0].store(words[0], Ordering::Release);
    }

    /// Writes a whole frame: its header as by [`AtomicBuffer::store_header_first`], the payload
    /// behind it, and last, by release, its length into the first half of the first word.
    #[inline]
    pub fn store_frame(&self, offset: usize, words: [i64; 4], payload: &[u8], length: i32) {
        let address = self.range(offset, HEADER_LENGTH + payload.len());
        if offset & 7 != 0 {
            misaligned(offset, 8);
        }
        // SAFETY: conditions 1 to 3: 32 aligned bytes are four atomics.
        let cells = unsafe { &*address.as_ptr().cast::<[AtomicI64; 4]>() };
        cells[0].store(words[0], Ordering::Release);
        // Release: as in `store_header_first`.
        fence(Ordering::Release);
        cells[1].store(words[1], Ordering::Relaxed);
        cells[2].store(words[2], Ordering::Relaxed);
        cells[3].store(words[3], Ordering::Relaxed);
        // SAFETY: condition 1: the payload lies in the range that was checked, behind the header.
        let target = unsafe { address.add(HEADER_LENGTH) };
        // SAFETY: condition 1, as just argued.
        unsafe { copy_to(target, payload) };
        // SAFETY: conditions 1 to 3; an atomic may be shared with anybody.
        let first = unsafe { AtomicI32::from_ptr(address.as_ptr().cast()) };
        // Release: pairs with the acquire load of a frame length by readers.
        first.store(length, Ordering::Release);
    }

    /// Asks for the line at `offset`, which may lie anywhere, to be brought near.
    #[inline]
    pub(crate) fn prefetch(&self, offset: usize) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let address = self.base.as_ptr().wrapping_add(offset);
            // SAFETY: a hint: it touches no memory and cannot fault, whatever the address.
            unsafe { _mm_prefetch(address.cast_const().cast(), _MM_HINT_T0) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = offset;
    }

    /// Loads the two halves of the word at `offset`: the first by acquire, then the other.
    #[inline]
    #[must_use]
    pub fn load_halves_acquire(&self, offset: usize) -> (i32, i32) {
        let address = self.word::<8>(offset);
        // SAFETY: conditions 1 to 3: 8 aligned bytes are two atomics.
        let cells = unsafe { &*address.as_ptr().cast::<[AtomicI32; 2]>() };
        let first = cells[0].load(Ordering::Acquire);
        (first, cells[1].load(Ordering::Relaxed))
    }

    /// Copies `source` to `offset`, without ordering.
    #[inline]
    pub fn copy_in(&self, offset: usize, source: &[u8]) {
        let target = self.range(offset, source.len());
        // SAFETY: condition 1 as checked by `range`.
        unsafe { copy_to(target, source) };
    }

    /// Fills `target` with the bytes at `offset`, without ordering.
    #[inline]
    pub fn copy_out(&self, offset: usize, target: &mut [u8]) {
        let mut source = self.range(offset, target.len());
        for piece in target.chunks_mut(COPY_PIECE_LENGTH) {
            let (bytes, length) = (piece.as_mut_ptr(), piece.len());
            // SAFETY: condition 1 as checked by `range`; condition 5 for races.
            unsafe { ptr::copy_nonoverlapping(source.as_ptr(), bytes, length) };
            // SAFETY: condition 1: the pieces add up to the length that was checked.
            source = unsafe { source.add(length) };
        }
    }

    /// Copies `length` bytes of another buffer to `offset`, without ordering. The two may overlap.
    pub fn copy_from(&self, offset: usize, source: &Self, source_offset: usize, length: usize) {
        let target = self.range(offset, length);
        let source = source.range(source_offset, length);
        // SAFETY: condition 1 for both ranges; condition 5 for races; `copy` allows overlap.
        unsafe { ptr::copy(source.as_ptr(), target.as_ptr(), length) };
    }

    /// Sets `length` bytes at `offset` to zero, without ordering.
    #[inline]
    pub fn zero(&self, offset: usize, length: usize) {
        let target = self.range(offset, length);
        // SAFETY: condition 1 as checked by `range`; condition 5 for races.
        unsafe { ptr::write_bytes(target.as_ptr(), 0, length) };
    }

    /// Loads an `i64` that need not be aligned, without ordering or atomicity.
    #[must_use]
    pub fn load_i64_unaligned(&self, offset: usize) -> i64 {
        let mut bytes = [0; 8];
        self.copy_out(offset, &mut bytes);
        i64::from_le_bytes(bytes)
    }

    /// The bytes of a published range, in place.
    ///
    /// # Safety
    /// Condition 4: the range is part of frames whose lengths were acquire-loaded positive (or that
    /// this thread has claimed), and whoever calls keeps a position that stops their re-use for as
    /// long as the bytes are borrowed.
    #[inline]
    pub(crate) unsafe fn published(&self, offset: usize, length: usize) -> Bytes<'_> {
        let address = self.range(offset, length);
        // SAFETY: conditions 1 and 2; condition 4 by the caller.
        unsafe { std::slice::from_raw_parts(address.as_ptr(), length) }
    }
}

/// Copies `source` to `target`, in pieces.
///
/// # Safety
/// Condition 1: `target` begins as many bytes of an [`AtomicBuffer`] as `source` has.
#[inline(always)]
unsafe fn copy_to(mut target: NonNull<u8>, source: &[u8]) {
    if source.len() <= COPY_PIECE_LENGTH {
        // SAFETY: condition 1 by the caller; condition 5 for races; `source` is a reference, so by
        // condition 4 it is not part of this memory.
        unsafe { ptr::copy_nonoverlapping(source.as_ptr(), target.as_ptr(), source.len()) };
        return;
    }
    for piece in source.chunks(COPY_PIECE_LENGTH) {
        // SAFETY: as above, for a part of the same range.
        unsafe { ptr::copy_nonoverlapping(piece.as_ptr(), target.as_ptr(), piece.len()) };
        // SAFETY: condition 1: the pieces add up to the length of the source.
        target = unsafe { target.add(piece.len()) };
    }
}

/// Bytes in place; a copy of them in the model checker's buffer.
pub(crate) type Bytes<'a> = &'a [u8];

/// Orders the loads before it ahead of everything after it.
#[inline]
pub(crate) fn acquire_fence() {
    fence(Ordering::Acquire);
}

/// Orders everything before it ahead of the stores after it.
#[inline]
pub(crate) fn release_fence() {
    fence(Ordering::Release);
}

#[cold]
#[inline(never)]
fn out_of_bounds(offset: usize, length: usize, available: usize) -> ! {
    panic!("{length} bytes at {offset} are not inside a buffer of {available}");
}

#[cold]
#[inline(never)]
fn misaligned(offset: usize, length: usize) -> ! {
    panic!("offset {offset} is not aligned for a word of {length} bytes");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(length: usize) -> AtomicBuffer {
        AtomicBuffer::new(Region::heap(length))
    }

    #[test]
    fn words_are_little_endian_bytes() {
        let buffer = buffer(64);
        buffer.store_i64_release(8, 0x0102_0304_0506_0708);
        let mut bytes = [0; 8];
        buffer.copy_out(8, &mut bytes);
        assert_eq!(bytes, [8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(buffer.load_i32_acquire(12), 0x0102_0304);
        assert_eq!(buffer.load_i64_unaligned(9), 0x01_0203_0405_0607);
    }

    #[test]
    fn long_copies_arrive_whole_whatever_their_length() {
        let buffer = buffer(16 * 1024);
        for length in [0, 1, 1023, 1024, 1025, 2048, 5000, 9999] {
            let source: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            buffer.zero(0, buffer.length());
            buffer.copy_in(17, &source);
            let mut target = vec![0; length];
            buffer.copy_out(17, &mut target);
            assert_eq!(source, target);
            assert_eq!(buffer.load_u8_acquire(16), 0);
            assert_eq!(buffer.load_u8_acquire(17 + length), 0);
        }
    }

    #[test]
    fn a_slice_sees_its_part_only() {
        let whole = buffer(64);
        let part = whole.slice(16, 16);
        part.store_i32(12, 7);
        assert_eq!((whole.load_i32(28), part.length()), (7, 16));
    }

    #[test]
    #[should_panic(expected = "8 bytes at 64 are not inside a buffer of 64")]
    fn words_beyond_the_end_are_refused() {
        let _ = buffer(64).load_i64(64);
    }

    #[test]
    #[should_panic(expected = "not inside")]
    fn lengths_that_would_wrap_are_refused() {
        buffer(64).zero(8, usize::MAX);
    }

    #[test]
    #[should_panic(expected = "not aligned")]
    fn words_across_their_alignment_are_refused() {
        let _ = buffer(64).load_i64(12);
    }

    #[test]
    fn headers_are_four_words_in_place() {
        let buffer = buffer(64);
        buffer.store_header_first(32, [1, 2, 3, 4]);
        assert_eq!([32, 40, 48, 56].map(|at| buffer.load_i64(at)), [1, 2, 3, 4]);
        buffer.store_header_last(0, [5, 6, 7, 8]);
        assert_eq!([0, 8, 16, 24].map(|at| buffer.load_i64(at)), [5, 6, 7, 8]);
    }
}
