//! What steering adds to the virtual clock's own error.

use super::sim::{Bench, Noise, Quantum, SimClock, rms, steady_target};
use crate::discipline::{Discipline, Settings};
use crate::time::{Rate, RawTime, Span};

/// Rms of (clock − line) in ns once settled, sampled eight times an interval.
fn added(interval_ms: i64, quantum: Quantum, read_sigma: f64, gain: f64, line_noise: f64) -> f64 {
    let settings = Settings {
        interval: Span::from_millis(interval_ms),
        gain,
        ..Settings::virtual_clock()
    };
    let discipline = Discipline::new(settings, None).unwrap();
    let clock = SimClock::new(1_000_050_000_000, 23.4, quantum, read_sigma);
    let mut bench = Bench::new(discipline, clock, steady_target(-17.0));
    let mut noise = Noise::new(3);
    let mut errors = Vec::new();
    let wander = Rate::from_fraction(1e-9);
    let (sub, mut next_round) = (interval_ms * 1_000_000 / 8, 0);
    for k in 0_i64.. {
        bench.clock.now = k * sub;
        if bench.clock.now > 600_000_000_000 {
            break;
        }
        // Rounds fall anywhere between the updates.
        if bench.clock.now >= next_round
            && let Some(target) = &mut bench.target
        {
            let raw = RawTime::from_nanos(bench.clock.now);
            let rate = target.line.rate() + wander * noise.gauss();
            let by = line_noise * noise.gauss();
            let second = Span::from_secs(1);
            target.line = target.line.with_rate(raw, rate).with_slew(raw, by, second);
            next_round += 1_037_000_000;
        }
        if k % 8 == 0 {
            bench.update();
        }
        if bench.clock.now > 200_000_000_000 {
            errors.push(bench.error());
        }
    }
    rms(&errors)
}

#[test]
fn an_exact_clock_adds_less_than_20_ns_at_one_second() {
    for interval in [250, 1_000] {
        let rms = added(interval, Quantum::Reported(0.0), 0.0, 0.75, 0.0);
        assert!(rms < 5.0, "{interval} ms: {rms:.1} ns");
    }
}

#[test]
fn a_kernel_like_clock_adds_less_than_40_ns() {
    let rms = added(250, Quantum::Reported(155e-9), 30.0, 0.75, 0.0);
    assert!(rms < 40.0, "{rms:.1} ns");
}

#[test]
fn a_clock_that_hides_its_quantum_adds_less_than_60_ns() {
    let rms = added(250, Quantum::Hidden(155e-9), 30.0, 0.75, 30.0);
    assert!(rms < 60.0, "{rms:.1} ns");
}
