//! Phase filters that expect more and less wander, weighed by what each foretold.

use super::noise::{Likelihood, Posterior};
use super::phase::PhaseFilter;

/// How many times more each filter expects than the one before.
const RATIO: f64 = 3.0;

/// How long the past counts in weighing them, in exchanges: 1/(1 − this).
const FORGET: f64 = 0.998;

/// The whole bank moves when an outer filter leads the middle one by this much log-evidence.
const LEAD: f64 = 1.0;

/// A [`PhaseFilter`] for an oscillator whose wander is not known.
///
/// Three filters expect a third of what is taken for the wander, as much, and three times as
/// much. Each takes in every exchange, and each exchange says how likely it was to each of them
/// ([`Posterior::log_evidence`]); the belief is that of all three, in proportion. If an outer one
/// does better than the middle one, it becomes the middle (multiple-model estimation: D. Magill,
/// *Optimal adaptive estimation of sampled stochastic processes*, IEEE Trans. Automatic Control
/// 10(4), 1965).
#[derive(Debug, Clone, Copy)]
pub struct PhaseBank {
    filters: [PhaseFilter; 3],
    /// Log-evidence of each, the largest being 0.
    evidence: [f64; 3],
    /// What the middle one expects, ns/s per √s.
    wander: f64,
    least: f64,
    most: f64,
}

impl PhaseBank {
    /// Filters like `filter`, around `wander` (ns/s per √s), which is never taken to be out of
    /// `range`.
    pub fn new(filter: &PhaseFilter, wander: f64, range: (f64, f64)) -> Self {
        let mut bank = Self {
            filters: [*filter; 3],
            evidence: [0.0; 3],
            wander: wander.clamp(range.0, range.1),
            least: range.0,
            most: range.1,
        };
        bank.expect();
        bank
    }

    /// The same filters of another belief; what is known of the wander is kept.
    pub fn restarted(&self, filter: &PhaseFilter) -> Self {
        let mut bank = Self {
            filters: [*filter; 3],
            ..*self
        };
        bank.expect();
        bank
    }

    fn expect(&mut self) {
        let factors = [1.0 / RATIO, 1.0, RATIO];
        for (filter, factor) in self.filters.iter_mut().zip(factors) {
            filter.set_wander(factor * self.wander);
        }
    }

    /// The wander in ns/s per √s: the geometric mean of what the filters expect.
    pub fn wander(&self) -> f64 {
        let [less, _, more] = self.shares();
        self.wander * RATIO.powf(more - less)
    }

    /// The belief at `at` (s).
    pub fn at(&self, at: f64) -> Self {
        Self {
            filters: self.filters.map(|filter| filter.at(at)),
            ..*self
        }
    }

    /// Offset (ns) and its variance.
    pub fn offset(&self) -> (f64, f64) {
        self.mixed(PhaseFilter::offset)
    }

    /// Rate (ns/s) and its variance.
    pub fn rate(&self) -> (f64, f64) {
        self.mixed(PhaseFilter::rate)
    }

    /// As [`PhaseFilter::observe`]; returns what the exchange told the likeliest filter.
    pub fn observe(
        &mut self,
        at: f64,
        middle: f64,
        variance: f64,
        likelihood: &Likelihood,
    ) -> Posterior {
        let told = self
            .filters
            .each_mut()
            .map(|filter| filter.observe(at, middle, variance, likelihood));
        for (evidence, told) in self.evidence.iter_mut().zip(told) {
            *evidence = FORGET * *evidence + told.log_evidence;
        }
        let most = self.evidence.iter().copied().fold(f64::MIN, f64::max);
        self.evidence.iter_mut().for_each(|e| *e -= most);
        let leader = self.evidence.iter().position(|e| *e == 0.0).unwrap_or(1);
        self.follow();
        told[leader]
    }

    /// Everything is seen from another line from now on, `offset` ns and `rate` ns/s above.
    pub fn rebase(&mut self, offset: f64, rate: f64) {
        self.filters
            .iter_mut()
            .for_each(|filter| filter.rebase(offset, rate));
    }

    /// Move to where the evidence leads.
    fn follow(&mut self) {
        let [less, same, more] = self.evidence;
        let [lower, middle, upper] = self.filters;
        if more > same + LEAD && self.wander * RATIO <= self.most {
            self.wander *= RATIO;
            self.filters = [middle, upper, upper];
            self.evidence = [same, more, same];
        } else if less > same + LEAD && self.wander / RATIO >= self.least {
            self.wander /= RATIO;
            self.filters = [lower, lower, middle];
            self.evidence = [same, less, same];
        } else {
            return;
        }
        self.expect();
    }

    fn shares(&self) -> [f64; 3] {
        let shares = self.evidence.map(f64::exp);
        let sum: f64 = shares.iter().sum();
        shares.map(|share| share / sum)
    }

    /// Mean and variance of the mixture of what `of` says of each filter.
    fn mixed(&self, of: impl Fn(&PhaseFilter) -> (f64, f64)) -> (f64, f64) {
        let shares = self.shares();
        let beliefs = self.filters.each_ref().map(of);
        let both = || shares.iter().zip(beliefs);
        let mean: f64 = both().map(|(share, (mean, _))| share * mean).sum();
        let variance = both().map(|(share, (m, v))| share * (v + (m - mean) * (m - mean)));
        (mean, variance.sum())
    }
}
