//! The options that choose how time is made of what is measured.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use crate::consensus::strategies::CombineKind;
use crate::link::EstimatorKind;
use crate::node::Strategies;

/// Options that choose strategies; what is not chosen stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::Args)]
pub struct StrategyOptions {
    /// How offset and rate of each neighbour are estimated
    #[arg(long, value_name = "NAME", value_parser = estimators())]
    pub estimator: Option<EstimatorKind>,
    /// How the clocks of all neighbours become one
    #[arg(long, value_name = "NAME", value_parser = combinations())]
    pub combine: Option<CombineKind>,
}

impl StrategyOptions {
    /// `strategies` with what was chosen in its place.
    pub fn over(self, strategies: Strategies) -> Strategies {
        Strategies {
            estimator: self.estimator.unwrap_or(strategies.estimator),
            combine: self.combine.unwrap_or(strategies.combine),
        }
    }

    /// What was chosen, in words; none if nothing was.
    pub fn words(self) -> Option<String> {
        let estimator = self.estimator.map(|kind| format!("estimator {kind}"));
        let combine = self.combine.map(|kind| format!("combine {kind}"));
        let chosen: Vec<String> = estimator.into_iter().chain(combine).collect();
        (!chosen.is_empty()).then(|| chosen.join(", "))
    }
}

fn estimators() -> impl TypedValueParser<Value = EstimatorKind> {
    let names = EstimatorKind::ALL.map(|kind| PossibleValue::new(kind.name()));
    PossibleValuesParser::new(names).try_map(|name| name.parse::<EstimatorKind>())
}

fn combinations() -> impl TypedValueParser<Value = CombineKind> {
    let names = CombineKind::ALL.map(|kind| PossibleValue::new(kind.name()));
    PossibleValuesParser::new(names).try_map(|name| name.parse::<CombineKind>())
}
