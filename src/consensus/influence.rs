//! How far a few neighbours can move our clock: not at all where no others see the same.
//!
//! The gate judges a neighbour once a round, by an estimate that has taken in many exchanges. Who
//! was honest so far and turns is still believed until then, and one exchange that is off by
//! milliseconds makes a filter of nanoseconds doubt all it knew. So an exchange that surprises
//! counts only if more neighbours than can be lying were last surprised that way, and by as much.
//! If our own clock is what jumped, all of them are, within one poll.

use serde::{Deserialize, Serialize};

use super::stats::Sample;
use super::tolerated_liars;

/// Surprises that differ by this factor may have the same cause.
const ALIKE: f64 = 2.0;

/// Means so many times as far out as those that cannot all be lying are far out.
const APART: f64 = 3.5;

/// One alone may have a path of its own, and moves little.
const TOGETHER: usize = 2;

/// Whether `surprise` (ns, signed; 0 if there is none) counts, given the last `surprises` of all
/// neighbours, this one among them, and of our own clock, which is never surprised by itself.
pub(super) fn corroborated(surprise: f64, mut surprises: Sample) -> bool {
    let clocks = surprises.len();
    let liars = tolerated_liars(clocks);
    let shared = if surprise > 0.0 {
        surprises.rank(clocks - 1 - liars).map(|s| s.max(0.0))
    } else {
        surprises.rank(liars).map(|s| -s.min(0.0))
    };
    surprise == 0.0 || shared.is_some_and(|shared| surprise.abs() <= ALIKE * shared)
}

/// What all of `means` (ns) have in common whoever lies: the mean without the `f` least and the
/// `f` largest, `f` being as many as can be lying.
///
/// What is left lies between honest values (D. Dolev, N. Lynch, S. Pinter, E. Stark, W. Weihl,
/// *Reaching approximate agreement in the presence of faults*, 1986), but not in their middle if
/// liars are all on one side: a pull that never ends. So those who stand together far out on one
/// side are left out first, and as many fewer of the rest on each side.
pub(super) fn in_common(means: &mut Sample) -> f64 {
    let liars = tolerated_liars(means.len());
    let Some(centre) = means.mean_without(liars, liars) else {
        return 0.0;
    };
    let distances = means.values().iter().map(|mean| (mean - centre).abs());
    let mut distances: Sample = distances.collect();
    let near = APART * distances.rank(means.len() - 1 - liars).unwrap_or(0.0);
    let above = means.values().iter().filter(|m| **m > centre + near);
    let below = means.values().iter().filter(|m| **m < centre - near);
    let (above, below) = (above.count(), below.count());
    if above.max(below) < TOGETHER {
        return centre;
    }
    let left = liars - above - below;
    let rest = means.mean_without(below + left, above + left);
    rest.unwrap_or(centre)
}

/// What clocks that show so much more than ours (ns) have in common with ours.
pub(crate) fn agreed(others: impl Iterator<Item = f64>) -> f64 {
    in_common(&mut others.chain([0.0]).collect())
}

/// A mean that forgets, of values with weights; the reciprocal of their sum is its variance.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Average {
    value: f32,
    weight: f32,
}

impl Average {
    /// Take in `value` with `weight`, the reciprocal of its variance; the past counts `memory`
    /// times what it did.
    pub(super) fn push(&mut self, value: f32, weight: f32, memory: f32) {
        self.weight = memory * self.weight + weight;
        self.value += weight / self.weight * (value - self.value);
    }

    /// Whether nothing was taken in yet.
    pub(super) fn is_empty(&self) -> bool {
        self.weight == 0.0
    }

    /// The mean.
    pub(super) fn value(&self) -> f64 {
        f64::from(self.value)
    }

    /// Its variance.
    pub(super) fn variance(&self) -> f64 {
        1.0 / f64::from(self.weight)
    }

    /// How far it is from `expected` by no chance: beyond so many `sigmas`.
    pub(super) fn away(&self, expected: f64, sigmas: f64) -> f64 {
        let apart = (self.value() - expected).abs();
        (apart - sigmas * self.variance().sqrt()).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(values: &[f64]) -> Sample {
        values.iter().copied().collect()
    }

    #[test]
    fn liars_who_turn_together_move_nobody() {
        // Seven clocks tolerate two liars: two that see a jump may be lying, three cannot.
        let two = [9e6, 9e6, 0.0, 0.0, 0.0, 0.0, 0.0];
        assert!(!corroborated(9e6, sample(&two)));
        assert!(!corroborated(-9e6, sample(&two.map(|s| -s))));
        let three = [9e6, 5e6, 7e6, 0.0, 0.0, 0.0, 0.0];
        assert!(corroborated(9e6, sample(&three)));
        assert!(corroborated(-9e6, sample(&three.map(|s| -s))));
        // The same way, but not as far: the others saw five microseconds.
        assert!(!corroborated(
            9e6,
            sample(&[9e6, 5e3, 9e6, 6e3, 5e3, 0.0, 0.0])
        ));
        assert!(!corroborated(-9e6, sample(&three)));
    }

    #[test]
    fn who_is_no_surprise_counts_and_so_does_anybody_among_three() {
        assert!(corroborated(0.0, sample(&[9e6, 9e6, 0.0, 0.0])));
        assert!(corroborated(9e6, sample(&[9e6, 0.0, 0.0])));
        assert!(corroborated(-9e6, sample(&[-9e6, 0.0])));
    }

    #[test]
    fn what_all_have_in_common_is_between_honest_values() {
        let honest = [10.0, 0.0, 20.0, 5.0, 15.0];
        for lie in [-1e9, 1e9] {
            let mut all: Sample = honest.into_iter().chain([lie; 2]).collect();
            assert!((0.0..=20.0).contains(&in_common(&mut all)));
        }
        assert_eq!(in_common(&mut sample(&honest)), 10.0);
    }

    #[test]
    fn liars_on_one_side_shift_nothing() {
        let honest = [-20.0, -10.0, 0.0, 0.0, 0.0, 10.0, 20.0];
        let with = |lies: &[f64]| {
            let mut all: Sample = honest.into_iter().chain(lies.iter().copied()).collect();
            in_common(&mut all)
        };
        assert_eq!(with(&[150.0; 3]), 0.0);
        assert_eq!(with(&[-150.0; 3]), 0.0);
        // Without the two far ones, one more is left out at each end.
        assert_eq!(with(&[150.0, 150.0, 6.0]), 1.0);
        // By one alone they are moved, by less than honest values differ.
        assert!(with(&[150.0]) > 0.0 && with(&[150.0]) < 10.0);
        assert_eq!(in_common(&mut Sample::new()), 0.0);
    }
}
