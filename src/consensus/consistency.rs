//! Whether exchanges are as near to what was expected as they should be.

use serde::{Deserialize, Serialize};

/// Exchanges that count, at three paces: 1/(1 − memory).
const COUNTED: [f64; 3] = [8.0, 32.0, 128.0];

/// A mean of innovations within so many sigma of zero may be chance.
const CHANCE: f64 = 1.2;

/// One innovation counts for no more than so many sigma: it may be a liar's.
const MOST: f64 = 4.0;

/// Watches the innovations of a filter: what exchanges measured minus what was expected of them.
///
/// Those of a filter that knows what it says it knows have mean zero and are independent of each
/// other (T. Kailath, *An innovations approach to least-squares estimation*, IEEE Trans. Automatic
/// Control 13(6), 1968). A mean of many that is farther from zero than chance has it is an error of
/// the filter's that it does not know of: its oscillator has changed, a queue or a route makes one
/// direction longer, others went elsewhere. Means over few exchanges see it soon, those over many
/// see small errors.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Consistency {
    means: [Mean; COUNTED.len()],
}

/// A mean of innovations, each weighed by its variance, of which old ones fade.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Mean {
    /// ns.
    mean: f64,
    /// Sum of the weights, 1/ns².
    weight: f64,
    /// Variance of the sum that the mean is of, 1/ns².
    chance: f64,
}

impl Consistency {
    /// An exchange was off by `innovation` (ns), and expected to be by the root of `variance` (ns²).
    pub(super) fn push(&mut self, innovation: f64, variance: f64) {
        let most = MOST * variance.sqrt();
        let innovation = innovation.clamp(-most, most);
        let weight = 1.0 / variance;
        for (mean, counted) in self.means.iter_mut().zip(COUNTED) {
            let memory = 1.0 - 1.0 / counted;
            mean.weight = memory * mean.weight + weight;
            mean.chance = memory * memory * mean.chance + weight;
            mean.mean += weight / mean.weight * (innovation - mean.mean);
        }
    }

    /// Variance of the error that the filter does not know of, as far as it is no chance, ns².
    pub(super) fn unknown(&self) -> f64 {
        let beyond = |mean: &Mean| {
            let chance = CHANCE * CHANCE * mean.chance / (mean.weight * mean.weight);
            (mean.mean * mean.mean - chance).max(0.0)
        };
        let known = self.means.iter().filter(|mean| mean.weight > 0.0);
        known.map(beyond).fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Innovations of ±`sigma` by turns about `mean`.
    fn seen(exchanges: u32, mean: f64, sigma: f64) -> Consistency {
        let mut consistency = Consistency::default();
        for k in 0..exchanges {
            let sign = if k % 2 == 0 { 1.0 } else { -1.0 };
            consistency.push(mean + sign * sigma, sigma * sigma);
        }
        consistency
    }

    #[test]
    fn chance_is_nothing_and_a_mean_beyond_it_is_an_error() {
        assert_eq!(Consistency::default().unknown(), 0.0);
        assert_eq!(seen(1_000, 0.0, 100.0).unknown(), 0.0);
        // Of 128 exchanges that count, the mean is known to 100/√256 = 6.3 ns.
        let small = seen(2_000, 30.0, 100.0).unknown().sqrt();
        assert!((28.0..31.0).contains(&small), "{small}");
        // A large one is seen after few.
        let mut soon = seen(1_000, 0.0, 100.0);
        for _ in 0..8 {
            soon.push(300.0, 1e4);
        }
        assert!(soon.unknown().sqrt() > 150.0, "{}", soon.unknown().sqrt());
    }

    #[test]
    fn one_exchange_is_no_more_than_four_sigma() {
        let mut consistency = seen(1_000, 0.0, 100.0);
        consistency.push(1e9, 1e4);
        assert!(consistency.unknown().sqrt() < 60.0);
    }
}
