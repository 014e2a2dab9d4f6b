//! How stable the own oscillator is, measured while it is followed.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::time::{RawTime, VirtualLine};

/// Shortest averaging time, ns.
const SHORTEST: i64 = 1_000_000_000;

/// How many of the last second differences count at each averaging time: an oscillator in another
/// room temperature is another oscillator.
const COUNTED: f64 = 256.0;

/// Fewer of them than this make no figure: one sigma of it is a third.
const FEWEST: f64 = 5.0;

/// Allan deviation at one averaging time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Deviation {
    /// The averaging time τ, s.
    pub tau: f64,
    /// σ_y(τ), a fraction.
    pub sigma: f64,
    /// How many second differences of the phase it was made of, as many as still count.
    pub terms: f64,
}

/// Allan deviation of our oscillator against the network's clock as the node follows it.
///
/// σ_y²(τ) = ⟨(x(t+2τ) − 2x(t+τ) + x(t))²⟩ / 2τ², x being the phase of the virtual clock against
/// the oscillator (D. W. Allan, *Statistics of atomic frequency standards*, Proc. IEEE 54(2), 1966;
/// IEEE 1139). The second differences do not overlap, so a chain of a few numbers an octave does.
///
/// At short τ this is what the network's clock is known to rather than the oscillator, and a
/// filter that averages smooths it; at long τ it is the oscillator: a random walk of its frequency
/// of w per √s shows as w·√(τ/3).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(bound = "O: Octaves")]
pub(super) struct Stability<O = [Octave; 13]> {
    /// Time scales differ by this, ns; phases are relative to it.
    base: i64,
    /// The last whole second that was looked at.
    last: i64,
    octaves: O,
}

/// Averaging times: 1 s, 2 s, 4 s, and so on.
pub trait Octaves:
    AsRef<[Octave]> + AsMut<[Octave]> + Clone + std::fmt::Debug + Default + Serialize + DeserializeOwned
{
}

impl<const COUNT: usize> Octaves for [Octave; COUNT] where
    Self: Default + Serialize + DeserializeOwned
{
}

/// One averaging time.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Octave {
    /// The last phases at multiples of τ, older first, ns.
    phases: [f64; 2],
    known: u8,
    /// Mean square of the second differences, ns².
    square: f64,
    terms: f64,
}

impl Octave {
    fn push(&mut self, phase: f64) {
        let [older, old] = self.phases;
        if self.known == 2 {
            let difference = phase - 2.0 * old + older;
            self.terms = (self.terms + 1.0).min(COUNTED);
            self.square += (difference * difference - self.square) / self.terms;
            // The next one begins where this one ends.
            self.known = 0;
        }
        self.phases = [old, phase];
        self.known += 1;
    }
}

impl<O: Octaves> Stability<O> {
    /// The virtual clock goes by `line` until `now`.
    pub(super) fn follow(&mut self, now: RawTime, line: &VirtualLine) {
        let Some(first) = self.octaves.as_ref().first().copied() else {
            return;
        };
        let second = now.as_nanos().div_euclid(SHORTEST);
        if second == self.last {
            return;
        }
        if second != self.last + 1 {
            self.interrupt();
        }
        self.last = second;
        let at = RawTime::from_nanos(second * SHORTEST);
        let (shown, fraction) = line.at_exact(at);
        let apart = shown.as_nanos() - at.as_nanos();
        if first.known == 0 && first.terms == 0.0 {
            self.base = apart;
        }
        let phase = (apart - self.base) as f64 + fraction;
        for (index, octave) in self.octaves.as_mut().iter_mut().enumerate() {
            if second % (1 << index) == 0 {
                octave.push(phase);
            }
        }
    }

    /// The clock was stepped, or nobody was followed: phases before and after are no pair.
    pub(super) fn interrupt(&mut self) {
        for octave in self.octaves.as_mut() {
            octave.known = 0;
        }
    }

    /// What is known, from the shortest averaging time on.
    pub(super) fn deviations(&self) -> impl Iterator<Item = Deviation> + '_ {
        let known = self.octaves.as_ref().iter().enumerate();
        known
            .filter(|(_, octave)| octave.terms >= FEWEST)
            .map(|(index, octave)| {
                let tau = f64::from(1_u32 << index);
                Deviation {
                    tau,
                    sigma: 1e-9 * (octave.square / 2.0).sqrt() / tau,
                    terms: octave.terms,
                }
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Rate, VirtualTime};

    /// Follows clocks whose phase at second k is `phase(k)` ns.
    fn followed(seconds: i64, mut phase: impl FnMut(i64) -> f64) -> Stability {
        let mut stability = Stability::default();
        for second in 1..=seconds {
            let at = RawTime::from_nanos(second * SHORTEST);
            let shown = VirtualTime::from_nanos(1_700_000_000_000_000_000 + at.as_nanos());
            let line = VirtualLine::new(at, shown, Rate::ZERO).stepped(at, phase(second));
            stability.follow(at, &line);
        }
        stability
    }

    fn at(stability: &Stability, tau: f64) -> Option<f64> {
        let mut known = stability.deviations();
        known.find(|d| d.tau == tau).map(|d| d.sigma)
    }

    #[test]
    fn a_constant_frequency_is_perfectly_stable() {
        let stability = followed(5_000, |k| 25_000.0 * k as f64);
        for deviation in stability.deviations() {
            assert!(deviation.sigma < 1e-15, "{deviation:?}");
        }
        assert!(at(&stability, 256.0).is_some() && at(&stability, 4_096.0).is_none());
    }

    #[test]
    fn a_sawtooth_worked_out_by_hand() {
        // Phases 0, 0, 8, 0, 0, 8, …: of three that follow each other every second difference is
        // 8 or −16; those that do not overlap meet in the same place of the period, or all places
        // by turns. Their mean square over all places is (64 + 64 + 256) / 3 = 128.
        let stability = followed(6_000, |k| if k % 3 == 2 { 8.0 } else { 0.0 });
        let sigma = at(&stability, 1.0).unwrap();
        assert!((sigma / 8e-9 - 1.0).abs() < 0.05, "{sigma}");
    }

    #[test]
    fn a_random_walk_of_frequency_grows_with_the_root_of_time() {
        let mut random = crate::link::estimators::testing::Random::new(3);
        let (mut phase, mut rate) = (0.0, 0.0);
        let stability = followed(100_000, |_| {
            let (a, b) = (random.gaussian(), random.gaussian());
            phase += rate + 0.5 * a + b / 12f64.sqrt();
            rate += a;
            phase
        });
        for tau in [1.0, 16.0, 128.0] {
            let expected = 1e-9 * (tau / 3.0_f64).sqrt();
            let ratio = at(&stability, tau).unwrap() / expected;
            assert!((0.7..1.4).contains(&ratio), "{tau}: {ratio}");
        }
    }

    #[test]
    fn what_happened_across_a_step_counts_for_nothing() {
        let mut stability = followed(100, |_| 0.0);
        let line = |second: i64| {
            let at = RawTime::from_nanos(second * SHORTEST);
            let shown = VirtualTime::from_nanos(1_600_000_000_000_000_000 + at.as_nanos());
            (at, VirtualLine::new(at, shown, Rate::ZERO))
        };
        stability.interrupt();
        for second in 101..200 {
            let (at, line) = line(second);
            stability.follow(at, &line);
        }
        // A gap interrupts by itself.
        for second in 300..400 {
            let (at, line) = line(second);
            stability.follow(at, &line.stepped(at, 1e9));
        }
        for deviation in stability.deviations() {
            assert!(deviation.sigma < 1e-15, "{deviation:?}");
        }
    }
}
