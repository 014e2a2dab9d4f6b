//! Every strategy for many links in one type, to be chosen at run time.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{
    Cnv, Ensemble, Gradient, LoopConsistent, MeanCoupling, Median, Midpoint, RobustMean, Skewless,
    Tiers, TrimmedMean,
};
use crate::consensus::{Combine, Correction, Observation, Round};
use crate::time::{RawTime, Span, VirtualLine};
use crate::wire::Tier;

/// Names a strategy for many links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CombineKind {
    /// [`MeanCoupling`].
    MeanCoupling,
    /// [`Midpoint`].
    Midpoint,
    /// [`Cnv`].
    Cnv,
    /// [`TrimmedMean::both_ends`].
    TrimmedMean,
    /// [`TrimmedMean::around_own`].
    WMsr,
    /// [`Median`].
    Median,
    /// [`Gradient`].
    Gradient,
    /// [`Skewless`].
    Skewless,
    /// [`Tiers`].
    Tiers,
    /// [`LoopConsistent`].
    LoopConsistent,
    /// [`RobustMean`].
    RobustMean,
    /// What a node uses unless told otherwise: [`Ensemble`].
    #[default]
    Default,
}

impl CombineKind {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::MeanCoupling,
        Self::Midpoint,
        Self::Cnv,
        Self::TrimmedMean,
        Self::WMsr,
        Self::Median,
        Self::Gradient,
        Self::Skewless,
        Self::Tiers,
        Self::LoopConsistent,
        Self::RobustMean,
        Self::Default,
    ];

    /// Its name on command lines and in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MeanCoupling => "mean-coupling",
            Self::Midpoint => "midpoint",
            Self::Cnv => "cnv",
            Self::TrimmedMean => "trimmed-mean",
            Self::WMsr => "w-msr",
            Self::Median => "median",
            Self::Gradient => "gradient",
            Self::Skewless => "skewless",
            Self::Tiers => "tiers",
            Self::LoopConsistent => "loop-consistent",
            Self::RobustMean => "robust-mean",
            Self::Default => "default",
        }
    }
}

impl fmt::Display for CombineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text names no strategy for many links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("use one of {}", CombineKind::ALL.map(CombineKind::name).join(", "))]
pub struct UnknownCombination;

impl FromStr for CombineKind {
    type Err = UnknownCombination;

    fn from_str(text: &str) -> Result<Self, UnknownCombination> {
        let mut all = Self::ALL.into_iter();
        all.find(|kind| kind.name() == text)
            .ok_or(UnknownCombination)
    }
}

/// Any strategy for many links.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "one in a node, and what a box would save is needed for the default"
)]
#[derive(Serialize, Deserialize)]
pub enum AnyCombine {
    /// [`CombineKind::MeanCoupling`].
    MeanCoupling(MeanCoupling),
    /// [`CombineKind::Midpoint`].
    Midpoint(Midpoint),
    /// [`CombineKind::Cnv`].
    Cnv(Cnv),
    /// [`CombineKind::TrimmedMean`] and [`CombineKind::WMsr`].
    TrimmedMean(TrimmedMean),
    /// [`CombineKind::Median`].
    Median(Median),
    /// [`CombineKind::Gradient`].
    Gradient(Gradient),
    /// [`CombineKind::Skewless`].
    Skewless(Skewless),
    /// [`CombineKind::Tiers`].
    Tiers(Tiers),
    /// [`CombineKind::LoopConsistent`].
    LoopConsistent(LoopConsistent),
    /// [`CombineKind::RobustMean`].
    RobustMean(RobustMean),
    /// [`CombineKind::Default`].
    Ensemble(Ensemble),
}

/// The same of whichever strategy it is.
macro_rules! each {
    ($any:expr, $strategy:ident => $do:expr) => {
        match $any {
            AnyCombine::MeanCoupling($strategy) => $do,
            AnyCombine::Midpoint($strategy) => $do,
            AnyCombine::Cnv($strategy) => $do,
            AnyCombine::TrimmedMean($strategy) => $do,
            AnyCombine::Median($strategy) => $do,
            AnyCombine::Gradient($strategy) => $do,
            AnyCombine::Skewless($strategy) => $do,
            AnyCombine::Tiers($strategy) => $do,
            AnyCombine::LoopConsistent($strategy) => $do,
            AnyCombine::RobustMean($strategy) => $do,
            AnyCombine::Ensemble($strategy) => $do,
        }
    };
}

impl AnyCombine {
    /// The strategy with its usual parameters, for the node whose
    /// [`order_key`](crate::topology::NodeId::order_key) is `own`.
    pub fn new(kind: CombineKind, own: u64) -> Self {
        match kind {
            CombineKind::MeanCoupling => Self::MeanCoupling(MeanCoupling::default()),
            CombineKind::Midpoint => Self::Midpoint(Midpoint),
            CombineKind::Cnv => Self::Cnv(Cnv::default()),
            CombineKind::TrimmedMean => Self::TrimmedMean(TrimmedMean::both_ends()),
            CombineKind::WMsr => Self::TrimmedMean(TrimmedMean::around_own()),
            CombineKind::Median => Self::Median(Median::default()),
            CombineKind::Gradient => Self::Gradient(Gradient::default()),
            CombineKind::Skewless => Self::Skewless(Skewless::default()),
            CombineKind::Tiers => Self::Tiers(Tiers::new(own)),
            CombineKind::LoopConsistent => Self::LoopConsistent(LoopConsistent),
            CombineKind::RobustMean => Self::RobustMean(RobustMean),
            CombineKind::Default => Self::Ensemble(Ensemble::default()),
        }
    }
}

impl Default for AnyCombine {
    fn default() -> Self {
        Self::new(CombineKind::Default, 0)
    }
}

impl Combine for AnyCombine {
    fn gated(&self) -> bool {
        each!(self, strategy => strategy.gated())
    }

    fn combine(&mut self, round: &Round<'_>) -> Correction {
        each!(self, strategy => strategy.combine(round))
    }

    fn lean(&mut self, now: RawTime, change: f64) {
        each!(self, strategy => strategy.lean(now, change));
    }

    fn pace(&self) -> Option<Span> {
        each!(self, strategy => strategy.pace())
    }

    fn refine(&mut self, now: RawTime, line: &VirtualLine) -> Correction {
        each!(self, strategy => strategy.refine(now, line))
    }

    fn restart(&mut self) {
        each!(self, strategy => strategy.restart());
    }

    fn join(&mut self, now: RawTime, line: &VirtualLine, sigma: f64, rate_sigma: f64) {
        each!(self, strategy => strategy.join(now, line, sigma, rate_sigma));
    }

    fn observe(&mut self, observation: &Observation) {
        each!(self, strategy => strategy.observe(observation));
    }

    fn wander(&self) -> Option<f64> {
        each!(self, strategy => strategy.wander())
    }

    fn tier(&self) -> Tier {
        each!(self, strategy => strategy.tier())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{readings, round};
    use super::*;

    #[test]
    fn every_name_is_read_back() {
        for kind in CombineKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        let error = "mode".parse::<CombineKind>().unwrap_err();
        assert!(error.to_string().contains("midpoint, cnv"), "{error}");
    }

    #[test]
    fn each_name_is_its_own_strategy() {
        // What tells them apart: offset and gain of one lopsided round.
        let r = readings(&[1_000.0, 1_130.0, 1_270.0, 900.0, 9_000.0, -40.0]);
        let mut seen: Vec<(f64, Option<f64>)> = Vec::new();
        for kind in &CombineKind::ALL[..11] {
            let c = round(&mut AnyCombine::new(*kind, 0), &r);
            let said = (c.offset, c.gain.map(|g| g.offset));
            assert!(!seen.contains(&said), "{kind}: {said:?} among {seen:?}");
            seen.push(said);
        }
    }

    #[test]
    fn absurd_readings_are_survived() {
        // As far apart as two instants can be.
        let mut r = readings(&[9.2e18, -9.2e18, 9.2e18, 9.2e18, 0.0]);
        r[4].sigma = f64::INFINITY;
        for kind in CombineKind::ALL {
            let c = round(&mut AnyCombine::new(kind, 0), &r);
            assert!(c.offset.is_finite() && c.rate.is_finite(), "{kind}: {c:?}");
        }
    }
}
