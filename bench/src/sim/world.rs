//! What a simulated network is made of.

use parisync::node::NodeConfig;

use super::liar::Deceit;
use super::oscillator::OscillatorModel;
use super::path::PathModel;
use super::stamp::StampModel;
use crate::units::Nanos;

/// What the network and its hosts are like.
#[derive(Debug, Clone)]
pub struct World {
    /// How many hosts there are; each knows of all others.
    pub hosts: usize,
    /// Decides everything that is random.
    pub seed: u64,
    /// What each node is told.
    pub node: NodeConfig,
    /// At the start, clocks are off by up to ± this.
    pub offset: Nanos,
    /// The oscillators.
    pub oscillator: OscillatorModel,
    /// The paths.
    pub paths: PathModel,
    /// The stamps.
    pub stamps: StampModel,
    /// Who lies: the last hosts of the network, group by group.
    pub liars: Vec<Deceit>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            hosts: 8,
            seed: 1,
            node: NodeConfig::default(),
            offset: Nanos(500e6),
            oscillator: OscillatorModel::default(),
            paths: PathModel::default(),
            stamps: StampModel::default(),
            liars: Vec::new(),
        }
    }
}

impl World {
    /// How many hosts tell the truth; they are the first.
    pub fn honest(&self) -> usize {
        let liars: usize = self.liars.iter().map(|deceit| deceit.count).sum();
        self.hosts.saturating_sub(liars)
    }
}
