//! Phase filters that expect more and less wander, weighed by what each foretold.

use serde::{Deserialize, Serialize};

use super::elementary::exp;
use super::likelihood::{Likelihood, Posterior};
use super::phase::PhaseFilter;

/// How many times more each filter expects than the one before.
const RATIO: f64 = 3.0;

/// How long the past counts in weighing them, in exchanges: 1/(1 − this).
const FORGET: f64 = 0.999;

/// The whole bank moves when an outer filter leads the middle one by so much log-evidence: the one
/// that expects more, and the one that expects less. Who expects too much loses a little
/// precision, who expects too little does not notice how far it is off.
const LEADS: (f64, f64) = (1.0, 3.0);

/// Oscillators wander by what is typical to within this factor, one sigma: where exchanges tell
/// nothing of it, it must not drift off.
const SPREAD: f64 = 2.5;

/// A [`PhaseFilter`] for an oscillator whose wander is not known.
///
/// Three filters expect a third of what is taken for the wander, as much, and three times as
/// much. Each takes in every exchange, and each exchange says how likely it was to each of them
/// (the density of its delays); the belief is that of all three, in proportion. If an outer one
/// does better than the middle one, it becomes the middle (multiple-model estimation: D. Magill,
/// *Optimal adaptive estimation of sampled stochastic processes*, IEEE Trans. Automatic Control
/// 10(4), 1965).
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct PhaseBank {
    filters: PhaseFilter<3>,
    /// Log-evidence of each, the largest being 0.
    evidence: [f64; 3],
    /// What the middle one expects, ns/s per √s.
    wander: f64,
    /// What is expected before anything is known.
    typical: f64,
    /// How unusual each filter's wander is, in log-evidence.
    strange: [f64; 3],
    least: f64,
    most: f64,
}

impl PhaseBank {
    /// Filters like `filter`, around `wander` (ns/s per √s), which is never taken to be out of
    /// `range`.
    pub fn new(filter: &PhaseFilter, wander: f64, range: (f64, f64)) -> Self {
        let mut bank = Self {
            filters: filter.copied(),
            evidence: [0.0; 3],
            wander: wander.clamp(range.0, range.1),
            typical: wander,
            strange: [0.0; 3],
            least: range.0,
            most: range.1,
        };
        bank.expect();
        bank
    }

    /// The same filters of another belief; what is known of the wander is kept.
    pub fn restarted(&self, filter: &PhaseFilter) -> Self {
        let mut bank = Self {
            filters: filter.copied(),
            ..*self
        };
        bank.expect();
        bank
    }

    fn expect(&mut self) {
        let factors = [1.0 / RATIO, 1.0, RATIO];
        let wanders = factors.map(|factor| factor * self.wander);
        self.filters.set_wanders(&wanders);
        self.strange = wanders.map(|wander| {
            let away = (wander / self.typical).ln() / SPREAD.ln();
            0.5 * away * away
        });
    }

    /// The wander in ns/s per √s: the geometric mean of what the filters expect.
    pub fn wander(&self) -> f64 {
        let [less, _, more] = self.shares();
        self.wander * RATIO.powf(more - less)
    }

    /// The belief at `at` (s).
    #[inline]
    pub fn at(&self, at: f64) -> Self {
        Self {
            filters: self.filters.at(at),
            ..*self
        }
    }

    /// Offset (ns) and its variance.
    #[inline]
    pub fn offset(&self) -> (f64, f64) {
        self.mixed(&self.filters.offsets())
    }

    /// Rate (ns/s) and its variance.
    #[inline]
    pub fn rate(&self) -> (f64, f64) {
        self.mixed(&self.filters.rates())
    }

    /// At `at` (s) the offset was measured as `middle` (ns), with an error of its own of `variance`
    /// and `likelihood`; returns what the exchange told the likeliest filter.
    pub fn observe(
        &mut self,
        at: f64,
        middle: f64,
        variance: f64,
        likelihood: &Likelihood,
    ) -> Posterior {
        let told = self.filters.observe(at, middle, variance, likelihood);
        let evidence = told.log_evidence(likelihood.share());
        for (sum, evidence) in self.evidence.iter_mut().zip(evidence) {
            *sum = FORGET * *sum + evidence;
        }
        let most = self.evidence.iter().copied().fold(f64::MIN, f64::max);
        self.evidence.iter_mut().for_each(|e| *e -= most);
        let leader = self.evidence.iter().position(|e| *e == 0.0).unwrap_or(1);
        self.follow();
        told.nth(leader)
    }

    /// Everything is seen from another line from now on, `offset` ns and `rate` ns/s above.
    pub fn rebase(&mut self, offset: f64, rate: f64) {
        self.filters.rebase(offset, rate);
    }

    /// Move to where the evidence leads.
    fn follow(&mut self) {
        let [less, same, more] = self.odds();
        let [less_told, same_told, more_told] = self.evidence;
        if more > same + LEADS.0 && self.wander * RATIO <= self.most {
            self.wander *= RATIO;
            self.filters = self.filters.chosen([1, 2, 2]);
            self.evidence = [same_told, more_told, same_told];
        } else if less > same + LEADS.1 && less >= more && self.wander / RATIO >= self.least {
            self.wander /= RATIO;
            self.filters = self.filters.chosen([0, 0, 1]);
            self.evidence = [same_told, less_told, same_told];
        } else {
            return;
        }
        self.expect();
    }

    /// What the exchanges say, and what oscillators are like; the largest is 0.
    fn odds(&self) -> [f64; 3] {
        let odds = [0, 1, 2].map(|k| self.evidence[k] - self.strange[k]);
        let most = odds[0].max(odds[1]).max(odds[2]);
        odds.map(|odds| odds - most)
    }

    fn shares(&self) -> [f64; 3] {
        let shares = exp(self.odds());
        let sum: f64 = shares.iter().sum();
        shares.map(|share| share / sum)
    }

    /// Mean and variance of the mixture of the filters' beliefs.
    fn mixed(&self, beliefs: &[(f64, f64); 3]) -> (f64, f64) {
        let shares = self.shares();
        let both = || shares.iter().zip(beliefs);
        let mean: f64 = both().map(|(share, (mean, _))| share * mean).sum();
        let variance = both().map(|(share, (m, v))| share * (v + (m - mean) * (m - mean)));
        (mean, variance.sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Floor;
    use crate::link::estimators::testing::Random;

    /// Exchanges every second with noise of `sigma`, of an oscillator that wanders by `wander`:
    /// the bank, the true offset, and how many sigma it was off by (root mean square).
    fn follow(wander: f64, sigma: f64, seconds: u32) -> (PhaseBank, f64) {
        let jitter = Likelihood {
            half_delay: 10_000.0,
            queue: sigma,
            usual: 10_000.0,
            jitter: sigma,
            log_odds: -20.0,
            floor: Floor {
                mean: 10_000.0,
                variance: 1.0,
            },
        };
        let mut random = Random::new(5);
        let start = PhaseFilter::new(0.0, 0.0, 1e3, 0.0, 1e3, 0.0);
        let mut bank = PhaseBank::new(&start, 1.0, (0.01, 300.0));
        let (mut offset, mut rate, mut squares) = (0.0, 100.0, 0.0);
        for second in 1..=seconds {
            let (a, b) = (random.gaussian(), random.gaussian());
            offset += rate + wander * (0.5 * a + b / 12f64.sqrt());
            rate += wander * a;
            let at = f64::from(second);
            bank.observe(at, offset + sigma * random.gaussian(), 0.0, &jitter);
            let (believed, variance) = bank.at(at).offset();
            squares += (believed - offset).powi(2) / variance;
        }
        (bank, (squares / f64::from(seconds)).sqrt())
    }

    #[test]
    fn the_wander_is_found_and_the_belief_is_as_good_as_it_says() {
        for wander in [0.1, 1.0, 10.0, 100.0] {
            let (bank, sigmas) = follow(wander, 100.0, 6_000);
            let found = bank.wander() / wander;
            assert!((0.5..2.0).contains(&found), "{wander}: {found}");
            assert!((0.8..1.25).contains(&sigmas), "{wander}: {sigmas}");
        }
    }

    #[test]
    fn a_new_belief_keeps_what_is_known_of_the_wander() {
        let (bank, _) = follow(10.0, 100.0, 3_000);
        let again = bank.restarted(&PhaseFilter::new(0.0, 5.0, 1.0, 0.0, 1.0, 0.0));
        assert_eq!(again.wander(), bank.wander());
        assert_eq!(again.offset().0, 5.0);
    }

    #[test]
    fn the_leader_is_kept_where_it_cannot_become_the_middle() {
        // At the largest wander there is, the filter that expects more has all the evidence.
        let (bank, _) = follow(1.0, 100.0, 10);
        let mut bank = PhaseBank {
            evidence: [-1_000.0, -1_010.0, 0.0],
            wander: bank.most,
            ..bank
        };
        bank.follow();
        assert!(bank.offset().0.is_finite());
        assert_eq!(bank.evidence[2], 0.0);
    }

    #[test]
    fn a_mixture_worked_out_by_hand() {
        let (bank, _) = follow(1.0, 100.0, 10);
        // Three offsets at weights ½, ½, 0: the mean of two, and their distance in the variance.
        let mut bank = bank.restarted(&PhaseFilter::new(0.0, 0.0, 2.0, 0.0, 1.0, 0.0));
        bank.wander = bank.typical;
        bank.expect();
        bank.evidence = [bank.strange[0], bank.strange[1], -1e3];
        let (mean, variance) = bank.mixed(&[(1.0, 4.0), (3.0, 4.0), (100.0, 4.0)]);
        assert!((mean - 2.0).abs() < 1e-9 && (variance - 5.0).abs() < 1e-6);
    }
}
