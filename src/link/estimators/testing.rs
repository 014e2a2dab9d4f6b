//! A simulated link for the tests of the estimators: an oscillator that wanders, paths that queue.

use crate::link::{Estimate, Exchange, Link, LinkEstimator, OneWay, OscillatorSpec, PathNoise};
use crate::time::{RawTime, Span};

/// Repeatable random numbers (Vigna's SplitMix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly from 0 to 1, neither of them.
    pub(crate) fn uniform(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * self.uniform().ln()
    }

    pub(crate) fn gaussian(&mut self) -> f64 {
        let (radius, angle) = (self.uniform(), self.uniform());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }
}

/// How the delay of a packet varies, on top of 10 µs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noise {
    /// Queueing: exponential, 1 µs.
    Exponential,
    /// One sigma of 1 µs.
    Gaussian,
    /// Pareto with index 1.5: 0.3 µs at least, 0.9 µs on average, at most 1 ms.
    HeavyTailed,
    /// Exponential, 0.5 µs, and every 50 packets or so a direction changes to a route that is
    /// 5 µs longer, or back.
    Bimodal,
    /// Exponential, 1 µs; the way there takes 3 µs longer for 200 s of every 400 s.
    AsymmetricStep,
    /// One packet in three finds the path empty and is off by 20 ns, the others queue for 20 µs on
    /// average.
    Loaded,
}

impl Noise {
    pub(super) const ALL: [Self; 6] = [
        Self::Exponential,
        Self::Gaussian,
        Self::HeavyTailed,
        Self::Bimodal,
        Self::AsymmetricStep,
        Self::Loaded,
    ];
}

/// A link to a peer 20 ppm fast, sampled once a second.
pub(super) struct Path {
    pub(super) noise: Noise,
    /// Random walk of the frequency between the two clocks, fraction per √s.
    pub(super) wander: f64,
    /// Exchanges 200 µs apart each time.
    pub(super) burst: u32,
    /// Seconds between the bursts.
    pub(super) period: f64,
    pub(super) seconds: u32,
    pub(super) seed: u64,
}

/// How good an estimator was, after a minute to settle, half a second after each exchange.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Score {
    /// Root mean square error of the offset, ns.
    pub(super) rms: f64,
    /// The same of the rate, as a fraction.
    pub(super) rate_rms: f64,
    /// Share of the offsets within two sigma.
    pub(super) covered: f64,
    /// Share of the rates within two sigma.
    pub(super) rate_covered: f64,
    /// Share of the instants at which the guaranteed interval did not hold the truth.
    pub(super) violated: f64,
}

const SETTLE: f64 = 60.0;
const DELAY: f64 = 10_000.0;
const OFFSET: f64 = 7_000_000.0;

struct Truth {
    random: Random,
    /// True time, ns.
    at: f64,
    offset: f64,
    rate: f64,
    wander: f64,
    routes: [bool; 2],
}

impl Truth {
    /// The offset after `nanos` more.
    fn pass(&mut self, nanos: f64) -> f64 {
        let seconds = nanos * 1e-9;
        let kick = self.wander * seconds.sqrt();
        let (a, b) = (self.random.gaussian(), self.random.gaussian());
        // The walk of the frequency and of the phase over one step, exactly.
        self.offset += self.rate * nanos + kick * nanos * (0.5 * a + b / 12f64.sqrt());
        self.rate += kick * a;
        self.at += nanos;
        self.offset
    }

    fn delay(&mut self, noise: Noise, forward: bool) -> f64 {
        let random = &mut self.random;
        let extra = match noise {
            Noise::Exponential => random.exponential(1_000.0),
            Noise::Gaussian => 1_000.0 * random.gaussian(),
            Noise::HeavyTailed => (300.0 * random.uniform().powf(-1.0 / 1.5)).min(1e6),
            Noise::Bimodal => {
                let route = &mut self.routes[usize::from(forward)];
                *route ^= random.uniform() < 0.02;
                random.exponential(500.0) + if *route { 5_000.0 } else { 0.0 }
            }
            Noise::AsymmetricStep => {
                let longer = forward && (self.at * 1e-9) % 400.0 >= 200.0;
                random.exponential(1_000.0) + if longer { 3_000.0 } else { 0.0 }
            }
            Noise::Loaded if random.uniform() < 1.0 / 3.0 => 20.0 * random.gaussian(),
            Noise::Loaded => random.exponential(20_000.0),
        };
        DELAY + extra.max(-0.9 * DELAY)
    }
}

fn raw(nanos: f64) -> RawTime {
    RawTime::from_nanos(nanos.round() as i64)
}

impl Path {
    /// Runs it; `look` sees the link's estimate with the true offset and rate.
    pub(super) fn watch<E: LinkEstimator>(
        &self,
        kind: E::Kind,
        mut look: impl FnMut(f64, &Estimate, f64, f64),
    ) -> Link<E> {
        let mut link = Link::<E>::new(kind, OscillatorSpec::default());
        let mut truth = Truth {
            random: Random::new(self.seed),
            at: 0.0,
            offset: OFFSET,
            rate: 20e-6,
            wander: self.wander,
            routes: [false; 2],
        };
        let error = Span::from_nanos(20);
        while truth.at < f64::from(self.seconds) * 1e9 {
            for _ in 0..self.burst {
                let sent = truth.at;
                let out = truth.delay(self.noise, true);
                let received = sent + out + truth.pass(out);
                let turned = truth.pass(50_000.0) + truth.at;
                let back = truth.delay(self.noise, false);
                truth.pass(back);
                let forward = OneWay::forward(raw(sent), raw(received), error);
                let reverse = OneWay::reverse(raw(turned), raw(truth.at), error);
                link.limit(&forward);
                link.limit(&reverse);
                link.exchange(&forward, &reverse);
                truth.pass(130_000.0);
            }
            let half = 0.5e9 * self.period * (0.9 + 0.2 * truth.random.uniform());
            truth.pass(half);
            if let Some(estimate) = link.estimate(raw(truth.at)) {
                look(truth.at * 1e-9, &estimate, truth.offset, truth.rate);
            }
            truth.pass(half);
        }
        link
    }

    pub(super) fn score<E: LinkEstimator>(&self, kind: E::Kind) -> Score {
        let mut score = Score::default();
        let mut count = 0.0;
        self.watch::<E>(kind, |at, estimate, offset, rate| {
            if at < SETTLE {
                return;
            }
            let belief = estimate.belief;
            // Rounded stamps stand up to half a nanosecond off.
            let truth = offset - estimate.reference as f64;
            let error = belief.offset - truth;
            let rate_error = belief.rate - rate;
            let interval = estimate.interval;
            count += 1.0;
            score.rms += error * error;
            score.rate_rms += rate_error * rate_error;
            score.covered += f64::from(u8::from(error.abs() <= 2.0 * belief.offset_sigma));
            score.rate_covered += f64::from(u8::from(rate_error.abs() <= 2.0 * belief.rate_sigma));
            let outside = truth < interval.lower - 1.0 || truth > interval.upper + 1.0;
            score.violated += f64::from(u8::from(outside));
        });
        Score {
            rms: (score.rms / count).sqrt(),
            rate_rms: (score.rate_rms / count).sqrt(),
            covered: score.covered / count,
            rate_covered: score.rate_covered / count,
            violated: score.violated / count,
        }
    }
}

/// An exchange over a path of `half_delay` with decent stamps.
pub(super) fn exchange(at: f64, offset: f64, half_delay: f64) -> Exchange {
    Exchange {
        at,
        offset,
        half_delay,
        stamp_sigma: 20.0,
        likelihood: PathNoise::default().take(half_delay),
    }
}
