//! Running moments: one pass, constant memory, no loss of digits.

/// Count, mean, variance and extremes of values that come one by one.
///
/// B. P. Welford, "Note on a Method for Calculating Corrected Sums of Squares and Products",
/// Technometrics 4 (3), 1962; two of them are merged after T. F. Chan, G. H. Golub and
/// R. J. LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    count: u64,
    mean: f64,
    /// Sum of squared differences from the mean.
    squares: f64,
    min: f64,
    max: f64,
}

impl Default for Moments {
    fn default() -> Self {
        Self {
            count: 0,
            mean: 0.0,
            squares: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
        }
    }
}

impl Moments {
    /// Takes one value more.
    pub fn push(&mut self, value: f64) {
        self.count += 1;
        let before = value - self.mean;
        self.mean += before / self.count as f64;
        self.squares += before * (value - self.mean);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    /// Takes all values that `other` took.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        let total = self.count + other.count;
        let share = other.count as f64 / total as f64;
        let apart = other.mean - self.mean;
        self.mean += apart * share;
        self.squares += other.squares + apart * apart * share * self.count as f64;
        self.count = total;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their mean.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then_some(self.mean)
    }

    /// The standard deviation of what they are a sample of (n − 1); none below two values.
    pub fn stddev(&self) -> Option<f64> {
        (self.count > 1).then(|| (self.squares / (self.count - 1) as f64).sqrt())
    }

    /// The root of their mean square.
    pub fn rms(&self) -> Option<f64> {
        (self.count > 0).then(|| (self.squares / self.count as f64 + self.mean * self.mean).sqrt())
    }

    /// The least.
    pub fn min(&self) -> Option<f64> {
        (self.count > 0).then_some(self.min)
    }

    /// The greatest.
    pub fn max(&self) -> Option<f64> {
        (self.count > 0).then_some(self.max)
    }
}

impl FromIterator<f64> for Moments {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut moments = Self::default();
        values.into_iter().for_each(|value| moments.push(value));
        moments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: Option<f64>, expected: f64) {
        let found = found.unwrap();
        assert!(
            (found - expected).abs() <= 1e-12 * expected.abs(),
            "{found} {expected}"
        );
    }

    #[test]
    fn a_case_worked_out_by_hand() {
        let moments: Moments = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]
            .into_iter()
            .collect();
        close(moments.mean(), 5.0);
        // The squared differences add up to 32, the squares to 232.
        close(moments.stddev(), (32.0_f64 / 7.0).sqrt());
        close(moments.rms(), 29_f64.sqrt());
        assert_eq!((moments.min(), moments.max()), (Some(2.0), Some(9.0)));
    }

    #[test]
    fn a_far_mean_takes_no_digits() {
        let moments: Moments = [1e15 + 1.0, 1e15 + 2.0, 1e15 + 3.0].into_iter().collect();
        close(moments.stddev(), 1.0);
    }

    #[test]
    fn parts_merge_to_the_whole() {
        let values: Vec<f64> = (0..100).map(|i| f64::from(i * i % 37) - 11.5).collect();
        let whole: Moments = values.iter().copied().collect();
        let mut merged = Moments::default();
        for part in values.chunks(33) {
            merged.merge(&part.iter().copied().collect());
        }
        assert_eq!(merged.count(), 100);
        close(merged.mean(), whole.mean().unwrap());
        close(merged.stddev(), whole.stddev().unwrap());
        assert_eq!((merged.min(), merged.max()), (whole.min(), whole.max()));
    }

    #[test]
    fn nothing_has_no_mean() {
        let mut none = Moments::default();
        none.merge(&Moments::default());
        assert_eq!(
            (none.mean(), none.rms(), none.stddev(), none.max()),
            (None, None, None, None)
        );
    }
}
