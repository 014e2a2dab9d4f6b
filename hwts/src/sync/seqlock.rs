//! A state that one thread writes and any number read, without locks.

use super::atomic::{AtomicU64, Ordering, fence};
use super::{Arc, hint};

#[derive(Debug)]
struct Shared<const N: usize> {
    // Odd while a write is under way.
    sequence: AtomicU64,
    // Atomic words, so that a read that meets a write is a torn value (and is thrown away), not a
    // data race.
    words: [AtomicU64; N],
}

/// A seqlock over `N` words, as its one writer and its first reader.
///
/// The writer never waits; a reader tries again if it met a write. That there is one writer only
/// is in the types: [`SeqWriter`] cannot be cloned and writes through `&mut`.
pub fn seqlock<const N: usize>(initial: [u64; N]) -> (SeqWriter<N>, SeqReader<N>) {
    let shared = Arc::new(Shared {
        sequence: AtomicU64::new(0),
        words: initial.map(AtomicU64::new),
    });
    (
        SeqWriter {
            shared: Arc::clone(&shared),
            sequence: 0,
        },
        SeqReader { shared },
    )
}

/// The writing end of a [`seqlock`].
#[derive(Debug)]
pub struct SeqWriter<const N: usize> {
    shared: Arc<Shared<N>>,
    sequence: u64,
}

impl<const N: usize> SeqWriter<N> {
    /// Publishes a new state.
    pub fn write(&mut self, words: [u64; N]) {
        let s = &self.shared;
        s.sequence
            .store(self.sequence.wrapping_add(1), Ordering::Relaxed);
        // No word may be seen new by a reader that still sees the old, even sequence.
        fence(Ordering::Release);
        for (slot, word) in s.words.iter().zip(words) {
            slot.store(word, Ordering::Relaxed);
        }
        self.sequence = self.sequence.wrapping_add(2);
        s.sequence.store(self.sequence, Ordering::Release);
    }

    /// Another reader.
    pub fn reader(&self) -> SeqReader<N> {
        SeqReader {
            shared: Arc::clone(&self.shared),
        }
    }
}

/// A reading end of a [`seqlock`]; clone it for each thread.
#[derive(Debug, Clone)]
pub struct SeqReader<const N: usize> {
    shared: Arc<Shared<N>>,
}

impl<const N: usize> SeqReader<N> {
    /// The latest state that was written completely, unless a write is under way.
    #[inline]
    pub fn try_read(&self) -> Option<[u64; N]> {
        let s = &self.shared;
        let before = s.sequence.load(Ordering::Acquire);
        if before & 1 == 1 {
            return None;
        }
        let mut words = [0; N];
        for (word, slot) in words.iter_mut().zip(&s.words) {
            *word = slot.load(Ordering::Relaxed);
        }
        // The words must have been read before the sequence is looked at again.
        fence(Ordering::Acquire);
        (s.sequence.load(Ordering::Relaxed) == before).then_some(words)
    }

    /// The latest state; waits out a write under way (some tens of nanoseconds, unless the writer
    /// was interrupted in the middle of it).
    #[inline]
    pub fn read(&self) -> [u64; N] {
        let mut tries = 0_u32;
        loop {
            if let Some(words) = self.try_read() {
                return words;
            }
            tries += 1;
            if tries.is_multiple_of(64) {
                // The writer lost its CPU in the middle of a write; it may need ours.
                yield_now();
            } else {
                hint::spin_loop();
            }
        }
    }
}

#[cfg(not(loom))]
fn yield_now() {
    std::thread::yield_now();
}

#[cfg(loom)]
fn yield_now() {
    loom::thread::yield_now();
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn readers_never_see_a_torn_state() {
        let (mut writer, reader) = seqlock([0; 4]);
        std::thread::scope(|s| {
            for _ in 0..2 {
                let reader = reader.clone();
                s.spawn(move || {
                    let mut last = 0;
                    while last < 50_000 {
                        let [a, b, c, d] = reader.read();
                        assert!(b == a * 2 && c == a * 3 && d == a * 5 && a >= last);
                        last = a;
                    }
                });
            }
            for k in 1..=50_000 {
                writer.write([k, k * 2, k * 3, k * 5]);
            }
        });
    }
}

#[cfg(all(test, loom))]
mod tests {
    use super::*;

    #[test]
    fn loom_a_read_is_whole_while_states_are_replaced() {
        loom::model(|| {
            let (mut writer, reader) = seqlock([0, 0]);
            let reading = loom::thread::spawn(move || {
                if let Some([a, b]) = reader.try_read() {
                    assert_eq!(a, b, "torn");
                }
            });
            writer.write([1, 1]);
            writer.write([2, 2]);
            reading.join().unwrap();
        });
    }

    #[test]
    fn loom_reads_never_go_back() {
        loom::model(|| {
            let (mut writer, reader) = seqlock([0, 0]);
            let reading = loom::thread::spawn(move || {
                let first = reader.try_read();
                let second = reader.try_read();
                if let (Some(first), Some(second)) = (first, second) {
                    assert!(first <= second);
                }
            });
            writer.write([1, 1]);
            reading.join().unwrap();
        });
    }

    #[test]
    fn loom_a_read_that_waits_ends_with_a_whole_state() {
        loom::model(|| {
            let (mut writer, reader) = seqlock([0, 0]);
            let writing = loom::thread::spawn(move || writer.write([7, 7]));
            let seen = reader.read();
            assert!(seen == [0, 0] || seen == [7, 7], "{seen:?}");
            writing.join().unwrap();
            assert_eq!(reader.read(), [7, 7]);
        });
    }
}
