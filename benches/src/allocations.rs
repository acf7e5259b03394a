//! An allocator that counts, so that a benchmark can say how often memory was asked for and how
//! much of it is in use.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

static COUNT: AtomicU64 = AtomicU64::new(0);
static LIVE: AtomicI64 = AtomicI64::new(0);

/// The system's allocator, counting allocations. Install it with `#[global_allocator]`.
#[derive(Debug)]
pub struct Counting;

/// Allocations so far, in all threads.
pub fn count() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

/// Octets in use, in all threads. Room that was reserved but never touched counts too.
pub fn live() -> i64 {
    LIVE.load(Ordering::Relaxed)
}

fn grow(octets: usize) {
    LIVE.fetch_add(i64::try_from(octets).unwrap_or(i64::MAX), Ordering::Relaxed);
}

fn shrink(octets: usize) {
    LIVE.fetch_sub(i64::try_from(octets).unwrap_or(i64::MAX), Ordering::Relaxed);
}

#[expect(unsafe_code, reason = "an allocator cannot be written without; it only counts")]
// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        grow(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        shrink(layout.size());
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        shrink(layout.size());
        grow(size);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
