//! The guaranteed interval of a link: all lines that no packet contradicts.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::OscillatorSpec;
use super::lines::{Fan, Limit, Lines, Point, ShortPoint};

/// The limits that a hull keeps for one direction: the more, the closer to the exact convex hull.
pub trait Limits:
    AsRef<[Self::Point]>
    + AsMut<[Self::Point]>
    + Clone
    + Copy
    + std::fmt::Debug
    + Serialize
    + DeserializeOwned
{
    /// What one of them is kept as.
    type Point: Limit;
    /// All of them as they are at several instants.
    type Fans<const N: usize>: AsRef<[Fan<N>]>;

    /// Limits from above or below that say nothing.
    fn nothing(above: bool) -> Self;

    /// What `widen` makes of each.
    fn fans<const N: usize>(&self, widen: impl Fn(Point) -> Fan<N>) -> Self::Fans<N>;
}

impl<P: Limit, const K: usize> Limits for [P; K]
where
    Self: Serialize + DeserializeOwned,
{
    type Point = P;
    type Fans<const N: usize> = [Fan<N>; K];

    fn nothing(above: bool) -> Self {
        let limit = if above {
            f64::INFINITY
        } else {
            f64::NEG_INFINITY
        };
        [P::keep(Point { at: 0.0, limit }, above, 0.0); K]
    }

    #[inline]
    fn fans<const N: usize>(&self, widen: impl Fn(Point) -> Fan<N>) -> Self::Fans<N> {
        self.map(|kept| widen(kept.point()))
    }
}

/// As many as a daemon can well afford.
pub type Six = [Point; 6];

/// As many as simulations of millions of nodes can.
pub type Three = [ShortPoint; 3];

/// How many sigma of wander the guarantee covers.
const WANDER_SIGMAS: f64 = 4.0;

/// How often the specified wander is doubled at most, if the samples contradict it.
const MOST_STRAIN: u8 = 6;

/// The offsets and rates that are possible at one instant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Least offset, ns relative to the link's reference.
    pub lower: f64,
    /// Largest offset, ns relative to the link's reference.
    pub upper: f64,
    /// Least rate, as a fraction.
    pub rate_lower: f64,
    /// Largest rate, as a fraction.
    pub rate_upper: f64,
}

impl Interval {
    /// Width of the offset interval, ns.
    pub fn width(&self) -> f64 {
        self.upper - self.lower
    }
}

/// The samples contradict each other: a clock jumped, or wanders more than specified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inconsistent;

/// The wander has to become less than this share of what is expected to count as less.
const NOTABLE: f32 = 0.9;

/// Time without a contradiction after which a strained link believes in a better oscillator
/// again, minutes.
const RECOVERY: u16 = 10;

fn middle((least, most): (f64, f64)) -> f32 {
    (0.5 * (least + most)) as f32
}

fn minutes(at: f64) -> u16 {
    (at / 60.0) as i64 as u16
}

/// One direction's samples, newest first. Of samples close together (relative to their age) only
/// the tightest stays, so the kept ones reach from now far back: a convex hull in fixed memory.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(bound = "P: Limits")]
struct Side<P> {
    /// Those that are missing at first say nothing.
    points: P,
    len: u8,
}

impl<P: Limits> Side<P> {
    fn new(above: bool) -> Self {
        Self {
            points: P::nothing(above),
            len: 0,
        }
    }

    #[inline]
    fn points(&self) -> impl Iterator<Item = Point> {
        self.points.as_ref().iter().map(P::Point::point)
    }

    /// Keep `new`, a limit from above or below, if it says more than another. `rate`: the likely one;
    /// none is larger than `max_rate`.
    #[inline]
    fn push(&mut self, new: Point, above: bool, rate: f64, max_rate: f64) {
        let len = usize::from(self.len);
        let free = if len < self.points.as_ref().len() {
            self.len += 1;
            len
        } else if let Some(loser) = self.loser(&new, above, rate) {
            loser
        } else {
            return;
        };
        let points = self.points.as_mut();
        points.copy_within(..free, 1);
        points[0] = P::Point::keep(new, above, max_rate);
    }

    /// The point to give up for a new one; `None` if that says least itself.
    fn loser(&self, new: &Point, above: bool, rate: f64) -> Option<usize> {
        let crowded =
            |newer: &Point, older: &Point| (newer.at - older.at) / (1.0 + new.at - older.at);
        let mut newer = *new;
        let mut crowd = (0, f64::INFINITY, newer, newer);
        for (k, older) in self.points().enumerate() {
            let this = crowded(&newer, &older);
            if this < crowd.1 || k == 0 {
                crowd = (k, this, newer, older);
            }
            newer = older;
        }
        let (pair, _, newer, older) = crowd;
        let moved = older.limit + rate * 1e9 * (newer.at - older.at);
        let says_more = if above {
            moved < newer.limit
        } else {
            moved > newer.limit
        };
        if says_more {
            pair.checked_sub(1)
        } else {
            Some(pair)
        }
    }
}

/// Convex closures after Berthaud (see [`super::OneWay`]), with ageing.
///
/// Forward samples bound the offset line from above, reverse ones from below. A real oscillator
/// leaves its line by a random walk of its frequency; a sample of age τ is therefore widened by
/// `4·w·τ^1.5/√3`, four sigma of the phase that two oscillators gather which wander by w against
/// each other. That is √2 of the specified wander until it is known better ([`Hull::expect`]). Old
/// samples fade by themselves.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "P: Limits")]
pub struct Hull<P = Six> {
    above: Side<P>,
    below: Side<P>,
    spec: OscillatorSpec,
    strain: u8,
    /// When the strain last changed, in minutes, which wrap.
    strained: u16,
    /// A rate that was possible with the last limit; NaN if that has to be found out.
    rate: f32,
    /// How much the oscillators wander against each other at most, one sigma, as a fraction per √s.
    wander: f32,
}

impl<P: Limits> Hull<P> {
    /// An empty hull between two oscillators that keep to `spec`.
    pub fn new(spec: &OscillatorSpec) -> Self {
        Self {
            above: Side::new(true),
            below: Side::new(false),
            spec: *spec,
            strain: 0,
            strained: 0,
            rate: f32::NAN,
            wander: (spec.wander * std::f64::consts::SQRT_2) as f32,
        }
    }

    /// From now on, the oscillators are taken to wander against each other by `wander`, one sigma
    /// as a fraction per √s, in place of twice the specified one.
    pub fn expect(&mut self, wander: f64) {
        let wander = wander as f32;
        if wander > self.wander || wander < NOTABLE * self.wander {
            self.wander = wander;
            self.rate = f32::NAN;
        }
    }

    /// What the oscillators were said to keep to.
    pub fn spec(&self) -> &OscillatorSpec {
        &self.spec
    }

    /// The samples contradict what is expected at `at`: start over, and believe in oscillators
    /// that wander twice as much, so that the interval stays honest.
    pub fn relax(&mut self, at: f64) {
        *self = Self {
            strain: (self.strain + 1).min(MOST_STRAIN),
            strained: minutes(at),
            wander: self.wander,
            ..Self::new(&self.spec)
        };
    }

    /// The samples have been consistent up to `at`: after a while, believe in better oscillators
    /// again.
    pub fn recover(&mut self, at: f64) {
        if self.strain > 0 && minutes(at).wrapping_sub(self.strained) > RECOVERY {
            self.strain -= 1;
            self.strained = minutes(at);
            self.rate = f32::NAN;
        }
    }

    /// The offset at `at` is at most `limit`.
    ///
    /// # Errors
    /// [`Inconsistent`] if that contradicts what came before.
    pub fn limit_above(&mut self, at: f64, limit: f64) -> Result<(), Inconsistent> {
        let new = Point { at, limit };
        self.above
            .push(new, true, self.middle_rate(), self.max_rate());
        let known = self.allowed(&self.below, -1.0, &new, f64::from(self.rate));
        self.check(at, known)
    }

    /// The offset at `at` is at least `limit`.
    ///
    /// # Errors
    /// [`Inconsistent`] if that contradicts what came before.
    pub fn limit_below(&mut self, at: f64, limit: f64) -> Result<(), Inconsistent> {
        let new = Point { at, limit };
        self.below
            .push(new, false, self.middle_rate(), self.max_rate());
        let known = self.allowed(&self.above, 1.0, &new, f64::from(self.rate));
        self.check(at, known)
    }

    /// What is possible at `at`; `None` without samples in both directions, or if they contradict
    /// each other.
    pub fn interval(&self, at: f64) -> Option<Interval> {
        let [interval] = self.intervals(&[at]);
        interval
    }

    /// The same at several instants.
    #[inline]
    pub fn intervals<const N: usize>(&self, at: &[f64; N]) -> [Option<Interval>; N] {
        if self.above.len == 0 || self.below.len == 0 {
            return [None; N];
        }
        self.lines(at).intervals(at)
    }

    /// The same if what is believed, `offset` (ns) at `at` and `rate` (a fraction), contradicts it;
    /// otherwise `None`, after far less work. A rate that is possible is remembered for checking the
    /// limits that follow.
    pub fn contradiction(&mut self, at: f64, offset: f64, rate: f64) -> Option<Interval> {
        let believed = Point { at, limit: offset };
        if self.allowed(&self.above, 1.0, &believed, rate)
            && self.allowed(&self.below, -1.0, &believed, rate)
        {
            self.rate = rate as f32;
            return None;
        }
        let interval = self.interval(at);
        self.rate = interval.map_or(f32::NAN, |i| middle((i.rate_lower, i.rate_upper)));
        interval
    }

    /// The limits at each of the instants `at`, widened by what the clocks may have gathered since.
    #[inline]
    fn lines<const N: usize>(&self, at: &[f64; N]) -> Lines<P::Fans<N>, P::Fans<N>> {
        let widened = |side: &Side<P>, sign: f64| {
            side.points.fans(|point| Fan {
                at: point.at,
                limits: at.map(|at| point.limit + sign * self.wander(at - point.at)),
            })
        };
        Lines {
            above: widened(&self.above, 1.0),
            below: widened(&self.below, -1.0),
            max_rate: self.max_rate(),
        }
    }

    fn max_rate(&self) -> f64 {
        2.0 * self.spec.max_drift.as_fraction()
    }

    /// Whether the line through `point` at `rate` is below (`sign` 1) or above (−1) the limits of a
    /// side. Old limits are widened only where that decides.
    fn allowed(&self, side: &Side<P>, sign: f64, point: &Point, rate: f64) -> bool {
        rate.abs() <= self.max_rate()
            && side.points().all(|p| {
                let age = point.at - p.at;
                let room = sign * (p.limit + 1e9 * rate * age - point.limit);
                room >= 0.0 || room + self.wander(age) >= 0.0
            })
    }

    /// Whether any rate is left after a new limit at `at`. A rate that was possible before still
    /// is if the new limit allows it, for limits only fade; else all are looked at.
    fn check(&mut self, at: f64, known: bool) -> Result<(), Inconsistent> {
        if !known && self.above.len > 0 && self.below.len > 0 {
            let [all] = self.lines(&[at]).rates();
            self.rate = middle(all.ok_or(Inconsistent)?);
        }
        Ok(())
    }

    fn middle_rate(&self) -> f64 {
        if self.rate.is_nan() {
            0.0
        } else {
            f64::from(self.rate)
        }
    }

    /// Phase that two oscillators may have gathered off their line in `age` seconds, ns.
    fn wander(&self, age: f64) -> f64 {
        /// √⅓: of a walk of the frequency in the phase.
        const PHASE: f64 = 0.577_350_269_189_625_8;
        let age = age.abs();
        let wander = f64::from(self.wander) * f64::from(1u32 << self.strain);
        WANDER_SIGMAS * PHASE * 1e9 * wander * age * age.sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Rate;
    use proptest::prelude::*;

    fn steady() -> OscillatorSpec {
        OscillatorSpec {
            max_drift: Rate::from_ppm(100.0),
            wander: 0.0,
        }
    }

    #[test]
    fn two_exchanges_worked_out_by_hand() {
        // Truth: offset 0, rate 0. Delays 1 µs each way, ten seconds apart.
        let mut hull = Hull::<Six>::new(&steady());
        hull.limit_above(0.0, 1_000.0).unwrap();
        hull.limit_below(0.0, -1_000.0).unwrap();
        hull.limit_above(10.0, 1_000.0).unwrap();
        hull.limit_below(10.0, -1_000.0).unwrap();
        let i = hull.interval(10.0).unwrap();
        assert_eq!((i.lower, i.upper), (-1_000.0, 1_000.0));
        // 2 µs of room over 10 s: ±0.2 ppm.
        assert!((i.rate_upper - 2e-7).abs() < 1e-15);
        assert!((i.rate_lower + 2e-7).abs() < 1e-15);
        // Ten seconds later each side has grown by 0.2 ppm · 10 s.
        let i = hull.interval(20.0).unwrap();
        assert!((i.upper - 3_000.0).abs() < 1e-6 && (i.lower + 3_000.0).abs() < 1e-6);
    }

    #[test]
    fn a_belief_that_no_packet_contradicts_is_left_alone() {
        // As above: offsets within ±1 µs, rates within ±0.2 ppm.
        let mut hull = Hull::<Six>::new(&steady());
        for at in [0.0, 10.0] {
            hull.limit_above(at, 1_000.0).unwrap();
            hull.limit_below(at, -1_000.0).unwrap();
        }
        let interval = hull.interval(10.0);
        assert_eq!(hull.contradiction(10.0, 900.0, 0.0), None);
        assert_eq!(hull.contradiction(10.0, -900.0, -1.8e-7), None);
        // The line through the offset had been at 2.7 µs ten seconds before, though either alone is possible.
        assert_eq!(hull.contradiction(10.0, 900.0, -1.8e-7), interval);
        assert_eq!(hull.contradiction(10.0, 1_001.0, 0.0), interval);
        assert_eq!(hull.contradiction(10.0, 0.0, 2.1e-7), interval);
    }

    #[test]
    fn a_jump_is_a_contradiction() {
        let mut hull = Hull::<Six>::new(&steady());
        hull.limit_above(0.0, 1_000.0).unwrap();
        hull.limit_below(0.0, -1_000.0).unwrap();
        assert_eq!(hull.limit_below(0.001, 5_000.0), Err(Inconsistent));
    }

    #[test]
    fn wander_fades_old_samples() {
        let spec = OscillatorSpec {
            wander: 1e-8,
            ..steady()
        };
        let mut hull = Hull::<Six>::new(&spec);
        for k in 0..20 {
            let at = f64::from(k);
            hull.limit_above(at, 1_000.0).unwrap();
            hull.limit_below(at, -1_000.0).unwrap();
        }
        let soon = hull.interval(19.0).unwrap().width();
        let late = hull.interval(119.0).unwrap().width();
        assert!(soon <= 2_000.0 && late > 50_000.0, "{soon} {late}");
    }

    #[test]
    fn better_oscillators_make_narrower_intervals_and_worse_ones_wider() {
        let spec = OscillatorSpec {
            wander: 1e-8,
            ..steady()
        };
        let after = |expected: &[f64]| {
            let mut hull = Hull::<Six>::new(&spec);
            for k in 0..200 {
                let at = f64::from(k);
                hull.limit_above(at, 1_000.0).unwrap();
                hull.limit_below(at, -1_000.0).unwrap();
            }
            expected.iter().for_each(|wander| hull.expect(*wander));
            hull.interval(209.0).unwrap().width()
        };
        let specified = after(&[]);
        assert!(after(&[1e-9]) < 0.7 * specified);
        assert!(after(&[1e-9, 2e-8]) > 1.1 * specified);
        // Nearly the same is the same.
        assert_eq!(after(&[1e-9, 0.95e-9]), after(&[1e-9]));
    }

    proptest! {
        #[test]
        fn late_news_is_no_contradiction(
            rate in -150e-6..150e-6f64,
            steps in prop::collection::vec((0.001..2.0f64, 0.0..1e4f64, 0.0..1e4f64), 1..40),
        ) {
            // As packets that carry the stamps of earlier ones tell it: forward limits at once,
            // reverse limits one exchange late.
            let mut hull = Hull::<Six>::new(&steady());
            let (mut at, mut late) = (0.0, None);
            for (gap, out, back) in steps {
                at += gap;
                let truth = rate * 1e9 * at;
                prop_assert!(hull.limit_above(at, truth + out).is_ok());
                if let Some((then, limit)) = late.replace((at, truth - back)) {
                    prop_assert!(hull.limit_below(then, limit).is_ok());
                    let i = hull.interval(then).unwrap();
                    let truth = rate * 1e9 * then;
                    prop_assert!(i.lower <= truth + 1e-3 && truth - 1e-3 <= i.upper, "{i:?} {truth}");
                }
            }
        }

        #[test]
        fn truth_is_always_inside(
            rate in -150e-6..150e-6f64,
            steps in prop::collection::vec((0.001..20.0f64, 0.0..1e6f64, 0.0..1e6f64), 1..80),
        ) {
            let mut hull = Hull::<Six>::new(&steady());
            let mut at = 0.0;
            for (gap, out, back) in steps {
                at += gap;
                let truth = rate * 1e9 * at;
                prop_assert!(hull.limit_above(at, truth + out).is_ok());
                prop_assert!(hull.limit_below(at, truth - back).is_ok());
                let i = hull.interval(at).unwrap();
                let slack = 1e-6 * truth.abs().max(1.0);
                prop_assert!(i.lower <= truth + slack && truth - slack <= i.upper);
                prop_assert!(i.rate_lower <= rate + 1e-12 && rate - 1e-12 <= i.rate_upper);
            }
        }
    }
}
