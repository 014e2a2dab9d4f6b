//! What the round trips of a path say about its noise, and what one exchange therefore says about
//! the offset.
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

use super::gaussian::below;

/// Exchanges that are averaged over.
const MEMORY: u8 = 128;

/// Before the first exchanges tell, queues are taken to be this share of the delay.
const GUESS: f64 = 0.125;

/// From one exchange to the next an empty path's delay may change by this share of the queues'.
const RESTLESS: f64 = 1e-4;

/// A wait of more than so many times the usual one is another queue's: longer ones are less likely
/// by a power, not exponentially.
const ANOTHER_QUEUE: f64 = 4.0;

/// The mean fourth root of half the sum of two exponential waits of mean 1 (Γ(9/4)/2^¼).
const FOURTH_ROOT: f32 = 0.952_74;

/// How long the past counts in weighing the hypotheses, in exchanges: 1/(1 − this).
const FORGET: f64 = 0.98;

/// No hypothesis is given up altogether.
const CERTAIN: f64 = 20.0;

/// So many exchanges in a row that all wait longer than usual mean that the path has changed.
const ROUTE_CHANGED: u8 = 16;

/// An offset beyond so many sigma is a surprise: a clock or a path has jumped.
const SURPRISE: f64 = 4.0;

/// The shortest queue that is told from none, ns.
const SHORTEST_QUEUE: f64 = 1.0;

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
    evidence: Evidence,
}

/// How likely an exchange was, given the belief: the likelier of two densities, which counts with
/// its share of before. What takes a logarithm is worked out where it is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Evidence {
    /// If packets queue: exponent, factor, and by how much more the other adds.
    Queueing(f64, f64, f64),
    /// If they jitter: exponent, divisor, and by how much more the other adds.
    Jitter(f64, f64, f64),
}

impl Posterior {
    /// Logarithm of the density of the two packets' delays (1/ns²), given the belief: what a
    /// hypothesis that made the belief is judged by. `share`: [`Likelihood::share`].
    #[inline]
    pub fn log_evidence(&self, share: f64) -> f64 {
        match self.evidence {
            Evidence::Queueing(exponent, factor, more) => exponent + (share * factor * more).ln(),
            Evidence::Jitter(exponent, divisor, more) => {
                exponent + ((1.0 - share) * more / divisor).ln()
            }
        }
    }
}

impl Likelihood {
    /// The belief N(0, `variance`) after an exchange whose middle is at `middle`: mean and
    /// variance are those of the exact posterior, so a chain of Gaussians follows it (assumed
    /// density filtering).
    pub fn posterior(&self, middle: f64, variance: f64) -> Posterior {
        let mut queueing = Joint {
            offset: 0.0,
            floor: self.floor.mean,
            p_offset: variance,
            p_cross: 0.0,
            p_floor: self.floor.variance,
        };
        // Sooner than an empty path allows: it was not known that well.
        let early = (self.floor.mean - self.half_delay).max(0.0);
        queueing.p_floor = queueing.p_floor.max(early * early);
        let inverse_queue = 1.0 / self.queue;
        let (q1, m1) = queueing.cut(1.0, self.half_delay + middle, inverse_queue);
        let (q2, m2) = queueing.cut(-1.0, self.half_delay - middle, inverse_queue);
        let total = variance + self.jitter * self.jitter;
        let gain = variance / total;
        // Both hypotheses foretell the delays of the two packets, which are half_delay ± middle.
        // Their densities are factor·e^exponent: far from what was expected an exponent says it all.
        let unusual = (self.half_delay - self.usual) / self.jitter;
        let jitter_exponent = -0.5 * (middle * middle / total + unusual * unusual);
        let jitter_spread = 2.0 * TAU * self.jitter * total.sqrt();
        let queue_exponent = q1 + q2;
        let queue_factor = m1 * m2 * inverse_queue * inverse_queue;
        let log_odds = queue_exponent - jitter_exponent + (queue_factor * jitter_spread).ln();
        let odds = Odds::new(self.log_odds + log_odds);
        let share = odds.share();
        let jitter = (gain * middle, variance * (1.0 - gain));
        let mean = share * queueing.offset + (1.0 - share) * jitter.0;
        let spread = |(m, v): (f64, f64)| v + (m - mean) * (m - mean);
        // s·(density if queueing) + (1 − s)·(density if jitter), with the share s from before.
        let more = 1.0 + odds.ratio;
        let evidence = if odds.likely {
            Evidence::Queueing(queue_exponent, queue_factor, more)
        } else {
            Evidence::Jitter(jitter_exponent, jitter_spread, more)
        };
        Posterior {
            mean,
            variance: share * spread((queueing.offset, queueing.p_offset))
                + (1.0 - share) * spread(jitter),
            floor: Floor {
                mean: queueing.floor,
                variance: queueing.p_floor,
            },
            log_odds,
            evidence,
        }
    }

    /// How likely queueing is rather than jitter, before the exchange.
    pub fn share(&self) -> f64 {
        Odds::new(self.log_odds).share()
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
        let sigma = (variance + self.jitter * self.jitter).sqrt();
        let beyond = innovation.abs() - self.excess() - SURPRISE * variance.sqrt();
        if beyond > 0.0 && innovation.abs() > SURPRISE * sigma {
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

/// Offset and floor of a path, of which each packet limits the sum or the difference.
struct Joint {
    offset: f64,
    floor: f64,
    p_offset: f64,
    p_cross: f64,
    p_floor: f64,
}

impl Joint {
    /// A packet took `floor + sign·offset` and waited besides, exponentially with mean
    /// `1/inverse_queue`, or in another queue; altogether `delay`. Returns how likely that was: the
    /// density is `mass·e^exponent/queue`.
    fn cut(&mut self, sign: f64, delay: f64, inverse_queue: f64) -> (f64, f64) {
        let to_offset = sign * self.p_offset + self.p_cross;
        let to_floor = sign * self.p_cross + self.p_floor;
        let variance = (sign * to_offset + to_floor).max(1e-6);
        let inverse_sigma = 1.0 / variance.sqrt();
        let surplus = delay - self.floor - sign * self.offset;
        // Beyond w = k·queue the density is (surplus/w)^−k times what it is there; near one surplus
        // that is an exponential with a mean of surplus/k.
        let beyond = surplus * inverse_queue / ANOTHER_QUEUE;
        let (inverse_queue, rarer) = if beyond > 1.0 {
            (inverse_queue / beyond, ANOTHER_QUEUE * beyond.ln())
        } else {
            (inverse_queue, 0.0)
        };
        // The longer a packet may have waited, the likelier it has waited less: the density of
        // what it would have taken without queue leans towards the limit, and ends there.
        let lean = variance * inverse_queue;
        let limit = (surplus - lean) * inverse_sigma;
        let cut = below(limit);
        let told = inverse_queue - cut.shift * inverse_sigma;
        let less = cut.loss * inverse_sigma * inverse_sigma;
        self.offset += to_offset * told;
        self.floor += to_floor * told;
        self.p_offset = (self.p_offset - to_offset * to_offset * less).max(1e-9);
        self.p_floor = (self.p_floor - to_floor * to_floor * less).max(1e-9);
        self.p_cross -= to_offset * to_floor * less;
        // The exponent is (lean/2 − surplus)/queue; what `below` leaves out of the mass below
        // zero makes a square of it.
        let exponent = if limit < 0.0 {
            let unusual = surplus * inverse_sigma;
            -0.5 * unusual * unusual
        } else {
            (0.5 * lean - surplus) * inverse_queue - rarer
        };
        (exponent, cut.mass)
    }
}

fn fourth_root(value: f32) -> f32 {
    value.sqrt().sqrt()
}

/// Odds as the ratio of the less likely to the likelier, which never overflows.
struct Odds {
    likely: bool,
    ratio: f64,
}

impl Odds {
    fn new(log_odds: f64) -> Self {
        Self {
            likely: log_odds >= 0.0,
            ratio: (-log_odds.abs()).exp(),
        }
    }

    fn share(&self) -> f64 {
        let likelier = 1.0 / (1.0 + self.ratio);
        if self.likely {
            likelier
        } else {
            self.ratio * likelier
        }
    }
}

/// What is remembered of the delays of one path. Lengths in ns; single precision is a ten-millionth
/// of the delay, far less than it varies.
#[derive(Debug, Clone, Default)]
pub struct PathNoise {
    floor: f32,
    floor_variance: f32,
    queue: f32,
    /// Mean fourth root of the waits: what is usual, whatever the longest are.
    root: f32,
    mean: f32,
    variance: f32,
    log_odds: f32,
    /// The least half delay of the last few.
    least: f32,
    lately: u8,
    counted: u8,
}

impl PathNoise {
    /// Take in half of a round trip; what the exchange says about the offset.
    #[inline]
    pub fn take(&mut self, half_delay: f64) -> Likelihood {
        let half = half_delay as f32;
        if self.counted == 0 {
            self.queue = (GUESS * half_delay.max(0.0)) as f32;
            self.mean = half;
            self.variance = self.queue * self.queue;
            (self.floor, self.floor_variance) = (half - self.queue, self.variance);
            self.root = FOURTH_ROOT * fourth_root(self.queue);
        }
        self.notice_route(half);
        self.counted = (self.counted + 1).min(MEMORY);
        let weight = 1.0 / f32::from(self.counted + 1);
        let wait = (half - self.floor).max(0.0);
        self.queue += weight * (wait - self.queue);
        self.root += weight * (fourth_root(wait) - self.root);
        let deviation = half - self.mean;
        self.mean += weight * deviation;
        self.variance += weight * (deviation * (half - self.mean) - self.variance);
        // Where the floor is taken to be too low, queues seem too long, and a floor too low. How
        // much exponential delays scatter does not depend on it.
        let scatter = (2.0 * self.variance).sqrt();
        let usual = (self.root / FOURTH_ROOT).powi(4);
        let queue = f64::from(self.queue.min(usual).min(scatter)).max(SHORTEST_QUEUE);
        let mut likelihood = Likelihood {
            half_delay,
            queue,
            usual: f64::from(self.mean),
            jitter: (f64::from(self.variance) * (1.0 + 2.0 / f64::from(self.counted)))
                .sqrt()
                .max(SHORTEST_QUEUE),
            log_odds: f64::from(self.log_odds),
            floor: Floor {
                mean: f64::from(self.floor),
                variance: f64::from(self.floor_variance),
            },
        };
        likelihood.floor.variance += likelihood.restless();
        likelihood
    }

    /// A path that became shorter shows at once; one that became longer would be found out as
    /// slowly as the floor may rise.
    fn notice_route(&mut self, half: f32) {
        self.least = if self.lately == 0 {
            half
        } else {
            self.least.min(half)
        };
        self.lately += 1;
        if self.lately < ROUTE_CHANGED {
            return;
        }
        self.lately = 0;
        if self.least > self.floor + self.queue.max(5.0 * self.floor_variance.sqrt()) {
            (self.floor, self.floor_variance) = (self.least, self.queue * self.queue);
            self.counted = ROUTE_CHANGED;
        }
    }

    /// What the last exchange told of the path itself.
    #[inline]
    pub fn learn(&mut self, told: &Posterior) {
        self.floor = told.floor.mean as f32;
        self.floor_variance = told.floor.variance as f32;
        let sum = FORGET * f64::from(self.log_odds) + told.log_odds;
        self.log_odds = sum.clamp(-CERTAIN, CERTAIN) as f32;
    }

    /// How much half delays scatter, one sigma in ns.
    pub fn jitter(&self) -> f64 {
        f64::from(self.variance).sqrt()
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
                offset: 0.0,
                floor: 0.0,
                p_offset: 1e12,
                p_cross: 0.0,
                p_floor: 1e-6,
            };
            joint.cut(1.0, 100.0, 1.0 / queue);
            assert!(
                (joint.offset - (100.0 - mean)).abs() < 0.1,
                "{}",
                joint.offset
            );
            assert!(
                (joint.p_offset - mean * mean).abs() < 1.0,
                "{}",
                joint.p_offset
            );
        }
    }

    #[test]
    fn a_queue_one_way_moves_nobody() {
        // Known to 50 ns; the way out is congested. What comes back limits the offset from one side
        // only, and would push it away if both queues were taken to be as long.
        let mut random = 1u64;
        let mut noise = PathNoise::default();
        let mut offset = 0.0;
        for exchange in 0..600 {
            let congested = if exchange < 500 { 1.0 } else { 50.0 };
            let (out, back) = (
                congested * exponential(&mut random),
                exponential(&mut random),
            );
            let seen = noise.take(10_000.0 + 0.5 * (out + back));
            let told = seen.posterior(0.5 * (out - back) - offset, 2_500.0);
            noise.learn(&told);
            offset += told.mean;
        }
        assert!(offset.abs() < 400.0, "{offset}");
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
                sum += seen
                    .posterior(middle, 25.0)
                    .log_evidence(seen.share())
                    .exp();
            }
            let mass = 2.0 * step * step * sum;
            assert!((0.99..1.3).contains(&mass), "{log_odds}: {mass}");
        }
    }

    #[test]
    fn the_floor_is_found_and_follows_a_longer_route() {
        let mut noise = PathNoise::default();
        let mut random = 1u64;
        let mut settle = |floor: f64, exchanges: u32| {
            for _ in 0..exchanges {
                let (out, back) = (exponential(&mut random), exponential(&mut random));
                let seen = noise.take(floor + 0.5 * (out + back));
                noise.learn(&seen.posterior(0.5 * (out - back), 2_500.0));
            }
            f64::from(noise.floor)
        };
        let (short, long) = (settle(10_000.0, 300), settle(15_000.0, 100));
        assert!((short - 10_000.0).abs() < 50.0, "{short}");
        assert!((long - 15_000.0).abs() < 200.0, "{long}");
    }

    /// An exponential of mean 1 µs.
    fn exponential(state: &mut u64) -> f64 {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        -1e3 * (1.0 - (*state >> 11) as f64 / (1u64 << 53) as f64).ln()
    }

    #[test]
    fn jitter_is_told_from_queueing_by_the_offsets() {
        // Round trips alike; offsets that keep to what the round trip allows, or do not.
        let mut state = 1u64;
        let (mut queueing, mut jitter) = (PathNoise::default(), PathNoise::default());
        for _ in 0..100 {
            let (out, back) = (exponential(&mut state), exponential(&mut state));
            let half = 10_000.0 + 0.5 * (out + back);
            let q = queueing.take(half);
            queueing.learn(&q.posterior(0.5 * (out - back), 2_500.0));
            let j = jitter.take(half);
            let scattered = exponential(&mut state) - exponential(&mut state);
            jitter.learn(&j.posterior(scattered, 2_500.0));
        }
        assert!(
            queueing.log_odds > 5.0 && jitter.log_odds < -5.0,
            "{queueing:?} {jitter:?}"
        );
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
            prop_assert!(p.log_evidence(seen.share()).is_finite());
            prop_assert!(p.variance >= 0.0 && p.variance.is_finite() && p.floor.variance.is_finite());
        }
    }
}
