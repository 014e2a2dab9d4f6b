//! What the rules of this room have in common: the clocks of a round, our own among them.

use crate::consensus::stats::Sample;
use crate::consensus::{Correction, Gain, Round, tolerated_liars};

/// The gain of a rule that corrects this `share` of the offset, and a tenth of the frequency. The
/// classic papers correct the offset alone; that rates may be agreed on by the same rule is shown by
/// P. Khanchandani and C. Lenzen, *Self-stabilizing Byzantine clock synchronization with optimal
/// precision*, 2018. As slews are limited here ([`Gain`]), a rule that left the frequency to the
/// oscillator would fall behind.
pub(super) const fn correcting(share: f64) -> Gain {
    Gain {
        offset: share,
        rate: 0.1,
    }
}

/// Offsets (ns) and rates against our own clock, which is the first of both and zero.
pub(super) struct Clocks {
    pub(super) offsets: Sample,
    pub(super) rates: Sample,
    sigmas: Sample,
    rate_sigmas: Sample,
}

impl Clocks {
    /// The clocks that count in `round`.
    pub(super) fn of(round: &Round<'_>) -> Self {
        let own = std::iter::once(0.0);
        Self {
            offsets: own.clone().chain(round.used().map(|r| r.offset)).collect(),
            rates: own.chain(round.used().map(|r| r.rate)).collect(),
            sigmas: round.used().map(|r| r.sigma).collect(),
            rate_sigmas: round.used().map(|r| r.rate_sigma).collect(),
        }
    }

    /// How many clocks, our own included.
    pub(super) fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Liars that so many clocks can tolerate.
    pub(super) fn liars(&self) -> usize {
        tolerated_liars(self.len())
    }

    /// The typical sigma of an offset, ns; zero without neighbours.
    pub(super) fn sigma(&mut self) -> f64 {
        self.sigmas.lower_median().unwrap_or(0.0)
    }

    /// The typical sigma of a rate; zero without neighbours.
    pub(super) fn rate_sigma(&mut self) -> f64 {
        self.rate_sigmas.lower_median().unwrap_or(0.0)
    }

    /// To the `centre` of the offsets and of the rates. One sigma of the result is that of the mean
    /// of so many clocks that scatter as these do.
    pub(super) fn towards(
        mut self,
        gain: Gain,
        centre: impl Fn(&mut Sample) -> Option<f64>,
    ) -> Correction {
        let offset = centre(&mut self.offsets).unwrap_or(0.0);
        let spread = self.offsets.spread(offset);
        let sigma = self.sigma();
        Correction {
            offset,
            sigma: ((sigma * sigma + spread * spread) / self.len() as f64).sqrt(),
            rate: centre(&mut self.rates).unwrap_or(0.0),
            used: self.len(),
            gain: Some(gain),
        }
    }
}
