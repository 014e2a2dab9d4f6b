//! The default strategy: a weighted mean of those that passed the gate.

use serde::{Deserialize, Serialize};

use crate::consensus::stats::Sample;
use crate::consensus::{Combine, Correction, Round};

/// No reading weighs more than this many times the median weight.
const WEIGHT_CAP: f64 = 2.0;

/// Weighted mean over the readings that passed the gate, our own clock included, each weighed by
/// its own uncertainty and the disagreement among all: `w = 1/(σ² + s²)`, capped, so that nobody
/// gains influence by looking precise. On a benign network this is more efficient than a median;
/// against liars the gate has already done its work.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RobustMean;

impl Combine for RobustMean {
    fn combine(&mut self, round: &Round<'_>) -> Correction {
        let own = std::iter::once((0.0, 0.0));
        let offsets = || own.clone().chain(round.used().map(|r| (r.offset, r.sigma)));
        let rates = || {
            own.clone()
                .chain(round.used().map(|r| (r.rate, r.rate_sigma)))
        };
        let (offset, sigma) = weighted_mean(offsets);
        let (rate, _) = weighted_mean(rates);
        Correction {
            offset,
            sigma,
            rate,
            used: round.used().count() + 1,
            gain: None,
        }
    }
}

/// The mean of `(value, sigma)` pairs and its one sigma.
fn weighted_mean<I: Iterator<Item = (f64, f64)>>(pairs: impl Fn() -> I) -> (f64, f64) {
    let mut values: Sample = pairs().map(|(value, _)| value).collect();
    let centre = values.lower_median().unwrap_or(0.0);
    let spread = values.spread(centre);
    let weight = |sigma: f64| 1.0 / (sigma * sigma + spread * spread).max(f64::MIN_POSITIVE);
    let mut weights: Sample = pairs().map(|(_, sigma)| weight(sigma)).collect();
    let cap = WEIGHT_CAP * weights.lower_median().unwrap_or(1.0);
    let (mut total, mut sum, mut variance) = (0.0, 0.0, 0.0);
    for (value, sigma) in pairs() {
        // Relative to the cap, so that weights neither overflow nor vanish together.
        let share = (weight(sigma) / cap).min(1.0);
        total += share;
        sum += share * (value - centre);
        variance += share * share * (sigma * sigma + spread * spread);
    }
    if total > 0.0 {
        (centre + sum / total, variance.sqrt() / total)
    } else {
        (centre, spread)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{readings, round};
    use super::*;
    use crate::consensus::Reading;

    fn combine(offsets: &[f64]) -> Correction {
        round(&mut RobustMean, &readings(offsets))
    }

    #[test]
    fn equal_clocks_average_with_our_own() {
        let c = combine(&[30.0, 30.0, 30.0]);
        // Own clock: weight capped at twice the others'.
        assert!((c.offset - 30.0 * 3.0 / 5.0).abs() < 1.0, "{c:?}");
        assert_eq!(c.used, 4);
    }

    #[test]
    fn a_third_of_liars_moves_nothing_much() {
        let honest = [10.0, -10.0, 5.0, -5.0, 0.0];
        let clean = combine(&honest).offset;
        let all = [&honest[..], &[1e7, 1e7]].concat();
        let lied = combine(&all).offset;
        assert!((lied - clean).abs() < 5.0, "{clean} {lied}");
    }

    #[test]
    fn perfect_agreement_is_finite() {
        let exact = Reading {
            sigma: 0.0,
            ..readings(&[0.0])[0]
        };
        let c = round(&mut RobustMean, &[exact; 5]);
        assert_eq!((c.offset, c.sigma), (0.0, 0.0));
    }
}
