//! A two-state Kalman filter over exchanges weighted by their round trip.

use super::fit::{STAMP_FLOOR, TYPICAL_WANDER};
use super::floor::DelayFloor;
use crate::link::{Belief, Exchange, Interval, LinkEstimator, OscillatorSpec};

/// How fast old exchanges are forgotten in learning the noise.
const FORGET: f64 = 0.98;

/// How much the first guess of the noise counts beside what is learnt.
const FIRST_GUESS: f64 = 0.03;

/// The squared innovation counts for at most so many times its expectation.
const MOST_SURPRISE: f64 = 9.0;

/// Offset and rate, with the frequency doing a random walk (van Loan's discretisation of white
/// noise on the frequency's derivative).
///
/// The noise of a sample follows from its delay. If an exchange took `E` longer than the quickest
/// one and the queueing in each direction is exponential, the asymmetry is uniform over `±E`, so
/// the offset is off by `E/√12` (one sigma) on top of the noise of the stamps: `R = a + k·E²` with
/// `k = 1/3` for half delays. Other noise has other `a` and `k` (Gaussian noise does not depend on
/// the delay at all), so both are learnt from the innovations.
#[derive(Debug, Clone)]
pub struct Kalman {
    started: bool,
    at: f64,
    offset: f64,
    /// ns per second.
    rate: f64,
    p_offset: f64,
    p_cross: f64,
    p_rate: f64,
    /// Power of the random walk of the frequency, ns²/s³.
    q: f64,
    floor: DelayFloor,
    noise: Noise,
}

/// Weighted regression of what the innovations show of the variance on the squared excess.
#[derive(Debug, Clone, Copy, Default)]
struct Noise {
    weight: f64,
    x: f64,
    xx: f64,
    y: f64,
    xy: f64,
}

impl Noise {
    /// Takes in a variance that was seen at this squared excess, where `expected` was.
    fn learn(&mut self, squared_excess: f64, seen: f64, expected: f64) {
        let weight = 1.0 / (expected * expected);
        for (sum, term) in [
            (&mut self.weight, 1.0),
            (&mut self.x, squared_excess),
            (&mut self.xx, squared_excess * squared_excess),
            (&mut self.y, seen),
            (&mut self.xy, squared_excess * seen),
        ] {
            *sum = FORGET * *sum + weight * term;
        }
    }

    /// The variance at the quickest exchange, at least `least`, and its growth with the squared
    /// excess.
    fn of(&self, least: f64) -> (f64, f64) {
        let Self {
            weight,
            x,
            xx,
            y,
            xy,
        } = *self;
        // The first guess, `least` and 1/3, as further observations.
        let (guess, guess_slope) = (FIRST_GUESS * weight, FIRST_GUESS * xx);
        let (a, b, c) = (weight + guess, x, xx + guess_slope);
        let (u, v) = (y + guess * least, xy + guess_slope / 3.0);
        let determinant = a * c - b * b;
        if determinant <= 1e-9 * a * c {
            return (least, 1.0 / 3.0);
        }
        let base = (c * u - b * v) / determinant;
        let slope = (a * v - b * u) / determinant;
        if base < least {
            (least, ((v - b * least) / c).max(0.0))
        } else if slope < 0.0 {
            ((u / a).max(least), 0.0)
        } else {
            (base, slope)
        }
    }
}

impl LinkEstimator for Kalman {
    type Kind = ();

    fn new((): (), spec: &OscillatorSpec) -> Self {
        let wander = TYPICAL_WANDER * spec.wander * 1e9;
        let drift = 2.0 * spec.max_drift.as_fraction() * 1e9;
        Self {
            started: false,
            at: 0.0,
            offset: 0.0,
            rate: 0.0,
            p_offset: 0.0,
            p_cross: 0.0,
            p_rate: drift * drift / 3.0,
            q: 2.0 * wander * wander,
            floor: DelayFloor::new(),
            noise: Noise::default(),
        }
    }

    fn update(&mut self, exchange: &Exchange) {
        let excess = self.floor.excess(exchange.half_delay);
        let stamps = exchange.stamp_sigma.max(STAMP_FLOOR);
        let (base, slope) = self.noise.of(stamps * stamps);
        let noise = base + slope * excess * excess;
        if !self.started {
            self.started = true;
            self.at = exchange.at;
            self.offset = exchange.offset;
            self.p_offset = noise;
            return;
        }
        self.advance(exchange.at);
        let innovation = exchange.offset - self.offset;
        let expected = self.p_offset + noise;
        let seen = (innovation * innovation).min(MOST_SURPRISE * expected) - self.p_offset;
        self.noise.learn(excess * excess, seen, expected);
        let scale = 1.0 / expected;
        let (gain, rate_gain) = (self.p_offset * scale, self.p_cross * scale);
        self.offset += gain * innovation;
        self.rate += rate_gain * innovation;
        self.p_rate -= rate_gain * self.p_cross;
        self.p_cross *= 1.0 - gain;
        self.p_offset *= 1.0 - gain;
    }

    fn at(&self, at: f64) -> Option<Belief> {
        if !self.started {
            return None;
        }
        let mut ahead = self.clone();
        ahead.advance(at);
        Some(Belief {
            offset: ahead.offset,
            offset_sigma: ahead.p_offset.max(0.0).sqrt(),
            rate: ahead.rate * 1e-9,
            rate_sigma: ahead.p_rate.max(0.0).sqrt() * 1e-9,
        })
    }

    fn confine(&mut self, at: f64, interval: &Interval) {
        if !self.started {
            return;
        }
        self.advance(at);
        let rate = self
            .rate
            .clamp(interval.rate_lower * 1e9, interval.rate_upper * 1e9);
        let offset = self.offset.clamp(interval.lower, interval.upper);
        if offset != self.offset || rate != self.rate {
            // The filter was sure of something impossible: keep what is possible, trust it less.
            let half = 0.5 * interval.width();
            let half_rate = 0.5 * (interval.rate_upper - interval.rate_lower) * 1e9;
            self.p_offset = self.p_offset.max(half * half / 3.0);
            self.p_rate = self.p_rate.max(half_rate * half_rate / 3.0);
            self.p_cross = 0.0;
            self.offset = offset;
            self.rate = rate;
        }
    }
}

impl Kalman {
    fn advance(&mut self, at: f64) {
        let dt = at - self.at;
        // Exchanges may complete slightly out of order; going back in time adds no noise.
        let noise = self.q * dt.max(0.0);
        self.at = at;
        self.offset += self.rate * dt;
        self.p_offset += dt * (2.0 * self.p_cross + dt * self.p_rate) + noise * dt * dt / 3.0;
        self.p_cross += dt * self.p_rate + noise * dt / 2.0;
        self.p_rate += noise;
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::exchange;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn slow_exchanges_hardly_count() {
        let mut filter = Kalman::new((), &OscillatorSpec::default());
        for k in 0..50 {
            filter.update(&exchange(f64::from(k), 0.0, 1_000.0));
        }
        filter.update(&exchange(50.0, 50_000.0, 51_000.0));
        let offset = filter.at(50.0).unwrap().offset;
        assert!(offset.abs() < 10.0, "{offset}");
    }

    #[test]
    fn steady_state_matches_the_algebraic_riccati_equation() {
        // One sample a second, R = 20², q from the specification. The steady posterior of the
        // offset, iterated here as a plain matrix recursion.
        let spec = OscillatorSpec::default();
        let mut filter = Kalman::new((), &spec);
        for k in 0..400 {
            filter.update(&exchange(f64::from(k), 0.0, 1_000.0));
        }
        let (q, r) = (2.0 * (TYPICAL_WANDER * spec.wander * 1e9).powi(2), 400.0);
        let (mut a, mut b, mut c) = (1e6, 0.0, 1e6);
        for _ in 0..400 {
            let (pa, pb, pc) = (a + 2.0 * b + c + q / 3.0, b + c + q / 2.0, c + q);
            let k = pa / (pa + r);
            (a, b, c) = (pa * (1.0 - k), pb * (1.0 - k), pc - pb * pb / (pa + r));
        }
        let sigma = filter.at(399.0).unwrap().offset_sigma;
        assert!((sigma - a.sqrt()).abs() < 1e-6, "{sigma} {}", a.sqrt());
    }

    proptest! {
        #[test]
        fn never_leaves_the_finite(
            samples in prop::collection::vec((-1.0..10.0f64, -1e12..1e12f64, 0.0..1e12f64), 1..100),
        ) {
            let mut filter = Kalman::new((), &OscillatorSpec::default());
            let mut at = 0.0;
            for (gap, offset, half_delay) in samples {
                at += gap;
                filter.update(&exchange(at, offset, half_delay));
                let belief = filter.at(at + 1.0).unwrap();
                prop_assert!(belief.offset.is_finite() && belief.rate.is_finite());
                prop_assert!(belief.offset_sigma >= 0.0 && belief.offset_sigma.is_finite());
            }
        }
    }
}
