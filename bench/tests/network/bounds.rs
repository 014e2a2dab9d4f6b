//! The guaranteed bound at its edge.

use super::{all, network, paths, room};
use parisync_bench::sim::{OscillatorModel, World};
use parisync_bench::units::Fraction;

/// A line that is slow in one direction only puts the truth at the very edge of what the packets
/// allow, so that anything forgotten in the bound shows.
#[test]
fn the_bound_holds_at_the_edge_of_causality() {
    for (out, back) in [(0.0, 400_000.0), (400_000.0, 0.0)] {
        for seed in 1..5 {
            let mut sim = network(World {
                seed,
                oscillator: OscillatorModel {
                    wander: Fraction(1e-8),
                    ..OscillatorModel::default()
                },
                paths: paths(0.0, 1.0),
                ..room()
            });
            sim.paths().lengthen_access(0, out, back);
            let figures = sim.observe(&all(8), 0.017, 30.0);
            println!("{seed} {figures:?}");
            assert_eq!(figures.violations, 0, "{seed} {figures:?}");
        }
    }
}
