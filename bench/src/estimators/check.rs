//! The regression: the default strategies against the limits of each scenario.

use parisync::node::Strategies;
use std::num::NonZeroUsize;

use serde::Serialize;

use super::{run, work};
use crate::progress::Progress;
use crate::scenario::{Outcome, Scenario};

/// One figure of one scenario against its limit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// The scenario.
    pub scenario: String,
    /// The figure; its unit is at the end of its name.
    pub figure: &'static str,
    /// The worst of all seeds.
    pub value: f64,
    /// What is asked for; null if nothing is.
    pub limit: Option<f64>,
    /// The seed of the worst run.
    pub seed: u64,
    /// Whether the limit is kept.
    pub kept: bool,
}

impl Check {
    /// Value over limit; 1 and less is kept.
    pub fn share(&self) -> Option<f64> {
        match self.limit {
            Some(limit) if limit > 0.0 => Some(self.value / limit),
            _ => None,
        }
    }
}

/// Runs each scenario with its own seeds and the default strategies.
pub fn check(scenarios: &[Scenario], threads: NonZeroUsize) -> Vec<Check> {
    let compared = |s: &Scenario| s.limits.liars_ratio.and_then(|_| s.without_liars());
    let alone: Vec<Option<Scenario>> = scenarios.iter().map(compared).collect();
    let mut jobs = Vec::new();
    for (scenario, alone) in scenarios.iter().zip(&alone) {
        for scenario in std::iter::once(scenario).chain(alone) {
            jobs.extend(scenario.seeds.iter().map(|seed| (scenario, *seed)));
        }
    }
    let cost = |job: &(&Scenario, u64)| work::cost(job.0);
    let progress = Progress::new("simulating", jobs.iter().map(cost).sum());
    let outcomes = work::all(&jobs, threads, &progress, cost, |(scenario, seed)| {
        run(Strategies::default(), scenario, *seed)
    });
    progress.finish();
    let mut outcomes = outcomes.into_iter();
    let mut checks = Vec::new();
    for (scenario, alone) in scenarios.iter().zip(&alone) {
        let mut take = || -> Vec<(u64, Outcome)> {
            scenario.seeds.iter().copied().zip(&mut outcomes).collect()
        };
        let runs = take();
        checks.extend(judge(scenario, &runs));
        if alone.is_some() {
            checks.push(against(scenario, &runs, &take()));
        }
    }
    checks
}

/// The worst of many runs' values, each with its seed. Not a number is the worst of all.
fn worst(values: impl Iterator<Item = (f64, u64)>) -> (f64, u64) {
    values
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .unwrap_or((f64::NAN, 0))
}

/// How much worse the runs of a scenario are than those without its liars, seed by seed.
fn against(scenario: &Scenario, runs: &[(u64, Outcome)], alone: &[(u64, Outcome)]) -> Check {
    let pairs = runs.iter().zip(alone);
    let (value, seed) = worst(
        pairs.map(|((seed, with), (_, without))| (with.figures.rms / without.figures.rms, *seed)),
    );
    Check {
        scenario: scenario.name.clone(),
        figure: "liars_ratio",
        value,
        limit: scenario.limits.liars_ratio,
        seed,
        kept: scenario
            .limits
            .liars_ratio
            .is_none_or(|limit| value <= limit),
    }
}

/// The figures of one scenario's runs against its limits.
fn judge(scenario: &Scenario, runs: &[(u64, Outcome)]) -> Vec<Check> {
    let limits = &scenario.limits;
    let seconds = |limit: Option<crate::units::Nanos>| limit.map(|l| l.as_secs());
    let figure = |figure, limit: Option<f64>, value: fn(&Outcome) -> f64| {
        let (value, seed) = worst(runs.iter().map(|(seed, outcome)| (value(outcome), *seed)));
        Check {
            scenario: scenario.name.clone(),
            figure,
            value,
            limit,
            seed,
            kept: limit.is_none_or(|limit| value <= limit),
        }
    };
    vec![
        figure("rms_ns", limits.rms.map(|l| l.0), |o| o.figures.rms),
        figure("worst_p99_ns", limits.worst_p99.map(|l| l.0), |o| {
            o.figures.worst_p99
        }),
        figure("settled_s", seconds(limits.settled), |o| o.figures.settled),
        figure(
            "not_synchronized",
            limits.synchronized.map(|s| 1.0 - s),
            |o| 1.0 - o.figures.synchronized as f64 / o.figures.samples.max(1) as f64,
        ),
        figure(
            "guaranteed_violations",
            Some(limits.guaranteed_violations as f64),
            |o| o.figures.violations as f64,
        ),
        figure(
            "statistical_violations",
            limits.statistical_violations,
            |o| o.figures.statistical_violations,
        ),
        figure("guaranteed_ratio", limits.guaranteed_ratio, |o| {
            o.figures.bound_ratio
        }),
        figure("statistical_ratio", limits.statistical_ratio, |o| {
            o.figures.statistical_p50 / o.figures.rms
        }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::parse;
    use crate::sim::Figures;
    use std::path::Path;

    fn outcome(rms: f64, violations: usize) -> Outcome {
        Outcome {
            figures: Figures {
                samples: 100,
                synchronized: 99,
                rms,
                violations,
                ..Figures::default()
            },
            packets: 1.0,
        }
    }

    #[test]
    fn the_worst_seed_decides_and_what_is_no_number_is_not_kept() {
        let text = "name = \"x\"\nwhy = \"y\"\nseconds = 40\n\
                    limits = { rms = \"20ns\", synchronized = 0.995 }";
        let scenario = parse(text, Path::new("x.toml")).unwrap();
        let checks = |runs: &[(u64, Outcome)]| judge(&scenario, runs);
        let kept = |checks: &[Check], name| {
            let check = checks.iter().find(|c| c.figure == name).unwrap();
            (check.kept, check.seed)
        };
        let both = checks(&[(4, outcome(15.0, 0)), (5, outcome(25.0, 0))]);
        assert_eq!(kept(&both, "rms_ns"), (false, 5));
        assert_eq!(both[0].share(), Some(1.25));
        assert!(!kept(&both, "not_synchronized").0);
        assert!(kept(&both, "guaranteed_violations").0);
        // Nothing is asked of it.
        assert!(kept(&both, "worst_p99_ns").0);
        assert!(!kept(&checks(&[(1, outcome(f64::NAN, 0))]), "rms_ns").0);
        assert!(!kept(&checks(&[(1, outcome(1.0, 1))]), "guaranteed_violations").0);
    }
}
