//! What one exchange says about the offset.
//!
//! Delays are noisy in two ways, and which one it is decides how an offset is best read:
//!
//! - *queueing*: a packet waits, never hurries. If the waits of the two directions are
//!   exponential and together `2E`, their difference is uniform: the offset lies anywhere within
//!   `±E` of the middle and nowhere else (the least round trips tell all, and `n` of them tell it
//!   to `1/n`; D. Jeske, *On maximum-likelihood estimation of clock offset*, IEEE Trans. Commun.
//!   53(1), 2005). Now and then packets meet another queue: a line is congested for seconds, a
//!   route is longer. So the density falls exponentially up to a few times the usual wait only, and
//!   by a power beyond: of two packets one of which waited that long, the other tells.
//! - *jitter*: what is added is as often less than more. The round trip then says nothing about
//!   how it is shared, and the middle is off by as much as half round trips scatter.
//!
//! Both are kept as hypotheses, weighed by how well they foretold the offsets so far.

use std::f64::consts::TAU;

use super::elementary::{exp, ln};
use super::gaussian::below;

/// A wait of more than so many times the usual one is another queue's: longer ones are less likely
/// by a power, not exponentially.
const ANOTHER_QUEUE: f64 = 4.0;

/// From one exchange to the next an empty path's delay may change by this share of the queues'.
const RESTLESS: f64 = 1e-4;

/// An offset beyond so many sigma is a surprise: a clock or a path has jumped.
const SURPRISE: f64 = 4.0;

/// The delay of an empty path, the same both ways: a Gaussian belief.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Floor {
    /// Mean, ns.
    pub mean: f64,
    /// Variance, ns².
    pub variance: f64,
}

/// What one exchange says about an offset, besides the middle of its two limits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Likelihood {
    /// Half of its round trip, ns.
    pub half_delay: f64,
    /// If packets queue: how long on average, ns.
    pub queue: f64,
    /// If delays jitter: their mean, ns.
    pub usual: f64,
    /// Then, one sigma of the offset, ns.
    pub jitter: f64,
    /// How much likelier queueing is than jitter, as the logarithm of their ratio.
    pub log_odds: f64,
    /// The delay of the path without either, as far as it is known.
    pub floor: Floor,
}

/// What becomes of a Gaussian belief about the offset by one exchange.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Posterior {
    /// Mean, ns, relative to the mean before.
    pub mean: f64,
    /// Variance, ns².
    pub variance: f64,
    /// The empty path's delay, if packets queue.
    pub floor: Floor,
    /// Logarithm of how much likelier queueing makes this exchange than jitter does.
    pub log_odds: f64,
}

/// What becomes of several beliefs by the same exchange.
#[derive(Debug, Clone, Copy)]
pub(super) struct Posteriors<const N: usize> {
    /// Each as in [`Posterior`].
    pub(super) mean: [f64; N],
    pub(super) variance: [f64; N],
    floor: [f64; N],
    floor_variance: [f64; N],
    log_odds: [f64; N],
    /// How likely the exchange was, given the belief: the likelier of two densities is
    /// `part·e^exponent` and counts with its share of before. What takes a logarithm is worked out
    /// where it is asked for.
    queues: [bool; N],
    exponent: [f64; N],
    part: [f64; N],
}

impl<const N: usize> Posteriors<N> {
    /// The one with this number.
    pub(super) const fn nth(&self, k: usize) -> Posterior {
        Posterior {
            mean: self.mean[k],
            variance: self.variance[k],
            floor: Floor {
                mean: self.floor[k],
                variance: self.floor_variance[k],
            },
            log_odds: self.log_odds[k],
        }
    }

    /// Logarithm of the density of the two packets' delays (1/ns²), given each belief: what a
    /// hypothesis that made the belief is judged by. `share`: [`Likelihood::share`].
    #[inline]
    pub(super) fn log_evidence(&self, share: f64) -> [f64; N] {
        let mut evidence = self.part;
        for (part, queues) in evidence.iter_mut().zip(self.queues) {
            *part *= if queues { share } else { 1.0 - share };
        }
        evidence = ln(evidence);
        for (evidence, exponent) in evidence.iter_mut().zip(self.exponent) {
            *evidence += exponent;
        }
        evidence
    }
}

impl Likelihood {
    /// The belief N(0, `variance`) after an exchange whose middle is at `middle`: mean and
    /// variance are those of the exact posterior, so a chain of Gaussians follows it (assumed
    /// density filtering).
    pub fn posterior(&self, middle: f64, variance: f64) -> Posterior {
        self.posteriors(&[middle], &[variance]).nth(0)
    }

    /// The same for several beliefs, which are worked out together.
    #[inline]
    pub(super) fn posteriors<const N: usize>(
        &self,
        middles: &[f64; N],
        variances: &[f64; N],
    ) -> Posteriors<N> {
        // Sooner than an empty path allows: it was not known that well.
        let early = (self.floor.mean - self.half_delay).max(0.0);
        let mut queueing = Joint {
            offset: [0.0; N],
            floor: [self.floor.mean; N],
            p_offset: *variances,
            p_cross: [0.0; N],
            p_floor: [self.floor.variance.max(early * early); N],
        };
        let inverse_queue = 1.0 / self.queue;
        let there = middles.map(|middle| self.half_delay + middle);
        let back = middles.map(|middle| self.half_delay - middle);
        let (q1, m1) = queueing.cut(1.0, &there, inverse_queue);
        let (q2, m2) = queueing.cut(-1.0, &back, inverse_queue);
        // Both hypotheses foretell the delays of the two packets, which are half_delay ± middle.
        // Their densities are factor·e^exponent: far from what was expected an exponent says it all.
        let unusual = (self.half_delay - self.usual) / self.jitter;
        let jitter_variance = self.jitter * self.jitter;
        let (mut gain, mut jitter_exponent, mut spread) = ([0.0; N], [0.0; N], [0.0; N]);
        let (mut factor, mut ratio) = ([0.0; N], [0.0; N]);
        for k in 0..N {
            let total = variances[k] + jitter_variance;
            gain[k] = variances[k] / total;
            jitter_exponent[k] = -0.5 * (middles[k] * middles[k] / total + unusual * unusual);
            spread[k] = 2.0 * TAU * self.jitter * total.sqrt();
            factor[k] = m1[k] * m2[k] * inverse_queue * inverse_queue;
            ratio[k] = factor[k] * spread[k];
        }
        let mut log_odds = ln(ratio);
        for k in 0..N {
            log_odds[k] += q1[k] + q2[k] - jitter_exponent[k];
        }
        let odds = Odds::new(log_odds.map(|told| self.log_odds + told));
        let shares = odds.shares();
        let mut told = Posteriors {
            mean: [0.0; N],
            variance: [0.0; N],
            floor: queueing.floor,
            floor_variance: queueing.p_floor,
            log_odds,
            queues: odds.likely,
            exponent: [0.0; N],
            part: [0.0; N],
        };
        for k in 0..N {
            let share = shares[k];
            let jitter = (gain[k] * middles[k], variances[k] * (1.0 - gain[k]));
            let mean = share * queueing.offset[k] + (1.0 - share) * jitter.0;
            let away = (queueing.offset[k] - mean, jitter.0 - mean);
            told.mean[k] = mean;
            told.variance[k] = share * (queueing.p_offset[k] + away.0 * away.0)
                + (1.0 - share) * (jitter.1 + away.1 * away.1);
            // s·(density if queueing) + (1 − s)·(density if jitter), with the share s from before.
            let more = 1.0 + odds.ratio[k];
            (told.exponent[k], told.part[k]) = if odds.likely[k] {
                (q1[k] + q2[k], factor[k] * more)
            } else {
                (jitter_exponent[k], more / spread[k])
            };
        }
        told
    }

    /// How likely queueing is rather than jitter, before the exchange.
    pub fn share(&self) -> f64 {
        let [share] = Odds::new([self.log_odds]).shares();
        share
    }

    /// How much the variance of the floor grows from one exchange to the next, ns².
    pub fn restless(&self) -> f64 {
        (RESTLESS * self.queue).powi(2)
    }

    /// How far the middle may be off by what the packets waited, ns.
    pub fn excess(&self) -> f64 {
        (self.half_delay - self.floor.mean).max(0.0) + self.floor.variance.sqrt()
    }

    /// By how much an offset `innovation` away from where it was expected, give or take the root of
    /// `variance` (ns²), is farther than a clock and a path that did not jump leave likely. ns, with
    /// the sign of `innovation`; 0 if it is no surprise.
    #[inline]
    pub fn surprise(&self, innovation: f64, variance: f64) -> f64 {
        let usual = SURPRISE * SURPRISE * (variance + self.jitter * self.jitter);
        if innovation * innovation <= usual {
            return 0.0;
        }
        let beyond = innovation.abs() - self.excess() - SURPRISE * variance.sqrt();
        if beyond > 0.0 {
            beyond.copysign(innovation)
        } else {
            0.0
        }
    }

    /// One sigma of the offset if nothing else is known, ns.
    #[inline]
    pub fn sigma(&self) -> f64 {
        let share = self.share();
        let queueing = self.excess().powi(2) / 3.0;
        (share * queueing + (1.0 - share) * self.jitter * self.jitter).sqrt()
    }
}

/// Offset and floor of a path, of which each packet limits the sum or the difference; several
/// beliefs about them.
struct Joint<const N: usize> {
    offset: [f64; N],
    floor: [f64; N],
    p_offset: [f64; N],
    p_cross: [f64; N],
    p_floor: [f64; N],
}

impl<const N: usize> Joint<N> {
    /// A packet took `floor + sign·offset` and waited besides, exponentially with mean
    /// `1/inverse_queue`, or in another queue; altogether `delay`, which each belief sees from where
    /// it is. Returns how likely that was: the density is `mass·e^exponent/queue`.
    #[inline]
    fn cut(&mut self, sign: f64, delay: &[f64; N], inverse_queue: f64) -> ([f64; N], [f64; N]) {
        let (mut to_offset, mut to_floor) = ([0.0; N], [0.0; N]);
        let (mut variance, mut inverse_sigma) = ([0.0; N], [0.0; N]);
        let (mut surplus, mut beyond) = ([0.0; N], [0.0; N]);
        for k in 0..N {
            to_offset[k] = sign * self.p_offset[k] + self.p_cross[k];
            to_floor[k] = sign * self.p_cross[k] + self.p_floor[k];
            variance[k] = (sign * to_offset[k] + to_floor[k]).max(1e-6);
            inverse_sigma[k] = 1.0 / variance[k].sqrt();
            surplus[k] = delay[k] - self.floor[k] - sign * self.offset[k];
            // Beyond w = k·queue the density is (surplus/w)^−k times what it is there; near one
            // surplus that is an exponential with a mean of surplus/k.
            beyond[k] = (surplus[k] * inverse_queue / ANOTHER_QUEUE).max(1.0);
        }
        let rarer = if beyond.iter().any(|beyond| *beyond > 1.0) {
            ln(beyond)
        } else {
            [0.0; N]
        };
        let (mut rate, mut lean, mut limit) = ([0.0; N], [0.0; N], [0.0; N]);
        for k in 0..N {
            rate[k] = inverse_queue / beyond[k];
            // The longer a packet may have waited, the likelier it has waited less: the density of
            // what it would have taken without queue leans towards the limit, and ends there.
            lean[k] = variance[k] * rate[k];
            limit[k] = (surplus[k] - lean[k]) * inverse_sigma[k];
        }
        let cut = below(&limit);
        let mut exponent = [0.0; N];
        for k in 0..N {
            let told = rate[k] - cut.shift[k] * inverse_sigma[k];
            let less = cut.loss[k] * inverse_sigma[k] * inverse_sigma[k];
            self.offset[k] += to_offset[k] * told;
            self.floor[k] += to_floor[k] * told;
            self.p_offset[k] = (self.p_offset[k] - to_offset[k] * to_offset[k] * less).max(1e-9);
            self.p_floor[k] = (self.p_floor[k] - to_floor[k] * to_floor[k] * less).max(1e-9);
            self.p_cross[k] -= to_offset[k] * to_floor[k] * less;
            // The exponent is (lean/2 − surplus)/queue; what `below` leaves out of the mass below
            // zero makes a square of it.
            let unusual = surplus[k] * inverse_sigma[k];
            exponent[k] = if limit[k] < 0.0 {
                -0.5 * unusual * unusual
            } else {
                (0.5 * lean[k] - surplus[k]) * rate[k] - ANOTHER_QUEUE * rarer[k]
            };
        }
        (exponent, cut.mass)
    }
}

/// Odds as the ratio of the less likely to the likelier, which never overflows.
struct Odds<const N: usize> {
    likely: [bool; N],
    ratio: [f64; N],
}

impl<const N: usize> Odds<N> {
    #[inline]
    fn new(log_odds: [f64; N]) -> Self {
        Self {
            likely: log_odds.map(|odds| odds >= 0.0),
            ratio: exp(log_odds.map(|odds| -odds.abs())),
        }
    }

    #[inline]
    fn shares(&self) -> [f64; N] {
        let mut shares = self.ratio;
        for (share, likely) in shares.iter_mut().zip(self.likely) {
            let likelier = 1.0 / (1.0 + *share);
            *share = if likely { likelier } else { *share * likelier };
        }
        shares
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_packet_worked_out_by_hand() {
        // Nothing is known of the offset, all of the floor: 100 ns too much is a wait of mean 30,
        // or of a queue that is longer for once: at the fourth power, of mean 100/4.
        for (queue, mean) in [(30.0, 30.0), (10.0, 25.0)] {
            let mut joint = Joint {
                offset: [0.0],
                floor: [0.0],
                p_offset: [1e12],
                p_cross: [0.0],
                p_floor: [1e-6],
            };
            joint.cut(1.0, &[100.0], 1.0 / queue);
            let ([offset], [variance]) = (joint.offset, joint.p_offset);
            assert!((offset - (100.0 - mean)).abs() < 0.1, "{offset}");
            assert!((variance - mean * mean).abs() < 1.0, "{variance}");
        }
    }

    #[test]
    fn a_round_trip_shorter_than_the_floor_is_believed() {
        let floor = Floor {
            mean: 1_000.0,
            variance: 1.0,
        };
        let seen = Likelihood {
            half_delay: 900.0,
            queue: 50.0,
            usual: 1_000.0,
            jitter: 50.0,
            log_odds: 20.0,
            floor,
        };
        let told = seen.posterior(0.0, 4.0);
        assert!((850.0..910.0).contains(&told.floor.mean), "{told:?}");
    }

    #[test]
    fn all_exchanges_together_are_certain() {
        for log_odds in [-20.0, -1.0, 0.0, 3.0, 20.0] {
            let floor = Floor {
                mean: 100.0,
                variance: 9.0,
            };
            let seen = |half_delay| Likelihood {
                half_delay,
                queue: 10.0,
                usual: 110.0,
                jitter: 8.0,
                log_odds,
                floor,
            };
            // Over half delays and middles: the density is that of the two packets' delays. Other
            // queues add a percent; how likely round trips are that are shorter than the floor is
            // guessed after the fact, which adds up to a quarter.
            let step = 1.0;
            let mut sum = 0.0;
            for (i, j) in (0..400).flat_map(|i| (-200..200).map(move |j| (i, j))) {
                let (half, middle) = (50.0 + step * f64::from(i), step * f64::from(j));
                let seen = seen(half);
                let told = seen.posteriors(&[middle], &[25.0]);
                let [evidence] = told.log_evidence(seen.share());
                sum += evidence.exp();
            }
            let mass = 2.0 * step * step * sum;
            assert!((0.99..1.3).contains(&mass), "{log_odds}: {mass}");
        }
    }

    #[test]
    fn beliefs_that_are_worked_out_together_are_those_that_are_alone() {
        let floor = Floor {
            mean: 1_000.0,
            variance: 30.0,
        };
        let seen = Likelihood {
            half_delay: 1_040.0,
            queue: 20.0,
            usual: 1_030.0,
            jitter: 25.0,
            log_odds: -1.0,
            floor,
        };
        let (middles, variances) = ([3.0, -700.0, 40.0], [1.0, 1e4, 1e-3]);
        let together = seen.posteriors(&middles, &variances);
        for k in 0..3 {
            assert_eq!(together.nth(k), seen.posterior(middles[k], variances[k]));
        }
    }

    proptest! {
        #[test]
        fn a_posterior_is_finite_and_no_wider_than_the_belief_and_the_limits(
            middle in -1e9..1e9f64,
            half_delay in -1e3..1e9f64,
            queue in 1.0..1e9f64,
            jitter in 1.0..1e9f64,
            variance in 1e-2..1e15f64,
            log_odds in -20.0..20.0f64,
            floor in 0.0..1e9f64,
            floor_variance in 0.0..1e15f64,
        ) {
            let floor = Floor { mean: floor, variance: floor_variance };
            let seen = Likelihood { half_delay, queue, usual: floor.mean, jitter, log_odds, floor };
            let p = seen.posterior(middle, variance);
            prop_assert!(p.mean.is_finite() && p.log_odds.is_finite() && p.floor.mean.is_finite());
            let [evidence] = seen.posteriors(&[middle], &[variance]).log_evidence(seen.share());
            prop_assert!(evidence.is_finite());
            prop_assert!(p.variance >= 0.0 && p.variance.is_finite() && p.floor.variance.is_finite());
        }
    }
}
