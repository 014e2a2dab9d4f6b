//! How much better one lane is than another on a host whose noise comes and goes.
//!
//! The lanes take turns in small slices, so the ratio of two slices of one round is that of lanes
//! under the same conditions. Reported is the median ratio over all rounds, with the interval of
//! order statistics that holds the true median with 95 % (the sign test turned round; Conover,
//! *Practical Nonparametric Statistics*, 3.2): it supposes nothing of the distribution.

use serde::Serialize;
use statrs::distribution::{Binomial, DiscreteCDF};

use super::judge::median;

/// A median and what it may be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ratio {
    /// Median of the ratios.
    pub median: f64,
    /// Lower end of the 95 % interval; none of fewer than six rounds.
    pub low: Option<f64>,
    /// Upper end of the 95 % interval.
    pub high: Option<f64>,
    /// Rounds in which both lanes have a value.
    pub rounds: usize,
}

/// The ratio `of` / `to`, paired by round; none if no round has both.
pub fn paired(of: &[Option<f64>], to: &[Option<f64>]) -> Option<Ratio> {
    let both = of.iter().zip(to).filter_map(|(of, to)| {
        let (of, to) = ((*of)?, (*to)?);
        (to > 0.0 && of.is_finite()).then(|| of / to)
    });
    let mut ratios: Vec<f64> = both.collect();
    ratios.sort_unstable_by(f64::total_cmp);
    let inner = rank(ratios.len());
    Some(Ratio {
        low: inner.map(|k| ratios[k - 1]),
        high: inner.map(|k| ratios[ratios.len() - k]),
        rounds: ratios.len(),
        median: median(ratios)?,
    })
}

/// The largest k such that the k-th smallest and the k-th largest of n values enclose the median
/// with at least 95 %; none if not even the extremes do.
fn rank(n: usize) -> Option<usize> {
    let signs = Binomial::new(0.5, n as u64).ok()?;
    // The least k for which k values or fewer on one side are more likely than 2.5 %.
    let k = signs.inverse_cdf(0.025) as usize;
    (k > 0 && k < n).then_some(k)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_those_of_published_tables() {
        // Hollander, Wolfe and Chicken, *Nonparametric Statistical Methods*: confidence intervals
        // for the median by the sign test.
        for (n, k) in [
            (5, None),
            (6, Some(1)),
            (8, Some(1)),
            (9, Some(2)),
            (10, Some(2)),
        ] {
            assert_eq!(rank(n), k, "{n}");
        }
        assert_eq!(rank(20), Some(6));
        assert_eq!(rank(50), Some(18));
        // (n + 1)/2 − 0.98 √n for many.
        assert_eq!(rank(10_000), Some(4_902));
        assert_eq!((rank(0), rank(1)), (None, None));
    }

    #[test]
    fn rounds_are_paired_and_those_with_one_value_left_out() {
        let of = [Some(2.0), None, Some(9.0), Some(8.0), Some(1.0)];
        let to = [Some(1.0), Some(5.0), Some(3.0), Some(2.0), None];
        let ratio = paired(&of, &to).unwrap();
        assert_eq!((ratio.median, ratio.rounds, ratio.low), (3.0, 3, None));
        assert_eq!(paired(&of, &[None; 5]), None);
    }

    #[test]
    fn noise_that_both_lanes_share_cancels() {
        let noise = |k: i32| 1.0 + f64::from(k * 37 % 101);
        let to: Vec<_> = (0..40).map(|k| Some(noise(k))).collect();
        let of: Vec<_> = (0..40).map(|k| Some(2.5 * noise(k))).collect();
        let ratio = paired(&of, &to).unwrap();
        assert_eq!(
            (ratio.median, ratio.low, ratio.high),
            (2.5, Some(2.5), Some(2.5))
        );
    }
}
