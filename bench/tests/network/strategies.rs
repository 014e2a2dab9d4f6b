//! Every way to combine many links, in real nodes.

use super::{all, room};
use parisync::consensus::strategies::{AnyCombine, CombineKind};
use parisync::link::OneSided;
use parisync::wire::ClockState;
use parisync_bench::sim::{Deceit, Sim, World};
use parisync_bench::units::{Fraction, Nanos};

fn network(combine: CombineKind, world: World) -> Sim<OneSided, AnyCombine> {
    Sim::with_strategies(world, (), move |node| {
        AnyCombine::new(combine, node.order_key())
    })
}

#[test]
fn each_keeps_eight_clocks_together() {
    for kind in CombineKind::ALL {
        let mut sim = network(kind, room());
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
        let mut sim = network(kind, room());
        for liar in [6, 7] {
            let deceit = Deceit {
                offset: Nanos(5_000.0),
                drift: Fraction(1e-6),
                ..Deceit::default()
            };
            sim.deceive(liar, deceit);
        }
        sim.run_to(20.0);
        let figures = sim.observe(&honest, 0.1, 60.0);
        println!("{kind:16} {figures:?}");
        assert_eq!(figures.violations, 0, "{kind} {figures:?}");
    }
}

/// Three of ten, which is the limit, tell one camp that it is late and the other that it is early.
#[test]
fn two_faces_at_the_limit_cost_the_fault_tolerant_rules_little() {
    use CombineKind::{Midpoint, TrimmedMean, WMsr};
    for kind in [Midpoint, TrimmedMean, WMsr] {
        let ten = World {
            hosts: 10,
            ..room()
        };
        let mut sim = network(kind, ten);
        sim.tamper(Box::new(|passing| {
            if passing.from >= 7 {
                let side = if passing.to < 3 { -300.0 } else { 300.0 };
                passing.message.state = ClockState::Synchronized;
                passing.message.line = passing.message.line.stepped(passing.raw, side);
            }
        }));
        sim.run_to(30.0);
        let figures = sim.observe(&all(7), 0.1, 150.0);
        println!("{kind:16} {figures:?}");
        assert!(figures.rms < 60.0, "{kind} {figures:?}");
        assert_eq!(figures.violations, 0, "{kind} {figures:?}");
    }
}
