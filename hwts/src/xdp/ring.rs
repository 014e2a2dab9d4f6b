//! The rings between a process and the kernel (Documentation/networking/af_xdp.rst).
//!
//! A ring has one producer and one consumer, one of them in the kernel, and two counters that run
//! on and wrap. The producer owns the slots from `producer` to `consumer + size`, the consumer those
//! from `consumer` to `producer`; each moves its own counter only.
//!
//! **Order.** The producer writes a slot, then stores `producer` with release; the consumer loads
//! it with acquire before it reads the slot: so it reads what was written. The consumer reads the
//! slot, then stores `consumer` with release; the producer loads it with acquire before it writes
//! the slot again: so nothing is overwritten that is still to be read. The kernel's half is
//! `smp_store_release` and `smp_load_acquire` on the same words (net/xdp/xsk_queue.h), and the
//! memory of the packets is covered by the same pairs: it is written before a descriptor is handed
//! over and read after it is taken. Own counters are plain fields, since nobody else writes them.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where the parts of a ring lie within its memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) producer: usize,
    pub(super) consumer: usize,
    pub(super) flags: usize,
    pub(super) slots: usize,
}

/// `XDP_RING_NEED_WAKEUP`.
const NEED_WAKEUP: u32 = 1;

/// A ring of `T` in memory shared with the kernel.
#[derive(Debug)]
struct Ring<T> {
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    slots: NonNull<T>,
    size: u32,
}

impl<T: Copy> Ring<T> {
    /// # Safety
    /// `base` must begin memory that holds the layout and `size` (a power of two) slots, aligned
    /// for them, for as long as the ring is used.
    unsafe fn new(base: NonNull<u8>, layout: Layout, size: u32) -> Self {
        debug_assert!(size.is_power_of_two());
        // SAFETY: the caller vouches for all four places.
        unsafe {
            Self {
                producer: base.add(layout.producer).cast(),
                consumer: base.add(layout.consumer).cast(),
                flags: base.add(layout.flags).cast(),
                slots: base.add(layout.slots).cast(),
                size,
            }
        }
    }

    fn producer(&self) -> &AtomicU32 {
        // SAFETY: see `new`; the kernel, too, accesses it as one word.
        unsafe { self.producer.as_ref() }
    }

    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as above.
        unsafe { self.consumer.as_ref() }
    }

    fn needs_wakeup(&self) -> bool {
        // SAFETY: as above.
        let flags = unsafe { self.flags.as_ref() };
        flags.load(Ordering::Relaxed) & NEED_WAKEUP != 0
    }

    /// The slot that the counter value `at` stands for.
    fn slot(&self, at: u32) -> NonNull<T> {
        let index = (at & (self.size - 1)) as usize;
        // SAFETY: the index is below the number of slots.
        unsafe { self.slots.add(index) }
    }
}

/// Our end of a ring that the kernel reads.
#[derive(Debug)]
pub(super) struct Producer<T> {
    ring: Ring<T>,
    /// Written so far, submitted or not.
    written: u32,
    /// The consumer as it was last seen.
    consumed: u32,
}

// SAFETY: the pointers are to memory that belongs to this end alone, but for the counters, which
// are atomic.
unsafe impl<T: Send> Send for Producer<T> {}

impl<T: Copy> Producer<T> {
    /// # Safety
    /// As for the ring: `base` begins memory of this layout with `size` (a power of two) aligned
    /// slots, for as long as this lives, and nobody else produces.
    pub(super) unsafe fn new(base: NonNull<u8>, layout: Layout, size: u32) -> Self {
        // SAFETY: as the caller says.
        let ring = unsafe { Ring::new(base, layout, size) };
        let written = ring.producer().load(Ordering::Relaxed);
        let consumed = ring.consumer().load(Ordering::Acquire);
        Self {
            ring,
            written,
            consumed,
        }
    }

    /// Writes one more; false if the ring is full. The kernel sees it after [`submit`](Self::submit).
    #[inline]
    pub(super) fn write(&mut self, value: T) -> bool {
        if self.written.wrapping_sub(self.consumed) == self.ring.size {
            self.consumed = self.ring.consumer().load(Ordering::Acquire);
            if self.written.wrapping_sub(self.consumed) == self.ring.size {
                return false;
            }
        }
        // SAFETY: the slot is within the ring and, the consumer being past it, ours.
        unsafe { self.ring.slot(self.written).write(value) };
        self.written = self.written.wrapping_add(1);
        true
    }

    /// Hands over all that was written.
    #[inline]
    pub(super) fn submit(&self) {
        self.ring.producer().store(self.written, Ordering::Release);
    }

    /// Whether the kernel sleeps until it is told that there is something.
    pub(super) fn needs_wakeup(&self) -> bool {
        self.ring.needs_wakeup()
    }
}

/// Our end of a ring that the kernel writes.
#[derive(Debug)]
pub(super) struct Consumer<T> {
    ring: Ring<T>,
    /// Read so far.
    read: u32,
    /// The producer as it was last seen.
    produced: u32,
}

// SAFETY: as for the producer.
unsafe impl<T: Send> Send for Consumer<T> {}

impl<T: Copy> Consumer<T> {
    /// # Safety
    /// As [`Producer::new`], and nobody else consumes.
    pub(super) unsafe fn new(base: NonNull<u8>, layout: Layout, size: u32) -> Self {
        // SAFETY: as the caller says.
        let ring = unsafe { Ring::new(base, layout, size) };
        let read = ring.consumer().load(Ordering::Relaxed);
        Self {
            ring,
            read,
            produced: read,
        }
    }

    /// Whether there is anything to take. Costs one load.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.read == self.produced && self.read == self.ring.producer().load(Ordering::Acquire)
    }

    /// Takes the oldest. Its slot stays ours until [`release`](Self::release).
    #[inline]
    pub(super) fn take(&mut self) -> Option<T> {
        if self.read == self.produced {
            self.produced = self.ring.producer().load(Ordering::Acquire);
            if self.read == self.produced {
                return None;
            }
        }
        // SAFETY: the slot is within the ring and, the producer being past it, written and ours.
        let value = unsafe { self.ring.slot(self.read).read() };
        self.read = self.read.wrapping_add(1);
        Some(value)
    }

    /// Gives back the slots of all that was taken.
    #[inline]
    pub(super) fn release(&self) {
        self.ring.consumer().store(self.read, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    const LAYOUT: Layout = Layout {
        producer: 0,
        consumer: 64,
        flags: 128,
        slots: 192,
    };

    /// Memory of a ring whose counters begin at `start`.
    struct Memory(Vec<u64>);

    impl Memory {
        fn new(size: u32, start: u32) -> Self {
            let memory = Self(vec![0; LAYOUT.slots / 8 + size as usize]);
            for at in [LAYOUT.producer, LAYOUT.consumer] {
                // SAFETY: within the memory and aligned.
                unsafe { memory.base().add(at).cast::<u32>().write(start) };
            }
            memory
        }

        fn base(&self) -> NonNull<u8> {
            NonNull::new(self.0.as_ptr().cast_mut().cast()).unwrap()
        }

        fn ends(&self, size: u32) -> (Producer<u64>, Consumer<u64>) {
            // SAFETY: the memory is large enough, and each end is made once.
            unsafe {
                (
                    Producer::new(self.base(), LAYOUT, size),
                    Consumer::new(self.base(), LAYOUT, size),
                )
            }
        }
    }

    #[test]
    fn nothing_is_seen_before_it_is_submitted_nor_overwritten_before_it_is_released() {
        // The counters wrap in between.
        let memory = Memory::new(4, u32::MAX - 1);
        let (mut producer, mut consumer) = memory.ends(4);
        for value in 0..4 {
            assert!(producer.write(value));
        }
        assert!(!producer.write(4));
        assert!(consumer.is_empty() && consumer.take().is_none());
        producer.submit();
        assert!(!consumer.is_empty());
        assert_eq!((consumer.take(), consumer.take()), (Some(0), Some(1)));
        assert!(!producer.write(4), "taken, not released");
        consumer.release();
        assert!(producer.write(4) && producer.write(5) && !producer.write(6));
        producer.submit();
        let rest: Vec<u64> = std::iter::from_fn(|| consumer.take()).collect();
        assert_eq!(rest, [2, 3, 4, 5]);
    }

    #[test]
    fn two_threads_pass_everything_on_in_order() {
        const COUNT: u64 = 50_000;
        let memory = Memory::new(8, u32::MAX - 1_000);
        let (mut producer, mut consumer) = memory.ends(8);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for value in 0..COUNT {
                    while !producer.write(value * 3) {
                        std::thread::yield_now();
                    }
                    producer.submit();
                }
            });
            for value in 0..COUNT {
                let got = loop {
                    match consumer.take() {
                        Some(got) => break got,
                        None => std::thread::yield_now(),
                    }
                };
                consumer.release();
                assert_eq!(got, value * 3);
            }
        });
    }

    proptest! {
        #[test]
        fn a_ring_is_a_bounded_queue(
            start: u32,
            steps in proptest::collection::vec((0..4_u8, 0..9_usize), 0..200),
        ) {
            let memory = Memory::new(8, start);
            let (mut producer, mut consumer) = memory.ends(8);
            // Written, submitted, taken: a model in which slots are counted, not addressed.
            let (mut written, mut submitted) = (VecDeque::new(), VecDeque::new());
            let (mut next, mut held) = (0, 0);
            for (step, count) in steps {
                match step {
                    0 => for _ in 0..count {
                        let room = written.len() + submitted.len() + held < 8;
                        prop_assert_eq!(producer.write(next), room);
                        if room {
                            written.push_back(next);
                            next += 1;
                        }
                    },
                    1 => {
                        producer.submit();
                        submitted.append(&mut written);
                    }
                    2 => for _ in 0..count {
                        let want = submitted.pop_front();
                        held += usize::from(want.is_some());
                        prop_assert_eq!(consumer.take(), want);
                    },
                    _ => {
                        consumer.release();
                        held = 0;
                    }
                }
            }
        }
    }
}
