//! Almost peer-to-peer: neither skews are estimated nor offsets corrected, only frequencies
//! adapted.
//!
//! E. Mallada, X. Meng, M. Hack, L. Zhang, A. Tang, *Skewless network clock synchronization*,
//! ICNP 2013 and arXiv 1208.5703 (Hack's idea; *… without discontinuity: convergence and
//! performance*, 2014). With e the mean offset of the neighbours:
//!
//! `y ← p·e + (1−p)·y` and `rate ← rate + κ₁·e − κ₂·y`, both with the old y.
//!
//! As `e = y + Δy/p`, the rate is also `r₀ + (κ₁/p)·y + (κ₁−κ₂)·Σy`: a proportional part, which
//! vanishes when the clocks agree, and an integral part, which stays. They go where a node has
//! places for them, the slew and the lasting frequency. The trajectory is the same.
//!
//! **Wins** by its freedom: nobody needs to be the source, timing loops do no harm but average, and
//! the clock has no jumps, only changes of frequency.
//! **Fails** with liars (a mean), and where κ₁, κ₂ do not fit the loop's delay; the integral part
//! makes it slow to forget a wrong frequency, and it turns drag into acceleration.

use serde::{Deserialize, Serialize};

use super::clocks::Clocks;
use crate::consensus::{Combine, Correction, Gain, Round};

/// The rule with its parameters, all per round.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Skewless {
    kappa1: f64,
    kappa2: f64,
    p: f64,
    /// ns.
    y: f64,
}

impl Skewless {
    /// The rule. Needed are `0 < p ≤ 1` and `0 < κ₁ − κ₂ < κ₁`, and more the sparser the network.
    pub const fn new(kappa1: f64, kappa2: f64, p: f64) -> Self {
        Self {
            kappa1,
            kappa2,
            p,
            y: 0.0,
        }
    }
}

impl Default for Skewless {
    /// Converges on full meshes and on directed loops alike: the roots of
    /// `w²(w+p) + (1+w)(κ₁μw + (κ₁−κ₂)μp)`, z = 1 + w, are within the unit circle for every
    /// eigenvalue μ ≠ 0 that the normalized Laplacian of a graph of some size can have.
    fn default() -> Self {
        Self::new(0.5, 0.49, 0.99)
    }
}

impl Combine for Skewless {
    fn gated(&self) -> bool {
        false
    }

    fn combine(&mut self, round: &Round<'_>) -> Correction {
        let gain = Gain {
            offset: 1.0,
            rate: 1.0,
        };
        let centre = Clocks::of(round).towards(gain, |clocks| {
            let neighbours = clocks.len().checked_sub(1).filter(|n| *n > 0)?;
            Some(clocks.values().iter().sum::<f64>() / neighbours as f64)
        });
        let period = round.period.as_nanos_f64();
        let rate = (self.kappa1 - self.kappa2) * self.y / period;
        self.y += self.p * (centre.offset - self.y);
        Correction {
            offset: self.kappa1 / self.p * self.y,
            rate,
            ..centre
        }
    }

    fn restart(&mut self) {
        self.y = 0.0;
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{readings, round};
    use super::*;

    #[test]
    fn the_two_parts_are_the_published_recursion() {
        let (k1, k2, p) = (0.4, 0.3, 0.6);
        let mut rule = Skewless::new(k1, k2, p);
        let (mut rate, mut y) = (0.0, 0.0);
        let mut lasting = 0.0;
        for e in [100.0, -30.0, 250.0, 7.0, 0.0, -90.0] {
            // Per round, in ns: as published.
            rate += k1 * e - k2 * y;
            y = p * e + (1.0 - p) * y;
            let c = round(&mut rule, &readings(&[e, e]));
            lasting += c.rate * 1e9;
            assert!((lasting + c.offset - rate).abs() < 1e-9, "{c:?} {rate}");
        }
    }

    #[test]
    fn a_jump_forgets_the_past() {
        let mut rule = Skewless::default();
        round(&mut rule, &readings(&[100.0]));
        rule.restart();
        assert_eq!(round(&mut rule, &readings(&[0.0])).rate, 0.0);
    }
}
