//! The default strategy: one filter of our own oscillator against the network's clock.

use serde::{Deserialize, Serialize};
use serde_big_array::BigArray;

use crate::consensus::consistency::Consistency;
use crate::consensus::influence::{Average, corroborated, in_common};
use crate::consensus::stats::Sample;
use crate::consensus::{
    Combine, Correction, Gain, MAX_READINGS, Observation, Reading, Round, Verdict,
};
use crate::link::{Floor, PhaseBank, PhaseFilter};
use crate::time::{Rate, RawTime, Span, VirtualLine, VirtualTime};

/// What the oscillator's wander is taken to be until it is measured, ns/s per √s, and what it is
/// taken for at least and at most.
const TYPICAL_WANDER: f64 = 1.0;
const WANDERS: (f64, f64) = (0.01, 10.0);

/// The clock takes in what was observed within this share of the time that the filter averages
/// over, but neither sooner nor later than this.
const PACE: f64 = 1.0 / 16.0;
const PACES: (Span, Span) = (Span::from_millis(250), Span::from_secs(1));

/// How long the past counts in a neighbour's bias, in observations: 1/(1 − this).
const BIAS_MEMORY: f32 = 0.98;

/// The same of its last exchanges: they tell sooner that a neighbour has changed.
const RECENT_MEMORY: f32 = 0.9;

/// Who was off by more sigma than this lately is no longer what it was known for.
const RECENT_SIGMAS: f64 = 2.0;

/// Who changes lately may change further: it counts as if it were so many times as far off.
const CHANGED: f64 = 2.0;

/// A neighbour that is refused is remembered for so many rounds: who comes and goes is not new.
const REMEMBERED: u8 = 8;

/// A bias of fewer sigma than this is left in: it may be chance.
const BIAS_SIGMAS: f64 = 2.0;

/// The variance of our error is so many times what the filter believes: the others' errors are
/// not independent of ours and of each other, as it takes them to be.
const TOGETHER: f64 = 1.8;

/// No exchange tells how well the filter does to better than this share of the queue.
const WITNESS: f64 = 0.25;

/// What links disagree by for good, our own clock may be off by in this proportion: by the mean of
/// few asymmetries, or because the others are of two minds.
const UNSEEN: f64 = 0.85;

/// One filter (offset and rate of the network's clock against our oscillator) that takes in every
/// exchange with every believed neighbour as it comes.
///
/// Filtering each link first and averaging then, as [`super::RobustMean`] does, tracks our own
/// oscillator with the few samples of each link, as often as there are links; here it is tracked
/// once with all of them. An exchange at `t` with a neighbour whose clock says `v` measures
/// `v(t) − N(t)`, `N` being the network's clock: with the delays' noise
/// ([`crate::link::Likelihood`]), the neighbour's own error, taken to be as large as ours, and the
/// bias of the link.
///
/// *Bias.* Asymmetric paths make links disagree for ever. What a neighbour is off by on average is
/// taken out as far as it is no chance, but for what all have in common (their mean
/// without the `f` outermost on each side, `n > 3f`): whoever insists on another time than the others
/// counts, but by 1/n and no more, however precise it looks.
///
/// *Surprise.* An exchange that is far from all that was expected counts only if more neighbours
/// than can be lying are surprised alike; who is honest for years and turns moves nobody.
///
/// *Wander.* How much our oscillator wanders is told by which of three filters that expect more
/// and less foretold the exchanges best ([`PhaseBank`]).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ensemble<const MOST: usize = MAX_READINGS> {
    /// What the filter's offset and rate are relative to: straight, without slew.
    base: VirtualLine,
    epoch: RawTime,
    filter: PhaseBank,
    #[serde(with = "BigArray")]
    biases: [Bias; MOST],
    /// What all biases have in common, ns.
    common: f64,
    /// One sigma of what the biases leave unknown, ns.
    bias_sigma: f64,
    /// Whether the filter knows as much as it believes.
    consistency: Consistency,
    /// Who counted in the last round, ourselves included.
    used: usize,
}

/// How a neighbour's clock, seen through its link, differs from the network's on average.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Bias {
    key: u64,
    /// ns; of no weight if the place is free.
    mean: Average,
    recent: Average,
    /// What of it is taken out, ns.
    applied: f32,
    /// Delay of the empty path and its variance, as seen from the network's clock: better known
    /// than from the neighbour's oscillator alone. ns, ns².
    floor: f32,
    floor_variance: f32,
    /// By how much the last exchange was a surprise, ns.
    surprise: f32,
    /// Rounds in a row that did not believe it.
    refused: u8,
}

impl Bias {
    fn is_known(&self) -> bool {
        !self.mean.is_empty()
    }

    fn is_believed(&self) -> bool {
        self.is_known() && self.refused == 0
    }
}

impl<const MOST: usize> Default for Ensemble<MOST> {
    fn default() -> Self {
        let start = RawTime::from_nanos(0);
        Self {
            base: VirtualLine::new(start, VirtualTime::from_nanos(0), Rate::ZERO),
            epoch: start,
            filter: PhaseBank::new(
                &PhaseFilter::new(0.0, 0.0, 1e9, 0.0, 1e5, TYPICAL_WANDER),
                TYPICAL_WANDER,
                WANDERS,
            ),
            biases: [Bias::default(); MOST],
            common: 0.0,
            bias_sigma: 0.0,
            consistency: Consistency::default(),
            used: 1,
        }
    }
}

impl<const MOST: usize> Combine for Ensemble<MOST> {
    fn join(&mut self, now: RawTime, line: &VirtualLine, sigma: f64, rate_sigma: f64) {
        let (origin, epoch, fraction) = line.anchored_at(now).origin();
        self.base = VirtualLine::new(origin, epoch, line.rate()).with_fraction(fraction);
        self.epoch = now;
        let belief = PhaseFilter::new(0.0, 0.0, sigma, 0.0, 1e9 * rate_sigma, 0.0);
        self.filter = self.filter.restarted(&belief);
        self.biases = [Bias::default(); MOST];
        self.consistency = Consistency::default();
    }

    fn observe(&mut self, seen: &Observation) {
        let at = (seen.at - self.epoch).as_secs_f64();
        let (base, fraction) = self.base.at_exact(seen.at);
        let offset = (seen.clock.0 - base).as_nanos_f64() + (seen.clock.1 - fraction);
        let (believed, own) = self.filter.at(at).offset();
        // The others are as far off as we are.
        let variance = own + seen.stamp_sigma * seen.stamp_sigma;
        let sigma = seen.likelihood.sigma();
        let weight = 1.0 / (sigma * sigma + variance + own);
        let variance = own + seen.stamp_sigma * seen.stamp_sigma;
        let common = self.common;
        let Some(place) = self.place(seen.key) else {
            return;
        };
        let bias = &mut self.biases[place];
        bias.key = seen.key;
        // The link notices when its route changes.
        let known = seen.likelihood.floor;
        let moved = (f64::from(bias.floor) - known.mean).abs();
        if !bias.is_known() || moved > seen.likelihood.queue.max(5.0 * known.variance.sqrt()) {
            bias.floor = known.mean as f32;
            bias.floor_variance = known.variance as f32;
        }
        let (apart, weight) = ((offset - believed) as f32, weight as f32);
        bias.mean.push(apart, weight, BIAS_MEMORY);
        bias.recent.push(apart, weight, RECENT_MEMORY);
        let middle = offset - f64::from(bias.applied);
        // Who is off by no chance and for no reason that is known yet, a newcomer perhaps, hardly
        // counts.
        let (recent, applied) = (bias.recent, f64::from(bias.applied));
        let mut strange = bias.mean.away(applied + common, BIAS_SIGMAS);
        if recent.away(applied + common, RECENT_SIGMAS) > 0.0 {
            // Unless it is we who changed, and all others are as far off.
            let lately = self.lately();
            strange = strange.max(CHANGED * recent.away(applied + lately, RECENT_SIGMAS));
        }
        // A packet that seems to have come at once is not that much better a witness.
        let witness = WITNESS * seen.likelihood.queue;
        self.consistency.push(
            middle - believed,
            variance + sigma * sigma + witness * witness,
        );
        let bias = &mut self.biases[place];
        let variance = variance + strange * strange;
        let mut likelihood = seen.likelihood;
        likelihood.floor = Floor {
            mean: f64::from(bias.floor),
            variance: f64::from(bias.floor_variance) + likelihood.restless(),
        };
        let surprise = likelihood.surprise(middle - believed, variance + own);
        bias.surprise = surprise as f32;
        if surprise != 0.0 && !corroborated(surprise, self.surprises()) {
            return;
        }
        let told = self.filter.observe(at, middle, variance, &likelihood).floor;
        if surprise != 0.0 {
            // The others' are less of a surprise by as much as we moved.
            let moved = self.filter.at(at).offset().0 - believed;
            for bias in self.biases.iter_mut().filter(|b| b.surprise != 0.0) {
                bias.surprise -= moved as f32;
            }
        }
        let bias = &mut self.biases[place];
        (bias.floor, bias.floor_variance) = (told.mean as f32, told.variance as f32);
    }

    fn pace(&self) -> Option<Span> {
        // Offsets of one sigma gather in this time by wander alone.
        let (_, variance) = self.filter.offset();
        let wander = self.filter.wander();
        let averaged = (variance / (wander * wander)).cbrt();
        let pace = Span::from_nanos_f64(1e9 * PACE * averaged);
        Some(pace.clamp(PACES.0, PACES.1))
    }

    fn refine(&mut self, now: RawTime, line: &VirtualLine) -> Correction {
        let at = (now - self.epoch).as_secs_f64();
        self.filter = self.filter.at(at);
        let ((offset, variance), (rate, _)) = (self.filter.offset(), self.filter.rate());
        self.filter.rebase(offset, rate);
        let rate = self.base.rate() + Rate::from_fraction(1e-9 * rate);
        self.base = self.base.stepped(now, offset).with_rate(now, rate);
        let (base, fraction) = self.base.at_exact(now);
        let (own, own_fraction) = line.at_exact(now);
        Correction {
            offset: (base - own).as_nanos_f64() + (fraction - own_fraction),
            sigma: (TOGETHER * variance + self.consistency.unknown())
                .sqrt()
                .hypot(self.bias_sigma),
            rate: (rate - line.rate()).as_fraction(),
            used: self.used,
            gain: Some(Gain {
                offset: 1.0,
                rate: 1.0,
            }),
        }
    }

    fn combine(&mut self, round: &Round<'_>) -> Correction {
        self.weigh_biases(round.readings, round.verdicts);
        self.used = 1 + round.used().count();
        self.refine(round.now, &round.line)
    }

    fn lean(&mut self, now: RawTime, change: f64) {
        let rate = self.base.rate() + Rate::from_fraction(change);
        self.base = self.base.with_rate(now, rate);
    }

    fn wander(&self) -> Option<f64> {
        Some(1e-9 * self.filter.wander())
    }
}

impl<const MOST: usize> Ensemble<MOST> {
    /// Where the bias of the neighbour with this key is or can be; `None` if there are too many
    /// neighbours.
    fn place(&self, key: u64) -> Option<usize> {
        let mut known = self.biases.iter();
        let known = known.position(|b| b.key == key && b.is_known());
        known.or_else(|| self.biases.iter().position(|b| !b.is_known()))
    }

    /// By how much each neighbour's last exchange was a surprise, and our own clock, ns.
    fn surprises(&self) -> Sample {
        let believed = self.biases.iter().filter(|b| b.is_believed());
        let own = std::iter::once(0.0);
        believed.map(|b| f64::from(b.surprise)).chain(own).collect()
    }

    /// What the last few exchanges with all neighbours have in common beyond their biases, ns.
    fn lately(&self) -> f64 {
        let believed = self.biases.iter().filter(|b| b.is_believed());
        let own = std::iter::once(0.0);
        let apart = believed.map(|b| b.recent.value() - f64::from(b.applied));
        in_common(&mut apart.chain(own).collect())
    }

    /// Forget who is refused for long, and decide what of the others' biases is no chance.
    fn weigh_biases(&mut self, readings: &[Reading], verdicts: &[Verdict]) {
        // They are brought into the order of the readings, so that the next round finds each at once.
        let mut kept = 0;
        let pairs = readings.iter().zip(verdicts);
        for (reading, _) in pairs.filter(|(_, verdict)| **verdict == Verdict::Used) {
            let theirs = |b: &Bias| b.is_known() && b.key == reading.key;
            if let Some(further) = self.biases[kept..].iter().position(theirs) {
                self.biases.swap(kept, kept + further);
                self.biases[kept].refused = 0;
                kept += 1;
            }
        }
        for bias in self.biases[kept..].iter_mut().filter(|b| b.is_known()) {
            // Who says that it is not synchronized starts over.
            let refused = readings
                .iter()
                .zip(verdicts)
                .any(|(reading, verdict)| reading.key == bias.key && *verdict != Verdict::NotReady);
            if refused && bias.refused < REMEMBERED {
                bias.refused += 1;
            } else {
                *bias = Bias::default();
            }
        }
        let believed = &mut self.biases[..kept];
        let own = std::iter::once(0.0);
        let mut means: Sample = believed.iter().map(|b| b.mean.value()).chain(own).collect();
        let common = in_common(&mut means);
        self.common = common;
        let clocks = means.len() as f64;
        let mut squares = 0.0;
        for bias in believed {
            let apart = bias.mean.value() - common;
            let chance = BIAS_SIGMAS * BIAS_SIGMAS * bias.mean.variance();
            bias.applied = (apart * (1.0 - chance / (apart * apart)).max(0.0)) as f32;
            squares += f64::from(bias.applied).powi(2);
        }
        self.bias_sigma = UNSEEN * (squares / clocks).sqrt();
    }
}
