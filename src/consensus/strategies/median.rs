//! The median with a small gain.
//!
//! `Cᵢ ← Cᵢ + α · median(x₁ … xₙ)`, our own clock among them.
//!
//! The most robust centre of location there is: P. Rousseeuw and A. Leroy, *Robust regression and
//! outlier detection*, 1987 (breakdown point ½). As a rule for clocks it stands behind Bitcoin's
//! network time and many others.
//!
//! **Wins** with neighbours drawn afresh each round: up to half of them may lie and it stays within
//! the range of honest clocks, where a midpoint or a trimmed mean with a fixed f is captured as
//! soon as a draw holds more than f liars.
//! **Fails** in two ways. Colluders that are all on one side pull the common clock by
//! `α·σ·Φ⁻¹(1/(2(1−p)))` a round (share p of liars, honest spread σ): only the leash on the
//! frequency stops that. And two-faced liars in a fixed full mesh keep two camps apart for ever, as
//! each camp with the liars is a majority; staying in range is not convergence.

use serde::{Deserialize, Serialize};

use super::clocks::{Clocks, correcting};
use crate::consensus::stats::Sample;
use crate::consensus::{Combine, Correction, Round};

/// The rule with its gain.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Median {
    gain: f64,
}

impl Median {
    /// The rule with gain `alpha`, more than 0 and at most 1. The drag of colluders and the noise
    /// grow with it, the time to settle falls.
    pub const fn new(alpha: f64) -> Self {
        Self { gain: alpha }
    }
}

impl Default for Median {
    fn default() -> Self {
        Self::new(0.1)
    }
}

impl Combine for Median {
    fn gated(&self) -> bool {
        false
    }

    fn combine(&mut self, round: &Round<'_>) -> Correction {
        Clocks::of(round).towards(correcting(self.gain), Sample::median)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{readings, round};
    use super::*;

    #[test]
    fn odd_and_even_by_hand() {
        let mut median = Median::default();
        let c = round(&mut median, &readings(&[-5.0, 30.0, 1e9, 40.0]));
        assert_eq!((c.offset, c.gain.unwrap().offset), (30.0, 0.1));
        // Of 0 and 30 in the middle, the mean: the lower one would make every clock run slow.
        let c = round(&mut median, &readings(&[-5.0, 30.0, 1e9]));
        assert_eq!(c.offset, 15.0);
    }

    #[test]
    fn just_under_half_may_lie() {
        let c = round(&mut Median::default(), &readings(&[3.0, 5.0, 1e9, 1e9]));
        assert_eq!(c.offset, 5.0);
    }
}
