//! Weighted lines through a window of samples, with an honest covariance.

use crate::link::{Belief, Interval, OscillatorSpec};

/// Share of the specified wander that a typical oscillator really shows.
pub(super) const TYPICAL_WANDER: f64 = 0.3;

/// Noise of a stamp that claims to be perfect, ns.
pub(super) const STAMP_FLOOR: f64 = 10.0;

/// For how many samples the variance that was claimed counts beside the scatter that is seen.
const CLAIM: f64 = 2.0;

/// What is known of the two oscillators before any sample.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prior {
    /// Power of the random walk of the frequency between the two, ns²/s³.
    pub(super) walk: f64,
    /// Variance of their rate against each other, (ns/s)².
    rate: f64,
}

impl Prior {
    pub(super) fn new(spec: &OscillatorSpec) -> Self {
        let wander = TYPICAL_WANDER * spec.wander * 1e9;
        let drift = 2.0 * spec.max_drift.as_fraction() * 1e9;
        Self {
            walk: 2.0 * wander * wander,
            rate: drift * drift / 3.0,
        }
    }

    /// The window, seconds, over which a line through samples of this variance, so far apart, is
    /// best at its end: `T⁴ = 140·σ²·τ/q` makes `4·σ²·τ/T + q·T³/105` least, the noise of a line's
    /// end plus what the walk bends it.
    pub(super) fn window(&self, variance: f64, spacing: f64) -> f64 {
        (140.0 * variance * spacing / self.walk).sqrt().sqrt()
    }
}

/// Weighted sums over samples, kept about their means (B. P. Welford, *Note on a method for
/// calculating corrected sums of squares and products*, Technometrics 4(3), 1962), so that nothing
/// cancels.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moments {
    count: f64,
    weight: f64,
    at: f64,
    offset: f64,
    at_at: f64,
    at_offset: f64,
    offset_offset: f64,
    oldest: f64,
    newest: f64,
}

impl Moments {
    pub(super) fn add(&mut self, at: f64, offset: f64, variance: f64) {
        if self.count == 0.0 {
            (self.oldest, self.newest) = (at, at);
        }
        (self.oldest, self.newest) = (self.oldest.min(at), self.newest.max(at));
        let weight = 1.0 / variance;
        self.count += 1.0;
        self.weight += weight;
        let share = weight / self.weight;
        let (by_at, by_offset) = (at - self.at, offset - self.offset);
        self.at += share * by_at;
        self.offset += share * by_offset;
        self.at_at += weight * by_at * (at - self.at);
        self.at_offset += weight * by_at * (offset - self.offset);
        self.offset_offset += weight * by_offset * (offset - self.offset);
    }
}

/// A line and how well it is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fit {
    /// Where offset and rate are uncorrelated, seconds.
    at: f64,
    offset: f64,
    /// ns per second.
    rate: f64,
    /// Variances due to the noise of the samples.
    offset_variance: f64,
    rate_variance: f64,
    /// Scatter of the samples about the line, as a multiple of the variance they claimed.
    pub(super) scatter: f64,
    oldest: f64,
    newest: f64,
}

impl Fit {
    /// The line through samples of the offset.
    pub(super) fn line(samples: &Moments, prior: &Prior) -> Option<Self> {
        let (offset, offset_variance) = (samples.offset, 1.0 / samples.weight);
        Self::solve(samples, samples.at, offset, offset_variance, 2.0, prior)
    }

    /// The line halfway between two clouds that have its slope: limits from above and limits from
    /// below. Three unknowns: offset, rate and the distance of the clouds.
    pub(super) fn between(above: &Moments, below: &Moments, prior: &Prior) -> Option<Self> {
        if above.count == 0.0 || below.count == 0.0 {
            return None;
        }
        let both = Moments {
            count: above.count + below.count,
            at_at: above.at_at + below.at_at,
            at_offset: above.at_offset + below.at_offset,
            offset_offset: above.offset_offset + below.offset_offset,
            oldest: above.oldest.min(below.oldest),
            newest: above.newest.max(below.newest),
            ..Moments::default()
        };
        let at = 0.5 * (above.at + below.at);
        let offset = 0.5 * (above.offset + below.offset);
        let variance = 0.25 * (1.0 / above.weight + 1.0 / below.weight);
        Self::solve(&both, at, offset, variance, 3.0, prior)
    }

    /// A line that was found otherwise: through `point` (seconds, ns), where it is known within
    /// `sigmas.0` ns, its slope within `sigmas.1` ns/s; from samples that reach from `window.0` to
    /// `window.1` seconds.
    pub(super) fn through(
        point: (f64, f64),
        rate: f64,
        sigmas: (f64, f64),
        window: (f64, f64),
        prior: &Prior,
    ) -> Self {
        Self {
            at: point.0,
            offset: point.1,
            rate,
            offset_variance: sigmas.0 * sigmas.0,
            rate_variance: (sigmas.1 * sigmas.1).min(prior.rate),
            scatter: 1.0,
            oldest: window.0,
            newest: window.1,
        }
    }

    fn solve(
        sums: &Moments,
        at: f64,
        offset: f64,
        offset_variance: f64,
        unknowns: f64,
        prior: &Prior,
    ) -> Option<Self> {
        if sums.count == 0.0 {
            return None;
        }
        // Before there is a lever arm the rate is what the oscillators promise.
        let known = sums.at_at + 1.0 / prior.rate;
        let rate = sums.at_offset / known;
        let rest = sums.offset_offset - rate * (2.0 * sums.at_offset - rate * sums.at_at);
        let freedom = (sums.count - unknowns).max(0.0);
        let scatter = (rest.max(0.0) + CLAIM) / (freedom + CLAIM);
        Some(Self {
            at,
            offset,
            rate,
            offset_variance: scatter * offset_variance,
            rate_variance: (scatter / known).min(prior.rate),
            scatter,
            oldest: sums.oldest,
            newest: sums.newest,
        })
    }

    /// The same line, which only this share of the samples has shaped: the scatter of a sample that
    /// tells as much as one of all of them.
    pub(super) fn shaped_by(self, share: f64) -> Self {
        let scatter = self.scatter / share;
        Self { scatter, ..self }
    }

    /// Residual of a sample.
    pub(super) fn residual(&self, at: f64, offset: f64) -> f64 {
        offset - self.offset - self.rate * (at - self.at)
    }

    /// ns per second.
    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    /// What the line says of the instant `at`.
    ///
    /// A walk of the frequency with power `q` bends the samples of a window of length T away from
    /// the line that is true at its end. For evenly spread samples the line is then off by
    /// `q·T³/105` (variance of the offset), `13/35·q·T` (of the rate) and `11/210·q·T²` (their
    /// covariance). Beyond the window the walk goes on.
    pub(super) fn belief(&self, at: f64, prior: &Prior) -> Belief {
        let arm = at - self.at;
        let noise = self.offset_variance + arm * arm * self.rate_variance;
        let window = self.newest - self.oldest;
        let q = prior.walk;
        let (bend, bend_rate) = (q * window.powi(3) / 105.0, 13.0 / 35.0 * q * window);
        let bend_both = 11.0 / 210.0 * q * window * window;
        let ahead = (at - self.newest).max(0.0);
        let walk =
            bend + ahead * (2.0 * bend_both + ahead * bend_rate) + q * ahead * ahead * ahead / 3.0;
        let rate_variance = self.rate_variance + bend_rate + q * ahead;
        Belief {
            offset: self.offset + self.rate * arm,
            offset_sigma: (noise + walk).sqrt(),
            rate: self.rate * 1e-9,
            rate_sigma: rate_variance.sqrt() * 1e-9,
        }
    }

    /// Moves the line into what is possible at `at`, if it is not there, and trusts it less.
    /// Whether that was necessary.
    pub(super) fn confine(&mut self, at: f64, interval: &Interval, prior: &Prior) -> bool {
        let Belief { offset, rate, .. } = self.belief(at, prior);
        let possible = offset.clamp(interval.lower, interval.upper);
        let possible_rate = rate.clamp(interval.rate_lower, interval.rate_upper);
        if possible == offset && possible_rate == rate {
            return false;
        }
        let half = 0.5 * interval.width();
        let half_rate = 0.5e9 * (interval.rate_upper - interval.rate_lower);
        *self = Self {
            at,
            offset: possible,
            rate: 1e9 * possible_rate,
            offset_variance: self.offset_variance.max(half * half / 3.0),
            rate_variance: self.rate_variance.max(half_rate * half_rate / 3.0),
            ..*self
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Rate;

    fn prior(walk: f64) -> Prior {
        Prior { walk, rate: 1e18 }
    }

    #[test]
    fn a_line_worked_out_by_hand() {
        // (0, 1), (1, 3), (2, 2), (3, 6): slope 7/5, mean (3/2, 3), residual sum of squares 21/5.
        let mut sums = Moments::default();
        for (at, offset) in [(0.0, 1.0), (1.0, 3.0), (2.0, 2.0), (3.0, 6.0)] {
            sums.add(at, offset, 1.0);
        }
        let fit = Fit::line(&sums, &prior(0.0)).unwrap();
        assert!((fit.rate() - 1.4).abs() < 1e-12);
        let scatter = (4.2 + CLAIM) / (2.0 + CLAIM);
        assert!((fit.scatter - scatter).abs() < 1e-12);
        let end = fit.belief(3.0, &prior(0.0));
        assert!((end.offset - 5.1).abs() < 1e-12);
        // s²·(1/4 + 1.5²/5) and s²/5.
        assert!((end.offset_sigma - (scatter * 0.7).sqrt()).abs() < 1e-12);
        assert!((end.rate_sigma - (scatter / 5.0).sqrt() * 1e-9).abs() < 1e-20);
    }

    #[test]
    fn the_middle_of_two_clouds_worked_out_by_hand() {
        // 10 + t above, −2 + t below, sampled at different times: 4 + t between them.
        let (mut above, mut below) = (Moments::default(), Moments::default());
        for k in 0..4 {
            let at = f64::from(k);
            above.add(at, 10.0 + at, 1.0);
            below.add(at + 0.7, -2.0 + at + 0.7, 1.0);
        }
        let fit = Fit::between(&above, &below, &prior(0.0)).unwrap();
        assert!((fit.rate() - 1.0).abs() < 1e-12);
        assert!((fit.belief(5.0, &prior(0.0)).offset - 9.0).abs() < 1e-12);
        assert!(Fit::between(&above, &Moments::default(), &prior(0.0)).is_none());
    }

    #[test]
    fn a_walk_bends_a_line_as_the_integrals_say() {
        // The end of a fitted line weighs a sample of age u·T by (4 − 6u)/T, its slope by
        // (6 − 12u)/T². Pushed through the walk's covariance, q·a²·(3b − a)/6 for ages a ≤ b,
        // numerically.
        const STEPS: usize = 400;
        let (mut offset, mut rate, mut both) = (0.0, 0.0, 0.0);
        for i in 0..STEPS {
            for j in 0..STEPS {
                let (u, v) = (
                    (i as f64 + 0.5) / STEPS as f64,
                    (j as f64 + 0.5) / STEPS as f64,
                );
                let (a, b) = (u.min(v), u.max(v));
                let covariance = a * a * (3.0 * b - a) / 6.0 / (STEPS * STEPS) as f64;
                offset += (4.0 - 6.0 * u) * (4.0 - 6.0 * v) * covariance;
                rate += (6.0 - 12.0 * u) * (6.0 - 12.0 * v) * covariance;
                both += (4.0 - 6.0 * u) * (6.0 - 12.0 * v) * covariance;
            }
        }
        assert!((offset - 1.0 / 105.0).abs() < 1e-4, "{offset}");
        assert!((rate - 13.0 / 35.0).abs() < 1e-3, "{rate}");
        assert!((both - 11.0 / 210.0).abs() < 2e-4, "{both}");
    }

    #[test]
    fn one_sample_leaves_the_rate_to_the_specification() {
        let spec = OscillatorSpec {
            max_drift: Rate::from_ppm(50.0),
            wander: 0.0,
        };
        let prior = Prior::new(&spec);
        let mut sums = Moments::default();
        sums.add(7.0, 123.0, 400.0);
        let belief = Fit::line(&sums, &prior).unwrap().belief(7.0, &prior);
        assert_eq!((belief.offset, belief.rate), (123.0, 0.0));
        assert!((belief.offset_sigma - 20.0).abs() < 1e-9);
        assert!((belief.rate_sigma - 100e-6 / 3f64.sqrt()).abs() < 1e-9);
    }

    #[test]
    fn the_best_window_is_where_its_two_errors_balance() {
        let prior = prior(2.0);
        let (variance, spacing) = (5e5, 1.0);
        let error = |t: f64| 4.0 * variance * spacing / t + prior.walk * t.powi(3) / 105.0;
        let best = prior.window(variance, spacing);
        assert!(error(best) < error(1.02 * best) && error(best) < error(0.98 * best));
    }
}
