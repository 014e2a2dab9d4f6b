//! How errors are distributed: quantiles, and counts in equal bins around zero.

/// How many bins; odd, so that one is around zero.
const BINS: usize = 41;

/// Counts of errors from `-limit_ns` to `limit_ns`.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Where the bins end, either way.
    pub limit_ns: f64,
    /// Counts, from the lowest bin to the highest.
    pub counts: Vec<u64>,
    /// Errors beyond the limits.
    pub beyond: u64,
}

impl Histogram {
    /// The limits are a round number that holds at least 99 % of the errors, so that a few wild
    /// ones do not squeeze the rest into a line.
    pub fn of(errors_ns: &[f64]) -> Self {
        Self::within(errors_ns, Self::limit(errors_ns, 0.99))
    }

    /// A round number that holds at least this share of the errors, from 0 to 1.
    pub fn limit(errors_ns: &[f64], share: f64) -> f64 {
        let mut magnitudes: Vec<f64> = errors_ns.iter().map(|ns| ns.abs()).collect();
        magnitudes.sort_unstable_by(f64::total_cmp);
        round_up(quantile(&magnitudes, share).unwrap_or(0.0).max(10.0))
    }

    /// With a limit that others have, too.
    pub fn within(errors_ns: &[f64], limit_ns: f64) -> Self {
        let mut counts = vec![0; BINS];
        let mut beyond = 0;
        for error in errors_ns {
            let place = (error + limit_ns) / (2.0 * limit_ns) * BINS as f64;
            if error.abs() <= limit_ns {
                counts[(place as usize).min(BINS - 1)] += 1;
            } else {
                beyond += 1;
            }
        }
        Self {
            limit_ns,
            counts,
            beyond,
        }
    }

    /// All errors counted, those beyond the limits too.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.beyond
    }
}

/// The smallest of the sorted values that at least the share `q` of them, from 0 to 1, do not exceed
/// (nearest rank).
pub fn quantile<T: Copy>(sorted: &[T], q: f64) -> Option<T> {
    // A share like 0.07 is a little more than it says, but not by as much as this.
    let rank = (sorted.len() as f64 * q - 1e-9).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied()
}

/// The next of 1, 1.5, 2, 3, 4, 5, 6, 8 times a power of ten.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let step = [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0]
        .into_iter()
        .find(|step| step * power >= value);
    step.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_in_the_middle_bin_and_signs_keep_their_side() {
        let histogram = Histogram::of(&[-400.0, -1.0, 0.0, 1.0, 400.0]);
        assert_eq!(histogram.limit_ns, 400.0);
        assert_eq!(histogram.counts[20], 3);
        assert_eq!((histogram.counts[0], histogram.counts[40]), (1, 1));
        assert_eq!((histogram.beyond, histogram.total()), (0, 5));
    }

    #[test]
    fn wild_errors_are_beyond_the_limits_and_still_counted() {
        let mut errors: Vec<f64> = (-500..500).map(f64::from).collect();
        errors.insert(0, -1e9);
        errors.push(5e6);
        let histogram = Histogram::of(&errors);
        assert_eq!(histogram.limit_ns, 500.0);
        assert_eq!((histogram.beyond, histogram.total()), (2, 1002));
    }

    #[test]
    fn no_errors_make_an_empty_histogram() {
        let histogram = Histogram::of(&[]);
        assert_eq!((histogram.limit_ns, histogram.total()), (10.0, 0));
    }

    #[test]
    fn quantiles_are_nearest_rank() {
        let values: Vec<i64> = (1..=200).collect();
        assert_eq!(quantile(&values, 0.5), Some(100));
        assert_eq!(quantile(&values, 0.99), Some(198));
        assert_eq!(quantile(&values, 0.0), Some(1));
        assert_eq!(quantile(&values, 1.0), Some(200));
        assert_eq!(quantile(&values[..100], 0.07), Some(7));
        assert_eq!(quantile(&[7], 0.99), Some(7));
        assert_eq!(quantile::<i64>(&[], 0.5), None);
    }

    #[test]
    fn limits_are_round() {
        for (value, rounded) in [(10.0, 10.0), (11.0, 15.0), (512.0, 600.0), (999.0, 1000.0)] {
            assert_eq!(round_up(value), rounded);
        }
    }
}
