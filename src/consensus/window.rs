//! The guaranteed window: where the network's clock can be, seen from ours.

use serde::{Deserialize, Serialize};

use super::Reading;
use super::stats::Sample;

/// Liars that `clocks` clocks can tolerate, ours included: the largest f with n > 3f
/// (D. Dolev, J. Halpern, R. Strong, *On the possibility and impossibility of achieving clock
/// synchronization*, 1986).
pub const fn tolerated_liars(clocks: usize) -> usize {
    clocks.saturating_sub(1) / 3
}

/// Where the network's clock can be, relative to ours.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Least offset of the network's clock from ours, ns; at most zero.
    pub lower: f64,
    /// Largest offset, ns; at least zero.
    pub upper: f64,
    /// Neighbours whose intervals made it.
    pub sampled: usize,
    /// Liars among them that this window tolerates.
    pub liars: usize,
}

impl Window {
    /// How far our clock can be off, ns.
    pub fn bound(&self) -> f64 {
        self.upper.max(-self.lower)
    }
}

/// The window that `readings` guarantee, or `None` if there are none.
///
/// The network's clock is *defined* as the median of the honest clocks. Of n clocks (ours
/// included) at most f lie, n > 3f. At least ⌈(n−f)/2⌉ ≥ f+1 honest clocks are at or below the
/// median, so the (f+1)-th smallest lower end is too, whatever the liars say; likewise from
/// above. Liars can widen the window, never shift it off the truth.
pub fn window(readings: &[Reading]) -> Option<Window> {
    let ready = readings.iter().filter(|r| r.ready);
    enclosed(ready.map(|r| (r.lower, r.upper)))
}

/// The same for the least and largest possible offsets of the clocks that are ready.
pub fn enclosed(offsets: impl Iterator<Item = (f64, f64)>) -> Option<Window> {
    let mut lower = Sample::new();
    let mut upper = Sample::new();
    for (least, largest) in offsets {
        lower.push(least);
        upper.push(largest);
    }
    if lower.len() == 0 {
        return None;
    }
    lower.push(0.0);
    upper.push(0.0);
    let clocks = lower.len();
    let liars = tolerated_liars(clocks);
    Some(Window {
        lower: lower.rank(liars)?.min(0.0),
        upper: upper.rank(clocks - 1 - liars)?.max(0.0),
        sampled: clocks - 1,
        liars,
    })
}

/// How far our clock can be from the network's, ns, if `readings` are right but for chance: the
/// [`window`] with estimates in place of intervals, of which one sigma is given to chance.
///
/// A filter that goes by those whom it believes does not know that it went elsewhere with a few of
/// them, or that the others are of two minds. But whom it believes is no part of this.
pub fn disagreement(readings: &[Reading]) -> f64 {
    let own = std::iter::once((0.0, 0.0));
    let ready = readings.iter().filter(|r| r.ready);
    let both = ready.map(|r| {
        let beyond = (r.offset.abs() - r.sigma).max(0.0).copysign(r.offset);
        (beyond.min(0.0), beyond.max(0.0))
    });
    let (mut lower, mut upper) = (Sample::new(), Sample::new());
    for (least, most) in both.chain(own) {
        lower.push(least);
        upper.push(most);
    }
    let clocks = lower.len();
    let liars = tolerated_liars(clocks);
    let least = lower.rank(liars).unwrap_or(0.0);
    let most = upper.rank(clocks - 1 - liars).unwrap_or(0.0);
    most.max(-least)
}

#[cfg(test)]
mod tests {
    use super::super::gate::tests::reading;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn two_liars_of_eight_clocks_by_hand() {
        let readings = [0.0, 100.0, -100.0, 50.0, -50.0, 1e7, 2e7].map(reading);
        let w = window(&readings).unwrap();
        // Lower ends sorted: −1100 −1050 −1000 …; two are dropped from each side.
        assert_eq!((w.lower, w.upper), (-1_000.0, 1_100.0));
        assert_eq!((w.sampled, w.liars), (7, 2));
        assert_eq!(window(&[]), None);
    }

    #[test]
    fn camps_are_seen_and_chance_and_liars_are_not() {
        let off = |offset: f64| Reading {
            sigma: 50.0,
            ..reading(offset)
        };
        // We and two others against five.
        let camps = [0.0, 10.0, 800.0, 810.0, 790.0, 805.0, 795.0].map(off);
        assert_eq!(disagreement(&camps), 750.0);
        let chance = [-40.0, 30.0, 800.0, -20.0, -900.0, 45.0, -10.0].map(off);
        assert_eq!(disagreement(&chance), 0.0);
        assert_eq!(disagreement(&[]), 0.0);
    }

    proptest! {
        #[test]
        fn liars_never_push_the_median_of_the_honest_out(
            mut honest in prop::collection::vec(-1e4..1e4f64, 4..20),
            lies in prop::collection::vec((-1e12..1e12f64, 0.0..1e6f64), 0..10),
        ) {
            honest[0] = 0.0; // our own
            let liars = lies.len().min((honest.len() - 1) / 2);
            prop_assume!(honest.len() + liars > 3 * liars);
            let mut readings: Vec<Reading> = honest[1..].iter().map(|&o| reading(o)).collect();
            for &(offset, width) in &lies[..liars] {
                readings.push(Reading { lower: offset - width, upper: offset + width, ..reading(offset) });
            }
            let w = window(&readings).unwrap();
            honest.sort_by(f64::total_cmp);
            let (low, high) = (honest[(honest.len() - 1) / 2], honest[honest.len() / 2]);
            prop_assert!(w.lower <= low && high <= w.upper);
        }
    }
}
