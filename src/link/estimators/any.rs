//! The estimators behind one type, for a choice at run time.

use std::fmt;
use std::str::FromStr;

use super::{Arvind, CodedPairs, Convex, Kalman, MinRtt, OneSided, PacketInterval, Regression};
use crate::link::{
    Belief, Direction, Exchange, Interval, LinkEstimator, OscillatorSpec, Posterior,
};

/// The estimators by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum EstimatorKind {
    /// [`MinRtt`].
    MinRtt,
    /// [`Regression`].
    Regression,
    /// [`Convex`].
    Hull,
    /// [`Arvind`].
    Arvind,
    /// [`PacketInterval`].
    PacketInterval,
    /// [`CodedPairs`].
    CodedPairs,
    /// [`Kalman`].
    Kalman,
    /// [`OneSided`], what a node uses if nothing else is asked for.
    #[default]
    Default,
}

impl EstimatorKind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::MinRtt,
        Self::Regression,
        Self::Hull,
        Self::Arvind,
        Self::PacketInterval,
        Self::CodedPairs,
        Self::Kalman,
        Self::Default,
    ];

    /// The name that is written and read.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MinRtt => "min-rtt",
            Self::Regression => "regression",
            Self::Hull => "hull",
            Self::Arvind => "arvind",
            Self::PacketInterval => "packet-interval",
            Self::CodedPairs => "coded-pairs",
            Self::Kalman => "kalman",
            Self::Default => "default",
        }
    }
}

impl fmt::Display for EstimatorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// There is no estimator of this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("use one of {}", EstimatorKind::ALL.map(EstimatorKind::name).join(", "))]
pub struct UnknownEstimator;

impl FromStr for EstimatorKind {
    type Err = UnknownEstimator;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or(UnknownEstimator)
    }
}

/// One of the estimators, chosen at run time. As large as the largest.
#[derive(Debug, Clone)]
pub enum AnyEstimator {
    /// [`EstimatorKind::MinRtt`].
    MinRtt(MinRtt),
    /// [`EstimatorKind::Regression`].
    Regression(Regression),
    /// [`EstimatorKind::Hull`].
    Hull(Convex),
    /// [`EstimatorKind::Arvind`].
    Arvind(Arvind),
    /// [`EstimatorKind::PacketInterval`].
    PacketInterval(PacketInterval),
    /// [`EstimatorKind::CodedPairs`].
    CodedPairs(CodedPairs),
    /// [`EstimatorKind::Kalman`].
    Kalman(Kalman),
    /// [`EstimatorKind::Default`].
    OneSided(OneSided),
}

/// The same call on whichever it is.
macro_rules! each {
    ($any:expr, $one:ident => $call:expr) => {
        match $any {
            AnyEstimator::MinRtt($one) => $call,
            AnyEstimator::Regression($one) => $call,
            AnyEstimator::Hull($one) => $call,
            AnyEstimator::Arvind($one) => $call,
            AnyEstimator::PacketInterval($one) => $call,
            AnyEstimator::CodedPairs($one) => $call,
            AnyEstimator::Kalman($one) => $call,
            AnyEstimator::OneSided($one) => $call,
        }
    };
}

impl LinkEstimator for AnyEstimator {
    type Kind = EstimatorKind;

    fn new(kind: EstimatorKind, spec: &OscillatorSpec) -> Self {
        match kind {
            EstimatorKind::MinRtt => Self::MinRtt(MinRtt::new((), spec)),
            EstimatorKind::Regression => Self::Regression(Regression::new((), spec)),
            EstimatorKind::Hull => Self::Hull(Convex::new((), spec)),
            EstimatorKind::Arvind => Self::Arvind(Arvind::new((), spec)),
            EstimatorKind::PacketInterval => Self::PacketInterval(PacketInterval::new((), spec)),
            EstimatorKind::CodedPairs => Self::CodedPairs(CodedPairs::new((), spec)),
            EstimatorKind::Kalman => Self::Kalman(Kalman::new((), spec)),
            EstimatorKind::Default => Self::OneSided(OneSided::new((), spec)),
        }
    }

    fn direction(&mut self, direction: &Direction) {
        each!(self, one => one.direction(direction));
    }

    fn update(&mut self, exchange: &Exchange) {
        each!(self, one => one.update(exchange));
    }

    fn told(&mut self, exchange: &Exchange) -> Option<Posterior> {
        each!(self, one => one.told(exchange))
    }

    fn at(&self, at: f64) -> Option<Belief> {
        each!(self, one => one.at(at))
    }

    fn confine(&mut self, at: f64, interval: &Interval) {
        each!(self, one => one.confine(at, interval));
    }
}
