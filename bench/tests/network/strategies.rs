//! Every way to combine many links, in real nodes: `cargo test -p parisync-bench --test network
//! strategies -- --nocapture` prints the figures of `docs/algorithms.md`.

use super::{all, room};
use parisync::consensus::strategies::{AnyCombine, CombineKind};
use parisync::link::OneSided;
use parisync::wire::ClockState;
use parisync_bench::sim::{Deceit, Figures, Sim, World};
use parisync_bench::units::{Fraction, Nanos};

type Network = Sim<OneSided, AnyCombine>;

/// Root mean square and worst skew over a few seeds, ns.
struct Pooled {
    rms: f64,
    worst: f64,
}

/// Three networks of one kind, observed by `observe`. Whatever the strategy, its gain and whom it
/// believes: the guaranteed bound holds, as the promise to others limits every correction.
fn pooled(
    kind: CombineKind,
    hosts: usize,
    mut observe: impl FnMut(&mut Network) -> Figures,
) -> Pooled {
    let (mut squares, mut worst): (f64, f64) = (0.0, 0.0);
    const SEEDS: u64 = 3;
    for seed in 1..=SEEDS {
        let world = World {
            hosts,
            seed,
            ..room()
        };
        let mut sim = Sim::with_strategies(world, (), move |node| {
            AnyCombine::new(kind, node.order_key())
        });
        let figures = observe(&mut sim);
        assert_eq!(figures.violations, 0, "{kind} {seed} {figures:?}");
        squares += figures.rms * figures.rms;
        worst = worst.max(figures.worst_skew);
    }
    let rms = (squares / SEEDS as f64).sqrt();
    println!("{kind:16} rms {rms:6.1} worst {worst:7.0}");
    Pooled { rms, worst }
}

#[test]
fn each_keeps_eight_clocks_together() {
    for kind in CombineKind::ALL {
        let honest = pooled(kind, 8, |sim| {
            sim.run_to(30.0);
            let figures = sim.observe(&all(8), 0.1, 120.0);
            assert_eq!(figures.synchronized, figures.samples, "{kind}");
            figures
        });
        let coarse = kind == CombineKind::Gradient;
        assert!(honest.rms < if coarse { 500.0 } else { 50.0 }, "{kind}");
        assert!(
            honest.worst < if coarse { 3_000.0 } else { 300.0 },
            "{kind}"
        );
    }
}

#[test]
fn two_liars_of_eight_move_only_those_without_a_rule_against_them() {
    use CombineKind::{Gradient, LoopConsistent, MeanCoupling, Skewless};
    for kind in CombineKind::ALL {
        let lied_to = pooled(kind, 8, |sim| {
            for liar in [6, 7] {
                let deceit = Deceit {
                    offset: Nanos(5_000.0),
                    drift: Fraction(1e-6),
                    ..Deceit::default()
                };
                sim.deceive(liar, deceit);
            }
            sim.run_to(20.0);
            sim.observe(&all(6), 0.1, 60.0)
        });
        let defenceless = [Gradient, LoopConsistent, MeanCoupling, Skewless].contains(&kind);
        assert_eq!(lied_to.rms > 100.0, defenceless, "{kind} {}", lied_to.rms);
    }
}

/// Three of ten, which is the limit, tell one camp that it is late and the other that it is early.
#[test]
fn two_faces_at_the_limit_cost_the_fault_tolerant_rules_least() {
    use CombineKind::{Midpoint, TrimmedMean, WMsr};
    for kind in CombineKind::ALL {
        let shown_two_faces = pooled(kind, 10, |sim| {
            sim.tamper(Box::new(|passing| {
                if passing.from >= 7 {
                    let side = if passing.to < 3 { -300.0 } else { 300.0 };
                    passing.message.state = ClockState::Synchronized;
                    passing.message.line = passing.message.line.stepped(passing.raw, side);
                }
            }));
            sim.run_to(30.0);
            sim.observe(&all(7), 0.1, 120.0)
        });
        if [Midpoint, TrimmedMean, WMsr].contains(&kind) {
            assert!(shown_two_faces.rms < 45.0, "{kind} {}", shown_two_faces.rms);
        }
    }
}
