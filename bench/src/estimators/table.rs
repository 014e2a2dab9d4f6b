//! The ablation: scenarios, strategies and seeds to a table of figures.

use parisync::node::Strategies;
use std::num::NonZeroUsize;

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::{run, work};
use crate::limit::{self, Kind, Limit};
use crate::progress::Progress;
use crate::scenario::{Outcome, Scenario};

/// Of a mean over seeds; the interval holds with 95 % (Student's t).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// It may be off by this much; null with a single seed.
    pub plus_minus: Option<f64>,
}

impl Estimate {
    /// Of these values.
    pub fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        let freedom = n - 1.0;
        let plus_minus = StudentsT::new(0.0, 1.0, freedom)
            .ok()
            .filter(|_| freedom >= 1.0)
            .map(|t| t.inverse_cdf(0.975) * (squares / freedom / n).sqrt());
        Self { mean, plus_minus }
    }
}

/// What one strategy came to in one scenario: means over seeds, unless it says otherwise.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The scenario.
    pub scenario: String,
    /// The link estimator.
    pub estimator: String,
    /// The combination.
    pub combine: String,
    /// Runs it is made of.
    pub seeds: usize,
    /// Deviation of the clocks from the network's, ns.
    pub rms_ns: Estimate,
    /// Deviation over that of the same network without its liars, mean over seeds; null where
    /// nobody lies or that was not asked for.
    pub liars_ratio: Option<f64>,
    /// The same with the seed that makes most of it.
    pub liars_ratio_worst: Option<f64>,
    /// Difference of the worst pair, median over time, ns.
    pub worst_p50_ns: f64,
    /// The same at 99 % of the times, ns.
    pub worst_p99_ns: f64,
    /// The same ever, the largest of all seeds, ns.
    pub worst_max_ns: f64,
    /// When all were synchronized and near each other for good, s; the slowest seed.
    pub settled_s: f64,
    /// Share of the time that hosts called themselves synchronized.
    pub synchronized: f64,
    /// Guaranteed bound, median, ns.
    pub guaranteed_p50_ns: f64,
    /// The same over the least that causality allows.
    pub guaranteed_ratio: f64,
    /// Guaranteed bounds that did not hold, in all runs together.
    pub guaranteed_violations: usize,
    /// Statistical bound, median, ns.
    pub statistical_p50_ns: f64,
    /// The same over the rms error.
    pub statistical_ratio: f64,
    /// Share of the statistical bounds that did not hold.
    pub statistical_violations: f64,
    /// Packets sent, a host and second.
    pub packets: f64,
    /// The least rms that any estimator could have, ns; null where there is no limit.
    pub limit_ns: Option<f64>,
    /// What that limit is worth.
    pub limit_kind: Option<Kind>,
    /// The mean rms over that limit.
    pub rms_over_limit: Option<f64>,
}

impl Row {
    fn of(
        scenario: &Scenario,
        strategy: Strategies,
        outcomes: &[Outcome],
        alone: Option<&[Outcome]>,
        limit: Option<&Limit>,
    ) -> Self {
        let n = outcomes.len() as f64;
        let mean = |value: fn(&Outcome) -> f64| outcomes.iter().map(value).sum::<f64>() / n;
        let most = |value: fn(&Outcome) -> f64| outcomes.iter().map(value).fold(0.0, f64::max);
        let rms: Vec<f64> = outcomes.iter().map(|o| o.figures.rms).collect();
        let share = |o: &Outcome| o.figures.synchronized as f64 / o.figures.samples.max(1) as f64;
        let ratios: Option<Vec<f64>> = alone.map(|alone| {
            let without = alone.iter().map(|o| o.figures.rms);
            rms.iter().zip(without).map(|(w, o)| w / o).collect()
        });
        let rms = Estimate::of(&rms);
        Self {
            scenario: scenario.name.clone(),
            estimator: strategy.estimator.to_string(),
            combine: strategy.combine.to_string(),
            seeds: outcomes.len(),
            rms_ns: rms,
            liars_ratio: ratios.as_ref().map(|r| r.iter().sum::<f64>() / n),
            liars_ratio_worst: ratios.map(|r| r.into_iter().fold(0.0, f64::max)),
            worst_p50_ns: mean(|o| o.figures.worst_p50),
            worst_p99_ns: mean(|o| o.figures.worst_p99),
            worst_max_ns: most(|o| o.figures.worst_skew),
            settled_s: most(|o| o.figures.settled),
            synchronized: mean(share),
            guaranteed_p50_ns: mean(|o| o.figures.bound_p50),
            guaranteed_ratio: mean(|o| o.figures.bound_ratio),
            guaranteed_violations: outcomes.iter().map(|o| o.figures.violations).sum(),
            statistical_p50_ns: mean(|o| o.figures.statistical_p50),
            statistical_ratio: mean(|o| o.figures.statistical_p50 / o.figures.rms),
            statistical_violations: mean(|o| o.figures.statistical_violations),
            packets: mean(|o| o.packets),
            limit_ns: limit.map(|limit| limit.rms_ns),
            limit_kind: limit.map(|limit| limit.kind),
            rms_over_limit: limit.map(|limit| rms.mean / limit.rms_ns),
        }
    }
}

/// Runs every strategy in every scenario with the seeds 1 to `seeds`; where hosts lie once more
/// without them if `without_liars`.
pub fn table(
    scenarios: &[Scenario],
    strategies: &[Strategies],
    seeds: u64,
    without_liars: bool,
    threads: NonZeroUsize,
) -> Vec<Row> {
    let compared = |s: &Scenario| s.without_liars().filter(|_| without_liars);
    let alone: Vec<Option<Scenario>> = scenarios.iter().map(compared).collect();
    let mut jobs = Vec::new();
    for (scenario, alone) in scenarios.iter().zip(&alone) {
        for &strategy in strategies {
            for scenario in std::iter::once(scenario).chain(alone) {
                jobs.extend((1..=seeds).map(|seed| (scenario, strategy, seed)));
            }
        }
    }
    let cost = |job: &(&Scenario, Strategies, u64)| work::cost(job.0);
    let progress = Progress::new("simulating", jobs.iter().map(cost).sum());
    let outcomes = work::all(
        &jobs,
        threads,
        &progress,
        cost,
        |(scenario, strategy, seed)| run(*strategy, scenario, *seed),
    );
    progress.finish();
    // Scenarios whose oscillators do not wander have no limit.
    let limits = work::all(
        scenarios,
        threads,
        &Progress::hidden(),
        |_| 1,
        |scenario| limit::of(scenario).ok(),
    );
    let runs = usize::try_from(seeds.max(1)).unwrap_or(usize::MAX);
    let mut outcomes = outcomes.chunks(runs);
    let mut rows = Vec::new();
    for ((scenario, alone), limit) in scenarios.iter().zip(&alone).zip(&limits) {
        for &strategy in strategies {
            let Some(with) = outcomes.next() else { break };
            let without = alone.as_ref().and_then(|_| outcomes.next());
            rows.push(Row::of(scenario, strategy, with, without, limit.as_ref()));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::find;

    #[test]
    fn the_interval_of_a_mean_by_the_book() {
        // Five values with mean 3 and s = √2.5: t(0.975, 4) = 2.776, so ± 2.776·√(2.5/5).
        let estimate = Estimate::of(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(estimate.mean, 3.0);
        assert!((estimate.plus_minus.unwrap() - 1.963).abs() < 0.001);
        assert_eq!(Estimate::of(&[7.0]).plus_minus, None);
    }

    #[test]
    fn rows_are_the_same_on_any_number_of_threads() {
        let mut short = find("lan-exponential").unwrap();
        (short.seconds, short.settle) = (30.0, 15.0);
        let mut other = short.clone();
        other.name = "other".to_owned();
        other.hosts = 3;
        let run = |threads| {
            let threads = NonZeroUsize::new(threads).unwrap();
            table(
                &[other.clone(), short.clone()],
                &[Strategies::default()],
                2,
                true,
                threads,
            )
        };
        let rows = run(1);
        assert_eq!(rows, run(3));
        assert_eq!((rows.len(), rows[0].seeds), (2, 2));
        assert_eq!(
            (rows[0].scenario.as_str(), rows[1].scenario.as_str()),
            ("other", "lan-exponential")
        );
        assert!(rows[0].limit_ns.unwrap() > rows[1].limit_ns.unwrap());
        assert!(rows[1].rms_over_limit.unwrap() > 1.0, "{:?}", rows[1]);
        assert!(rows[1].guaranteed_ratio >= 1.0 && rows[1].guaranteed_violations == 0);
    }
}
