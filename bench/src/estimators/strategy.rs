//! The strategies that are compared.

use parisync::consensus::strategies::{AnyCombine, CombineKind};
use parisync::link::estimators::{AnyEstimator, EstimatorKind};

use crate::scenario::{Outcome, Scenario};

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
        let kind = self.combine;
        scenario.run::<AnyEstimator, AnyCombine>(seed, self.estimator, move |node| {
            AnyCombine::new(kind, node.order_key())
        })
    }
}
