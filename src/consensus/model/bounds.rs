//! Published bounds on the skew of a full mesh.

use super::{Swarm, by_readings, mesh, range};
use crate::consensus::strategies::{AnyCombine, Cnv, MeanCoupling, Midpoint};

/// Uncertainty of a delay in the lower bound, ns: it is anything from 0 to this.
const UNCERTAINTY: f64 = 600.0;

/// Error of a reading in the upper bounds, ns.
const ERROR: f64 = 100.0;

/// What node i reads of j by an exchange, given the delays from each to each.
fn exchange(delay: impl Fn(usize, usize) -> f64) -> impl Fn(usize, &[f64]) -> Vec<f64> {
    move |i, clocks| {
        let others = (0..clocks.len()).filter(|j| *j != i);
        others
            .map(|j| clocks[j] - clocks[i] + 0.5 * (delay(i, j) - delay(j, i)))
            .collect()
    }
}

/// The delay from i to j in execution k of J. Lundelius and N. Lynch, *An upper and lower bound for
/// clock synchronization*, 1984: the first k clocks are late by the uncertainty, and delays make up
/// for it, so that nobody can tell the executions apart.
fn delay(k: usize, i: usize, j: usize) -> f64 {
    let late = |p: usize| if p < k { UNCERTAINTY } else { 0.0 };
    let usual = if i < j { UNCERTAINTY } else { 0.0 };
    usual + late(j) - late(i)
}

#[test]
fn executions_that_look_alike_have_delays_within_the_uncertainty() {
    for (k, i, j) in (0..3).flat_map(|k| (0..9).map(move |ij| (k, ij / 3, ij % 3))) {
        assert!(i == j || (0.0..=UNCERTAINTY).contains(&delay(k, i, j)));
        let read = |k: usize, clocks: [f64; 3]| exchange(|i, j| delay(k, i, j))(i, &clocks);
        let late = [0, 1, 2].map(|p| if p < k { -UNCERTAINTY } else { 0.0 });
        assert_eq!(read(0, [0.0; 3]), read(k, late));
    }
}

/// The largest skew among executions that all look like the one that ended with `clocks`.
fn worst_of_alike(clocks: &[f64]) -> f64 {
    let skew = |k: usize| {
        let shifted = clocks.iter().enumerate();
        let shifted: Vec<f64> = shifted
            .map(|(p, c)| if p < k { c - UNCERTAINTY } else { *c })
            .collect();
        let (low, high) = range(&shifted);
        high - low
    };
    (0..clocks.len()).map(skew).fold(0.0, f64::max)
}

#[test]
fn no_strategy_beats_the_lower_bound() {
    for n in 2..=5 {
        let bound = UNCERTAINTY * (1.0 - 1.0 / n as f64);
        for kind in by_readings() {
            let rule = AnyCombine::new(kind, 0);
            let mut swarm = Swarm::new(&rule, &vec![0.0; n]);
            for _ in 0..30 {
                swarm.round(exchange(|i, j| delay(0, i, j)));
                assert!(worst_of_alike(&swarm.clocks) >= bound - 1e-6, "{kind} {n}");
            }
        }
    }
}

#[test]
fn averaging_reaches_the_lower_bound() {
    for n in 2..=5_usize {
        let share = 1.0 - 1.0 / n as f64;
        let clocks: Vec<f64> = (0..n).map(|i| 1e5 * (i * i) as f64).collect();
        let skew = |delay: &dyn Fn(usize, usize) -> f64| {
            let mut swarm = Swarm::new(&MeanCoupling::new(share), &clocks);
            swarm.round(exchange(delay));
            swarm
        };
        let reached = worst_of_alike(&skew(&|i, j| delay(0, i, j)).clocks);
        assert!(
            (reached - share * UNCERTAINTY).abs() < 1e-6,
            "{n}: {reached}"
        );
    }
    // Nor is there any schedule of extreme delays among three that makes it worse.
    for schedule in 0..1_u32 << 6 {
        let mut swarm = Swarm::new(&MeanCoupling::new(2.0 / 3.0), &[0.0, 5e4, -1e5]);
        swarm.round(exchange(|i, j| {
            let bit = i * 2 + j - usize::from(j > i);
            f64::from(schedule >> bit & 1) * UNCERTAINTY
        }));
        assert!(swarm.skew() <= 2.0 / 3.0 * UNCERTAINTY + 1e-6, "{schedule}");
    }
}

/// A full mesh with two-faced liars, where the upper half reads everything late and the lower half
/// early.
fn hostile(liars: usize, lie: f64) -> impl Fn(usize, &[f64]) -> Vec<f64> {
    move |node, clocks| {
        let (low, high) = range(clocks);
        let side = if clocks[node] < 0.5 * (low + high) {
            -1.0
        } else {
            1.0
        };
        let mut heard: Vec<f64> = mesh(node, clocks)
            .iter()
            .map(|x| x + side * ERROR)
            .collect();
        heard.extend(vec![side * lie; liars]);
        heard
    }
}

#[test]
fn the_midpoint_keeps_within_four_errors_and_four_drifts() {
    // J. Lundelius Welch, N. Lynch 1988: about 4ε + 4ρP. Half of the clocks gain, half lose.
    const DRIFT: f64 = 30.0;
    let published = 4.0 * ERROR + 4.0 * DRIFT;
    for liars in 1..=4 {
        let honest = 2 * liars + 1;
        let side = |i: usize| if i < honest / 2 { -1.0 } else { 1.0 };
        let spread = |size: f64| -> Vec<f64> { (0..honest).map(|i| size * side(i)).collect() };
        let mut swarm = Swarm::new(&Midpoint, &spread(1e4)).drifting(&spread(DRIFT));
        (0..60).for_each(|_| swarm.round(hostile(liars, 1e9)));
        let mut worst: f64 = 0.0;
        for _ in 0..60 {
            swarm.round(hostile(liars, 1e9));
            worst = worst.max(swarm.skew());
        }
        assert!(worst <= published, "{liars}: {worst} against {published}");
        // It is not idle: this schedule holds them at 2ε + 4ρP.
        assert!(worst >= 2.0 * ERROR + 4.0 * DRIFT - 1.0, "{liars}: {worst}");
    }
}

#[test]
fn interactive_convergence_shrinks_the_skew_as_published() {
    // L. Lamport, P. M. Melliar-Smith 1985: δ′ ≤ (3f/n)δ + 2ε + ρR, Δ = δ + ε, no drift here.
    const SKEW: f64 = 1e4;
    let after = |liars: usize, n: usize| {
        let honest = n - liars;
        let clocks: Vec<f64> = (0..honest)
            .map(|i| if i < honest / 2 { 0.0 } else { SKEW })
            .collect();
        let mut swarm = Swarm::new(&Cnv::within(SKEW + ERROR), &clocks);
        swarm.round(hostile(liars, SKEW + ERROR));
        swarm.skew()
    };
    for (liars, n) in [(0, 4), (1, 4), (1, 7), (2, 7), (3, 10), (5, 31)] {
        let share = 3.0 * liars as f64 / n as f64;
        let published = share * SKEW + 2.0 * ERROR;
        let got = after(liars, n);
        assert!(
            got <= published + 1e-6,
            "{liars} of {n}: {got} against {published}"
        );
        assert!(
            got >= 0.9 * share * SKEW,
            "{liars} of {n}: {got} against {published}"
        );
    }
    // At n = 3f nothing is left of the convergence.
    assert!(after(1, 3) >= SKEW && after(3, 9) >= SKEW);
}
