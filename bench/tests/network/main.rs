//! Networks of real nodes in simulated time: convergence, liars, partitions, loss.
//!
//! The true error is exact here, so every limit is a number of nanoseconds.

#![forbid(unsafe_code)]

mod attacks;
mod bounds;
mod churn;
mod strategies;

use parisync::node::NodeConfig;
use parisync::time::Span;
use parisync_bench::sim::{Deceit, Delay, PathModel, Sim, World};
use parisync_bench::units::{Fraction, Nanos};

fn all(n: usize) -> Vec<usize> {
    (0..n).collect()
}

/// Paths with an exponential delay, ns.
fn paths(least: f64, mean: f64) -> PathModel {
    PathModel {
        delay: Delay::Exponential {
            least: Nanos(least),
            mean: Nanos(mean),
        },
        ..PathModel::default()
    }
}

/// Eight hosts in one room: short paths, little noise.
fn room() -> World {
    World {
        paths: paths(1_000.0, 200.0),
        ..World::default()
    }
}

/// A network with the default strategies.
fn network(world: World) -> Sim {
    Sim::new(world)
}

#[test]
fn eight_bad_clocks_agree() {
    let mut sim = network(room());
    sim.run_to(8.0);
    let early = sim.observe(&all(8), 0.1, 15.0);
    let late = sim.observe(&all(8), 0.1, 60.0);
    println!("early {early:?}\nlate {late:?} messages {}", sim.messages());
    assert!(early.worst_skew < 10_000.0, "{early:?}");
    assert!(late.rms < 100.0 && late.worst_skew < 1_000.0, "{late:?}");
    assert_eq!(late.synchronized, late.samples);
    assert_eq!(early.violations + late.violations, 0);
}

#[test]
fn rare_polls_are_made_the_most_of() {
    let mut sim = network(World {
        node: NodeConfig {
            poll: Span::from_secs(8),
            ..NodeConfig::default()
        },
        ..room()
    });
    sim.run_to(100.0);
    let figures = sim.observe(&all(8), 0.5, 400.0);
    println!("{figures:?}");
    assert!(figures.rms < 80.0, "{figures:?}");
    assert_eq!(figures.violations, 0);
}

#[test]
fn a_seed_decides_everything() {
    let mut a = network(room());
    let mut b = network(room());
    a.run_to(20.0);
    b.run_to(20.0);
    for n in 0..8 {
        assert_eq!(a.clock(n), b.clock(n));
    }
    assert_eq!(a.messages(), b.messages());
}

#[test]
fn a_third_of_liars_changes_little() {
    let honest = all(6);
    let clean = {
        let mut sim = network(room());
        sim.run_to(20.0);
        sim.observe(&honest, 0.1, 60.0)
    };
    let lies = [
        Deceit {
            offset: Nanos(10e6),
            ..Deceit::default()
        },
        Deceit {
            drift: Fraction(200e-6),
            ..Deceit::default()
        },
        Deceit {
            offset: Nanos(900.0),
            ..Deceit::default()
        },
    ];
    for lie in lies {
        let mut sim = network(room());
        sim.deceive(6, lie.clone());
        sim.deceive(7, lie.clone());
        // A small lie is believed until the links are better than it; what it did to the
        // frequencies takes half a minute to fade.
        let small = lie.drift == Fraction(0.0) && lie.offset < Nanos(1_000.0);
        sim.run_to(if small { 40.0 } else { 20.0 });
        let lied = sim.observe(&honest, 0.1, 60.0);
        println!("clean {clean:?}\n{lie:?} {lied:?}");
        assert!(lied.rms < 2.0 * clean.rms.max(10.0), "{lied:?}");
        assert_eq!(lied.violations, 0);
    }
}

#[test]
fn a_partition_heals() {
    let mut sim = network(room());
    sim.part(&[0, 0, 0, 0, 0, 1, 1, 1]);
    sim.run_to(30.0);
    sim.part(&[0; 8]);
    sim.run_to(90.0);
    let healed = sim.observe(&all(8), 0.1, 100.0);
    println!("{healed:?}");
    assert!(healed.worst_skew < 2_000.0, "{healed:?}");
    assert_eq!(healed.violations, 0);
}

#[test]
fn a_lossy_wide_area_network_agrees_too() {
    let mut sim = network(World {
        hosts: 24,
        paths: PathModel {
            loss: 0.1,
            ..paths(1e6, 1e5)
        },
        ..room()
    });
    sim.run_to(120.0);
    let figures = sim.observe(&all(24), 0.5, 240.0);
    println!("{figures:?}");
    assert!(figures.rms < 20_000.0, "{figures:?}");
    assert_eq!(figures.violations, 0);
}

#[test]
fn a_node_cut_off_holds_over_honestly_and_comes_back() {
    let mut sim = network(room());
    sim.run_to(30.0);
    sim.isolate(0, 1);
    let alone = sim.observe(&all(8), 0.5, 120.0);
    println!("{alone:?}");
    assert_eq!(alone.violations, 0);
    let state = sim.clock(0).view.state;
    assert_eq!(state, parisync::wire::ClockState::Holdover);
    sim.isolate(0, 0);
    sim.run_to(180.0);
    let back = sim.observe(&all(8), 0.1, 190.0);
    assert_eq!(back.synchronized, back.samples);
    assert!(back.worst_skew < 1_000.0, "{back:?}");
}

#[test]
fn everybody_arrives_where_nobody_knows_all() {
    // Oscillators are spread evenly, so the median of a neighbourhood is far from the network's.
    for seed in 1..4 {
        let mut sim = network(World {
            hosts: 32,
            seed,
            ..room()
        });
        sim.run_to(10.0);
        let figures = sim.observe(&all(32), 0.5, 20.0);
        println!("{figures:?}");
        assert_eq!(figures.synchronized, figures.samples);
        assert!(figures.rms < 100.0, "{figures:?}");
        assert_eq!(figures.violations, 0);
    }
}

#[test]
fn two_and_three_nodes_are_enough() {
    for nodes in [2, 3] {
        let mut sim = network(World {
            hosts: nodes,
            ..room()
        });
        sim.run_to(15.0);
        let figures = sim.observe(&all(nodes), 0.1, 40.0);
        println!("{nodes}: {figures:?}");
        assert!(figures.worst_skew < 1_000.0, "{figures:?}");
        assert_eq!(figures.violations, 0);
    }
}
