//! Publishing and polling allocate nothing once they run.

#![allow(unsafe_code)] // A global allocator is one.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use client::{FragmentAssembler, OfferError};

use crate::bed::Bed;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: it only counts, and leaves the work to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(address, layout) }
    }
}

#[test]
fn the_counter_counts() {
    let before = ALLOCATIONS.get();
    drop(Box::new(1));
    assert_eq!(ALLOCATIONS.get(), before + 1);
}

#[test]
fn publishing_polling_and_idle_passes_allocate_nothing() {
    let mut bed = Bed::new();
    let mut subscription = bed.subscription();
    let publication = bed.publication();
    let mut exclusive = bed.exclusive_publication();
    for known in bed.driver.publications.values_mut() {
        known.limit.set_release(1 << 40);
    }
    let mut assembler = FragmentAssembler::new();
    let message = [9; 3000];
    let mut messages = 0;
    let mut round = |bed: &mut Bed| {
        while publication.offer(&message) == Err(OfferError::AdminAction) {}
        while publication.offer_vectored(&[b"ab", b"cd"]) == Err(OfferError::AdminAction) {}
        while exclusive.offer(&message) == Err(OfferError::AdminAction) {}
        if let Ok(mut claim) = exclusive.try_claim(8) {
            claim.write(0, &[1; 8]);
            claim.commit();
        }
        subscription.poll(100, |fragment| {
            assembler.on_fragment(fragment, |_| messages += 1);
        });
        bed.driver.clean();
        bed.place.pass_time(runtime::Nanos::from_millis(10));
        bed.driver.ring.set_heartbeat_ms(bed.place.now.epoch_millis());
        let _ = bed.work().unwrap();
    };
    (0..100).for_each(|_| round(&mut bed));
    let before = ALLOCATIONS.get();
    (0..1000).for_each(|_| round(&mut bed));
    assert_eq!(ALLOCATIONS.get() - before, 0);
    assert!(messages > 4000, "{messages}");
}
