//! What less than a third of colluding liars can do. The last nodes of a network lie.

use parisync::time::{Rate, Span};
use parisync::wire::ClockState;

use super::{all, network, room};
use parisync_bench::sim::{Figures, Passing, Sim, World};

/// A network of `nodes`, the last `liars` of which change what they send.
fn attacked(
    nodes: usize,
    liars: usize,
    mut lie: impl FnMut(&mut Passing<'_>) + 'static,
) -> (Sim, Vec<usize>) {
    let mut sim = network(World {
        hosts: nodes,
        ..room()
    });
    let honest = nodes - liars;
    sim.tamper(Box::new(move |mut passing| {
        if passing.from >= honest {
            lie(&mut passing);
        }
    }));
    (sim, all(honest))
}

fn shift(passing: &mut Passing<'_>, nanos: f64) {
    passing.message.line = passing.message.line.stepped(passing.raw, nanos);
}

fn settle_and_observe(sim: &mut Sim, honest: &[usize]) -> Figures {
    sim.run_to(15.0);
    let figures = sim.observe(honest, 0.1, 60.0);
    println!("{figures:?}");
    figures
}

#[test]
fn liars_do_not_pose_as_the_established_network() {
    for offset in [-3_600e9, 3_600e9] {
        let (mut sim, honest) = attacked(17, 5, move |passing| {
            passing.message.state = ClockState::Synchronized;
            passing.message.bound = Span::from_nanos(1);
            shift(passing, offset);
        });
        let early = sim.observe(&honest, 0.1, 15.0);
        let late = sim.observe(&honest, 0.1, 40.0);
        println!("{early:?}\n{late:?}");
        // All started within half a second; nobody was ever led away.
        assert!(early.worst_skew < 2e9, "{early:?}");
        assert!(late.worst_skew < 1_000.0 && late.rms < 100.0, "{late:?}");
        assert_eq!(early.violations + late.violations, 0);
        assert_eq!(late.synchronized, late.samples);
    }
}

#[test]
fn two_faces_do_not_pull_the_honest_apart() {
    for reach in [300.0, 1e6] {
        let (mut sim, honest) = attacked(16, 5, move |passing| {
            passing.message.state = ClockState::Synchronized;
            shift(
                passing,
                if passing.to.is_multiple_of(2) {
                    reach
                } else {
                    -reach
                },
            );
        });
        let figures = settle_and_observe(&mut sim, &honest);
        assert!(figures.worst_skew < 1_000.0, "{figures:?}");
        assert_eq!(figures.violations, 0);
    }
}

#[test]
fn a_slow_pull_together_does_not_widen_the_skew() {
    // Each liar is just ahead of what it was told, and ever more so in frequency.
    let (mut sim, honest) = attacked(16, 5, |passing| {
        passing.message.state = ClockState::Synchronized;
        let (line, raw) = (passing.message.line, passing.raw);
        passing.message.line = line.with_rate(raw, line.rate() + Rate::from_fraction(40e-9));
        shift(passing, 40.0);
    });
    let before = sim.clock(0);
    let figures = settle_and_observe(&mut sim, &honest);
    let after = sim.clock(0);
    assert!(figures.worst_skew < 1_000.0, "{figures:?}");
    assert_eq!(figures.violations, 0);
    // They do drag the common clock; the leash to the oscillators says how far at most.
    let rate = after.view.line.rate() - before.view.line.rate();
    println!("dragged to {rate}");
    assert!(rate.abs() < Rate::from_ppm(50.0 + 25.0), "{rate}");
}

#[test]
fn hostile_numbers_do_no_harm() {
    use parisync::time::{RawTime, VirtualLine, VirtualTime};
    let mut count = 0u64;
    let (mut sim, honest) = attacked(8, 2, move |passing| {
        count = count
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let pick = |shift: u32| match count >> shift & 7 {
            0 => i64::MIN,
            1 => i64::MAX,
            2 => 0,
            3 => i64::MIN / 2,
            _ => (count.rotate_left(shift)) as i64,
        };
        let (a, b, c) = (pick(3), pick(13), pick(23));
        let rate = |code: u64| Rate::from_fraction(0.1 - 0.2 * (code & 1) as f64);
        let message = &mut *passing.message;
        message.state = ClockState::Synchronized;
        message.line = VirtualLine::new(
            RawTime::from_nanos(a),
            VirtualTime::from_nanos(b),
            rate(count),
        )
        .with_fraction(0.999_999)
        .with_slew_until(rate(count >> 1), RawTime::from_nanos(c));
        for stamp in [&mut message.last_tx, &mut message.last_rx]
            .into_iter()
            .flatten()
        {
            if count >> 40 & 3 == 0 {
                stamp.at = RawTime::from_nanos(pick(33));
                stamp.error = Span::from_nanos(pick(43));
            }
        }
        message.bound = Span::from_nanos(pick(53));
    });
    let figures = settle_and_observe(&mut sim, &honest);
    assert!(
        figures.worst_skew < 1_000.0 && figures.rms < 100.0,
        "{figures:?}"
    );
    assert_eq!(figures.violations, 0);
    assert_eq!(figures.synchronized, figures.samples);
}

#[test]
fn packets_held_back_do_not_falsify_the_bound() {
    // Everything that leaves node 1 is a minute old, which for the first minute is nothing at all.
    let mut sim = network(World { hosts: 4, ..room() });
    sim.run_to(20.0);
    sim.paths().lengthen_access(1, 60e9, 0.0);
    let figures = sim.observe(&all(4), 0.5, 150.0);
    println!("{figures:?}");
    assert_eq!(figures.violations, 0);
}
