//! One scenario with the strategies that are compared.

use parisync::consensus::strategies::AnyCombine;
use parisync::link::estimators::AnyEstimator;
use parisync::node::Strategies;

use crate::scenario::{Outcome, Scenario};

/// Run `scenario` once with `seed`.
pub fn run(strategies: Strategies, scenario: &Scenario, seed: u64) -> Outcome {
    let Strategies { estimator, combine } = strategies;
    scenario.run::<AnyEstimator, AnyCombine>(seed, estimator, move |node| {
        AnyCombine::new(combine, node.order_key())
    })
}
