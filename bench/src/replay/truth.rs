//! The truth, where all nodes share one raw clock.
//!
//! The network's clock is the median of the clocks that the recorded nodes showed; the true offset
//! between two of their raw clocks is zero.

use std::collections::HashSet;

use parisync::node::ClockView;
use parisync::time::{RawTime, VirtualLine};
use parisync::topology::NodeId;
use parisync::wire::ClockState;

use super::stats::median;
use super::verify::Life;

/// The clocks of all nodes over time.
#[derive(Debug)]
pub(super) struct Truth {
    clocks: Vec<Vec<(RawTime, ClockView)>>,
    nodes: HashSet<NodeId>,
    began: RawTime,
}

impl Truth {
    pub(super) fn of(lives: &[Life]) -> Self {
        let first = |life: &Life| life.clocks.first().map(|(at, _)| *at);
        Self {
            clocks: lives.iter().map(|life| life.clocks.clone()).collect(),
            nodes: lives.iter().map(|life| life.header.id).collect(),
            began: lives
                .iter()
                .filter_map(first)
                .min()
                .unwrap_or(RawTime::from_nanos(0)),
        }
    }

    /// When the first node showed a clock.
    pub(super) const fn began(&self) -> RawTime {
        self.began
    }

    /// Whether the raw clock of `peer` is known to be ours.
    pub(super) fn knows(&self, peer: &NodeId) -> bool {
        self.nodes.contains(peer)
    }

    /// The network's clock at `at` minus `line`, ns; `None` while not all nodes run and are
    /// synchronized.
    pub(super) fn network(&self, at: RawTime, line: &VirtualLine) -> Option<f64> {
        let mut offsets = Vec::with_capacity(self.clocks.len());
        for clocks in &self.clocks {
            let next = clocks.partition_point(|(shown, _)| *shown <= at);
            let (_, view) = clocks.get(next.checked_sub(1)?)?;
            // Nobody knows what it would have shown after its last word.
            if next == clocks.len() || view.state != ClockState::Synchronized {
                return None;
            }
            offsets.push(between(&view.line, line, at));
        }
        median(&mut offsets)
    }
}

/// One clock minus another at an instant of the raw clock they share, ns.
pub(super) fn between(one: &VirtualLine, other: &VirtualLine, at: RawTime) -> f64 {
    let (a, a_fraction) = one.at_exact(at);
    let (b, b_fraction) = other.at_exact(at);
    (a - b).as_nanos_f64() + (a_fraction - b_fraction)
}
