//! The strategies that are compared.

use parisync::consensus::RobustMean;
use parisync::link::Kalman;

use crate::scenario::{Outcome, Scenario};

/// The link estimators by name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum EstimatorKind {
    /// What a node uses if nothing else is asked for.
    #[default]
    Default,
}

/// The combinations by name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum CombineKind {
    /// What a node uses if nothing else is asked for.
    #[default]
    Default,
}

impl EstimatorKind {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::Default];
}

impl CombineKind {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::Default];
}

impl std::fmt::Display for EstimatorKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad("default")
    }
}

impl std::fmt::Display for CombineKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad("default")
    }
}

/// One way to keep time: an estimator for each link, a combination of all links.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Strategy {
    /// For one neighbour.
    pub estimator: EstimatorKind,
    /// For many.
    pub combine: CombineKind,
}

impl Strategy {
    /// Every one of these estimators with every one of these combinations.
    pub fn product(estimators: &[EstimatorKind], combinations: &[CombineKind]) -> Vec<Self> {
        let with = |&estimator| {
            let pair = move |&combine| Self { estimator, combine };
            combinations.iter().map(pair)
        };
        estimators.iter().flat_map(with).collect()
    }

    /// Run `scenario` once with `seed`.
    pub fn run(&self, scenario: &Scenario, seed: u64) -> Outcome {
        scenario.run::<Kalman, RobustMean>(seed, (), RobustMean)
    }
}
