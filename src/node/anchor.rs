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
//!
//! Where [references](super::reference) are heard, what they tell takes the place of the oscillators.

use serde::{Deserialize, Serialize};

use super::reference::Witness;
use super::round::Readings;
use super::slot::Slot;
use super::{Node, Size};
use crate::consensus::{self, Combine};
use crate::link::LinkEstimator;
use crate::time::{Rate, RawTime, Span};
use crate::wire::Excess;

/// Share of the way to the neighbours' view that is gone with each poll.
const GAIN: f64 = 0.3;

/// Polls in which a node's own view would replace the others'.
const OWN: f64 = 100.0;

/// The same of what references tell: not sooner, or nodes that hear different ones would move against
/// each other.
const TRUSTED: f64 = 20.0;

/// Polls in which the excess would be gone.
pub(super) const RETURN: f64 = 100.0;

/// A typical oscillator of n is known to this share of what each may be off by, over √n.
const UNSURE: f64 = 0.5;

/// Neighbours' views count as no farther apart than this, as a fraction: a host with more liars around
/// it than are left out would lean by itself, and leave the others.
const APART: f64 = 2e-6;

/// No more of it is corrected at a time, as a fraction.
pub(super) const MOST: f64 = 20e-6;

/// How much faster the virtual clock runs than the typical oscillator, as far as a node knows.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Anchor {
    excess: Option<f64>,
    /// What a reference tells instead.
    witness: Option<Witness>,
}

/// What a node knows of the excess by itself.
struct Own {
    excess: f64,
    /// So much of it is none.
    unsure: f64,
    /// Polls in which it would replace the others' view.
    polls: f64,
}

impl Anchor {
    /// The neighbours `told` theirs, as far as they know; a part of a poll, `share`, will have passed
    /// until the next time. By how much the frequency is to change. All are fractions.
    fn lean(&mut self, told: impl Iterator<Item = Option<f64>>, own: &Own, share: f64) -> f64 {
        let excess = self.excess.unwrap_or(0.0);
        // Those who know first may be liars: who does not know yet counts as being of our opinion.
        let apart = |told: Option<f64>| told.map_or(0.0, |told| told - excess);
        let others = told.map(|told| apart(told).clamp(-APART, APART));
        let others = consensus::agreed(others);
        let excess = excess + share * (GAIN * others + (own.excess - excess) / own.polls);
        self.excess = Some(excess);
        let sure = (excess.abs() - own.unsure).clamp(0.0, MOST);
        -share / RETURN * sure.copysign(excess)
    }
}

impl<E: LinkEstimator, C: Combine, S: Size> Node<E, C, S> {
    /// By how much the network's frequency is to change until the next round.
    pub(super) fn anchor(&mut self, now: RawTime, period: Span, readings: &Readings) -> f64 {
        let share = period.as_nanos_f64() / self.poll_period().as_nanos_f64();
        if let Some(truth) = self.clock.truth.flatten() {
            let witness = self.clock.anchor.witness.get_or_insert_default();
            witness.look(now, &self.clock.view.line, truth.as_fraction(), share);
        }
        let so_far = self.clock.anchor.excess.unwrap_or(0.0);
        let own = if let Some(excess) = self.excess_by_references(readings) {
            Own {
                // Who alone hears this one must not leave the others either.
                excess: so_far + (excess - so_far).clamp(-APART, APART),
                unsure: 0.0,
                polls: TRUSTED,
            }
        } else if let Some(centre) = consensus::oscillator_centre(readings.as_slice()) {
            // What few oscillators tell is no reason to move: parts of a network would part for it.
            let heard = readings.as_slice().len() as f64;
            Own {
                excess: self.clock.view.line.rate().as_fraction() - centre.rate,
                unsure: UNSURE * self.config.oscillator.max_drift.as_fraction() / heard.sqrt(),
                polls: OWN,
            }
        } else {
            self.clock.anchor.excess = None;
            return 0.0;
        };
        let told = readings.slots().iter().map(|index| {
            let slot = self.slots[usize::from(*index)].as_ref()?;
            slot.excess.fraction().filter(|_| slot.is_ready())
        });
        self.clock.anchor.lean(told, &own, share)
    }

    /// What others are told of the network's frequency.
    pub(super) fn told_excess(&self) -> Excess {
        let Anchor { excess, witness } = self.clock.anchor;
        let told = match self.clock.truth {
            // A reference bears witness or says nothing; before it saw anything all may stay.
            Some(truth) => truth.map(|_| witness.and_then(Witness::told).unwrap_or(0.0)),
            None => excess,
        };
        told.map_or(Excess::UNKNOWN, Excess::new)
    }

    /// By how much references ask the network's clock to be slower, as a fraction: as much as it is too
    /// fast, and what holds it against whatever pushes it. Without references, how much faster it runs
    /// than the typical oscillator; a reference says how much too fast it sees it. `None` until that is known.
    pub fn excess(&self) -> Option<f64> {
        let Anchor { excess, witness } = self.clock.anchor;
        witness.and_then(Witness::seen).or(excess)
    }

    /// References that are heard and know, this node counted if it is one.
    pub fn references(&self) -> usize {
        let slots = self.slots.iter().flatten();
        let heard = slots.filter(|s| s.is_neighbour() && s.reachable() && s.is_knowing());
        heard.count() + usize::from(self.clock.truth.flatten().is_some())
    }

    /// This node is a reference to those who trust it: `rate` is the frequency of true time against
    /// its raw clock, none if that is right; `None` while it does not know.
    pub const fn truth(&mut self, rate: Option<Rate>) {
        self.clock.truth = Some(rate);
        if rate.is_none() {
            self.clock.anchor.witness = None;
        }
    }

    /// How fast our clock is to run in a network that forms, as far as references are heard: as
    /// theirs do, if their frequency is known to within `sigma`.
    pub(super) fn true_rate(&self, readings: &Readings, sigma: f64) -> Option<Rate> {
        if let Some(truth) = self.clock.truth.flatten() {
            return Some(truth);
        }
        let all = readings.slots().iter().zip(readings.as_slice());
        let trusted = all.filter(|(index, reading)| {
            let slot = self.slots[usize::from(**index)].as_ref();
            slot.is_some_and(Slot::is_knowing) && reading.rate_sigma <= sigma
        });
        let apart = median(trusted.map(|(_, reading)| reading.rate))?;
        Some(self.clock.view.line.rate() + Rate::from_fraction(apart))
    }

    /// How much faster the virtual clock runs than is true, as references tell, we among them if we
    /// are one: the median.
    fn excess_by_references(&self, readings: &Readings) -> Option<f64> {
        let slots = readings.slots().iter();
        let slots = slots.filter_map(|index| self.slots[usize::from(*index)].as_ref());
        let trusted = slots.filter(|slot| slot.is_knowing() && slot.is_ready());
        let told = trusted.filter_map(|slot| slot.excess.fraction());
        let own = self.clock.anchor.witness.and_then(Witness::told);
        median(told.chain(own))
    }
}

/// Of an even number the middle of the two in the middle.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: consensus::Sample = values.collect();
    let mut mirrored: consensus::Sample = values.values().iter().map(|value| -value).collect();
    Some(0.5 * (values.lower_median()? - mirrored.lower_median()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(excess: f64) -> Own {
        Own {
            excess,
            unsure: 5e-6,
            polls: OWN,
        }
    }

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
                    all[n].lean(told, &own(frequency + wrong), 1.0)
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
            anchor.lean(told.into_iter(), &own(1e-6), 1.0);
        }
        let excess = anchor.excess.unwrap_or(0.0);
        assert!((excess - 1e-6).abs() < 0.1e-6, "{excess}");
    }

    #[test]
    fn a_reference_that_knows_no_more_says_nothing() {
        use crate::node::{Node, NodeConfig};
        use crate::time::{VirtualLine, VirtualTime};
        let now = RawTime::from_nanos(0);
        let line = VirtualLine::new(now, VirtualTime::from_nanos(0), Rate::ZERO);
        let mut node: Node = Node::new(NodeConfig::default(), now, line, 1);
        assert_eq!(
            (node.references(), node.told_excess()),
            (0, Excess::UNKNOWN)
        );
        node.truth(Some(Rate::from_ppm(3.0)));
        assert_eq!(
            (node.references(), node.told_excess()),
            (1, Excess::new(0.0))
        );
        node.clock.anchor.witness = Some(Witness::default());
        node.truth(None);
        assert_eq!(
            (node.references(), node.told_excess()),
            (0, Excess::UNKNOWN)
        );
        assert!(node.clock.anchor.witness.is_none());
    }

    #[test]
    fn more_liars_than_are_left_out_lead_nobody_far() {
        let mut anchor = Anchor::default();
        for _ in 0..1_000 {
            let told = [1e-6; 6].into_iter().chain([-100e-6; 4]).map(Some);
            anchor.lean(told, &own(1e-6), 1.0);
        }
        let excess = anchor.excess.unwrap_or(0.0);
        assert!((excess - 1e-6).abs() < 1e-6, "{excess}");
    }

    #[test]
    fn liars_hold_nobody_back() {
        let (honest, _) = hour(50e-9, 0);
        let (beset, _) = hour(50e-9, 2);
        assert!((beset - honest).abs() < 1.0, "{honest} {beset}");
    }
}
