//! Arvind's probabilistic read: the mean of many messages, and the probability that it fails.
//!
//! Source: K. Arvind, *Probabilistic clock synchronization in distributed systems*, IEEE Trans.
//! Parallel and Distributed Systems 5(5), 1994, the time transmission protocol: of n messages sent
//! at T_i and received at R_i, `θ̂ = mean(R − T) − d̄` with the mean delay d̄. Means of many delays
//! are Gaussian, so `P(|θ̂ − θ| > ε) = erfc(ε·√n/(√2·σ))`, and `n = 2·(σ/ε)²·erfc⁻¹(p)²` messages
//! keep that below p: invalidity falls exponentially with the messages.
//!
//! Here d̄ is half of the mean round trip, so that the reading is the mean of the exchanges'
//! offsets; and as our clocks are free-running, not a mean but a line goes through them. σ is the
//! scatter that is seen, n counts what a line's end is worth (a quarter of the window's messages).
//!
//! Wins with Gaussian noise, where every message tells as much as any other and the mean is the
//! best there is. Fails with rare long delays, which it lets count in full.

use super::fit::STAMP_FLOOR;
use super::floor::DelayFloor;
use super::window::Window;
use crate::link::{Belief, Exchange, Interval, LinkEstimator, OscillatorSpec};

/// Messages of the mean at most.
const MOST: usize = 64;
/// Messages it is taken over however long ago they were.
const FEWEST: u16 = 8;
/// Beyond so many standard deviations no f64 probability is left.
const MOST_SIGMAS: f64 = 40.0;

/// Probability that a reading with this standard deviation is off by more than `epsilon`:
/// `erfc(ε/(√2·σ))`.
pub fn failure_probability(epsilon: f64, sigma: f64) -> f64 {
    libm::erfc(epsilon.abs() / (std::f64::consts::SQRT_2 * sigma))
}

/// How many messages with delays of this standard deviation keep a reading within `epsilon` but
/// for a probability `p`: the least n with `erfc(ε·√n/(√2·σ)) ≤ p`.
pub fn messages_needed(epsilon: f64, p: f64, sigma: f64) -> f64 {
    // erfc falls steadily, so halving finds where it passes p.
    let (mut low, mut high) = (0.0, MOST_SIGMAS);
    for _ in 0..64 {
        let middle = 0.5 * (low + high);
        if failure_probability(middle, 1.0) > p {
            low = middle;
        } else {
            high = middle;
        }
    }
    (high * sigma / epsilon).powi(2).ceil().max(1.0)
}

/// The probabilistic read; see the module's documentation.
#[derive(Debug, Clone)]
pub struct Arvind {
    floor: DelayFloor,
    window: Window<MOST>,
}

impl Arvind {
    /// Probability that the offset believed at `at` is off by more than `epsilon` nanoseconds;
    /// `None` before the first exchange.
    pub fn failure_probability(&self, at: f64, epsilon: f64) -> Option<f64> {
        let sigma = self.at(at)?.offset_sigma;
        Some(failure_probability(epsilon, sigma))
    }
}

impl LinkEstimator for Arvind {
    type Kind = ();

    fn new((): (), spec: &OscillatorSpec) -> Self {
        Self {
            floor: DelayFloor::new(),
            window: Window::new(spec, FEWEST),
        }
    }

    fn update(&mut self, exchange: &Exchange) {
        self.floor.excess(exchange.half_delay);
        let claim = self.floor.typical_error(exchange.half_delay);
        let sigma = claim.hypot(exchange.stamp_sigma.max(STAMP_FLOOR));
        self.window.push(exchange.at, exchange.offset, sigma, true);
        self.window.settle();
        self.window.fit_line();
    }

    fn at(&self, at: f64) -> Option<Belief> {
        self.window.belief(at)
    }

    fn confine(&mut self, at: f64, interval: &Interval) {
        self.window.confine(at, interval);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Random, exchange};
    use super::*;

    #[test]
    fn messages_for_a_given_error_and_probability() {
        // One standard deviation, 1 in 1000: 2·erfc⁻¹(0.001)² = 3.2905² = 10.83.
        assert_eq!(messages_needed(1.0, 1e-3, 1.0), 11.0);
        // Half of the error takes four times as many: 43.3.
        assert_eq!(messages_needed(0.5, 1e-3, 1.0), 44.0);
        // 1 in 10⁶: 4.8916² = 23.93; 1 in 10⁹: 6.1094² = 37.33.
        assert_eq!(messages_needed(1.0, 1e-6, 1.0), 24.0);
        assert_eq!(messages_needed(1.0, 1e-9, 1.0), 38.0);
        assert_eq!(messages_needed(1e9, 1e-3, 1.0), 1.0);
        // 4.55 % beyond two sigma, 0.27 % beyond three.
        assert!((failure_probability(2.0, 1.0) - 0.0455).abs() < 1e-5);
        assert!((failure_probability(-3.0, 1.0) - 0.0027).abs() < 1e-5);
    }

    #[test]
    fn readings_fail_as_often_as_they_say() {
        let (mut failed, mut said, epsilon) = (0, 0.0, 120.0);
        for seed in 0..400 {
            let mut random = Random::new(seed);
            let mut read = Arvind::new((), &OscillatorSpec::default());
            for k in 0..32 {
                let delays = [0; 2].map(|_| 10_000.0 + 300.0 * random.gaussian());
                let offset = 0.5 * (delays[0] - delays[1]);
                read.update(&exchange(
                    f64::from(k),
                    offset,
                    0.5 * (delays[0] + delays[1]),
                ));
            }
            let belief = read.at(31.0).unwrap();
            failed += i32::from(belief.offset.abs() > epsilon);
            said += read.failure_probability(31.0, epsilon).unwrap();
        }
        // The oscillators here do not wander, the reading allows for it: it may say somewhat more.
        let failed = f64::from(failed);
        assert!(
            said > 0.8 * failed && said < 2.5 * failed,
            "{said} {failed}"
        );
    }
}
