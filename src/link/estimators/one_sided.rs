//! The default: a filter that knows that packets wait and never hurry.

use serde::{Deserialize, Serialize};

use crate::link::phase::PhaseFilter;
use crate::link::{Belief, Exchange, Interval, LinkEstimator, OscillatorSpec, Posterior};

/// Share of the specified wander that a typical oscillator really shows.
const TYPICAL_WANDER: f64 = 0.3;

/// Noise of a stamp that claims to be perfect, ns.
const STAMP_FLOOR: f64 = 2.0;

/// Offset and rate by assumed-density filtering: each exchange cuts a Gaussian belief to what its
/// delays allow ([`super::super::Likelihood`]), and the Gaussian of the same mean and variance goes
/// on. Where packets queue, the error so falls nearly as fast as that of the best order statistics,
/// where delays merely jitter it is the Kalman filter; which it is, is learnt.
///
/// T. Minka, *A family of algorithms for approximate Bayesian inference*, thesis, MIT 2001
/// (assumed-density filtering); D. Jeske 2005 for what exponential delays leave possible.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OneSided {
    started: bool,
    filter: PhaseFilter,
}

impl LinkEstimator for OneSided {
    type Kind = ();

    fn new((): (), spec: &OscillatorSpec) -> Self {
        let drift = 2.0 * spec.max_drift.as_fraction() * 1e9;
        let wander = TYPICAL_WANDER * spec.wander * 1e9 * 2f64.sqrt();
        Self {
            started: false,
            filter: PhaseFilter::new(0.0, 0.0, 0.0, 0.0, drift / 3f64.sqrt(), wander),
        }
    }

    fn update(&mut self, exchange: &Exchange) {
        self.told(exchange);
    }

    #[inline]
    fn told(&mut self, exchange: &Exchange) -> Option<Posterior> {
        let stamps = exchange.stamp_sigma.max(STAMP_FLOOR);
        if self.started {
            let variance = stamps * stamps;
            let (at, offset) = (exchange.at, exchange.offset);
            let likelihood = &exchange.likelihood;
            Some(self.filter.observe(at, offset, variance, likelihood).nth(0))
        } else {
            self.started = true;
            let sigma = exchange.likelihood.sigma().hypot(stamps);
            self.filter = self.filter.started(exchange.at, exchange.offset, sigma);
            None
        }
    }

    #[inline]
    fn at(&self, at: f64) -> Option<Belief> {
        if !self.started {
            return None;
        }
        let there = self.filter.at(at);
        let ((offset, p_offset), (rate, p_rate)) = (there.offset(), there.rate());
        Some(Belief {
            offset,
            offset_sigma: p_offset.max(0.0).sqrt(),
            rate: rate * 1e-9,
            rate_sigma: p_rate.max(0.0).sqrt() * 1e-9,
        })
    }

    fn confine(&mut self, at: f64, interval: &Interval) {
        if self.started {
            self.filter.confine(
                at,
                (interval.lower, interval.upper),
                (1e9 * interval.rate_lower, 1e9 * interval.rate_upper),
            );
        }
    }
}
