//! The two-state filter (offset, rate) that the default strategies share.

use serde::{Deserialize, Serialize};
use serde_big_array::BigArray;

use super::likelihood::{Likelihood, Posteriors};

/// Offset and rate of a clock as a Gaussian belief that follows exchanges of any [`Likelihood`];
/// `N` such beliefs side by side, which differ in how much they expect the clock to wander.
///
/// The rate is a random walk of power `q`, so that over `dt`
/// `Q = q·(dt³/3, dt²/2, dt)` is added to the covariance (offset, cross, rate). An exchange turns
/// the belief about the offset at its own instant into that of [`Likelihood::posterior`]; gain and
/// covariance follow as in a Kalman filter, which it is if delays jitter.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct PhaseFilter<const N: usize = 1> {
    at: f64,
    #[serde(with = "BigArray")]
    offset: [f64; N],
    #[serde(with = "BigArray")]
    rate: [f64; N],
    /// Covariance: offset, cross, rate. Single precision is plenty for variances, and simulations
    /// hold millions of these.
    #[serde(with = "covariance")]
    p: [[f32; N]; 3],
    #[serde(with = "BigArray")]
    q: [f32; N],
}

/// Arrays of arrays whose length is a parameter.
mod covariance {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_big_array::Array;

    pub(super) fn serialize<S: Serializer, const N: usize>(
        p: &[[f32; N]; 3],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        p.map(Array).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        from: D,
    ) -> Result<[[f32; N]; 3], D::Error> {
        Ok(<[Array<f32, N>; 3]>::deserialize(from)?.map(|Array(row)| row))
    }
}

/// Share of a surprise's square ([`Likelihood::surprise`]) that the variance grows by.
const SURPRISED: f64 = 0.1;

impl PhaseFilter {
    /// At `at` (s), the offset is `offset` (ns) give or take `sigma`, the rate `rate` (ns/s) give
    /// or take `rate_sigma`; the frequency wanders by `wander` ns/s per √s.
    pub fn new(at: f64, offset: f64, sigma: f64, rate: f64, rate_sigma: f64, wander: f64) -> Self {
        Self {
            at,
            offset: [offset],
            rate: [rate],
            p: [sigma * sigma, 0.0, rate_sigma * rate_sigma].map(|p| [p as f32]),
            q: [(wander * wander) as f32],
        }
    }

    /// The same, but at `at` the offset is `offset` give or take `sigma`.
    pub fn started(&self, at: f64, offset: f64, sigma: f64) -> Self {
        Self {
            at,
            offset: [offset],
            p: [[(sigma * sigma) as f32], [0.0], self.p[2]],
            ..*self
        }
    }

    /// Offset (ns) and its variance.
    #[inline]
    pub fn offset(&self) -> (f64, f64) {
        let [offset] = self.offsets();
        offset
    }

    /// Rate (ns/s) and its variance.
    #[inline]
    pub fn rate(&self) -> (f64, f64) {
        let [rate] = self.rates();
        rate
    }

    /// At `at` the offset is known to be within `offsets` (ns), the rate within `rates` (ns/s):
    /// give up what contradicts it.
    pub fn confine(&mut self, at: f64, offsets: (f64, f64), rates: (f64, f64)) {
        if at > self.at {
            *self = self.at(at);
        }
        let rate = self.rate[0].clamp(rates.0, rates.1);
        let ahead = rate * (self.at - at);
        let offsets = (offsets.0 + ahead, offsets.1 + ahead);
        let offset = self.offset[0].clamp(offsets.0, offsets.1);
        if offset != self.offset[0] || rate != self.rate[0] {
            let (half, half_rate) = (0.5 * (offsets.1 - offsets.0), 0.5 * (rates.1 - rates.0));
            let [p_offset, _, p_rate] = self.covariance(0);
            self.set(
                0,
                [
                    p_offset.max(half * half / 3.0),
                    0.0,
                    p_rate.max(half_rate * half_rate / 3.0),
                ],
            );
            (self.offset, self.rate) = ([offset], [rate]);
        }
    }

    /// As many of it as are wanted.
    pub fn copied<const N: usize>(&self) -> PhaseFilter<N> {
        PhaseFilter {
            at: self.at,
            offset: [self.offset[0]; N],
            rate: [self.rate[0]; N],
            p: self.p.map(|[p]| [p; N]),
            q: [self.q[0]; N],
        }
    }
}

impl<const N: usize> PhaseFilter<N> {
    /// The frequency wanders by `wanders` ns/s per √s from now on.
    pub fn set_wanders(&mut self, wanders: &[f64; N]) {
        self.q = wanders.map(|wander| (wander * wander) as f32);
    }

    /// The beliefs with these numbers, in this order.
    pub(super) fn chosen(&self, numbers: [usize; N]) -> Self {
        Self {
            at: self.at,
            offset: numbers.map(|k| self.offset[k]),
            rate: numbers.map(|k| self.rate[k]),
            p: self.p.map(|p| numbers.map(|k| p[k])),
            q: numbers.map(|k| self.q[k]),
        }
    }

    /// Each offset (ns) and its variance.
    #[inline]
    pub fn offsets(&self) -> [(f64, f64); N] {
        std::array::from_fn(|k| (self.offset[k], f64::from(self.p[0][k])))
    }

    /// Each rate (ns/s) and its variance.
    #[inline]
    pub fn rates(&self) -> [(f64, f64); N] {
        std::array::from_fn(|k| (self.rate[k], f64::from(self.p[2][k])))
    }

    /// The belief at `at`; going back in time adds no noise.
    #[inline]
    pub fn at(&self, at: f64) -> Self {
        let mut there = *self;
        let dt = at - self.at;
        there.at = at;
        for k in 0..N {
            let [offset, cross, rate] = self.covariance(k);
            let noise = f64::from(self.q[k]) * dt.max(0.0);
            there.offset[k] += self.rate[k] * dt;
            there.set(
                k,
                [
                    offset + dt * (2.0 * cross + dt * rate) + noise * dt * dt / 3.0,
                    cross + dt * rate + noise * dt / 2.0,
                    rate + noise,
                ],
            );
        }
        there
    }

    /// At `at` (s) the offset was measured as `middle` (ns), with an error of its own of
    /// `variance` and `likelihood`. Returns what it told.
    ///
    /// Stamps come one packet late, so `at` may lie in the past: what the clock did since then is
    /// part of the error.
    #[inline]
    pub(super) fn observe(
        &mut self,
        at: f64,
        middle: f64,
        variance: f64,
        likelihood: &Likelihood,
    ) -> Posteriors<N> {
        if at > self.at {
            *self = self.at(at);
        }
        let age = self.at - at;
        let (mut gain, mut rate_gain) = ([0.0; N], [0.0; N]);
        let (mut innovation, mut total) = ([0.0; N], [0.0; N]);
        for k in 0..N {
            let past = self.offset[k] - self.rate[k] * age;
            let [p_offset, p_cross, p_rate] = self.covariance(k);
            let cross = p_offset - age * p_cross;
            let cross_rate = p_cross - age * p_rate;
            let since = f64::from(self.q[k]) * age * age * age / 3.0;
            let known = (cross - age * cross_rate).max(0.0) + since;
            total[k] = known + variance;
            innovation[k] = middle - past;
            (gain[k], rate_gain[k]) = (cross / total[k], cross_rate / total[k]);
        }
        let posteriors = likelihood.posteriors(&innovation, &total);
        for k in 0..N {
            let (mean, gain, rate_gain) = (posteriors.mean[k], gain[k], rate_gain[k]);
            let told = total[k] - posteriors.variance[k];
            self.offset[k] += gain * mean;
            self.rate[k] += rate_gain * mean;
            let [p_offset, p_cross, p_rate] = self.covariance(k);
            self.set(
                k,
                [
                    p_offset - gain * gain * told,
                    p_cross - gain * rate_gain * told,
                    p_rate - rate_gain * rate_gain * told,
                ],
            );
        }
        for k in 0..N {
            let beyond = likelihood.surprise(innovation[k], total[k]);
            if beyond != 0.0 {
                self.widen(k, beyond);
            }
        }
        posteriors
    }

    /// Everything is seen from another line from now on, `offset` ns and `rate` ns/s above.
    pub fn rebase(&mut self, offset: f64, rate: f64) {
        self.offset.iter_mut().for_each(|own| *own -= offset);
        self.rate.iter_mut().for_each(|own| *own -= rate);
    }

    /// Who is surprised by that many ns should trust itself less; the rate in the same proportion,
    /// by the time in which the two matter equally.
    fn widen(&mut self, k: usize, beyond: f64) {
        let more = SURPRISED * beyond * beyond;
        let [offset, cross, rate] = self.covariance(k);
        let share = (more / offset).min(1e6);
        self.set(k, [offset + more, cross, rate * (1.0 + share)]);
    }

    #[inline]
    fn covariance(&self, k: usize) -> [f64; 3] {
        self.p.map(|p| f64::from(p[k]))
    }

    #[inline]
    fn set(&mut self, k: usize, [offset, cross, rate]: [f64; 3]) {
        self.p[0][k] = offset.max(1e-6) as f32;
        self.p[1][k] = cross as f32;
        self.p[2][k] = rate.max(1e-12) as f32;
    }
}
