//! The fault-tolerant midpoint.
//!
//! J. Lundelius Welch and N. Lynch, *A new fault-tolerant algorithm for clock synchronization*,
//! Information and Computation 77(1), 1988: of n readings, our own among them, drop the f smallest
//! and the f largest and go to the middle of what is left,
//!
//! `Cᵢ ← Cᵢ + ½ · (x₍f₊₁₎ + x₍n₋f₎)`, f the largest with n > 3f.
//!
//! **Wins** against two-faced liars: whatever they tell whom, the ranges of any two honest nodes
//! overlap, so the skew of honest clocks halves each round down to about 4ε + 4ρP (reading error
//! ε, drift ρ, round P), and it never leaves the range of honest clocks.
//! **Fails** to average: it rests on two readings, so its noise does not fall with the number of
//! honest neighbours; and it does fail with n ≤ 3f, as everything without signatures.

use serde::{Deserialize, Serialize};

use super::clocks::{Clocks, correcting};
use crate::consensus::{Combine, Correction, Round};

/// The rule; it has no parameter but the number of clocks.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Midpoint;

impl Combine for Midpoint {
    fn gated(&self) -> bool {
        false
    }

    fn combine(&mut self, round: &Round<'_>) -> Correction {
        let clocks = Clocks::of(round);
        let liars = clocks.liars();
        clocks.towards(correcting(1.0), |values| values.midpoint_without(liars))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{readings, round};
    use super::*;

    #[test]
    fn seven_clocks_two_liars_by_hand() {
        // With ours: −1e9 −10 0 4 8 20 1e9; two off each side leave 0 4 8.
        let c = round(
            &mut Midpoint,
            &readings(&[8.0, 1e9, -10.0, 20.0, -1e9, 4.0]),
        );
        assert_eq!((c.offset, c.gain.unwrap().offset), (4.0, 1.0));
    }

    #[test]
    fn three_clocks_tolerate_nobody() {
        assert_eq!(round(&mut Midpoint, &readings(&[10.0, 1e9])).offset, 5e8);
    }
}
