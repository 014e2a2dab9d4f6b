//! A two-state Kalman filter over exchanges weighted by their round trip.

use crate::link::{Belief, Exchange, Interval, LinkEstimator, OscillatorSpec};

/// Share of the specified wander that a typical oscillator really shows.
const TYPICAL_WANDER: f64 = 0.3;

/// Exchanges after which the least delay is looked for afresh.
const FLOOR_WINDOW: u16 = 64;

/// Noise of a stamp that claims to be perfect, ns.
const STAMP_FLOOR: f64 = 10.0;

/// Offset and rate, with the frequency doing a random walk (van Loan's discretisation of white
/// noise on the frequency's derivative).
///
/// The noise of a sample follows from its delay. If an exchange took `E` longer than the quickest
/// one and the queueing in each direction is exponential, the asymmetry is uniform over `±E`, so
/// the offset is off by `E/√12` (one sigma) on top of the noise of the stamps.
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
}

/// The least half delay of late (the minimum over the last one to two windows), and how far the
/// others are above it.
#[derive(Debug, Clone)]
struct DelayFloor {
    current: f32,
    previous: f32,
    /// Running mean of the excess over the floor.
    mean_excess: f32,
    seen: u16,
    counted: u16,
}

impl DelayFloor {
    const fn new() -> Self {
        Self {
            current: f32::INFINITY,
            previous: f32::INFINITY,
            mean_excess: 0.0,
            seen: 0,
            counted: 0,
        }
    }

    /// Takes in a half delay; by how much it may exceed that of an empty path, ns.
    ///
    /// The least of n delays is itself above the path's: if both directions queue exponentially,
    /// by about the mean excess over √n.
    fn excess(&mut self, half_delay: f64) -> f64 {
        self.current = self.current.min(half_delay as f32);
        let floor = self.current.min(self.previous);
        self.seen += 1;
        self.counted = (self.counted + 1).min(FLOOR_WINDOW);
        if self.seen == FLOOR_WINDOW {
            (self.previous, self.current, self.seen) = (self.current, f32::INFINITY, 0);
        }
        let above = (half_delay as f32 - floor).max(0.0);
        self.mean_excess += (above - self.mean_excess) / f32::from(self.counted);
        f64::from(above + self.mean_excess / f32::from(self.counted).sqrt())
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
        }
    }

    fn update(&mut self, exchange: &Exchange) {
        let excess = self.floor.excess(exchange.half_delay);
        let stamps = exchange.stamp_sigma.max(STAMP_FLOOR);
        let noise = stamps * stamps + excess * excess / 3.0;
        if !self.started {
            self.started = true;
            self.at = exchange.at;
            self.offset = exchange.offset;
            self.p_offset = noise;
            return;
        }
        self.advance(exchange.at);
        let innovation = exchange.offset - self.offset;
        let scale = 1.0 / (self.p_offset + noise);
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
    use super::*;
    use crate::link::PathNoise;
    use proptest::prelude::*;

    fn exchange(at: f64, offset: f64, half_delay: f64) -> Exchange {
        Exchange {
            at,
            offset,
            half_delay,
            stamp_sigma: 20.0,
            likelihood: PathNoise::default().take(half_delay),
        }
    }

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
