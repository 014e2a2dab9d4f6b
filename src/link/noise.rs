//! What the round trips of a path say about its noise.

use serde::{Deserialize, Serialize};

use super::likelihood::{Floor, Likelihood, Posterior};

/// Exchanges that are averaged over.
const MEMORY: u8 = 128;

/// Before the first exchanges tell, queues are taken to be this share of the delay.
const GUESS: f64 = 0.125;

/// The mean fourth root of half the sum of two exponential waits of mean 1 (Γ(9/4)/2^¼).
const FOURTH_ROOT: f32 = 0.952_74;

/// How long the past counts in weighing the hypotheses, in exchanges: 1/(1 − this).
const FORGET: f64 = 0.98;

/// No hypothesis is given up altogether.
const CERTAIN: f64 = 20.0;

/// So many exchanges in a row that all wait longer than usual mean that the path has changed.
const ROUTE_CHANGED: u8 = 16;

/// The shortest queue that is told from none, ns.
const SHORTEST_QUEUE: f64 = 1.0;

fn fourth_root(value: f32) -> f32 {
    value.sqrt().sqrt()
}

/// What is remembered of the delays of one path. Lengths in ns; single precision is a ten-millionth
/// of the delay, far less than it varies.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
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
}
