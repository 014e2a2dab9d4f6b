//! Loop-consistent least squares: what measured differences say around every loop must sum to
//! zero, and the clocks that come closest to all of them are the answer.
//!
//! R. Karp, J. Elson, C. Papadimitriou, S. Shenker, *Global synchronization in sensornets*, LATIN
//! 2004; A. Giridhar, P. R. Kumar, *Distributed clock synchronization over wireless networks:
//! algorithms and analysis*, CDC 2006 (spatial smoothing); as the *network effect* in Y. Geng et
//! al., *Exploiting a natural network effect for scalable, fine-grained clock synchronization*
//! (Huygens), NSDI 2018. The corrections x minimize
//!
//! `Σ over links of wᵢⱼ · (mᵢⱼ + xⱼ − xᵢ)²`, mᵢⱼ the measured j minus i, wᵢⱼ = 1/σᵢⱼ²,
//!
//! that is `Σⱼ wᵢⱼ (mᵢⱼ + xⱼ − xᵢ) = 0` for every i: each corrected clock is the weighted mean of what
//! it reads of its neighbours. Huygens solves that in one place. By damped Jacobi iteration,
//!
//! `xᵢ ← xᵢ + ω · Σⱼ wᵢⱼ·(offset of j as read now) / Σⱼ wᵢⱼ`,
//!
//! each node needs its own readings only, since what it reads is `mᵢⱼ + xⱼ − xᵢ` already: the
//! announced clocks carry the iteration. The two are the same if both ends give a link the same
//! weight, and with ω = ½ it converges on every connected graph (with ω = 1 two nodes swap places).
//!
//! **Wins** on noisy links of different quality: no unbiased linear estimator has a smaller
//! variance, and that of a pair of clocks is the effective resistance between them in a network of
//! resistors σ². On a full mesh of n equal links it is 2/n of a single link's.
//! **Fails** with liars (least squares has no robustness), and where errors are no noise: the
//! asymmetry of a path that stays is spread over the loop, not removed.

use serde::{Deserialize, Serialize};

use super::clocks::correcting;
use crate::consensus::{Combine, Correction, Round};

/// ω.
const DAMPING: f64 = 0.5;

/// No link counts as better than this, ns, or in rate.
const BEST: (f64, f64) = (1e-3, 1e-15);

/// The rule; the weights are those of the readings.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct LoopConsistent;

impl Combine for LoopConsistent {
    fn gated(&self) -> bool {
        false
    }

    fn combine(&mut self, round: &Round<'_>) -> Correction {
        let (offset, sigma) = jacobi(round.used().map(|r| (r.offset, r.sigma.max(BEST.0))));
        let (rate, _) = jacobi(round.used().map(|r| (r.rate, r.rate_sigma.max(BEST.1))));
        Correction {
            offset,
            sigma,
            rate,
            used: round.used().count() + 1,
            gain: Some(correcting(DAMPING)),
        }
    }
}

/// The weighted mean of `(residual, sigma)` and its sigma; zero without any.
fn jacobi(residuals: impl Iterator<Item = (f64, f64)>) -> (f64, f64) {
    let (mut sum, mut total) = (0.0, 0.0);
    for (residual, sigma) in residuals {
        let weight = 1.0 / (sigma * sigma);
        sum += weight * residual;
        total += weight;
    }
    if total > 0.0 {
        (sum / total, 1.0 / total.sqrt())
    } else {
        (0.0, 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{readings, round};
    use super::*;
    use crate::consensus::Reading;

    /// What has settled of the measured B−A, C−B, A−C (ns), given their sigmas.
    fn settled(measured: [f64; 3], sigmas: [f64; 3]) -> [f64; 3] {
        let mut clocks = [0.0; 3];
        for _ in 0..200 {
            let read = |from: usize, to: usize, clocks: &[f64; 3]| {
                let (difference, link) = if to == (from + 1) % 3 {
                    (measured[from], from)
                } else {
                    (-measured[to], to)
                };
                Reading {
                    sigma: sigmas[link],
                    ..readings(&[difference + clocks[to] - clocks[from]])[0]
                }
            };
            let moves = [0, 1, 2].map(|i| {
                let heard = [read(i, (i + 1) % 3, &clocks), read(i, (i + 2) % 3, &clocks)];
                let c = round(&mut LoopConsistent, &heard);
                c.gain.unwrap().offset * c.offset
            });
            (0..3).for_each(|i| clocks[i] += moves[i]);
        }
        [0, 1, 2].map(|i| clocks[i] - clocks[(i + 1) % 3])
    }

    fn assert_close(settled: [f64; 3], expected: [f64; 3]) {
        for (a, b) in settled.iter().zip(expected) {
            assert!((a - b).abs() < 1e-9, "{settled:?}");
        }
    }

    #[test]
    fn a_triangle_that_does_not_close_by_hand() {
        // 10 + 10 − 23 = −3 around the loop: each link gives up one.
        let got = settled([10.0, 10.0, -23.0], [1.0; 3]);
        assert_close(got, [11.0, 11.0, -22.0]);
    }

    #[test]
    fn a_bad_link_gives_up_most() {
        // Variances 1, 1, 4: the error of −3 is shared ½ + ½ + 2.
        let got = settled([10.0, 10.0, -23.0], [1.0, 1.0, 2.0]);
        assert_close(got, [10.5, 10.5, -21.0]);
    }

    #[test]
    fn a_perfect_link_is_finite() {
        let exact = Reading {
            sigma: 0.0,
            rate_sigma: 0.0,
            ..readings(&[5.0])[0]
        };
        let c = round(&mut LoopConsistent, &[exact; 4]);
        assert_eq!(c.offset, 5.0);
        assert!(c.rate.is_finite() && c.sigma.is_finite());
        assert_eq!(round(&mut LoopConsistent, &[]).offset, 0.0);
    }
}
