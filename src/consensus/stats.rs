//! Order statistics of small samples, on the stack.

use super::MAX_READINGS;
use super::select::select;

/// The values of one round, our own clock's among them.
pub(crate) struct Sample {
    values: [f64; MAX_READINGS + 1],
    len: usize,
}

impl Sample {
    pub(crate) fn new() -> Self {
        Self {
            values: [0.0; MAX_READINGS + 1],
            len: 0,
        }
    }

    /// Add a value; what does not fit is left out.
    pub(crate) fn push(&mut self, value: f64) {
        if self.len < self.values.len() {
            self.values[self.len] = value;
            self.len += 1;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The value of rank `k`, the smallest being rank 0.
    pub(super) fn rank(&mut self, k: usize) -> Option<f64> {
        select(self.values(), k)
    }

    /// The median; of two middle values the lower one.
    ///
    /// Unlike their mean, it does not move while others move onto it, so that nodes which act on
    /// stale readings of each other still meet in one place.
    pub(crate) fn lower_median(&mut self) -> Option<f64> {
        self.rank(self.len.checked_sub(1)? / 2)
    }

    /// Leave out those that are far out, which liars on one side are: what they pull a median by is
    /// small, but everybody who goes there is pulled again. How many they were.
    pub(super) fn drop_far_out(&mut self) -> usize {
        /// Beyond so many robust standard deviations from the median, values are far out.
        const FAR_OUT: f64 = 3.0;
        /// Without those farthest out, others are.
        const PASSES: usize = 3;
        let all = self.len;
        for _ in 0..PASSES {
            let Some(median) = self.lower_median() else {
                break;
            };
            let near = FAR_OUT * self.spread(median);
            let before = self.len;
            self.len = 0;
            for k in 0..before {
                if (self.values[k] - median).abs() <= near {
                    self.values[self.len] = self.values[k];
                    self.len += 1;
                }
            }
            if self.len == before {
                break;
            }
        }
        all - self.len
    }

    /// Halfway between the least and the largest value that are left without the `k` outermost on
    /// each side (the fault-tolerant midpoint of J. Lundelius Welch and N. Lynch, *A new
    /// fault-tolerant algorithm for clock synchronization*, 1988).
    ///
    /// Nodes that each jump there come closer even if liars tell each of them something else;
    /// those that jump to their medians may stay where they are.
    pub(super) fn midpoint_without(&mut self, k: usize) -> Option<f64> {
        let least = self.rank(k)?;
        let largest = self.rank(self.len.checked_sub(k + 1)?)?;
        Some(0.5 * (least + largest))
    }

    /// The median; of two middle values their mean.
    pub(super) fn median(&mut self) -> Option<f64> {
        let lower = self.rank(self.len.checked_sub(1)? / 2)?;
        Some(0.5 * (lower + self.rank(self.len / 2)?))
    }

    /// The mean without the `low` smallest and the `high` largest values.
    pub(super) fn mean_without(&mut self, low: usize, high: usize) -> Option<f64> {
        let end = self.len.checked_sub(high)?;
        let last = end.checked_sub(low + 1)?;
        let values = &mut self.values[..self.len];
        values.select_nth_unstable_by(low, f64::total_cmp);
        values[low..].select_nth_unstable_by(last, f64::total_cmp);
        Some(values[low..end].iter().sum::<f64>() / (last + 1) as f64)
    }

    pub(crate) fn values(&self) -> &[f64] {
        &self.values[..self.len]
    }

    /// Robust standard deviation about `centre`: the scaled median absolute deviation.
    pub(super) fn spread(&self, centre: f64) -> f64 {
        /// Makes it agree with the standard deviation of a Gaussian: 1/Φ⁻¹(¾).
        const GAUSSIAN: f64 = 1.4826;
        let mut deviations = Self::new();
        for value in self.values() {
            deviations.push((value - centre).abs());
        }
        let middle = deviations.len / 2;
        GAUSSIAN * deviations.rank(middle).unwrap_or(0.0)
    }
}

impl FromIterator<f64> for Sample {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut sample = Self::new();
        values.into_iter().for_each(|value| sample.push(value));
        sample
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_far_out_are_left_out() {
        let honest = [-2.0, -1.0, 0.0, 1.0, 2.0, 3.0, -3.0];
        for lie in [1e9, -1e9, 40.0] {
            let mut all: Sample = honest.into_iter().chain([lie; 3]).collect();
            assert_eq!(all.drop_far_out(), 3, "{lie}");
            assert_eq!(all.lower_median(), Some(0.0));
        }
        let mut camps: Sample = [0.0, 0.0, 0.0, 9.0, 9.0].into_iter().collect();
        assert_eq!(camps.drop_far_out(), 2);
        assert_eq!(Sample::new().drop_far_out(), 0);
    }

    #[test]
    fn the_lower_median_stays_while_others_move_onto_it() {
        let values = [5.0, 1.0, 9.0, 3.0];
        let median = values.into_iter().collect::<Sample>().lower_median();
        assert_eq!(median, Some(3.0));
        for moved in 0..values.len() {
            let mut values = values;
            values[moved] = 3.0;
            assert_eq!(
                values.into_iter().collect::<Sample>().lower_median(),
                median
            );
        }
        assert_eq!(Sample::new().lower_median(), None);
    }

    #[test]
    fn two_faced_liars_do_not_keep_midpoints_apart() {
        // Seven honest clocks in two camps; three liars are below for one and above for the other.
        let honest = [0.0, 0.0, 0.0, 8.0, 8.0, 8.0, 8.0];
        let told = |lie: f64| honest.into_iter().chain([lie; 3]).collect::<Sample>();
        assert_eq!(told(-1e6).lower_median(), Some(0.0));
        assert_eq!(told(1e6).lower_median(), Some(8.0));
        let (low, high) = (
            told(-1e6).midpoint_without(3),
            told(1e6).midpoint_without(3),
        );
        assert_eq!((low, high), (Some(4.0), Some(8.0)));
        assert_eq!(Sample::new().midpoint_without(0), None);
    }

    #[test]
    fn centres_by_hand() {
        let sample = |values: &[f64]| values.iter().copied().collect::<Sample>();
        assert_eq!(sample(&[4.0, 1.0, 2.0]).median(), Some(2.0));
        assert_eq!(sample(&[4.0, 1.0, 2.0, 8.0]).median(), Some(3.0));
        assert_eq!(Sample::new().median(), None);
        assert_eq!(sample(&[9.0, 1.0, 2.0, 3.0]).mean_without(1, 1), Some(2.5));
        assert_eq!(sample(&[9.0, 1.0, 2.0]).mean_without(2, 1), None);
        assert_eq!(sample(&[9.0]).mean_without(1, 1), None);
    }

    #[test]
    fn spread_ignores_a_third_of_outliers() {
        let values = [-1.0, 0.0, 1.0, 0.5, -0.5, 0.2, 1e9, -1e9, 1e9];
        let spread = values.into_iter().collect::<Sample>().spread(0.0);
        assert!(spread < 2.0, "{spread}");
    }
}
