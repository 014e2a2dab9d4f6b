//! Mean coupling: every clock is pulled towards the mean of those it sees.
//!
//! R. Baldoni, A. Corsaro, L. Querzoni, S. Scipioni, S. Tucci Piergiovanni, *Coupling-based
//! internal clock synchronization for large-scale dynamic distributed systems*, IEEE TPDS 21(5),
//! 2010:
//!
//! `Cᵢ ← Cᵢ + K · mean over neighbours j of (Cⱼ − Cᵢ)`, the neighbours a uniform sample.
//!
//! **Wins** where everybody is honest and links are alike: no estimator of a common value has a
//! smaller variance than the mean if errors are Gaussian, and uniform samples mix in O(log n)
//! rounds. With K = (n−1)/n on a full mesh it is the averaging algorithm of J. Lundelius and
//! N. Lynch, 1984, which reaches their lower bound ε(1−1/n).
//! **Fails** with the first liar, who may pull it anywhere; a bad link counts as much as a good
//! one; on a line of nodes the skew between neighbours grows with the length of the line.

use serde::{Deserialize, Serialize};

use super::clocks::{Clocks, correcting};
use crate::consensus::{Combine, Correction, Round};

/// The rule with its coupling factor.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MeanCoupling {
    coupling: f64,
}

impl MeanCoupling {
    /// The rule with coupling factor `k`, more than 0 and at most 1: large converges fast, small
    /// averages noise away.
    pub const fn new(k: f64) -> Self {
        Self { coupling: k }
    }
}

impl Default for MeanCoupling {
    /// Half way: quick to settle, and two nodes that only see each other do not swap places.
    fn default() -> Self {
        Self::new(0.5)
    }
}

impl Combine for MeanCoupling {
    fn gated(&self) -> bool {
        false
    }

    fn combine(&mut self, round: &Round<'_>) -> Correction {
        let gain = correcting(self.coupling);
        // Our own clock is not one of the sample: what is with it sums to the same, over one less.
        Clocks::of(round).towards(gain, |clocks| {
            let neighbours = clocks.len().checked_sub(1).filter(|n| *n > 0)?;
            Some(clocks.values().iter().sum::<f64>() / neighbours as f64)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{readings, round};
    use super::*;

    #[test]
    fn three_neighbours_by_hand() {
        // mean(30, 60, −30) = 20, of which half is corrected.
        let c = round(
            &mut MeanCoupling::default(),
            &readings(&[30.0, 60.0, -30.0]),
        );
        assert_eq!((c.offset, c.used), (20.0, 4));
        assert_eq!(c.gain.unwrap().offset, 0.5);
    }

    #[test]
    fn one_liar_pulls_it_anywhere() {
        let c = round(&mut MeanCoupling::default(), &readings(&[0.0, 0.0, 3e9]));
        assert_eq!(c.offset, 1e9);
    }

    #[test]
    fn nobody_to_follow() {
        assert_eq!(round(&mut MeanCoupling::default(), &[]).offset, 0.0);
    }
}
