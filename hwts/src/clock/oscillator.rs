//! A deliberately bad clock with an exactly known truth.

use std::cell::Cell;

use super::{FRACTION_BITS, fixed_rate, scale_rate};

/// Length of the segments in which the frequency is constant: 2²⁷ ns, about 134 ms.
const SEGMENT_BITS: u32 = 27;
const SEGMENT_SECS: f64 = (1_u64 << SEGMENT_BITS) as f64 / 1e9;
/// No oscillator runs more than this much fast or slow, however far its walk goes.
const MAX_RATE: i64 = 1 << (FRACTION_BITS - 1);

/// How an [`Oscillator`] misbehaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OscillatorSpec {
    /// The instant, on `CLOCK_MONOTONIC_RAW`, at which it reads `start + offset`.
    pub start: i64,
    /// Phase error at `start`, ns.
    pub offset: i64,
    /// Frequency error at `start`, parts per million.
    pub ppm: f64,
    /// Random-walk frequency noise: standard deviation of the change of the fractional frequency
    /// over one second (grows with √time). A cheap quartz has 1e-9, a good one 1e-11.
    pub walk: f64,
    /// Which walk: equal specs give equal oscillators.
    pub seed: u64,
}

/// An oscillator over `CLOCK_MONOTONIC_RAW` with a constant offset, a constant frequency error and
/// a random walk of its frequency.
///
/// It is a pure function of the raw instant and of its [`OscillatorSpec`]: clones, on whichever
/// threads, always agree, and the true phase and frequency are known exactly at any instant. It is
/// strictly deterministic, never runs backwards, and loses no precision over years (phase is
/// integer, in 2⁻⁶⁰ ns).
///
/// The walk is piecewise constant over 2²⁷ ns. Reads near the last read cost a few nanoseconds; a
/// read `d` away from it, in either direction, costs `d / 134 ms` steps of a few nanoseconds.
///
/// Not `Sync`, since it remembers where it was read last: clone it for each thread.
#[derive(Debug, Clone)]
pub struct Oscillator {
    spec: OscillatorSpec,
    base: i64,
    step: f64,
    cursor: Cell<Segment>,
}

#[derive(Debug, Clone, Copy)]
struct Segment {
    index: i64,
    /// Excess over the raw clock at the start of the segment, 2⁻⁶⁰ ns.
    phase: i128,
    /// Sum of the walk's steps, 2⁻⁶⁰.
    walk: i64,
}

impl Oscillator {
    /// The oscillator of `spec`. Values that make no sense (NaN, half nominal frequency or worse)
    /// are limited to those that do.
    pub fn new(spec: OscillatorSpec) -> Self {
        let step = spec.walk.abs() * SEGMENT_SECS.sqrt() * (1_i64 << FRACTION_BITS) as f64;
        Self {
            spec,
            base: fixed_rate(spec.ppm * 1e-6).clamp(-MAX_RATE, MAX_RATE),
            step: if step.is_finite() { step } else { 0.0 },
            cursor: Cell::new(Segment {
                index: 0,
                phase: 0,
                walk: 0,
            }),
        }
    }

    /// What it was made from.
    pub const fn spec(&self) -> &OscillatorSpec {
        &self.spec
    }

    /// What the oscillator reads, in ns, when `CLOCK_MONOTONIC_RAW` reads `mono`.
    #[inline]
    pub fn at(&self, mono: i64) -> i64 {
        let elapsed = i128::from(mono) - i128::from(self.spec.start);
        let segment = self.seek((elapsed >> SEGMENT_BITS) as i64);
        let within = elapsed - (i128::from(segment.index) << SEGMENT_BITS);
        let excess = segment.phase + within * i128::from(self.rate(segment));
        let reading = i128::from(mono) + i128::from(self.spec.offset) + (excess >> FRACTION_BITS);
        reading.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
    }

    /// The true frequency error at `mono`, as a fraction: the oscillator gains that many seconds
    /// each second of `CLOCK_MONOTONIC_RAW`.
    pub fn true_rate_at(&self, mono: i64) -> f64 {
        let elapsed = i128::from(mono) - i128::from(self.spec.start);
        scale_rate(self.rate(self.seek((elapsed >> SEGMENT_BITS) as i64)))
    }

    /// The raw duration that passes while the oscillator advances by `span` ns around `mono`; good
    /// to the walk within the span. For timeouts.
    pub fn to_mono_span(&self, mono: i64, span: i64) -> i64 {
        (span as f64 / (1.0 + self.true_rate_at(mono))).round() as i64
    }

    fn rate(&self, segment: Segment) -> i64 {
        self.base
            .saturating_add(segment.walk)
            .clamp(-MAX_RATE, MAX_RATE)
    }

    #[inline]
    fn seek(&self, index: i64) -> Segment {
        let segment = self.cursor.get();
        if segment.index == index {
            return segment;
        }
        let segment = self.walk_to(segment, index);
        self.cursor.set(segment);
        segment
    }

    // Each step of the walk is exactly undone by stepping back, so the past is as exact as the
    // future and nothing needs to be remembered.
    fn walk_to(&self, mut segment: Segment, index: i64) -> Segment {
        while segment.index < index {
            segment.phase += i128::from(self.rate(segment)) << SEGMENT_BITS;
            segment.index += 1;
            segment.walk = segment.walk.wrapping_add(self.increment(segment.index));
        }
        while segment.index > index {
            segment.walk = segment.walk.wrapping_sub(self.increment(segment.index));
            segment.index -= 1;
            segment.phase -= i128::from(self.rate(segment)) << SEGMENT_BITS;
        }
        segment
    }

    /// The change of frequency at the start of segment `index`.
    fn increment(&self, index: i64) -> i64 {
        (self.step * gaussian(self.spec.seed, index as u64)) as i64
    }
}

/// Nearly normal, zero mean, unit variance, a pure function of its arguments: the sum of four
/// uniform 16-bit lanes of one hash (kurtosis −0.3, which a walk soon forgets).
fn gaussian(seed: u64, index: u64) -> f64 {
    let h = splitmix64(splitmix64(seed) ^ index);
    let sum: u64 = (0..4).map(|lane| (h >> (16 * lane)) & 0xffff).sum();
    // Each lane: mean 65535/2, variance (2³² − 1)/12.
    (sum as f64 - 131_070.0) / (4.0 * 4_294_967_295.0_f64 / 12.0).sqrt()
}

/// The output function of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
const fn splitmix64(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: i64 = 1_000_000_000;
    const DAY: i64 = 86_400 * SECOND;

    fn spec(ppm: f64, walk: f64, seed: u64) -> OscillatorSpec {
        OscillatorSpec {
            start: 5 * SECOND + 123,
            offset: -500_000_000,
            ppm,
            walk,
            seed,
        }
    }

    #[test]
    fn without_a_walk_it_is_a_line_for_days() {
        let o = Oscillator::new(spec(50.0, 0.0, 1));
        let start = o.spec().start;
        assert_eq!(o.at(start), start - 500_000_000);
        for elapsed in [1, SECOND, DAY, 10 * DAY] {
            let want = start - 500_000_000 + elapsed + elapsed / 20_000;
            assert!((o.at(start + elapsed) - want).abs() <= 1);
        }
    }

    #[test]
    fn the_true_rate_is_the_slope() {
        let o = Oscillator::new(spec(-20.0, 1e-6, 7));
        for k in 0..50 {
            // Within one segment.
            let from = o.spec().start + (k << SEGMENT_BITS);
            let to = from + (1 << SEGMENT_BITS);
            let slope = (o.at(to) - o.at(from)) as f64 / (to - from) as f64 - 1.0;
            let rate = o.true_rate_at(from);
            assert!((slope - rate).abs() < 2.0 / (1_u64 << SEGMENT_BITS) as f64);
            assert_eq!(rate, o.true_rate_at(to - 1));
        }
    }

    #[test]
    fn the_walk_has_the_deviation_it_was_asked_for() {
        let (walk, seconds, runs) = (1e-9, 100, 400);
        let sum: f64 = (0..runs)
            .map(|seed| {
                let o = Oscillator::new(spec(10.0, walk, seed));
                let start = o.spec().start;
                (o.true_rate_at(start + seconds * SECOND) - o.true_rate_at(start)).powi(2)
            })
            .sum();
        let deviation = (sum / runs as f64).sqrt();
        let want = walk * (seconds as f64).sqrt();
        assert!((deviation / want - 1.0).abs() < 0.15, "{deviation:e}");
    }

    #[test]
    fn the_steps_are_centred_and_of_unit_variance() {
        let n = 100_000;
        let (mut sum, mut squares) = (0.0, 0.0);
        for i in 0..n {
            let g = gaussian(3, i);
            sum += g;
            squares += g * g;
        }
        assert!((sum / n as f64).abs() < 0.02);
        assert!((squares / n as f64 - 1.0).abs() < 0.02);
    }

    #[test]
    fn senseless_specs_do_no_harm() {
        for (ppm, walk) in [(f64::NAN, f64::NAN), (1e12, 1e12), (-1e12, f64::INFINITY)] {
            let o = Oscillator::new(spec(ppm, walk, 0));
            assert!(o.at(SECOND) <= o.at(100 * SECOND));
            assert!(o.true_rate_at(100 * SECOND).abs() <= 0.5);
            o.at(1_000 * SECOND);
        }
    }

    proptest! {
        #[test]
        fn it_is_a_pure_function_of_the_instant(
            ppm in -500.0_f64..500.0,
            walk in 0.0_f64..1e-6,
            seed: u64,
            instants in proptest::collection::vec(-20 * SECOND..20 * SECOND, 1..20),
        ) {
            let one = Oscillator::new(spec(ppm, walk, seed));
            for mono in instants {
                let fresh = Oscillator::new(spec(ppm, walk, seed));
                prop_assert_eq!(one.at(mono), fresh.at(mono));
                prop_assert_eq!(one.clone().at(mono), fresh.at(mono));
            }
        }

        #[test]
        fn it_never_runs_backwards(
            ppm in -100_000.0_f64..100_000.0,
            walk in 0.0_f64..1e-4,
            seed: u64,
            mono in -20 * SECOND..20 * SECOND,
            step in 0_i64..3_000_000,
        ) {
            let o = Oscillator::new(spec(ppm, walk, seed));
            let (a, b, c) = (o.at(mono), o.at(mono + 1), o.at(mono + 1 + step));
            prop_assert!(a <= b && b <= c);
        }

        #[test]
        fn spans_convert_to_within_the_walk(span in 0_i64..10 * SECOND, seed: u64) {
            let o = Oscillator::new(spec(300.0, 1e-9, seed));
            let mono = o.to_mono_span(8 * SECOND, span);
            prop_assert!((o.at(8 * SECOND + mono) - o.at(8 * SECOND) - span).abs() < 1_000);
        }
    }
}
