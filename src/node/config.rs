//! What a node is told about itself and its network.

use serde::{Deserialize, Serialize};

use crate::consensus::MAX_READINGS;
use crate::consensus::strategies::CombineKind;
use crate::link::{EstimatorKind, OscillatorSpec};
use crate::time::{Rate, Span};

/// How a node makes time of what it measures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Strategies {
    /// For each link.
    pub estimator: EstimatorKind,
    /// For all links.
    pub combine: CombineKind,
}

impl Strategies {
    /// Every one of these estimators with every one of these combinations.
    pub fn product(estimators: &[EstimatorKind], combinations: &[CombineKind]) -> Vec<Self> {
        let with = |&estimator| {
            let pair = move |&combine| Self { estimator, combine };
            combinations.iter().map(pair)
        };
        estimators.iter().flat_map(with).collect()
    }
}

/// Parameters of a node. The defaults suit a LAN as well as a wide-area network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// Neighbours to keep, at most [`MAX_READINGS`].
    pub neighbours: usize,
    /// Peers near us to agree with besides, where the neighbours are far away.
    #[serde(default)]
    pub near: usize,
    /// Peers that chose us and are answered besides; the idlest makes room for a new one.
    pub inbound: usize,
    /// Peers to remember.
    pub candidates: usize,
    /// Time between polls of a neighbour once synchronized.
    pub poll: Span,
    /// The same until then.
    pub fast_poll: Span,
    /// Exchanges in each poll.
    pub burst: u8,
    /// The oscillators of this network.
    pub oscillator: OscillatorSpec,
    /// How fast a synchronized node may leave the line it announced. All nodes of a network must
    /// agree on it, as it enters their bounds.
    pub max_correction: Rate,
    /// Newcomers listen this long before they call themselves synchronized.
    pub listen: Span,
    /// Holdover ends in free running when the bound has grown to this.
    pub holdover_limit: Span,
    /// Time after which a working neighbour is exchanged for a fresh one, if there is one.
    pub rotate: Span,
    /// Share of the network's nodes that may lie, for the probability that more of the sampled
    /// neighbours do than a guaranteed bound tolerates. It changes no bound.
    pub assumed_liars: f64,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            neighbours: 16,
            near: 3,
            inbound: 64,
            candidates: 512,
            poll: Span::from_secs(1),
            fast_poll: Span::from_millis(200),
            burst: 2,
            oscillator: OscillatorSpec::default(),
            max_correction: Rate::from_ppm(1.0),
            listen: Span::from_millis(1_500),
            holdover_limit: Span::from_millis(10),
            rotate: Span::from_secs(600),
            assumed_liars: 0.1,
        }
    }
}

impl NodeConfig {
    /// The same, with every value in the range the node can work with.
    pub fn checked(mut self) -> Self {
        self.neighbours = self.neighbours.clamp(1, MAX_READINGS);
        self.near = self.near.min(MAX_READINGS);
        self.candidates = self.candidates.max(self.neighbours + self.near);
        self.burst = self.burst.clamp(1, 8);
        self.poll = self
            .poll
            .clamp(Span::from_millis(10), Span::from_secs(1_024));
        self.fast_poll = self.fast_poll.clamp(Span::from_millis(10), self.poll);
        self.assumed_liars = self.assumed_liars.clamp(0.0, 1.0);
        self
    }
}
