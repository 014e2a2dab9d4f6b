//! What is published of strategies on networks that are no full mesh.

use super::{Swarm, mesh};
use crate::consensus::Combine;
use crate::consensus::strategies::{Gradient, LoopConsistent, MeanCoupling, Skewless};

/// Both neighbours on a line.
fn line(node: usize, clocks: &[f64]) -> Vec<f64> {
    let before = node.checked_sub(1).map(|n| clocks[n] - clocks[node]);
    let after = clocks.get(node + 1).map(|c| c - clocks[node]);
    before.into_iter().chain(after).collect()
}

/// The largest skew between neighbours on a line, one half of which runs fast.
fn local_skew(rule: &impl Combine, nodes: usize, drift: f64) -> f64 {
    let side = |i: usize| if i < nodes / 2 { -drift } else { drift };
    let drifts: Vec<f64> = (0..nodes).map(side).collect();
    let mut swarm = Swarm::new(rule, &vec![0.0; nodes]).drifting(&drifts);
    let mut worst: f64 = 0.0;
    for _ in 0..4 * nodes * nodes {
        swarm.round(line);
        let steps = swarm.clocks.windows(2).map(|w| (w[1] - w[0]).abs());
        worst = steps.fold(worst, f64::max);
    }
    worst
}

#[test]
fn the_gradient_rule_keeps_neighbours_together_on_a_long_line() {
    // μ is ten times the drift of 50 ns a round; δ = 500, κ = 1500.
    const DRIFT: f64 = 50.0;
    const KAPPA: f64 = 1_500.0;
    let gradient = Gradient::new(500e-9).with_error(500.0);
    let skews = [8, 32].map(|nodes| {
        let mean = local_skew(&MeanCoupling::default(), nodes, DRIFT);
        // What one half gains has to flow through the middle, K/2 of the skew there a round; the node
        // at the end, with one neighbour, counts half.
        let flow = DRIFT * (nodes as f64 - 1.0) / 2.0 / 0.25;
        assert!((mean / flow - 1.0).abs() < 0.01, "{nodes}: {mean} {flow}");
        (mean, local_skew(&gradient, nodes, DRIFT))
    });
    let [(short_mean, short), (long_mean, long)] = skews;
    assert!(long_mean > 4.0 * short_mean, "{skews:?}");
    // No level above the first is ever needed here, whatever the length.
    assert!(long <= 2.0 * KAPPA && long < 1.1 * short, "{skews:?}");
    assert!(long < long_mean, "{skews:?}");
}

#[test]
fn timing_loops_converge_without_a_source() {
    // Each hears the next only, all around: nobody is the source. 50 ppm and 1 ms apart at first.
    let offsets = [0.0, 1e6, -4e5, 3e5, -1e6];
    let drifts = [5e4, -3e4, 1e4, 0.0, -5e4];
    let ring = |node: usize, clocks: &[f64]| vec![clocks[(node + 1) % 5] - clocks[node]];
    let full = mesh;
    let converges = |hears: fn(usize, &[f64]) -> Vec<f64>| {
        let mut swarm = Swarm::new(&Skewless::default(), &offsets).drifting(&drifts);
        (0..4_000).for_each(|_| swarm.round(hears));
        let spread = swarm.rates.iter().map(|r| (r - swarm.rates[0]).abs());
        (swarm.skew(), spread.fold(0.0, f64::max))
    };
    for (skew, rates) in [converges(ring), converges(full)] {
        assert!(skew < 1e-3 && rates < 1e-12, "{skew} {rates}");
    }
    // Without damping (κ₂ ≤ 0 leaves only the integral) the same loop blows up.
    let mut swarm = Swarm::new(&Skewless::new(0.5, 0.0, 0.99), &offsets).drifting(&drifts);
    (0..500).for_each(|_| swarm.round(ring));
    assert!(swarm.skew() > 1e9, "{}", swarm.skew());
}

/// Variance of clock 1 against clock 0 if every measured link has the variance one.
fn variance(nodes: usize, links: &[(usize, usize)]) -> f64 {
    // Least squares is linear: add up the squared effect of an error on each link.
    let effect = |wrong: usize| {
        let mut swarm = Swarm::new(&LoopConsistent, &vec![0.0; nodes]);
        for _ in 0..300 {
            swarm.round(|node, clocks| {
                let ends = links.iter().enumerate();
                let mine = ends.filter_map(|(link, (a, b))| {
                    let error = if link == wrong { 1.0 } else { 0.0 };
                    match node {
                        n if n == *a => Some(clocks[*b] - clocks[n] + error),
                        n if n == *b => Some(clocks[*a] - clocks[n] - error),
                        _ => None,
                    }
                });
                mine.collect()
            });
        }
        swarm.clocks[1] - swarm.clocks[0]
    };
    (0..links.len()).map(|link| effect(link).powi(2)).sum()
}

#[test]
fn least_squares_has_the_variance_of_the_effective_resistance() {
    // Karp et al. 2004, Giridhar and Kumar 2006: links as resistors of one ohm.
    let close = |a: f64, b: f64| (a - b).abs() < 1e-6;
    // A chain: just the link between them. A ring of four: 1 ∥ 3. A full mesh of n: 2/n.
    assert!(close(variance(3, &[(0, 1), (1, 2)]), 1.0));
    assert!(close(variance(4, &[(0, 1), (1, 2), (2, 3), (3, 0)]), 0.75));
    let full: Vec<(usize, usize)> = (0..5).flat_map(|a| (0..a).map(move |b| (a, b))).collect();
    assert!(close(variance(5, &full), 0.4));
}
