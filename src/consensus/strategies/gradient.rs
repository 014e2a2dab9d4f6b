//! The gradient rule: neighbours stay together even where the network as a whole is far apart.
//!
//! C. Lenzen, T. Locher, R. Wattenhofer, *Tight bounds for clock synchronization*, J. ACM 57(2),
//! 2010, in the form of F. Kuhn, C. Lenzen, T. Locher, R. Oshman, *Optimal gradient clock
//! synchronization in dynamic networks*, 2010. A clock never goes back and has two speeds:
//!
//! run at `1 + μ` if for some s ≥ 1 a neighbour is at least `2sκ − δ` ahead and none is more than
//! `2sκ + δ` behind; else at 1.
//!
//! δ bounds the error of a reading and κ > 2δ, so that a clock that must run fast never sees a
//! neighbour that must not.
//!
//! **Wins** on long lines and rings: with μ well above the drift ρ, the skew between *neighbours* is
//! O(κ·log D) for a diameter of D, and no algorithm does better; coupling to the mean gives O(D).
//! **Fails** to be precise: nothing happens within 2κ − δ, and only the steepest neighbours count,
//! so noise does not average out. One liar far ahead makes everybody run at 1 + μ for ever (J. Bund,
//! C. Lenzen, W. Rosenbaum, *Fault tolerant gradient clock synchronization*, 2019, replace each node
//! by 3f + 1). The whole network follows its fastest.

use serde::{Deserialize, Serialize};

use super::clocks::{Clocks, correcting};
use crate::consensus::stats::Sample;
use crate::consensus::{Combine, Correction, Round};

/// δ in sigma of a reading.
const ERROR_SIGMAS: f64 = 3.0;

/// δ is at least this, ns.
const LEAST_ERROR: f64 = 10.0;

/// κ in δ; more than two.
const STEPS: f64 = 3.0;

/// The rule with its fast mode.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Gradient {
    mu: f64,
    error: Option<f64>,
}

impl Gradient {
    /// The rule with a fast mode that is `mu` (a fraction) faster.
    pub const fn new(mu: f64) -> Self {
        Self { mu, error: None }
    }

    /// The same with a δ of so many ns, instead of one that follows the readings.
    #[must_use]
    pub const fn with_error(self, delta: f64) -> Self {
        Self {
            error: Some(delta),
            ..self
        }
    }
}

impl Default for Gradient {
    /// As fast as the promise of 1 ppm to others allows, less a tenth for the frequency.
    fn default() -> Self {
        Self::new(0.9e-6)
    }
}

impl Combine for Gradient {
    fn gated(&self) -> bool {
        false
    }

    fn combine(&mut self, round: &Round<'_>) -> Correction {
        let mut clocks = Clocks::of(round);
        let error = self
            .error
            .unwrap_or_else(|| LEAST_ERROR.max(ERROR_SIGMAS * clocks.sigma()));
        let period = round.period.as_nanos_f64();
        let fast = must_run_fast(clocks.offsets.values(), STEPS * error, error);
        Correction {
            offset: if fast { self.mu * period } else { 0.0 },
            ..clocks.towards(correcting(1.0), Sample::median)
        }
    }
}

/// Whether some level s says so. The more a level allows behind, the more it asks ahead, so only
/// the highest level that is reached needs a look.
fn must_run_fast(offsets: &[f64], kappa: f64, delta: f64) -> bool {
    let ahead = offsets.iter().copied().fold(0.0, f64::max);
    let behind = -offsets.iter().copied().fold(0.0, f64::min);
    let level = ((ahead + delta) / (2.0 * kappa)).floor();
    level >= 1.0 && behind <= 2.0 * level * kappa + delta
}

#[cfg(test)]
mod tests {
    use super::super::tests::{readings, round};
    use super::*;

    #[test]
    fn two_speeds_by_hand() {
        // κ = 30, δ = 10: level 1 asks for 50 ahead and allows 70 behind, level 2 110 and 130.
        let fast = |offsets: &[f64]| must_run_fast(offsets, 30.0, 10.0);
        assert!(!fast(&[0.0, 49.0]));
        assert!(fast(&[0.0, 50.0]));
        assert!(fast(&[0.0, 50.0, -70.0]));
        assert!(!fast(&[0.0, 50.0, -71.0]));
        assert!(fast(&[0.0, 110.0, -130.0]));
        assert!(!fast(&[0.0, -1e9]));
    }

    #[test]
    fn fast_gains_mu_over_a_round() {
        let mut rule = Gradient::new(0.5e-6).with_error(10.0);
        let c = round(&mut rule, &readings(&[60.0, 0.0]));
        assert!((c.offset - 500.0).abs() < 1e-9, "{c:?}");
        assert_eq!(c.gain.unwrap().offset, 1.0);
        assert_eq!(round(&mut rule, &readings(&[-60.0, 0.0])).offset, 0.0);
    }
}
