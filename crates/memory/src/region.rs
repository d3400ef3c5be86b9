//! Memory that is owned: from the heap, or mapped by whoever hands it over.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::any::Any;
use std::ptr::NonNull;
use std::sync::Arc;

/// Alignment of heap regions: a page, like mapped ones.
const PAGE_LENGTH: usize = 4096;
/// What allocators align to without effort.
const ALLOCATOR_ALIGNMENT: usize = 8;

/// A block of memory that other threads and other processes may write at any time.
///
/// It hands out no references; [`AtomicBuffer`](crate::buffer::AtomicBuffer) is the way in. It
/// lives as long as the last `Arc` of it.
pub struct Region {
    base: NonNull<u8>,
    length: usize,
    _owner: Box<dyn Any + Send + Sync>,
}

// SAFETY: the pointer is only ever used through atomic operations and the checked copies of
// `AtomicBuffer`, whose documentation argues why they are sound from any thread.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// `length` zero bytes from the heap, aligned to a page. Pages are made when first used.
    ///
    /// # Panics
    /// When `length` is zero or beyond what the address space holds.
    #[must_use]
    pub fn heap(length: usize) -> Arc<Self> {
        assert!(length > 0, "a region has at least one byte");
        // The allocator clears what it aligns beyond its own measure by hand, which would make
        // every page at once: it is asked for one page more, and the base is aligned here.
        let layout = length
            .checked_add(PAGE_LENGTH)
            .and_then(|length| Layout::from_size_align(length, ALLOCATOR_ALIGNMENT).ok())
            .unwrap_or_else(|| panic!("a region of {length} bytes is too long"));
        // SAFETY: the layout's size is above zero.
        let block = unsafe { alloc_zeroed(layout) };
        let Some(block) = NonNull::new(block) else { handle_alloc_error(layout) };
        let skipped = block.align_offset(PAGE_LENGTH);
        assert!(skipped <= PAGE_LENGTH, "a block cannot be aligned to a page");
        // SAFETY: at most a page is skipped, and the block is a page longer than the region.
        let base = unsafe { block.add(skipped) };
        let owner = Box::new(HeapBlock { block, layout });
        Arc::new(Self { base, length, _owner: owner })
    }

    /// Memory that `owner` keeps valid, such as a mapped file.
    ///
    /// # Safety
    /// 1. `base` is valid for reads and writes of `length` bytes and aligned to 8 until `owner` is
    ///    dropped.
    /// 2. Nobody in this process holds a Rust reference to these bytes.
    pub unsafe fn from_owner(
        base: NonNull<u8>,
        length: usize,
        owner: Box<dyn Any + Send + Sync>,
    ) -> Arc<Self> {
        Arc::new(Self { base, length, _owner: owner })
    }

    /// How many bytes it has.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// Where it begins.
    #[must_use]
    pub fn base(&self) -> NonNull<u8> {
        self.base
    }
}

struct HeapBlock {
    block: NonNull<u8>,
    layout: Layout,
}

// SAFETY: it only frees the block, once, from whichever thread drops it last.
unsafe impl Send for HeapBlock {}
// SAFETY: it has no methods.
unsafe impl Sync for HeapBlock {}

impl Drop for HeapBlock {
    fn drop(&mut self) {
        // SAFETY: `block` came from `alloc_zeroed` with this very layout and is freed only here.
        unsafe { dealloc(self.block.as_ptr(), self.layout) };
    }
}
