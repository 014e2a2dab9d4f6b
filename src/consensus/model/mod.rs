//! Clocks that meet once a round, to hold the strategies against what is published of them.
//!
//! All nodes act at the same instant on what they read; delays are in the readings' errors. That
//! is the model of the papers. The node itself, with packets, is tested in `bench/tests/network`.

mod bounds;
mod byzantine;
mod networks;
mod signed;

use super::strategies::CombineKind;
use super::strategies::tests::{readings, round};
use super::{Combine, Gain};

/// For strategies that leave it to the node: the gain of one that has settled.
const SETTLED: Gain = Gain {
    offset: 0.3,
    rate: 0.1,
};

/// All that go by the readings of a round; the default goes by single exchanges and is attacked in
/// `bench/tests/network`.
fn by_readings() -> impl Iterator<Item = CombineKind> {
    let all = CombineKind::ALL.into_iter();
    all.filter(|kind| *kind != CombineKind::Default)
}

/// A round takes a second.
const ROUND: f64 = 1e9;

/// Honest nodes of one kind.
#[derive(Clone)]
struct Swarm<C> {
    /// Against true time, ns.
    clocks: Vec<f64>,
    /// Lasting frequencies, as fractions.
    rates: Vec<f64>,
    strategies: Vec<C>,
}

impl<C: Combine> Swarm<C> {
    fn new(strategy: &C, clocks: &[f64]) -> Self {
        Self {
            clocks: clocks.to_vec(),
            rates: vec![0.0; clocks.len()],
            strategies: vec![strategy.clone(); clocks.len()],
        }
    }

    /// Gains of so many ns a round.
    fn drifting(mut self, drifts: &[f64]) -> Self {
        self.rates = drifts.iter().map(|d| d / ROUND).collect();
        self
    }

    /// Every node corrects its clock by what it hears; then all run on for a round. `hears` gives the
    /// offsets (ns) that a node reads when these are the clocks.
    fn round(&mut self, hears: impl Fn(usize, &[f64]) -> Vec<f64>) {
        let before = self.clocks.clone();
        for (node, strategy) in self.strategies.iter_mut().enumerate() {
            let c = round(strategy, &readings(&hears(node, &before)));
            let gain = c.gain.unwrap_or(SETTLED);
            self.rates[node] += gain.rate * c.rate;
            self.clocks[node] += gain.offset * c.offset + self.rates[node] * ROUND;
        }
    }

    fn skew(&self) -> f64 {
        let (low, high) = range(&self.clocks);
        high - low
    }
}

fn range(clocks: &[f64]) -> (f64, f64) {
    let least = clocks.iter().copied().fold(f64::INFINITY, f64::min);
    let largest = clocks.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (least, largest)
}

/// What `node` reads of all the others, without error.
fn mesh(node: usize, clocks: &[f64]) -> Vec<f64> {
    let others = clocks.iter().enumerate().filter(|(j, _)| *j != node);
    others.map(|(_, clock)| clock - clocks[node]).collect()
}
