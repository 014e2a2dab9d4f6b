//! Whether two packets of one direction arrived as far apart as they were sent.

use super::quantile::Quantile;
use crate::link::Direction;

/// Share of the differences of delay that tells how small they can be on this path.
const SMALL: f32 = 0.05;
/// Differences up to so many times that are as good as none. If delays vary evenly this lets pass
/// some 35 %; if few packets find the path empty, hardly more than those.
const SLACK: f64 = 8.0;

/// The tolerance for differences of delay on one path, learnt from them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spacing {
    small: Quantile,
}

impl Spacing {
    pub(super) fn new() -> Self {
        Self {
            small: Quantile::new(SMALL),
        }
    }

    /// Whether `later` is as far from `earlier` at the receiver as at the sender, along the rate
    /// (ns/s) of the offset: neither was queued or, rarely, both alike.
    pub(super) fn preserved(&mut self, earlier: &Direction, later: &Direction, rate: f64) -> bool {
        let stretch = later.offset - earlier.offset - rate * (later.at - earlier.at);
        let preserved = stretch.abs() <= self.tolerance();
        self.small
            .push(stretch.abs(), (later.error / SLACK).max(1.0));
        preserved
    }

    /// Differences of delay up to this are as good as none, ns; 0 before the first.
    pub(super) fn tolerance(&self) -> f64 {
        SLACK * self.small.get()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Random;
    use super::*;

    /// Shares of pairs that pass, and of those that pass though one of them was queued; `empty` is
    /// the share of packets that find the path empty, the others queue for 20 µs on average.
    fn passing(empty: f64) -> (f64, f64) {
        let mut random = Random::new(7);
        let mut spacing = Spacing::new();
        let (mut passed, mut wrong) = (0, 0);
        for k in 0..40_000 {
            let at = f64::from(k);
            let mut queued = false;
            let pair = [at, at + 2e-4].map(|at| {
                let delay = if random.uniform() < empty {
                    0.0
                } else {
                    queued = true;
                    random.exponential(20_000.0)
                };
                let offset = delay + 20.0 * random.gaussian() + 2e4 * at;
                Direction {
                    forward: true,
                    at,
                    offset,
                    error: 20.0,
                }
            });
            if spacing.preserved(&pair[0], &pair[1], 2e4) && k >= 20_000 {
                passed += 1;
                wrong += i32::from(queued);
            }
        }
        (f64::from(passed) / 2e4, f64::from(wrong) / 2e4)
    }

    #[test]
    fn on_a_loaded_path_a_tenth_passes_and_is_pure() {
        // A third of the packets finds the path empty, so a ninth of the pairs is pure.
        let (passed, wrong) = passing(1.0 / 3.0);
        assert!((0.09..0.14).contains(&passed), "{passed}");
        assert!(wrong < 0.15 * passed, "{wrong} of {passed}");
    }

    #[test]
    fn without_empty_moments_a_third_passes() {
        // Differences of exponential delays are exponential: 1 − 0.95^8 = 34 %.
        let (passed, _) = passing(0.0);
        assert!((0.28..0.40).contains(&passed), "{passed}");
    }
}
