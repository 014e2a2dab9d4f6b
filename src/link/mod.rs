//! One neighbour: samples to offset, rate and a guaranteed interval.
//!
//! Everything here is raw against raw: `offset(t) = peer's raw clock − our raw clock` as a function
//! of our raw clock. Both are free-running oscillators, so the offset is a line plus wander, and no
//! steering of any clock disturbs it (feed-forward).
//!
//! Two estimates run side by side. The [`Hull`] knows what causality allows: a packet cannot arrive
//! before it was sent. The filter ([`LinkEstimator`]) knows what is likely. The first gives the
//! interval that holds, the second the value inside it.

mod bank;
mod elementary;
pub mod estimators;
mod gaussian;
mod hull;
mod likelihood;
mod lines;
mod noise;
mod phase;
mod sample;

pub use bank::PhaseBank;
pub use estimators::{AnyEstimator, EstimatorKind, Kalman, OneSided};
pub use hull::{Hull, Inconsistent, Interval, Limits, Six, Three};
pub use likelihood::{Floor, Likelihood, Posterior};
pub use lines::{Fan, Limit, Point, ShortPoint};
pub use noise::PathNoise;
pub use phase::PhaseFilter;
pub use sample::{Direction, Exchange, OneWay};

use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use crate::time::{Rate, RawTime, Span};

/// What the manufacturer promises of an oscillator.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OscillatorSpec {
    /// Largest frequency error.
    pub max_drift: Rate,
    /// Random walk of the frequency, as a fraction per √s. The guaranteed interval assumes that
    /// no oscillator wanders by more than four sigma of this.
    pub wander: f64,
}

impl Default for OscillatorSpec {
    /// An ordinary crystal in a room whose temperature changes slowly.
    fn default() -> Self {
        Self {
            max_drift: Rate::from_ppm(100.0),
            wander: 1e-8,
        }
    }
}

/// What an estimator believes at one instant. Offsets are relative to the link's reference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Belief {
    /// Offset, ns.
    pub offset: f64,
    /// One sigma of the offset, ns.
    pub offset_sigma: f64,
    /// Frequency of the peer's raw clock against ours.
    pub rate: f64,
    /// One sigma of the rate.
    pub rate_sigma: f64,
}

/// A strategy that turns the exchanges with one neighbour into offset and rate.
///
/// Times are seconds since the link's epoch and offsets nanoseconds relative to its reference, so
/// that an `f64` holds either without loss.
pub trait LinkEstimator: Clone {
    /// What chooses among several strategies in one type; `()` where there is but one.
    type Kind: Copy + Default + Debug;

    /// A fresh estimator that expects oscillators like `spec`.
    fn new(kind: Self::Kind, spec: &OscillatorSpec) -> Self;

    /// Take in one packet, whichever way it went. Most strategies need only whole exchanges.
    fn direction(&mut self, _direction: &Direction) {}

    /// Take in one exchange; both its packets went through [`LinkEstimator::direction`] before.
    fn update(&mut self, exchange: &Exchange);

    /// The same, and what the exchange told of the path; `None` if nothing was believed before.
    fn told(&mut self, exchange: &Exchange) -> Option<Posterior> {
        let told = self.at(exchange.at).map(|belief| {
            let sigmas = (belief.offset_sigma, exchange.stamp_sigma);
            let variance = sigmas.0 * sigmas.0 + sigmas.1 * sigmas.1;
            let middle = exchange.offset - belief.offset;
            exchange.likelihood.posterior(middle, variance.max(1.0))
        });
        self.update(exchange);
        told
    }

    /// What is believed at `at`; `None` before the first exchange.
    fn at(&self, at: f64) -> Option<Belief>;

    /// The offset at `at` is known to lie within `interval`: give up what contradicts it.
    fn confine(&mut self, at: f64, interval: &Interval);
}

/// The state of one link at one instant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Peer's raw clock minus ours, whole nanoseconds; the other offsets are relative to it.
    pub reference: i64,
    /// What the filter believes, confined to what is possible.
    pub belief: Belief,
    /// What is possible.
    pub interval: Interval,
}

/// The bound of a stamp's error is taken for so many sigma.
const STAMP_SIGMAS: f64 = 4.0;

/// Refused samples in a row after which the peer's clock is taken to have restarted.
const RESTART_AFTER: u8 = 3;

/// One neighbour's estimator state: fixed size, no allocation.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound(
    serialize = "E: Serialize, E::Kind: Serialize, P: Limits",
    deserialize = "E: Deserialize<'de>, E::Kind: Deserialize<'de>, P: Limits"
))]
pub struct Link<E: LinkEstimator, P = Six> {
    kind: E::Kind,
    epoch: RawTime,
    reference: i64,
    started: bool,
    implausible: u8,
    hull: Hull<P>,
    noise: PathNoise,
    filter: E,
}

/// One exchange as it went into a link.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Half-way between the two packets, on our raw clock.
    pub at: RawTime,
    /// Peer's raw clock minus ours then if both directions took equally long, whole nanoseconds.
    pub reference: i64,
    /// The rest of it, ns.
    pub offset: f64,
    /// Round trip without the time between the two packets.
    pub round_trip: Span,
    /// One sigma of the noise of the stamps, ns.
    pub stamp_sigma: f64,
    /// What the delays leave possible.
    pub likelihood: Likelihood,
}

impl<E: LinkEstimator, P: Limits> Link<E, P> {
    /// A link without samples, estimated by a strategy of this `kind`.
    pub fn new(kind: E::Kind, spec: OscillatorSpec) -> Self {
        Self {
            kind,
            epoch: RawTime::from_nanos(0),
            reference: 0,
            started: false,
            implausible: 0,
            hull: Hull::new(&spec),
            noise: PathNoise::default(),
            filter: E::new(kind, &spec),
        }
    }

    /// Take in one direction of an exchange: a limit on the offset.
    ///
    /// Samples that no oscillator within the specification could give are refused; after a few in
    /// a row the peer has restarted, and so does the link.
    pub fn limit(&mut self, sample: &OneWay) {
        if let Some((at, offset)) = self.place(sample.at, sample.offset) {
            let error = sample.error.as_nanos_f64();
            let consistent = if sample.forward {
                self.hull.limit_above(at, offset + error)
            } else {
                self.hull.limit_below(at, offset - error)
            };
            if consistent.is_err() {
                self.hull.relax(at);
            } else {
                self.hull.recover(at);
            }
            self.filter.direction(&Direction {
                forward: sample.forward,
                at,
                offset,
                error,
            });
        }
    }

    /// Take in both directions of one exchange, after each went through [`Link::limit`].
    pub fn exchange(&mut self, forward: &OneWay, reverse: &OneWay) -> Option<Measured> {
        let (Some((sent, above)), Some((received, below))) = (
            self.place(forward.at, forward.offset),
            self.place(reverse.at, reverse.offset),
        ) else {
            return None;
        };
        let at = 0.5 * (sent + received);
        // The two packets may be a second apart (a question of the peer's carries what it heard in
        // our last answer). The offset in the middle is right for any rate; the delay is not, nor
        // may the pair count for more than the rate is known.
        let apart = received - sent;
        let belief = self.filter.at(at);
        let (rate, rate_sigma) = belief.map_or(
            (0.0, 2.0 * self.hull.spec().max_drift.as_fraction()),
            |belief| (belief.rate, belief.rate_sigma),
        );
        // What is said of a stamp's error is a bound, and the offset is half the difference of two.
        let [out, back] =
            [forward, reverse].map(|packet| packet.error.as_nanos_f64() / (2.0 * STAMP_SIGMAS));
        let offset = 0.5 * (above + below);
        let half_delay = 0.5 * (above - below + rate * 1e9 * apart);
        let unknown = 0.5 * rate_sigma * 1e9 * apart;
        let stamp_sigma = (out * out + back * back + unknown * unknown).sqrt();
        let likelihood = self.noise.take(half_delay);
        let told = self.filter.told(&Exchange {
            at,
            offset,
            half_delay,
            stamp_sigma,
            likelihood,
        });
        if let Some(told) = told {
            self.noise.learn(&told);
        }
        if let Some(belief) = self.filter.at(at)
            && let Some(interval) = self.hull.contradiction(at, belief.offset, belief.rate)
        {
            self.filter.confine(at, &interval);
        }
        Some(Measured {
            at: forward.at + Span::from_nanos((reverse.at - forward.at).as_nanos() / 2),
            reference: self.reference,
            offset,
            round_trip: Span::from_nanos_f64(2.0 * half_delay),
            stamp_sigma,
            likelihood,
        })
    }

    /// The two oscillators wander against each other by no more than `wander`, one sigma, as a
    /// fraction per √s.
    pub fn expect_wander(&mut self, wander: f64) {
        self.hull.expect(wander);
    }

    /// How much half the round trip scatters, one sigma in ns.
    pub fn jitter(&self) -> f64 {
        self.noise.jitter()
    }

    /// The state at `now`; `None` until both directions have been sampled.
    pub fn estimate(&self, now: RawTime) -> Option<Estimate> {
        let at = self.seconds(now);
        let interval = self.hull.interval(at)?;
        let mut belief = self.filter.at(at)?;
        belief.offset = belief.offset.clamp(interval.lower, interval.upper);
        // No estimate can be worse than a uniform guess over what is possible.
        belief.offset_sigma = belief.offset_sigma.min(interval.width() / 12f64.sqrt());
        Some(Estimate {
            reference: self.reference,
            belief,
            interval,
        })
    }

    /// The same at several instants without what it takes to know how likely it is: the reference,
    /// and believed offset and interval of each [`Estimate`].
    #[inline]
    pub fn possible<const N: usize>(
        &self,
        at: &[RawTime; N],
    ) -> (i64, [Option<(f64, Interval)>; N]) {
        let at = at.map(|at| self.seconds(at));
        let intervals = self.hull.intervals(&at);
        let possible = std::array::from_fn(|k| {
            let interval = intervals[k]?;
            let believed = self.filter.at(at[k])?.offset;
            Some((believed.clamp(interval.lower, interval.upper), interval))
        });
        (self.reference, possible)
    }

    /// The strategy within, for whoever judges it.
    pub const fn estimator(&self) -> &E {
        &self.filter
    }

    /// Forget everything.
    pub fn reset(&mut self) {
        *self = Self::new(self.kind, *self.hull.spec());
    }

    fn seconds(&self, at: RawTime) -> f64 {
        (at - self.epoch).as_secs_f64()
    }

    /// A sample in the link's own coordinates, or `None` if it is beyond belief.
    fn place(&mut self, at: RawTime, offset: i64) -> Option<(f64, f64)> {
        if !self.started {
            self.started = true;
            self.epoch = at;
            self.reference = offset;
        }
        let since = self.seconds(at);
        let relative = offset.saturating_sub(self.reference) as f64;
        // A slow path may add seconds of delay; a restarted clock is off by far more or far less.
        let reach = 5e9 + 2.0 * self.hull.spec().max_drift.as_fraction() * since.abs() * 1e9;
        if relative.abs() <= reach {
            self.implausible = 0;
            return Some((since, relative));
        }
        self.implausible += 1;
        if self.implausible >= RESTART_AFTER {
            self.reset();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFSET: i64 = 7_000_000_000_123;

    /// A link to a peer that is `OFFSET` ahead and 20 ppm fast, over 1 µs paths; one exchange a
    /// second, each direction delayed by `extra(k)` more.
    fn run(exchanges: i64, extra: impl Fn(i64) -> (i64, i64)) -> (Link<Kalman>, RawTime) {
        let mut link = Link::new((), OscillatorSpec::default());
        let peer = |t: i64| t + OFFSET + t / 50_000;
        let mut now = 0;
        for k in 0..exchanges {
            let (out, back) = extra(k);
            let t1 = k * 1_000_000_000;
            let t2 = peer(t1 + 1_000 + out);
            let t3_local = t1 + 50_000;
            let t4 = t3_local + 1_000 + back;
            let forward =
                OneWay::forward(RawTime::from_nanos(t1), RawTime::from_nanos(t2), Span::ZERO);
            let reverse = OneWay::reverse(
                RawTime::from_nanos(peer(t3_local)),
                RawTime::from_nanos(t4),
                Span::ZERO,
            );
            link.limit(&forward);
            link.limit(&reverse);
            link.exchange(&forward, &reverse);
            now = t4;
        }
        (link, RawTime::from_nanos(now))
    }

    fn true_offset(now: RawTime) -> f64 {
        (OFFSET + now.as_nanos() / 50_000) as f64
    }

    fn absolute(estimate: &Estimate, relative: f64) -> f64 {
        estimate.reference as f64 + relative
    }

    #[test]
    fn finds_offset_and_rate_of_a_quiet_link() {
        let (link, now) = run(30, |_| (0, 0));
        let estimate = link.estimate(now).unwrap();
        let error = absolute(&estimate, estimate.belief.offset) - true_offset(now);
        assert!(error.abs() < 5.0, "{error}");
        assert!((estimate.belief.rate - 20e-6).abs() < 1e-8);
        assert!(
            estimate.interval.width() < 2_200.0,
            "{:?}",
            estimate.interval
        );
    }

    #[test]
    fn the_interval_holds_whatever_the_delays() {
        let noisy = |k: i64| ((k * 7_919) % 90_000, (k * 104_729) % 30_000);
        for n in 2..60 {
            let (link, now) = run(n, noisy);
            let estimate = link.estimate(now).unwrap();
            let truth = true_offset(now);
            assert!(
                absolute(&estimate, estimate.interval.lower) <= truth + 1.0,
                "{n}"
            );
            assert!(
                absolute(&estimate, estimate.interval.upper) >= truth - 1.0,
                "{n}"
            );
        }
    }

    #[test]
    fn one_glitch_does_not_widen_the_interval_for_good() {
        let width_after = |glitch: i64| {
            // An answer that seems to have taken less than no time.
            let (link, now) = run(1_000, |k| if k == 100 { (0, -glitch) } else { (0, 0) });
            let estimate = link.estimate(now + Span::from_secs(300)).unwrap();
            estimate.interval.width()
        };
        let (clean, recovered) = (width_after(0), width_after(50_000));
        assert!(recovered < 1.05 * clean, "{clean} {recovered}");
    }

    #[test]
    fn a_restarted_peer_is_learnt_anew() {
        let (mut link, now) = run(10, |_| (0, 0));
        let later = |k: i64| now + Span::from_secs(k);
        for k in 1..10 {
            let sent = later(k);
            let forward = OneWay::forward(sent, RawTime::from_nanos(k * 1_000_000_000), Span::ZERO);
            let reverse = OneWay::reverse(
                RawTime::from_nanos(k * 1_000_000_000 + 1_000),
                sent + Span::from_micros(2),
                Span::ZERO,
            );
            link.limit(&forward);
            link.limit(&reverse);
            link.exchange(&forward, &reverse);
        }
        let estimate = link.estimate(later(9)).unwrap();
        let offset = absolute(&estimate, estimate.belief.offset) + now.as_nanos() as f64;
        assert!(offset.abs() < 3_000.0, "{offset}");
    }
}
