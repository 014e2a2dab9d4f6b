//! Strategies for many links, each in a file of its own.
//!
//! `docs/algorithms.md` compares them. Those from the literature bring their own rule against
//! liars, if they have one, and their own gain ([`Combine::gated`](super::Combine::gated),
//! [`Gain`](super::Gain)).

mod any;
mod clocks;
mod cnv;
mod ensemble;
mod gradient;
mod loop_consistent;
mod mean_coupling;
mod median;
mod midpoint;
mod robust_mean;
mod skewless;
mod tiers;
mod trimmed_mean;

pub use any::{AnyCombine, CombineKind, UnknownCombination};
pub use cnv::Cnv;
pub use ensemble::Ensemble;
pub use gradient::Gradient;
pub use loop_consistent::LoopConsistent;
pub use mean_coupling::MeanCoupling;
pub use median::Median;
pub use midpoint::Midpoint;
pub use robust_mean::RobustMean;
pub use skewless::Skewless;
pub use tiers::Tiers;
pub use trimmed_mean::TrimmedMean;

#[cfg(test)]
pub(super) mod tests {
    use crate::consensus::gate::tests::reading;
    use crate::consensus::{Combine, Correction, MAX_READINGS, Reading, Round, Verdict};
    use crate::consensus::{admit, judge};
    use crate::time::{Rate, RawTime, Span, VirtualLine, VirtualTime};

    /// Ready readings with these offsets, ns.
    pub(in crate::consensus) fn readings(offsets: &[f64]) -> Vec<Reading> {
        offsets.iter().copied().map(reading).collect()
    }

    /// One round of a second, with the verdicts the strategy asks for.
    pub(in crate::consensus) fn round(
        strategy: &mut impl Combine,
        readings: &[Reading],
    ) -> Correction {
        let mut verdicts = [Verdict::NotReady; MAX_READINGS];
        let verdicts = &mut verdicts[..readings.len()];
        if strategy.gated() {
            judge(readings, verdicts);
        } else {
            admit(readings, verdicts);
        }
        strategy.combine(&Round {
            readings,
            verdicts,
            period: Span::from_secs(1),
            now: RawTime::from_nanos(0),
            line: VirtualLine::new(
                RawTime::from_nanos(0),
                VirtualTime::from_nanos(0),
                Rate::ZERO,
            ),
        })
    }
}
