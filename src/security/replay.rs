//! Which counters of a session have been seen.

/// A sliding window over the last [`Window::WIDTH`] counters (RFC 6479 gives the idea).
///
/// A counter passes once; one that has fallen out of the window never does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Window {
    /// One more than the highest counter seen.
    next: u64,
    /// Bit `i`: counter `next − 1 − i` has been seen.
    seen: u128,
}

impl Window {
    pub(super) const WIDTH: u64 = u128::BITS as u64;

    /// Whether `counter` may still come.
    pub(super) const fn is_fresh(&self, counter: u64) -> bool {
        if counter >= self.next {
            return true;
        }
        let age = self.next - 1 - counter;
        age < Self::WIDTH && self.seen & (1 << age) == 0
    }

    /// Marks `counter` as seen; true if it is the highest so far. Call only for authentic packets
    /// that [`Window::is_fresh`] let through.
    pub(super) const fn mark(&mut self, counter: u64) -> bool {
        if counter < self.next {
            let age = self.next - 1 - counter;
            if age < Self::WIDTH {
                self.seen |= 1 << age;
            }
            return false;
        }
        let ahead = counter - self.next + 1;
        self.seen = if ahead < Self::WIDTH {
            self.seen << ahead
        } else {
            0
        } | 1;
        self.next = counter.saturating_add(1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    proptest! {
        #[test]
        fn each_counter_passes_once_and_old_ones_never(
            counters in proptest::collection::vec(0_u64..600, 1..400)
        ) {
            let mut window = Window::default();
            let mut seen = HashSet::new();
            let mut highest = None;
            for counter in counters {
                let in_window = highest.is_none_or(|h| counter + Window::WIDTH > h);
                prop_assert_eq!(window.is_fresh(counter), in_window && !seen.contains(&counter));
                if window.is_fresh(counter) {
                    prop_assert_eq!(window.mark(counter), highest.is_none_or(|h| counter > h));
                    seen.insert(counter);
                    highest = highest.max(Some(counter));
                }
            }
        }
    }

    #[test]
    fn the_last_counter_does_not_overflow() {
        let mut window = Window::default();
        assert!(window.is_fresh(u64::MAX));
        window.mark(u64::MAX - 1);
        assert!(!window.is_fresh(u64::MAX - 1));
        assert!(!window.is_fresh(0));
    }
}
