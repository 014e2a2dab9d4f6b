//! What the clock did since the last update, and whether somebody else had a hand in it.

use super::{Discipline, Tick};
use crate::discipline::clock::{KernelState, SteeredClock};
use crate::discipline::filter::ClockFilter;
use crate::discipline::status::{Event, ForeignSign};
use crate::time::{RawTime, Span};

/// A sleep shorter than this is noise of reading two clocks.
const SHORTEST_SLEEP: Span = Span::from_millis(500);
/// A jump of the clock is somebody's step if it is larger than this plus six sigma.
const FOREIGN_STEP: f64 = 10_000.0;
/// A command may take effect this many seconds late when the process is scheduled out.
const LATE_COMMAND: f64 = 0.05;
/// The kernel's loop and `adjtime` slew at most this much.
const KERNEL_SLEW: f64 = 500e-6;

impl Discipline {
    /// Compares the clock with what it was told. False if the reading is of no use.
    pub(super) fn measure<C: SteeredClock + ?Sized>(&mut self, clock: &mut C, tick: &Tick) -> bool {
        let now = tick.now.max(tick.read.raw);
        let slept = tick.asleep - self.asleep.replace(tick.asleep).unwrap_or(tick.asleep);
        if slept > SHORTEST_SLEEP {
            self.filter = None;
            self.resume = Some((now + self.settings.resume_wait, slept));
            self.startup.interrupted();
            self.status.sleeps += 1;
            self.note(Event::Slept(slept));
        }
        let state = clock.kernel_state().ok();
        let Some(mut filter) = self.filter else {
            if let Some(state) = state {
                self.guard.look(&state);
                self.leap.look(state.leap);
                self.found(&state);
            }
            self.filter = Some(ClockFilter::new(
                &tick.read,
                self.settings.wander,
                clock.limits(),
            ));
            self.show();
            return true;
        };
        if tick.read.raw < filter.raw() {
            return false;
        }
        let elapsed = tick.read.raw - filter.raw();
        self.pace = pace(self.pace, elapsed, self.settings.interval);
        filter.predict(tick.read.raw, self.command);
        let mut surprise = filter.compare(&tick.read);
        let leapt = self.leap.made(surprise.nanos);
        if let Some(step) = leapt {
            filter.stepped(step);
            surprise = filter.compare(&tick.read);
            self.settings.shown_minus_virtual += step;
            self.note(Event::LeapSecond(self.tai_minus_utc()));
        } else if let Some(state) = state {
            self.leap.look(state.leap);
        }
        let sign = state.and_then(|state| self.guard.look(&state));
        let unexplained = surprise.nanos.abs()
            - tick.read.error.abs().as_nanos_f64()
            - self.changed_by * LATE_COMMAND * 1e9
            - self.foreign_slew(sign, elapsed);
        let stepped = unexplained > FOREIGN_STEP + 6.0 * surprise.sigma;
        if stepped {
            let by = ForeignSign::Moved(Span::from_nanos_f64(surprise.nanos));
            self.startup.interrupted();
            self.foreign(now, by);
        }
        if let Some(sign) = sign {
            self.foreign(now, sign);
        }
        if stepped || sign.is_some() {
            self.alone = false;
            self.wanted = None;
            filter.relocate(&tick.read);
        } else {
            filter.observe(&tick.read, elapsed);
        }
        self.changed_by = 0.0;
        if let Some(state) = state {
            self.found(&state);
        }
        filter.predict(now, self.command);
        self.filter = Some(filter);
        self.show();
        filter.is_sane()
    }

    fn found(&mut self, state: &KernelState) {
        if state.rate.as_fraction().is_finite() && state.rate != self.command {
            self.command = state.rate;
            self.wanted = None;
        }
    }

    /// The phase in ns that somebody else's way of steering may have moved during `elapsed`.
    fn foreign_slew(&self, sign: Option<ForeignSign>, elapsed: Span) -> f64 {
        match sign {
            Some(ForeignSign::Rate { expected, found }) => (found - expected).abs().over(elapsed),
            Some(_) => KERNEL_SLEW * elapsed.as_nanos_f64(),
            None => 0.0,
        }
    }

    fn foreign(&mut self, now: RawTime, sign: ForeignSign) {
        if !self.taken_over || self.denied.is_some() {
            return;
        }
        self.status.foreign += 1;
        if self.guard.given_way_to().is_none() {
            self.note(Event::Foreign(sign));
        }
        self.guard.sighted(now, sign);
    }

    fn show(&mut self) {
        if let Some(filter) = &self.filter {
            self.status.sigma_ns = Some(filter.phase_sigma());
            self.status.base_ppm = Some(filter.base().as_ppm());
        }
        self.status.rate_ppm = Some(self.command.as_ppm());
    }
}

/// The time to the next update, from how long the last ones took.
fn pace(before: Span, elapsed: Span, interval: Span) -> Span {
    // One long stall is not a new habit.
    let smoothed = before + (elapsed.min(before * 4) - before) / 4;
    smoothed.max(interval).min(Span::from_secs(60))
}
