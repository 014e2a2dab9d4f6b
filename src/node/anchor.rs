//! What keeps the network's frequency from running away.
//!
//! Nodes agree on phases through paths whose two directions differ. Those differences cancel only where
//! all use each other alike; elsewhere the network is drawn one way for ever, and as each node takes
//! that for the network's frequency and follows, its frequency rises without end (400 nodes on
//! wide-area links: 7 ppm in half an hour, until the leash holds). No node sees it: all do alike.
//!
//! The oscillators do not take part in it. So each node knows how much faster the virtual clock runs
//! than the typical oscillator around it, tells it, and leans towards what its neighbours tell, as the
//! neighbours of each are others. What comes of that, the *excess*, is nearly the same everywhere
//! (an average of all nodes' views), so all can slow down alike, with a time constant of [`RETURN`]
//! polls, without anybody moving against the others.

use super::round::Readings;
use super::{Node, Size};
use crate::consensus::{self, Combine};
use crate::link::LinkEstimator;
use crate::time::Span;
use crate::wire::Excess;

/// Share of the way to the neighbours' view that is gone with each poll.
const GAIN: f64 = 0.3;

/// Polls in which a node's own view would replace the others'.
const OWN: f64 = 100.0;

/// Polls in which the excess would be gone.
const RETURN: f64 = 100.0;

/// A typical oscillator of n is known to this share of what each may be off by, over √n.
const UNSURE: f64 = 0.5;

/// No more of it is corrected at a time, as a fraction.
const MOST: f64 = 20e-6;

/// How much faster the virtual clock runs than the typical oscillator, as far as a node knows.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Anchor {
    excess: Option<f64>,
}

impl Anchor {
    /// What others are told.
    pub(super) fn excess(self) -> Excess {
        self.excess.map_or(Excess::UNKNOWN, Excess::new)
    }

    /// The neighbours `told` theirs, as far as they know, and `own` is what the oscillators around
    /// us say, all as fractions; a part of a poll, `share`, will have passed until the next time. By how much the
    /// frequency is to change; an excess within `unsure` is none.
    fn lean(
        &mut self,
        told: impl Iterator<Item = Option<f64>>,
        own: f64,
        share: f64,
        unsure: f64,
    ) -> f64 {
        let excess = self.excess.unwrap_or(0.0);
        // Those who know first may be liars: who does not know yet counts as being of our opinion.
        let others = consensus::agreed(told.map(|told| told.map_or(0.0, |told| told - excess)));
        let excess = excess + share * (GAIN * others + (own - excess) / OWN);
        self.excess = Some(excess);
        let sure = (excess.abs() - unsure).clamp(0.0, MOST);
        -share / RETURN * sure.copysign(excess)
    }
}

impl<E: LinkEstimator, C: Combine, S: Size> Node<E, C, S> {
    /// By how much the network's frequency is to change until the next round.
    pub(super) fn anchor(&mut self, period: Span, readings: &Readings) -> f64 {
        let Some(centre) = consensus::oscillator_centre(readings.as_slice()) else {
            self.clock.anchor = Anchor::default();
            return 0.0;
        };
        let told = readings.slots().iter().map(|index| {
            let slot = self.slots[usize::from(*index)].as_ref()?;
            slot.excess.fraction().filter(|_| slot.is_ready())
        });
        // What few oscillators tell is no reason to move: parts of a network would part for it.
        let heard = readings.as_slice().len() as f64;
        let unsure = UNSURE * self.config.oscillator.max_drift.as_fraction() / heard.sqrt();
        let own = self.clock.view.line.rate().as_fraction() - centre.rate;
        let share = period.as_nanos_f64() / self.poll_period().as_nanos_f64();
        self.clock.anchor.lean(told, own, share, unsure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 24 nodes who each hear six others and see the typical oscillator up to 6 ppm wrongly, in a
    /// network whose frequency rises by `ramp` a poll; `liars` tell each node that the clock is
    /// much too slow. The frequency (ppm) after an hour, and how far apart they lean at most.
    fn hour(ramp: f64, liars: usize) -> (f64, f64) {
        let mut all = vec![Anchor::default(); 24];
        let (mut frequency, mut apart) = (0.0, 0.0_f64);
        for _ in 0..3_600 {
            let told: Vec<f64> = all.iter().map(|a| a.excess.unwrap_or(0.0)).collect();
            let leans: Vec<f64> = (0..24)
                .map(|n| {
                    let wrong = 6e-6 * (2.0 * n as f64 / 23.0 - 1.0);
                    let others = [1, 5, 7, 11, 17, 20].map(|k| told[(n + k) % 24]);
                    let lies = std::iter::repeat_n(-100e-6, liars);
                    let told = others.into_iter().chain(lies).map(Some);
                    all[n].lean(told, frequency + wrong, 1.0, 5e-6)
                })
                .collect();
            let most = leans.iter().copied().fold(f64::MIN, f64::max);
            apart = apart.max(most - leans.iter().copied().fold(f64::MAX, f64::min));
            frequency += ramp + leans.iter().sum::<f64>() / 24.0;
        }
        (1e6 * frequency, apart)
    }

    #[test]
    fn a_frequency_that_rises_for_ever_is_held() {
        // Alone it would be at 180 ppm: it is held where leaning outweighs it, 5 ppm past the rest.
        let (frequency, apart) = hour(50e-9, 0);
        assert!((9.0..11.0).contains(&frequency), "{frequency}");
        assert!(apart < 6e-9, "{apart}");
    }

    #[test]
    fn a_frequency_near_the_middle_is_left_alone() {
        let (frequency, _) = hour(1e-9, 0);
        assert!((3.5..3.7).contains(&frequency), "{frequency}");
    }

    #[test]
    fn liars_who_tell_first_lead_nobody() {
        let mut anchor = Anchor::default();
        for _ in 0..1_000 {
            let told = [Some(-100e-6), Some(-100e-6), None, None, None, None];
            anchor.lean(told.into_iter(), 1e-6, 1.0, 5e-6);
        }
        let excess = anchor.excess.unwrap_or(0.0);
        assert!((excess - 1e-6).abs() < 0.1e-6, "{excess}");
    }

    #[test]
    fn liars_hold_nobody_back() {
        let (honest, _) = hour(50e-9, 0);
        let (beset, _) = hour(50e-9, 2);
        assert!((beset - honest).abs() < 1.0, "{honest} {beset}");
    }
}
