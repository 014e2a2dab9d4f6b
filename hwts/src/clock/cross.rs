//! Reading two clocks at the same instant.

use crate::stamp::Domain;

/// Two clocks read together: when the second showed `b`, the first showed `a ± error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrossRead {
    /// Reading of the first clock, ns.
    pub a: i64,
    /// Reading of the second clock, ns.
    pub b: i64,
    /// Guaranteed half-width of `a`, ns.
    pub error: i64,
}

impl CrossRead {
    /// Reads `second` between two reads of `first`, `tries` times, and keeps the narrowest. Each
    /// try takes about three clock reads, some 100 ns.
    pub fn take(first: Domain, second: Domain, tries: usize) -> Self {
        Self::take_with(|| first.now(), || second.now(), tries)
    }

    /// The same for any two clocks that can be read by a call.
    pub fn take_with(
        mut first: impl FnMut() -> i64,
        mut second: impl FnMut() -> i64,
        tries: usize,
    ) -> Self {
        let before = first();
        let b = second();
        let mut after = first();
        let mut best = Self::bracketed(before, b, after);
        for _ in 1..tries {
            let before = after;
            let b = second();
            after = first();
            let read = Self::bracketed(before, b, after);
            if read.error < best.error {
                best = read;
            }
        }
        best
    }

    fn bracketed(before: i64, b: i64, after: i64) -> Self {
        let width = after.saturating_sub(before).max(0);
        Self {
            a: before.saturating_add(width / 2),
            b,
            // One more for the readings themselves, which are cut to whole nanoseconds.
            error: width / 2 + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn the_narrowest_of_several_wins() {
        // Each read takes some of the time there is; the second clock is 1 µs ahead.
        let time = Cell::new(0_i64);
        let costs = [40, 40, 40, 5, 5, 500, 500].map(Cell::new);
        let reads = Cell::new(0_usize);
        let read = || {
            time.set(time.get() + costs[reads.get()].get());
            reads.set(reads.get() + 1);
            time.get()
        };
        let got = CrossRead::take_with(read, || read() + 1_000, 3);
        assert_eq!(reads.get(), 7);
        assert_eq!(
            got,
            CrossRead {
                a: 125,
                b: 1_125,
                error: 6
            }
        );
    }

    #[test]
    fn real_clocks_cross_within_a_plausible_width() {
        let read = CrossRead::take(Domain::MonotonicRaw, Domain::Realtime, 8);
        assert!(read.error >= 1 && read.error < 1_000_000, "{read:?}");
        assert!((read.a - Domain::MonotonicRaw.now()).abs() < 1_000_000_000);
    }
}
