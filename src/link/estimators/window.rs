//! The samples a line goes through: the last N, or fewer if the oscillators wander more than the
//! samples scatter.

use super::fit::{Fit, Moments, Prior};
use super::ring::Ring;
use crate::link::{Belief, Interval, OscillatorSpec};

/// One sample of the offset, or of a limit on it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sample {
    /// Seconds since the link's epoch.
    pub(super) at: f64,
    /// ns.
    pub(super) offset: f64,
    /// What the sample claims, ns².
    pub(super) variance: f32,
    /// For limits: from above.
    pub(super) forward: bool,
}

impl Sample {
    /// How far on its own side of the line a limit is, ns.
    pub(super) fn distance(&self, line: &Fit) -> f64 {
        let residual = line.residual(self.at, self.offset);
        if self.forward { residual } else { -residual }
    }
}

/// A window of samples and the line through them.
#[derive(Debug, Clone)]
pub(super) struct Window<const N: usize> {
    pub(super) prior: Prior,
    samples: Ring<Sample, N>,
    fit: Option<Fit>,
    /// Samples that are kept however old they are.
    fewest: u16,
    /// Samples that are too old.
    old: u16,
}

impl<const N: usize> Window<N> {
    /// A line that goes through the last `fewest` samples, however old they are.
    pub(super) fn new(spec: &OscillatorSpec, fewest: u16) -> Self {
        Self {
            prior: Prior::new(spec),
            samples: Ring::new(),
            fit: None,
            fewest,
            old: 0,
        }
    }

    /// Adds the sample of this instant and offset, good to `sigma` ns; of limits, whether it is one
    /// from above.
    pub(super) fn push(&mut self, at: f64, offset: f64, sigma: f64, forward: bool) {
        self.samples.push(Sample {
            at,
            offset,
            variance: (sigma * sigma) as f32,
            forward,
        });
    }

    pub(super) fn len(&self) -> usize {
        self.samples.len()
    }

    pub(super) fn newest(&self) -> Option<&Sample> {
        self.samples.newest()
    }

    /// Finds out which samples are young enough for the best line's end ([`Prior::window`]), before
    /// lines are drawn through them.
    pub(super) fn settle(&mut self) {
        let (mut sum, mut first, mut last) = (0.0, f64::INFINITY, f64::NEG_INFINITY);
        for sample in self.samples.iter() {
            sum += f64::from(sample.variance);
            (first, last) = (first.min(sample.at), last.max(sample.at));
        }
        let count = self.samples.len();
        let scatter = self.fit.map_or(1.0, |fit| fit.scatter);
        let spacing = (last - first) / (count.max(2) - 1) as f64;
        let reach = self.prior.window(scatter * sum / count as f64, spacing);
        let most = count.saturating_sub(usize::from(self.fewest));
        let oldest = self.samples.iter().take(most);
        self.old = oldest.take_while(|s| last - s.at > reach).count() as u16;
    }

    /// The samples that are young enough, oldest first.
    pub(super) fn recent(&self) -> impl Iterator<Item = &Sample> + Clone {
        self.samples.iter().skip(usize::from(self.old))
    }

    /// A line through the recent samples.
    pub(super) fn fit_line(&mut self) {
        let mut sums = Moments::default();
        for sample in self.recent() {
            sums.add(sample.at, sample.offset, f64::from(sample.variance));
        }
        self.fit = Fit::line(&sums, &self.prior);
    }

    /// A line halfway between the recent limits from above and from below that `keep` lets pass.
    pub(super) fn fit_between(&mut self, keep: impl Fn(&Sample) -> bool) {
        let (mut above, mut below) = (Moments::default(), Moments::default());
        for sample in self.recent().filter(|sample| keep(sample)) {
            let side = if sample.forward {
                &mut above
            } else {
                &mut below
            };
            side.add(sample.at, sample.offset, f64::from(sample.variance));
        }
        self.set_fit(Fit::between(&above, &below, &self.prior));
    }

    /// The distance from the line below which this share of the recent limits is, ns.
    pub(super) fn quantile(&self, line: &Fit, share: f64) -> f64 {
        let mut distances = [0.0; N];
        let mut count = 0;
        for (slot, sample) in distances.iter_mut().zip(self.recent()) {
            *slot = sample.distance(line);
            count += 1;
        }
        if count == 0 {
            return 0.0;
        }
        let rank = (share * count as f64) as usize;
        let (_, value, _) = distances[..count].select_nth_unstable_by(rank, f64::total_cmp);
        *value
    }

    pub(super) fn fit(&self) -> Option<&Fit> {
        self.fit.as_ref()
    }

    pub(super) fn set_fit(&mut self, fit: Option<Fit>) {
        self.fit = fit.or(self.fit);
    }

    /// ns per second, 0 before it is known.
    pub(super) fn rate(&self) -> f64 {
        self.fit.map_or(0.0, |fit| fit.rate())
    }

    pub(super) fn belief(&self, at: f64) -> Option<Belief> {
        self.fit.map(|fit| fit.belief(at, &self.prior))
    }

    /// If the line contradicts what is possible, the older half of the samples is from another
    /// time: forget it, and move the line.
    pub(super) fn confine(&mut self, at: f64, interval: &Interval) {
        let prior = self.prior;
        if let Some(fit) = &mut self.fit
            && fit.confine(at, interval, &prior)
        {
            self.samples.drop_oldest(self.samples.len() / 2);
            self.old = 0;
        }
    }
}
