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
