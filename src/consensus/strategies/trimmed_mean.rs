//! Trimmed means: drop what is extreme, average the rest.
//!
//! - [`TrimmedMean::both_ends`]: of n readings, our own among them, drop the f smallest and the f
//!   largest and average. D. Dolev, N. Lynch, S. Pinter, E. Stark, W. Weihl, *Reaching approximate
//!   agreement in the presence of faults*, J. ACM 33(3), 1986.
//! - [`TrimmedMean::around_own`]: drop the f largest of those larger than our own and the f
//!   smallest of those smaller, fewer if there are not so many, and average the rest with our own.
//!   H. LeBlanc, H. Zhang, X. Koutsoukos, S. Sundaram, *Resilient asymptotic consensus in robust
//!   networks* (W-MSR), IEEE JSAC 31(4), 2013.
//!
//! f is the largest with n > 3f.
//!
//! **Wins** as a compromise: bounded by honest clocks as the midpoint, averaging over n − 2f of
//! them. W-MSR needs no full mesh: with at most f liars among each node's neighbours, an
//! (f+1)-robust graph of the honest nodes is enough.
//! **Fails** to converge as fast as the midpoint against two-faced liars (f/(f+1) a round, not ½,
//! with n = 3f+1), and wastes a good part of honest neighbours when nobody lies. W-MSR is stuck to
//! its own clock: an extreme honest node drops its farthest witnesses.

use serde::{Deserialize, Serialize};

use super::clocks::{Clocks, correcting};
use crate::consensus::{Combine, Correction, Round};

/// What is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Trim {
    BothEnds,
    AroundOwn,
}

/// One of the two rules.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TrimmedMean {
    trim: Trim,
}

impl TrimmedMean {
    /// The trimmed mean.
    pub const fn both_ends() -> Self {
        Self {
            trim: Trim::BothEnds,
        }
    }

    /// W-MSR.
    pub const fn around_own() -> Self {
        Self {
            trim: Trim::AroundOwn,
        }
    }
}

impl Combine for TrimmedMean {
    fn gated(&self) -> bool {
        false
    }

    fn combine(&mut self, round: &Round<'_>) -> Correction {
        let clocks = Clocks::of(round);
        let liars = clocks.liars();
        clocks.towards(correcting(1.0), |values| {
            let (low, high) = match self.trim {
                Trim::BothEnds => (liars, liars),
                Trim::AroundOwn => {
                    let count =
                        |side: fn(&f64) -> bool| values.values().iter().filter(|v| side(v)).count();
                    (
                        liars.min(count(|v| *v < 0.0)),
                        liars.min(count(|v| *v > 0.0)),
                    )
                }
            };
            values.mean_without(low, high)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{readings, round};
    use super::*;

    #[test]
    fn seven_clocks_two_liars_by_hand() {
        // With ours: −1e9 −10 0 4 8 20 1e9; two off each side leave 0 4 8.
        let r = readings(&[8.0, 1e9, -10.0, 20.0, -1e9, 4.0]);
        let c = round(&mut TrimmedMean::both_ends(), &r);
        assert_eq!((c.offset, c.gain.unwrap().offset), (4.0, 1.0));
    }

    #[test]
    fn the_last_in_line_drops_only_those_ahead() {
        // Ours is the least of seven: nothing below to drop, 90 and 80 above; mean of 0 10 … 40.
        let r = readings(&[10.0, 20.0, 30.0, 40.0, 80.0, 90.0]);
        assert_eq!(round(&mut TrimmedMean::around_own(), &r).offset, 20.0);
        // The trimmed mean drops us and the next instead: 20 30 40.
        assert_eq!(round(&mut TrimmedMean::both_ends(), &r).offset, 30.0);
    }
}
