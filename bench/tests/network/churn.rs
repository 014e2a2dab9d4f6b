//! Nodes come, go, sleep, boot, and are too many.

use parisync::node::NodeConfig;
use parisync::time::Span;
use parisync::wire::ClockState;

use super::{all, network, paths, room};
use parisync_bench::sim::{OscillatorModel, PathModel, World};
use parisync_bench::units::Fraction;

#[test]
fn nodes_die_and_boot_while_the_others_keep_time() {
    let mut sim = network(World {
        hosts: 12,
        ..room()
    });
    sim.run_to(20.0);
    for round in 0..6 {
        let (a, b) = (round, 11 - round);
        sim.kill(a);
        sim.boot(b, 4e8);
        let steady: Vec<usize> = (0..12).filter(|n| ![a, b].contains(n)).collect();
        let figures = sim.observe(&steady, 0.1, 30.0 + 20.0 * f64::from(round as u32));
        println!("{figures:?}");
        assert!(figures.worst_skew < 2_000.0, "{figures:?}");
        assert_eq!(figures.violations, 0);
        assert_eq!(figures.synchronized, figures.samples);
        sim.boot(a, -4e8);
        sim.run_to(40.0 + 20.0 * f64::from(round as u32));
        let back = sim.observe(&all(12), 0.1, sim.now() + 0.2);
        assert_eq!(back.synchronized, back.samples, "{back:?}");
        assert!(back.worst_skew < 1_500.0, "{back:?}");
    }
}

#[test]
fn a_peer_that_flaps_disturbs_nobody() {
    let mut sim = network(room());
    sim.run_to(20.0);
    let others: Vec<usize> = (0..7).collect();
    for k in 0..40 {
        if k % 2 == 0 {
            sim.boot(7, if k % 4 == 0 { 3e8 } else { -3e8 });
        } else {
            sim.kill(7);
        }
        let figures = sim.observe(&others, 0.1, 21.5 + 1.5 * f64::from(k));
        assert!(figures.worst_skew < 1_000.0, "{k} {figures:?}");
        assert_eq!(figures.synchronized, figures.samples);
        assert_eq!(figures.violations, 0);
    }
}

#[test]
fn a_host_that_slept_knows_nothing_until_it_measured() {
    for told in [true, false] {
        let mut sim = network(room());
        sim.run_to(30.0);
        sim.sleep(0, 100.0);
        let (node, raw) = sim.node(0);
        if told {
            node.slept(raw, Span::from_millis(99_990));
            assert_eq!(node.clock().bound_at(raw), None);
        }
        sim.attend(0);
        let figures = sim.observe(&all(8), 0.01, 135.0);
        // Without that word the others' silence must tell it, as they have given it up by now.
        sim.run_to(if told { 140.0 } else { 180.0 });
        let back = sim.observe(&all(8), 0.1, sim.now() + 20.0);
        println!("told {told}: {figures:?}");
        if told {
            assert_eq!(figures.violations, 0);
            assert!(figures.worst_skew < 2e7, "{figures:?}");
        }
        assert!(back.worst_skew < 1_000.0, "{back:?}");
        assert_eq!(back.synchronized, back.samples);
        assert_eq!(back.violations, 0);
    }
}

#[test]
fn a_clock_that_jumped_and_was_left_alone_claims_no_bound() {
    let mut sim = network(room());
    sim.part(&[0, 0, 1, 1, 1, 1, 1, 1]);
    sim.run_to(20.0);
    // Two were a network of their own. One of them meets the majority, jumps, and is cut off.
    sim.isolate(1, 1);
    sim.isolate(0, 2);
    sim.run_to(20.0);
    let mut at = 20.0;
    while sim.clock(1).view.state != ClockState::Joining && at < 60.0 {
        at += 0.01;
        sim.run_to(at);
    }
    sim.run_to(at + 0.2);
    sim.isolate(1, 3);
    let mut honest = all(8);
    honest.remove(0);
    let figures = sim.observe(&honest, 0.1, at + 30.0);
    assert_eq!(figures.violations, 0, "{figures:?}");
    let left_alone = sim.clock(1);
    assert_eq!(left_alone.view.bound_at(left_alone.raw), None);
}

#[test]
fn rotation_leaves_nobody_without_an_answer() {
    let mut sim = network(World {
        hosts: 24,
        node: NodeConfig {
            neighbours: 8,
            rotate: Span::from_secs(2),
            ..NodeConfig::default()
        },
        ..room()
    });
    sim.run_to(20.0);
    let figures = sim.observe(&all(24), 0.2, 80.0);
    println!("{figures:?}");
    assert!(figures.worst_skew < 2_000.0, "{figures:?}");
    assert_eq!(figures.violations, 0);
    assert_eq!(figures.synchronized, figures.samples);
    let mut unreachable = 0;
    for n in 0..24 {
        let (node, raw) = sim.node(n);
        let dead = |p: &parisync::export::status::Peer| {
            p.used == parisync::export::status::Use::Unreachable
        };
        unreachable += node.peers(raw).filter(dead).count();
    }
    assert!(
        unreachable < 24,
        "{unreachable} of 192 neighbours do not answer"
    );
}

#[test]
fn more_askers_than_room_are_served_as_far_as_there_is_room() {
    // Nobody but node 0 is known to anybody, and it answers four at a time.
    let mut sim = network(World {
        hosts: 8,
        node: NodeConfig {
            neighbours: 1,
            inbound: 4,
            ..NodeConfig::default()
        },
        ..room()
    });
    for n in 1..8 {
        for other in 1..8 {
            let (node, raw) = sim.node(n);
            node.peer_lost(&parisync_bench::sim::id(other), raw);
        }
    }
    sim.run_to(60.0);
    let served = (1..8).filter(|&n| sim.clock(n).view.state == ClockState::Synchronized);
    let served = served.count();
    assert!(served >= 4, "{served}");
}

#[test]
fn no_room_for_strangers_is_no_reason_to_hang() {
    let mut sim = network(World {
        hosts: 4,
        node: NodeConfig {
            inbound: 0,
            ..NodeConfig::default()
        },
        ..room()
    });
    sim.run_to(10.0);
    let figures = sim.observe(&all(4), 0.1, 15.0);
    assert_eq!(figures.synchronized, figures.samples);
}

#[test]
fn a_hundred_nodes_with_sixteen_neighbours_converge() {
    let mut sim = network(World {
        hosts: 100,
        ..room()
    });
    sim.run_to(12.0);
    let figures = sim.observe(&all(100), 0.5, 40.0);
    println!("{figures:?}");
    assert!(
        figures.worst_skew < 3_000.0 && figures.rms < 300.0,
        "{figures:?}"
    );
    assert_eq!(figures.synchronized, figures.samples);
    assert_eq!(figures.violations, 0);
}

#[test]
fn newcomers_do_not_move_a_settled_network() {
    let mut sim = network(World {
        hosts: 14,
        ..room()
    });
    for n in 6..14 {
        sim.kill(n);
    }
    sim.run_to(30.0);
    for n in 6..14 {
        sim.boot(n, -4e8);
    }
    let old = all(6);
    let figures = sim.observe(&old, 0.05, 45.0);
    println!("{figures:?}");
    assert!(figures.worst_skew < 1_000.0, "{figures:?}");
    assert_eq!(figures.synchronized, figures.samples);
    let together = sim.observe(&all(14), 0.1, 60.0);
    assert!(together.worst_skew < 1_000.0, "{together:?}");
}

#[test]
fn a_jittery_path_does_not_keep_a_network_from_forming() {
    let mut sim = network(World {
        paths: paths(5e6, 5e6),
        ..room()
    });
    sim.run_to(120.0);
    let figures = sim.observe(&all(8), 0.5, 240.0);
    println!("{figures:?}");
    assert!(
        100 * figures.synchronized >= 99 * figures.samples,
        "{figures:?}"
    );
    assert!(figures.worst_skew < 1e6, "{figures:?}");
    assert_eq!(figures.violations, 0);
}

#[test]
fn of_two_or_three_nodes_one_boots_and_finds_back() {
    for nodes in [2, 3] {
        let mut sim = network(World {
            hosts: nodes,
            ..room()
        });
        sim.run_to(20.0);
        sim.boot(0, 3e8);
        sim.run_to(50.0);
        let figures = sim.observe(&all(nodes), 0.1, 60.0);
        println!("{nodes}: {figures:?}");
        assert_eq!(figures.synchronized, figures.samples);
        assert!(figures.worst_skew < 1_000.0, "{figures:?}");
        assert_eq!(figures.violations, 0);
    }
}

#[test]
fn four_islands_heal() {
    let mut sim = network(World {
        hosts: 16,
        ..room()
    });
    let quarters: Vec<u8> = (0..16).map(|n| n % 4).collect();
    sim.part(&quarters);
    sim.run_to(30.0);
    sim.part(&[0; 16]);
    sim.run_to(120.0);
    let figures = sim.observe(&all(16), 0.1, 130.0);
    println!("{figures:?}");
    assert_eq!(figures.synchronized, figures.samples);
    assert!(figures.worst_skew < 1_000.0, "{figures:?}");
    assert_eq!(figures.violations, 0);
}

#[test]
fn whoever_drew_bad_neighbours_gets_others() {
    // Oscillators as bad as they may be: sixteen of them can all be far from the rest.
    let mut sim = network(World {
        hosts: 48,
        oscillator: OscillatorModel {
            drift: Fraction(100e-6),
            wander: Fraction(3e-9),
            ..OscillatorModel::default()
        },
        paths: PathModel {
            loss: 0.2,
            ..paths(20_000.0, 20_000.0)
        },
        ..room()
    });
    sim.run_to(200.0);
    let figures = sim.observe(&all(48), 0.2, 201.0);
    println!("{figures:?}");
    assert_eq!(figures.synchronized, figures.samples);
    assert_eq!(figures.violations, 0);
}
