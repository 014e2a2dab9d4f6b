//! Every way to combine many links, in real nodes.

use super::all;
use super::sim::{Sim, World};
use parisync::consensus::strategies::CombineKind;
use parisync::node::Lie;
use parisync::time::{Rate, Span};

fn world(combine: CombineKind) -> World {
    World {
        combine,
        ..World::default()
    }
}

#[test]
fn each_keeps_eight_clocks_together() {
    for kind in CombineKind::ALL {
        let mut sim = Sim::new(world(kind));
        sim.run_to(30.0);
        let figures = sim.observe(&all(8), 0.1, 120.0);
        println!("{kind:16} {figures:?}");
        assert!(figures.rms < 500.0, "{kind} {figures:?}");
        assert_eq!(figures.synchronized, figures.samples, "{kind}");
        assert_eq!(figures.violations, 0, "{kind} {figures:?}");
    }
}

/// The promise to others limits every strategy, whatever its gain and whomever it believes.
#[test]
fn the_guaranteed_bound_holds_for_each_against_two_of_eight() {
    let honest = all(6);
    for kind in CombineKind::ALL {
        let mut sim = Sim::new(world(kind));
        for liar in [6, 7] {
            sim.lies[liar] = Lie {
                offset: Span::from_micros(5),
                drift: Rate::from_fraction(1e-6),
            };
        }
        sim.run_to(20.0);
        let figures = sim.observe(&honest, 0.1, 60.0);
        println!("{kind:16} {figures:?}");
        assert_eq!(figures.violations, 0, "{kind} {figures:?}");
    }
}
