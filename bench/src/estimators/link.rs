//! One link alone: each estimator against a fixed peer, without a network around it.
//!
//! Two simulated hosts exchange packets as nodes do, over the paths, oscillators and stamps of a
//! scenario. What is judged is the estimate of the raw clocks' offset, which no consensus averages
//! and no clock follows.

use std::num::NonZeroUsize;

use parisync::link::estimators::{AnyEstimator, EstimatorKind};
use parisync::link::{Link, OneWay, OscillatorSpec};
use parisync::node::{RawStamp, SIGMAS_99_9};
use parisync::time::RawTime;
use serde::Serialize;

use super::{Estimate, work};
use crate::progress::Progress;
use crate::scenario::Scenario;
use crate::sim::{Oscillator, Paths, Random, StampModel, quantile};

/// The peer answers this long after it was asked, ns.
const TURNAROUND: i64 = 5_000;

/// Between the exchanges of a burst, ns.
const PAUSE: i64 = 200_000;

/// Between two looks, ns: in step with no poll.
const LOOK_EVERY: i64 = 271_000_000;

/// What one estimator came to on the link of one scenario; means over seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LinkRow {
    /// The scenario.
    pub scenario: String,
    /// The estimator.
    pub estimator: String,
    /// Runs it is made of.
    pub seeds: usize,
    /// Error of the offset, ns.
    pub rms_ns: Estimate,
    /// 99 % of the errors are within this, ns.
    pub p99_ns: f64,
    /// Median of what the estimator says is one sigma, ns.
    pub sigma_p50_ns: f64,
    /// Share of the errors within that sigma; 0.68 if it is right and they are Gaussian.
    pub within_sigma: f64,
    /// Share of the errors beyond 3.29 sigma; 0.001 if it is right and they are Gaussian.
    pub beyond_3_29_sigma: f64,
    /// Half width of the guaranteed interval, median, ns.
    pub interval_p50_ns: f64,
    /// Intervals that did not hold the truth, in all runs together.
    pub interval_violations: usize,
}

/// What one run came to.
struct Run {
    rms: f64,
    p99: f64,
    sigma: f64,
    within: f64,
    beyond: f64,
    interval: f64,
    violations: usize,
}

/// Every estimator on the link of every scenario that is about links: without liars and events.
pub fn links(
    scenarios: &[Scenario],
    estimators: &[EstimatorKind],
    seeds: u64,
    threads: NonZeroUsize,
) -> Vec<LinkRow> {
    let about_links = |s: &&Scenario| s.liars.is_empty() && s.events.is_empty();
    let mut jobs = Vec::new();
    for scenario in scenarios.iter().filter(about_links) {
        for &estimator in estimators {
            jobs.push((scenario, estimator));
        }
    }
    let cost = |job: &(&Scenario, EstimatorKind)| job.0.seconds as u64;
    let progress = Progress::new("one link each", jobs.iter().map(cost).sum());
    let rows = work::all(&jobs, threads, &progress, cost, |(scenario, estimator)| {
        let runs: Vec<Run> = (1..=seeds)
            .map(|seed| run(scenario, seed, *estimator))
            .collect();
        summed(scenario, *estimator, &runs)
    });
    progress.finish();
    rows
}

fn summed(scenario: &Scenario, estimator: EstimatorKind, runs: &[Run]) -> LinkRow {
    let mean = |value: fn(&Run) -> f64| runs.iter().map(value).sum::<f64>() / runs.len() as f64;
    let rms: Vec<f64> = runs.iter().map(|run| run.rms).collect();
    LinkRow {
        scenario: scenario.name.clone(),
        estimator: estimator.to_string(),
        seeds: runs.len(),
        rms_ns: Estimate::of(&rms),
        p99_ns: mean(|r| r.p99),
        sigma_p50_ns: mean(|r| r.sigma),
        within_sigma: mean(|r| r.within),
        beyond_3_29_sigma: mean(|r| r.beyond),
        interval_p50_ns: mean(|r| r.interval),
        interval_violations: runs.iter().map(|r| r.violations).sum(),
    }
}

/// Two hosts and the paths between them.
struct Pair {
    ours: Oscillator,
    theirs: Oscillator,
    paths: Paths,
    stamps: StampModel,
    random: Random,
}

impl Pair {
    fn new(scenario: &Scenario, seed: u64) -> Self {
        let clock = |host| Oscillator::new(&scenario.oscillator, Random::new(seed, host));
        Self {
            ours: clock(1),
            theirs: clock(2),
            paths: Paths::new(&scenario.paths, 2, seed),
            stamps: scenario.stamps.clone(),
            random: Random::new(seed, 3),
        }
    }

    /// Ask at true time `at` and be answered: the two packets and when the answer came, unless one
    /// is lost.
    fn exchange(&mut self, at: i64) -> Option<(OneWay, OneWay, i64)> {
        let asked = at + self.paths.packet(0, 1, at)? as i64;
        let answered = asked + TURNAROUND;
        let back = answered + self.paths.packet(1, 0, answered)? as i64;
        let (stamps, random) = (&self.stamps, &mut self.random);
        let error = |a: RawStamp, b: RawStamp| a.error + b.error;
        let t1 = stamps.departure(self.ours.read(at), random);
        let t2 = stamps.arrival(self.theirs.read(asked), random);
        let t3 = stamps.departure(self.theirs.read(answered), random);
        let t4 = stamps.arrival(self.ours.read(back), random);
        Some((
            OneWay::forward(t1.at, t2.at, error(t1, t2)),
            OneWay::reverse(t3.at, t4.at, error(t3, t4)),
            back,
        ))
    }
}

fn run(scenario: &Scenario, seed: u64, kind: EstimatorKind) -> Run {
    let mut pair = Pair::new(scenario, seed);
    let mut link = Link::<AnyEstimator>::new(kind, OscillatorSpec::default());
    let poll = scenario.exchange.poll.0 as i64;
    let end = (scenario.seconds * 1e9) as i64;
    let from = (scenario.settle * 1e9) as i64;
    let (mut next_poll, mut left, mut next_look) = (0, scenario.exchange.burst, LOOK_EVERY);
    let mut seen = Seen::default();
    while next_look < end {
        if next_poll > next_look {
            if next_look >= from {
                seen.look(&mut pair, &link, next_look);
            }
            next_look += LOOK_EVERY;
            continue;
        }
        let mut done = next_poll;
        if let Some((forward, reverse, back)) = pair.exchange(next_poll) {
            link.limit(&forward);
            link.limit(&reverse);
            link.exchange(&forward, &reverse);
            done = back;
        }
        left -= 1;
        next_poll = if left > 0 {
            done + (PAUSE as f64 * (0.5 + pair.random.unit())) as i64
        } else {
            left = scenario.exchange.burst;
            // Polls jitter by a tenth, as those of a node.
            next_poll + (poll as f64 * (0.95 + 0.1 * pair.random.unit())) as i64
        };
    }
    seen.sum_up()
}

/// What was seen so far.
#[derive(Default)]
struct Seen {
    looks: usize,
    errors: Vec<f64>,
    sigmas: Vec<f64>,
    widths: Vec<f64>,
    within: usize,
    beyond: usize,
    violations: usize,
}

impl Seen {
    fn look(&mut self, pair: &mut Pair, link: &Link<AnyEstimator>, at: i64) {
        let ours = pair.ours.read(at).round();
        let Some(estimate) = link.estimate(RawTime::from_nanos(ours as i64)) else {
            return;
        };
        // The truth at the instant at which our clock shows that whole nanosecond.
        let truth = pair.theirs.read(at) - pair.ours.read(at);
        let reference = estimate.reference as f64;
        let off = (truth - reference) - estimate.belief.offset;
        let sigma = estimate.belief.offset_sigma;
        self.looks += 1;
        self.errors.push(off.abs());
        self.sigmas.push(sigma);
        self.widths.push(0.5 * estimate.interval.width());
        self.within += usize::from(off.abs() <= sigma);
        self.beyond += usize::from(off.abs() > SIGMAS_99_9 * sigma);
        let (lower, upper) = (estimate.interval.lower, estimate.interval.upper);
        // Whole nanoseconds of our clock are not worth a violation.
        let inside = (lower - 1.0..=upper + 1.0).contains(&(truth - reference));
        self.violations += usize::from(!inside);
    }

    fn sum_up(mut self) -> Run {
        let looks = self.looks.max(1) as f64;
        let squares: f64 = self.errors.iter().map(|e| e * e).sum();
        Run {
            rms: if self.looks > 0 {
                (squares / looks).sqrt()
            } else {
                f64::NAN
            },
            p99: quantile(&mut self.errors, 0.99),
            sigma: quantile(&mut self.sigmas, 0.5),
            within: self.within as f64 / looks,
            beyond: self.beyond as f64 / looks,
            interval: quantile(&mut self.widths, 0.5),
            violations: self.violations,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::parse;
    use std::path::Path;

    fn on(text: &str) -> LinkRow {
        let head = "name = \"x\"\nwhy = \"y\"\nseconds = 300\nsettle = 60\n";
        let scenario = parse(&format!("{head}{text}"), Path::new("x.toml")).unwrap();
        let one = NonZeroUsize::MIN;
        let rows = links(&[scenario], &[EstimatorKind::Kalman], 2, one);
        rows.into_iter().next().unwrap()
    }

    #[test]
    fn an_empty_path_is_known_to_the_rounding() {
        let row = on("oscillator = { wander = \"0ppb\" }\n\
             paths = { delay = { exponential = { least = \"10us\", mean = \"0ns\" } } }");
        assert!(row.rms_ns.mean < 1.0, "{row:?}");
        // Half a round trip, the errors that stamps claim, and what crystals might have wandered.
        assert!(
            (10_000.0..10_500.0).contains(&row.interval_p50_ns),
            "{row:?}"
        );
        assert_eq!(row.interval_violations, 0);
        assert_eq!(row.beyond_3_29_sigma, 0.0);
    }

    #[test]
    fn a_slow_way_back_shifts_the_estimate_by_half() {
        let row = on("oscillator = { wander = \"0ppb\" }\n\
             [paths]\ndelay = { exponential = { least = \"10us\", mean = \"0ns\" } }\n\
             routes = { longer = \"4us\", stay = \"100000h\", one_way = true }");
        // Whichever route the seeds drew at the start: none or half of 4 µs.
        let rms = row.rms_ns.mean;
        let near = |value: f64| (rms - value).abs() < 10.0;
        assert!(near(0.0) || near(1_000.0) || near(2_000.0), "{row:?}");
        assert_eq!(row.interval_violations, 0);
    }
}
