//! A steerable clock that touches nobody else's.

use super::{
    Clock, ClockError, FRACTION_BITS, RawClock, Steering, SyncStatus, fixed_rate, scale_rate,
};
use crate::sync::{SeqReader, SeqWriter, seqlock};

/// What the kernel's clock can do as well.
const MAX_RATE: f64 = 0.1;
const ONE: i128 = 1 << FRACTION_BITS;
/// One line: origin, phase (two words), rate.
const LINE_WORDS: usize = 4;
const WORDS: usize = 2 * LINE_WORDS;

/// An adjustable clock over a raw clock: needs no privilege, disturbs nobody, and behaves like the
/// system clock (rates of ±10 %, steps, optionally a coarse rate resolution).
///
/// What it reads at any raw instant can be computed on other threads through a
/// [`VirtualReader`].
#[derive(Debug)]
pub struct VirtualClock {
    raw: RawClock,
    quantum: Option<f64>,
    before: Line,
    line: Line,
    status: SyncStatus,
    shared: SeqWriter<WORDS>,
}

impl VirtualClock {
    /// A clock that reads `reading` now and runs with `raw`.
    pub fn new(raw: RawClock, reading: i64) -> Self {
        let line = Line {
            origin: raw.now(),
            phase: i128::from(reading) << FRACTION_BITS,
            rate: 0,
        };
        let (shared, _) = seqlock(words(line, line));
        Self {
            raw,
            quantum: None,
            before: line,
            line,
            status: SyncStatus::default(),
            shared,
        }
    }

    /// The same clock, whose rate can only be set in multiples of `quantum` (a fraction), as
    /// hardware does.
    #[must_use]
    pub fn with_rate_quantum(mut self, quantum: f64) -> Self {
        self.quantum = (quantum > 0.0 && quantum.is_finite()).then_some(quantum);
        self
    }

    /// A reader for another thread.
    pub fn reader(&self) -> VirtualReader {
        VirtualReader {
            shared: self.shared.reader(),
        }
    }

    /// What it reads at a raw instant, ns. Exact since the change before the last one.
    pub fn at(&self, raw: i64) -> i64 {
        reading(self.before, self.line, raw)
    }

    fn replace(&mut self, line: Line) {
        self.before = self.line;
        self.line = line;
        self.shared.write(words(self.before, line));
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> i64 {
        self.at(self.raw.now())
    }

    fn max_rate(&self) -> f64 {
        MAX_RATE
    }

    fn set_rate(&mut self, rate: f64) -> Result<f64, ClockError> {
        if rate.is_nan() {
            return Err(ClockError::OutOfRange("the rate is not a number"));
        }
        let rate = rate.clamp(-MAX_RATE, MAX_RATE);
        let rate = self.quantum.map_or(rate, |q| (rate / q).round() * q);
        let now = self.raw.now();
        let line = Line {
            origin: now,
            phase: self.line.phase_at(now),
            rate: fixed_rate(rate),
        };
        self.replace(line);
        Ok(scale_rate(line.rate))
    }

    fn step(&mut self, nanos: i64) -> Result<(), ClockError> {
        let now = self.raw.now();
        let phase = self.line.phase_at(now) + (i128::from(nanos) << FRACTION_BITS);
        if i64::try_from(phase >> FRACTION_BITS).is_err() {
            return Err(ClockError::OutOfRange(
                "the step leads out of the clock's range",
            ));
        }
        self.replace(Line {
            origin: now,
            phase,
            rate: self.line.rate,
        });
        self.status = SyncStatus::default();
        Ok(())
    }

    fn publish(&mut self, status: &SyncStatus) -> Result<(), ClockError> {
        self.status = *status;
        Ok(())
    }

    fn read_state(&self) -> Result<Steering, ClockError> {
        Ok(Steering {
            rate: scale_rate(self.line.rate),
            status: self.status,
            ..Steering::default()
        })
    }
}

/// Reads a [`VirtualClock`] that lives on another thread.
#[derive(Debug, Clone)]
pub struct VirtualReader {
    shared: SeqReader<WORDS>,
}

impl VirtualReader {
    /// What the clock reads, in ns, when its raw clock reads `raw`. Exact since the change before
    /// the last one; earlier instants are computed with the rate that was valid then.
    #[inline]
    pub fn at(&self, raw: i64) -> i64 {
        let w = self.shared.read();
        let line = |i: usize| Line {
            origin: w[i] as i64,
            phase: (i128::from(w[i + 1] as i64) << 64) | i128::from(w[i + 2]),
            rate: w[i + 3] as i64,
        };
        reading(line(0), line(LINE_WORDS), raw)
    }

    /// The rate applied now, as a fraction.
    pub fn rate(&self) -> f64 {
        scale_rate(self.shared.read()[WORDS - 1] as i64)
    }
}

#[derive(Debug, Clone, Copy)]
struct Line {
    /// Raw instant, ns.
    origin: i64,
    /// Reading at the origin, 2⁻⁶⁰ ns.
    phase: i128,
    /// 2⁻⁶⁰.
    rate: i64,
}

impl Line {
    fn phase_at(self, raw: i64) -> i128 {
        let elapsed = i128::from(raw) - i128::from(self.origin);
        self.phase + elapsed * (ONE + i128::from(self.rate))
    }
}

fn reading(before: Line, line: Line, raw: i64) -> i64 {
    let line = if raw < line.origin { before } else { line };
    (line.phase_at(raw) >> FRACTION_BITS) as i64
}

fn words(before: Line, line: Line) -> [u64; WORDS] {
    let [a, b] = [before, line].map(|l| {
        [
            l.origin as u64,
            (l.phase >> 64) as u64,
            l.phase as u64,
            l.rate as u64,
        ]
    });
    [a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Oscillator, OscillatorSpec};
    use crate::stamp::Domain;
    use proptest::prelude::*;

    const EPOCH: i64 = 1_700_000_000_000_000_000;

    fn clock() -> VirtualClock {
        VirtualClock::new(RawClock::Monotonic, EPOCH)
    }

    #[test]
    fn it_runs_with_its_raw_clock_until_told_otherwise() {
        let oscillator = Oscillator::new(OscillatorSpec {
            start: Domain::MonotonicRaw.now(),
            offset: 42,
            ppm: 100.0,
            walk: 0.0,
            seed: 1,
        });
        let clock = VirtualClock::new(oscillator.into(), EPOCH);
        let origin = clock.line.origin;
        assert_eq!(clock.at(origin), EPOCH);
        assert_eq!(clock.at(origin + 1_000), EPOCH + 1_000);
        assert!(clock.now() >= EPOCH);
    }

    #[test]
    fn a_new_rate_is_continuous_and_the_past_stays() {
        let mut clock = clock();
        let reader = clock.reader();
        let start = clock.line.origin;
        assert_eq!(clock.set_rate(1e-3).unwrap(), scale_rate(fixed_rate(1e-3)));
        let change = clock.line.origin;
        assert_eq!(reader.at(change), EPOCH + (change - start));
        assert_eq!(
            reader.at(change + 1_000_000),
            reader.at(change) + 1_000_000 + 1_000
        );
        assert_eq!(reader.at(change - 50), reader.at(change) - 50);
    }

    #[test]
    fn a_step_moves_the_phase_only_and_forgets_the_status() {
        let mut clock = clock();
        clock.set_rate(-1e-4).unwrap();
        clock
            .publish(&SyncStatus {
                synchronized: true,
                ..SyncStatus::default()
            })
            .unwrap();
        let before = clock.line;
        clock.step(-2_000_000_000).unwrap();
        let at = clock.line.origin;
        let moved = clock.line.phase_at(at) - before.phase_at(at);
        assert_eq!(moved, -2_000_000_000 * ONE);
        let state = clock.read_state().unwrap();
        assert!(!state.status.synchronized);
        assert_eq!(state.rate, scale_rate(fixed_rate(-1e-4)));
        assert!(matches!(
            clock.step(i64::MAX),
            Err(ClockError::OutOfRange(_))
        ));
    }

    #[test]
    fn rates_are_limited_and_coarse_if_asked() {
        let mut clock = clock().with_rate_quantum(155e-9);
        assert!((clock.set_rate(200e-9).unwrap() - 155e-9).abs() < 1e-17);
        assert_eq!(clock.set_rate(70e-9).unwrap(), 0.0);
        assert!(clock.set_rate(7.0).unwrap() <= 0.1 + 155e-9);
        assert!(clock.set_rate(f64::NAN).is_err());
        let slewing = clock.slew(0.0, 155.0, 1_000_000_000).unwrap();
        assert!((slewing - 155e-9).abs() < 1e-17);
        assert!(clock.slew(0.0, 1.0, 0).is_err());
    }

    #[test]
    fn many_changes_lose_no_phase() {
        let mut clock = clock();
        let (start, mut want) = (clock.line, clock.line.phase);
        let mut last = start;
        for k in 0..1_000 {
            clock.set_rate(f64::from(k % 7) * 1e-7).unwrap();
            let elapsed = i128::from(clock.line.origin - last.origin);
            want += elapsed * (ONE + i128::from(last.rate));
            last = clock.line;
        }
        assert_eq!(clock.line.phase, want);
    }

    proptest! {
        #[test]
        fn readers_agree_with_the_clock_at_any_instant(
            changes in proptest::collection::vec((-0.1_f64..0.1, any::<bool>()), 0..5),
            off in -1_000_000_000_000_i64..1_000_000_000_000,
        ) {
            let mut clock = clock();
            let reader = clock.reader();
            for (value, step) in changes {
                if step {
                    clock.step((value * 1e9) as i64).unwrap();
                } else {
                    clock.set_rate(value).unwrap();
                }
                let raw = clock.line.origin + off;
                prop_assert_eq!(reader.at(raw), clock.at(raw));
                prop_assert_eq!(reader.rate(), clock.read_state().unwrap().rate);
            }
        }
    }
}
