//! What it would buy to sign what a node says of its clock and to pass it on.
//!
//! A signed claim proves to everybody what its author told anybody. Here every honest node passes on
//! the claims it was told; who told two nodes different things is exposed and dropped. The model
//! grants that a claim is the whole of what a node reads of another. In the protocol there are also
//! the stamps, where contradictions below half a round trip go unseen (`docs/algorithms.md`).

use super::{Swarm, mesh, range};
use crate::consensus::strategies::{Median, Midpoint};

/// What each liar tells node `i`, as an absolute clock; the honest clocks are known to it.
type Claim = fn(usize, &[f64]) -> f64;

fn two_faced(node: usize, clocks: &[f64]) -> f64 {
    let (low, high) = range(clocks);
    // Each camp seems to be the middle.
    2.0 * clocks[node] - if clocks[node] == low { high } else { low }
}

fn one_faced(_: usize, clocks: &[f64]) -> f64 {
    range(clocks).1 + 1e6
}

/// A full mesh with `liars`; `passed_on`: honest nodes compare what they were told.
fn told(liars: usize, claim: Claim, passed_on: bool) -> impl Fn(usize, &[f64]) -> Vec<f64> {
    move |node, clocks| {
        let mut heard = mesh(node, clocks);
        let said = claim(node, clocks);
        let exposed = (0..clocks.len()).any(|other| claim(other, clocks) != said);
        if !(passed_on && exposed) {
            heard.extend(vec![said - clocks[node]; liars]);
        }
        heard
    }
}

#[test]
fn a_two_faced_liar_among_three_is_exposed() {
    let clocks = [0.0, 1_000.0];
    let mut unsigned = Swarm::new(&Midpoint, &clocks);
    (0..20).for_each(|_| unsigned.round(told(1, two_faced, false)));
    assert_eq!(unsigned.skew(), 1_000.0);
    let mut signed = Swarm::new(&Midpoint, &clocks);
    signed.round(told(1, two_faced, true));
    assert_eq!(signed.skew(), 0.0);
}

#[test]
fn with_a_majority_of_honest_clocks_signatures_keep_them_together_and_in_range() {
    // n = 2f + 1: all hear the same, so all go to one place; a majority holds the median in range.
    for liars in 1..=5 {
        let clocks: Vec<f64> = (0..=liars).map(|i| 100.0 * i as f64).collect();
        for claim in [two_faced, one_faced] {
            let mut swarm = Swarm::new(&Median::new(1.0), &clocks);
            swarm.round(told(liars, claim, true));
            assert_eq!(swarm.skew(), 0.0);
            let (low, high) = range(&clocks);
            assert!(
                (low..=high).contains(&swarm.clocks[0]),
                "{:?}",
                swarm.clocks
            );
        }
    }
}

#[test]
fn half_of_all_clocks_lying_alike_lead_the_others_away() {
    // n = 2f: no signature tells which half is the honest one.
    let mut swarm = Swarm::new(&Median::new(1.0), &[0.0, 100.0]);
    swarm.round(told(2, one_faced, true));
    assert!(swarm.clocks[0] > 1e5, "{:?}", swarm.clocks);
}
