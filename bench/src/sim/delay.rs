//! How long packets take: the models of delay.

use serde::{Deserialize, Serialize};

use super::random::Random;
use crate::units::Nanos;

/// Draws after which a truncated distribution is taken at its edge.
const MOST_DRAWS: u32 = 64;

/// The delay of one packet in one direction, drawn independently for each.
///
/// In a file: `delay = { exponential = { least = "10us", mean = "1us" } }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Delay {
    /// Waiting in the queues of a lightly loaded network.
    Exponential {
        /// Of an empty path.
        least: Nanos,
        /// Of what comes on top.
        mean: Nanos,
    },
    /// Many small independent causes.
    Gaussian {
        /// Nothing is quicker.
        least: Nanos,
        /// Of the distribution before it is cut off at `least`.
        mean: Nanos,
        /// One standard deviation before it is cut off.
        sigma: Nanos,
    },
    /// Heavy tail: `least + scale·(u^(−1/shape) − 1)` (Lomax). With `shape` ≤ 2 the variance is
    /// infinite, with `shape` ≤ 1 the mean too.
    Pareto {
        /// Of an empty path.
        least: Nanos,
        /// Spread; the median excess is `scale·(2^(1/shape) − 1)`.
        scale: Nanos,
        /// Tail index.
        shape: f64,
    },
    /// Delay of long paths: the logarithm of the excess is Gaussian.
    Lognormal {
        /// Of an empty path.
        least: Nanos,
        /// Of what comes on top.
        median: Nanos,
        /// Standard deviation of the logarithm.
        sigma: f64,
    },
}

impl Default for Delay {
    fn default() -> Self {
        Self::Exponential {
            least: Nanos(10_000.0),
            mean: Nanos(1_000.0),
        }
    }
}

impl Delay {
    /// One packet's delay, ns.
    pub fn draw(&self, random: &mut Random) -> f64 {
        match *self {
            Self::Exponential { least, mean } => least.0 + random.exponential(mean.0),
            Self::Gaussian { least, mean, sigma } => (0..MOST_DRAWS)
                .map(|_| mean.0 + sigma.0 * random.gaussian())
                .find(|delay| *delay >= least.0)
                .unwrap_or(least.0),
            Self::Pareto {
                least,
                scale,
                shape,
            } => least.0 + scale.0 * ((1.0 - random.unit()).powf(-1.0 / shape) - 1.0),
            Self::Lognormal {
                least,
                median,
                sigma,
            } => least.0 + median.0 * (sigma * random.gaussian()).exp(),
        }
    }

    /// The least possible delay, ns: what causality knows at best.
    pub const fn least(&self) -> f64 {
        match self {
            Self::Exponential { least, .. }
            | Self::Gaussian { least, .. }
            | Self::Pareto { least, .. }
            | Self::Lognormal { least, .. } => least.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(delay: &Delay) -> Vec<f64> {
        let mut random = Random::new(1, 0);
        let mut drawn: Vec<f64> = (0..100_000).map(|_| delay.draw(&mut random)).collect();
        drawn.sort_by(f64::total_cmp);
        drawn
    }

    #[test]
    fn medians_and_tails_are_those_of_the_formulas() {
        let (least, unit) = (Nanos(1e4), Nanos(1e3));
        let cases = [
            (
                Delay::Exponential { least, mean: unit },
                [2f64.ln(), 100f64.ln()],
            ),
            (
                Delay::Pareto {
                    least,
                    scale: unit,
                    shape: 1.5,
                },
                [2f64.powf(1.0 / 1.5) - 1.0, 100f64.powf(1.0 / 1.5) - 1.0],
            ),
            (
                Delay::Lognormal {
                    least,
                    median: unit,
                    sigma: 1.2,
                },
                // 2.3263 is the 99 % point of the Gaussian.
                [1.0, (1.2f64 * 2.3263).exp()],
            ),
        ];
        for (delay, [median, p99]) in cases {
            let drawn = sorted(&delay);
            assert!(drawn[0] >= delay.least());
            let at = |i: usize| (drawn[i] - least.0) / unit.0;
            assert!(
                (at(50_000) / median - 1.0).abs() < 0.03,
                "{delay:?} {}",
                at(50_000)
            );
            assert!(
                (at(99_000) / p99 - 1.0).abs() < 0.08,
                "{delay:?} {}",
                at(99_000)
            );
        }
    }

    #[test]
    fn the_gaussian_is_cut_off() {
        let delay = Delay::Gaussian {
            least: Nanos(1e4),
            mean: Nanos(1.2e4),
            sigma: Nanos(1e3),
        };
        let drawn = sorted(&delay);
        assert!(drawn[0] >= 1e4 && drawn[0] < 1.01e4);
        assert!((drawn[50_000] - 1.2e4).abs() < 40.0, "{}", drawn[50_000]);
        // Cut off so high that hardly anything is left: the edge itself.
        let hopeless = Delay::Gaussian {
            least: Nanos(1e6),
            mean: Nanos(0.0),
            sigma: Nanos(1.0),
        };
        assert_eq!(hopeless.draw(&mut Random::new(1, 0)), 1e6);
    }
}
