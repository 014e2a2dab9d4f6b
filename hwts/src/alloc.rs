//! A global allocator that counts, so that a test can show that a path allocates nothing.
//!
//! ```ignore
//! #[global_allocator]
//! static ALLOCATOR: hwts::alloc::Counting = hwts::alloc::Counting;
//!
//! let before = hwts::alloc::this_thread();
//! path_under_test();
//! assert_eq!(hwts::alloc::this_thread() - before, hwts::alloc::Counts::default());
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ops::Sub;

thread_local! {
    // Const-initialised and without a destructor: reading it never allocates, which an allocator
    // must not do, and it stays readable while a thread ends.
    static COUNTS: Cell<Counts> = const { Cell::new(Counts { allocations: 0, bytes: 0 }) };
}

/// How much was allocated. A reallocation counts as one allocation of the new size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Calls that returned memory.
    pub allocations: u64,
    /// Bytes that those calls asked for.
    pub bytes: u64,
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            allocations: self.allocations - earlier.allocations,
            bytes: self.bytes - earlier.bytes,
        }
    }
}

/// What the calling thread has allocated since it started; zero unless [`Counting`] is the global
/// allocator. Per thread, so that a test runner's other threads do not disturb the count.
pub fn this_thread() -> Counts {
    COUNTS.get()
}

/// The system's allocator, counting for [`this_thread`]. Declare it with `#[global_allocator]`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counting;

fn count(pointer: *mut u8, size: usize) -> *mut u8 {
    if !pointer.is_null() {
        let counts = COUNTS.get();
        COUNTS.set(Counts {
            allocations: counts.allocations + 1,
            bytes: counts.bytes + size as u64,
        });
    }
    pointer
}

// SAFETY: every call is passed on unchanged to `System`, which keeps the contract of `GlobalAlloc`;
// counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are passed on.
        count(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are passed on.
        count(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promises are passed on; `pointer` came from `System`.
        count(unsafe { System.realloc(pointer, layout, size) }, size)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on; `pointer` came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}
