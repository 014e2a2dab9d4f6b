//! Weighted linear regression over a window that a runs test chooses.
//!
//! Source: the school of chrony (R. P. Curnow, M. Lichvar; the facts are in its `regress.c` and
//! `sourcestats.c`) with the runs test of A. Wald and J. Wolfowitz, *On a test whether two samples
//! are from the same population*, Ann. Math. Stat. 11(2), 1940. A sample whose distance (half of
//! the round trip) is λ has the standard deviation `1 + (λ − λ_min)/s` with
//! `s = (λ_median − λ_min)/0.7`. If the residuals change their sign less often than those of a line
//! would, the oscillator has left the line: the oldest samples are dropped until they do.
//!
//! The window follows wander and temperature steps without being told of them. Wins on quiet links
//! and with oscillators that do not keep to their specification. Fails with noise that is not even
//! about the line for long (routes that change, one-sided queues): least squares follow it, and
//! wander below the noise is found late.

use super::fit::{Fit, Moments, Prior, STAMP_FLOOR};
use super::floor::DelayFloor;
use super::ring::Ring;
use crate::link::{Belief, Exchange, Interval, LinkEstimator, OscillatorSpec};

/// Samples at most.
const MOST: usize = 64;
/// Samples that the test leaves at least.
const FEWEST: usize = 4;
/// How far the median distance is from the least, in the scale of the weights.
const MEDIAN_DISTANCE: f64 = 0.7;
/// One-sided 5 % point of the Gaussian distribution.
const FIVE_PERCENT: f64 = 1.645;

/// Whether residuals with so many positive and negative values fall into too few runs for a line:
/// with a probability of 5 % if they are independent. Gaussian approximation with a correction for
/// continuity: of `p` and `m` signs, `n` together, come `2pm/n + 1` runs on average, with a
/// variance of `(runs − 1)(runs − 2)/(n − 1)`.
fn too_few_runs(runs: u32, positive: u32, negative: u32) -> bool {
    let (p, m) = (f64::from(positive), f64::from(negative));
    let n = p + m;
    if p == 0.0 || m == 0.0 {
        return false;
    }
    let mean = 2.0 * p * m / n + 1.0;
    let variance = (mean - 1.0) * (mean - 2.0) / (n - 1.0);
    f64::from(runs) + 0.5 < mean - FIVE_PERCENT * variance.max(0.0).sqrt()
}

#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    at: f64,
    offset: f64,
    /// Half of the round trip and the noise of the stamps, ns.
    distance: f32,
}

/// The weighted regression; see the module's documentation.
#[derive(Debug, Clone)]
pub struct Regression {
    prior: Prior,
    floor: DelayFloor,
    /// What a sample at the least distance is off by, ns.
    sigma: f64,
    samples: Ring<Sample, MOST>,
    fit: Option<Fit>,
}

impl Regression {
    /// Least distance and the scale of the weights, ns.
    fn distances(&self) -> (f64, f64) {
        let mut sorted = [0_f32; MOST];
        let count = self.samples.len();
        for (slot, sample) in sorted.iter_mut().zip(self.samples.iter()) {
            *slot = sample.distance;
        }
        let sorted = &mut sorted[..count];
        let least = sorted.iter().copied().fold(f32::INFINITY, f32::min);
        let (_, median, _) = sorted.select_nth_unstable_by(count / 2, f32::total_cmp);
        let (least, median) = (f64::from(least), f64::from(*median));
        let scale = (median - least) / MEDIAN_DISTANCE;
        (least, scale.max(STAMP_FLOOR))
    }

    /// Fits and drops the oldest until the runs test passes.
    fn refit(&mut self) {
        loop {
            let (least, scale) = self.distances();
            let mut sums = Moments::default();
            for sample in self.samples.iter() {
                let deviation = 1.0 + (f64::from(sample.distance) - least) / scale;
                let variance = (self.sigma * deviation).powi(2);
                sums.add(sample.at, sample.offset, variance);
            }
            self.fit = Fit::line(&sums, &self.prior);
            let count = self.samples.len();
            if count <= FEWEST || self.fit.is_none_or(|fit| !self.off_the_line(&fit)) {
                return;
            }
            self.samples
                .drop_oldest((count / 8).clamp(1, count - FEWEST));
        }
    }

    fn off_the_line(&self, fit: &Fit) -> bool {
        let (mut runs, mut positive, mut negative) = (0, 0, 0);
        let mut last = None;
        for sample in self.samples.iter() {
            let above = fit.residual(sample.at, sample.offset) > 0.0;
            runs += u32::from(last != Some(above));
            positive += u32::from(above);
            negative += u32::from(!above);
            last = Some(above);
        }
        too_few_runs(runs, positive, negative)
    }
}

impl LinkEstimator for Regression {
    type Kind = ();

    fn new((): (), spec: &OscillatorSpec) -> Self {
        Self {
            prior: Prior::new(spec),
            floor: DelayFloor::new(),
            sigma: STAMP_FLOOR,
            samples: Ring::new(),
            fit: None,
        }
    }

    fn update(&mut self, exchange: &Exchange) {
        self.floor.excess(exchange.half_delay);
        let typical = self.floor.typical_error(exchange.half_delay);
        self.sigma = typical.max(STAMP_FLOOR);
        self.samples.push(Sample {
            at: exchange.at,
            offset: exchange.offset,
            distance: (exchange.half_delay + exchange.stamp_sigma) as f32,
        });
        self.refit();
    }

    fn at(&self, at: f64) -> Option<Belief> {
        self.fit.map(|fit| fit.belief(at, &self.prior))
    }

    fn confine(&mut self, at: f64, interval: &Interval) {
        let prior = self.prior;
        if let Some(fit) = &mut self.fit
            && fit.confine(at, interval, &prior)
        {
            self.samples.drop_oldest(self.samples.len() / 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Probability of at most `most` runs, exactly: the number of ways to cut `p` signs into i runs
    /// and `m` into j is `C(p − 1, i − 1)·C(m − 1, j − 1)`, and |i − j| is 0 (twice) or 1.
    fn exact(most: u32, p: u32, m: u32) -> f64 {
        let choose = |n: u32, k: u32| {
            (0..k).fold(1.0, |product, i| {
                product * f64::from(n - i) / f64::from(k - i)
            })
        };
        let ways = |i: u32, j: u32| {
            if i == 0 || j == 0 || i > p || j > m {
                0.0
            } else {
                choose(p - 1, i - 1) * choose(m - 1, j - 1)
            }
        };
        let sum: f64 = (2..=most)
            .map(|r| {
                if r % 2 == 0 {
                    2.0 * ways(r / 2, r / 2)
                } else {
                    ways(r / 2, r / 2 + 1) + ways(r / 2 + 1, r / 2)
                }
            })
            .sum();
        sum / choose(p + m, p)
    }

    #[test]
    fn critical_numbers_of_runs_are_those_of_the_tables() {
        // Swed and Eisenhart's tables (Ann. Math. Stat. 14(1), 1943), one side, 5 %.
        for (each, critical) in [(5, 3), (6, 3), (8, 5), (10, 6), (15, 11), (20, 15)] {
            assert!(too_few_runs(critical, each, each), "{each}");
            assert!(!too_few_runs(critical + 1, each, each), "{each}");
        }
        // And against the exact distribution.
        for p in 4..=32_u32 {
            for m in p..=32 {
                let critical = (2..=2 * p + 1).filter(|r| too_few_runs(*r, p, m)).max();
                let error = critical.map_or(0.0, |critical| exact(critical, p, m));
                assert!(error < 0.075, "{p} {m}: {error}");
            }
        }
    }
}
