//! A bounded queue that prefers the newest.

use crossbeam::queue::ArrayQueue;

use super::atomic::{AtomicU64, Ordering};

/// A bounded lock-free queue in which a new item drives out the oldest when there is no room.
///
/// A slow consumer of time samples wants fresh ones, not those that waited longest. Share it by
/// reference or in an `Arc`; it allocates only when it is made.
#[derive(Debug)]
pub struct Newest<T> {
    queue: ArrayQueue<T>,
    overruns: AtomicU64,
}

impl<T> Newest<T> {
    /// A queue for `capacity` items, at least one.
    pub fn new(capacity: usize) -> Self {
        Self {
            queue: ArrayQueue::new(capacity.max(1)),
            overruns: AtomicU64::new(0),
        }
    }

    /// Adds an item; if the queue is full the oldest is dropped and counted.
    #[inline]
    pub fn push(&self, item: T) {
        if self.queue.force_push(item).is_some() {
            // Relaxed: a statistic, it orders nothing.
            self.overruns.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Adds an item if there is room, and gives it back if there is none. For what must not drive
    /// out anything else.
    ///
    /// # Errors
    /// The item itself, when the queue is full.
    #[inline]
    pub fn try_push(&self, item: T) -> Result<(), T> {
        self.queue.push(item)
    }

    /// Takes the oldest item that is still there.
    #[inline]
    pub fn pop(&self) -> Option<T> {
        self.queue.pop()
    }

    /// Items dropped because nobody took them in time.
    pub fn overruns(&self) -> u64 {
        self.overruns.load(Ordering::Relaxed)
    }

    /// Items waiting now.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nothing waits now.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The room it was made with.
    pub fn capacity(&self) -> usize {
        self.queue.capacity()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_keeps_the_newest_and_counts_the_rest() {
        let q = Newest::new(4);
        for i in 0..10 {
            q.push(i);
        }
        assert_eq!(q.overruns(), 6);
        assert_eq!(q.try_push(99), Err(99));
        let left: Vec<i32> = std::iter::from_fn(|| q.pop()).collect();
        assert_eq!(left, [6, 7, 8, 9]);
        assert!(q.is_empty());
    }

    #[test]
    fn nothing_is_lost_or_doubled_between_threads() {
        let q = Newest::new(8);
        let taken = std::thread::scope(|s| {
            s.spawn(|| (0..20_000_u64).for_each(|i| q.push(i)));
            let mut seen = Vec::new();
            while seen.len() as u64 + q.overruns() < 20_000 {
                match q.pop() {
                    Some(i) => seen.push(i),
                    None => std::thread::yield_now(),
                }
            }
            seen
        });
        assert!(taken.windows(2).all(|w| w[0] < w[1]));
    }
}

#[cfg(all(test, loom))]
mod tests {
    use super::*;
    use crate::sync::Arc;

    // ArrayQueue itself is opaque to loom; this checks the accounting around it.
    #[test]
    fn loom_every_item_is_taken_or_counted() {
        loom::model(|| {
            let q = Arc::new(Newest::new(1));
            let producer = {
                let q = Arc::clone(&q);
                loom::thread::spawn(move || {
                    q.push(1);
                    q.push(2);
                })
            };
            let early = q.pop();
            producer.join().unwrap();
            let late: u64 = std::iter::from_fn(|| q.pop()).count() as u64;
            assert_eq!(u64::from(early.is_some()) + late + q.overruns(), 2);
        });
    }
}
