//! The interactive convergence algorithm, CNV.
//!
//! L. Lamport and P. M. Melliar-Smith, *Synchronizing clocks in the presence of faults*, J. ACM
//! 32(1), 1985: readings further than Δ count as our own clock, then average over all n,
//!
//! `Cᵢ ← Cᵢ + (1/n) · Σⱼ xⱼ·[|xⱼ| ≤ Δ]`.
//!
//! **Wins** over the midpoint when liars are few: it averages, so its noise falls with n, and what
//! f liars can do is bounded, `δ′ ≤ (3f/n)·δ + 2ε + ρR` with Δ = δ + ε for a skew of δ, reading
//! errors of ε, drift ρ and a round R.
//! **Fails** as n → 3f, where δ′ no longer shrinks; colluders just inside Δ drag the common clock
//! by fΔ/n a round; and clocks that are more than Δ apart at first never meet.

use serde::{Deserialize, Serialize};

use super::clocks::{Clocks, correcting};
use crate::consensus::stats::Sample;
use crate::consensus::{Combine, Correction, Round};

/// Δ is at least this, ns: a clock is settled within 2 µs of the median, so any two settled ones
/// are within twice that.
const LEAST_REACH: f64 = 4_000.0;

/// The same for frequencies: settled within 0.2 ppm.
const LEAST_RATE_REACH: f64 = 0.4e-6;

/// And Δ is at least so many sigma of a reading: settled within four.
const REACH_SIGMAS: f64 = 8.0;

/// The rule.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Cnv {
    reach: Option<f64>,
}

impl Cnv {
    /// The rule with a Δ of so many ns. [`Cnv::default`] takes it from how far apart settled nodes
    /// can be.
    pub const fn within(delta: f64) -> Self {
        Self { reach: Some(delta) }
    }
}

impl Combine for Cnv {
    fn gated(&self) -> bool {
        false
    }

    fn combine(&mut self, round: &Round<'_>) -> Correction {
        let mut clocks = Clocks::of(round);
        let reach = self
            .reach
            .unwrap_or_else(|| LEAST_REACH.max(REACH_SIGMAS * clocks.sigma()));
        let rate_reach = LEAST_RATE_REACH.max(REACH_SIGMAS * clocks.rate_sigma());
        let rate = convergence(&clocks.rates, rate_reach);
        Correction {
            rate,
            ..clocks.towards(correcting(1.0), |offsets| Some(convergence(offsets, reach)))
        }
    }
}

/// The mean, what is further than `reach` counting as zero.
fn convergence(values: &Sample, reach: f64) -> f64 {
    let near = values.values().iter().filter(|v| v.abs() <= reach);
    near.sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::super::tests::{readings, round};
    use super::*;

    #[test]
    fn a_far_reading_counts_as_our_own_by_hand() {
        // Δ = 100: (0 + 40 + 100 − 20 + 0) / 5, the liar at 101 counting as zero.
        let c = round(
            &mut Cnv::within(100.0),
            &readings(&[40.0, 100.0, -20.0, 101.0]),
        );
        assert_eq!((c.offset, c.used), (24.0, 5));
        assert_eq!(c.gain.unwrap().offset, 1.0);
    }

    #[test]
    fn delta_follows_the_links() {
        // Sigma 20 ns: 4 µs. Sigma 1 µs: 8 µs.
        let mut r = readings(&[5_000.0, 0.0, 0.0]);
        assert_eq!(round(&mut Cnv::default(), &r).offset, 0.0);
        r.iter_mut().for_each(|r| r.sigma = 1_000.0);
        assert_eq!(round(&mut Cnv::default(), &r).offset, 1_250.0);
    }
}
