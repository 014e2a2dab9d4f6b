//! Two-faced liars below, at and above n = 3f + 1.

use super::{Swarm, by_readings, mesh, range};
use crate::consensus::stats::Sample;
use crate::consensus::strategies::tests::{readings, round};
use crate::consensus::strategies::{
    AnyCombine, Cnv, CombineKind, Median, Midpoint, RobustMean, Tiers, TrimmedMean,
};
use crate::consensus::{Combine, Reading, window};
use crate::wire::Tier;

/// What a liar tells a node to read, given the node's own clock and the range of the honest ones.
type Lie = fn(f64, (f64, f64)) -> f64;

/// Far below to those in the lower half, far above to the others.
fn apart(own: f64, (low, high): (f64, f64)) -> f64 {
    if own < 0.5 * (low + high) { -1e9 } else { 1e9 }
}

/// As far on the other side as the other camp is on this: each camp seems to be the middle.
fn mirror(own: f64, (low, high): (f64, f64)) -> f64 {
    if own < 0.5 * (low + high) {
        low - high
    } else {
        high - low
    }
}

/// Just what the node thinks itself.
fn flatter(_: f64, _: (f64, f64)) -> f64 {
    0.0
}

const LIES: [Lie; 3] = [apart, mirror, flatter];

/// A full mesh whose `liars` all tell `lie`.
fn with_liars(liars: usize, lie: Lie) -> impl Fn(usize, &[f64]) -> Vec<f64> {
    move |node, clocks| {
        let mut heard = mesh(node, clocks);
        heard.extend(vec![lie(clocks[node], range(clocks)); liars]);
        heard
    }
}

/// `below` clocks at zero and `above` at 1 µs.
fn camps(below: usize, above: usize) -> Vec<f64> {
    let clocks = std::iter::repeat_n(0.0, below);
    clocks.chain(std::iter::repeat_n(1_000.0, above)).collect()
}

/// Rules that converge whatever a third less one of all clocks tell whom.
fn convergent() -> [AnyCombine; 3] {
    use CombineKind::{Midpoint, TrimmedMean, WMsr};
    [Midpoint, TrimmedMean, WMsr].map(|kind| AnyCombine::new(kind, 0))
}

#[test]
fn at_the_limit_honest_clocks_meet() {
    for liars in 1..=3 {
        for below in 1..=2 * liars {
            let clocks = camps(below, 2 * liars + 1 - below);
            for (rule, lie) in convergent().iter().flat_map(|r| LIES.map(|l| (r, l))) {
                let mut swarm = Swarm::new(rule, &clocks);
                for _ in 0..150 {
                    swarm.round(with_liars(liars, lie));
                    let (low, high) = range(&swarm.clocks);
                    assert!(low >= -1e-9 && high <= 1_000.0 + 1e-9, "{rule:?}");
                }
                assert!(swarm.skew() < 1e-6, "{rule:?} {liars} {:?}", swarm.clocks);
            }
        }
    }
}

#[test]
fn below_the_limit_they_meet_sooner() {
    // Ten clocks: one liar of the three that are tolerated, against all three.
    let skew_after_two = |liars: usize| {
        let honest = 10 - liars;
        let mut swarm = Swarm::new(
            &AnyCombine::new(CombineKind::TrimmedMean, 0),
            &camps(honest / 2, honest - honest / 2),
        );
        (0..2).for_each(|_| swarm.round(with_liars(liars, apart)));
        swarm.skew()
    };
    assert!(skew_after_two(1) < 0.2 * skew_after_two(3));
}

#[test]
fn one_honest_clock_too_few_and_liars_keep_all_apart() {
    // n = 3f in three groups of f: two honest camps that drift apart, and liars that make each camp
    // believe it is the middle (Dolev, Halpern, Strong; Fischer, Lynch, Merritt's hexagon).
    for liars in 1..=3 {
        let drifts: Vec<f64> = camps(liars, liars)
            .iter()
            .map(|c| c / 500.0 - 1.0)
            .collect();
        for kind in by_readings() {
            let rule = AnyCombine::new(kind, 0);
            let mut swarm = Swarm::new(&rule, &camps(liars, liars)).drifting(&drifts);
            (0..500).for_each(|_| swarm.round(with_liars(liars, mirror)));
            // As far as if nobody had ever spoken.
            assert!(swarm.skew() > 1_999.0, "{kind} {liars}: {}", swarm.skew());
        }
        // One more honest clock, and that is over.
        for rule in convergent() {
            let drifts = [&drifts[..], &[1.0]].concat();
            let mut swarm = Swarm::new(&rule, &camps(liars, liars + 1)).drifting(&drifts);
            (0..500).for_each(|_| swarm.round(with_liars(liars, mirror)));
            assert!(swarm.skew() < 10.0, "{rule:?} {liars}: {}", swarm.skew());
        }
    }
}

#[test]
fn a_median_stays_in_range_but_two_faced_liars_keep_camps_apart() {
    // At the limit: seven honest clocks, three liars; and with a majority of honest ones only.
    for liars in [3, 6] {
        for lie in LIES {
            let mut swarm = Swarm::new(&Median::new(1.0), &camps(3, 4));
            (0..50).for_each(|_| swarm.round(with_liars(liars, lie)));
            let (low, high) = range(&swarm.clocks);
            assert!(low >= 0.0 && high <= 1_000.0, "{:?}", swarm.clocks);
        }
    }
    // Each camp with the liars is a majority: 0 0 0 and three liars against 1000 × 4.
    let mut swarm = Swarm::new(&Median::new(1.0), &camps(3, 4));
    (0..50).for_each(|_| swarm.round(with_liars(3, apart)));
    assert!(swarm.skew() >= 500.0, "{:?}", swarm.clocks);
    // The same lie to all, and they meet at once.
    let mut swarm = Swarm::new(&Median::new(1.0), &camps(3, 4));
    swarm.round(with_liars(3, |own, _| 1e9 - own));
    assert_eq!(swarm.skew(), 0.0);
}

#[test]
fn a_gate_by_spread_is_blown_open_by_two_faced_liars() {
    // The gate's reach follows the spread, so liars just inside it push the camps apart, which
    // widens it. Seven honest clocks, three liars: within the limit, yet it does not hold.
    let mut swarm = Swarm::new(&RobustMean, &camps(3, 4));
    let inside: Lie = |own, (low, high)| {
        let reach = 4.0 * 1.4826 * (high - low);
        if own < 0.5 * (low + high) {
            -0.9 * reach
        } else {
            0.9 * reach
        }
    };
    (0..50).for_each(|_| swarm.round(with_liars(3, inside)));
    assert!(swarm.skew() > 1e4, "{}", swarm.skew());
}

#[test]
fn one_liar_that_claims_to_be_the_server_leads_all_apart() {
    let follow = |claim: f64| {
        let mut tiers = Tiers::new(u64::MAX);
        let liar = Reading {
            tier: Tier {
                level: 1,
                root: [0; 3],
            },
            ..readings(&[claim])[0]
        };
        let honest = readings(&[0.0; 20]);
        round(&mut tiers, &[&honest[..], &[liar]].concat()).offset
    };
    assert_eq!((follow(1e6), follow(-1e6)), (1e6, -1e6));
}

#[test]
fn no_mean_survives_a_single_liar_but_bounded_ones_do() {
    let pulled = |rule: &mut dyn FnMut(&[Reading]) -> f64| {
        let honest = [[0.0; 8].as_slice(), &[1e9]].concat();
        rule(&readings(&honest))
    };
    let offset = |mut rule: AnyCombine| pulled(&mut |r| round(&mut rule, r).offset);
    for kind in [
        CombineKind::MeanCoupling,
        CombineKind::LoopConsistent,
        CombineKind::Skewless,
    ] {
        assert!(offset(AnyCombine::new(kind, 0)) > 1e7, "{kind}");
    }
    // Fast in every round, for ever.
    assert!(offset(AnyCombine::new(CombineKind::Gradient, 0)) > 800.0);
    for kind in [
        CombineKind::Cnv,
        CombineKind::Median,
        CombineKind::RobustMean,
    ] {
        assert_eq!(offset(AnyCombine::new(kind, 0)), 0.0, "{kind}");
    }
}

#[test]
fn the_window_holds_up_to_the_limit_and_not_beyond() {
    // Seen from each honest clock, with exact readings, the median of the honest is in its window.
    let held = |honest: &[f64], liars: usize, lie: Lie| {
        let mut middle: Sample = honest.iter().copied().collect();
        let middle = middle.median().unwrap();
        (0..honest.len()).all(|node| {
            let mut heard = readings(&with_liars(liars, lie)(node, honest));
            heard
                .iter_mut()
                .for_each(|r| (r.lower, r.upper) = (r.offset, r.offset));
            let window = window(&heard).unwrap();
            let truth = middle - honest[node];
            (window.lower - 1e-9..=window.upper + 1e-9).contains(&truth)
        })
    };
    for liars in 1..=4 {
        for lie in LIES {
            for honest in [2 * liars, 2 * liars + 1] {
                let splits = (0..=honest).map(|below| camps(below, honest - below));
                splits.for_each(|clocks| assert!(held(&clocks, liars, lie)));
            }
        }
        // n = 3(f + 1) − 2 with f + 1 liars: all below, they push the window of a clock that is low off
        // the median of the honest.
        let below: Lie = |_, (low, high)| 5.0 * (low - high);
        assert!(!held(&camps(liars, liars), liars + 1, below));
    }
}

#[test]
fn colluders_drag_a_median_as_the_law_says() {
    // α·σ·Φ⁻¹(1/(2(1−p))) a round, with 1 ms, α = 0.1: at p = 0.3 and 10 s rounds some 6 ppm.
    const SIGMA: f64 = 1e6;
    let mut state = 1_u64;
    let mut gaussian = || {
        // The sum of twelve uniform numbers.
        (0..12).fold(-6.0, |sum, _| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            sum + (state >> 11) as f64 / (1_u64 << 53) as f64
        })
    };
    for (liars, quantile) in [(6, 0.1397), (12, 0.3186), (18, 0.5659)] {
        let honest = 60 - liars;
        let mut rule = Median::default();
        let mut dragged = 0.0;
        const ROUNDS: i32 = 4_000;
        for _ in 0..ROUNDS {
            let own = SIGMA * gaussian();
            let others = (1..honest).map(|_| SIGMA * gaussian() - own);
            let heard: Vec<f64> = others.chain(vec![1e9; liars]).collect();
            let c = round(&mut rule, &readings(&heard));
            dragged += c.gain.unwrap().offset * c.offset / f64::from(ROUNDS);
        }
        let law = 0.1 * SIGMA * quantile;
        assert!(
            (dragged / law - 1.0).abs() < 0.1,
            "{liars}: {dragged} {law}"
        );
    }
}

#[test]
fn liars_within_delta_drag_cnv_by_their_share_of_it() {
    // f·Δ/n a round: two of seven at 900 ns of 1 µs.
    let mut swarm = Swarm::new(&Cnv::within(1_000.0), &[0.0; 5]);
    (0..10).for_each(|_| swarm.round(with_liars(2, |_, _| 900.0)));
    let per_round = swarm.clocks[0] / 10.0;
    assert!((per_round - 2.0 * 900.0 / 7.0).abs() < 1e-6, "{per_round}");
    assert!(!Midpoint.gated() && !TrimmedMean::both_ends().gated() && RobustMean.gated());
}
