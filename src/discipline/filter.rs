//! Where the steered clock is and how fast it runs by itself.
//!
//! A clock's phase follows from the rates it was told plus one unknown, its *base* rate against
//! raw (zero but for rounding on the system clock, the oscillator's own error on a PHC). So the
//! state is (phase, base), the commands are known inputs, and a Kalman filter averages the noise
//! of the cross-reads over all updates, whatever was commanded in between.

use super::clock::{ClockLimits, ClockTime, CrossRead};
use crate::time::{Rate, RawTime, Span};

/// Before anything is known the base may be this far off, in ns/s: a poor crystal, doubled.
const BASE_SIGMA: f64 = 1e6;
/// No clock's base is less certain than this, in ns/s.
const BASE_SIGMA_MAX: f64 = 1e8;
/// Two clocks that count whole nanoseconds, in ns.
const ROUNDING: f64 = 0.5;
/// A command takes effect within this many seconds of the reading before it.
const COMMAND_DELAY: f64 = 1e-3;
/// Surprises beyond so many sigma mean that the model is too sure of itself.
const SURPRISE: f64 = 5.0;

/// How a reading differs from what was expected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Innovation {
    /// Reading minus expectation, in ns.
    pub nanos: f64,
    /// Sigma of that, in ns.
    pub sigma: f64,
}

/// The clock's phase and base rate, with their covariance. Phase in ns, base in ns/s.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClockFilter {
    raw: RawTime,
    clock: ClockTime,
    /// Phase beyond `clock`, a fraction of a nanosecond after every prediction.
    phase: f64,
    base: f64,
    phase_var: f64,
    cross: f64,
    base_var: f64,
    /// Variance gained by the base per second.
    wander: f64,
    limits: ClockLimits,
}

impl ClockFilter {
    /// A filter that knows only its first reading.
    pub(super) fn new(first: &CrossRead, wander: Rate, limits: ClockLimits) -> Self {
        let mut filter = Self {
            raw: first.raw,
            clock: first.clock,
            phase: 0.0,
            base: 0.0,
            phase_var: 0.0,
            cross: 0.0,
            base_var: BASE_SIGMA * BASE_SIGMA,
            wander: (wander.as_fraction() * 1e9).powi(2),
            limits,
        };
        filter.phase_var = filter.noise(first.error);
        filter
    }

    /// The clock's own rate against raw, without any command.
    pub(super) fn base(&self) -> Rate {
        Rate::from_fraction(self.base * 1e-9)
    }

    /// One sigma of the base.
    pub(super) fn base_sigma(&self) -> Rate {
        Rate::from_fraction(self.base_var.sqrt() * 1e-9)
    }

    /// One sigma of the phase, in ns.
    pub(super) fn phase_sigma(&self) -> f64 {
        self.phase_var.sqrt()
    }

    /// The raw instant the state belongs to.
    pub(super) fn raw(&self) -> RawTime {
        self.raw
    }

    /// What the clock reads at [`raw`](Self::raw), and the nanoseconds beyond that.
    pub(super) fn reading(&self) -> (ClockTime, f64) {
        (self.clock, self.phase)
    }

    /// False if wild readings have left nothing usable.
    pub(super) fn is_sane(&self) -> bool {
        [
            self.phase,
            self.base,
            self.phase_var,
            self.cross,
            self.base_var,
        ]
        .iter()
        .all(|value| value.is_finite())
            && self.base.abs() < BASE_SIGMA_MAX
    }

    fn noise(&self, error: Span) -> f64 {
        let error = error.abs().as_nanos_f64();
        let jitter = self.limits.jitter.as_nanos_f64();
        ROUNDING * ROUNDING + error * error / 3.0 + jitter * jitter
    }

    /// Carries the state on to `raw` under the rate in force since; earlier instants are ignored.
    pub(super) fn predict(&mut self, raw: RawTime, command: Rate) {
        let span = raw - self.raw;
        if span <= Span::ZERO {
            return;
        }
        let seconds = span.as_secs_f64() * (1.0 + command.as_fraction());
        let ahead = self.phase + command.over(span) + self.base * seconds;
        let whole = ahead.floor();
        self.raw = raw;
        self.clock = self.clock + span + Span::from_nanos(whole as i64);
        self.phase = ahead - whole;
        self.phase_var +=
            seconds * (2.0 * self.cross + seconds * (self.base_var + self.wander * seconds / 3.0));
        self.cross += seconds * (self.base_var + self.wander * seconds / 2.0);
        self.base_var = (self.base_var + self.wander * seconds).min(BASE_SIGMA_MAX.powi(2));
    }

    /// How `read` differs from the state, which must have been carried on to `read.raw`.
    pub(super) fn compare(&self, read: &CrossRead) -> Innovation {
        Innovation {
            nanos: (read.clock - self.clock).as_nanos_f64() - self.phase,
            sigma: (self.phase_var + self.noise(read.error)).sqrt(),
        }
    }

    /// Takes `read` in, `elapsed` after the one before. A surprise opens the filter up first, so
    /// that a changed rate is learnt anew within two readings.
    pub(super) fn observe(&mut self, read: &CrossRead, elapsed: Span) {
        let surprise = self.compare(read);
        if surprise.nanos.abs() > SURPRISE * surprise.sigma {
            let rate = surprise.nanos / elapsed.as_secs_f64().max(1e-3);
            self.phase_var += surprise.nanos.powi(2);
            self.base_var = (self.base_var + rate * rate).min(BASE_SIGMA_MAX.powi(2));
        }
        let noise = self.noise(read.error);
        let total = self.phase_var + noise;
        let (phase_gain, base_gain) = (self.phase_var / total, self.cross / total);
        self.phase += phase_gain * surprise.nanos;
        self.base += base_gain * surprise.nanos;
        self.base_var = (self.base_var - base_gain * self.cross).max(0.0);
        self.phase_var *= noise / total;
        self.cross *= noise / total;
    }

    /// The commanded rate has changed: the moment is not exact, nor is the rate itself.
    pub(super) fn commanded(&mut self, before: Rate, after: Rate) {
        let change = (after - before).as_fraction() * 1e9;
        let hidden = self.limits.hidden_quantum.as_fraction() * 1e9;
        self.phase_var += (change * COMMAND_DELAY).powi(2);
        if change != 0.0 {
            self.base_var += hidden * hidden / 6.0;
        }
    }

    /// The clock was stepped by us.
    pub(super) fn stepped(&mut self, by: Span) {
        self.clock += by;
        self.phase_var += ROUNDING * ROUNDING;
    }

    /// The clock has moved in a way no command explains: believe `read`, keep the base.
    pub(super) fn relocate(&mut self, read: &CrossRead) {
        self.raw = read.raw;
        self.clock = read.clock;
        self.phase = 0.0;
        self.phase_var = self.noise(read.error);
        self.cross = 0.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXACT: ClockLimits = ClockLimits {
        max_rate: Rate::from_fraction(0.1),
        hidden_quantum: Rate::ZERO,
        jitter: Span::ZERO,
    };

    fn read(raw: i64, clock: i64) -> CrossRead {
        CrossRead {
            raw: RawTime::from_nanos(raw),
            clock: ClockTime::from_nanos(clock),
            error: Span::ZERO,
        }
    }

    #[test]
    fn base_is_learnt_whatever_was_commanded() {
        let second = 1_000_000_000;
        let mut filter = ClockFilter::new(&read(0, 0), Rate::from_fraction(1e-11), EXACT);
        let (base, mut clock) = (20e-6, 0.0_f64);
        for k in 1..=20_i64 {
            let command = Rate::from_ppm(if k % 2 == 0 { 400.0 } else { -300.0 });
            clock += 1e9 * (1.0 + command.as_fraction()) * (1.0 + base);
            let read = read(k * second, clock.round() as i64);
            filter.predict(read.raw, command);
            filter.observe(&read, Span::from_secs(1));
        }
        assert!(
            (filter.base().as_ppm() - 20.0).abs() < 1e-3,
            "{:?}",
            filter.base()
        );
        assert!(filter.phase_sigma() < 1.0);
    }

    #[test]
    fn a_changed_rate_is_learnt_anew() {
        let mut filter = ClockFilter::new(&read(0, 0), Rate::from_fraction(1e-11), EXACT);
        let mut clock = 0;
        for k in 1..=40_i64 {
            clock += 1_000_000_000 + if k <= 30 { 1_000 } else { 3_000 };
            let read = read(k * 1_000_000_000, clock);
            filter.predict(read.raw, Rate::ZERO);
            filter.observe(&read, Span::from_secs(1));
        }
        assert!(
            (filter.base().as_ppm() - 3.0).abs() < 0.05,
            "{:?}",
            filter.base()
        );
    }
}
