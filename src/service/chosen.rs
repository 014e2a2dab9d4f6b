//! A node with the strategies that were asked for.

use crate::consensus::strategies::AnyCombine;
use crate::link::AnyEstimator;
use crate::node::{Node, NodeConfig, Strategies};
use crate::record::{Tape, Taped};
use crate::time::{RawTime, VirtualLine};
use crate::topology::NodeId;

/// A node with the strategies that were asked for, and its tape if it is recorded.
pub enum Chosen {
    /// The default ones, known when this was compiled: nothing is looked up in a call, and a link
    /// has room for no more than they need.
    Usual(Taped),
    /// Any others.
    Other(Strategies, Taped<AnyEstimator, AnyCombine>),
}

impl From<Taped> for Chosen {
    fn from(node: Taped) -> Self {
        Self::Usual(node)
    }
}

impl Chosen {
    /// The node `id` with these strategies, which has been told nothing yet.
    pub fn new(
        strategies: Strategies,
        id: NodeId,
        config: NodeConfig,
        now: RawTime,
        line: VirtualLine,
        seed: u64,
        tape: Option<Tape>,
    ) -> Self {
        if strategies == Strategies::default() {
            return Self::Usual(Taped::new(Node::new(config, now, line, seed), tape));
        }
        let combine = AnyCombine::new(strategies.combine, id.order_key());
        let node = Node::with_strategies(config, now, line, seed, strategies.estimator, combine);
        Self::Other(strategies, Taped::new(node, tape))
    }

    /// Its strategies.
    pub fn strategies(&self) -> Strategies {
        match self {
            Self::Usual(_) => Strategies::default(),
            Self::Other(strategies, _) => *strategies,
        }
    }
}

/// The same of the [`Taped`] node in a [`Chosen`], whatever its strategies are.
macro_rules! each {
    ($chosen:expr, $node:ident => $do:expr) => {
        match $chosen {
            $crate::service::chosen::Chosen::Usual($node) => $do,
            $crate::service::chosen::Chosen::Other(_, $node) => $do,
        }
    };
}

pub(super) use each;
