//! The two-state filter (offset, rate) that the default strategies share.

use super::noise::{Likelihood, Posterior};

/// Offset and rate of a clock as a Gaussian belief that follows exchanges of any [`Likelihood`].
///
/// The rate is a random walk of power `q`, so that over `dt`
/// `Q = q·(dt³/3, dt²/2, dt)` is added to the covariance (offset, cross, rate). An exchange turns
/// the belief about the offset at its own instant into that of [`Likelihood::posterior`]; gain and
/// covariance follow as in a Kalman filter, which it is if delays jitter.
#[derive(Debug, Clone, Copy)]
pub struct PhaseFilter {
    at: f64,
    offset: f64,
    rate: f64,
    /// Covariance: offset, cross, rate. Single precision is plenty for variances, and simulations
    /// hold millions of these.
    p: [f32; 3],
    q: f32,
}

/// Share of a surprise's square ([`Likelihood::surprise`]) that the variance grows by.
const SURPRISED: f64 = 0.1;

impl PhaseFilter {
    /// At `at` (s), the offset is `offset` (ns) give or take `sigma`, the rate `rate` (ns/s) give
    /// or take `rate_sigma`; the frequency wanders by `wander` ns/s per √s.
    pub fn new(at: f64, offset: f64, sigma: f64, rate: f64, rate_sigma: f64, wander: f64) -> Self {
        Self {
            at,
            offset,
            rate,
            p: [sigma * sigma, 0.0, rate_sigma * rate_sigma].map(|p| p as f32),
            q: (wander * wander) as f32,
        }
    }

    /// The same, but at `at` the offset is `offset` give or take `sigma`.
    pub fn started(&self, at: f64, offset: f64, sigma: f64) -> Self {
        Self {
            at,
            offset,
            p: [(sigma * sigma) as f32, 0.0, self.p[2]],
            ..*self
        }
    }

    /// The frequency wanders by `wander` ns/s per √s from now on.
    pub fn set_wander(&mut self, wander: f64) {
        self.q = (wander * wander) as f32;
    }

    /// Offset (ns) and its variance.
    #[inline]
    pub fn offset(&self) -> (f64, f64) {
        (self.offset, f64::from(self.p[0]))
    }

    /// Rate (ns/s) and its variance.
    #[inline]
    pub fn rate(&self) -> (f64, f64) {
        (self.rate, f64::from(self.p[2]))
    }

    /// The belief at `at`; going back in time adds no noise.
    #[inline]
    pub fn at(&self, at: f64) -> Self {
        let mut there = *self;
        let dt = at - self.at;
        let [offset, cross, rate] = self.p.map(f64::from);
        let noise = f64::from(self.q) * dt.max(0.0);
        there.at = at;
        there.offset += self.rate * dt;
        there.set([
            offset + dt * (2.0 * cross + dt * rate) + noise * dt * dt / 3.0,
            cross + dt * rate + noise * dt / 2.0,
            rate + noise,
        ]);
        there
    }

    /// At `at` (s) the offset was measured as `middle` (ns), with an error of its own of
    /// `variance` and `likelihood`. Returns what it told.
    ///
    /// Stamps come one packet late, so `at` may lie in the past: what the clock did since then is
    /// part of the error.
    #[inline]
    pub fn observe(
        &mut self,
        at: f64,
        middle: f64,
        variance: f64,
        likelihood: &Likelihood,
    ) -> Posterior {
        if at > self.at {
            *self = self.at(at);
        }
        let age = self.at - at;
        let past = self.offset - self.rate * age;
        let [p_offset, p_cross, p_rate] = self.p.map(f64::from);
        let cross = p_offset - age * p_cross;
        let cross_rate = p_cross - age * p_rate;
        let since = f64::from(self.q) * age * age * age / 3.0;
        let known = (cross - age * cross_rate).max(0.0) + since;
        let total = known + variance;
        let innovation = middle - past;
        let posterior = likelihood.posterior(innovation, total);
        let (gain, rate_gain) = (cross / total, cross_rate / total);
        let told = total - posterior.variance;
        self.offset += gain * posterior.mean;
        self.rate += rate_gain * posterior.mean;
        self.set([
            p_offset - gain * gain * told,
            p_cross - gain * rate_gain * told,
            p_rate - rate_gain * rate_gain * told,
        ]);
        let beyond = likelihood.surprise(innovation, total);
        if beyond != 0.0 {
            self.widen(beyond);
        }
        posterior
    }

    /// At `at` the offset is known to be within `offsets` (ns), the rate within `rates` (ns/s):
    /// give up what contradicts it.
    pub fn confine(&mut self, at: f64, offsets: (f64, f64), rates: (f64, f64)) {
        if at > self.at {
            *self = self.at(at);
        }
        let rate = self.rate.clamp(rates.0, rates.1);
        let ahead = rate * (self.at - at);
        let offsets = (offsets.0 + ahead, offsets.1 + ahead);
        let offset = self.offset.clamp(offsets.0, offsets.1);
        if offset != self.offset || rate != self.rate {
            let (half, half_rate) = (0.5 * (offsets.1 - offsets.0), 0.5 * (rates.1 - rates.0));
            let [p_offset, _, p_rate] = self.p.map(f64::from);
            self.set([
                p_offset.max(half * half / 3.0),
                0.0,
                p_rate.max(half_rate * half_rate / 3.0),
            ]);
            self.offset = offset;
            self.rate = rate;
        }
    }

    /// Everything is seen from another line from now on, `offset` ns and `rate` ns/s above.
    pub fn rebase(&mut self, offset: f64, rate: f64) {
        self.offset -= offset;
        self.rate -= rate;
    }

    /// Who is surprised by that many ns should trust itself less; the rate in the same proportion,
    /// by the time in which the two matter equally.
    fn widen(&mut self, beyond: f64) {
        let more = SURPRISED * beyond * beyond;
        let [offset, cross, rate] = self.p.map(f64::from);
        let share = (more / offset).min(1e6);
        self.set([offset + more, cross, rate * (1.0 + share)]);
    }

    #[inline]
    fn set(&mut self, [offset, cross, rate]: [f64; 3]) {
        self.p = [offset.max(1e-6), cross, rate.max(1e-12)].map(|p| p as f32);
    }
}
