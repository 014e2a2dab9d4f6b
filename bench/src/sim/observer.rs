//! What is seen of a network by one who knows the truth.

use parisync::consensus::{Combine, Reading, window};
use parisync::link::LinkEstimator;
use parisync::present::histogram;
use parisync::wire::{ClockState, Tier};
use serde::Serialize;

use super::network::{Shown, Sim};

/// The optimum of the guaranteed bound is worked out at every so many-th look.
const OPTIMUM_EVERY: usize = 8;

/// Whose clocks count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// All that are watched, whatever they say of themselves.
    All,
    /// Of those the ones that call themselves synchronized.
    Synchronized,
}

/// Watches some hosts of a network, all of them honest, and keeps account.
///
/// The network's clock is the mean of the clocks that count for the errors, and for the bounds the
/// median of those that call themselves synchronized, as the guaranteed bound defines it. With an even number of clocks any value between
/// the two in the middle is the median, and a bound has to hold for either.
#[derive(Debug, Clone)]
pub struct Observer {
    hosts: Vec<usize>,
    count: Count,
    /// Looks before this many seconds only tell when the network had settled.
    from: f64,
    /// Clocks farther apart than this, ns, have not settled.
    settled_within: f64,
    unsettled: Option<f64>,
    looks: usize,
    squares: f64,
    samples: usize,
    synchronized: usize,
    worst: Vec<f64>,
    bounds: Vec<f64>,
    statistical: Vec<f64>,
    /// Guaranteed bound over the optimum.
    ratios: Vec<f64>,
    violations: usize,
    statistical_violations: usize,
}

impl Observer {
    /// Of `hosts`, all that `count` says.
    pub const fn new(hosts: Vec<usize>, count: Count) -> Self {
        Self {
            hosts,
            count,
            from: 0.0,
            settled_within: 10_000.0,
            unsettled: None,
            looks: 0,
            squares: 0.0,
            samples: 0,
            synchronized: 0,
            worst: Vec::new(),
            bounds: Vec::new(),
            statistical: Vec::new(),
            ratios: Vec::new(),
            violations: 0,
            statistical_violations: 0,
        }
    }

    /// Leave out what is seen before `from` seconds, and call a network settled when its clocks
    /// are within `nanos` ns of each other.
    pub const fn settling(mut self, from: f64, nanos: f64) -> Self {
        (self.from, self.settled_within) = (from, nanos);
        self
    }

    /// Look at all clocks now.
    pub fn look<E: LinkEstimator, C: Combine>(&mut self, sim: &mut Sim<E, C>) {
        let mut shown: Vec<(usize, Shown)> = Vec::with_capacity(self.hosts.len());
        for &n in &self.hosts {
            if !sim.is_down(n) {
                shown.push((n, sim.clock(n)));
            }
        }
        let is_synchronized = |shown: &Shown| shown.view.state == ClockState::Synchronized;
        let agreed = sorted_errors(&shown, is_synchronized);
        let errors = match self.count {
            Count::All => sorted_errors(&shown, |_| true),
            Count::Synchronized => agreed.clone(),
        };
        let worst = match (errors.first(), errors.last()) {
            (Some(least), Some(most)) => most - least,
            _ => f64::INFINITY,
        };
        let synchronized = agreed.len();
        if worst > self.settled_within || synchronized < shown.len() {
            self.unsettled = Some(sim.now());
        }
        if sim.now() < self.from {
            return;
        }
        self.looks += 1;
        self.synchronized += synchronized;
        self.samples += shown.len();
        if errors.is_empty() {
            return;
        }
        self.worst.push(worst);
        let mean = errors.iter().sum::<f64>() / errors.len() as f64;
        self.squares +=
            errors.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / errors.len() as f64;
        // Where nobody is synchronized, the network's clock is whatever there is.
        let agreed = if agreed.is_empty() { &errors } else { &agreed };
        let median = (agreed[(agreed.len() - 1) / 2], agreed[agreed.len() / 2]);
        for (n, shown) in &shown {
            self.bounds_of(sim, *n, shown, median);
        }
    }

    fn bounds_of<E: LinkEstimator, C: Combine>(
        &mut self,
        sim: &mut Sim<E, C>,
        n: usize,
        shown: &Shown,
        median: (f64, f64),
    ) {
        let off = (shown.error - median.0)
            .abs()
            .max((shown.error - median.1).abs());
        if let Some(bound) = shown.view.bound_at(shown.raw) {
            let bound = bound.as_nanos_f64();
            self.bounds.push(bound);
            self.violations += usize::from(off > bound);
            if self.looks.is_multiple_of(OPTIMUM_EVERY)
                && let Some(optimum) = best_bound(sim, n, shown)
            {
                self.ratios.push(bound / optimum);
            }
        }
        if let Some(bound) = shown.view.statistical_at(shown.raw) {
            let bound = bound.as_nanos_f64();
            self.statistical.push(bound);
            self.statistical_violations += usize::from(off > bound);
        }
    }

    /// What it comes to.
    pub fn figures(mut self) -> Figures {
        // Nothing seen is no number, not zero.
        let looks = self.worst.len() as f64;
        let given = self.statistical.len().max(1) as f64;
        Figures {
            samples: self.samples,
            synchronized: self.synchronized,
            rms: (self.squares / looks).sqrt(),
            worst_p50: quantile(&mut self.worst, 0.5),
            worst_p99: quantile(&mut self.worst, 0.99),
            worst_skew: quantile(&mut self.worst, 1.0),
            settled: self.unsettled.unwrap_or(0.0),
            bound_p50: quantile(&mut self.bounds, 0.5),
            bound_ratio: quantile(&mut self.ratios, 0.5),
            violations: self.violations,
            statistical_p50: quantile(&mut self.statistical, 0.5),
            statistical_violations: self.statistical_violations as f64 / given,
        }
    }
}

/// What was observed; ns and seconds. NaN where there was nothing to see.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Looks times hosts.
    pub samples: usize,
    /// Of these, the ones whose node called itself synchronized.
    pub synchronized: usize,
    /// Of the deviations of the clocks that count from their mean.
    pub rms: f64,
    /// Largest difference between any two of them, at half of the looks at most.
    pub worst_p50: f64,
    /// The same at 99 % of the looks.
    pub worst_p99: f64,
    /// The same ever.
    pub worst_skew: f64,
    /// After this many seconds all were synchronized and near each other for good.
    pub settled: f64,
    /// Guaranteed bound, median.
    pub bound_p50: f64,
    /// Guaranteed bound over the least that causality allows, median.
    pub bound_ratio: f64,
    /// Guaranteed bounds that did not hold.
    pub violations: usize,
    /// Statistical bound, median.
    pub statistical_p50: f64,
    /// Share of the statistical bounds that did not hold.
    pub statistical_violations: f64,
}

/// The errors of the clocks that count, in order.
fn sorted_errors(shown: &[(usize, Shown)], counts: impl Fn(&Shown) -> bool) -> Vec<f64> {
    let counting = shown.iter().filter(|(_, shown)| counts(shown));
    let mut errors: Vec<f64> = counting.map(|(_, shown)| shown.error).collect();
    errors.sort_by(f64::total_cmp);
    errors
}

/// The least guaranteed bound that node `n` could have: its neighbours' clocks are within what the
/// packets allow that came so far, had each been as quick as its path, and as many may lie as the
/// node has to reckon with.
fn best_bound<E: LinkEstimator, C: Combine>(
    sim: &mut Sim<E, C>,
    n: usize,
    shown: &Shown,
) -> Option<f64> {
    let mut readings = Vec::new();
    for other in sim.neighbours(n) {
        let theirs = sim.clock(other);
        let told = sim.deceit(other).map_or(0.0, |deceit| {
            deceit.shift(n, theirs.view.line.at(theirs.raw))
        });
        let offset = theirs.error + told - shown.error;
        let Some((behind, ahead)) = sim.best_limits(n, other) else {
            continue;
        };
        readings.push(Reading {
            offset,
            sigma: 0.0,
            lower: offset - behind,
            upper: offset + ahead,
            rate: 0.0,
            rate_sigma: 0.0,
            raw_rate: 0.0,
            ready: true,
            key: 0,
            tier: Tier::default(),
        });
    }
    Some(window(&readings)?.bound())
}

/// The value below which this share of `values` is, NaN of none; sorts them.
pub fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    histogram::quantile(values, share).unwrap_or(f64::NAN)
}

impl<E: LinkEstimator, C: Combine> Sim<E, C> {
    /// Run on until `until` seconds and look at `hosts`, whatever their state, every `every`
    /// seconds.
    pub fn observe(&mut self, hosts: &[usize], every: f64, until: f64) -> Figures {
        let mut observer = Observer::new(hosts.to_vec(), Count::All);
        let mut at = self.now();
        while at < until {
            at += every;
            self.run_to(at);
            observer.look(self);
        }
        observer.figures()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::{Delay, PathModel, StampModel, World};
    use crate::units::Nanos;

    #[test]
    fn quantiles_by_hand() {
        let mut values = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!(quantile(&mut values, 0.5), 3.0);
        assert_eq!(quantile(&mut values, 0.99), 5.0);
        assert_eq!(quantile(&mut values, 1.0), 5.0);
        assert_eq!(quantile(&mut values, 0.2), 1.0);
        assert!(quantile(&mut [], 0.5).is_nan());
    }

    /// On equal paths all clocks agree to a few nanoseconds, so each interval is ± the delay, and
    /// so is the median of them: the best bound is the delay of the path.
    #[test]
    fn the_best_bound_is_the_delay_of_equal_paths() {
        let mut sim: Sim = Sim::new(World {
            paths: PathModel {
                delay: Delay::Exponential {
                    least: Nanos(20_000.0),
                    mean: Nanos(1.0),
                },
                ..PathModel::default()
            },
            stamps: StampModel::default(),
            ..World::default()
        });
        sim.run_to(40.0);
        for n in 0..8 {
            let shown = sim.clock(n);
            let best = best_bound(&mut sim, n, &shown).unwrap();
            // Packets are up to a second old, and the frequency is known to 40 us in 40 s.
            assert!((20_000.0..21_500.0).contains(&best), "{best}");
            let given = shown.view.bound_at(shown.raw).unwrap().as_nanos_f64();
            assert!(given >= best, "{given} {best}");
        }
        // A line that is slow one way lets others appear early: the window grows by 8 us on one side,
        // and the clock goes half of the way there.
        sim.paths().lengthen_access(0, 8_000.0, 0.0);
        sim.run_to(400.0);
        let shown = sim.clock(0);
        let best = best_bound(&mut sim, 0, &shown).unwrap();
        assert!((24_000.0..24_600.0).contains(&best), "{best}");
    }

    #[test]
    fn settling_and_counting() {
        let mut sim: Sim = Sim::new(World::default());
        let mut observer =
            Observer::new((0..8).collect(), Count::Synchronized).settling(20.0, 10_000.0);
        for k in 0..80 {
            sim.run_to(f64::from(k) * 0.5);
            observer.look(&mut sim);
        }
        let figures = observer.figures();
        assert!(figures.settled > 1.0 && figures.settled < 15.0);
        // 20.0 to 39.5 seconds are 40 looks.
        assert_eq!((figures.samples, figures.synchronized), (320, 320));
        assert!(figures.rms > 0.0 && figures.rms <= figures.worst_p50);
        assert!(figures.worst_p50 <= figures.worst_p99);
        assert!(figures.worst_p99 <= figures.worst_skew && figures.worst_skew < 1_000.0);
        assert_eq!(figures.violations, 0);
        assert!(figures.bound_ratio >= 1.0, "{figures:?}");
    }
}
